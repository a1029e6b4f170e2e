"""Tables, correlations, words and charts of the page Compare."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from core.analysis.layer_properties import PROPERTIES, correlations, rank_correlation
from core.report.charts.change_chart import change_chart
from core.report.charts.property_chart import property_chart
from explorer.app_pages.compare.tables import (
    CompareSelection,
    compare_query,
    compare_selection,
    control_curve,
    correlation_text,
    dots_finding,
    layer_dots,
)
from explorer.studies.loading import read_study
from explorer.studies.provenance import control_of


def changes(differences, meanings, **columns):
    count = len(differences)
    table = pd.DataFrame({"layer": [f"layer{index}" for index in range(count)], "difference": differences})
    table = table.assign(layer_before=table["layer"], before=0.4, after=0.4 + table["difference"], verdict=meanings)
    return table.assign(low=table["difference"] - 0.02, high=table["difference"] + 0.02, paired=True, **columns)


@pytest.fixture
def study(tiny_study):
    return read_study(tiny_study)


@pytest.fixture
def probe():
    return pd.DataFrame({"split": "test", "layer": ["stem_conv", "avg_pool"], "value": [0.1, 0.7]})


def test_a_dot_a_layer_with_what_is_known_of_it(study, probe):
    dots = layer_dots(study, probe, CompareSelection("mean", "test")).set_index("layer")
    assert list(dots.index) == ["stem_conv", "block1a_dwconv", "block1a_add", "block2a_conv", "avg_pool"]
    curve = study.curves[(study.curves["samples"] == "test") & (study.curves["pooling"] == "mean")]
    knn = curve[curve["measure"] == "kNN"].set_index("layer")["value"]
    assert dots["knn"].to_dict() == knn.to_dict()
    assert np.isnan(dots.loc["block1a_add", "parameters"])  # none: no place on a log axis
    assert list(dots["linear_probe"].dropna()) == [0.1, 0.7]


def test_a_layer_before_all_parameters_has_no_place_on_their_axis(study, probe):
    less = study.layers["cumulative_parameters"] - study.layers["cumulative_parameters"].min()
    dots = layer_dots(
        replace(study, layers=study.layers.assign(cumulative_parameters=less)), probe, CompareSelection("mean", "test")
    )
    assert dots["cumulative_parameters"].isna().to_list() == [True, False, False, False, False]


def test_spearman_by_hand_and_with_its_interval():
    found = rank_correlation(pd.Series([1, 20, 300, 4000, 50000, np.nan]), pd.Series([0.1, 0.2, 0.4, 0.3, 0.9, 0.5]))
    assert found.value == pytest.approx(0.9)  # 1 - 6 · 2 / (5 · 24)
    assert found.num_layers == 5
    half = 1.959964 * np.sqrt(1.06 / 2)
    assert (found.low, found.high) == pytest.approx(tuple(np.tanh(np.arctanh(0.9) + np.array([-half, half]))))
    assert correlation_text(found) == f"Spearman 0.90 ({found.low:.2f} to {found.high:.2f}), 5 layers"


@pytest.mark.parametrize("values", [[1, 2, 3], [5, 5, 5, 5]])
def test_too_few_values_have_no_correlation(values):
    found = rank_correlation(pd.Series(values), pd.Series(np.linspace(0, 1, len(values))))
    assert np.isnan(found.value)
    assert "too few different values" in correlation_text(found)


def test_ties_share_their_rank():
    assert rank_correlation(pd.Series([1, 1, 2, 2]), pd.Series([1, 2, 3, 4])).value == pytest.approx(0.8944, abs=1e-4)


def test_the_properties_that_si_is_correlated_with_are_named_in_order(study, probe):
    selection = CompareSelection("mean", "test")
    found = correlations(layer_dots(study, probe, selection))
    text = dots_finding(found, selection)
    assert text.startswith("Test samples, channel means: SI is correlated with ")
    assert "position in the network" in text
    assert "[" not in text  # the numbers stand at the charts, once
    uncertain = {name: one for name, one in found.items() if not (one.low > 0 or one.high < 0)}
    assert "these layers cannot decide" in dots_finding(uncertain, selection)
    assert "correlated with none" not in dots_finding(uncertain, selection)


def test_layers_with_many_ties_are_shown_and_not_judged(study, probe):
    tied = study.curves["layer"].eq("avg_pool") & study.curves["measure"].eq("SI")
    curves = study.curves.assign(num_tied=tied * study.curves["num_queries"])
    dots = layer_dots(replace(study, curves=curves), probe, CompareSelection("mean", "test"))
    assert dots.loc[dots["tied"], "layer"].tolist() == ["avg_pool"]
    assert correlations(dots)["position"].num_layers == 4


def test_an_address_says_what_differs_from_the_default(study):
    curves = study.curves
    assert compare_query(compare_selection({}, curves), curves) == {}
    query = {"pooling": ["flat"], "samples": ["cross"], "match": ["position"], "before": ["other"]}
    assert compare_query(compare_selection(query, curves), curves) == query
    assert compare_selection({"pooling": ["max"], "match": ["guess"]}, curves) == CompareSelection("mean", "test")


def test_the_control_is_the_untrained_network_on_the_same_data(study):
    def info(weights, data="0f3a" * 16, model="efficientnet-lite0"):
        return {"used": {"model": {"name": model, "weights": weights}, "data": {"fingerprint": data}}}

    infos = {
        "trained": info("imagenet"),
        "other data": info("none", data="x"),
        "other network": info("none", model="b0"),
        "control": info("none"),
    }
    assert control_of(study, infos) == "control"
    assert control_of(study, {"trained": infos["trained"]}) is None
    curve = control_curve(study, CompareSelection("mean", "test"), ["stem_conv", "elsewhere"])
    assert list(curve["layer"]) == ["stem_conv"]


@pytest.mark.parametrize("column", PROPERTIES)
def test_the_dots_are_drawn_as_the_schema_asks(study, probe, column):
    dots = layer_dots(study, probe, CompareSelection("mean", "test"))
    spec = property_chart(dots.assign(low=dots["si"] - 0.01, high=dots["si"] + 0.01), column).to_dict(validate=True)
    point = spec["layer"][-1]["encoding"]
    assert point["x"]["field"] == column
    assert point["x"]["scale"]["type"] == ("log" if PROPERTIES[column][1] else "linear")
    assert point["x"]["axis"]["title"] == PROPERTIES[column][0]


def test_both_curves_the_control_and_the_difference_are_drawn():
    table = changes([0.0, -0.05, 0.08], ["no certain change", "fell", "rose"])
    control = pd.DataFrame({"layer": ["layer2", "layer0"], "value": [0.02, 0.01]})
    spec = change_chart(table, control, ("old", "new")).to_dict(validate=True)
    values = [row for rows in spec["datasets"].values() for row in rows]
    assert {row["text"] for row in values if "text" in row} == {"old", "new", "untrained control"}
    drawn = [row for row in values if row.get("line") == "control" and "text" not in row]
    assert [row["layer"] for row in drawn] == ["layer0", "layer2"]
    described = [row["description"] for row in values if "description" in row]
    assert described[1] == ("Layer layer1, old 0.400, new 0.350, Difference -0.050 (-0.070 to -0.030), Meaning fell")


def test_without_intervals_or_control_only_the_curves_are_drawn():
    table = changes([0.1, 0.2], ["no interval"] * 2).assign(low=np.nan, high=np.nan, layer_before=["a", "b"])
    spec = change_chart(table, pd.DataFrame(columns=["layer", "value"]), ("old", "new")).to_dict(validate=True)
    marks = [part["mark"]["type"] for panel in spec["layer"] for part in panel.get("layer", [panel])]
    assert "area" not in marks
    values = [row for rows in spec["datasets"].values() for row in rows]
    assert any("Compared with a" in row.get("description", "") for row in values)
