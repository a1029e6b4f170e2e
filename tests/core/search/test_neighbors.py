"""core.nearest_neighbors: by hand, against a naive float64 search, and its invariants."""

import numpy as np
import pytest

import core
from core.search import operands, shortlist
from core.search.neighbors import nearest_among, squared_distances
from core.search.products import NumPyProducts
from core.search.rows import Rows
from core.search.scores import scores


def naive(features, *, queries=None, k=1):
    """Every distance in float64, a stable sort: the definition itself."""
    references = np.asarray(features, dtype=np.float64).reshape(len(features), -1)
    asked = references if queries is None else np.asarray(queries, dtype=np.float64).reshape(len(queries), -1)
    indices, distances = [], []
    for row, sample in enumerate(asked):
        squared = ((references - sample) ** 2).sum(axis=1)
        if queries is None:
            squared[row] = np.inf
        nearest = np.argsort(squared, kind="stable")[:k]
        indices.append(nearest)
        distances.append(np.sqrt(squared[nearest]))
    return np.array(indices), np.array(distances)


def cases():
    rng = np.random.default_rng(0)
    normal = rng.normal(size=(300, 12))
    clusters = np.repeat(rng.normal(size=(4, 12)) * 1e5, 75, axis=0) + normal
    return {
        "float32": normal.astype(np.float32),
        "float64": normal,
        "float16": normal.astype(np.float16),
        "integers with ties": rng.integers(0, 3, size=(300, 6)),
        "booleans": rng.random((80, 9)) < 0.5,
        "common offset 1e4": (1e4 + normal).astype(np.float32),
        "offset 50, spread 0.05": (50 + 0.05 * normal).astype(np.float32),
        "far clusters": clusters.astype(np.float32),
        "far clusters in float64": clusters,
        "every row three times": np.repeat(normal[:60].astype(np.float32), 3, axis=0),
        "nearly duplicated": np.repeat(normal[:100], 3, axis=0) + 1e-9 * rng.normal(size=(300, 12)),
        "constant": np.ones((200, 5), dtype=np.float32),
        "heavy tails": rng.standard_cauchy(size=(300, 12)).astype(np.float32),
        "one outlier": np.vstack([normal, np.full((1, 12), 1e30)]),
        "near the largest float32": (normal * 3e37).astype(np.float32),
        "huge": normal * 1e120,
        "tiny": normal * 1e-30,
        "wide": rng.normal(size=(60, 9000)).astype(np.float32),
        "images": rng.normal(size=(50, 4, 4, 3)).astype(np.float32),
        "two samples": np.array([[1.0], [2.0]]),
        "one feature": rng.normal(size=(200, 1)),
    }


@pytest.mark.parametrize("name", cases())
@pytest.mark.parametrize("k", [1, 4])
def test_agrees_with_the_naive_search(name, k):
    features = cases()[name]
    k = min(k, len(features) - 1)
    found = core.nearest_neighbors(features, k=k)
    indices, distances = naive(features, k=k)
    np.testing.assert_array_equal(found.indices, indices)
    np.testing.assert_allclose(found.distances, distances, rtol=1e-12)
    assert found.indices.dtype == np.int64
    assert found.distances.dtype == np.float64


@pytest.mark.parametrize("name", cases())
def test_rows_and_queries_agree_with_the_naive_search(name):
    features = cases()[name]
    rows = np.arange(0, len(features), 3)[::-1]
    np.testing.assert_array_equal(core.nearest_neighbors(features, rows=rows).indices, naive(features)[0][rows])
    queries = features[::2]
    indices, distances = naive(features, queries=queries)
    found = core.nearest_neighbors(features, queries=queries)
    np.testing.assert_array_equal(found.indices, indices)
    np.testing.assert_allclose(found.distances, distances, atol=1e-300)


def test_five_points_on_a_line():
    found = core.nearest_neighbors(np.float32([[0], [1], [3], [10], [11.5]]))
    assert found.indices[:, 0].tolist() == [1, 0, 1, 4, 3]
    assert found.distances[:, 0].tolist() == [1, 1, 2, 1.5, 1.5]


def test_a_duplicate_is_a_neighbor_and_ties_go_to_the_lowest_row():
    found = core.nearest_neighbors([[2.0], [5.0], [5.0], [8.0], [5.0]], k=2)
    assert found.indices.tolist() == [[1, 2], [2, 4], [1, 4], [1, 2], [1, 2]]


