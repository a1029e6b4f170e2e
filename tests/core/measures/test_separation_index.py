"""The family of separation measures: by hand, against the reference numbers, and against naive float64 code."""

import csv

import numpy as np
import pandas as pd
import pytest
from sklearn import datasets
from sklearn.model_selection import LeaveOneOut, cross_val_score
from sklearn.neighbors import KNeighborsClassifier

import core
from core.measures.neighbor_graph import labelled_graph

# Eleven points on a line. Nearest others, lowest row first where two are equally near:
#   row    0    1    2    3    4    5    6    7    8    9    10
#   at     0    1    2.5  4    4.5  6    8    8    11   12   14
#   class  a    a    b    b    b    a    c    c    c    b    a
#   1st    1    0    1    4    3    4    7    6    9    8    9
#   2nd    2    2    3    2    5    3    5    5    6    10   8
POSITIONS = np.array([0, 1, 2.5, 4, 4.5, 6, 8, 8, 11, 12, 14])[:, None]
CLASSES = np.array(list("aabbbacccba"))
AGREES_FIRST = [1, 1, 0, 1, 1, 0, 1, 1, 0, 0, 0]
AGREES_SECOND = [0, 0, 1, 1, 0, 0, 0, 0, 1, 0, 0]


def test_eleven_points_first_order():
    result = core.separation_index(POSITIONS, CLASSES)
    assert result.nearest.tolist() == [1, 0, 1, 4, 3, 4, 7, 6, 9, 8, 9]
    assert result.by_sample.tolist() == AGREES_FIRST
    assert result.value == 6 / 11
    assert result.by_class == {"a": 2 / 4, "b": 2 / 4, "c": 2 / 3}
    assert result.chance == (4 * 3 + 4 * 3 + 3 * 2) / (11 * 10)
    assert result.excess == pytest.approx((6 / 11 - 30 / 110) / (1 - 30 / 110))


def test_eleven_points_second_order():
    first, second = np.array(AGREES_FIRST), np.array(AGREES_SECOND)
    high = core.high_order_separation_index(POSITIONS, CLASSES, order=2)
    soft = core.soft_separation_index(POSITIONS, CLASSES, order=2)
    anti = core.anti_separation_index(POSITIONS, CLASSES, order=2)
    assert high.by_sample.tolist() == (first * second).tolist()
    assert soft.by_sample.tolist() == ((first + second) / 2).tolist()
    assert anti.by_sample.tolist() == ((1 - first) * (1 - second)).tolist()
    assert high.chance == pytest.approx((4 * 3 * 2 + 4 * 3 * 2 + 3 * 2 * 1) / (11 * 10 * 9))
    assert soft.chance == pytest.approx(30 / 110)
    assert anti.chance == pytest.approx((8 / 11) * (7 * 6) / (10 * 9) + (3 / 11) * (8 * 7) / (10 * 9))


def test_eleven_points_balanced():
    result = core.balanced_separation_index(POSITIONS, CLASSES)
    assert result.value == pytest.approx((1 / 2 + 1 / 2 + 2 / 3) / 3)
    assert result.chance == pytest.approx((3 / 10 + 3 / 10 + 2 / 10) / 3)


@pytest.mark.parametrize(("ties", "score"), [("first", 0), ("any", 1), ("all", 0), ("mean", 1 / 2)])
def test_ties_between_two_neighbors(ties, score):
    """The middle one has a neighbor of its class on one side and one of another on the other, equally near."""
    result = core.separation_index([[0.0], [2.0], [4.0], [4.5]], ["b", "a", "a", "a"], ties=ties)
    assert result.by_sample.tolist() == [0, score, 1, 1]
    assert result.value == (2 + score) / 4


