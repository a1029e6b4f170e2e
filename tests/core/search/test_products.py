"""core.search.products: whoever multiplies, and however it rounds, the neighbors are the same."""

import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import chain, repeat

import numpy as np
import pytest

import core
from core.search import devices, neighbors, operands, products, scores, shortlist
from core.search.neighbors import squared_distances
from core.search.products import NumPyProducts, TensorFlowProducts, ladder, results_are_bounded
from core.search.rows import Rows

pytestmark = pytest.mark.slow

FLOAT32, FLOAT64 = (NumPyProducts(np.dtype(kind)) for kind in (np.float32, np.float64))
ROUNDED = TensorFlowProducts(("CPU:0",), rounded=True)


@dataclass(frozen=True)
class EmulatedProducts(TensorFlowProducts):
    """Bfloat16 products in NumPy: float32 sums of blocks of columns, results rounded or cut off to bfloat16."""

    devices: tuple[str, ...] = ("CPU:0",)
    rounded: bool = True
    result: str = "rounded"  # or cut off, or away from zero: to the number next to the one that is cut off
    block: int = 1 << 20  # columns whose sums are kept in float32; sums of blocks are kept in bfloat16

    def load(self, stored, place=0):
        return stored.astype(np.float32)

    def product(self, left, right, out=None):
        total = np.zeros((len(left), len(right)), dtype=np.float32)
        for start in range(0, left.shape[1], self.block):
            columns = slice(start, start + self.block)
            total = self._to_bfloat16(total + left[:, columns] @ right[:, columns].T)
        return total.astype(self.stored_dtype)

    def added(self, total, product):
        return product.astype(np.float32) if total is None else total + product.astype(np.float32)

    def _to_bfloat16(self, values):
        """Values with the lower half of their bits 0."""
        bits = values.view(np.uint32)
        if self.result == "rounded":
            bits = bits + np.uint32(0x7FFF) + ((bits >> 16) & 1)
        if self.result == "away from zero":
            bits = bits + np.uint32(0xFFFF)
        return (bits & np.uint32(0xFFFF0000)).view(np.float32)


ROUNDING, CUTTING = EmulatedProducts(result="rounded"), EmulatedProducts(result="cut off")
KERNELS = {"this processor's": ROUNDED, "rounding": ROUNDING, "cutting": CUTTING}
WAYS = {
    "bfloat16": (ROUNDED, FLOAT32, FLOAT64),
    "bfloat16 cut off": (CUTTING, FLOAT32, FLOAT64),
    "bfloat16 on two devices": (TensorFlowProducts(("CPU:0", "CPU:0"), rounded=True), FLOAT64),
    "float32 by TensorFlow": (TensorFlowProducts(("CPU:0",), rounded=False), FLOAT64),
}


@pytest.fixture(autouse=True, scope="module")
def _tensorflow():
    import tensorflow  # noqa: F401  these products need it loaded


def cases():
    rng = np.random.default_rng(0)
    normal = rng.normal(size=(300, 40))
    return {
        "normal": normal,
        "offset 50, spread 0.05": 50 + 0.05 * normal,
        "integers with ties": rng.integers(0, 3, size=(300, 6)),
        "every row three times": np.repeat(normal[:100], 3, axis=0),
        "nearly duplicated": np.repeat(normal[:100], 3, axis=0) + 1e-4 * rng.normal(size=(300, 40)),
        "constant": np.ones((200, 5)),
        "heavy tails": rng.standard_cauchy(size=(300, 12)),
        "lengths of all kinds": normal * rng.lognormal(sigma=3, size=(300, 1)),
        "far clusters": np.repeat(rng.normal(size=(4, 40)) * 1e4, 75, axis=0) + normal,
        "one outlier": np.vstack([normal, np.full((1, 40), 1e30)]),
        "tiny": normal * 1e-30,
        "subnormal": normal * 1e-39,
        "rectified": np.maximum(normal, 0),
    }


def searched(features, monkeypatch, way, *, tried=False, **options):
    monkeypatch.setattr(neighbors, "ladder", lambda work, k: WAYS[way])
    if not tried:  # whatever a trial of rounded products would say
        monkeypatch.setattr(neighbors, "_is_crowding", lambda *asked: False)
    monkeypatch.setattr(shortlist, "TILE", 128)
    return core.nearest_neighbors(features, **options)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("name", cases())
