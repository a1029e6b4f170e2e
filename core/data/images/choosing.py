"""Which samples are taken: the split that is made where there is none, some of each class, small classes left out."""

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
    """The samples taken; `faults` that stand against them; the names of the classes `left_out`, with their sizes."""

    images: LabelledImages
    faults: tuple[Fault, ...] = ()
    left_out: tuple[str, ...] = ()


def split_images(images: LabelledImages, *, test_fraction: float, seed: int) -> tuple[LabelledImages, tuple[str, ...]]:
    """Split samples that have no split; all of a class that is too small for it are training samples.

    Returns the images, and the names of such classes.

    test_fraction : share of the test split; 0 makes none.

    Raises
    ------
    ValueError
        If the fraction is not one.
    """
    if not 0 <= test_fraction < 1:
        raise ValueError(
            f"test_fraction must be at least 0 and less than 1; got {test_fraction}. 0 measures all samples as one, "
            "0.2 is usual."
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
    """The fault of classes that `split_images` could not split."""
    counts = np.bincount(images.labels, minlength=len(images.class_names))
    small = [f"{counts[images.class_names.index(name)]} of {name!r}" for name in names]
    return Fault(
        f"each class must have at least {MIN_TO_SPLIT} samples to be split, {MIN_PER_CLASS} each way; got "
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
    """All samples, or some of each class and split; the place where class sizes are checked.

    Parameters
    ----------
    splits : those wanted.
    per_class : samples of each class and split; default all.
    skip_small_classes : leave out classes that have fewer in a split than that, or than two.
    told : whether a fault says already that a class has no images in a split.
    """
    counts = _counts(images, splits)
    needed = max(MIN_PER_CLASS, per_class or 0)
    if skip_small_classes:
        keep = np.asarray((counts >= needed).all(axis=0))
        left_out = tuple(_sizes(images.class_names[code], counts[:, code], splits) for code in np.flatnonzero(~keep))
        images, counts = _with_classes(images, keep), counts[:, keep]
        faults: list[Fault] = []
    else:
        left_out = ()
        faults = _size_faults(images.class_names, counts, splits, per_class, told)
    if len(images.class_names) < 2:
        faults.append(_too_few_classes(images.class_names, left_out))
    if per_class is not None and len(images):
        images = images.select(_some_of_each(images, splits, per_class, seed))
    return Choice(images, tuple(faults), left_out)


def _counts(images: LabelledImages, splits: Sequence[str]) -> NDArray[np.int64]:
    """How many samples of each split and class, shape (splits, classes)."""
    num_classes = len(images.class_names)
    return np.stack([np.bincount(images.labels[images.splits == split], minlength=num_classes) for split in splits])


def _with_classes(images: LabelledImages, keep: NDArray[np.bool_]) -> LabelledImages:
    """The samples of some classes, numbered anew."""
    names = tuple(name for name, kept in zip(images.class_names, keep, strict=True) if kept)
    chosen = images.select(np.flatnonzero(keep[images.labels]))
    return replace(chosen, labels=(np.cumsum(keep) - 1)[chosen.labels], class_names=names)


def _some_of_each(images: LabelledImages, splits: Sequence[str], per_class: int, seed: int) -> NDArray[np.int64]:
    """The first `per_class` samples of each class and split in the seeded order; of a smaller class all."""
    groups = images.labels + len(images.class_names) * np.array([splits.index(split) for split in images.splits])
    counts = np.bincount(groups)
    small = counts[groups] < per_class
    rows = np.flatnonzero(~small)
    taken = np.flatnonzero(small)
    if len(rows):
        ids = [images.ids[row] for row in rows]
        taken = np.concatenate([taken, rows[take_per_class(ids, groups[rows], per_class, seed=seed)]])
    return np.sort(taken)


def _size_faults(
    class_names: Sequence[str],
    counts: NDArray[np.int64],
    splits: Sequence[str],
    per_class: int | None,
    told: Callable[[str, str], bool],
) -> list[Fault]:
    """Classes with too few samples in a split: too few to have a neighbor, or fewer than asked for."""
    small, short = [], []
    for row, split in enumerate(splits):
        for code, name in enumerate(class_names):
            count, group = int(counts[row, code]), f"{name} ({split})"
            if count < MIN_PER_CLASS and not told(name, split):
                small.append(f"{count} of {group!r}")
            elif MIN_PER_CLASS <= count < (per_class or 0):
                short.append(f"{count} of {group!r}")
    faults = []
    if small:
        problem = (
            f"each class must have at least {MIN_PER_CLASS} readable images in each split; got {name_some(small)}."
        )
        faults.append(Fault(problem, "Add images, or move such classes out of the folder.", *LEAVE_SMALL_OUT))
    if short:
        problem = (
            f"per_class must be at most the size of the smallest class; got {per_class}, but there are only "
            f"{name_some(short)}."
        )
        faults.append(Fault(problem, "Ask for fewer, or add samples.", *LEAVE_SMALL_OUT))
    return faults


def _sizes(name: str, counts: NDArray[np.int64], splits: Sequence[str]) -> str:
    """Such as "'husky' (3 train, 0 test)"."""
    return f"{name!r} ({', '.join(f'{count} {split}' for count, split in zip(counts, splits, strict=True))})"


def _too_few_classes(class_names: Sequence[str], left_out: Sequence[str]) -> Fault:
    names = "only " + repr(class_names[0]) if class_names else "none"
    because = f" after {name_some(left_out)} had to be left out" if left_out else ""
    return Fault(f"data must hold at least two classes; got {names}{because}.", "Add a folder for another class.")


def splits_taken(images: LabelledImages) -> list[str]:
    """The splits there are, train first."""
    return [name for name in SPLITS if (images.splits == name).any()]
