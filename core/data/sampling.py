"""Seeded subsamples and splits that depend on ids and the random seed alone.

Each sample's place in the pseudo-random order comes from a hash of (seed, id). So neither the order in which a file
system lists the samples nor the presence of other samples changes which of two comes first, on any machine.
"""

import hashlib
from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike

MIN_PER_CLASS = 2  # a class of one sample has no neighbor of its own class


def sample_order(ids: Sequence[str], seed: int) -> np.ndarray:
    """Rows in the pseudo-random order of a seed.

    Parameters
    ----------
    ids : sequence of str, length n
        Unique names of the samples.
    seed : int
        Another seed gives another, unrelated order.

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
    """Rows of the first `per_class` samples of each class in the order of `sample_order`.

    Nested: what is taken for 5 a class is taken for 10 a class, too.

    Parameters
    ----------
    ids : sequence of str, length n
        Unique names of the samples.
    labels : integers or strings, shape (n,)
        Class of each sample.
    per_class : int
        How many samples of each class, at least 1.
    seed : int
        Random seed.
    class_names : sequence of str, optional
        Names for error messages, where the labels are integers 0 to C - 1.

    Returns
    -------
    np.ndarray, int64, shape (per_class * C,)
        Chosen rows, ascending.

    Raises
    ------
    ValueError
        If `per_class` is below 1 or above the size of a class, which the message names.
    """
    classes, codes = _classes(ids, labels)
    if per_class < 1:
        raise ValueError(f"per_class must be at least 1; got {per_class}. Leave it out to take all samples.")
    small = np.flatnonzero(np.bincount(codes) < per_class)
    if small.size:
        raise ValueError(
            f"per_class must be at most the size of the smallest class; got {per_class}, but there are only "
            f"{_sizes(classes, codes, small, class_names)}. Ask for fewer, or add samples."
        )
    return np.flatnonzero(_places(ids, codes, seed) < per_class)


def stratified_split(
    ids: Sequence[str],
    labels: ArrayLike,
    *,
    test_fraction: float = 0.2,
    seed: int,
    class_names: Sequence[str] | None = None,
) -> np.ndarray:
    """Split of each sample: about `test_fraction` of every class is test, at least two samples each way.

    The first samples of a class in the order of `sample_order` are its test samples, as many as the rounded share (half
    to even), but at least 2 and at most all but 2.

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
            f"each class must have at least {2 * MIN_PER_CLASS} samples to be split, {MIN_PER_CLASS} each way; got "
            f"{_sizes(classes, codes, small, class_names)}. Add samples, leave such classes out, or make the split "
            "yourself (a folder that holds only train/ is not split)."
        )
    test_counts = np.clip(np.rint(test_fraction * counts), MIN_PER_CLASS, counts - MIN_PER_CLASS)
    return np.where(_places(ids, codes, seed) < test_counts[codes], "test", "train")


def stratified_subsample(
    ids: Sequence[str],
    labels: ArrayLike,
    size: int,
    *,
    seed: int,
    class_names: Sequence[str] | None = None,
) -> np.ndarray:
    """Rows of `size` samples in all, shared among the classes in proportion to their sizes, at least two a class.

    Seats are dealt one by one by the method of Webster and Sainte-Laguë: after two for each class, the next goes to the
    class with the largest n_c / (2 s + 1), where s is what it has already; equals go in the order of `sample_order`.
    Each share is its rounded proportion but for rare cases. With the largest-remainder method a larger `size` may take
    a seat away from a class; here the subsamples of one seed are always nested: that of 50 lies in that of 100.

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
            f"each class must have at least {MIN_PER_CLASS} samples; got {_sizes(classes, codes, small, class_names)}. "
            "Add samples, or leave such classes out."
        )
    smallest = MIN_PER_CLASS * len(classes)
    if not smallest <= size <= len(codes):
        raise ValueError(
            f"size must be between {smallest} ({MIN_PER_CLASS} for each of {len(classes)} classes) and {len(codes)} "
            f"(all samples); got {size}. Choose a size in that range."
        )
    ranks = np.empty(len(codes), dtype=np.int64)
    ranks[sample_order(ids, seed)] = np.arange(len(codes))
    places = _places(ids, codes, seed)
    # Equal quotients are equal floats, as division rounds correctly: ties are real ties.
    turn = np.where(places < MIN_PER_CLASS, 0.0, (2 * places + 1) / counts[codes])
    return np.sort(np.lexsort((ranks, turn))[:size])


def _classes(ids: Sequence[str], labels: ArrayLike) -> tuple[np.ndarray, np.ndarray]:
    """The distinct labels, and each sample's index among them."""
    values = np.asarray(labels)
    if values.shape != (len(ids),) or not len(ids):
        raise ValueError(
            f"labels must have shape (n,), one for each of the n >= 1 ids; got {values.shape} for {len(ids)} ids. "
            "Give one label a sample."
        )
    classes, codes = np.unique(values, return_inverse=True)
    return classes, codes


def _places(ids: Sequence[str], codes: np.ndarray, seed: int) -> np.ndarray:
    """Place of each sample within its class in the seeded order, from 0."""
    order = sample_order(ids, seed)
    by_class = order[np.argsort(codes[order], kind="stable")]
    counts = np.bincount(codes)
    places = np.empty(len(codes), dtype=np.int64)
    places[by_class] = np.arange(len(codes)) - np.repeat(np.cumsum(counts) - counts, counts)
    return places


def _sizes(classes: np.ndarray, codes: np.ndarray, which: np.ndarray, class_names: Sequence[str] | None) -> str:
    """The named classes with their sizes, such as "1 of 'husky'"."""
    counts = np.bincount(codes)
    names = (classes if class_names is None else np.asarray(class_names)[classes]).tolist()
    return name_some([f"{counts[code]} of {names[code]!r}" for code in which])


def name_some(items: Sequence[str], most: int = 5) -> str:
    """The first few of a list for an error message, and how many more there are."""
    rest = f" and {len(items) - most} more" if len(items) > most else ""
    return ", ".join(items[:most]) + rest
