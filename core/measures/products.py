"""Who multiplies, and how it rounds: NumPy on the processor, or TensorFlow on the processor or on GPUs.

A search climbs a ladder of multipliers, from the fastest to the most precise: bfloat16 where the device is fast at it,
float32, float64. Each leaves fewer queries for the next. The neighbors are the same whoever multiplies.
"""

import functools
import importlib.util
import sys
import time
from dataclasses import dataclass
from importlib import import_module
from typing import Any

import numpy as np
from numpy.typing import NDArray

from core.measures.devices import gpu_names, tensorflow, tensorflow_product

_ROUNDED_WORK = 1.5e10  # FLOP for each neighbor of a query, below which the longer shortlists cost more than they save
_IMPORT_WORK = 2e12  # FLOP of a search, some ten seconds in float32, that repay the import of TensorFlow
_PROBE = 1024  # rows and columns of the products that are timed
_PATIENCE_S = 0.3  # with a processor that may be faster at rounded products
_ALIGNMENT = 64  # bytes
_ONES = 16384  # added up by a product, as many as the longest has, to see whether it sums in float32

Array = NDArray[Any]


@dataclass(frozen=True)
class NumPyProducts:
    """Products in the dtype of the rows; those of one array with its own transpose take half the work."""

    dtype: np.dtype[Any]
    roundoff = 0.0  # of the input, and again of the result, beyond the dtype's own
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

    def product(self, left: Array, right: Array, out: Array | None = None) -> Array:
        """left · rightᵀ, shape (rows of left, rows of right); into `out` where given."""
        return np.matmul(left, right.T, out=out)

    def added(self, total: Array | None, product: Array) -> Array:
        """A sum of products with one more; the first one is kept as it is."""
        return product if total is None else np.add(total, product, out=total)


@dataclass(frozen=True)
class TensorFlowProducts:
    """Products of float32 rows on devices of the loaded TensorFlow; `rounded` to bfloat16, input and result."""

    devices: tuple[str, ...]
    rounded: bool
    dtype = np.dtype(np.float32)

    @property
    def roundoff(self) -> float:
        """Unit roundoff of bfloat16, which keeps 8 bits."""
        return 2.0**-8 if self.rounded else 0.0

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
            if not (device.startswith("CPU") and aligned and at_once):
                return tf.constant(stored)
            bits: Any = stored.view(np.uint16) if self.rounded else stored
            tensor = tf.experimental.dlpack.from_dlpack(bits.__dlpack__())
            return tf.bitcast(tensor, tf.bfloat16) if self.rounded else tensor

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
        steps += [TensorFlowProducts(gpus, rounded) for rounded in (True, False) if rounds or not rounded]
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
    """Whether this processor multiplies bfloat16 clearly faster than float32, and sums it in float32; timed once.

    After a product NumPy's threads spin for a tenth of a second, and slow TensorFlow's down: so it gets some time.
    """
    rounded, plain = TensorFlowProducts(("CPU:0",), rounded=True), NumPyProducts(np.dtype(np.float32))
    ones = _loaded(rounded, np.ones((64, _ONES), dtype=np.float32))
    if float(rounded.product(ones, ones)[0, 0]) != _ONES:  # a sum kept in bfloat16 would stop at 256
        return False
    block = np.ones((_PROBE, _PROBE), dtype=np.float32)
    clearly = 0.9 * min(_seconds(plain, block, block.copy()) for _ in range(5))
    left, right = _loaded(rounded, block), _loaded(rounded, block)
    given_up = time.perf_counter() + _PATIENCE_S
    while time.perf_counter() < given_up:
        if _seconds(rounded, left, right) < clearly:
            return True
    return False


def _seconds(products: Products, left: Any, right: Any) -> float:
    """The time of one product."""
    start = time.perf_counter()
    products.product(left, right)
    return time.perf_counter() - start


def _loaded(products: Products, block: Array) -> Any:
    stored = room_for(block.size, products.stored_dtype).reshape(block.shape)
    products.store(block, stored)
    return products.load(stored)
