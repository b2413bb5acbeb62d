from dataclasses import replace

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.decomposition import PCA, TruncatedSVD
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.ensemble import RandomForestClassifier
from sklearn.feature_selection import SelectKBest
from sklearn.linear_model import (
    LinearRegression,
    LogisticRegression,
    PoissonRegressor,
    Ridge,
    RidgeClassifier,
    SGDClassifier,
)
from sklearn.model_selection import GridSearchCV
from sklearn.multiclass import OneVsRestClassifier
from sklearn.multioutput import MultiOutputClassifier, MultiOutputRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import (
    FunctionTransformer,
    MaxAbsScaler,
    MinMaxScaler,
    Normalizer,
    RobustScaler,
    StandardScaler,
)
from sklearn.svm import SVC, SVR, LinearSVC, LinearSVR
from teachers import FAMILIES, awkward_texts, save_sentence_transformer

from sklearn_static import StaticEmbeddingVectorizer
from sklearn_static._serve.bigrams import Bigrams
from sklearn_static.inspection import (
    token_contributions,
    token_importances,
)

DOCUMENT = "Return the the value of\ta list, naïve 日本 and return the list!"


def assert_adds_up(result, decision, rtol=1e-5):
    """The decision is the sum, up to the rounding of float32."""
    # `transform` adds float32, each time with an error of half an epsilon at most.
    rtol = max(rtol, np.finfo(np.float32).eps * len(result.tokens))
    total = result.contributions.sum(axis=0) + result.intercept
    # Of several outputs the largest: terms cancel in an intercept near zero, their errors do not.
    size = np.max(np.abs(result.contributions).sum(axis=0) + np.abs(result.intercept))
    assert result.method == "exact"
    assert (np.abs(result.decision - decision) <= rtol * size).all()
    assert (np.abs(total - decision) <= rtol * size).all()


@pytest.mark.parametrize(
    "model",
    [LogisticRegression(), LinearSVC(), RidgeClassifier(), SGDClassifier(), SVC(kernel="linear")],
    ids=lambda model: type(model).__name__,
)
def test_contributions_add_up_to_the_decision_of_two_classes(fitted, model, texts, binary):
    model = clone(model).fit(fitted.transform(texts), binary)
    [decision] = model.decision_function(fitted.transform([DOCUMENT]))
    result = token_contributions((fitted, model), DOCUMENT)
    assert result.contributions.shape == (len(result.tokens),)
    assert (result.target, result.output) == ("short", "decision_function")
    assert_adds_up(result, decision)

    other = token_contributions((fitted, model), DOCUMENT, target="long")
    assert other.target == "long"
    assert_adds_up(other, -decision)
    assert other.contributions == pytest.approx(-result.contributions)


@pytest.mark.parametrize(
    "model",
    [
        LogisticRegression(),
        LinearSVC(),
        RidgeClassifier(),
        LinearDiscriminantAnalysis(),
        OneVsRestClassifier(LogisticRegression()),
        GridSearchCV(LogisticRegression(), {"C": [1, 10]}, cv=2),
    ],
    ids=lambda model: type(model).__name__,
)
def test_contributions_add_up_to_the_decision_of_each_class(fitted, model, texts, classes):
    model = clone(model).fit(fitted.transform(texts), classes)
    features = fitted.transform([DOCUMENT])
    [decision] = model.decision_function(features)
    result = token_contributions((fitted, model), DOCUMENT)
    assert result.target == model.predict(features)[0]
    for target in ("a", "b", "c", "d"):
        result = token_contributions((fitted, model), DOCUMENT, target=target)
        assert_adds_up(result, decision[list("abcd").index(target)])
    result = token_contributions((fitted, model), DOCUMENT, target=["d", 0])
    assert result.target == ["d", "a"]
    assert result.contributions.shape == (len(result.tokens), 2)
    assert_adds_up(result, decision[[3, 0]])


