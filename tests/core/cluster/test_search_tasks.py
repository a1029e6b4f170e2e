"""The search on real worker processes: the neighbors of one machine, whatever the tiles, and whoever dies."""

import os
import signal
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from core.cluster.connecting import Cluster
from core.cluster.search_tasks import neighbors_of, submit_search, tile_search
from core.cluster.shards import Shards
from core.cluster.waiting import result
from core.search.neighbors import Neighbors, nearest_neighbors
from core.search.sliced import Question

FEATURES = np.round(np.random.default_rng(1).normal(size=(700, 12)) * 4).astype(np.float32)  # ties across all tiles
MANY_TILES = 1 << 18  # bytes that a worker is said to hold


@pytest.fixture(scope="module")
def shards(tmp_path_factory: pytest.TempPathFactory) -> Shards:
    return store(FEATURES, tmp_path_factory.mktemp("shards"))


def store(features: np.ndarray, folder: Path) -> Shards:
    shards = Shards(str(folder / "layer"), *features.shape, 64)
    shards.create()
    for start in range(0, len(features), 64):
        shards.write(start, features[start : start + 64])
    return shards


def ask(cluster: Cluster, shards: Shards, question: Question) -> Neighbors:
    return neighbors_of([result(cluster, future) for future in submit_search(cluster, shards, question)])


def assert_same(found: Neighbors, expected: Neighbors) -> None:
    np.testing.assert_array_equal(found.indices, expected.indices)
    np.testing.assert_array_equal(found.squared, expected.squared)
    np.testing.assert_array_equal(found.distances, expected.distances)


@pytest.mark.parametrize("memory", [1 << 30, 1 << 20, MANY_TILES])
def test_neighbors_are_those_of_one_machine(cluster: Cluster, shards: Shards, memory: int):
    rows = np.arange(shards.num_rows)
    cluster = replace(cluster, worker_memory=memory)
    futures = submit_search(cluster, shards, Question(rows, rows, 5))
    found = neighbors_of([result(cluster, future) for future in futures])
    assert_same(found, nearest_neighbors(FEATURES, k=5))


def test_there_are_many_tiles_where_little_fits(cluster: Cluster):
    rows = np.arange(700)
    for memory, least in ((1 << 30, 1), (MANY_TILES, 100)):
        cut = tile_search(replace(cluster, worker_memory=memory), 12, Question(rows, rows, 5))
        assert cut.num_tiles >= least, memory


@pytest.mark.parametrize("rows", [np.arange(100, 700), np.arange(0, 700, 3)], ids=["consecutive", "scattered"])
def test_some_rows_among_themselves(cluster: Cluster, shards: Shards, rows: np.ndarray):
    found = ask(replace(cluster, worker_memory=MANY_TILES), shards, Question(rows, rows, 3))
    assert_same(found, nearest_neighbors(FEATURES[rows], k=3))


def test_some_rows_among_all(cluster: Cluster, shards: Shards):
    asked, every = np.arange(5, 700, 9), np.arange(700)
    found = ask(replace(cluster, worker_memory=MANY_TILES), shards, Question(asked, every, 3))
    assert_same(found, nearest_neighbors(FEATURES, rows=asked, k=3))


def test_rows_among_others(cluster: Cluster, shards: Shards):
    found = ask(replace(cluster, worker_memory=MANY_TILES), shards, Question(np.arange(500, 700), np.arange(500), 3))
    assert_same(found, nearest_neighbors(FEATURES[:500], queries=FEATURES[500:], k=3))


def test_a_worker_killed_during_the_search_changes_nothing(cluster: Cluster, tmp_path: Path):
    features = np.random.default_rng(2).normal(size=(4000, 64)).astype(np.float32)
    shards, rows = store(features, tmp_path), np.arange(4000)
    small = replace(cluster, worker_memory=3 << 20)
    killed = next(iter(cluster.client.run(os.getpid).values()))
    futures = submit_search(small, shards, Question(rows, rows, 5))
    while not any(cluster.client.has_what().values()):  # until the first tiles are done
        time.sleep(0.01)
    os.kill(killed, signal.SIGKILL)
    assert not all(future.done() for future in futures), "killed too late"
    found = neighbors_of([result(cluster, future) for future in futures])
    assert_same(found, nearest_neighbors(features, k=5))
    assert killed not in cluster.client.run(os.getpid).values()
