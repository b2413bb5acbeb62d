import builtins
import tracemalloc

import numpy as np
import pandas as pd
import pytest
from sklearn.base import clone
from sklearn.compose import ColumnTransformer
from sklearn.ensemble import IsolationForest, RandomForestClassifier, RandomForestRegressor
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import (
    LogisticRegression,
    Ridge,
)
from sklearn.model_selection import GridSearchCV
from sklearn.naive_bayes import GaussianNB
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import FeatureUnion, make_pipeline
from sklearn.preprocessing import (
    FunctionTransformer,
    StandardScaler,
)
from sklearn.svm import SVC
from teachers import save_sentence_transformer

from sklearn_static import StaticEmbeddingVectorizer
from sklearn_static.inspection import (
    token_contributions,
    token_importances,
)

DOCUMENT = "Return the the value of\ta list, naïve 日本 and return the list!"


def occluded(decide, document, spans):
    """The definition, one document after the other."""
    values = []
    for start, stop in spans:
        before, after = document[:start], document[stop:]
        if before.endswith(" ") and (not after or after.startswith(" ")):
            before = before[:-1]
        elif not before and after.startswith(" "):
            after = after[1:]
        values.append(decide(document) - decide(before + after))
    return values


ESTIMATORS = {
    "union with TF-IDF": lambda v: make_pipeline(
        FeatureUnion([("tfidf", TfidfVectorizer()), ("static", v)]), LogisticRegression()
    ),
    "svc": lambda v: make_pipeline(v, SVC()),
    "forest": lambda v: make_pipeline(v, RandomForestClassifier(20, random_state=0)),
    "neighbors": lambda v: make_pipeline(v, StandardScaler(), KNeighborsClassifier(20)),
    "cleaned": lambda v: make_pipeline(FunctionTransformer(upper), v, GaussianNB()),
    "search": lambda v: GridSearchCV(make_pipeline(v, SVC()), {"svc__C": [1, 2]}, cv=2),
}


def upper(documents):
    return [document.upper() for document in documents]


@pytest.mark.parametrize("kind", ESTIMATORS)
def test_occlusion_is_the_change_without_the_token(kind, fitted, texts, classes):
    estimator = ESTIMATORS[kind](clone(fitted)).fit(texts, classes)
    document = "Return the value of the list, and more"
    result = token_contributions(estimator, document)
    assert result.method == "occlusion"
    method = getattr(estimator, result.output)
    column = list(estimator.classes_).index(result.target)
    assert result.target == estimator.predict([document])[0]

    def decision(text):
        return method([text])[0, column]

    assert result.contributions == pytest.approx(
        occluded(decision, document, result.spans), abs=1e-6
    )
    assert result.decision == pytest.approx(decision(document))
    with pytest.warns(UserWarning, match="1 of 1"):
        assert result.intercept == pytest.approx(decision(""))
    assert np.abs(result.contributions).max() > 1e-3


@pytest.mark.parametrize("kind", ["vectorizer", "classifier", "pipeline", "search", "tuple"])
def test_frozen_estimators_are_explained_like_others(kind, fitted, texts, binary):
    plain = make_pipeline(fitted, LogisticRegression()).fit(texts, binary)
    vectorizer, classifier = plain[0], plain[1]
    frozen = {
        "vectorizer": lambda: make_pipeline(FrozenEstimator(vectorizer), classifier),
        "classifier": lambda: make_pipeline(vectorizer, FrozenEstimator(classifier)),
        "pipeline": lambda: FrozenEstimator(plain),
        "search": lambda: FrozenEstimator(
            GridSearchCV(
                make_pipeline(FrozenEstimator(vectorizer), LogisticRegression()),
                {"logisticregression__C": [1.0]},
                cv=2,
            ).fit(texts, binary)
        ),
        "tuple": lambda: (FrozenEstimator(vectorizer), classifier),
    }[kind]()
    ours, expected = token_contributions(frozen, DOCUMENT), token_contributions(plain, DOCUMENT)
    assert ours.method == "exact"
    np.testing.assert_allclose(ours.contributions, expected.contributions, atol=1e-6)
    names, values = token_importances(frozen, top=5), token_importances(plain, top=5)
    pd.testing.assert_frame_equal(names, values, atol=1e-6)


