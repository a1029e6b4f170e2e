"""The difference of two measures on the same samples: by hand, against a naive sum, and its edges."""

from itertools import product

import numpy as np
import pytest

from core.measures.paired import _DRAWN_BY, PairedDifference, paired_difference, unpaired_interval


def nodes(nearest):
    return np.column_stack([np.arange(len(nearest)), nearest])


def naive_variance(residuals, before, after):
    """The sum over pairs that share a node, pair by pair."""
    touched = [{*first, *second} for first, second in zip(before.tolist(), after.tolist(), strict=True)]
    pairs = product(range(len(residuals)), repeat=2)
    return sum(residuals[i] * residuals[j] for i, j in pairs if touched[i] & touched[j]) / len(residuals) ** 2


def test_four_samples_by_hand():
    found = paired_difference(
        [0, 0, 1, 1], [1, 1, 1, 0], ["a"] * 4, nodes_before=nodes([1, 0, 3, 2]), nodes_after=nodes([1, 0, 3, 2])
    )
    assert (found.value, found.changed, found.num_samples) == (0.25, 0.75, 4)
    # residuals .75 .75 -.25 -1.25; the pairs {0, 1} and {2, 3} meet: (1.5² + 1.5²)/16, spread .75 - .25²
    assert found.effective_n == pytest.approx(0.6875 / (4.5 / 16))


