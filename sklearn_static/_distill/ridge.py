"""Corpus distillation: fits rows whose sums approximate targets of the documents."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import cho_factor, cho_solve
from scipy.sparse import csr_matrix, diags
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils import gen_batches

from sklearn_static._warnings import warn

# Scales bigrams down relative to tokens: they are less frequent, and overfit sooner.
_BIGRAM_WEIGHT = 3**-0.5
# Candidate penalties of the shared map, relative to the mean diagonal of its Gram matrix: small
# ones suit many documents, large ones few.
_MAP_RIDGES = np.logspace(-4, 3, 8)
# Number of documents in a block of the normal equations, and of those with leave-one-out errors.
_DOCUMENTS_AT_ONCE = 4096
# Of a block of the solver: its time is the same from half to twice as many.
_DOCUMENTS_PER_PRODUCT = 32_768
# Of a document whose leverage is 1, which the fit reproduces whatever its target is.
_LEAST_REST = 1e-6
# Number of the most frequent rows for which the preconditioner solves exactly.
_EXACT_ROWS = 1024
_COLUMNS_AT_ONCE = 64
# Up to this number of documents, the problem is solved exactly.
_FEW_DOCUMENTS = 3000
# Relative error of the solution in the norm that the problem minimizes. It is estimated from the
# progress of the last iterations: at least four, and a share of all, since
# the error lasts if it falls slowly.
_TOLERANCE = 1e-3
_DELAY = 4
_DELAY_SHARE = 8
_MAX_ITERATIONS = 300
# A penalty below this share of the largest squared norm of a column needs double precision.
_SINGLE_PRECISION = 1e-5

_Array = NDArray[np.floating[Any]]


class RowFit:
    """The fit of rows whose sums approximate the targets of the documents.

    Let Z be the counts divided by the square root of the documents' lengths, and Y the targets.
    `shared` fits what all tokens have in common, then `rows` fits a correction of each row to the
    residual. The errors of a document that was given several times are counted as often.

    Parameters
    ----------
    counts : csr_matrix of float32, shape (n_documents, n_rows)
        How often each row occurs in each document; tokens first, bigrams last.
    repeats : ndarray of int64, shape (n_documents,)
        How often each document was given.
    lengths : ndarray of int64, shape (n_documents,)
        The number of tokens of each document.
    n_tokens : int
        The number of rows for tokens.
    targets : ndarray of float32, shape (n_documents, n_components)
        The teacher's embeddings, smoothed and scaled; they are replaced by the residual.
    """

    def __init__(
        self,
        counts: csr_matrix,
        repeats: NDArray[np.int64],
        lengths: NDArray[np.int64],
        n_tokens: int,
        targets: NDArray[np.float32],
    ) -> None:
        roots = np.sqrt(repeats).astype(np.float32)
        if repeats.max() > 1:
            targets *= roots[:, None]
        self._weights = np.ones(counts.shape[1], dtype=np.float32)
        self._weights[n_tokens:] = _BIGRAM_WEIGHT
        by_document = diags((roots / np.maximum(lengths, 1) ** 0.5).astype(np.float32))
        self._scaled = (by_document @ counts @ diags(self._weights)).tocsr()
        self._tokens = self._scaled[:, :n_tokens]
        self._n_given = float(repeats.sum())
        self._residual = targets

    def shared(
        self, outputs: NDArray[np.float32], starts: Sequence[NDArray[np.float32]]
    ) -> NDArray[np.float32]:
        """Fit the tokens' vectors up to a correction of each.

        With M the outputs and S_k the starts, the fit begins with ``S = sum_k c_k S_k``, where the
        factors c_k minimize ``|Z S - Y|^2``. A shared map
        ``B = argmin |Z M B - (Y - Z S)|^2 + eps |B|^2`` moves all tokens, including those that
        occur in no document; eps minimizes the leave-one-out error, so that few documents move
        them little.

        Parameters
        ----------
        outputs : ndarray of float32, shape (n_tokens, dimension)
            The teacher's centered output for each token.
        starts : sequence of ndarray of float32, each of shape (n_tokens, n_components)
            Estimates of the tokens' part of a document, along the directions of the targets and
            scaled like these; they are overwritten.

        Returns
        -------
        vectors : ndarray of float32, shape (n_tokens, n_components)
            ``S + M B``.
        """
        factors = _factors(self._tokens, starts, self._residual)
        for factor, start in zip(factors, starts, strict=True):
            start *= factor
        vectors = starts[0]
        for start in starts[1:]:
            vectors += start
        self._subtract(vectors)
        moves = outputs @ _shared_map(self._tokens, outputs, self._residual)
        self._subtract(moves)
        vectors += moves
        return vectors

    def rows(self, vectors: NDArray[np.float32], alpha: float) -> NDArray[np.float32]:
        """Correct each token's vector, and fit those of bigrams.

        The correction is ``D = argmin |Z D - (Y - Z S - Z M B)|^2 + alpha s |D|^2``, where s is the
        mean squared norm of the token part of Z's rows.

        Parameters
        ----------
        vectors : ndarray of float32, shape (n_tokens, n_components)
            The result of `shared`.
        alpha : float
            Strength of the ridge penalty; larger values keep the rows closer to these vectors.

        Returns
        -------
        rows : ndarray of float32, shape (n_rows, n_components)
            The fitted rows.

        Warns
        -----
        sklearn.exceptions.ConvergenceWarning
            If the solver did not converge.
        """
        squares = float(np.vdot(self._tokens.data, self._tokens.data))
        rows = solve_ridge(self._scaled, self._residual, alpha * squares / self._n_given)
        rows *= self._weights[:, None]
        rows[: len(vectors)] += vectors
        return rows

    def _subtract(self, vectors: NDArray[np.float32]) -> None:
        """Subtract the documents' sums of vectors from the targets."""
        for some in _blocks(self._tokens):
            self._residual[some] -= self._tokens[some] @ vectors