@pytest.mark.parametrize(
    "model",
    [Ridge(), LinearRegression(fit_intercept=False), LinearSVR(), SVR(kernel="linear")],
    ids=lambda model: type(model).__name__,
)
def test_contributions_add_up_to_a_regression(fitted, model, texts, numbers):
    model = clone(model).fit(fitted.transform(texts), numbers)
    [predicted] = model.predict(fitted.transform([DOCUMENT]))
    result = token_contributions((fitted, model), DOCUMENT)
    assert (result.target, result.output) == (0, "predict")
    assert isinstance(result.decision, float)
    assert isinstance(result.intercept, float)
    assert_adds_up(result, predicted)


@pytest.mark.parametrize("model", [Ridge(), MultiOutputRegressor(Ridge())], ids=["Ridge", "multi"])
def test_contributions_add_up_to_each_output_of_a_regression(fitted, model, texts, numbers):
    both = np.column_stack([numbers, -2 * numbers])
    model = clone(model).fit(fitted.transform(texts), both)
    [predicted] = model.predict(fitted.transform([DOCUMENT]))
    result = token_contributions((fitted, model), DOCUMENT)
    assert result.target == [0, 1]
    assert_adds_up(result, predicted)
    assert_adds_up(token_contributions((fitted, model), DOCUMENT, target=1), predicted[1])


@pytest.mark.parametrize(
    "model",
    [
        OneVsRestClassifier(LogisticRegression()),
        MultiOutputClassifier(LogisticRegression()),
        MultiOutputClassifier(LinearSVC()),
        RidgeClassifier(),
    ],
    ids=["one versus rest", "multi-output", "without probabilities", "ridge"],
)
def test_contributions_add_up_to_each_label(fitted, model, texts, numbers):
    labels = np.column_stack([numbers > 2, numbers > 4, numbers < 3]).astype(int)
    model = clone(model).fit(fitted.transform(texts), labels)
    features = fitted.transform([DOCUMENT])
    if isinstance(model, MultiOutputClassifier):
        decision = np.array([part.decision_function(features)[0] for part in model.estimators_])
    else:
        [decision] = model.decision_function(features)
    result = token_contributions((fitted, model), DOCUMENT)
    assert (result.target, result.output) == ([0, 1, 2], "decision_function")
    assert result.contributions.shape == (len(result.tokens), 3)
    assert_adds_up(result, decision)
    assert_adds_up(token_contributions((fitted, model), DOCUMENT, target=2), decision[2])


@pytest.mark.filterwarnings("ignore:Label 2 is:UserWarning")
def test_a_label_that_all_documents_have_has_no_contributions(fitted, texts, numbers):
    labels = np.column_stack([numbers > 2, numbers > 4, numbers > 0]).astype(int)
    model = OneVsRestClassifier(LogisticRegression()).fit(fitted.transform(texts), labels)
    result = token_contributions((fitted, model), DOCUMENT, target=2)
    assert not result.contributions.any()
    assert result.intercept == result.decision == 1


@pytest.mark.parametrize(
    "steps",
    [
        [StandardScaler()],
        [StandardScaler(with_mean=False)],
        [StandardScaler(with_std=False)],
        [MaxAbsScaler()],
        [MinMaxScaler()],
        [RobustScaler()],
        [PCA(4)],
        [PCA(4, whiten=True)],
        [TruncatedSVD(4)],
        [SelectKBest(k=5)],
        ["passthrough"],
        [StandardScaler(), PCA(5, whiten=True), "passthrough", MaxAbsScaler()],
        [make_pipeline(StandardScaler(), make_pipeline(TruncatedSVD(4)), "passthrough")],
    ],
    ids=str,
)
def test_affine_steps_are_pulled_back(steps, fitted, texts, classes):
    pipeline = make_pipeline(clone(fitted), *map(clone_step, steps), LogisticRegression())
    pipeline.fit(texts, classes)
    result = token_contributions(pipeline, DOCUMENT, target=list("abcd"))
    assert_adds_up(result, pipeline.decision_function([DOCUMENT])[0])
    assert not (np.abs(result.contributions) < 1e-3).all()


