"""The fitted model: token vectors, and their pooling into the features of documents."""

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from sklearn_static._serve import IS_COMPILED, FastTokenizer, Pooler
from sklearn_static._serve.bigrams import Bigrams, read_only
from sklearn_static._serve.composition import COMPOSITION_VERSION, checksum, composition_of
from sklearn_static._serve.documents import batches, check_encodable
from sklearn_static._serve.jobs import n_threads
from sklearn_static._serve.original import Original, token_ids
from sklearn_static._serve.vocabulary import Vocabulary

# Increment it when the state below changes in a way that older versions cannot read, and keep
# reading the older formats.
FORMAT_VERSION = 2

# Bounds of the largest magnitude: beyond these, sums overflow or lose digits in single precision.
LARGEST = 1e15
SMALLEST = 1e-30
# Of a row whose scale is a normal number.
_SMALLEST_INT8 = 127 * float(np.finfo(np.float32).smallest_normal)

Quantize = Literal["float16", "int8"] | None
Norm = Literal["l2"] | None


@dataclass(frozen=True, eq=False, repr=False)
class StaticTable:
    """Immutable table of token vectors, followed by bigram vectors.

    `StaticEmbeddingVectorizer` creates it: it is the attribute `table_` and, after `from_vectors`,
    the parameter `model`.

    Attributes
    ----------
    tokenizer : FastTokenizer
        Maps documents to the rows of their tokens.
    stored : ndarray of float32, float16 or int8, shape (n_rows, n_components)
        The vectors as they are stored; read-only.
    scales : ndarray of float32, shape (n_rows,), or None
        The scale of each int8 vector; None for floats.
    bigrams : Bigrams or None
        The bigrams that have a vector.
    """

    tokenizer: FastTokenizer
    stored: NDArray[Any]
    scales: NDArray[np.float32] | None = None
    bigrams: Bigrams | None = None
    _pooler: Pooler = field(init=False)

    def __post_init__(self) -> None:
        """Check that the parts are consistent."""
        n_rows = len(self.vocabulary) + (0 if self.bigrams is None else len(self.bigrams))
        has_scales = self.stored.dtype == np.int8
        if (
            self.stored.dtype not in (np.float32, np.float16, np.int8)
            or self.stored.shape[:-1] != (n_rows,)
            or (self.scales is not None) != has_scales
            or (self.scales is not None and self.scales.shape != (n_rows,))
            or (self.scales is not None and self.scales.dtype != np.float32)
        ):
            scales = None if self.scales is None else self.scales.shape
            raise ValueError(
                f"The table must have {n_rows} rows of float32, float16, or int8 with scales, got "
                f"{self.stored.dtype} of shape {self.stored.shape} and scales {scales}."
            )
        # The engine needs contiguous rows; a memmap of contiguous rows stays a memmap.
        stored = read_only(np.require(self.stored, requirements="C"))
        row_scales = None if self.scales is None else read_only(self.scales)
        pairs = None if self.bigrams is None else self.bigrams.pairs
        object.__setattr__(self, "stored", stored)
        object.__setattr__(self, "scales", row_scales)
        pooler = Pooler(stored, row_scales, pairs, len(self.vocabulary))
        object.__setattr__(self, "_pooler", pooler)

    @classmethod
    def from_vectors(
        cls,
        tokenizer: FastTokenizer,
        vectors: NDArray[np.float32],
        quantize: Quantize,
        bigrams: Bigrams | None = None,
    ) -> "StaticTable":
        """Create a table from float32 vectors.

        Parameters
        ----------
        tokenizer : FastTokenizer
            Maps documents to the rows of their tokens.
        vectors : ndarray of float32, shape (n_rows, n_components)
            One vector per row.
        quantize : {"float16", "int8"} or None
            How to store the vectors. None stores float32. "int8" scales each row so that its
            largest magnitude is 127.
        bigrams : Bigrams or None, default=None
            The bigrams, whose rows follow those of the tokens.

        Returns
        -------
        table : StaticTable
            The table.

        Raises
        ------
        ValueError
            If the largest magnitude is too large or too small for the type.
        """
        peak = float(max(-vectors.min(), vectors.max()))
        if not (SMALLEST <= peak <= LARGEST or peak == 0):  # or NaN
            raise ValueError(
                f"The largest magnitude of the token vectors is {peak:.3g}, but must be between "
                f"{SMALLEST:g} and {LARGEST:g}; scale the vectors, or increase sif_coefficient if "
                "it is tiny."
            )
        if quantize is None:
            return cls(tokenizer, vectors, None, bigrams)
        if quantize == "int8":
            largest = np.abs(vectors).max(axis=1)
            # A row that is tiny compared to others becomes zero.
            scales = np.where(largest > _SMALLEST_INT8, largest / 127, 1).astype(np.float32)
            codes = np.rint(vectors / scales[:, None]).astype(np.int8)
            return cls(tokenizer, codes, scales, bigrams)
        half = np.finfo(np.float16)
        if peak > float(half.max):
            raise ValueError(
                f"quantize='float16' holds values up to {half.max:.0f}, but the token vectors "
                f"reach {peak:.6g}; use quantize='int8' or None."
            )
        if 0 < peak < float(half.smallest_normal):
            raise ValueError(
                f"quantize='float16' holds values from {half.smallest_normal:.1g}, but the token "
                f"vectors reach only {peak:.3g}; use quantize='int8' or None."
            )
        return cls(tokenizer, vectors.astype(np.float16), None, bigrams)

    def quantized(self, quantize: Quantize) -> "StaticTable":
        """Convert the stored vectors to another type.

        Parameters
        ----------
        quantize : {"float16", "int8"} or None
            The type; None keeps the current one.

        Returns
        -------
        table : StaticTable
            A new table, or this one if `quantize` is None.
        """
        if quantize is None:
            return self
        return StaticTable.from_vectors(self.tokenizer, self.vectors(), quantize, self.bigrams)

    def truncated(self, n_components: int) -> "StaticTable":
        """Keep the first columns only.

        Parameters
        ----------
        n_components : int
            Number of columns to keep.

        Returns
        -------
        table : StaticTable
            A new table, or this one if it has no more columns.
        """
        if n_components >= self.n_components:
            return self
        return replace(self, stored=self.stored[:, :n_components])

    @property
    def vocabulary(self) -> Vocabulary:
        """The tokens of the first rows."""
        return self.tokenizer.vocabulary

    @cached_property
    def names(self) -> list[str]:
        """The name of each row: a token, or two tokens separated by a space."""
        tokens = list(self.vocabulary.row_of_token)
        pairs = [] if self.bigrams is None else self.bigrams.pairs.tolist()
        return tokens + [f"{tokens[a]} {tokens[b]}" for a, b in pairs]

    @cached_property
    def row_of_name(self) -> Mapping[str, int]:
        """Row of each name."""
        return dict(zip(self.names, range(len(self.names)), strict=True))

    def __repr__(self) -> str:
        """Return the size only, since an estimator's representation includes it."""
        n_rows, n_components = self.stored.shape
        return f"StaticTable({n_rows} x {n_components}, {self.stored.dtype})"

    def __deepcopy__(self, memo: dict[int, Any]) -> "StaticTable":
        """Return the table itself: it is immutable, and scikit-learn copies parameters."""
        return self

    @property
    def n_components(self) -> int:
        """Number of columns."""
        return int(self.stored.shape[1])

    def vectors(self, rows: slice | NDArray[np.integer[Any]] = slice(None)) -> NDArray[np.float32]:
        """Return rows of the table as float32.

        Parameters
        ----------
        rows : slice or ndarray of int, default=slice(None)
            The rows; all rows by default.

        Returns
        -------
        vectors : ndarray of float32, shape (n_rows, n_components)
            The vectors; a read-only view for a float32 table and a slice.
        """
        vectors: NDArray[np.float32] = self.stored[rows].astype(np.float32, copy=False)
        return vectors if self.scales is None else vectors * self.scales[rows, None]

    def transform(
        self,
        documents: list[str],
        *,
        max_length: int | None = None,
        norm: Norm = "l2",
        n_jobs: int | None = None,
    ) -> tuple[NDArray[np.float32], int]:
        """Pool the vectors of each document's tokens and bigrams.

        Parameters
        ----------
        documents : list of str of length n_documents
            The documents.
        max_length : int or None, default=None
            Number of tokens to which each document is truncated; None does not truncate.
        norm : {"l2"} or None, default="l2"
            "l2" scales the sum of the vectors to unit length; None divides it by the number of
            tokens.
        n_jobs : int or None, default=None
            Number of threads, as in scikit-learn.

        Returns
        -------
        features : ndarray of float32, shape (n_documents, n_components)
            One row per document; zero for a document without an in-vocabulary token.
        n_empty : int
            Number of documents without an in-vocabulary token.

        Raises
        ------
        ValueError
            If `norm` is neither "l2" nor None, or if a document is not valid Unicode.
        """
        if norm not in ("l2", None):
            raise ValueError(f"norm must be 'l2' or None, got {norm!r}.")
        features = np.empty((len(documents), self.n_components), dtype=np.float32)

        all_batches = list(batches(documents))
        n_used = min(n_threads(n_jobs), len(all_batches)) if len(all_batches) > 1 else 1
        left = iter(all_batches)  # shared, so that each batch goes to one thread

        def work() -> int:
            """Return the number of empty documents in the batches that this thread took."""
            return sum(
                self._pool(documents[batch], features[batch], max_length, norm) for batch in left
            )

        try:
            if len(all_batches) == 1:  # a single document takes a fifth less time without slices
                return features, self._pool(documents, features, max_length, norm)
            if n_used == 1:
                return features, work()
            # The calling thread works, too.
            with ThreadPoolExecutor(n_used - 1) as pool:
                others = [pool.submit(work) for _ in range(n_used - 1)]
                return features, work() + sum(other.result() for other in others)
        except UnicodeEncodeError:
            check_encodable(documents)
            raise

    def _pool(
        self,
        documents: list[str],
        features: NDArray[np.float32],
        max_length: int | None,
        norm: Norm,
    ) -> int:
        """Write the features of one batch; return the number of empty documents."""
        tokens = self.tokenizer.tokenize(documents, max_length)
        return self._pooler.pool(tokens, features, max_length=max_length, unit_length=norm == "l2")

    def __getstate__(self) -> dict[str, Any]:
        """Return the state as arrays and strings, so that a saved file has no private class.

        The tables of the engine are arrays, which a file that is mapped into memory shares between
        processes.
        """
        tokenizer = {
            "tokenizer": self.vocabulary.original.compressed,
            "token_ids": self.vocabulary.token_ids,
            "composition_version": COMPOSITION_VERSION,
            "composition": self.tokenizer.composition,
        }
        return tokenizer | {
            "format_version": FORMAT_VERSION,
            "checksum": checksum(tokenizer),
            "stored": self.stored,
            "scales": self.scales,
            "bigrams": None if self.bigrams is None else self.bigrams.pairs,
        }

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Restore the state, or raise if this version cannot read it."""
        if state["format_version"] > FORMAT_VERSION:
            raise ValueError(
                f"This model was saved in format {state['format_version']}; this version of "
                f"sklearn-static reads up to format {FORMAT_VERSION}. Upgrade sklearn-static."
            )
        tokenizer = _saved_tokenizer(state)
        pairs = state["bigrams"]
        bigrams = None if pairs is None else Bigrams(pairs, len(tokenizer.vocabulary))
        StaticTable.__init__(self, tokenizer, state["stored"], state["scales"], bigrams)


def _saved_tokenizer(state: dict[str, Any]) -> FastTokenizer:
    vocabulary = Vocabulary(Original(state["tokenizer"]), state["token_ids"])
    if state["format_version"] > 1:
        # The engine reads the tables without further checks.
        keys = ("tokenizer", "token_ids", "composition_version", "composition")
        if checksum({key: state[key] for key in keys}) != state["checksum"]:
            raise ValueError("The model is damaged: its tokenizer does not match the checksum.")
        if state["composition_version"] == COMPOSITION_VERSION and IS_COMPILED:
            return FastTokenizer(vocabulary, state["composition"])
    else:
        ids = token_ids(vocabulary.original.state).values()
        missing = set(vocabulary.token_ids.tolist()).difference(ids)
        vocabulary.original.release()
        if missing:
            raise ValueError(
                f"The tokenizer has no token with id {min(missing)}, but the model has a vector "
                "for it."
            )
        if state["rule"] is None:
            return FastTokenizer(vocabulary, None)
    return FastTokenizer(vocabulary, composition_of(vocabulary.original))
