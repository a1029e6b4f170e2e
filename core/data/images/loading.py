"""Labelled images from a folder, a data set of TensorFlow Datasets, or scikit-learn's digits.

`load_images` finds the samples, chooses among them by ids and seed, and reads every chosen file once, so that all
faults of the data are reported together, before a long computation starts.
"""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np

from core.data.errors import Fault, FaultsError
from core.data.files import read_file
from core.data.images.checking import check_images
from core.data.images.choosing import Choice, choose_samples, split_images, splits_taken, too_small_to_split
from core.data.images.folders import FoundImages, check_is_folder, find_images
from core.data.images.labelled_images import LabelledImages
from core.data.images.layouts import SPLITS
from core.data.images.tfds import PREFIX, find_tfds_images
from core.data.sampling import MIN_PER_CLASS, name_some

TEST_FRACTION = 0.2
_MOST_IMAGE_BYTES = 1 << 28


def load_images(
    data: str | Path,
    *,
    seed: int = 0,
    per_class: int | None = None,
    split: str = "both",
    skip_broken: bool = False,
    skip_small_classes: bool = False,
    test_fraction: float = TEST_FRACTION,
    keep_bytes: int = 0,
    progress: Callable[[int, int], None] | None = None,
) -> LabelledImages:
    """Find, choose and check labelled images.

    Parameters
    ----------
    data : str or Path
        "digits" (scikit-learn's 1,797 digits; for a folder of that name write "./digits"), "tfds:NAME" (a data set of
        TensorFlow Datasets, see `tfds.find_tfds_images`), or a folder: train/<class>/... and test/<class>/... (one of
        the two is enough), or <class>/..., which is split by `load_images`. Other usual names of splits are recognized,
        in upper and lower case: Training, test_set, val, validation, dev, ... (see `split_names`). A validation split
        is used as the test split if there is no test split, and left out if there is one; `.notes` says so. Images may
        also be in subfolders of a class folder. Hidden files are ignored; files that Pillow cannot read as images are
        counted in `.ignored`. A link to a file, a class folder or a split folder is followed; a link to a folder deeper
        inside is not, to avoid loops.
    seed : int
        Random seed of the split of <class>/... and digits, and of the choice of `per_class` samples; see
        `sampling.sample_order`.
    per_class : int, optional
        Number of samples of each class and split, at least 2. Default: all.
    split : {"both", "train", "test"}
        The splits to load.
    skip_broken : bool
        Leave out unreadable images and list them in `.skipped`, instead of raising an error. With `per_class`, an
        unreadable image is replaced by the next sample in the seeded order.
    skip_small_classes : bool
        Leave out classes that have fewer than two images in a split (or than `per_class`, or than four if the split is
        made here), including empty and missing ones; `.notes` names them.
    test_fraction : float
        Share of the test split if the split is made here; with 0 all samples are in one split, "train".
    keep_bytes : int
        Bytes of decoded images that are kept in memory, so that `LabelledImages.load` does not decode them again.
    progress : callable, optional
        Called with the number of checked images and of all images to check.

    Returns
    -------
    LabelledImages
        Samples in ascending order of their ids.

    Raises
    ------
    FaultsError
        A DataError that lists all faults together: unreadable images (also those above Pillow's limit against
        decompression bombs), empty class folders, classes that are too small or missing in a split, fewer than two
        classes, images outside the class folders, a mixed layout.
    ValueError
        If `per_class` is below 2, `test_fraction` is out of range, or the split or TensorFlow data set is unknown.
    FileNotFoundError
        If the folder does not exist.
    OSError
        If a TensorFlow data set must be downloaded, but the download fails.
    ModuleNotFoundError
        If Pillow is needed for decoding, or tensorflow-datasets for the data, and is not installed.
    """
    if split not in ("both", *SPLITS):
        raise ValueError(f"split must be 'train', 'test' or 'both'; got {split!r}. Choose one of the three.")
    if per_class is not None and per_class < MIN_PER_CLASS:
        raise ValueError(
            f"per_class must be at least {MIN_PER_CLASS}, for a class of one sample has no neighbor of its own; got "
            f"{per_class}. Leave it out to take all samples."
        )
    source = _Source(_digits()) if data == "digits" else _encoded(data, split)
    images, faults, told = source.images, list(source.faults), set(source.told)
    if not images.splits.size:
        images, too_small = split_images(images, test_fraction=test_fraction, seed=seed)
        faults += [too_small_to_split(images, too_small)] if too_small else []
        told |= {(name, "") for name in too_small}
        images = replace(images, notes=images.notes + _split_notes(data, test_fraction, seed))
    elif test_fraction != TEST_FRACTION:
        images = replace(images, notes=(*images.notes, "The test fraction has no effect: the data have splits."))
    if split != "both":
        images = _of_split(images, split)
    choose = partial(
        choose_samples,
        splits=splits_taken(images),
        seed=seed,
        per_class=per_class,
        skip_small_classes=skip_small_classes,
        told=lambda name, split: not {(name, split), (name, "")}.isdisjoint(told),
    )
    if images.encoded is None:
        choice = choose(images)
    else:
        choice = check_images(
            images,
            images.encoded,
            choose,
            skip_broken=skip_broken,
            other_ids=source.other_ids,
            keep_bytes=keep_bytes,
            progress=progress,
        )
    faults = _remaining(faults, skip_small_classes) + list(choice.faults)
    if faults:
        raise FaultsError(str(data), faults)
    return _with_note(choice)


