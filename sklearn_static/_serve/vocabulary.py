"""The tokens that have a row in the table, and the lookup of a document's token rows."""

from collections.abc import Sequence
from functools import cached_property
from itertools import chain

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer

from sklearn_static._serve.original import Original


class Vocabulary:
    """The tokens of a tokenizer that have a row in the table.

    Parameters
    ----------
    original : Original
        The tokenizer.
    token_ids : ndarray of int32, shape (n_tokens,)
        The tokenizer's id of the token in each row.
    """

    def __init__(self, original: Original, token_ids: NDArray[np.int32]) -> None:
        self.original = original
        self.token_ids = token_ids
        # -1: no row. The last entry stands for all larger ids.
        self.row_of_id = np.full(token_ids.max(initial=-1) + 2, -1, dtype=np.int32)
        self.row_of_id[token_ids] = np.arange(len(token_ids), dtype=np.int32)

    def __len__(self) -> int:
        """Return the number of rows."""
        return len(self.token_ids)

    @property
    def tokenizer(self) -> Tokenizer:
        """The original tokenizer, which is parsed when it is first asked for."""
        return self.original.tokenizer

    @property
    def n_ids(self) -> int:
        """The tokenizer's largest id plus one."""
        return 1 + max(self.tokenizer.get_vocab(with_added_tokens=True).values(), default=0)

    @cached_property
    def row_of_token(self) -> dict[str, int]:
        """Row of each token's string, in the order of the rows."""
        token_of_id = self.tokenizer.id_to_token
        return {token_of_id(int(i)): row for row, i in enumerate(self.token_ids)}

    def row_ids(
        self, documents: Sequence[str], max_length: int | None = None
    ) -> tuple[NDArray[np.int32], NDArray[np.int64]]:
        """Tokenize documents and look up the rows of their in-vocabulary tokens.

        Parameters
        ----------
        documents : sequence of str of length n_documents
            The documents.
        max_length : int or None, default=None
            Number of tokens to which each document is truncated, including tokens without a row;
            None does not truncate.

        Returns
        -------
        rows : ndarray of int32, shape (n_rows,)
            The concatenated rows of all documents' tokens, excluding tokens without a row (special
            and unknown tokens).
        offsets : ndarray of int64, shape (n_documents + 1,)
            Document i has ``rows[offsets[i]:offsets[i + 1]]``.
        """
        return known_rows(*self.tokens(documents), max_length)

    def tokens(self, documents: Sequence[str]) -> tuple[NDArray[np.int32], NDArray[np.int64]]:
        """Tokenize documents and look up the row of every token.

        Parameters
        ----------
        documents : sequence of str of length n_documents
            The documents.

        Returns
        -------
        rows : ndarray of int32, shape (n_tokens,)
            The row of each token, -1 if it has none.
        offsets : ndarray of int64, shape (n_documents + 1,)
            Document i has ``rows[offsets[i]:offsets[i + 1]]``.
        """
        ids, offsets = self.encode(documents)
        return self.rows(ids), offsets

    def encode(self, documents: Sequence[str]) -> tuple[NDArray[np.int32], NDArray[np.int64]]:
        """Tokenize documents without special tokens.

        Parameters
        ----------
        documents : sequence of str of length n_documents
            The documents.

        Returns
        -------
        ids : ndarray of int32, shape (n_tokens,)
            The tokenizer's id of each token.
        offsets : ndarray of int64, shape (n_documents + 1,)
            Document i has ``ids[offsets[i]:offsets[i + 1]]``.
        """
        encodings = self.tokenizer.encode_batch_fast(documents, add_special_tokens=False)
        ids_of_documents = [encoding.ids for encoding in encodings]
        offsets = np.zeros(len(documents) + 1, dtype=np.int64)
        np.cumsum([len(ids) for ids in ids_of_documents], out=offsets[1:])
        return np.fromiter(chain.from_iterable(ids_of_documents), np.int32, offsets[-1]), offsets

    def rows(self, ids: NDArray[np.int32]) -> NDArray[np.int32]:
        """Look up the row of each token id.

        Parameters
        ----------
        ids : ndarray of int32, shape (n_tokens,)
            Token ids as returned by `encode`.

        Returns
        -------
        rows : ndarray of int32, shape (n_tokens,)
            The row of each token, -1 if it has none.
        """
        return self.row_of_id.take(ids, mode="clip")


def known_rows(
    rows: NDArray[np.int32], offsets: NDArray[np.int64], max_length: int | None
) -> tuple[NDArray[np.int32], NDArray[np.int64]]:
    """Truncate each document to `max_length` tokens and drop tokens without a row.

    Parameters
    ----------
    rows : ndarray of int32, shape (n_tokens,)
        Rows as returned by `Vocabulary.tokens`.
    offsets : ndarray of int64, shape (n_documents + 1,)
        Offsets as returned by `Vocabulary.tokens`.
    max_length : int or None
        Number of tokens to which each document is truncated; None does not truncate.

    Returns
    -------
    rows : ndarray of int32, shape (n_rows,)
        The remaining rows.
    offsets : ndarray of int64, shape (n_documents + 1,)
        Where each document begins in `rows`.
    """
    kept = rows >= 0
    if max_length is not None:
        place = np.arange(len(rows)) - np.repeat(offsets[:-1], np.diff(offsets))
        kept &= place < max_length
    elif kept.all():
        return rows, offsets
    # kept_before[t] is the number of the first t tokens that are kept.
    kept_before = np.zeros(len(rows) + 1, dtype=np.int64)
    np.cumsum(kept, out=kept_before[1:])
    return rows[kept], kept_before[offsets]
