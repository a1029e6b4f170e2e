"""Tiles of scores: for some queries and some references, how near each reference can be at most.

A score is −½ of the smallest squared distance that the error of the products allows, so a larger one is nearer. Tiles
made by NumPy, or rounded by the processor, are in memory; those made on a GPU stay there until what reached a
threshold is read back.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from core.search.devices import tensorflow
from core.search.operands import Operand, strips
from core.search.products import EXACT, ResultError
from core.search.rows import in_threads

Array = NDArray[Any]
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
        a = left.chunk(rows, part, place)
        b = a if left is right and rows == columns else right.chunk(columns, part, place)
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
        for rows, columns in pairs:
            key = (rows.start, columns.start)
            sums[key] = products.added(sums.get(key), products.product(a[rows], b[columns]))
    return sums


def scored(total: Any, left: Operand, rows: slice, right: Operand, columns: slice, *, place: int = 0) -> "Tile":
    """The tile of scores made of its products."""
    arithmetic = left.arithmetic
    left.bound(rows)
    right.bound(columns)
    if arithmetic.middle != 1:
        total = _times(total, np.float32(arithmetic.middle))
    kind = _kind(total, arithmetic.products.devices[place], arithmetic.result_error)
    return kind.of(total, left.offset[rows], right.offset[columns], arithmetic.result_error)


def _times(total: Any, factor: np.float32) -> Any:
    """The product with a number, on the device where the total is."""
    if isinstance(total, np.ndarray):
        return total * factor
    with tensorflow().device(total.device):
        return total * factor


def _kind(products: Any, device: str, error: ResultError) -> "type[HostTile | RoundedTile | DeviceTile]":
    """The tile for products of a device, with an error of their own besides that of float32 sums or without."""
    if not device.startswith("CPU"):
        return DeviceTile
    return HostTile if error == EXACT else RoundedTile


@dataclass(frozen=True, eq=False)
class HostTile:
    """Scores in memory, worked on in strips of rows that stay in the cache."""

    values: Array

    @classmethod
    def of(cls, products: Array, left: Array, right: Array, error: ResultError) -> "HostTile":
        """Products and both sides' offsets, added."""
        values = np.asarray(products)
        values = values if values.flags.writeable else values.copy()
        left, right = left.astype(values.dtype)[:, None], right.astype(values.dtype)
        for strip in strips(len(values)):
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
        for strip in strips(len(place)):
            self.values[strip, : num_groups * width].reshape(-1, num_groups, width).argmax(axis=2, out=place[strip])
        place += width * np.arange(num_groups)
        return place, np.take_along_axis(self.values, place, axis=1)

    def reaching(self, *thresholds: Array) -> list[Reached]:
        """What reaches each of the thresholds: one a row, shape (rows, 1), or one a column, shape (columns,)."""
        found: list[list[Reached]] = [[] for _ in thresholds]
        for strip in strips(self.shape[0]):  # all thresholds while it is in the cache
            for each, least in zip(found, thresholds, strict=True):
                each.append(self._reaching(strip, least))
        return [_joined(each) for each in found]

    def _reaching(self, strip: slice, least: Array) -> Reached:
        here = self.values[strip]
        place = np.flatnonzero(here >= (least[strip] if least.ndim == 2 else least))
        row, column = np.divmod(place, self.shape[1])
        return row + strip.start, column, here.ravel()[place]


def _joined(found: Sequence[Reached]) -> Reached:
    rows, columns, values = (np.concatenate(parts) for parts in zip(*found, strict=True))
    return rows, columns, values


@dataclass(frozen=True, eq=False)
class RoundedTile:
    """Products returned in bfloat16, in memory, that become scores a strip at a time.

    A product stands for a range of numbers, see `ResultError`; its score is made with the largest of them.
    """

    bits: NDArray[np.uint16]  # the products
    left: Array  # offsets, float32, shape (rows,)
    right: Array  # offsets, float32, shape (columns,)
    error: ResultError

    @classmethod
    def of(cls, products: Any, left: Array, right: Array, error: ResultError) -> "RoundedTile":
        return cls(np.asarray(products).view(np.uint16), left.astype(np.float32), right.astype(np.float32), error)

    @property
    def shape(self) -> tuple[int, int]:
        return self.bits.shape

    def rows(self, band: slice) -> HostTile:
        """The scores of some rows."""
        values = np.empty((band.stop - band.start, self.shape[1]), np.float32)
        for strip in strips(len(values)):
            here = values[strip]
            self._score(slice(band.start + strip.start, band.start + strip.stop), here, np.empty_like(here))
        return HostTile(values)

    def exclude(self, rows: NDArray[np.int64], columns: NDArray[np.int64]) -> HostTile:
        return self.rows(slice(0, self.shape[0])).exclude(rows, columns)

    def reaching(self, *thresholds: Array) -> list[Reached]:
        if self._asks_positive(*thresholds):  # then the largest number is the product times one constant
            factor = np.float32(1 + self.error.above)
            exact = RoundedTile(self.bits, self.left / factor, self.right / factor, EXACT)
            reached = exact._reaching([least / factor for least in thresholds])
            return [(row, column, value * factor) for row, column, value in reached]
        return self._reaching(thresholds)

    def _asks_positive(self, *thresholds: Array) -> bool:
        """Whether only positive products can reach any of the thresholds."""
        sides = (
            (self.left[:, None], self.right) if least.ndim == 2 else (self.right, self.left) for least in thresholds
        )
        return all((least - own).min() > other.max() for least, (own, other) in zip(thresholds, sides, strict=True))

    def _reaching(self, thresholds: Sequence[Array]) -> list[Reached]:
        def reaching(strip: slice) -> list[Reached]:
            here, room = (np.empty((strip.stop - strip.start, self.shape[1]), np.float32) for _ in range(2))
            tile = HostTile(self._score(strip, here, room))
            least = [one[strip] if one.ndim == 2 else one for one in thresholds]
            return [(row + strip.start, column, value) for row, column, value in tile.reaching(*least)]

        return [_joined(found) for found in zip(*in_threads(reaching, strips(self.shape[0])), strict=True)]

    def _score(self, rows: slice, out: Array, room: Array) -> Array:
        """Scores of some rows, into `out`."""
        np.left_shift(self.bits[rows], 16, out=out.view(np.uint32), dtype=np.uint32)
        if self.error != EXACT:
            _largest(out, self.error, room)
        out += self.right
        out += self.left[rows, None]
        return out


def _largest(products: Array, error: ResultError, room: Array) -> None:
    """Turn products into the largest number that each may stand for, in place; `room` is as much memory again."""
    np.multiply(products, np.float32(1 + error.above), out=room)
    products *= np.float32(1 - error.below)
    np.maximum(products, room, out=products)  # `room` where positive


@dataclass(frozen=True, eq=False)
class DeviceTile:
    """The same on a device of TensorFlow; only what is asked for comes to memory."""

    values: Any

    @classmethod
    def of(cls, products: Any, left: Array, right: Array, error: ResultError) -> "DeviceTile":
        """Products and both sides' offsets, added; rounded products first become the largest they can stand for."""
        tf = tensorflow()
        with tf.device(products.device):
            values = tf.cast(products, tf.float32)
            if error != EXACT:
                values = tf.maximum(values * np.float32(1 + error.above), values * np.float32(1 - error.below))
            return cls(values + right.astype(np.float32) + left.astype(np.float32)[:, None])

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