def check_data_exist(data: str | Path) -> None:
    """Raise a FileNotFoundError if data are a folder that does not exist; nothing is read.

    For callers that do something else before `load_images`, which takes as long as there are images.
    """
    if data != "digits" and not (isinstance(data, str) and data.startswith(PREFIX)):
        check_is_folder(Path(data))


@dataclass(frozen=True, eq=False)
class _Source:
    """All samples of a data set before splitting and choosing, with the faults found so far (see `FoundImages`)."""

    images: LabelledImages
    faults: tuple[Fault, ...] = ()
    told: frozenset[tuple[str, str]] = frozenset()
    other_ids: tuple[str, ...] = ()


def _of_split(images: LabelledImages, split: str) -> LabelledImages:
    """Return the samples of one split."""
    rows = np.flatnonzero(images.splits == split)
    if not len(rows):
        there = "', '".join(splits_taken(images))
        raise ValueError(
            f"split must be one that the data have; got {split!r}, but there is only '{there}'. Choose that one, or a "
            "test fraction above 0."
        )
    return images.select(rows)


def _remaining(faults: list[Fault], skip_small_classes: bool) -> list[Fault]:
    """Return the faults that `skip_small_classes` does not avoid."""
    return [fault for fault in faults if not (skip_small_classes and fault.option[0] == "skip_small_classes")]


def _split_notes(data: str | Path, test_fraction: float, seed: int) -> tuple[str, ...]:
    """Return a note that a split was made, for data that the user may expect to be unsplit; none for digits."""
    if test_fraction == 0 or data == "digits":
        return ()
    return (
        f"The data have no splits: {test_fraction:.0%} of each class, at least {MIN_PER_CLASS} samples, were set aside "
        f"as the test split, by the seed {seed}. A test fraction of 0 measures all samples as one.",
    )


def _with_note(choice: Choice) -> LabelledImages:
    """Return the images, with a note that names the classes left out."""
    if not choice.left_out:
        return choice.images
    count = len(choice.left_out)
    note = f"{count} {'class is' if count == 1 else 'classes are'} left out as too small: {name_some(choice.left_out)}."
    return replace(choice.images, notes=(*choice.images.notes, note))


def _digits() -> LabelledImages:
    """Return scikit-learn's digits, not split yet."""
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


def _encoded(data: str | Path, split: str) -> _Source:
    """Find the samples of a folder or a TensorFlow data set without decoding; `splits` is empty if it has none."""
    if isinstance(data, str) and data.startswith(PREFIX):
        tfds = find_tfds_images(data, split)
        return _undecoded(PREFIX + tfds.name, replace(tfds.found, notes=tfds.notes), None, tfds.read)
    root = Path(data)
    return _undecoded(root.resolve().name, find_images(root, split), root, partial(_read_file, root.absolute()))


def _undecoded(name: str, found: FoundImages, root: Path | None, encoded: Callable[[str], bytes]) -> _Source:
    images = LabelledImages(
        name=name,
        ids=found.ids,
        labels=found.labels,
        class_names=found.class_names,
        splits=found.splits,
        root=root,
        digests=("",) * len(found.ids),
        sizes=np.zeros((len(found.ids), 2), dtype=np.int64),
        encoded=encoded,
        notes=found.notes,
        ignored=found.ignored,
    )
    return _Source(images, found.faults, found.told, found.other_ids)


def _read_file(root: Path, sample: str) -> bytes:
    return read_file(root / sample, _MOST_IMAGE_BYTES)
