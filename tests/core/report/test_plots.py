"""A study in a notebook: its display, its charts, and what is said where Altair or a value is missing."""

import base64
import re
import sys
from pathlib import Path

import altair
import numpy as np
import pytest

import core
from core.report.charts.frame import standalone_spec

DEMO = Path(__file__).resolve().parents[3] / "explorer" / "demo"


@pytest.fixture(scope="module")
def digits():
    return core.load_study(DEMO / "digits")


@pytest.fixture
def without_altair(monkeypatch):
    for name in [name for name in sys.modules if name.startswith("core.report.charts")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "altair", None)


def rows(chart, column):
    return [row for table in standalone_spec(chart)["datasets"].values() for row in table if column in row]


def test_a_study_has_a_short_text(digits):
    assert repr(digits) == f"Study({str(digits.path)!r}: efficientnet-lite0, digits, complete)"


def test_a_notebook_shows_finding_chart_and_table(digits):
    bundle = digits._repr_mimebundle_()
    assert bundle["text/plain"] == repr(digits)
    html = bundle["text/html"]
    assert "<h3>The classes are" in html
    assert picture_of(html).startswith(b"<svg")
    assert "http" not in html
    assert html.count("<tr>") == 1 + len(digits.layers)
    assert "block6b_dwconv (best)" in html


def picture_of(html):
    return base64.b64decode(re.search('src="data:image/svg.xml;base64,([^"]+)"', html)[1])


def test_without_the_renderer_altair_draws_the_chart(digits, monkeypatch):
    monkeypatch.setitem(sys.modules, "vl_convert", None)
    assert "vegaEmbed" in digits._repr_mimebundle_()["text/html"]


def test_without_altair_the_chart_is_a_hint(digits, without_altair):
    html = digits._repr_mimebundle_()["text/html"]
    assert "pip install altair" in html
    assert "<img" not in html
    assert html.count("<tr>") == 1 + len(digits.layers)
    with pytest.raises(ImportError, match=r"^charts need Altair, which is not installed: pip install altair\.$"):
        digits.plot()


def test_a_study_without_values_shows_its_text(tmp_path):
    study = core.study_from_features({"only": np.eye(6)}, [0, 0, 0, 1, 1, 1], out=tmp_path / "study")
    (study.path / "measurements.parquet").unlink()
    bundle = core.load_study(study.path)._repr_mimebundle_()
    assert list(bundle) == ["text/plain"]
    assert "must have values of SI" in bundle["text/plain"]


def test_names_are_never_markup(tmp_path):
    layers = {"<img src=x>": np.eye(6), "b": np.eye(6)[::-1]}
    study = core.study_from_features(layers, ["<u>", "<u>", "<u>", "b", "b", "b"], out=tmp_path / "<i>")
    html = study._repr_mimebundle_()["text/html"]
    assert "<img src=x>" not in html
    assert b"<img" not in picture_of(html)


def test_the_plot_is_the_page_s_chart(digits):
    chart = digits.plot()
    assert isinstance(chart, altair.LayerChart)
    chart.to_dict(validate=True)
    values = {row["layer"]: row["value"] for row in rows(digits.plot(), "series") if row["series"] == "Test"}
    expected = digits.measurements.query("measure == 'separation' and split == 'test' and sampling == 'full'")
    stored = expected[expected["pooling"] == "mean"].astype({"layer": object}).set_index("layer")["value"]
    assert {name: values[name] for name in stored.index} == pytest.approx(stored.to_dict(), abs=1e-5)
    assert {row["text"] for row in rows(chart, "text")} >= {"Test", "Train", "best"}


@pytest.mark.parametrize("name", ["parameters", "channels", "cumulative_parameters", "position", "knn"])
def test_si_against_a_property(digits, name):
    chart = digits.plot_against(name)
    chart.to_dict(validate=True)
    points = {row["layer"]: row[name] for row in rows(chart, "x_text")}
    known = digits.layers.set_index("layer")
    if name in known:
        assert points == {layer: known.loc[layer, name] for layer in points}
    assert len(points) == (50 if name == "parameters" else 60)


def test_classes_at_the_best_or_another_layer(digits):
    chart = digits.plot_classes("stem_conv", samples="test")
    chart.to_dict(validate=True)
    shown = {row["class_name"]: row["value"] for row in rows(chart, "class_name")}
    stored = digits.classes.query("layer == 'stem_conv' and split == 'test' and measure == 'separation'")
    stored = stored[stored["pooling"] == "mean"]
    assert sorted(shown.values()) == pytest.approx(sorted(stored["value"]), abs=1e-5)
    assert list(shown.values()) == sorted(shown.values())  # the hardest first
    assert digits.plot_classes().title == "SI of each class at block6b_dwconv"
    assert core.load_study(DEMO / "dogs").plot_classes().title.endswith(", the 40 hardest of 120 classes")


@pytest.mark.parametrize(
    ("draw", "text"),
    [
        (
            lambda study: study.plot(samples="all", pooling="max"),
            r"samples must be one of 'test', 'train', 'cross' .*; got 'all'\. pooling must be .*; got 'max'\.",
        ),
        (lambda study: study.plot_against("depth"), r"layer_property must be one .*'channels'.*; got 'depth'\."),
        (lambda study: study.plot_classes("top"), r"layer must be one that the study .* has; got 'top'\."),
    ],
)
def test_what_cannot_be_drawn_is_refused(digits, draw, text):
    with pytest.raises(ValueError, match=text):
        draw(digits)


def test_results_have_short_texts():
    features = [[0.0], [1.0], [3.0], [10.0], [11.5]]
    labels = [0, 0, 0, 1, 1]
    neighbors = core.nearest_neighbors(np.float32(features), k=2)
    assert repr(neighbors) == f"Neighbors(num_queries=5, k=2, num_rechecked={neighbors.num_rechecked})"
    assert repr(core.separation_index(features, labels)) == (
        "Separation(measure='separation', value=1.0000, chance=0.4000, num_samples=5, num_classes=2)"
    )
    soft = repr(core.soft_separation_index(features, labels, order=2))
    assert soft.startswith("Separation(measure='soft', order=2, value=0.8000, ")


def test_a_plan_has_a_short_text():
    plan = core.plan_study(core.StudyOptions("digits", model="pixels", per_class=2))
    assert repr(plan).startswith("Plan(pixels on digits: ")
    assert len(repr(plan)) < 120
