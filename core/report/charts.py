"""The charts of a report as Vega-Lite specifications, each a function from a DataFrame to a dict.

Colors are those of the page's theme.
"""

from collections.abc import Mapping, Sequence

import pandas as pd

from core.report.marks import (
    GRAY,
    Spec,
    chance_rules,
    known_values,
    layer_axis,
    legend,
    legend_selection,
    page_wide,
    records,
    selected_opacity,
    si_axis,
    tooltip_field,
)

SAMPLES = {"test": "Test", "train": "Train", "cross": "Test to train"}
HEIGHT, CLASS_HEIGHT = 300, 17  # pixels: of the chart of layers, of each class


def layers_chart(curves: pd.DataFrame, layers: pd.DataFrame, marked: Mapping[str, str]) -> Spec:
    """Draw SI through the network: a line with interval for each set of samples, the chance level, and kNN, dotted.

    Parameters
    ----------
    curves : DataFrame
        As returned by `core.analysis.curves.tidy_curves`, of one pooling.
    layers : DataFrame
        The layers of the study, in network order.
    marked : mapping
        From some layers to a word that is written beside them.
    """
    rows = _curve_rows(curves, layers)
    layers_shown, samples_shown = {row["layer"] for row in rows}, {row["samples"] for row in rows}
    order = [name for name in layers["layer"] if name in layers_shown]
    series = [name for name in SAMPLES.values() if name in samples_shown]
    x = {"field": "layer", "type": "nominal", "sort": None, "scale": {"domain": order}, "axis": layer_axis()}
    y = si_axis(known_values(rows, "value", "high", "chance"))
    color = {"field": "samples", "type": "nominal", "scale": {"domain": series}, "legend": legend()}
    si_only = {"transform": [{"filter": "datum.measure === 'SI'"}]}
    interval = {
        **si_only,
        "mark": {"type": "area"},
        "encoding": {"y": {**y, "field": "low"}, "y2": {"field": "high"}, "opacity": selected_opacity(0.16)},
    }
    knn_line = {
        "transform": [{"filter": "datum.measure === 'kNN'"}],
        "mark": {"type": "line", "strokeWidth": 1.3, "strokeDash": [2, 3]},
        "encoding": {"y": y, "opacity": selected_opacity(0.8)},
    }
    si_line = {
        **si_only,
        "mark": {"type": "line", "strokeWidth": 2},
        "encoding": {"y": y, "opacity": selected_opacity(1)},
    }
    points = {
        **si_only,
        "params": [legend_selection("samples")],
        "mark": {"type": "point", "filled": True, "size": 34 if len(order) <= 80 else 14},
        "encoding": {"y": y, "tooltip": _tooltip(), "opacity": selected_opacity(1)},
    }
    marks = [interval, *chance_rules(rows, y), knn_line, si_line, points, *_marked_layers(rows, marked, y)]
    return page_wide({"data": {"values": rows}, "height": HEIGHT, "encoding": {"x": x, "color": color}, "layer": marks})


def class_chart(classes: pd.DataFrame) -> Spec:
    """Draw one bar a class, in the order of the rows.

    Parameters
    ----------
    classes : DataFrame
        With the columns class_name, num_queries, value, chance.
    """
    named = classes.assign(class_name=classes["class_name"].astype(str))
    rows = records(named, ["class_name", "value", "chance", "num_queries"])
    order = [row["class_name"] for row in rows]
    y: Spec = {"field": "class_name", "type": "nominal", "sort": None, "scale": {"domain": order}, "title": None}
    y["axis"] = {"labelLimit": 170, "ticks": False, "domain": False}
    scale = {"scale": {"domain": [0, 1]}, "title": "Separation Index", "axis": {"orient": "top", "tickCount": 5}}
    tooltip = [
        tooltip_field("class_name", "Class"),
        tooltip_field("value", "SI", ".3f"),
        tooltip_field("chance", "Chance", ".4f"),
        tooltip_field("num_queries", "Samples", ","),
    ]
    return page_wide(
        {
            "data": {"values": rows},
            "height": CLASS_HEIGHT * len(order),
            "encoding": {"y": y},
            "layer": [
                {
                    "mark": {"type": "bar", "opacity": 0.75},
                    "encoding": {"x": {"field": "value", "type": "quantitative", **scale}, "tooltip": tooltip},
                },
                {
                    "mark": {"type": "tick", "color": GRAY, "thickness": 2},
                    "encoding": {"x": {"field": "chance", "type": "quantitative"}},
                },
            ],
        }
    )


