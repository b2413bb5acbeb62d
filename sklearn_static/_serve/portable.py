"""NumPy counterpart of the compiled engine, for machines where it cannot be built."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from sklearn_static._serve.bigrams import Bigrams
from sklearn_static._serve.tokens import Tokens
from sklearn_static._serve.vocabulary import Vocabulary
from sklearn_static._warnings import warn

# The inverse of a smaller divisor may not be finite in single precision.
_LEAST_DIVISOR = 1e-30


class TokenRows(Tokens):
    """The token rows of a batch of documents, -1 for tokens without a row."""

    def to_arrays(self) -> Tokens:
        """Return the concatenated rows of all documents and where each document begins."""
        return self


class FastTokenizer:
    """As in the compiled engine, but tokenizing whole documents."""

    def __init__(self, vocabulary: Vocabulary, composition: dict[str, Any] | None) -> None:
        warn(
            "The compiled extension of sklearn-static is missing: transform returns the same "
            "features, but is much slower. Install a C++ compiler, and then compile the extension: "
            "pip install --force-reinstall --no-deps --no-cache-dir sklearn-static"
        )
        self.vocabulary = vocabulary
        self.composition = composition
        self.n_original = 0

    def tokenize(self, documents: list[str], max_length: int | None = None) -> TokenRows:
        """Find the rows of each document's tokens."""
        "".join(documents).encode()  # raises on lone surrogates, as the compiled engine does
        self.n_original += len(documents)
        return TokenRows(*self.vocabulary.tokens(documents))


class Pooler:
    """As in the compiled engine: the definition of the features."""

    def __init__(
        self,
        stored: NDArray[Any],
        scales: NDArray[np.float32] | None,
        pairs: NDArray[np.int32] | None,
        n_tokens: int,
    ) -> None:
        self._stored = stored
        self._scales = scales
        self._bigrams = None if pairs is None else Bigrams(pairs, n_tokens)

    def pool(
        self,
        tokens: TokenRows,
        out: NDArray[np.float32],
        *,
        max_length: int | None = None,
        unit_length: bool = True,
    ) -> int:
        """Sum the vectors of each document's tokens and bigrams."""
        known = tokens.in_vocabulary(max_length)
        pooled = known if self._bigrams is None else self._bigrams.insert(known)
        for i, n_known in enumerate(known.lengths):
            rows = pooled.of(i)
            vectors = self._stored[rows].astype(np.float32)
            if self._scales is not None:
                vectors *= self._scales[rows, None]
            # In sequence, whereas np.sum adds a single column pairwise.
            total = np.add.accumulate(vectors)[-1] if n_known else np.zeros_like(out[i])
            divisor = np.sqrt(np.sum(total.astype(np.float64) ** 2)) if unit_length else n_known
            if 0 < divisor < _LEAST_DIVISOR:
                out[i] = total / divisor
            else:
                out[i] = total * np.float32(1 / (divisor or 1))
        return int((known.lengths == 0).sum())
