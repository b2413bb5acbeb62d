"""LSA features, which represent the words of a document in addition to its meaning."""

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_matrix
from sklearn.utils import gen_batches

from sklearn_static._distill.components import with_fixed_signs
from sklearn_static._distill.corpus import document_frequencies

# Both were chosen empirically (benchmarks/README.md): rare words matter more than the usual idf
# weight says, and this is the mean norm of the LSA features relative to that of the others.
_IDF_POWER = 1.5
_SHARE = 0.5
# Of the randomized solver: additional columns, and multiplications by the Gram matrix.
_OVERSAMPLING = 10
_N_ITERATIONS = 5
# Bounds the memory of products of counts and a dense matrix.
_DOCUMENTS_AT_ONCE = 4096
# Number of documents from which the mean norm of the features is estimated.
_SCALED_ON = 16_384
# Singular values below this share of the largest are rounding errors.
_LEAST_VALUE = 1e-5
# Likewise for the squares of lengths in double precision.
_LEAST_SQUARE = 1e-13


def lsa_columns(
    counts: csr_matrix, repeats: NDArray[np.int64], n_components: int, seed: int
) -> NDArray[np.float32]:
    """Compute the vectors of latent semantic analysis [1]_.

    They are the leading right singular vectors of the weighted counts, after each document is
    scaled to unit length. The weight of a row that occurs in df of N documents is
    ``(ln((1 + N) / (1 + df)) + 1) ** 1.5``; a count c is replaced by ``1 + ln(c)``. Pooling adds a
    row c times, so each row is multiplied by ``(1 + ln(m)) / m``, where m is the row's mean count
    in the documents that contain it. This reduces the influence of words that are repeated in a
    document.

    Parameters
    ----------
    counts : csr_matrix of float32, shape (n_documents, n_rows)
        How often each row occurs in each document.
    repeats : ndarray of int64, shape (n_documents,)
        How often each document was given.
    n_components : int
        Number of singular vectors.
    seed : int
        Seed of the solver.

    Returns
    -------
    rows : ndarray of float32, shape (n_rows, n_components)
        The weighted vectors; zero beyond the rank of the counts, and for rows that occur in no
        document.

    References
    ----------
    .. [1] Deerwester, Dumais, Furnas, Landauer and Harshman (1990), "Indexing by latent semantic
       analysis", Journal of the American Society for Information Science 41.
    """
    frequencies = document_frequencies(counts, repeats)
    used = np.flatnonzero(frequencies)
    weights = (np.log((1 + repeats.sum()) / (1 + frequencies[used])) + 1) ** _IDF_POWER
    weighted = counts[:, used]
    mean_counts = (weighted.T @ repeats) / frequencies[used]
    weighted.data = 1 + np.log(weighted.data)
    weighted.data *= weights.astype(np.float32)[weighted.indices]
    squares = np.add.reduceat(weighted.data**2, weighted.indptr[:-1])  # no document is empty
    factors = np.sqrt(repeats / squares).astype(np.float32)
    weighted.data *= np.repeat(factors, np.diff(weighted.indptr))
    weights *= (1 + np.log(mean_counts)) / mean_counts
    rows = np.zeros((counts.shape[1], n_components), dtype=np.float32)
    vectors = _right_singular_vectors(weighted, n_components, seed)
    rows[used, : vectors.shape[1]] = weights[:, None] * vectors
    return rows


def _right_singular_vectors(
    matrix: csr_matrix, n_components: int, seed: int
) -> NDArray[np.floating[Any]]:
    """Find the leading right singular vectors by randomized subspace iteration [1]_.

    No dense matrix has as many rows as there are documents.

    Parameters
    ----------
    matrix : csr_matrix of float32, shape (n_documents, n_rows)
        The matrix.
    n_components : int
        The maximum number of vectors.
    seed : int
        Seed of the start.

    Returns
    -------
    vectors : ndarray of float, shape (n_rows, n_vectors)
        As many vectors as have a singular value that is not zero, up to `n_components`.

    References
    ----------
    .. [1] Halko, Martinsson and Tropp (2011), "Finding structure with randomness", SIAM Review 53.
    """
    n_columns = min(n_components + _OVERSAMPLING, matrix.shape[1])
    start = np.random.RandomState(seed).normal(size=(matrix.shape[1], n_columns))
    basis: NDArray[np.float32] = start.astype(np.float32)
    for _ in range(_N_ITERATIONS):
        image = np.zeros_like(basis)
        for part, product in _products(matrix, basis):
            image += part.T @ product
        basis = _orthonormal(image)
    gram = np.zeros((basis.shape[1], basis.shape[1]))
    for _, product in _products(matrix, basis):
        wide = product.astype(np.float64)  # the square of a small singular value is tiny
        gram += wide.T @ wide
    squares, axes = np.linalg.eigh(gram)
    n_found = np.count_nonzero(squares > _LEAST_VALUE**2 * squares[-1])
    return with_fixed_signs(basis @ axes[:, ::-1][:, : min(n_found, n_components)])


def _orthonormal(columns: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return an orthonormal basis of the columns' span; several times as fast as a QR."""
    wide = columns.astype(np.float64)
    squares, axes = np.linalg.eigh(wide.T @ wide)
    kept = squares > _LEAST_SQUARE * squares[-1]
    basis: NDArray[np.float32] = (wide @ (axes[:, kept] / np.sqrt(squares[kept]))).astype(
        np.float32
    )
    return basis


def _products(
    matrix: csr_matrix, dense: NDArray[np.float32]
) -> Iterator[tuple[csr_matrix, NDArray[np.float32]]]:
    """Multiply parts of a matrix, of bounded size, by a dense one."""
    for some in gen_batches(matrix.shape[0], _DOCUMENTS_AT_ONCE):
        part = matrix[some]
        yield part, part @ dense


def with_lsa_columns(
    rows: NDArray[np.float32],
    counts: csr_matrix,
    repeats: NDArray[np.int64],
    n_components: int,
    seed: int,
) -> NDArray[np.float32]:
    """Append LSA columns to the rows of a table.

    They are scaled so that the mean norm of the documents' LSA features is half that of the other
    features.

    Parameters
    ----------
    rows : ndarray of float32, shape (n_rows, n_semantic)
        The rows without LSA columns.
    counts : csr_matrix of float32, shape (n_documents, n_rows)
        How often each row occurs in each document, in random order, since the norms are those of
        the first 16,384 documents.
    repeats : ndarray of int64, shape (n_documents,)
        How often each document was given.
    n_components : int
        Number of columns to append.
    seed : int
        Seed of the solver.

    Returns
    -------
    rows : ndarray of float32, shape (n_rows, n_semantic + n_components)
        The rows with LSA columns appended last.
    """
    columns = lsa_columns(counts, repeats, n_components, seed)
    norms = [_mean_norm(counts[:_SCALED_ON], part, repeats) for part in (rows, columns)]
    if norms[1] > 0:
        columns *= _SHARE * norms[0] / norms[1]
    return np.concatenate([rows, columns], axis=1)


def _mean_norm(counts: csr_matrix, rows: NDArray[np.float32], repeats: NDArray[np.int64]) -> float:
    """Return the mean norm of the documents' features before they are scaled."""
    norms = [np.linalg.norm(product, axis=1) for _, product in _products(counts, rows)]
    return float(np.average(np.concatenate(norms), weights=repeats[: counts.shape[0]]))
