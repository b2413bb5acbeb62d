"""The documents given to `fit`, tokenized once."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from hashlib import blake2b
from itertools import islice
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_matrix
from sklearn.utils import check_random_state

from sklearn_static._serve import FastTokenizer
from sklearn_static._serve.bigrams import Bigrams, bigram_keys
from sklearn_static._serve.documents import batches
from sklearn_static._serve.tokens import Tokens

_AUTO_LSA_COMPONENTS = 128
# Number of batches of documents on which the engine is compared with the original tokenizer. Of a
# giant document, a part is enough: the original tokenizer takes 30 times its memory.
_TRIED_BATCHES = 10
_TRIED_CHARACTERS = 100_000


@dataclass(frozen=True, eq=False)
class Corpus:
    """The documents given to `fit` that have an in-vocabulary token, in random order.

    Attributes
    ----------
    documents : list of str
        The documents.
    tokens : Tokens
        All their tokens, as rows of the model's vocabulary.
    kept : ndarray of int, shape (n_tokens,)
        The row in the model's vocabulary of each token that gets a vector, in ascending order.
    known : Tokens
        The tokens that `transform` would pool, as places in `kept`.
    max_length : int or None
        Number of tokens to which `transform` truncates each document; None does not truncate.
    least : float
        The minimum document frequency of a token or bigram to be kept.
    n_lsa : int
        Number of LSA features.
    seed : int
        Seed of the order and of the LSA solver.
    """

    documents: list[str]
    tokens: Tokens
    kept: NDArray[np.integer[Any]]
    known: Tokens
    max_length: int | None = None
    least: float = 0
    n_lsa: int = 0
    seed: int = 0
    _counts: dict[Bigrams | None, csr_matrix] = field(default_factory=dict, repr=False)

    @property
    def is_used(self) -> bool:
        """Whether anything depends on the documents."""
        return bool(self.documents)

    def counts(self, bigrams: Bigrams | None) -> csr_matrix:
        """Count what `transform` would pool, once for the same bigrams.

        Parameters
        ----------
        bigrams : Bigrams or None
            The bigrams, whose rows follow those of the tokens.

        Returns
        -------
        counts : csr_matrix of float32, shape (n_documents, n_rows)
            How often each row occurs in each document.
        """
        if bigrams not in self._counts:
            self._counts[bigrams] = count(self.known, len(self.kept), bigrams)
        return self._counts[bigrams]

    def known_among(self, n_documents: int, limit: int | None) -> Tokens:
        """Return what `transform` would pool of the first tokens of the first documents.

        Parameters
        ----------
        n_documents : int
            Number of documents.
        limit : int or None
            Number of tokens of each, including those without a vector; None means all.

        Returns
        -------
        known : Tokens
            A view of `known` if the limit makes no difference.
        """
        tokens = self.tokens.first(n_documents)
        longest = tokens.lengths.max(initial=0)
        if limit is None or min(longest, self.max_length or longest) <= limit:
            return self.known.first(n_documents)
        return tokens.renumbered(self.kept).in_vocabulary(limit)

    def counts_of(self, known: Tokens, bigrams: Bigrams | None) -> csr_matrix:
        """Count the result of `known_among`, together with all documents if these are needed."""
        is_part = np.may_share_memory(known.rows, self.known.rows)
        if is_part and (self.n_lsa or self.least):
            return self.counts(bigrams)[: known.n_documents]
        return count(known, len(self.kept), bigrams)


def read_corpus(
    documents: list[str],
    tokenizer: FastTokenizer,
    *,
    is_used: bool,
    lsa_components: int | Literal["auto"],
    max_length: int | None,
    min_df: float,
    random_state: int | np.random.RandomState | None,
) -> tuple[Corpus, FastTokenizer]:
    """Tokenize the documents given to `fit`, and select the tokens that get a vector.

    Parameters
    ----------
    documents : list of str
        The documents.
    tokenizer : FastTokenizer
        The engine's equivalent of the original tokenizer.
    is_used : bool
        Whether anything depends on the documents. Otherwise the engine is compared with the
        original tokenizer on the first ones, and the corpus is empty, with all tokens.
    lsa_components : int or "auto"
        Number of LSA features. "auto" is 128, or the number of documents with an in-vocabulary
        token if that is smaller.
    max_length : int or None
        Number of tokens to which `transform` truncates each document; None does not truncate.
    min_df : int or float
        The minimum document frequency of a token to be kept; a float is a proportion of the
        documents. 0 keeps all tokens of the vocabulary. All others are out-of-vocabulary tokens
        from then on.
    random_state : int, RandomState or None
        Seed of the order of the documents, which otherwise depends only on their content.

    Returns
    -------
    corpus : Corpus
        The documents and their tokens.
    tokenizer : FastTokenizer
        The same tokenizer, or one that leaves all documents to the original.

    Raises
    ------
    ValueError
        If no document has an in-vocabulary token, if `min_df` keeps no token, or if fewer documents
        have a remaining token than `lsa_components`.
    """
    if not is_used:
        if tokenizer.composition is not None:
            tried = list(islice(batches(documents), _TRIED_BATCHES))
            _, tokenizer = tokenize(documents[: tried[-1].stop], tokenizer)
        nothing = Tokens.concatenated([])
        return Corpus([], nothing, np.arange(len(tokenizer.vocabulary)), nothing), tokenizer
    tokens, tokenizer = tokenize(documents, tokenizer)
    known = tokens.in_vocabulary(max_length)
    if not len(known.rows):
        raise ValueError(
            "X has no document with an in-vocabulary token; pass other documents, or a teacher for "
            "their language."
        )
    least = min_df if isinstance(min_df, int | np.integer) else min_df * len(documents)
    kept = np.arange(len(tokenizer.vocabulary))
    if least > 0:
        kept = np.flatnonzero(document_frequencies(count(known, len(kept), None)) >= least)
        if not len(kept):
            raise ValueError(f"After pruning by min_df={min_df} no tokens remain; lower min_df.")
        known = tokens.renumbered(kept).in_vocabulary(max_length)
    if isinstance(random_state, int | np.integer):
        seed = int(random_state)
    else:
        seed = int(check_random_state(random_state).randint(2**31))
    order = random_order(documents, seed)
    order = order[known.lengths[order] > 0]
    n_lsa = (
        min(_AUTO_LSA_COMPONENTS, len(order)) if lsa_components == "auto" else int(lsa_components)
    )
    if n_lsa > len(order):
        raise ValueError(
            f"lsa_components={n_lsa} must be at most {len(order)}, the number of documents in X "
            "with an in-vocabulary token; pass more documents or lsa_components='auto'."
        )
    in_order = [documents[i] for i in order]
    all_known = known is tokens
    tokens = tokens.take(order)
    known = tokens if all_known else known.take(order)
    return Corpus(in_order, tokens, kept, known, max_length, least, n_lsa, seed), tokenizer


def tokenize(documents: list[str], tokenizer: FastTokenizer) -> tuple[Tokens, FastTokenizer]:
    """Tokenize documents, and give the engine up if it differs from the original tokenizer.

    Parameters
    ----------
    documents : list of str
        The documents; both are compared on the first batches.
    tokenizer : FastTokenizer
        The engine's equivalent of the original tokenizer.

    Returns
    -------
    tokens : Tokens
        The tokens of all documents.
    tokenizer : FastTokenizer
        The same tokenizer, or one that leaves all documents to the original.
    """
    parts = []
    n_left = _TRIED_BATCHES if tokenizer.composition is not None else 0
    for batch in batches(documents):
        tokens = Tokens(*tokenizer.tokenize(documents[batch]).to_arrays())
        if n_left and not _agrees(tokens, documents[batch], tokenizer):
            return tokenize(documents, FastTokenizer(tokenizer.vocabulary, None))
        n_left -= n_left > 0
        parts.append(tokens)
    return Tokens.concatenated(parts), tokenizer


def _agrees(tokens: Tokens, documents: list[str], tokenizer: FastTokenizer) -> bool:
    """Check whether these tokens of documents are those of the original tokenizer."""
    if max(map(len, documents)) > _TRIED_CHARACTERS:
        documents = [document[:_TRIED_CHARACTERS] for document in documents]
        tokens = Tokens(*tokenizer.tokenize(documents).to_arrays())
    rows, offsets = tokenizer.vocabulary.tokens(documents)
    return np.array_equal(tokens.rows, rows) and np.array_equal(tokens.offsets, offsets)


def count(tokens: Tokens, n_tokens: int, bigrams: Bigrams | None) -> csr_matrix:
    """Count how often each row occurs in each document.

    Parameters
    ----------
    tokens : Tokens
        The documents' tokens, all of which have a row.
    n_tokens : int
        The number of rows for tokens.
    bigrams : Bigrams or None
        The bigrams, whose rows follow those of the tokens.

    Returns
    -------
    counts : csr_matrix of float32, shape (n_documents, n_rows)
        The counts.
    """
    rows, offsets = tokens if bigrams is None else bigrams.insert(tokens)
    n_rows = n_tokens + (0 if bigrams is None else len(bigrams))
    ones = np.ones(len(rows), dtype=np.float32)
    shape = (tokens.n_documents, n_rows)
    counts = csr_matrix((ones, rows.copy(), offsets.copy()), shape=shape)
    counts.sum_duplicates()  # in place, hence the copies
    return counts


def document_frequencies(counts: csr_matrix) -> NDArray[np.int64]:
    """Return the number of documents that contain each row, given the result of `count`."""
    return np.bincount(counts.indices, minlength=counts.shape[1])


def random_order(documents: Iterable[str], seed: int) -> NDArray[np.int64]:
    """Order documents by a seeded hash of each, independently of their given order.

    Two sets that share most of their documents then begin with almost the same ones, so that the
    teacher reads the same documents in all folds of a cross-validation.

    Parameters
    ----------
    documents : iterable of str
        The documents.
    seed : int
        A seed from 0 to 2**32 - 1.

    Returns
    -------
    order : ndarray of int64, shape (n_documents,)
        The places of the documents in the new order.
    """
    key = seed.to_bytes(8, "little")
    hashed = [
        (blake2b(document.encode(), digest_size=8, key=key).digest(), document)
        for document in documents
    ]
    return np.array(sorted(range(len(hashed)), key=hashed.__getitem__), dtype=np.int64)


def most_frequent_bigrams(tokens: Tokens, n_tokens: int, max_bigrams: int | None) -> Bigrams | None:
    """Choose the bigrams with the highest document frequency, which must be at least 2.

    Parameters
    ----------
    tokens : Tokens
        The documents' tokens, all of which have a row.
    n_tokens : int
        The number of rows for tokens.
    max_bigrams : int or None
        The maximum number of bigrams; None keeps all.

    Returns
    -------
    bigrams : Bigrams or None
        The bigrams by descending document frequency, then by the rows of their tokens; None if
        `max_bigrams` is 0.
    """
    if max_bigrams == 0:
        return None
    rows = tokens.rows
    documents = np.repeat(np.arange(tokens.n_documents), tokens.lengths)
    within = documents[1:] == documents[:-1]
    keys = bigram_keys(rows, n_tokens)[within]
    order = np.lexsort((documents[1:][within], keys))
    keys, documents = keys[order], documents[1:][within][order]
    # A document frequency ignores repetitions within a document.
    new = np.ones(len(keys), dtype=bool)
    new[1:] = (keys[1:] != keys[:-1]) | (documents[1:] != documents[:-1])
    distinct, frequencies = np.unique(keys[new], return_counts=True)
    distinct, frequencies = distinct[frequencies >= 2], frequencies[frequencies >= 2]
    chosen = distinct[np.argsort(-frequencies, kind="stable")[:max_bigrams]]
    return Bigrams(np.stack(np.divmod(chosen, n_tokens), axis=1).astype(np.int32), n_tokens)
