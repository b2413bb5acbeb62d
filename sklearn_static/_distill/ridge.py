"""Corpus distillation: fits rows whose sums approximate targets of the documents."""

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_matrix, diags
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import RidgeCV

from sklearn_static._warnings import warn

# Scales bigrams down relative to tokens: they are less frequent, and overfit sooner.
_BIGRAM_WEIGHT = 3**-0.5
# Candidate penalties of the shared map, relative to the mean diagonal of its Gram matrix: small
# ones suit many documents, large ones few.
_MAP_RIDGES = np.logspace(-4, 3, 8)
# Number of the most frequent rows for which the preconditioner solves exactly.
_EXACT_ROWS = 1024
_COLUMNS_AT_ONCE = 128
# Error of the solution relative to its norm.
_TOLERANCE = 3e-3
_MAX_ITERATIONS = 1000
# A penalty below this share of the largest squared norm of a column needs double precision.
_SINGLE_PRECISION = 1e-5

_Array = NDArray[np.floating[Any]]


def fit_vectors(
    counts: csr_matrix,
    lengths: NDArray[np.int64],
    outputs: NDArray[np.float64],
    start: NDArray[np.float64],
    targets: NDArray[np.float32],
    alpha: float,
) -> NDArray[np.float32]:
    """Find the rows whose sums approximate the targets of the documents.

    Let Z be the counts divided by the square root of the documents' lengths, M the outputs, S the
    start and Y the targets. The start is scaled to ``c S`` with ``c = argmin |Z c S - Y|^2``. A
    shared map ``B = argmin |Z M B - (Y - Z c S)|^2 + eps |B|^2`` moves all tokens, including those
    that occur in no document; eps minimizes the leave-one-out error, so that few documents move
    them little. Each row then gets its own correction,
    ``D = argmin |Z D - (Y - Z c S - Z M B)|^2 + alpha s |D|^2``, where s is the mean squared norm
    of the token part of Z's rows. The result is ``c S + M B + D``.

    Parameters
    ----------
    counts : csr_matrix of float32, shape (n_documents, n_rows)
        How often each row occurs in each document; tokens first, bigrams last.
    lengths : ndarray of int64, shape (n_documents,)
        The number of tokens of each document.
    outputs : ndarray of float64, shape (n_tokens, dimension)
        The teacher's centered output for each token.
    start : ndarray of float64, shape (n_tokens, n_components)
        The outputs along the directions of the targets, scaled like these, with SIF weights.
    targets : ndarray of float32, shape (n_documents, n_components)
        The teacher's embeddings, smoothed and scaled.
    alpha : float
        Strength of the ridge penalty; larger values keep the rows closer to the shared map.

    Returns
    -------
    rows : ndarray of float32, shape (n_rows, n_components)
        The fitted rows.

    Warns
    -----
    sklearn.exceptions.ConvergenceWarning
        If the solver did not converge.
    """
    n_tokens = len(outputs)
    weights = np.ones(counts.shape[1], dtype=np.float32)
    weights[n_tokens:] = _BIGRAM_WEIGHT
    by_length = diags(np.maximum(lengths, 1) ** -0.5)
    scaled = (by_length @ counts @ diags(weights)).tocsr().astype(np.float32)
    tokens = scaled[:, :n_tokens]
    sums = tokens @ start
    scale = np.vdot(sums, targets) / (np.vdot(sums, sums) or 1)
    rest = targets - scale * sums
    mean_outputs = tokens @ outputs
    shared_map = _map(mean_outputs, rest)
    rest = (rest - mean_outputs @ shared_map).astype(np.float32)
    penalty = alpha * float(tokens.multiply(tokens).sum()) / len(lengths)
    rows = solve_ridge(scaled, rest, penalty) * weights[:, None]
    rows[:n_tokens] += scale * start + outputs @ shared_map
    return rows


def _map(inputs: NDArray[np.float64], targets: NDArray[np.float64]) -> NDArray[np.float64]:
    """Fit the linear map with the least leave-one-out error, shape (n_inputs, n_targets)."""
    scale = np.vdot(inputs, inputs) / inputs.shape[1] or 1
    ridge = RidgeCV(scale * _MAP_RIDGES, fit_intercept=False).fit(inputs, targets)
    coefficients: NDArray[np.float64] = ridge.coef_.reshape(targets.shape[1], -1).T
    return coefficients


