"""Columns of a table: names of features, several vectorizers, and columns of another name."""

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.compose import ColumnTransformer
from sklearn.ensemble import VotingClassifier
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import FeatureUnion, make_pipeline

from sklearn_static import StaticEmbeddingVectorizer
from sklearn_static._serve.documents import column_name
from sklearn_static.inspection import token_contributions

pd = pytest.importorskip("pandas")
pl = pytest.importorskip("polars")
pa = pytest.importorskip("pyarrow")

DOCUMENTS = ["a list of names", "return the value", "the names of a list", "a value"]
NAMED = {
    "pandas Series": lambda name: pd.Series(DOCUMENTS, name=name),
    "pandas DataFrame": lambda name: pd.DataFrame({name: DOCUMENTS}),
    "polars Series": lambda name: pl.Series(name, DOCUMENTS),
    "polars DataFrame": lambda name: pl.DataFrame({name: DOCUMENTS}),
    "pyarrow Table": lambda name: pa.table({name: DOCUMENTS}),
}
UNNAMED = {
    "list": DOCUMENTS,
    "pandas Series": pd.Series(DOCUMENTS),
    "pandas DataFrame with a number as name": pd.DataFrame({0: DOCUMENTS}),
    "polars Series": pl.Series(DOCUMENTS),
    "array": np.array(DOCUMENTS),
    "pyarrow array": pa.array(DOCUMENTS),
}


@pytest.fixture
def vectorizer(bert_folder) -> StaticEmbeddingVectorizer:
    return StaticEmbeddingVectorizer(bert_folder, n_components=4, lsa_components=2)


@pytest.mark.parametrize("make", NAMED.values(), ids=NAMED)
def test_features_are_named_after_the_column(make, vectorizer):
    vectorizer.fit(make("title"))
    assert vectorizer.feature_names_in_.tolist() == ["title"]
    names = [f"title_{name}" for name in ("semantic0", "semantic1", "semantic2", "semantic3")]
    assert vectorizer.get_feature_names_out().tolist() == [*names, "title_lsa0", "title_lsa1"]
    expected = vectorizer.transform(DOCUMENTS)  # documents without a name are those of any column
    np.testing.assert_array_equal(vectorizer.transform(make("title")), expected)
    np.testing.assert_array_equal(vectorizer.fit_transform(make("title")), expected)


@pytest.mark.parametrize("make", NAMED.values(), ids=NAMED)
def test_another_column_is_refused(make, vectorizer):
    vectorizer.fit(make("title"))
    with pytest.raises(ValueError, match=r"unseen at fit time:\n- body\n.*now missing:\n- title"):
        vectorizer.transform(make("body"))


def test_the_error_is_that_of_scikit_learn(vectorizer):
    ours, theirs = vectorizer.fit(NAMED["pandas Series"]("title")), LogisticRegression()
    theirs.fit(pd.DataFrame({"title": [0, 1]}), [0, 1])
    messages = []
    for transform, X in (
        (ours.transform, NAMED["pandas DataFrame"]("body")),
        (theirs.predict, pd.DataFrame({"body": [0, 1]})),
    ):
        with pytest.raises(ValueError, match="The feature names should match") as raised:
            transform(X)
        messages.append(str(raised.value))
    assert messages[0] == messages[1]


@pytest.mark.parametrize("X", UNNAMED.values(), ids=UNNAMED)
def test_without_a_name_the_features_are_named_after_the_class(X, vectorizer):
    vectorizer.fit(NAMED["pandas Series"]("title")).fit(X)
    assert not hasattr(vectorizer, "feature_names_in_")
    assert vectorizer.get_feature_names_out()[0] == "staticembeddingvectorizer_semantic0"
    vectorizer.transform(NAMED["pandas Series"]("any"))


def test_two_vectorizers_in_a_column_transformer(vectorizer):
    table = pd.DataFrame({"title": DOCUMENTS, "body": DOCUMENTS[::-1]})
    both = ColumnTransformer(
        [(name, vectorizer, name) for name in table], verbose_feature_names_out=False
    ).set_output(transform="pandas")
    features = both.fit_transform(table)
    assert len(set(features.columns)) == 12
    assert [*features.columns[[0, 11]]] == ["title_semantic0", "body_lsa1"]


def test_a_pipeline_that_was_fitted_to_a_named_column_is_explained(vectorizer):
    pipeline = make_pipeline(vectorizer, LogisticRegression())
    pipeline.fit(NAMED["pandas Series"]("title"), [0, 1, 0, 1])
    contributions = token_contributions(pipeline, DOCUMENTS[0])
    named = make_pipeline(vectorizer, LogisticRegression()).fit(DOCUMENTS, [0, 1, 0, 1])
    assert repr(contributions) == repr(token_contributions(named, DOCUMENTS[0]))


@pytest.mark.parametrize("kind", ["FeatureUnion", "VotingClassifier"])
def test_what_contains_a_vectorizer_is_explained(kind, vectorizer):
    """They have the name of the column, too, but take documents."""
    words = TfidfVectorizer()
    if kind == "FeatureUnion":
        union = FeatureUnion([("meaning", vectorizer), ("words", words)])
        model = make_pipeline(union, LogisticRegression())
    else:
        members = [("meaning", make_pipeline(vectorizer, LogisticRegression()))]
        members += [("words", make_pipeline(words, LogisticRegression()))]
        model = VotingClassifier(members, voting="soft")
    found = [
        token_contributions(clone(model).fit(X, [0, 1, 0, 1]), DOCUMENTS[0])
        for X in (DOCUMENTS, NAMED["pandas Series"]("title"))
    ]
    assert repr(found[0]) == repr(found[1])


def test_objects_with_columns_of_another_kind():
    class Rows(list):
        columns = None

    class Method:
        def __iter__(self):
            return iter(DOCUMENTS)

        def columns(self) -> list[str]:
            return ["a"]

    assert column_name(Rows(DOCUMENTS)) is None
    assert column_name(Method()) is None
