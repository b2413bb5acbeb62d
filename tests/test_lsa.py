import numpy as np
import scipy.sparse as sp

from sklearn_static._distill.lsa import lsa_columns, with_lsa_columns

COUNTS = sp.csr_matrix(np.array([[2, 1, 0, 0, 1], [0, 1, 3, 0, 1], [1, 1, 0, 0, 0]], dtype="f4"))
ONCE = np.ones(3, dtype=np.int64)


def test_rows_that_occur_in_no_document_are_zero():
    rows = lsa_columns(COUNTS, ONCE, 2, seed=0)
    assert rows.shape == (5, 2)
    np.testing.assert_array_equal(rows.any(axis=1), [True, True, True, False, True])


def test_lsa_features_are_weighted_singular_vectors():
    df, mean_counts = np.array([2, 3, 1, 2]), np.array([1.5, 1, 3, 1])
    weights = (np.log(4 / (1 + df)) + 1) ** 1.5
    dense = COUNTS.toarray()[:, [0, 1, 2, 4]]
    weighted = np.where(dense > 0, 1 + np.log(np.maximum(dense, 1)), 0) * weights
    weighted /= np.linalg.norm(weighted, axis=1, keepdims=True)
    _, _, vectors = np.linalg.svd(weighted)
    expected = vectors[:2].T * (weights * (1 + np.log(mean_counts)) / mean_counts)[:, None]
    rows = lsa_columns(COUNTS, ONCE, 2, seed=0)[[0, 1, 2, 4]]
    np.testing.assert_allclose(np.abs(rows), np.abs(expected), atol=1e-5)


def test_lsa_features_beyond_the_rank_are_zero():
    rows = lsa_columns(COUNTS, ONCE, 8, seed=0)
    assert rows.shape == (5, 8)
    assert rows[:, 0].any()
    assert not rows[:, 3:].any()
    assert not lsa_columns(COUNTS[[0, 0]], ONCE[:2], 2, seed=0)[:, 1].any()


def test_lsa_share_of_the_length_is_fixed():
    semantic = np.random.default_rng(0).standard_normal((5, 4)).astype(np.float32)
    rows = with_lsa_columns(semantic, COUNTS, ONCE, 2, seed=0)
    np.testing.assert_array_equal(rows[:, :4], semantic)
    norms = [np.linalg.norm(COUNTS @ part, axis=1).mean() for part in (rows[:, :4], rows[:, 4:])]
    np.testing.assert_allclose(norms[1] / norms[0], 0.5, rtol=1e-5)


def test_a_document_that_was_given_twice_counts_twice():
    semantic = np.ones((5, 2), dtype=np.float32)
    all_four = np.ones(4, dtype=np.int64)
    twice = with_lsa_columns(semantic, COUNTS[[0, 1, 1, 2]], all_four, 3, seed=0)
    once = with_lsa_columns(semantic, COUNTS, np.array([1, 2, 1]), 3, seed=0)
    np.testing.assert_allclose(once, twice, atol=1e-5)
