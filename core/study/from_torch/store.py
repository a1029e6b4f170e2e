"""The activations of all layers while a loader is read: in memory as far as the budget reaches, else in files."""

import shutil
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from core.data.scratch_arrays import ScratchArrays
from core.network.passes import format_bytes

Key = tuple[str, str]  # layer and pooling

_ITEM_BYTES = 4  # of a float32
_SPARE_DISK = 0.02  # share of the free disk that is left free


class ActivationStore:
    """Matrices of float32, one for each layer and pooling, that are filled batch by batch.

    The smallest matrices are kept in memory, as many as fit the budget together, the others in files.

    Parameters
    ----------
    widths : mapping of (str, str) to int
        Columns of each matrix.
    budget_bytes : int
        Bytes of memory for all matrices together.
    folder : Path
        Existing folder for files; what is made there is removed by `close`.
    """

    def __init__(self, widths: Mapping[Key, int], budget_bytes: int, folder: Path) -> None:
        self._widths, self._budget_bytes, self._folder = dict(widths), budget_bytes, folder
        self._files = ScratchArrays(folder)
        self._arrays: dict[Key, NDArray[np.float32]] = {}
        self._capacity = 0

    @property
    def file_bytes(self) -> int:
        """Bytes of the matrices that are in files."""
        return sum(array.nbytes for array in self._arrays.values() if isinstance(array, np.memmap))

    def reserve(self, num_rows: int) -> None:
        """Make room for so many rows; rows that are there are kept.

        Raises
        ------
        ValueError
            If what does not fit the memory does not fit the disk either, with what it takes.
        """
        if num_rows <= self._capacity:
            return
        in_files = self._keys_in_files(num_rows)
        self._check_disk(in_files, num_rows)
        for key, width in self._widths.items():
            before = self._arrays.pop(key, None)
            shape = (num_rows, width)
            array = self._files.new(shape) if key in in_files else np.empty(shape, np.float32)
            if before is not None:
                array[: self._capacity] = before
                self._files.remove(before)
            self._arrays[key] = array
        self._capacity = num_rows

    def write(self, key: Key, rows: NDArray[np.int64], values: NDArray[np.float32]) -> None:
        """Store some rows of a matrix; the number of rows grows where there is no room."""
        if len(rows) and rows.max() >= self._capacity:
            self.reserve(max(int(rows.max()) + 1, 2 * self._capacity))
        self._arrays[key][rows] = values

    def take(self, key: Key, num_rows: int) -> NDArray[np.float32]:
        """Return the first rows of a matrix, which the store then no longer holds."""
        return self._arrays.pop(key)[:num_rows]

    def close(self) -> None:
        """Release the memory, and remove all files."""
        self._arrays.clear()
        self._files.close()

    def _keys_in_files(self, num_rows: int) -> set[Key]:
        """Return the matrices that are to be in files: the largest ones."""
        remaining_bytes = self._budget_bytes
        in_files = set()
        for key, width in sorted(self._widths.items(), key=lambda item: item[1]):
            num_bytes = _ITEM_BYTES * num_rows * width
            if num_bytes <= remaining_bytes:
                remaining_bytes -= num_bytes
            else:
                in_files.add(key)
        return in_files

    def _check_disk(self, in_files: set[Key], num_rows: int) -> None:
        needed_bytes = _ITEM_BYTES * num_rows * sum(self._widths[key] for key in in_files)
        free_bytes = int(shutil.disk_usage(self._folder).free * (1 - _SPARE_DISK))
        if needed_bytes <= free_bytes:
            return
        all_bytes = _ITEM_BYTES * num_rows * sum(self._widths.values())
        largest = max(in_files, key=lambda key: self._widths[key])
        raise ValueError(
            f"memory must hold the activations, or the disk what it does not hold; {num_rows:,} samples take "
            f"{format_bytes(all_bytes)} in {len(self._widths)} matrices, the memory is "
            f"{format_bytes(self._budget_bytes)}, and {self._folder} has {format_bytes(free_bytes)} for the "
            f"{format_bytes(needed_bytes)} that remain. The largest is {largest[0]} ({largest[1]}), "
            f"{format_bytes(_ITEM_BYTES * num_rows * self._widths[largest])}. Choose fewer layers or samples, "
            "pooling='mean', more memory, or a folder on a larger disk with spool=."
        )
