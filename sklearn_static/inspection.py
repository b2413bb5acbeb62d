"""Contributions of tokens to predictions."""

import warnings
from dataclasses import dataclass
from itertools import chain, islice
from numbers import Integral
from typing import TYPE_CHECKING, Any, Literal, Self

import numpy as np
from numpy.typing import NDArray
from sklearn.utils import check_scalar

from sklearn_static._inspect.estimators import Explained, Output, decide, take_apart
from sklearn_static._inspect.figure import draw
from sklearn_static._inspect.linear import NotLinearError, linear_map, token_parts
from sklearn_static._inspect.notebook import document_html, number
from sklearn_static._inspect.spans import find_tokens, segments, without
from sklearn_static._sklearn import check_matplotlib_support

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure, SubFigure

__all__ = [
    "TokenContributions",
    "TokenContributionsDisplay",
    "token_contributions",
    "token_importances",
]

# Of the shorter copies of a document that are transformed together.
_CHARACTERS_AT_ONCE = 10_000_000
_METHODS = ("auto", "exact", "occlusion")


@dataclass(frozen=True, eq=False)
class TokenContributions:
    """Contributions of the tokens of a document to a decision.

    Attributes
    ----------
    document : str
        The document.
    tokens : tuple of str of length n_tokens
        The characters of each token, as in the document.
    spans : ndarray of int64, shape (n_tokens, 2)
        Token i is ``document[spans[i, 0]:spans[i, 1]]``.
    contributions : ndarray of float64, shape (n_tokens,) or (n_tokens, n_outputs)
        The contribution of each token to the decision.
    intercept : float or ndarray of float64, shape (n_outputs,)
        The decision without any token.
    decision : float or ndarray of float64, shape (n_outputs,)
        The decision for the document.
    target : object
        The explained class, or the index of the explained output; a list if there are several.
    output : {"decision_function", "predict_proba", "predict"}
        The method of the estimator that returned the decision.
    method : {"exact", "occlusion"}
        The method that computed the contributions.
    """

    document: str
    tokens: tuple[str, ...]
    spans: NDArray[np.int64]
    contributions: NDArray[np.float64]
    intercept: float | NDArray[np.float64]
    decision: float | NDArray[np.float64]
    target: Any
    output: Output
    method: Literal["exact", "occlusion"]


