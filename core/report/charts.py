"""The charts of a report as Vega-Lite specifications: DataFrame in, dict out. Colors come with the page's theme."""

from collections.abc import Mapping, Sequence

import pandas as pd

from core.report.marks import (
    GRAY,
    Spec,
    chance_rules,
    faded,
    layer_axis,
    legend,
    one_alone,
    page_wide,
    records,
    shown,
    si_axis,
)

SAMPLES = {"test": "Test", "train": "Train", "cross": "Test to train"}
HEIGHT, CLASS_HEIGHT = 300, 17


def layers_chart(curves: pd.DataFrame, layers: pd.DataFrame, marked: Mapping[str, str]) -> Spec:
    """SI through the network, one line for each set of samples, with interval and chance; parameters beneath.

    Parameters
    ----------
    curves : of `core.analysis.curves.tidy_curves`, of one pooling; SI and, dotted, kNN.
    layers : in network order. marked : a word beside some layers.
    """
    rows = _curve_rows(curves, layers)
    order = [name for name in layers["layer"] if name in {row["layer"] for row in rows}]
    x = {"field": "layer", "type": "nominal", "sort": None, "scale": {"domain": order}, "axis": layer_axis()}
    y = si_axis([row[name] for row in rows for name in ("value", "high", "chance") if row[name] is not None])
    series = [name for name in SAMPLES.values() if any(row["samples"] == name for row in rows)]
    color = {"field": "samples", "type": "nominal", "scale": {"domain": series}, "legend": legend()}
    only = {"transform": [{"filter": "datum.measure === 'SI'"}]}
    marks: list[Spec] = [
        {
            **only,
            "mark": {"type": "area", "opacity": 0.16},
            "encoding": {"y": {**y, "field": "low"}, "y2": {"field": "high"}},
        },
        *chance_rules(rows, y),
        {
            "transform": [{"filter": "datum.measure === 'kNN'"}],
            "mark": {"type": "line", "strokeWidth": 1.3, "strokeDash": [2, 3], "opacity": 0.8},
            "encoding": {"y": y},
        },
        {**only, "mark": {"type": "line", "strokeWidth": 2}, "encoding": {"y": y}},
        {
            **only,
            "params": [one_alone("samples")],
            "mark": {"type": "point", "filled": True, "size": 34 if len(order) <= 80 else 14},
            "encoding": {"y": y, "tooltip": _tooltip(), "opacity": faded(1)},
        },
        *_marked_layers(rows, marked, y),
    ]
    for mark in (marks[0], *[one for one in marks if one["mark"]["type"] == "line"]):
        mark["encoding"]["opacity"] = faded(mark["mark"].pop("opacity", 1))
    return page_wide({"data": {"values": rows}, "height": HEIGHT, "encoding": {"x": x, "color": color}, "layer": marks})


def class_chart(classes: pd.DataFrame) -> Spec:
    """One bar a class in the order given; columns class_name, num_queries, value, chance."""
    rows = records(
        classes.assign(class_name=classes["class_name"].astype(str)), ["class_name", "value", "chance", "num_queries"]
    )
    order = [row["class_name"] for row in rows]
    y: Spec = {"field": "class_name", "type": "nominal", "sort": None, "scale": {"domain": order}, "title": None}
    scale = {"scale": {"domain": [0, 1]}, "title": "Separation Index", "axis": {"orient": "top", "tickCount": 5}}
    tooltip = [shown("class_name", "Class"), shown("value", "SI", ".3f"), shown("chance", "Chance", ".4f")]
    tooltip.append(shown("num_queries", "Samples", ","))
    y["axis"] = {"labelLimit": 170, "ticks": False, "domain": False}
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
    """SI over sample size: rows of the table `curves`, of kind observed, fitted and extrapolated."""
    rows = records(curve.assign(kind=curve["kind"].astype(str)), ["size", "kind", "value", "low", "high"])
    x = {
        "field": "size",
        "type": "quantitative",
        "scale": {"type": "log"},
        "title": "Samples",
        "axis": {"tickCount": 6, "grid": False, "labelOverlap": True},
    }
    y = si_axis([row[name] for row in rows for name in ("value", "high") if row[name] is not None])
    tooltip = [shown("size", "Samples", ","), shown("kind", "Kind"), shown("value", "SI", ".3f")]
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
    known = layers[["layer", "kind", "output_shape", "channels", "parameters"]]
    rows = curves.merge(known, on="layer").sort_values("position", kind="stable")
    rows = rows.assign(
        samples=rows["samples"].map(lambda name: SAMPLES.get(name, name)),
        shape=rows["output_shape"].map(lambda shape: " × ".join(map(str, shape))),
    )
    columns = ["layer", "measure", "samples", "value", "low", "high", "chance", "kind", "shape", "parameters"]
    return records(rows, columns)


def _tooltip() -> list[Spec]:
    texts = [shown("layer", "Layer"), shown("kind", "Kind"), shown("shape", "Output")]
    numbers = [shown("value", "SI", ".3f"), shown("low", "95 %, low", ".3f"), shown("high", "95 %, high", ".3f")]
    return [
        *texts,
        shown("parameters", "Parameters", ","),
        shown("samples", "Samples"),
        *numbers,
        shown("chance", "Chance", ".4f"),
    ]


def _marked_layers(rows: Sequence[Spec], marked: Mapping[str, str], y: Spec) -> list[Spec]:
    """A word above some layers, at the first line."""
    first = rows[0]["samples"] if rows else ""
    values = [
        {"layer": row["layer"], "value": row["value"], "text": marked[row["layer"]]}
        for row in rows
        if row["layer"] in marked and row["measure"] == "SI" and row["samples"] == _first_samples(rows, first)
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


def _first_samples(rows: Sequence[Spec], default: str) -> str:
    found = {row["samples"] for row in rows}
    return next((name for name in SAMPLES.values() if name in found), default)
