"""Transformation of Dask collections, on the workers that hold their partitions."""

import sys
from copy import deepcopy
from typing import Any

import numpy as np
from sklearn import config_context, get_config

from sklearn_static._vectorizer import StaticEmbeddingVectorizer

_SUPPORTED = (
    "dask.dataframe.Series",
    "dask.dataframe.DataFrame",
    "dask.bag.Bag",
    "dask.array.Array",
)


def transform(vectorizer: StaticEmbeddingVectorizer, X: Any, *, column: Any = None) -> Any:
    """Transform the documents of a Dask collection, partition by partition.

    The result is lazy, and is that of the vectorizer as it is now: later calls of `set_params` or
    `fit` do not change it. If there is a Dask client, the vectorizer is sent to each of its workers
    immediately and only once; otherwise the graph contains it once.

    Parameters
    ----------
    vectorizer : StaticEmbeddingVectorizer
        A fitted vectorizer.
    X : dask.dataframe.Series, dask.dataframe.DataFrame, dask.bag.Bag or dask.array.Array
        The documents; an array must have shape (n_documents,).
    column : hashable, default=None
        The name of the column of documents in a DataFrame. None takes the only column.

    Returns
    -------
    features : dask.array.Array of float32, shape (n_documents, n_features)
        One chunk per partition, of unknown length (NaN) unless X is an array. If `set_output` or
        scikit-learn's configuration requests "pandas", a dask.dataframe.DataFrame with the feature
        names and the index of X.

    Raises
    ------
    TypeError
        If `vectorizer` is not a StaticEmbeddingVectorizer, if X is not one of these Dask
        collections, or if the output is set to "polars", which Dask does not support.
    ValueError
        If `column` is not a column of X or is missing, or if an array has several columns.
    sklearn.exceptions.NotFittedError
        If the vectorizer is not fitted.

    Notes
    -----
    Errors in documents are raised when the features are computed; row numbers in their messages
    count from the beginning of the partition. Warnings about documents without an in-vocabulary
    token go to the logs of the workers.

    The workers of a client keep the vectorizer as long as the features exist. Only this client can
    compute the features. If all workers that held it have shut down, call `transform` again.

    Examples
    --------
    >>> import dask.bag
    >>> import sklearn_static.dask
    >>> from sklearn_static import StaticEmbeddingVectorizer
    >>> vectorizer = StaticEmbeddingVectorizer.from_vectors({"cat": [1, 0], "dog": [0.8, 0.6]})
    >>> documents = dask.bag.from_sequence(["A cat!", "a dog"], npartitions=2)
    >>> features = sklearn_static.dask.transform(vectorizer, documents)
    >>> features.compute()
    array([[1. , 0. ],
           [0.8, 0.6]], dtype=float32)
    """
    if not isinstance(vectorizer, StaticEmbeddingVectorizer):
        raise TypeError(
            "vectorizer must be a fitted StaticEmbeddingVectorizer, got "
            f"{type(vectorizer).__name__}; for a pipeline, pass its vectorizer step."
        )
    vectorizer = deepcopy(vectorizer)  # not of the token vectors, which are immutable
    kind = _kind(X)
    if kind == "dask.dataframe.DataFrame":
        X, kind = _column(X, column), "dask.dataframe.Series"
    elif column is not None:
        raise ValueError(f"column={column!r} needs a Dask DataFrame, but X is a {kind}.")

    output = get_config()["transform_output"]  # workers do not have the caller's configuration
    # The features of an empty partition have the type, columns and dtypes of all others.
    empty = X._meta if kind == "dask.dataframe.Series" else []
    meta: Any = _transform(empty, vectorizer, output)
    package = type(meta).__module__.partition(".")[0]
    if package not in ("numpy", "pandas"):
        raise TypeError(
            f"Dask does not support the vectorizer's output, a {package} {type(meta).__name__}; "
            "use vectorizer.set_output(transform='pandas') or 'default'."
        )
    arguments = (_shared(vectorizer), output)
    if kind == "dask.dataframe.Series":
        return X.map_partitions(_transform, *arguments, meta=meta)
    lengths = None
    if kind == "dask.array.Array":
        X, lengths = _as_bag(X), X.chunks[0]
    parts = X.map_partitions(_transform, *arguments)
    if isinstance(meta, np.ndarray):
        return _as_array(parts, lengths, meta)
    from dask.dataframe import from_delayed

    return from_delayed(parts.to_delayed(), meta=meta, verify_meta=False)


def _transform(documents: Any, vectorizer: StaticEmbeddingVectorizer, output: str) -> Any:
    with config_context(transform_output=output):
        features: Any = vectorizer.transform(documents)
    if hasattr(features, "index") and hasattr(documents, "iloc"):
        features.index = documents.index  # old scikit-learn takes it from DataFrames only
    return features


def _kind(X: Any) -> str:
    """Determine which Dask collection X is, without importing Dask."""
    for base in type(X).__mro__:
        kind = ".".join([*base.__module__.split(".")[:2], base.__name__])
        if kind in _SUPPORTED:
            return kind
    raise TypeError(
        f"X must be one of {', '.join(_SUPPORTED)}, got "
        f"{type(X).__module__}.{type(X).__qualname__}; vectorizer.transform(X) takes documents in "
        "memory."
    )


def _column(X: Any, column: Any) -> Any:
    names = list(X.columns)
    if column is None and len(names) == 1:
        column = names[0]
    if names.count(column) != 1:
        raise ValueError(f"column={column!r} must be one of the columns of X: {names}.")
    return X[column]


def _shared(vectorizer: StaticEmbeddingVectorizer) -> Any:
    """Return a reference to a single copy of the vectorizer, for use in many tasks."""
    from dask import delayed

    distributed = sys.modules.get("distributed")  # imported if there is a client
    if distributed is not None:
        try:
            client = distributed.get_client()
        except ValueError:
            client = None
        if client is not None and not client.asynchronous:
            # Sent to all workers, so that it survives the end of any of them. Under a key of its
            # own: with one made of the content, the next call races with the release of the last.
            return client.scatter(vectorizer, broadcast=True, hash=False)
    return delayed(vectorizer, pure=True, traverse=False)


def _as_bag(X: Any) -> Any:
    from dask.bag import from_delayed

    if X.ndim != 1:
        raise ValueError(f"X must have shape (n_documents,), got {X.shape}; pass X[:, 0].")
    return from_delayed(list(X.to_delayed()))


def _as_array(parts: Any, lengths: tuple[float, ...] | None, meta: Any) -> Any:
    """Make an array whose chunks are the partitions of a Bag, which are arrays."""
    from dask.array import Array
    from dask.highlevelgraph import HighLevelGraph

    name = f"features-{parts.name}"
    chunks = {(name, i, 0): (parts.name, i) for i in range(parts.npartitions)}
    graph = HighLevelGraph.from_collections(name, chunks, dependencies=[parts])
    rows = (np.nan,) * parts.npartitions if lengths is None else lengths
    return Array(graph, name, (rows, (meta.shape[1],)), meta=meta)
