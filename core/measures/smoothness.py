"""Smoothness: the Separation Index for regression targets, how close the targets of near samples are."""

from __future__ import annotations  # so that help() shows the names of types as they are written here

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import ArrayLike, NDArray

from core.measures.separation import Separation
from core.measures.significance import Codes, Shuffles, null_values, shared_node_n
from core.search.neighbors import nearest_neighbors
from core.search.rows import as_matrix, row_blocks

KINDS = ("linear", "exponential")
AGGREGATES: dict[str, Callable[..., NDArray[np.float64]]] = {"high": np.min, "soft": np.mean}
_ROUNDING = 1e-14  # of the largest target: differences of targets that differ by less are equal


def smoothness_index(
    features: ArrayLike,
    targets: ArrayLike,
    *,
    kind: str = "linear",
    gamma: float = 1.0,
    order: int = 1,
    aggregate: str = "high",
    metric: str = "euclidean",
) -> Separation:
    """Mean closeness of each sample's target to the targets of its nearest other samples (SmI); 1 is smoothest.

    With d the Euclidean distance from a sample's target to the target of its neighbor among the features, and dmax_i,
    dmin_i, dmean_i over its target distances to all other samples, a neighbor scores (dmax_i − d)/(dmax_i − dmin_i)
    (linear) or exp(−γ(d − dmin_i)/dmean_i) (exponential). A sample with dmax_i = dmin_i scores 1. Neither depends on
    the targets' offset and unit. Kalhor et al., arXiv 1906.05156.

    Parameters
    ----------
    features : array of shape (n, d), or (n, ...), flattened per sample; finite, n >= 2.
    targets : real numbers of shape (n,) or (n, q); finite, not all the same. Columns share one unit: scale them first
        where they do not.
    kind : "linear" or "exponential". gamma : γ > 0, how fast the exponential kind falls.
    order : neighbors r of a sample, 1..n - 1. aggregate : its score is their smallest ("high") or their mean ("soft").
    metric : "euclidean" or "cosine", of the features.

    Returns
    -------
    Separation
        Without classes (`by_class` is empty) and without a closed null: `chance`, `excess` and `z` are nan, and
        `p_value` permutes the targets on the fixed neighbor graph. `interval` treats the scores as shares that depend
        on shared neighbors; they spread less than shares do, so it is wider than needed.

    Raises
    ------
    ValueError
        NaN or infinity, fewer than two samples, lengths that differ, constant targets, an option out of range.
    """
    _check_options(kind, gamma, aggregate)
    num_samples = len(as_matrix(features))
    columns = _checked_targets(targets, num_samples)
    if isinstance(order, bool) or not isinstance(order, int | np.integer) or not 1 <= order < max(num_samples, 2):
        raise ValueError(f"order must be a whole number from 1 to n - 1 = {num_samples - 1}; got {order!r}.")
    nearest = nearest_neighbors(features, k=int(order), metric=metric).indices
    scorer = _Scorer(columns, _Spread.of(columns), nearest, kind, gamma, aggregate)
    everyone = np.arange(num_samples)
    by_sample = scorer.scores(everyone)
    value = float(by_sample.mean())
    nodes = np.column_stack([everyone, nearest])
    return Separation(
        measure="smoothness",
        order=int(order),
        value=value,
        by_class={},
        by_sample=by_sample,
        nearest=nearest[:, 0],
        chance=float("nan"),
        num_all=num_samples,
        null_values=scorer.null_values,
        effective_n=partial(shared_node_n, value, by_sample - value, nodes),
    )


@dataclass(frozen=True, eq=False)
class _Spread:
    """The largest, smallest and mean target distance of each sample to all other samples, each of shape (n,)."""

    largest: NDArray[np.float64]
    smallest: NDArray[np.float64]
    mean: NDArray[np.float64]

    @classmethod
    def of(cls, targets: NDArray[np.float64]) -> _Spread:
        return cls(*(_spread_on_a_line(targets[:, 0]) if targets.shape[1] == 1 else _spread_in_blocks(targets)))

    @property
    def is_none(self) -> NDArray[np.bool_]:
        """Samples that are as far from every other sample, up to rounding of the targets."""
        return self.largest - self.smallest <= _ROUNDING


