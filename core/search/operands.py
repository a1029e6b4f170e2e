"""The two sides of a search's products, centered, and the bound on what the products get wrong.

For centered rows a and b the expansion |a − b|² = |a|² + |b|² − 2ab costs one matrix product, but in float32 it is not
exact. What is certain is a bound. A product of wide rows is a sum of p products of at most `chunk` columns. With w the
columns of one plus p − 1, u the unit roundoff and γ = wu/(1 − wu), whatever order the products sum in (Higham, Accuracy
and Stability of Numerical Algorithms, 2nd ed., eq. 3.5),

    |computed − true| ≤ c (|a|² + |b|²) + 2η,      c = γ + 12u + 4(d + 4)2⁻⁵³,

where 12u pays for rounding the centered input and adding the norms, the last term for the float64 sums of the final
decision, and η for underflow.

Rows rounded to bfloat16 lose δ each, which is measured. By Cauchy and Schwarz, and 2xy ≤ x²/ρ + ρy² for any ρ > 0,

    2|ab − (a − δa)(b − δb)| ≤ Σ over both rows of |δ|²/ρ + ρ|a|² + |δ|²,

least where ρ is the usual |δ|/|a|. Products returned in bfloat16 are off besides: some kernels round them, others cut
bits off, and no one says which, so that a product p stands for numbers from (1 − 2⁻⁸)|p| to (1 + 2⁻⁷)|p| in magnitude.
So that these numbers are small where rows are near, the norms are added within the product, as further columns, each
in three parts of 8 bits; c has γ for them once more. The returned number is a score then, see `core.search.scores`.
A sum of products is multiplied by the middle of the two factors instead, and what it may be off then, 1.5·2⁻⁸/(1 − 2⁻⁸)
of |a||b|, is a part of c. So is what the norms are off, which are float32 sums then.
"""

from dataclasses import dataclass
from itertools import pairwise
from threading import Lock, local
from typing import Any

import numpy as np
from numpy.typing import NDArray

from core.search.devices import columns_swapped
from core.search.products import EXACT, Products, ResultError, is_in_memory, room_for, sum_error
from core.search.rows import Rows, in_threads, row_blocks

CHUNK = 4096  # columns of one product; γ grows with it, so wide rows are summed over chunks
ROUNDED_CHUNK = 16384  # the same of rounded products, whose bound γ is a small part of
_STRIP_BYTES = 1 << 20  # of rows that are centered at a time, so that they stay in the cache
_USUAL_LOSS = 0.0016  # ρ: |δ|/|a| of most rows rounded to 8 bits
_CACHE_BYTES = 1 << 27
_DEVICE_CACHE_BYTES = 1 << 30  # on a GPU
_PARTS = 3  # of 8 bits each, that make a float32 offset
_WIDTH = 32  # whose multiple rows with offsets are wide: others take a quarter more time
_LEAST = 1e-140  # the square of its rounding error, 1e-156, is still a usual number

Array = NDArray[Any]


