"""The shortlist: which references can be a query's neighbor at all, found by fast products and proved by a bound.

For centered rows a and b the expansion |a − b|² = |a|² + |b|² − 2ab costs one matrix product, but in float32 it is not
exact. What is certain is a bound. With w the columns of one product, u the unit roundoff and γ = wu/(1 − wu), whatever
order the product sums in (Higham, Accuracy and Stability of Numerical Algorithms, 2nd ed., eq. 3.5),

    |computed − true| ≤ c (|a|² + |b|²) + 2η,      c = γ + 12u + 4(d + 4)2⁻⁵³,

where 12u pays for rounding the centered input and adding the norms, the last term for the float64 sums (over products
of at most `CHUNK` columns, and in the final decision), and η for underflow. A reference stays on a query's shortlist
while its smallest possible distance does not exceed the k-th smallest of the largest possible ones; so the true
neighbors are on it.

Scores are −½ of the smallest possible squared distance, so that a larger score is nearer.
"""

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from core.measures.devices import product
from core.measures.rows import Rows, row_blocks

CHUNK = 4096  # columns of one product; γ grows with it, so wide rows are summed over chunks in float64
TILE = 2048  # rows and columns of one tile of scores
CROWDED = 64  # candidates a query may have beyond which it is looked at again with more precise products
STRIP = 64  # rows of a tile worked on at a time, so that they stay in the cache; threads would disturb the products'
GROUPS = 64  # each query's references in its first tile are split into this many groups, of each the best is taken
_CACHE_BYTES = 1 << 27

Array = NDArray[Any]
Candidates = tuple[NDArray[np.int64], NDArray[np.int64]]  # queries, references


@dataclass(frozen=True)
class Arithmetic:
    """What both sides of a product share: the dtype, the center and scale applied to the rows, and the bound."""

    dtype: np.dtype[Any]
    center: Array
    scale: float
    relative: float  # c of the module's text
    absolute: float  # η of the module's text

    @classmethod
    def choose(cls, dtype: type[np.floating[Any]], references: Rows, largest: float) -> "Arithmetic":
        """Center on the references' mean; scale by a power of two where squares could leave float32's range."""
        kind = np.dtype(dtype)
        exponent = int(np.frexp(largest)[1])
        scale = 1.0 if abs(exponent) < 24 else float(2.0**-exponent)
        num_features = references.num_features
        width = min(num_features, CHUNK)
        unit = float(np.finfo(kind).eps) / 2
        gamma = width * unit / (1 - width * unit)
        return cls(
            dtype=kind,
            center=references.mean.astype(kind) if scale == 1 else references.mean,
            scale=scale,
            relative=gamma + 12 * unit + 4 * (num_features + 4) * 2.0**-53,
            absolute=4 * (num_features + 4) * float(np.finfo(kind).tiny),
        )


class Operand:
    """One side of the products: centered blocks, kept while they fit the cache, and what their norms promise."""

    def __init__(self, rows: Rows, index: NDArray[np.int64] | None, arithmetic: Arithmetic) -> None:
        self._rows, self._index, self._arithmetic = rows, index, arithmetic
        self.num_rows = len(rows) if index is None else len(index)
        self.num_features = rows.num_features
        self._cache: dict[tuple[int, int], Array] = {}
        self._room = _CACHE_BYTES
        squared = self._squared_norms()
        self.slack = arithmetic.relative * squared + arithmetic.absolute
        self.offset = -0.5 * (squared - self.slack)  # added to a product on both sides it makes a score

    def chunk(self, rows: slice, columns: slice) -> Array:
        """Centered rows of one product, shape (rows, at most CHUNK)."""
        key = (rows.start, columns.start)
        if key in self._cache:
            return self._cache[key]
        block = np.empty((rows.stop - rows.start, columns.stop - columns.start), dtype=self._arithmetic.dtype)
        for strip in strips(block):
            block[strip] = self._centered(slice(rows.start + strip.start, rows.start + strip.stop), columns)
        if block.nbytes <= self._room:
            self._cache[key] = block
            self._room -= block.nbytes
        return block

    def columns(self) -> list[slice]:
        return list(row_blocks(self.num_features, 1, CHUNK))

    def _squared_norms(self) -> NDArray[np.float64]:
        """|a|² of the centered, rounded rows, in float64."""
        squared = np.zeros(self.num_rows)
        for strip in strips(squared):
            for columns in self.columns():
                block = self._centered(strip, columns).astype(np.float64, copy=False)
                squared[strip] += np.einsum("ij,ij->i", block, block)
        return squared

    def _centered(self, rows: slice, columns: slice) -> Array:
        index = rows if self._index is None else self._index[rows]
        arithmetic = self._arithmetic
        return self._rows.centered(index, columns, arithmetic.center, arithmetic.scale, arithmetic.dtype)


def strips(array: Array) -> list[slice]:
    """Consecutive slices of at most STRIP rows."""
    return list(row_blocks(len(array), 1, STRIP))


