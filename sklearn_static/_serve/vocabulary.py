"""The tokens that have a row in the table."""

from collections.abc import Sequence
from functools import cached_property
from itertools import chain

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer

from sklearn_static._serve.original import Original
from sklearn_static._serve.tokens import Tokens


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

    def tokens(self, documents: Sequence[str]) -> Tokens:
        """Tokenize documents with the original tokenizer, and look up the row of every token."""
        ids, offsets = self.encode(documents)
        return Tokens(self.rows(ids), offsets)

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