def clone_step(step):
    return step if isinstance(step, str) else clone(step)


def test_steps_may_return_data_frames(fitted, texts, classes):
    pipeline = make_pipeline(clone(fitted), StandardScaler(), LogisticRegression())
    pipeline.set_output(transform="pandas").fit(texts, classes)
    result = token_contributions(pipeline, DOCUMENT, target=list("abcd"))
    assert_adds_up(result, pipeline.decision_function([DOCUMENT])[0])


def test_nested_pipelines_and_fitted_searches(fitted, texts, classes):
    pipeline = make_pipeline(
        make_pipeline(clone(fitted), StandardScaler()), make_pipeline(LogisticRegression())
    )
    grid = {"pipeline-2__logisticregression__C": [1, 10]}
    search = GridSearchCV(pipeline, grid, cv=2).fit(texts, classes)
    result = token_contributions(search, DOCUMENT, target=list("abcd"))
    assert_adds_up(result, search.decision_function([DOCUMENT])[0])


def test_the_vectorizer_is_the_fitted_one(fitted, texts, classes):
    """A search keeps what it was given, here fitted with another number of components."""
    other = clone(fitted).set_params(n_components=3).fit(texts)
    grid = {"staticembeddingvectorizer__n_components": [5]}
    search = GridSearchCV(make_pipeline(other, LinearSVC()), grid, cv=2).fit(texts, classes)
    assert search.estimator[0].table_.n_components == 3
    result = token_contributions(search, DOCUMENT, target=list("abcd"))
    assert_adds_up(result, search.decision_function([DOCUMENT])[0])


@pytest.mark.parametrize("norm", ["l2", None])
@pytest.mark.parametrize("quantize", [None, "float16", "int8"])
@pytest.mark.parametrize("max_length", [None, 5])
def test_contributions_add_up_with_any_table(
    with_bigrams, norm, quantize, max_length, texts, classes
):
    vectorizer = clone(with_bigrams)
    vectorizer.set_params(norm=norm, quantize=quantize, max_length=max_length).fit(texts)
    assert len(vectorizer.table_.bigrams) > 100
    pipeline = (
        vectorizer,
        make_pipeline(StandardScaler(), LogisticRegression()).fit(
            vectorizer.transform(texts), classes
        ),
    )
    model = pipeline[1]
    documents = [DOCUMENT, "", " ", "the", "日本", *texts[:10], *awkward_texts()]
    for document in documents:
        result = token_contributions_quietly(pipeline, document, target=list("abcd"))
        features, _ = vectorizer.table_.transform([document], max_length=max_length, norm=norm)
        assert_adds_up(result, model.decision_function(features)[0])
        if max_length is not None:
            assert not result.contributions[max_length:].any()


def token_contributions_quietly(estimator, document, **options):
    """Without the warning about documents that have no token."""
    vectorizer = estimator[0]
    _, n_empty = vectorizer.table_.transform([document], max_length=vectorizer.max_length)
    if n_empty:
        with pytest.warns(UserWarning, match="1 of 1"):
            return token_contributions(estimator, document, **options)
    return token_contributions(estimator, document, **options)


@pytest.mark.parametrize("family", FAMILIES)
def test_contributions_and_spans_with_any_tokenizer(family, texts, classes, tmp_path):
    folder = save_sentence_transformer(family, tmp_path)
    vectorizer = StaticEmbeddingVectorizer(folder, n_components=8).fit(texts)
    model = LogisticRegression().fit(vectorizer.transform(texts), classes)
    for document in (DOCUMENT, "  two  spaces \n\n lines ", *texts[:5], *awkward_texts()):
        result = token_contributions_quietly(
            (vectorizer, model), document, target=["a", "b", "c", "d"]
        )
        features, _ = vectorizer.table_.transform([document])
        assert_adds_up(result, model.decision_function(features)[0])
        assert result.document == document
        assert result.spans.shape == (len(result.tokens), 2)
        for token, (start, stop) in zip(result.tokens, result.spans, strict=True):
            assert token == document[start:stop]
            assert token == token.strip() or token.isspace()
    words = token_contributions((vectorizer, model), "Return the value, and the list").tokens
    assert "".join(words).replace(" ", "") == "Returnthevalue,andthelist"


