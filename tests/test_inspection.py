import builtins
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from sklearn.base import clone
from sklearn.compose import ColumnTransformer
from sklearn.decomposition import PCA, TruncatedSVD
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.ensemble import IsolationForest, RandomForestClassifier, RandomForestRegressor
from sklearn.exceptions import NotFittedError
from sklearn.feature_extraction.text import TfidfVectorizer
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
from sklearn.naive_bayes import GaussianNB
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import FeatureUnion, make_pipeline
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


@pytest.fixture(scope="module")
def binary(texts):
    return np.array([["long", "short"][len(text) < 200] for text in texts])


@pytest.fixture(scope="module")
def classes(texts):
    return np.array([["a", "b", "c", "d"][min(len(text) // 150, 3)] for text in texts])


@pytest.fixture(scope="module")
def numbers(texts):
    return np.array([len(text) / 100 for text in texts])


@pytest.fixture(scope="module")
def with_bigrams(bert_folder, texts):
    vectorizer = StaticEmbeddingVectorizer(
        bert_folder, n_components=8, ngram_range=(1, 2), lexical_components=6, min_df=0
    )
    return vectorizer.fit(texts)


@pytest.fixture(scope="module")
def pipeline(fitted, texts, classes):
    """A linear classifier of four classes; not to be changed."""
    return make_pipeline(clone(fitted), LogisticRegression()).fit(texts, classes)


def assert_adds_up(result, decision, rtol=1e-5):
    """The decision is the sum, up to the rounding of float32."""
    # `transform` adds float32, each time with an error of half an epsilon at most.
    rtol = max(rtol, np.finfo(np.float32).eps * len(result.tokens))
    total = result.contributions.sum(axis=0) + result.intercept
    size = np.abs(result.contributions).sum(axis=0) + np.abs(result.intercept)
    assert result.method == "exact"
    assert (np.abs(result.decision - decision) <= rtol * size).all()
    assert (np.abs(total - decision) <= rtol * size).all()


# Exact


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


def test_steps_may_give_tables(fitted, texts, classes):
    pipeline = make_pipeline(clone(fitted), StandardScaler(), LogisticRegression())
    pipeline.set_output(transform="pandas").fit(texts, classes)
    result = token_contributions(pipeline, DOCUMENT, target=list("abcd"))
    assert_adds_up(result, pipeline.decision_function([DOCUMENT])[0])


def test_pipelines_may_hold_pipelines_and_searches_their_best(fitted, texts, classes):
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
def test_any_table_adds_up(with_bigrams, norm, quantize, max_length, texts, classes):
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
    """Without the warning of documents that have no token."""
    vectorizer = estimator[0]
    _, n_empty = vectorizer.table_.transform([document], max_length=vectorizer.max_length)
    if n_empty:
        with pytest.warns(UserWarning, match="1 of 1"):
            return token_contributions(estimator, document, **options)
    return token_contributions(estimator, document, **options)


@pytest.mark.parametrize("family", FAMILIES)
def test_any_tokenizer_adds_up_and_its_tokens_stand_in_the_document(
    family, texts, classes, tmp_path
):
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


def test_a_token_counts_for_what_it_is_wherever_it_is(fitted, texts, binary):
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
    # An unknown token between two tokens does not part them.
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
    with pytest.raises(ValueError, match=r"method='exact' needs linear steps") as caught:
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


# Occlusion


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


# Errors


@pytest.mark.parametrize("document", [None, b"text", ["text"], 3])
def test_a_document_is_a_str(document, pipeline):
    with pytest.raises(TypeError, match="document must be one document, a str, got"):
        token_contributions(pipeline, document)


def test_a_document_is_valid_unicode(pipeline):
    with pytest.raises(ValueError, match="lone surrogate at character 2"):
        token_contributions(pipeline, "ab\ud800")


def test_a_subclass_of_str_is_a_str(pipeline):
    result = token_contributions(pipeline, np.str_("the value"))
    assert type(result.document) is str
    assert result.tokens == token_contributions(pipeline, "the value").tokens


@pytest.mark.parametrize("estimator", [None, "pipeline", LogisticRegression, [1, 2]])
@pytest.mark.parametrize("explain", [lambda e: token_contributions(e, "text"), token_importances])
def test_an_estimator_is_one(explain, estimator):
    with pytest.raises(TypeError, match=r"estimator must be a Pipeline or a tuple \(vectorizer, "):
        explain(estimator)


def test_a_tuple_starts_with_the_vectorizer(fitted):
    for estimator in ((LogisticRegression(), fitted), (fitted,), ()):
        with pytest.raises(TypeError, match="that starts with a StaticEmbeddingVectorizer, got a"):
            token_contributions(estimator, "text")


def test_an_estimator_has_a_vectorizer(texts, binary):
    pipeline = make_pipeline(TfidfVectorizer(), LogisticRegression()).fit(texts, binary)
    with pytest.raises(ValueError, match=r"must have a StaticEmbeddingVectorizer .* Pipeline has"):
        token_contributions(pipeline, "text")


def test_an_estimator_is_fitted(fitted):
    pipeline = make_pipeline(StaticEmbeddingVectorizer(), LogisticRegression())
    with pytest.raises(NotFittedError, match="StaticEmbeddingVectorizer in this Pipeline is not"):
        token_contributions(pipeline, "text")
    for estimator in (make_pipeline(fitted, LogisticRegression()), (fitted, LogisticRegression())):
        with pytest.raises(NotFittedError):
            token_contributions(estimator, "text")


def test_an_estimator_predicts(fitted, texts, binary):
    with pytest.raises(TypeError, match="must predict, but its last step"):
        token_contributions(fitted, "text")
    with pytest.raises(TypeError, match="'standardscaler'"):
        token_contributions(make_pipeline(clone(fitted), StandardScaler()).fit(texts), "text")

    class Labels(RandomForestClassifier):
        predict_proba = property()

    pipeline = make_pipeline(clone(fitted), Labels(3)).fit(texts, binary)
    with pytest.raises(TypeError, match="must have decision_function or predict_proba"):
        token_contributions(pipeline, "the value")


@pytest.mark.parametrize("target", ["e", 4, -1, True, 1.0])
def test_a_target_is_a_class_or_its_index(target, pipeline):
    with pytest.raises(ValueError, match=r"one of the 4 classes 'a', 'b', 'c', 'd', or an index"):
        token_contributions(pipeline, DOCUMENT, target=target)
    assert token_contributions(pipeline, DOCUMENT, target=np.int64(3)).target == "d"


def test_a_number_is_a_class_where_classes_are_numbers(fitted, texts, classes):
    numbers = np.array([1 + "abcd".index(label) for label in classes])
    model = LogisticRegression().fit(fitted.transform(texts), numbers)
    assert token_contributions((fitted, model), DOCUMENT, target=1).target == 1
    for target in (0, 9):
        with pytest.raises(ValueError, match=r"one of the \d classes 1, .*\.$"):
            token_contributions((fitted, model), DOCUMENT, target=target)


def test_an_output_is_an_index(fitted, texts, numbers):
    model = Ridge().fit(fitted.transform(texts), np.column_stack([numbers, numbers]))
    for target in ("a", 2):
        with pytest.raises(ValueError, match="must be an index from 0 to 1"):
            token_contributions((fitted, model), DOCUMENT, target=target)


def test_a_method_is_one(pipeline):
    with pytest.raises(ValueError, match="method='shap' must be one of 'auto', 'exact'"):
        token_contributions(pipeline, DOCUMENT, method="shap")


def test_each_class_has_a_decision(fitted, texts, classes):
    model = SVC(decision_function_shape="ovo").fit(fitted.transform(texts), classes)
    with pytest.raises(ValueError, match="SVC has 6 decisions for 4 classes"):
        token_contributions((fitted, model), DOCUMENT)


def test_an_output_has_two_classes(fitted, texts, classes, binary):
    model = MultiOutputClassifier(LogisticRegression())
    model.fit(fitted.transform(texts), np.column_stack([classes, binary]))
    with pytest.raises(ValueError, match=r"\(vectorizer, model.estimators_\[0\]\)"):
        token_contributions((fitted, model), DOCUMENT)
    assert token_contributions((fitted, model.estimators_[0]), DOCUMENT).method == "exact"


# Importances


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