@pytest.mark.parametrize("ties", ["any", "all", "mean"])
def test_ties_agree_with_a_naive_search(ties):
    rng = np.random.default_rng(0)
    features, labels = rng.integers(0, 4, size=(150, 3)), rng.integers(0, 3, size=150)
    expected = []
    for row, sample in enumerate(features):
        squared = ((features - sample) ** 2).sum(axis=1).astype(float)
        squared[row] = np.inf
        agrees = labels[squared == squared.min()] == labels[row]
        expected.append({"any": agrees.any(), "all": agrees.all(), "mean": agrees.mean()}[ties])
    result = core.separation_index(features, labels, ties=ties)
    np.testing.assert_allclose(result.by_sample, expected)
    assert result.num_tied > 100
    assert 0 < result.p_value(200) <= 1


def load(name, scaling):
    data = getattr(datasets, f"load_{name}")()
    features = data.data
    if scaling == "zscore":
        spread = features.std(axis=0)
        features = (features - features.mean(axis=0)) / np.where(spread == 0, 1, spread)
    return features, data.target


def quantity(name, features, labels):
    """A reference quantity by its name, such as `si_ties_any` or `soft_3`."""
    if name == "si":
        return core.separation_index(features, labels).value
    if name.startswith("si_ties_"):
        return core.separation_index(features, labels, ties=name.removeprefix("si_ties_")).value
    if name == "tied_samples":
        return core.separation_index(features, labels, ties="any").num_tied
    if name == "chance_si":
        return core.separation_index(features, labels).chance
    if name.startswith("si_class_"):
        return core.separation_index(features, labels).by_class[int(name.removeprefix("si_class_"))]
    kind, order = name.rsplit("_", 1)
    return getattr(core, f"{kind}_separation_index")(features, labels, order=int(order)).value


@pytest.mark.shared
@pytest.mark.parametrize("scaling", ["raw", "zscore"])
@pytest.mark.parametrize("name", ["iris", "wine", "breast_cancer", "digits"])
def test_reference_numbers(shared_dir, name, scaling):
    features, labels = load(name, scaling)
    with (shared_dir / "reference" / "separation_sklearn.csv").open() as file:
        rows = [row for row in csv.DictReader(file) if (row["dataset"], row["scaling"]) == (name, scaling)]
    rows = [row for row in rows if not row["quantity"].startswith(("center", "permutation"))]
    assert len(rows) >= 17
    for row in rows:
        assert quantity(row["quantity"], features, labels) == pytest.approx(float(row["value"]), abs=1e-12), row[
            "quantity"
        ]


@pytest.mark.shared
@pytest.mark.parametrize("name", ["iris", "wine", "breast_cancer", "digits"])
def test_null_moments_match_the_reference_permutations(shared_dir, name):
    features, labels = load(name, "raw")
    with (shared_dir / "reference" / "separation_sklearn.csv").open() as file:
        known = {
            row["quantity"]: float(row["value"])
            for row in csv.DictReader(file)
            if (row["dataset"], row["scaling"]) == (name, "raw")
        }
    moments = core.separation_index(features, labels).moments
    assert moments.mean == pytest.approx(known["permutation_mean_4000"], abs=4 * moments.sd / np.sqrt(4000))
    assert moments.sd == pytest.approx(known["permutation_sd_4000"], rel=4 / np.sqrt(2 * 4000))


def test_equals_leave_one_out_accuracy_of_one_neighbor():
    features, labels = load("wine", "raw")
    accuracy = cross_val_score(KNeighborsClassifier(1, algorithm="brute"), features, labels, cv=LeaveOneOut()).mean()
    assert core.separation_index(features, labels).value == accuracy


def test_published_value_of_breast_cancer():
    """problexity's README gives n3 = 0.084 for this data set."""
    assert 1 - core.separation_index(*load("breast_cancer", "raw")).value == pytest.approx(0.084, abs=5e-4)


def test_cross_is_one_neighbor_test_accuracy():
    features, labels = load("wine", "zscore")
    train, test = np.arange(0, 178, 2), np.arange(1, 178, 2)
    result = core.cross_separation_index(features[train], labels[train], features[test], labels[test])
    classifier = KNeighborsClassifier(1, algorithm="brute").fit(features[train], labels[train])
    assert result.value == classifier.score(features[test], labels[test])
    share = [np.bincount(labels[part]) / len(part) for part in (train, test)]
    assert result.chance == pytest.approx(share[0] @ share[1])


