"""Samples that are there twice: in both splits, within a split, or in several classes."""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from core.data.images.labelled_images import LabelledImages

_SPLITS = {"train": "training", "test": "test"}


def copy_notes(images: LabelledImages, *, measured: LabelledImages | None = None) -> tuple[str, ...]:
    """What images that are equal, byte for byte, do to the results: in both splits, within one, in several classes.

    measured : the images that are each other's neighbors, where not all are; copies within a split are counted there.
    """
    contents, labels = _contents(images), images.labels
    notes = list(leak_notes(contents, images.splits, "image", "byte for byte"))
    neighbors = images if measured is None else measured
    notes += within_split_notes(_contents(neighbors), neighbors.splits, "image")
    pairs = np.unique(np.stack([contents, labels], axis=1), axis=0)
    num_ambiguous = int((np.bincount(pairs[:, 0]) > 1).sum())
    if num_ambiguous:
        what = "1 image is" if num_ambiguous == 1 else f"{num_ambiguous:,} images are"
        notes.append(f"{what} in two or more classes, byte for byte: all but one of the labels are wrong.")
    return tuple(notes)


def _contents(images: LabelledImages) -> NDArray[np.int64]:
    """A number for each image, equal where images are equal."""
    digests = np.array(images.digests, dtype="S64")  # hexadecimal, of the encoded images
    return np.unique(digests, return_inverse=True)[1]


def leak_notes(contents: NDArray[np.int64], splits: NDArray[np.str_], noun: str, how: str) -> Iterator[str]:
    """What test samples do that are training samples too; nothing where there are none.

    contents : a number for each sample, equal where samples are equal. noun : of a sample. how : what is equal in them.
    """
    is_train = splits == "train"
    num_leaked = int(np.isin(contents[~is_train], contents[is_train]).sum())
    if num_leaked:
        what = f"1 test {noun} is also a training {noun}" if num_leaked == 1 else ""
        what = what or f"{num_leaked:,} test {noun}s are also training {noun}s"
        yield f"{what}, {how}: test-to-train SI, kNN and probe are too good. Remove the copies."


def within_split_notes(contents: NDArray[np.int64], splits: NDArray[np.str_], noun: str) -> Iterator[str]:
    """What copies within a split do, one text for each split that has some. Parameters are those of `leak_notes`."""
    for split, kind in _SPLITS.items():
        in_split = contents[splits == split]
        _, codes, counts = np.unique(in_split, return_inverse=True, return_counts=True)
        num_copied = int((counts[codes] > 1).sum())
        if num_copied:
            yield (
                f"{num_copied:,} of {len(in_split):,} {kind} {noun}s have an exact copy among the others: SI, kNN and "
                f"probe within {split} count copies as neighbors, and are too good where these are of the same class; "
                "the chance level does not know that. Remove the copies."
            )
