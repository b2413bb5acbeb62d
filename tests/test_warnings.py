"""Warnings point to the caller's line, whatever is on the stack."""

import inspect
import warnings
from collections.abc import Callable
from pathlib import Path

import joblib
import pytest
from fresh import run
from sklearn.base import BaseEstimator
from sklearn.compose import ColumnTransformer
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import cross_val_score
from sklearn.pipeline import make_pipeline, make_union
from sklearn.preprocessing import FunctionTransformer

from sklearn_static import StaticEmbeddingVectorizer
from sklearn_static._warnings import warn

LABELS = [0, 1, 0, 1]
TEXTS = ["the list", "", "a name", "the value"]


def check(
    call: Callable[[], object], said: str = "Documents with no in-vocabulary token: 1 of 4"
) -> None:
    """Each warning is at the line of `call`, which is one line long."""
    with pytest.warns(UserWarning, match=said) as caught:
        call()
    _, first_line = inspect.getsourcelines(call)
    assert {(w.filename, w.lineno) for w in caught} == {(__file__, first_line)}


@pytest.fixture
def vectorizer(bert_folder) -> StaticEmbeddingVectorizer:
    return StaticEmbeddingVectorizer(bert_folder, n_components=4)


def test_transform(vectorizer):
    check(lambda: vectorizer.fit_transform(TEXTS))
    check(lambda: vectorizer.transform(TEXTS))
    vectorizer.set_output(transform="pandas")
    check(lambda: vectorizer.transform(TEXTS))


def test_fit(vectorizer, texts):
    vectorizer.set_params(distill_on="corpus", max_teacher_tokens=2000)
    check(lambda: vectorizer.fit(texts), "The teacher read")
    check(lambda: vectorizer.fit_transform(texts), "The teacher read")


def test_composites(vectorizer, tmp_path):
    pipeline = make_pipeline(FunctionTransformer(), vectorizer, LogisticRegression())
    check(lambda: pipeline.fit(TEXTS, LABELS))
    check(lambda: pipeline.predict(TEXTS))
    pipeline.set_params(memory=str(tmp_path))
    check(lambda: pipeline.fit(TEXTS, LABELS))
    check(lambda: make_union(vectorizer).fit_transform(TEXTS))
    columns = ColumnTransformer([("text", vectorizer, 0)])
    check(lambda: columns.fit_transform([[text] for text in TEXTS]))


def test_searches(vectorizer):
    pipeline = make_pipeline(vectorizer, LogisticRegression())
    check(lambda: cross_val_score(pipeline, TEXTS * 2, LABELS * 2, cv=2))


def test_categories_and_filters():
    with pytest.warns(FutureWarning, match="soon") as caught:
        warn("soon", FutureWarning)
    assert caught[0].filename == __file__
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        warn("never shown")


@pytest.fixture
def cacheless(bert_folder, tmp_path) -> StaticEmbeddingVectorizer:
    """A vectorizer whose cache cannot be made."""
    (tmp_path / "file").touch()
    return StaticEmbeddingVectorizer(bert_folder, n_components=8, memory=tmp_path / "file" / "no")


@pytest.mark.parametrize("distill_on", ["vocabulary", "corpus"])
@pytest.mark.parametrize("method", ["fit", "fit_transform"])
@pytest.mark.parametrize("wrap", [lambda estimator: estimator, make_pipeline])
def test_the_failed_cache_points_to_the_users_line(wrap, method, distill_on, cacheless, texts):
    estimator = wrap(cacheless.set_params(distill_on=distill_on))
    with pytest.warns(UserWarning, match="not cached") as caught:
        getattr(estimator, method)(texts)
    assert [w.filename for w in caught] == [__file__]


def test_warning_points_into_a_class_of_the_user(cacheless):
    """Whatever it inherits from, the line that called fit is its own."""

    class Users(BaseEstimator):
        def fit(self, X, y=None):
            return cacheless.fit(X)

    with pytest.warns(UserWarning, match="not cached") as caught:
        Users().fit(["a"])
    assert caught[0].filename == __file__
    assert caught[0].lineno == Users.fit.__code__.co_firstlineno + 1


@pytest.mark.slow
def test_warnings_in_a_worker_process(fitted, tmp_path):
    """Such as a worker that a search started: the warning comes all the same."""
    joblib.dump(fitted, tmp_path / "model.joblib")
    code = f"""
import os
os.dup2(1, 2)  # what workers write to standard error is printed as well
import joblib
vectorizer = joblib.load({str(tmp_path / "model.joblib")!r})
joblib.Parallel(2)([joblib.delayed(vectorizer.transform)([""])])
joblib.externals.loky.get_reusable_executor().shutdown()
"""
    printed = run(code)
    assert "UserWarning: Documents with no in-vocabulary token: 1 of 1" in printed
    assert str(Path(__file__).parents[1] / "sklearn_static") not in printed
