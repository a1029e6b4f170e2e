"""The charts of a training: every specification is one of Vega-Lite, and says what the rows say."""

from pathlib import Path

import altair
import pytest

from core.analysis.curves import measured_layers, tidy_curves
from core.report.charts import layers_chart
from core.report.content import make_report
from core.report.training_charts import layer_colors, loss_chart, network_chart, training_chart
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
            altair.Chart.from_dict(chart.spec)  # checks against the schema


@pytest.mark.parametrize("epoch", [None, 4])
def test_charts_of_an_epoch_are_vega_lite(epoch):
    for spec in (
        network_chart(rows(), order(), epoch),
        training_chart(rows(), order(), epoch),
        loss_chart(read_history(STUDY), epoch),
    ):
        altair.Chart.from_dict(spec)


def test_the_reader_moves_a_slider_unless_the_epoch_is_given():
    free, fixed = (network_chart(rows(), order(), epoch)["params"][0] for epoch in (None, 4))
    assert free["value"] == 10
    assert free["bind"] == {"input": "range", "min": 0, "max": 10, "step": 1, "name": "Epoch "}
    assert fixed == {"name": "shown_epoch", "value": 4}
    some = rows()[rows()["epoch"].isin([0, 3, 10])]
    assert network_chart(some, order())["params"][0]["bind"] == {
        "input": "select",
        "options": [0, 3, 10],
        "name": "Epoch ",
    }


def test_rows_are_in_network_order():
    values = network_chart(rows(), order())["data"]["values"]
    assert [row["layer"] for row in values[: len(order())]] == order()
    assert [row["epoch"] for row in values] == sorted(row["epoch"] for row in values)


def test_what_was_not_reported_is_not_drawn():
    history = read_history(STUDY).assign(val_loss=None, val_accuracy=None, accuracy=None)
    spec = loss_chart(history)
    assert {row["name"] for row in spec["data"]["values"]} == {"loss"}
    assert len(spec["layer"]) == 1


def test_colors_are_distinct():
    assert len(set(layer_colors(60))) == 60
    assert layer_colors(1) == layer_colors(5)[:1]


def test_a_marked_layer_is_named_once():
    study = load_study(DEMO / "digits")
    layers = measured_layers(study)
    curves = tidy_curves(layers, study.measurements)
    spec = layers_chart(curves[curves["pooling"] == "mean"], layers, {"avg_pool": "best"})
    named = [layer["data"]["values"] for layer in spec["layer"] if layer["mark"]["type"] == "text"]
    assert [[(row["layer"], row["text"]) for row in values] for values in named] == [[("avg_pool", "best")]]
