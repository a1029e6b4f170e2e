"""Notes on duplicate samples: in both splits, within a split, or in several classes."""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from core.data.images.labelled_images import LabelledImages

_ADJECTIVES = {"train": "training", "test": "test"}  # by split


def copy_notes(images: LabelledImages, *, measured: LabelledImages | None = None) -> tuple[str, ...]:
    """Say how images that are equal, byte for byte, affect the results.

    Parameters
    ----------
    images : LabelledImages
        All images.
    measured : LabelledImages, optional
        The images whose neighbors are searched, if these are not all; copies within a split are counted among them.

    Returns
    -------
    tuple of str
        One sentence or two for each kind of copies: in both splits, within a split, in several classes.
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
    """Return a number for each image that is the same for equal images."""
    digests = np.array(images.digests, dtype="S64")  # SHA-256 of the encoded images, in hexadecimal
    return np.unique(digests, return_inverse=True)[1]


def leak_notes(contents: NDArray[np.int64], splits: NDArray[np.str_], noun: str, how: str) -> Iterator[str]:
    """Say how test samples that are also training samples affect the results; no note if there are none.

    Parameters
    ----------
    contents : np.ndarray, int64, shape (n,)
        A number for each sample that is the same for equal samples.
    splits : np.ndarray of str, shape (n,)
        "train" or "test".
    noun : str
        What a sample is called, such as "image".
    how : str
        In which way copies are equal, such as "byte for byte".

    Yields
    ------
    str
        At most one note.
    """
    is_train = splits == "train"
    num_leaked = int(np.isin(contents[~is_train], contents[is_train]).sum())
    if num_leaked == 0:
        return
    if num_leaked == 1:
        what = f"1 test {noun} is also a training {noun}"
    else:
        what = f"{num_leaked:,} test {noun}s are also training {noun}s"
    yield f"{what}, {how}: test-to-train SI, kNN and probe are too good. Remove the copies."


def within_split_notes(contents: NDArray[np.int64], splits: NDArray[np.str_], noun: str) -> Iterator[str]:
    """Say how copies within a split affect the results, one note per split with copies; parameters as `leak_notes`."""
    for split, adjective in _ADJECTIVES.items():
        in_split = contents[splits == split]
        _, codes, counts = np.unique(in_split, return_inverse=True, return_counts=True)
        num_copied = int((counts[codes] > 1).sum())
        if num_copied:
            yield (
                f"{num_copied:,} of {len(in_split):,} {adjective} {noun}s have an exact copy among the others: SI, kNN "
                f"and probe within {split} count copies as neighbors, and are too good if these are of the same class; "
                "the chance level does not account for that. Remove the copies."
            )
