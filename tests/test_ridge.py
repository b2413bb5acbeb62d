import warnings

import numpy as np
import pytest
import scipy.sparse as sp
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import Ridge

from sklearn_static._distill import ridge
from sklearn_static._distill.ridge import RowFit, solve_ridge


def fit_once(
    counts: sp.csr_matrix,
    lengths: np.ndarray,
    outputs: np.ndarray,
    start: np.ndarray,
    targets: np.ndarray,
    alpha: float,
) -> np.ndarray:
    """Fit to documents that were given once."""
    fit = RowFit(counts, np.ones_like(lengths), lengths, len(outputs), targets.copy())
    return fit.rows(fit.shared(outputs, [start.copy()]), alpha)


@pytest.fixture
def counts() -> sp.csr_matrix:
    """Counts distributed by Zipf's law, like those of words."""
    random = np.random.default_rng(0)
    rows = np.minimum(random.zipf(1.3, size=(600, 20)), 3000) - 1
    ones = np.ones(rows.size, dtype=np.float32)
    documents = np.repeat(np.arange(600), 20)
    return sp.csr_matrix((ones, (documents, rows.ravel())), shape=(600, 3000))


@pytest.fixture
def targets() -> np.ndarray:
    return np.random.default_rng(1).standard_normal((600, 140)).astype(np.float32)


def exact_solution(features: sp.csr_matrix, targets: np.ndarray, penalty: float) -> np.ndarray:
    """Solve with as many unknowns as documents, densely and in double precision."""
    dense = features.toarray().astype(np.float64)
    gram = dense @ dense.T + penalty * np.eye(len(dense))
    return dense.T @ np.linalg.solve(gram, targets.astype(np.float64))


def relative_error(solution: np.ndarray, expected: np.ndarray) -> float:
    return float(np.linalg.norm(solution - expected) / np.linalg.norm(expected))


def error_of_problem(
    solution: np.ndarray, features: sp.csr_matrix, targets: np.ndarray, penalty: float
) -> float:
    """The relative error in the norm that is minimized."""

    def norm(array: np.ndarray) -> float:
        return float(np.sqrt(np.sum((features @ array) ** 2) + penalty * np.sum(array**2)))

    expected = exact_solution(features, targets, penalty)
    return norm(solution - expected) / norm(expected)


@pytest.fixture(params=["closed form", "iterations"])
def solver(request, monkeypatch) -> str:
    if request.param == "iterations":
        monkeypatch.setattr(ridge, "_FEW_DOCUMENTS", 0)
    return request.param


@pytest.mark.parametrize("penalty", [0.1, 1.0, 100.0])
@pytest.mark.parametrize("exact_rows", [0, 16, 5000])
def test_solution_is_that_of_scikit_learn(
    penalty, exact_rows, solver, counts, targets, monkeypatch
):
    monkeypatch.setattr(ridge, "_EXACT_ROWS", exact_rows)
    expected = Ridge(alpha=penalty, fit_intercept=False, solver="cholesky").fit(
        counts.toarray().astype(np.float64), targets
    )
    assert relative_error(solve_ridge(counts, targets, penalty), expected.coef_.T) < 3e-3


PENALTIES = [1e-6, 1e-5, 1e-4, 1e-3, 1e-2, 0.1, 1.0, 10.0, 100.0]


@pytest.mark.parametrize("penalty", PENALTIES)
def test_few_documents_are_solved_exactly_whatever_the_penalty(penalty, counts, targets):
    scaled = (counts * 20**-0.5).astype(np.float32)
    solution = solve_ridge(scaled, targets, penalty)
    assert relative_error(solution, exact_solution(scaled, targets, penalty)) < 1e-5


@pytest.mark.slow
@pytest.mark.parametrize("exact_rows", [16, 1024])
@pytest.mark.parametrize("penalty", PENALTIES)
def test_solution_is_accurate_whatever_the_penalty(
    penalty, exact_rows, counts, targets, monkeypatch
):
    """Scaled as in `RowFit`; no warning, which would be an error here."""
    monkeypatch.setattr(ridge, "_EXACT_ROWS", exact_rows)
    monkeypatch.setattr(ridge, "_FEW_DOCUMENTS", 0)
    scaled = (counts * 20**-0.5).astype(np.float32)
    solution = solve_ridge(scaled, targets, penalty)
    assert error_of_problem(solution, scaled, targets, penalty) < 3e-3


@pytest.mark.slow
@pytest.mark.parametrize("iterations", [1, 10, 60, 200])
@pytest.mark.parametrize("penalty", [1e-12, 1e-9, 1e-6, 1e-3, 1.0])
def test_inaccurate_solution_always_warns(penalty, iterations, counts, targets, monkeypatch):
    monkeypatch.setattr(ridge, "_EXACT_ROWS", 16)
    monkeypatch.setattr(ridge, "_FEW_DOCUMENTS", 0)
    monkeypatch.setattr(ridge, "_MAX_ITERATIONS", iterations)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        solution = solve_ridge(counts, targets, penalty)
    assert caught or error_of_problem(solution, counts, targets, penalty) < 3e-3


def test_dead_dimensions_and_unused_rows_stay_zero(solver, counts, targets):
    targets[:, 3] = 0
    solution = solve_ridge(counts, targets, 1.0)
    assert not solution[:, 3].any()
    unused = np.asarray(counts.sum(axis=0)).ravel() == 0
    assert unused.any()
    assert not solution[unused].any()


