"""The steps of `fit`, from documents and a teacher's outputs to the rows of a table."""

from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from sklearn_static._distill.components import (
    check_n_components,
    check_sif_coefficient,
    leading_directions,
    pca,
    sif_weights,
    with_unfitted_columns,
    zipf_probabilities,
)
from sklearn_static._distill.corpus import Corpus, in_random_order, most_frequent_bigrams
from sklearn_static._distill.folder import Pooling, read_folder
from sklearn_static._distill.inputs import Inputs, usable_tokens
from sklearn_static._distill.lsa import with_lsa_rows
from sklearn_static._distill.requirements import import_for_fit
from sklearn_static._distill.ridge import fit_rows
from sklearn_static._distill.targets import column_scales, smoothed
from sklearn_static._formats.source import Source
from sklearn_static._serve import FastTokenizer
from sklearn_static._serve.bigrams import Bigrams
from sklearn_static._serve.composition import composition_of
from sklearn_static._serve.documents import batches
from sklearn_static._serve.original import Original
from sklearn_static._serve.table import Quantize, StaticTable
from sklearn_static._serve.vocabulary import Vocabulary
from sklearn_static._warnings import warn

if TYPE_CHECKING:
    from sklearn_static._distill.outputs import Outputs

_LSA_COMPONENTS = 128
# Number of batches of documents on which the engine is compared with the original tokenizer.
_TRIED_BATCHES = 10


@dataclass(frozen=True)
class Documents:
    """The documents given to `fit`, tokenized.

    Attributes
    ----------
    corpus : Corpus
        The documents with an in-vocabulary token, in random order, with all their tokens.
    in_vocabulary : Corpus
        The same documents, with the tokens that `transform` would pool.
    n_given : int
        Number of documents including those without an in-vocabulary token.
    n_lsa : int
        Number of LSA features.
    seed : int
        Seed of the order and of the LSA solver.
    """

    corpus: Corpus
    in_vocabulary: Corpus
    n_given: int
    n_lsa: int
    seed: int


@dataclass(frozen=True)
class Rows:
    """The rows of a table before it is stored.

    Attributes
    ----------
    tokenizer : FastTokenizer
        Maps documents to the rows of their tokens.
    vectors : ndarray of float32, shape (n_tokens + n_bigrams, n_features)
        One vector per row.
    bigrams : Bigrams or None
        The bigrams, whose rows follow those of the tokens.
    """

    tokenizer: FastTokenizer
    vectors: NDArray[np.float32]
    bigrams: Bigrams | None = None


def open_teacher(
    source: Source,
    pooling: Pooling,
    *,
    memory: Any,
    device: str | None,
    batch_size: int,
    progress: bool,
    n_jobs: int | None = None,
) -> tuple["Outputs", FastTokenizer]:
    """Open a teacher without loading its weights.

    Parameters
    ----------
    source : Source
        The teacher's files.
    pooling : {"auto", "mean", "cls", "last"}
        How its outputs are pooled into one vector.
    memory : "auto", None, str, os.PathLike or object with the joblib.Memory interface
        Where its outputs are cached.
    device : str or None
        The torch device; None takes the best available.
    batch_size : int
        Documents per forward pass.
    progress : bool
        Whether to show a progress bar on standard error.
    n_jobs : int or None, default=None
        Number of workers among which to divide the inputs if joblib's active backend is that of a
        cluster; None takes the backend's default.

    Returns
    -------
    outputs : Outputs
        The teacher, whose weights are loaded when they are first needed.
    tokenizer : FastTokenizer
        Its tokenizer, as a composition of components of the engine.

    Raises
    ------
    OSError
        If there is no such model or a file is missing.
    ValueError
        If the model is of an unsupported kind.
    ImportError
        If torch or transformers is not installed.
    """
    folder = read_folder(source, pooling)
    vocabulary = usable_tokens(Original.from_tokenizer(folder.tokenizer))
    outputs: Outputs = import_for_fit("outputs").Outputs(
        folder,
        Inputs(folder, vocabulary),
        memory=memory,
        device=device,
        batch_size=batch_size,
        progress=progress,
        n_jobs=n_jobs,
    )
    return outputs, FastTokenizer(vocabulary, composition_of(vocabulary.original))


