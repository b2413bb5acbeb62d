"""Targets of the fit to a corpus: the teacher's embeddings, smoothed and slightly whitened."""

import numpy as np
from numpy.typing import NDArray
from sklearn.neighbors import NearestNeighbors
from sklearn.utils import gen_batches

# Chosen on held-out documents (benchmarks/README.md). More smoothing and less scaling would
# improve classifiers with few labels further, at the cost of similarity on other documents.
_N_NEIGHBORS = 30
_SMOOTHING = 0.3
# In a small sample, even the nearest documents are dissimilar, so there are fewer neighbors.
_DOCUMENTS_PER_NEIGHBOR = 20
_SCALING = 0.1
# Shares are noisy in a small sample: with this many documents the exponent is half its limit.
_HALF_AT = 1000
# Bounds of the search for neighbors: of the documents among which it searches, so that its time is
# linear in their number, and of the dimensions of the distances, which take most of the time.
_CANDIDATES = 4096
_DIRECTIONS = 32
# Relative to the largest share; limits the scale of directions with almost no share.
_LEAST_SHARE = 1e-3


def smooth(embeddings: NDArray[np.float32]) -> None:
    """Move each embedding toward the mean of its nearest neighbors, in place.

    With Y the embeddings and N the mean of the 30 nearest to each, including itself, the
    result is ``0.7 Y + 0.3 N``. Sums of token vectors cannot reproduce what is specific to one
    document; what it shares with its neighbors is its topic. With fewer than 600 documents, there
    is one neighbor for every 20 documents; with fewer than 40, the embeddings are unchanged.

    Parameters
    ----------
    embeddings : ndarray of float32, shape (n_documents, n_components)
        The teacher's embeddings along the leading directions, in random order, since neighbors are
        searched for among the first 4,096. The distances are those along the first 32 directions.
    """
    candidates = embeddings[:_CANDIDATES].copy()
    n_neighbors = min(_N_NEIGHBORS, len(candidates) // _DOCUMENTS_PER_NEIGHBOR)
    if n_neighbors < 2:
        return
    index = NearestNeighbors(n_neighbors=n_neighbors, algorithm="brute")
    index.fit(candidates[:, :_DIRECTIONS])
    for batch in gen_batches(len(embeddings), _CANDIDATES):
        some = embeddings[batch]
        neighbors = index.kneighbors_graph(some[:, :_DIRECTIONS]).astype(np.float32)
        some *= 1 - _SMOOTHING
        some += neighbors @ candidates * np.float32(_SMOOTHING / n_neighbors)


def column_scales(shares: NDArray[np.float64], n_documents: int) -> NDArray[np.float32]:
    """Compute factors that slightly scale down the leading directions.

    A direction is scaled by ``share ** -p``. Whitening [1]_ has p = 0.5; with n documents, p is
    ``0.1 n / (n + 1000)``.

    Parameters
    ----------
    shares : ndarray of float64, shape (n_components,)
        Share of the embeddings' squared length along each direction.
    n_documents : int
        Number of embeddings from which the shares were estimated.

    Returns
    -------
    scales : ndarray of float32, shape (n_components,)
        One factor for each direction. Scaling preserves the mean squared length of the embeddings.

    References
    ----------
    .. [1] Su, Cao, Liu and Ou (2021), "Whitening sentence representations for better semantics
       and faster retrieval", arXiv:2103.15316.
    """
    exponent = _SCALING * n_documents / (n_documents + _HALF_AT)
    scales = np.maximum(shares / shares.max(), _LEAST_SHARE) ** -exponent
    scales *= np.sqrt(shares.sum() / (shares @ scales**2))
    result: NDArray[np.float32] = scales.astype(np.float32)
    return result
