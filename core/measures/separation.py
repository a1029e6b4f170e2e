"""The Separation Index: how often a sample's nearest other sample has the same label."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from core.measures.neighbors import nearest_neighbors

Label = int | str


@dataclass(frozen=True, eq=False)
class Separation:
    """A separation measure of n samples (m where only some were asked).

    value : float in [0, 1], the mean of `by_sample`.
    by_class : dict from label to the mean over the samples of that label; `nan` where it is undefined.
    by_sample : float64, shape (m,).
    nearest : int64, shape (m,): the row of each sample's nearest neighbor among the references.
    chance : float, the expected value under labels permuted at random.
    """

    value: float
    by_class: dict[Label, float]
    by_sample: NDArray[np.float64]
    nearest: NDArray[np.int64]
    chance: float

    @property
    def excess(self) -> float:
        """(value − chance)/(1 − chance): 0 at chance, 1 at perfect separation; nan where chance is 1."""
        return (self.value - self.chance) / (1 - self.chance) if self.chance < 1 else float("nan")


@dataclass(frozen=True, eq=False)
class EncodedLabels:
    """Labels as codes 0..num_classes - 1 in sorted order of the distinct labels."""

    codes: NDArray[np.int64]
    classes: tuple[Label, ...]

    @property
    def counts(self) -> NDArray[np.int64]:
        return np.bincount(self.codes, minlength=len(self.classes))


def separation_index(features: ArrayLike, labels: ArrayLike) -> Separation:
    """Share of samples whose nearest other sample bears the same label (leave-one-out 1-NN accuracy).

    SI = mean over i of 1[y_i = y_N(i)], with N(i) the exact nearest other sample; ties go to the lowest row. Kalhor et
    al., arXiv 1906.05156; the same number as Thornton's separability index and 1 − N3 of Ho and Basu (2002).

    Parameters
    ----------
    features : array of shape (n, d), or (n, ...), flattened per sample; finite, n >= 2.
    labels : integers or strings of shape (n,).

    Returns
    -------
    Separation
        `chance` is Σ n_c(n_c − 1)/(n(n − 1)), exact under permuted labels. A sample alone in its class counts as 0.

    Raises
    ------
    ValueError
        NaN or infinity, fewer than two samples, lengths that differ.
    """
    encoded = encode_labels(labels, num_samples=len(np.asarray(features)))
    nearest = nearest_neighbors(features).indices[:, 0]
    return separation_from_neighbors(nearest, encoded)


def cross_separation_index(
    train_features: ArrayLike, train_labels: ArrayLike, test_features: ArrayLike, test_labels: ArrayLike
) -> Separation:
    """Share of test samples whose nearest training sample bears the same label (1-NN test accuracy).

    Parameters
    ----------
    train_features, test_features : arrays of shape (n, d) and (m, d), or flattened per sample to that.
    train_labels, test_labels : integers or strings of shape (n,) and (m,).

    Returns
    -------
    Separation
        `nearest` are training rows; `chance` is Σ p_train,c · p_test,c; `by_class` speaks of the test labels.

    Raises
    ------
    ValueError
        As `separation_index`; also where the two sides differ in width.
    """
    train = encode_labels(train_labels, num_samples=len(np.asarray(train_features)), name="train_labels")
    test = encode_labels(test_labels, num_samples=len(np.asarray(test_features)), name="test_labels")
    nearest = nearest_neighbors(train_features, queries=test_features).indices[:, 0]
    return separation_from_neighbors(nearest, test, references=train)


def separation_from_neighbors(
    nearest: NDArray[np.int64], labels: EncodedLabels, references: EncodedLabels | None = None
) -> Separation:
    """SI, or with `references` cross SI, of a first-neighbor graph that is already known; `nearest` has shape (m,)."""
    others = labels if references is None else references
    neighbor_labels = np.array(others.classes, dtype=object)[others.codes[nearest]]
    agrees = np.array(labels.classes, dtype=object)[labels.codes] == neighbor_labels
    by_sample = agrees.astype(np.float64)
    chance = chance_separation(labels) if references is None else chance_cross(references, labels)
    return Separation(float(by_sample.mean()), mean_by_class(by_sample, labels), by_sample, nearest, chance)


def chance_separation(labels: EncodedLabels) -> float:
    """Expected SI under permuted labels: Σ n_c(n_c − 1)/(n(n − 1))."""
    counts = labels.counts.astype(np.float64)
    total = counts.sum()
    return float((counts * (counts - 1)).sum() / (total * (total - 1)))


def chance_cross(train: EncodedLabels, test: EncodedLabels) -> float:
    """Expected cross SI under permuted labels: Σ p_train,c · p_test,c."""
    share = dict(zip(train.classes, train.counts / train.counts.sum(), strict=True))
    return float(
        sum(p * share.get(label, 0.0) for label, p in zip(test.classes, test.counts / test.counts.sum(), strict=True))
    )


def mean_by_class(by_sample: NDArray[np.float64], labels: EncodedLabels) -> dict[Label, float]:
    """Mean of a per-sample value over each class."""
    sums = np.bincount(labels.codes, weights=by_sample, minlength=len(labels.classes))
    return dict(zip(labels.classes, (sums / labels.counts).tolist(), strict=True))


def encode_labels(labels: ArrayLike, *, num_samples: int | None = None, name: str = "labels") -> EncodedLabels:
    """Check labels (integers or strings, one a sample) and code them 0..num_classes - 1."""
    array = np.asarray(labels)
    if array.dtype.kind == "O":
        array = _strings_or_refuse(array, name)
    if array.ndim != 1 or array.dtype.kind not in "biuU":
        raise ValueError(f"{name} must be integers or strings of shape (n,); got {array.dtype} of shape {array.shape}.")
    if num_samples is not None and len(array) != num_samples:
        raise ValueError(f"{name} must have one entry a sample, {num_samples}; got {len(array)}.")
    classes, codes = np.unique(array, return_inverse=True)
    return EncodedLabels(codes.astype(np.int64), tuple(classes.tolist()))


def _strings_or_refuse(array: NDArray[Any], name: str) -> NDArray[Any]:
    """Object arrays as pandas makes them: all strings, or all integers."""
    kinds = {type(value) for value in array.ravel().tolist()}
    if kinds <= {str} or kinds <= {int, bool}:
        return np.array(array.tolist())
    raise ValueError(
        f"{name} must be all integers or all strings; got {', '.join(sorted(kind.__name__ for kind in kinds))}. "
        "Convert them to one kind, and drop samples without a label."
    )
