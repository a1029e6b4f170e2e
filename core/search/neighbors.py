"""Exact nearest neighbors: shortlisted by fast products with a proven bound, decided in float64."""

from __future__ import annotations  # so that help() shows the names of types as they are written here

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from core.search.operands import ROUNDED_CHUNK
from core.search.products import Products, ladder
from core.search.rows import Rows, cores_at_hand, in_threads, row_blocks
from core.search.shortlist import CROWDED, Candidates, join, self_join

METRICS = ("euclidean", "cosine")
SUMMED = 4096  # columns of a difference summed at once
_DIFFERENCES = 1 << 16  # numbers in a block of differences: with their operands they stay in a core's cache
_MANY_CORES = 8  # from so many on, handing out small blocks takes longer than what the cache saves
_TRIAL = 128  # references on which rounded products are tried, where they may leave many candidates
_FEATURES_WORTH_A_TRIAL = 3072  # for one neighbor: of rows of fewer, rounded products leave few candidates
_QUERIES_WORTH_A_TRIAL = 8 * _TRIAL  # which compares its references with all, as the search does with each query
# Rows whose products, rounded, save as much time as the decision on one more candidate costs: of all references, and of
# wide ones among those of the trial.
_ROWS_A_CANDIDATE, _WIDE_ROWS_A_CANDIDATE = 2000, 256


@dataclass(frozen=True, eq=False, repr=False)
class Neighbors:
    """The k nearest references of m queries, nearest first.

    indices : int64, shape (m, k). Rows of the references; equal distances go to the lowest row first.
    distances : float64, shape (m, k), ascending.
    num_rechecked : int. Queries whose neighbors only the float64 decision could tell apart.
    squared : float64, shape (m, k). Σ(a − b)², on which ties are decided: two of them may have one square root.
    """

    indices: NDArray[np.int64]
    distances: NDArray[np.float64]
    num_rechecked: int
    squared: NDArray[np.float64]

    def __repr__(self) -> str:
        num_queries, k = self.indices.shape
        return f"Neighbors(num_queries={num_queries}, k={k}, num_rechecked={self.num_rechecked})"


def nearest_neighbors(
    features: ArrayLike,
    *,
    rows: ArrayLike | None = None,
    queries: ArrayLike | None = None,
    k: int = 1,
    metric: str = "euclidean",
) -> Neighbors:
    """The exact k nearest other samples of each sample.

    A neighbor is exact when Σ(a − b)², evaluated in float64 on the given numbers, says so. By default every row is a
    query and never its own neighbor; it is excluded by its row, so a duplicate of it is a legitimate neighbor.

    Parameters
    ----------
    features : array of shape (n, d), or (n, ...), which is flattened per sample. Any real dtype, finite; may be
        memory-mapped. The references.
    rows : ints of shape (m,), optional. Only these rows are queries, each against all others.
    queries : array of shape (m, d) or (m, ...), optional. Other samples are the queries, and nothing is excluded.
    k : neighbors a query, 1 <= k <= n - 1 (n with `queries`).
    metric : "euclidean", or "cosine": Euclidean distance of rows scaled to unit length, sqrt(2 - 2 cos).

    Returns
    -------
    Neighbors

    Raises
    ------
    ValueError
        NaN or infinity, fewer than two samples, k out of range, a zero row under cosine, both `rows` and `queries`.
    """
    if metric not in METRICS:
        raise ValueError(f"metric must be one of {', '.join(METRICS)}; got {metric!r}.")
    references = Rows.of(features, unit=metric == "cosine")
    own = _own_rows(rows, queries, len(references))
    _check_k(k, len(references) - (own is not None))
    asked = references if own is not None else _other_samples(queries, references, unit=metric == "cosine")
    search = _Search(asked, references, own, k)
    return search.run(symmetric=rows is None and queries is None)


def nearest_among(
    features: ArrayLike, neighbors: Neighbors, among: NDArray[np.int64], *, metric: str = "euclidean"
) -> NDArray[np.int64]:
    """The nearest neighbor of each of some samples as if only these were there, counted within `among`; shape (m,).

    The first of a sample's known neighbors that is among them is the nearest; only samples without such a one are
    searched. So a subsample costs little once the neighbors in the whole are known.

    Parameters
    ----------
    features : as in `nearest_neighbors`. neighbors : of every row of them, with the same metric.
    among : int64, shape (m,), ascending rows, at least two.
    """
    place = np.full(len(neighbors.indices), -1)
    place[among] = np.arange(len(among))
    known = place[neighbors.indices[among]]
    first = (known >= 0).argmax(axis=1)
    nearest = known[np.arange(len(among)), first]
    missing = np.flatnonzero(nearest < 0)
    if len(missing):
        samples = Rows.of(features, unit=metric == "cosine", index=among)
        nearest[missing] = _Search(samples, samples, missing, 1).run(symmetric=False).indices[:, 0]
    values: NDArray[np.int64] = nearest
    return values


