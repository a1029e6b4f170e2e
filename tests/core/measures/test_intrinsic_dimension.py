"""Two-NN intrinsic dimension: by hand, against scikit-dimension, and on manifolds of known dimension."""

import numpy as np
import pytest
from sklearn.datasets import load_digits

import core
from core.measures.related.intrinsic_dimension import dimension_of_distances, intrinsic_dimension

DIGITS = load_digits().data
NORMAL = np.random.default_rng(0).normal(size=(500, 5))

# skdim.id.TwoNN(discard_fraction=DISCARD, method=METHOD).fit(FEATURES).dimension_, scikit-dimension 0.5.0
SCIKIT_DIMENSION = [
    ("digits", 0.1, 8.908172764810415, 8.921538448974989),
    ("digits", 0.02, 8.9383346629948, 8.98304549296054),
    ("normal", 0.1, 4.441860626917301, 4.493382237315419),
    ("normal", 0.02, 4.444917582203398, 4.485074383197003),
]


def test_ratios_by_hand():
    # ratios 2, 4, 8 and one that is discarded; F = 1/4, 2/4, 3/4
    found = dimension_of_distances(np.array([[1.0, 4.0], [1.0, 2.0], [0.5, 50.0], [2.0, 16.0]]), discard=0.25)
    logs, heights = np.log([2, 4, 8]), -np.log([3 / 4, 2 / 4, 1 / 4])
    assert found.value == pytest.approx((logs * heights).sum() / (logs**2).sum(), abs=1e-12)
    assert found.likelihood == pytest.approx(2 / (np.log(2 * 4 * 8) + np.log(8)), abs=1e-12)
    assert (found.num_used, found.num_duplicates) == (3, 0)


@pytest.mark.parametrize(("name", "discard", "line", "likelihood"), SCIKIT_DIMENSION)
def test_against_scikit_dimension(name, discard, line, likelihood):
    found = intrinsic_dimension({"digits": DIGITS, "normal": NORMAL}[name], discard=discard)
    assert found.value == pytest.approx(line, rel=1e-9)
    assert found.likelihood == pytest.approx(likelihood, rel=1e-9)


@pytest.mark.parametrize("dimension", [1, 2, 3])
def test_a_manifold_of_known_dimension_in_a_wide_space(dimension):
    rng = np.random.default_rng(5)
    flat = rng.uniform(size=(1500, dimension)) @ rng.normal(size=(dimension, 20))
    found = intrinsic_dimension(flat)
    assert found.low < found.likelihood < found.high
    assert found.value == pytest.approx(dimension, rel=0.1)


def test_the_interval_holds_the_truth_for_independent_ratios():
    rng = np.random.default_rng(6)
    held = 0
    for _ in range(400):
        ratios = rng.uniform(size=80) ** (-1 / 3)
        found = dimension_of_distances(np.column_stack([np.ones(80), ratios]))
        held += found.low < 3 < found.high
    assert 0.92 < held / 400 < 0.98


def test_rotation_shift_and_scale_do_not_matter():
    turn = np.linalg.qr(np.random.default_rng(7).normal(size=(5, 5)))[0]
    found = intrinsic_dimension(NORMAL @ turn * 1e-3 + 0.1)
    assert found.value == pytest.approx(intrinsic_dimension(NORMAL).value, rel=1e-6)


def test_duplicates_are_left_out_and_counted():
    found = intrinsic_dimension(np.concatenate([NORMAL[:100], NORMAL[:3]]))
    assert found.num_duplicates == 6
    assert found.num_used == int(97 * 0.9)
    assert np.isnan(intrinsic_dimension(np.ones((5, 2))).value)
    equal = dimension_of_distances(np.ones((9, 2)))  # every second neighbor as near as the first
    assert np.isnan([equal.value, equal.likelihood, equal.low]).all()


@pytest.mark.parametrize("discard", [0, 1, -0.1])
def test_shares_outside_are_refused(discard):
    with pytest.raises(ValueError, match="discard must lie between 0 and 1"):
        intrinsic_dimension(NORMAL, discard=discard)


def test_too_little_is_refused():
    with pytest.raises(ValueError, match="features must have at least three samples; got 2"):
        intrinsic_dimension(NORMAL[:2])
    with pytest.raises(ValueError, match=r"distances must have shape \(n, k\) with k >= 2; got \(9, 1\)"):
        dimension_of_distances(np.ones((9, 1)))


def test_neighbors_that_are_known_serve_as_well():
    known = core.nearest_neighbors(NORMAL, k=5).distances
    assert dimension_of_distances(known) == intrinsic_dimension(NORMAL)
