"""The parts of an estimator of documents, and its decisions."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, is_classifier, is_regressor
from sklearn.compose import ColumnTransformer
from sklearn.exceptions import NotFittedError
from sklearn.frozen import FrozenEstimator
from sklearn.multioutput import MultiOutputClassifier
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.utils.validation import check_is_fitted

from sklearn_static._vectorizer import StaticEmbeddingVectorizer

Output = Literal["decision_function", "predict_proba", "predict"]

_SHOWN_TARGETS = 10


@dataclass(frozen=True)
class Explained:
    """The parts of an estimator.

    Attributes
    ----------
    estimator : estimator
        The estimator, which takes documents or a table with one column of documents.
    vectorizer : StaticEmbeddingVectorizer
        The first fitted vectorizer in it.
    steps : tuple of (str, transformer)
        The steps before the model, flattened and without "passthrough"; names as in `get_params`.
    name : str
        The name of the model.
    model : estimator
        The final step, which predicts.
    """

    estimator: Any
    vectorizer: StaticEmbeddingVectorizer
    steps: tuple[tuple[str, Any], ...]
    name: str
    model: Any

    def features(self, documents: list[str]) -> Any:
        """Compute the input of the model.

        Parameters
        ----------
        documents : list of str
            The documents.

        Returns
        -------
        features : array-like of shape (n_documents, n_features)
            A dense or sparse array or a table; the documents themselves if there are no steps.
        """
        X = _as_input(self.estimator, documents)
        for _, step in self.steps:
            X = step.transform(X)
        return X


@dataclass(frozen=True)
class Decisions:
    """The decisions of a model.

    Attributes
    ----------
    values : ndarray of float64, shape (n_rows, n_columns)
        One column per class or per output. For two classes, the first column of a
        `decision_function` is the negative of the second.
    output : {"decision_function", "predict_proba", "predict"}
        The method of the model that returned them.
    classes : tuple or None
        The class of each column; None if columns are outputs.
    """

    values: NDArray[np.float64]
    output: Output
    classes: tuple[Any, ...] | None

    def targets(self) -> list[Any]:
        """Return the class or the index of each column.

        Returns
        -------
        targets : list of length n_columns
            The classes, with NumPy scalars converted to Python objects, or the indices.
        """
        return list(map(self._target, range(self.values.shape[1])))

    def columns(self, target: Any, predicted: Any) -> tuple[int | list[int], Any]:
        """Find the columns of the requested classes or outputs.

        Parameters
        ----------
        target : class label, int, sequence of these or None
            The requested target, as in `token_contributions`.
        predicted : object
            The predicted class.

        Returns
        -------
        columns : int or list of int
            The columns of `values`; a list if several were requested.
        targets : object
            The class or the index of the output, or a list of them.

        Raises
        ------
        ValueError
            If there is no such class or output.
        """
        n_columns = self.values.shape[1]
        if target is None and self.classes is not None:
            target = self.classes[1] if n_columns == 2 else predicted
        elif target is None:
            target = 0 if n_columns == 1 else list(range(n_columns))
        if isinstance(target, (list, tuple, np.ndarray)):
            columns = [self._column(one) for one in target]
            return columns, [self._target(column) for column in columns]
        column = self._column(target)
        return column, self._target(column)

    def _column(self, target: Any) -> int:
        n_columns = self.values.shape[1]
        by_index = self.classes is None
        if self.classes is not None:
            for column, label in enumerate(self.classes):
                if label == target:
                    return column
            # If classes are numbers, a number that is not a class is a mistake.
            by_index = not any(isinstance(label, (int, float, np.number)) for label in self.classes)
        is_index = isinstance(target, (int, np.integer)) and not isinstance(target, bool)
        if by_index and is_index and 0 <= target < n_columns:
            return int(target)
        indices = f"an index from 0 to {n_columns - 1}"
        if self.classes is None:
            raise ValueError(f"target={target!r} must be {indices}, or None.")
        shown = ", ".join(map(repr, _plain(self.classes[:_SHOWN_TARGETS])))
        more = ", ..." if len(self.classes) > _SHOWN_TARGETS else ""
        raise ValueError(
            f"target={target!r} must be None or one of the {n_columns} classes {shown}{more}"
            + (f", or {indices}." if by_index else ".")
        )

    def _target(self, column: int) -> Any:
        return column if self.classes is None else _plain([self.classes[column]])[0]


def take_apart(estimator: Any) -> Explained:
    """Check an estimator and find its parts.

    Parameters
    ----------
    estimator : estimator or tuple (vectorizer, model)
        A fitted estimator of documents.

    Returns
    -------
    explained : Explained
        Its parts.

    Raises
    ------
    TypeError
        If `estimator` is neither, or does not predict.
    ValueError
        If `estimator` contains no StaticEmbeddingVectorizer.
    sklearn.exceptions.NotFittedError
        If `estimator` is not fitted.
    """
    if isinstance(estimator, tuple):
        if len(estimator) != 2 or not isinstance(
            _unwrapped(estimator[0]), StaticEmbeddingVectorizer
        ):
            raise TypeError(
                "estimator must be a Pipeline or a tuple (vectorizer, model) that starts with a "
                f"StaticEmbeddingVectorizer, got a tuple of {', '.join(map(_kind, estimator))}."
            )
        estimator = make_pipeline(*estimator)
    if not isinstance(estimator, BaseEstimator):
        raise TypeError(
            f"estimator must be a Pipeline or a tuple (vectorizer, model), got {_kind(estimator)}."
        )
    vectorizers = list(_vectorizers(estimator))
    if not vectorizers:
        raise ValueError(
            "estimator must have a StaticEmbeddingVectorizer, whose tokens are explained; "
            f"this {_kind(estimator)} has none."
        )
    fitted = [vectorizer for vectorizer in vectorizers if hasattr(vectorizer, "table_")]
    if not fitted:
        raise NotFittedError(
            f"estimator must be fitted, but the StaticEmbeddingVectorizer in this "
            f"{_kind(estimator)} is not; call fit first."
        )
    check_is_fitted(estimator)
    *steps, (name, model) = _steps("", estimator)
    if not hasattr(model, "predict"):
        raise TypeError(
            f"estimator must predict, but its last step {name!r} ({_kind(model)}) has no predict; "
            "add a classifier or a regressor."
        )
    return Explained(estimator, fitted[0], tuple(steps), name, model)


def decide(model: Any, X: Any) -> Decisions:
    """Compute a model's decisions, or their closest substitute.

    Parameters
    ----------
    model : estimator
        A classifier, an outlier detector or a regressor.
    X : array-like of shape (n_rows, n_features)
        The input of the model.

    Returns
    -------
    decisions : Decisions
        The results of `decision_function`, otherwise of `predict_proba`, or of a regressor's
        `predict`.

    Raises
    ------
    TypeError
        If the model has none of these methods.
    ValueError
        If an output does not have two classes, or a class has no column.
    """
    if isinstance(model, MultiOutputClassifier):
        # It has no decision_function, but its estimators may.
        parts = [decide(part, X) for part in model.estimators_]
        values = np.column_stack([_positive(part.values) for part in parts])
        return Decisions(values, parts[0].output, None)
    if hasattr(model, "decision_function"):
        output: Output = "decision_function"
        values = model.decision_function(X)
    elif hasattr(model, "predict_proba"):
        output, values = "predict_proba", model.predict_proba(X)
    elif is_regressor(model):
        output, values = "predict", model.predict(X)
    else:
        raise TypeError(
            f"The model must have decision_function or predict_proba, or be a regressor, got "
            f"{_kind(model)}; use a model with one of these methods."
        )
    if isinstance(values, list):  # one array of probabilities for each output
        values = np.column_stack([_positive(np.asarray(part)) for part in values])
        return Decisions(values.astype(np.float64), output, None)
    values = np.asarray(values, dtype=np.float64)
    classes = tuple(model.classes_) if is_classifier(model) and not _multilabel(model, X) else None
    if values.ndim == 1:
        values = np.column_stack([-values, values]) if classes is not None else values[:, None]
    if classes is not None and values.shape[1] != len(classes):
        raise ValueError(
            f"{_kind(model)} has {values.shape[1]} decisions for {len(classes)} classes; it must "
            "have one per class, as with decision_function_shape='ovr'."
        )
    return Decisions(values, output, classes)


def _vectorizers(part: Any) -> Iterator[StaticEmbeddingVectorizer]:
    """Find the vectorizers in any attribute of an estimator, fitted or not."""
    if isinstance(part, StaticEmbeddingVectorizer):
        yield part
    elif isinstance(part, BaseEstimator):
        # Fitted attributes come before parameters, which may have been fitted to something else.
        names = sorted(vars(part), key=lambda name: not name.endswith("_"))
        yield from chain.from_iterable(_vectorizers(vars(part)[name]) for name in names)
    elif isinstance(part, (list, tuple)):
        yield from chain.from_iterable(map(_vectorizers, part))
    elif isinstance(part, dict):
        yield from chain.from_iterable(map(_vectorizers, part.values()))


def _steps(name: str, estimator: Any) -> Iterator[tuple[str, Any]]:
    """Generate the steps of nested pipelines, of searches' best estimators and of frozen ones."""
    estimator = _unwrapped(estimator)
    if not isinstance(estimator, Pipeline):
        yield name or _kind(estimator), estimator
        return
    prefix = f"{name}__" if name else ""
    for step_name, step in estimator.steps:
        if step is not None and not isinstance(step, str):  # "passthrough"
            yield from _steps(prefix + step_name, step)


