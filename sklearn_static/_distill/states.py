"""The states of a document's tokens, stored with its output and summed by token."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csc_matrix
from sklearn.linear_model import Ridge
from sklearn.utils import gen_batches
from sklearn.utils.extmath import row_norms

# Chosen on held-out documents (benchmarks/README.md): the number of occurrences as which the
# prediction counts, and the penalty of its coefficients relative to the outputs.
_PRIOR = 5
_PENALTY = 1e-3
# Number of states that are summed at once, which bounds the memory.
_STATES_AT_ONCE = 4096
# Scales are rounded to multiples of its inverse. Sums of integers with such scales are exact in
# double precision (up to 2**22), so they do not depend on the order of the documents.
_GRID = 2.0**31
_LARGEST_SCALE = 2.0**10


def pack(outputs: NDArray[np.float32], states: NDArray[np.float32]) -> NDArray[np.uint8]:
    """Join the outputs for documents of equal length and their states, in a byte per number.

    Parameters
    ----------
    outputs : ndarray of float32, shape (n_documents, dimension)
        The outputs.
    states : ndarray of float32, shape (n_documents, length, dimension)
        The states.

    Returns
    -------
    packed : ndarray of uint8, shape (n_documents, packed_size(dimension, length))
        For each document, its output, one scale per state, and the states divided by these.
    """
    scales = np.abs(states).max(axis=2) / np.float32(127)
    codes = np.rint(states / np.where(scales > 0, scales, 1)[:, :, None]).astype(np.int8)
    parts = (outputs, scales, codes.reshape(len(codes), -1))
    return np.concatenate([np.ascontiguousarray(part).view(np.uint8) for part in parts], axis=1)


def unpack(
    packed: NDArray[np.uint8], dimension: int
) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.int8]]:
    """Split the result of `pack`, or outputs without states.

    Parameters
    ----------
    packed : ndarray of uint8, shape (n_documents, n_bytes)
        The documents.
    dimension : int
        The dimension of the outputs.

    Returns
    -------
    outputs : ndarray of float32, shape (n_documents, dimension)
        The outputs.
    scales : ndarray of float32, shape (n_documents, length)
        The scale of each state.
    codes : ndarray of int8, shape (n_documents, length, dimension)
        The states divided by these.
    """
    length = (packed.shape[1] - 4 * dimension) // (4 + dimension)
    parts = np.split(packed, [4 * dimension, 4 * (dimension + length)], axis=1)
    outputs, scales = (np.ascontiguousarray(part).view(np.float32) for part in parts[:2])
    return outputs, scales, parts[2].view(np.int8).reshape(len(packed), length, dimension)


def packed_size(dimension: int, length: int) -> int:
    """Return the number of bytes of a packed document."""
    return 4 * dimension + length * (4 + dimension)


def dimension_of(n_bytes: int, length: int) -> int:
    """Return the dimension of a packed document; 0 if none has this number of bytes."""
    dimension, rest = divmod(n_bytes - 4 * length, 4 + length)
    return 0 if rest else max(dimension, 0)


@dataclass
class StateSums:
    """Sums of states by token.

    Attributes
    ----------
    token_ids : ndarray of int, shape (n_tokens,)
        The tokens' ids, in ascending order.
    sums : ndarray of float64, shape (n_tokens, dimension)
        The sum of each token's states.
    counts : ndarray of int64, shape (n_tokens,)
        Their number.
    """

    token_ids: NDArray[np.integer[Any]]
    sums: NDArray[np.float64]
    counts: NDArray[np.int64]

    @classmethod
    def of(cls, inputs: Iterable[NDArray[np.integer[Any]]]) -> "StateSums":
        """Prepare for the tokens in inputs, of a dimension that is not yet known."""
        token_ids = np.unique(np.concatenate([ids.ravel() for ids in inputs]))
        n_tokens = len(token_ids)
        return cls(token_ids, np.zeros((n_tokens, 0)), np.zeros(n_tokens, dtype=np.int64))

    def allocate(self, dimension: int) -> None:
        """Set all sums of this dimension to zero."""
        self.sums = np.zeros((len(self.token_ids), dimension))

    def add(
        self,
        input_ids: NDArray[np.integer[Any]],
        codes: NDArray[np.int8],
        scales: NDArray[np.float32],
    ) -> None:
        """Add the states of documents of equal length.

        Parameters
        ----------
        input_ids : ndarray of int, shape (n_documents, length)
            Token ids.
        codes : ndarray of int8, shape (n_documents, length, dimension)
            The states divided by the scales.
        scales : ndarray of float32, shape (n_documents, length)
            The scale of each state.
        """
        n_documents, length, dimension = codes.shape
        factors = np.rint(np.minimum(scales, _LARGEST_SCALE, dtype=np.float64) * _GRID) / _GRID
        for some in gen_batches(n_documents, max(1, _STATES_AT_ONCE // length)):
            rows = np.searchsorted(self.token_ids, input_ids[some].ravel())
            found, rows, counts = np.unique(rows, return_inverse=True, return_counts=True)
            columns = np.arange(len(rows) + 1)
            shape = (len(found), len(rows))
            by_token = csc_matrix((factors[some].ravel(), rows, columns), shape=shape)
            self.sums[found] += by_token @ codes[some].reshape(len(rows), dimension).astype(float)
            self.counts[found] += counts

    def means(
        self, token_ids: NDArray[np.integer[Any]], outputs: NDArray[np.float32]
    ) -> NDArray[np.float32]:
        """Estimate the mean state of each token, including tokens that occur in no document.

        With S the sum of a token's n states and P what ridge regression on the outputs predicts for
        their mean, the estimate is ``(S + 5 P) / (n + 5)``.

        Parameters
        ----------
        token_ids : ndarray of int, shape (n_tokens,)
            The tokens' ids.
        outputs : ndarray of float32, shape (n_tokens, dimension)
            The teacher's output for each token alone.

        Returns
        -------
        means : ndarray of float32, shape (n_tokens, dimension)
            The estimates; zero if none of the tokens occurs, as a prompt may merge with them.
        """
        place = np.searchsorted(self.token_ids, token_ids)
        place[place == len(self.token_ids)] = 0
        occurs = np.flatnonzero(self.token_ids[place] == token_ids)
        if not len(occurs):
            return np.zeros_like(outputs)
        counts = self.counts[place[occurs]]
        observed = self.sums[place[occurs]].astype(np.float32)
        observed /= counts[:, None]
        scale = float(row_norms(outputs).mean()) or 1.0
        penalty = _PENALTY * counts.sum() / outputs.shape[1] * scale**2
        ridge = Ridge(penalty, copy_X=False).fit(outputs[occurs], observed, sample_weight=counts)
        means: NDArray[np.float32] = ridge.predict(outputs)
        trust = (counts / (counts + _PRIOR)).astype(np.float32)[:, None]
        means[occurs] += trust * (observed - means[occurs])
        return means
