"""The tokens of documents as rows of a table of token vectors."""

from collections.abc import Iterable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

_DOCUMENTS_AT_ONCE = 65_536


class Tokens(NamedTuple):
    """The rows of documents' tokens.

    Attributes
    ----------
    rows : ndarray of int32, shape (n_tokens,)
        The concatenated rows of all documents' tokens, -1 for tokens without a row.
    offsets : ndarray of int64, shape (n_documents + 1,)
        Document i has ``rows[offsets[i]:offsets[i + 1]]``.
    """

    rows: NDArray[np.int32]
    offsets: NDArray[np.int64]

    @classmethod
    def concatenated(cls, parts: Iterable["Tokens"]) -> "Tokens":
        """Join the documents of several batches."""
        some = list(parts)
        lengths = [np.zeros(1, dtype=np.int64), *(part.lengths for part in some)]
        rows = [np.empty(0, dtype=np.int32), *(part.rows for part in some)]
        return cls(np.concatenate(rows), np.cumsum(np.concatenate(lengths)))

    @property
    def n_documents(self) -> int:
        """Number of documents."""
        return len(self.offsets) - 1

    @property
    def lengths(self) -> NDArray[np.int64]:
        """Number of tokens of each document, shape (n_documents,)."""
        return np.diff(self.offsets)

    def of(self, document: int) -> NDArray[np.int32]:
        """Return the rows of the tokens of one document."""
        return self.rows[self.offsets[document] : self.offsets[document + 1]]

    def first(self, n_documents: int) -> "Tokens":
        """Return a view of the first documents."""
        return self.between(0, n_documents)

    def between(self, start: int, stop: int) -> "Tokens":
        """Return a view of adjacent documents."""
        offsets = self.offsets[start : stop + 1]
        return Tokens(self.rows[offsets[0] : offsets[-1]], offsets - offsets[0])

    def take(self, documents: NDArray[np.integer[Any]]) -> "Tokens":
        """Select documents, in the given order."""
        return self.slices(self.offsets[documents], self.offsets[documents + 1])

    def slices(self, starts: NDArray[np.int64], stops: NDArray[np.int64]) -> "Tokens":
        """Make documents of parts of `rows`, given where each begins and ends."""
        lengths = stops - starts
        offsets = np.concatenate([[0], np.cumsum(lengths)])
        rows = np.empty(offsets[-1], dtype=np.int32)
        # In blocks, as the places take more memory than the rows.
        for start in range(0, len(starts), _DOCUMENTS_AT_ONCE):
            some = slice(start, start + _DOCUMENTS_AT_ONCE)
            moved = np.repeat(starts[some] - offsets[:-1][some], lengths[some])
            first = offsets[start]
            places = moved + np.arange(first, first + len(moved))
            rows[first : first + len(moved)] = self.rows[places]
        return Tokens(rows, offsets)

    def renumbered(self, kept: NDArray[np.integer[Any]]) -> "Tokens":
        """Give new rows to some of the tokens, and none to the others.

        Parameters
        ----------
        kept : ndarray of int, shape (n_kept,)
            The present rows of the tokens to keep, in the order of their new rows.

        Returns
        -------
        tokens : Tokens
            All tokens of all documents.
        """
        new_row = np.full(2 + max(kept.max(), self.rows.max(initial=-1)), -1, dtype=np.int32)
        new_row[kept] = np.arange(len(kept), dtype=np.int32)
        return Tokens(new_row[self.rows], self.offsets)  # -1 is the last entry

    def in_vocabulary(self, max_length: int | None) -> "Tokens":
        """Truncate the documents, then drop tokens without a row.

        Parameters
        ----------
        max_length : int or None
            Number of tokens to which each document is truncated, including tokens without a row;
            None does not truncate.

        Returns
        -------
        tokens : Tokens
            All documents, including those without a remaining token.
        """
        rows, offsets = self
        kept = rows >= 0
        if max_length is not None:
            place = np.arange(len(rows)) - np.repeat(offsets[:-1], self.lengths)
            kept &= place < max_length
        elif kept.all():
            return self
        # kept_before[t] is the number of the first t tokens that are kept.
        kept_before = np.zeros(len(rows) + 1, dtype=np.int64)
        np.cumsum(kept, out=kept_before[1:])
        return Tokens(rows[kept], kept_before[offsets])
