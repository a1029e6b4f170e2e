"""The shortlist: which references can be a query's neighbor at all.

A reference stays on a query's shortlist while its smallest possible distance does not exceed the k-th smallest of the
largest possible ones; so the true neighbors are on it. `core.search.operands` proves how far a product may be off.
"""

import functools
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from threading import Lock, local
from typing import Any, ParamSpec

import numpy as np
from numpy.typing import NDArray

from core.search.blas_threads import one_blas_thread
from core.search.operands import Arithmetic, Operand, tiles
from core.search.products import Products, is_in_memory
from core.search.rows import Rows, cores_at_hand, row_blocks, work_alone
from core.search.scores import DeviceTile, HostTile, Tile, scored, scores, sums_of_parts

TILE = 2048  # rows and columns of one tile of scores
_BAND = 512  # rows of a first tile that are given a threshold before the next ones are
DEVICE_TILE = 8192  # the same on a GPU, which multiplies it in the time that a few calls take
FEW_ROWS = 400  # of a tile of few samples: small ones occupy all cores, and make less beneath the diagonal
_SUMS_BYTES = 1 << 27  # of sums of products held at once, and of one chunk of all rows
_MANY = 1024  # candidates of a query in the first tile on a GPU beyond which none of them is listed
CROWDED = 64  # candidates a query may have beyond which it is looked at again with more precise products
_FEEDERS = 4  # threads that make tiles on the processor, at most
GROUPS = 64  # each query's references in its first tile are split into this many groups, of each the best is taken

_ON_GPUS = Lock()
_Asked = ParamSpec("_Asked")

Array = NDArray[Any]
Candidates = tuple[NDArray[np.int64], NDArray[np.int64]]  # queries, references
Pairs = tuple[NDArray[np.int64], NDArray[np.int64], Array]  # queries, references, scores
_Found = tuple[Candidates, NDArray[np.int64]]  # with the queries that have too many to be listed


