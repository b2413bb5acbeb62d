"""The documents given to `fit`, with the rows of their tokens."""

from collections.abc import Iterable
from dataclasses import dataclass
from hashlib import blake2b
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_matrix

from sklearn_static._serve import FastTokenizer
from sklearn_static._serve.bigrams import Bigrams, bigram_keys
from sklearn_static._serve.documents import batches
from sklearn_static._serve.vocabulary import known_rows


@dataclass(frozen=True)
class Corpus:
    """Documents and the rows of their tokens.

    Attributes
    ----------
    documents : list of str
        The documents.
    rows : ndarray of int32, shape (n_tokens,)
        The concatenated rows of all documents' tokens, -1 for tokens without a row.
    offsets : ndarray of int64, shape (n_documents + 1,)
        Document i has ``rows[offsets[i]:offsets[i + 1]]``.
    """

    documents: list[str]
    rows: NDArray[np.int32]
    offsets: NDArray[np.int64]

    @classmethod
    def from_documents(cls, documents: list[str], tokenizer: FastTokenizer) -> "Corpus":
        """Tokenize documents.

        Parameters
        ----------
        documents : list of str
            The documents.
        tokenizer : FastTokenizer
            Maps documents to the rows of their tokens.

        Returns
        -------
        corpus : Corpus
            All documents in their order, with all their tokens.
        """
        parts = [np.empty(0, dtype=np.int32)]
        lengths = [np.zeros(1, dtype=np.int64)]
        for batch in batches(documents):
            rows, offsets = tokenizer.tokenize(documents[batch]).to_arrays()
            parts.append(rows)
            lengths.append(np.diff(offsets))
        return cls(documents, np.concatenate(parts), np.cumsum(np.concatenate(lengths)))

    def __len__(self) -> int:
        """Return the number of documents."""
        return len(self.documents)

    @property
    def lengths(self) -> NDArray[np.int64]:
        """Number of tokens of each document, shape (n_documents,)."""
        return np.diff(self.offsets)

    def tokens_of(self, document: int) -> NDArray[np.int32]:
        """Return the rows of the tokens of one document.

        Parameters
        ----------
        document : int
            The index of the document.

        Returns
        -------
        rows : ndarray of int32, shape (n_tokens,)
            -1 for tokens without a row.
        """
        return self.rows[self.offsets[document] : self.offsets[document + 1]]

    def first(self, n_documents: int) -> "Corpus":
        """Keep the first documents.

        Parameters
        ----------
        n_documents : int
            Number of documents to keep.

        Returns
        -------
        corpus : Corpus
            A view of these documents.
        """
        offsets = self.offsets[: n_documents + 1]
        return Corpus(self.documents[:n_documents], self.rows[: offsets[-1]], offsets)

    def select(self, kept: NDArray[np.bool_]) -> "Corpus":
        """Keep some of the documents.

        Parameters
        ----------
        kept : ndarray of bool, shape (n_documents,)
            Whether to keep each document.

        Returns
        -------
        corpus : Corpus
            The kept documents, in the same order.
        """
        rows = self.rows[np.repeat(kept, self.lengths)]
        offsets = np.concatenate([[0], np.cumsum(self.lengths[kept])])
        return Corpus([self.documents[i] for i in np.flatnonzero(kept)], rows, offsets)

    def with_tokens(self, tokens: NDArray[np.integer[Any]]) -> "Corpus":
        """Give rows to some of the tokens only.

        Parameters
        ----------
        tokens : ndarray of int, shape (n_kept,)
            The present rows of the tokens to keep, in the order of their new rows.

        Returns
        -------
        corpus : Corpus
            All documents, with all their tokens; the others have the row -1.
        """
        new_row = np.full(2 + max(tokens.max(), self.rows.max(initial=-1)), -1, dtype=np.int32)
        new_row[tokens] = np.arange(len(tokens), dtype=np.int32)
        return Corpus(self.documents, new_row[self.rows], self.offsets)  # -1 is the last entry

    def in_vocabulary(self, max_length: int | None) -> "Corpus":
        """Truncate the documents, then drop tokens without a row.

        Parameters
        ----------
        max_length : int or None
            Number of tokens to which each document is truncated; None does not truncate.

        Returns
        -------
        corpus : Corpus
            All documents, including those without a remaining token.
        """
        return Corpus(self.documents, *known_rows(self.rows, self.offsets, max_length))

    def document_frequencies(self, n_tokens: int) -> NDArray[np.int64]:
        """Count the documents that contain each token; all tokens must have a row.

        Parameters
        ----------
        n_tokens : int
            The number of rows for tokens.

        Returns
        -------
        frequencies : ndarray of int64, shape (n_tokens,)
            The number of documents.
        """
        return np.bincount(self.counts(n_tokens, None).indices, minlength=n_tokens)

    def counts(self, n_tokens: int, bigrams: Bigrams | None) -> csr_matrix:
        """Count how often each row occurs in each document; all tokens must have a row.

        Parameters
        ----------
        n_tokens : int
            The number of rows for tokens.
        bigrams : Bigrams or None
            The bigrams, whose rows follow those of the tokens.

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
    """Order documents by a seeded hash of each, independently of their given order.

    Two sets that share most of their documents then begin with almost the same ones, so that the
    teacher reads the same documents in all folds of a cross-validation.

    Parameters
    ----------
    documents : iterable of str
        The documents.
    seed : int
        A seed from 0 to 2**32 - 1.

    Returns
    -------
    documents : list of str
        The same documents in the new order.
    """
    key = seed.to_bytes(8, "little")
    return sorted(
        documents, key=lambda doc: (blake2b(doc.encode(), digest_size=8, key=key).digest(), doc)
    )


def most_frequent_bigrams(corpus: Corpus, n_tokens: int, max_bigrams: int | None) -> Bigrams:
    """Choose the bigrams with the highest document frequency, which must be at least 2.

    Parameters
    ----------
    corpus : Corpus
        The documents; all tokens must have a row.
    n_tokens : int
        The number of rows for tokens.
    max_bigrams : int or None
        The maximum number of bigrams; None keeps all.

    Returns
    -------
    bigrams : Bigrams
        The bigrams by descending document frequency, then by the rows of their tokens.
    """
    rows, offsets = corpus.rows, corpus.offsets
    documents = np.repeat(np.arange(len(offsets) - 1), np.diff(offsets))
    within = documents[1:] == documents[:-1]
    keys = bigram_keys(rows, n_tokens)[within]
    order = np.lexsort((documents[1:][within], keys))
    keys, documents = keys[order], documents[1:][within][order]
    # A document frequency ignores repetitions within a document.
    new = np.ones(len(keys), dtype=bool)
    new[1:] = (keys[1:] != keys[:-1]) | (documents[1:] != documents[:-1])
    distinct, frequencies = np.unique(keys[new], return_counts=True)
    distinct, frequencies = distinct[frequencies >= 2], frequencies[frequencies >= 2]
    chosen = distinct[np.argsort(-frequencies, kind="stable")[:max_bigrams]]
    return Bigrams(np.stack(np.divmod(chosen, n_tokens), axis=1).astype(np.int32), n_tokens)
