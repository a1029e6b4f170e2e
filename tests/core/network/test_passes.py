"""Plans of passes: what is computed together within a budget, and where a pass starts."""

import numpy as np
import pytest

from core.network.catalogue import LayerInfo
from core.network.passes import SLICE_STEP, plan_passes, poolings_of

BOTH = ("flat", "mean")


def info(position: int, shape: tuple[int, ...]) -> LayerInfo:
    return LayerInfo(position, f"layer{position}", "Conv2D", "b", shape[-1], 0, 0, shape, int(np.prod(shape)))


# 48, 12 and 5 numbers an image flattened; 3, 3 and 5 as means
WIDE, NARROW, HEAD = info(1, (4, 4, 3)), info(2, (2, 2, 3)), info(3, (5,))


@pytest.mark.parametrize(
    ("poolings", "budget_bytes", "expected"),
    [
        (("flat",), 2600, [((1, 2, 3), 2600)]),
        (("flat",), 2599, [((1, 2), 2400), ((3,), 200)]),
        (("flat",), 1920, [((1,), 1920), ((2, 3), 680)]),
        (("mean",), 440, [((1, 2, 3), 440)]),
        (("mean",), 200, [((1,), 120), ((2,), 120), ((3,), 200)]),
        (BOTH, 2840, [((1, 2, 3), 2840)]),
        (BOTH, 2839, [((1, 2), 2640), ((3,), 200)]),
    ],
)
def test_passes_for_ten_samples(poolings, budget_bytes, expected):
    passes = plan_passes((WIDE, NARROW, HEAD), 10, poolings, budget_bytes)
    assert [(tuple(layer.position for layer in p.layers), p.num_bytes) for p in passes] == expected


def test_a_layer_beyond_the_budget_is_refused_with_what_it_needs():
    with pytest.raises(ValueError, match=r"layer1 needs 1\.875 KiB for 10 samples, got 1\.874 KiB") as error:
        plan_passes((HEAD, WIDE), 10, ("flat",), 1919)
    assert "raise --memory" in str(error.value)
    assert "--pooling mean (120 bytes)" in str(error.value)
    assert "--per-class" in str(error.value)


def test_the_mean_is_no_way_out_where_there_is_no_space():
    with pytest.raises(ValueError, match="layer3 needs") as error:
        plan_passes((HEAD,), 10, BOTH, 100)
    assert "--pooling" not in str(error.value)


HUGE = info(4, (100, 100, 5))  # 50,000 numbers an image: four steps, the last of 848 columns
STEP = 4 * 10 * SLICE_STEP  # bytes of the narrowest slice of ten samples


@pytest.mark.parametrize(
    ("poolings", "budget_bytes", "bounds"),
    [
        (("flat",), 4 * 10 * 50_000 - 1 + 1000, [0, 2 * SLICE_STEP, 50_000]),
        (("flat",), 2 * STEP + 1000, [0, 2 * SLICE_STEP, 50_000]),
        (("flat",), 2 * STEP + 999, [0, SLICE_STEP, 2 * SLICE_STEP, 3 * SLICE_STEP, 50_000]),
        (BOTH, STEP + 1000 + 200, [0, SLICE_STEP, 2 * SLICE_STEP, 3 * SLICE_STEP, 50_000]),
    ],
)
def test_slices_of_a_layer_beside_what_the_search_holds(poolings, budget_bytes, bounds):
    passes = plan_passes((HEAD, HUGE, NARROW), 10, poolings, min(budget_bytes, 1_999_999), search_bytes=1000)
    assert [part.layers for part in passes] == [(HEAD,), (HUGE,), (NARROW,)]
    assert [passes[1].slices[0].start, *(part.stop for part in passes[1].slices)] == bounds
    assert passes[1].num_bytes <= budget_bytes
    assert [part.num_runs for part in passes] == [1, 2 * len(bounds) - 3, 1]


def test_a_slice_that_does_not_fit_is_refused_with_what_it_needs():
    with pytest.raises(ValueError, match=r"layer4 needs 1\.907 MiB for 10 samples, or 641 KiB slice by slice, got"):
        plan_passes((HUGE,), 10, ("flat",), STEP + 1023, search_bytes=1024)


def test_a_file_instead_of_slices():
    passes = plan_passes((HEAD, HUGE, NARROW), 10, ("flat",), STEP, spool=True)
    assert [(part.layers, part.num_bytes, part.spooled_bytes, part.num_runs) for part in passes] == [
        ((HEAD,), 200, 0, 1),
        ((HUGE,), 0, 2_000_000, 1),
        ((NARROW,), 480, 0, 1),
    ]


def test_poolings_of_a_layer():
    assert poolings_of(WIDE, BOTH) == BOTH
    assert poolings_of(WIDE, ("mean",)) == ("mean",)
    assert poolings_of(HEAD, BOTH) == poolings_of(HEAD, ("mean",)) == ("flat",)


@pytest.mark.parametrize("poolings", [(), ("max",), ("flat", "max")])
def test_unknown_poolings_are_an_error(poolings):
    with pytest.raises(ValueError, match="poolings must be some of"):
        poolings_of(WIDE, poolings)


def chain(*widths: int) -> list[LayerInfo]:
    """Layers of so many numbers an image, at positions 1, 2, and so on."""
    return [info(position, (width,)) for position, width in enumerate(widths, start=1)]


def starts(passes) -> list[tuple[list[int], int | None, int | None, int]]:
    return [
        (
            [layer.position for layer in part.layers],
            part.start and part.start.position,
            part.keep and part.keep.position,
            part.num_bytes,
        )
        for part in passes
    ]


@pytest.mark.parametrize(
    ("boundaries", "expected"),
    [
        ([], [([1, 2], None, None, 400), ([3, 4], None, None, 400)]),
        ([2], [([1, 2], None, 2, 400), ([3], 2, 2, 380), ([4], 2, None, 180)]),  # kept on, and there already
        ([1, 3], [([1, 2], None, None, 400), ([3, 4], None, None, 400)]),  # too large
    ],
)
def test_a_pass_starts_at_a_small_boundary_before_it(boundaries, expected):
    """One sample, 4 bytes a number; a boundary may have 25 numbers of the 100 of the budget."""
    layers = chain(80, 20, 75, 25)
    passes = plan_passes(layers, 1, ("flat",), 400, boundaries=[layers[place - 1] for place in boundaries])
    assert starts(passes) == expected
    assert all(part.num_bytes <= 400 for part in passes)