def sizes_chart(curve: pd.DataFrame) -> Spec:
    """Draw SI over sample size.

    Parameters
    ----------
    curve : DataFrame
        Rows of the table `curves` of a study, of the kinds observed, fitted and extrapolated.
    """
    rows = records(curve.assign(kind=curve["kind"].astype(str)), ["size", "kind", "value", "low", "high"])
    x = {
        "field": "size",
        "type": "quantitative",
        "scale": {"type": "log"},
        "title": "Samples",
        "axis": {"tickCount": 6, "grid": False, "labelOverlap": True},
    }
    y = si_axis(known_values(rows, "value", "high"))
    tooltip = [
        tooltip_field("size", "Samples", ","),
        tooltip_field("kind", "Kind"),
        tooltip_field("value", "SI", ".3f"),
    ]
    line = {"transform": [{"filter": "datum.kind !== 'observed'"}]}
    dash: Spec = {"field": "kind", "type": "nominal", "legend": None}
    dash["scale"] = {"domain": ["fitted", "extrapolated"], "range": [[1, 0], [5, 4]]}
    return page_wide(
        {
            "data": {"values": rows},
            "height": 240,
            "encoding": {"x": x},
            "layer": [
                {
                    **line,
                    "mark": {"type": "area", "opacity": 0.16},
                    "encoding": {"y": {**y, "field": "low"}, "y2": {"field": "high"}},
                },
                {**line, "mark": {"type": "line"}, "encoding": {"y": y, "strokeDash": dash}},
                {
                    "transform": [{"filter": "datum.kind === 'observed'"}],
                    "mark": {"type": "point", "filled": True, "size": 60},
                    "encoding": {"y": y, "tooltip": tooltip},
                },
            ],
        }
    )


def _curve_rows(curves: pd.DataFrame, layers: pd.DataFrame) -> list[Spec]:
    """The rows of the curves with the properties of their layers, in network order."""
    properties = layers[["layer", "kind", "output_shape", "channels", "parameters"]]
    rows = curves.merge(properties, on="layer").sort_values("position", kind="stable")
    rows = rows.assign(
        samples=rows["samples"].map(lambda name: SAMPLES.get(name, name)),
        shape=rows["output_shape"].map(lambda shape: " × ".join(map(str, shape))),
    )
    columns = ["layer", "measure", "samples", "value", "low", "high", "chance", "kind", "shape", "parameters"]
    return records(rows, columns)


def _tooltip() -> list[Spec]:
    return [
        tooltip_field("layer", "Layer"),
        tooltip_field("kind", "Kind"),
        tooltip_field("shape", "Output"),
        tooltip_field("parameters", "Parameters", ","),
        tooltip_field("samples", "Samples"),
        tooltip_field("value", "SI", ".3f"),
        tooltip_field("low", "95 %, low", ".3f"),
        tooltip_field("high", "95 %, high", ".3f"),
        tooltip_field("chance", "Chance", ".4f"),
    ]


def _marked_layers(rows: Sequence[Spec], marked: Mapping[str, str], y: Spec) -> list[Spec]:
    """A ring and a word above some layers, on the line of the first set of samples."""
    samples = _first_samples(rows)
    values = [
        {"layer": row["layer"], "value": row["value"], "text": marked[row["layer"]]}
        for row in rows
        if row["layer"] in marked and row["measure"] == "SI" and row["samples"] == samples
    ]
    if not values:
        return []
    ring = {"type": "point", "size": 150, "filled": False, "color": GRAY, "strokeWidth": 2}
    text = {"type": "text", "dy": -14, "fontWeight": 600, "color": GRAY, "align": "right"}
    return [
        {"data": {"values": values}, "mark": ring, "encoding": {"y": y, "color": {"value": GRAY}}},
        {
            "data": {"values": values},
            "mark": text,
            "encoding": {"y": y, "color": {"value": GRAY}, "text": {"field": "text"}},
        },
    ]


def _first_samples(rows: Sequence[Spec]) -> str:
    """The set of samples whose line is named first in the legend."""
    present = {row["samples"] for row in rows}
    for name in SAMPLES.values():
        if name in present:
            return name
    return str(rows[0]["samples"]) if rows else ""