def test_the_effective_n_is_that_of_the_naive_sum():
    rng = np.random.default_rng(3)
    labels = rng.integers(0, 4, 60)
    before, after = (rng.random(60) < 0.4).astype(float), (rng.random(60) < 0.6).astype(float)
    near_before, near_after = nodes((np.arange(60) + 7) % 60), nodes(np.arange(60) // 4)
    found = paired_difference(before, after, labels, nodes_before=near_before, nodes_after=near_after)
    difference = after - before
    of_class = np.array(
        [
            (difference[labels == label].sum() + _DRAWN_BY * difference.mean()) / ((labels == label).sum() + _DRAWN_BY)
            for label in labels
        ]
    )
    variance = naive_variance(difference - of_class, near_before, near_after)
    spread = (difference**2).mean() - difference.mean() ** 2
    assert found.effective_n == pytest.approx(min(spread / variance, 60))


def test_a_negative_sum_counts_as_independent_samples():
    scores = np.tile([1.0, 0.0], 20)  # samples that meet change in opposite directions
    pairs = np.arange(40) ^ 1
    found = paired_difference(scores, 1 - scores, [0] * 40, nodes_before=nodes(pairs), nodes_after=nodes(pairs))
    assert naive_variance(1 - 2 * scores, nodes(pairs), nodes(pairs)) <= 0
    assert found.effective_n == 40


def test_swapping_the_studies_turns_the_sign():
    rng = np.random.default_rng(0)
    scores, near = rng.integers(0, 2, (2, 50)), nodes(rng.permutation(50))
    there = paired_difference(*scores, [0] * 50, nodes_before=near, nodes_after=near)
    back = paired_difference(*scores[::-1], [0] * 50, nodes_before=near, nodes_after=near)
    assert there.interval() == pytest.approx(tuple(-end for end in reversed(back.interval())))
    assert there.p_value == pytest.approx(back.p_value)


def test_no_change_at_all_has_an_interval_that_shrinks_with_n():
    small, large = (PairedDifference(0.0, 0.0, n, n) for n in (10, 1000))
    assert small.interval()[0] < large.interval()[0] < 0 < large.interval()[1] < small.interval()[1]
    assert large.interval()[1] < 0.003
    assert small.p_value == 1


@pytest.mark.parametrize("value", [-1.0, -0.3, 0.05, 1.0])
def test_the_interval_holds_the_value_and_p_agrees_with_it(value):
    found = PairedDifference(value, max(abs(value), 0.2), 80, 120)
    low, high = found.interval()
    assert -1 <= low <= value <= high <= 1
    assert (found.p_value < 0.05) == (low > 0 or high < 0)


def test_the_exact_interval_by_hand():
    """Ten of ten samples fell: the share that falls is at least 0.0125^(1/10), and one that rises at most the rest."""
    least = 0.0125**0.1
    fell = PairedDifference(-1.0, 1.0, 10, 10)
    assert fell.exact_interval() == pytest.approx((-1, 1 - 2 * least))
    rose = PairedDifference(1.0, 1.0, 10, 10)
    assert rose.exact_interval() == pytest.approx((2 * least - 1, 1))
    unchanged = PairedDifference(0.0, 0.0, 10, 10)
    assert unchanged.exact_interval() == pytest.approx((least - 1, 1 - least))


@pytest.mark.parametrize("value", [-0.5, 0.0, 0.2])
def test_the_exact_interval_holds_the_value_and_narrows_with_n(value):
    (low, high), (lower, higher) = (PairedDifference(value, 0.5, n, n).exact_interval(0.999) for n in (1000, 20))
    assert lower < low < value < high < higher


def test_few_samples_at_a_high_level_need_the_exact_interval():
    """60 classes of 10 samples and two layers with fresh noise: no class truly differs, so none may be certain to."""
    rng, classes, each = np.random.default_rng(1), 60, 10
    labels = np.repeat(np.arange(classes), each)
    wrong = {"interval": 0, "exact_interval": 0}
    for _ in range(40):
        centers = 1.5 * rng.normal(size=(classes, 8))[labels]
        nearest = [_nearest(centers + rng.normal(size=centers.shape)) for _ in range(2)]
        found = [_of_class(labels == label, labels, *nearest) for label in range(classes)]
        for name in wrong:
            intervals = [getattr(one, name)(1 - 0.05 / classes) for one in found]
            wrong[name] += any(low > 0 or high < 0 for low, high in intervals)
    assert wrong["exact_interval"] <= 1
    assert wrong["interval"] > 2 * wrong["exact_interval"] + 2


def _nearest(points):
    distances = ((points[:, None] - points[None]) ** 2).sum(axis=2)
    np.fill_diagonal(distances, np.inf)
    return distances.argmin(axis=1)


def _of_class(rows, labels, before, after):
    """The difference of the samples of one class."""
    sides = [nodes(nearest)[rows] for nearest in (before, after)]
    agrees = [(labels[nearest] == labels)[rows] for nearest in (before, after)]
    return paired_difference(*agrees, labels[rows], nodes_before=sides[0], nodes_after=sides[1])


def test_the_interval_of_two_values_alone():
    low, high = unpaired_interval((0.5, 0.4, 0.6), (0.7, 0.67, 0.74))
    assert (low, high) == pytest.approx((0.2 - np.hypot(0.03, 0.1), 0.2 + np.hypot(0.04, 0.1)))
    assert np.isnan(unpaired_interval((0.5, np.nan, np.nan), (0.7, 0.6, 0.8))).all()


def test_coverage_of_a_seeded_simulation():
    """With shared neighbors, 95% intervals hold the true difference; tests/benchmarks/paired_coverage.py has more."""
    rng = np.random.default_rng(5)
    found = []
    for _ in range(150):
        hidden = rng.random((30, 1)) < [0.4, 0.6]  # groups of four samples share their fate, and their neighbors
        before, after = np.repeat(hidden, 4, axis=0).T
        near = nodes(np.arange(120) // 4 * 4)
        found.append(paired_difference(before, after, np.arange(120) % 3, nodes_before=near, nodes_after=near))
    held = np.mean([low <= 0.2 <= high for low, high in (one.interval() for one in found)])
    assert 0.90 <= held <= 0.99
    assert np.mean([one.effective_n for one in found]) == pytest.approx(30, rel=0.2)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"before": [0, 1]}, r"before must be 3 scores .*got shape \(2,\)"),
        ({"after": [0, 1, np.nan]}, "after must be 3 scores from 0 to 1"),
        ({"after": [0, 1, 2]}, "after must be 3 scores from 0 to 1"),
        ({"nodes_after": [0, 1, 2]}, r"nodes_after must be integers of shape \(3, k\)"),
        ({"nodes_before": np.zeros((3, 2))}, "nodes_before must be integers .*got float64"),
    ],
)
def test_bad_input_is_named(change, message):
    near = nodes(np.array([1, 0, 0]))
    given = {"before": [0, 1, 1], "after": [1, 1, 0], "nodes_before": near, "nodes_after": near} | change
    with pytest.raises(ValueError, match=message):
        paired_difference(
            given["before"], given["after"], list("aab"), nodes_before=given["nodes_before"],
            nodes_after=given["nodes_after"],
        )  # fmt: skip


def test_an_impossible_level_is_refused():
    with pytest.raises(ValueError, match="level must lie between 0 and 1"):
        PairedDifference(0.1, 0.2, 10, 10).interval(95)
