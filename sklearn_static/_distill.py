"""From the teacher's outputs to token vectors: the formulas, in NumPy."""

import numpy as np
from numpy.typing import NDArray
from sklearn.decomposition import PCA


def check_n_components(n_components: float | None, dimension: int, n_tokens: int) -> None:
    """Raise if PCA cannot give so many components.

    Parameters
    ----------
    n_components : int, float or None
        As in `pca`.
    dimension : int
        The teacher's dimension.
    n_tokens : int
        The number of tokens.

    Raises
    ------
    ValueError
        If `n_components` is above the teacher's dimension or the number of tokens.
    """
    asked = dimension if n_components is None else n_components
    for limit, name in (
        (dimension, "the teacher's dimension"),
        (n_tokens, "the number of tokens in the teacher's vocabulary"),
    ):
        if asked > limit:
            raise ValueError(f"n_components={n_components} must be at most {limit}, {name}.")


def pca(
    outputs: NDArray[np.float32],
    n_components: float | None,
    random_state: int | np.random.RandomState | None = None,
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Rotate the teacher's outputs onto their principal axes.

    Parameters
    ----------
    outputs : ndarray of float32, shape (n_tokens, dimension)
        What the teacher gives for each token.
    n_components : int, float or None
        How many axes to keep; a float in (0, 1) keeps the fewest that explain this share of
        the variance; None keeps all.
    random_state : int, RandomState or None, default=None
        Passed on; the solver is deterministic.

    Returns
    -------
    scores : ndarray of float64, shape (n_tokens, n_components)
        Coordinates of the centred outputs.
    explained_variance_ratio : ndarray of float64, shape (n_components,)
        Share of the variance along each axis.
    """
    # The covariance of float32 outputs with a large mean loses digits; in float64 it does not.
    exact = outputs.astype(np.float64)
    model = PCA(n_components, svd_solver="covariance_eigh", random_state=random_state)
    return model.fit_transform(exact), model.explained_variance_ratio_


def zipf_probabilities(n_tokens: int) -> NDArray[np.float64]:
    """Estimate each token's probability from its rank in the vocabulary.

    By Zipf's law, p is proportional to 1 / rank; the first rank is 2, as in Model2Vec.

    Parameters
    ----------
    n_tokens : int
        The number of tokens, most frequent first.

    Returns
    -------
    probabilities : ndarray of float64, shape (n_tokens,)
        Sums to one.
    """
    inverse_ranks: NDArray[np.float64] = 1 / np.arange(2, n_tokens + 2)
    inverse_ranks /= inverse_ranks.sum()
    return inverse_ranks


def sif_weights(probabilities: NDArray[np.float64], sif_coefficient: float) -> NDArray[np.float64]:
    """Weigh tokens by smooth inverse frequency, ``a / (a + p)`` [1]_.

    Parameters
    ----------
    probabilities : ndarray of float64, shape (n_tokens,)
        The probability p of each token.
    sif_coefficient : float
        The coefficient a, above zero.

    Returns
    -------
    weights : ndarray of float64, shape (n_tokens,)
        Between 0 (frequent) and 1 (rare).

    References
    ----------
    .. [1] Arora, Liang and Ma (2017), "A simple but tough-to-beat baseline for sentence
       embeddings", ICLR.
    """
    weights: NDArray[np.float64] = sif_coefficient / (sif_coefficient + probabilities)
    return weights
