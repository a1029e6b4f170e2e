"""A search in tiles gives the neighbors of one search, bit for bit, however rows are cut and findings are merged."""

import itertools

import numpy as np
import pytest

from core.search import tiled
from core.search.neighbors import Neighbors, nearest_neighbors
from core.search.products import TensorFlowProducts
from core.search.tiled import Best, best_across, best_among, best_within, merge, stack

KINDS = ("normal", "duplicates", "rounded", "offset", "wide")


def features_of(kind: str, num_rows: int = 90) -> np.ndarray:
    rng = np.random.default_rng(3)
    found = rng.normal(size=(num_rows, 5000 if kind == "wide" else 6)).astype(np.float32)
    if kind == "duplicates":
        found[rng.random(num_rows) < 0.5] = found[0]
    if kind == "rounded":
        found = np.round(found)
    if kind == "offset":
        found = 50 + 0.05 * found
    return found


def search_in_tiles(features: np.ndarray, bounds: list[int], k: int, seed: int = 0) -> Best:
    """All tiles of the blocks between bounds, merged two at a time in random order."""
    rng = np.random.default_rng(seed)
    blocks = [slice(start, stop) for start, stop in itertools.pairwise(bounds)]
    within = [best_within(features[block], k).shifted(block.start) for block in blocks]
    parts = [[best] for best in within]
    for i, j in itertools.combinations(range(len(blocks)), 2):
        both = np.concatenate([features[blocks[i]], features[blocks[j]]])
        limits = np.concatenate([within[i].within, within[j].within])
        forth, back = best_across(both, blocks[i].stop - blocks[i].start, k, limits)
        parts[i].append(forth.shifted(blocks[j].start))
        parts[j].append(back.shifted(blocks[i].start))
    for own in parts:
        while len(own) > 1:
            rng.shuffle(own)
            own.append(merge([own.pop(), own.pop()], k))
    return stack([own[0] for own in parts])


def assert_same(found: Best, expected: Neighbors) -> None:
    np.testing.assert_array_equal(found.indices, expected.indices)
    np.testing.assert_array_equal(found.squared, expected.squared)
    np.testing.assert_array_equal(found.neighbors().distances, expected.distances)


def test_two_blocks_on_a_line():
    line = np.float32([[0], [1], [3], [10], [11.5]])
    forth, back = best_across(line, 2, 1, np.full(5, np.inf))
    assert forth.indices[:, 0].tolist() == [0, 0]  # of 0 and 1: 3, the first of the others
    assert forth.squared[:, 0].tolist() == [9, 4]
    assert back.indices[:, 0].tolist() == [1, 1, 1]
    assert back.squared[:, 0].tolist() == [4, 81, 110.25]


def test_what_is_farther_than_the_limit_is_left_out_and_what_is_as_far_is_not():
    line = np.float32([[0], [1], [3], [10]])
    forth, _ = best_across(line, 2, 2, np.float64([8.99, 4, np.inf, np.inf]))
    assert forth.indices[0].tolist() == [-1, -1]
    assert forth.indices[1].tolist() == [0, -1]
    assert forth.squared[1].tolist() == [4, np.inf]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("k", [1, 4])
@pytest.mark.parametrize("bounds", [[0, 90], [0, 45, 90], [0, 5, 50, 51, 90], [0, 1, 2, 90]], ids=str)
def test_tiles_give_the_neighbors_of_one_search(kind: str, k: int, bounds: list[int]):
    features = features_of(kind)
    assert_same(search_in_tiles(features, bounds, k), nearest_neighbors(features, k=k))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("rounded", [True, False])
def test_tensorflow_multiplies_and_finds_the_same(kind: str, rounded: bool, monkeypatch: pytest.MonkeyPatch):
    pytest.importorskip("tensorflow")
    monkeypatch.setattr(tiled, "multipliers", lambda *_: [TensorFlowProducts(("CPU:0",), rounded)])
    features = features_of(kind, 300)
    assert_same(search_in_tiles(features, [0, 130, 300], 4), nearest_neighbors(features, k=4))


def test_many_crowded_rows_of_several_tiles_of_products():
    features = np.round(np.random.default_rng(0).normal(size=(2400, 2))).astype(np.float32)  # a few dozen distinct rows
    assert_same(search_in_tiles(features, [0, 2100, 2400], 3), nearest_neighbors(features, k=3))


@pytest.mark.parametrize("seed", range(3))
def test_the_order_of_merging_does_not_matter(seed: int):
    features = features_of("rounded")
    assert_same(search_in_tiles(features, [0, 20, 40, 60, 90], 4, seed), nearest_neighbors(features, k=4))


@pytest.mark.parametrize("kind", KINDS)
def test_queries_are_never_their_own_neighbors(kind: str):
    features, rows, k = features_of(kind), np.arange(0, 90, 7), 3
    parts = []
    for block in (slice(0, 30), slice(30, 33), slice(33, 90)):
        own = np.where((rows >= block.start) & (rows < block.stop), rows - block.start, -1)
        parts.append(best_among(features[block], features[rows], own, k).shifted(block.start))
    assert_same(merge(parts, k), nearest_neighbors(features, rows=rows, k=k))


def test_other_samples_as_queries():
    features, queries = features_of("rounded"), features_of("rounded", 20) + 1
    none = np.full(20, -1)
    parts = [best_among(features[:50], queries, none, 2), best_among(features[50:], queries, none, 2).shifted(50)]
    assert_same(merge(parts, 2), nearest_neighbors(features, queries=queries, k=2))


def test_one_row_alone_knows_nothing():
    assert best_within(np.ones((1, 3), np.float32), 2).indices.tolist() == [[-1, -1]]
