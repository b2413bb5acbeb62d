"""The formulas from a teacher's outputs to token vectors, in NumPy."""

from typing import Literal

import numpy as np
from numpy.typing import NDArray
from sklearn.utils import gen_batches

# The entries of a teacher's outputs are about as large as the inverse of this number.
_LEAST_WEIGHT = 100
# Directions with a smaller share hold rounding errors only.
_NO_SHARE = 1e-12
# Bounds the memory of double precision.
_VECTORS_AT_ONCE = 1024


def check_n_components(n_components: float | None, dimension: int) -> None:
    """Raise if `n_components` exceeds the teacher's dimension.

    Parameters
    ----------
    n_components : int, float or None
        The number of components, as in `pca`.
    dimension : int
        The teacher's dimension.

    Raises
    ------
    ValueError
        If `n_components` exceeds the dimension.
    """
    if n_components is not None and n_components > dimension:
        raise ValueError(
            f"n_components={n_components} must be at most {dimension}, the teacher's dimension."
        )


def check_sif_coefficient(
    sif_coefficient: float | None,
    probabilities: NDArray[np.float64],
    quantize: Literal["float16", "int8"] | None,
) -> None:
    """Raise if the weights are too small for the type in which the table is stored.

    Parameters
    ----------
    sif_coefficient : float or None
        The coefficient of the weights.
    probabilities : ndarray of float64, shape (n_tokens,)
        The probability of each token.
    quantize : {"float16", "int8"} or None
        How the table is stored.

    Raises
    ------
    ValueError
        If even the largest weight makes the vectors subnormal numbers.
    """
    if sif_coefficient is None:
        return
    kind = "float16" if quantize == "float16" else "float32"
    least = float(np.finfo(kind).smallest_normal) * _LEAST_WEIGHT
    largest = sif_weights(probabilities, sif_coefficient).max()
    if largest < least:
        raise ValueError(
            f"sif_coefficient={sif_coefficient} gives all tokens weights of at most {largest:.2g}, "
            f"too small for {kind}, which needs at least {least:.2g}; increase sif_coefficient."
        )


def center_in_place(outputs: NDArray[np.float32]) -> None:
    """Subtract the mean of the teacher's outputs, in place.

    Parameters
    ----------
    outputs : ndarray of float32, shape (n_tokens, dimension)
        The teacher's output for each token; a single one is unchanged, as it would become zero.
    """
    if len(outputs) > 1:
        # In float32, the mean of many values would lose digits.
        mean = outputs.mean(axis=0, dtype=np.float64)
        np.subtract(outputs, mean, out=outputs, dtype=np.float64, casting="same_kind")


def pca(
    outputs: NDArray[np.float32], n_components: float | None
) -> tuple[NDArray[np.float32], NDArray[np.float64]]:
    """Rotate the teacher's outputs onto their principal axes.

    Parameters
    ----------
    outputs : ndarray of float32, shape (n_tokens, dimension)
        The teacher's output for each token; they are centered in place.
    n_components : int, float or None
        Number of axes to keep; a float in (0, 1) keeps the smallest number that explains this
        share of the variance; None keeps all.

    Returns
    -------
    scores : ndarray of float32, shape (n_tokens, n_components)
        Coordinates of the centered outputs along the axes. The outputs for n tokens span at most
        n - 1 axes; the coordinates along further ones are zero.
    explained_variance_ratio : ndarray of float64, shape (n_components,)
        Share of the variance along each axis.
    """
    center_in_place(outputs)
    axes, shares = _principal_axes(outputs)
    kept = _n_kept(shares, n_components)
    scores = outputs @ with_fixed_signs(axes[:, :kept]).astype(np.float32)
    shares = shares[:kept]
    n_spanned = max(len(outputs) - 1, 1)
    scores[:, n_spanned:] = shares[n_spanned:] = 0  # otherwise rounding errors
    return scores, shares