def token_contributions(
    estimator: Any,
    document: str,
    *,
    target: Any = None,
    method: Literal["auto", "exact", "occlusion"] = "auto",
) -> TokenContributions:
    """Divide the decision for a document among its tokens.

    Parameters
    ----------
    estimator : Pipeline or tuple (vectorizer, model)
        A fitted classifier, regressor or outlier detector of documents that contains a
        `StaticEmbeddingVectorizer`: as its first step, or in a `FeatureUnion` or a
        `ColumnTransformer` (which must be fitted on a table with one column). For a search, its
        best estimator is explained.
    document : str
        The document.
    target : class label, int, sequence of these or None, default=None
        The class to explain, by its label or, if labels are not numbers, by its index; or the
        index of the output of a multilabel classifier or multi-output regressor. A sequence selects
        several, with one column of contributions each. None selects the predicted class (for two
        classes, the second, as in `decision_function`), or all outputs.
    method : {"auto", "exact", "occlusion"}, default="auto"
        "exact" divides the decision of a linear model. "occlusion" computes the change of the
        decision when a token is removed. "auto" is "exact" if possible, otherwise "occlusion".

    Returns
    -------
    result : TokenContributions
        The tokens, their contributions, and the method that was used.

    Raises
    ------
    TypeError
        If `estimator` is not an estimator, does not predict or has no numeric decisions; if
        `document` is not a str.
    ValueError
        If `estimator` contains no `StaticEmbeddingVectorizer`; if there is no such target or
        method; if ``method="exact"`` and a step, which the message names, is not linear; if
        `document` is not valid Unicode.
    sklearn.exceptions.NotFittedError
        If the estimator is not fitted.

    Warns
    -----
    UserWarning
        If the document has no in-vocabulary token, as in `transform`.

    See Also
    --------
    TokenContributionsDisplay : Show the document with tokens colored by contribution.
    token_importances : The tokens with the largest weights, for all documents.

    Notes
    -----
    **exact.** If all steps after the vectorizer are affine (scalers, PCA, TruncatedSVD, feature
    selectors) and the model has `coef_` and `intercept_`, the decision is a linear function
    ``features @ weights + intercept``, and the features are a sum over tokens. A token with the
    vector v therefore contributes ``v @ weights / divisor``, and the contributions and the
    intercept sum to the decision. Half of a bigram's contribution goes to each of its tokens. The
    divisor is the length of the sum of all vectors or, with ``norm=None``, the number of tokens.
    It is that of the given document: contributions divide its decision, and do not predict the
    decision for another document.

    **occlusion.** A token contributes ``decision(document) - decision(document without it)``. The
    decision is the estimator's `decision_function`, otherwise its `predict_proba`, or a
    regressor's prediction. The token's characters and one of two spaces around them are removed;
    the rest of a word may be tokenized differently. All shortened documents form one batch. Tokens
    that share characters, such as the bytes of a rare character, share the difference equally. The
    contributions need not sum to the decision; `intercept` is the decision for the empty document.

    Out-of-vocabulary tokens and, with "exact", tokens beyond `max_length` have a contribution of
    zero.

    Examples
    --------
    >>> from sklearn.linear_model import LogisticRegression
    >>> from sklearn.pipeline import make_pipeline
    >>> from sklearn_static import StaticEmbeddingVectorizer
    >>> from sklearn_static.inspection import token_contributions
    >>> vectorizer = StaticEmbeddingVectorizer.from_vectors(
    ...     {"cat": [1, 0], "kitten": [0.9, 0.2], "engine": [0, 1], "wheel": [0.1, 0.9]}
    ... )
    >>> pipeline = make_pipeline(vectorizer, LogisticRegression())
    >>> pipeline = pipeline.fit(["a cat", "an engine"], ["animal", "vehicle"])
    >>> result = token_contributions(pipeline, "The wheel and the kitten")
    >>> result.target, result.method
    ('vehicle', 'exact')
    >>> for token, contribution in zip(result.tokens, result.contributions):
    ...     print(f"{token:<8}{contribution:5.2f}")
    The      0.00
    wheel    0.22
    and      0.00
    the      0.00
    kitten  -0.19
    >>> bool(np.isclose(result.contributions.sum() + result.intercept, result.decision))
    True
    """
    _check_document(document)
    document = str(document)  # the tokenizer takes no subclass
    if method not in _METHODS:
        raise ValueError(f"method={method!r} must be one of {', '.join(map(repr, _METHODS))}.")
    explained = take_apart(estimator)
    linear = None
    if method != "occlusion":
        try:
            linear = linear_map(explained)
        except NotLinearError:
            if method == "exact":
                raise
    features = explained.features([document])
    decisions = decide(explained.model, features)
    predicted = None
    if target is None and decisions.classes is not None:
        predicted = explained.model.predict(features)[0]
    columns, targets = decisions.columns(target, predicted)

    table = explained.vectorizer.table_
    ids, spans = find_tokens(table.vocabulary.tokenizer, document)
    if linear is not None:
        parts = token_parts(
            table,
            table.vocabulary.rows(np.array(ids, dtype=np.int32)),
            linear.weights,
            max_length=explained.vectorizer.max_length,
            norm=explained.vectorizer.norm,
        )
        intercept = linear.bias
    else:
        parts, intercept = _occlusion(explained, document, spans, decisions.values[0])
    decision = decisions.values[0]
    several = isinstance(columns, list)
    return TokenContributions(
        document,
        tuple(document[start:stop] for start, stop in spans.tolist()),
        spans,
        parts[:, columns],
        intercept[columns] if several else float(intercept[columns]),
        decision[columns] if several else float(decision[columns]),
        targets,
        decisions.output,
        "occlusion" if linear is None else "exact",
    )


