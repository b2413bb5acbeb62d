import numpy as np
import pytest
from sklearn.decomposition import PCA

from sklearn_static._distill.components import (
    check_n_components,
    leading_axes,
    leading_directions,
    pca,
    projected_in_place,
    sif_weights,
    with_unfitted_columns,
    zipf_probabilities,
)


def directions_of(
    embeddings: np.ndarray, token_outputs: np.ndarray, n_components: float | None
) -> tuple[np.ndarray, np.ndarray]:
    """The leading directions of documents that were given once."""
    once = np.ones(len(embeddings), dtype=np.int64)
    axes, shares = leading_axes(embeddings, once, n_components)
    return leading_directions(axes, shares, token_outputs), shares


@pytest.fixture
def outputs() -> np.ndarray:
    rng = np.random.default_rng(0)
    # Like a teacher's: a mean much larger than the spread, and axes of very different variance.
    return (100 + rng.normal(size=(500, 20)) * np.geomspace(1, 0.01, 20)).astype(np.float32)


def test_pca_rotates_the_centred_outputs(outputs):
    scores, ratio = pca(outputs.copy(), None)
    centered = outputs.astype(float) - outputs.mean(axis=0, dtype=float)
    np.testing.assert_allclose(scores @ scores.T, centered @ centered.T, atol=1e-5)
    covariance = scores.T @ scores
    np.testing.assert_allclose(covariance, np.diag(np.diag(covariance)), atol=1e-5)
    assert ratio.sum() == pytest.approx(1)
    assert (np.diff(ratio) < 0).all()


def test_pca_keeps_the_leading_axes(outputs):
    full, full_ratio = pca(outputs.copy(), None)
    scores, ratio = pca(outputs.copy(), 3)
    np.testing.assert_allclose(scores, full[:, :3], atol=1e-6)
    np.testing.assert_allclose(ratio, full_ratio[:3])


@pytest.mark.parametrize("share", [0.5, 0.9, 0.999])
def test_pca_takes_the_fewest_axes_that_explain_a_share(outputs, share):
    _, ratio = pca(outputs.copy(), share)
    assert ratio.sum() >= share
    assert ratio[:-1].sum() < share


def test_pca_signs_do_not_depend_on_the_order_of_the_tokens(outputs):
    scores, _ = pca(outputs.copy(), 3)
    reverse, _ = pca(outputs[::-1].copy(), 3)
    np.testing.assert_allclose(reverse[::-1], scores, atol=1e-6)


def test_pca_is_that_of_scikit_learn(outputs):
    expected = PCA(5, svd_solver="covariance_eigh").fit(outputs.astype(float))
    scores, ratio = pca(outputs.copy(), 5)
    np.testing.assert_allclose(scores, expected.transform(outputs.astype(float)), atol=1e-5)
    np.testing.assert_allclose(ratio, expected.explained_variance_ratio_)


def test_pca_of_constant_outputs():
    scores, ratio = pca(np.ones((4, 3), dtype=np.float32), None)
    np.testing.assert_array_equal(scores, np.zeros((4, 3)))
    np.testing.assert_array_equal(ratio, np.zeros(3))


@pytest.fixture
def token_outputs() -> np.ndarray:
    """One of nine axes has most of their length, then the next."""
    outputs = np.random.default_rng(1).standard_normal((30, 9)) * np.geomspace(1, 1e-3, 9)
    return outputs - outputs.mean(axis=0)


class TestLeadingDirections:
    def test_directions_are_right_singular_vectors(self, token_outputs):
        embeddings = np.random.default_rng(0).standard_normal((50, 9)).astype(np.float32) + 1
        directions, shares = directions_of(embeddings, token_outputs, 4)
        _, values, vectors = np.linalg.svd(embeddings, full_matrices=False)
        np.testing.assert_allclose(np.abs(directions.T), np.abs(vectors[:4]), atol=1e-4)
        np.testing.assert_allclose(shares, values[:4] ** 2 / (values**2).sum(), rtol=1e-4)

    def test_share_sets_the_number_of_directions(self):
        embeddings = np.diag(np.sqrt([6, 3, 1])).astype(np.float32)
        for share, n_components in ((0.55, 1), (0.7, 2), (0.99, 3)):
            assert directions_of(embeddings, np.eye(3), share)[0].shape == (3, n_components)

    def test_none_keeps_all_directions(self):
        embeddings = np.ones((1, 5), dtype=np.float32)
        directions, shares = directions_of(embeddings, np.eye(5), None)
        np.testing.assert_allclose(directions @ directions.T, np.eye(5), atol=1e-6)
        np.testing.assert_allclose(shares, [1, 0, 0, 0, 0], atol=1e-6)

    def test_directions_beyond_the_documents_span_are_those_of_the_tokens(self, token_outputs):
        embeddings = np.eye(9, dtype=np.float32)[[4, 4, 4, 2]]
        directions, shares = directions_of(embeddings, token_outputs, 7)
        expected = np.eye(9)[[4, 2]]
        np.testing.assert_allclose(directions[:, :2].T, expected, atol=1e-6)
        np.testing.assert_allclose(shares, [0.75, 0.25, 0, 0, 0, 0, 0], atol=1e-12)
        rest = token_outputs.copy()
        rest[:, [4, 2]] = 0
        _, _, axes = np.linalg.svd(rest)
        np.testing.assert_allclose(np.abs(directions[:, 2:].T), np.abs(axes[:5]), atol=1e-5)


def test_unfitted_columns_are_the_outputs_on_the_scale_of_the_others(token_outputs):
    fitted = np.vstack([2 * token_outputs[:, :3], np.ones((4, 3))]).astype(np.float32)
    vectors = with_unfitted_columns(fitted, token_outputs)
    np.testing.assert_array_equal(vectors[:, :3], fitted)
    np.testing.assert_allclose(vectors[:30, 3:], 2 * token_outputs[:, 3:], rtol=1e-5)
    assert not vectors[30:, 3:].any()


@pytest.mark.parametrize("n_vectors", [1, 5000])
@pytest.mark.parametrize("n_components", [1, 3, 8])
def test_projection_in_place(n_vectors, n_components):
    random = np.random.default_rng(0)
    vectors = random.standard_normal((n_vectors, 8)).astype(np.float32)
    directions = random.standard_normal((8, n_components)).astype(np.float32)
    expected = vectors @ directions
    result = projected_in_place(vectors, directions)
    assert result is vectors
    np.testing.assert_allclose(result, expected, atol=1e-5)


def test_more_components_than_the_teacher_has():
    with pytest.raises(ValueError, match="n_components=33 must be at most 32, the teacher's dim"):
        check_n_components(33, dimension=32)


@pytest.mark.parametrize("n_components", [32, 1, 0.99, None])
def test_valid_n_components(n_components):
    check_n_components(n_components, dimension=32)


def test_zipf():
    p = zipf_probabilities(4)
    assert p.sum() == pytest.approx(1)
    np.testing.assert_allclose(p / p[0], [1, 2 / 3, 2 / 4, 2 / 5])


def test_sif():
    weights = sif_weights(np.array([1e-4, 3e-4, 1e-12]), 1e-4)
    np.testing.assert_allclose(weights, [0.5, 0.25, 1], atol=1e-7)
