"""The chart's specification: what is drawn from which column, on which scale."""

import itertools

import numpy as np
import pandas as pd
import pytest

from core.report.charts.frame import spec_and_tables
from core.report.charts.layer_chart import PICK, layers_chart, with_chosen_layer
from core.report.charts.theme import GRAY
from explorer.state.choices import Selection, select_curves
from explorer.studies.loading import read_study


@pytest.fixture
def tiny(tiny_study):
    return read_study(tiny_study)


def chart_of(study, *, layers=None, change=lambda curves: curves, **selection):
    """The chart as Vega-Lite, and its marks: type to list of (mark, encoding), from all depths."""
    layers = study.layers if layers is None else layers
    chosen = Selection(**{"pooling": "mean", "samples": ("test", "train"), "knn": True, **selection})
    spec = layers_chart(change(select_curves(study.curves, layers, chosen)), layers).to_dict()
    marks = {}
    for layer in _leaves(spec):
        marks.setdefault(layer["mark"]["type"], []).append((layer["mark"], layer["encoding"]))
    return spec, marks


def _leaves(spec):
    for layer in spec["layer"]:
        yield from _leaves(layer) if "layer" in layer else [layer]


def _datasets(spec, column):
    return [rows for rows in spec["datasets"].values() if rows and column in rows[0]]


def test_layers_stand_in_network_order_on_one_axis(tiny):
    spec, _ = chart_of(tiny)
    (names,) = [param["value"] for param in spec["params"] if param["name"] == "layers"]
    assert names == tiny.layers["layer"].to_list()
    axes = [layer["encoding"]["x"]["scale"] for layer in _leaves(spec) if "scale" in layer["encoding"].get("x", {})]
    assert len(axes) >= 5
    assert all(axis == {"type": "band", "domain": {"expr": "layers"}, "padding": 0} for axis in axes)


def test_si_is_a_line_with_points(tiny):
    _, marks = chart_of(tiny, knn=False)
    assert len(marks["line"]) == 1
    ((_, points),) = marks["point"]
    assert points["y"]["field"] == "value"
    assert points["color"]["field"] == "samples_name"
    assert points["shape"]["field"] == "pooling"


def test_the_baseline_is_a_panel_of_its_own_between_si_and_channels(tiny):
    spec, marks = chart_of(tiny)
    titles = [encoding["y"]["axis"]["title"] for _, encoding in marks["line"]]
    assert titles == ["Separation Index", "Accuracy of kNN (k = 5)"]
    (si_bottom, _), (knn_bottom, knn_top) = (encoding["y"]["scale"]["range"] for _, encoding in marks["line"])
    assert knn_top > si_bottom
    assert marks["bar"][0][1]["y"]["scale"]["range"][1] > knn_bottom
    assert spec["height"] > chart_of(tiny, knn=False)[0]["height"]


def test_the_baseline_s_lines_bear_their_names_in_their_panel(tiny):
    spec, marks = chart_of(tiny)
    texts = [sorted(row["text"] for row in rows) for rows in _datasets(spec, "text") if "samples_name" in rows[0]]
    assert ["Test", "Train"] in texts
    assert ["Test kNN", "Train kNN"] in texts
    ends = [encoding["y"]["scale"]["domain"][1] for _, encoding in marks["line"]]
    knn = select_curves(tiny.curves, tiny.layers, Selection("mean", ("test", "train"), knn=True)).query(
        "measure == 'kNN'"
    )
    assert ends[1] >= knn["value"].max()


def test_a_baseline_without_values_has_no_panel(tiny):
    change = lambda curves: curves.assign(value=curves["value"].where(curves["measure"] != "kNN"))  # noqa: E731
    assert len(chart_of(tiny, change=change)[1]["line"]) == 1


def test_chance_is_a_rule_at_its_level(tiny):
    spec, marks = chart_of(tiny)
    ((_, rule),) = marks["rule"]
    assert rule["y"]["field"] == "value"
    (levels,) = [rows for rows in _datasets(spec, "text") if rows[0]["text"].startswith("Chance")]
    assert levels[0]["value"] == pytest.approx(9 / 1199)


def test_without_chance_there_is_no_rule(tiny):
    _, marks = chart_of(tiny, change=lambda curves: curves.assign(chance=np.nan))
    assert "rule" not in marks


def test_channels_and_parameters_stand_beneath_on_the_same_axis(tiny):
    _, marks = chart_of(tiny)
    titles = {encoding["y"]["field"]: encoding["y"]["axis"]["title"] for _, encoding in marks["bar"]}
    assert titles == {"channels": "Depth (channels)", "parameters": "Parameters (square-root scale)"}
    ((_, points),) = marks["point"]
    ranges = [points["y"]["scale"]["range"], *(encoding["y"]["scale"]["range"] for _, encoding in marks["bar"])]
    assert [top for _, top in ranges] == sorted(top for _, top in ranges)
    assert all(top_of_next > bottom for (bottom, _), (_, top_of_next) in itertools.pairwise(ranges))


def test_a_panel_is_left_out_where_the_study_does_not_know_the_numbers(tiny):
    layers = tiny.layers.assign(parameters=np.nan, channels=[8, 8, 8, 16, 16])
    _, marks = chart_of(tiny, layers=layers)
    assert [encoding["y"]["field"] for _, encoding in marks["bar"]] == ["channels"]


