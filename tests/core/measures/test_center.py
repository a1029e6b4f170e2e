"""Center separation: by hand, against explicit leave-one-out means and scikit-learn, and what makes it misleading."""

import csv

import numpy as np
import pytest
from sklearn import datasets

from core.measures.center import CenterGeometry, center_separation_index
from core.measures.separation import EncodedLabels
from core.measures.significance import Shuffles


def naive(features, labels, *, leave_one_out):
    """Explicit means, without the sample itself where it is left out; the definition itself."""
    features = np.asarray(features, dtype=np.float64).reshape(len(features), -1)
    labels = np.asarray(labels)
    scores = np.full(len(labels), np.nan)
    for row, own in enumerate(labels):
        others = np.arange(len(labels)) != row
        if leave_one_out and not (labels[others] == own).any():
            continue
        distances = {}
        for label in np.unique(labels):
            members = labels == label
            mean = features[members & others if leave_one_out and label == own else members].mean(axis=0)
            distances[label] = ((features[row] - mean) ** 2).sum()
        scores[row] = min(distances, key=distances.get) == own
    return scores


def cases():
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 5, size=60)
    unequal = np.sort(np.concatenate([np.zeros(40), np.ones(15), np.full(4, 2), [3]]).astype(int))
    narrow = rng.normal(size=(60, 7)) + labels[:, None] * 0.5
    wide = rng.normal(size=(60, 300)) + 0.3 * rng.normal(size=(5, 300))[labels]
    return {
        "narrow": (narrow, labels),
        "wide": (wide, labels),
        "float32": (narrow.astype(np.float32), labels),
        "strings": (narrow, np.array(["e", "d", "c", "b", "a"])[labels]),
        "unequal classes and a class of one": (narrow, unequal),
        "unequal classes and a class of one, wide": (wide, unequal),
        "pairs": (narrow, np.arange(60) // 2),
        "images": (wide.reshape(60, 10, 10, 3), labels),
        "offset 50, spread 0.05": ((50 + 0.05 * wide).astype(np.float32), labels),
        "one class": (narrow, np.zeros(60, dtype=int)),
        "two samples": (narrow[:2], [4, 7]),
    }


@pytest.mark.parametrize("leave_one_out", [True, False])
@pytest.mark.parametrize("name", cases())
def test_agrees_with_explicit_means(name, leave_one_out):
    features, labels = cases()[name]
    found = center_separation_index(features, labels, leave_one_out=leave_one_out)
    expected = naive(features, labels, leave_one_out=leave_one_out)
    np.testing.assert_array_equal(found.by_sample, expected)
    if np.isfinite(expected).any():
        assert found.value == pytest.approx(np.nanmean(expected))


def test_five_points_on_a_line():
    """Centers 3 and 7.25; without 5.5 its own center is 9, farther than 3."""
    features, labels = [[0.0], [2.0], [7.0], [5.5], [9.0]], ["a", "a", "a", "b", "b"]
    in_sample = center_separation_index(features, labels, leave_one_out=False)
    assert in_sample.by_sample.tolist() == [1, 1, 0, 1, 1]
    assert in_sample.measure == "center_in_sample"
    left_out = center_separation_index(features, labels)
    assert left_out.by_sample.tolist() == [1, 1, 0, 0, 1]
    assert left_out.by_class == {"a": pytest.approx(2 / 3), "b": 0.5}
    assert (left_out.measure, left_out.order, left_out.value) == ("center", 1, 0.6)
    assert left_out.nearest is None
    assert np.isnan([left_out.chance, left_out.excess, left_out.z]).all()


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("padding", [0, 40])
def test_equal_distances_go_to_the_lowest_class(padding, seed):
    """The same numbers in each class, in another order: the three centers coincide, however their sums are rounded."""
    rng = np.random.default_rng(seed)
    numbers = rng.normal(size=9)
    points = np.concatenate([rng.permutation(numbers) for _ in "xyz"])[:, None]
    features = np.hstack([points, np.zeros((27, padding))])
    found = center_separation_index(features, np.repeat(["x", "y", "z"], 9), leave_one_out=False)
    assert found.by_class == {"x": 1, "y": 0, "z": 0}


@pytest.mark.shared
@pytest.mark.parametrize("scaling", ["raw", "zscore"])
@pytest.mark.parametrize("name", ["iris", "wine", "breast_cancer", "digits"])
def test_agrees_with_the_reference(shared_dir, name, scaling):
    with open(shared_dir / "reference" / "separation_sklearn.csv", newline="") as file:
        rows = [row for row in csv.DictReader(file) if (row["dataset"], row["scaling"]) == (name, scaling)]
    expected = {row["quantity"]: float(row["value"]) for row in rows}
    features, labels = getattr(datasets, f"load_{name}")(return_X_y=True)
    if scaling == "zscore":
        spread = features.std(axis=0)
        features = (features - features.mean(axis=0)) / np.where(spread == 0, 1, spread)
    geometry = CenterGeometry.of(features)
    assert geometry.separation(labels).value == pytest.approx(expected["center_leave_one_out"], abs=1e-12)
    in_sample = geometry.separation(labels, leave_one_out=False)
    assert in_sample.value == pytest.approx(expected["center_in_sample"], abs=1e-12)


def test_random_labels_score_near_one_in_sample():
    """The notebook's curve: more features than samples, and labels that mean nothing."""
    rng = np.random.default_rng(1)
    geometry = CenterGeometry.of(rng.normal(size=(200, 5000)).astype(np.float32))
    labels = rng.permutation(np.repeat(np.arange(20), 10))
    in_sample, left_out = (geometry.separation(labels, leave_one_out=choice) for choice in (False, True))
    assert in_sample.value > 0.99
    assert left_out.value < 1 / 20
    assert min(in_sample.p_value(99), left_out.p_value(99)) > 0.05


@pytest.mark.parametrize("leave_one_out", [True, False])
@pytest.mark.parametrize("num_features", [3, 200])
def test_null_values_are_the_measure_under_permuted_labels(num_features, leave_one_out):
    rng = np.random.default_rng(2)
    labels = np.repeat([0, 1, 2, 3], [20, 10, 4, 1])
    features = rng.normal(size=(35, num_features)) + labels[:, None]
    found = center_separation_index(features, labels, leave_one_out=leave_one_out)
    shuffles = Shuffles(30, 3)
    permuted = [np.nanmean(naive(features, codes, leave_one_out=leave_one_out)) for codes in shuffles.of(labels)]
    np.testing.assert_allclose(found.null_values(shuffles), permuted)
    assert found.p_value(shuffles=shuffles) == (1 + (np.array(permuted) >= found.value - 1e-12).sum()) / 31


def test_in_sample_says_nothing_where_features_are_many():
    """Two well separated classes in 2,000 features: in sample nearly every permutation scores 1 too."""
    labels = np.repeat([0, 1], 20)
    features = np.random.default_rng(3).normal(size=(40, 2000)) + 0.5 * labels[:, None]
    in_sample, left_out = (center_separation_index(features, labels, leave_one_out=choice) for choice in (False, True))
    assert in_sample.value == left_out.value == 1
    assert in_sample.p_value(99) > 0.9
    assert left_out.p_value(99) == 0.01


def test_chunks_change_nothing():
    features, labels = cases()["wide"]
    expected = CenterGeometry.of(features)
    assert expected.inner.shape == (60, 60)  # of 300 features
    found = CenterGeometry.of(features, chunk=7)
    np.testing.assert_allclose(found.inner, expected.inner, rtol=1e-12, atol=1e-15)
    np.testing.assert_array_equal(found.separation(labels).by_sample, expected.separation(labels).by_sample)


@pytest.mark.parametrize("name", ["narrow", "wide"])
@pytest.mark.parametrize("change", ["translation", "huge", "tiny", "row order"])
def test_what_changes_nothing(name, change):
    features, labels = cases()[name]
    order = np.random.default_rng(4).permutation(60) if change == "row order" else np.arange(60)
    moved = {"translation": features + 1e4, "huge": features * 1e145, "tiny": features * 1e-300}.get(change, features)
    found = center_separation_index(moved[order], labels[order])
    np.testing.assert_array_equal(found.by_sample, center_separation_index(features, labels).by_sample[order])


def test_a_class_of_one_has_no_leave_one_out_value_but_its_center_competes():
    features, labels = [[0.0], [1.0], [-0.5], [9.0]], ["a", "a", "b", "c"]
    found = center_separation_index(features, labels)
    np.testing.assert_array_equal(found.by_sample, [0, 1, np.nan, np.nan])
    assert found.value == 0.5
    assert np.isnan([found.by_class["b"], found.by_class["c"]]).all()
    assert found.interval() == pytest.approx((0.0945312, 0.9054688), abs=1e-6)  # Wilson's with n = 2


def test_nothing_is_defined_where_every_sample_has_its_own_class():
    found = center_separation_index(np.eye(4), ["a", "b", "c", "d"])
    assert np.isnan([found.value, found.p_value(9), *found.interval()]).all()
    in_sample = center_separation_index(np.eye(4), ["a", "b", "c", "d"], leave_one_out=False)
    assert in_sample.value == in_sample.p_value(9) == 1


def test_classes_without_samples_are_nan():
    features, labels = cases()["narrow"]
    geometry = CenterGeometry.of(features)
    encoded = EncodedLabels(labels + 1, ("none", *"abcde", "also none"))
    found = geometry.separation(encoded)
    np.testing.assert_array_equal(found.by_sample, geometry.separation(labels).by_sample)
    assert np.isnan([found.by_class["none"], found.by_class["also none"]]).all()
    assert np.isfinite([found.by_class[label] for label in "abcde"]).all()


@pytest.mark.parametrize(
    ("features", "labels", "text"),
    [
        ([[0.0], [np.nan]], [0, 1], "features must be finite; got nan in row 1"),
        ([[0.0]], [0], "features must have at least two samples; got 1"),
        ([[0.0], [1.0]], [0, 1, 1], "labels must have one entry a sample, 2; got 3"),
        ([[0.0], [1.0]], [0.5, 1.5], "labels must be integers or strings"),
        (np.empty((0, 3)), np.empty(0, dtype=int), "features must hold at least one number"),
    ],
)
def test_bad_input_is_named(features, labels, text):
    with pytest.raises(ValueError, match=text):
        center_separation_index(features, labels)
