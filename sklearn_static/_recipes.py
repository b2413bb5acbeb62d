"""The steps of `fit`: from documents and a teacher's outputs to the rows of a table."""

from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray

from sklearn_static._bigrams import Bigrams, most_frequent_bigrams
from sklearn_static._corpus import Corpus, in_random_order
from sklearn_static._distill import (
    leading_directions,
    pca,
    sif_weights,
    with_unfitted_columns,
    zipf_probabilities,
)
from sklearn_static._documents import batches
from sklearn_static._lexical import with_lexical_rows
from sklearn_static._ridge import fit_rows
from sklearn_static._serve import FastTokenizer
from sklearn_static._vocabulary import Vocabulary, agrees
from sklearn_static._warnings import warn

if TYPE_CHECKING:
    from sklearn_static._outputs import Outputs

_LEXICAL_COMPONENTS = 128
# How many batches of the documents a rule is tried on.
_TRIED_BATCHES = 10


@dataclass(frozen=True)
class Documents:
    """What `fit` reads of its documents.

    Attributes
    ----------
    corpus : Corpus
        Those with an in-vocabulary token, in random order.
    tokenizer : FastTokenizer
        From documents to rows.
    n_given : int
        How many there are with the others.
    n_lexical : int
        How many lexical components they get.
    seed : int
        The seed of their order.
    """

    corpus: Corpus
    tokenizer: FastTokenizer
    n_given: int
    n_lexical: int
    seed: int


@dataclass(frozen=True)
class Rows:
    """The rows of a table before it is stored.

    Attributes
    ----------
    vocabulary : Vocabulary
        The tokens of the first rows.
    vectors : ndarray of float32, shape (n_tokens + n_bigrams, n_features)
        One vector for each row.
    bigrams : Bigrams or None
        The bigrams of the other rows.
    """

    vocabulary: Vocabulary
    vectors: NDArray[np.float32]
    bigrams: Bigrams | None = None


def exact_tokenizer(
    tokenizer: FastTokenizer, vocabulary: Vocabulary, documents: list[str]
) -> FastTokenizer:
    """Keep a tokenizer if it gives the tokens of the real one, on real documents too.

    Parameters
    ----------
    tokenizer : FastTokenizer
        With the rule that the components of the real one suggest.
    vocabulary : Vocabulary
        The real tokenizer.
    documents : list of str
        What to try it on; may be none.

    Returns
    -------
    tokenizer : FastTokenizer
        The same, or one without a rule.
    """
    tried = islice(batches(documents), _TRIED_BATCHES if tokenizer.rule is not None else 0)
    if all(agrees(tokenizer, vocabulary, documents[batch]) for batch in tried):
        return tokenizer
    return FastTokenizer(vocabulary, None)


def read_documents(
    documents: list[str],
    tokenizer: FastTokenizer,
    *,
    max_length: int | None,
    lexical_components: int | Literal["auto"],
    random_state: int | np.random.RandomState | None,
) -> Documents:
    """Tokenize documents.

    Parameters
    ----------
    documents : list of str
        The documents; may be none.
    tokenizer : FastTokenizer
        From documents to rows.
    max_length : int or None
        How many tokens of each document to read; None reads all.
    lexical_components : int or "auto"
        How many lexical components they get. "auto" is 128, or the number of documents with an
        in-vocabulary token if that is smaller.
    random_state : int, RandomState or None
        Seeds the order of the documents, which otherwise depends on their content alone.

    Returns
    -------
    documents : Documents
        The documents and their tokens.

    Raises
    ------
    ValueError
        If there are documents, but none with an in-vocabulary token or fewer of them than
        lexical components.
    """
    # Without a seed too the candidates of a search must show the teacher the same documents.
    seed = 0 if random_state is None else random_state
    seed = seed.randint(2**31) if isinstance(seed, np.random.RandomState) else int(seed)
    in_order = in_random_order(documents, seed)
    corpus = Corpus.from_documents(in_order, tokenizer, max_length).known()
    n_known = len(corpus.documents)
    if documents and not n_known:
        raise ValueError("X has no document with an in-vocabulary token.")
    automatic = min(_LEXICAL_COMPONENTS, n_known)
    n_lexical = automatic if lexical_components == "auto" else int(lexical_components)
    if n_lexical > n_known:
        raise ValueError(
            f"lexical_components={n_lexical} must be at most {n_known}, the number of "
            "documents in X with an in-vocabulary token; pass more documents or "
            "lexical_components='auto'."
        )
    return Documents(corpus, tokenizer, len(documents), n_lexical, seed)


def vocabulary_table(
    outputs: "Outputs",
    vocabulary: Vocabulary,
    n_components: float | None,
    sif_coefficient: float | None,
) -> tuple[Rows, NDArray[np.float64]]:
    """Make vectors from the teacher's outputs for single tokens.

    Parameters
    ----------
    outputs : Outputs
        The teacher.
    vocabulary : Vocabulary
        The tokens.
    n_components : int, float or None
        The number of principal components.
    sif_coefficient : float or None
        The coefficient of the weights; None gives all tokens the weight 1.

    Returns
    -------
    rows : Rows
        One row for each token.
    explained_variance_ratio : ndarray of float64, shape (n_components,)
        Share of the variance along each axis.
    """
    vectors, shares = pca(outputs.of_vocabulary(), n_components)
    if sif_coefficient is not None:
        vectors *= sif_weights(zipf_probabilities(len(vocabulary)), sif_coefficient)[:, None]
    return Rows(vocabulary, vectors.astype(np.float32)), shares