def token_importances(estimator: Any, *, top: int = 20) -> Any:
    """Find the tokens and bigrams with the largest weights for each class.

    The weights apply to all documents, like the coefficients of a linear model after a
    `TfidfVectorizer`.

    Parameters
    ----------
    estimator : Pipeline or tuple (vectorizer, model)
        A fitted pipeline for which `token_contributions` is exact.
    top : int, default=20
        Number of tokens with the largest weights per class. For outputs of a regressor or
        an outlier detector, the number of tokens with the largest and with the smallest weights.

    Returns
    -------
    table : pandas.DataFrame, or list of dict if pandas is not installed
        The columns `target` (class, or index of the output), `token` (as in `vocabulary_`: a bigram
        is two tokens separated by a space) and `weight`, in the order of the targets, by descending
        weight.

    Raises
    ------
    TypeError
        If `estimator` is not an estimator or does not predict; if `top` is not an int.
    ValueError
        If a step is not linear, if there is no `StaticEmbeddingVectorizer`, or if `top` is less
        than 1.
    sklearn.exceptions.NotFittedError
        If the estimator is not fitted.

    See Also
    --------
    token_contributions : The contributions of the tokens of one document.

    Notes
    -----
    The weight of a token is ``vector @ weights``: its row of `vectors_`, and the model's weights
    for the features of the vectorizer. Each occurrence in a document contributes this
    weight divided by the length of the sum of the document's vectors or, with ``norm=None``, by
    its number of tokens. The token vectors are not scaled to unit length: a token with a long
    vector matters more in a document, whatever it means. The result includes all tokens of the
    vocabulary, even those that the model was not fitted on; ``min_df=1`` keeps only tokens of the
    training documents.

    Examples
    --------
    >>> from sklearn.linear_model import LogisticRegression
    >>> from sklearn.pipeline import make_pipeline
    >>> from sklearn_static import StaticEmbeddingVectorizer
    >>> from sklearn_static.inspection import token_importances
    >>> vectorizer = StaticEmbeddingVectorizer.from_vectors(
    ...     {"cat": [1, 0], "kitten": [0.9, 0.2], "engine": [0, 1], "wheel": [0.1, 0.9]}
    ... )
    >>> pipeline = make_pipeline(vectorizer, LogisticRegression())
    >>> pipeline = pipeline.fit(["a cat", "an engine"], ["animal", "vehicle"])
    >>> token_importances(pipeline, top=2).round(2)
        target   token  weight
    0   animal     cat    0.40
    1   animal  kitten    0.28
    2  vehicle  engine    0.40
    3  vehicle   wheel    0.32
    """
    check_scalar(top, "top", Integral, min_val=1)
    explained = take_apart(estimator)
    linear = linear_map(explained)
    table = explained.vectorizer.table_
    names = table.names
    weights = table.vectors() @ linear.weights
    both_ends = linear.at_zero.output == "predict" or not hasattr(explained.model, "classes_")
    records = []
    for column, target in enumerate(linear.at_zero.targets()):
        order = np.argsort(-weights[:, column], kind="stable")
        if both_ends and len(order) > 2 * top:
            order = np.append(order[:top], order[-top:])
        elif not both_ends:
            order = order[:top]
        records += [
            {"target": target, "token": names[row], "weight": float(weights[row, column])}
            for row in order
        ]
    try:
        import pandas as pd
    except ImportError:
        return records
    return pd.DataFrame.from_records(records, columns=["target", "token", "weight"])


