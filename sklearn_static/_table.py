"""The fitted model: one vector per token, and a text as the pool of its tokens' vectors."""

from collections.abc import Sequence
from dataclasses import dataclass
from types import ModuleType
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_matrix
from tokenizers import Tokenizer

from sklearn_static._bigrams import Bigrams
from sklearn_static._pieces import PieceIndex
from sklearn_static._vocabulary import Vocabulary

# Raise it when the state below changes so that older versions cannot read it, and keep reading
# the older ones.
FORMAT_VERSION = 2

_FEW_ROWS = 512

Quantize = Literal["float16", "int8"] | None
Norm = Literal["l2"] | None


@dataclass(frozen=True, eq=False, repr=False)
class StaticTable:
    """A frozen table of the vectors of tokens and, behind them, of bigrams.

    Attributes
    ----------
    vocabulary : Vocabulary
        From texts to rows.
    stored : ndarray of float32, float16 or int8, shape (n_rows, n_components)
        The vectors as they are stored; read-only.
    scales : ndarray of float32, shape (n_rows,), or None
        What each row of an int8 table is to be multiplied by; None for floats.
    pieces : PieceIndex or None
        The fast way from texts to rows; None if the tokenizer does not allow it.
    bigrams : Bigrams or None
        The pairs of tokens that have a row.
    """

    vocabulary: Vocabulary
    stored: NDArray[Any]
    scales: NDArray[np.float32] | None = None
    pieces: PieceIndex | None = None
    bigrams: Bigrams | None = None

    def __post_init__(self) -> None:
        """Make sure that the parts fit together, and make the arrays read-only."""
        n_rows = len(self.vocabulary) + (0 if self.bigrams is None else len(self.bigrams))
        has_scales = self.stored.dtype == np.int8
        if (
            self.stored.dtype not in (np.float32, np.float16, np.int8)
            or self.stored.shape[:-1] != (n_rows,)
            or (self.scales is not None) != has_scales
            or (self.scales is not None and self.scales.shape != (n_rows,))
        ):
            scales = None if self.scales is None else self.scales.shape
            raise ValueError(
                f"The table must have {n_rows} rows of float32, float16 or int8 with scales, got "
                f"{self.stored.dtype} of the shape {self.stored.shape} and scales {scales}."
            )
        self.stored.flags.writeable = False
        if self.scales is not None:
            self.scales.flags.writeable = False
        if self.bigrams is not None:
            self.bigrams.pairs.flags.writeable = False

    @classmethod
    def from_vectors(
        cls,
        vocabulary: Vocabulary,
        vectors: NDArray[np.float32],
        quantize: Quantize,
        pieces: PieceIndex | None = None,
        bigrams: Bigrams | None = None,
    ) -> "StaticTable":
        """Store vectors as `quantize` says.

        Parameters
        ----------
        vocabulary : Vocabulary
            The tokens of the first rows.
        vectors : ndarray of float32, shape (n_rows, n_components)
            One vector per row.
        quantize : {"float16", "int8"} or None
            None stores float32. "int8" scales each row so that its largest magnitude is 127.
        pieces : PieceIndex or None, default=None
            The fast way from texts to rows, if there is one.
        bigrams : Bigrams or None, default=None
            The pairs of tokens of the other rows.

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
            return cls(vocabulary, vectors, None, pieces, bigrams)
        largest = np.abs(vectors).max(axis=1)
        if quantize == "int8":
            scales = np.where(largest > 0, largest / 127, 1).astype(np.float32)
            codes = np.rint(vectors / scales[:, None]).astype(np.int8)
            return cls(vocabulary, codes, scales, pieces, bigrams)
        if largest.max() > np.finfo(np.float16).max:
            raise ValueError(
                f"quantize='float16' holds values up to {np.finfo(np.float16).max:.0f}, but the "
                f"table has {largest.max():.6g}; use quantize='int8' or None."
            )
        return cls(vocabulary, vectors.astype(np.float16), None, pieces, bigrams)

    def __repr__(self) -> str:
        """Say how large it is, in the representation of an estimator."""
        n_rows, n_components = self.stored.shape
        return f"StaticTable({n_rows} x {n_components}, {self.stored.dtype})"

    def __deepcopy__(self, memo: dict[int, Any]) -> "StaticTable":
        """Give itself: nothing of it changes, and scikit-learn copies parameters."""
        return self

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
        self,
        documents: Sequence[str],
        out: NDArray[np.float32],
        *,
        max_length: int | None = None,
        norm: Norm = "l2",
    ) -> None:
        """Pool the vectors of each document's tokens and bigrams.

        Parameters
        ----------
        documents : sequence of str of length n_documents
            The texts.
        out : ndarray of float32, shape (n_documents, n_components)
            Where the features go. A document without any token of the table is zero.
        max_length : int or None, default=None
            How many tokens of each text to read; None reads all.
        norm : {"l2"} or None, default="l2"
            "l2" gives the sum of the vectors, scaled to unit length; None divides it by the
            number of tokens.

        Raises
        ------
        ValueError
            If `norm` is neither.
        """
        if norm not in ("l2", None):
            raise ValueError(f"norm must be 'l2' or None, got {norm!r}.")
        source: Vocabulary | PieceIndex = self.vocabulary
        if self.pieces is not None and not self.pieces.pauses():
            engine = compiled_engine(documents)
            if engine is None:
                source = self.pieces
            elif engine.features(self, self.pieces, documents, max_length, norm == "l2", out):
                return
        out[:] = self._pool(*source.row_ids(documents, max_length), norm)

    def _pool(
        self, rows: NDArray[np.int32], offsets: NDArray[np.int64], norm: Norm
    ) -> NDArray[np.float32]:
        lengths = np.diff(offsets)
        if self.bigrams is not None:
            rows, offsets = self.bigrams.insert(rows, offsets)
        columns: NDArray[np.integer[Any]] = rows
        sums: NDArray[np.float32]
        if self.stored.dtype == np.float32:
            vectors = self.vectors()
        else:
            # Only the rows that these documents use, so that memory stays bounded.
            used, columns = np.unique(rows, return_inverse=True)
            vectors = self.vectors(used)
        if len(offsets) == 2 and len(rows) <= _FEW_ROWS and self.n_components > 1:
            # Quicker than to set a sparse matrix up; NumPy adds a single column in another order.
            sums = vectors[columns].sum(axis=0, keepdims=True)
        else:
            counts = csr_matrix(
                (np.ones(len(columns), dtype=np.float32), columns, offsets),
                shape=(len(offsets) - 1, len(vectors)),
            )
            sums = counts @ vectors
        if norm == "l2":
            # In double precision, so that the order of the sum does not show.
            scale = np.sqrt(np.einsum("ij,ij->i", sums, sums, dtype=np.float64))
        else:
            scale = lengths
        scale = scale.astype(np.float32)
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
            "bigrams": None if self.bigrams is None else self.bigrams.pairs,
            # The index itself stays behind: it is filled again within the first texts, and would
            # make the file larger than the table of a small model.
            "piece_rule": None if self.pieces is None else self.pieces.rule,
        }

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Restore the state, or say that this version cannot read it."""
        if state["format_version"] > FORMAT_VERSION:
            raise ValueError(
                f"This model was saved in format {state['format_version']}; this version of "
                f"sklearn-static reads up to format {FORMAT_VERSION}. Upgrade sklearn-static."
            )
        vocabulary = Vocabulary(Tokenizer.from_str(state["tokenizer"]), state["token_ids"])
        rule = state.get("piece_rule")  # the first files of format 1 have none
        pieces = None if rule is None else PieceIndex(vocabulary, rule)
        pairs = state.get("bigrams")  # from format 2 on
        bigrams = None if pairs is None else Bigrams(pairs, len(vocabulary))
        StaticTable.__init__(self, vocabulary, state["stored"], state["scales"], pieces, bigrams)


# Loading the compiled engine takes as long as the portable one takes for so much text.
_CHARACTERS_TO_PAY = 15_000_000
_characters_seen = 0


def compiled_engine(documents: Sequence[str]) -> ModuleType | None:
    """Give the module `_fast` once it pays for itself.

    Parameters
    ----------
    documents : sequence of str
        What is to be transformed next.

    Returns
    -------
    engine : module or None
        None before this process has seen enough text, and where numba is not installed.
    """
    global _characters_seen  # of the process, as the engine is
    if _characters_seen < _CHARACTERS_TO_PAY:
        _characters_seen += sum(map(len, documents))
        return None
    try:
        from sklearn_static import _fast
    except ImportError:
        return None
    return _fast
