"""How a neighbor search is cut into tasks: blocks that fit a worker's memory, groups of them that keep the tasks few.

A task asks the rows of one group about those of another. It reads a block of the first, then block after block of the
second, and so on, so that two blocks at a time are in memory; in a self-join it answers both ways, and each pair of
groups is one task. What the tasks find of a group is merged `FAN_IN` at a time, in a tree.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from math import ceil, isqrt

MOST_TILES = 10_000
FAN_IN = 8  # results merged by one task
BYTES_A_CANDIDATE = 16  # of a result: squared distance and row
_BLOCKS_IN_MEMORY = 16  # that would fill it: two are held with their centered copies, beside Python and TensorFlow
_RESULTS_IN_MEMORY = 4  # of what a merging task reads
_TILES_A_WORKER = 4  # at least, so that none waits long for the last one
_WORTH_SPLITTING = 2048  # rows of a block below which more tasks cost more than they save

Group = tuple[slice, ...]
"""Consecutive blocks of rows."""


@dataclass(frozen=True)
class Tiling:
    """The tasks of one search.

    queries, references : groups of blocks of rows, in order; of a self-join the same ones.
    symmetric : whether it is a self-join, in which a task of two groups answers both.
    """

    queries: tuple[Group, ...]
    references: tuple[Group, ...]
    symmetric: bool

    def tiles(self) -> Iterator[tuple[int, int]]:
        """The group of queries and the group of references of each task; of a self-join, the first is not the later."""
        for query in range(len(self.queries)):
            for reference in range(query if self.symmetric else 0, len(self.references)):
                yield query, reference

    @property
    def num_tiles(self) -> int:
        """Tasks that search."""
        num_groups = len(self.queries)
        return num_groups * (num_groups + 1) // 2 if self.symmetric else num_groups * len(self.references)

    @property
    def num_tasks(self) -> int:
        """Tasks that search, and tasks that merge what these found."""
        return self.num_tiles + len(self.queries) * num_merges(len(self.references))

    @cached_property
    def rows_read(self) -> int:
        """Rows that all tasks together read."""
        queries = [(len(group), group_rows(group)) for group in self.queries]
        references = [group_rows(group) for group in self.references]
        return sum(
            _rows_within(self.queries[i])
            if self.symmetric and i == j
            else queries[i][1] + queries[i][0] * references[j]
            for i, j in self.tiles()
        )


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
    """Cut a search for the k nearest of `num_rows` rows of `num_features` numbers.

    Parameters
    ----------
    worker_memory : bytes that one worker may hold, all in all.
    num_queries : rows that are asked about all rows; default each row about all others.
    itemsize : bytes of a number.
    workers : that share the tasks; there are enough for all of them where blocks stay large.

    Returns
    -------
    Tiling
        Of fewer than 20,000 tasks, whatever the arguments. Blocks differ by one row at most, and each has more than k.

    Raises
    ------
    ValueError
        A worker cannot hold a few rows, or what is found of a group of them.
    """
    largest = _largest_block(num_features, k, worker_memory, itemsize)
    num_blocks = ceil(num_rows / largest)
    splits = max(1, num_rows // _WORTH_SPLITTING)
    if num_queries is None:
        wanted = min(splits, isqrt(2 * _TILES_A_WORKER * workers - 1) + 1)
        groups = _groups(num_rows, max(num_blocks, wanted), isqrt(2 * MOST_TILES) - 1)
        cut = Tiling(groups, groups, symmetric=True)
    else:
        asked = ceil(num_queries / largest)
        queries = _groups(num_queries, asked, isqrt(MOST_TILES))
        wanted = min(splits, ceil(_TILES_A_WORKER * workers / len(queries)))
        references = _groups(num_rows, max(num_blocks, wanted), MOST_TILES // len(queries))
        cut = Tiling(queries, references, symmetric=False)
    _check_results(cut, k, worker_memory)
    return cut


def num_merges(num_results: int) -> int:
    """Tasks of the tree that merges so many results."""
    return sum(_levels(num_results)[1:])


def results_merged(num_results: int) -> int:
    """Results that these tasks read."""
    return sum(_levels(num_results)[:-1])


def _levels(num_results: int) -> list[int]:
    """How many results there are at first, and after each level of the tree."""
    levels = [num_results]
    while levels[-1] > 1:
        levels.append(ceil(levels[-1] / FAN_IN))
    return levels


def group_rows(group: Group) -> int:
    """Rows of a group."""
    count: int = group[-1].stop - group[0].start
    return count


def _rows_within(group: Group) -> int:
    """Rows that a self-join of a group reads: each block, and after it those behind it."""
    return sum(group[-1].stop - block.start for block in group)


def _largest_block(num_features: int, k: int, worker_memory: int, itemsize: int) -> int:
    """Rows of which a worker holds two blocks, with all that a search of them needs."""
    row_bytes = itemsize * num_features + 4 * BYTES_A_CANDIDATE * (k + 4)
    rows = worker_memory // _BLOCKS_IN_MEMORY // row_bytes
    least = 2 * (k + 1)  # of two blocks that differ by a row at most, the smaller then has more than k
    if rows < least:
        needed = least * row_bytes * _BLOCKS_IN_MEMORY
        raise ValueError(
            f"worker_memory must be at least {needed:,} bytes for rows of {num_features:,} numbers; got "
            f"{worker_memory:,}. Give each worker more memory, or choose --pooling mean."
        )
    return rows


def _groups(num_rows: int, num_blocks: int, most: int) -> tuple[Group, ...]:
    """So many blocks of nearly equal length, in at most so many groups of nearly equal numbers of them."""
    num_groups = min(num_blocks, most)
    blocks = _cut(num_rows, num_blocks)
    return tuple(tuple(blocks[part]) for part in _cut(num_blocks, num_groups))


def _cut(length: int, parts: int) -> list[slice]:
    """Consecutive slices whose lengths differ by one at most."""
    bounds = [place * length // parts for place in range(parts + 1)]
    return [slice(start, stop) for start, stop in pairwise(bounds)]


def _check_results(cut: Tiling, k: int, worker_memory: int) -> None:
    """Refuse where what a merging task reads would fill a worker."""
    needed = FAN_IN * max(map(group_rows, cut.queries)) * k * BYTES_A_CANDIDATE * _RESULTS_IN_MEMORY
    if len(cut.references) > 1 and needed > worker_memory:
        raise ValueError(
            f"worker_memory must be at least {needed:,} bytes to merge {k} neighbors of so many rows; got "
            f"{worker_memory:,}. Give each worker more memory, store fewer neighbors, or ask fewer rows."
        )
