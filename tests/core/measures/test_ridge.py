"""Ridge regressions from one decomposition, against refitting by scikit-learn."""

import numpy as np
import pytest
from sklearn.linear_model import Ridge
from sklearn.model_selection import LeaveOneOut, cross_val_predict

from core.measures.ridge import RidgePath

PENALTIES = np.array([0.1, 10.0, 1000.0])


def path(num_samples, num_features, seed=0):
    rng = np.random.default_rng(seed)
    features = rng.normal(size=(num_samples, num_features))
    features -= features.mean(axis=0)
    return RidgePath(features, rng.normal(size=(num_samples, 3)) + features[:, :1], PENALTIES)


@pytest.fixture(params=[(40, 5), (20, 60), (30, 30)], ids=["tall", "wide", "square"])
def ridge(request):
    return path(*request.param)


def test_two_points_by_hand():
    """x = ±1, y = ±1, α = 2: slope 2/(2 + 2) = 0.5. With one left out the other is the mean: an error of ±2."""
    ridge = RidgePath(np.array([[-1.0], [1.0]]), np.array([[-1.0], [1.0]]), np.array([2.0]))
    assert ridge.coefficients(2.0) == pytest.approx(np.array([[0.5]]))
    assert ridge.squared_errors == pytest.approx(np.array([[4, 4]]))


@pytest.mark.parametrize("penalty", PENALTIES)
def test_coefficients(ridge, penalty):
    fitted = Ridge(penalty).fit(ridge.features, ridge.targets)
    np.testing.assert_allclose(ridge.coefficients(penalty), fitted.coef_.T, atol=1e-9)


@pytest.mark.parametrize("penalty", PENALTIES)
def test_errors_of_samples_left_out(ridge, penalty):
    predicted = cross_val_predict(Ridge(penalty), ridge.features, ridge.targets, cv=LeaveOneOut())
    expected = ((ridge.targets - predicted) ** 2).mean(axis=1)
    np.testing.assert_allclose(ridge.squared_errors[PENALTIES.tolist().index(penalty)], expected, atol=1e-8)


@pytest.mark.parametrize("size", [1, 4, 12])
@pytest.mark.parametrize("penalty", PENALTIES)
def test_predictions_for_a_fold_left_out(ridge, penalty, size):
    """A fold of more samples than columns goes another way than a smaller one."""
    fold = np.arange(len(ridge.features)) % len(ridge.features) < size
    fitted = Ridge(penalty).fit(ridge.features[~fold], ridge.targets[~fold])
    np.testing.assert_allclose(ridge.predict_fold(fold, penalty), fitted.predict(ridge.features[fold]), atol=1e-8)


def test_the_penalty_of_the_least_error_over_some_samples():
    ridge = path(40, 30)
    rows = np.arange(40) < 25
    errors = ridge.squared_errors[:, rows].mean(axis=1)
    assert ridge.best_penalty(rows) == PENALTIES[int(np.argmin(errors))]


def test_the_residuals_of_a_penalty_serve_all_folds(ridge):
    """Asked again they are the same array, and after another penalty equal numbers."""
    first, other = (ridge._residuals(penalty) for penalty in (10.0, 0.1))
    assert ridge._residuals(0.1) is other
    again = ridge._residuals(10.0)
    assert ridge._residuals(10.0) is again
    np.testing.assert_array_equal(again, first)


def test_constant_columns_change_nothing():
    ridge = path(30, 6)
    wider = RidgePath(np.hstack([ridge.features, np.zeros((30, 40))]), ridge.targets, PENALTIES)
    np.testing.assert_allclose(wider.coefficients(10.0)[:6], ridge.coefficients(10.0), atol=1e-10)
    np.testing.assert_allclose(wider.squared_errors, ridge.squared_errors, atol=1e-9)
