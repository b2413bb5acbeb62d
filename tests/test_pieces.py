"""The fast path gives what the tokenizer gives, on every text, in both engines."""

import dataclasses
import unicodedata
from collections.abc import Callable
from functools import cache

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from teachers import FAMILIES, awkward_texts, corpus, features_of
from tokenizers import AddedToken, Regex, Tokenizer, normalizers, pre_tokenizers

from sklearn_static import _pieces, _table
from sklearn_static._pieces import PieceIndex, piece_rule
from sklearn_static._table import StaticTable
from sklearn_static._vocabulary import Vocabulary

RULES = {
    "bert": "words",
    "distilbert": "words",
    "mpnet": "words",
    "roberta": "spaces",
    "xlm-roberta": "spaces",
    "modernbert": "spaces",
    "qwen": "spaces",
}
KINDS = ["bert", "roberta", "xlm-roberta", "qwen"]  # one family per kind of tokenizer
ENGINES = ["portable", "compiled"]
SETS = ["banking77", "trec", "sst2", "ag_news_7600", "20newsgroups"]


@cache
def vocabulary(family: str) -> Vocabulary:
    return Vocabulary.from_tokenizer(FAMILIES[family].tokenizer())


def piece_rows(index: PieceIndex, engine: str, documents: list[str]) -> tuple:
    """Rows and offsets by pieces, as `Vocabulary.row_ids` gives them."""
    if engine == "portable":
        return index.row_ids(documents)
    fast = pytest.importorskip("sklearn_static._fast", reason="needs the extra `fast`")
    numbers, offsets, missing = fast.FastIndex(index).find(documents)
    resolved = index.resolve(missing, len(numbers))
    if resolved is None:
        return index.vocabulary.row_ids(documents)
    found, starts, rows = resolved
    numbers[numbers < 0] = found
    pieces = [rows[starts[i] : starts[i + 1]] for i in numbers]
    ends = np.concatenate([[0], np.cumsum([len(p) for p in pieces], dtype=int)])
    tokens = np.concatenate([np.empty(0, np.int32), *pieces])
    return _pieces.known_rows(tokens, ends[offsets], None)


def assert_exact(index: PieceIndex, engine: str, documents: list[str]) -> None:
    rows, offsets = piece_rows(index, engine, documents)
    whole_rows, whole_offsets = index.vocabulary.row_ids(documents)
    np.testing.assert_array_equal(offsets, whole_offsets)
    np.testing.assert_array_equal(rows, whole_rows)


@pytest.mark.parametrize("family", FAMILIES)
def test_rule_of_each_family(family):
    assert piece_rule(FAMILIES[family].tokenizer()) == RULES[family]


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("family", FAMILIES)
def test_real_and_awkward_texts(family, engine):
    index = PieceIndex(vocabulary(family), RULES[family])
    for _ in range(2):  # an empty index, and a warm one
        assert_exact(index, engine, [*awkward_texts(), *corpus()])
        assert_exact(index, engine, [])
        assert_exact(index, engine, [""])


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("family", KINDS)
@pytest.mark.parametrize("name", SETS)
def test_every_set(name, family, engine, dataset):
    data = dataset(name)
    documents = (data.train_texts + data.test_texts)[:2000]
    index = PieceIndex(vocabulary(family), RULES[family])
    for start in range(0, len(documents), 500):
        assert_exact(index, engine, documents[start : start + 500])


FRAGMENTS = [
    *(" ", "  ", "\n", "\r\n", "\t", "\x0b", "\x0c", "\x1c", "\x85", "\u00a0", "\u2003", "\u3000"),
    *("\u200b", "\u200d", "\ufeff", "\x00", "\x7f", "\u0301", "\u0308", "\ufe0f", "\u0483", "▁"),
    *("a", "the", "Return", "value", "x1", "'s", "n't", ".", "...", "!?", "-", "_", "#", "Σ", "ß"),
    *("é", "e\u0301", "ж", "Й", "日本", "한국", "각", "ﬁ", "½", "˘", "\u0384", "🙂", "👩‍👩‍👧"),
    *(
        "[SEP]",
        "[UNK]",
        "[unused0]",
        "<s>",
        "</s>",
        "<mask>",
        "<|im_end|>",
        "<|endoftext|>",
        "<",
        "[",
    ),
]
texts_of_fragments = st.lists(st.sampled_from(FRAGMENTS) | st.text(max_size=3), max_size=30).map(
    "".join
)


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("family", KINDS)
@settings(max_examples=300, deadline=None, suppress_health_check=list(HealthCheck))
@given(documents=st.lists(texts_of_fragments, max_size=4))
def test_any_text(family, engine, documents):
    index = PieceIndex(vocabulary(family), RULES[family])
    assert_exact(index, engine, documents)


