"""The steps of `fit`, from documents and a teacher's outputs to the rows of a table."""

from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray
from sklearn.utils import check_random_state

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
# Number of tokens that the teacher reads first, to determine its dimension.
_FIRST_TOKENS = 1024
# Number of batches of documents on which the engine is compared with the original tokenizer.
_TRIED_BATCHES = 10
_TRIED_CHARACTERS = 100_000


@dataclass(frozen=True)
class Documents:
    """The documents given to `fit`, tokenized, and the tokens that `min_df` keeps.

    Attributes
    ----------
    corpus : Corpus
        The documents with an in-vocabulary token, in random order, with all their tokens and their
        rows in the teacher's vocabulary.
    in_vocabulary : Corpus
        The same documents, with the tokens that `transform` would pool and their rows in the table.
    tokens : ndarray of int, shape (n_tokens,)
        The row in the teacher's vocabulary of each token in the table, in ascending order.
    least : float
        The minimum document frequency of a token or bigram to be kept.
    n_lsa : int
        Number of LSA features.
    seed : int
        Seed of the order and of the LSA solver.
    """

    corpus: Corpus
    in_vocabulary: Corpus
    tokens: NDArray[np.integer[Any]]
    least: float
    n_lsa: int
    seed: int


@dataclass(frozen=True)
class Rows:
    """The rows of a table before it is stored.

    Attributes
    ----------
    tokens : ndarray of int, shape (n_tokens,)
        The row in the teacher's vocabulary of each token, in ascending order.
    vectors : ndarray of float32, shape (n_tokens + n_bigrams, n_features)
        One vector per row.
    bigrams : Bigrams or None
        The bigrams, whose rows follow those of the tokens.
    """

    tokens: NDArray[np.integer[Any]]
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
    """Give up the engine if its tokens differ from the original ones on real documents.

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
    # Of a giant document, a part is enough: the original tokenizer takes 30 times its memory.
    if all(agrees(tokenizer, [d[:_TRIED_CHARACTERS] for d in documents[batch]]) for batch in tried):
        return tokenizer
    return FastTokenizer(tokenizer.vocabulary, None)


def read_documents(
    documents: list[str],
    tokenizer: FastTokenizer,
    *,
    max_length: int | None,
    lsa_components: int | Literal["auto"],
    min_df: float,
    random_state: int | np.random.RandomState | None,
) -> Documents:
    """Tokenize the documents given to `fit`, and select the tokens of the table.

    Parameters
    ----------
    documents : list of str
        The documents.
    tokenizer : FastTokenizer
        Maps documents to the rows of their tokens.
    max_length : int or None
        Number of tokens to which each document is truncated; None does not truncate.
    lsa_components : int or "auto"
        Number of LSA features. "auto" is 128, or the number of documents with an in-vocabulary
        token if that is smaller.
    min_df : int or float
        The minimum document frequency of a token to be kept; a float is a proportion of the
        documents. 0 keeps all tokens of the vocabulary. All others are out-of-vocabulary tokens
        from then on.
    random_state : int, RandomState or None
        Seed of the order of the documents, which otherwise depends only on their content.

    Returns
    -------
    documents : Documents
        The documents and their tokens.

    Raises
    ------
    ValueError
        If no document has an in-vocabulary token, if `min_df` keeps no token, or if fewer documents
        have a remaining token than `lsa_components`.
    """
    if isinstance(random_state, int | np.integer):
        seed = int(random_state)
    else:
        seed = int(check_random_state(random_state).randint(2**31))
    in_order = in_random_order(documents, seed)
    corpus = Corpus.from_documents(in_order, tokenizer)
    in_vocabulary = corpus.in_vocabulary(max_length)
    if not len(in_vocabulary.rows):
        raise ValueError(
            "X has no document with an in-vocabulary token; pass other documents, or a teacher for "
            "their language."
        )
    least = min_df if isinstance(min_df, int | np.integer) else min_df * len(documents)
    tokens = np.arange(len(tokenizer.vocabulary))
    if least > 0:
        tokens = np.flatnonzero(in_vocabulary.document_frequencies(len(tokens)) >= least)
        if not len(tokens):
            raise ValueError(f"After pruning by min_df={min_df} no tokens remain; lower min_df.")
        in_vocabulary = corpus.with_tokens(tokens).in_vocabulary(max_length)
    has_tokens = in_vocabulary.lengths > 0
    corpus, in_vocabulary = corpus.select(has_tokens), in_vocabulary.select(has_tokens)
    n_known = len(corpus)
    automatic = min(_LSA_COMPONENTS, n_known)
    n_lsa = automatic if lsa_components == "auto" else int(lsa_components)
    if n_lsa > n_known:
        raise ValueError(
            f"lsa_components={n_lsa} must be at most {n_known}, the number of "
            "documents in X with an in-vocabulary token; pass more documents or "
            "lsa_components='auto'."
        )
    return Documents(corpus, in_vocabulary, tokens, least, n_lsa, seed)


def vocabulary_table(
    outputs: "Outputs",
    tokenizer: FastTokenizer,
    tokens: NDArray[np.integer[Any]],
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
        The teacher's tokenizer.
    tokens : ndarray of int, shape (n_tokens,)
        The rows of some tokens in its vocabulary, in ascending order.
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
    probabilities = zipf_probabilities(len(tokenizer.vocabulary))[tokens]
    check_sif_coefficient(sif_coefficient, probabilities, quantize)
    vectors, shares = pca(_token_outputs(outputs, tokens, n_components), n_components)
    vectors = _weighted(vectors, probabilities, sif_coefficient)
    return Rows(tokens, vectors.astype(np.float32)), shares


def corpus_table(
    outputs: "Outputs",
    tokenizer: FastTokenizer,
    documents: Documents,
    *,
    n_components: float | None,
    sif_coefficient: float | None,
    alpha: float,
    bigrams: bool,
    max_bigrams: int | None,
    max_length: int | None,
    max_teacher_tokens: int | None,
) -> tuple[Rows, NDArray[np.float64]]:
    """Fit token vectors to the teacher's embeddings of documents, smoothed and scaled.

    Parameters
    ----------
    outputs : Outputs
        The teacher.
    tokenizer : FastTokenizer
        The teacher's tokenizer.
    documents : Documents
        The documents, and the tokens that get a row.
    n_components : int, float or None
        The number of leading directions, as in `leading_directions`.
    sif_coefficient : float or None
        The coefficient of the weights from which the fit starts; None gives all tokens the weight
        1.
    alpha : float
        Strength of the ridge penalty.
    bigrams : bool
        Whether bigrams get rows.
    max_bigrams : int or None
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
    corpus, tokens = documents.corpus, documents.tokens
    probabilities = zipf_probabilities(len(tokenizer.vocabulary))[tokens]
    check_sif_coefficient(sif_coefficient, probabilities, None)
    inputs = outputs.inputs.of_documents(corpus, max_teacher_tokens)
    # The teacher truncates long documents; only the part that it reads can explain an embedding.
    limit = min((n for n in (outputs.inputs.room, max_length) if n is not None), default=None)
    read = corpus.first(len(inputs)).with_tokens(tokens).in_vocabulary(limit)
    if not len(read.rows):
        raise ValueError(
            f"No document in X has an in-vocabulary token among its first {limit} tokens, which "
            "are all that the teacher reads; use distill_on='vocabulary' or a teacher with a "
            "larger maximum length."
        )
    token_outputs = centered(_token_outputs(outputs, tokens, n_components))
    embeddings = outputs.of_documents(inputs)
    n_distinct, n_read = len(set(corpus.documents)), len(set(read.documents))
    if n_read < n_distinct:
        warn(
            f"The teacher read {n_read} of {n_distinct} distinct documents, limited by "
            f"max_teacher_tokens={max_teacher_tokens}{outputs.duration(n_distinct - n_read)}."
        )
    directions, shares = leading_directions(embeddings, token_outputs, n_components)
    n_tokens = len(tokens)
    learned = most_frequent_bigrams(read, n_tokens, max_bigrams) if bigrams else None
    counts = read.counts(n_tokens, learned)
    n_fitted = np.count_nonzero(shares)
    scales = column_scales(shares, len(embeddings))
    targets = smoothed(embeddings @ directions[:, :n_fitted]) * scales[:n_fitted]
    start = _weighted(token_outputs @ directions * scales, probabilities, sif_coefficient)
    vectors = fit_rows(counts, read.lengths, token_outputs, start[:, :n_fitted], targets, alpha)
    if n_fitted < len(shares):
        vectors = with_unfitted_columns(vectors, start)
    return Rows(tokens, vectors, learned), shares


