"""The sentences: what they say, and that the numbers carry it."""

import numpy as np
import pandas as pd
import pytest

from core.study.findings import clearly_above_chance, describe, half_way, lead_curve, significance_note


def curve(values, *, chance=0.1, num_queries=1000, samples="test", pooling="mean", measure="SI"):
    """A curve through layers a, b, c, ..."""
    return pd.DataFrame(
        {
            "layer": [chr(ord("a") + index) for index in range(len(values))],
            "position": range(len(values)),
            "measure": measure,
            "samples": samples,
            "pooling": pooling,
            "value": values,
            "low": np.nan,
            "chance": chance,
            "num_queries": num_queries,
        }
    )


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([0.1, 0.2, 0.5, 0.9], 2),  # half of the gain is 0.5
        ([0.1, 0.6, 0.2, 0.9], 3),  # reached early, lost again
        ([0.5, 0.6, 0.9, 0.1], 0),  # what comes after the best does not count
        ([0.9], 0),
    ],
)
def test_half_of_the_gain_is_reached_for_good(values, expected):
    assert half_way(np.array(values) - 0.1) == expected


def test_clearly_above_chance_takes_the_interval_and_three_standard_errors():
    rows = curve([0.15, 0.15, 0.5, 0.12]).assign(low=[0.101, 0.1, 0.099, 0.101], p_value=1e-9)
    assert clearly_above_chance(rows).tolist() == [True, False, False, False]


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
    ("values", "headline"),
    [
        ([0.10, 0.12, 0.15, 0.20, 0.80, 0.90], "The classes separate late"),
        ([0.10, 0.12, 0.15, 0.70, 0.80, 0.90], "The classes separate midway"),
        ([0.10, 0.60, 0.65, 0.70, 0.80, 0.90], "The classes separate early"),
        ([0.60, 0.61, 0.65, 0.70, 0.80, 0.90], "The classes are apart from the first layer on"),
        ([0.10, 0.11, 0.09, 0.10, 0.12, 0.10], "No layer separates the classes"),
        ([0.90], "One layer"),
    ],
)
def test_the_headline(values, headline):
    assert describe(curve(values)).headline == headline


def test_the_sentences_name_the_best_layer_the_half_and_the_layers_at_chance():
    detail = describe(curve([0.10, 0.11, 0.3, 0.7, 0.94])).detail
    assert detail == (
        "Among the test samples (channel means), SI is highest in `e`, at **0.94** (chance 0.10). "
        "Half of that gain over chance is reached from `d` on, layer 4 of 5. "
        "2 layers, from `a` to `b`, are not clearly above chance."
    )


def test_layers_at_chance_that_are_not_neighbors_are_no_range():
    detail = describe(curve([0.10, 0.3, 0.10, 0.7, 0.94])).detail
    assert "2 layers, the first `a` and the last `c`, are not clearly above chance." in detail


def test_a_fall_after_the_best_layer_is_told():
    assert "The last layer, `c`, falls back to 0.50." in describe(curve([0.2, 0.9, 0.5])).detail
    assert "falls back" not in describe(curve([0.2, 0.9, 0.85])).detail


def test_no_layer_above_chance_is_said_with_the_highest():
    assert "the highest is 0.11 in `b` (chance 0.10)" in describe(curve([0.1, 0.11])).detail


def test_small_values_keep_two_digits():
    assert "(chance 0.0076)" in describe(curve([0.02, 0.5], chance=0.0076)).detail


def test_a_study_that_does_not_say_chance_gets_no_word_on_it():
    detail = describe(curve([0.2, 0.9], chance=np.nan)).detail
    assert "chance" not in detail
    assert "**0.90**" in detail


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
