"""The states of a document's tokens, stored with its output and summed by token."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import solve
from scipy.sparse import csr_matrix
from sklearn.utils import gen_batches
from sklearn.utils.extmath import row_norms

# Chosen on held-out documents (benchmarks/README.md): the number of occurrences as which the
# prediction counts, and the penalty of its coefficients relative to the outputs.
_PRIOR = 5
_PENALTY = 1e-3
# Numbers of states that are summed at once, and of tokens, which bound the memory.
_STATES_AT_ONCE = 4096
_TOKENS_AT_ONCE = 1024
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
        token_ids: NDArray[np.integer[Any]],
        codes: NDArray[np.int8],
        scales: NDArray[np.float32],
    ) -> None:
        """Add states.

        Parameters
        ----------
        token_ids : ndarray of int, shape (n_states,)
            The token of each.
        codes : ndarray of int8, shape (n_states, dimension)
            The states divided by the scales.
        scales : ndarray of float32, shape (n_states,)
            The scale of each.
        """
        factors = np.rint(np.minimum(scales, _LARGEST_SCALE, dtype=np.float64) * _GRID) / _GRID
        for some in gen_batches(len(token_ids), _STATES_AT_ONCE):
            rows = np.searchsorted(self.token_ids, token_ids[some])
            order = np.argsort(rows, kind="stable")
            found, starts, counts = np.unique(rows[order], return_index=True, return_counts=True)
            stops = np.append(starts, len(rows))
            shape = (len(found), len(rows))
            by_token = csr_matrix((factors[some][order], order, stops), shape=shape)
            self.sums[found] += by_token @ codes[some].astype(float)
            self.counts[found] += counts

    def means(
        self,
        token_ids: NDArray[np.integer[Any]],
        outputs: NDArray[np.float32],
        directions: NDArray[np.float32],
    ) -> NDArray[np.float32]:
        """Estimate the mean state of each token, including tokens that occur in no document.

        This is the last use of the sums, which are freed: they may take hundreds of megabytes. With
        S the sum of a token's n states and P what ridge regression on the outputs predicts for
        their mean, the estimate is ``(S + 5 P) / (n + 5)``.

        Parameters
        ----------
        token_ids : ndarray of int, shape (n_tokens,)
            The tokens' ids.
        outputs : ndarray of float32, shape (n_tokens, dimension)
            The teacher's output for each token alone.
        directions : ndarray of float32, shape (dimension, n_components)
            The directions along which the mean states are estimated.

        Returns
        -------
        means : ndarray of float32, shape (n_tokens, n_components)
            The estimates; zero if none of the tokens occurs, as a prompt may merge with them.
        """
        place = np.searchsorted(self.token_ids, token_ids)
        place[place == len(self.token_ids)] = 0
        occurs = np.flatnonzero(self.token_ids[place] == token_ids)
        if not len(occurs):
            return np.zeros((len(outputs), directions.shape[1]), dtype=np.float32)
        counts = self.counts[place[occurs]]
        observed = np.empty((len(occurs), directions.shape[1]), dtype=np.float32)
        for some in gen_batches(len(occurs), _TOKENS_AT_ONCE):
            sums = self.sums[place[occurs[some]]] @ directions
            observed[some] = sums / counts[some, None]
        self.sums = np.zeros((0, 0))
        scale = float(row_norms(outputs).mean()) or 1.0
        penalty = _PENALTY * counts.sum() / outputs.shape[1] * scale**2
        means = _predicted(outputs, occurs, observed, counts, penalty)
        for some in gen_batches(len(occurs), _TOKENS_AT_ONCE):
            trust = (counts[some] / (counts[some] + _PRIOR)).astype(np.float32)[:, None]
            means[occurs[some]] += trust * (observed[some] - means[occurs[some]])
        return means


def _predicted(
    inputs: NDArray[np.float32],
    known: NDArray[np.integer[Any]],
    targets: NDArray[np.float32],
    weights: NDArray[np.int64],
    penalty: float,
) -> NDArray[np.float32]:
    """Fit a weighted ridge regression to the known inputs; predict for all.

    As scikit-learn's Ridge with sample weights, which copies the inputs and targets twice.
    """
    n_inputs = inputs.shape[1]
    # The last column is the intercept, which has no penalty.
    gram = np.zeros((n_inputs + 1, n_inputs + 1))
    products = np.zeros((n_inputs + 1, targets.shape[1]))
    for some in gen_batches(len(known), _TOKENS_AT_ONCE):
        wide = np.pad(inputs[known[some]].astype(float), ((0, 0), (0, 1)), constant_values=1)
        weighted = wide * weights[some, None]
        gram += weighted.T @ wide
        products += weighted.T @ targets[some]
    gram[np.arange(n_inputs), np.arange(n_inputs)] += penalty
    coefficients = solve(gram, products, assume_a="pos")
    predicted: NDArray[np.float32] = inputs @ coefficients[:-1].astype(np.float32)
    predicted += coefficients[-1].astype(np.float32)
    return predicted
