"""The Separation Index and its family over the nearest-neighbor graph: how often neighbors share a label."""

from __future__ import annotations  # so that help() shows the names of types as they are written here

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from core.data.label_text import MISSING, describe_targets
from core.measures.significance import (
    ENOUGH_FOR_NORMAL,
    PERMUTATIONS,
    TARGETS,
    NullMoments,
    Shuffles,
    finite_population_n,
    normal_p,
    permutation_p,
    wilson,
)
from core.search.tensors import as_array

Label = int | str
NullValues = Callable[[Shuffles], NDArray[np.float64]]  # the measure under each permutation


def excess_over_chance(value: float, chance: float) -> float:
    """(value − chance)/(1 − chance): 0 at chance, 1 at the best; nan where chance is 1 or unknown."""
    return (value - chance) / (1 - chance) if chance < 1 else float("nan")


@dataclass(frozen=True, eq=False, repr=False)
class Separation:
    """A measure of n samples, or of the m that were asked for, with what it takes to judge it.

    measure : its name, as in a study's tables. order : neighbors that it looks at.
    value : float in [0, 1].
    by_class : dict from label to the mean over the samples of that label; nan where it is undefined, as for a class
        of one sample, which has no other sample to agree with.
    by_sample : float64, shape (m,); nan where undefined.
    nearest : int64, shape (m,), the row of each sample's nearest neighbor; None where a measure has no neighbors.
    chance : the exact expected value under labels permuted at random; nan where there is no closed form.
    num_all : the samples that those asked stand for; all of them were asked where it equals m.
    num_tied : samples with several references at exactly the smallest distance; None where it was not looked for.
    """

    measure: str
    order: int
    value: float
    by_class: Mapping[Label, float]
    by_sample: NDArray[np.float64]
    nearest: NDArray[np.int64] | None
    chance: float
    num_tied: int | None = None
    lower_is_better: bool = False
    num_all: int = 0
    moments: NullMoments | None = None
    null_values: NullValues | None = None
    effective_n: Callable[[], float] | None = None

    def __repr__(self) -> str:
        order = f", order={self.order}" if self.order > 1 else ""
        return (
            f"Separation(measure={self.measure!r}{order}, value={self.value:.4f}, chance={self.chance:.4f}, "
            f"num_samples={len(self.by_sample)}, num_classes={len(self.by_class)})"
        )

    @property
    def excess(self) -> float:
        """(value − chance)/(1 − chance): 0 at chance, 1 at the best; nan where chance is 1 or has no closed form."""
        return excess_over_chance(self.value, self.chance)

    @property
    def z(self) -> float:
        """Standard deviations from chance under permuted labels; nan where the variance has no closed form.

        It has one for separation, cross and soft. A large z of a value barely above chance is no contradiction: with
        many samples, little is needed to be significant.
        """
        return self.moments.z(self.value) if self.moments else float("nan")

    def p_value(self, permutations: int | None = None, *, seed: int = 0, shuffles: Shuffles | None = None) -> float:
        """One-sided p-value against permuted labels: upper, but lower for the anti index.

        Parameters
        ----------
        permutations : how many to draw; p = (1 + b)/(1 + permutations). By default the normal approximation where
            there is a closed variance and at least 100 agreements are expected by chance (below that its tail is
            wrong), else 9,999 permutations of the labels on the fixed neighbor graph.
        seed : of the permutations.
        shuffles : permutations to use, where permutations are called for; several measures may share them.
        """
        if permutations is None:
            expected = len(self.by_sample) * self.chance
            if self.moments and self.moments.sd > 0 and expected >= ENOUGH_FOR_NORMAL:
                return normal_p(self.z)
            permutations = PERMUTATIONS
        if permutations < 1:
            raise ValueError(f"permutations must be at least 1; got {permutations}. {PERMUTATIONS} is usual.")
        if self.null_values is None or np.isnan(self.value):
            return float("nan")
        null = self.null_values(shuffles or Shuffles(permutations, seed))
        return permutation_p(self.value, null, lower=self.lower_is_better)

    def interval(self, level: float = 0.95, *, target: str = "population") -> tuple[float, float]:
        """An interval for one of two things, which must not be mixed up.

        Parameters
        ----------
        level : coverage, between 0 and 1.
        target : "population", the expected value for a fresh sample of the same size and classes: Wilson's interval
            with the number of independent samples that the scores are worth, which share neighbors. Or "data", the
            value that all samples at hand would give: exact where all were asked, so the interval is the value;
            Wilson's with finite-population correction where only some rows were.

        Returns
        -------
        (low, high), which hold the value. nan for both where the measure has no interval.
        """
        if target not in TARGETS:
            raise ValueError(f"target must be one of {', '.join(TARGETS)}; got {target!r}.")
        if target == "data":
            return wilson(self.value, finite_population_n(len(self.by_sample), self.num_all), level)
        return wilson(self.value, self.effective_n() if self.effective_n else float("nan"), level)


