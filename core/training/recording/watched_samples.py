"""The samples that SI is measured on during a training: a subsample, the same at every epoch."""

import hashlib
from bisect import insort
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
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
    """Samples of a study, with a loader of their images.

    Attributes
    ----------
    name : str
        Name of the data.
    samples : StudySamples
        Ids, labels and splits.
    loader : callable
        Takes an image shape (height, width, channels), and returns a function from rows to images of that shape.
    notes : tuple of str
        Remarks for the readers of results on these samples.
    """

    name: str
    samples: StudySamples
    loader: Callable[[tuple[int, ...]], Load]
    notes: tuple[str, ...] = ()


def watched_samples(
    data: Any, num_samples: int, *, split: str, class_names: ClassNames | None, seed: int
) -> WatchedSamples:
    """Choose samples from arrays, from a `tf.data` dataset or from labelled images.

    Parameters
    ----------
    data : (images, labels), tf.data.Dataset or LabelledImages
        The data to choose from; a dataset is read once.
    num_samples : int
        Largest number of samples; a larger data set is subsampled, stratified by class.
    split : {"test", "train"}
        The split of the samples; of labelled images only this split is used.
    class_names : sequence or mapping, optional
        Names of the classes.
    seed : int
        Random seed of the subsample.

    Raises
    ------
    ValueError
        If `data` is of another type, if the labels do not fit the images, or if a class has too few samples.
    """
    if isinstance(data, LabelledImages):
        return _of_images(data, num_samples, split, seed)
    if isinstance(data, tuple | list) and len(data) == 2:
        images, labels = np.asarray(data[0]), plain_labels(data[1])
        if len(images) != len(labels):
            raise ValueError(
                f"data must have one label per sample; got {len(labels)} labels for {len(images)} samples."
            )
        ids = [str(row) for row in range(len(labels))]
        rows = _choose_rows(ids, labels, num_samples, seed)
        samples = _study_samples(labels[rows], rows, split, class_names)
        return WatchedSamples("arrays", samples, lambda shape: lambda chosen: images[rows[chosen]])
    if hasattr(data, "as_numpy_iterator"):
        images, labels, numbers = _of_dataset(data.as_numpy_iterator(), num_samples, seed)
        samples = _study_samples(labels, numbers, split, class_names)
        return WatchedSamples("dataset", samples, lambda shape: lambda chosen: images[chosen])
    raise ValueError(
        "data must be (images, labels), a tf.data.Dataset of such pairs, or images of "
        f"core.data.images.loading.load_images; got {type(data).__name__}."
    )


def plain_labels(labels: Any) -> NDArray[Any]:
    """Return labels as an array of shape (n,), from shape (n,) or (n, 1)."""
    array = np.asarray(labels)
    if array.ndim == 2 and array.shape[1] == 1:
        array = array[:, 0]
    if array.ndim != 1:
        raise ValueError(
            f"labels must have shape (n,); got {array.shape}. For one-hot labels, pass labels.argmax(axis=1)."
        )
    return array


def _choose_rows(ids: Sequence[str], labels: NDArray[Any], num_samples: int, seed: int) -> NDArray[np.int64]:
    if num_samples >= len(labels):
        return np.arange(len(labels))
    return stratified_subsample(ids, labels, num_samples, seed=seed)


def _of_images(images: LabelledImages, num_samples: int, split: str, seed: int) -> WatchedSamples:
    rows = np.flatnonzero(images.splits == split)
    if not len(rows):
        raise ValueError(f"split must be one that the images have; got {split!r}. Choose the other split.")
    in_split = images.select(rows)
    chosen = in_split.select(_choose_rows(in_split.ids, in_split.labels, num_samples, seed))
    samples = StudySamples(chosen.ids, chosen.labels, chosen.class_names, chosen.splits, chosen.sources)

    def loader(shape: tuple[int, ...]) -> Load:
        return partial(chosen.load, size=(shape[0], shape[1]))

    return WatchedSamples(chosen.name, samples, loader, chosen.notes + copy_notes(images, measured=chosen))


def _study_samples(
    labels: NDArray[Any], numbers: NDArray[np.int64], split: str, class_names: ClassNames | None
) -> StudySamples:
    """Return the samples of a study whose ids are the given numbers."""
    ids = [str(number) for number in numbers]
    return study_samples(labels, ids=ids, class_names=class_names, splits=[split] * len(labels))


def _of_dataset(
    batches: Iterable[Any], num_samples: int, seed: int
) -> tuple[NDArray[Any], NDArray[Any], NDArray[np.int64]]:
    """Read a dataset once, and choose at most `num_samples` samples, the same maximum number of each class.

    Of each class, the first samples are chosen in an order that depends on the seed and the samples' numbers. So the
    sizes of the classes, which are only known at the end, are not needed while reading.
    """
    chosen: dict[Any, list[tuple[bytes, int, NDArray[Any]]]] = {}  # by class: sort key, number, image
    quota = num_samples  # of each class
    for number, (image, label) in enumerate(_iterate_samples(batches)):
        of_class = chosen.setdefault(label, [])
        sort_key = hashlib.sha256(f"{seed}\0{number}".encode()).digest()
        insort(of_class, (sort_key, number, image), key=lambda sample: sample[:2])
        del of_class[quota:]
        while sum(map(len, chosen.values())) > num_samples:
            quota -= 1
            for samples in chosen.values():
                del samples[quota:]
    if quota < MIN_PER_CLASS or not chosen:
        raise ValueError(
            f"num_samples must be at least {MIN_PER_CLASS} for each of the {len(chosen)} classes of data; "
            f"got {num_samples}. Choose a larger number, or give a dataset with samples."
        )
    numbered: dict[int, tuple[Any, NDArray[Any]]] = {}
    for label, samples in chosen.items():
        numbered.update((number, (label, image)) for _, number, image in samples)
    numbers = sorted(numbered)
    labels, images = zip(*(numbered[number] for number in numbers), strict=True)
    return np.stack(images), np.array(labels), np.array(numbers)


def _iterate_samples(batches: Iterable[Any]) -> Iterator[tuple[NDArray[Any], Any]]:
    """Yield the samples of a dataset, batched or not: an unbatched label has no axes."""
    for element in batches:
        if not isinstance(element, tuple) or len(element) < 2:
            raise ValueError("data must yield (images, labels); got a dataset of other elements. Map it to such pairs.")
        images, labels = element[0], np.asarray(element[1])
        if labels.ndim == 0:
            yield images, labels.item()
        else:
            yield from zip(images, plain_labels(labels).tolist(), strict=True)
