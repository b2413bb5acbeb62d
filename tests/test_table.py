import pickle

import numpy as np
import pytest
from teachers import engine, usable, wordpiece

from sklearn_static._serve import FastTokenizer
from sklearn_static._serve import table as table_module
from sklearn_static._serve.bigrams import Bigrams
from sklearn_static._serve.table import StaticTable


def features_of(table: StaticTable, documents: list[str], **options: object) -> np.ndarray:
    return table.transform(documents, **options)[0]


@pytest.fixture(scope="module")
def tokenizer() -> FastTokenizer:
    return engine(usable(wordpiece()))


@pytest.fixture
def vectors(tokenizer) -> np.ndarray:
    rng = np.random.default_rng(0)
    return rng.normal(size=(len(tokenizer.vocabulary), 8)).astype(np.float32)


@pytest.fixture(params=[None, "float16", "int8"])
def table(request, tokenizer, vectors) -> StaticTable:
    return StaticTable.from_vectors(tokenizer, vectors.copy(), request.param)


def test_a_text_is_the_mean_of_its_tokens_vectors(table, texts):
    features = features_of(table, texts, norm=None)
    for text, feature in zip(texts, features, strict=True):
        rows, _ = table.vocabulary.tokens([text]).in_vocabulary(None)
        np.testing.assert_allclose(feature, table.vectors()[rows].mean(axis=0), atol=1e-5)
    assert features.dtype == np.float32


def test_l2_gives_the_direction_of_the_mean(table, texts):
    means = features_of(table, texts, norm=None)
    features = features_of(table, texts, norm="l2")
    np.testing.assert_allclose(
        features, means / np.linalg.norm(means, axis=1, keepdims=True), atol=1e-6
    )


def test_features_do_not_depend_on_other_documents(table, texts):
    together = features_of(table, texts)
    alone = np.vstack([features_of(table, [text]) for text in texts])
    np.testing.assert_array_equal(together, alone)


def test_documents_without_a_token_are_zero(table):
    features = features_of(table, ["", "字", "[SEP]", "the"])
    assert features.any(axis=1).tolist() == [False, False, False, True]
    assert features_of(table, []).shape == (0, 8)


def test_a_norm_set_after_fit_is_checked(table):
    with pytest.raises(ValueError, match="norm must be 'l2' or None, got 'l1'"):
        features_of(table, ["the"], norm="l1")


def test_documents_without_a_token_are_counted(table):
    assert table.transform(["", "字", "the"])[1] == 2


def test_a_lone_surrogate_is_named_by_its_row(table):
    documents = ["the"] * 5000 + ["caf\udce9"]
    with pytest.raises(ValueError, match="row 5000 has a lone surrogate at character 3"):
        table.transform(documents)


def test_float16_is_rounded(tokenizer, vectors):
    table = StaticTable.from_vectors(tokenizer, vectors, "float16")
    assert table.stored.dtype == np.float16
    np.testing.assert_array_equal(table.vectors(), vectors.astype(np.float16))


def test_float16_does_not_overflow_silently(tokenizer, vectors):
    vectors[3, 4] = -7e4
    with pytest.raises(
        ValueError, match="holds values up to 65504, but the token vectors reach 70000"
    ):
        StaticTable.from_vectors(tokenizer, vectors, "float16")


def test_int8_keeps_a_scale_per_row(tokenizer, vectors):
    vectors[5] = 0
    vectors[6] *= 1e-6
    vectors[7] *= 1e6
    table = StaticTable.from_vectors(tokenizer, vectors, "int8")
    assert table.stored.dtype == np.int8
    assert np.abs(table.stored.astype(int)).max() == 127
    step = np.abs(vectors).max(axis=1, keepdims=True) / 127
    assert (np.abs(table.vectors() - vectors) <= 0.5 * step + 1e-12).all()


@pytest.mark.parametrize("quantize", [None, "float16", "int8"])
def test_vectors_in_any_memory_layout(quantize, tokenizer, vectors, texts):
    expected = features_of(StaticTable.from_vectors(tokenizer, vectors.copy(), quantize), texts)
    for stored in (np.asfortranarray(vectors), np.repeat(vectors, 2, axis=1)[:, ::2]):
        table = StaticTable.from_vectors(tokenizer, stored, quantize)
        np.testing.assert_array_equal(features_of(table, texts), expected)


def test_nothing_of_the_callers_is_frozen_or_copied(tokenizer, vectors):
    pairs = np.array([[1, 2], [3, 4]], dtype=np.int32)
    n_tokens = len(tokenizer.vocabulary)
    stored = np.vstack([vectors, vectors[:2]])
    table = StaticTable(tokenizer, stored, None, Bigrams(pairs, n_tokens))
    assert np.shares_memory(table.stored, stored)
    stored[0] = 1
    pairs[0] = 0


@pytest.mark.parametrize("rule", ["characters", "byte-level", None])
def test_the_first_format_is_read(table, texts, rule):
    """It had the tokenizer as text and the name of a rule, and no tables."""
    state = {
        "format_version": 1,
        "tokenizer": table.vocabulary.tokenizer.to_str(),
        "token_ids": table.vocabulary.token_ids,
        "rule": rule,
        "stored": table.stored,
        "scales": table.scales,
        "bigrams": None,
    }
    again = StaticTable.__new__(StaticTable)
    again.__setstate__(state)
    np.testing.assert_array_equal(features_of(again, texts), features_of(table, texts))
    state["token_ids"] = table.vocabulary.token_ids + 100_000
    with pytest.raises(ValueError, match="no token with id 100"):
        again.__setstate__(state)


def test_tables_of_another_version_are_made_anew(table, texts, monkeypatch):
    state = pickle.dumps(table)
    monkeypatch.setattr("sklearn_static._serve.table.COMPOSITION_VERSION", 99)
    again = pickle.loads(state)
    np.testing.assert_array_equal(features_of(again, texts), features_of(table, texts))


def test_damaged_tables_are_refused(table):
    state = table.__getstate__()
    composition = dict(state["composition"])
    words = dict(composition["model"]["words"])
    words["slots"] = words["slots"].copy()
    words["slots"][7] += 1
    composition["model"] = composition["model"] | {"words": words}
    for damage in ({"composition": composition}, {"token_ids": state["token_ids"] + 1}):
        with pytest.raises(ValueError, match="does not match the checksum"):
            StaticTable.__new__(StaticTable).__setstate__(state | damage)


def test_arrays_are_read_only(table):
    with pytest.raises(ValueError, match="read-only"):
        table.stored[0] = 0
    with pytest.raises(ValueError, match="read-only"):
        pickle.loads(pickle.dumps(table)).stored[0] = 0


def test_pickle(table, texts):
    again = pickle.loads(pickle.dumps(table))
    np.testing.assert_array_equal(features_of(again, texts), features_of(table, texts))


def test_a_newer_format_is_refused(table, monkeypatch):
    monkeypatch.setattr(table_module, "FORMAT_VERSION", 99)
    newer = pickle.dumps(table)
    monkeypatch.undo()
    with pytest.raises(ValueError, match=r"format 99; this version .* reads up to format 2"):
        pickle.loads(newer)