@dataclass(frozen=True, eq=False)
class _Scorer:
    """What a score needs: the targets, their spread, and the r nearest samples of each sample."""

    targets: NDArray[np.float64]
    spread: _Spread
    nearest: NDArray[np.int64]
    kind: str
    gamma: float
    aggregate: str

    def scores(self, carried: Codes) -> NDArray[np.float64]:
        """Score of each sample, shape (..., n), where sample i carries the target of sample carried[..., i]."""
        neighbors = carried[..., self.nearest]
        distance = _distances(self.targets[carried][..., None, :], self.targets[neighbors])
        largest, smallest, mean, is_none = (
            part[carried][..., None]
            for part in (self.spread.largest, self.spread.smallest, self.spread.mean, self.spread.is_none)
        )
        if self.kind == "linear":
            score = (largest - distance) / np.where(is_none, 1.0, largest - smallest)
        else:
            score = np.exp(-self.gamma * (distance - smallest) / np.where(is_none, 1.0, mean))
        return AGGREGATES[self.aggregate](np.where(is_none, 1.0, score), axis=-1)

    def null_values(self, shuffles: Shuffles) -> NDArray[np.float64]:
        """The measure where the targets are permuted over the samples."""
        carried = shuffles.of(np.arange(len(self.targets)))
        entries_each = self.nearest.size * self.targets.shape[1]
        return null_values(lambda some, _: self.scores(some).mean(axis=-1), carried, carried, entries_each)


def _check_options(kind: str, gamma: float, aggregate: str) -> None:
    if kind not in KINDS:
        raise ValueError(f"kind must be one of {', '.join(KINDS)}; got {kind!r}.")
    if aggregate not in AGGREGATES:
        raise ValueError(f"aggregate must be one of {', '.join(AGGREGATES)}; got {aggregate!r}.")
    if not 0 < gamma < float("inf"):
        raise ValueError(f"gamma must be a positive number; got {gamma!r}. 1 is usual.")


def _checked_targets(targets: ArrayLike, num_samples: int) -> NDArray[np.float64]:
    """The targets as (n, q), finite, scaled by a power of two to at most 1: no score depends on their unit."""
    matrix = as_matrix(targets, "targets").astype(np.float64)
    if len(matrix) != num_samples:
        raise ValueError(f"targets must have one entry a sample, {num_samples}; got {len(matrix)}.")
    wrong = np.argwhere(~np.isfinite(matrix))
    if len(wrong):
        row, column = wrong[0]
        raise ValueError(
            f"targets must be finite; got {matrix[row, column]} in row {row}, column {column}. Drop such samples first."
        )
    scaled = np.ldexp(matrix, -int(np.frexp(np.abs(matrix).max())[1]))
    if num_samples > 1 and np.ptp(scaled, axis=0).max() <= _ROUNDING:
        raise ValueError(
            f"targets must vary; got the same, {matrix[0].tolist()}, for all {num_samples} samples. "
            "Smoothness of a constant is undefined."
        )
    return scaled


def _distances(left: NDArray[np.float64], right: NDArray[np.float64]) -> NDArray[np.float64]:
    """Euclidean distance over the last axis, column by column, so that a pair has one distance in whatever company."""
    if left.shape[-1] == 1:
        return np.abs(left[..., 0] - right[..., 0])
    return np.sqrt(sum((left[..., column] - right[..., column]) ** 2 for column in range(left.shape[-1])))


def _spread_on_a_line(targets: NDArray[np.float64]) -> tuple[NDArray[np.float64], ...]:
    """Largest, smallest and mean distance to the others of each of n numbers, from their order."""
    order = np.argsort(targets, kind="stable")
    ascending = targets[order]
    steps = np.diff(ascending)
    centered = ascending - ascending.mean()
    below = np.arange(len(targets))
    before = np.cumsum(centered) - centered
    total = (2 * below + 1 - len(targets)) * centered - 2 * before + centered.sum() - centered
    sorted_spread = (
        np.maximum(ascending - ascending[0], ascending[-1] - ascending),
        np.minimum(np.append(steps, np.inf), np.append(np.inf, steps)),
        total / (len(targets) - 1),
    )
    place = np.argsort(order)
    return tuple(part[place] for part in sorted_spread)


def _spread_in_blocks(targets: NDArray[np.float64]) -> tuple[NDArray[np.float64], ...]:
    """Largest, smallest and mean distance to the others of each of n points, some points at a time."""
    largest, smallest, total = np.empty((3, len(targets)))
    for rows in row_blocks(len(targets), 8 * len(targets)):
        distance = _distances(targets[rows, None, :], targets)
        largest[rows], total[rows] = distance.max(axis=1), distance.sum(axis=1)
        distance[np.arange(len(distance)), np.arange(rows.start, rows.stop)] = np.inf
        smallest[rows] = distance.min(axis=1)
    return largest, smallest, total / (len(targets) - 1)
