"""Labelled images from a folder, a set of TensorFlow Datasets, or scikit-learn's digits.

`load_images` finds the samples, chooses among them by ids and seed, and reads every chosen file once, so that a broken
one is named before a long computation starts.
"""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np

from core.data.checking import check_images
from core.data.errors import DataError
from core.data.files import read_file
from core.data.folders import SPLITS, FoundImages, find_images
from core.data.images import LabelledImages
from core.data.sampling import MIN_PER_CLASS, name_some, stratified_split, take_per_class
from core.data.tfds import PREFIX, find_tfds_images

_MOST_IMAGE_BYTES = 1 << 28


def load_images(
    data: str | Path,
    *,
    seed: int = 0,
    per_class: int | None = None,
    split: str = "both",
    skip_broken: bool = False,
    test_fraction: float = 0.2,
    progress: Callable[[int, int], None] | None = None,
) -> LabelledImages:
    """Find, choose and check labelled images.

    Parameters
    ----------
    data : str or Path
        "digits" (scikit-learn's 1,797 digits; the folder of that name is "./digits"), "tfds:NAME" (a set of TensorFlow
        Datasets, see `tfds.find_tfds_images`), or a folder: train/<class>/...
        and test/<class>/... (one of the two is enough), or <class>/..., which is split here. Images may lie deeper
        inside a class folder. Hidden files and those without an image's extension are ignored. A link to a file, a
        class folder or a split folder is followed; a link to a folder deeper inside is not, so that no loop can arise.
    seed : int
        Decides the split of <class>/... and digits, and which samples `per_class` takes; see `sampling.sample_order`.
    per_class : int, optional
        Take this many samples of each class and split, at least 2. Default: all.
    split : {"both", "train", "test"}
        Which splits to take.
    skip_broken : bool
        Leave unreadable images out and list them in `.skipped`, instead of an error. With `per_class`, the next sample
        in the seeded order takes the place of a broken one.
    test_fraction : float
        Share of the test split where it is made here.
    progress : callable, optional
        Called with (images checked, images to check).

    Returns
    -------
    LabelledImages
        Samples in ascending order of their ids.

    Raises
    ------
    DataError
        If an image is unreadable (also one larger than Pillow's limit against decompression bombs), a class folder is
        empty, a class has one sample in a split or is missing from one, there are fewer than two classes, or the layout
        is mixed. The message names the culprits.
    ValueError
        If `per_class` is below 2 or larger than a class, or the split or TensorFlow data set is unknown.
    FileNotFoundError
        If there is no such folder.
    OSError
        If a TensorFlow data set has to be downloaded and cannot be.
    ModuleNotFoundError
        If images have to be decoded and Pillow is not installed, or tensorflow-datasets is needed and is not.
    """
    if split not in ("both", *SPLITS):
        raise ValueError(f"split must be 'train', 'test' or 'both'; got {split!r}. Choose one of the three.")
    if per_class is not None and per_class < MIN_PER_CLASS:
        raise ValueError(
            f"per_class must be at least {MIN_PER_CLASS}, for a class of one sample has no neighbor of its own; got "
            f"{per_class}. Leave it out to take all samples."
        )
    images = _digits() if data == "digits" else _encoded(data, split)
    if not images.splits.size:
        splits = stratified_split(
            images.ids, images.labels, test_fraction=test_fraction, seed=seed, class_names=images.class_names
        )
        images = replace(images, splits=splits)
    if split != "both":
        images = images.select(np.flatnonzero(images.splits == split))
    splits_taken = [name for name in SPLITS if (images.splits == name).any()]
    choose = partial(_choose, splits=splits_taken, seed=seed, per_class=per_class)
    if images.encoded is None:
        return choose(images)
    return check_images(images, images.encoded, choose, skip_broken=skip_broken, progress=progress)


def _choose(images: LabelledImages, *, splits: Sequence[str], seed: int, per_class: int | None) -> LabelledImages:
    """All samples, or some of each class and split; the place where class sizes are checked."""
    names = [f"{name} ({split})" for split in splits for name in images.class_names]
    groups = images.labels + len(images.class_names) * (images.splits != splits[0])
    counts = np.bincount(groups, minlength=len(names))
    small = [f"{count} of {name!r}" for count, name in zip(counts, names, strict=True) if count < MIN_PER_CLASS]
    if small:
        raise DataError(
            f"each class must have at least {MIN_PER_CLASS} readable images in each split; got {name_some(small)}. "
            "Add images, or move such classes out of the folder."
        )
    if per_class is None:
        return images
    return images.select(take_per_class(images.ids, groups, per_class, seed=seed, class_names=names))


def _digits() -> LabelledImages:
    """scikit-learn's digits, not split yet."""
    from sklearn.datasets import load_digits

    digits = load_digits()
    values = digits.images.astype(np.float32)[..., None]
    return LabelledImages(
        name="digits",
        ids=tuple(f"digits/{row:04d}" for row in range(len(values))),
        labels=digits.target.astype(np.int64),
        class_names=tuple(str(name) for name in digits.target_names),
        splits=np.array([], dtype=str),
        root=None,
        digests=tuple(hashlib.sha256(value.tobytes()).hexdigest() for value in values),
        sizes=np.full((len(values), 2), 8),
        values=values,
    )


def _encoded(data: str | Path, split: str) -> LabelledImages:
    """The samples of a folder or a TensorFlow data set, nothing decoded yet; `splits` is empty where it has none."""
    if isinstance(data, str) and data.startswith(PREFIX):
        tfds = find_tfds_images(data, split)
        return _undecoded(PREFIX + tfds.name, tfds.found, None, tfds.read, tfds.notes)
    root = Path(data)
    return _undecoded(root.resolve().name, find_images(root, split), root, partial(_read_file, root.absolute()), ())


def _undecoded(
    name: str, found: FoundImages, root: Path | None, encoded: Callable[[str], bytes], notes: tuple[str, ...]
) -> LabelledImages:
    return LabelledImages(
        name=name,
        ids=found.ids,
        labels=found.labels,
        class_names=found.class_names,
        splits=found.splits,
        root=root,
        digests=("",) * len(found.ids),
        sizes=np.zeros((len(found.ids), 2), dtype=np.int64),
        encoded=encoded,
        notes=notes,
    )


def _read_file(root: Path, sample: str) -> bytes:
    return read_file(root / sample, _MOST_IMAGE_BYTES)
