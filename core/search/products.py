"""Matrix-product backends and their rounding: NumPy on the processor, or TensorFlow on the processor or on GPUs.

A search climbs a ladder of multipliers, from the fastest to the most precise: bfloat16 where the device is fast at it,
float32, float64. Each leaves fewer queries for the next. The neighbors are the same whoever multiplies.
"""

import functools
import importlib.util
import sys
import time
from dataclasses import dataclass
from importlib import import_module
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from core.search.devices import gpu_names, tensorflow, tensorflow_product

_ROUNDED_WORK = 1.5e10  # FLOP for each neighbor of a query, below which the longer shortlists cost more than they save
_IMPORT_WORK = 2e12  # FLOP of a search, some ten seconds in float32, that repay the import of TensorFlow
_PROBE = 1024  # rows and columns of the products that are timed
_PROBE_ROWS = 64  # of the products whose results are checked
_PROBE_WIDTHS = (1, 3, 40, 257, 1000, 4096, 16384)  # their columns, up to as many as the longest product has
_PATIENCE_S = 0.3  # with a processor that may be faster at rounded products
_ALIGNMENT = 64  # bytes

Array = NDArray[Any]


class ResultError(NamedTuple):
    """What a product p may stand for: true values of its sign, from (1 − below)|p| to (1 + above)|p| in magnitude."""

    below: float
    above: float


EXACT = ResultError(0.0, 0.0)
# Bfloat16 keeps 8 bits. A rounded result is off by half of its last bit, either way; one whose further bits were cut
# off stands for up to a whole last bit more. Which of the two a kernel does depends on the processor, on TensorFlow's
# settings, and may depend on the shape of the product, so that both are allowed for everywhere.
BFLOAT16 = ResultError(below=2.0**-8, above=2.0**-7)


@dataclass(frozen=True)
class NumPyProducts:
    """Products in the dtype of the rows; those of one array with its own transpose take half the work."""

    dtype: np.dtype[Any]
    roundoff = 0.0  # of the input, beyond the dtype's own
    result_error = EXACT  # beyond the dtype's own
    devices = ("CPU",)

    @property
    def stored_dtype(self) -> np.dtype[Any]:
        """Of rows as they are loaded."""
        return self.dtype

    def store(self, block: Array, out: Array) -> Array:
        """Write rows as they are loaded into `out`. Returns what that rounds off: nothing, shape (rows, 0)."""
        out[...] = block
        return block[:, :0]

    def load(self, stored: Array, place: int = 0) -> Array:
        """Stored rows as the product wants them."""
        return stored

    def some(self, loaded: Array, rows: slice) -> Array:
        """Some of the rows that were loaded."""
        return loaded[rows]

    def product(self, left: Array, right: Array, out: Array | None = None) -> Array:
        """left · rightᵀ, shape (rows of left, rows of right); into `out` where given."""
        return np.matmul(left, right.T, out=out)

    def added(self, total: Array | None, product: Array) -> Array:
        """Add a product to a sum of products; the sum that is passed in stays unchanged."""
        return product if total is None else np.add(total, product, out=total)


@dataclass(frozen=True)
class TensorFlowProducts:
    """Products of float32 rows on devices of the loaded TensorFlow; `rounded` to bfloat16, input and result."""

    devices: tuple[str, ...]
    rounded: bool
    dtype = np.dtype(np.float32)

    @property
    def roundoff(self) -> float:
        """Unit roundoff of the input: bfloat16 keeps 8 bits, and `store` rounds to nearest."""
        return 2.0**-8 if self.rounded else 0.0

    @property
    def result_error(self) -> ResultError:
        """How far a single product may be off beyond what float32 sums are."""
        return BFLOAT16 if self.rounded else EXACT

    @property
    def stored_dtype(self) -> np.dtype[Any]:
        """Of rows as they are loaded."""
        return np.dtype(tensorflow().bfloat16.as_numpy_dtype) if self.rounded else self.dtype

    def store(self, block: Array, out: Array) -> Array:
        """Write rows as they are loaded into `out`. Returns what that rounds off, (rows, 0) where it is nothing.

        Bfloat16 is the upper half of a float32: half of its last bit is added, and the lower half cut off.
        """
        if not self.rounded:
            out[...] = block
            return block[:, :0]
        bits = block.view(np.uint32) + np.uint32(1 << 15)
        np.right_shift(bits, 16, out=out.view(np.uint16), casting="unsafe")
        bits &= np.uint32(0xFFFF0000)
        kept = bits.view(np.float32)
        return np.subtract(block, kept, out=kept)

    def load(self, stored: Array, place: int = 0) -> Any:
        """Stored rows as a tensor on the device at that place; on the processor it shares the memory of `room_for`."""
        tf, device = tensorflow(), self.devices[place]
        aligned = stored.ctypes.data % _ALIGNMENT == 0 and stored.flags.c_contiguous
        at_once = tf.config.experimental.get_synchronous_execution()  # else the memory could change before a product
        with tf.device(device):
            if not (is_in_memory(device) and aligned and at_once):
                return tf.constant(stored)
            bits: Any = stored.view(np.uint16) if self.rounded else stored
            tensor = tf.experimental.dlpack.from_dlpack(bits.__dlpack__())
            return tf.bitcast(tensor, tf.bfloat16) if self.rounded else tensor

    def some(self, loaded: Any, rows: slice) -> Any:
        """Some of the rows that were loaded, where they are."""
        with tensorflow().device(loaded.device):
            return loaded[rows]

    def product(self, left: Any, right: Any, out: Array | None = None) -> Any:
        """The tile as a tensor where its rows are, in float32, or bfloat16 where rounded; `out` stays unused."""
        with tensorflow().device(left.device):
            return tensorflow_product(left, right)

    def added(self, total: Any, product: Any) -> Any:
        """A sum of products with one more, in float32, where they are."""
        tf = tensorflow()
        with tf.device(product.device):
            one = tf.cast(product, tf.float32)
            return one if total is None else total + one