def test_stopping_early_warns(counts, targets, monkeypatch):
    monkeypatch.setattr(ridge, "_EXACT_ROWS", 0)
    monkeypatch.setattr(ridge, "_FEW_DOCUMENTS", 0)
    monkeypatch.setattr(ridge, "_MAX_ITERATIONS", 3)
    with pytest.warns(
        ConvergenceWarning, match="did not converge in 3 iterations: the error is up to"
    ):
        solve_ridge(counts, targets, 0.1)


class TestFitRows:
    """Tokens are the first 1000 of 3000 rows, the others represent bigrams."""

    @pytest.fixture
    def fitted(self, counts, targets):
        lengths = np.asarray(counts[:, :1000].sum(axis=1)).ravel().astype(np.int64)
        outputs = np.random.default_rng(2).standard_normal((1000, 12))
        outputs -= outputs.mean(axis=0)
        start = np.zeros((1000, targets.shape[1]))

        def fit(alpha: float) -> np.ndarray:
            return fit_once(counts, lengths, outputs, start, targets, alpha)

        scaled = sp.diags(np.maximum(lengths, 1) ** -0.5) @ counts
        return fit, scaled, outputs

    def test_a_large_alpha_leaves_the_shared_map(self, fitted, counts):
        _, scaled, outputs = fitted
        shared = np.random.default_rng(3).standard_normal((12, 5))
        targets = (scaled[:, :1000] @ outputs @ shared).astype(np.float32)
        lengths = np.asarray(counts[:, :1000].sum(axis=1)).ravel().astype(np.int64)
        rows = fit_once(counts, lengths, outputs, np.zeros((1000, 5)), targets, 1e9)
        np.testing.assert_allclose(rows[:1000], outputs @ shared, rtol=1e-2, atol=1e-2)
        np.testing.assert_allclose(rows[1000:], 0, atol=1e-5)

    def test_a_small_alpha_reproduces_the_targets(self, fitted, targets):
        fit, scaled, _ = fitted
        error = [np.linalg.norm(scaled @ fit(alpha) - targets) for alpha in (10, 0.3, 1e-4)]
        assert error[0] > error[1] > error[2]

    def test_alpha_is_relative_to_the_scale_of_the_counts(self, fitted, targets, counts):
        """The ridge of tokens alone, against scikit-learn on the residual of the shared map."""
        fit, scaled, outputs = fitted
        rows = fit(0.3)
        weighted = scaled.toarray()
        weighted[:, 1000:] /= np.sqrt(3)
        means = weighted[:, :1000] @ outputs
        solutions, errors = [], []
        for alpha in np.logspace(-4, 3, 8) * (means**2).sum() / 12:
            solutions.append(np.linalg.solve(means.T @ means + alpha * np.eye(12), means.T))
            leverage = np.einsum("ij,ji->i", means, solutions[-1])[:, None]
            left_out = (targets - means @ (solutions[-1] @ targets)) / (1 - leverage)
            errors.append((left_out**2).sum())
        shared = solutions[np.argmin(errors)] @ targets
        penalty = 0.3 * (weighted[:, :1000] ** 2).sum() / len(weighted)
        ridge = Ridge(alpha=penalty, fit_intercept=False).fit(weighted, targets - means @ shared)
        expected = ridge.coef_.T.copy()
        expected[:1000] += outputs @ shared
        expected[1000:] /= np.sqrt(3)
        assert np.linalg.norm(rows - expected) / np.linalg.norm(expected) < 5e-3

    def test_start_is_kept_if_the_residual_is_noise(self, counts):
        """The start is right except for its scale; the residual is noise."""
        random = np.random.default_rng(3)
        outputs = random.standard_normal((1000, 12))
        start = random.standard_normal((1000, 4))
        tokens = counts[:, :1000]
        lengths = np.asarray(tokens.sum(axis=1)).ravel().astype(np.int64)
        scaled = sp.diags(np.maximum(lengths, 1) ** -0.5) @ tokens
        noise = random.standard_normal((len(lengths), 4))
        targets = (3 * scaled @ start + 0.5 * noise).astype(np.float32)
        errors = []
        for n in (10, len(lengths)):
            rows = fit_once(counts[:n], lengths[:n], outputs, start, targets[:n], 1e9)[:1000]
            scale = np.vdot(rows, start) / np.vdot(start, start)
            assert scale == pytest.approx(3, rel=0.1)
            errors.append(np.linalg.norm(rows - scale * start) / np.linalg.norm(rows))
        assert errors[0] < 0.1
        assert errors[1] < 0.1

    @pytest.mark.parametrize("n_documents", [1, 2])
    def test_the_fewest_documents(self, n_documents, counts, targets):
        lengths = np.asarray(counts[:, :1000].sum(axis=1)).ravel().astype(np.int64)
        outputs = np.random.default_rng(2).standard_normal((1000, 12))
        start = outputs @ np.ones((12, targets.shape[1]))
        part = slice(0, n_documents)
        rows = fit_once(counts[part], lengths[part], outputs, start, targets[part], 0.3)
        assert np.isfinite(rows).all()
        assert rows[:1000].any()