def leading_axes(
    embeddings: NDArray[np.float32], repeats: NDArray[np.int64], n_components: float | None
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Find the axes that hold most of the embeddings' squared length.

    Parameters
    ----------
    embeddings : ndarray of float32, shape (n_documents, dimension)
        The teacher's embeddings, not centered.
    repeats : ndarray of int64, shape (n_documents,)
        How often each document was given.
    n_components : int, float or None
        Number of directions to keep; a float in (0, 1) keeps the smallest number that holds this
        share of the embeddings' squared length; None keeps all.

    Returns
    -------
    axes : ndarray of float64, shape (dimension, dimension)
        Orthonormal columns, in the order of their shares.
    shares : ndarray of float64, shape (n_components,)
        Share of the embeddings' squared length along each of the first axes; zero along those that
        the documents do not span.
    """
    axes, shares = _principal_axes(embeddings, repeats)
    shares[shares < _NO_SHARE] = 0
    return with_fixed_signs(axes), shares[: _n_kept(shares, n_components)]


def leading_directions(
    axes: NDArray[np.float64], shares: NDArray[np.float64], token_outputs: NDArray[np.float32]
) -> NDArray[np.float32]:
    """Turn the axes that the documents do not span, of which few documents leave many.

    Parameters
    ----------
    axes : ndarray of float64, shape (dimension, dimension)
        The result of `leading_axes`.
    shares : ndarray of float64, shape (n_components,)
        Its other result.
    token_outputs : ndarray of float32, shape (n_tokens, dimension)
        The teacher's centered output for each token.

    Returns
    -------
    directions : ndarray of float32, shape (dimension, n_components)
        Orthonormal columns. Those without a share are ordered by the squared length of the token
        outputs along them.
    """
    n_spanned = np.count_nonzero(shares)
    if n_spanned < len(shares):
        spanned, rest = np.split(axes, [n_spanned], axis=1)
        turned, _ = _principal_axes(token_outputs @ rest.astype(np.float32))
        axes = np.hstack([spanned, with_fixed_signs(rest @ turned)])
    return axes[:, : len(shares)].astype(np.float32)


def projected_in_place(
    vectors: NDArray[np.float32], directions: NDArray[np.float32]
) -> NDArray[np.float32]:
    """Compute the components of vectors along directions, in the memory of the vectors.

    Parameters
    ----------
    vectors : ndarray of float32, shape (n_vectors, dimension)
        The vectors, in memory of their own; they are overwritten.
    directions : ndarray of float32, shape (dimension, n_components)
        At most as many directions as the vectors have dimensions.

    Returns
    -------
    components : ndarray of float32, shape (n_vectors, n_components)
        The same array with another shape.
    """
    n_vectors, n_components = len(vectors), directions.shape[1]
    values = vectors.reshape(-1)
    for some in gen_batches(n_vectors, _VECTORS_AT_ONCE):
        # What is overwritten was read before, as no vector becomes longer.
        new = vectors[some] @ directions
        values[some.start * n_components : some.stop * n_components] = new.ravel()
    del values
    vectors.resize((n_vectors, n_components), refcheck=False)
    return vectors


def with_unfitted_columns(
    fitted: NDArray[np.float32], projected: NDArray[np.float32]
) -> NDArray[np.float32]:
    """Append columns for the directions that the documents do not span.

    In these columns, tokens keep the teacher's outputs, on the scale of the fitted columns.

    Parameters
    ----------
    fitted : ndarray of float32, shape (n_rows, n_fitted)
        The rows of tokens, then of bigrams, as fitted to documents.
    projected : ndarray of float32, shape (n_tokens, n_components)
        The token outputs along the directions of the fitted columns, then along the others.

    Returns
    -------
    vectors : ndarray of float32, shape (n_rows, n_components)
        The rows; bigrams are zero in the columns that were not fitted.
    """
    n_tokens, n_fitted = len(projected), fitted.shape[1]
    seen, unseen = np.split(projected, [n_fitted], axis=1)
    scale = np.vdot(fitted[:n_tokens], seen) / (np.vdot(seen, seen) or 1)
    vectors = np.pad(fitted, ((0, 0), (0, unseen.shape[1])))
    vectors[:n_tokens, n_fitted:] = scale * unseen
    return vectors


def _principal_axes(
    vectors: NDArray[np.float32], repeats: NDArray[np.int64] | None = None
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return all axes, as columns, and the share of the vectors' squared length along each."""
    gram = np.zeros((vectors.shape[1], vectors.shape[1]))
    for some in gen_batches(len(vectors), _VECTORS_AT_ONCE):
        wide = vectors[some].astype(np.float64)  # small squares would lose digits
        if repeats is not None:
            wide *= np.sqrt(repeats[some, None])
        gram += wide.T @ wide
    squares, axes = np.linalg.eigh(gram)
    squares = np.maximum(squares[::-1], 0)
    return axes[:, ::-1], squares / (squares.sum() or 1)


def with_fixed_signs(axes: NDArray[np.float64]) -> NDArray[np.float64]:
    """Make the largest entry of each axis positive, since signs of eigenvectors are arbitrary.

    Parameters
    ----------
    axes : ndarray of float64, shape (dimension, n_axes)
        The axes, as columns.

    Returns
    -------
    signed : ndarray of float64, shape (dimension, n_axes)
        The same axes, some of them multiplied by -1.
    """
    largest = axes[np.abs(axes).argmax(axis=0), np.arange(axes.shape[1])]
    signed: NDArray[np.float64] = axes * np.sign(largest)
    return signed


def _n_kept(shares: NDArray[np.float64], n_components: float | None) -> int:
    if n_components is None:
        return len(shares)
    if n_components >= 1:
        return int(n_components)
    return int(np.searchsorted(np.cumsum(shares), n_components)) + 1


def zipf_probabilities(n_tokens: int) -> NDArray[np.float64]:
    """Estimate each token's probability from its rank in the vocabulary.

    By Zipf's law, p is proportional to 1 / rank; the first rank is 2, as in Model2Vec.

    Parameters
    ----------
    n_tokens : int
        The number of tokens.

    Returns
    -------
    probabilities : ndarray of float64, shape (n_tokens,)
        The probabilities by rank, most frequent first; they sum to one.
    """
    inverse_ranks: NDArray[np.float64] = 1 / np.arange(2, n_tokens + 2)
    inverse_ranks /= inverse_ranks.sum()
    return inverse_ranks


def sif_weights(probabilities: NDArray[np.float64], sif_coefficient: float) -> NDArray[np.float64]:
    """Compute smooth inverse frequency weights, ``a / (a + p)`` [1]_.

    Parameters
    ----------
    probabilities : ndarray of float64, shape (n_tokens,)
        The probability p of each token.
    sif_coefficient : float
        The coefficient a; positive.

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
