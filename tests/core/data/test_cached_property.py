"""A property computed once for each object, by several threads at once."""

import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from core.data.cached_property import cached_property
from core.measures.ridge import RidgePath


class Counted:
    def __init__(self):
        self.num_computed = 0

    @cached_property
    def value(self):
        self.num_computed += 1
        return self.num_computed


def test_it_is_computed_once_for_each_object():
    first, second = Counted(), Counted()
    assert [first.value, first.value, second.value, first.num_computed, second.num_computed] == [1, 1, 1, 1, 1]


def test_layers_are_decomposed_at_the_same_time(monkeypatch):
    """Each decomposition waits for the other one: where a lock lets only one begin, none ever ends."""
    both, decompose = threading.Barrier(2, timeout=10), np.linalg.eigh

    def wait_and_decompose(matrix):
        both.wait()
        return decompose(matrix)

    monkeypatch.setattr(np.linalg, "eigh", wait_and_decompose)
    layers = [RidgePath(np.eye(3) - 1 / 3, np.eye(3), np.array([1.0])) for _ in range(2)]
    with ThreadPoolExecutor(2) as pool:
        assert list(pool.map(lambda layer: layer.best_penalty(), layers)) == [1.0, 1.0]