def tiles(num_rows: int) -> list[slice]:
    """Consecutive slices of at most TILE rows, of nearly equal length."""
    bounds = np.linspace(0, num_rows, -(-num_rows // TILE) + 1).astype(int).tolist()
    return [slice(start, stop) for start, stop in pairwise(bounds)]


def scores(left: Operand, rows: slice, right: Operand, columns: slice, out: Array | None = None) -> Array:
    """The tile of scores, shape (rows, columns); products of one chunk stay as they are, more are summed in float64.

    `out` holds a product: a flat buffer, which saves asking for memory again and again.
    """
    chunks = left.columns()
    shape = (rows.stop - rows.start, columns.stop - columns.start)
    room = None if out is None else out[: shape[0] * shape[1]].reshape(shape)
    total = None
    for part in chunks:
        a = left.chunk(rows, part)
        b = a if left is right and rows == columns else right.chunk(columns, part)
        one = product(a, b, room)
        if total is None:
            total = one if len(chunks) == 1 else one.astype(np.float64)
        else:
            total += one
    assert total is not None
    _add_offsets(total, left.offset[rows], right.offset[columns])
    return total


def _add_offsets(tile: Array, left: Array, right: Array) -> None:
    left, right = left.astype(tile.dtype)[:, None], right.astype(tile.dtype)
    for strip in strips(tile):
        here = tile[strip]
        here += right
        here += left[strip]


def _reaching(tile: Array, *thresholds: Array) -> list[tuple[NDArray[np.int64], NDArray[np.int64], Array]]:
    """Rows, columns and scores of a tile's entries that reach each of the thresholds, one a row or one a column."""

    def search(strip: slice) -> list[tuple[NDArray[np.int64], Array]]:
        here, found = tile[strip], []
        for least in thresholds:
            place = np.flatnonzero(here >= (least[strip] if least.ndim == 2 else least))
            found.append((place + strip.start * tile.shape[1], here.ravel()[place]))
        return found

    reached = []
    for found in zip(*map(search, strips(tile)), strict=True):
        place, value = (np.concatenate(parts) for parts in zip(*found, strict=True))
        reached.append((*np.divmod(place, tile.shape[1]), value))
    return reached


class Shortlist:
    """For each query the references that may be among its k nearest, given the tiles seen so far."""

    def __init__(self, queries: Operand, references: Operand, k: int) -> None:
        self._query_slack, self._reference_slack, self._k = queries.slack, references.slack, k
        self._certain = np.full((queries.num_rows, k), -np.inf)  # the k best scores that are certainly reached
        self._threshold = np.full(queries.num_rows, -np.inf)  # the least of them
        self._found: list[tuple[NDArray[np.int64], NDArray[np.int64], Array]] = []
        self._num_found, self._compact_at = 0, 4 * (CROWDED + k) * TILE
        self._crowded = np.zeros(queries.num_rows, dtype=bool)

    def start(self, rows: slice, columns: slice, tile: Array) -> None:
        """First tile of these queries, shape (rows, columns): it sets their threshold."""
        for band in row_blocks(len(tile), 1, 8 * STRIP):  # where nothing can be told apart, all of it is noted
            some = slice(rows.start + band.start, rows.start + band.stop)
            self._threshold[some] = self._surely_reached(some, columns, tile[band])
            self.add(some, columns, tile[band])

    def add(self, rows: slice, columns: slice, tile: Array) -> None:
        """A further tile of these queries, shape (rows, columns), whose references were not seen before."""
        ((query, reference, value),) = _reaching(tile, self._tile_threshold(rows, tile)[:, None])
        self._take(query + rows.start, reference + columns.start, value)

    def add_both(self, rows: slice, columns: slice, tile: Array) -> None:
        """A tile of a self-join, off the diagonal: rows meet columns, and columns meet rows. One pass serves both."""
        forth, back = _reaching(tile, self._tile_threshold(rows, tile)[:, None], self._tile_threshold(columns, tile))
        self._take(forth[0] + rows.start, forth[1] + columns.start, forth[2])
        order = np.argsort(back[1], kind="stable")  # found row by row, but its queries are the columns
        self._take(back[1][order] + columns.start, back[0][order] + rows.start, back[2][order])

    def finish(self) -> tuple[Candidates, NDArray[np.int64]]:
        """The candidates, sorted by query, and the queries that have too many to be listed."""
        self._compact()
        query, reference, _ = self._found[0]
        return (query, reference), np.flatnonzero(self._crowded)

    def _tile_threshold(self, rows: slice, tile: Array) -> Array:
        """The thresholds in the tile's dtype, never above their true values; crowded queries take nothing more."""
        threshold = np.where(self._crowded[rows], np.inf, self._threshold[rows])
        rounded = threshold.astype(tile.dtype)
        return np.where(rounded > threshold, np.nextafter(rounded, tile.dtype.type(-np.inf)), rounded)

    def _surely_reached(self, rows: slice, columns: slice, tile: Array) -> NDArray[np.float64]:
        """A score that k references of the tile certainly reach: the k-th best of the best of many groups of them."""
        num_groups = min(tile.shape[1], max(GROUPS, self._k)) if self._k > 1 else 1
        if num_groups < self._k:
            return np.full(len(tile), -np.inf)
        width = tile.shape[1] // num_groups
        slack = self._reference_slack[columns]
        certain = np.empty((len(tile), num_groups))
        for strip in strips(tile):
            groups = tile[strip, : num_groups * width].reshape(-1, num_groups, width)
            place = groups.argmax(axis=2)
            value = np.take_along_axis(groups, place[:, :, None], axis=2)[:, :, 0]
            certain[strip] = value - slack[place + width * np.arange(num_groups)]
        return np.partition(certain, -self._k, axis=1)[:, -self._k] - self._query_slack[rows]

    def _take(self, query: Array, reference: Array, value: Array) -> None:
        """Note new pairs, sorted by query, and let them raise the thresholds."""
        possible = np.isfinite(value) & ~self._crowded[query]  # −inf marks a query's own row
        query, reference, value = query[possible], reference[possible], value[possible].astype(np.float64)
        self._found.append((query, reference, value))
        self._num_found += len(query)
        self._raise_threshold(query, value - self._query_slack[query] - self._reference_slack[reference])
        if self._num_found > self._compact_at:
            self._compact()

    def _raise_threshold(self, query: Array, certain: Array) -> None:
        """Take new certain scores, sorted by query, into the k best of each query."""
        useful = certain >= self._threshold[query]
        query, certain = query[useful], certain[useful]
        if not len(query):
            return
        start = np.flatnonzero(np.r_[True, query[1:] != query[:-1]])
        row = query[start]
        if self._k == 1:
            best = np.maximum(self._certain[row], np.maximum.reduceat(certain, start)[:, None])
        else:
            owner = np.r_[np.repeat(row, self._k), query]
            every = np.r_[self._certain[row].ravel(), certain]
            order = np.lexsort((-every, owner))
            first = start + self._k * np.arange(len(row))
            best = every[order[first[:, None] + np.arange(self._k)]]
        self._certain[row] = best
        self._threshold[row] = np.maximum(self._threshold[row], best.min(axis=1))

    def _compact(self) -> None:
        """Drop what the thresholds have ruled out, and mark the queries that still have too many candidates."""
        query, reference, value = (np.concatenate(parts) for parts in zip(*self._found, strict=True))
        kept = value >= self._threshold[query]
        counts = np.bincount(query[kept], minlength=len(self._threshold))
        self._crowded |= counts > CROWDED + self._k
        kept &= ~self._crowded[query]
        query, reference, value = query[kept], reference[kept], value[kept]
        order = np.argsort(query, kind="stable")
        self._found = [(query[order], reference[order], value[order])]
        self._num_found = len(query)


def self_join(rows: Rows, k: int, dtype: type[np.floating[Any]]) -> tuple[Candidates, NDArray[np.int64]]:
    """Shortlists of every row among all others; each tile off the diagonal serves its rows and its columns."""
    operand = Operand(rows, None, Arithmetic.choose(dtype, rows, rows.largest))
    shortlist = Shortlist(operand, operand, k)
    blocks = tiles(len(rows))
    buffer = _buffer(blocks, blocks, dtype)
    for block in blocks:
        tile = scores(operand, block, operand, block, buffer)
        np.fill_diagonal(tile, -np.inf)
        shortlist.start(block, block, tile)
    for place, block in enumerate(blocks):
        for other in blocks[place + 1 :]:
            tile = scores(operand, block, operand, other, buffer)
            shortlist.add_both(block, other, tile)
    return shortlist.finish()


def _buffer(left: list[slice], right: list[slice], dtype: type[np.floating[Any]]) -> Array:
    """Room for the product of any two of these blocks."""
    largest = [max(block.stop - block.start for block in blocks) for blocks in (left, right)]
    return np.empty(largest[0] * largest[1], dtype=dtype)


def join(
    queries: Rows,
    index: NDArray[np.int64] | None,
    references: Rows,
    own: NDArray[np.int64] | None,
    k: int,
    dtype: type[np.floating[Any]],
) -> tuple[Candidates, NDArray[np.int64]]:
    """Shortlists of `queries[index]` among the references; `own` gives each query's row there, which is excluded."""
    arithmetic = Arithmetic.choose(dtype, references, max(queries.largest, references.largest))
    left, right = Operand(queries, index, arithmetic), Operand(references, None, arithmetic)
    shortlist = Shortlist(left, right, k)
    left_blocks, right_blocks = tiles(left.num_rows), tiles(right.num_rows)
    buffer = _buffer(left_blocks, right_blocks, dtype)
    for block in left_blocks:
        see: Callable[[slice, slice, Array], None] = shortlist.start
        for columns in right_blocks:
            tile = scores(left, block, right, columns, buffer)
            if own is not None:
                _exclude(tile, own[block], columns)
            see(block, columns, tile)
            see = shortlist.add
    return shortlist.finish()


def _exclude(tile: Array, own: NDArray[np.int64], columns: slice) -> None:
    """Put −inf where a query meets itself."""
    here = np.flatnonzero((own >= columns.start) & (own < columns.stop))
    tile[here, own[here] - columns.start] = -np.inf
