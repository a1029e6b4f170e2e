"""Baselines: the vote of k neighbors and the linear probe, against scikit-learn."""

import numpy as np
import pytest
from sklearn.datasets import load_digits, load_iris
from sklearn.linear_model import Ridge, RidgeClassifierCV
from sklearn.model_selection import LeaveOneOut, StratifiedKFold, cross_val_predict
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from core.measures.baselines import fit_linear_scores, knn_correct, linear_probe, linear_probe_across
from core.search.neighbors import nearest_neighbors

PENALTIES = np.logspace(-1, 5, 7)


def sklearn_probe():
    return make_pipeline(StandardScaler(), RidgeClassifierCV(PENALTIES))


def noisy(num_samples=120, num_features=15, separation=0.6, seed=0):
    """Four classes that overlap, so that right and wrong both occur."""
    rng = np.random.default_rng(seed)
    labels = np.arange(num_samples) % 4
    centers = separation * rng.normal(size=(4, num_features))
    return rng.normal(size=(num_samples, num_features)) + centers[labels], labels


def naive_probe(features, labels, *, folds, seed):
    """The probe by refitting: every sample left out for the penalties, every fold for the predictions."""
    matrix = StandardScaler().fit_transform(features)
    classes, codes = np.unique(labels, return_inverse=True)
    targets = np.where(codes[:, None] == np.arange(len(classes)), 1.0, -1.0)
    correct = np.empty(len(codes), dtype=bool)
    squared = {penalty: left_out_errors(matrix, targets, penalty) ** 2 for penalty in PENALTIES}
    for train, test in StratifiedKFold(folds, shuffle=True, random_state=seed).split(matrix, codes):
        penalty = min(PENALTIES, key=lambda one: squared[one][train].mean())
        predicted = Ridge(penalty).fit(matrix[train], targets[train]).predict(matrix[test])
        correct[test] = predicted.argmax(axis=1) == codes[test]
    return correct


def left_out_errors(matrix, targets, penalty):
    """Target minus prediction of each sample by a ridge regression on all others."""
    errors = np.empty_like(targets)
    for left_out in range(len(matrix)):
        others = np.arange(len(matrix)) != left_out
        means = matrix[others].mean(axis=0), targets[others].mean(axis=0)
        centered = matrix[others] - means[0]
        inner = centered.T @ centered + penalty * np.eye(matrix.shape[1])
        slopes = np.linalg.solve(inner, centered.T @ (targets[others] - means[1]))
        errors[left_out] = targets[left_out] - means[1] - (matrix[left_out] - means[0]) @ slopes
    return errors


def test_majority_of_three_and_lowest_code_among_equals():
    neighbor_codes = np.array([[0, 1, 1], [2, 1, 0], [2, 2, 0]])
    assert knn_correct(neighbor_codes, np.array([1, 0, 0]), 3).tolist() == [True, True, False]


@pytest.mark.parametrize("k", [1, 4, 9])
def test_knn_agrees_with_scikit_learn(k):
    features, labels = noisy()
    neighbors = nearest_neighbors(features, k=k).indices
    predicted = cross_val_predict(KNeighborsClassifier(k, algorithm="brute"), features, labels, cv=LeaveOneOut())
    np.testing.assert_array_equal(knn_correct(labels[neighbors], labels, 4), predicted == labels)


@pytest.mark.parametrize("seed", [0, 5])
@pytest.mark.parametrize("data", ["overlapping", "wide", "iris", "strings"])
def test_probe_agrees_with_scikit_learn(data, seed):
    features, labels = {
        "overlapping": noisy(),
        "wide": noisy(num_features=200, separation=0.25),
        "iris": load_iris(return_X_y=True),
        "strings": (noisy()[0], np.array(["d", "c", "b", "a"])[noisy()[1]]),
    }[data]
    found = linear_probe(features, labels, folds=4, seed=seed)
    np.testing.assert_array_equal(found, naive_probe(features, labels, folds=4, seed=seed))
    assert found.dtype == np.bool_
    assert 0.5 < found.mean() < 1
    nested = cross_val_predict(
        sklearn_probe(), features, labels, cv=StratifiedKFold(4, shuffle=True, random_state=seed)
    )
    assert found.mean() == pytest.approx(np.mean(nested == labels), abs=0.02)  # standardized in each fold anew


