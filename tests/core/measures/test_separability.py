"""Separability measures against values worked out by hand, oracles, scikit-learn, and what must not change them."""

from itertools import permutations

import numpy as np
import pytest
from scipy.spatial.distance import cdist
from sklearn.metrics import silhouette_score

from core.measures.related.separability import (
    generalized_discrimination_value,
    neural_collapse,
    separability_measures,
    separation_fuzziness,
    silhouette,
)

MEASURES = [silhouette, generalized_discrimination_value, neural_collapse, separation_fuzziness]
PAIRS = np.array([[0.0], [2.0], [10.0], [14.0]])  # two classes of two on a line


def drawn(shape=(60, 5), classes=4, *, seed=0, equal=False):
    rng = np.random.default_rng(seed)
    labels = np.arange(shape[0]) % classes if equal else rng.integers(0, classes, shape[0])
    return rng.normal(size=shape) * np.linspace(1, 3, shape[1]) + 0.7 * labels[:, None], labels


# By hand


def test_silhouette_of_two_pairs():
    # a = 2, 2, 4, 4; b = 12, 10, 9, 13
    found = silhouette(PAIRS, [0, 0, 1, 1])
    assert found.value == pytest.approx(np.mean([10 / 12, 8 / 10, 5 / 9, 9 / 13]), abs=1e-12)
    assert found.num_samples == 4


def test_discrimination_of_two_pairs():
    # sd 5.723635; within 2 and 4, mean 3; between 10, 14, 8, 12, mean 11; in half standard deviations
    found = generalized_discrimination_value(PAIRS, [0, 0, 1, 1])
    assert found.value == pytest.approx((3 - 11) / (2 * np.std([0, 2, 10, 14])), abs=1e-12)
    assert found.chance == 0


def test_scatter_of_two_pairs():
    # means 1 and 12 about 6.5: between 5.5², within (1 + 1 + 4 + 4)/4
    assert separation_fuzziness(PAIRS, [0, 0, 1, 1]).value == pytest.approx(2.5 / 5.5**2, abs=1e-12)
    assert neural_collapse(PAIRS, [0, 0, 1, 1]).value == pytest.approx(2.5 / 5.5**2 / 2, abs=1e-12)


def test_classes_of_unequal_size_weigh_by_size_in_fuzziness_alone():
    # classes {0, 3} and {9}: mean 4, class means 1.5 and 9, theirs 5.25, within (2.25 + 2.25 + 0)/3 = 1.5
    features, labels = np.array([[0.0], [3.0], [9.0]]), [0, 0, 1]
    assert separation_fuzziness(features, labels).value == pytest.approx(1.5 / ((2 * 2.5**2 + 5**2) / 3), abs=1e-12)
    assert neural_collapse(features, labels).value == pytest.approx(1.5 / 3.75**2 / 2, abs=1e-12)


# Naive oracles


def naive_discrimination(features, labels):
    scores = (features - features.mean(axis=0)) / (2 * features.std(axis=0))
    distance, classes = cdist(scores, scores), np.unique(labels)
    members = [np.flatnonzero(labels == name) for name in classes]
    within = [distance[np.ix_(own, own)].sum() / (len(own) * (len(own) - 1)) for own in members]
    between = [distance[np.ix_(own, other)].mean() for at, own in enumerate(members) for other in members[:at]]
    return (np.mean(within) - np.mean(between)) / np.sqrt(features.shape[1])


def naive_scatter(features, labels, *, equal_classes):
    classes, counts = np.unique(labels, return_counts=True)
    means = np.array([features[labels == name].mean(axis=0) for name in classes])
    within = np.mean([np.outer(row, row) for row in features - means[np.searchsorted(classes, labels)]], axis=0)
    weights = np.full(len(classes), 1 / len(classes)) if equal_classes else counts / counts.sum()
    between = sum(weight * np.outer(row, row) for weight, row in zip(weights, means - weights @ means, strict=True))
    return np.trace(within @ np.linalg.pinv(between, rcond=1e-12, hermitian=True))


@pytest.mark.parametrize("shape", [(60, 5), (40, 90)], ids=["tall", "wide"])
@pytest.mark.parametrize("equal", [True, False])
def test_all_four_against_their_definitions(shape, equal):
    features, labels = drawn(shape, equal=equal)
    found = [one.value for one in separability_measures(features, labels, permutations=0)]
    expected = [
        silhouette_score(features, labels),
        naive_discrimination(features, labels),
        naive_scatter(features, labels, equal_classes=True) / 4,
        naive_scatter(features, labels, equal_classes=False),
    ]
    np.testing.assert_allclose(found, expected, rtol=1e-9)


def test_collapse_is_fuzziness_over_classes_where_classes_are_equal():
    features, labels = drawn(equal=True)
    assert neural_collapse(features, labels).value * 4 == pytest.approx(separation_fuzziness(features, labels).value)


def test_blocks_of_rows_do_not_matter(monkeypatch):
    features, labels = drawn()
    whole = separability_measures(features, labels)
    monkeypatch.setattr(
        "core.measures.related.class_distances.row_blocks",
        lambda n, row_bytes: (slice(i, min(i + 7, n)) for i in range(0, n, 7)),
    )
    for one, other in zip(whole, separability_measures(features, labels), strict=True):
        assert (one.value, one.chance) == pytest.approx((other.value, other.chance), rel=1e-12)


