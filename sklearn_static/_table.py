"""The fitted model: one vector per token, and a text as the pool of its tokens' vectors."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_matrix
from tokenizers import Tokenizer

from sklearn_static._vocabulary import Vocabulary

# Raise it when the state below changes, and keep reading the older ones.
FORMAT_VERSION = 1

Quantize = Literal["float16", "int8"] | None
Norm = Literal["l2"] | None


@dataclass(frozen=True, eq=False)
class StaticTable:
    """A frozen table of token vectors.

    Attributes
    ----------
    vocabulary : Vocabulary
        From texts to rows.
    stored : ndarray of float32, float16 or int8, shape (n_tokens, n_components)
        The vectors as they are stored; read-only.
    scales : ndarray of float32, shape (n_tokens,), or None
        What each row of an int8 table is to be multiplied by; None for floats.
    """

    vocabulary: Vocabulary
    stored: NDArray[Any]
    scales: NDArray[np.float32] | None = None

    def __post_init__(self) -> None:
        """Make the arrays read-only."""
        self.stored.flags.writeable = False
        if self.scales is not None:
            self.scales.flags.writeable = False

    @classmethod
    def from_vectors(
        cls, vocabulary: Vocabulary, vectors: NDArray[np.float32], quantize: Quantize
    ) -> "StaticTable":
        """Store vectors of shape (n_tokens, n_components) as `quantize` says.

        Parameters
        ----------
        vocabulary : Vocabulary
            The token of each row.
        vectors : ndarray of float32, shape (n_tokens, n_components)
            One vector per row.
        quantize : {"float16", "int8"} or None
            None stores float32. "int8" scales each row so that its largest magnitude is 127.

        Returns
        -------
        table : StaticTable
            The table.

        Raises
        ------
        ValueError
            If a value is too large for float16.
        """
        if quantize is None:
            return cls(vocabulary, vectors)
        largest = np.abs(vectors).max(axis=1)
        if quantize == "int8":
            scales = np.where(largest > 0, largest / 127, 1).astype(np.float32)
            return cls(vocabulary, np.rint(vectors / scales[:, None]).astype(np.int8), scales)
        if largest.max() > np.finfo(np.float16).max:
            raise ValueError(
                f"quantize='float16' holds values up to {np.finfo(np.float16).max:.0f}, but the "
                f"table has {largest.max():.6g}; use quantize='int8' or None."
            )
        return cls(vocabulary, vectors.astype(np.float16))

    @property
    def n_components(self) -> int:
        """Number of columns."""
        return int(self.stored.shape[1])

    def vectors(self, rows: slice | NDArray[np.integer[Any]] = slice(None)) -> NDArray[np.float32]:
        """Give rows of the table in float32.

        Parameters
        ----------
        rows : slice or ndarray of int, default=slice(None)
            The rows; all of them by default.

        Returns
        -------
        vectors : ndarray of float32, shape (n_rows, n_components)
            For a float32 table and a slice, a read-only view of it.
        """
        vectors: NDArray[np.float32] = self.stored[rows].astype(np.float32, copy=False)
        return vectors if self.scales is None else vectors * self.scales[rows, None]

    def features(
        self, documents: Sequence[str], *, max_length: int | None = None, norm: Norm = "l2"
    ) -> NDArray[np.float32]:
        """Pool the vectors of each document's tokens.

        Parameters
        ----------
        documents : sequence of str of length n_documents
            The texts.
        max_length : int or None, default=None
            How many tokens of each text to read; None reads all.
        norm : {"l2"} or None, default="l2"
            "l2" gives the sum of the vectors, scaled to unit length; None gives their mean.

        Returns
        -------
        features : ndarray of float32, shape (n_documents, n_components)
            A document without any token of the table is zero.
        """
        rows, offsets = self.vocabulary.row_ids(documents, max_length)
        columns: NDArray[np.integer[Any]]
        if self.stored.dtype == np.float32:
            columns, vectors = rows, self.vectors()
        else:
            # Only the rows that these documents use, so that memory stays bounded.
            used, columns = np.unique(rows, return_inverse=True)
            vectors = self.vectors(used)
        counts = csr_matrix(
            (np.ones(len(columns), dtype=np.float32), columns, offsets),
            shape=(len(documents), len(vectors)),
        )
        sums: NDArray[np.float32] = counts @ vectors
        if norm == "l2":
            scale = np.linalg.norm(sums, axis=1)
        elif norm is None:
            scale = np.diff(offsets).astype(np.float32)
        else:
            raise ValueError(f"norm must be 'l2' or None, got {norm!r}.")
        scale[scale == 0] = 1
        sums /= scale[:, None]
        return sums

    def __getstate__(self) -> dict[str, Any]:
        """Give the state as arrays and strings, so that no private class is in a saved file."""
        return {
            "format_version": FORMAT_VERSION,
            "tokenizer": self.vocabulary.tokenizer.to_str(),
            "token_ids": self.vocabulary.token_ids,
            "stored": self.stored,
            "scales": self.scales,
        }

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Restore the state, or say that this version cannot read it."""
        if state["format_version"] > FORMAT_VERSION:
            raise ValueError(
                f"This model was saved in format {state['format_version']}; this version of "
                f"sklearn-static reads up to format {FORMAT_VERSION}. Upgrade sklearn-static."
            )
        tokenizer = Tokenizer.from_str(state["tokenizer"])
        StaticTable.__init__(
            self, Vocabulary(tokenizer, state["token_ids"]), state["stored"], state["scales"]
        )
