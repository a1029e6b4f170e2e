"""The whole family at once, against the functions of `core` one by one."""

from math import isnan, nan

import numpy as np
import pytest
from sklearn.datasets import load_digits
from sklearn.model_selection import LeaveOneOut, cross_val_score
from sklearn.neighbors import KNeighborsClassifier

import core
from core.measures.baselines import linear_probe, linear_probe_across
from core.measures.significance import wilson
from core.study.measuring.all_measures import FamilyOptions, MeasuredValue, measure_family

DIGITS = load_digits()
X, Y = DIGITS.data[:200].astype(np.float32), DIGITS.target[:200]
TEST = (DIGITS.data[200:260].astype(np.float32), DIGITS.target[200:260])


def by_name(found: list[MeasuredValue]) -> dict[tuple[str, str], MeasuredValue]:
    assert len({(value.split, value.measure) for value in found}) == len(found)
    return {(value.split, value.measure): value for value in found}


@pytest.mark.parametrize("metric", ["euclidean", "cosine"])
@pytest.mark.parametrize("permutations", [None, 99])
def test_each_value_is_that_of_the_function_of_its_name(metric: str, permutations: int | None):
    options = FamilyOptions(order=3, metric=metric, permutations=permutations, level=0.9)
    found = by_name(measure_family(X, Y, options, test=TEST))
    expected = {
        ("train", "separation"): core.separation_index(X, Y, metric=metric),
        ("train", "balanced"): core.balanced_separation_index(X, Y, metric=metric),
        ("train", "high_order"): core.high_order_separation_index(X, Y, order=3, metric=metric),
        ("train", "soft"): core.soft_separation_index(X, Y, order=3, metric=metric),
        ("train", "anti"): core.anti_separation_index(X, Y, order=3, metric=metric),
        ("test to train", "cross"): core.cross_separation_index(X, Y, *TEST, metric=metric),
    }
    for key, measure in expected.items():
        value = found[key]
        assert (value.value, value.order, value.by_class) == (measure.value, measure.order, measure.by_class), key
        assert (value.low, value.high) == measure.interval(0.9), key
        assert (value.chance, value.excess) == (measure.chance, measure.excess), key
        np.testing.assert_equal(value.z, measure.z)
        assert value.p_value == measure.p_value(permutations), key


@pytest.mark.parametrize("leave_one_out", [True, False])
def test_centers_are_judged_by_their_permutations(leave_one_out: bool):
    rng = np.random.default_rng(0)
    features, labels = rng.normal(size=(60, 40)), np.repeat([0, 1, 2], 20)
    measure = core.center_separation_index(features, labels, leave_one_out=leave_one_out)
    value = by_name(measure_family(features, labels))["train", measure.measure]
    assert (value.value, value.by_class) == (measure.value, measure.by_class)
    assert (value.low, value.high) == measure.interval()
    assert value.p_value == measure.p_value(199)
    assert value.p_value > 0.01
    assert abs(value.z) < 3
    assert value.excess == pytest.approx((value.value - value.chance) / (1 - value.chance))
    assert (value.chance < 0.4) if leave_one_out else (value.chance > 0.5)  # what random labels score


def test_baselines():
    found = by_name(measure_family(X, Y, FamilyOptions(neighbors=3), test=TEST))
    knn = found["train", "knn"]
    expected = cross_val_score(KNeighborsClassifier(3), X, Y, cv=LeaveOneOut()).mean()
    assert (knn.order, knn.value) == (3, pytest.approx(expected, abs=0.011))  # scikit-learn breaks ties otherwise
    assert knn.low < knn.value < knn.high
    plain = wilson(knn.value, len(Y))
    assert knn.high - knn.low >= plain[1] - plain[0]  # samples share neighbors
    probe, across = found["train", "linear_probe"], found["test to train", "linear_probe"]
    assert probe.value == linear_probe(X, Y).mean()
    assert across.value == linear_probe_across(X, Y, *TEST).mean()
    assert (across.low, across.high) == wilson(across.value, 60)
    assert across.by_class[3] == linear_probe_across(X, Y, *TEST)[TEST[1] == 3].mean()
    assert isnan(knn.chance)
    assert isnan(probe.p_value)


def test_a_class_of_one_sample_and_few_samples():
    found = by_name(measure_family([[0.0], [1], [1.5], [9]], ["a", "a", "a", "b"], FamilyOptions(order=3)))
    assert found["train", "separation"].value == 0.75
    np.testing.assert_equal(found["train", "separation"].by_class, {"a": 1.0, "b": nan})
    assert found["train", "knn"].order == 3  # there are no ten others
    assert ("train", "linear_probe") not in found  # nothing to train on


def test_a_value_says_how_many_samples_it_is_the_mean_of():
    features, labels = np.arange(12.0).reshape(12, 1), np.array([0] * 6 + [1] * 5 + [2])
    found = by_name(measure_family(features, labels, FamilyOptions(permutations=9), test=(features[:4], labels[:4])))
    counts = {measure: value.num_queries for (split, measure), value in found.items() if split == "train"}
    single_left_out = dict.fromkeys(("balanced", "center"), 11)
    everyone = ("separation", "high_order", "soft", "anti", "center_in_sample", "knn")
    assert counts == dict.fromkeys(everyone, 12) | single_left_out
    assert found["test to train", "cross"].num_queries == 4


@pytest.mark.parametrize(("num_tied_rows", "is_tested"), [(0, True), (40, False)])
def test_nothing_is_tested_on_neighbors_where_many_samples_are_tied(num_tied_rows: int, is_tested: bool):
    features = np.random.default_rng(0).normal(size=(40, 3))
    features[:num_tied_rows] = 1
    labels = np.repeat([0, 1], 20)
    found = measure_family(features, labels, FamilyOptions(permutations=9), test=(features, labels))
    on_neighbors = [value for value in found if not isnan(value.num_tied)]
    assert len(on_neighbors) == 6
    assert [not isnan(value.p_value) for value in on_neighbors] == [is_tested] * 6
    assert any(not isnan(value.z) for value in on_neighbors) == is_tested
    assert not isnan(by_name(found)["train", "center"].p_value)  # centers know no ties


def test_progress_counts_measures():
    seen = []
    found = measure_family(X[:40], Y[:40], test=TEST, progress=lambda done, total: seen.append((done, total)))
    assert seen == [(done, 11) for done in range(12)]
    assert len(found) == 11


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"order": 40}, r"order must be a whole number from 1 to n - 1 = 39; got 40"),
        ({"order": 0}, r"got 0"),
        ({"neighbors": 0}, r"neighbors must be at least 1; got 0"),
        ({"permutations": 0}, r"permutations must be at least 1; got 0"),
        ({"level": 1.0}, r"level must lie between 0 and 1; got 1\.0"),
        ({"metric": "cos"}, r"metric must be one of euclidean, cosine; got 'cos'"),
    ],
)
def test_wrong_options(options: dict, message: str):
    with pytest.raises(ValueError, match=message):
        measure_family(X[:40], Y[:40], FamilyOptions(**options))


def test_wrong_features():
    with pytest.raises(ValueError, match="must be finite"):
        measure_family([[0.0], [nan], [1]], [0, 1, 1], FamilyOptions(order=1))
    with pytest.raises(ValueError, match="labels must have one entry a sample, 200; got 199"):
        measure_family(X, Y[1:])
