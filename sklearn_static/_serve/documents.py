"""What users pass as X, as a list of texts."""

from collections.abc import Iterable, Iterator, Mapping, MappingView, Set
from typing import Any, Literal

import numpy as np

_SHOWN_ROWS = 5
# What one step of work takes at most: bounds its memory, whatever the documents.
_BATCH_DOCUMENTS = 1024
_BATCH_CHARACTERS = 250_000


def as_documents(X: Any, *, missing: Literal["error", "empty"] = "error") -> list[str]:
    """Check X and return its texts.

    Parameters
    ----------
    X : iterable of str, or table with one column
        A list, tuple or generator of texts; a NumPy array, pandas or polars Series or
        pyarrow array of them; or a table or array of shape (n_documents, 1).
    missing : {"error", "empty"}, default="error"
        Whether a null (None, NaN, NA) raises or stands for the empty text.

    Returns
    -------
    documents : list of str
        The texts in the order of X; a new list, except that a list of texts is returned as is.

    Raises
    ------
    TypeError
        If X is not iterable, has no order, is a Dask collection, or holds something that is not
        a text.
    ValueError
        If X is a single text, has other than one column, or holds a null while
        ``missing="error"``.
    """
    items = _items(X)
    kinds = set(map(type, items))
    return items if kinds <= {str} else _texts(items, missing)


def check_encodable(documents: list[str]) -> None:
    """Raise on lone surrogates, which no tokenizer takes.

    Parameters
    ----------
    documents : list of str
        The texts.

    Raises
    ------
    ValueError
        If one of them is not valid Unicode, with its row.
    """
    for row, document in enumerate(documents):
        try:
            document.isascii() or document.encode()
        except UnicodeEncodeError as error:
            raise ValueError(
                f"X must hold valid Unicode, but row {row} has a lone surrogate at character "
                f"{error.start}; text.encode('utf-8', 'replace').decode() removes it."
            ) from error


def batches(documents: list[str]) -> Iterator[slice]:
    """Cut documents into runs of bounded length.

    Parameters
    ----------
    documents : list of str
        The texts.

    Yields
    ------
    batch : slice
        The next run; it has at least one document.
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
    """Give the elements of X's one column."""
    if isinstance(X, str):
        raise ValueError("X must be a collection of documents, got a single str; pass [text].")
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
    """Say what to pass in place of a container of texts that has no order or no rows yet."""
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


def _texts(items: list[Any], missing: str) -> list[str]:
    """Turn subclasses of str into str and nulls into what `missing` says."""
    documents = []
    missing_rows = []
    for row, item in enumerate(items):
        if isinstance(item, str):
            documents.append(str(item))
        elif _is_null(item):
            documents.append("")
            missing_rows.append(row)
        else:
            cure = "; decode it first" if isinstance(item, bytes) else ""
            raise TypeError(f"X must hold documents (str), got {_kind(item)} in row {row}{cure}.")
    if missing_rows and missing == "error":
        rows = ", ".join(map(str, missing_rows[:_SHOWN_ROWS]))
        more = ", ..." if len(missing_rows) > _SHOWN_ROWS else ""
        raise ValueError(
            f"X has {len(missing_rows)} missing values, in rows {rows}{more}; "
            "missing='empty' treats them as empty documents."
        )
    return documents


def _is_null(item: Any) -> bool:
    if item is None or type(item).__name__ in {"NAType", "NaTType"}:  # pandas' two singletons
        return True
    return isinstance(item, (float, np.floating)) and bool(np.isnan(item))


def _package(value: object) -> str:
    return type(value).__module__.partition(".")[0]


def _kind(value: object) -> str:
    return f"{type(value).__module__}.{type(value).__qualname__}".removeprefix("builtins.")
