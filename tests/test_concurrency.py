"""One fitted vectorizer, used concurrently."""

import sys
import threading
import time
from multiprocessing import get_context

import joblib
import numpy as np
import pytest
from fresh import run
from processes import put_features
from teachers import corpus, save_sentence_transformer, tiny_vectorizer

from sklearn_static import StaticEmbeddingVectorizer

SECONDS = 2.5  # for each kind of tokenizer

pytestmark = [
    pytest.mark.slow,
    # Since Python 3.12; this test forks with threads on purpose.
    pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning"),
]


@pytest.fixture(scope="module", params=["bert", "roberta"])
def path(request, tmp_path_factory) -> str:
    """A saved vectorizer, of a tokenizer inside the engine and of one that is asked for pieces."""
    folder = tmp_path_factory.mktemp(request.param)
    save_sentence_transformer(request.param, folder / "teacher")
    vectorizer = tiny_vectorizer(folder / "teacher", n_jobs=2)
    joblib.dump(vectorizer.fit(["a"]), folder / "model.joblib")
    return str(folder / "model.joblib")


@pytest.fixture
def vectorizer(path) -> StaticEmbeddingVectorizer:
    """A separate vectorizer that has cached nothing yet."""
    return joblib.load(path)


@pytest.fixture
def expected(path, texts) -> np.ndarray:
    return joblib.load(path).transform(texts)


def test_threads(vectorizer, expected, texts):
    stop = time.monotonic() + SECONDS
    results = []

    def work(seed: int) -> None:
        rng = np.random.default_rng(seed)
        while time.monotonic() < stop:
            # Sometimes more than one batch, so that the vectorizer starts its own threads.
            order = rng.permutation(np.tile(np.arange(len(texts)), 20))
            order = order[: rng.integers(1, len(order))]
            new = f"a word{rng.integers(10**9)}x"  # new to the other threads
            features = vectorizer.transform([*(texts[i] for i in order), new])
            results.append(np.array_equal(features[:-1], expected[order]) and features[-1].any())

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=60)
    assert not any(thread.is_alive() for thread in threads)
    assert len(results) > 20
    assert all(results)


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no fork")
def test_forks_at_any_time(vectorizer, expected, texts):
    """While other threads read and learn: a child has what it needs, and no lock is held."""
    stop = threading.Event()

    def work(seed: int) -> None:
        rng = np.random.default_rng(seed)
        while not stop.is_set():
            vectorizer.transform([f"new{rng.integers(10**9)} é{rng.integers(10**9)}", *texts])

    threads = [threading.Thread(target=work, args=(seed,), daemon=True) for seed in range(2)]
    for thread in threads:
        thread.start()
    context = get_context("fork")
    try:
        for turn in range(10):
            queue = context.SimpleQueue()
            new = [f"ünknown{turn}", *texts]
            child = context.Process(
                target=lambda new=new, q=queue: q.put(vectorizer.transform(new))
            )
            child.start()
            child.join(timeout=30)
            if child.is_alive():
                child.kill()
                pytest.fail("the child waits for ever")
            np.testing.assert_array_equal(queue.get()[1:], expected)
    finally:
        stop.set()
        for thread in threads:
            thread.join(timeout=30)


@pytest.mark.parametrize("method", ["spawn", "forkserver"])
def test_spawned_and_forkserver_processes(method, path, expected, texts, request):
    if method == "forkserver" and sys.platform == "win32":
        pytest.skip("needs POSIX")
    context = get_context(method) if method == "spawn" else request.getfixturevalue(method)
    queue = context.SimpleQueue()
    child = context.Process(target=put_features, args=(path, texts, queue))
    child.start()
    np.testing.assert_array_equal(queue.get(), np.tile(expected, (10, 1)))
    child.join(timeout=60)
    assert child.exitcode == 0


def test_loky_workers(vectorizer, expected, texts):
    results = joblib.Parallel(n_jobs=2)(
        joblib.delayed(vectorizer.transform)(texts) for _ in range(4)
    )
    for features in results:
        np.testing.assert_array_equal(features, expected)


def test_n_jobs_does_not_change_features(vectorizer, expected, texts):
    many = np.tile(expected, (20, 1))
    for n_jobs in (None, 3, -1):
        vectorizer.set_params(n_jobs=n_jobs)
        np.testing.assert_array_equal(vectorizer.transform(texts * 20), many)


WITHOUT_EXTENSION = """
import sys, warnings, joblib
warnings.simplefilter("error")
class WithoutExtension:
    def find_spec(self, name, path=None, target=None):
        if name == "sklearn_static._serve.engine":
            raise ModuleNotFoundError("No such module", name=name)
sys.meta_path.insert(0, WithoutExtension())
with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    vectorizer = joblib.load(MODEL)
print([str(w.message).split(":")[0] for w in caught])
print(vectorizer.transform(["the value of it", "é"]).sum().item())
"""


def test_without_the_extension(path):
    warned, total = run(f"MODEL = {path!r}\n{WITHOUT_EXTENSION}").splitlines()
    assert warned == "['The compiled extension of sklearn-static is missing']"
    assert float(total) == joblib.load(path).transform(["the value of it", "é"]).sum().item()


def test_new_words_while_others_read(vectorizer, path):
    """Writers add to the table of pieces while others read it."""
    words = sorted({word for text in corpus() for word in text.split()})
    expected = joblib.load(path).transform([" ".join(words)])
    failures = []

    def work(seed: int) -> None:
        for word in np.random.default_rng(seed).permutation(words):
            vectorizer.transform([f"the {word}"])
        if not np.array_equal(vectorizer.transform([" ".join(words)]), expected):
            failures.append(seed)

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=120)
    assert not failures