def _factors(
    tokens: csr_matrix, starts: Sequence[NDArray[np.float32]], targets: NDArray[np.float32]
) -> NDArray[np.float32]:
    """Return the factors with which the documents' sums of the starts come closest to targets."""
    gram, products = np.zeros((len(starts), len(starts))), np.zeros(len(starts))
    for some in _blocks(tokens):
        sums = np.stack([(tokens[some] @ start).ravel() for start in starts])
        gram += sums @ sums.T
        products += sums @ targets[some].ravel()
    factors: NDArray[np.float32] = np.linalg.lstsq(gram, products, rcond=None)[0].astype(np.float32)
    return factors


def _blocks(tokens: csr_matrix) -> Iterator[slice]:
    """Divide the documents, as products with all of them may take hundreds of megabytes."""
    yield from gen_batches(tokens.shape[0], _DOCUMENTS_AT_ONCE)


def _shared_map(
    tokens: csr_matrix, outputs: NDArray[np.float32], targets: NDArray[np.float32]
) -> NDArray[np.float32]:
    """Fit the linear map with the least leave-one-out error, shape (n_inputs, n_targets).

    The inputs are the products of tokens and outputs. With h the leverage of a document, the error
    of its target without it is its error divided by ``1 - h``, so that no fit is repeated.
    """
    n_inputs = outputs.shape[1]
    gram, products = np.zeros((n_inputs, n_inputs)), np.zeros((n_inputs, targets.shape[1]))
    for some in _blocks(tokens):
        inputs = tokens[some] @ outputs
        products += inputs.T @ targets[some]
        wide = inputs.astype(np.float64)  # small squares would lose digits
        gram += wide.T @ wide
    squares, axes = np.linalg.eigh(gram)
    squares = np.maximum(squares, 0)
    # The documents are in random order, so that the first ones stand for all.
    targets = targets[:_DOCUMENTS_AT_ONCE]
    inputs = (tokens[:_DOCUMENTS_AT_ONCE] @ outputs @ axes).astype(np.float32)
    products = axes.T @ products
    best, least_error = products, np.inf
    for ridge in (squares.mean() or 1) * _MAP_RIDGES:
        shrinkage = 1 / (squares + ridge)
        coefficients = shrinkage[:, None] * products
        leverages = inputs**2 @ shrinkage.astype(np.float32)
        errors = targets - inputs @ coefficients.astype(np.float32)
        errors /= np.maximum(1 - leverages, _LEAST_REST)[:, None]
        error = float(np.vdot(errors, errors))
        if error < least_error:
            best, least_error = coefficients, error
    shared_map: NDArray[np.float32] = (axes @ best).astype(np.float32)
    return shared_map


