"""Choice of samples: a split if the data have none, a number of samples per class, and small classes left out."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from core.data.errors import LEAVE_SMALL_OUT, Fault
from core.data.images.labelled_images import LabelledImages
from core.data.images.layouts import SPLITS
from core.data.images.split_names import TRAIN
from core.data.sampling import MIN_PER_CLASS, name_some, stratified_split, take_per_class

MIN_TO_SPLIT = 2 * MIN_PER_CLASS


@dataclass(frozen=True, eq=False)
class Choice:
    """The result of a choice of samples.

    Attributes
    ----------
    images : LabelledImages
        The chosen samples.
    faults : tuple of Fault
        Why they cannot be used; empty if they can.
    left_out : tuple of str
        Names and sizes of the classes that were left out.
    """

    images: LabelledImages
    faults: tuple[Fault, ...] = ()
    left_out: tuple[str, ...] = ()


def split_images(images: LabelledImages, *, test_fraction: float, seed: int) -> tuple[LabelledImages, tuple[str, ...]]:
    """Split samples that have no split into training and test; classes that are too small become training samples.

    Parameters
    ----------
    images : LabelledImages
        Samples without splits.
    test_fraction : float
        Share of the test split, at least 0 and less than 1; with 0 all samples are training samples.
    seed : int
        Random seed of the split.

    Returns
    -------
    images : LabelledImages
        The same samples with splits.
    too_small : tuple of str
        Names of the classes that are too small to be split.

    Raises
    ------
    ValueError
        If `test_fraction` is out of range.
    """
    if not 0 <= test_fraction < 1:
        raise ValueError(
            f"test_fraction must be at least 0 and less than 1; got {test_fraction}. 0 measures all samples as one "
            "split; 0.2 is usual."
        )
    splits = np.full(len(images), TRAIN, dtype="<U5")
    if test_fraction == 0:
        return replace(images, splits=splits), ()
    counts = np.bincount(images.labels, minlength=len(images.class_names))
    rows = np.flatnonzero(counts[images.labels] >= MIN_TO_SPLIT)
    if len(rows):
        ids = [images.ids[row] for row in rows]
        splits[rows] = stratified_split(ids, images.labels[rows], test_fraction=test_fraction, seed=seed)
    small = np.flatnonzero((counts > 0) & (counts < MIN_TO_SPLIT))
    return replace(images, splits=splits), tuple(images.class_names[code] for code in small)


def too_small_to_split(images: LabelledImages, names: Sequence[str]) -> Fault:
    """Return the fault that some classes are too small for `split_images`."""
    counts = np.bincount(images.labels, minlength=len(images.class_names))
    small = [f"{counts[images.class_names.index(name)]} of {name!r}" for name in names]
    return Fault(
        f"each class must have at least {MIN_TO_SPLIT} samples to be split, {MIN_PER_CLASS} for each split; got "
        f"{name_some(small)}.",
        "Add images, or lay them out as train/CLASS and test/CLASS, or make no split (a test fraction of 0).",
        *LEAVE_SMALL_OUT,
    )


def choose_samples(
    images: LabelledImages,
    *,
    splits: Sequence[str],
    seed: int,
    per_class: int | None,
    skip_small_classes: bool,
    told: Callable[[str, str], bool],
) -> Choice:
    """Choose all samples, or the same number of each class and split, and check the sizes of the classes.

    Parameters
    ----------
    images : LabelledImages
        Samples with splits.
    splits : sequence of str
        The splits to choose from.
    seed : int
        Random seed of the choice; see `sampling.sample_order`.
    per_class : int or None
        Number of samples of each class and split; None chooses all.
    skip_small_classes : bool
        Leave out classes that have fewer than `per_class` samples, or fewer than two, in a split.
    told : callable
        Takes class and split; returns whether an earlier fault already reports that the class has no images there.

    Returns
    -------
    Choice
        The samples, and the faults for the sizes of the classes.
    """
    counts = _class_counts(images, splits)
    min_count = max(MIN_PER_CLASS, per_class or 0)
    if skip_small_classes:
        is_large = np.asarray((counts >= min_count).all(axis=0))
        left_out = tuple(
            _describe_class(images.class_names[code], counts[:, code], splits) for code in np.flatnonzero(~is_large)
        )
        images, counts = _select_classes(images, is_large), counts[:, is_large]
        faults: list[Fault] = []
    else:
        left_out = ()
        faults = _size_faults(images.class_names, counts, splits, per_class, told)
    if len(images.class_names) < 2:
        faults.append(_too_few_classes(images.class_names, left_out))
    if per_class is not None and len(images):
        images = images.select(_first_per_class(images, splits, per_class, seed))
    return Choice(images, tuple(faults), left_out)


def _class_counts(images: LabelledImages, splits: Sequence[str]) -> NDArray[np.int64]:
    """Count the samples of each split and class, shape (splits, classes)."""
    num_classes = len(images.class_names)
    return np.stack([np.bincount(images.labels[images.splits == split], minlength=num_classes) for split in splits])


def _select_classes(images: LabelledImages, is_selected: NDArray[np.bool_]) -> LabelledImages:
    """Return the samples of the selected classes, with labels renumbered from 0."""
    class_names = tuple(images.class_names[code] for code in np.flatnonzero(is_selected))
    chosen = images.select(np.flatnonzero(is_selected[images.labels]))
    new_codes = np.cumsum(is_selected) - 1
    return replace(chosen, labels=new_codes[chosen.labels], class_names=class_names)


def _first_per_class(images: LabelledImages, splits: Sequence[str], per_class: int, seed: int) -> NDArray[np.int64]:
    """Return the first `per_class` samples of each class and split in the seeded order; all of a smaller class."""
    split_codes = np.array([splits.index(split) for split in images.splits])
    groups = images.labels + len(images.class_names) * split_codes
    is_small = np.bincount(groups)[groups] < per_class
    chosen = np.flatnonzero(is_small)
    rows = np.flatnonzero(~is_small)
    if len(rows):
        ids = [images.ids[row] for row in rows]
        chosen = np.concatenate([chosen, rows[take_per_class(ids, groups[rows], per_class, seed=seed)]])
    return np.sort(chosen)


def _size_faults(
    class_names: Sequence[str],
    counts: NDArray[np.int64],
    splits: Sequence[str],
    per_class: int | None,
    told: Callable[[str, str], bool],
) -> list[Fault]:
    """Return faults for classes with fewer samples in a split than a neighbor search needs, or than `per_class`."""
    too_small, below_per_class = [], []
    for row, split in enumerate(splits):
        for code, name in enumerate(class_names):
            count, group = int(counts[row, code]), f"{name} ({split})"
            if count < MIN_PER_CLASS and not told(name, split):
                too_small.append(f"{count} of {group!r}")
            elif MIN_PER_CLASS <= count < (per_class or 0):
                below_per_class.append(f"{count} of {group!r}")
    faults = []
    if too_small:
        problem = (
            f"each class must have at least {MIN_PER_CLASS} readable images in each split; got {name_some(too_small)}."
        )
        faults.append(Fault(problem, "Add images, or move such classes out of the folder.", *LEAVE_SMALL_OUT))
    if below_per_class:
        problem = (
            f"per_class must be at most the size of the smallest class; got {per_class}, but there are only "
            f"{name_some(below_per_class)}."
        )
        faults.append(Fault(problem, "Ask for fewer, or add samples.", *LEAVE_SMALL_OUT))
    return faults


def _describe_class(name: str, counts: NDArray[np.int64], splits: Sequence[str]) -> str:
    """Return name and sizes of a class, such as "'husky' (3 train, 0 test)"."""
    sizes = ", ".join(f"{count} {split}" for count, split in zip(counts, splits, strict=True))
    return f"{name!r} ({sizes})"


def _too_few_classes(class_names: Sequence[str], left_out: Sequence[str]) -> Fault:
    names = f"only {class_names[0]!r}" if class_names else "none"
    if left_out:
        names += f" after {name_some(left_out)} had to be left out"
    return Fault(f"data must hold at least two classes; got {names}.", "Add a folder for another class.")


def splits_taken(images: LabelledImages) -> list[str]:
    """Return the splits that have samples, train first."""
    return [name for name in SPLITS if (images.splits == name).any()]