Products = NumPyProducts | TensorFlowProducts


def is_in_memory(device: str) -> bool:
    """Whether what a device multiplies is in the processor's memory."""
    return device.startswith("CPU")


def room_for(num_numbers: int, dtype: np.dtype[Any]) -> Array:
    """Memory for so many numbers, shape (num_numbers,), aligned as tensors that share it must be."""
    memory = np.empty(num_numbers * dtype.itemsize + _ALIGNMENT, np.uint8)
    start = -memory.ctypes.data % _ALIGNMENT
    return memory[start : start + num_numbers * dtype.itemsize].view(dtype)


def ladder(work: float, k: int) -> tuple[Products, ...]:
    """The multipliers of a search for k neighbors, fastest first. `work` is its products' number of operations."""
    gpus = gpu_names()
    rounds = work >= _ROUNDED_WORK * k
    steps: list[Products] = []
    if gpus:
        if rounds and results_are_bounded(TensorFlowProducts(gpus, rounded=True)):
            steps.append(TensorFlowProducts(gpus, rounded=True))
        steps.append(TensorFlowProducts(gpus, rounded=False))
    else:
        if rounds and _has_tensorflow(work) and rounding_pays():
            steps.append(TensorFlowProducts(("CPU:0",), rounded=True))
        steps.append(NumPyProducts(np.dtype(np.float32)))
    return (*steps, NumPyProducts(np.dtype(np.float64)))


def _has_tensorflow(work: float) -> bool:
    """Whether TensorFlow is loaded; a long search loads it, where it is installed."""
    if "tensorflow" not in sys.modules and work >= _IMPORT_WORK and importlib.util.find_spec("tensorflow"):
        import_module("tensorflow")
    return hasattr(sys.modules.get("tensorflow"), "linalg")


@functools.cache
def rounding_pays() -> bool:
    """Whether this processor multiplies bfloat16 clearly faster than float32, within the bound; timed once.

    After a product NumPy's threads spin for a tenth of a second, and slow TensorFlow's down: so it gets some time.
    """
    rounded, plain = TensorFlowProducts(("CPU:0",), rounded=True), NumPyProducts(np.dtype(np.float32))
    if not results_are_bounded(rounded):
        return False
    block = np.random.default_rng(0).normal(size=(_PROBE, _PROBE)).astype(np.float32)
    clearly = 0.9 * min(_seconds(plain, block, block.copy()) for _ in range(5))
    left, right = _loaded(rounded, block), _loaded(rounded, block)
    given_up = time.perf_counter() + _PATIENCE_S
    while time.perf_counter() < given_up:
        if _seconds(rounded, left, right) < clearly:
            return True
    return False


@functools.cache
def results_are_bounded(products: TensorFlowProducts) -> bool:
    """Whether products of random rows, narrow and wide, are as the bound of `core.search.operands` takes them to be.

    That is: sums in float32, and each result off by at most `result_error` besides, on every device. Sums kept in
    bfloat16, in full or between blocks of columns, fail.
    """
    rng = np.random.default_rng(0)
    for width in _PROBE_WIDTHS:
        rows = rng.normal(size=(_PROBE_ROWS, width)).astype(np.float32)
        rows[::2] = np.abs(rows[::2])  # sums that grow with every term, where a coarse one loses most
        stored = room_for(rows.size, products.stored_dtype).reshape(rows.shape)
        products.store(rows, stored)
        exact = stored.astype(np.float64)
        for place in range(len(products.devices)):
            loaded = products.load(stored, place)
            returned = np.asarray(products.product(loaded, loaded)).astype(np.float64)
            if not _is_bounded(returned, exact, products):
                return False
    return True


def _is_bounded(returned: Array, rows: Array, products: Products) -> bool:
    """Whether products of rows with themselves are off by no more than float32 sums and `result_error` may be."""
    lengths = np.linalg.norm(rows, axis=1)
    of_sums = sum_error(rows.shape[1], np.dtype(np.float32)) * lengths[:, None] * lengths
    least, most = (1 - products.result_error.below) * returned, (1 + products.result_error.above) * returned
    true = rows @ rows.T
    within = (true >= np.minimum(least, most) - of_sums) & (true <= np.maximum(least, most) + of_sums)
    return bool(within.all())


def sum_error(num_terms: int, dtype: np.dtype[Any]) -> float:
    """γ = nu/(1 − nu): how far a sum of n terms may be off, in any order, as a share of the sum of their magnitudes."""
    unit = float(np.finfo(dtype).eps) / 2
    return num_terms * unit / (1 - num_terms * unit)


def _seconds(products: Products, left: Any, right: Any) -> float:
    """The time of one product."""
    start = time.perf_counter()
    products.product(left, right)
    return time.perf_counter() - start


def _loaded(products: Products, block: Array) -> Any:
    stored = room_for(block.size, products.stored_dtype).reshape(block.shape)
    products.store(block, stored)
    return products.load(stored)
