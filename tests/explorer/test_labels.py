"""The words on the chart and where they stand."""

import numpy as np
import pandas as pd
import pytest

from core.report.charts.labels import _sample_counts, chance_levels, direct_labels, tooltip_table, with_series
from explorer.state.choices import Selection, select_curves
from explorer.studies.loading import read_study


@pytest.fixture
def tiny(tiny_study):
    return read_study(tiny_study)


def lines_of(study, **selection):
    chosen = Selection(**{"pooling": "mean", "samples": ("test",), **selection})
    return with_series(select_curves(study.curves, study.layers, chosen))


@pytest.mark.parametrize(
    ("selection", "names"),
    [
        ({}, ["Test"]),
        ({"samples": ("test", "cross")}, ["Test", "Test to train"]),
        ({"knn": True}, ["Test", "Test kNN"]),
        ({"pooling": "both", "knn": True}, ["Test mean", "Test flat", "Test mean kNN", "Test flat kNN"]),
    ],
)
def test_a_line_is_called_by_what_distinguishes_it(tiny, selection, names):
    assert list(lines_of(tiny, **selection)["series"].unique()) == names


def test_labels_stand_apart_inside_the_plot_in_the_order_of_the_lines(tiny):
    lines = lines_of(tiny, samples=("test", "train", "cross"), knn=True)
    labels = direct_labels(lines, 0.8, 0.04)
    assert labels["y"].diff().dropna().ge(0.04 - 1e-9).all()
    assert labels["y"].max() <= 0.8
    ends = lines.groupby("series")["value"].last()
    named = labels.dropna(subset=["samples_name"])["text"]
    assert ends[named].is_monotonic_increasing


def test_labels_that_are_apart_stay_where_their_lines_end(tiny):
    labels = direct_labels(lines_of(tiny), 0.8, 0.04).set_index("text")["y"]
    assert labels["Test"] == pytest.approx(lines_of(tiny)["value"].iloc[-1])
    assert labels["chance 0.0075"] == pytest.approx(9 / 1199)


@pytest.mark.parametrize(
    ("chance", "labels"),
    [([0.0075, 0.0083], ["0.0079"]), ([0.1, 0.2], ["0.1", "0.2"]), ([np.nan, 0.5], ["0.5"]), ([np.nan, np.nan], [])],
)
def test_chance_levels_too_close_to_tell_apart_share_a_rule(chance, labels):
    lines = pd.DataFrame({"measure": "SI", "chance": chance})
    assert [level.label for level in chance_levels(lines)] == labels


def test_the_baseline_has_no_chance_level():
    assert chance_levels(pd.DataFrame({"measure": ["kNN"], "chance": [0.3]})) == []


def test_the_tooltip_has_the_full_name_and_every_value(tiny):
    table, titles = tooltip_table(lines_of(tiny, knn=True), tiny.layers)
    assert list(titles.values()) == [
        *("Layer", "Kind", "Block", "Output", "Depth (channels)", "Parameters", "Test SI", "Test kNN", "Chance", "N")
    ]
    row = table.set_index("layer").loc["block1a_dwconv"]
    value = lines_of(tiny).set_index("layer")["value"]["block1a_dwconv"]
    assert (row["output"], row["channels"], row["parameters"]) == ("16 × 16 × 8", "8", "72")
    assert row["s0"] == f"{value:.3f}"
    assert "Layer block1a_dwconv, Kind DepthwiseConv2D, Block block1a" in row["description"]


def test_the_tooltip_says_where_pooling_makes_no_difference(tiny):
    table, _ = tooltip_table(lines_of(tiny), tiny.layers)
    assert table.set_index("layer")["output"]["avg_pool"] == "16 (no spatial axes)"


@pytest.mark.parametrize(
    ("target", "text"),
    [("population", "of the SI expected of a fresh sample"), ("data", "of the SI of all samples at hand")],
)
def test_the_tooltip_has_the_interval_and_says_of_what(tiny, target, text):
    lines = lines_of(tiny).assign(value=0.5, low=0.4, high=0.6, target=target)
    table, titles = tooltip_table(lines, tiny.layers)
    assert set(table["s0"]) == {"0.500 (0.400 to 0.600)"}
    assert set(table[_column(titles, "95% interval")]) == {text}


def test_without_an_interval_the_tooltip_does_not_speak_of_one(tiny):
    lines = lines_of(tiny).assign(target="population")
    assert "95% interval" not in tooltip_table(lines, tiny.layers)[1].values()


def test_chance_and_n_are_said_once_where_all_lines_share_them(tiny):
    table, titles = tooltip_table(lines_of(tiny, samples=("test", "train")), tiny.layers)
    assert set(table[_column(titles, "Chance")]) == {"0.0075"}
    assert set(table[_column(titles, "N")]) == {"1,200"}
    table, titles = tooltip_table(lines_of(tiny, samples=("test", "cross")), tiny.layers)
    assert set(table[_column(titles, "Chance")]) == {"Test 0.0075, Test to train 0.0083"}


def test_sampled_queries_are_told_from_all_samples(tiny):
    lines = lines_of(tiny).assign(sampling="queries", num_queries=200)
    table, titles = tooltip_table(lines, tiny.layers)
    assert set(table[_column(titles, "N")]) == {"200 queries among 1,200"}


def _column(titles, wanted):
    return next(name for name, title in titles.items() if title == wanted)


def test_what_the_study_does_not_know_has_no_line_in_the_tooltip(tiny):
    layers = tiny.layers.assign(kind="", block="", parameters=np.nan)
    assert {"Kind", "Block", "Parameters"}.isdisjoint(tooltip_table(lines_of(tiny), layers)[1].values())


def test_no_rows_have_no_counts():
    rows = pd.DataFrame({"num_queries": [5], "num_references": [9], "sampling": ["queries"]}).astype(
        {"num_queries": "int32", "num_references": "int32"}
    )
    assert _sample_counts(rows).tolist() == ["5 queries among 9"]
    assert _sample_counts(rows.iloc[:0]).tolist() == []
