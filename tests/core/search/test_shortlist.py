"""core.search.shortlist and its tiles: several threads, rows that leave the cache, tiles of any width."""

import threading

import numpy as np
import pytest

import core
from core.search import operands, shortlist
from core.search.operands import Arithmetic, Operand
from core.search.products import NumPyProducts, ResultError
from core.search.rows import Rows
from core.search.scores import RoundedTile

FLOAT32 = NumPyProducts(np.dtype(np.float32))
FEATURES = np.random.default_rng(0).normal(size=(3000, 24)).astype(np.float32)


@pytest.mark.parametrize("feeders", [1, 2, 4])
@pytest.mark.parametrize("k", [1, 5])
def test_the_number_of_threads_changes_no_neighbor(monkeypatch, feeders, k):
    expected = core.nearest_neighbors(FEATURES, k=k)
    monkeypatch.setattr(shortlist, "_FEEDERS", feeders)
    monkeypatch.setattr(shortlist, "cores_at_hand", lambda: feeders)
    monkeypatch.setattr(shortlist, "TILE", 300)
    found = core.nearest_neighbors(FEATURES, k=k)
    np.testing.assert_array_equal(found.indices, expected.indices)
    np.testing.assert_array_equal(found.squared, expected.squared)


def test_where_a_tile_fails_no_thread_begins_another(monkeypatch):
    begun, both = [], threading.Barrier(2, timeout=60)
    monkeypatch.setattr(shortlist, "cores_at_hand", lambda: 2)

    def work(job, place):
        begun.append(job)
        if job < 2:
            both.wait()  # until two threads are at work
        if job == 0:
            raise MemoryError("no room")
        failed.wait(60)
        return []

    failed = threading.Event()
    monkeypatch.setattr(shortlist, "deque", lambda jobs: Jobs(jobs, failed))
    with pytest.raises(MemoryError, match="no room"):
        shortlist._collect(None, work, range(1000), FLOAT32)
    assert sorted(begun) == [0, 1]


class Jobs(shortlist.deque):
    """Jobs that tell when they are called off."""

    def __init__(self, jobs, called_off):
        super().__init__(jobs)
        self._called_off = called_off

    def clear(self):
        super().clear()
        self._called_off.set()


def test_rows_that_leave_the_cache_are_made_again_as_seldom_as_can_be(monkeypatch):
    expected = core.nearest_neighbors(FEATURES)
    row_bytes = 24 * 4
    monkeypatch.setattr(shortlist, "TILE", 100)  # 30 blocks
    monkeypatch.setattr(operands, "_CACHE_BYTES", 1200 * row_bytes)
    monkeypatch.setattr(shortlist, "cores_at_hand", lambda: 1)
    made = []
    make = Operand.make

    def counted(self, rows, part, place=0, *, room):
        made.append(rows.start)
        return make(self, rows, part, place, room=room)

    monkeypatch.setattr(Operand, "make", counted)
    np.testing.assert_array_equal(core.nearest_neighbors(FEATURES).indices, expected.indices)
    assert len(made) <= 30 * (1 + 3), "on the diagonal, then once for each group of ten blocks that stay in the cache"


def test_the_cache_keeps_what_was_used_last(monkeypatch):
    rows = Rows.of(FEATURES)
    monkeypatch.setattr(operands, "_CACHE_BYTES", 250 * 24 * 4)
    operand = Operand(rows, None, Arithmetic.choose(FLOAT32, rows, rows.largest))
    first, second, third = (slice(start, start + 100) for start in (0, 100, 200))
    kept, left_out = operand.chunk(first, 0), operand.chunk(second, 0)
    operand.chunk(first, 0)
    operand.chunk(third, 0)
    assert operand.chunk(first, 0) is kept
    assert operand.chunk(second, 0) is not left_out
    np.testing.assert_array_equal(operand.chunk(second, 0), left_out)


@pytest.mark.parametrize("shape", [(1, 1), (7, 3), (128, 5), (130, 37), (300, 64), (257, 129)])
def test_rounded_tiles_of_any_shape_find_what_reaches_a_threshold(shape):
    rng = np.random.default_rng(1)
    bits = rng.integers(0x8000, 0xC200, shape).astype(np.uint16)  # −0 to −32
    tile = RoundedTile(bits, ResultError(0.0, 0.0))
    values = np.left_shift(bits, 16, dtype=np.uint32).view(np.float32)
    by_row = np.quantile(values, 0.97, axis=1, keepdims=True, method="nearest")
    by_column = np.quantile(values, 0.99, axis=0, method="nearest")
    by_column[0] = np.inf
    for least, (row, column, value) in zip((by_row, by_column), tile.reaching(by_row, by_column), strict=True):
        expected = np.argwhere((values >= least) | ((values == 0) & np.isinf(least)))
        np.testing.assert_array_equal(np.stack([row, column], axis=1), expected)
        np.testing.assert_array_equal(value, values[row, column])
