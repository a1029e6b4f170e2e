"""Memory that passes share, because a page that the system hands out anew costs many times as much as writing to it."""

import contextlib
import math
import mmap
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from core.network.activations import Allocate
from core.network.catalogue import LayerInfo
from core.network.passes import Pass

_ITEM = 4  # bytes of a float32
_ALIGNMENT = 64  # bytes: arrays begin on a cache line
_ALIGNED = _ALIGNMENT // _ITEM


class Arena:
    """One block of memory for the activations of one pass after the other.

    What a pass keeps for the next one lies at one end, what it started from at the other, and its layers between: so
    each pass finds its room in one piece, whatever the sizes. Its arrays are valid until the next pass is opened; the
    one that was kept, until the pass after that.

    passes : those that will come, in order; the block has room for the largest. Pages are taken when written to.

    Raises
    ------
    MemoryError
        The system does not hand out so much, even unused.
    """

    def __init__(self, passes: Sequence[Pass]) -> None:
        num_bytes = max((pass_.num_bytes + _slack(pass_) for pass_ in passes if shares(pass_)), default=_ALIGNMENT)
        self._map = _private(num_bytes + -num_bytes % _ALIGNMENT)
        self._values = np.frombuffer(self._map, np.float32)
        self._boundary: LayerInfo | None = None  # that is kept
        self._kept = slice(0, 0)  # where

    def open(self, pass_: Pass) -> Allocate:
        """Room for the arrays of a pass; but for the boundary that it starts at, what was there is given up."""
        low, high = self._free(pass_)
        keep_low = low == 0  # the end where the start does not lie
        keep = None if pass_.keep is None or pass_.keep == pass_.start else (pass_.keep.layer, "flat")

        def allocate(key: tuple[str, str], shape: tuple[int, int]) -> NDArray[np.float32]:
            nonlocal low, high
            size = math.prod(shape)
            room = size + -size % _ALIGNED
            at_low = keep_low if key == keep else not keep_low
            start = low if at_low else high - room
            low, high = (low + room, high) if at_low else (low, high - room)
            if key == keep:
                self._boundary, self._kept = pass_.keep, slice(start, start + room)
            return self._values[start : start + size].reshape(shape)

        return allocate

    def release(self, pass_: Pass) -> None:
        """Give the pages back to the system, for a pass that takes its memory elsewhere; its start stays."""
        low, high = self._free(pass_)
        page = mmap.PAGESIZE // _ITEM
        first, last = -(-low // page), high // page
        if hasattr(mmap, "MADV_DONTNEED") and first < last:
            self._map.madvise(mmap.MADV_DONTNEED, first * mmap.PAGESIZE, (last - first) * mmap.PAGESIZE)

    def _free(self, pass_: Pass) -> tuple[int, int]:
        """The first place that a pass can use, and the one after the last."""
        if pass_.start is None or pass_.start != self._boundary:
            return 0, len(self._values)
        return (self._kept.stop, len(self._values)) if self._kept.start == 0 else (0, self._kept.start)


def shares(pass_: Pass) -> bool:
    """Whether a pass keeps its activations in memory whole, so that they can lie in an arena."""
    return not pass_.slices and not pass_.spooled_bytes


def _slack(pass_: Pass) -> int:
    """Bytes that arrays leave unused so that the next one is aligned: layers in two poolings, and both boundaries."""
    return _ALIGNMENT * (2 * len(pass_.layers) + 3)


def _private(num_bytes: int) -> mmap.mmap:
    """Memory of this process alone, in large pages where the system has them."""
    try:
        if not hasattr(mmap, "MAP_PRIVATE"):
            return mmap.mmap(-1, num_bytes)
        block = mmap.mmap(-1, num_bytes, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    except OSError as error:
        raise MemoryError(f"the system does not give {num_bytes:,} bytes for activations; lower --memory.") from error
    if hasattr(mmap, "MADV_HUGEPAGE"):
        with contextlib.suppress(OSError):  # a kernel without them
            block.madvise(mmap.MADV_HUGEPAGE)
    return block