def _unwrapped(estimator: Any) -> Any:
    """Return the best estimator of a search, or a frozen one, or any other estimator itself."""
    while True:
        if isinstance(estimator, FrozenEstimator):
            estimator = estimator.estimator
        elif hasattr(estimator, "best_estimator_"):
            estimator = estimator.best_estimator_
        else:
            return estimator


def _as_input(estimator: Any, documents: list[str]) -> Any:
    """Convert documents to the kind of input that the estimator was fitted on."""
    estimator = _unwrapped(estimator)
    names = getattr(estimator, "feature_names_in_", None)
    first = next(_steps("", estimator))[1]
    # A vectorizer and what contains it know the name of a column, but take documents.
    is_table = names is not None and hasattr(estimator, "n_features_in_")
    if not is_table and not isinstance(first, ColumnTransformer):
        return documents
    n_columns = first.n_features_in_ if names is None else len(names)
    if n_columns != 1:
        raise ValueError(
            f"estimator must take documents or a table with one column of documents, but it was "
            f"fitted on {n_columns} columns; explain the pipeline of a single column."
        )
    if names is None:
        return np.array(documents, dtype=object)[:, None]
    import pandas as pd  # the estimator was fitted on a table

    return pd.DataFrame({names[0]: documents})


def _multilabel(model: Any, X: Any) -> bool:
    return getattr(model.predict(X[:1]), "ndim", 1) == 2


def _positive(values: NDArray[Any]) -> NDArray[Any]:
    """Return the second of two columns."""
    if values.shape[1] != 2:
        raise ValueError(
            f"Each output of a classifier must have two classes, but one has {values.shape[1]}; "
            "explain the outputs one by one: (vectorizer, model.estimators_[0])."
        )
    column: NDArray[Any] = values[:, 1]
    return column


def _plain(labels: Any) -> list[Any]:
    """Convert labels that are NumPy scalars to Python objects."""
    return [label.item() if isinstance(label, np.generic) else label for label in labels]


def _kind(value: object) -> str:
    return type(value).__name__