@pytest.mark.parametrize("shape", [(60, 5), (40, 90), (60, 2)])
@pytest.mark.parametrize("equal_classes", [True, False])
def test_float32_far_from_zero_is_no_reason_for_another_direction(equal_classes, shape):
    features, labels = drawn(shape)
    moved = np.float32(features + 50)
    measure, scale = (neural_collapse, 4) if equal_classes else (separation_fuzziness, 1)
    exact = naive_scatter(np.float64(moved), labels, equal_classes=equal_classes)
    assert measure(moved, labels, permutations=0).value * scale == pytest.approx(exact, rel=1e-6)


# Chance


def test_discrimination_is_zero_on_average_over_all_labelings():
    features, labels = drawn((7, 2))[0], (0, 0, 0, 1, 1, 2, 2)
    values = [generalized_discrimination_value(features, order).value for order in set(permutations(labels))]
    assert len(values) == 210
    assert np.std(values) > 0.05
    assert np.mean(values) == pytest.approx(0, abs=1e-12)


@pytest.mark.parametrize("measure", [silhouette, neural_collapse, separation_fuzziness])
def test_chance_is_the_median_over_permuted_labels(measure):
    features, labels = drawn()
    rng = np.random.default_rng(1)
    permuted = [measure(features, rng.permutation(labels), permutations=0).value for _ in range(200)]
    found = measure(features, labels, permutations=101)
    assert 0.35 < np.mean(permuted < np.float64(found.chance)) < 0.65
    assert not 0.1 < np.mean(permuted < np.float64(found.value)) < 0.9
    assert np.isnan(measure(features, labels, permutations=0).chance)


# What must not change them


def rotated(features):
    return features @ np.linalg.qr(np.random.default_rng(3).normal(size=(features.shape[1],) * 2))[0]


@pytest.mark.parametrize("measure", MEASURES)
def test_shift_scale_and_order_of_samples(measure):
    features, labels = drawn()
    expected = measure(features, labels).value
    order = np.random.default_rng(4).permutation(len(labels))
    assert measure(features * 1e-6 + 5e-6, labels).value == pytest.approx(expected, rel=1e-6)
    assert measure(features[order], labels[order]).value == pytest.approx(expected, rel=1e-9)
    assert measure(features, [f"class {label}" for label in labels]).value == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("measure", [silhouette, neural_collapse, separation_fuzziness])
def test_rotation(measure):
    features, labels = drawn()
    assert measure(rotated(features), labels).value == pytest.approx(measure(features, labels).value, rel=1e-9)


def test_discrimination_sees_columns_not_their_scales():
    features, labels = drawn()
    expected = generalized_discrimination_value(features, labels).value
    scaled = features[:, ::-1] * np.array([1.0, 1e5, 3.0, 1e-4, 7.0])
    assert generalized_discrimination_value(scaled, labels).value == pytest.approx(expected, rel=1e-9)
    assert abs(generalized_discrimination_value(rotated(features), labels).value - expected) > 1e-4
    constant = np.column_stack([features, np.full(len(features), 3.3)])
    widened = generalized_discrimination_value(constant, labels).value
    assert widened == pytest.approx(expected * np.sqrt(5 / 6), rel=1e-9)


# Edges


def test_collapsed_classes_and_coinciding_means():
    labels = [0, 0, 1, 1, 2, 2]
    collapsed = np.repeat(np.eye(3), 2, axis=0)
    values = [one.value for one in separability_measures(collapsed, labels)]
    assert values[0] == pytest.approx(1, abs=1e-7)
    assert values[2:] == pytest.approx([0, 0], abs=1e-12)
    same = np.tile([[0.0], [1.0]], (3, 1))
    assert np.isnan([measure(same, labels).value for measure in (neural_collapse, separation_fuzziness)]).all()
    assert np.isnan(neural_collapse(np.ones((4, 3)), [0, 0, 1, 1]).value)
    assert silhouette(np.ones((4, 3)), [0, 0, 1, 1]).value == 0


@pytest.mark.parametrize("measure", MEASURES)
def test_nothing_is_known_where_every_sample_is_alone(measure):
    assert np.isnan(measure(PAIRS, [0, 1, 2, 3]).value)


def test_a_sample_alone_in_its_class():
    features, labels = drawn()
    labels[0] = 99
    assert silhouette(features, labels).value == pytest.approx(silhouette_score(features, labels), abs=1e-12)
    assert np.isfinite(generalized_discrimination_value(features, labels).value)
    assert np.isnan(generalized_discrimination_value(features[:3], [0, 1, 2]).value)


@pytest.mark.parametrize("measure", MEASURES)
@pytest.mark.parametrize(
    ("features", "labels", "message"),
    [
        (np.ones((3, 2)), [0, 0, 0], "labels must name at least two classes; got 1"),
        (np.ones((3, 2)), [0, 1], "labels must have one entry a sample, 3; got 2"),
        (np.array([[1.0], [np.nan]]), [0, 1], "features must be finite; got nan"),
    ],
)
def test_bad_input(measure, features, labels, message):
    with pytest.raises(ValueError, match=message):
        measure(features, labels)


def test_permutations_are_not_negative():
    with pytest.raises(ValueError, match="permutations must be at least 0; got -1"):
        silhouette(PAIRS, [0, 0, 1, 1], permutations=-1)