class Shortlist:
    """For each query the references that may be among its k nearest, given the tiles seen so far."""

    def __init__(self, queries: Operand, references: Operand, k: int) -> None:
        self._queries, self._references, self._k = queries, references, k
        below, above = queries.arithmetic.result_error
        self._rounding = (below + above) / (1 - below)  # of a score, from the largest it stands for to the smallest
        self._certain = np.full((queries.num_rows, k), -np.inf)  # the k best scores that are certainly reached
        self._threshold = np.full(queries.num_rows, -np.inf)  # the least of them
        self._found: list[Pairs] = []
        self._num_found, self._compact_at = 0, 4 * (CROWDED + k) * TILE
        self._crowded = np.zeros(queries.num_rows, dtype=bool)

    def limit(self, within: NDArray[np.float64]) -> None:
        """Before any tile: leave out what is certainly farther than these squared distances, shape (queries,)."""
        self._threshold = -0.5 * within * self._queries.arithmetic.scale**2

    def start(self, rows: slice, columns: slice, tile: Tile) -> list[Pairs]:
        """First tile of these queries, shape (rows, columns): it sets their threshold. Returns what reaches it."""
        found = []
        num_rows, on_device = tile.shape[0], isinstance(tile, DeviceTile)
        for band in row_blocks(num_rows, 1, num_rows if on_device else _BAND):
            some, part = slice(rows.start + band.start, rows.start + band.stop), tile.rows(band)
            self._threshold[some] = self._surely_reached(some, columns, part)
            if isinstance(part, DeviceTile):  # which may hold more pairs than fit the memory: of equal rows, all
                self._crowded[some] = part.num_reaching(self._tile_threshold(some)[:, None]) > _MANY + self._k
            found += self.further(some, columns, part)
        return found

    def further(self, rows: slice, columns: slice, tile: Tile) -> list[Pairs]:
        """What reaches its query's threshold in a tile whose references these queries have not met before."""
        ((query, reference, value),) = tile.reaching(self._tile_threshold(rows)[:, None])
        return [(query + rows.start, reference + columns.start, value)]

    def both(self, rows: slice, columns: slice, tile: Tile) -> list[Pairs]:
        """The same of a self-join, off the diagonal: rows meet columns, and columns meet rows. One pass serves both."""
        forth, back = tile.reaching(self._tile_threshold(rows)[:, None], self._tile_threshold(columns))
        order = np.argsort(back[1], kind="stable")  # found row by row, but its queries are the columns
        return [
            (forth[0] + rows.start, forth[1] + columns.start, forth[2]),
            (back[1][order] + columns.start, back[0][order] + rows.start, back[2][order]),
        ]

    def finish(self) -> _Found:
        """The candidates, sorted by query, and the queries that have too many to be listed."""
        self._compact()
        query, reference, _ = self._found[0]
        return (query, reference), np.flatnonzero(self._crowded)

    def _tile_threshold(self, rows: slice) -> Array:
        """The thresholds in the tiles' dtype, never above their true values; crowded queries take nothing more."""
        threshold = np.where(self._crowded[rows], np.inf, self._threshold[rows])
        rounded = threshold.astype(self._queries.arithmetic.products.dtype)
        return np.where(rounded > threshold, np.nextafter(rounded, rounded.dtype.type(-np.inf)), rounded)

    def _surely_reached(self, rows: slice, columns: slice, tile: HostTile | DeviceTile) -> NDArray[np.float64]:
        """A score that k references of the tile certainly reach: the k-th best of the best of many groups of them."""
        num_columns = tile.shape[1]
        num_groups = min(num_columns, max(GROUPS, self._k)) if self._k > 1 else 1
        if num_groups < self._k:
            return np.full(tile.shape[0], -np.inf)
        place, value = tile.best_of_groups(num_groups)
        query = np.broadcast_to(np.arange(rows.start, rows.stop)[:, None], place.shape)
        certain = self._certainly(query, place + columns.start, value)
        return np.partition(certain, -self._k, axis=1)[:, -self._k]

    def _certainly(self, query: Array, reference: Array, value: Array) -> NDArray[np.float64]:
        """The least that scores may be, given the most that they may be: all slack taken off again."""
        queries, references = self._queries, self._references
        certain = value - queries.slack[query] - references.slack[reference]
        if self._rounding:
            certain -= self._rounding * np.abs(value)
        values: NDArray[np.float64] = certain
        return values

    def take(self, query: Array, reference: Array, value: Array) -> None:
        """Note new pairs, sorted by query, and let them raise the thresholds."""
        possible = np.isfinite(value) & ~self._crowded[query]  # −inf marks a query's own row
        query, reference, value = query[possible], reference[possible], value[possible].astype(np.float64)
        self._found.append((query, reference, value))
        self._num_found += len(query)
        self._raise_threshold(query, self._certainly(query, reference, value))
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
            counts = np.diff(np.r_[start, len(query)])
            owner = np.repeat(np.arange(len(row)), counts)
            every = np.full((len(row), self._k + counts.max()), -np.inf)
            every[:, : self._k] = self._certain[row]
            every[owner, self._k + np.arange(len(query)) - start[owner]] = certain
            best = np.partition(every, -self._k, axis=1)[:, -self._k :]
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
        self._compact_at = max(self._compact_at, 2 * self._num_found)  # what is kept is not looked at again each time


def _one_on_gpus(join: Callable[_Asked, _Found]) -> Callable[_Asked, _Found]:
    """Let one thread at a time search on GPUs, whose memory has room for the rows and tiles of one search.

    join : its last argument are the products.
    """

    @functools.wraps(join)
    def joined(*asked: _Asked.args, **options: _Asked.kwargs) -> _Found:
        products: Any = asked[-1]
        with nullcontext() if is_in_memory(products.devices[0]) else _ON_GPUS:
            return join(*asked, **options)

    return joined