def change(family: str, **parts: object) -> Tokenizer:
    tokenizer = FAMILIES[family].tokenizer()
    for name, part in parts.items():
        setattr(tokenizer, name, part)
    return tokenizer


def with_token(token: AddedToken, family: str) -> Tokenizer:
    tokenizer = FAMILIES[family].tokenizer()
    tokenizer.add_tokens([token])
    return tokenizer


@pytest.mark.parametrize(
    "tokenizer",
    [
        lambda: with_token(AddedToken("two words"), "bert"),
        lambda: with_token(AddedToken("word", single_word=True), "bert"),
        lambda: with_token(AddedToken("word", rstrip=True), "roberta"),
        lambda: with_token(AddedToken("word ", normalized=False), "roberta"),
        lambda: with_token(AddedToken(" word"), "bert"),
        lambda: with_token(AddedToken("a\u00b4b", normalized=True), "xlm-roberta"),
        lambda: change("roberta", pre_tokenizer=pre_tokenizers.Split(" and ", "isolated")),
        lambda: change("xlm-roberta", pre_tokenizer=pre_tokenizers.Metaspace(split=False)),
        lambda: change("xlm-roberta", normalizer=normalizers.Strip()),
        lambda: change("xlm-roberta", normalizer=normalizers.Replace("a b", "ab")),
        lambda: change("xlm-roberta", normalizer=normalizers.Replace("a", "")),
        lambda: change("xlm-roberta", normalizer=normalizers.Replace("a", " ")),
        lambda: change("xlm-roberta", normalizer=normalizers.Replace(" {2,}", " ")),
        lambda: change("xlm-roberta", normalizer=normalizers.Replace("  ", "")),
        lambda: change("roberta", normalizer=normalizers.BertNormalizer(lowercase=False)),
        lambda: change("roberta", normalizer=normalizers.StripAccents()),
        lambda: change("bert", normalizer=normalizers.Prepend("x")),
    ],
)
def test_what_looks_across_spaces_has_no_rule(tokenizer: Callable[[], Tokenizer]):
    assert piece_rule(tokenizer()) is None


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("family", ["roberta", "xlm-roberta"])
@pytest.mark.parametrize("kind", ["NFKC", "NFKD"])
def test_characters_that_stand_for_a_space_with_a_mark(kind, family, engine):
    steps = [getattr(normalizers, kind)(), normalizers.Replace(Regex(" {2,}"), "\u2581")]
    tokenizer = change(family, normalizer=normalizers.Sequence(steps))
    index = PieceIndex(Vocabulary.from_tokenizer(tokenizer), piece_rule(tokenizer))
    spacing = [chr(c) for c in range(0x80, 0x500) if " " in unicodedata.normalize(kind, chr(c))]
    assert len(spacing) > 8
    for mark in spacing:
        assert_exact(index, engine, [f"a {mark} b", f"a{mark} b", f"a {mark}b", f"! {mark} !"])


def test_disagreement_on_real_text_is_noticed():
    """A tokenizer for which the rule is wrong: it has a word with a space."""
    tokenizer = with_token(AddedToken("the value"), "bert")
    index = PieceIndex(Vocabulary.from_tokenizer(tokenizer), "words")
    assert index.agrees(["a value"])
    assert not index.agrees(["return the value"])


