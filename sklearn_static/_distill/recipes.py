"""Token vectors of a static embedding model, or from a teacher's outputs."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from sklearn_static._distill.cached_teacher import CachedTeacher
from sklearn_static._distill.components import (
    centered,
    check_n_components,
    check_sif_coefficient,
    leading_directions,
    pca,
    sif_weights,
    with_unfitted_columns,
    zipf_probabilities,
)
from sklearn_static._distill.corpus import Corpus, most_frequent_bigrams
from sklearn_static._distill.ridge import fit_vectors
from sklearn_static._distill.targets import column_scales, smooth
from sklearn_static._distill.token_vectors import TokenVectors
from sklearn_static._serve.bigrams import Bigrams
from sklearn_static._serve.table import Quantize, StaticTable
from sklearn_static._warnings import warn

# Number of tokens that the teacher reads first, to determine its dimension.
_FIRST_TOKENS = 1024


def static_vectors(static: StaticTable, tokens: NDArray[np.integer[Any]]) -> TokenVectors:
    """Select vectors of a static embedding model.

    Parameters
    ----------
    static : StaticTable
        The model.
    tokens : ndarray of int, shape (n_tokens,)
        The rows of the tokens to keep, in ascending order.

    Returns
    -------
    vectors : TokenVectors
        The vectors of these tokens, and of the bigrams that consist of them.
    """
    n_tokens = len(static.vocabulary)
    kept = np.zeros(len(static.stored), dtype=bool)
    kept[tokens] = True
    bigrams = static.bigrams
    if bigrams is not None:
        kept[n_tokens:] = kept[bigrams.pairs].all(axis=1)
        new_row = (np.cumsum(kept[:n_tokens]) - 1).astype(np.int32)
        bigrams = Bigrams(new_row[bigrams.pairs[kept[n_tokens:]]], len(tokens))
    vectors = static.vectors() if kept.all() else static.vectors(np.flatnonzero(kept))
    stored_as: Quantize = None
    if static.stored.dtype != np.float32:
        stored_as = "int8" if static.stored.dtype == np.int8 else "float16"
    return TokenVectors(tokens, vectors, bigrams, stored_as=stored_as)


def vocabulary_vectors(
    teacher: CachedTeacher,
    kept: NDArray[np.integer[Any]],
    *,
    n_components: float | None,
    sif_coefficient: float | None,
    quantize: Quantize,
) -> TokenVectors:
    """Compute token vectors from the teacher's outputs for single tokens.

    Parameters
    ----------
    teacher : CachedTeacher
        The teacher.
    kept : ndarray of int, shape (n_tokens,)
        The rows of some tokens in its vocabulary, in ascending order.
    n_components : int, float or None
        The number of principal components, as in `pca`.
    sif_coefficient : float or None
        The coefficient of the weights; None gives all tokens the weight 1.
    quantize : {"float16", "int8"} or None
        How the vectors will be stored, which limits their values.

    Returns
    -------
    vectors : TokenVectors
        One vector per token.

    Raises
    ------
    ValueError
        If `n_components` exceeds the teacher's dimension, or if all weights are too small.
    """
    probabilities = zipf_probabilities(len(teacher.vocabulary))[kept]
    check_sif_coefficient(sif_coefficient, probabilities, quantize)
    vectors, shares = pca(_token_outputs(teacher, kept, n_components), n_components)
    vectors = _weighted(vectors, probabilities, sif_coefficient)
    return TokenVectors(kept, vectors, explained_variance_ratio=shares)


def corpus_vectors(
    teacher: CachedTeacher,
    corpus: Corpus,
    *,
    n_components: float | None,
    sif_coefficient: float | None,
    alpha: float,
    max_bigrams: int | None,
    max_teacher_tokens: int | None,
) -> TokenVectors:
    """Fit token vectors to the teacher's embeddings of documents, smoothed and scaled.

    Parameters
    ----------
    teacher : CachedTeacher
        The teacher.
    corpus : Corpus
        The documents, and the tokens that get a vector.
    n_components : int, float or None
        The number of leading directions, as in `leading_directions`.
    sif_coefficient : float or None
        The coefficient of the weights from which the fit starts; None gives all tokens the weight
        1.
    alpha : float
        Strength of the ridge penalty.
    max_bigrams : int or None
        The maximum number of bigrams; None sets no limit.
    max_teacher_tokens : int or None
        The maximum number of tokens that the teacher reads; None sets no limit.

    Returns
    -------
    vectors : TokenVectors
        The fitted vectors of tokens and bigrams.

    Raises
    ------
    ValueError
        If `n_components` exceeds the teacher's dimension, or if no document has an in-vocabulary
        token in the part that the teacher reads.

    Warns
    -----
    UserWarning
        If the teacher did not read all documents.
    sklearn.exceptions.ConvergenceWarning
        If the ridge regression is not solved accurately.
    """
    kept, n_tokens = corpus.kept, len(corpus.kept)
    probabilities = zipf_probabilities(len(teacher.vocabulary))[kept]
    # The fit scales the vectors anyway, so that float16 sets no limit to the weights.
    check_sif_coefficient(sif_coefficient, probabilities, None)
    inputs = teacher.document_inputs(corpus, max_teacher_tokens)
    # The teacher truncates long documents; only the part that it reads can explain an embedding.
    limit = teacher.max_document_tokens
    read = corpus.known_among(len(inputs), limit)
    if not len(read.rows):
        raise ValueError(
            f"No document in X has an in-vocabulary token among its first {limit} tokens, which "
            "are all that the teacher reads; use distill_on='vocabulary', a shorter prompt, or a "
            "teacher with a larger maximum length."
        )
    token_outputs = centered(_token_outputs(teacher, kept, n_components))
    embeddings, states = teacher.embeddings(inputs)
    n_documents, n_read = len(corpus.documents), len(inputs)
    if n_read < n_documents:
        warn(
            f"The teacher read {n_read} of {n_documents} distinct documents, limited by "
            f"max_teacher_tokens={max_teacher_tokens}{teacher.duration(n_documents - n_read)}."
        )
    repeats = corpus.repeats[:n_read]
    directions, shares = leading_directions(embeddings, repeats, token_outputs, n_components)
    bigrams = most_frequent_bigrams(read, repeats, n_tokens, max_bigrams)
    counts = corpus.counts_of(read, bigrams)
    n_fitted = np.count_nonzero(shares)
    scales = column_scales(shares, n_read)
    targets = embeddings @ directions[:, :n_fitted]
    del embeddings, inputs  # may take hundreds of megabytes
    smooth(targets)
    targets *= scales[:n_fitted]
    directions *= scales
    start = _weighted(token_outputs @ directions, probabilities, sif_coefficient)
    starts = [start[:, :n_fitted]]
    if states is not None:
        means = states.means(teacher.vocabulary.token_ids[kept], token_outputs)
        starts.append(means @ directions[:, :n_fitted])
        del states, means
    vectors = fit_vectors(counts, repeats, read.lengths, token_outputs, starts, targets, alpha)
    if n_fitted < len(shares):
        vectors = with_unfitted_columns(vectors, start)
    return TokenVectors(kept, vectors, bigrams, shares)


def _token_outputs(
    teacher: CachedTeacher, kept: NDArray[np.integer[Any]], n_components: float | None
) -> NDArray[np.float32]:
    """Run the teacher on tokens; raise after the first ones if `n_components` is too large."""
    first = teacher.token_outputs(kept[:_FIRST_TOKENS])
    check_n_components(n_components, first.shape[1])
    rest = kept[_FIRST_TOKENS:]
    return np.concatenate([first, teacher.token_outputs(rest)]) if len(rest) else first


def _weighted(
    vectors: NDArray[np.float32],
    probabilities: NDArray[np.float64],
    sif_coefficient: float | None,
) -> NDArray[np.float32]:
    """Multiply the vector of each token by its SIF weight."""
    if sif_coefficient is None:
        return vectors
    weights = sif_weights(probabilities, sif_coefficient)[:, None]
    return np.multiply(vectors, weights, dtype=np.float64).astype(np.float32)
