"""Distances between samples, summed over classes: what silhouette and generalized discrimination value are made of."""

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from core.measures.center import CenterGeometry
from core.measures.significance import Codes
from core.search.rows import row_blocks


def silhouettes(geometry: CenterGeometry, labelings: Codes, num_classes: int) -> NDArray[np.float64]:
    """The mean silhouette under each of several labelings.

    Parameters
    ----------
    geometry : of n samples.
    labelings : shape (l, n): class codes below `num_classes`, the same number of each in every row.

    Returns
    -------
    float64, shape (l,)
    """
    counts = np.bincount(labelings[0], minlength=num_classes)
    totals = np.zeros(len(labelings))
    for rows, sums in _sums_to_classes(geometry, labelings, num_classes):
        for row, (codes, to_classes) in enumerate(zip(labelings[:, rows], sums, strict=True)):
            totals[row] += _silhouettes(to_classes, codes, counts).sum()
    return totals / len(geometry)


def discrimination_values(geometry: CenterGeometry, labelings: Codes, num_classes: int) -> NDArray[np.float64]:
    """Mean distance within classes minus mean distance between classes under each labeling; parameters as above.

    Returns
    -------
    float64, shape (l,); nan where no class has two samples.
    """
    counts = np.bincount(labelings[0], minlength=num_classes)
    between = np.zeros((len(labelings), num_classes, num_classes))  # summed distances of each pair of classes
    for rows, sums in _sums_to_classes(geometry, labelings, num_classes):
        for row, (codes, to_classes) in enumerate(zip(labelings[:, rows], sums, strict=True)):
            members = _members(codes[None], num_classes)
            between[row] += members @ to_classes.T
    first, second = np.triu_indices(num_classes, k=1)
    apart = (between[:, first, second] / (counts[first] * counts[second])).mean(axis=1)
    several = np.flatnonzero(counts > 1)
    if not len(several):
        return np.full(len(labelings), np.nan)
    pairs = counts[several] * (counts[several] - 1)
    return np.asarray((between[:, several, several] / pairs).mean(axis=1) - apart)


def _sums_to_classes(
    geometry: CenterGeometry, labelings: Codes, num_classes: int
) -> Iterator[tuple[slice, NDArray[np.float64]]]:
    """Some samples at a time, and the sums of their distances to each class, shape (l, num_classes, rows)."""
    members = _members(labelings, num_classes)
    for rows in row_blocks(len(geometry), 8 * max(members.shape)):
        sums = members @ _distances(geometry, rows)
        yield rows, sums.reshape(len(labelings), num_classes, -1)


def _members(labelings: Codes, num_classes: int) -> Any:
    """Which samples are of which class: sparse, of shape (l · num_classes, n), one labeling below the other."""
    num_labelings, num_samples = labelings.shape
    places = labelings.astype(np.int64) + num_classes * np.arange(num_labelings)[:, None]
    samples = np.broadcast_to(np.arange(num_samples), labelings.shape)
    shape = (num_labelings * num_classes, num_samples)
    return sparse.csr_array((np.ones(labelings.size), (places.ravel(), samples.ravel())), shape=shape)


def _distances(geometry: CenterGeometry, rows: slice) -> NDArray[np.float64]:
    """Distances of all samples to some, shape (n, rows); up to rounding of about 1e-8 of the largest length."""
    inner = geometry.inner
    squared = inner[:, rows] * -2.0 if geometry.is_gram else inner @ inner[rows].T * -2.0
    squared += geometry.squared_lengths[:, None]
    squared += geometry.squared_lengths[rows]
    places = np.arange(rows.start, rows.stop)
    squared[places, places - rows.start] = 0
    values: NDArray[np.float64] = np.sqrt(squared.clip(min=0))
    return values


def _silhouettes(to_classes: NDArray[np.float64], codes: Codes, counts: NDArray[np.int64]) -> NDArray[np.float64]:
    """Of some samples, from the sums of their distances to each class, shape (num_classes, rows)."""
    own = (codes, np.arange(len(codes)))
    others = counts[codes] - 1
    within = to_classes[own] / np.maximum(others, 1)
    means = to_classes / counts[:, None]
    means[own] = np.inf
    nearest = means.min(axis=0)
    larger = np.maximum(within, nearest)
    defined = (others > 0) & (larger > 0)
    values: NDArray[np.float64] = np.divide(nearest - within, larger, out=np.zeros(len(codes)), where=defined)
    return values
