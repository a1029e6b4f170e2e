"""Activations in storage that all workers can access: a folder, or any fsspec address, such as s3://bucket/path.

The rows of an array are divided into shards: .npy files with the same number of rows each. A worker writes whole
shards, and can read single rows of any shards.
"""

import os
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from typing import IO, Any, cast

import fsspec
import numpy as np
from fsspec.implementations.local import LocalFileSystem
from numpy.typing import NDArray

RowSelection = slice | NDArray[np.int64]

GAP_BYTES = 1 << 16  # larger gaps between two rows are skipped, smaller ones are read: another call costs more


@dataclass(frozen=True)
class Shards:
    """A float32 array of shape (num_rows, num_features) at an address, in shards of `rows_per_shard` rows.

    Attributes
    ----------
    address : str
        A folder or fsspec address.
    num_rows, num_features : int
        Shape of the array.
    rows_per_shard : int
        Rows in each file; the last file may have fewer.
    """

    address: str
    num_rows: int
    num_features: int
    rows_per_shard: int

    def create(self) -> None:
        """Create the folder for the shards. A late task cannot write after the folder has been removed."""
        system, path = fsspec.url_to_fs(self.address)
        system.makedirs(path, exist_ok=True)

    def write(self, start: int, rows: NDArray[np.float32]) -> None:
        """Write one shard completely; `start` is its first row in the array. Writing it twice has no further effect."""
        system, path = fsspec.url_to_fs(self._shard(start // self.rows_per_shard))
        is_local = isinstance(system, LocalFileSystem)  # in an object store, objects appear only when complete
        scratch = f"{path}.{uuid.uuid4().hex}.tmp" if is_local else path
        with system.open(scratch, "wb") as file:
            np.lib.format.write_array(file, np.ascontiguousarray(rows, np.float32), allow_pickle=False)
        if is_local:
            os.replace(scratch, path)

    def read(self, rows: RowSelection) -> NDArray[np.float32]:
        """Read rows in any order, shape (rows, num_features)."""
        features = np.empty((num_selected(rows), self.num_features), np.float32)
        if isinstance(rows, slice):
            self.read_into(rows, features)
            return features
        order = np.argsort(rows)
        self.read_into(rows[order], features)
        return features[np.argsort(order)]

    def read_into(self, rows: RowSelection, out: NDArray[np.float32]) -> None:
        """Read rows, which must be ascending, into a contiguous array of shape (rows, num_features)."""
        done = 0
        for number, shard_rows in self._by_shard(rows):
            count = num_selected(shard_rows)
            self._read_shard(number, shard_rows, out[done : done + count])
            done += count

    def read_all(self) -> NDArray[np.float32]:
        """Read all rows."""
        return self.read(slice(0, self.num_rows))

    def _by_shard(self, rows: RowSelection) -> Iterator[tuple[int, RowSelection]]:
        """Yield the shards that contain the rows, and the positions of the rows within each."""
        step = self.rows_per_shard
        if isinstance(rows, slice):
            for number in range(rows.start // step, -(-rows.stop // step)):
                first = number * step
                yield number, slice(max(rows.start - first, 0), min(rows.stop - first, step))
        else:
            for number in np.unique(rows // step).tolist():
                yield number, rows[rows // step == number] - number * step

    def _read_shard(self, number: int, rows: RowSelection, out: NDArray[np.float32]) -> None:
        """Read rows of one shard; small gaps between scattered rows are read as well, in one call with the rows."""
        system, path = fsspec.url_to_fs(self._shard(number))
        with system.open(path, "rb") as file:
            _skip_header(file)
            first, row_bytes = file.tell(), 4 * self.num_features
            if isinstance(rows, slice):
                file.seek(first + row_bytes * rows.start)
                _read_exactly(file, out)
                return
            done = 0
            for run in nearby_rows(rows, row_bytes):
                file.seek(first + row_bytes * int(run[0]))
                block = np.empty((int(run[-1] - run[0]) + 1, self.num_features), np.float32)
                _read_exactly(file, block)
                np.take(block, run - run[0], axis=0, out=out[done : done + len(run)])
                done += len(run)

    def _shard(self, number: int) -> str:
        return f"{self.address}/{number:06d}.npy"


def nearby_rows(rows: NDArray[np.int64], row_bytes: int) -> list[NDArray[np.int64]]:
    """Split ascending row numbers where a gap between two rows is larger than `GAP_BYTES`."""
    large_gaps = np.flatnonzero((np.diff(rows) - 1) * row_bytes > GAP_BYTES)
    return np.split(rows, large_gaps + 1)


def num_selected(rows: RowSelection) -> int:
    """Return the number of selected rows."""
    return rows.stop - rows.start if isinstance(rows, slice) else len(rows)


def row_numbers(rows: RowSelection) -> NDArray[np.int64]:
    """Return the numbers of the selected rows."""
    return np.arange(rows.start, rows.stop) if isinstance(rows, slice) else rows


def select_rows(rows: NDArray[np.int64]) -> RowSelection:
    """Return row numbers as a slice if they are consecutive, otherwise as they are."""
    return slice(int(rows[0]), int(rows[-1]) + 1) if (np.diff(rows) == 1).all() else rows


def _skip_header(file: IO[bytes]) -> None:
    version = np.lib.format.read_magic(file)
    assert version == (1, 0), "NumPy writes two-dimensional arrays of numbers with this version"
    np.lib.format.read_array_header_1_0(file)


def _read_exactly(file: IO[bytes], out: NDArray[np.float32]) -> None:
    """Read as many bytes as the array has directly into it."""
    remaining = memoryview(cast(Any, out.reshape(-1))).cast("B")
    while remaining:
        count = cast(Any, file).readinto(remaining)
        if not count:
            raise OSError(
                f"a shard must be complete; got {len(remaining):,} bytes too few. Remove the storage and start again."
            )
        remaining = remaining[count:]
