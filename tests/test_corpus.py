"""The documents of fit, and the bigrams in them."""

import numpy as np
import pytest
from teachers import awkward_texts, engine, usable, wordpiece

from sklearn_static._distill.corpus import (
    count,
    document_frequencies,
    most_frequent_bigrams,
    random_order,
    read_corpus,
    tokenize,
)
from sklearn_static._serve.tokens import Tokens

N_TOKENS = 7
Documents = list[list[int]]


def of(documents: Documents) -> Tokens:
    """Documents with these rows."""
    rows = np.array([row for document in documents for row in document], dtype=np.int32)
    return Tokens(rows, np.cumsum([0, *map(len, documents)]))


def rows_of(tokens: Tokens) -> Documents:
    return [tokens.of(i).tolist() for i in range(tokens.n_documents)]


def test_all_tokens_in_order(texts):
    vocabulary = usable(wordpiece())
    documents = [*texts, *awkward_texts()] * 20  # several batches
    tokens = tokenize(documents, engine(vocabulary))
    expected = vocabulary.tokens(documents)
    np.testing.assert_array_equal(tokens.rows, expected.rows)
    np.testing.assert_array_equal(tokens.offsets, expected.offsets)
    assert tokens.n_documents == len(documents)


class TestTokens:
    whole = of([[1, -1, 2], [], [-1, -1], [3, 4, 5]])

    def test_first(self):
        assert rows_of(self.whole.first(2)) == [[1, -1, 2], []]

    def test_take(self):
        taken = self.whole.take(np.array([3, 1, 0]))
        assert rows_of(taken) == [[3, 4, 5], [], [1, -1, 2]]
        assert rows_of(self.whole.take(np.array([], dtype=int))) == []

    def test_concatenated(self):
        both = Tokens.concatenated([self.whole, self.whole.first(1)])
        assert rows_of(both) == [*rows_of(self.whole), [1, -1, 2]]
        assert Tokens.concatenated([]).n_documents == 0

    def test_renumbered(self):
        assert rows_of(self.whole.renumbered(np.array([2, 4]))) == [
            [-1, -1, 0],
            [],
            [-1, -1],
            [-1, 1, -1],
        ]

    def test_unknown_tokens_count_towards_the_length(self):
        assert rows_of(self.whole.in_vocabulary(None)) == [[1, 2], [], [], [3, 4, 5]]
        assert rows_of(self.whole.in_vocabulary(2)) == [[1], [], [], [3, 4]]

    def test_counts(self):
        counts = count(of([[1, 1, 2], [], [0]]), 3, None)
        assert counts.toarray().tolist() == [[0, 2, 1], [0, 0, 0], [1, 0, 0]]


class TestMostFrequent:
    documents = ([0, 1, 0, 1, 2], [0, 1], [3, 1, 2], [4, 5, 4, 5], [0, 1, 2, 3])

    def pairs(self, max_bigrams: int | None, documents: Documents = documents) -> list[list[int]]:
        once = np.ones(len(documents), dtype=np.int64)
        return most_frequent_bigrams(of(documents), once, N_TOKENS, max_bigrams).pairs.tolist()

    def test_bigrams_occur_in_two_documents_at_least(self):
        assert self.pairs(None) == [[0, 1], [1, 2]]

    def test_a_cap_keeps_the_most_frequent(self):
        assert self.pairs(1) == [[0, 1]]

    def test_a_document_that_was_given_twice_counts_twice(self):
        documents = of([[0, 1], [3, 4, 3, 4], [5, 6]])
        bigrams = most_frequent_bigrams(documents, np.array([1, 3, 2]), N_TOKENS, None)
        assert bigrams.pairs.tolist() == [[3, 4], [4, 3], [5, 6]]
        counts = count(documents, N_TOKENS, None)
        frequencies = document_frequencies(counts, np.array([1, 3, 2]))
        assert frequencies.tolist() == [1, 1, 0, 3, 3, 2, 2]

    def test_no_bigrams_across_documents(self):
        assert self.pairs(None, [[0], [1], [0], [1]]) == []

    @pytest.mark.parametrize("documents", [[], [[]], [[1]]], ids=str)
    def test_documents_without_bigrams(self, documents):
        assert self.pairs(None, documents) == []

    def test_the_order_of_documents_does_not_matter(self):
        assert self.pairs(None, self.documents[::-1]) == self.pairs(None)


def test_order_of_two_documents_does_not_depend_on_the_others(texts):
    def in_order(documents: list[str], seed: int) -> list[str]:
        return [documents[i] for i in random_order(documents, seed)]

    distinct = sorted(set(texts))
    whole = in_order(distinct, 3)
    assert sorted(whole) == distinct
    assert whole != in_order(distinct, 4)
    part = in_order(distinct[20:], 3)
    assert part == [text for text in whole if text in distinct[20:]]


def test_documents_given_several_times_are_kept_once(texts):
    documents = sorted(set(texts))
    corpus, _ = read_corpus(
        [*documents, *documents[:10] * 49],
        engine(usable(wordpiece())),
        is_used=True,
        lsa_components="auto",
        max_length=None,
        min_df=0,
        random_state=0,
    )
    assert sorted(corpus.documents) == documents
    assert corpus.counts(None).shape[0] == len(documents)
    often = {text for text, n in zip(corpus.documents, corpus.repeats, strict=True) if n == 50}
    assert often == set(documents[:10])
    assert corpus.repeats.sum() == len(documents) + 490
