"""The compiled engine matches the original tokenizer and NumPy on every document.

With SKLEARN_STATIC_FULL=1 the tests read all documents of each set instead of a sample.
"""

import os
import re
import sys
import time
import unicodedata
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from conftest import FULL
from fresh import run
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from teachers import (
    FAMILIES,
    _composition,
    awkward_texts,
    change,
    corpus,
    engine,
    reference_features,
    usable,
    with_token,
)
from tokenizers import AddedToken, Regex, models, normalizers, pre_tokenizers

from sklearn_static import _serve
from sklearn_static._distill.corpus import checked
from sklearn_static._serve import FastTokenizer, Pooler, portable
from sklearn_static._serve.bigrams import Bigrams
from sklearn_static._serve.table import StaticTable
from sklearn_static._serve.vocabulary import Vocabulary

KINDS = ["bert", "roberta", "xlm-roberta", "qwen"]
SETS = ["banking77", "trec", "sst2", "ag_news_7600", "20newsgroups"]
# The original tokenizers would take minutes for all documents.
LONG = {"20newsgroups": 2000}
# Of each set, documents at this distance. Other families differ from KINDS in special tokens only.
STEP = 1 if FULL else 4


def test_the_extension_is_built():
    assert _serve.IS_COMPILED
    assert FastTokenizer.__module__ == Pooler.__module__ == "sklearn_static._serve.engine"


@cache
def vocabulary(family: str) -> Vocabulary:
    return usable(FAMILIES[family].tokenizer())


def assert_exact(
    tokenizer: FastTokenizer, words: Vocabulary, documents: list[str], n_original: int = 0
) -> None:
    """Compare with the original tokenizer, which must have read so many documents itself."""
    before = tokenizer.n_original
    rows, offsets = tokenizer.tokenize(documents).to_arrays()
    assert tokenizer.n_original - before == n_original
    real_rows, real_offsets = words.tokens(documents)
    np.testing.assert_array_equal(offsets, real_offsets)
    np.testing.assert_array_equal(rows, real_rows)


