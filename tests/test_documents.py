from enum import Enum

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from scipy.sparse import csr_matrix

from sklearn_static._serve.documents import as_documents, check_encodable

TEXTS = ["one text", "", "ünïcode 日本"]


@pytest.mark.parametrize(
    "X",
    [
        TEXTS,
        tuple(TEXTS),
        dict(enumerate(TEXTS)).values(),
        (text for text in TEXTS),
        np.array(TEXTS),
        np.array(TEXTS, dtype=object),
        np.array(TEXTS)[:, None],
        pd.Series(TEXTS, index=[7, 3, 5]),
        pd.Series(TEXTS, dtype="category"),
        pd.Series(TEXTS, dtype="string"),
        pd.Index(TEXTS),
        pd.DataFrame({"text": TEXTS}, index=[7, 3, 5]),
        pl.Series(TEXTS),
        pl.DataFrame({"text": TEXTS}),
        pa.array(TEXTS),
        pa.chunked_array([TEXTS[:1], TEXTS[1:]]),
        pa.table({"text": TEXTS}),
    ],
    ids=lambda X: f"{type(X).__module__}.{type(X).__name__}",
)
def test_every_container_gives_the_same_plain_documents(X):
    documents = as_documents(X)
    assert documents == TEXTS
    assert set(map(type, documents)) == {str}


def test_no_documents():
    assert as_documents([]) == []
    assert as_documents(pd.Series([], dtype=object)) == []


def test_the_input_is_not_changed():
    X = ["a", None]
    as_documents(X, missing="empty")
    assert X == ["a", None]


@pytest.mark.parametrize(
    ("X", "error", "message"),
    [
        ("a text", ValueError, r"single str; pass \[document\]"),
        (b"a text", TypeError, "got bytes"),
        (None, TypeError, "got NoneType"),
        (3, TypeError, "got int"),
        (
            {"a": 1},
            TypeError,
            r"ordered collection of documents, got dict; pass list\(X.values\(\)\)",
        ),
        ({"a": 1}.keys(), TypeError, r"ordered .*, got dict_keys; pass list\(X\)\."),
        ({"a"}, TypeError, "ordered collection of documents, got set; pass a list"),
        (pl.LazyFrame({"a": ["x"]}), TypeError, r"got polars.*LazyFrame; pass X\.collect\(\)\."),
        (["a", b"b"], TypeError, "got bytes in row 1; decode it first"),
        (["a", 1], TypeError, "got int in row 1"),
        ([["a"], ["b"]], TypeError, "got list in row 0"),
        (np.zeros(3), TypeError, "got float in row 0"),
        (np.array([b"a"]), TypeError, "got bytes in row 0"),
        (np.array("a"), ValueError, r"shape \(\)"),
        (np.array([["a", "b"]]), ValueError, r"one column of documents, got shape \(1, 2\)"),
        (pd.DataFrame({"a": ["x"], "b": ["y"]}), ValueError, r"got shape \(1, 2\)"),
        (pl.DataFrame({"a": ["x"], "b": ["y"]}), ValueError, r"got shape \(1, 2\)"),
        (pa.table({"a": ["x"], "b": ["y"]}), ValueError, r"got shape \(1, 2\)"),
        (csr_matrix([[1.0]]), TypeError, "csr_matrix"),
    ],
)
def test_invalid_documents(X, error, message):
    with pytest.raises(error, match=message):
        as_documents(X)


def test_lone_surrogates():
    check_encodable(["fine", "é"])
    with pytest.raises(ValueError, match="row 1 has a lone surrogate at character 3"):
        check_encodable(["fine", "caf\udce9"])


@pytest.mark.parametrize("value", [None, np.nan, float("nan"), np.float32("nan"), pd.NA, pd.NaT])
def test_missing_values(value):
    X = ["a", value, "b", value]
    with pytest.raises(ValueError, match="2 missing values, in rows 1, 3; missing='empty'"):
        as_documents(X)
    assert as_documents(X, missing="empty") == ["a", "", "b", ""]


@pytest.mark.parametrize("column", [pd.Series, pl.Series, pa.array], ids=lambda c: c.__name__)
def test_nulls_of_each_library(column):
    assert as_documents(column(["a", None]), missing="empty") == ["a", ""]


def test_many_nulls_are_counted_and_the_first_are_named():
    with pytest.raises(ValueError, match=r"10 missing values, in rows 0, 1, 2, 3, 4, \.\.\.;"):
        as_documents([None] * 10)


def test_a_str_enum_is_read_by_its_value():
    class Word(str, Enum):  # noqa: UP042 (whose str is not its value)
        CAT = "a cat"

    documents = as_documents([Word.CAT, "a dog"])
    assert documents == ["a cat", "a dog"]
    assert {type(document) for document in documents} == {str}
