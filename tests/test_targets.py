"""What the features of documents are fitted to."""

import numpy as np
import pytest

from sklearn_static._distill import targets
from sklearn_static._distill.targets import column_scales, smooth


@pytest.fixture
def embeddings() -> np.ndarray:
    vectors = np.random.default_rng(0).standard_normal((700, 6)).astype(np.float32)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def smoothed(embeddings: np.ndarray) -> np.ndarray:
    result = embeddings.copy()
    smooth(result)
    return result


def nearest_mean(embeddings: np.ndarray, candidates: np.ndarray, n_neighbors: int) -> np.ndarray:
    nearest = np.argsort(-embeddings @ candidates.T, axis=1)[:, :n_neighbors]
    return candidates[nearest].mean(axis=1)


class TestSmoothed:
    def test_a_weighted_mean_with_the_thirty_nearest(self, embeddings):
        expected = 0.7 * embeddings + 0.3 * nearest_mean(embeddings, embeddings, 30)
        np.testing.assert_allclose(smoothed(embeddings), expected, atol=1e-5)

    def test_few_documents_have_fewer_neighbors(self, embeddings):
        few = embeddings[:100]
        np.testing.assert_allclose(
            smoothed(few), 0.7 * few + 0.3 * nearest_mean(few, few, 5), atol=1e-5
        )

    def test_very_few_documents_stay_as_they_are(self, embeddings):
        np.testing.assert_array_equal(smoothed(embeddings[:39]), embeddings[:39])

    def test_neighbors_are_sought_among_the_first(self, embeddings, monkeypatch):
        monkeypatch.setattr(targets, "_CANDIDATES", 200)
        expected = 0.7 * embeddings + 0.3 * nearest_mean(embeddings, embeddings[:200], 10)
        np.testing.assert_allclose(smoothed(embeddings), expected, atol=1e-5)

    def test_distances_are_those_along_the_first_directions(self, embeddings, monkeypatch):
        monkeypatch.setattr(targets, "_DIRECTIONS", 2)
        distances = ((embeddings[:, None, :2] - embeddings[None, :, :2]) ** 2).sum(axis=2)
        means = embeddings[np.argsort(distances, axis=1)[:, :30]].mean(axis=1)
        expected = 0.7 * embeddings + 0.3 * means
        np.testing.assert_allclose(smoothed(embeddings), expected, atol=1e-5)

    def test_duplicates_keep_one_direction(self, embeddings):
        same = np.repeat(embeddings[:1], 100, axis=0)
        np.testing.assert_allclose(smoothed(same), same, atol=1e-6)


class TestColumnScales:
    def test_scales_grow_as_the_shares_fall(self):
        shares = np.array([0.5, 0.3, 0.15, 0.05])
        scales = column_scales(shares, 1000)
        np.testing.assert_allclose(scales / scales[0], (shares / shares[0]) ** -0.05, rtol=1e-6)

    def test_scales_preserve_the_mean_squared_length(self, embeddings):
        shares = (embeddings**2).sum(axis=0) / len(embeddings)
        scaled = embeddings * column_scales(shares, 700)
        assert np.vdot(scaled, scaled) == pytest.approx(np.vdot(embeddings, embeddings), rel=1e-5)

    def test_directions_without_documents_are_scaled_within_bounds(self):
        scales = column_scales(np.array([1.0, 0.0]), 10**9)
        np.testing.assert_allclose(scales, [1, 10**0.3], rtol=1e-6)

    def test_scales_are_nearly_equal_for_few_documents(self):
        shares = np.array([0.9, 0.1])
        ratios = [np.divide(*column_scales(shares, n)[::-1]) for n in (10, 1000, 10**6)]
        assert 1 < ratios[0] < ratios[1] < ratios[2]
        assert ratios[0] == pytest.approx(1, abs=0.01)
