"""Activations in storage that all workers reach: a folder, or any address that fsspec knows, such as s3://bucket/path.

The rows of an array lie in shards, .npy files of the same number of rows each. A worker writes a shard whole, and reads
any rows of any shards without reading the others.
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

Places = slice | NDArray[np.int64]

_SKIPPED = 1 << 16  # bytes between two rows that are not read on the way: another call costs less


@dataclass(frozen=True)
class Shards:
    """A float32 array of shape (num_rows, num_features) at an address, in shards of `rows_a_shard` rows."""

    address: str
    num_rows: int
    num_features: int
    rows_a_shard: int

    def create(self) -> None:
        """Make room for shards. Nothing is written where there is no room: a late task leaves nothing behind."""
        system, path = fsspec.url_to_fs(self.address)
        system.makedirs(path, exist_ok=True)

    def write(self, start: int, rows: NDArray[np.float32]) -> None:
        """Write one shard: all of its rows, which start at `start`. Writing it again changes nothing."""
        system, path = fsspec.url_to_fs(self._shard(start // self.rows_a_shard))
        local = isinstance(system, LocalFileSystem)  # elsewhere an object appears once it is whole
        scratch = f"{path}.{uuid.uuid4().hex}.tmp" if local else path
        with system.open(scratch, "wb") as file:
            np.lib.format.write_array(file, np.ascontiguousarray(rows, np.float32), allow_pickle=False)
        if local:
            os.replace(scratch, path)

    def read(self, rows: Places) -> NDArray[np.float32]:
        """Some rows, in any order, shape (rows, num_features)."""
        found = np.empty((num_places(rows), self.num_features), np.float32)
        if isinstance(rows, slice):
            self.read_into(rows, found)
            return found
        order = np.argsort(rows)
        self.read_into(rows[order], found)
        return found[np.argsort(order)]

    def read_into(self, rows: Places, out: NDArray[np.float32]) -> None:
        """Read rows, ascending, into a contiguous array of shape (rows, num_features)."""
        done = 0
        for number, some in self._by_shard(rows):
            count = num_places(some)
            self._read_shard(number, some, out[done : done + count])
            done += count

    def read_all(self) -> NDArray[np.float32]:
        """All rows."""
        return self.read(slice(0, self.num_rows))

    def _by_shard(self, rows: Places) -> Iterator[tuple[int, Places]]:
        """The shards that hold the rows, and the rows within each."""
        step = self.rows_a_shard
        if isinstance(rows, slice):
            for number in range(rows.start // step, -(-rows.stop // step)):
                first = number * step
                yield number, slice(max(rows.start - first, 0), min(rows.stop - first, step))
        else:
            for number in np.unique(rows // step).tolist():
                yield number, rows[rows // step == number] - number * step

    def _read_shard(self, number: int, rows: Places, out: NDArray[np.float32]) -> None:
        """Rows of one shard; of scattered ones what lies between is read as well where it is little."""
        system, path = fsspec.url_to_fs(self._shard(number))
        with system.open(path, "rb") as file:
            _skip_header(file)
            first, row_bytes = file.tell(), 4 * self.num_features
            if isinstance(rows, slice):
                file.seek(first + row_bytes * rows.start)
                _fill(file, out)
                return
            done = 0
            for some in np.split(rows, np.flatnonzero((np.diff(rows) - 1) * row_bytes > _SKIPPED) + 1):
                file.seek(first + row_bytes * int(some[0]))
                stretch = np.empty((int(some[-1] - some[0]) + 1, self.num_features), np.float32)
                _fill(file, stretch)
                np.take(stretch, some - some[0], axis=0, out=out[done : done + len(some)])
                done += len(some)

    def _shard(self, number: int) -> str:
        return f"{self.address}/{number:06d}.npy"


def num_places(rows: Places) -> int:
    """How many rows are meant."""
    return rows.stop - rows.start if isinstance(rows, slice) else len(rows)


def row_numbers(rows: Places) -> NDArray[np.int64]:
    """The rows, one by one."""
    return np.arange(rows.start, rows.stop) if isinstance(rows, slice) else rows


def as_places(rows: NDArray[np.int64]) -> Places:
    """Row numbers, as a slice where they are consecutive."""
    return slice(int(rows[0]), int(rows[-1]) + 1) if (np.diff(rows) == 1).all() else rows


def _skip_header(file: IO[bytes]) -> None:
    version = np.lib.format.read_magic(file)
    assert version == (1, 0), "a two-dimensional array of numbers needs no longer header"
    np.lib.format.read_array_header_1_0(file)


def _fill(file: IO[bytes], out: NDArray[np.float32]) -> None:
    """Read as many bytes as the array has, without a copy between."""
    left = memoryview(cast(Any, out.reshape(-1))).cast("B")
    while left:
        count = cast(Any, file).readinto(left)
        if not count:
            raise OSError(
                f"a shard must hold {out.nbytes:,} bytes more than it does. Remove the storage and start again."
            )
        left = left[count:]
