"""The lexical block: which words a text has, beside what it means."""

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_matrix, diags
from sklearn.utils.extmath import randomized_svd, row_norms

# Both by trial (benchmarks/README.md): words that few texts have tell more than by the usual
# weight, and this is how long the lexical part of a text is in the mean, beside the rest.
_IDF_POWER = 1.5
_SHARE = 0.5


def lexical_rows(counts: csr_matrix, n_components: int, seed: int) -> NDArray[np.float32]:
    """Find the directions in which the words of texts differ most.

    They are the leading right singular vectors of the texts' weighted counts, each text scaled to
    unit length: latent semantic analysis [1]_. The weight of a row that df of N texts have is
    ``(ln((1 + N) / (1 + df)) + 1) ** 1.5``; a count c counts as ``1 + ln(c)``. A table adds a row
    up c times, so each row is multiplied with ``(1 + ln(m)) / m``, m being the row's mean count
    in the texts that have it: words that come often in a long text count for less.

    Parameters
    ----------
    counts : csr_matrix of float32, shape (n_documents, n_rows)
        How often each row occurs in each text.
    n_components : int
        How many directions.
    seed : int
        Seeds the solver.

    Returns
    -------
    rows : ndarray of float32, shape (n_rows, n_components)
        The weighted vectors; zero beyond the rank of the counts, and for rows that no text has.

    References
    ----------
    .. [1] Deerwester, Dumais, Furnas, Landauer and Harshman (1990), "Indexing by latent semantic
       analysis", Journal of the American Society for Information Science 41.
    """
    frequencies = np.bincount(counts.indices, minlength=counts.shape[1])
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


def with_lexical_rows(
    rows: NDArray[np.float32], counts: csr_matrix, n_components: int, seed: int
) -> NDArray[np.float32]:
    """Put lexical columns beside the rows of a table.

    Their scale is such that over the texts the mean norm of the lexical part is half of that of the
    rest.

    Parameters
    ----------
    rows : ndarray of float32, shape (n_rows, n_semantic)
        The table so far.
    counts : csr_matrix of float32, shape (n_documents, n_rows)
        How often each row occurs in each text.
    n_components : int
        How many columns; 0 adds none.
    seed : int
        Seeds the solver.

    Returns
    -------
    rows : ndarray of float32, shape (n_rows, n_semantic + n_components)
        The wider table.
    """
    if n_components == 0:
        return rows
    lexical = lexical_rows(counts, n_components, seed)
    norms = [np.linalg.norm(counts @ part, axis=1).mean() for part in (rows, lexical)]
    if norms[1] > 0:
        lexical *= _SHARE * norms[0] / norms[1]
    return np.concatenate([rows, lexical], axis=1)
