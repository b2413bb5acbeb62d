"""The documents given to `fit`, tokenized once."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import Any, Literal
from zlib import crc32

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_matrix
from sklearn.utils import check_random_state

from sklearn_static._distill.passages import Passages, beginnings
from sklearn_static._serve import FastTokenizer
from sklearn_static._serve.bigrams import Bigrams, bigram_keys
from sklearn_static._serve.documents import batches
from sklearn_static._serve.tokens import Tokens
from sklearn_static._warnings import warn

_AUTO_LSA_COMPONENTS = 128
# Number of documents on which the engine is compared with the original tokenizer, and of their
# characters. Of a giant document, a part is enough: the original takes 30 times its memory.
_TRIED_DOCUMENTS = 1000
_TRIED_CHARACTERS = 250_000


@dataclass(frozen=True, eq=False)
class Corpus:
    """The documents given to `fit` that have an in-vocabulary token, in random order.

    Attributes
    ----------
    documents : list of str
        The documents, without duplicates.
    repeats : ndarray of int64, shape (n_documents,)
        How often each was given.
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
    original_share : float
        Share of the documents that the engine left to the original tokenizer.
    """

    documents: list[str]
    repeats: NDArray[np.int64]
    tokens: Tokens
    kept: NDArray[np.integer[Any]]
    known: Tokens
    max_length: int | None = None
    least: float = 0
    n_lsa: int = 0
    seed: int = 0
    original_share: float = 0.0
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

    @property
    def lengths(self) -> NDArray[np.int64]:
        """Number of tokens of each document that `transform` reads, shape (n_documents,)."""
        lengths = self.tokens.lengths
        return lengths if self.max_length is None else np.minimum(lengths, self.max_length)

    def content_hashes(self) -> NDArray[np.int64]:
        """Return a number of each document that depends on its tokens only."""
        hashes = (crc32(self.tokens.of(i).tobytes()) for i in range(len(self.documents)))
        return np.fromiter(hashes, np.int64, len(self.documents))

    def known_in(self, passages: Passages) -> Tokens:
        """Return what `transform` would pool of passages.

        Parameters
        ----------
        passages : Passages
            Parts of the documents, including tokens without a vector.

        Returns
        -------
        known : Tokens
            A view of `known` if the passages are the first documents as a whole.
        """
        n = len(passages.documents)
        if n <= len(self.documents) and np.array_equal(
            passages, beginnings(self.lengths[:n], None)
        ):
            return self.known.first(n)
        return passages.of(self.tokens).renumbered(self.kept).in_vocabulary(None)

    def counts_of(self, known: Tokens, bigrams: Bigrams | None) -> csr_matrix:
        """Count the result of `known_in`, together with all documents if these are needed."""
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
        original tokenizer on a sample of them, and the corpus is empty, with all tokens.
    lsa_components : int or "auto"
        Number of LSA features; at most the number of documents with an in-vocabulary token. "auto"
        is 128.
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
        If no document has an in-vocabulary token, or if `min_df` keeps no token.

    Warns
    -----
    UserWarning
        If `lsa_components` is an int that is reduced.
    """
    n_before = tokenizer.n_original
    sample = _sample(documents)
    tokenizer = checked(tokenizer, sample)
    if not is_used:
        is_given_up = tokenizer.composition is None
        share = 1.0 if is_given_up else (tokenizer.n_original - n_before) / len(sample)
        nobody, nothing = np.zeros(0, dtype=np.int64), Tokens.concatenated([])
        kept = np.arange(len(tokenizer.vocabulary))
        return Corpus([], nobody, nothing, kept, nothing, original_share=share), tokenizer
    n_documents = len(documents)
    documents, repeats = _distinct(documents)
    n_before = tokenizer.n_original
    tokens = tokenize(documents, tokenizer)
    share = (tokenizer.n_original - n_before) / len(documents)
    known = tokens.in_vocabulary(max_length)
    if not len(known.rows):
        raise ValueError(
            "X has no document with an in-vocabulary token; pass other documents, or a teacher for "
            "their language."
        )
    least = min_df if isinstance(min_df, int | np.integer) else min_df * n_documents
    kept = np.arange(len(tokenizer.vocabulary))
    if least > 0:
        frequencies = document_frequencies(count(known, len(kept), None), repeats)
        kept = np.flatnonzero(frequencies >= least)
        if not len(kept):
            raise ValueError(f"After pruning by min_df={min_df} no tokens remain; lower min_df.")
        known = tokens.renumbered(kept).in_vocabulary(max_length)
    if isinstance(random_state, int | np.integer):
        seed = int(random_state)
    else:
        seed = int(check_random_state(random_state).randint(2**31))
    order = random_order(documents, seed)
    order = order[known.lengths[order] > 0]
    repeats = repeats[order]
    n_lsa = _n_lsa(lsa_components, int(repeats.sum()))
    in_order = [documents[i] for i in order]
    all_known = known is tokens
    tokens = tokens.take(order)
    known = tokens if all_known else known.take(order)
    corpus = Corpus(
        in_order, repeats, tokens, kept, known, max_length, least, n_lsa, seed, original_share=share
    )
    return corpus, tokenizer


def _distinct(documents: list[str]) -> tuple[list[str], NDArray[np.int64]]:
    """Return each document once, and how often it was given."""
    numbers = Counter(documents)
    if len(numbers) == len(documents):
        return documents, np.ones(len(documents), dtype=np.int64)
    return list(numbers), np.fromiter(numbers.values(), np.int64, len(numbers))


