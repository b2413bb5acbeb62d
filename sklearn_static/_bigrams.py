"""Pairs of tokens that follow each other and have a row of their own."""

import numpy as np
from numpy.typing import NDArray

EMPTY = np.int64(-1)
# Fibonacci hashing: 2^64 divided by the golden ratio.
MULTIPLIER = np.uint64(11400714819323198485)


class Bigrams:
    """From pairs of rows to the rows of the pairs.

    Parameters
    ----------
    pairs : ndarray of int32, shape (n_bigrams, 2)
        The rows of the two tokens of each bigram; no pair comes twice.
    n_tokens : int
        The number of rows for tokens; bigram i has the row ``n_tokens + i``.

    Attributes
    ----------
    keys : ndarray of int64, shape (n_slots,)
        A hash table with open addressing: ``first * n_tokens + second`` of the bigram in each
        slot, `EMPTY` in a free one. The slot of a key is the leading `n_bits` bits of its product
        with `MULTIPLIER`, or the next free one.
    rows : ndarray of int32, shape (n_slots,)
        The row of the bigram in each slot.
    n_bits : int
        The binary logarithm of the number of slots.
    """

    def __init__(self, pairs: NDArray[np.int32], n_tokens: int) -> None:
        self.pairs = pairs
        self.n_tokens = n_tokens
        # At most a quarter full, so that nearly every search ends in its first slot.
        self.n_bits = max(int(4 * len(pairs) - 1).bit_length(), 1)
        self.keys = np.full(1 << self.n_bits, EMPTY)
        self.rows = np.zeros(1 << self.n_bits, dtype=np.int32)
        keys = pairs[:, 0].astype(np.int64) * n_tokens + pairs[:, 1]
        left = np.arange(len(keys))
        slots = self._first_slots(keys)
        while len(left):
            free = self.keys[slots] == EMPTY
            # Of several that want one slot, the last takes it.
            self.keys[slots[free]] = keys[left[free]]
            placed = self.keys[slots] == keys[left]
            self.rows[slots[placed]] = n_tokens + left[placed]
            left, slots = left[~placed], (slots[~placed] + 1) & (len(self.keys) - 1)

    def __len__(self) -> int:
        """Give the number of bigrams."""
        return len(self.pairs)

    def _first_slots(self, keys: NDArray[np.int64]) -> NDArray[np.int64]:
        hashed = (keys.view(np.uint64) * MULTIPLIER) >> np.uint64(64 - self.n_bits)
        return hashed.view(np.int64)

    def look_up(self, keys: NDArray[np.int64]) -> NDArray[np.int32]:
        """Find the rows of bigrams.

        Parameters
        ----------
        keys : ndarray of int64, shape (n_keys,)
            ``first * n_tokens + second``, by the rows of the tokens.

        Returns
        -------
        rows : ndarray of int32, shape (n_keys,)
            The row of each, -1 where it has none.
        """
        slots = self._first_slots(keys)
        rows = np.where(self.keys[slots] == keys, self.rows[slots], np.int32(-1))
        # Those whose slot another bigram has.
        left = np.flatnonzero((rows < 0) & (self.keys[slots] != EMPTY))
        while len(left):
            slots[left] = (slots[left] + 1) & (len(self.keys) - 1)
            found = self.keys[slots[left]]
            rows[left] = np.where(found == keys[left], self.rows[slots[left]], -1)
            left = left[(found != keys[left]) & (found != EMPTY)]
        return rows

    def insert(
        self, rows: NDArray[np.int32], offsets: NDArray[np.int64]
    ) -> tuple[NDArray[np.int32], NDArray[np.int64]]:
        """Put behind each token the bigram that it ends, if there is one.

        Parameters
        ----------
        rows : ndarray of int32, shape (n_rows,)
            The rows of all documents' tokens, one document after the other.
        offsets : ndarray of int64, shape (n_documents + 1,)
            Document i has ``rows[offsets[i]:offsets[i + 1]]``.

        Returns
        -------
        rows : ndarray of int32, shape (n_rows_and_bigrams,)
            Tokens and bigrams.
        offsets : ndarray of int64, shape (n_documents + 1,)
            Where the documents begin in it.
        """
        both = np.full((len(rows), 2), -1, dtype=np.int32)
        both[:, 0] = rows
        both[1:, 1] = self.look_up(bigram_keys(rows, self.n_tokens))
        starts = offsets[:-1]
        both[starts[starts < len(rows)], 1] = -1  # no bigram across documents
        kept = both.ravel() >= 0
        ends = np.zeros(len(kept) + 1, dtype=np.int64)
        np.cumsum(kept, out=ends[1:])
        return both.ravel()[kept], ends[2 * offsets]


def bigram_keys(rows: NDArray[np.int32], n_tokens: int) -> NDArray[np.int64]:
    """Give the key of each token with the next.

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


def most_frequent_bigrams(
    rows: NDArray[np.int32], offsets: NDArray[np.int64], n_tokens: int, max_features: int | None
) -> Bigrams:
    """Choose the bigrams that occur in the most documents, in two at least.

    Parameters
    ----------
    rows : ndarray of int32, shape (n_rows,)
        The rows of all documents' tokens, one document after the other.
    offsets : ndarray of int64, shape (n_documents + 1,)
        Document i has ``rows[offsets[i]:offsets[i + 1]]``.
    n_tokens : int
        The number of rows for tokens.
    max_features : int or None
        How many to take at most; None takes all.

    Returns
    -------
    bigrams : Bigrams
        The most frequent first, and those of one frequency by their tokens.
    """
    documents = np.repeat(np.arange(len(offsets) - 1), np.diff(offsets))
    within = documents[1:] == documents[:-1]
    keys = bigram_keys(rows, n_tokens)[within]
    order = np.lexsort((documents[1:][within], keys))
    keys, documents = keys[order], documents[1:][within][order]
    # Each bigram once per document.
    new = np.ones(len(keys), dtype=bool)
    new[1:] = (keys[1:] != keys[:-1]) | (documents[1:] != documents[:-1])
    distinct, frequencies = np.unique(keys[new], return_counts=True)
    distinct, frequencies = distinct[frequencies >= 2], frequencies[frequencies >= 2]
    chosen = distinct[np.argsort(-frequencies, kind="stable")[:max_features]]
    return Bigrams(np.stack(np.divmod(chosen, n_tokens), axis=1).astype(np.int32), n_tokens)
