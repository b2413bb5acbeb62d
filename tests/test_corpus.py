"""The documents of fit, and the bigrams in them."""

from itertools import pairwise

import numpy as np
import pytest
from teachers import awkward_texts, engine, usable, wordpiece

from sklearn_static._distill.corpus import Corpus, in_random_order, most_frequent_bigrams

N_TOKENS = 7
Documents = list[list[int]]


def of(documents: Documents) -> Corpus:
    """A corpus with these rows."""
    rows = np.array([row for document in documents for row in document], dtype=np.int32)
    offsets = np.cumsum([0, *map(len, documents)])
    return Corpus([str(i) for i in range(len(documents))], rows, offsets)


def rows_of(corpus: Corpus) -> Documents:
    return [corpus.rows[a:b].tolist() for a, b in pairwise(corpus.offsets)]


def test_all_tokens_in_order(texts):
    vocabulary = usable(wordpiece())
    documents = [*texts, *awkward_texts()] * 20  # several batches
    corpus = Corpus.from_documents(documents, engine(vocabulary))
    rows, offsets = vocabulary.tokens(documents)
    np.testing.assert_array_equal(corpus.rows, rows)
    np.testing.assert_array_equal(corpus.offsets, offsets)
    assert len(corpus) == len(documents)
    assert corpus.tokens_of(3).tolist() == rows[offsets[3] : offsets[4]].tolist()
    assert len(Corpus.from_documents([], engine(vocabulary))) == 0


class TestParts:
    whole = of([[1, -1, 2], [], [-1, -1], [3, 4, 5]])

    def test_first(self):
        first = self.whole.first(2)
        assert rows_of(first) == [[1, -1, 2], []]
        assert first.documents == ["0", "1"]

    def test_select(self):
        selected = self.whole.select(np.array([True, False, True, True]))
        assert rows_of(selected) == [[1, -1, 2], [-1, -1], [3, 4, 5]]
        assert selected.documents == ["0", "2", "3"]

    def test_unknown_tokens_count_towards_the_length(self):
        assert rows_of(self.whole.in_vocabulary(None)) == [[1, 2], [], [], [3, 4, 5]]
        assert rows_of(self.whole.in_vocabulary(2)) == [[1], [], [], [3, 4]]

    def test_counts(self):
        counts = of([[1, 1, 2], [], [0]]).counts(3, None)
        assert counts.toarray().tolist() == [[0, 2, 1], [0, 0, 0], [1, 0, 0]]


class TestMostFrequent:
    documents = ([0, 1, 0, 1, 2], [0, 1], [3, 1, 2], [4, 5, 4, 5], [0, 1, 2, 3])

    def pairs(self, max_bigrams: int | None, documents: Documents = documents) -> list[list[int]]:
        return most_frequent_bigrams(of(documents), N_TOKENS, max_bigrams).pairs.tolist()

    def test_by_the_number_of_documents_two_at_least(self):
        assert self.pairs(None) == [[0, 1], [1, 2]]

    def test_a_cap_keeps_the_most_frequent(self):
        assert self.pairs(1) == [[0, 1]]

    def test_none_across_documents(self):
        assert self.pairs(None, [[0], [1], [0], [1]]) == []

    @pytest.mark.parametrize("documents", [[], [[]], [[1]]], ids=str)
    def test_nothing_to_choose_from(self, documents):
        assert self.pairs(None, documents) == []

    def test_the_order_of_documents_does_not_matter(self):
        assert self.pairs(None, self.documents[::-1]) == self.pairs(None)


def test_sets_that_share_documents_begin_alike(texts):
    distinct = sorted(set(texts))
    whole = in_random_order(distinct, 3)
    assert whole != in_random_order(distinct, 4)
    part = in_random_order(distinct[20:], 3)
    assert part == [text for text in whole if text in distinct[20:]]
