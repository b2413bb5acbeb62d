"""Conversion of X to a list of documents."""

import sys
from collections.abc import Iterable, Iterator, Mapping, MappingView, Set
from typing import Any, Literal

import numpy as np

_SHOWN_ROWS = 5
# The maximum size of a batch, which bounds memory for any documents.
_BATCH_DOCUMENTS = 1024
_BATCH_CHARACTERS = 250_000


def as_documents(X: Any, *, missing: Literal["error", "empty"] = "error") -> list[str]:
    """Check X and return its documents.

    Parameters
    ----------
    X : iterable of str, or table with one column
        A list, tuple or generator of documents; a NumPy array, pandas or polars Series or
        pyarrow array of them; or a table or array of shape (n_documents, 1).
    missing : {"error", "empty"}, default="error"
        Whether to raise on a missing value (None, NaN, NA) or to treat it as an empty document.

    Returns
    -------
    documents : list of str
        The documents in the order of X; a new list, unless X is already a list of str.

    Raises
    ------
    TypeError
        If X is not iterable, has no order, is a Dask collection, or has an element that is not a
        str.
    ValueError
        If X is a single str, does not have exactly one column, or has a missing value and
        ``missing="error"``.
    """
    items = _items(X)
    kinds = set(map(type, items))
    return items if kinds <= {str} else _checked_documents(items, missing)


def column_name(X: Any) -> str | None:
    """Return the name of a column of documents.

    Parameters
    ----------
    X : Any
        The documents, as in `as_documents`.

    Returns
    -------
    name : str or None
        The name of a pandas or polars Series or of the only column of a table; None if there is
        none, or if it is not a str.
    """
    if isinstance(X, list | tuple | np.ndarray) or getattr(X, "shape", None) is None:
        return None
    columns: Any = []
    if hasattr(X, "column_names"):  # pyarrow
        columns = X.column_names
    elif hasattr(X, "columns"):
        columns = X.columns
    elif hasattr(X, "to_frame"):  # a Series
        columns = [X.name]
    name = columns[0] if len(columns) == 1 else None
    return name if isinstance(name, str) and name else None


def check_encodable(documents: list[str]) -> None:
    """Raise on lone surrogates, which no tokenizer accepts.

    Parameters
    ----------
    documents : list of str
        The documents.

    Raises
    ------
    ValueError
        If a document is not valid Unicode; the message names its row.
    """
    for row, document in enumerate(documents):
        try:
            document.isascii() or document.encode()
        except UnicodeEncodeError as error:
            raise ValueError(
                f"X must hold valid Unicode, but row {row} has a lone surrogate at character "
                f"{error.start}; document.encode('utf-8', 'replace').decode() removes it."
            ) from error


def batches(documents: list[str]) -> Iterator[slice]:
    """Divide documents into batches of bounded size.

    Parameters
    ----------
    documents : list of str
        The documents.

    Yields
    ------
    batch : slice
        The next batch, of at least one document.
    """
    if len(documents) <= _BATCH_DOCUMENTS and sum(map(len, documents)) <= _BATCH_CHARACTERS:
        yield from [slice(0, len(documents))] if documents else []
        return
    ends = np.cumsum(np.fromiter(map(len, documents), np.int64, len(documents)))
    start = before = 0
    while start < len(documents):
        stop = int(np.searchsorted(ends, before + _BATCH_CHARACTERS, side="right"))
        stop = min(max(stop, start + 1), start + _BATCH_DOCUMENTS, len(documents))
        yield slice(start, stop)
        start, before = stop, ends[stop - 1]


def _items(X: Any) -> list[Any]:
    """Return the elements of the only column of X."""
    if isinstance(X, str):
        raise ValueError("X must be a collection of documents, got a single str; pass [document].")
    if _package(X) == "dask":
        raise TypeError(
            f"X must be in memory, got {_kind(X)}; import sklearn_static.dask and call "
            "sklearn_static.dask.transform(vectorizer, X), or pass X.compute()."
        )
    shape = getattr(X, "shape", None)
    if isinstance(X, (bytes, Mapping, Set)) or (shape is None and not isinstance(X, Iterable)):
        raise TypeError(f"X must be an ordered collection of documents, got {_kind(X)}{_cure(X)}.")
    if shape is not None and len(shape) != 1:
        if len(shape) != 2 or shape[1] != 1:
            raise ValueError(
                f"X must have one column of documents, got shape {tuple(shape)}; select the "
                "column, or use one vectorizer per column in a ColumnTransformer."
            )
        X = _only_column(X)
    for method in ("tolist", "to_list", "to_pylist"):  # pandas and NumPy, polars, pyarrow
        if hasattr(X, method):
            items: list[Any] = getattr(X, method)()
            return items
    return X if isinstance(X, list) else list(X)


def _cure(X: Any) -> str:
    """Suggest what to pass instead of a container of documents that has no order or no rows yet."""
    if isinstance(X, Mapping):
        return "; pass list(X.values())"
    if isinstance(X, MappingView):
        return "; pass list(X)"
    if isinstance(X, Set):
        return "; pass a list"
    return "; pass X.collect()" if hasattr(X, "collect") else ""  # polars


def _only_column(X: Any) -> Any:
    if isinstance(X, np.ndarray):
        return X[:, 0]
    if hasattr(X, "iloc"):  # pandas
        return X.iloc[:, 0]
    if hasattr(X, "to_series"):  # polars
        return X.to_series(0)
    if hasattr(X, "column"):  # pyarrow
        return X.column(0)
    raise TypeError(f"X must be a collection of documents, got {_kind(X)}.")


def _checked_documents(items: list[Any], missing: str) -> list[str]:
    """Convert subclasses of str to str and treat missing values as `missing` says."""
    documents = []
    missing_rows = []
    for row, item in enumerate(items):
        if isinstance(item, str):
            documents.append(str.__str__(item))  # of a str Enum the value, as TfidfVectorizer does
        elif _is_null(item):
            documents.append("")
            missing_rows.append(row)
        else:
            cure = "; decode it first" if isinstance(item, bytes) else ""
            raise TypeError(f"X must hold documents (str), got {_kind(item)} in row {row}{cure}.")
    if missing_rows and missing == "error":
        rows = ", ".join(map(str, missing_rows[:_SHOWN_ROWS]))
        more = ", ..." if len(missing_rows) > _SHOWN_ROWS else ""
        plural = "s" if len(missing_rows) > 1 else ""
        raise ValueError(
            f"X has {len(missing_rows)} missing value{plural}, in row{plural} {rows}{more}; "
            f"missing='empty' treats them as empty documents.{_if_made_up(items)}"
        )
    return documents


def _if_made_up(items: list[Any]) -> str:
    """Explain a missing value that Dask invents when it infers what a function returns."""
    if len(items) != 2 or "dask.dataframe" not in sys.modules:
        return ""
    return (
        " If X is the example with which Dask infers the metadata of map_partitions, use "
        "sklearn_static.dask.transform(vectorizer, X) instead, or pass meta= or "
        "missing='empty'."
    )


def _is_null(item: Any) -> bool:
    if item is None or type(item).__name__ in {"NAType", "NaTType"}:  # pandas' two singletons
        return True
    return isinstance(item, (float, np.floating)) and bool(np.isnan(item))


def _package(value: object) -> str:
    return type(value).__module__.partition(".")[0]


def _kind(value: object) -> str:
    return f"{type(value).__module__}.{type(value).__qualname__}".removeprefix("builtins.")