@pytest.mark.parametrize("k", [1, 3])
def test_the_neighbors_are_those_of_the_plain_search(monkeypatch, way, name, k):
    features = cases()[name].astype(np.float32)
    expected = core.nearest_neighbors(features, k=k)
    found = searched(features, monkeypatch, way, k=k)
    np.testing.assert_array_equal(found.indices, expected.indices)
    np.testing.assert_array_equal(found.distances, expected.distances)


@pytest.mark.parametrize("way", WAYS)
def test_so_are_those_of_some_rows_and_of_other_samples(monkeypatch, way):
    features = cases()["rectified"].astype(np.float32)
    rows, queries = np.arange(0, 300, 7), features[:50] + 0.01
    expected = core.nearest_neighbors(features, rows=rows), core.nearest_neighbors(features, queries=queries)
    for one, options in zip(expected, ({"rows": rows}, {"queries": queries}), strict=True):
        np.testing.assert_array_equal(searched(features, monkeypatch, way, **options).indices, one.indices)


@pytest.fixture
def on_device(monkeypatch):
    """TensorFlow's tiles stay where they are made, as on a GPU; the devices of all tiles."""
    made = []

    def in_memory(device):
        made.append(device)
        return device == "CPU"  # NumPy's

    for module in (operands, scores, shortlist):
        monkeypatch.setattr(module, "is_in_memory", in_memory)
    monkeypatch.setattr(shortlist, "DEVICE_TILE", 128)
    return made


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("name", ["normal", "lengths of all kinds", "every row three times"])
def test_tiles_that_stay_on_the_device_find_the_same(monkeypatch, on_device, way, name):
    features = cases()[name].astype(np.float32)
    expected = core.nearest_neighbors(features, k=2)
    if way == "bfloat16 cut off":  # whose rows are NumPy's
        monkeypatch.setattr(operands, "is_in_memory", lambda device: True)
    on_device.clear()
    found = searched(features, monkeypatch, way, k=2)
    assert len(on_device) >= 6
    np.testing.assert_array_equal(found.indices, expected.indices)
    np.testing.assert_array_equal(found.distances, expected.distances)


def test_one_thread_at_a_time_searches_on_a_device(monkeypatch, on_device):
    """Layers are measured at the same time, and the rows and tiles of all may be more than a GPU's memory holds."""
    within, most, collect = [], [], shortlist._collect

    def note(*asked):
        within.append(1)
        most.append(len(within))
        try:
            collect(*asked)
        finally:
            within.pop()

    monkeypatch.setattr(shortlist, "_collect", note)
    rows = Rows.of(cases()["normal"].astype(np.float32))
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda _: shortlist.self_join(rows, 1, ROUNDED), range(8)))
    assert len(found) == 8
    assert max(most) == 1


def test_a_device_lists_no_candidates_of_queries_that_have_many(monkeypatch, on_device):
    """Of equal rows it would list all pairs of a tile, which may be more than the memory holds."""
    monkeypatch.setattr(shortlist, "_MANY", 50)
    rows = Rows.of(np.repeat(np.random.default_rng(0).normal(size=(3, 8)), 100, axis=0).astype(np.float32))
    listed, take = [], shortlist.Shortlist.take
    monkeypatch.setattr(
        shortlist.Shortlist, "take", lambda here, *pairs: listed.append(len(pairs[0])) or take(here, *pairs)
    )
    _, crowded = shortlist.self_join(rows, 1, ROUNDED)
    assert len(crowded) == 300
    assert sum(listed) == 0
    found = searched(rows.matrix, monkeypatch, "bfloat16", k=1)
    assert found.distances.max() == 0


