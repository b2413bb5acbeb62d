import numpy as np
import pytest

from sklearn_static._distill import (
    check_n_components,
    pca,
    sif_weights,
    zipf_probabilities,
)


@pytest.fixture
def outputs() -> np.ndarray:
    rng = np.random.default_rng(0)
    # Like a teacher's: a mean much larger than the spread, and axes of very unlike variance.
    return (100 + rng.normal(size=(500, 20)) * np.geomspace(1, 0.01, 20)).astype(np.float32)


def test_pca_rotates_the_centred_outputs(outputs):
    scores, ratio = pca(outputs, None)
    centred = outputs.astype(float) - outputs.mean(axis=0, dtype=float)
    np.testing.assert_allclose(scores @ scores.T, centred @ centred.T, atol=1e-8)
    covariance = scores.T @ scores
    np.testing.assert_allclose(covariance, np.diag(np.diag(covariance)), atol=1e-8)
    assert ratio.sum() == pytest.approx(1)
    assert (np.diff(ratio) < 0).all()


def test_pca_keeps_the_leading_axes(outputs):
    full, full_ratio = pca(outputs, None)
    scores, ratio = pca(outputs, 3)
    np.testing.assert_allclose(scores, full[:, :3], atol=1e-9)
    np.testing.assert_allclose(ratio, full_ratio[:3])


@pytest.mark.parametrize("share", [0.5, 0.9, 0.999])
def test_pca_takes_the_fewest_axes_that_explain_a_share(outputs, share):
    _, ratio = pca(outputs, share)
    assert ratio.sum() >= share
    assert ratio[:-1].sum() < share


def test_pca_signs_do_not_depend_on_the_order_of_the_tokens(outputs):
    scores, _ = pca(outputs, 3)
    reverse, _ = pca(outputs[::-1], 3)
    np.testing.assert_allclose(reverse[::-1], scores, atol=1e-9)


@pytest.mark.parametrize(
    ("n_components", "message"),
    [
        (33, "n_components=33 must be at most 32, the teacher's dimension"),
        (29, "n_components=29 must be at most 28, the number of tokens"),
        (None, "n_components=None must be at most 28, the number of tokens"),
    ],
)
def test_more_components_than_there_are(n_components, message):
    with pytest.raises(ValueError, match=message):
        check_n_components(n_components, dimension=32, n_tokens=28)


@pytest.mark.parametrize("n_components", [28, 1, 0.99])
def test_components_that_there_are(n_components):
    check_n_components(n_components, dimension=32, n_tokens=28)


def test_zipf():
    p = zipf_probabilities(4)
    assert p.sum() == pytest.approx(1)
    np.testing.assert_allclose(p / p[0], [1, 2 / 3, 2 / 4, 2 / 5])


def test_sif():
    weights = sif_weights(np.array([1e-4, 3e-4, 1e-12]), 1e-4)
    np.testing.assert_allclose(weights, [0.5, 0.25, 1], atol=1e-7)
