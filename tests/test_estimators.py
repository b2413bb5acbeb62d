import numpy as np
import pytest
from sklearn.base import clone
from sklearn.ensemble import RandomForestClassifier
from sklearn.exceptions import NotFittedError
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import (
    LogisticRegression,
    Ridge,
)
from sklearn.multioutput import MultiOutputClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import (
    StandardScaler,
)
from sklearn.svm import SVC

from sklearn_static import StaticEmbeddingVectorizer
from sklearn_static.inspection import (
    token_contributions,
    token_importances,
)

DOCUMENT = "Return the the value of\ta list, naïve 日本 and return the list!"


@pytest.mark.parametrize("estimator", [None, "pipeline", LogisticRegression, [1, 2]])
@pytest.mark.parametrize("explain", [lambda e: token_contributions(e, "text"), token_importances])
def test_invalid_estimator(explain, estimator):
    with pytest.raises(TypeError, match=r"estimator must be a Pipeline or a tuple \(vectorizer, "):
        explain(estimator)


def test_tuple_must_start_with_the_vectorizer(fitted):
    for estimator in ((LogisticRegression(), fitted), (fitted,), ()):
        with pytest.raises(TypeError, match="that starts with a StaticEmbeddingVectorizer, got a"):
            token_contributions(estimator, "text")


def test_estimator_must_contain_a_vectorizer(texts, binary):
    pipeline = make_pipeline(TfidfVectorizer(), LogisticRegression()).fit(texts, binary)
    with pytest.raises(ValueError, match=r"must have a StaticEmbeddingVectorizer, .* Pipeline has"):
        token_contributions(pipeline, "text")


def test_estimator_must_be_fitted(fitted):
    pipeline = make_pipeline(StaticEmbeddingVectorizer(), LogisticRegression())
    with pytest.raises(NotFittedError, match="StaticEmbeddingVectorizer in this Pipeline is not"):
        token_contributions(pipeline, "text")
    for estimator in (make_pipeline(fitted, LogisticRegression()), (fitted, LogisticRegression())):
        with pytest.raises(NotFittedError):
            token_contributions(estimator, "text")


def test_estimator_must_predict(fitted, texts, binary):
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


def test_target_of_a_regression_is_an_index(fitted, texts, numbers):
    model = Ridge().fit(fitted.transform(texts), np.column_stack([numbers, numbers]))
    for target in ("a", 2):
        with pytest.raises(ValueError, match="must be an index from 0 to 1"):
            token_contributions((fitted, model), DOCUMENT, target=target)


def test_one_decision_per_pair_of_classes_is_refused(fitted, texts, classes):
    model = SVC(decision_function_shape="ovo").fit(fitted.transform(texts), classes)
    with pytest.raises(ValueError, match="SVC has 6 decisions for 4 classes"):
        token_contributions((fitted, model), DOCUMENT)


def test_multi_output_classifier_is_refused(fitted, texts, classes, binary):
    model = MultiOutputClassifier(LogisticRegression())
    model.fit(fitted.transform(texts), np.column_stack([classes, binary]))
    with pytest.raises(ValueError, match=r"\(vectorizer, model.estimators_\[0\]\)"):
        token_contributions((fitted, model), DOCUMENT)
    assert token_contributions((fitted, model.estimators_[0]), DOCUMENT).method == "exact"
