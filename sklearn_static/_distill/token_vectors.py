"""Token vectors while `fit` computes them: appended to, pruned, and finally stored as a table."""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sklearn_static._distill.corpus import Corpus, document_frequencies, most_frequent_bigrams
from sklearn_static._distill.lsa import with_lsa_columns
from sklearn_static._serve import FastTokenizer
from sklearn_static._serve.bigrams import Bigrams
from sklearn_static._serve.table import Quantize, StaticTable
from sklearn_static._serve.vocabulary import Vocabulary


@dataclass(frozen=True)
class TokenVectors:
    """Vectors of tokens and bigrams.

    Attributes
    ----------
    kept : ndarray of int, shape (n_tokens,)
        The row in the model's vocabulary of each token, in ascending order.
    vectors : ndarray of float32, shape (n_tokens + n_bigrams, n_features)
        One vector per token, then one per bigram.
    bigrams : Bigrams or None
        The bigrams.
    explained_variance_ratio : ndarray of float64, shape (n_components,), or None
        Share of the variance that each component explains; None if nothing was reduced.
    n_lsa : int
        Number of LSA features, which are the last ones.
    stored_as : {"float16", "int8"} or None
        How a static embedding model stores them; None is float32.
    """

    kept: NDArray[np.integer[Any]]
    vectors: NDArray[np.float32]
    bigrams: Bigrams | None = None
    explained_variance_ratio: NDArray[np.float64] | None = None
    n_lsa: int = 0
    stored_as: Quantize = None

    @property
    def n_components(self) -> int:
        """Number of features excluding LSA features."""
        return int(self.vectors.shape[1]) - self.n_lsa

    def with_lsa(self, corpus: Corpus, max_bigrams: int | None) -> "TokenVectors":
        """Append the corpus's LSA features, if there are any.

        Parameters
        ----------
        corpus : Corpus
            The documents.
        max_bigrams : int or None
            The maximum number of bigrams to add if there are none yet; None sets no limit. All
            their other features are zero.

        Returns
        -------
        vectors : TokenVectors
            The longer vectors.
        """
        if not corpus.n_lsa:
            return self
        vectors, bigrams = self.vectors, self.bigrams
        if bigrams is None:
            bigrams = most_frequent_bigrams(
                corpus.known, corpus.repeats, len(self.kept), max_bigrams
            )
            n_bigrams = 0 if bigrams is None else len(bigrams)
            vectors = np.pad(vectors, ((0, n_bigrams), (0, 0))) if n_bigrams else vectors
        counts = corpus.counts(bigrams)
        vectors = with_lsa_columns(vectors, counts, corpus.repeats, corpus.n_lsa, corpus.seed)
        return replace(self, vectors=vectors, bigrams=bigrams, n_lsa=corpus.n_lsa)

    def pruned(self, corpus: Corpus) -> "TokenVectors":
        """Drop bigrams with a document frequency below the minimum, unlike their tokens."""
        if self.bigrams is None or not corpus.least:
            return self
        counts = corpus.counts(self.bigrams)
        kept = document_frequencies(counts, corpus.repeats) >= corpus.least
        n_tokens = len(self.kept)
        bigrams = Bigrams(self.bigrams.pairs[kept[n_tokens:]], n_tokens)
        kept[:n_tokens] = True
        return replace(self, vectors=self.vectors[kept], bigrams=bigrams)

    def to_table(self, tokenizer: FastTokenizer, quantize: Quantize) -> StaticTable:
        """Store the vectors.

        Parameters
        ----------
        tokenizer : FastTokenizer
            The model's tokenizer, with its whole vocabulary.
        quantize : {"float16", "int8"} or None
            How to store them; None means as `stored_as`.

        Returns
        -------
        table : StaticTable
            The table.

        Raises
        ------
        ValueError
            If a value is too large for float16.
        """
        whole = tokenizer.vocabulary
        if len(self.kept) < len(whole):
            vocabulary = Vocabulary(whole.original, whole.token_ids[self.kept])
            tokenizer = FastTokenizer(vocabulary, tokenizer.composition)
        return StaticTable.from_vectors(
            tokenizer, self.vectors, quantize or self.stored_as, self.bigrams
        )