@dataclass(frozen=True, eq=False)
class EncodedLabels:
    """Labels as codes 0..num_classes - 1 in sorted order of the distinct labels."""

    codes: NDArray[np.int64]
    classes: tuple[Label, ...]

    @property
    def counts(self) -> NDArray[np.int64]:
        """Samples of each class."""
        return np.bincount(self.codes, minlength=len(self.classes))


def mean_by_class(
    by_sample: NDArray[np.float64], codes: NDArray[np.int64], classes: tuple[Label, ...]
) -> dict[Label, float]:
    """Mean of a per-sample value over each class; nan for a class without samples."""
    sums = np.bincount(codes, weights=by_sample, minlength=len(classes))
    counts = np.bincount(codes, minlength=len(classes))
    with np.errstate(invalid="ignore"):
        return dict(zip(classes, (sums / counts).tolist(), strict=True))


def encode_labels(labels: ArrayLike, *, num_samples: int | None = None, name: str = "labels") -> EncodedLabels:
    """Check labels (integers or strings, one a sample) and code them 0..num_classes - 1."""
    try:
        array = as_array(labels)
    except ValueError as error:  # lists of several lengths, tensors without values
        raise ValueError(f"{name} must be integers or strings of shape (n,); got: {error}.") from error
    array = _decoded(array, name)
    if (
        array.ndim == 1 and array.dtype.kind == "U" and isinstance(labels, list | tuple)
    ):  # NumPy makes texts of numbers beside texts
        _refuse_mixed(labels, name)
    if array.ndim == 1 and array.dtype.kind == "O":
        array = _strings_or_refuse(array, name)
    if array.ndim != 1 or array.dtype.kind not in "biuU":
        raise ValueError(
            f"{name} must be integers or strings of shape (n,); got {array.dtype} of shape {array.shape}"
            f"{describe_targets(array)}"
        )
    if num_samples is not None and len(array) != num_samples:
        raise ValueError(f"{name} must have one entry a sample, {num_samples}; got {len(array)}.")
    classes, codes = np.unique(array, return_inverse=True)
    if array.dtype.kind == "U":
        _refuse_missing(classes, codes, name)
    return EncodedLabels(codes.astype(np.int64), tuple(classes.tolist()))


def encode_together(first: EncodedLabels, second: EncodedLabels) -> tuple[EncodedLabels, EncodedLabels]:
    """Two sets of labels with codes that mean the same in both."""
    classes = tuple(sorted({*first.classes, *second.classes}, key=lambda label: (isinstance(label, str), label)))
    code_of = {label: code for code, label in enumerate(classes)}
    moved = [
        np.array([code_of[label] for label in part.classes], dtype=np.int64)[part.codes] for part in (first, second)
    ]
    return EncodedLabels(moved[0], classes), EncodedLabels(moved[1], classes)


def _decoded(array: NDArray[Any], name: str) -> NDArray[Any]:
    """Bytes as text, as tensors of TensorFlow and files of HDF5 hold strings."""
    is_bytes = array.dtype.kind == "S" or (array.dtype == object and all(type(value) is bytes for value in array.flat))
    if not is_bytes or not array.size:
        return array
    try:
        return np.array([bytes(value).decode() for value in array.flat]).reshape(array.shape)
    except UnicodeDecodeError as error:
        raise ValueError(f"{name} must be integers or strings; got bytes that are no UTF-8. Decode them.") from error


def _strings_or_refuse(array: NDArray[Any], name: str) -> NDArray[Any]:
    """Object arrays as pandas makes them: all strings, or all integers."""
    values = array.tolist()
    if not {type(value) for value in values} <= {int, bool}:
        _refuse_mixed(values, name)
    converted = np.array(values)
    if converted.dtype == object and values:
        largest = max(values, key=abs)
        raise ValueError(
            f"{name} must be integers of at most 64 bits, or strings; got {largest}. Pass such labels as strings, "
            f"[str(label) for label in {name}]."
        )
    return converted


def _refuse_missing(classes: NDArray[Any], codes: NDArray[Any], name: str) -> None:
    """Refuse texts that stand for no label, as arrays of gaps turned to texts hold them."""
    missing = [code for code, label in enumerate(classes.tolist()) if label.strip() in MISSING]
    if missing:
        count = int(np.isin(codes, missing).sum())
        raise ValueError(
            f"{name} must not be missing; got {str(classes[missing[0]])!r} and the like for {count:,} of "
            f"{len(codes):,} samples. Drop those samples, or rename the class."
        )


def _refuse_mixed(values: Sequence[Any], name: str) -> None:
    """Refuse what is not all strings."""
    kinds = {type(value) for value in values if not isinstance(value, str)}
    if not kinds:
        return
    kinds |= {str for value in values if isinstance(value, str)}
    raise ValueError(
        f"{name} must be all integers or all strings; got {', '.join(sorted(kind.__name__ for kind in kinds))}. "
        "Convert them to one kind, and drop samples without a label."
    )