def test_intervals_are_a_band(tiny):
    assert "area" not in chart_of(tiny)[1]
    change = lambda curves: curves.assign(low=curves["value"] - 0.05, high=curves["value"] + 0.05)  # noqa: E731
    ((_, band),) = chart_of(tiny, change=change)[1]["area"]
    assert (band["y"]["field"], band["y2"]["field"]) == ("low", "high")


def test_the_y_axis_starts_at_zero_holds_everything_and_ends_at_one_at_most(tiny):
    def domain(value):
        change = lambda curves: curves.assign(value=value)  # noqa: E731
        return chart_of(tiny, change=change)[1]["point"][0][1]["y"]["scale"]["domain"]

    assert domain(0.02) == [0, 0.1]
    assert domain(0.64) == [0, 0.7]
    assert domain(1.0) == [0, 1]


def test_samples_keep_their_colors_whatever_is_shown(tiny):
    domains = [chart_of(tiny, samples=samples)[1]["point"][0][1]["color"]["scale"]["domain"] for samples in SAMPLES]
    assert domains == [["Test", "Train", "Test to train"]] * len(SAMPLES)


SAMPLES = [("test",), ("train",), ("cross",), ("test", "cross")]


def test_dashes_tell_poolings_apart_without_color(tiny):
    _, marks = chart_of(tiny, pooling="both")
    for _, line in marks["line"]:
        assert line["strokeDash"]["field"] == "pooling"
        assert len(set(map(tuple, line["strokeDash"]["scale"]["range"]))) == 2


def test_one_band_a_layer_has_tooltip_and_description(tiny):
    spec, marks = chart_of(tiny)
    (hover,) = [encoding for _, encoding in marks["rect"] if "tooltip" in encoding]
    titles = [entry["title"] for entry in hover["tooltip"]]
    assert titles[:2] == ["Layer", "Kind"]
    assert titles[-6:] == ["Test SI", "Train SI", "Test kNN", "Train kNN", "Chance", "N"]
    (rows,) = _datasets(spec, "description")
    assert len(rows) == len(tiny.layers)


def test_blocks_alternate_on_a_faint_ground(tiny):
    spec, _ = chart_of(tiny)
    (runs,) = _datasets(spec, "first")
    assert [(run["first"], run["last"]) for run in runs] == [
        ("block1a_dwconv", "block1a_add"),
        ("avg_pool", "avg_pool"),
    ]
    without = chart_of(tiny, layers=tiny.layers.assign(block=""))[0]
    assert _datasets(without, "first") == []


def test_the_chart_is_drawn_as_svg_so_that_it_can_be_saved(tiny):
    assert chart_of(tiny)[0]["usermeta"] == {"embedOptions": {"renderer": "svg"}}


def test_one_layer_makes_a_chart(tiny):
    spec, _ = chart_of(tiny, layers=tiny.layers[:1])
    assert spec["height"] > 0


def test_the_untrained_control_is_a_gray_line_with_its_name(tiny):
    curves = select_curves(tiny.curves, tiny.layers, Selection("mean", ("test",)))
    control = pd.DataFrame({"layer": ["elsewhere", *tiny.layers["layer"][:3]], "value": [0.9, 0.01, 0.02, 0.03]})
    spec = layers_chart(curves, tiny.layers, control=control).to_dict()
    gray = [layer for layer in _leaves(spec) if layer["mark"].get("color") == GRAY and layer["mark"]["type"] == "line"]
    assert len(gray) == 1
    assert [row["value"] for row in spec["datasets"][gray[0]["data"]["name"]]] == [0.01, 0.02, 0.03]
    assert any(row["text"] == "untrained" for rows in _datasets(spec, "text") for row in rows)


@pytest.mark.parametrize(("chosen", "bands"), [("block1a_add", 1), ("elsewhere", 0), (None, 0)])
def test_the_chosen_layer_is_marked_where_it_is_shown(tiny, chosen, bands):
    curves = select_curves(tiny.curves, tiny.layers, Selection("mean", ("test",)))
    spec = layers_chart(curves, tiny.layers, chosen=chosen).to_dict()
    marked = [layer for layer in _leaves(spec) if layer["mark"]["type"] == "rect" and "stroke" in layer["mark"]]
    assert len(marked) == bands
    (pick,) = [param for param in spec["params"] if param["name"] == PICK]
    assert pick["select"]["fields"] == ["layer"]


@pytest.mark.parametrize("chosen", ["stem_conv", "block1a_add", None])
def test_another_layer_is_marked_without_making_the_chart_again(tiny, chosen):
    curves = select_curves(tiny.curves, tiny.layers, Selection("mean", ("test",)))
    spec = spec_and_tables(layers_chart(curves, tiny.layers, chosen="stem_conv"))
    before = repr(spec)
    moved = with_chosen_layer(spec, chosen)
    expected = spec_and_tables(layers_chart(curves, tiny.layers, chosen=chosen))
    assert _drawn(moved) == _drawn(expected)
    assert repr(spec) == before
    assert _drawn(with_chosen_layer(moved, "stem_conv")) == _drawn(spec if chosen else moved)


def _drawn(spec):
    """The marks with the rows that they draw, whatever the names of marks and tables."""
    tables, drawn = spec["datasets"], []
    for layer in _leaves(spec):
        drawn.append({**layer, "name": None, "data": tables[layer["data"]["name"]].to_csv()})
    return drawn