@pytest.mark.parametrize("tile", [7, 64])
@pytest.mark.parametrize("chunk", [5, 4096])
def test_tiles_and_chunks_change_nothing(monkeypatch, tile, chunk):
    features = np.random.default_rng(1).normal(size=(150, 23)).astype(np.float32)
    features[40:60] = features[100:120]
    expected = core.nearest_neighbors(features, k=3)
    monkeypatch.setattr(shortlist, "TILE", tile)
    monkeypatch.setattr(operands, "CHUNK", chunk)
    monkeypatch.setattr(operands, "_CACHE_BYTES", 0)
    found = core.nearest_neighbors(features, k=3)
    np.testing.assert_array_equal(found.indices, expected.indices)
    np.testing.assert_array_equal(found.distances, expected.distances)


def test_crowded_queries_are_settled_by_more_precise_products(monkeypatch):
    features = cases()["far clusters"]
    monkeypatch.setattr(shortlist, "CROWDED", 2)
    found = core.nearest_neighbors(features)
    np.testing.assert_array_equal(found.indices, naive(features)[0])
    assert found.num_rechecked == len(features)


def test_few_samples_need_a_second_look():
    features = np.random.default_rng(2).normal(size=(2000, 256)).astype(np.float32)
    assert core.nearest_neighbors(50 + 0.05 * features).num_rechecked < 0.05 * len(features)


def test_the_bound_holds_for_every_pair():
    """Scores never fall below −½ of the true squared distance, and exceed it by at most the promised slack."""
    rng = np.random.default_rng(3)
    features = (3 + rng.normal(size=(120, 5000)) * rng.lognormal(size=(120, 1))).astype(np.float32)
    rows = Rows.of(features)
    products = NumPyProducts(np.dtype(np.float32))
    operand = operands.Operand(rows, None, operands.Arithmetic.choose(products, rows, rows.largest))
    everyone = slice(0, 120)
    score = scores(operand, everyone, operand, everyone).values
    left, right = np.divmod(np.arange(120 * 120), 120)
    true = squared_distances(rows, left, rows, right).reshape(120, 120)
    slack = operand.slack[:, None] + operand.slack[None, :]
    assert (score >= -0.5 * true - 1e-9).all()
    assert (score - slack <= -0.5 * true + 1e-9).all()


def test_a_distance_does_not_depend_on_its_company():
    features = np.random.default_rng(4).normal(size=(40, 40_000)).astype(np.float32)
    rows = Rows.of(features)
    left, right = np.divmod(np.arange(1600), 40)
    together = squared_distances(rows, left, rows, right).reshape(40, 40)
    alone = squared_distances(rows, np.array([7]), rows, np.array([31]))
    assert alone[0] == together[7, 31] == together[31, 7]


@pytest.mark.parametrize("pairs", [1, 3, 200, 1600])
def test_nor_on_how_many_pairs_are_asked_together(pairs):
    features = np.random.default_rng(4).normal(size=(40, 5000)).astype(np.float32)
    rows = Rows.of(features)
    left, right = np.divmod(np.arange(1600), 40)
    together = squared_distances(rows, left, rows, right)
    parts = [slice(start, start + pairs) for start in range(0, 1600, max(pairs, 97))]
    for part in parts:
        np.testing.assert_array_equal(squared_distances(rows, left[part], rows, right[part]), together[part])


@pytest.mark.parametrize("k", [1, 10, 70])
@pytest.mark.parametrize("tile", [65, 300])
def test_many_neighbors_over_many_tiles(monkeypatch, k, tile):
    """k below, among and beyond the groups that set the first thresholds, and beyond a tile's columns."""
    monkeypatch.setattr(shortlist, "TILE", tile)
    monkeypatch.setattr(shortlist, "GROUPS", 16)
    rng = np.random.default_rng(11)
    features = (5 + rng.normal(size=(400, 20)) * rng.lognormal(size=(400, 1))).astype(np.float32)
    found = core.nearest_neighbors(features, k=k)
    indices, distances = naive(features, k=k)
    np.testing.assert_array_equal(found.indices, indices)
    np.testing.assert_allclose(found.distances, distances, rtol=1e-12)


def test_memory_mapped_features(tmp_path):
    features = np.random.default_rng(5).normal(size=(100, 8)).astype(np.float32)
    np.save(tmp_path / "features.npy", features)
    mapped = np.load(tmp_path / "features.npy", mmap_mode="r")
    np.testing.assert_array_equal(core.nearest_neighbors(mapped).indices, core.nearest_neighbors(features).indices)