def _n_lsa(lsa_components: int | Literal["auto"], n_documents: int) -> int:
    """Return the number of LSA features, which is at most that of the documents."""
    wanted = _AUTO_LSA_COMPONENTS if lsa_components == "auto" else int(lsa_components)
    if wanted > n_documents and lsa_components != "auto":
        # A search that starts with few documents must not fail.
        warn(
            f"lsa_components={wanted} is reduced to {n_documents}, the number of documents in X "
            "with an in-vocabulary token."
        )
    return min(wanted, n_documents)


def tokenize(documents: list[str], tokenizer: FastTokenizer) -> Tokens:
    """Tokenize documents in batches, which bounds the memory that this needs."""
    return Tokens.concatenated(
        [Tokens(*tokenizer.tokenize(documents[batch]).to_arrays()) for batch in batches(documents)]
    )


def _sample(documents: list[str]) -> list[str]:
    """Take documents at equal distances, and of long ones the beginning."""
    sample = documents[:: 1 + len(documents) // _TRIED_DOCUMENTS]
    longest = _TRIED_CHARACTERS // max(len(sample), 1)
    return [document[:longest] for document in sample]


def checked(tokenizer: FastTokenizer, documents: list[str]) -> FastTokenizer:
    """Give the engine up if it differs from the original tokenizer.

    Parameters
    ----------
    tokenizer : FastTokenizer
        The engine's equivalent of the original tokenizer.
    documents : list of str
        Documents on which both are compared.

    Returns
    -------
    tokenizer : FastTokenizer
        The same tokenizer, or one that leaves all documents to the original.
    """
    if tokenizer.composition is None:
        return tokenizer
    tokens = tokenize(documents, tokenizer)
    rows, offsets = tokenizer.vocabulary.tokens(documents)
    if np.array_equal(tokens.rows, rows) and np.array_equal(tokens.offsets, offsets):
        return tokenizer
    return FastTokenizer(tokenizer.vocabulary, None)


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


def document_frequencies(counts: csr_matrix, repeats: NDArray[np.int64]) -> NDArray[np.int64]:
    """Count the documents that contain each row.

    Parameters
    ----------
    counts : csr_matrix, shape (n_documents, n_rows)
        The result of `count`.
    repeats : ndarray of int64, shape (n_documents,)
        How often each document was given.

    Returns
    -------
    frequencies : ndarray of int64, shape (n_rows,)
        The document frequencies.
    """
    frequencies: NDArray[np.int64] = counts.astype(bool).T @ repeats
    return frequencies


def random_order(documents: Sequence[str], seed: int) -> NDArray[np.int64]:
    """Order documents by a seeded hash of each, independently of their given order.

    Two sets that share most of their documents then begin with almost the same ones, so that the
    teacher reads the same documents in all folds of a cross-validation.

    Parameters
    ----------
    documents : sequence of str
        The documents.
    seed : int
        A seed from 0 to 2**32 - 1.

    Returns
    -------
    order : ndarray of int64, shape (n_documents,)
        The places of the documents in the new order.
    """
    key = seed.to_bytes(8, "little")
    digests = (blake2b(text.encode(), digest_size=8, key=key).digest() for text in documents)
    hashes = np.frombuffer(b"".join(digests), dtype=">u8").astype(np.uint64)
    order = np.argsort(hashes, kind="stable")
    if (hashes[order[1:]] == hashes[order[:-1]]).any():  # hardly ever without duplicates
        order = np.array(
            sorted(range(len(hashes)), key=lambda i: (hashes[i], documents[i])), dtype=np.int64
        )
    return order


def most_frequent_bigrams(
    tokens: Tokens,
    repeats: NDArray[np.int64],
    n_tokens: int,
    max_bigrams: int | None,
    documents: NDArray[np.integer[Any]] | None = None,
) -> Bigrams | None:
    """Choose the bigrams with the highest document frequency, which must be at least 2.

    Parameters
    ----------
    tokens : Tokens
        The tokens of documents or passages, all of which have a row.
    repeats : ndarray of int64, shape (n_passages,)
        How often each was given.
    n_tokens : int
        The number of rows for tokens.
    max_bigrams : int or None
        The maximum number of bigrams; None keeps all.
    documents : ndarray of int, shape (n_passages,), or None, default=None
        The number of each passage's document; None means whole documents.

    Returns
    -------
    bigrams : Bigrams or None
        The bigrams by descending document frequency, then by the rows of their tokens; None if
        `max_bigrams` is 0.
    """
    if max_bigrams == 0:
        return None
    if documents is None:
        documents = np.arange(tokens.n_documents)
    n_documents = int(documents.max(initial=-1)) + 1
    repeats_of = np.zeros(n_documents, dtype=np.int64)
    repeats_of[documents] = repeats
    passage = np.repeat(np.arange(tokens.n_documents), tokens.lengths)
    within = passage[1:] == passage[:-1]
    # The bigram and the document as one integer, as sorting pairs takes several times as long.
    found = bigram_keys(tokens.rows, n_tokens)[within] * n_documents
    found += documents[passage[1:][within]]
    found.sort()
    # A document frequency ignores repetitions within a document.
    found = found[np.diff(found, prepend=-1) != 0]
    keys, of_key = np.divmod(found, max(n_documents, 1))
    starts = np.flatnonzero(np.diff(keys, prepend=-1))
    frequencies = np.add.reduceat(repeats_of[of_key], starts) if len(starts) else starts
    distinct, frequencies = keys[starts][frequencies >= 2], frequencies[frequencies >= 2]
    chosen = distinct[np.argsort(-frequencies, kind="stable")[:max_bigrams]]
    return Bigrams(np.stack(np.divmod(chosen, n_tokens), axis=1).astype(np.int32), n_tokens)
