"""Smoothness: by hand, against a naive float64 oracle, its invariants, and bad input."""

import numpy as np
import pytest

from core.measures.significance import Shuffles
from core.measures.smoothness import smoothness_index
from core.search import rows

OPTIONS = [
    {"kind": kind, "order": order, "aggregate": aggregate}
    for kind in ("linear", "exponential")
    for order, aggregate in ((1, "high"), (3, "high"), (3, "soft"))
]


def naive(features, targets, *, kind, order, aggregate, gamma=1.0):
    """All distances in float64, sample by sample; the definition itself."""
    features = np.asarray(features, dtype=np.float64).reshape(len(features), -1)
    targets = np.asarray(targets, dtype=np.float64).reshape(len(targets), -1)
    scores = []
    for row in range(len(features)):
        others = np.delete(np.arange(len(features)), row)
        squared = ((features[others] - features[row]) ** 2).sum(axis=1)
        nearest = others[np.argsort(squared, kind="stable")[:order]]
        to_others = np.sqrt(((targets[others] - targets[row]) ** 2).sum(axis=1))
        to_nearest = np.sqrt(((targets[nearest] - targets[row]) ** 2).sum(axis=1))
        if to_others.max() == to_others.min():
            score = np.ones(order)
        elif kind == "linear":
            score = (to_others.max() - to_nearest) / (to_others.max() - to_others.min())
        else:
            score = np.exp(-gamma * (to_nearest - to_others.min()) / to_others.mean())
        scores.append(score.min() if aggregate == "high" else score.mean())
    return np.array(scores)


def cases():
    rng = np.random.default_rng(0)
    features = rng.normal(size=(80, 4))
    line = features[:, 0] + 0.3 * rng.normal(size=80)
    return {
        "one column": (features, line),
        "a column of shape (n, 1)": (features, line[:, None]),
        "three columns": (features, features[:, :3] + 0.5 * rng.normal(size=(80, 3))),
        "ties in both": (rng.integers(0, 3, size=(80, 4)), rng.integers(0, 4, size=80)),
        "booleans": (features, line > 0),
        "offset": (features, 1e6 + line),
        "float32 images": (features.reshape(80, 2, 2).astype(np.float32), line.astype(np.float32)),
        "one differs": (features, np.arange(80) == 7),
        "four samples": (features[:4], line[:4]),
    }


@pytest.mark.parametrize("options", OPTIONS)
@pytest.mark.parametrize("name", cases())
def test_agrees_with_the_naive_oracle(name, options):
    features, targets = cases()[name]
    found = smoothness_index(features, targets, **options)
    expected = naive(features, targets, **options)
    np.testing.assert_allclose(found.by_sample, expected, rtol=1e-9, atol=1e-9)
    assert found.value == pytest.approx(expected.mean())


# Four points on a line, with targets 0, 1, 4, 2. Nearest others of each, and target distances:
#   row      0        1        2        3
#   at       0        1        3        7
#   nearest  1, 2     0, 2     1, 0     2, 1
#   d        1, 4     1, 3     3, 4     2, 1
#   dmax     4        3        4        2
#   dmin     1        1        2        1
#   dmean    7/3      5/3      3        5/3
POSITIONS = np.array([[0.0], [1.0], [3.0], [7.0]])
TARGETS = np.array([0.0, 1.0, 4.0, 2.0])


@pytest.mark.parametrize(
    ("options", "by_sample"),
    [
        ({}, [1, 1, 1 / 2, 0]),
        ({"order": 2}, [0, 0, 0, 0]),
        ({"order": 2, "aggregate": "soft"}, [1 / 2, 1 / 2, 1 / 4, 1 / 2]),
        ({"kind": "exponential"}, np.exp([0, 0, -1 / 3, -3 / 5])),
        ({"kind": "exponential", "gamma": 2.0}, np.exp([0, 0, -2 / 3, -6 / 5])),
        ({"kind": "exponential", "order": 2}, np.exp([-9 / 7, -6 / 5, -2 / 3, -3 / 5])),
    ],
)
def test_four_points_on_a_line(options, by_sample):
    found = smoothness_index(POSITIONS, TARGETS, **options)
    np.testing.assert_allclose(found.by_sample, by_sample, atol=1e-15)
    assert found.value == pytest.approx(np.mean(by_sample))
    assert found.nearest.tolist() == [1, 0, 1, 2]
    assert (found.measure, found.order, found.by_class) == ("smoothness", options.get("order", 1), {})
    assert np.isnan([found.chance, found.excess, found.z]).all()


def test_as_far_from_all_others_scores_one():
    """The corners of an equilateral triangle, and a sample midway between two: equal up to rounding."""
    corners = np.array([[0, 0], [1, 0], [0.5, np.sqrt(0.75)]]) + 0.1
    assert smoothness_index(np.arange(3)[:, None], corners).by_sample.tolist() == [1, 1, 1]
    on_a_line = smoothness_index(np.arange(3)[:, None], [0.1, 0.2, 0.3])
    assert on_a_line.by_sample == pytest.approx([1, 1, 1])
    assert smoothness_index([[0.0], [1.0]], [3.0, 5.0]).value == 1


