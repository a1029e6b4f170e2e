"""The tasks of a search: every pair of rows in exactly one, few enough, and small enough for a worker."""

import numpy as np
import pytest

from core.cluster.tiling import FAN_IN, Tiling, group_rows, num_merges, tiling

GIB = 1 << 30


def largest_block(cut: Tiling) -> int:
    """Rows of the largest block."""
    return max(block.stop - block.start for group in (*cut.queries, *cut.references) for block in group)


def met(cut: Tiling, num_queries: int, num_rows: int) -> np.ndarray:
    """How often each query meets each row, as a task reads them: block by block."""
    times = np.zeros((num_queries, num_rows), int)
    for i, j in cut.tiles():
        for a, query in enumerate(cut.queries[i]):
            for reference in cut.references[j][a if cut.symmetric and i == j else 0 :]:
                times[query, reference] += 1
                if cut.symmetric and query != reference:
                    times[reference, query] += 1
    return times


@pytest.mark.parametrize(
    ("num_rows", "num_features", "k", "memory", "queries", "workers"),
    [
        (10, 3, 1, GIB, None, 1),
        (97, 1000, 3, 1 << 20, None, 1),  # blocks of 15 rows
        (3000, 1000, 1, 1 << 20, None, 3),  # 200 blocks in 140 groups
        (6000, 2, 2, GIB, None, 4),
        (97, 1000, 3, 1 << 20, 40, 1),
        (6000, 2, 2, GIB, 5, 7),
    ],
)
def test_every_pair_of_rows_meets_once(num_rows, num_features, k, memory, queries, workers):
    cut = tiling(num_rows, num_features, k, memory, num_queries=queries, workers=workers)
    assert (met(cut, queries or num_rows, num_rows) == 1).all()
    assert len(list(cut.tiles())) == cut.num_tiles


def test_four_blocks_by_hand():
    row = 4 * 1000 + 4 * 16 * 5
    cut = tiling(100, 1000, 1, 16 * 25 * row)
    assert cut.queries == ((slice(0, 25),), (slice(25, 50),), (slice(50, 75),), (slice(75, 100),))
    assert list(cut.tiles())[:5] == [(0, 0), (0, 1), (0, 2), (0, 3), (1, 1)]
    assert (cut.num_tiles, cut.num_tasks, largest_block(cut)) == (10, 14, 25)
    assert cut.rows_read == 4 * 25 + 6 * 50


@pytest.mark.parametrize(
    ("num_results", "expected"), [(1, 0), (2, 1), (FAN_IN, 1), (FAN_IN + 1, 3), (FAN_IN**2, FAN_IN + 1)]
)
def test_merging_is_a_tree(num_results, expected):
    assert num_merges(num_results) == expected


@pytest.mark.parametrize("num_rows", [1_281_167, 14_197_122, 100_000_000])
@pytest.mark.parametrize("num_features", [16, 1280, 9408])
@pytest.mark.parametrize("queries", [None, 20_000, 2_000_000])
@pytest.mark.parametrize("workers", [1, 1000, 100_000])
def test_there_are_fewer_than_20_000_tasks_and_blocks_fit(num_rows, num_features, queries, workers):
    memory = 4 * GIB
    cut = tiling(num_rows, num_features, 10, memory, num_queries=queries, workers=workers)
    assert cut.num_tasks < 20_000
    assert largest_block(cut) * num_features * 4 <= memory / 16
    assert sum(map(group_rows, cut.references)) == num_rows
    assert len(cut.references) == 1 or FAN_IN * max(map(group_rows, cut.queries)) * 160 <= memory / 4


def test_there_is_work_for_all_workers_while_blocks_stay_large():
    assert tiling(20_000, 1280, 10, 16 * GIB).num_tiles >= 4
    assert tiling(20_000, 1280, 10, 16 * GIB, workers=2).num_tiles >= 8
    assert tiling(1_281_167, 1280, 10, 64 * GIB, workers=64).num_tiles >= 256
    assert tiling(1200, 1280, 10, 16 * GIB, workers=64).num_tiles == 1
    assert tiling(1_281_167, 1280, 10, 64 * GIB, num_queries=20_000, workers=64).num_tiles >= 256


def test_each_block_has_more_rows_than_neighbors():
    cut = tiling(45, 1000, 10, 16 * 22 * (4000 + 64 * 14))
    assert min(block.stop - block.start for group in cut.queries for block in group) > 10


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((1000, 10**6, 10, GIB), r"worker_memory must be at least 1,408,315,392 bytes for rows of 1,000,000 numbers"),
        ((10**9, 8, 10, GIB), "worker_memory must be at least .* to merge 10 neighbors"),
    ],
)
def test_a_worker_that_is_too_small_is_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        tiling(*arguments)