def _own_rows(rows: ArrayLike | None, queries: ArrayLike | None, num_references: int) -> NDArray[np.int64] | None:
    """Each query's own row among the references, or None where the queries are other samples."""
    if rows is not None and queries is not None:
        raise ValueError(
            "rows and queries must not both be given; rows asks for samples of `features`. Pass one of them."
        )
    if queries is not None:
        return None
    if num_references < 2:
        raise ValueError(
            f"features must have at least two samples; got {num_references}. Nothing else could be a neighbor."
        )
    if rows is None:
        return np.arange(num_references)
    own = np.asarray(rows)
    if own.ndim != 1 or own.size == 0 or own.dtype.kind not in "iu":
        raise ValueError(f"rows must be a non-empty list of row numbers; got {own.dtype} of shape {own.shape}.")
    if own.min() < 0 or own.max() >= num_references:
        raise ValueError(f"rows must lie in 0..{num_references - 1}; got {own.min()}..{own.max()}.")
    return own.astype(np.int64)


def _check_k(k: int, num_others: int) -> None:
    if isinstance(k, bool) or not isinstance(k, int | np.integer) or not 1 <= k <= num_others:
        raise ValueError(
            f"k must be a whole number from 1 to {num_others}, the samples that can be neighbors; got {k!r}."
        )


def _other_samples(queries: ArrayLike | None, references: Rows, *, unit: bool) -> Rows:
    asked = Rows.of(queries if queries is not None else [], unit=unit, name="queries")
    if asked.num_features != references.num_features:
        raise ValueError(
            f"queries must have {references.num_features} features, as the references; got {asked.num_features}."
        )
    return asked


@dataclass(frozen=True, eq=False)
class _Search:
    """One search: queries (rows `own` of the references, or other samples) against all references."""

    queries: Rows
    references: Rows
    own: NDArray[np.int64] | None
    k: int

    def run(self, *, symmetric: bool) -> Neighbors:
        num_queries = len(self.queries) if self.own is None else len(self.own)
        index = np.empty((num_queries, self.k), dtype=np.int64)
        squared = np.full((num_queries, self.k), np.nan)
        left, num_rechecked = np.arange(num_queries), 0
        steps = multipliers(self.references, num_queries, self.k)
        for products in steps:
            if len(left) and products is steps[-1]:
                left = self._settle_duplicates(left, index, squared)
            if not len(left):
                break
            whole = symmetric and len(left) > num_queries // 4  # then meeting each pair once is less work
            (query, reference), crowded = self._shortlist(None if whole else left, products)
            if whole and len(left) < num_queries:
                wanted = np.isin(query, left)
                query, reference, crowded = query[wanted], reference[wanted], np.intersect1d(crowded, left)
            if products is steps[0]:
                num_rechecked = int((np.bincount(query, minlength=num_queries) > self.k).sum()) + len(crowded)
            self._decide((query, reference), index, squared)
            left = crowded
        for one in left.tolist():
            self._decide(self._all_pairs(one), index, squared)
        return Neighbors(index, np.sqrt(squared), num_rechecked, squared)

    def _shortlist(self, some: NDArray[np.int64] | None, products: Products) -> tuple[Candidates, NDArray[np.int64]]:
        """Candidates of some queries, or of every row among all others; and the queries that have too many."""
        if some is None:
            return self_join(self.references, self.k, products)
        own = None if self.own is None else self.own[some]
        asked = some if own is None else own
        (query, reference), crowded = join(self.queries, asked, self.references, own, self.k, products)
        return (some[query], reference), some[crowded]

    def _all_pairs(self, query: int) -> Candidates:
        """A query with every reference but itself: what is left when even float64 products tell nothing apart."""
        reference = np.arange(len(self.references))
        if self.own is not None:
            reference = np.delete(reference, self.own[query])
        return np.full(len(reference), query), reference

    def _decide(self, candidates: Candidates, index: NDArray[np.int64], squared: NDArray[np.float64]) -> None:
        """Keep the k nearest candidates of each query by Σ(a − b)² in float64, equal ones by row."""
        query, reference = candidates
        distance = self._squared_distances(query, reference)
        order = np.lexsort((reference, distance, query))
        query, reference, distance = query[order], reference[order], distance[order]
        start = np.flatnonzero(np.r_[True, query[1:] != query[:-1]]) if len(query) else np.empty(0, dtype=np.int64)
        rank = start[:, None] + np.arange(self.k)
        index[query[start]] = reference[rank]
        squared[query[start]] = distance[rank]

    def _squared_distances(self, query: NDArray[np.int64], reference: NDArray[np.int64]) -> NDArray[np.float64]:
        """Σ(a − b)² of each pair; a pair that occurs in both directions is evaluated once."""
        if self.own is None:
            return squared_distances(self.queries, query, self.references, reference)
        return squared_among(self.references, self.own[query], reference)

    def _settle_duplicates(
        self, crowded: NDArray[np.int64], index: NDArray[np.int64], squared: NDArray[np.float64]
    ) -> NDArray[np.int64]:
        """Queries with at least k exact duplicates have them as neighbors, at distance 0. Returns the other queries."""
        groups: dict[bytes, list[int]] = {}
        for row, key in enumerate(_row_keys(self.references, np.arange(len(self.references)))):
            groups.setdefault(key, []).append(row)
        asked = crowded if self.own is None else self.own[crowded]
        left = []
        for query, row, key in zip(crowded, asked, _row_keys(self.queries, asked), strict=True):
            own = -1 if self.own is None else row
            same = [other for other in groups.get(key, [])[: self.k + 1] if other != own][: self.k]
            if len(same) == self.k:
                index[query], squared[query] = same, 0.0
            else:
                left.append(query)
        return np.array(left, dtype=np.int64)