def static_rows(static: StaticTable, tokens: NDArray[np.integer[Any]]) -> Rows:
    """Select rows of a static embedding model.

    Parameters
    ----------
    static : StaticTable
        The model.
    tokens : ndarray of int, shape (n_tokens,)
        The rows of the tokens to keep, in ascending order.

    Returns
    -------
    rows : Rows
        The rows of these tokens, and of the bigrams that consist of them.
    """
    n_tokens = len(static.vocabulary)
    kept = np.zeros(len(static.stored), dtype=bool)
    kept[tokens] = True
    bigrams = static.bigrams
    if bigrams is not None:
        kept[n_tokens:] = kept[bigrams.pairs].all(axis=1)
        new_row = (np.cumsum(kept[:n_tokens]) - 1).astype(np.int32)
        bigrams = Bigrams(new_row[bigrams.pairs[kept[n_tokens:]]], len(tokens))
    return Rows(
        tokens, static.vectors() if kept.all() else static.vectors(np.flatnonzero(kept)), bigrams
    )


def finish(
    rows: Rows,
    tokenizer: FastTokenizer,
    documents: Documents | None,
    *,
    bigrams: bool,
    max_bigrams: int | None,
    quantize: Quantize,
) -> StaticTable:
    """Append LSA features, drop the rows of rare bigrams, and store the rest.

    Parameters
    ----------
    rows : Rows
        The rows of tokens and bigrams.
    tokenizer : FastTokenizer
        The teacher's tokenizer.
    documents : Documents or None
        The documents; None leaves the rows unchanged.
    bigrams : bool
        Whether to add rows for bigrams if there are none yet but there are LSA features; all other
        features of these rows are zero.
    max_bigrams : int or None
        The maximum number of bigrams; None sets no limit.
    quantize : {"float16", "int8"} or None
        How the table is stored.

    Returns
    -------
    table : StaticTable
        The table.

    Raises
    ------
    ValueError
        If a value is too large for float16.
    """
    if documents is not None:
        rows = _with_lsa(rows, documents, bigrams, max_bigrams)
    if len(rows.tokens) < len(tokenizer.vocabulary):
        whole = tokenizer.vocabulary
        vocabulary = Vocabulary(whole.original, whole.token_ids[rows.tokens])
        tokenizer = FastTokenizer(vocabulary, tokenizer.composition)
    return StaticTable.from_vectors(tokenizer, rows.vectors, quantize, rows.bigrams)