@pytest.mark.parametrize("kind", ["linear", "exponential"])
@pytest.mark.parametrize("num_columns", [1, 2])
@pytest.mark.parametrize("scale", [1e-300, -3.0, 1e290])
def test_offset_and_unit_of_the_targets_change_nothing(kind, num_columns, scale):
    rng = np.random.default_rng(1)
    features, targets = rng.normal(size=(60, 3)), rng.normal(size=(60, num_columns))
    found = smoothness_index(features, scale * (targets + 5), kind=kind).by_sample
    np.testing.assert_allclose(found, smoothness_index(features, targets, kind=kind).by_sample, rtol=1e-10, atol=1e-12)


def test_row_order_changes_nothing():
    features, targets = cases()["three columns"]
    order = np.random.default_rng(2).permutation(80)
    moved = smoothness_index(features[order], targets[order], order=2).by_sample
    np.testing.assert_array_equal(moved, smoothness_index(features, targets, order=2).by_sample[order])


def test_blocks_change_nothing(monkeypatch):
    features, targets = cases()["three columns"]
    expected = smoothness_index(features, targets, kind="exponential")
    monkeypatch.setattr(rows.row_blocks, "__defaults__", (3000,))
    found = smoothness_index(features, targets, kind="exponential")
    np.testing.assert_allclose(found.by_sample, expected.by_sample, rtol=1e-14)


def test_one_column_equals_itself_beside_a_constant_one():
    """The sorted and the blockwise way to the same spread."""
    features, targets = cases()["one column"]
    beside = np.column_stack([targets, np.full(80, 2.5)])
    for kind in ("linear", "exponential"):
        found, other = (smoothness_index(features, some, kind=kind, order=2) for some in (targets, beside))
        np.testing.assert_allclose(found.by_sample, other.by_sample, rtol=1e-12)


@pytest.mark.parametrize("options", OPTIONS)
@pytest.mark.parametrize("num_columns", [1, 2])
def test_null_values_are_the_measure_of_permuted_targets(options, num_columns):
    rng = np.random.default_rng(3)
    features = rng.normal(size=(25, 2))
    targets = features[:, :num_columns] + 0.1 * rng.normal(size=(25, num_columns))
    found, shuffles = smoothness_index(features, targets, **options), Shuffles(40, 1)
    expected = [
        smoothness_index(features, targets[order], **options).value for order in shuffles.of(np.arange(25)).astype(int)
    ]
    np.testing.assert_allclose(found.null_values(shuffles), expected, rtol=1e-10)
    assert len(set(np.round(expected, 9))) > 30
    assert found.p_value(199) <= 0.05


def test_smooth_targets_score_high_and_the_interval_holds_the_value():
    rng = np.random.default_rng(4)
    features = rng.uniform(size=(400, 2))
    smooth = smoothness_index(features, features[:, 0] + features[:, 1])
    noise = smoothness_index(features, rng.normal(size=400))
    assert smooth.value > 0.95 > noise.value
    for found in (smooth, noise):
        low, high = found.interval()
        assert 0 <= low < found.value < high <= 1
    assert noise.p_value(199) > 0.05 > smooth.p_value(199)


NORMAL = np.random.default_rng(5).normal(size=(10, 3))
RISING = np.arange(10.0)


@pytest.mark.parametrize(
    ("features", "targets", "options", "text"),
    [
        (NORMAL, np.full(10, 2.5), {}, r"targets must vary; got the same, \[2.5\], for all 10 samples"),
        (NORMAL, np.ones((10, 2)), {}, "targets must vary"),
        (NORMAL, np.where(RISING == 3, np.nan, 1.0), {}, "targets must be finite; got nan in row 3, column 0"),
        (NORMAL, np.where(np.eye(10) == 1, np.inf, 1.0), {}, "targets must be finite; got inf in row 0, column 0"),
        (NORMAL, RISING[:9], {}, "targets must have one entry a sample, 10; got 9"),
        (NORMAL, list("abcdefghij"), {}, "targets must be real numbers; got dtype <U1"),
        (NORMAL, [], {}, "targets must hold at least one number"),
        (NORMAL, RISING, {"kind": "cubic"}, "kind must be one of linear, exponential; got 'cubic'"),
        (NORMAL, RISING, {"aggregate": "max"}, "aggregate must be one of high, soft; got 'max'"),
        (NORMAL, RISING, {"gamma": 0}, "gamma must be a positive number; got 0"),
        (NORMAL, RISING, {"gamma": np.nan}, "gamma must be a positive number; got nan"),
        (NORMAL, RISING, {"order": 10}, "order must be a whole number from 1 to n - 1 = 9; got 10"),
        (NORMAL, RISING, {"order": 0}, "order must be a whole number from 1"),
        (NORMAL, RISING, {"order": True}, "order must be a whole number from 1"),
        (NORMAL, RISING, {"metric": "manhattan"}, "metric must be one of euclidean, cosine"),
        (NORMAL * np.nan, RISING, {}, "features must be finite"),
        (NORMAL[:1], RISING[:1], {}, "features must have at least two samples"),
    ],
)
def test_bad_input_is_named(features, targets, options, text):
    with pytest.raises(ValueError, match=text):
        smoothness_index(features, targets, **options)