@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize("name", ["normal", "rectified", "lengths of all kinds", "subnormal"])
def test_the_bound_on_rounded_products_holds_for_every_pair(name, kernel):
    """Scores never fall below −½ of the true squared distance; with all slack taken off they never exceed it."""
    features = cases()[name].astype(np.float32)[:120]
    rows = Rows.of(features)
    operand = operands.Operand(rows, None, operands.Arithmetic.choose(KERNELS[kernel], rows, rows.largest))
    everyone = slice(0, 120)
    score = scores.scores(operand, everyone, operand, everyone).rows(everyone).values.astype(np.float64)
    left, right = np.divmod(np.arange(120 * 120), 120)
    true = squared_distances(rows, left, rows, right).reshape(120, 120) * operand.arithmetic.scale**2
    least = shortlist.Shortlist(operand, operand, 1)._certainly(left, right, score.ravel()).reshape(120, 120)
    assert (score >= -0.5 * true).all()
    assert (least <= -0.5 * true).all()
    assert (score - least < 0.05 * (operand._squared[0][:, None] + operand._squared[0])).all() or name == "subnormal"


def test_the_bound_is_needed():
    """Bfloat16 alone names wrong neighbors."""
    features = cases()["rectified"].astype(np.float32)
    stored = np.empty(features.shape, ROUNDED.stored_dtype)
    ROUNDED.store(features, stored)
    rounded = ROUNDED.load(stored)
    products_only = np.asarray(ROUNDED.product(rounded, rounded)).astype(np.float32)
    squared = (features**2).sum(axis=1)
    distance = squared[:, None] + squared - 2 * products_only
    np.fill_diagonal(distance, np.inf)
    assert (distance.argmin(axis=1) != core.nearest_neighbors(features).indices[:, 0]).any()


def test_what_rounding_loses_is_known():
    block = cases()["normal"].astype(np.float32)
    stored = np.empty(block.shape, ROUNDED.stored_dtype)
    lost = ROUNDED.store(block, stored)
    kept = np.asarray(ROUNDED.load(stored)).astype(np.float32)
    np.testing.assert_array_equal(lost, block - kept)
    np.testing.assert_allclose(kept, block, rtol=2.0**-8)


def test_tensors_share_aligned_memory_and_copy_what_is_not():
    exact = TensorFlowProducts(("CPU:0",), rounded=False)
    aligned, odd = products.room_for(8, exact.dtype), products.room_for(9, exact.dtype)[1:]
    aligned[:] = odd[:] = 1
    shared, copied = (exact.load(memory.reshape(2, 4)) for memory in (aligned, odd))
    aligned[:] = odd[:] = 2
    assert np.asarray(shared).tolist() == [[2] * 4] * 2
    assert np.asarray(copied).tolist() == [[1] * 4] * 2


def test_float32_products_leave_the_tf32_setting_as_it_was():
    import tensorflow as tf

    exact = TensorFlowProducts(("CPU:0",), rounded=False)
    before = tf.config.experimental.tensor_float_32_execution_enabled()
    found = exact.product(exact.load(np.float32([[1, 2], [3, 4]])), exact.load(np.float32([[5, 6]])))
    assert np.asarray(found).tolist() == [[17], [39]]
    assert tf.config.experimental.tensor_float_32_execution_enabled() == before


def test_tf32_stays_off_while_another_thread_multiplies(monkeypatch):
    """The first thread leaves while the second one multiplies, for which the setting must not come back yet."""
    import tensorflow as tf

    is_on = tf.config.experimental.tensor_float_32_execution_enabled
    both_within, first_left, seen = threading.Barrier(2, timeout=30), threading.Event(), []

    def multiply(left, right, transpose_b):
        both_within.wait()
        if left == "second":
            assert first_left.wait(30)
            seen.append(is_on())

    monkeypatch.setattr(tf.linalg, "matmul", multiply)
    assert is_on(), "as TensorFlow starts"
    with ThreadPoolExecutor(2) as pool:
        first, second = (pool.submit(devices.tensorflow_product, name, None) for name in ("first", "second"))
        first.result()
        first_left.set()
        second.result()
    assert seen == [False]
    assert is_on()


