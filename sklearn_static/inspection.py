"""Which tokens a prediction is made of."""

import warnings
from dataclasses import dataclass
from numbers import Integral
from typing import TYPE_CHECKING, Any, Literal, Self

import numpy as np
from numpy.typing import NDArray
from sklearn.utils import check_scalar
from sklearn.utils._optional_dependencies import check_matplotlib_support

from sklearn_static._inspect.estimators import Explained, Output, decide, take_apart
from sklearn_static._inspect.figure import draw
from sklearn_static._inspect.linear import NotLinearError, linear_map, token_parts
from sklearn_static._inspect.notebook import document_html, number
from sklearn_static._inspect.spans import find_tokens, segments, without

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure, SubFigure

__all__ = [
    "TokenContributions",
    "TokenContributionsDisplay",
    "token_contributions",
    "token_importances",
]

_METHODS = ("auto", "exact", "occlusion")


@dataclass(frozen=True, eq=False)
class TokenContributions:
    """What each token of a document contributes to a decision.

    Attributes
    ----------
    document : str
        The document.
    tokens : tuple of str of length n_tokens
        The text of each token, as it stands in the document.
    spans : ndarray of int64, shape (n_tokens, 2)
        Token i is ``document[spans[i, 0]:spans[i, 1]]``.
    contributions : ndarray of float64, shape (n_tokens,) or (n_tokens, n_outputs)
        How much each token adds to the decision.
    intercept : float or ndarray of float64, shape (n_outputs,)
        The decision without any token.
    decision : float or ndarray of float64, shape (n_outputs,)
        The decision for the document.
    target : object
        The class that is explained, or the index of the output; a list of them where there are
        several.
    output : {"decision_function", "predict_proba", "predict"}
        The method of the estimator that the decision is from.
    method : {"exact", "occlusion"}
        How the contributions were found.
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
        A fitted classifier, regressor or outlier detector of documents, with a
        `StaticEmbeddingVectorizer` in it: the first step, or one of a `FeatureUnion` or
        `ColumnTransformer` (then fitted on a table with one column). A search stands for its best
        estimator.
    document : str
        The document.
    target : class label, int, sequence of these or None, default=None
        The class to explain, by its label or, where labels are not numbers, by its index; the
        index of the output of a multilabel classifier or a regressor of several outputs. A sequence
        gives one column for each. None is the predicted class (of two classes, the second, as in
        `decision_function`), or all outputs.
    method : {"auto", "exact", "occlusion"}, default="auto"
        "exact" divides the decision of a linear model. "occlusion" gives the change of the decision
        when a token is left out. "auto" is "exact" where that is possible.

    Returns
    -------
    result : TokenContributions
        The tokens, what each contributes, and the method that was used.

    Raises
    ------
    TypeError
        If the estimator is not one, does not predict or has no decisions in numbers; if the
        document is not a str.
    ValueError
        If there is no `StaticEmbeddingVectorizer` in the estimator, no such target or method, or if
        "exact" is asked for and a step is not linear, with its name; if the document is not valid
        Unicode.
    sklearn.exceptions.NotFittedError
        If the estimator is not fitted.

    Warns
    -----
    UserWarning
        If the document has no token that the vectorizer knows, as in `transform`.

    See Also
    --------
    TokenContributionsDisplay : Shows the document in the colors of the contributions.
    token_importances : The tokens with the largest weights, of all documents.

    Notes
    -----
    **exact.** Where all steps after the vectorizer are affine (scalers, PCA, TruncatedSVD, feature
    selectors) and the model has `coef_` and `intercept_`, the decision is a linear function
    ``features @ weights + intercept``, and the features are a sum over tokens. So a token with the
    vector v contributes ``v @ weights / divisor``, and contributions and intercept add up to the
    decision. Half of a bigram goes to each of its tokens. The divisor is the length of the sum of
    all vectors or, with ``norm=None``, the number of tokens. It is that of the document as it
    stands: contributions say what the decision is made of, not what it would be for another
    document.

    **occlusion.** A token contributes ``decision(document) - decision(document without it)``. The
    decision is the estimator's `decision_function`, or else its `predict_proba`, or what a
    regressor predicts. The token's characters are left out, and one of two spaces around them;
    what is left of a word may be split in another way. All shortened documents are one batch.
    Tokens that share characters, as the bytes of a rare character, share the difference equally.
    The contributions need not add up; `intercept` is the decision for the empty document.

    Tokens that the vectorizer does not know, and with "exact" those beyond `max_length`, have a
    contribution of zero.

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

    It reads a linear model as the coefficients of a `TfidfVectorizer` are read: for all documents
    at once.

    Parameters
    ----------
    estimator : Pipeline or tuple (vectorizer, model)
        A fitted pipeline for which `token_contributions` is exact.
    top : int, default=20
        How many tokens to give for each class, those with the largest weights; of the outputs of a
        regressor or an outlier detector those with the largest and those with the smallest.

    Returns
    -------
    table : pandas.DataFrame, or list of dict where pandas is not installed
        The columns `target` (class, or index of the output), `token` (as in `vocabulary_`: a bigram
        is two strings with a space between them) and `weight`, in the order of the targets, the
        largest weight first.

    Raises
    ------
    TypeError
        If the estimator is not one, or does not predict; if `top` is not an int.
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
    The weight of a token is ``vector @ weights``, with its vector in the table and the model's
    weights pulled back to the features of the vectorizer. In a document it contributes this weight
    each time it occurs, divided by what the document's sum is divided by: the length of the sum of
    vectors or, with ``norm=None``, the number of tokens. The vectors have the lengths that they
    have in the table: a token with a long vector matters more in a document, whatever it means. The
    table has all tokens of the vocabulary, whether or not the model was fitted to them;
    ``min_df=1`` leaves those of the training documents.

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
    names = list(table.vocabulary.row_of_token)
    if table.bigrams is not None:
        names += [f"{names[a]} {names[b]}" for a, b in table.bigrams.pairs.tolist()]
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
    """A document in the colors of its tokens' contributions.

    In a notebook the object shows itself as HTML; `plot` draws it with matplotlib. Make it with
    `from_estimator`.

    Parameters
    ----------
    contributions : TokenContributions
        The contributions to one decision.

    Attributes
    ----------
    contributions : TokenContributions
        The contributions to one decision.
    ax_ : matplotlib.axes.Axes
        Where `plot` has drawn.
    figure_ : matplotlib.figure.Figure
        The figure of these axes.

    See Also
    --------
    token_contributions : The numbers alone.

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
        """Find the contributions, and make a display of them.

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
            If there are several outputs and `target` names none; and as in `token_contributions`.
        """
        return cls(token_contributions(estimator, document, target=target, method=method))

    def plot(self, ax: "Axes | None" = None) -> Self:
        """Draw the document with matplotlib.

        Parameters
        ----------
        ax : matplotlib.axes.Axes or None, default=None
            Where to draw: lines are as long as it is wide when this is called. None makes a figure
            of the size that the document needs.

        Returns
        -------
        self : TokenContributionsDisplay
            The display, with `ax_` and `figure_`.

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
            return "exact: the tokens and the intercept add up to the decision"
        return "occlusion: the change of the decision when the token is left out"

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
            "one by one."
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
    """Give the change when each token is left out, and the decision for the empty document."""
    distinct, places, counts = np.unique(spans, axis=0, return_inverse=True, return_counts=True)
    shorter = [
        without(document, start, stop) if start < stop else document
        for start, stop in distinct.tolist()
    ]
    with warnings.catch_warnings():
        # Nobody passed these documents; that one of them has no token says nothing.
        warnings.simplefilter("ignore", UserWarning)
        values = decide(explained.model, explained.features([*shorter, ""])).values
    parts = (decision - values[:-1]) / counts[:, None]
    return parts[places.reshape(-1)], values[-1]
