"""Linear models of the features, and each token's share of their decisions."""

import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.decomposition import PCA, IncrementalPCA, TruncatedSVD
from sklearn.feature_selection import SelectorMixin
from sklearn.multiclass import OneVsRestClassifier
from sklearn.multioutput import MultiOutputClassifier, MultiOutputRegressor
from sklearn.preprocessing import MaxAbsScaler, MinMaxScaler, RobustScaler, StandardScaler

from sklearn_static._inspect.estimators import Decisions, Explained, decide
from sklearn_static._serve.bigrams import bigram_keys
from sklearn_static._serve.table import Norm, StaticTable
from sklearn_static._sklearn import _ConstantPredictor
from sklearn_static._vectorizer import StaticEmbeddingVectorizer

_AFFINE = (
    StandardScaler,
    MaxAbsScaler,
    MinMaxScaler,
    RobustScaler,
    PCA,
    IncrementalPCA,
    TruncatedSVD,
    SelectorMixin,
)
_ONE_MODEL_PER_OUTPUT = (OneVsRestClassifier, MultiOutputClassifier, MultiOutputRegressor)
# A generous bound of the relative error of a float32 sum.
_TOLERANCE = 1e-4


class NotLinearError(ValueError):
    """The decision is not a linear function of the features; the message names the step."""


@dataclass(frozen=True)
class LinearMap:
    """Linear map from features to decisions, ``features @ weights + bias``.

    Attributes
    ----------
    weights : ndarray of float64, shape (n_features, n_columns)
        The weight of each feature in each decision.
    bias : ndarray of float64, shape (n_columns,)
        The decisions if all features are zero.
    at_zero : Decisions
        The probed decisions, the first of them at zero, with the classes of the columns.
    """

    weights: NDArray[np.float64]
    bias: NDArray[np.float64]
    at_zero: Decisions


def linear_map(explained: Explained) -> LinearMap:
    """Pull a linear model's weights back to the features of the vectorizer.

    An affine map is determined by its values at zero and at the unit vectors. All steps after the
    vectorizer are evaluated there, so that none of their formulas is repeated here.

    Parameters
    ----------
    explained : Explained
        The parts of the estimator.

    Returns
    -------
    linear : LinearMap
        The map of all steps after the vectorizer.

    Raises
    ------
    NotLinearError
        If a step is of an unsupported kind, or if the decisions are not affine.
    """
    _check_linear(explained)
    n_features = explained.vectorizer.table_.n_components
    probes = np.random.default_rng(0).standard_normal((3, n_features))

    X: Any = np.vstack([np.zeros(n_features), np.eye(n_features), probes])
    with warnings.catch_warnings():
        # Steps that were fitted on a table warn about arrays, which have no feature names.
        warnings.simplefilter("ignore", UserWarning)
        for _, step in explained.steps[1:]:
            X = np.asarray(step.transform(X))
        decisions = decide(explained.model, X)
    bias = decisions.values[0]
    weights = decisions.values[1 : n_features + 1] - bias
    # A model with coef_ and intercept_ may still apply a link function or count votes.
    expected = probes @ weights + bias
    size = np.abs(probes) @ np.abs(weights) + np.abs(bias)
    if (np.abs(decisions.values[n_features + 1 :] - expected) > _TOLERANCE * size).any():
        raise _not_linear(
            explained.name, explained.model, f"its {decisions.output} is not linear in the features"
        )
    return LinearMap(weights, bias, decisions)


def token_parts(
    table: StaticTable,
    rows: NDArray[np.int32],
    weights: NDArray[np.float64],
    *,
    max_length: int | None,
    norm: Norm,
) -> NDArray[np.float64]:
    """Divide a linear function of a document's features among its tokens.

    Let v be the vector of a token plus half the vector of each bigram that contains it. The part
    of the token is ``v @ weights / divisor``, where the divisor is that of the document: the length
    of the sum of all v, or the number of tokens if `norm` is None.

    Parameters
    ----------
    table : StaticTable
        The token and bigram vectors.
    rows : ndarray of int32, shape (n_tokens,)
        The row of each token, -1 if it has none.
    weights : ndarray of float64, shape (n_features, n_columns)
        The weights of the linear function.
    max_length : int or None
        Number of tokens to which the document is truncated; None does not truncate.
    norm : {"l2"} or None
        As in `StaticEmbeddingVectorizer`; determines the divisor.

    Returns
    -------
    parts : ndarray of float64, shape (n_tokens, n_columns)
        The parts, which sum to the function's value; zero for tokens without a row or beyond
        `max_length`.
    """
    places = np.flatnonzero(rows[:max_length] >= 0)
    known = rows[places]
    vectors = table.vectors(known).astype(np.float64)
    if table.bigrams is not None:
        bigrams = table.bigrams.look_up(bigram_keys(known, len(table.vocabulary)))
        firsts = np.flatnonzero(bigrams >= 0)
        halves = table.vectors(bigrams[firsts]).astype(np.float64) / 2
        vectors[firsts] += halves
        vectors[firsts + 1] += halves
    divisor = np.linalg.norm(vectors.sum(axis=0)) if norm == "l2" else len(known)
    parts = np.zeros((len(rows), weights.shape[1]))
    parts[places] = vectors @ weights / (divisor or 1)
    return parts


def _check_linear(explained: Explained) -> None:
    """Check that each step is of a linear kind."""
    first, *between = explained.steps or [(explained.name, explained.model)]
    if not isinstance(first[1], StaticEmbeddingVectorizer):
        raise _not_linear(*first, "the first step must be the StaticEmbeddingVectorizer")
    for name, step in between:
        if not isinstance(step, _AFFINE):
            kinds = ", ".join(kind.__name__ for kind in _AFFINE[:-1])
            raise _not_linear(
                name, step, f"steps after the vectorizer must be {kinds} or a feature selector"
            )
        if getattr(step, "clip", False):
            raise _not_linear(name, step, "clip=True is not linear")
    if not _is_linear(explained.model):
        raise _not_linear(
            explained.name, explained.model, "the model must have coef_ and intercept_"
        )


def _is_linear(model: Any) -> bool:
    if isinstance(model, _ONE_MODEL_PER_OUTPUT):
        return all(map(_is_linear, model.estimators_))
    # OneVsRestClassifier uses a constant for a class that all documents have, or none.
    is_constant = isinstance(model, _ConstantPredictor)
    return is_constant or (hasattr(model, "coef_") and hasattr(model, "intercept_"))


def _not_linear(name: str, step: Any, rule: str) -> NotLinearError:
    return NotLinearError(
        "The decision must be linear in the features, but step "
        f"{name!r} ({type(step).__name__}) is not: {rule}; token_contributions with "
        "method='occlusion' explains any estimator."
    )
