"""The sentences: what they say, and that the numbers carry it."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from core.analysis.curves import measured_layers, tidy_curves
from core.analysis.separation_level import (
    best_layer,
    clearly_above_chance,
    half_way_range,
    lead_curve,
    separation_levels,
)
from core.report.words.findings import describe, significance_note
from core.study.store.opening import load_study

DEMO = Path(__file__).resolve().parents[3] / "explorer" / "demo"


def curve(values, *, half=None, chance=0.1, num_queries=1000, samples="test", pooling="mean", measure="SI"):
    """A curve through layers a, b, c, ..., each with an interval of `half` to either side, where it is given."""
    rows = pd.DataFrame(
        {
            "layer": [chr(ord("a") + index) for index in range(len(values))],
            "position": range(len(values)),
            "measure": measure,
            "samples": samples,
            "pooling": pooling,
            "value": values,
            "low": np.nan,
            "high": np.nan,
            "chance": chance,
            "num_queries": num_queries,
        }
    )
    return rows if half is None else rows.assign(low=rows["value"] - half, high=rows["value"] + half)


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([0.1, 0.2, 0.5, 0.9], (2, 3)),  # 0.5 has half of the gain of 0.8, and may have less
        ([0.1, 0.2, 0.6, 0.9], (2, 2)),
        ([0.1, 0.6, 0.2, 0.9], (3, 3)),  # reached early, lost again
        ([0.6, 0.7, 0.9, 0.1], (0, 0)),  # what comes after the best does not count
        ([0.9], (0, 0)),
    ],
)
def test_the_layers_from_which_on_half_of_the_gain_may_be_reached(values, expected):
    assert half_way_range(curve(values, half=0.02), int(np.argmax(values))) == expected


@pytest.mark.parametrize(
    ("low", "high", "levels"),
    [
        (0.10, 0.324, ("hardly",)),  # 0.325 is a quarter of the way from 0.1 to 1
        (0.326, 0.54, ("partly",)),
        (0.56, 0.90, ("largely",)),
        (0.92, 1.00, ("almost completely",)),
        (0.30, 0.60, ("hardly", "partly", "largely")),
        (0.05, 0.09, ("hardly",)),  # below chance
    ],
)
def test_the_levels_that_an_interval_reaches(low, high, levels):
    assert separation_levels(low, high, 0.1) == levels


def test_clearly_above_chance_takes_the_interval_and_three_standard_errors():
    rows = curve([0.15, 0.15, 0.5, 0.12]).assign(low=[0.101, 0.1, 0.099, 0.101], p_value=1e-9)
    assert clearly_above_chance(rows).tolist() == [True, False, False, False]


def test_with_a_handful_of_samples_nothing_is_clear_whatever_standard_errors_say():
    """Six samples of three classes: even SI 1 has p = 1/15, because so few labelings are possible."""
    rows = curve([1.0, 1.0], chance=0.2, num_queries=6).assign(low=0.61, high=1.0, q_value=[0.07, np.nan])
    assert clearly_above_chance(rows).tolist() == [False, True]  # where q is not known, nothing follows from it
    described = describe(rows.assign(q_value=0.07))
    assert described.headline == "6 samples cannot decide whether the classes are separated"
    assert "clearly above chance; the highest" in described.detail


def test_layers_of_the_same_value_are_not_called_lower():
    text = describe(curve([0.5, 0.9, 0.9], half=0.01)).detail
    assert text.startswith(
        "Among the test samples (channel means), SI is highest, and equal, in 2 layers, the first of which is `b`: "
    )


def test_without_an_interval_clearly_above_chance_is_three_standard_errors():
    error = np.sqrt(0.1 * 0.9 / 1000)
    assert clearly_above_chance(curve([0.1 + 2.9 * error, 0.1 + 3.1 * error])).tolist() == [False, True]
    assert clearly_above_chance(curve([0.9, 0.9]).assign(low=[0.05, np.nan])).tolist() == [False, True]


def test_why_significance_is_not_the_headline_is_told_by_the_layer_nearest_to_chance():
    rows = curve([0.11, 0.13, 0.9], num_queries=1200).assign(q_value=[0.2, 0.01, 1e-9])
    note = significance_note(rows)
    assert "With 1,200 samples, 2 of 3 layers have q < 0.05, among them `b` with an SI of 0.13 (chance 0.10)." in note
    assert "Read value, interval and chance first" in note


def test_no_significant_layer_is_said_so():
    assert "no layer has q < 0.05" in significance_note(curve([0.1, 0.11]).assign(q_value=[0.9, np.nan]))


@pytest.mark.parametrize(
    ("values", "half", "headline"),
    [
        ([0.10, 0.12, 0.15, 0.20, 0.80, 0.85], 0.02, "The classes are largely separated, late in the network"),
        ([0.10, 0.12, 0.15, 0.70, 0.80, 0.85], 0.02, "The classes are largely separated, midway in the network"),
        ([0.10, 0.60, 0.65, 0.70, 0.80, 0.85], 0.02, "The classes are largely separated, early in the network"),
        (
            [0.10, 0.15, 0.50, 0.52, 0.80, 0.96],
            0.02,
            "The classes are almost completely separated, midway or late in the network",
        ),
        ([0.60, 0.61, 0.65, 0.70, 0.80, 0.85], 0.02, "The classes are largely separated, from the first layer on"),
        (
            [0.60, 0.61, 0.65, 0.70, 0.80, 0.95],
            0.01,
            "The classes are almost completely separated, half of it from the first layer on",
        ),
        ([1.0] * 6, 0.0, "The classes are almost completely separated, from the first layer on"),
        ([0.42, 0.40, 0.41, 0.40, 0.43, 0.42], 0.02, "The classes are partly separated, from the first layer on"),
        ([0.27, 0.28, 0.30, 0.28, 0.29, 0.27], 0.01, "The classes are hardly separated"),
        ([0.10, 0.20, 0.50, 0.60, 0.70, 0.60], 0.25, "The classes are partly to almost completely separated"),
        ([0.10, 0.85], 0.02, "The classes are largely separated"),  # two layers: neither early nor late
        ([0.10, 0.11, 0.09, 0.10, 0.12, 0.10], 0.03, "No layer is clearly above chance"),
    ],
)
def test_the_headline(values, half, headline):
    assert describe(curve(values, half=half)).headline == headline


@pytest.mark.parametrize(
    ("count", "start", "where"),
    [
        (2, 1, ""),  # of two or three layers none is "the first" of a network
        (3, 1, ""),
        (4, 0, ", from the first layer on"),  # after the pixels
        (4, 1, ", from the first layer on"),
        (4, 30, ", from the first of these 4 layers on"),  # as with `--layers 'block6*'`
    ],
)
def test_the_first_layer_is_called_so_only_where_it_was_measured(count, start, where):
    rows = curve([0.80] * count, half=0.02)
    found = describe(rows.assign(position=rows["position"] + start))
    assert found.headline == f"The classes are largely separated{where}"
    rising = curve([0.60, 0.65, 0.70, 0.95][-count:], half=0.01)
    found = describe(rising.assign(position=rising["position"] + start))
    half = where.replace(", ", ", half of it ") if count == 4 else ""
    assert found.headline == f"The classes are almost completely separated{half}"


def test_an_untrained_network_is_not_called_apart_from_the_first_layer_on():
    values = [0.29, 0.31, 0.33, 0.35, 0.34, 0.33, 0.30]  # a random ResNet-18 on seven classes
    finding = describe(curve(values, chance=0.15, half=0.03, num_queries=1400))
    assert finding.headline == "The classes are hardly to partly separated"
    # for seven layers together the low end lies 2.69/1.96 times as far below: 0.309
    assert (
        "On a scale from chance (0) to perfect (1), that is 0.24 (0.19 to 0.27, corrected for the choice of"
        in finding.detail
    )
    assert "hardly to partly separated, which 1,400 samples do not decide" in finding.detail
    assert "rises by +0.060 [+0.002, +0.118]" in finding.detail


def test_a_rise_within_the_noise_is_no_rise():
    finding = describe(curve([0.86, 0.87, 0.88, 0.88, 0.89, 0.90], num_queries=30))
    assert finding.headline == "The classes are largely to almost completely separated, from the first layer on"
    assert "is no certain rise with 30 samples" in finding.detail
    assert "late" not in finding.detail


def test_thirty_samples_at_chance_do_not_decide():
    finding = describe(curve([0.1, 0.2, 0.13], num_queries=30))
    assert finding.headline == "30 samples cannot decide whether the classes are separated"
    # Wilson's interval of 6 of 30 is 0.10 to 0.37, which is 0.30 of the way from 0.1 to 1
    assert finding.detail.endswith("the interval of `b` reaches up to 0.37, partly separated.")


def test_the_best_of_many_layers_of_noise_separates_nothing():
    """Without allowing for the choice of the best, one in ten such curves would be said to separate."""
    rng = np.random.default_rng(0)
    curves = [curve(rng.binomial(100, 0.2, size=60) / 100, chance=0.2, num_queries=100) for _ in range(200)]
    headlines = [describe(one).headline for one in curves]
    assert sum(headline.startswith("The classes are") for headline in headlines) <= 4  # of 200: 2%
    alone = [clearly_above_chance(one).any() for one in curves]
    assert sum(alone) > 15


def test_where_is_left_open_when_the_intervals_do_not_say():
    finding = describe(curve([0.35, 0.4, 0.5, 0.6, 0.7, 0.8], half=0.15, num_queries=40))
    assert finding.headline == "The classes are largely to almost completely separated"
    assert (
        "From which layer on half of that gain over chance is reached cannot be decided with 40 samples"
        in finding.detail
    )


def test_one_layer_has_its_value_and_interval_and_nothing_of_shape():
    finding = describe(curve([0.9], half=0.03))
    assert finding.headline == "One layer: SI 0.90 (95% interval 0.87 to 0.93)"
    assert finding.detail == (
        "Among the test samples (channel means), SI is **0.90** (95% interval 0.87 to 0.93; chance 0.10; "
        "1,000 samples) in `a`. On a scale from chance (0) to perfect (1), that is 0.89 (0.86 to 0.92): "
        "largely to almost completely separated, which 1,000 samples do not decide."
    )
    assert describe(curve([0.12], half=0.03)).detail.endswith("It is not clearly above chance.")


def test_without_a_stored_interval_wilsons_is_used_and_said_to_be_rough():
    # 45 of 50: center (45 + 1.92) / 53.84 = 0.871, half 0.085
    assert describe(curve([0.9], num_queries=50)).headline == "One layer: SI 0.90 (rough 95% interval 0.79 to 0.96)"


def test_the_range_of_draws_is_no_interval():
    rows = curve([0.9], num_queries=50, half=0.001).assign(target="draws")
    assert describe(rows).headline == "One layer: SI 0.90 (rough 95% interval 0.79 to 0.96)"


def test_the_sentences_name_the_best_layer_the_half_and_the_layers_at_chance():
    detail = describe(curve([0.10, 0.11, 0.3, 0.7, 0.94], half=0.01)).detail
    assert detail == (
        "Among the test samples (channel means), SI is highest in `e`, at **0.94** (95% interval 0.93 to 0.95; "
        "chance 0.10; 1,000 samples). On a scale from chance (0) to perfect (1), that is 0.93 (0.92 to 0.94, corrected "
        "for the choice of the best of 5 layers): almost completely separated. "
        "From the first layer, `a`, it rises by +0.840 [+0.821, +0.859]. "
        "Half of that gain over chance is reached from `d` on, layer 4 of 5. "
        "2 layers, from `a` to `b`, are not clearly above chance."
    )


def test_layers_at_chance_that_are_not_neighbors_are_no_range():
    detail = describe(curve([0.10, 0.3, 0.10, 0.7, 0.94])).detail
    assert "2 layers, the first `a` and the last `c`, are not clearly above chance." in detail


def test_a_fall_after_the_best_layer_is_told_where_it_is_certain():
    fallen = describe(curve([0.2, 0.9, 0.5], half=0.03)).detail
    assert "The last layer, `c`, falls back to 0.50 (-0.400 [-0.452, -0.348])." in fallen
    assert "falls back" not in describe(curve([0.2, 0.9, 0.85], half=0.01)).detail  # less than a tenth of the gain
    assert "falls back" not in describe(curve([0.2, 0.9, 0.7], half=0.2)).detail  # within the noise


def test_no_layer_above_chance_is_said_with_the_highest():
    detail = describe(curve([0.1, 0.11])).detail
    assert "the highest is **0.11** (rough 95% interval 0.092 to 0.13; chance 0.10; 1,000 samples) in `b`" in detail


@pytest.mark.parametrize(
    ("name", "headline"),
    [
        ("dogs", "The classes are largely separated, late in the network"),
        ("dogs-tuned", "The classes are largely separated, late in the network"),
        ("dogs-untrained", "The classes are hardly separated"),
        ("dogs-b0-untrained", "The classes are hardly separated"),
        ("digits", "The classes are largely to almost completely separated, early or midway in the network"),
    ],
)
def test_the_bundled_studies(name, headline):
    study = load_study(DEMO / name)
    assert describe(lead_curve(tidy_curves(measured_layers(study), study.measurements))).headline == headline


def test_small_values_keep_two_digits():
    assert "chance 0.0076; 1,000 samples)" in describe(curve([0.02, 0.5], chance=0.0076)).detail


def test_a_study_that_does_not_say_chance_gets_no_word_on_it():
    finding = describe(curve([0.2, 0.9], chance=np.nan))
    assert finding.headline == "The highest SI of 2 layers is 0.90"
    assert "chance" not in finding.detail
    assert "**0.90**" in finding.detail


def test_the_lead_is_test_before_train_and_means_before_all_activations():
    curves = pd.concat(
        [
            curve([0.9], measure="kNN"),
            curve([0.1], samples="train"),
            curve([0.2], pooling="flat"),
            curve([0.3]),
            curve([0.4], samples="cross"),
        ]
    )
    assert lead_curve(curves)["value"].to_list() == [0.3]
    assert lead_curve(curves[curves["samples"] == "cross"])["value"].to_list() == [0.4]
    assert lead_curve(curves[:0]).empty


def test_a_layer_without_a_value_is_left_out():
    assert describe(lead_curve(curve([0.2, None, 0.9]))).detail.startswith(
        "Among the test samples (channel means), SI is highest in `c`"
    )


def test_nothing_is_concluded_from_layers_with_many_tied_samples():
    """Of 1,000 samples, 51 are more than 5%, and 50 are not."""
    tied = describe(curve([0.9, 0.8], half=0.02).assign(num_tied=[51, 1000]))
    assert tied.headline == "No conclusion: many samples have several nearest neighbors at the same distance"
    assert "At 2 layers more than 5% of the samples, and at `b` 100% of the samples, have several" in tied.detail
    some = describe(curve([0.9, 0.2, 0.3], half=0.01).assign(num_tied=[51, 50, 0]))
    assert some.headline == describe(curve([0.9, 0.2, 0.3], half=0.01)[1:].reset_index(drop=True)).headline
    assert "SI is highest in `c`" in some.detail
    assert "Every other layer is clearly above chance" in some.detail
    assert "At `a`, 5.1% of the samples have several neighbors at exactly the same smallest distance" in some.detail


def test_where_ties_are_unknown_a_layer_is_treated_as_without():
    rows = curve([0.9, 0.8], half=0.02)
    assert describe(rows.assign(num_tied=np.nan)) == describe(rows)


def test_the_best_layer_is_one_without_many_ties_where_there_is_one():
    rows = curve([0.9, 0.8])
    assert best_layer(rows.assign(num_tied=[51, 50])) == "b"
    assert best_layer(rows.assign(num_tied=[51, 60])) == "a"
    assert best_layer(rows) == "a"


def test_samples_of_one_class_say_nothing():
    """Chance is 1, and SI is 1 by construction."""
    finding = describe(curve([1.0, 1.0], chance=1.0, num_queries=500))
    assert finding.headline == "All 500 test samples are of one class"
    assert finding.detail.startswith("SI is 1 by construction")
    assert describe(curve([1.0], chance=1.0)).headline == "All 1,000 test samples are of one class"
    assert separation_levels(1.0, 1.0, 1.0) == ()


def test_samples_of_several_classes_are_spoken_about_before_those_of_one():
    test, train = curve([1.0, 1.0], chance=1.0), curve([0.3, 0.4], samples="train")
    assert lead_curve(pd.concat([test, train]))["samples"].tolist() == ["train", "train"]
    assert lead_curve(test)["samples"].tolist() == ["test", "test"]
