"""Seeded subsamples and splits that depend on ids and the random seed alone.

The pseudo-random order sorts the samples by a hash of (seed, id). So neither the order in which a file system lists the
samples nor the presence of other samples changes which of two samples comes first, on any machine.
"""

import hashlib
from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike

MIN_PER_CLASS = 2  # a sample that is alone in its class has no neighbor of the same class


def sample_order(ids: Sequence[str], seed: int) -> np.ndarray:
    """Return the rows in the pseudo-random order of a seed.

    Parameters
    ----------
    ids : sequence of str, length n
        Unique names of the samples.
    seed : int
        Random seed; different seeds give unrelated orders.

    Returns
    -------
    np.ndarray, int64, shape (n,)
        Rows of `ids`, ascending by SHA-256 of ``f"{seed}\\0{id}"``.

    Raises
    ------
    ValueError
        If an id appears twice.
    """
    if len(set(ids)) != len(ids):
        raise ValueError(f"ids must be unique; got {len(ids) - len(set(ids))} duplicate(s). Name each sample once.")
    keys = [hashlib.sha256(f"{seed}\0{sample_id}".encode("utf-8", "surrogateescape")).digest() for sample_id in ids]
    return np.array(sorted(range(len(keys)), key=keys.__getitem__), dtype=np.int64)


def take_per_class(
    ids: Sequence[str],
    labels: ArrayLike,
    per_class: int,
    *,
    seed: int,
    class_names: Sequence[str] | None = None,
) -> np.ndarray:
    """Return the rows of the first `per_class` samples of each class in the order of `sample_order`.

    The selections are nested: the samples chosen with ``per_class=5`` are among those chosen with ``per_class=10``.

    Parameters
    ----------
    ids : sequence of str, length n
        Unique names of the samples.
    labels : integers or strings, shape (n,)
        Class of each sample.
    per_class : int
        Number of samples per class, at least 1.
    seed : int
        Random seed.
    class_names : sequence of str, optional
        Class names for error messages, if the labels are integers from 0 to C - 1.

    Returns
    -------
    np.ndarray, int64, shape (per_class * C,)
        Chosen rows, ascending.

    Raises
    ------
    ValueError
        If `per_class` is below 1 or larger than a class; the message names the class.
    """
    classes, codes = _classes(ids, labels)
    if per_class < 1:
        raise ValueError(f"per_class must be at least 1; got {per_class}. Leave it out to take all samples.")
    small = np.flatnonzero(np.bincount(codes) < per_class)
    if small.size:
        raise ValueError(
            f"per_class must be at most the size of the smallest class; got {per_class}, but there are only "
            f"{_class_sizes(classes, codes, small, class_names)}. Ask for fewer, or add samples."
        )
    return np.flatnonzero(_ranks_in_class(ids, codes, seed) < per_class)


def stratified_split(
    ids: Sequence[str],
    labels: ArrayLike,
    *,
    test_fraction: float = 0.2,
    seed: int,
    class_names: Sequence[str] | None = None,
) -> np.ndarray:
    """Split the samples into training and test, class by class.

    The first samples of a class in the order of `sample_order` become its test samples. Their number is
    `test_fraction` of the class, rounded (half to even), but both splits get at least 2 samples of each class.

    Parameters
    ----------
    ids : sequence of str, length n
        Unique names of the samples.
    labels : integers or strings, shape (n,)
        Class of each sample.
    test_fraction : float
        Share of the test split in each class, between 0 and 1, both excluded.
    seed : int
        Random seed.
    class_names : sequence of str, optional
        Class names for error messages, if the labels are integers from 0 to C - 1.

    Returns
    -------
    np.ndarray of str, shape (n,)
        "train" or "test".

    Raises
    ------
    ValueError
        If `test_fraction` is not between 0 and 1, or a class has fewer than 4 samples; the message names the classes.
    """
    classes, codes = _classes(ids, labels)
    if not 0 < test_fraction < 1:
        raise ValueError(f"test_fraction must lie between 0 and 1, both excluded; got {test_fraction}. Try 0.2.")
    counts = np.bincount(codes)
    small = np.flatnonzero(counts < 2 * MIN_PER_CLASS)
    if small.size:
        raise ValueError(
            f"each class must have at least {2 * MIN_PER_CLASS} samples to be split, {MIN_PER_CLASS} for each split; "
            f"got {_class_sizes(classes, codes, small, class_names)}. Add samples, leave such classes out, or make the "
            "split yourself (a folder that holds only train/ is not split)."
        )
    test_counts = np.clip(np.rint(test_fraction * counts), MIN_PER_CLASS, counts - MIN_PER_CLASS)
    return np.where(_ranks_in_class(ids, codes, seed) < test_counts[codes], "test", "train")


