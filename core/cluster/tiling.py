"""The division of a neighbor search into tasks: blocks that fit into a worker's memory, in groups that limit the tasks.

A task compares the rows of one group with those of another. For each block of the first group it reads all blocks of
the second one after the other, so that two blocks are in memory at the same time. In a self-join, a task finds the
neighbors of both groups, and each pair of groups is one task. The results for a group are merged `FAN_IN` at a time, in
a tree.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from math import ceil, isqrt

MAX_TILES = 10_000
FAN_IN = 8  # results merged by one task
CANDIDATE_BYTES = 16  # in a result: squared distance and row
_BLOCKS_IN_MEMORY = 16  # that would fill a worker; two are used, with centered copies, besides Python and TensorFlow
_RESULTS_IN_MEMORY = 4  # a merging task needs this many times the memory of the results that it reads
_TILES_PER_WORKER = 4  # at least, so that no worker waits long for the last task
_MIN_SPLIT_ROWS = 2048  # blocks with fewer rows are not split for more tasks, because these would cost more

Group = tuple[slice, ...]
"""Consecutive blocks of rows."""


@dataclass(frozen=True)
class Tiling:
    """The tasks of one search.

    Attributes
    ----------
    queries, references : tuple of Group
        Groups of blocks of rows, in order; the same ones in a self-join.
    symmetric : bool
        Whether this is a self-join, in which a task finds the neighbors of both of its groups.
    """

    queries: tuple[Group, ...]
    references: tuple[Group, ...]
    symmetric: bool

    def tiles(self) -> Iterator[tuple[int, int]]:
        """Yield the numbers of the groups of queries and references of each task; ascending pairs in a self-join."""
        for query in range(len(self.queries)):
            for reference in range(query if self.symmetric else 0, len(self.references)):
                yield query, reference

    @property
    def num_tiles(self) -> int:
        """Number of tasks that search."""
        num_groups = len(self.queries)
        return num_groups * (num_groups + 1) // 2 if self.symmetric else num_groups * len(self.references)

    @property
    def num_tasks(self) -> int:
        """Number of tasks that search or merge."""
        return self.num_tiles + len(self.queries) * num_merges(len(self.references))

    @cached_property
    def rows_read(self) -> int:
        """Number of rows that all tasks together read."""
        query_rows = [group_rows(group) for group in self.queries]
        reference_rows = [group_rows(group) for group in self.references]
        total = 0
        for query, reference in self.tiles():
            group = self.queries[query]
            if self.symmetric and query == reference:
                total += _rows_within(group)
            else:  # for each block of queries, all references are read
                total += query_rows[query] + len(group) * reference_rows[reference]
        return total


def tiling(
    num_rows: int,
    num_features: int,
    k: int,
    worker_memory: int,
    *,
    num_queries: int | None = None,
    itemsize: int = 4,
    workers: int = 1,
) -> Tiling:
    """Divide a search for the k nearest neighbors into tasks.

    Parameters
    ----------
    num_rows : int
        Rows that are searched.
    num_features : int
        Numbers per row.
    k : int
        Number of neighbors.
    worker_memory : int
        Memory of a worker in bytes.
    num_queries : int, optional
        Number of query rows, which are compared with all rows; default: a self-join of all rows.
    itemsize : int
        Bytes per number.
    workers : int
        Number of workers; there are enough tasks for all of them as long as blocks remain large.

    Returns
    -------
    Tiling
        With fewer than 20,000 tasks, for any arguments. Blocks differ by at most one row, and each has more than k.

    Raises
    ------
    ValueError
        If the memory of a worker is too small for a few rows, or for the results of a group of rows.
    """
    max_rows = _largest_block(num_features, k, worker_memory, itemsize)
    num_blocks = ceil(num_rows / max_rows)
    max_splits = max(1, num_rows // _MIN_SPLIT_ROWS)
    if num_queries is None:
        num_splits = min(max_splits, isqrt(2 * _TILES_PER_WORKER * workers - 1) + 1)
        groups = _groups(num_rows, max(num_blocks, num_splits), isqrt(2 * MAX_TILES) - 1)
        tasks = Tiling(groups, groups, symmetric=True)
    else:
        queries = _groups(num_queries, ceil(num_queries / max_rows), isqrt(MAX_TILES))
        num_splits = min(max_splits, ceil(_TILES_PER_WORKER * workers / len(queries)))
        references = _groups(num_rows, max(num_blocks, num_splits), MAX_TILES // len(queries))
        tasks = Tiling(queries, references, symmetric=False)
    _check_results(tasks, k, worker_memory)
    return tasks


def num_merges(num_results: int) -> int:
    """Return the number of tasks of the tree that merges `num_results` results."""
    return sum(_results_by_level(num_results)[1:])


def results_merged(num_results: int) -> int:
    """Return the number of results that these tasks read."""
    return sum(_results_by_level(num_results)[:-1])


def _results_by_level(num_results: int) -> list[int]:
    """Return the number of results at first, and after each level of the tree."""
    levels = [num_results]
    while levels[-1] > 1:
        levels.append(ceil(levels[-1] / FAN_IN))
    return levels


def group_rows(group: Group) -> int:
    """Return the number of rows of a group."""
    count: int = group[-1].stop - group[0].start
    return count


def _rows_within(group: Group) -> int:
    """Return the number of rows that a self-join of a group reads: each block, and all blocks after it."""
    return sum(group[-1].stop - block.start for block in group)


def _largest_block(num_features: int, k: int, worker_memory: int, itemsize: int) -> int:
    """Return the largest number of rows per block, such that a worker can search two blocks."""
    row_bytes = itemsize * num_features + 4 * CANDIDATE_BYTES * (k + 4)
    rows = worker_memory // _BLOCKS_IN_MEMORY // row_bytes
    min_rows = 2 * (k + 1)  # so that after a division into equal blocks each still has more than k rows
    if rows < min_rows:
        min_memory = min_rows * row_bytes * _BLOCKS_IN_MEMORY
        raise ValueError(
            f"worker_memory must be at least {min_memory:,} bytes for rows of {num_features:,} numbers; got "
            f"{worker_memory:,}. Give each worker more memory, or choose --pooling mean."
        )
    return rows


def _groups(num_rows: int, num_blocks: int, max_groups: int) -> tuple[Group, ...]:
    """Divide rows into blocks of nearly equal length, in at most `max_groups` groups of nearly equal size."""
    num_groups = min(num_blocks, max_groups)
    blocks = _divide(num_rows, num_blocks)
    return tuple(tuple(blocks[part]) for part in _divide(num_blocks, num_groups))


def _divide(length: int, num_parts: int) -> list[slice]:
    """Divide a range into consecutive slices whose lengths differ by at most one."""
    bounds = [number * length // num_parts for number in range(num_parts + 1)]
    return [slice(start, stop) for start, stop in pairwise(bounds)]


def _check_results(tasks: Tiling, k: int, worker_memory: int) -> None:
    """Raise an error if the results that a merging task reads do not fit into the memory of a worker."""
    min_memory = FAN_IN * max(map(group_rows, tasks.queries)) * k * CANDIDATE_BYTES * _RESULTS_IN_MEMORY
    if len(tasks.references) > 1 and min_memory > worker_memory:
        raise ValueError(
            f"worker_memory must be at least {min_memory:,} bytes to merge {k} neighbors of so many rows; got "
            f"{worker_memory:,}. Give each worker more memory, store fewer neighbors, or use fewer samples."
        )
