"""The charts of a training: every specification is one of Vega-Lite, and says what the rows say."""

from pathlib import Path

import altair
import pytest

from core.analysis.curves import measured_layers, tidy_curves
from core.report.charts.frame import standalone_spec
from core.report.charts.layer_chart import layers_chart
from core.report.charts.training_charts import layer_colors, loss_chart, network_chart, training_chart
from core.report.content import make_report
from core.study.store.opening import load_study
from core.training.recording.epochs import read_epochs, read_history

DEMO = Path(__file__).resolve().parents[3] / "explorer" / "demo"
STUDY = DEMO / "digits-training"


def rows():
    table = read_epochs(STUDY)
    return table[table["measure"] == "separation"]


def order():
    return list(load_study(STUDY).layers["layer"])


@pytest.mark.parametrize("name", ["digits", "dogs", "digits-training"])
def test_every_chart_of_a_report_is_vega_lite(name):
    for section in make_report(DEMO / name).sections:
        for chart in section.charts:
            altair.LayerChart.from_dict(standalone_spec(chart.draw()))  # checks against the schema


@pytest.mark.parametrize("epoch", [None, 4])
def test_charts_of_an_epoch_are_vega_lite(epoch):
    for chart in (
        network_chart(rows(), order(), epoch),
        training_chart(rows(), order(), epoch),
        loss_chart(read_history(STUDY), epoch),
    ):
        chart.to_dict(validate=True)


def shown_epoch(chart):
    (parameter,) = [one for one in chart.to_dict()["params"] if one["name"] == "shown_epoch"]
    return parameter


def tables(chart):
    """The rows of every table of a chart."""
    return list(standalone_spec(chart)["datasets"].values())


def test_the_reader_moves_a_slider_unless_the_epoch_is_given():
    free, fixed = (shown_epoch(network_chart(rows(), order(), epoch)) for epoch in (None, 4))
    assert free["value"] == 10
    assert free["bind"] == {"input": "range", "min": 0, "max": 10, "step": 1, "name": "Epoch "}
    assert fixed == {"name": "shown_epoch", "value": 4}
    some = rows()[rows()["epoch"].isin([0, 3, 10])]
    assert shown_epoch(network_chart(some, order()))["bind"] == {
        "input": "select",
        "options": [0, 3, 10],
        "name": "Epoch ",
    }


def test_rows_are_in_network_order_and_stored_once():
    values, levels = tables(network_chart(rows(), order()))
    assert [row["layer"] for row in values[: len(order())]] == order()
    assert [row["epoch"] for row in values] == sorted(row["epoch"] for row in values)
    assert [set(row) for row in levels] == [{"value"}]


def test_what_was_not_reported_is_not_drawn():
    history = read_history(STUDY).assign(val_loss=None, val_accuracy=None, accuracy=None)
    chart = loss_chart(history)
    assert {row["name"] for rows in tables(chart) for row in rows} == {"loss"}
    assert len(chart.layer) == 1


def test_colors_are_distinct():
    assert len(set(layer_colors(60))) == 60
    assert layer_colors(1) == layer_colors(5)[:1]


def test_a_marked_layer_is_named_once():
    study = load_study(DEMO / "digits")
    layers = measured_layers(study)
    curves = tidy_curves(layers, study.measurements)
    chart = layers_chart(curves[curves["pooling"] == "mean"], layers, marked={"avg_pool": "best"})
    named = [rows for rows in tables(chart) if rows and {"layer", "text", "value"} == set(rows[0])]
    assert [[(row["layer"], row["text"]) for row in rows] for rows in named] == [[("avg_pool", "best")]]
