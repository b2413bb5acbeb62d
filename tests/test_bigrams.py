from itertools import pairwise

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from sklearn_static._serve.bigrams import Bigrams
from sklearn_static._serve.tokens import Tokens

N_TOKENS = 7
Documents = list[list[int]]
documents_of_rows = st.lists(st.lists(st.integers(0, N_TOKENS - 1), max_size=12), max_size=8)


def flat(documents: Documents) -> tuple[np.ndarray, np.ndarray]:
    rows = np.array([row for document in documents for row in document], dtype=np.int32)
    return rows, np.cumsum([0, *map(len, documents)])


def inserted(bigrams: Bigrams, documents: Documents) -> Documents:
    rows, offsets = bigrams.insert(Tokens(*flat(documents)))
    assert rows.dtype == np.int32
    return [rows[a:b].tolist() for a, b in pairwise(offsets)]


@given(documents_of_rows, st.sets(st.tuples(*[st.integers(0, N_TOKENS - 1)] * 2)))
def test_bigrams_follow_their_second_token(documents, pairs):
    pairs = sorted(pairs)
    bigrams = Bigrams(np.array(pairs, dtype=np.int32).reshape(-1, 2), N_TOKENS)
    assert len(bigrams) == len(pairs)
    row_of = {pair: N_TOKENS + i for i, pair in enumerate(pairs)}
    expected = []
    for document in documents:
        expected.append([])
        for i, row in enumerate(document):
            expected[-1].append(row)
            if i and (document[i - 1], row) in row_of:
                expected[-1].append(row_of[document[i - 1], row])
    assert inserted(bigrams, documents) == expected


def test_many_bigrams_are_looked_up():
    random = np.random.default_rng(0)
    keys = random.choice(30_000**2, size=20_000, replace=False)
    pairs = np.stack(np.divmod(keys, 30_000), axis=1).astype(np.int32)
    bigrams = Bigrams(pairs, 30_000)
    np.testing.assert_array_equal(bigrams.look_up(keys), 30_000 + np.arange(20_000))
    others = np.setdiff1d(random.choice(30_000**2, size=20_000), keys)
    assert (bigrams.look_up(others) == -1).all()
