"""Layers measured at once: in network order, and nothing left running after a failure."""

import os
import threading
import time

import numpy as np
import pytest
from threadpoolctl import threadpool_info

from core.search.blas_threads import one_blas_thread
from core.search.rows import in_threads
from core.study.measuring import layer_pool
from core.study.measuring.layer_tables import SMALL_BYTES

ROOM = 1 << 40  # bytes, enough for all layers at once


@pytest.fixture
def two_cores(monkeypatch):
    monkeypatch.setattr(os, "cpu_count", lambda: 2)


def measured_in_order(layers, measure, *, num_bytes=1, budget_bytes=ROOM):
    return layer_pool.measured_in_order(layers, measure, lambda layer, _: num_bytes, budget_bytes=budget_bytes)


def test_layers_come_in_network_order_whatever_takes_longest():
    def measure(layer, seconds):
        time.sleep(seconds)
        return layer * 10

    layers = [(1, 0.05), (2, 0.0), (3, 0.02), (4, 0.0)]
    measured = list(measured_in_order(layers, measure))
    assert measured == [(1, 10), (2, 20), (3, 30), (4, 40)]


def test_small_layers_are_measured_beside_each_other(two_cores):
    both_there = threading.Barrier(2, timeout=30)  # breaks where one waits alone

    def measure(layer, _):
        return both_there.wait() >= 0

    assert [done for _, done in measured_in_order([(1, 0), (2, 0)], measure)] == [1, 1]


@pytest.mark.parametrize(
    ("num_bytes", "is_alone"), [(SMALL_BYTES, True), (SMALL_BYTES + 1, False)], ids=["small", "large"]
)
def test_layers_beside_each_other_take_no_more_threads(num_bytes, is_alone, two_cores):
    def measure(layer, _):
        workers = in_threads(lambda part: threading.get_ident(), range(8))
        return set(workers) == {threading.get_ident()}

    measured = measured_in_order([(1, None), (2, None)], measure, num_bytes=num_bytes)
    assert [alone for _, alone in measured] == [is_alone] * 2


@pytest.mark.parametrize(("layers_in_room", "most_at_once"), [(0, 1), (1, 1), (2, 2)])
def test_no_more_layers_are_measured_at_once_than_memory_has_room_for(layers_in_room, most_at_once, two_cores):
    """Each takes 16 times its activations while it is measured; one alone is measured whatever the memory."""
    under_way, counts, lock = set(), [], threading.Lock()

    def measure(layer, _):
        with lock:
            under_way.add(layer)
            counts.append(len(under_way))
        time.sleep(0.05)
        with lock:
            under_way.remove(layer)

    layers = [(number, None) for number in range(6)]
    list(measured_in_order(layers, measure, num_bytes=100, budget_bytes=1600 * layers_in_room))
    assert max(counts) == most_at_once


def test_a_large_layer_waits_until_no_other_is_measured(two_cores):
    under_way, beside = set(), {}

    def measure(layer, _):
        beside[layer] = set(under_way)
        under_way.add(layer)
        time.sleep(0.05)
        under_way.remove(layer)
        return threading.current_thread() is threading.main_thread()

    sizes = {"a": 1, "b": 1, "large": SMALL_BYTES + 1, "c": 1}
    layers = [(layer, None) for layer in sizes]
    found = dict(layer_pool.measured_in_order(layers, measure, lambda layer, _: sizes[layer], budget_bytes=ROOM))
    assert found == {"a": False, "b": False, "large": True, "c": False}
    assert beside["large"] == beside["c"] == set()


def test_few_layers_are_taken_ahead(two_cores):
    taken = []

    def layers():
        for number in range(8):
            taken.append(number)
            yield number, None

    with_two = measured_in_order(layers(), lambda layer, _: layer)
    next(with_two)
    assert len(taken) <= 4
    with_two.close()


def test_a_failure_comes_through_and_ends_the_others(two_cores):
    started = []

    def measure(layer, _):
        started.append(layer)
        if layer == 1:
            raise ValueError("layer 1 has no numbers")
        time.sleep(0.01)

    layers = [(number, None) for number in range(50)]
    with pytest.raises(ValueError, match="layer 1 has no numbers"):
        list(measured_in_order(layers, measure))
    assert len(started) < 6
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("measure-layers")]


def blas_threads():
    return {library["num_threads"] for library in threadpool_info() if library["user_api"] == "blas"}


def test_blas_has_one_thread_until_the_last_user_leaves():
    np.ones((2, 2)) @ np.ones((2, 2))
    before, entered, leave = blas_threads(), threading.Event(), threading.Event()

    def other_user():
        with one_blas_thread():
            entered.set()
            leave.wait(30)

    other = threading.Thread(target=other_user)
    with one_blas_thread():
        other.start()
        entered.wait(30)
    assert blas_threads() == {1}
    leave.set()
    other.join()
    assert blas_threads() == before
