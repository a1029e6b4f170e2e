"""A search in tiles: what each tile finds, exactly, and how the findings merge.

A tile asks some rows about some others. Whoever has the tiles of all pairs merges what they found: the k smallest by
squared distance, equal ones by row. That is associative and commutative, and the distances are those of
`core.search.neighbors.squared_distances`, so the neighbors are those of one search over all rows, bit for bit,
however the rows were cut and in whatever order the tiles came.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from core.search.neighbors import Neighbors, multipliers, nearest_neighbors, squared_among
from core.search.rows import Rows
from core.search.shortlist import join_across

Array = NDArray[Any]


@dataclass(frozen=True, eq=False)
class Best:
    """The best references known so far of each of m queries, nearest first, equal ones by row.

    indices : int64, shape (m, k); -1 where fewer than k are known.
    squared : float64, shape (m, k); infinite where fewer than k are known.
    """

    indices: NDArray[np.int64]
    squared: NDArray[np.float64]

    @classmethod
    def unknown(cls, num_queries: int, k: int) -> "Best":
        """Nothing known yet."""
        return cls(np.full((num_queries, k), -1), np.full((num_queries, k), np.inf))

    @property
    def within(self) -> NDArray[np.float64]:
        """The squared distance up to which another reference counts, shape (m,)."""
        return self.squared[:, -1]

    def shifted(self, start: int) -> "Best":
        """The same with references counted from `start` on."""
        return Best(np.where(self.indices < 0, -1, self.indices + start), self.squared)

    def neighbors(self) -> Neighbors:
        """The answer, where all tiles are merged."""
        return Neighbors(self.indices, np.sqrt(self.squared), 0, self.squared)


def merge(parts: Sequence[Best], k: int) -> Best:
    """The k best of what parts have found for the same queries; no reference may be in two of them."""
    indices = np.concatenate([part.indices for part in parts], axis=1)
    squared = np.concatenate([part.squared for part in parts], axis=1)
    order = np.lexsort((indices, squared), axis=1)[:, :k]
    return Best(np.take_along_axis(indices, order, axis=1), np.take_along_axis(squared, order, axis=1))


def stack(parts: Sequence[Best]) -> Best:
    """What is known of consecutive queries."""
    return Best(np.concatenate([part.indices for part in parts]), np.concatenate([part.squared for part in parts]))


def best_within(features: Array, k: int) -> Best:
    """The k best of each row among the others. features : shape (n, d)."""
    if len(features) < 2:
        return Best.unknown(len(features), k)
    found = nearest_neighbors(features, k=min(k, len(features) - 1))
    return _padded(found.indices, found.squared, k)


def best_among(references: Array, queries: Array, own: NDArray[np.int64], k: int) -> Best:
    """The k best of each query among the references.

    Parameters
    ----------
    references : shape (n, d). queries : shape (m, d).
    own : int64, shape (m,). The row of each query among the references, which is no neighbor of it; -1 for none.
    """
    one_more = int((own >= 0).any())  # a query may be its own nearest
    found = nearest_neighbors(references, queries=queries, k=min(k + one_more, len(references)))
    itself = found.indices == own[:, None]
    others = Best(np.where(itself, -1, found.indices), np.where(itself, np.inf, found.squared))
    return _padded(*_fields(merge([others], k)), k)


def best_across(features: Array, split: int, k: int, within: NDArray[np.float64]) -> tuple[Best, Best]:
    """The best of each row before `split` among the rows from it on, and of these among those: one product for both.

    Parameters
    ----------
    features : shape (n, d), 0 < split < n. The references of each side are counted from its first row.
    within : float64, shape (n,). For each row a squared distance; references that are farther may be left out. The
        k-th best that is known from elsewhere keeps the work to what can matter.
    """
    rows = Rows.of(features)
    products = multipliers(rows, split, k)[0]
    (query, reference), crowded = join_across(rows, split, k, within, products)
    found = _best(query, reference, squared_among(rows, query, reference), len(rows), k)
    for side, other in ((slice(0, split), slice(split, None)), (slice(split, None), slice(0, split))):
        left = crowded[(crowded >= split) == (side.start == split)]
        if len(left):  # duplicates, or values that even precise products hardly tell apart
            again = best_among(features[other], features[left], np.full(len(left), -1), k).shifted(other.start)
            found.indices[left], found.squared[left] = again.indices, again.squared
    return Best(*_fields(found, slice(0, split))).shifted(-split), Best(*_fields(found, slice(split, None)))


def _best(query: Array, reference: Array, squared: Array, num_queries: int, k: int) -> Best:
    """The k best of each query among pairs."""
    order = np.lexsort((reference, squared, query))
    query, reference, squared = query[order], reference[order], squared[order]
    rank = np.arange(len(query)) - np.searchsorted(query, query)
    kept = rank < k
    best = Best.unknown(num_queries, k)
    best.indices[query[kept], rank[kept]] = reference[kept]
    best.squared[query[kept], rank[kept]] = squared[kept]
    return best


def _padded(indices: Array, squared: Array, k: int) -> Best:
    """Findings of at most k references each, filled up to k."""
    missing = ((0, 0), (0, k - indices.shape[1]))
    return Best(np.pad(indices, missing, constant_values=-1), np.pad(squared, missing, constant_values=np.inf))


def _fields(best: Best, rows: slice = slice(None)) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    return best.indices[rows], best.squared[rows]