class TestTokens:
    @pytest.mark.parametrize("family", FAMILIES)
    def test_real_and_awkward_documents(self, family):
        tokenizer = engine(vocabulary(family))
        for _ in range(2):  # new pieces, then cached ones
            assert_exact(tokenizer, vocabulary(family), [*awkward_texts(), *corpus()])
            assert_exact(tokenizer, vocabulary(family), [])
            assert_exact(tokenizer, vocabulary(family), [""])

    @pytest.mark.slow
    @pytest.mark.parametrize("family", FAMILIES if FULL else KINDS)
    @pytest.mark.parametrize("name", SETS)
    def test_every_set(self, name, family, dataset):
        data = dataset(name)
        documents = (data.train_documents + data.test_documents)[: LONG.get(name) : STEP]
        tokenizer = engine(vocabulary(family))
        for start in range(0, len(documents), 2000):
            assert_exact(tokenizer, vocabulary(family), documents[start : start + 2000])

    def test_added_tokens(self):
        token = AddedToken("Two Words", normalized=True)
        words = usable(with_token(token, "bert"))
        documents = [
            *("[SEP]", "a[SEP]b", "[sep]", "[S\x00EP]", "[ SEP ]", "[MASK", "[MASK]]", "[[MASK]"),
            *("two words", "TWO  words", "twowords", "xtwo wordsy", "t\u0301wo words", "two", "tw"),
        ]
        assert_exact(engine(words), words, documents)
        assert_exact(FastTokenizer(words, None), words, documents, n_original=len(documents))

    def test_words_longer_than_wordpiece_takes(self):
        words = vocabulary("bert")
        tokenizer = engine(words)
        documents = ["x" * n for n in (1, 15, 16, 17, 99, 100, 101, 300)]
        documents += ["é" * n for n in (50, 99, 100, 101)]
        assert_exact(tokenizer, words, documents)
        rows, _ = tokenizer.tokenize(["x" * 101]).to_arrays()
        assert rows.tolist() == [-1]

    def test_limit_on_the_length_of_a_word(self):
        model = FAMILIES["bert"].tokenizer().model
        model.max_input_chars_per_word = 3
        words = usable(change("bert", model=model))
        assert_exact(engine(words), words, ["the value", "th és éss ésst"])

    @pytest.mark.slow
    @pytest.mark.parametrize(("family", "size"), [("bert", 5_000_000), ("qwen", 500_000)])
    def test_huge_documents(self, family, size):
        text = " ".join(corpus())
        documents = [(text * (size // len(text) + 1))[:size], "x" * (size // 10), " " * size]
        assert_exact(engine(vocabulary(family)), vocabulary(family), documents)

    @pytest.mark.parametrize(
        "normalizer",
        [
            normalizers.BertNormalizer(),
            normalizers.BertNormalizer(lowercase=False),
            normalizers.BertNormalizer(strip_accents=False),
            normalizers.BertNormalizer(clean_text=False, handle_chinese_chars=False),
            normalizers.Sequence([normalizers.NFD(), normalizers.Lowercase()]),
            normalizers.Sequence([normalizers.NFKD(), normalizers.StripAccents()]),
            None,
        ],
    )
    @pytest.mark.parametrize("splitter", ["BertPreTokenizer", "WhitespaceSplit"])
    def test_kinds_of_bert(self, normalizer, splitter):
        pre_tokenizer = getattr(pre_tokenizers, splitter)()
        words = usable(change("bert", normalizer=normalizer, pre_tokenizer=pre_tokenizer))
        fast = engine(words)
        assert_exact(fast, words, [*awkward_texts(), *corpus(), *FRAGMENTS, "##ing", "a##ing"])
        rng = np.random.default_rng(0)
        assert_exact(fast, words, ["".join(rng.choice(FRAGMENTS, 20)) for _ in range(2000)])

    @pytest.mark.parametrize("family", ["roberta", "xlm-roberta"])
    @pytest.mark.parametrize("kind", ["NFKC", "NFKD"])
    def test_characters_that_stand_for_a_space_with_a_mark(self, kind, family):
        steps = [getattr(normalizers, kind)(), normalizers.Replace(Regex(" {2,}"), "\u2581")]
        tokenizer = change(family, normalizer=normalizers.Sequence(steps))
        words = usable(tokenizer)
        fast = engine(words)
        spacing = [chr(c) for c in range(0x80, 0x500) if " " in unicodedata.normalize(kind, chr(c))]
        assert len(spacing) > 8
        for mark in spacing:
            assert_exact(fast, words, [f"a {mark} b", f"a{mark} b", f"a {mark}b", f"! {mark} !"])

    def test_word_level(self):
        tokenizer = change("bert", model=models.WordLevel({"[UNK]": 0, "a": 1}, unk_token="[UNK]"))
        words = usable(tokenizer)
        assert_exact(engine(words), words, ["a b\tA ab\x0ba", "\x1c a", "a\u00a0a"])

    def test_a_wrong_composition_is_noticed_on_real_text(self):
        """A tokenizer with a token that the engine is told nothing of."""
        words = usable(with_token(AddedToken("the value"), "bert"))
        fast = FastTokenizer(words, engine(vocabulary("bert")).composition)
        assert checked(fast, ["a value"]) is fast
        assert checked(fast, ["return the value"]).composition is None

    def test_lone_surrogates(self):
        for family in KINDS:
            fast = engine(vocabulary(family))
            with pytest.raises(UnicodeEncodeError):
                fast.tokenize(["fine", "a\ud800b"])


FRAGMENTS = [
    *(" ", "  ", "\n", "\r\n", "\t", "\x0b", "\x0c", "\x1c", "\x85", "\u00a0", "\u2003", "\u3000"),
    *("\u200b", "\u200d", "\ufeff", "\x00", "\x7f", "\u0301", "\u0308", "\ufe0f", "\u0483", "▁"),
    *("a", "the", "Return", "value", "x1", "'s", "n't", ".", "...", "!?", "-", "_", "#", "Σ", "ß"),
    *("é", "e\u0301", "ж", "Й", "日本", "한국", "각", "ﬁ", "½", "˘", "\u0384", "🙂", "👩‍👩‍👧", "İ"),
    *("[SEP]", "[UNK]", "[unused0]", "<s>", "</s>", "<mask>", "<|im_end|>", "<|endoftext|>"),
    *("<", "[", "≮s>", "'LL", "12", "3x", "(a", "\u302e", "\U0001d165", "\u0327", "\u1100\u1161"),
]
texts_of_fragments = st.lists(st.sampled_from(FRAGMENTS) | st.text(max_size=3), max_size=30).map(
    "".join
)


@pytest.mark.slow
@pytest.mark.parametrize("family", KINDS)
@settings(max_examples=300, deadline=None, suppress_health_check=list(HealthCheck))
@given(documents=st.lists(texts_of_fragments, max_size=4))
def test_any_text(family, documents):
    tokenizer = engine(vocabulary(family))
    assert_exact(tokenizer, vocabulary(family), documents)


@pytest.mark.slow
@pytest.mark.parametrize("family", KINDS)
def test_all_characters(family):
    """Each code point except surrogates, assigned or not, alone and within words."""
    tokenizer = engine(vocabulary(family))
    characters = [chr(c) for c in range(sys.maxunicode + 1) if not 0xD800 <= c <= 0xDFFF]
    # A sample is enough for the planes that are almost unassigned.
    characters = characters[:0x20000] + characters[0x20000::97]
    for start in range(0, len(characters), 100_000):
        documents = [f"{c} a{c}b,{c}" for c in characters[start : start + 100_000]]
        assert_exact(tokenizer, vocabulary(family), documents)


def test_marks_in_any_order():
    """Sequences of combining marks, which normalizers reorder, drop and compose."""
    marks = [chr(c) for c in range(sys.maxunicode + 1) if unicodedata.combining(chr(c))]
    rng = np.random.default_rng(0)
    letters = rng.choice(list("aeoΩи가"), (20_000, 1))
    sequences = np.concatenate([letters, rng.choice(marks, (20_000, 3))], axis=1)
    documents = list(map("".join, sequences))
    for family in KINDS:
        tokenizer = engine(vocabulary(family))
        assert_exact(tokenizer, vocabulary(family), documents)


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("mark", ["[SEP]", "</s>", "\u302e", "\U0001d165a\u302e", "<", "[S"])
def test_one_odd_part_of_a_large_document(family, mark):
    """A special token or a mark that is put into order: no document is left to the original."""
    text = " ".join(corpus())
    tokenizer = engine(vocabulary(family))
    assert_exact(tokenizer, vocabulary(family), [f"{text} {mark} {text}", f"{text}{mark}{text}"])


# `Key::hash` in words.hpp; the last one is of `place_of` in pieces.hpp.
MULTIPLIERS = 0x9E3779B97F4A7C15, 0xC2B2AE3D27D4EB4F, 0xD6E8FEB86659FD93, 0x9FB21C651E98DF25


def hashes(keys: np.ndarray, sizes: int | np.ndarray) -> np.ndarray:
    """Return the engine's hashes of strings of at most 16 bytes."""
    hashed = (keys * np.array(MULTIPLIERS[:2], dtype=np.uint64)).sum(axis=1, dtype=np.uint64)
    hashed += np.asarray(sizes, dtype=np.uint64)
    return (hashed ^ hashed >> np.uint64(32)) * np.uint64(MULTIPLIERS[2])


def slots_of(hashed: np.ndarray, n_slots: int) -> np.ndarray:
    return ((hashed >> np.uint64(32)) * np.uint64(n_slots) >> np.uint64(32)).astype(np.intp)


@cache
def random_words(prefix: bytes) -> tuple[np.ndarray, np.ndarray]:
    """Return words of few tokens, which the cache takes, and their hashes after a prefix."""
    strings = np.zeros((2_000_000, 16), dtype=np.uint8)
    size = len(prefix) + 7
    strings[:, : len(prefix)] = list(prefix)
    strings[:, len(prefix) : size] = np.random.default_rng(0).integers(
        97, 123, (len(strings), 7), dtype=np.uint8
    )
    words = np.ascontiguousarray(strings[:, len(prefix) : size]).view("S7").ravel()
    return words, hashes(strings.view(np.uint64), size)


@pytest.mark.slow
@pytest.mark.parametrize("family", FAMILIES)
def test_words_that_collide(family):
    """Words chosen for a few places in a table cost what other new words cost, then and later."""
    slots = _composition(vocabulary(family).original.text)["model"]["words"]["slots"].reshape(-1, 3)
    sizes = slots[:, 2] & np.uint64(0xFFFFFFFF)
    is_free = sizes == 0
    [short] = np.nonzero((sizes > 0) & (sizes <= 16))
    first = slots_of(hashes(slots[short, :2], sizes[short]), len(slots))
    # That the hash is the engine's: each string is found from its slot on.
    assert not any(is_free[a : b + 1].any() for a, b in zip(first, short, strict=True))
    run_ends = np.minimum.accumulate(np.where(is_free, np.arange(len(slots)), len(slots))[::-1])
    longest = np.argmax(run_ends[::-1] - np.arange(len(slots)))

    attack = []
    for prefix in (b"", b" ", "▁".encode()):  # how a piece begins depends on the family
        words, hashed = random_words(prefix)
        attack += words[slots_of(hashed, len(slots)) == longest].tolist()[:300]
        attack += words[hashed * np.uint64(MULTIPLIERS[3]) >> np.uint64(64 - 6) == 0].tolist()
    assert len(attack) > 90_000  # places next to each other

    tokenizer, rng = engine(vocabulary(family)), np.random.default_rng(0)
    usual = " ".join(corpus() * 30)
    crafted, new = (
        b" ".join(rng.choice(words, 200_000)).decode() for words in (attack, random_words(b"")[0])
    )

    def seconds(document: str) -> float:
        def once() -> float:
            start = time.process_time()
            tokenizer.tokenize([document])
            return time.process_time() - start

        return min(once() for _ in range(3))

    before, of_new, of_crafted, after = map(seconds, (usual, new, crafted, usual))
    assert of_crafted < 5 * of_new
    assert after < 5 * before
    assert_exact(tokenizer, vocabulary(family), [crafted[:20_000]])


MEMORY = """
from tokenizers import Tokenizer
from sklearn_static._distill.usable_tokens import usable_tokens
from sklearn_static._serve import FastTokenizer
from sklearn_static._serve.composition import compose
from sklearn_static._serve.original import Original
def memory():
    return int(open("/proc/self/statm").read().split()[1]) * 4096
vocabulary = usable_tokens(Original.from_tokenizer(Tokenizer.from_file(TOKENIZER)))
fast = FastTokenizer(vocabulary, compose(vocabulary.original.state))
assert fast.composition is not None
for size in range(0, 2_250_000, 50_000):
    fast.tokenize([" ".join(f"q{i:07d}x" for i in range(size, size + 50_000))])
    if size == 250_000:
        before = memory()
print(memory() - before)
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
@pytest.mark.parametrize("family", KINDS)
def test_memory_is_bounded(family, tmp_path):
    """Words that were never seen before take no more memory once the cache is full."""
    path = str(tmp_path / "tokenizer.json")
    FAMILIES[family].tokenizer().save(path)
    assert int(run(f"TOKENIZER = {path!r}\n{MEMORY}")) < 2_000_000


class TestFeatures:
    @pytest.fixture(params=[None, "float16", "int8"])
    def quantize(self, request) -> str | None:
        return request.param

    def table(self, family: str, quantize: str | None, n_components: int, n_bigrams: int):
        words = vocabulary(family)
        rng = np.random.default_rng(0)
        pairs = None
        if n_bigrams:
            rows, _ = words.tokens(list(corpus())).in_vocabulary(None)
            distinct = np.unique(np.stack([rows[:-1], rows[1:]], axis=1), axis=0)
            pairs = Bigrams(rng.permutation(distinct)[:n_bigrams].astype(np.int32), len(words))
        vectors = rng.normal(size=(len(words) + n_bigrams, n_components)).astype(np.float32)
        vectors *= 10.0 ** rng.integers(-7, 2, (len(vectors), 1))  # including subnormal float16
        return StaticTable.from_vectors(engine(words), vectors, quantize, pairs)

    @pytest.mark.slow
    @pytest.mark.parametrize("family", ["bert", "roberta"])
    @pytest.mark.parametrize("norm", ["l2", None])
    @pytest.mark.parametrize("max_length", [None, 1, 7, 2**70])
    @pytest.mark.parametrize("n_bigrams", [0, 500])
    def test_the_same_bits(self, family, quantize, norm, max_length, n_bigrams):
        table = self.table(family, quantize, 13, n_bigrams)
        documents = [*awkward_texts(), *corpus()]
        expected = reference_features(table, documents, max_length, norm)
        features, n_empty = table.transform(documents, max_length=max_length, norm=norm)
        np.testing.assert_array_equal(features, expected)
        assert n_empty == np.count_nonzero(~expected.any(axis=1))
        alone = [table.transform([d], max_length=max_length, norm=norm)[0][0] for d in documents]
        np.testing.assert_array_equal(alone, expected)

    @pytest.mark.parametrize("n_components", [1, 2, 7, 8, 64, 384])
    def test_any_number_of_columns(self, n_components, quantize):
        table = self.table("bert", quantize, n_components, 500)
        documents = list(corpus())
        np.testing.assert_array_equal(
            table.transform(documents)[0], reference_features(table, documents)
        )

    def test_every_half_float(self):
        halves = np.arange(1 << 16, dtype=np.uint16).view(np.float16)
        words = vocabulary("bert")
        finite = halves[np.isfinite(halves)]
        stored = np.resize(finite, (len(words), -(-len(finite) // len(words))))
        table = StaticTable(engine(words), stored)
        tokens = [words.tokenizer.id_to_token(int(i)) for i in words.token_ids]
        documents = [
            token for token in tokens if len(words.tokens([token]).in_vocabulary(None)[0]) == 1
        ]
        rows = [int(words.tokens([document]).in_vocabulary(None)[0][0]) for document in documents]
        assert len(set(rows)) > 100
        features, _ = table.transform(documents, norm=None)
        np.testing.assert_array_equal(features, stored[rows].astype(np.float32))

    def test_portable_classes_give_the_same(self, quantize):
        table = self.table("bert", quantize, 13, 500)
        documents = [*awkward_texts(), *corpus()]
        pairs = table.bigrams.pairs
        with pytest.warns(UserWarning, match="compiled extension of sklearn-static is missing"):
            tokenizer = portable.FastTokenizer(table.vocabulary, None)
        pooler = portable.Pooler(table.stored, table.scales, pairs, len(table.vocabulary))
        for norm, max_length in (("l2", None), (None, 7)):
            out = np.full((len(documents), 13), np.nan, dtype=np.float32)
            n_empty = pooler.pool(
                tokenizer.tokenize(documents), out, max_length=max_length, unit_length=norm == "l2"
            )
            expected = table.transform(documents, norm=norm, max_length=max_length)
            np.testing.assert_array_equal(out, expected[0])
            assert n_empty == expected[1]

    @pytest.mark.parametrize("n_documents", [1, 3])
    def test_rows_of_any_number(self, quantize, n_documents):
        """Sums that are resumed: a document may need more rows than are summed at once."""
        table = self.table("bert", quantize, 300, 0)
        words = " ".join(corpus()).split()
        for n_words in (1, 15, 16, 17, 32, 33, 100):
            documents = [" ".join(words[i : i + n_words]) for i in range(n_documents)]
            for norm in ("l2", None):
                np.testing.assert_array_equal(
                    table.transform(documents, norm=norm)[0],
                    reference_features(table, documents, None, norm),
                )

    def test_arrays_that_do_not_fit(self):
        table = self.table("bert", None, 8, 0)
        pooler = Pooler(table.stored, None, None, len(table.vocabulary))
        tokens = table.tokenizer.tokenize(["the"])
        with pytest.raises(ValueError, match="one row for each document"):
            pooler.pool(tokens, np.empty((2, 8), dtype=np.float32))
        read_only = np.empty((1, 8), dtype=np.float32)
        read_only.flags.writeable = False
        with pytest.raises(ValueError, match="read-only"):
            pooler.pool(tokens, read_only)


@pytest.mark.skipif(
    not os.path.exists("/sys/kernel/mm/transparent_hugepage"), reason="needs huge pages of Linux"
)
def test_a_mapped_table_has_huge_pages_and_stays_shared(tmp_path):
    shape = (8192, 256)  # 8 MB
    np.ones(shape, dtype=np.float32).tofile(tmp_path / "stored")
    stored = np.memmap(tmp_path / "stored", dtype=np.float32, mode="r", shape=shape)
    pooler = Pooler(stored, None, None, len(stored))
    words = vocabulary("bert")
    tokens = engine(words).tokenize(["the value of it"] * 100)
    pooler.pool(tokens, np.empty((100, 256), dtype=np.float32))
    middle = stored.ctypes.data + stored.nbytes // 2
    for mapping in re.split(r"^(?=[0-9a-f]+-)", Path("/proc/self/smaps").read_text(), flags=re.M):
        bounds = re.match("([0-9a-f]+)-([0-9a-f]+) ", mapping)
        if bounds and int(bounds[1], 16) <= middle < int(bounds[2], 16):
            assert re.search("VmFlags:.* hg( |$)", mapping)
            assert re.search("Anonymous: +0 kB", mapping)  # no private copy
            break
    else:
        pytest.fail("the table is not in the list of mappings")