@pytest.mark.parametrize(
    ("work", "k", "pays", "rounded"),
    [(1e12, 1, True, True), (1e12, 1, False, False), (1e12, 100, True, False), (1e6, 1, True, False)],
)
def test_rounding_is_for_large_searches_of_few_neighbors(monkeypatch, work, k, pays, rounded):
    monkeypatch.setattr(products, "rounding_pays", lambda: pays)
    steps = ladder(work, k)
    assert [step.roundoff > 0 for step in steps] == [True, False, False] if rounded else [False, False]
    assert steps[-1].dtype == np.float64


@pytest.mark.parametrize("products", [ROUNDED, ROUNDING, CUTTING])
def test_results_rounded_or_cut_off_are_within_the_bound(products):
    assert results_are_bounded(products)


@pytest.mark.parametrize(
    "products",
    [
        EmulatedProducts(result="away from zero"),
        EmulatedProducts(block=1),
        EmulatedProducts(block=512),
        EmulatedProducts(block=8192),
        EmulatedProducts(result="cut off", block=8192),
    ],
    ids=lambda products: f"{products.result}, sums of {products.block} columns",
)
def test_results_beyond_the_bound_are_seen(products):
    """Sums kept in bfloat16 between blocks of columns, which products of ones do not show."""
    ones = np.ones((1, 16384), dtype=np.float32)
    assert products.block == 1 or products.product(ones, ones) == 16384
    assert not results_are_bounded(products)


@pytest.mark.parametrize(("value", "rounded", "cut"), [(1 + 2**-7 - 2**-20, 1 + 2**-7, 1), (-1.99999, -2, -2 + 2**-7)])
def test_a_returned_product_stands_for_what_was_rounded_or_cut_off(value, rounded, cut):
    """The largest number of its range is at least the true one."""
    error = ROUNDED.result_error
    for kernel, expected in ((ROUNDING, rounded), (CUTTING, cut)):
        product = kernel.product(np.float32([[value]]), np.float32([[1]]))
        assert float(product[0, 0]) == expected
        largest = scores.RoundedTile.of_rounded(product, error).rows(slice(0, 1)).values[0, 0]
        on_device = scores.DeviceTile.of_rounded(_tensor(product), error).values.numpy()[0, 0]
        assert largest == on_device == max(expected * (1 + 2**-7), expected * (1 - 2**-8))
        assert largest >= value


@pytest.mark.parametrize("least", [-np.inf, -3e38, -1.5, -1 - 2**-8, -1e-30, -1e-45, 0.0, np.inf])
def test_bits_let_through_what_may_reach_a_threshold(least):
    """Of numbers of either sign, those whose range holds one that large, and at most the next one below."""
    error = ROUNDED.result_error
    bits = np.arange(1 << 16, dtype=np.uint16)
    values = (bits.astype(np.uint32) << 16).view(np.float32)
    bits, values = bits[np.abs(values) < 1e38], values[np.abs(values) < 1e38].astype(np.float64)
    tile = scores.RoundedTile(bits[:, None], error)
    threshold = np.full((len(bits), 1), least, np.float32)
    ((row, _, largest),) = tile.reaching(threshold)
    np.testing.assert_allclose(largest, np.maximum(values * (1 - error.below), values * (1 + error.above))[row], 1e-6)
    let_through = np.isin(np.arange(len(bits)), row)
    if least == np.inf:
        assert (values[let_through] == 0).all()
    else:
        assert let_through[np.maximum(values * (1 - error.below), values * (1 + error.above)) >= threshold[0]].all()
        assert not let_through[values * (1 - 2**-6) < threshold[0] - 2e-38].any()


def _tensor(product):
    import tensorflow as tf

    return tf.constant(product)


@pytest.mark.parametrize(("seconds", "pays"), [([3, 3, 1], True), ([3], False), ([1.9], False)])
def test_rounding_pays_where_it_is_clearly_faster_in_the_end(monkeypatch, seconds, pays):
    """At first NumPy's threads may be in the way."""
    times = chain(seconds[:-1], repeat(seconds[-1]))
    monkeypatch.setattr(products, "_seconds", lambda who, *_: next(times) if who.roundoff else 2)
    monkeypatch.setattr(products, "_PATIENCE_S", 0.01)
    assert products.rounding_pays.__wrapped__() is pays


