"""Tiles of scores: for some queries and some references, how near each reference can be at most.

A score is −½ of the smallest squared distance that the error of the products allows, so a larger one is nearer. Tiles
made by NumPy, or rounded by the processor, are in memory; those made on a GPU stay there until what reached a
threshold is read back.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from core.search.blas_threads import one_blas_thread
from core.search.devices import tensorflow
from core.search.operands import Operand
from core.search.products import ResultError, is_in_memory
from core.search.rows import in_threads, row_blocks

Array = NDArray[Any]
_STRIP_BYTES = 1 << 19  # of scores worked on at a time, so that they stay in a core's cache
_BAND = 128  # rows of rounded scores worked on at a time
_WORD = 8  # flags looked at as one number; a band of any width fills whole ones

Reached = tuple[NDArray[np.int64], NDArray[np.int64], Array]  # rows and columns within the tile, scores


def scores(
    left: Operand, rows: slice, right: Operand, columns: slice, *, out: Array | None = None, place: int = 0
) -> "Tile":
    """The tile of scores of some rows of each side, made on the device at that place.

    `out`: a flat buffer for a tile in memory, which saves asking for it again and again.
    """
    shape = (rows.stop - rows.start, columns.stop - columns.start)
    products, total = left.arithmetic.products, None
    for part in range(len(left.columns)):
        a = left.facing(rows, part, place)
        is_same = left is right and rows == columns and not left.arithmetic.has_offsets
        b = a if is_same else right.chunk(columns, part, place)
        room = None if out is None or part else out[: shape[0] * shape[1]].reshape(shape)
        product = products.product(a, b, room)
        total = product if len(left.columns) == 1 else products.added(total, product)
    return scored(total, left, rows, right, columns, place=place)


def sums_of_parts(left: Operand, right: Operand, pairs: Sequence[tuple[slice, slice]]) -> dict[tuple[int, int], Any]:
    """The products of some tiles, by their starts, made chunk by chunk of the columns, of all rows at once."""
    products = left.arithmetic.products
    sums: dict[tuple[int, int], Any] = {}
    room = [side.room(slice(0, side.num_rows)) for side in ([left] if left is right else [left, right])]
    for part in range(len(left.columns)):
        a = left.make(slice(0, left.num_rows), part, room=room[0])
        b = a if left is right else right.make(slice(0, right.num_rows), part, room=room[1])

        def add(pair: tuple[slice, slice], a: Any = a, b: Any = b) -> None:
            rows, columns = pair
            key = (rows.start, columns.start)
            sums[key] = products.added(
                sums.get(key), products.product(products.some(a, rows), products.some(b, columns))
            )

        with one_blas_thread():
            in_threads(add, pairs, run=1)
    return sums


def scored(total: Any, left: Operand, rows: slice, right: Operand, columns: slice, *, place: int = 0) -> "Tile":
    """The tile of scores made of its products."""
    arithmetic = left.arithmetic
    in_memory = is_in_memory(arithmetic.products.devices[place])
    if arithmetic.has_offsets:
        return (RoundedTile if in_memory else DeviceTile).of_rounded(total, arithmetic.result_error)
    left.bound(rows)
    right.bound(columns)
    if arithmetic.middle != 1:
        total = _times(total, np.float32(arithmetic.middle))
    return (HostTile if in_memory else DeviceTile).of(total, left.offset[rows], right.offset[columns])


def _times(total: Any, factor: np.float32) -> Any:
    """The product with a number, on the device where the total is."""
    if isinstance(total, np.ndarray):
        return total * factor
    with tensorflow().device(total.device):
        return total * factor


@dataclass(frozen=True, eq=False)
class HostTile:
    """Scores in memory, worked on in strips of rows that stay in the cache."""

    values: Array

    @classmethod
    def of(cls, products: Any, left: Array, right: Array) -> "HostTile":
        """Products and both sides' offsets, added."""
        values = np.asarray(products)
        values = values if values.flags.writeable else values.copy()
        left, right = left.astype(values.dtype)[:, None], right.astype(values.dtype)
        for strip in _strips(values.shape):
            here = values[strip]
            here += right
            here += left[strip]
        return cls(values)

    @property
    def shape(self) -> tuple[int, int]:
        return self.values.shape

    def rows(self, band: slice) -> "HostTile":
        return HostTile(self.values[band])

    def exclude(self, rows: NDArray[np.int64], columns: NDArray[np.int64]) -> "HostTile":
        """The tile with −inf where a query meets itself."""
        self.values[rows, columns] = -np.inf
        return self

    def best_of_groups(self, num_groups: int) -> tuple[NDArray[np.int64], Array]:
        """The columns and the values of each row's best in each of so many groups of columns, shape (rows, groups)."""
        width = self.shape[1] // num_groups
        place = np.empty((self.shape[0], num_groups), dtype=np.int64)
        for strip in _strips(self.shape):
            self.values[strip, : num_groups * width].reshape(-1, num_groups, width).argmax(axis=2, out=place[strip])
        place += width * np.arange(num_groups)
        return place, np.take_along_axis(self.values, place, axis=1)

    def reaching(self, *thresholds: Array) -> list[Reached]:
        """What reaches each of the thresholds: one a row, shape (rows, 1), or one a column, shape (columns,)."""
        found: list[list[Reached]] = [[] for _ in thresholds]
        for strip in _strips(self.shape):  # all thresholds while it is in the cache
            for each, least in zip(found, thresholds, strict=True):
                each.append(self._reaching(strip, least))
        return [_joined(each) for each in found]

    def _reaching(self, strip: slice, least: Array) -> Reached:
        here = self.values[strip]
        place = np.flatnonzero(here >= (least[strip] if least.ndim == 2 else least))
        row, column = np.divmod(place, self.shape[1])
        return row + strip.start, column, here.ravel()[place]


