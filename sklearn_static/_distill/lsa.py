"""LSA features, which represent the words of a document in addition to its meaning."""

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_matrix, diags
from sklearn.utils.extmath import randomized_svd, row_norms

from sklearn_static._distill.corpus import document_frequencies

# Both were chosen empirically (benchmarks/README.md): rare words matter more than the usual idf
# weight says, and this is the mean norm of the LSA features relative to that of the others.
_IDF_POWER = 1.5
_SHARE = 0.5


def lsa_columns(counts: csr_matrix, n_components: int, seed: int) -> NDArray[np.float32]:
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
    frequencies = document_frequencies(counts)
    used = np.flatnonzero(frequencies)
    weights = (np.log((1 + counts.shape[0]) / (1 + frequencies[used])) + 1) ** _IDF_POWER
    weighted = counts[:, used]
    mean_counts = np.asarray(weighted.sum(axis=0)).ravel() / frequencies[used]
    weighted.data = 1 + np.log(weighted.data)
    weighted = weighted @ diags(weights)
    weighted = diags(1 / row_norms(weighted)) @ weighted
    weights *= (1 + np.log(mean_counts)) / mean_counts
    rows = np.zeros((counts.shape[1], n_components), dtype=np.float32)
    n_found = min(n_components, *weighted.shape)
    _, values, vectors = randomized_svd(weighted, n_found, random_state=seed)
    real = values > 1e-5 * values[0]
    rows[used, :n_found] = weights[:, None] * vectors.T * real
    return rows


def with_lsa_columns(
    rows: NDArray[np.float32], counts: csr_matrix, n_components: int, seed: int
) -> NDArray[np.float32]:
    """Append LSA columns to the rows of a table.

    They are scaled so that the mean norm of the documents' LSA features is half that of the other
    features.

    Parameters
    ----------
    rows : ndarray of float32, shape (n_rows, n_semantic)
        The rows without LSA columns.
    counts : csr_matrix of float32, shape (n_documents, n_rows)
        How often each row occurs in each document.
    n_components : int
        Number of columns to append.
    seed : int
        Seed of the solver.

    Returns
    -------
    rows : ndarray of float32, shape (n_rows, n_semantic + n_components)
        The rows with LSA columns appended last.
    """
    columns = lsa_columns(counts, n_components, seed)
    norms = [np.linalg.norm(counts @ part, axis=1).mean() for part in (rows, columns)]
    if norms[1] > 0:
        columns *= _SHARE * norms[0] / norms[1]
    return np.concatenate([rows, columns], axis=1)