def test_probe_across_agrees_with_scikit_learn():
    features, labels = load_digits(return_X_y=True)
    predicted = sklearn_probe().fit(features[:900], labels[:900]).predict(features[900:])
    found = linear_probe_across(features[:900], labels[:900], features[900:], labels[900:])
    np.testing.assert_array_equal(found, predicted == labels[900:])


def test_probe_learns_nothing_from_permuted_labels():
    features, labels = noisy(num_samples=400, num_features=100)
    assert linear_probe(features, labels).mean() > 0.6
    assert linear_probe(features, np.random.default_rng(1).permutation(labels)).mean() < 0.35


def test_a_test_class_without_training_samples_is_never_named():
    features = np.array([[0.0], [0.1], [1.0], [1.1]])
    found = linear_probe_across(features, ["cat", "cat", "dog", "dog"], [[0.0], [1.0], [0.05]], ["cat", "dog", "bee"])
    assert found.tolist() == [True, True, False]


def test_folds_are_as_many_as_the_smallest_class_allows():
    features, labels = noisy(num_samples=40)
    labels = np.where(np.arange(40) < 2, 9, labels)
    np.testing.assert_array_equal(
        linear_probe(features, labels, folds=5), naive_probe(features, labels, folds=2, seed=0)
    )


@pytest.mark.parametrize("change", ["float32", "constant columns", "huge", "tiny", "images"])
def test_no_warning_and_no_other_answer(change):
    """Warnings are errors here."""
    features, labels = noisy(num_features=16)
    changed = {
        "float32": features.astype(np.float32),
        "constant columns": np.hstack([features, np.full((120, 3), 7.0)]),
        "huge": features * 1e148,
        "tiny": features * 1e-200,
        "images": features.reshape(120, 2, 2, 4),
    }[change]
    np.testing.assert_array_equal(linear_probe(changed, labels), linear_probe(features, labels))
    across = linear_probe_across(changed[:60], labels[:60], changed[60:], labels[60:])
    np.testing.assert_array_equal(across, linear_probe_across(features[:60], labels[:60], features[60:], labels[60:]))


def test_the_smallest_probe():
    assert linear_probe([[0.0], [0.1], [1.0], [1.1]], [0, 0, 1, 1]).all()


X, Y = noisy(num_samples=12)


@pytest.mark.parametrize(
    ("features", "labels", "options", "text"),
    [
        (X, np.where(np.arange(12) == 5, 7, 1), {}, "labels must name each class at least twice.*class 7 has one"),
        (X, np.zeros(12, dtype=int), {}, "labels must name at least two classes for a linear probe; got 1"),
        (X, Y[:11], {}, "labels must have one entry a sample, 12; got 11"),
        (X, Y, {"folds": 1}, "folds must be at least 2; got 1"),
        (X * np.nan, Y, {}, "features must be finite"),
    ],
)
def test_bad_input_of_the_probe_is_named(features, labels, options, text):
    with pytest.raises(ValueError, match=text):
        linear_probe(features, labels, **options)


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ((X, Y, X[:, :3], Y), "test_features must have 15 features, as train_features; got 3"),
        ((X, Y[:5], X, Y), "train_labels must have one entry a sample, 12; got 5"),
        ((X, Y, X, Y[:5]), "test_labels must have one entry a sample, 12; got 5"),
        ((X, np.ones(12, dtype=int), X, Y), "train_labels must name at least two classes"),
        ((X, Y, X * np.inf, Y), "test_features must be finite"),
    ],
)
def test_bad_input_across_is_named(arguments, text):
    with pytest.raises(ValueError, match=text):
        linear_probe_across(*arguments)


@pytest.mark.parametrize("num_classes", [2, 3])
def test_fitted_scores_are_those_of_the_probe(num_classes):
    rng = np.random.default_rng(0)
    labels = np.array(["cat", "dog", "pug"])[np.arange(90) % num_classes]
    features = 1e6 * (
        rng.normal(size=(90, 5)) + 5 + (np.arange(90) % num_classes)[:, None] * np.array([1, 0, 0.5, 0, 2])
    )
    found = fit_linear_scores(features[:60], labels[:60])
    named = found.classes[(features[60:] @ found.weights + found.offsets).argmax(axis=1)]
    correct = linear_probe_across(features[:60], labels[:60], features[60:], labels[60:])
    assert (named == labels[60:]).tolist() == correct.tolist()
    assert 0.5 < correct.mean() < 1  # neither trivial nor chance