def exact_tokenizer(tokenizer: FastTokenizer, documents: list[str]) -> FastTokenizer:
    """Leave all documents to the original tokenizer if the engine's tokens differ on real documents.

    Parameters
    ----------
    tokenizer : FastTokenizer
        The engine's equivalent of the original tokenizer.
    documents : list of str
        The documents on which to compare the tokens.

    Returns
    -------
    tokenizer : FastTokenizer
        The same tokenizer, or one that leaves all documents to the original.
    """
    tried = islice(batches(documents), _TRIED_BATCHES if tokenizer.composition is not None else 0)
    if all(agrees(tokenizer, documents[batch]) for batch in tried):
        return tokenizer
    return FastTokenizer(tokenizer.vocabulary, None)


def read_documents(
    documents: list[str],
    tokenizer: FastTokenizer,
    *,
    max_length: int | None,
    lexical_components: int | Literal["auto"],
    random_state: int | np.random.RandomState | None,
) -> Documents:
    """Tokenize the documents given to `fit`.

    Parameters
    ----------
    documents : list of str
        The documents.
    tokenizer : FastTokenizer
        Maps documents to the rows of their tokens.
    max_length : int or None
        Number of tokens to which each document is truncated; None does not truncate.
    lexical_components : int or "auto"
        Number of LSA features. "auto" is 128, or the number of documents with an in-vocabulary
        token if that is smaller.
    random_state : int, RandomState or None
        Seed of the order of the documents, which otherwise depends only on their content.

    Returns
    -------
    documents : Documents
        The documents and their tokens.

    Raises
    ------
    ValueError
        If no document has an in-vocabulary token, or if fewer documents have one than
        `lexical_components`.
    """
    # Without a seed, too, the teacher must read the same documents for all candidates of a search.
    seed = 0 if random_state is None else random_state
    seed = seed.randint(2**31) if isinstance(seed, np.random.RandomState) else int(seed)
    in_order = in_random_order(documents, seed)
    corpus = Corpus.from_documents(in_order, tokenizer)
    has_tokens = corpus.in_vocabulary(max_length).lengths > 0
    corpus = corpus.select(has_tokens)
    n_known = len(corpus)
    if not n_known:
        raise ValueError(
            "X has no document with an in-vocabulary token; pass other documents, or a teacher for "
            "their language."
        )
    automatic = min(_LSA_COMPONENTS, n_known)
    n_lsa = automatic if lexical_components == "auto" else int(lexical_components)
    if n_lsa > n_known:
        raise ValueError(
            f"lexical_components={n_lsa} must be at most {n_known}, the number of "
            "documents in X with an in-vocabulary token; pass more documents or "
            "lexical_components='auto'."
        )
    in_vocabulary = corpus.in_vocabulary(max_length)
    return Documents(corpus, in_vocabulary, len(documents), n_lsa, seed)


def vocabulary_table(
    outputs: "Outputs",
    tokenizer: FastTokenizer,
    n_components: float | None,
    sif_coefficient: float | None,
    quantize: Quantize,
) -> tuple[Rows, NDArray[np.float64]]:
    """Compute token vectors from the teacher's outputs for single tokens.

    Parameters
    ----------
    outputs : Outputs
        The teacher.
    tokenizer : FastTokenizer
        Maps documents to the rows of their tokens.
    n_components : int, float or None
        The number of principal components, as in `pca`.
    sif_coefficient : float or None
        The coefficient of the weights; None gives all tokens the weight 1.
    quantize : {"float16", "int8"} or None
        How the table will be stored.

    Returns
    -------
    rows : Rows
        One row per token.
    explained_variance_ratio : ndarray of float64, shape (n_components,)
        Share of the variance along each axis.

    Raises
    ------
    ValueError
        If `n_components` exceeds the teacher's dimension, or if all weights are too small.
    """
    check_sif_coefficient(sif_coefficient, len(tokenizer.vocabulary), quantize)
    check_n_components(n_components, outputs.find_dimension())
    vectors, shares = pca(outputs.of_vocabulary(), n_components)
    vectors = _weighted(vectors, sif_coefficient)
    return Rows(tokenizer, vectors.astype(np.float32)), shares


