"""Baselines that SI is read against: the vote of k neighbors, and a linear probe."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from core.measures.rows import Rows
from core.measures.separation import encode_labels, encode_together

_PENALTIES = np.logspace(-1, 5, 7)  # of ridge regression on standardized features; leave-one-out picks one


def knn_correct(neighbor_codes: NDArray[np.int64], codes: NDArray[np.int64], num_classes: int) -> NDArray[np.bool_]:
    """Whether the majority of each sample's k nearest neighbors names the sample's class.

    Leave-one-out where the neighbors are. Uniform votes; equal votes go to the lowest class code, as in scikit-learn's
    `KNeighborsClassifier`, with which it agrees wherever no two distances are equal.

    Parameters
    ----------
    neighbor_codes : int64, shape (m, k): class codes 0..num_classes - 1 of each sample's neighbors.
    codes : int64, shape (m,): the samples' own class codes.
    num_classes : classes that codes can name.

    Returns
    -------
    bool, shape (m,)
    """
    num_samples = len(neighbor_codes)
    predicted = np.empty(num_samples, dtype=np.int64)
    step = max(1, (1 << 22) // num_classes)  # a votes table of at most 32 MB
    for start in range(0, num_samples, step):
        part = neighbor_codes[start : start + step]
        cells = np.arange(len(part))[:, None] * num_classes + part
        votes = np.bincount(cells.ravel(), minlength=len(part) * num_classes).reshape(len(part), num_classes)
        predicted[start : start + step] = votes.argmax(axis=1)
    return predicted == codes


def linear_probe(features: ArrayLike, labels: ArrayLike, *, folds: int = 5, seed: int = 0) -> NDArray[np.bool_]:
    """Whether a linear classifier trained on the other folds names each sample's class.

    A ridge (least-squares) probe: features standardized on the training folds, one ridge regression a class onto ±1,
    the largest wins; the penalty of a fold is chosen among 0.1, 1, … 100,000 by leave-one-out error within its training
    samples. Least squares instead of logistic regression for speed: the two may differ by some points. Meant for pooled
    activations, since it takes O(min(n, d)³).

    Parameters
    ----------
    features : array of shape (n, d), or (n, ...), flattened per sample; finite.
    labels : integers or strings of shape (n,); at least two classes, of at least two samples each.
    folds : of the stratified cross-validation, at least 2; fewer where the smallest class has fewer samples.
    seed : of the shuffle that makes the folds.

    Returns
    -------
    bool, shape (n,); its mean is the cross-validated accuracy.

    Raises
    ------
    ValueError
        NaN or infinity, lengths that differ, a single class, a class of one sample, `folds` below 2.
    """
    from sklearn.model_selection import StratifiedKFold

    matrix = _unit_range(Rows.of(features))
    encoded = encode_labels(labels, num_samples=len(matrix))
    _check_classes(len(encoded.classes), "labels")
    rarest = int(encoded.counts.argmin())
    smallest = int(encoded.counts[rarest])
    if folds < 2:
        raise ValueError(f"folds must be at least 2; got {folds}. 5 is usual.")
    if smallest < 2:
        raise ValueError(
            f"labels must name each class at least twice, or cross-validation cannot train on it; class "
            f"{encoded.classes[rarest]!r} has one sample. Leave such classes out."
        )
    correct = np.empty(len(matrix), dtype=np.bool_)
    splitter = StratifiedKFold(min(folds, smallest), shuffle=True, random_state=seed)
    for train, test in splitter.split(matrix, encoded.codes):
        predicted = _ridge_probe().fit(matrix[train], encoded.codes[train]).predict(matrix[test])
        correct[test] = predicted == encoded.codes[test]
    return correct


def linear_probe_across(
    train_features: ArrayLike, train_labels: ArrayLike, test_features: ArrayLike, test_labels: ArrayLike
) -> NDArray[np.bool_]:
    """Whether the linear probe trained on one set of samples names the class of each sample of another.

    The ridge probe of `linear_probe`, its penalty chosen by leave-one-out error on the training samples.

    Parameters
    ----------
    train_features, test_features : arrays of shape (n, d) and (m, d), or flattened per sample to that; finite.
    train_labels, test_labels : integers or strings of shape (n,) and (m,); at least two classes to train on.

    Returns
    -------
    bool, shape (m,); False for a test sample of a class that has no training sample.

    Raises
    ------
    ValueError
        NaN or infinity, lengths or widths that differ, a single class to train on.
    """
    train, test = Rows.of(train_features, name="train_features"), Rows.of(test_features, name="test_features")
    if train.num_features != test.num_features:
        raise ValueError(
            f"test_features must have {train.num_features} features, as train_features; got {test.num_features}."
        )
    known = encode_labels(train_labels, num_samples=len(train), name="train_labels")
    _check_classes(len(known.classes), "train_labels")
    known, asked = encode_together(known, encode_labels(test_labels, num_samples=len(test), name="test_labels"))
    probe = _ridge_probe().fit(_unit_range(train), known.codes)
    return np.asarray(probe.predict(_unit_range(test, like=train)) == asked.codes)


@dataclass(frozen=True, eq=False)
class LinearScores:
    """A linear classifier: features @ weights + offsets gives a score a class, of which the largest wins.

    weights : float64, shape (d, classes). offsets : float64, shape (classes,). classes : their labels, ascending.
    """

    weights: NDArray[np.float64]
    offsets: NDArray[np.float64]
    classes: NDArray[Any]


def fit_linear_scores(features: ArrayLike, labels: ArrayLike) -> LinearScores:
    """The classifier that `linear_probe_across` trains, as weights that can be used elsewhere.

    Parameters
    ----------
    features : array of shape (n, d), or flattened per sample to that; finite.
    labels : integers or strings of shape (n,); at least two classes.

    Raises
    ------
    ValueError
        NaN or infinity, lengths that differ, a single class.
    """
    rows = Rows.of(features)
    encoded = encode_labels(labels, num_samples=len(rows))
    _check_classes(len(encoded.classes), "labels")
    scaler, ridge = _ridge_probe().fit(_unit_range(rows), encoded.codes).named_steps.values()
    slopes = np.vstack([-ridge.coef_, ridge.coef_]) if len(encoded.classes) == 2 else ridge.coef_
    constants = np.r_[-ridge.intercept_, ridge.intercept_] if len(encoded.classes) == 2 else ridge.intercept_
    slopes = slopes / scaler.scale_
    offsets = constants - slopes @ scaler.mean_
    return LinearScores(np.ldexp(slopes.T, -_exponent(rows)), offsets, np.asarray(encoded.classes))


def _check_classes(num_classes: int, name: str) -> None:
    if num_classes < 2:
        raise ValueError(f"{name} must name at least two classes for a linear probe; got {num_classes}.")


def _ridge_probe() -> Any:
    """An untrained probe. scikit-learn is imported here, so that reading a study does not wait for it."""
    from sklearn.linear_model import RidgeClassifierCV
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    return make_pipeline(StandardScaler(), RidgeClassifierCV(_PENALTIES))


def _unit_range(rows: Rows, like: Rows | None = None) -> NDArray[np.float64]:
    """Features in float64, scaled by a power of two to at most 1 in those of `like`, so that no variance overflows."""
    return np.ldexp(rows.exact(slice(None)), -_exponent(like or rows))


def _exponent(rows: Rows) -> int:
    return int(np.frexp(rows.largest)[1])