@pytest.mark.parametrize("metric", ["euclidean", "cosine"])
@pytest.mark.parametrize(("k", "size"), [(1, 20), (5, 60), (119, 60), (3, 120)])
def test_nearest_among_some_rows(metric, k, size):
    features = np.random.default_rng(9).integers(1, 5, size=(120, 4)).astype(np.float32)  # many ties
    among = np.sort(np.random.default_rng(10).permutation(120)[:size])
    known = core.nearest_neighbors(features, k=k, metric=metric)
    expected = core.nearest_neighbors(features[among], metric=metric).indices[:, 0]
    np.testing.assert_array_equal(nearest_among(features, known, among, metric=metric), expected)


def test_cosine_is_euclidean_on_unit_rows():
    features = np.random.default_rng(6).normal(size=(90, 7)) * np.random.default_rng(7).lognormal(size=(90, 1))
    unit = features / np.linalg.norm(features, axis=1, keepdims=True)
    found = core.nearest_neighbors(features, metric="cosine", k=3)
    np.testing.assert_array_equal(found.indices, naive(unit, k=3)[0])
    np.testing.assert_allclose(found.distances, naive(unit, k=3)[1], rtol=1e-12)
    across = core.nearest_neighbors(features, queries=5 * features[:9], metric="cosine")
    assert across.indices[:, 0].tolist() == list(range(9))


NORMAL = np.random.default_rng(8).normal(size=(10, 3))


@pytest.mark.parametrize(
    ("features", "options", "text"),
    [
        (np.full((3, 2), np.nan), {}, r"features must be finite; got nan in row 0, column 0"),
        (np.where(np.eye(4) == 1, -np.inf, 0.0), {}, r"features must be finite; got -inf in row 0"),
        (np.ones((1, 3)), {}, "at least two samples; got 1"),
        (np.empty((0, 3)), {}, "features must hold at least one number"),
        (np.array([["a"], ["b"]]), {}, "features must be real numbers; got dtype <U1"),
        (NORMAL, {"k": 10}, "k must be a whole number from 1 to 9"),
        (NORMAL, {"k": 0}, "k must be a whole number from 1 to 9"),
        (NORMAL, {"k": 1.5}, "k must be a whole number"),
        (NORMAL, {"queries": NORMAL, "k": 11}, "from 1 to 10"),
        (NORMAL, {"queries": NORMAL[:, :2]}, "queries must have 3 features, as the references; got 2"),
        (NORMAL, {"queries": NORMAL * np.nan}, "queries must be finite"),
        (NORMAL, {"queries": NORMAL, "rows": [1]}, "rows and queries must not both be given"),
        (NORMAL, {"rows": [1, 10]}, r"rows must lie in 0\.\.9; got 1\.\.10"),
        (NORMAL, {"rows": []}, "rows must be a non-empty list"),
        (NORMAL, {"metric": "manhattan"}, "metric must be one of euclidean, cosine; got 'manhattan'"),
        (np.vstack([NORMAL, np.zeros((1, 3))]), {"metric": "cosine"}, "no zero row for metric='cosine'; row 10"),
        (NORMAL * 1e200, {}, "features must stay below 1e150"),
    ],
)
def test_bad_input_is_named(features, options, text):
    with pytest.raises(ValueError, match=text):
        core.nearest_neighbors(features, **options)


def test_candidates_that_stay_are_not_sorted_again_for_each_tile(monkeypatch):
    """Their number may stay above the limit from which they are sorted: then the limit grows with it."""
    calls = []
    compact = shortlist.Shortlist._compact

    def counted(self):
        calls.append(self)
        compact(self)

    plain = shortlist.Shortlist.__init__

    def soon(self, *arguments):
        plain(self, *arguments)
        self._compact_at = 1

    monkeypatch.setattr(shortlist, "TILE", 50)
    monkeypatch.setattr(shortlist.Shortlist, "__init__", soon)
    monkeypatch.setattr(shortlist.Shortlist, "_compact", counted)
    features = np.random.default_rng(5).normal(size=(1000, 20)).astype(np.float32)
    np.testing.assert_array_equal(core.nearest_neighbors(features, k=5).indices, naive(features, k=5)[0])
    assert len(calls) < 30  # of 210 tiles
