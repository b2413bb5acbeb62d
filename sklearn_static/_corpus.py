"""The texts given to fit, as the rows of their tokens."""

from collections.abc import Iterable
from dataclasses import dataclass
from hashlib import blake2b

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_matrix

from sklearn_static._bigrams import Bigrams
from sklearn_static._documents import batches
from sklearn_static._serve import FastTokenizer
from sklearn_static._vocabulary import known_rows


@dataclass(frozen=True)
class Corpus:
    """Texts and the rows of their tokens.

    Attributes
    ----------
    documents : list of str
        The texts.
    rows : ndarray of int32, shape (n_known_tokens,)
        The rows of all texts' tokens, one text after the other.
    offsets : ndarray of int64, shape (n_documents + 1,)
        Text i has ``rows[offsets[i]:offsets[i + 1]]``.
    """

    documents: list[str]
    rows: NDArray[np.int32]
    offsets: NDArray[np.int64]

    @classmethod
    def from_documents(
        cls, documents: list[str], tokenizer: FastTokenizer, max_length: int | None
    ) -> "Corpus":
        """Tokenize texts.

        Parameters
        ----------
        documents : list of str
            The texts.
        tokenizer : FastTokenizer
            From texts to rows.
        max_length : int or None
            How many tokens of each text to read; None reads all.

        Returns
        -------
        corpus : Corpus
            All texts in their order.
        """
        parts = [(np.empty(0, dtype=np.int32), np.zeros(1, dtype=np.int64))]
        for batch in batches(documents):
            rows, offsets = tokenizer.tokenize(documents[batch], max_length).to_arrays()
            parts.append(known_rows(rows, offsets, max_length))
        lengths = np.concatenate([np.diff(offsets) for _, offsets in parts])
        offsets = np.concatenate([[0], np.cumsum(lengths)])
        return cls(documents, np.concatenate([rows for rows, _ in parts]), offsets)

    @property
    def lengths(self) -> NDArray[np.int64]:
        """Number of known tokens of each text, shape (n_documents,)."""
        return np.diff(self.offsets)

    def known(self) -> "Corpus":
        """Leave out the texts without a known token."""
        kept = np.flatnonzero(self.lengths)
        offsets = np.concatenate([[0], self.offsets[1:][kept]])
        return Corpus([self.documents[i] for i in kept], self.rows, offsets)

    def counts(self, n_tokens: int, bigrams: Bigrams | None) -> csr_matrix:
        """Count how often each row occurs in each text.

        Parameters
        ----------
        n_tokens : int
            The number of rows for tokens.
        bigrams : Bigrams or None
            The pairs of tokens with a row of their own, behind those.

        Returns
        -------
        counts : csr_matrix of float32, shape (n_documents, n_rows)
            The counts.
        """
        rows, offsets, n_rows = self.rows.copy(), self.offsets.copy(), n_tokens
        if bigrams is not None:
            rows, offsets = bigrams.insert(rows, offsets)
            n_rows += len(bigrams)
        ones = np.ones(len(rows), dtype=np.float32)
        counts = csr_matrix((ones, rows, offsets), shape=(len(offsets) - 1, n_rows))
        counts.sum_duplicates()  # in place, hence the copies
        return counts


def in_random_order(documents: Iterable[str], seed: int) -> list[str]:
    """Order texts by the hash of each with the seed, whatever their order was.

    Two sets of texts have nearly the same beginning where they share most texts, so that the
    folds of a cross-validation show the teacher the same ones.

    Parameters
    ----------
    documents : iterable of str
        The texts.
    seed : int
        Any seed from 0 to 2**32 - 1.

    Returns
    -------
    documents : list of str
        The same texts.
    """
    key = seed.to_bytes(8, "little")
    return sorted(
        documents, key=lambda text: (blake2b(text.encode(), digest_size=8, key=key).digest(), text)
    )
