"""Which layers are within a tolerance of the best: intervals given by hand, and draws whose truth is known."""

import numpy as np
import pytest

from core.measures.noninferiority import corrected_level, decide
from tests.benchmarks.cut_advice import Design, choose_spreads, one_draw

VALUES = [0.40, 0.60, 0.62, 0.50]


def within_half(half, values=VALUES):
    """Intervals that reach `half` to either side of each difference."""

    def intervals(pairs):
        return np.array([[values[i] - values[j] - half, values[i] - values[j] + half] for i, j in pairs])

    return intervals


def test_the_earliest_layer_whose_whole_interval_lies_above_the_tolerance():
    decision = decide(VALUES, within_half(0.005), tolerance=0.03)
    assert decision.verdicts.tolist() == ["worse", "within", "within", "worse"]
    assert (decision.best, decision.recommended) == (2, 1)
    assert decision.low == pytest.approx([-0.225, -0.025, 0, -0.125])
    assert decision.high == pytest.approx([-0.215, -0.015, 0, -0.115])


def test_a_difference_that_is_not_certain_is_no_recommendation():
    """With intervals of ±0.3 no difference is significant, and nothing is known to be good enough."""
    decision = decide(VALUES, within_half(0.3), tolerance=0.03)
    assert set(decision.verdicts) == {"undecided"}
    assert decision.recommended is None
    assert decision.smallest_tolerance == pytest.approx(0.28)  # 0.62 − 0.60 − 0.3, for the best layer itself


def test_the_best_layer_itself_must_hold_against_those_that_may_be_better():
    """0.62 − 0.60 − 0.06 = −0.04, and 0.04 is more than the tolerance."""
    decision = decide(VALUES, within_half(0.06), tolerance=0.03)
    assert decision.verdicts.tolist() == ["worse", "undecided", "undecided", "worse"]
    assert decide(VALUES, within_half(0.06), tolerance=0.041).recommended == 2


def test_a_layer_close_to_the_highest_must_hold_against_every_contender():
    """Layer 0 is known to lie just below layer 2, but layer 1, which may be the best, may lie 0.1 above it."""
    known = {(0, 2): 0.001, (1, 2): 0.1, (0, 1): 0.1, (2, 1): 0.1}
    values = [0.60, 0.60, 0.605]

    def intervals(pairs):
        return np.array([[values[i] - values[j] + side * known[i, j] for side in (-1, 1)] for i, j in pairs])

    decision = decide(values, intervals, tolerance=0.03)
    assert decision.low[0] == pytest.approx(-0.1)
    assert decision.verdicts[0] == "undecided"


def test_how_many_times_the_samples_would_do():
    """Intervals narrow with the root of n. Best: (0.06 / 0.05)² = 1.44; layer 1: (0.06 / 0.01)² = 36; others never."""
    ratio = decide(VALUES, within_half(0.06), tolerance=0.03).sample_ratio
    assert ratio == pytest.approx([np.inf, 36, 1.44, np.inf])


def test_an_unknown_interval_decides_nothing():
    decision = decide(VALUES, lambda pairs: np.full((len(pairs), 2), np.nan), tolerance=0.03)
    assert decision.verdicts.tolist() == ["undecided"] * 4
    assert decision.recommended is None
    assert np.isnan(decision.smallest_tolerance)


def test_one_candidate_is_the_best():
    decision = decide([0.5], lambda pairs: np.empty((0, 2)), tolerance=0.03)
    assert (decision.recommended, decision.smallest_tolerance) == (0, 0.0)


@pytest.mark.parametrize(("candidates", "level"), [(1, 0.95), (2, 0.95), (11, 0.995), (51, 0.999)])
def test_the_level_of_one_interval_makes_all_hold_together(candidates, level):
    assert corrected_level(candidates) == pytest.approx(level)


@pytest.mark.parametrize(
    ("values", "tolerance", "message"),
    [
        ([], 0.03, "values must be numbers of shape"),
        ([0.5, float("nan")], 0.03, "values must be numbers of shape"),
        ([0.5, 0.6], 0.0, "tolerance must lie above 0 and below 1"),
        ([0.5, 0.6], float("nan"), "tolerance must lie above 0 and below 1"),
        ([0.5, 0.6], 1.0, "got 1.0. 0.03 is usual"),
    ],
)
def test_bad_input_is_refused(values, tolerance, message):
    with pytest.raises(ValueError, match=message):
        decide(values, within_half(0.1), tolerance=tolerance)


@pytest.mark.parametrize("num_samples", [30, 100, 400])
def test_a_layer_just_outside_the_tolerance_is_hardly_ever_recommended(num_samples):
    """Half of the layers lie 0.04 below the others, with a tolerance of 0.03: one draw in 20 may name one of them."""
    design = Design("just outside", "just outside", 3, 4, 0.9, 0.8)
    rng = np.random.default_rng(num_samples)
    spreads = choose_spreads(design, num_samples, rng)
    draws = [one_draw(design, spreads, num_samples, rng) for _ in range(20)]
    truth = np.mean([draw.si for draw in draws], axis=0)
    named = [draw.decision().recommended for draw in draws]
    wrong = [layer for layer in named if layer is not None and truth[layer] < truth.max() - 0.03]
    assert len(wrong) <= 1
    assert np.mean([truth[draw.earliest_not_different()] < truth.max() - 0.03 for draw in draws]) > 0.3