def corpus_table(
    outputs: "Outputs",
    vocabulary: Vocabulary,
    documents: Documents,
    *,
    n_components: float | None,
    alpha: float,
    bigrams: bool,
    max_features: int | None,
    max_length: int | None,
    max_teacher_tokens: int | None,
) -> tuple[Rows, NDArray[np.float64]]:
    """Fit vectors to the teacher's embeddings of documents.

    Parameters
    ----------
    outputs : Outputs
        The teacher.
    vocabulary : Vocabulary
        The tokens.
    documents : Documents
        The documents.
    n_components : int, float or None
        The number of leading directions.
    alpha : float
        Strength of the ridge.
    bigrams : bool
        Whether bigrams get rows.
    max_features : int or None
        How many bigrams at most.
    max_length : int or None
        How many tokens of each document `transform` reads.
    max_teacher_tokens : int or None
        How many tokens the teacher reads at most.

    Returns
    -------
    rows : Rows
        The fitted rows of tokens and bigrams.
    shares : ndarray of float64, shape (n_components,)
        Share of the embeddings' squared length along each direction.

    Raises
    ------
    ValueError
        If no document has an in-vocabulary token in the part that the teacher reads.

    Warns
    -----
    UserWarning
        If the teacher did not read all documents.
    sklearn.exceptions.ConvergenceWarning
        If the ridge is not solved accurately.
    """
    texts = documents.corpus.documents
    inputs = outputs.inputs_of(texts, max_teacher_tokens)
    # Of a long document the teacher reads a part; only that part can explain its embedding.
    limit = min((n for n in (outputs.room, max_length) if n is not None), default=None)
    read = Corpus.from_documents(texts[: len(inputs)], documents.tokenizer, limit)
    if not len(read.rows):
        raise ValueError(
            f"No document in X has an in-vocabulary token among its first {limit}, which is as "
            "far as the teacher or max_length reads."
        )
    token_outputs = outputs.of_vocabulary().astype(np.float64)
    token_outputs -= token_outputs.mean(axis=0)
    embeddings = outputs.of_texts(inputs)
    n_distinct, n_read = len(set(texts)), len(set(read.documents))
    if n_read < n_distinct:
        warn(
            f"The teacher read {n_read} of {n_distinct} documents, which is as far as "
            f"max_teacher_tokens={max_teacher_tokens} goes{outputs.duration(n_distinct - n_read)}."
        )
    directions, shares = leading_directions(embeddings, token_outputs, n_components)
    learned = _bigrams(read, vocabulary, max_features) if bigrams else None
    counts = read.counts(len(vocabulary), learned)
    n_fitted = np.count_nonzero(shares)
    targets = embeddings @ directions[:, :n_fitted]
    vectors = fit_rows(counts, read.lengths, token_outputs, targets, alpha)
    if n_fitted < len(shares):
        vectors = with_unfitted_columns(vectors, token_outputs @ directions)
    return Rows(vocabulary, vectors, learned), shares


def finish(
    rows: Rows, documents: Documents, *, bigrams: bool, max_features: int | None, min_df: float
) -> Rows:
    """Add the lexical components, and drop the rows of rare tokens and bigrams.

    Parameters
    ----------
    rows : Rows
        The rows so far.
    documents : Documents
        The documents.
    bigrams : bool
        Whether bigrams get rows, if they have none yet and there are lexical components, which
        are then all that is in them.
    max_features : int or None
        How many bigrams at most.
    min_df : int or float
        In how many documents a row must occur to be kept; a float is a share of them.

    Returns
    -------
    rows : Rows
        The rows of the table.

    Raises
    ------
    ValueError
        If no token is left.
    """
    if not (documents.n_lexical or min_df):
        return rows
    vocabulary, vectors, learned = rows.vocabulary, rows.vectors, rows.bigrams
    if bigrams and documents.n_lexical and learned is None:
        learned = _bigrams(documents.corpus, vocabulary, max_features)
        vectors = np.pad(vectors, ((0, len(learned)), (0, 0)))
    counts = documents.corpus.counts(len(vocabulary), learned)
    vectors = with_lexical_rows(vectors, counts, documents.n_lexical, documents.seed)
    least = min_df if isinstance(min_df, int | np.integer) else min_df * documents.n_given
    kept = np.bincount(counts.indices, minlength=len(vectors)) >= least
    if not kept[: len(vocabulary)].any():
        raise ValueError(f"After pruning by min_df={min_df} no tokens remain; lower min_df.")
    rows = Rows(vocabulary, vectors, learned)
    return rows if kept.all() else _kept_rows(rows, kept)


def _bigrams(corpus: Corpus, vocabulary: Vocabulary, max_features: int | None) -> Bigrams:
    return most_frequent_bigrams(corpus.rows, corpus.offsets, len(vocabulary), max_features)


def _kept_rows(rows: Rows, kept: NDArray[np.bool_]) -> Rows:
    """Leave out the other rows; both tokens of a kept bigram are kept as well."""
    n_tokens = len(rows.vocabulary)
    kept_tokens = kept[:n_tokens]
    vocabulary = Vocabulary(rows.vocabulary.tokenizer, rows.vocabulary.token_ids[kept_tokens])
    bigrams = None
    if rows.bigrams is not None:
        new_row = (np.cumsum(kept_tokens) - 1).astype(np.int32)
        bigrams = Bigrams(new_row[rows.bigrams.pairs[kept[n_tokens:]]], len(vocabulary))
    return Rows(vocabulary, rows.vectors[kept], bigrams)
