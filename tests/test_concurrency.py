"""One fitted vectorizer, used from everywhere at once, in both engines."""

import os
import subprocess
import sys
import threading
import time
from multiprocessing import get_context

import joblib
import numpy as np
import pytest
from teachers import corpus

from sklearn_static import StaticEmbeddingVectorizer, _table

SECONDS = 30  # for each engine


@pytest.fixture(params=["portable", "compiled"])
def vectorizer(request, bert_folder, monkeypatch) -> StaticEmbeddingVectorizer:
    """A vectorizer of its own, whose index is nearly empty."""
    seen = 10**12 if request.param == "compiled" else -(10**12)
    monkeypatch.setattr(_table, "_characters_seen", seen)
    return StaticEmbeddingVectorizer(bert_folder, n_components=8, n_jobs=2).fit(["a"])


def test_threads(vectorizer, fitted, texts):
    texts = texts * 20  # more than one batch, so that the vectorizer starts threads of its own
    expected = fitted.transform(texts)
    stop = time.monotonic() + SECONDS
    results = []

    def work(seed: int) -> None:
        rng = np.random.default_rng(seed)
        while time.monotonic() < stop:
            order = rng.permutation(len(texts))[: rng.integers(1, len(texts))]
            features = vectorizer.transform([texts[i] for i in order])
            results.append(np.array_equal(features, expected[order]))

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=SECONDS + 60)
    assert not any(thread.is_alive() for thread in threads)
    assert len(results) > 50
    assert all(results)


def test_a_forked_child(vectorizer, texts):
    expected = vectorizer.transform(texts)  # threads and kernels have run before the fork
    context = get_context("fork")
    queue = context.SimpleQueue()
    new = ["a piece that no-one-has-met-before"]

    def work() -> None:
        queue.put((vectorizer.transform(texts * 20)[: len(texts)], vectorizer.transform(new)))

    child = context.Process(target=work)
    child.start()
    features, new_features = queue.get()
    child.join(timeout=60)
    assert child.exitcode == 0
    np.testing.assert_array_equal(features, expected)
    np.testing.assert_array_equal(new_features, vectorizer.transform(new))


def test_a_fork_while_another_thread_writes(vectorizer):
    """The thread that holds the lock does not exist in the child."""
    context = get_context("fork")
    queue = context.SimpleQueue()
    new = ["a-piece-that-is-new-to-the-child"]
    child = context.Process(target=lambda: queue.put(vectorizer.transform(new)))
    with vectorizer.table_.pieces.lock:
        child.start()
    child.join(timeout=30)
    if child.is_alive():
        child.kill()
        pytest.fail("the child waits for ever")
    np.testing.assert_array_equal(queue.get(), vectorizer.transform(new))


def test_loky_workers(vectorizer, texts):
    expected = vectorizer.transform(texts)
    results = joblib.Parallel(n_jobs=2)(
        joblib.delayed(vectorizer.transform)(texts) for _ in range(4)
    )
    for features in results:
        np.testing.assert_array_equal(features, expected)


def test_n_jobs_does_not_change_features(vectorizer, texts):
    many = texts * 20
    expected = vectorizer.set_params(n_jobs=None).transform(many)
    np.testing.assert_array_equal(vectorizer.set_params(n_jobs=3).transform(many), expected)


CODE = """
import sys, joblib
from sklearn_static import _table
{prelude}
_table._characters_seen = 10**12
vectorizer = joblib.load({path!r})
print(vectorizer.transform(["the value of it", "or not"]).sum().item(), "numba" in sys.modules)
"""
NO_NUMBA = """
class NoNumba:
    def find_spec(self, name, path=None, target=None):
        if name == "numba":
            raise ModuleNotFoundError("No module named 'numba'", name="numba")
sys.meta_path.insert(0, NoNumba())
"""


@pytest.mark.parametrize(
    ("prelude", "environment", "has_numba"),
    [
        ("", {}, "True"),
        # No folder where numba could keep its machine code.
        ("", {"NUMBA_CACHE_LOCATOR_CLASSES": "UserProvidedCacheLocator"}, "True"),
        (NO_NUMBA, {}, "False"),
    ],
    ids=["plain", "no cache", "no numba"],
)
def test_fresh_interpreters(prelude, environment, has_numba, fitted, tmp_path):
    if has_numba == "True":
        pytest.importorskip("numba")
    path = str(tmp_path / "model.joblib")
    joblib.dump(fitted, path)
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", CODE.format(prelude=prelude, path=path)],
        capture_output=True,
        text=True,
        check=False,
        env=os.environ | environment,
    )
    assert done.returncode == 0, done.stderr
    total = fitted.transform(["the value of it", "or not"]).sum().item()
    assert done.stdout == f"{total} {has_numba}\n"


def test_new_texts_while_others_read(bert_folder, monkeypatch):
    """Writers grow the index under readers that hold its older arrays."""
    monkeypatch.setattr(_table, "_characters_seen", 10**12)
    vectorizer = StaticEmbeddingVectorizer(bert_folder, n_components=8).fit(["a"])
    words = sorted({word for text in corpus() for word in text.split()})
    expected = vectorizer.transform([" ".join(words)])
    fresh = StaticEmbeddingVectorizer(bert_folder, n_components=8).fit(["a"])
    failures = []

    def work(seed: int) -> None:
        for word in np.random.default_rng(seed).permutation(words):
            fresh.transform([f"the {word}"])
        if not np.array_equal(fresh.transform([" ".join(words)]), expected):
            failures.append(seed)

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=120)
    assert not failures
    assert len(fresh.table_.pieces.number_of) > len(words) * 0.9
