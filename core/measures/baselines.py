"""Baselines that SI is read against: the vote of k neighbors, and a linear probe."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from core.measures.ridge import RidgePath
from core.measures.separation import EncodedLabels, encode_labels, encode_together
from core.search.rows import Rows

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
    values: NDArray[np.bool_] = predicted == codes
    return values


def linear_probe(features: ArrayLike, labels: ArrayLike, *, folds: int = 5, seed: int = 0) -> NDArray[np.bool_]:
    """Whether a linear classifier trained on the other folds names each sample's class.

    A ridge (least-squares) probe: standardized features, one ridge regression a class onto ±1, the largest wins; the
    penalty of a fold is chosen among 0.1, 1, … 100,000 by the leave-one-out error of the samples outside of it. Least
    squares instead of logistic regression for speed: the two may differ by some points. The features are standardized
    once, over all samples; that looks at no label. Meant for pooled activations, since it takes O(min(n, d)³).

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
    return LinearProbe.fit(features, labels).cross_validated(folds=folds, seed=seed)


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
    probe = LinearProbe.fit(train_features, train_labels, names=("train_features", "train_labels"))
    return probe.names(test_features, test_labels)


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
    return LinearProbe.fit(features, labels).scores()


@dataclass(frozen=True, eq=False)
class LinearProbe:
    """The ridge probe of one set of samples; its decomposition serves cross-validation and other samples alike.

    exponent : features are scaled by 2 to minus this, so that no variance overflows. mean, scale : of each column.
    """

    labels: EncodedLabels
    exponent: int
    mean: NDArray[np.float64]
    scale: NDArray[np.float64]
    ridge: RidgePath

    @classmethod
    def fit(
        cls, features: ArrayLike, labels: ArrayLike, *, names: tuple[str, str] = ("features", "labels")
    ) -> "LinearProbe":
        """Standardize the features and check the labels; `names` are those of the arguments in messages."""
        rows = Rows.of(features, name=names[0])
        encoded = encode_labels(labels, num_samples=len(rows), name=names[1])
        if len(encoded.classes) < 2:
            raise ValueError(
                f"{names[1]} must name at least two classes for a linear probe; got {len(encoded.classes)}. "
                "Take samples of several classes."
            )
        matrix, mean, scale = _standardized(_scaled(rows, _exponent(rows)))
        targets = np.where(encoded.codes[:, None] == np.arange(len(encoded.classes)), 1.0, -1.0)
        return cls(encoded, _exponent(rows), mean, scale, RidgePath(matrix, targets, _PENALTIES))

    def cross_validated(self, *, folds: int = 5, seed: int = 0) -> NDArray[np.bool_]:
        """Whether the probe trained on the other folds names each sample's class; see `linear_probe`."""
        from sklearn.model_selection import StratifiedKFold

        rarest = int(self.labels.counts.argmin())
        smallest = int(self.labels.counts[rarest])
        if folds < 2:
            raise ValueError(f"folds must be at least 2; got {folds}. 5 is usual.")
        if smallest < 2:
            raise ValueError(
                f"labels must name each class at least twice, or cross-validation cannot train on it; class "
                f"{self.labels.classes[rarest]!r} has one sample. Leave such classes out."
            )
        codes = self.labels.codes
        correct = np.empty(len(codes), dtype=np.bool_)
        splitter = StratifiedKFold(min(folds, smallest), shuffle=True, random_state=seed)
        for _, test in splitter.split(codes, codes):
            fold = np.zeros(len(codes), dtype=np.bool_)
            fold[test] = True
            predicted = self.ridge.predict_fold(fold, self.ridge.best_penalty(~fold))
            correct[fold] = predicted.argmax(axis=1) == codes[fold]
        return correct

    def names(self, features: ArrayLike, labels: ArrayLike) -> NDArray[np.bool_]:
        """Whether the probe names the class of each of other samples; see `linear_probe_across`."""
        rows, width = Rows.of(features, name="test_features"), len(self.mean)
        if rows.num_features != width:
            raise ValueError(f"test_features must have {width} features, as train_features; got {rows.num_features}.")
        test = encode_labels(labels, num_samples=len(rows), name="test_labels")
        known, wanted = encode_together(self.labels, test)
        code_of_score = known.codes[np.unique(self.labels.codes, return_index=True)[1]]
        ridge = self.ridge
        standardized = (_scaled(rows, self.exponent) - self.mean) / self.scale
        values = standardized @ ridge.coefficients(ridge.best_penalty()) + ridge.targets.mean(axis=0)
        return np.asarray(code_of_score[values.argmax(axis=1)] == wanted.codes)

    def scores(self) -> LinearScores:
        """The classifier as weights on the features as they are."""
        slopes = self.ridge.coefficients(self.ridge.best_penalty()) / self.scale[:, None]
        offsets = self.ridge.targets.mean(axis=0) - self.mean @ slopes
        return LinearScores(np.ldexp(slopes, -self.exponent), offsets, np.asarray(self.labels.classes))


def _standardized(
    matrix: NDArray[np.float64],
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """The columns with mean 0 and deviation 1, constant ones 0; their means and deviations."""
    from sklearn.preprocessing import StandardScaler

    scaler = StandardScaler(copy=False)
    standardized = scaler.fit_transform(matrix)
    return standardized, scaler.mean_, scaler.scale_


def _scaled(rows: Rows, exponent: int) -> NDArray[np.float64]:
    """Features in float64, scaled by a power of two."""
    return np.ldexp(rows.exact(slice(None)), -exponent)


def _exponent(rows: Rows) -> int:
    """The power of two that scales the features to at most 1."""
    return int(np.frexp(rows.largest)[1])
