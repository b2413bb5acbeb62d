"""Bigrams: pairs of adjacent tokens that have a row of their own."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from sklearn_static._serve.tokens import Tokens


class Bigrams:
    """Mapping from pairs of token rows to the rows of their bigrams.

    Parameters
    ----------
    pairs : ndarray of int32, shape (n_bigrams, 2)
        The rows of the two tokens of each bigram; read-only, without duplicates.
    n_tokens : int
        The number of rows for tokens; bigram i has the row ``n_tokens + i``.
    """

    def __init__(self, pairs: NDArray[np.int32], n_tokens: int) -> None:
        if pairs.dtype != np.int32 or pairs.shape[1:] != (2,):
            raise ValueError(
                f"pairs must be int32 of shape (n_bigrams, 2), got {pairs.dtype} of {pairs.shape}."
            )
        self.pairs = read_only(pairs)
        self.n_tokens = n_tokens

    def __len__(self) -> int:
        """Give the number of bigrams."""
        return len(self.pairs)

    def look_up(self, keys: NDArray[np.int64]) -> NDArray[np.int32]:
        """Find the rows of bigrams.

        Parameters
        ----------
        keys : ndarray of int64, shape (n_keys,)
            ``first * n_tokens + second``, by the rows of the tokens.

        Returns
        -------
        rows : ndarray of int32, shape (n_keys,)
            The row of each bigram, -1 if it has none.
        """
        known = self.pairs[:, 0].astype(np.int64) * self.n_tokens + self.pairs[:, 1]
        order = np.argsort(known)
        places = np.searchsorted(known, keys, sorter=order)
        found = np.append(order, -1)[places]
        is_known = np.append(known, -1)[found] == keys
        return np.where(is_known, self.n_tokens + found, -1).astype(np.int32)

    def insert(self, tokens: Tokens) -> Tokens:
        """Insert after each token the bigram that ends with it, if there is one.

        Parameters
        ----------
        tokens : Tokens
            The documents' tokens, all of which have a row.

        Returns
        -------
        tokens : Tokens
            Tokens and bigrams.
        """
        rows, offsets = tokens
        both = np.full((len(rows), 2), -1, dtype=np.int32)
        both[:, 0] = rows
        both[1:, 1] = self.look_up(bigram_keys(rows, self.n_tokens))
        starts = offsets[:-1]
        both[starts[starts < len(rows)], 1] = -1  # no bigram across documents
        kept = both.ravel() >= 0
        ends = np.zeros(len(kept) + 1, dtype=np.int64)
        np.cumsum(kept, out=ends[1:])
        return Tokens(both.ravel()[kept], ends[2 * offsets])


def bigram_keys(rows: NDArray[np.int32], n_tokens: int) -> NDArray[np.int64]:
    """Compute the key of each pair of adjacent tokens.

    Parameters
    ----------
    rows : ndarray of int32, shape (n_rows,)
        The rows of tokens.
    n_tokens : int
        The number of rows for tokens.

    Returns
    -------
    keys : ndarray of int64, shape (n_rows - 1,)
        ``first * n_tokens + second``.
    """
    keys: NDArray[np.int64] = rows[:-1].astype(np.int64) * n_tokens + rows[1:]
    return keys


def read_only(array: NDArray[Any]) -> NDArray[Any]:
    """Return a read-only view; the array itself stays writable.

    Parameters
    ----------
    array : ndarray
        Any array.

    Returns
    -------
    view : ndarray
        A view of the same values.
    """
    view = array.view()
    view.flags.writeable = False
    return view
