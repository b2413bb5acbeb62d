"""Which parts of the documents the teacher reads."""

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from sklearn_static._serve.tokens import Tokens

# Maximum number of tokens of a passage; chosen empirically (benchmarks/README.md).
MAX_PASSAGE = 96


class Passages(NamedTuple):
    """Parts of documents, each given by its tokens.

    Attributes
    ----------
    documents : ndarray of int64, shape (n_passages,)
        The number of each passage's document.
    starts : ndarray of int64, shape (n_passages,)
        The document's token with which it begins.
    stops : ndarray of int64, shape (n_passages,)
        The token before which it ends.
    """

    documents: NDArray[np.integer[Any]]
    starts: NDArray[np.int64]
    stops: NDArray[np.int64]

    @classmethod
    def concatenated(cls, parts: Sequence["Passages"]) -> "Passages":
        """Join some."""
        return cls(*map(np.concatenate, zip(*parts, strict=True)))

    def between(self, start: int, stop: int) -> "Passages":
        """Return a view of adjacent passages."""
        some = slice(start, stop)
        return Passages(self.documents[some], self.starts[some], self.stops[some])

    def of(self, tokens: Tokens) -> Tokens:
        """Return the tokens of the passages, given those of all documents."""
        offsets = tokens.offsets[self.documents]
        return tokens.slices(offsets + self.starts, offsets + self.stops)


def beginnings(lengths: NDArray[np.int64], limit: int | None) -> Passages:
    """Take of each document what the teacher can read at once.

    Parameters
    ----------
    lengths : ndarray of int64, shape (n_documents,)
        The documents' numbers of tokens.
    limit : int or None
        The maximum number of tokens; None takes whole documents.

    Returns
    -------
    passages : Passages
        The beginning of each document.
    """
    stops = lengths if limit is None else np.minimum(lengths, limit)
    return Passages(np.arange(len(lengths)), np.zeros_like(lengths), stops)


def spread(
    lengths: NDArray[np.int64], order: NDArray[np.int64], limit: int | None
) -> Iterator[Passages]:
    """Divide documents into short passages, and take one of each document after the other.

    The passages of a document are of about the same length, at most 96 tokens. First comes one of
    each document, then another one of each that has one left, and so on.

    Parameters
    ----------
    lengths : ndarray of int64, shape (n_documents,)
        The documents' numbers of tokens.
    order : ndarray of int64, shape (n_documents,)
        A number of each document that tells which of its passages is the first.
    limit : int or None
        The maximum number of tokens of a passage, if less than 96.

    Yields
    ------
    passages : Passages
        One passage of each document that has one left.
    """
    size = MAX_PASSAGE if limit is None else max(min(MAX_PASSAGE, limit), 1)
    n_parts = -(-lengths // size)
    for n in range(int(n_parts.max(initial=0))):
        documents = np.flatnonzero(n_parts > n)
        parts = (order[documents] + n) % n_parts[documents]
        starts, stops = (
            lengths[documents] * part // n_parts[documents] for part in (parts, parts + 1)
        )
        yield Passages(documents, starts, stops)
