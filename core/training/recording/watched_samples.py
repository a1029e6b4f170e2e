"""The samples that a training is watched on: a few of what it was given, chosen once, the same at every epoch."""

import hashlib
from bisect import insort
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from core.data.images.copies import copy_notes
from core.data.images.labelled_images import LabelledImages
from core.data.sampling import MIN_PER_CLASS, stratified_subsample
from core.study.from_features.writer import ClassNames, study_samples
from core.study.samples import StudySamples

Load = Callable[[NDArray[np.int64]], NDArray[Any]]


@dataclass(frozen=True, eq=False)
class WatchedSamples:
    """Samples of a study, and how the images of some of its rows are had in the shape (height, width, channels).

    notes : what belongs beside any result on these samples.
    """

    name: str
    samples: StudySamples
    loader: Callable[[tuple[int, ...]], Load]
    notes: tuple[str, ...] = ()


def watched_samples(
    data: Any, num_samples: int, *, split: str, class_names: ClassNames | None, seed: int
) -> WatchedSamples:
    """Choose samples of arrays, of a `tf.data` dataset or of images that `core.data.images.labelled_images` loaded.

    Raises
    ------
    ValueError
        `data` is none of these, the labels do not fit the images, or a class has too few samples.
    """
    if isinstance(data, LabelledImages):
        return _of_images(data, num_samples, split, seed)
    if isinstance(data, tuple | list) and len(data) == 2:
        images, labels = np.asarray(data[0]), plain_labels(data[1])
        if len(images) != len(labels):
            raise ValueError(f"data must have one label a sample; got {len(labels)} labels for {len(images)} samples.")
        ids = [str(row) for row in range(len(labels))]
        rows = _chosen(ids, labels, num_samples, seed)
        return _of_arrays("arrays", images, rows, labels[rows], rows, split, class_names)
    if hasattr(data, "as_numpy_iterator"):
        images, labels, numbers = _of_dataset(data.as_numpy_iterator(), num_samples, seed)
        return _of_arrays("dataset", images, np.arange(len(labels)), labels, numbers, split, class_names)
    raise ValueError(
        "data must be (images, labels), a tf.data.Dataset of such pairs, or images of "
        f"core.data.images.loading.load_images; got {type(data).__name__}."
    )


def plain_labels(labels: Any) -> NDArray[Any]:
    """Labels of shape (n,), from an array of that shape or (n, 1)."""
    array = np.asarray(labels)
    if array.ndim == 2 and array.shape[1] == 1:
        array = array[:, 0]
    if array.ndim != 1:
        raise ValueError(
            f"labels must have shape (n,); got {array.shape}. Of one-hot labels, pass labels.argmax(axis=1)."
        )
    return array


def _chosen(ids: Sequence[str], labels: NDArray[Any], num_samples: int, seed: int) -> NDArray[np.int64]:
    if num_samples >= len(labels):
        return np.arange(len(labels))
    return stratified_subsample(ids, labels, num_samples, seed=seed)


def _of_images(images: LabelledImages, num_samples: int, split: str, seed: int) -> WatchedSamples:
    rows = np.flatnonzero(images.splits == split)
    if not len(rows):
        raise ValueError(f"split must be one that the images have; got {split!r}. Ask for the other one.")
    own = images.select(rows)
    own = own.select(_chosen(own.ids, own.labels, num_samples, seed))
    samples = StudySamples(own.ids, own.labels, own.class_names, own.splits, own.sources)
    loader = lambda shape: lambda rows: own.load(rows, (shape[0], shape[1]))  # noqa: E731
    return WatchedSamples(own.name, samples, loader, own.notes + copy_notes(images, measured=own))


def _of_arrays(
    name: str,
    images: NDArray[Any],
    rows: NDArray[np.int64],
    labels: NDArray[Any],
    numbers: NDArray[np.int64],
    split: str,
    class_names: ClassNames | None,
) -> WatchedSamples:
    """Some rows of an array; `numbers` name them."""
    ids = [str(number) for number in numbers]
    samples = study_samples(labels, ids=ids, class_names=class_names, splits=[split] * len(labels))
    return WatchedSamples(name, samples, lambda shape: lambda some: images[rows[some]])


def _of_dataset(
    batches: Iterable[Any], num_samples: int, seed: int
) -> tuple[NDArray[Any], NDArray[Any], NDArray[np.int64]]:
    """Read a dataset once, keeping at most `num_samples` samples, as many of each class as there is room for.

    Of each class, the first in an order that depends on the seed and the samples' numbers. So it is no matter that the
    classes' sizes are not known before the end, nor that another reading might come in another order.
    """
    kept: dict[Any, list[tuple[bytes, int, NDArray[Any]]]] = {}
    quota = num_samples
    for number, (image, label) in enumerate(_singly(batches)):
        own = kept.setdefault(label, [])
        insort(own, (hashlib.sha256(f"{seed}\0{number}".encode()).digest(), number, image), key=lambda one: one[:2])
        del own[quota:]
        while sum(map(len, kept.values())) > num_samples:
            quota -= 1
            for others in kept.values():
                del others[quota:]
    if quota < MIN_PER_CLASS or not kept:
        raise ValueError(
            f"num_samples must be at least {MIN_PER_CLASS} for each of the {len(kept)} classes of data; "
            f"got {num_samples}. Ask for more, or give a dataset with samples."
        )
    found = sorted((number, label, image) for label, own in kept.items() for _, number, image in own)
    numbers, labels, images = zip(*found, strict=True)
    return np.stack(images), np.array(labels), np.array(numbers)


def _singly(batches: Iterable[Any]) -> Iterator[tuple[NDArray[Any], Any]]:
    """The samples of a dataset, batched or not: an unbatched label has no axes."""
    for element in batches:
        if not isinstance(element, tuple) or len(element) < 2:
            raise ValueError("data must give (images, labels); got a dataset of other elements. Map it to such pairs.")
        images, labels = element[0], np.asarray(element[1])
        if labels.ndim == 0:
            yield images, labels.item()
        else:
            yield from zip(images, plain_labels(labels).tolist(), strict=True)
