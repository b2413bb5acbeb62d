import numpy as np
import scipy.sparse as sp

from sklearn_static._lexical import lexical_rows, with_lexical_rows

COUNTS = sp.csr_matrix(np.array([[2, 1, 0, 0, 1], [0, 1, 3, 0, 1], [1, 1, 0, 0, 0]], dtype="f4"))


def test_rows_that_all_or_none_of_the_texts_have_tell_nothing():
    rows = lexical_rows(COUNTS, 2, seed=0)
    assert rows.shape == (5, 2)
    assert not rows[[1, 3]].any()
    assert np.abs(rows[[0, 2, 4]]).max() > 0.1


def test_beyond_the_rank_there_is_nothing():
    rows = lexical_rows(COUNTS, 8, seed=0)
    assert rows.shape == (5, 8)
    assert rows[:, 0].any()
    assert not rows[:, 3:].any()
    assert not lexical_rows(COUNTS[[0, 0]], 2, seed=0).any()


def test_their_share_of_the_length_is_fixed():
    semantic = np.random.default_rng(0).standard_normal((5, 4)).astype(np.float32)
    rows = with_lexical_rows(semantic, COUNTS, 2, seed=0)
    np.testing.assert_array_equal(rows[:, :4], semantic)
    norms = [np.linalg.norm(COUNTS @ part, axis=1).mean() for part in (rows[:, :4], rows[:, 4:])]
    np.testing.assert_allclose(norms[1] / norms[0], 0.6, rtol=1e-5)