def solve_ridge(
    features: csr_matrix, targets: NDArray[np.float32], penalty: float
) -> NDArray[np.float32]:
    """Minimize ``|Z X - Y|^2 + penalty |X|^2``.

    For few documents, the solution is ``Z^T (Z Z^T + penalty I)^-1 Y``. For many, it is found by
    preconditioned conjugate gradients. By Zipf's law, a few columns are very frequent, which makes
    the problem ill-conditioned. The preconditioner is the Gram matrix of the most frequent columns,
    and its diagonal for the others. The error is measured in the norm of the problem,
    ``sqrt(|Z X|^2 + penalty |X|^2)``, in which the progress of each iteration is known. The
    iteration stops when that of the last ones together, which is an estimate of the error before
    them [1]_, is at most 0.1% of the solution.

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

    References
    ----------
    .. [1] Strakos and Tichy (2002), "On error estimation in the conjugate gradient method and why
       it works in finite precision computations", Electronic Transactions on Numerical Analysis 13.
    """
    solution = np.zeros((features.shape[1], targets.shape[1]), dtype=np.float32)
    squares = np.asarray(features.multiply(features).sum(axis=0)).ravel()
    used = np.flatnonzero(squares)
    squares = squares[used]
    # Outside these bounds, double precision has no significant digits left.
    penalty = float(np.clip(penalty, 1e-13 * squares.max(), 1e7 * squares.max()))
    if features.shape[0] <= _FEW_DOCUMENTS:
        solution[used] = _exact(features[:, used].astype(np.float64), targets, penalty)
        return solution
    precision = np.float32 if penalty > _SINGLE_PRECISION * squares.max() else np.float64
    features = features[:, used].astype(precision)
    apply, precondition = _problem(features, penalty), _preconditioner(features, squares, penalty)
    error = 0.0
    for columns in gen_batches(targets.shape[1], _COLUMNS_AT_ONCE):
        gradient = features.T @ np.ascontiguousarray(targets[:, columns], dtype=precision)
        solution[used, columns], error_of_columns = _conjugate_gradients(
            apply, precondition, gradient
        )
        error = max(error, error_of_columns)
    if error > _TOLERANCE:
        warn(
            f"The fit to the documents did not converge in {_MAX_ITERATIONS} iterations: the "
            f"error is up to {error:.1%} of the solution; a larger alpha converges sooner.",
            ConvergenceWarning,
        )
    return solution


def _exact(
    features: csr_matrix, targets: NDArray[np.float32], penalty: float
) -> NDArray[np.float64]:
    """Solve with as many unknowns as there are documents."""
    gram = (features @ features.T).toarray()
    gram[np.diag_indices_from(gram)] += penalty
    factor = cho_factor(gram, lower=True, overwrite_a=True)
    solution: NDArray[np.float64] = features.T @ cho_solve(factor, targets)
    return solution


def _problem(features: csr_matrix, penalty: float) -> Callable[[_Array], _Array]:
    """Return a function that multiplies by the Gram matrix with the penalty on its diagonal."""
    # In blocks, whose products with the step are still in the processor's cache when they are read.
    n_documents = features.shape[0]
    parts = [features[some] for some in gen_batches(n_documents, _DOCUMENTS_PER_PRODUCT)]

    def apply(step: _Array) -> _Array:
        image: _Array = penalty * step
        for part in parts:
            image += part.T @ (part @ step)
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
) -> tuple[_Array, float]:
    """Solve for several columns at once; also return the estimate of their relative error."""
    solution = np.zeros_like(gradient)
    direction = precondition(gradient)
    step = direction.copy()
    product = _dots(gradient, direction)
    error = np.inf
    progress = np.zeros((_MAX_ITERATIONS, gradient.shape[1]))  # squares of the norm of the problem
    for n in range(_MAX_ITERATIONS):
        image = apply(step)
        # A column may be solved already, or be zero: teachers have dead dimensions.
        size = _quotient(product, _dots(step, image))
        solution += size * step
        gradient -= size * image
        progress[n] = size * product
        last = progress[max(n + 1 - max(_DELAY, n // _DELAY_SHARE), 0) : n + 1]
        error = float(np.sqrt(_quotient(last.sum(axis=0), progress.sum(axis=0)).max()))
        if error <= _TOLERANCE or not product.any():
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