def test_gpus_are_used_where_there_are_some(monkeypatch):
    monkeypatch.setattr(products, "gpu_names", lambda: ("GPU:0", "GPU:1"))
    large, small = ladder(1e12, 1), ladder(1e6, 1)
    assert [(step.devices, step.roundoff > 0) for step in large[:2]] == [
        (("GPU:0", "GPU:1"), True),
        (("GPU:0", "GPU:1"), False),
    ]
    assert [step.dtype for step in small] == [np.float32, np.float64]


def wide(spread):
    """Rows of 18,000 numbers, two chunks: clusters that far apart, or none."""
    rng = np.random.default_rng(1)
    clusters = np.repeat(rng.normal(size=(150, 18000)), 2, axis=0)
    return (spread * clusters + rng.normal(size=(300, 18000))).astype(np.float32)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("spread", [0, 10])
@pytest.mark.parametrize("k", [1, 3])
def test_wide_rows_have_the_neighbors_of_the_plain_search(monkeypatch, way, spread, k):
    features = wide(spread)
    expected = core.nearest_neighbors(features, k=k)
    monkeypatch.setattr(shortlist, "FEW_ROWS", 100)
    for sums in (0, 1 << 27):  # tile by tile, and chunk by chunk
        monkeypatch.setattr(shortlist, "_SUMS_BYTES", sums)
        found = searched(features, monkeypatch, way, k=k)
        np.testing.assert_array_equal(found.indices, expected.indices)
        np.testing.assert_array_equal(found.distances, expected.distances)
    rows, queries = np.arange(0, 300, 7), features[:50] + 0.01
    expected = core.nearest_neighbors(features, rows=rows), core.nearest_neighbors(features, queries=queries)
    for one, options in zip(expected, ({"rows": rows}, {"queries": queries}), strict=True):
        np.testing.assert_array_equal(searched(features, monkeypatch, way, **options).indices, one.indices)


def test_wide_rows_are_rounded_only_where_a_trial_leaves_few_candidates(monkeypatch):
    used = []
    join = neighbors.self_join
    monkeypatch.setattr(
        neighbors, "self_join", lambda rows, k, made: used.append((len(rows), made)) or join(rows, k, made)
    )
    monkeypatch.setattr(neighbors, "_TRIAL", 100)
    rng = np.random.default_rng(2)
    space = (rng.normal(size=(300, 3)) @ rng.normal(size=(3, 18000))).astype(np.float32)
    for features, search in ((space, ROUNDED), (wide(0), FLOAT32)):
        searched(features, monkeypatch, "bfloat16", tried=True)
        assert used[:2] == [(100, ROUNDED), (300, search)]
        used.clear()


def test_products_for_several_neighbors_are_rounded_only_where_a_trial_leaves_few_candidates(monkeypatch):
    used = []
    join = neighbors.self_join
    monkeypatch.setattr(neighbors, "self_join", lambda rows, k, made: used.append(made) or join(rows, k, made))
    rng = np.random.default_rng(3)
    near = np.repeat(rng.normal(size=(500, 64)), 6, axis=0) + 0.01 * rng.normal(size=(3000, 64))
    for features, k, search in ((near, 5, ROUNDED), (rng.normal(size=(3000, 64)), 5, FLOAT32), (near, 1, ROUNDED)):
        searched(features.astype(np.float32), monkeypatch, "bfloat16", tried=True, k=k)
        assert used[0] == search
        used.clear()


@pytest.mark.parametrize("kernel", KERNELS)
def test_the_bound_on_sums_of_rounded_products_holds_for_every_pair(kernel):
    features = wide(1)[:120]
    rows = Rows.of(features)
    operand = operands.Operand(rows, None, operands.Arithmetic.choose(KERNELS[kernel], rows, rows.largest))
    everyone = slice(0, 120)
    score = scores.scores(operand, everyone, operand, everyone).rows(everyone).values.astype(np.float64)
    left, right = np.divmod(np.arange(120 * 120), 120)
    true = squared_distances(rows, left, rows, right).reshape(120, 120)
    least = shortlist.Shortlist(operand, operand, 1)._certainly(left, right, score.ravel()).reshape(120, 120)
    assert (score >= -0.5 * true).all()
    assert (least <= -0.5 * true).all()