def stratified_subsample(
    ids: Sequence[str],
    labels: ArrayLike,
    size: int,
    *,
    seed: int,
    class_names: Sequence[str] | None = None,
) -> np.ndarray:
    """Choose `size` samples, distributed over the classes in proportion to their sizes, at least two per class.

    The seats are apportioned by the Webster/Sainte-Laguë method: each class first gets two; every further seat goes to
    the class with the largest quotient n_c / (2 s + 1), where s is the number of seats that it already has. Ties are
    broken by `sample_order`. Except in rare cases each class gets its rounded proportion. Unlike with the
    largest-remainder method, subsamples of the same seed are always nested: the one of size 50 is part of the one of
    size 100.

    Parameters
    ----------
    ids : sequence of str, length n
        Unique names of the samples.
    labels : integers or strings, shape (n,)
        Class of each sample.
    size : int
        Total number of samples, from 2 per class to n.
    seed : int
        Random seed.
    class_names : sequence of str, optional
        Class names for error messages, if the labels are integers from 0 to C - 1.

    Returns
    -------
    np.ndarray, int64, shape (size,)
        Chosen rows, ascending.

    Raises
    ------
    ValueError
        If a class has fewer than two samples, or `size` is below two a class or above n.
    """
    classes, codes = _classes(ids, labels)
    counts = np.bincount(codes)
    small = np.flatnonzero(counts < MIN_PER_CLASS)
    if small.size:
        raise ValueError(
            f"each class must have at least {MIN_PER_CLASS} samples; got "
            f"{_class_sizes(classes, codes, small, class_names)}. Add samples, or leave such classes out."
        )
    min_size = MIN_PER_CLASS * len(classes)
    if not min_size <= size <= len(codes):
        raise ValueError(
            f"size must be between {min_size} ({MIN_PER_CLASS} for each of {len(classes)} classes) and {len(codes)} "
            f"(all samples); got {size}. Choose a size in that range."
        )
    ranks = np.empty(len(codes), dtype=np.int64)
    ranks[sample_order(ids, seed)] = np.arange(len(codes))
    class_ranks = _ranks_in_class(ids, codes, seed)
    # The reciprocal of each sample's quotient. Division is correctly rounded, so equal quotients are equal floats.
    priority = np.where(class_ranks < MIN_PER_CLASS, 0.0, (2 * class_ranks + 1) / counts[codes])
    return np.sort(np.lexsort((ranks, priority))[:size])


def _classes(ids: Sequence[str], labels: ArrayLike) -> tuple[np.ndarray, np.ndarray]:
    """Return the distinct labels and, for each sample, the index of its label among them."""
    values = np.asarray(labels)
    if values.shape != (len(ids),) or not len(ids):
        raise ValueError(
            f"labels must have shape (n,), one for each of the n >= 1 ids; got {values.shape} for {len(ids)} ids. "
            "Give one label per sample."
        )
    classes, codes = np.unique(values, return_inverse=True)
    return classes, codes


def _ranks_in_class(ids: Sequence[str], codes: np.ndarray, seed: int) -> np.ndarray:
    """Return the rank of each sample within its class in the seeded order, from 0."""
    order = sample_order(ids, seed)
    by_class = order[np.argsort(codes[order], kind="stable")]
    counts = np.bincount(codes)
    class_ranks = np.empty(len(codes), dtype=np.int64)
    class_ranks[by_class] = np.arange(len(codes)) - np.repeat(np.cumsum(counts) - counts, counts)
    return class_ranks


def _class_sizes(classes: np.ndarray, codes: np.ndarray, chosen: np.ndarray, class_names: Sequence[str] | None) -> str:
    """List the chosen classes with their sizes, such as "1 of 'husky'"."""
    counts = np.bincount(codes)
    names = classes.tolist() if class_names is None else [class_names[code] for code in classes]
    return name_some([f"{counts[code]} of {names[code]!r}" for code in chosen])


def name_some(items: Sequence[str], most: int = 5) -> str:
    """List the first `most` items for a message, and the number of the remaining ones.

    >>> name_some(["a", "b", "c"], most=2)
    'a, b and 1 more'
    """
    listed = ", ".join(items[:most])
    return f"{listed} and {len(items) - most} more" if len(items) > most else listed


def counted(number: int, noun: str, plural: str | None = None) -> str:
    """Return a number with its noun, in the plural unless it is one.

    >>> counted(1, "layer"), counted(1200, "sample"), counted(2, "pass", "passes")
    ('1 layer', '1,200 samples', '2 passes')
    """
    return f"{number:,} {noun if number == 1 else plural or noun + 's'}"
