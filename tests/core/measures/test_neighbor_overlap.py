"""Neighbor overlap: by hand, its chance and spread over all renamings, and what must not change it."""

from itertools import permutations

import numpy as np
import pytest
from scipy.stats import skew

import core
from core.measures.related.neighbor_overlap import NeighborSets, hub_skewness, neighbor_overlap, random_hub_skewness


def neighbors(shape, k, seed):
    return core.nearest_neighbors(np.random.default_rng(seed).normal(size=shape), k=k).indices


def test_shares_by_hand():
    first, second = [[1, 2], [0, 2], [0, 1], [2, 1]], [[2, 1], [2, 3], [1, 3], [0, 1]]
    found = neighbor_overlap(first, second)
    assert found.value == (2 + 1 + 1 + 1) / 8
    assert found.chance == 2 / 3
    assert (found.k, found.num_samples) == (2, 4)


def test_a_graph_has_all_its_neighbors_in_common_with_itself():
    indices = neighbors((200, 4), 5, 0)
    found = neighbor_overlap(indices, indices[:, ::-1])
    assert found.value == 1
    assert found.chance == 5 / 199
    assert found.z > 50


@pytest.mark.parametrize("k", [1, 2, 3])
def test_chance_and_spread_are_those_over_all_renamings(k):
    first, second = neighbors((6, 3), k, 1), neighbors((6, 2), k, 2)
    values = []
    for names in map(np.array, permutations(range(6))):
        renamed = np.empty_like(second)
        renamed[names] = names[second]
        values.append(neighbor_overlap(first, renamed).value)
    found = neighbor_overlap(first, second)
    assert len(set(values)) > 2
    assert found.chance == pytest.approx(np.mean(values), abs=1e-12)
    assert found.sd == pytest.approx(np.std(values), abs=1e-12)


def test_hubs_are_in_the_spread():
    star = np.array([[1], *[[0]] * 59])  # all are nearest to sample 0
    ring = np.roll(np.arange(60), -1)[:, None]
    assert neighbor_overlap(star, star).sd > 3 * neighbor_overlap(ring, ring).sd


def test_against_counting():
    first, second = neighbors((50, 3), 7, 3), neighbors((50, 6), 7, 4)
    counted = np.mean([len(set(a) & set(b)) / 7 for a, b in zip(first.tolist(), second.tolist(), strict=True)])
    assert neighbor_overlap(first, second).value == pytest.approx(counted, abs=1e-12)
    assert neighbor_overlap(second, first) == neighbor_overlap(first, second)


def test_rotation_shift_scale_and_names_do_not_matter():
    rng = np.random.default_rng(5)
    features, turn, order = rng.normal(size=(80, 4)), np.linalg.qr(rng.normal(size=(4, 4)))[0], rng.permutation(80)
    other = features + rng.normal(size=features.shape)
    graphs = [core.nearest_neighbors(some, k=4).indices for some in (features, other)]
    found = neighbor_overlap(*graphs)
    moved = core.nearest_neighbors(features @ turn * 7 + 3, k=4).indices
    assert neighbor_overlap(moved, graphs[1]).value == found.value
    ordered = [core.nearest_neighbors(some[order], k=4).indices for some in (features, other)]
    assert neighbor_overlap(*ordered).value == found.value
    assert neighbor_overlap(*ordered).sd == pytest.approx(found.sd, rel=1e-12)


def test_some_samples_asked_have_a_value_and_no_spread():
    indices = neighbors((40, 3), 3, 6)
    rows = np.arange(0, 40, 4)
    some = NeighborSets.of(indices[rows], rows=rows, num_samples=40)
    found = neighbor_overlap(some, some)
    assert (found.value, found.chance, found.num_samples) == (1, 3 / 39, 10)
    assert np.isnan([found.sd, found.z]).all()


@pytest.mark.parametrize(
    ("first", "second", "message"),
    [
        ([[1], [0]], [[1], [2]], "second must name samples below 2"),
        ([[0], [0]], [[1], [0]], "first must hold each neighbor once, and no sample itself"),
        ([[1, 1], [0, 2], [0, 1]], [[1, 2], [0, 2], [0, 1]], "first must hold each neighbor once"),
        ([[1], [0]], [[1], [0], [0]], r"second must have the shape of first, \(2, 1\); got \(3, 1\)"),
        ([0, 1], [[1], [0]], r"first must be integers of shape \(n, k\)"),
    ],
)
def test_bad_input(first, second, message):
    with pytest.raises(ValueError, match=message):
        neighbor_overlap(first, second)


def test_other_samples_asked_are_refused():
    some = [NeighborSets.of([[3]], rows=[row], num_samples=4) for row in (0, 1)]
    with pytest.raises(ValueError, match="second must ask the samples that first does"):
        neighbor_overlap(*some)


def test_skewness_of_hubs():
    counts = [0, 2, 1, 1, 1, 7]
    assert hub_skewness(counts) == pytest.approx(skew(counts), abs=1e-12)
    assert np.isnan(hub_skewness([1, 1, 1]))
    drawn = np.random.default_rng(7).binomial(999, 1 / 999, 200_000)
    assert random_hub_skewness(1000) == pytest.approx(skew(drawn), abs=0.05)
