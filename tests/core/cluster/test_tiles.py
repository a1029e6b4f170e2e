"""What a task finds, where its groups have several blocks because a worker cannot hold them whole."""

from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from core.cluster.shards import Shards, select_rows
from core.cluster.tiles import Block, Group, merge_candidates, search_across, search_among, search_within
from core.search.neighbors import nearest_neighbors

FEATURES = np.round(np.random.default_rng(0).normal(size=(60, 3)) * 3).astype(np.float32)


@pytest.fixture
def shards(tmp_path: Path) -> Shards:
    found = Shards(str(tmp_path), 60, 3, 16)
    for start in range(0, 60, 16):
        found.write(start, FEATURES[start : start + 16])
    return found


def group(number: int, rows: np.ndarray, *bounds: int) -> Group:
    """Rows in blocks between bounds, places counted from 0."""
    return Group(number, tuple(Block(start, select_rows(rows[start:stop])) for start, stop in pairwise(bounds)))


ROWS = {"consecutive": np.arange(10, 50), "scattered": np.sort(np.random.default_rng(1).permutation(60)[:40])}


@pytest.mark.parametrize("rows", ROWS.values(), ids=ROWS)
def test_groups_of_several_blocks_within_and_across(shards: Shards, rows: np.ndarray):
    left, right = group(0, rows, 0, 5, 11, 20), group(1, rows, 20, 28, 33, 40)
    within = [search_within(shards, own, 4) for own in (left, right)]
    across = search_across(shards, left, right, within, 4)
    expected = nearest_neighbors(FEATURES[rows], k=4)
    for number, places in ((0, slice(0, 20)), (1, slice(20, 40))):
        found = merge_candidates(number, [across, within[number]], 4)[number]
        np.testing.assert_array_equal(found.indices, expected.indices[places])
        np.testing.assert_array_equal(found.squared, expected.squared[places])


def test_what_is_known_keeps_down_what_is_found(shards: Shards):
    rows = ROWS["consecutive"]
    left, right = group(0, rows, 0, 20), group(1, rows, 20, 40)
    within = [search_within(shards, own, 4) for own in (left, right)]
    across = search_across(shards, left, right, within, 4)
    for number in (0, 1):
        known, found = within[number][number], across[number]
        assert (found.squared[found.indices >= 0].size) < found.squared.size
        assert (found.squared[:, 0] <= known.within)[found.indices[:, 0] >= 0].all()


@pytest.mark.parametrize("rows", ROWS.values(), ids=ROWS)
def test_queries_in_several_blocks_among_references_in_several_blocks(shards: Shards, rows: np.ndarray):
    queries, references = group(0, rows[::3], 0, 6, 14), group(0, rows, 0, 17, 40)
    found = search_among(shards, queries, references, 4)[0]
    expected = nearest_neighbors(FEATURES[rows], rows=np.arange(0, 40, 3), k=4)
    np.testing.assert_array_equal(found.indices, expected.indices)
    np.testing.assert_array_equal(found.squared, expected.squared)
