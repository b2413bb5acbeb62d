"""Where warnings point, seen from a user's script."""

import subprocess
import sys
from pathlib import Path

import pytest
from sklearn.base import BaseEstimator
from sklearn.pipeline import make_pipeline

from sklearn_static import StaticEmbeddingVectorizer
from sklearn_static._warnings import warn


@pytest.fixture
def vectorizer(bert_folder, tmp_path) -> StaticEmbeddingVectorizer:
    """A vectorizer whose cache cannot be made."""
    (tmp_path / "file").touch()
    return StaticEmbeddingVectorizer(bert_folder, n_components=8, memory=tmp_path / "file" / "no")


@pytest.mark.parametrize("distill_on", ["vocabulary", "corpus"])
@pytest.mark.parametrize("method", ["fit", "fit_transform"])
@pytest.mark.parametrize("wrap", [lambda estimator: estimator, make_pipeline])
def test_the_failed_cache_points_to_the_users_line(wrap, method, distill_on, vectorizer, texts):
    estimator = wrap(vectorizer.set_params(distill_on=distill_on))
    with pytest.warns(UserWarning, match="not kept") as caught:
        getattr(estimator, method)(texts)
    assert [w.filename for w in caught] == [__file__]


def test_a_category():
    with pytest.warns(DeprecationWarning, match="old") as caught:
        warn("old", DeprecationWarning)
    assert caught[0].filename == __file__


def test_a_class_of_the_user_is_the_users(vectorizer):
    """Whatever it inherits from, the line that called fit is its own."""

    class Users(BaseEstimator):
        def fit(self, X, y=None):
            return vectorizer.fit(X)

    with pytest.warns(UserWarning, match="not kept") as caught:
        Users().fit(["a"])
    assert caught[0].filename == __file__
    assert caught[0].lineno == Users.fit.__code__.co_firstlineno + 1


def test_a_process_without_a_line_of_the_user(bert_folder, tmp_path):
    """Such as a worker that a search started: the warning comes all the same."""
    (tmp_path / "file").touch()
    code = f"""
import joblib
from sklearn_static import StaticEmbeddingVectorizer
vectorizer = StaticEmbeddingVectorizer({str(bert_folder)!r}, n_components=8,
                                       memory={str(tmp_path / "file" / "no")!r})
joblib.Parallel(2)(joblib.delayed(vectorizer.fit)(["a"]) for _ in range(2))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "UserWarning: The teacher's outputs are not kept" in done.stderr
    assert str(Path(__file__).parents[1] / "sklearn_static") not in done.stderr