def corpus_table(
    outputs: "Outputs",
    tokenizer: FastTokenizer,
    documents: Documents,
    *,
    n_components: float | None,
    sif_coefficient: float | None,
    alpha: float,
    bigrams: bool,
    max_features: int | None,
    max_length: int | None,
    max_teacher_tokens: int | None,
) -> tuple[Rows, NDArray[np.float64]]:
    """Fit token vectors to the teacher's embeddings of documents, smoothed and scaled.

    Parameters
    ----------
    outputs : Outputs
        The teacher.
    tokenizer : FastTokenizer
        Maps documents to the rows of their tokens.
    documents : Documents
        The documents.
    n_components : int, float or None
        The number of leading directions, as in `leading_directions`.
    sif_coefficient : float or None
        The coefficient of the weights from which the fit starts; None gives all tokens the weight
        1.
    alpha : float
        Strength of the ridge penalty.
    bigrams : bool
        Whether bigrams get rows.
    max_features : int or None
        The maximum number of bigrams; None sets no limit.
    max_length : int or None
        Number of tokens to which `transform` truncates each document; None does not truncate.
    max_teacher_tokens : int or None
        The maximum number of tokens that the teacher reads; None sets no limit.

    Returns
    -------
    rows : Rows
        The fitted rows of tokens and bigrams.
    shares : ndarray of float64, shape (n_components,)
        Share of the embeddings' squared length along each direction.

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
    check_sif_coefficient(sif_coefficient, len(tokenizer.vocabulary), None)
    check_n_components(n_components, outputs.find_dimension())
    corpus = documents.corpus
    inputs = outputs.inputs.of_documents(corpus, max_teacher_tokens)
    # The teacher truncates long documents; only the part that it reads can explain an embedding.
    limit = min((n for n in (outputs.inputs.room, max_length) if n is not None), default=None)
    read = corpus.first(len(inputs)).in_vocabulary(limit)
    if not len(read.rows):
        raise ValueError(
            f"No document in X has an in-vocabulary token among its first {limit} tokens, which "
            "are all that the teacher reads; use distill_on='vocabulary' or a teacher with a "
            "larger maximum length."
        )
    token_outputs = outputs.of_vocabulary().astype(np.float64)
    token_outputs -= token_outputs.mean(axis=0)
    embeddings = outputs.of_documents(inputs)
    n_distinct, n_read = len(set(corpus.documents)), len(set(read.documents))
    if n_read < n_distinct:
        warn(
            f"The teacher read {n_read} of {n_distinct} distinct documents, limited by "
            f"max_teacher_tokens={max_teacher_tokens}{outputs.duration(n_distinct - n_read)}."
        )
    directions, shares = leading_directions(embeddings, token_outputs, n_components)
    n_tokens = len(token_outputs)
    learned = most_frequent_bigrams(read, n_tokens, max_features) if bigrams else None
    counts = read.counts(n_tokens, learned)
    n_fitted = np.count_nonzero(shares)
    scales = column_scales(shares, len(embeddings))
    targets = smoothed(embeddings @ directions[:, :n_fitted]) * scales[:n_fitted]
    start = _weighted(token_outputs @ directions * scales, sif_coefficient)
    vectors = fit_rows(counts, read.lengths, token_outputs, start[:, :n_fitted], targets, alpha)
    if n_fitted < len(shares):
        vectors = with_unfitted_columns(vectors, start)
    return Rows(tokenizer, vectors, learned), shares


def finish(
    rows: Rows,
    documents: Documents | None,
    *,
    bigrams: bool,
    max_features: int | None,
    min_df: float,
    quantize: Quantize,
) -> StaticTable:
    """Append LSA features, drop the rows of rare tokens and bigrams, and store the rest.

    Parameters
    ----------
    rows : Rows
        The rows of tokens and bigrams.
    documents : Documents or None
        The documents; None leaves the rows unchanged.
    bigrams : bool
        Whether to add rows for bigrams if there are none yet but there are LSA features; all other
        features of these rows are zero.
    max_features : int or None
        The maximum number of bigrams; None sets no limit.
    min_df : int or float
        The minimum document frequency of a row to be kept; a float is a proportion of the
        documents.
    quantize : {"float16", "int8"} or None
        How the table is stored.

    Returns
    -------
    table : StaticTable
        The table.

    Raises
    ------
    ValueError
        If no token remains, or if a value is too large for float16.
    """
    if documents is not None:
        rows = _with_lsa(rows, documents, bigrams, max_features, min_df)
    return StaticTable.from_vectors(rows.tokenizer, rows.vectors, quantize, rows.bigrams)


def _with_lsa(
    rows: Rows, documents: Documents, bigrams: bool, max_features: int | None, min_df: float
) -> Rows:
    tokenizer, vectors, learned = rows.tokenizer, rows.vectors, rows.bigrams
    corpus, n_tokens = documents.in_vocabulary, len(tokenizer.vocabulary)
    if bigrams and documents.n_lsa and learned is None:
        learned = most_frequent_bigrams(corpus, n_tokens, max_features)
        vectors = np.pad(vectors, ((0, len(learned)), (0, 0)))
    counts = corpus.counts(n_tokens, learned)
    vectors = with_lsa_rows(vectors, counts, documents.n_lsa, documents.seed)
    least = min_df if isinstance(min_df, int | np.integer) else min_df * documents.n_given
    kept = np.bincount(counts.indices, minlength=len(vectors)) >= least
    if not kept[:n_tokens].any():
        raise ValueError(f"After pruning by min_df={min_df} no tokens remain; lower min_df.")
    rows = Rows(tokenizer, vectors, learned)
    return rows if kept.all() else _kept_rows(rows, kept)


def _kept_rows(rows: Rows, kept: NDArray[np.bool_]) -> Rows:
    """Drop all other rows; the document frequency of a bigram's tokens is at least its own."""
    whole = rows.tokenizer.vocabulary
    kept_tokens, kept_bigrams = np.split(kept, [len(whole)])
    vocabulary = Vocabulary(whole.original, whole.token_ids[kept_tokens])
    bigrams = None
    if rows.bigrams is not None:
        new_row = (np.cumsum(kept_tokens) - 1).astype(np.int32)
        bigrams = Bigrams(new_row[rows.bigrams.pairs[kept_bigrams]], len(vocabulary))
    return Rows(FastTokenizer(vocabulary, rows.tokenizer.composition), rows.vectors[kept], bigrams)


def agrees(tokenizer: FastTokenizer, documents: list[str]) -> bool:
    """Check whether the fast tokenizer gives the same rows as the original one.

    Parameters
    ----------
    tokenizer : FastTokenizer
        The fast tokenizer, with the original one in its vocabulary.
    documents : list of str
        The documents on which to compare the rows.

    Returns
    -------
    agrees : bool
        True if all rows are the same.
    """
    rows, offsets = tokenizer.tokenize(documents).to_arrays()
    real_rows, real_offsets = tokenizer.vocabulary.tokens(documents)
    return np.array_equal(offsets, real_offsets) and np.array_equal(rows, real_rows)


def _weighted(vectors: NDArray[np.float64], sif_coefficient: float | None) -> NDArray[np.float64]:
    """Multiply the vectors of all tokens by SIF weights given Zipf's law."""
    if sif_coefficient is None:
        return vectors
    return vectors * sif_weights(zipf_probabilities(len(vectors)), sif_coefficient)[:, None]
