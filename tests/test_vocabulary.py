import pytest
from teachers import FAMILIES, awkward_texts, usable
from tokenizers import Tokenizer

from sklearn_static._serve.vocabulary import Vocabulary


@pytest.fixture(params=FAMILIES)
def tokenizer(request) -> Tokenizer:
    return FAMILIES[request.param].tokenizer()


def reference_rows(tokenizer: Tokenizer, vocabulary: Vocabulary, text: str) -> list[int]:
    """Tokenize one document with the tokenizer's plain `encode`, and look tokens up by string."""
    if tokenizer.truncation is not None or tokenizer.padding is not None:
        tokenizer = vocabulary.tokenizer  # reading the text once more could round a score
    tokens = tokenizer.encode(text, add_special_tokens=False).tokens
    rows = vocabulary.row_of_token
    return [rows[token] for token in tokens if token in rows]


def test_row_ids_are_those_of_encode(tokenizer, texts):
    documents = [*awkward_texts(), *texts]
    vocabulary = usable(tokenizer)
    rows, offsets = vocabulary.tokens(documents).in_vocabulary(None)
    assert len(offsets) == len(documents) + 1
    for i, text in enumerate(documents):
        expected = reference_rows(tokenizer, vocabulary, text)
        assert rows[offsets[i] : offsets[i + 1]].tolist() == expected


def test_the_tokenizer_is_not_changed(tokenizer, texts):
    before = tokenizer.to_str()
    vocabulary = usable(tokenizer)
    own = vocabulary.tokenizer.to_str()
    vocabulary.tokens(texts).in_vocabulary(3)
    assert tokenizer.to_str() == before
    assert vocabulary.tokenizer.to_str() == own


def test_special_and_unused_tokens_have_no_row(tokenizer):
    rows = usable(tokenizer).row_of_token
    specials = [t.content for t in tokenizer.get_added_tokens_decoder().values() if t.special]
    assert specials
    assert not set(rows) & {*specials, "[UNK]", "<unk>", "[unused0]", "[unused1]"}
    assert list(rows.values()) == list(range(len(rows)))
    ids = [tokenizer.token_to_id(token) for token in rows]
    assert ids == sorted(ids)


def test_added_words_have_a_row():
    tokenizer = FAMILIES["bert"].tokenizer()
    tokenizer.add_tokens(["sklearn-static"])
    vocabulary = usable(tokenizer)
    rows, _ = vocabulary.tokens(["sklearn-static"]).in_vocabulary(None)
    assert rows.tolist() == [vocabulary.row_of_token["sklearn-static"]]


def test_max_length_counts_tokens(texts):
    vocabulary = usable(FAMILIES["bert"].tokenizer())
    rows, offsets = vocabulary.tokens(texts).in_vocabulary(None)
    short, short_offsets = vocabulary.tokens(texts).in_vocabulary(7)
    for i in range(len(texts)):
        whole = rows[offsets[i] : offsets[i + 1]]
        part = short[short_offsets[i] : short_offsets[i + 1]]
        assert part.tolist() == whole[:7].tolist()


def test_unknown_tokens_count_for_max_length():
    vocabulary = usable(FAMILIES["bert"].tokenizer())
    rows, _ = vocabulary.tokens(["字 the the"]).in_vocabulary(2)
    assert rows.tolist() == [vocabulary.row_of_token["the"]]
