"""Token vectors of a static embedding model, or from a teacher's outputs."""

from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sklearn_static._distill.cached_teacher import CachedTeacher
from sklearn_static._distill.components import (
    center_in_place,
    check_n_components,
    check_sif_coefficient,
    leading_axes,
    leading_directions,
    pca,
    projected_in_place,
    sif_weights,
    with_unfitted_columns,
    zipf_probabilities,
)
from sklearn_static._distill.corpus import Corpus, most_frequent_bigrams
from sklearn_static._distill.passages import Passages, beginnings
from sklearn_static._distill.ridge import RowFit
from sklearn_static._distill.targets import column_scales, smooth
from sklearn_static._distill.token_vectors import TokenVectors
from sklearn_static._serve.bigrams import Bigrams
from sklearn_static._serve.table import Quantize, StaticTable
from sklearn_static._serve.tokens import Tokens
from sklearn_static._warnings import warn


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
    check = partial(check_n_components, n_components)
    vectors, shares = pca(teacher.token_outputs(kept, check), n_components)
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
    inputs, numbers, passages = teacher.document_inputs(corpus, max_teacher_tokens)
    # Only the part of a document that the teacher reads can explain its output.
    read, documents, repeats = _read_once(corpus, numbers, passages)
    if not len(read.rows):
        raise ValueError(
            "No document in X has an in-vocabulary token in the part that the teacher reads, which "
            f"is limited by its maximum length, {teacher.max_document_tokens} tokens, and by "
            f"max_teacher_tokens={max_teacher_tokens}; use distill_on='vocabulary', a shorter "
            "prompt, a larger limit, or a teacher with a larger maximum length."
        )
    embeddings, states = teacher.embeddings(inputs, partial(check_n_components, n_components))
    _warn_of_limit(teacher, corpus, passages, max_teacher_tokens)
    bigrams = most_frequent_bigrams(read, repeats, n_tokens, max_bigrams, documents)
    counts = corpus.counts_of(read, bigrams)
    axes, shares = leading_axes(embeddings, repeats, n_components)
    n_fitted = np.count_nonzero(shares)
    scales = column_scales(shares, read.n_documents)
    # What may take hundreds of megabytes is freed, or overwritten, as soon as it was used.
    del inputs
    targets = projected_in_place(embeddings, axes[:, :n_fitted].astype(np.float32))
    smooth(targets)
    targets *= scales[:n_fitted]
    token_outputs = teacher.token_outputs(kept)
    center_in_place(token_outputs)
    directions = leading_directions(axes, shares, token_outputs) * scales
    means = None
    if states is not None:
        ids = teacher.vocabulary.token_ids[kept]
        means = states.means(ids, token_outputs, directions[:, :n_fitted])
        del states
    start = _weighted(token_outputs @ directions, probabilities, sif_coefficient)
    starts = [start if n_fitted == len(shares) else start[:, :n_fitted].copy()]
    starts += [] if means is None else [means]
    fit = RowFit(counts, repeats, read.lengths, n_tokens, targets)
    vectors = fit.shared(token_outputs, starts)
    del token_outputs, starts, means
    vectors = fit.rows(vectors, alpha)
    if n_fitted < len(shares):
        vectors = with_unfitted_columns(vectors, start)
    return TokenVectors(kept, vectors, bigrams, shares)


def _read_once(
    corpus: Corpus, numbers: NDArray[np.int64], passages: Passages
) -> tuple[Tokens, NDArray[np.integer[Any]], NDArray[np.int64]]:
    """Return the known tokens of each input, its document, and how often it was given.

    Documents with the same input, such as those that differ in case only, count as one.
    """
    read, documents = corpus.known_in(passages), passages.documents
    repeats = corpus.repeats[documents]
    _, first = np.unique(numbers, return_index=True)
    if len(first) < len(numbers):
        read, documents = read.take(first), documents[first]
        repeats = np.bincount(numbers, weights=repeats).astype(np.int64)
    return read, documents, repeats


def _warn_of_limit(
    teacher: CachedTeacher, corpus: Corpus, passages: Passages, max_teacher_tokens: int | None
) -> None:
    """Warn if the teacher did not read all documents."""
    n_documents, n_passages = len(corpus.documents), len(passages.documents)
    whole = beginnings(corpus.lengths, teacher.max_document_tokens)
    limited = f"limited by max_teacher_tokens={max_teacher_tokens}"
    if n_passages <= n_documents and np.array_equal(passages, whole.between(0, n_passages)):
        if n_passages < n_documents:
            warn(
                f"The teacher read {n_passages} of {n_documents} distinct documents, {limited}"
                f"{teacher.duration(n_documents - n_passages)}."
            )
        return
    n_read, n_tokens = np.sum(passages.stops - passages.starts), np.sum(whole.stops)
    n_left = max(int(np.ceil(n_passages * (n_tokens / n_read - 1))), 1)
    warn(
        f"The teacher read passages of {len(np.unique(passages.documents))} of {n_documents} "
        f"distinct documents, {min(n_read / n_tokens, 1):.0%} of their tokens, {limited}"
        f"{teacher.duration(n_left)}."
    )


def _weighted(
    vectors: NDArray[np.float32],
    probabilities: NDArray[np.float64],
    sif_coefficient: float | None,
) -> NDArray[np.float32]:
    """Multiply the vector of each token by its SIF weight, in place."""
    if sif_coefficient is not None:
        weights = sif_weights(probabilities, sif_coefficient)[:, None]
        np.multiply(vectors, weights, out=vectors, dtype=np.float64, casting="same_kind")
    return vectors
