"""The original tokenizer as text that is parsed when needed."""

import json
import pickle

import numpy as np
import pytest
from teachers import FAMILIES, corpus, engine, save_sentence_transformer, tiny_vectorizer, usable
from tokenizers import Tokenizer

from sklearn_static import StaticEmbeddingVectorizer
from sklearn_static._serve.original import Original, token_ids, unknown_id


def is_parsed(vectorizer: StaticEmbeddingVectorizer) -> bool:
    return "tokenizer" in vectorizer.table_.vocabulary.original.__dict__


@pytest.fixture(scope="module")
def fitted(tmp_path_factory) -> StaticEmbeddingVectorizer:
    folder = save_sentence_transformer("xlm-roberta", tmp_path_factory.mktemp("teacher"))
    return tiny_vectorizer(folder).fit(["a"])


def test_loaded_model_parses_the_original_tokenizer_only_if_needed(fitted, tmp_path):
    fitted.save_pretrained(tmp_path)
    documents = [*corpus(), "日本語 and Ünïcödé"]
    expected = fitted.transform(documents)
    for loaded in (
        pickle.loads(pickle.dumps(fitted)),
        StaticEmbeddingVectorizer.from_pretrained(tmp_path),
    ):
        np.testing.assert_array_equal(loaded.transform(documents), expected)
        assert not is_parsed(loaded)
        assert loaded.vocabulary_ == fitted.vocabulary_
        assert is_parsed(loaded)


@pytest.mark.parametrize("family", FAMILIES)
def test_ids_are_those_of_the_library(family):
    tokenizer = FAMILIES[family].tokenizer()
    state = Original(tokenizer.to_str()).state
    assert token_ids(state) == tokenizer.get_vocab(with_added_tokens=True)
    unknown = unknown_id(state)
    assert unknown is None or tokenizer.id_to_token(unknown) in ("[UNK]", "<unk>")


def test_scores_are_rounded_as_by_the_library():
    """Parsing the text of a score may change its last bit, which decides between equal splits."""
    rng = np.random.default_rng(0)
    scores = [0.0, -1e-05, 12345.678, 1e22, *rng.normal(scale=10, size=2000).tolist()]
    state = json.loads(FAMILIES["xlm-roberta"].tokenizer().to_str())
    state["model"]["vocab"] = [[f"t{i}", score] for i, score in enumerate(scores)]
    state["added_tokens"] = []
    text = json.dumps(state)
    library = json.loads(Tokenizer.from_str(text).to_str())["model"]["vocab"]
    assert Original(text).state["model"]["vocab"] == library
    assert json.loads(text)["model"]["vocab"] != library


def test_truncation_and_padding_are_left_out():
    plain = FAMILIES["bert"].tokenizer()
    tokenizer = Tokenizer.from_str(plain.to_str())
    tokenizer.enable_truncation(3)
    tokenizer.enable_padding(length=9)
    before = tokenizer.to_str()
    documents = list(corpus())
    vocabulary = usable(tokenizer)
    expected = usable(plain).tokens(documents)
    for got in (vocabulary.tokens(documents), engine(vocabulary).tokenize(documents).to_arrays()):
        np.testing.assert_array_equal(got[0], expected[0])
    assert tokenizer.to_str() == before