def multipliers(references: Rows, num_queries: int, k: int) -> list[Products]:
    """Who multiplies in a search for k neighbors, fastest first: each leaves fewer queries for the next."""
    is_wide = references.num_features > ROUNDED_CHUNK  # rounded products are sums over several chunks of columns
    work = 2.0 * num_queries * len(references) * references.num_features
    steps = ladder(work, 1 if is_wide else k)
    may_crowd = is_wide or (
        num_queries >= _QUERIES_WORTH_A_TRIAL and (k > 1 or references.num_features >= _FEATURES_WORTH_A_TRIAL)
    )
    if not may_crowd:
        return list(steps)
    return [products for products in steps if not (products.roundoff and _is_crowding(references, k, products))]


def _is_crowding(references: Rows, k: int, products: Products) -> bool:
    """Whether rounded products leave too many candidates, as some of the references show.

    Wide rows are few, so that each of those is compared with the others of them only; other rows, with all references.
    """
    num_references = len(references)
    if k >= min(num_references, _TRIAL):
        return False
    some = np.linspace(0, num_references - 1, min(num_references, _TRIAL)).astype(np.int64)
    if references.num_features > ROUNDED_CHUNK:
        (query, _), crowded = self_join(references.some(some), k, products)
        rows_a_candidate = _WIDE_ROWS_A_CANDIDATE
    else:
        (query, _), crowded = join(references, some, references, some, k, products)
        rows_a_candidate = _ROWS_A_CANDIDATE
    more = (len(query) + CROWDED * len(crowded)) / len(some) - k  # candidates than neighbors
    return more > num_references / rows_a_candidate


def squared_among(rows: Rows, left: NDArray[np.int64], right: NDArray[np.int64]) -> NDArray[np.float64]:
    """Σ(a − b)² of pairs of rows of one matrix, shape (pairs,); a pair that occurs both ways is evaluated once."""
    key = np.minimum(left, right) * len(rows) + np.maximum(left, right)
    distinct, place = np.unique(key, return_inverse=True)
    low, high = np.divmod(distinct, len(rows))
    return squared_distances(rows, low, rows, high)[place]


def squared_distances(
    left: Rows, left_index: NDArray[np.int64], right: Rows, right_index: NDArray[np.int64]
) -> NDArray[np.float64]:
    """Σ(a − b)² of pairs of rows, shape (pairs,), in float64: the one function that decides, so that equal rows tie.

    Always summed over the same columns in the same order, whatever pairs are asked together; pairs run in threads.
    """
    squared = np.zeros(len(left_index))
    width = min(left.num_features, SUMMED)
    step = max(1, (_DIFFERENCES << (2 if cores_at_hand() >= _MANY_CORES else 0)) // width)  # pairs at once

    def evaluate(pairs: slice) -> None:
        room = np.empty((step, width))
        for start in range(0, left.num_features, SUMMED):  # outermost: rows in many pairs are read from cache
            columns = slice(start, min(start + SUMMED, left.num_features))
            for first in range(pairs.start, pairs.stop, step):
                here = slice(first, min(first + step, pairs.stop))
                out = room[: here.stop - first, : columns.stop - start]
                difference = left.minus(left_index[here], right, right_index[here], columns, out)
                difference *= difference
                squared[here] += difference.sum(axis=1)  # einsum would sum one row otherwise than several

    in_threads(evaluate, list(row_blocks(len(squared), 1, max(step, len(squared) // 8))))
    return squared


def _row_keys(rows: Rows, index: NDArray[np.int64]) -> Iterator[bytes]:
    """A digest of each row's numbers; equal rows have equal digests, and −0 equals 0."""
    for part in row_blocks(len(index), 8 * rows.num_features):
        for row in rows.exact(index[part]) + 0.0:
            yield hashlib.blake2b(row.tobytes(), digest_size=16).digest()
