"""The search over column slices: the very numbers of the search in memory, however the columns are cut."""

from functools import cache
from itertools import pairwise

import numpy as np
import pytest

from core.measures.center import CenterGeometry
from core.network import passes
from core.search import sliced
from core.search.neighbors import SUMMED, Neighbors, nearest_neighbors
from core.search.operands import CHUNK
from core.search.shortlist import CROWDED
from core.search.sliced import SLICE_STEP, Question, SlicedSearch, working_bytes

WIDTH = 2 * SLICE_STEP + 5000
CUTS = [(0, WIDTH), (0, SLICE_STEP, WIDTH), (0, SLICE_STEP, 2 * SLICE_STEP, WIDTH)]


def search(features: np.ndarray, questions: list[Question], cuts: tuple[int, ...], dtype: type = np.float32):
    """Round one from right to left, the others from left to right; with the number of rounds."""
    blocks = [(start, features[:, start:stop]) for start, stop in pairwise(cuts)]
    found = SlicedSearch(questions, num_rows=len(features), dtype=dtype)
    for start, block in reversed(blocks):
        found.survey(start, block)
    found.shortlist()
    rounds = 1
    while found.unfinished:
        for start, block in blocks:
            found.look(start, block)
        found.decide()
        rounds += 1
    return found, rounds


def assert_same(one: Neighbors, other: Neighbors) -> None:
    assert (one.indices == other.indices).all()
    assert (one.squared == other.squared).all()
    assert (one.distances == other.distances).all()


@cache
def data(kind: str, num_rows: int = 150) -> np.ndarray:
    rng = np.random.default_rng(5)
    features = rng.standard_normal((num_rows, WIDTH)).astype(np.float32)
    if kind == "offset":
        features += 1000
    if kind == "duplicated":
        features[rng.permutation(num_rows)[:100]] = features[3]
    if kind == "pairs":
        features[: num_rows // 2] = features[num_rows // 2 : num_rows // 2 * 2]
    if kind == "constant":
        features[:] = 0.3
    if kind == "near":  # closer to each other than float32 products can tell
        features = (1 + 1e-6 * features).astype(np.float32)
        features[:, 0] += np.float32(50) * (np.arange(num_rows) % 2)
    if kind == "huge":
        features *= np.float32(1e25)
    if kind == "tiny":
        features *= np.float32(1e-30)
    if kind == "uneven":  # each slice of another magnitude
        features[:, :SLICE_STEP] *= np.float32(1e-12)
        features[:, SLICE_STEP : 2 * SLICE_STEP] *= np.float32(1e12)
    if kind == "integer":
        features = np.round(features).astype(np.float32)
        features[:, 40:] = 0
    return features


KINDS = ("random", "offset", "duplicated", "pairs", "constant", "near", "huge", "tiny", "uneven", "integer")


@pytest.mark.parametrize(
    ("kind", "dtype"), [*((kind, np.float32) for kind in KINDS), ("random", np.float64), ("near", np.float64)]
)
def test_the_same_numbers_as_in_memory(kind: str, dtype: type):
    features = data(kind)
    train, test = np.arange(90), np.arange(90, 150)
    asked = np.array([2, 5, 80])
    some = np.sort(np.random.default_rng(1).permutation(90)[:20])
    questions = [
        Question(train, train, 10),
        Question(test, test, 3),
        Question(test, train, 5),
        Question(asked, train, 2),
        Question(some, some, 1),
    ]
    expected = [
        nearest_neighbors(features[train], k=10),
        nearest_neighbors(features[test], k=3),
        nearest_neighbors(features[train], queries=features[test], k=5),
        nearest_neighbors(features[train], rows=asked, k=2),
        nearest_neighbors(features[some], k=1),
    ]
    for cuts in CUTS[1:]:
        found, _ = search(features, questions, cuts, dtype)
        for one, other in zip(found.neighbors(), expected, strict=True):
            assert_same(one, other)


@pytest.mark.parametrize(("kind", "rounds"), [("random", 2), ("constant", 2), ("duplicated", 2), ("near", 3)])
def test_how_often_the_slices_are_seen(kind: str, rounds: int):
    rows = np.arange(150)
    assert search(data(kind), [Question(rows, rows, 1)], CUTS[2])[1] == rounds


def test_many_candidates_take_several_rounds(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(sliced, "_MAX_PAIRS", 40 * 150)
    rows = np.arange(150)
    found, rounds = search(data("near"), [Question(rows, rows, 2)], CUTS[1])
    assert rounds == 2 + 4
    assert found.neighbors()[0].num_rechecked == 150 > CROWDED
    assert_same(found.neighbors()[0], nearest_neighbors(data("near"), k=2))


def test_several_tiles(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("core.search.shortlist.TILE", 40)
    features, train, test = data("random"), np.arange(0, 110), np.arange(110, 150)
    found, _ = search(features, [Question(train, train, 2), Question(test, train, 1)], CUTS[1])
    assert_same(found.neighbors()[0], nearest_neighbors(features[train], k=2))
    assert_same(found.neighbors()[1], nearest_neighbors(features[train], queries=features[test]))


@pytest.mark.parametrize("kind", ["random", "offset", "pairs", "uneven"])
def test_centers_from_the_gram_matrix(kind: str):
    features, labels = data(kind), np.arange(90) % 7
    rows = np.arange(90)
    gram = search(features, [Question(rows, rows, 1)], CUTS[2], np.float64)[0].gram(rows)
    geometry = CenterGeometry(gram, gram.diagonal().copy(), is_gram=True)
    for leave_one_out in (False, True):
        expected = CenterGeometry.of(features[:90]).separation(labels, leave_one_out=leave_one_out)
        assert (
            geometry.separation(labels, leave_one_out=leave_one_out).by_sample.tolist() == expected.by_sample.tolist()
        )


def test_one_tile_takes_what_it_says():
    assert working_bytes(100) == 8 * 100**2 + 4 * 100 * 4096 + 16 * 100**2


def test_bad_slices_are_an_error():
    rows = np.arange(4)
    found = SlicedSearch([Question(rows, rows, 1)], num_rows=4)
    with pytest.raises(ValueError, match="must have 4 rows and start at a multiple of 16384 columns; got 3 rows"):
        found.survey(0, np.zeros((3, 2)))
    with pytest.raises(ValueError, match="got 4 rows and start 2"):
        found.survey(2, np.zeros((4, 2)))
    with pytest.raises(ValueError, match="columns from 16384, must be finite; got nan in row 1, column 0"):
        found.survey(SLICE_STEP, np.float32([[0, 1], [np.nan, 2], [0, 0], [0, 0]]))


def test_the_network_cuts_where_the_search_sums():
    assert passes.SLICE_STEP == SLICE_STEP
    assert SLICE_STEP % CHUNK == SLICE_STEP % SUMMED == 0