class TokenContributionsDisplay:
    """Display of a document with tokens colored by contribution.

    A notebook shows the object as HTML; `plot` draws it with matplotlib. Use `from_estimator` to
    create it.

    Parameters
    ----------
    contributions : TokenContributions
        The contributions to one decision.

    Attributes
    ----------
    contributions : TokenContributions
        The contributions to one decision.
    ax_ : matplotlib.axes.Axes
        The axes on which `plot` has drawn.
    figure_ : matplotlib.figure.Figure
        The figure of these axes.

    See Also
    --------
    token_contributions : Compute the contributions only.

    Examples
    --------
    >>> from sklearn.linear_model import LogisticRegression
    >>> from sklearn.pipeline import make_pipeline
    >>> from sklearn_static import StaticEmbeddingVectorizer
    >>> from sklearn_static.inspection import TokenContributionsDisplay
    >>> vectorizer = StaticEmbeddingVectorizer.from_vectors({"cat": [1, 0], "engine": [0, 1]})
    >>> pipeline = make_pipeline(vectorizer, LogisticRegression())
    >>> pipeline = pipeline.fit(["a cat", "an engine"], ["animal", "vehicle"])
    >>> display = TokenContributionsDisplay.from_estimator(pipeline, "The engine of the cat")
    >>> display.contributions.target
    'vehicle'
    """

    contributions: TokenContributions
    ax_: "Axes"
    figure_: "Figure | SubFigure"

    def __init__(self, contributions: TokenContributions) -> None:
        if contributions.contributions.ndim != 1:
            raise ValueError(
                f"target must be one class or output, got {contributions.target!r}; a display "
                "shows the contributions to one decision."
            )
        self.contributions = contributions

    @classmethod
    def from_estimator(
        cls,
        estimator: Any,
        document: str,
        *,
        target: Any = None,
        method: Literal["auto", "exact", "occlusion"] = "auto",
    ) -> Self:
        """Create a display from an estimator and a document.

        Parameters
        ----------
        estimator : Pipeline or tuple (vectorizer, model)
            As in `token_contributions`.
        document : str
            The document.
        target : class label, int or None, default=None
            As in `token_contributions`; one class or output.
        method : {"auto", "exact", "occlusion"}, default="auto"
            As in `token_contributions`.

        Returns
        -------
        display : TokenContributionsDisplay
            The display; nothing is drawn yet.

        Raises
        ------
        ValueError
            If there are several outputs and `target` does not select one; and as in
            `token_contributions`.
        """
        return cls(token_contributions(estimator, document, target=target, method=method))

    def plot(self, ax: "Axes | None" = None) -> Self:
        """Draw the document with matplotlib.

        Parameters
        ----------
        ax : matplotlib.axes.Axes or None, default=None
            The axes to draw on; lines are as long as its current width. None creates a figure of
            the size that the document needs.

        Returns
        -------
        self : TokenContributionsDisplay
            The display, with `ax_` and `figure_` set.

        Raises
        ------
        ImportError
            If matplotlib is not installed.
        """
        check_matplotlib_support("TokenContributionsDisplay.plot")
        title = f"{self._heading()}: {number(self._decision())}"
        self.ax_ = draw(self._segments(), title=title, method=self._method(), ax=ax)
        self.figure_ = self.ax_.figure
        return self

    def _repr_html_(self) -> str:
        return document_html(
            self._segments(),
            heading=self._heading(),
            decision=number(self._decision()),
            sum_of=self._sum_of(),
            method=self._method(),
        )

    def _segments(self) -> Any:
        result = self.contributions
        return segments(result.document, result.spans, result.contributions)

    def _decision(self) -> float:
        return float(self.contributions.decision)

    def _heading(self) -> str:
        result = self.contributions
        if result.output == "predict":
            return f"predict, output {result.target}" if result.target else "predict"
        return f"{result.output} of {result.target!r}"

    def _method(self) -> str:
        if self.contributions.method == "exact":
            return "exact: the tokens and the intercept sum to the decision"
        return "occlusion: the change in the decision when the token is removed"

    def _sum_of(self) -> str:
        result = self.contributions
        intercept = number(float(result.intercept))
        if result.method == "exact":
            return f"= tokens {number(float(result.contributions.sum()))}, intercept {intercept}"
        return f"for the empty document {intercept}"


def _check_document(document: Any) -> None:
    if not isinstance(document, str):
        raise TypeError(
            f"document must be one document, a str, got {type(document).__name__}; explain several "
            "documents one by one."
        )
    try:
        document.encode()
    except UnicodeEncodeError as error:
        raise ValueError(
            f"document must be valid Unicode, but has a lone surrogate at character {error.start}; "
            "document.encode('utf-8', 'replace').decode() removes it."
        ) from error


def _occlusion(
    explained: Explained,
    document: str,
    spans: NDArray[np.int64],
    decision: NDArray[np.float64],
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Compute the change when each token is removed, and the decision for the empty document."""
    distinct, places, counts = np.unique(spans, axis=0, return_inverse=True, return_counts=True)
    shorter = (
        without(document, start, stop) if start < stop else document
        for start, stop in distinct.tolist()
    )
    documents = chain(shorter, [""])
    # All of them at once would take memory in proportion to the square of the document.
    n_at_once = max(_CHARACTERS_AT_ONCE // (len(document) + 1), 1)
    decided = []
    with warnings.catch_warnings():
        # The user did not pass these documents, so warnings about them would be misleading.
        warnings.simplefilter("ignore", UserWarning)
        while some := list(islice(documents, n_at_once)):
            decided.append(decide(explained.model, explained.features(some)).values)
    values = np.concatenate(decided)
    parts = (decision - values[:-1]) / counts[:, None]
    return parts[places.reshape(-1)], values[-1]
