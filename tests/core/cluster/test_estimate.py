"""What a search costs, against counts by hand and against what its tasks would do."""

import numpy as np
import pytest

from core.cluster.estimate import NOTHING, SearchCost, search_cost
from core.cluster.tiling import results_merged, tiling

GIB = 1 << 30
ROW = 4 * 1000 + 4 * 16 * 5  # bytes that a row of 1,000 numbers takes of a block, one neighbor asked for


def test_a_self_join_in_four_blocks_by_hand():
    cost = search_cost(100, 1000, k=1, worker_memory=16 * 25 * ROW)
    assert cost == SearchCost(
        flop=100 * 100 * 1000,  # 100²/2 pairs, 1,000 multiplications and additions each
        tasks=4 * 5 // 2 + 4,
        storage_bytes=4 * 1000 * 100,
        read_bytes=4 * 1000 * (4 * 25 + 6 * 50),
        moved_bytes=16 * (4 * 100 + 100),  # four results of each row, then the merged one to the client
    )


def test_queries_against_four_blocks_by_hand():
    cost = search_cost(100, 1000, queries=10, k=1, worker_memory=16 * 25 * ROW)
    assert cost == SearchCost(2 * 10 * 100 * 1000, 4 + 1, 400_000, 4 * 1000 * (4 * 10 + 100), 16 * 10 * (4 + 1))


@pytest.mark.parametrize("queries", [None, 77])
@pytest.mark.parametrize("num_rows", [50, 900, 3000])
def test_bytes_read_are_those_of_the_tasks(num_rows, queries):
    memory = 1 << 20
    cut, read = tiling(num_rows, 1000, 1, memory, num_queries=queries), 0
    for i, j in cut.tiles():
        for place, block in enumerate(cut.queries[i]):
            read += block.stop - block.start
            others = cut.references[j][place + 1 :] if cut.symmetric and i == j else cut.references[j]
            read += sum(other.stop - other.start for other in others)
    assert search_cost(num_rows, 1000, queries=queries, k=1, worker_memory=memory).read_bytes == 4000 * read


def test_results_merged_level_by_level():
    assert [results_merged(number) for number in (1, 2, 8, 9, 64, 65)] == [0, 2, 8, 11, 72, 65 + 9 + 2]


def test_more_memory_reads_less_and_workers_share_the_time():
    small, large = (search_cost(1_281_167, 1280, worker_memory=memory) for memory in (4 * GIB, 64 * GIB))
    assert large.read_bytes < small.read_bytes / 4
    assert small.flop == large.flop == 1_281_167**2 * 1280
    assert small.seconds(1e12, workers=4) == small.flop / 4e12


def test_costs_add():
    one = search_cost(1000, 10, worker_memory=GIB)
    assert sum([one, one], NOTHING) == SearchCost(*(2 * np.array(list(vars(one).values()))))