class TestBounds:
    @pytest.fixture
    def small(self, monkeypatch) -> PieceIndex:
        monkeypatch.setattr(_pieces, "MAX_PIECES", 20)
        return PieceIndex(vocabulary("bert"), "words")

    @pytest.mark.parametrize("engine", ENGINES)
    def test_a_full_index_stays_exact(self, small, engine):
        for _ in range(2):
            assert_exact(small, engine, list(corpus()[:20]))
        assert len(small.number_of) == 20

    def test_a_full_index_leaves_many_new_pieces_to_the_tokenizer(self, small):
        small.row_ids(list(corpus()[:20]))
        new = [f"new{i}" for i in range(100)]
        assert small.resolve([piece.encode() for piece in new], 100) is None
        rows, _ = small.row_ids([" ".join(new)])
        np.testing.assert_array_equal(rows, small.vocabulary.row_ids([" ".join(new)])[0])

    def test_texts_that_never_repeat_are_left_to_the_tokenizer(self, small):
        small.row_ids(list(corpus()[:20]))
        pauses = []
        for turn in range(4):
            assert small.resolve([f"{turn}{i}".encode() for i in range(100)], 100) is None
            pauses.append(0)
            while small.pauses():
                pauses[-1] += 1
        assert pauses == [1, 3, 7, 15]
        small.resolve([b"new"], 100)  # little is new: all is well again
        assert small.resolve([f"again{i}".encode() for i in range(100)], 100) is None
        assert small.pauses()
        assert not small.pauses()

    def test_bytes_are_bounded(self, monkeypatch):
        monkeypatch.setattr(_pieces, "MAX_PIECE_BYTES", 100)
        index = PieceIndex(vocabulary("bert"), "words")
        assert_exact(index, "portable", list(corpus()))
        assert 50 < sum(map(len, index.number_of)) <= 100

    def test_a_piece_that_another_thread_enters_meanwhile(self, monkeypatch):
        """A finds no room for two pieces; B enters one as soon as A has let go of the lock."""
        monkeypatch.setattr(_pieces, "MAX_PIECE_BYTES", 3)
        index = PieceIndex(vocabulary("bert"), "words")

        class Schedule:
            lock = index.lock
            entered = False

            def __enter__(self) -> None:
                self.lock.acquire()

            def __exit__(self, *_: object) -> None:
                self.lock.release()
                if not self.entered:
                    self.entered = True
                    index._n_bytes = -100  # room for what A had to leave out
                    index.resolve([b"value"], 2)

        index.lock = Schedule()
        missing = [b"return" * 100, b"value"]
        found, starts, rows = index.resolve(missing, 2)
        assert b"value" in index.number_of
        for piece, number in zip(missing, found, strict=True):
            expected, _ = index.vocabulary.tokens([piece.decode()])
            np.testing.assert_array_equal(rows[starts[number] : starts[number + 1]], expected)

    def test_long_pieces_are_not_remembered(self):
        index = PieceIndex(vocabulary("bert"), "words")
        assert_exact(index, "portable", ["x" * 1000 + " word"])
        assert list(index.number_of)[1:] == [b"word"]


class TestFeatures:
    @pytest.fixture(params=[None, "float16", "int8"])
    def table(self, request) -> StaticTable:
        words = vocabulary("bert")
        vectors = np.random.default_rng(0).normal(size=(len(words), 13)).astype(np.float32)
        return StaticTable.from_vectors(words, vectors, request.param, PieceIndex(words, "words"))

    @pytest.mark.parametrize("norm", ["l2", None])
    @pytest.mark.parametrize("max_length", [None, 1, 7, 2**70])
    def test_engines_are_bit_equal(self, table, norm, max_length, monkeypatch):
        documents = [*awkward_texts(), *corpus()]
        exact = dataclasses.replace(table, pieces=None)
        expected = features_of(exact, documents, max_length=max_length, norm=norm)
        monkeypatch.setattr(_table, "_characters_seen", -(10**12))
        portable = features_of(table, documents, max_length=max_length, norm=norm)
        monkeypatch.setattr(_table, "_characters_seen", 10**12)
        compiled = features_of(table, documents, max_length=max_length, norm=norm)
        np.testing.assert_array_equal(portable, expected)
        np.testing.assert_array_equal(compiled, expected)
        alone = [features_of(table, [d], max_length=max_length, norm=norm)[0] for d in documents]
        np.testing.assert_array_equal(alone, expected)

    def test_one_column(self):
        words = vocabulary("bert")
        vectors = np.random.default_rng(0).normal(size=(len(words), 1)).astype(np.float32)
        table = StaticTable.from_vectors(words, vectors, None, PieceIndex(words, "words"))
        documents = list(corpus())
        expected = features_of(table, documents, norm=None)
        alone = [features_of(table, [d], norm=None)[0] for d in documents]
        np.testing.assert_array_equal(alone, expected)

    def test_a_full_index(self, table, monkeypatch):
        monkeypatch.setattr(_pieces, "MAX_PIECES", 20)
        monkeypatch.setattr(_table, "_characters_seen", 10**12)
        documents = list(corpus())
        exact = dataclasses.replace(table, pieces=None)
        for _ in range(3):
            np.testing.assert_array_equal(
                features_of(table, documents), features_of(exact, documents)
            )


def test_the_compiled_engine_is_loaded_when_it_pays(monkeypatch):
    monkeypatch.setattr(_table, "_characters_seen", 0)
    monkeypatch.setattr(_table, "_CHARACTERS_TO_PAY", 10)
    assert _table.compiled_engine(["12345"]) is None
    assert _table.compiled_engine(["12345"]) is None
    pytest.importorskip("numba")
    assert _table.compiled_engine(["1"]) is not None