def test_cross_with_classes_that_only_one_side_has():
    result = core.cross_separation_index([[0.0], [1.0]], ["a", "b"], [[0.1], [0.9], [2.0]], ["a", "c", "b"])
    assert result.by_sample.tolist() == [1, 0, 1]
    assert result.chance == pytest.approx(1 / 2 * 1 / 3 + 1 / 2 * 1 / 3)
    assert result.by_class["a"] == 1


def test_a_class_of_one_sample_has_no_value_of_its_own():
    result = core.separation_index([[0.0], [1.0], [5.0]], ["a", "a", "b"])
    assert result.by_sample.tolist() == [1, 1, 0]
    assert result.value == 2 / 3
    assert np.isnan(result.by_class["b"])
    assert core.balanced_separation_index([[0.0], [1.0], [5.0]], ["a", "a", "b"]).value == 1


def test_some_rows_only():
    rng = np.random.default_rng(1)
    features, labels = rng.normal(size=(80, 3)), rng.integers(0, 4, size=80)
    rows = [5, 60, 7]
    result = core.separation_index(features, labels, rows=rows)
    np.testing.assert_array_equal(result.by_sample, core.separation_index(features, labels).by_sample[rows])


def test_all_orders_share_one_search():
    rng = np.random.default_rng(2)
    features, labels = rng.normal(size=(60, 4)), rng.integers(0, 3, size=60)
    graph = labelled_graph(features, labels, k=5)
    for order in (1, 2, 5):
        for name in ("high_order", "soft", "anti"):
            alone = getattr(core, f"{name}_separation_index")(features, labels, order=order)
            assert getattr(graph, name)(order).value == alone.value


def test_labels_may_be_strings_objects_or_any_integers():
    features, labels = load("iris", "raw")
    value = core.separation_index(features, labels).value
    names = np.array(["setosa", "versicolor", "virginica"])[labels]
    for given in (names, names.astype(object), labels * 1000 - 5, labels.astype(np.uint8), names.tolist()):
        assert core.separation_index(features, given).value == value


@pytest.mark.parametrize(
    ("call", "text"),
    [
        (lambda x, y: core.separation_index(x, y[:-1]), "labels must have one entry a sample, 6; got 5"),
        (lambda x, y: core.separation_index(x, y.astype(float)), "labels must be integers or strings"),
        (lambda x, y: core.separation_index(x, [1, 2, "a", None, 3, 4]), "labels must be all integers or all strings"),
        (
            lambda x, y: core.separation_index(x, [10**20, *y[1:].tolist()]),
            "of at most 64 bits, or strings; got 1000000",
        ),
        (lambda x, y: core.separation_index(x, pd.DataFrame({"a": y, "b": "c"})), "a table. Pass the column of labels"),
        (lambda x, y: core.separation_index(x, pd.DataFrame({"b": ["c"] * 6})), "a column. Pass labels.squeeze"),
        (lambda x, y: core.separation_index(x, y, ties="random"), "ties must be one of first, any, all, mean"),
        (lambda x, y: core.soft_separation_index(x, y, order=6), "order must be a whole number from 1 to n - 1 = 5"),
        (lambda x, y: core.anti_separation_index(x, y, order=0), "order must be a whole number"),
        (lambda x, y: core.separation_index(x[:1], y[:1]), "at least two samples"),
        (lambda x, y: core.cross_separation_index(x, y, x[:, :1], y), "queries must have 2 features"),
        (lambda x, y: core.cross_separation_index(x, y, x, y[1:]), "test_labels must have one entry a sample"),
        (lambda x, y: labelled_graph(x, y, k=2).soft(3), r"order must lie in 1\.\.2"),
    ],
)
def test_bad_input_is_named(call, text):
    rng = np.random.default_rng(3)
    with pytest.raises(ValueError, match=text):
        call(rng.normal(size=(6, 2)), np.array([0, 0, 1, 1, 2, 2]))