@_one_on_gpus
def self_join(rows: Rows, k: int, products: Products) -> _Found:
    """Shortlists of every row among all others; each tile off the diagonal serves its rows and its columns."""
    operand = Operand(rows, None, Arithmetic.choose(products, rows, rows.largest))
    shortlist = Shortlist(operand, operand, k)
    at_once = _at_once(operand, operand)
    most = _most_rows(products)
    blocks = tiles(len(rows), min(max(FEW_ROWS, len(rows) // 8), most) if is_in_memory(products.devices[0]) else most)
    above = [(block, other) for place, block in enumerate(blocks) for other in _tiled(blocks[place + 1 :], at_once)]
    score = _Scorer(operand, operand, [(block, block) for block in blocks] + above, at_once)

    def on_diagonal(block: slice, place: int) -> list[Pairs]:
        own = np.arange(block.stop - block.start)
        return shortlist.start(block, block, score(block, block, place).exclude(own, own))

    def off_diagonal(pair: tuple[slice, slice], place: int) -> list[Pairs]:
        return shortlist.both(*pair, score(*pair, place))

    _collect(shortlist, on_diagonal, blocks, products)
    _collect(shortlist, off_diagonal, _cached_first(above, operand), products)
    return shortlist.finish()


@_one_on_gpus
def join_across(rows: Rows, split: int, k: int, within: NDArray[np.float64], products: Products) -> _Found:
    """Shortlists of the rows before `split` among those from it on, and of these among those; each tile serves both.

    within : squared distances, shape (rows,), beyond which each row wants no neighbor.
    """
    operand = Operand(rows, None, Arithmetic.choose(products, rows, rows.largest))
    shortlist = Shortlist(operand, operand, k)
    shortlist.limit(within)
    at_once = _at_once(operand, operand)
    most = _most_rows(products)
    blocks = [slice(split + block.start, split + block.stop) for block in tiles(len(rows) - split, most)]
    pairs = [(block, other) for block in tiles(split, most) for other in _tiled(blocks, at_once)]
    score = _Scorer(operand, operand, pairs, at_once)

    def both(pair: tuple[slice, slice], place: int) -> list[Pairs]:
        return shortlist.both(*pair, score(*pair, place))

    _collect(shortlist, both, _cached_first(pairs, operand), products)
    return shortlist.finish()


@_one_on_gpus
def join(
    queries: Rows,
    index: NDArray[np.int64] | None,
    references: Rows,
    own: NDArray[np.int64] | None,
    k: int,
    products: Products,
) -> _Found:
    """Shortlists of `queries[index]` among the references; `own` gives each query's row there, which is excluded."""
    arithmetic = Arithmetic.choose(products, references, max(queries.largest, references.largest))
    left, right = Operand(queries, index, arithmetic), Operand(references, None, arithmetic)
    shortlist = Shortlist(left, right, k)
    at_once = _at_once(left, right)
    most = _most_rows(products)
    blocks, others = tiles(left.num_rows, most), _tiled(tiles(right.num_rows, most), at_once)
    score = _Scorer(left, right, [(rows, columns) for rows in blocks for columns in others], at_once)

    def scored(rows: slice, columns: slice, place: int) -> Tile:
        tile = score(rows, columns, place)
        return tile if own is None else tile.exclude(*_meeting(own[rows], columns))

    def first(rows: slice, place: int) -> list[Pairs]:
        return shortlist.start(rows, others[0], scored(rows, others[0], place))

    def further(pair: tuple[slice, slice], place: int) -> list[Pairs]:
        return shortlist.further(*pair, scored(*pair, place))

    _collect(shortlist, first, blocks, products)
    pairs = [(rows, columns) for rows in blocks for columns in others[1:]]
    _collect(shortlist, further, _cached_first(pairs, right), products)
    return shortlist.finish()


def _most_rows(products: Products) -> int:
    """Rows and columns of a tile where these products are made."""
    return TILE if is_in_memory(products.devices[0]) else DEVICE_TILE


def _at_once(left: Operand, right: Operand) -> bool:
    """Whether rows of several chunks are few enough to be multiplied chunk after chunk, all tiles at once."""
    products = left.arithmetic.products
    num_sums = left.num_rows * right.num_rows // (2 if left is right else 1)
    in_chunks = sum(side.num_rows for side in {left, right}) * left.arithmetic.chunk
    most = max(num_sums * products.dtype.itemsize, in_chunks * products.stored_dtype.itemsize)
    return len(left.columns) > 1 and most <= _SUMS_BYTES


def _cached_first(pairs: Sequence[tuple[slice, slice]], right: Operand) -> list[tuple[slice, slice]]:
    """Tiles in an order that makes few rows twice: those on the right in groups that stay in the cache.

    Beside a group there is room for the left rows of two threads. Turned rows are kept by the thread itself, so that
    those in the cache are the first to leave it, and one is enough.
    """
    if not pairs:
        return []
    starts = sorted({columns.start for _, columns in pairs})
    number = {start: place for place, start in enumerate(starts)}
    most = max(columns.stop - columns.start for _, columns in pairs)
    group = max(1, right.rows_in_cache // most - (1 if right.arithmetic.has_offsets else 2))
    return sorted(pairs, key=lambda pair: (number[pair[1].start] // group, pair[0].start, pair[1].start))


def _tiled(blocks: list[slice], at_once: bool) -> list[slice]:
    """Consecutive columns of tiles: as they are, or as a single one where all tiles are made at once."""
    return [slice(blocks[0].start, blocks[-1].stop)] if at_once and blocks else blocks


class _Scorer:
    """Makes the tiles of two operands: one after the other, in one buffer for each thread, or all at once."""

    def __init__(self, left: Operand, right: Operand, pairs: Sequence[tuple[slice, slice]], at_once: bool) -> None:
        self._left, self._right = left, right
        self._sums = sums_of_parts(left, right, pairs) if at_once else {}
        most = max((rows.stop - rows.start) * (columns.stop - columns.start) for rows, columns in pairs)
        self._most = 0 if at_once else most  # scores of a tile
        self._buffer = local()

    def __call__(self, rows: slice, columns: slice, place: int) -> Tile:
        if self._sums:
            total = self._sums.pop((rows.start, columns.start))
            return scored(total, self._left, rows, self._right, columns)
        if not hasattr(self._buffer, "out"):
            self._buffer.out = np.empty(self._most, self._left.arithmetic.products.dtype)
        return scores(self._left, rows, self._right, columns, out=self._buffer.out, place=place)


def _meeting(own: NDArray[np.int64], columns: slice) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Where in a tile a query meets itself."""
    here = np.flatnonzero((own >= columns.start) & (own < columns.stop))
    return here, own[here] - columns.start


def _collect(
    shortlist: Shortlist, work: Callable[[Any, int], list[Pairs]], jobs: Sequence[Any], products: Products
) -> None:
    """Do the jobs and take what they find, in several threads: one for each device, or several on the processor.

    There, some read scores while others multiply; where they are as many as cores, each multiplies with its own.
    """
    waiting, taking = deque(jobs), Lock()

    def feed(place: int) -> None:
        while waiting:
            try:
                job = waiting.popleft()
            except IndexError:  # another thread has taken the last one
                return
            found = work(job, place)
            with taking:
                for pairs in found:
                    shortlist.take(*pairs)

    places = list(range(len(products.devices)))
    on_processor = is_in_memory(products.devices[0])
    if on_processor:
        places = [0] * min(_FEEDERS, cores_at_hand(), len(jobs))
    if len(places) <= 1:
        feed(0)
        return
    each_alone = len(places) == cores_at_hand()
    blas = one_blas_thread() if on_processor and each_alone else nullcontext()
    with blas, ThreadPoolExecutor(len(places), initializer=work_alone if on_processor else None) as pool:
        try:
            for fed in [pool.submit(feed, place) for place in places]:
                fed.result()
        finally:
            waiting.clear()  # where one fails, or the search is interrupted, the others stop, too
