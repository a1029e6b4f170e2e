"""Arrays of one pass after the other in one block: none overlaps another that is still needed."""

import numpy as np
import pytest

from core.network.catalogue import LayerInfo
from core.network.passes import Pass, plan_passes
from core.network.shared_buffer import SharedBuffer

NUM_SAMPLES = 7


def layer(position: int, side: int, channels: int) -> LayerInfo:
    shape = (side, side, channels)
    return LayerInfo(position, f"layer{position}", "Conv2D", "b", channels, 0, 0, shape, side * side * channels)


def filled(shared_buffer: SharedBuffer, pass_: Pass, value: float) -> dict[str, np.ndarray]:
    """The arrays of a pass, written to as a run does: its layers, then the boundary if it is none of them."""
    allocate, keys = shared_buffer.open(pass_), list(pass_.layers)
    if pass_.keep and pass_.keep != pass_.start and pass_.keep not in keys:
        keys.append(pass_.keep)
    made = {one.layer: allocate((one.layer, "flat"), (NUM_SAMPLES, one.num_features)) for one in keys}
    for place, array in enumerate(made.values()):
        array[:] = value + place
    return made


@pytest.mark.parametrize("seed", range(20))
def test_no_pass_writes_over_what_it_started_from_or_over_itself(seed: int):
    rng = np.random.default_rng(seed)
    layers = [layer(i, int(rng.integers(1, 9)), int(rng.integers(1, 9))) for i in range(25)]
    boundaries = [one for one in layers if rng.random() < 0.5]
    budget = 4 * NUM_SAMPLES * int(max(one.num_features for one in layers) * rng.uniform(1, 3))
    passes = plan_passes(layers, NUM_SAMPLES, ("flat",), budget, boundaries=boundaries)
    assert sum(pass_.start is not None for pass_ in passes) > 1
    shared_buffer, started = SharedBuffer(passes), None
    for number, pass_ in enumerate(passes):
        assert (pass_.start is None) == (started is None)
        before = None if started is None else started.copy()
        made = filled(shared_buffer, pass_, 100.0 * number)
        for place, array in enumerate(made.values()):
            assert (array == 100.0 * number + place).all()
            assert array.ctypes.data % 64 == 0
        if started is not None:
            np.testing.assert_array_equal(started, before)
        if pass_.keep != pass_.start:
            started = made[pass_.keep.layer] if pass_.keep else None


def test_a_pass_uses_the_pages_of_the_one_before():
    passes = [Pass((layer(0, 8, 8),), 4 * NUM_SAMPLES * 512), Pass((layer(1, 8, 8),), 4 * NUM_SAMPLES * 512)]
    shared_buffer = SharedBuffer(passes)
    first, second = (filled(shared_buffer, pass_, 1.0) for pass_ in passes)
    assert first["layer0"].ctypes.data == second["layer1"].ctypes.data


def test_pages_go_back_for_a_pass_in_slices_and_its_start_stays():
    small, large = layer(0, 8, 8), layer(1, 8, 64)
    one = Pass((small,), 8 * NUM_SAMPLES * 512, keep=small)
    other = Pass((large,), 8 * NUM_SAMPLES * 512, slices=(slice(0, 10),), start=small)
    many = Pass((layer(2, 64, 64),), 4 * NUM_SAMPLES * 64**3)
    shared_buffer = SharedBuffer([many, one, other])
    rest = filled(shared_buffer, many, 3.0)["layer2"]
    kept = filled(shared_buffer, one, 1.0)["layer0"]
    shared_buffer.release(other)
    assert (kept == 1).all()
    assert (rest[NUM_SAMPLES // 2] == 0).all()  # an anonymous page that was given back reads as zeros


def test_more_than_the_system_has_is_said_plainly():
    with pytest.raises(MemoryError, match="lower --memory"):
        SharedBuffer([Pass((layer(0, 8, 8),), 1 << 60)])