def solve_ridge(
    features: csr_matrix, targets: NDArray[np.float32], penalty: float
) -> NDArray[np.float32]:
    """Minimize ``|Z X - Y|^2 + penalty |X|^2`` by preconditioned conjugate gradients.

    By Zipf's law, a few columns are very frequent, which makes the problem ill-conditioned. The
    preconditioner is the Gram matrix of the most frequent columns, and its diagonal for the
    others. No eigenvalue of the problem is below `penalty`, so the norm of the gradient divided by
    `penalty` bounds the error of X. The iteration stops when this bound is at most 0.3% of the norm
    of X, whatever the penalty.

    Parameters
    ----------
    features : csr_matrix of float32, shape (n_documents, n_rows)
        Z.
    targets : ndarray of float32, shape (n_documents, n_components)
        Y.
    penalty : float
        The ridge penalty; positive.

    Returns
    -------
    solution : ndarray of float32, shape (n_rows, n_components)
        X; zero for empty columns of Z.

    Warns
    -----
    sklearn.exceptions.ConvergenceWarning
        If the solution is not accurate enough after the maximum number of iterations.
    """
    solution = np.zeros((features.shape[1], targets.shape[1]), dtype=np.float32)
    squares = np.asarray(features.multiply(features).sum(axis=0)).ravel()
    used = np.flatnonzero(squares)
    squares = squares[used]
    # Outside these bounds, double precision has no significant digits left.
    penalty = float(np.clip(penalty, 1e-13 * squares.max(), 1e7 * squares.max()))
    precision = np.float32 if penalty > _SINGLE_PRECISION * squares.max() else np.float64
    features = features[:, used].astype(precision)
    apply, precondition = _problem(features, penalty), _preconditioner(features, squares, penalty)
    error = 0.0
    for start in range(0, targets.shape[1], _COLUMNS_AT_ONCE):
        columns = slice(start, start + _COLUMNS_AT_ONCE)
        gradient = features.T @ np.ascontiguousarray(targets[:, columns], dtype=precision)
        solution[used, columns], error_of_columns = _conjugate_gradients(
            apply, precondition, gradient, penalty
        )
        error = max(error, error_of_columns)
    if error > _TOLERANCE:
        warn(
            f"The fit to the documents did not converge in {_MAX_ITERATIONS} iterations: the "
            f"error is up to {error:.1%} of the solution; a larger alpha converges sooner.",
            ConvergenceWarning,
        )
    return solution


def _problem(features: csr_matrix, penalty: float) -> Callable[[_Array], _Array]:
    """Return a function that multiplies by the Gram matrix with the penalty on its diagonal."""
    transposed = features.T.tocsr()

    def apply(step: _Array) -> _Array:
        image: _Array = transposed @ (features @ step)
        image += penalty * step
        return image

    return apply


def _preconditioner(
    features: csr_matrix, squares: NDArray[np.float32], penalty: float
) -> Callable[[_Array], _Array]:
    """Return a function that solves for the most frequent columns jointly, for others singly."""
    frequent = np.argsort(-squares, kind="stable")[:_EXACT_ROWS]
    block = features[:, frequent]
    gram = (block.T @ block).toarray().astype(np.float64)
    gram[np.diag_indices_from(gram)] += penalty
    inverse = np.linalg.inv(gram).astype(features.dtype)
    diagonal = (squares + penalty).astype(features.dtype)[:, None]

    def precondition(gradient: _Array) -> _Array:
        direction: _Array = gradient / diagonal
        direction[frequent] = inverse @ gradient[frequent]
        return direction

    return precondition


def _conjugate_gradients(
    apply: Callable[[_Array], _Array],
    precondition: Callable[[_Array], _Array],
    gradient: _Array,
    penalty: float,
) -> tuple[_Array, float]:
    """Solve for several columns at once; also return the bound of their relative error."""
    solution = np.zeros_like(gradient)
    direction = precondition(gradient)
    step = direction.copy()
    product = _dots(gradient, direction)
    error = np.inf
    for _ in range(_MAX_ITERATIONS):
        image = apply(step)
        # A column may be solved already, or be zero: teachers have dead dimensions.
        size = _quotient(product, _dots(step, image))
        solution += size * step
        gradient -= size * image
        norms = [np.linalg.norm(array, axis=0) for array in (gradient, solution)]
        error = float(_quotient(*norms).max()) / penalty
        if error <= _TOLERANCE:
            break
        direction = precondition(gradient)
        product, before = _dots(gradient, direction), product
        step *= _quotient(product, before)
        step += direction
    return solution, error


def _dots(a: _Array, b: _Array) -> _Array:
    products: _Array = np.einsum("ij,ij->j", a, b)
    return products


def _quotient(a: _Array, b: _Array) -> _Array:
    quotients: _Array = np.divide(a, b, out=np.zeros_like(a), where=b > 0)
    return quotients
