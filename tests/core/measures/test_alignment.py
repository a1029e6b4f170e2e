"""Linear CKA: by hand, against its feature form and the textbook estimators, and its exact chance level."""

from itertools import permutations

import numpy as np
import pytest

from core.measures.related.alignment import CenteredGram, linear_cka


def drawn(num_samples=30, widths=(5, 8), seed=0):
    rng = np.random.default_rng(seed)
    first = rng.normal(size=(num_samples, widths[0]))
    return first, first[:, :2] @ rng.normal(size=(2, widths[1])) + rng.normal(size=(num_samples, widths[1]))


def feature_form(first, second):
    first, second = first - first.mean(axis=0), second - second.mean(axis=0)
    norms = np.linalg.norm(first.T @ first) * np.linalg.norm(second.T @ second)
    return np.linalg.norm(second.T @ first) ** 2 / norms


def unbiased_hsic(first, second):
    """Song et al. 2012, equation 5."""
    n = len(first)
    one, other = (features @ features.T * (1 - np.eye(n)) for features in (first, second))
    ones = np.ones(n)
    middle = ones @ one @ ones * (ones @ other @ ones) / ((n - 1) * (n - 2))
    return (np.trace(one @ other) + middle - 2 / (n - 2) * ones @ one @ other @ ones) / (n * (n - 3))


def test_four_points_on_a_line_by_hand():
    # centered −3, −1, 1, 3 and −1, 1, −1, 1: inner product 4, lengths² 20 and 4
    found = linear_cka([[0.0], [2.0], [4.0], [6.0]], [[0.0], [1.0], [0.0], [1.0]])
    assert found.value == pytest.approx(4**2 / (20 * 4), abs=1e-12)
    assert found.chance == pytest.approx(1 / 3, abs=1e-12)  # of two lines: tr/‖·‖ is 1


@pytest.mark.parametrize("widths", [(5, 8), (5, 90), (70, 90)])
def test_against_the_feature_form_and_the_unbiased_estimator(widths):
    first, second = drawn(widths=widths)
    found = linear_cka(first, second)
    assert found.value == pytest.approx(feature_form(first, second), rel=1e-10)
    parts = [unbiased_hsic(*pair) for pair in ((first, second), (first, first), (second, second))]
    assert found.debiased == pytest.approx(parts[0] / np.sqrt(parts[1] * parts[2]), rel=1e-8)
    assert found.num_samples == 30


def test_chance_is_the_mean_over_all_orders_of_the_samples():
    first, second = drawn(6, (2, 3))
    found = [linear_cka(first, second[list(order)]) for order in permutations(range(6))]
    assert np.std([one.value for one in found]) > 0.05
    assert found[0].chance == pytest.approx(np.mean([one.value for one in found]), abs=1e-12)
    assert np.mean([one.debiased for one in found]) == pytest.approx(0, abs=1e-12)


def test_unrelated_wide_features_look_alike_unless_debiased():
    rng = np.random.default_rng(1)
    found = linear_cka(rng.normal(size=(60, 800)), rng.normal(size=(60, 800)))
    assert found.value > 0.9
    assert found.value == pytest.approx(found.chance, abs=0.01)
    assert abs(found.debiased) < 0.1


def test_rotation_shift_scale_and_order_do_not_matter():
    first, second = drawn()
    expected = linear_cka(first, second)
    rng = np.random.default_rng(2)
    turn, order = np.linalg.qr(rng.normal(size=(5, 5)))[0], rng.permutation(30)
    for one, other in [(first @ turn * 1e4 + 7, second), (first[order], second[order]), (second, first)]:
        found = linear_cka(one, other)
        assert (found.value, found.debiased) == pytest.approx((expected.value, expected.debiased), rel=1e-8)
    itself = linear_cka(first, first * -2)
    assert (itself.value, itself.debiased) == pytest.approx((1, 1), abs=1e-12)
    stretched = first * np.array([9, 1, 1, 1, 1])
    assert abs(linear_cka(stretched, second).value - expected.value) > 0.01


def test_what_is_kept_of_a_layer_serves_for_many():
    first, second = drawn()
    kept = CenteredGram.of(first)
    assert linear_cka(kept, second) == linear_cka(first, second)


def test_constant_features_have_no_alignment():
    found = linear_cka(np.ones((9, 3)), drawn(9)[0])
    assert np.isnan([found.value, found.chance, found.debiased]).all()
    equidistant = linear_cka(np.eye(9), drawn(9)[0])  # U-centering leaves nothing of it
    assert np.isfinite(equidistant.value)
    assert np.isnan(equidistant.debiased)


@pytest.mark.parametrize(
    ("first", "second", "message"),
    [
        (np.eye(5), np.eye(6), "second must have 5 samples, as first; got 6"),
        (np.eye(3), np.eye(3), "first must have at least 4 samples; got 3"),
        (np.eye(5), np.full((5, 5), np.inf), "features must be finite"),
    ],
)
def test_bad_input(first, second, message):
    with pytest.raises(ValueError, match=message):
        linear_cka(first, second)