@dataclass(frozen=True)
class Arithmetic:
    """What both sides of a product share: who multiplies, the center and scale applied to the rows, and the bound."""

    products: Products
    center: Array
    scale: float
    relative: float  # c of the module's text
    absolute: float  # η of the module's text
    result_error: ResultError  # of a single product, which each score allows for as it stands
    middle: float  # factor of a sum of products, each of which stands for a range of numbers
    chunk: int  # columns of one product

    @classmethod
    def choose(cls, products: Products, references: Rows, largest: float) -> "Arithmetic":
        """Center on the references' mean; scale by a power of two where squares could leave float32's range.

        Raises
        ------
        ValueError
            The features are so small that squares of their differences vanish in float64, too.
        """
        if 0 < largest < _LEAST:
            raise ValueError(
                f"features must reach {_LEAST:g}, or squared distances vanish; the largest is {largest:.3g}. Rescale "
                "them."
            )
        chunk = ROUNDED_CHUNK if products.roundoff else CHUNK
        exponent = int(np.frexp(largest)[1])
        scale = 1.0 if abs(exponent) < 24 else float(2.0**-exponent)
        num_features = references.num_features
        num_parts = -(-num_features // chunk)
        result_error = products.result_error if num_parts == 1 else EXACT
        offsets = 0 if result_error == EXACT else 2 * _PARTS  # that are columns, too
        depth = min(num_features, chunk) + num_parts - 1 + offsets  # additions that a term goes through
        unit = float(np.finfo(products.dtype).eps) / 2
        below, above = products.result_error if num_parts > 1 else EXACT  # of parts of a sum
        gamma = sum_error(depth + (above > 0), products.dtype)  # with the factor of the sum
        if products.roundoff:
            rounding, of_parts = products.roundoff, (above + below) / 2 / (1 - below)
            longer = (1 + rounding) ** 2  # rows may be, once rounded
            of_products = longer * (gamma * (1 + of_parts) + of_parts)
            of_norms = gamma * (1 + 2 * gamma)  # float32 sums like |δ|², which is at most 2⁻¹⁶|a|²
            lost = rounding**2 * (1 / _USUAL_LOSS + 1) + _USUAL_LOSS
            of_offsets = 1.1 * gamma if offsets else 0.0  # half of |a|² each, and their slack
            gamma = of_products + of_norms * (1 + of_products + lost) + of_offsets
        return cls(
            products=products,
            center=references.mean.astype(products.dtype) if scale == 1 else references.mean,
            scale=scale,
            relative=gamma + (24 if products.roundoff else 12) * unit + 4 * (num_features + 4) * 2.0**-53,
            absolute=4 * (num_features + 4) * float(np.finfo(products.dtype).tiny),
            result_error=result_error,
            middle=1 + (above - below) / 2,
            chunk=chunk,
        )

    @property
    def has_offsets(self) -> bool:
        """Whether products of rows are scores, because offsets are columns of the rows."""
        return self.result_error != EXACT


@dataclass(frozen=True, eq=False)
class _Chunk:
    """Rows of one product: as its device takes them, and as they are stored, where that is the same memory."""

    loaded: Any
    stored: Array | None
    num_bytes: int


class Operand:
    """One side of the products: centered blocks, kept while they fit the cache, and what their norms promise.

    slack, offset : float64, shape (rows,); known of rows whose chunks have been made and `bound` since. An offset
        added to a product on both sides makes a score; the slack taken off again, the least that it can be.
    """

    def __init__(self, rows: Rows, index: NDArray[np.int64] | None, arithmetic: Arithmetic) -> None:
        self._rows, self._index, self.arithmetic = rows, index, arithmetic
        self.num_rows = len(rows) if index is None else len(index)
        self.columns = list(row_blocks(rows.num_features, 1, arithmetic.chunk))
        self.slack, self.offset = np.full(self.num_rows, np.nan), np.full(self.num_rows, np.nan)
        self._squared = np.full((len(self.columns), self.num_rows), np.nan)  # |a|² of each chunk
        self._lost = np.zeros_like(self._squared)  # |δ|² of each chunk
        self._cache: dict[tuple[int, int, int], _Chunk] = {}  # what was used last comes last
        self._cached_bytes = 0
        self._making = Lock()  # rows that are not in the cache: threads may want the same
        self._facing = local()  # of each thread: where its rows start, and these

    @property
    def rows_in_cache(self) -> int:
        """Rows whose chunks fit the cache."""
        row_bytes = sum(map(self._width, range(len(self.columns)))) * self.arithmetic.products.stored_dtype.itemsize
        return self._cache_bytes // row_bytes

    @property
    def _cache_bytes(self) -> int:
        """Bytes of rows that are kept as they are multiplied."""
        return _CACHE_BYTES if is_in_memory(self.arithmetic.products.devices[0]) else _DEVICE_CACHE_BYTES

    def chunk(self, rows: slice, part: int, place: int = 0) -> Any:
        """Centered rows of one product as its device takes them, made once while there is room for them."""
        return self._chunk(rows, part, place).loaded

    def facing(self, rows: slice, part: int, place: int = 0) -> Any:
        """The same for the left side of products with `chunk`s: offsets face ones, and ones face offsets."""
        if not self.arithmetic.has_offsets:
            return self.chunk(rows, part, place)
        if getattr(self._facing, "start", -1) != rows.start:
            chunk = self._chunk(rows, part, place)
            stored, loaded = chunk.stored, chunk.loaded
            first = self.columns[part].stop - self.columns[part].start
            ones, offsets = slice(first, first + _PARTS), slice(first + _PARTS, first + 2 * _PARTS)
            products = self.arithmetic.products
            if stored is not None:
                turned = room_for(stored.size, stored.dtype).reshape(stored.shape)
                turned[...] = stored
                turned[:, ones], turned[:, offsets] = stored[:, offsets], stored[:, ones]
                loaded = products.load(turned, place)
            else:
                loaded = columns_swapped(loaded, ones, offsets)
            self._facing.start, self._facing.rows = rows.start, loaded
        return self._facing.rows

    def _chunk(self, rows: slice, part: int, place: int) -> _Chunk:
        """Rows of one product."""
        key = (rows.start, part, place)
        with self._making:
            found = self._cache.pop(key, None)
            if found is None:
                room = self.room(rows, part)
                loaded = self.make(rows, part, place, room=room)
                stays = is_in_memory(self.arithmetic.products.devices[place])
                found = _Chunk(loaded, room.reshape(rows.stop - rows.start, -1) if stays else None, room.nbytes)
                self._cached_bytes += found.num_bytes
            self._cache[key] = found
            while self._cached_bytes > self._cache_bytes and len(self._cache) > 1:
                self._cached_bytes -= self._cache.pop(next(iter(self._cache))).num_bytes
        return found

    def room(self, rows: slice, part: int = 0) -> Array:
        """Memory for rows of one product."""
        num_numbers = (rows.stop - rows.start) * self._width(part)
        return room_for(num_numbers, self.arithmetic.products.stored_dtype)

    def _width(self, part: int) -> int:
        """Numbers that a row of one product takes."""
        width: int = self.columns[part].stop - self.columns[part].start
        return -(-(width + 2 * _PARTS) // _WIDTH) * _WIDTH if self.arithmetic.has_offsets else width

    def make(self, rows: slice, part: int, place: int = 0, *, room: Array) -> Any:
        """Centered rows of one product as its device takes them, shape (rows, numbers that a row takes).

        room : of these rows, or of as many; what was made in it before is lost.
        """
        products, columns = self.arithmetic.products, self.columns[part]
        shape = (rows.stop - rows.start, self._width(part))
        block = room[: shape[0] * shape[1]].reshape(shape)
        num_columns = columns.stop - columns.start

        def fill(strip: slice) -> None:
            some = slice(rows.start + strip.start, rows.start + strip.stop)
            centered = self._centered(some, columns)
            lost = products.store(centered, block[strip, :num_columns])
            if np.isnan(self._squared[part, some.start]):
                exact = np.float32 if products.roundoff else np.float64  # what rounding loses is far more
                self._lost[part, some] = _squares(lost, exact)
                self._squared[part, some] = _squares(centered, exact)
            if self.arithmetic.has_offsets:
                self.bound(some)
                self._add_offsets(some, block[strip, num_columns:])

        row_bytes = products.dtype.itemsize * block.shape[1]
        in_threads(fill, row_blocks(len(block), row_bytes, _STRIP_BYTES))
        return products.load(block, place)

    def _add_offsets(self, rows: slice, out: Array) -> None:
        """Write what makes a score of a product: ones for the offsets of the other side, and the rows' own in parts."""
        out[...] = 0
        out[:, :_PARTS] = 1
        rest = self.offset[rows, None].astype(np.float32)
        for part in range(_PARTS, 2 * _PARTS):
            rest = self.arithmetic.products.store(rest, out[:, part : part + 1])

    def bound(self, rows: slice) -> None:
        """Slack and offset of rows whose chunks have all been made."""
        squared, lost = self._squared[:, rows].sum(axis=0), self._lost[:, rows].sum(axis=0)
        slack = self.arithmetic.relative * squared + self.arithmetic.absolute
        if self.arithmetic.products.roundoff:
            # Bfloat16 instructions take subnormal numbers for 0.
            lost = (np.sqrt(lost) + np.sqrt(self._rows.num_features) * float(np.finfo(np.float32).tiny)) ** 2
            slack += lost / _USUAL_LOSS + _USUAL_LOSS * squared + lost
        self.slack[rows] = slack
        self.offset[rows] = -0.5 * (squared - slack)

    def _centered(self, rows: slice, columns: slice) -> Array:
        index = rows if self._index is None else self._index[rows]
        arithmetic = self.arithmetic
        return self._rows.centered(index, columns, arithmetic.center, arithmetic.scale, arithmetic.products.dtype)


def _squares(block: Array, dtype: type[np.floating[Any]]) -> Array:
    """Squared length of each row, summed in a dtype."""
    block = block.astype(dtype, copy=False)
    result: Array = np.einsum("ij,ij->i", block, block)
    return result


def tiles(num_rows: int, most: int) -> list[slice]:
    """Consecutive slices of at most `most` rows, of nearly equal length."""
    bounds = np.linspace(0, num_rows, -(-num_rows // most) + 1).astype(int).tolist()
    return [slice(start, stop) for start, stop in pairwise(bounds)]
