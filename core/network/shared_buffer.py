"""A memory buffer shared by consecutive passes: new pages from the system cost much more time than writing to them."""

import contextlib
import math
import mmap
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from core.network.activations import Allocate
from core.network.catalogue import LayerInfo
from core.network.passes import Pass

_ITEM_BYTES = 4  # of a float32
_ALIGNMENT_BYTES = 64  # arrays begin on a cache line
_ALIGNMENT = _ALIGNMENT_BYTES // _ITEM_BYTES  # in float32 values


class SharedBuffer:
    """One block of memory for the activations of consecutive passes.

    The boundary that a pass keeps for the next one is at one end of the block, the boundary that it started from at the
    other end, and its layers are between them. So the free memory of each pass is contiguous, whatever the sizes are.
    The arrays of a pass are valid until the next pass is opened; the boundary that it keeps, until the pass after that.

    Parameters
    ----------
    passes : sequence of Pass
        The passes in order; the block is large enough for the largest. Memory is only used once it is written to.

    Raises
    ------
    MemoryError
        If the system refuses to reserve that much memory, even unused.
    """

    def __init__(self, passes: Sequence[Pass]) -> None:
        sizes = [pass_.num_bytes + _padding_bytes(pass_) for pass_ in passes if uses_shared_buffer(pass_)]
        num_bytes = max(sizes, default=_ALIGNMENT_BYTES)
        self._map = _map_memory(num_bytes + -num_bytes % _ALIGNMENT_BYTES)
        self._values = np.frombuffer(self._map, np.float32)
        self._boundary: LayerInfo | None = None  # the boundary that is kept, at the positions `_boundary_range`
        self._boundary_range = slice(0, 0)

    def open(self, pass_: Pass) -> Allocate:
        """Return the allocator for the arrays of a pass; all earlier arrays except the pass's start become invalid."""
        low, high = self._free_range(pass_)
        keep_at_low = low == 0  # the kept boundary goes to the end that is free, its start may be at the other end
        keep = None if pass_.keep is None or pass_.keep == pass_.start else (pass_.keep.layer, "flat")

        def allocate(key: tuple[str, str], shape: tuple[int, int]) -> NDArray[np.float32]:
            nonlocal low, high
            size = math.prod(shape)
            aligned_size = size + -size % _ALIGNMENT
            at_low = keep_at_low if key == keep else not keep_at_low
            if at_low:
                start = low
                low += aligned_size
            else:
                high -= aligned_size
                start = high
            if key == keep:
                self._boundary, self._boundary_range = pass_.keep, slice(start, start + aligned_size)
            return self._values[start : start + size].reshape(shape)

        return allocate

    def release(self, pass_: Pass) -> None:
        """Return the memory to the system, except the pass's start; for a pass that does not use the buffer."""
        low, high = self._free_range(pass_)
        page_size = mmap.PAGESIZE // _ITEM_BYTES
        first, last = -(-low // page_size), high // page_size
        if hasattr(mmap, "MADV_DONTNEED") and first < last:
            self._map.madvise(mmap.MADV_DONTNEED, first * mmap.PAGESIZE, (last - first) * mmap.PAGESIZE)

    def _free_range(self, pass_: Pass) -> tuple[int, int]:
        """Return the first position that a pass can use, and the one after the last."""
        if pass_.start is None or pass_.start != self._boundary:
            return 0, len(self._values)
        if self._boundary_range.start == 0:
            return self._boundary_range.stop, len(self._values)
        return 0, self._boundary_range.start


def uses_shared_buffer(pass_: Pass) -> bool:
    """Return whether a pass keeps its activations in memory as a whole, so that they can be in a shared buffer."""
    return not pass_.slices and not pass_.spooled_bytes


def _padding_bytes(pass_: Pass) -> int:
    """Return the most bytes that aligned arrays leave unused: each layer in two poolings, and both boundaries."""
    return _ALIGNMENT_BYTES * (2 * len(pass_.layers) + 3)


def _map_memory(num_bytes: int) -> mmap.mmap:
    """Reserve private memory, in huge pages if the system has them."""
    try:
        if not hasattr(mmap, "MAP_PRIVATE"):  # on Windows
            return mmap.mmap(-1, num_bytes)
        block = mmap.mmap(-1, num_bytes, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    except OSError as error:
        raise MemoryError(f"the system does not give {num_bytes:,} bytes for activations; lower --memory.") from error
    if hasattr(mmap, "MADV_HUGEPAGE"):
        with contextlib.suppress(OSError):  # a system without huge pages
            block.madvise(mmap.MADV_HUGEPAGE)
    return block