def test_contributions_do_not_depend_on_position(fitted, texts, binary):
    model = LogisticRegression().fit(fitted.transform(texts), binary)
    result = token_contributions((fitted, model), "the value the list the")
    values = {}
    for token, contribution in zip(result.tokens, result.contributions, strict=True):
        values.setdefault(token, set()).add(round(contribution, 9))
    assert all(len(found) == 1 for found in values.values())
    assert len(set.union(*values.values())) == len(values)


def test_half_of_a_bigram_goes_to_each_of_its_tokens():
    vectors = {"new": [1.0, 0], "york": [0, 1.0], "old": [0.0, 0]}
    vectorizer = StaticEmbeddingVectorizer.from_vectors(vectors, norm=None)
    table = vectorizer.table_
    vectorizer.table_ = replace(
        table,
        stored=np.vstack([table.stored, np.float32([[4, 8]])]),
        bigrams=Bigrams(np.array([[0, 1]], dtype=np.int32), 3),
    )
    model = Ridge().fit(np.eye(2), [1, 2])
    model.coef_, model.intercept_ = np.array([1.0, 10.0]), 3.0
    result = token_contributions((vectorizer, model), "new york unknown old")
    # (1, 0) + (2, 4) and (0, 1) + (2, 4), of three tokens with a row.
    assert result.contributions == pytest.approx([43 / 3, 52 / 3, 0, 0])
    assert result.intercept == 3
    assert result.decision == pytest.approx(3 + 95 / 3)
    # An out-of-vocabulary token between two tokens does not separate them.
    assert token_contributions((vectorizer, model), "new x york").contributions == pytest.approx(
        [43 / 2, 0, 52 / 2]
    )


@pytest.mark.parametrize(
    ("steps", "name", "rule"),
    [
        ([Normalizer(), LogisticRegression()], "'normalizer' (Normalizer)", "StandardScaler, "),
        ([FunctionTransformer(), LinearSVC()], "'functiontransformer'", "StandardScaler, "),
        ([MinMaxScaler(clip=True), LinearSVC()], "'minmaxscaler' (MinMaxScaler)", "clip=True"),
        ([StandardScaler(), SVC()], "'svc' (SVC)", "coef_ and intercept_"),
        ([RandomForestClassifier(5)], "'randomforestclassifier'", "coef_ and intercept_"),
        ([SVC(kernel="linear")], "'svc' (SVC)", "decision_function is not linear"),
        ([OneVsRestClassifier(SVC())], "'onevsrestclassifier'", "coef_ and intercept_"),
    ],
)
def test_exact_says_which_step_is_not_linear(steps, name, rule, fitted, texts, classes):
    pipeline = make_pipeline(clone(fitted), *map(clone, steps)).fit(texts, classes)
    with pytest.raises(ValueError, match="must be linear in the features") as caught:
        token_contributions(pipeline, DOCUMENT, method="exact")
    for part in (name, rule, "method='occlusion'"):
        assert part in str(caught.value)
    assert token_contributions(pipeline, "the value").method == "occlusion"
    with pytest.raises(ValueError, match="is not: "):
        token_importances(pipeline)


def test_a_link_function_is_not_linear(fitted, texts, numbers):
    pipeline = make_pipeline(clone(fitted), PoissonRegressor()).fit(texts, numbers)
    with pytest.raises(ValueError, match="its predict is not linear"):
        token_contributions(pipeline, DOCUMENT, method="exact")
