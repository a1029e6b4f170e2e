"""Layers measured at once: in network order, and nothing left running after a failure."""

import os
import threading
import time

import numpy as np
import pytest
from threadpoolctl import threadpool_info

from core.search.blas_threads import one_blas_thread
from core.search.rows import in_threads
from core.study.measuring.layer_pool import measured_in_order


def test_layers_come_in_network_order_whatever_takes_longest():
    def measure(layer, seconds):
        time.sleep(seconds)
        return layer * 10

    layers = [(1, 0.05), (2, 0.0), (3, 0.02), (4, 0.0)]
    measured = list(measured_in_order(layers, measure, num_threads=3))
    assert measured == [(1, 10), (2, 20), (3, 30), (4, 40)]


def test_small_layers_are_measured_beside_each_other():
    both_there = threading.Barrier(2, timeout=30)  # breaks where one waits alone

    def measure(layer, _):
        return both_there.wait() >= 0

    assert [done for _, done in measured_in_order([(1, 0), (2, 0)], measure, num_threads=2)] == [1, 1]


@pytest.mark.parametrize(("num_threads", "is_alone"), [(2, True), (1, False)])
def test_layers_beside_each_other_take_no_more_threads(num_threads, is_alone, monkeypatch):
    monkeypatch.setattr(os, "cpu_count", lambda: 2)

    def measure(layer, _):
        workers = in_threads(lambda part: threading.get_ident(), range(8))
        return set(workers) == {threading.get_ident()}

    layers = [(1, None), (2, None)]
    assert [alone for _, alone in measured_in_order(layers, measure, num_threads=num_threads)] == [is_alone] * 2


def test_few_layers_are_taken_ahead():
    taken = []

    def layers():
        for number in range(8):
            taken.append(number)
            yield number, None

    with_two = measured_in_order(layers(), lambda layer, _: layer, num_threads=2)
    next(with_two)
    assert len(taken) <= 4
    with_two.close()


def test_a_failure_comes_through_and_ends_the_others():
    started = []

    def measure(layer, _):
        started.append(layer)
        if layer == 1:
            raise ValueError("layer 1 has no numbers")
        time.sleep(0.01)

    layers = [(number, None) for number in range(50)]
    with pytest.raises(ValueError, match="layer 1 has no numbers"):
        list(measured_in_order(layers, measure, num_threads=2))
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