def _strips(shape: tuple[int, int]) -> Iterator[slice]:
    """Consecutive rows of a tile of so many scores, of about `_STRIP_BYTES` in float32."""
    return row_blocks(shape[0], 4 * shape[1], _STRIP_BYTES)


def _joined(found: Sequence[Reached]) -> Reached:
    rows, columns, values = (np.concatenate(parts) for parts in zip(*found, strict=True))
    return rows, columns, values


@dataclass(frozen=True, eq=False)
class RoundedTile:
    """Scores that were returned in bfloat16, in memory, compared by their bits.

    Each stands for a range of numbers, see `ResultError`; the largest of them counts.
    """

    bits: NDArray[np.uint16]
    error: ResultError

    @classmethod
    def of_rounded(cls, values: Any, error: ResultError) -> "RoundedTile":
        return cls(np.asarray(values).view(np.uint16), error)

    @property
    def shape(self) -> tuple[int, int]:
        return self.bits.shape

    def rows(self, band: slice) -> HostTile:
        """The scores of some rows."""
        values = np.empty((band.stop - band.start, self.shape[1]), np.float32)
        for strip in _strips(values.shape):
            values[strip] = self._largest(self.bits[band.start + strip.start : band.start + strip.stop])
        return HostTile(values)

    def exclude(self, rows: NDArray[np.int64], columns: NDArray[np.int64]) -> HostTile:
        return self.rows(slice(0, self.shape[0])).exclude(rows, columns)

    def reaching(self, *thresholds: Array) -> list[Reached]:
        most = [_most_bits(least, self.error) for least in thresholds]
        width = self.shape[1]
        flags = np.zeros(-(-_BAND * width // _WORD) * _WORD, bool)
        found: list[list[NDArray[np.int64]]] = [[] for _ in most]
        for band in row_blocks(self.shape[0], 1, _BAND):
            here = self.bits[band]
            out, words = flags[: here.size].reshape(here.shape), flags[: -(-here.size // _WORD) * _WORD].view(np.uint64)
            flags[here.size :] = False  # of the last band, which may be smaller
            for each, one in zip(found, most, strict=True):
                np.less_equal(here, one[band] if one.ndim == 2 else one, out=out)
                each.append(np.flatnonzero(words != 0) + band.start * width // _WORD)
        return [self._reaching(np.concatenate(each), one) for each, one in zip(found, most, strict=True)]

    def _reaching(self, words: NDArray[np.int64], most: NDArray[np.uint16]) -> Reached:
        """What reaches a threshold among the scores whose flags are in some words."""
        place = (words[:, None] * _WORD + np.arange(_WORD)).ravel()
        place = place[: np.searchsorted(place, self.bits.size)]
        row, column = np.divmod(place, self.shape[1])
        bits = self.bits.ravel()[place]
        reached = bits <= (most[row, 0] if most.ndim == 2 else most[column])
        return row[reached], column[reached], self._largest(bits[reached])

    def _largest(self, bits: NDArray[np.uint16]) -> Array:
        """The largest number that each score may stand for, in float32."""
        values = np.left_shift(bits, 16, dtype=np.uint32).view(np.float32)
        above = np.float32(1 + self.error.above) * values  # the larger one where positive
        values *= np.float32(1 - self.error.below)
        result: Array = np.maximum(values, above, out=values)
        return result


def _most_bits(least: Array, error: ResultError) -> NDArray[np.uint16]:
    """The bits of the least bfloat16 number that may stand for a threshold: those of all greater ones are fewer.

    For the bits of negative numbers grow with their magnitude, and those of positive ones lack the first. No score
    needs to be positive: where infinity is asked for, only 0 is let through.
    """
    with np.errstate(over="ignore"):
        exact = np.minimum(least, 0) / (1.0 - error.below)
        rounded = exact.astype(np.float32)
    magnitude = np.where(rounded > exact, np.nextafter(rounded, np.float32(-np.inf)), rounded).view(np.uint32)
    bits = np.maximum((magnitude + np.uint32(0xFFFF)) >> np.uint32(16), np.uint32(0x8000))
    return np.where(least == np.inf, 0, bits).astype(np.uint16)


@dataclass(frozen=True, eq=False)
class DeviceTile:
    """The same on a device of TensorFlow; only what is asked for comes to memory."""

    values: Any

    @classmethod
    def of(cls, products: Any, left: Array, right: Array) -> "DeviceTile":
        """Products and both sides' offsets, added."""
        tf = tensorflow()
        with tf.device(products.device):
            return cls(products + right.astype(np.float32) + left.astype(np.float32)[:, None])

    @classmethod
    def of_rounded(cls, values: Any, error: ResultError) -> "DeviceTile":
        """The largest number that each rounded score may stand for."""
        tf = tensorflow()
        with tf.device(values.device):
            values = tf.cast(values, tf.float32)
            return cls(tf.maximum(values * np.float32(1 + error.above), values * np.float32(1 - error.below)))

    @property
    def shape(self) -> tuple[int, int]:
        return tuple(self.values.shape)

    def rows(self, band: slice) -> "DeviceTile":
        return DeviceTile(self.values[band])

    def exclude(self, rows: NDArray[np.int64], columns: NDArray[np.int64]) -> "DeviceTile":
        tf = tensorflow()
        with tf.device(self.values.device):
            nothing = np.full(len(rows), -np.inf, np.float32)
            return DeviceTile(tf.tensor_scatter_nd_update(self.values, np.stack([rows, columns], axis=1), nothing))

    def best_of_groups(self, num_groups: int) -> tuple[NDArray[np.int64], Array]:
        tf, width = tensorflow(), self.shape[1] // num_groups
        with tf.device(self.values.device):
            groups = tf.reshape(self.values[:, : num_groups * width], (-1, num_groups, width))
            place = tf.argmax(groups, axis=2).numpy() + width * np.arange(num_groups)
            return place, tf.reduce_max(groups, axis=2).numpy()

    def num_reaching(self, least: Array) -> NDArray[np.int64]:
        """How many scores of each row reach its threshold. least : shape (rows, 1)."""
        tf = tensorflow()
        with tf.device(self.values.device):
            return np.asarray(tf.math.count_nonzero(self.values >= least, axis=1))

    def reaching(self, *thresholds: Array) -> list[Reached]:
        return [self._reaching(least) for least in thresholds]

    def _reaching(self, least: Array) -> Reached:
        tf = tensorflow()
        with tf.device(self.values.device):
            place = tf.where(self.values >= least)
            values = tf.gather_nd(self.values, place).numpy()
        rows, columns = place.numpy().T
        return rows, columns, values


Tile = HostTile | RoundedTile | DeviceTile
