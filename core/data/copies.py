"""Images that are there twice, byte for byte: in both splits, or in several classes."""

import numpy as np

from core.data.images import LabelledImages


def copy_notes(images: LabelledImages) -> tuple[str, ...]:
    """What copies do to the results: test images that are training images too, and images with several labels."""
    digests = np.array(images.digests, dtype="S64")  # hexadecimal, of the encoded images
    is_train = images.splits == "train"
    num_leaked = int(np.isin(digests[~is_train], digests[is_train]).sum())
    contents, codes = np.unique(digests, return_inverse=True)
    num_classes = np.zeros(len(contents), dtype=np.int64)
    pairs = np.unique(np.stack([codes, images.labels], axis=1), axis=0)
    np.add.at(num_classes, pairs[:, 0], 1)
    num_ambiguous = int((num_classes > 1).sum())
    notes = []
    if num_leaked:
        what = "1 test image is also a training image" if num_leaked == 1 else ""
        what = what or f"{num_leaked:,} test images are also training images"
        notes.append(f"{what}, byte for byte: test-to-train SI, kNN and probe are too good. Remove the copies.")
    if num_ambiguous:
        what = "1 image is" if num_ambiguous == 1 else f"{num_ambiguous:,} images are"
        notes.append(f"{what} in two or more classes, byte for byte: all but one of the labels are wrong.")
    return tuple(notes)