def _with_lsa(rows: Rows, documents: Documents, bigrams: bool, max_bigrams: int | None) -> Rows:
    vectors, learned = rows.vectors, rows.bigrams
    corpus, n_tokens = documents.in_vocabulary, len(rows.tokens)
    if bigrams and documents.n_lsa and learned is None:
        learned = most_frequent_bigrams(corpus, n_tokens, max_bigrams)
        vectors = np.pad(vectors, ((0, len(learned)), (0, 0)))
    counts = corpus.counts(n_tokens, learned)
    vectors = with_lsa_rows(vectors, counts, documents.n_lsa, documents.seed)
    # All tokens are in enough documents, but bigrams may be rarer than their tokens.
    kept = np.bincount(counts.indices, minlength=len(vectors)) >= documents.least
    if learned is not None and not kept.all():
        vectors = vectors[kept]
        learned = Bigrams(learned.pairs[kept[n_tokens:]], n_tokens)
    return Rows(rows.tokens, vectors, learned)


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


def _token_outputs(
    outputs: "Outputs", tokens: NDArray[np.integer[Any]], n_components: float | None
) -> NDArray[np.float32]:
    """Run the teacher on tokens; raise after the first ones if `n_components` is too large."""
    first = outputs.of_tokens(tokens[:_FIRST_TOKENS])
    check_n_components(n_components, first.shape[1])
    rest = tokens[_FIRST_TOKENS:]
    return np.concatenate([first, outputs.of_tokens(rest)]) if len(rest) else first


def _weighted(
    vectors: NDArray[np.float64],
    probabilities: NDArray[np.float64],
    sif_coefficient: float | None,
) -> NDArray[np.float64]:
    """Multiply the vector of each token by its SIF weight."""
    if sif_coefficient is None:
        return vectors
    return vectors * sif_weights(probabilities, sif_coefficient)[:, None]
