"""Samples as the rows of a matrix, read block by block so that a memory-mapped array is never copied whole."""

import functools
import os
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Any, TypeVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from core.search.tensors import as_array

_BLOCK_BYTES = 1 << 25
_SURVEY_BYTES, _SURVEY_COLUMNS = 1 << 19, 1024  # surveyed at once: half a megabyte of float32 stays in a core's cache

Features = NDArray[Any]
Part = TypeVar("Part")
Result = TypeVar("Result")


def in_threads(work: Callable[[Part], Result], parts: Iterable[Part], run: int | None = None) -> list[Result]:
    """The results of `work` on each part, in order, computed on all cores; `work` must not call a threaded BLAS.

    Each thread takes runs of consecutive parts, because handing over a single small one costs as much as working on it.
    `work` must not come back here either: it would wait for the threads that it holds.
    """
    every = list(parts)
    cores = cores_at_hand()
    if min(len(every), cores) <= 1:
        return [work(part) for part in every]
    run = run or -(-len(every) // (2 * cores))
    runs = [every[start : start + run] for start in range(0, len(every), run)]
    found = _threads(os.getpid()).map(lambda some: [work(part) for part in some], runs)
    return [result for results in found for result in results]


def cores_at_hand() -> int:
    """The cores that work of this thread may use: all, or one where others keep the rest busy."""
    return 1 if getattr(_this_thread, "is_alone", False) else os.cpu_count() or 1


def work_alone() -> None:
    """From now on `in_threads`, called in this thread, does all of the work in it.

    For one of several threads that keep all cores busy: there, help only makes all of them wait for each other.
    """
    _this_thread.is_alone = True


_this_thread = threading.local()


@functools.lru_cache(maxsize=1)
def _threads(process: int) -> ThreadPoolExecutor:
    """The threads of a process, kept, because starting them costs as much as a short piece of work.

    process : its id; a forked process has none of its parent's threads and starts its own.
    """
    return ThreadPoolExecutor(max_workers=os.cpu_count() or 1, thread_name_prefix="rows")


def as_matrix(features: ArrayLike, name: str = "features") -> Features:
    """The features as (n, d), numeric and non-empty; each sample flattened. Finiteness is checked by `Rows`."""
    if hasattr(features, "toarray") and hasattr(features, "nnz"):  # SciPy's sparse arrays
        raise ValueError(f"{name} must be a dense array; got {type(features).__name__}. Pass {name}.toarray().")
    try:
        array = as_array(features)
    except ValueError as error:  # lists of several lengths, tensors without values
        raise ValueError(f"{name} must be an array of one shape; got: {error}. Pass (n, d) numbers.") from error
    if array.ndim == 0 or array.size == 0:
        raise ValueError(
            f"{name} must hold at least one number a sample; got shape {array.shape}. Pass (n, d) numbers."
        )
    if array.dtype.kind not in "biuf":
        raise ValueError(f"{name} must be real numbers; got dtype {array.dtype}. Convert them to float32 first.")
    matrix = array.reshape(len(array), -1)
    return matrix.astype(np.uint8) if matrix.dtype.kind == "b" else matrix


def row_blocks(num_rows: int, row_bytes: int, block_bytes: int = _BLOCK_BYTES) -> Iterator[slice]:
    """Consecutive slices of rows, each of about `block_bytes`."""
    step = max(1, block_bytes // max(1, row_bytes))
    for start in range(0, num_rows, step):
        yield slice(start, min(start + step, num_rows))


@dataclass(frozen=True, eq=False)
class Rows:
    """A checked (n, d) matrix with what a search needs to know of it: its column means and its largest magnitude."""

    matrix: Features
    mean: NDArray[np.float64]  # any constant serves to center; this one is the column mean up to float32 rounding
    largest: float  # the largest |x|
    lengths: NDArray[np.float64] | None  # divides each row where unit length is asked for
    index: NDArray[np.int64] | None = None  # the rows of the matrix that count, where not all do

    @classmethod
    def of(
        cls,
        features: ArrayLike,
        *,
        unit: bool = False,
        name: str = "features",
        index: NDArray[np.int64] | None = None,
    ) -> "Rows":
        """Check the features (finite, no zero row where `unit`) and survey them in one pass."""
        matrix = as_matrix(features, name)
        lengths = _row_lengths(matrix if index is None else matrix[index], name) if unit else None
        num_rows = len(matrix if index is None else index)

        def survey(rows: slice) -> tuple[NDArray[np.float64], float]:
            block = matrix[rows if index is None else index[rows]]
            return _survey(block, None if lengths is None else lengths[rows], rows.start, name)

        parts = list(row_blocks(num_rows, 4 * min(matrix.shape[1], _SURVEY_COLUMNS), _SURVEY_BYTES))
        mean, largest = np.zeros(matrix.shape[1]), 0.0
        for total, magnitude in in_threads(survey, parts):
            with np.errstate(over="ignore", invalid="ignore"):
                mean += total / num_rows
            largest = max(largest, magnitude)
        return cls(matrix, np.where(np.isfinite(mean), mean, 0.0), largest, lengths, index)

    def __len__(self) -> int:
        return len(self.matrix if self.index is None else self.index)

    @property
    def num_features(self) -> int:
        return int(self.matrix.shape[1])

    def exact(self, rows: slice | NDArray[np.int64], columns: slice = slice(None)) -> NDArray[np.float64]:
        """Rows in float64, shape (rows, columns): the numbers that distances are defined on."""
        block = self._block(rows, columns).astype(np.float64)
        return block if self.lengths is None else block / self.lengths[rows, None]

    def minus(
        self,
        rows: NDArray[np.int64],
        others: "Rows",
        other_rows: NDArray[np.int64],
        columns: slice,
        out: NDArray[np.float64],
    ) -> NDArray[np.float64]:
        """Rows of these less rows of others, in float64, into `out` of shape (rows, columns), which is returned."""
        out[...] = self._block(rows, columns)  # converted first: a subtraction that converts takes longer
        if self.lengths is not None:
            out /= self.lengths[rows, None]
        out -= others.exact(other_rows, columns)
        return out

    def centered(
        self,
        rows: slice | NDArray[np.int64],
        columns: slice,
        center: NDArray[Any],
        scale: float,
        dtype: np.dtype[Any],
    ) -> Features:
        """(x − center) · scale in `dtype`, each element within one rounding of its true value; scale is a power of two.

        Where features and center are float32, one float32 subtraction does; else float64 comes first.
        """
        block = self._block(rows, columns)
        if self.lengths is None and scale == 1 and block.dtype == center.dtype == dtype:
            scaled: Features = np.subtract(block, center[columns])
        else:
            scaled = ((self.exact(rows, columns) - center[columns]) * scale).astype(dtype, copy=False)
        return scaled

    def some(self, chosen: NDArray[np.int64]) -> "Rows":
        """Only the chosen rows, about the same mean."""
        lengths = None if self.lengths is None else self.lengths[chosen]
        return replace(self, index=chosen if self.index is None else self.index[chosen], lengths=lengths)

    def _block(self, rows: slice | NDArray[np.int64], columns: slice) -> Features:
        """Some rows as they were given."""
        return self.matrix[rows if self.index is None else self.index[rows], columns]


def _row_lengths(matrix: Features, name: str) -> NDArray[np.float64]:
    """Euclidean length of each row, for cosine; a zero row has no direction."""
    lengths = np.empty(len(matrix))
    for rows in row_blocks(len(matrix), 8 * matrix.shape[1]):
        block = matrix[rows].astype(np.float64)
        largest = np.abs(block).max(axis=1, keepdims=True)
        safe = np.where((largest > 0) & np.isfinite(largest), largest, 1.0)  # squares stay in range
        lengths[rows] = np.sqrt(np.einsum("ij,ij->i", block / safe, block / safe)) * safe[:, 0]
    zero = np.flatnonzero(lengths == 0)
    if len(zero):
        raise ValueError(
            f"{name} must have no zero row for metric='cosine'; row {zero[0]} is zero ({len(zero)} in all). "
            "Drop these samples or use metric='euclidean'."
        )
    return lengths


def _divided(block: Features, lengths: NDArray[np.float64] | None) -> Features:
    """The block as floating-point numbers, rows divided by their lengths where given."""
    if lengths is not None:
        return block.astype(np.float64) / lengths[:, None]
    return block if block.dtype.kind == "f" and block.dtype != np.float16 else block.astype(np.float64)


def _survey(
    block: Features, lengths: NDArray[np.float64] | None, first_row: int, name: str
) -> tuple[NDArray[np.float64], float]:
    """Column sums and largest |x| of some rows, in strips."""
    total, largest = np.zeros(block.shape[1]), 0.0
    for start in range(0, block.shape[1], _SURVEY_COLUMNS):
        columns = slice(start, start + _SURVEY_COLUMNS)
        part = _divided(block[:, columns], lengths)
        largest = max(largest, _largest_magnitude(part, first_row, start, name))
        with np.errstate(over="ignore"):
            total[columns] = part.sum(axis=0)
    return total, largest


def _largest_magnitude(block: Features, first_row: int, first_column: int, name: str) -> float:
    """The largest |x| of a block; NaN and infinity are refused by row and column."""
    largest = max(float(block.max()), -float(block.min()))
    if not np.isfinite(largest):
        row, column = np.argwhere(~np.isfinite(block))[0]
        place = f"row {first_row + row}, column {first_column + column}"
        raise ValueError(
            f"{name} must be finite; got {block[row, column]} in {place}. Remove or impute such samples first."
        )
    if largest > 1e150:
        raise ValueError(
            f"{name} must stay below 1e150, or squared distances overflow; got {largest:.3g}. Rescale them."
        )
    return largest