def test_occlusion_of_a_table_with_one_column(fitted, texts, binary):
    for column, X in (
        ("text", pd.DataFrame({"text": texts})),
        (0, np.array(texts, dtype=object)[:, None]),
    ):
        columns = ColumnTransformer([("static", clone(fitted), column)])
        estimator = make_pipeline(columns, LogisticRegression()).fit(X, binary)
        result = token_contributions(estimator, DOCUMENT)
        plain = make_pipeline(clone(fitted), LogisticRegression()).fit(texts, binary)
        assert result.method == "occlusion"
        expected = token_contributions(plain, DOCUMENT, method="occlusion")
        assert result.contributions == pytest.approx(expected.contributions, abs=1e-5)
    with pytest.raises(ValueError, match="the first step must be the StaticEmbeddingVectorizer"):
        token_contributions(estimator, DOCUMENT, method="exact")
    X = pd.DataFrame({"text": texts, "other": texts})
    columns = ColumnTransformer([("static", clone(fitted), "text")])
    estimator = make_pipeline(columns, LogisticRegression()).fit(X, binary)
    with pytest.raises(ValueError, match="fitted on 2 columns"):
        token_contributions(estimator, DOCUMENT)


def test_occlusion_of_two_classes_is_of_the_second(fitted, texts, binary):
    pipeline = make_pipeline(clone(fitted), SVC()).fit(texts, binary)
    result = token_contributions(pipeline, DOCUMENT)
    assert result.target == "short"
    assert result.decision == pytest.approx(pipeline.decision_function([DOCUMENT])[0])
    other = token_contributions(pipeline, DOCUMENT, target="long")
    assert other.contributions == pytest.approx(-result.contributions)
    forest = make_pipeline(clone(fitted), RandomForestClassifier(9)).fit(texts, binary)
    result = token_contributions(forest, DOCUMENT, target="long")
    assert result.output == "predict_proba"
    assert result.decision == pytest.approx(forest.predict_proba([DOCUMENT])[0, 0])


def test_occlusion_of_several_outputs(fitted, texts, numbers):
    labels = np.column_stack([numbers > 2, numbers > 4]).astype(int)
    forest = make_pipeline(clone(fitted), RandomForestClassifier(9)).fit(texts, labels)
    result = token_contributions(forest, DOCUMENT)
    assert result.contributions.shape == (len(result.tokens), 2)
    assert result.decision == pytest.approx(
        [part[0, 1] for part in forest.predict_proba([DOCUMENT])]
    )
    both = np.column_stack([numbers, -numbers])
    forest = make_pipeline(clone(fitted), RandomForestRegressor(9)).fit(texts, both)
    result = token_contributions(forest, DOCUMENT)
    assert (result.output, result.target) == ("predict", [0, 1])
    assert result.contributions[:, 0] == pytest.approx(-result.contributions[:, 1])


def test_occlusion_of_an_outlier_detector(fitted, texts):
    pipeline = make_pipeline(clone(fitted), IsolationForest(n_estimators=10, random_state=0)).fit(
        texts
    )
    result = token_contributions(pipeline, DOCUMENT)
    assert (result.output, result.target) == ("decision_function", 0)
    assert result.decision == pytest.approx(pipeline.decision_function([DOCUMENT])[0])


def test_the_bytes_of_a_character_share_its_difference(texts, binary, tmp_path):
    folder = save_sentence_transformer("roberta", tmp_path)
    pipeline = make_pipeline(StaticEmbeddingVectorizer(folder, n_components=8), SVC())
    pipeline.fit(texts, binary)
    result = token_contributions(pipeline, "value 日 list")
    places = [i for i, token in enumerate(result.tokens) if token == "日"]
    assert len(places) == 3
    difference = pipeline.decision_function(["value 日 list", "value list"])
    assert result.contributions[places].sum() == pytest.approx(
        difference[0] - difference[1], abs=1e-6
    )
    assert len(set(result.contributions[places])) == 1


def test_occlusion_of_a_long_document_takes_little_memory(fitted, texts, binary):
    """It does not copy the document once for each token at the same time."""
    pipeline = make_pipeline(clone(fitted), LogisticRegression()).fit(texts, binary)
    document = "a list of names " * 1500
    tracemalloc.start()
    result = token_contributions(pipeline, document, method="occlusion")
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    n_tokens = len(result.contributions)
    assert n_tokens * len(document) > 100e6
    assert peak < 60e6
    few = token_contributions(pipeline, document[:1600], method="occlusion")
    assert np.isfinite(few.contributions).all()


