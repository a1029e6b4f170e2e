"""Choosing the first and the last layer: by drawing on a strip, by a slider, by the address."""

import pandas as pd
import pytest

from core.report.charts.frame import spec_and_tables
from core.report.charts.layer_chart import layers_chart
from explorer.app_pages.layers.overview_strip import brushed_span, strip_chart
from explorer.state.choices import Choices, Selection, from_query, select_curves, select_layers, to_query
from explorer.studies.loading import read_study

NAMES = ["a", "b", "c", "d"]
OFFERED = Choices(("mean",), ("test",), False, (), (), tuple(NAMES))


@pytest.mark.parametrize(
    ("drawn", "span"),
    [
        ([1.0, 3.0], ("b", "c")),
        ([3.0, 1.0], ("b", "c")),  # drawn from right to left
        ([0.6, 2.4], ("b", "b")),  # whose middle lies within
        ([2.1, 2.3], ("c", "c")),  # within one layer
        ([0.0, 4.0], ()),
        ([4.0, 4.2], ("d", "d")),
        (None, ()),
    ],
)
def test_what_is_drawn_over_is_a_span_of_layers(drawn, span):
    assert brushed_span({} if drawn is None else {"index": drawn}, NAMES) == span


@pytest.mark.parametrize(
    "forged", [3, {"index": 3}, {"index": [1]}, {"index": ["a", "b"]}, {"index": [float("nan"), 1]}, {"x": [1, 2]}]
)
def test_what_no_browser_sends_is_no_span(forged):
    assert brushed_span(forged, NAMES) == ()


@pytest.mark.parametrize(
    ("asked", "span"),
    [(["b", "c"], ("b", "c")), (["c", "b"], ("b", "c")), (["a", "d"], ()), (["b", "z"], ()), (["b"], ()), ([], ())],
)
def test_an_address_asks_for_a_span_of_the_study(asked, span):
    found = from_query({"span": asked}, OFFERED)
    assert found.span == span
    assert to_query(found, OFFERED).get("span", []) == list(span)


def test_a_span_narrows_the_layers_with_the_other_filters():
    layers = pd.DataFrame({"layer": NAMES, "kind": ["x", "y", "x", "y"], "block": ""})
    assert list(select_layers(layers, Selection("mean", (), span=("b", "c")))["layer"]) == ["b", "c"]
    assert list(select_layers(layers, Selection("mean", (), span=("b", "d"), kinds=("y",)))["layer"]) == ["b", "d"]


def test_the_strip_starts_with_what_is_chosen():
    brush = strip_chart([0.1, 0.2, 0.3, 0.4], (1, 2))["params"][0]
    assert brush["value"] == {"x": [1, 3]}
    assert "value" not in strip_chart([0.1, 0.2], None)["params"][0]


def test_the_slider_the_address_and_the_way_back(open_view, study_writer, tmp_path):
    layers = [(f"conv{place:02d}", "Conv2D", 8, 4) for place in range(15)]
    study = study_writer(tmp_path / "many", layers=layers, splits=["train"])
    page = open_view("layers", study, table="open")
    assert page.select_slider[0].value == ("conv00", "conv14")
    page.select_slider[0].set_value(("conv03", "conv09")).run()
    assert len(page.dataframe[0].value) == 7
    assert page.query_params["span"] == ["conv03", "conv09"]

    again = open_view("layers", study, table="open", span=["conv03", "conv09"])
    assert again.select_slider[0].value == ("conv03", "conv09")
    assert again.dataframe[0].value["layer"].tolist() == [f"conv{place:02d}" for place in range(3, 10)]
    again.button(key="show_all").click().run()
    assert again.select_slider[0].value == ("conv00", "conv14")
    assert len(again.dataframe[0].value) == 15
    assert "span" not in again.query_params


def test_few_layers_need_no_strip(open_view, tiny_study):
    assert len(open_view("layers", tiny_study).get("vega_lite_chart")) == 1


def test_a_chart_that_is_kept_has_the_tables_of_the_chart(tiny_study):
    study = read_study(tiny_study)
    curves = select_curves(study.curves, study.layers, Selection("mean", ("test", "train"), knn=True))
    spec = spec_and_tables(layers_chart(curves, study.layers))
    whole = layers_chart(curves, study.layers).to_dict()

    def rows(part, datasets):
        found = [datasets[part["data"]["name"]]] if "data" in part else []
        return found + [row for layer in part.get("layer", []) for row in rows(layer, datasets)]

    kept = [
        table.astype(object).where(table.notna(), None).to_dict("records") for table in rows(spec, spec["datasets"])
    ]
    assert kept == rows(whole, whole["datasets"])