def test_occlusion_warns_of_the_document_alone(fitted, texts, binary):
    pipeline = make_pipeline(clone(fitted), SVC()).fit(texts, binary)
    token_contributions(pipeline, "value")  # without it, nothing is left; warnings are errors here
    with pytest.warns(UserWarning, match="1 of 1"):
        token_contributions(pipeline, "日本")
    with pytest.warns(UserWarning, match="1 of 1"):
        empty = token_contributions(pipeline, "")
    assert empty.tokens == ()
    assert empty.contributions.shape == (0,)
    assert empty.intercept == pytest.approx(empty.decision)


@pytest.mark.parametrize("document", [None, b"text", ["text"], 3])
def test_document_must_be_a_str(document, pipeline):
    with pytest.raises(TypeError, match="document must be one document, a str, got"):
        token_contributions(pipeline, document)


def test_a_document_is_valid_unicode(pipeline):
    with pytest.raises(ValueError, match="lone surrogate at character 2"):
        token_contributions(pipeline, "ab\ud800")


def test_a_subclass_of_str_is_a_str(pipeline):
    result = token_contributions(pipeline, np.str_("the value"))
    assert type(result.document) is str
    assert result.tokens == token_contributions(pipeline, "the value").tokens


def test_invalid_method(pipeline):
    with pytest.raises(ValueError, match="method='shap' must be one of 'auto', 'exact'"):
        token_contributions(pipeline, DOCUMENT, method="shap")


def test_importances_are_what_a_token_adds_in_a_document(with_bigrams, texts, classes):
    model = LogisticRegression().fit(with_bigrams.transform(texts), classes)
    table = token_importances((with_bigrams, model), top=50)
    assert list(table.columns) == ["target", "token", "weight"]
    assert len(table) == 200
    vocabulary, vectors = with_bigrams.vocabulary_, with_bigrams.vectors_
    for target, group in table.groupby("target"):
        column = list(model.classes_).index(target)
        weights = vectors @ model.coef_[column]
        assert group["weight"].to_numpy() == pytest.approx(np.sort(weights)[::-1][:50], rel=1e-4)
        expected = [weights[vocabulary[token]] for token in group["token"]]
        assert group["weight"].to_numpy() == pytest.approx(expected, rel=1e-4)
    everything = token_importances((with_bigrams, model), top=10**6)
    assert set(everything["token"]) == set(vocabulary)
    assert any(" " in token for token in everything["token"])  # bigrams

    # One token in a document of one: its weight, divided by its length.
    tokens = [token for token in table["token"] if token.isalpha() and token.isascii()]
    token = tokens[0]
    row = table[table["token"] == token].iloc[0]
    result = token_contributions((with_bigrams, model), token, target=row["target"])
    length = np.linalg.norm(vectors[vocabulary[token]])
    assert result.contributions == pytest.approx([row["weight"] / length], rel=1e-4)


def test_importances_of_two_classes_and_of_a_regression(fitted, texts, binary, numbers):
    pipeline = make_pipeline(clone(fitted), StandardScaler(), LogisticRegression())
    pipeline.fit(texts, binary)
    table = token_importances(pipeline, top=3)
    assert list(table["target"]) == ["long"] * 3 + ["short"] * 3
    assert (table["weight"] > 0).all()
    pipeline = make_pipeline(clone(fitted), Ridge()).fit(texts, numbers)
    table = token_importances(pipeline, top=3)
    assert list(table["target"]) == [0] * 6
    assert table["weight"].is_monotonic_decreasing
    assert table["weight"].iloc[2] > 0 > table["weight"].iloc[3]
    everything = token_importances(pipeline, top=10**6)
    assert len(everything) == len(pipeline[0].vocabulary_)


def test_importances_without_pandas(pipeline, monkeypatch):
    expected = token_importances(pipeline, top=2)
    load = builtins.__import__

    def refuse(name, *arguments, **options):
        if name == "pandas":
            raise ImportError
        return load(name, *arguments, **options)

    monkeypatch.setattr(builtins, "__import__", refuse)
    records = token_importances(pipeline, top=2)
    monkeypatch.undo()
    assert records == expected.to_dict("records")


@pytest.mark.parametrize("top", [0, -1])
def test_importances_of_some_tokens(pipeline, top):
    with pytest.raises(ValueError, match=r"top == -?\d, must be >= 1"):
        token_importances(pipeline, top=top)
    with pytest.raises(TypeError, match="top must be an instance of"):
        token_importances(pipeline, top=2.5)
