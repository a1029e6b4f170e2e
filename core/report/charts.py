"""The charts of a report as Vega-Lite specifications: DataFrame in, dict out. Colors come with the page's theme."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

Spec = dict[str, Any]

SCHEMA = "https://vega.github.io/schema/vega-lite/v6.json"
SAMPLES = {"test": "Test", "train": "Train", "cross": "Test to train"}
GRAY = "#808895"  # readable on white and on near-black
HEIGHT, CLASS_HEIGHT = 300, 17
_AXIS_WIDTH = 44  # the same for charts one above the other, so that their layers stand above each other


def layers_chart(curves: pd.DataFrame, layers: pd.DataFrame, marked: Mapping[str, str]) -> Spec:
    """SI through the network, one line for each set of samples, with interval and chance; parameters beneath.

    Parameters
    ----------
    curves : of `core.study.curves.tidy_curves`, of one pooling; SI and, dotted, kNN.
    layers : in network order. marked : a word beside some layers.
    """
    rows = _curve_rows(curves, layers)
    order = [name for name in layers["layer"] if name in {row["layer"] for row in rows}]
    x = {"field": "layer", "type": "nominal", "sort": None, "scale": {"domain": order}, "axis": _layer_axis()}
    y = _si_axis([row[name] for row in rows for name in ("value", "high", "chance") if row[name] is not None])
    series = [name for name in SAMPLES.values() if any(row["samples"] == name for row in rows)]
    color = {"field": "samples", "type": "nominal", "scale": {"domain": series}, "legend": _legend()}
    only = {"transform": [{"filter": "datum.measure === 'SI'"}]}
    marks: list[Spec] = [
        {
            **only,
            "mark": {"type": "area", "opacity": 0.16},
            "encoding": {"y": {**y, "field": "low"}, "y2": {"field": "high"}},
        },
        *_chance_rules(rows, y),
        {
            "transform": [{"filter": "datum.measure === 'kNN'"}],
            "mark": {"type": "line", "strokeWidth": 1.3, "strokeDash": [2, 3], "opacity": 0.8},
            "encoding": {"y": y},
        },
        {**only, "mark": {"type": "line", "strokeWidth": 2}, "encoding": {"y": y}},
        {
            **only,
            "params": [_one_alone("samples")],
            "mark": {"type": "point", "filled": True, "size": 34 if len(order) <= 80 else 14},
            "encoding": {"y": y, "tooltip": _tooltip(), "opacity": _faded(1)},
        },
        *_marked_layers(rows, marked, y),
    ]
    for mark in (marks[0], *[one for one in marks if one["mark"]["type"] == "line"]):
        mark["encoding"]["opacity"] = _faded(mark["mark"].pop("opacity", 1))
    return _page_wide(
        {"data": {"values": rows}, "height": HEIGHT, "encoding": {"x": x, "color": color}, "layer": marks}
    )


def class_chart(classes: pd.DataFrame) -> Spec:
    """One bar a class in the order given; columns class_name, num_queries, value, chance."""
    rows = _records(
        classes.assign(class_name=classes["class_name"].astype(str)), ["class_name", "value", "chance", "num_queries"]
    )
    order = [row["class_name"] for row in rows]
    y: Spec = {"field": "class_name", "type": "nominal", "sort": None, "scale": {"domain": order}, "title": None}
    scale = {"scale": {"domain": [0, 1]}, "title": "Separation Index", "axis": {"orient": "top", "tickCount": 5}}
    tooltip = [_shown("class_name", "Class"), _shown("value", "SI", ".3f"), _shown("chance", "Chance", ".4f")]
    tooltip.append(_shown("num_queries", "Samples", ","))
    y["axis"] = {"labelLimit": 170, "ticks": False, "domain": False}
    return _page_wide(
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
    rows = _records(curve.assign(kind=curve["kind"].astype(str)), ["size", "kind", "value", "low", "high"])
    x = {
        "field": "size",
        "type": "quantitative",
        "scale": {"type": "log"},
        "title": "Samples",
        "axis": {"tickCount": 6, "grid": False, "labelOverlap": True},
    }
    y = _si_axis([row[name] for row in rows for name in ("value", "high") if row[name] is not None])
    tooltip = [_shown("size", "Samples", ","), _shown("kind", "Kind"), _shown("value", "SI", ".3f")]
    line = {"transform": [{"filter": "datum.kind !== 'observed'"}]}
    dash: Spec = {"field": "kind", "type": "nominal", "legend": None}
    dash["scale"] = {"domain": ["fitted", "extrapolated"], "range": [[1, 0], [5, 4]]}
    return _page_wide(
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


def training_chart(rows: pd.DataFrame, order: Sequence[str]) -> Spec:
    """SI of each layer over the epochs of a training; columns epoch, layer, value, low, high, chance."""
    records = _records(
        rows.assign(layer=rows["layer"].astype(str)), ["epoch", "layer", "value", "low", "high", "chance"]
    )
    y = _si_axis([row[name] for row in records for name in ("value", "high", "chance") if row[name] is not None])
    color = {"field": "layer", "type": "nominal", "scale": {"domain": list(order), "scheme": "viridis"}}
    color["legend"] = {**_legend(), "columns": 4, "symbolType": "stroke"}
    tooltip = [_shown("layer", "Layer"), _shown("epoch", "Epoch", "d"), _shown("value", "SI", ".3f")]
    tooltip += [
        _shown("low", "95 %, low", ".3f"),
        _shown("high", "95 %, high", ".3f"),
        _shown("chance", "Chance", ".4f"),
    ]
    return _page_wide(
        {
            "data": {"values": records},
            "height": 280,
            "encoding": {"x": _epoch_axis(), "color": color},
            "layer": [
                *_chance_rules(records, y),
                {"mark": {"type": "line", "strokeWidth": 2}, "encoding": {"y": y, "opacity": _faded(1)}},
                {
                    "params": [_one_alone("layer")],
                    "mark": {"type": "point", "filled": True, "size": 40},
                    "encoding": {"y": y, "tooltip": tooltip, "opacity": _faded(1)},
                },
            ],
        }
    )


def loss_chart(history: pd.DataFrame) -> Spec:
    """Loss, and beneath a scale of its own accuracy, over the epochs; rows of the table `history`."""
    titles = {
        "loss": "loss",
        "val_loss": "validation loss",
        "accuracy": "accuracy",
        "val_accuracy": "validation accuracy",
    }
    known = [name for name in titles if history[name].notna().any()]
    rows = history.melt("epoch", known, "name", "value").dropna(subset=["value"])
    rows = rows.assign(
        kind=np.where(rows["name"].str.contains("loss"), "loss", "accuracy"), name=rows["name"].map(titles)
    )
    color = {"field": "name", "type": "nominal", "scale": {"domain": [titles[name] for name in known]}}
    color["legend"] = {**_legend(), "columns": 2, "symbolType": "stroke"}
    tooltip = [_shown("name", "What"), _shown("epoch", "Epoch", "d"), _shown("value", "Value", ".4f")]
    panels = [
        {
            "transform": [{"filter": f"datum.kind === '{kind}'"}],
            "mark": {"type": "line", "point": True, "strokeDash": [4, 3] if kind == "loss" else [1, 0]},
            "encoding": {
                "y": {
                    "field": "value",
                    "type": "quantitative",
                    "title": kind.capitalize(),
                    "axis": {"orient": side, "tickCount": 5, "grid": kind == "accuracy"},
                },
                "tooltip": tooltip,
            },
        }
        for kind, side in (("loss", "right"), ("accuracy", "left"))
        if (rows["kind"] == kind).any()
    ]
    return _page_wide(
        {
            "data": {"values": _records(rows, ["epoch", "name", "kind", "value"])},
            "height": 220,
            "encoding": {"x": _epoch_axis(), "color": color},
            "layer": panels,
            "resolve": {"scale": {"y": "independent"}},
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
    return _records(rows, columns)


def _records(rows: pd.DataFrame, columns: list[str]) -> list[Spec]:
    """Rows as JSON: what is not known is null, and no more digits than can be seen."""
    table = rows[columns].astype(object).where(rows[columns].notna(), None)
    return [{str(name): _plain(value) for name, value in row.items()} for row in table.to_dict("records")]


def _plain(value: Any) -> Any:
    if isinstance(value, float | np.floating):
        return round(float(value), 5)
    return int(value) if isinstance(value, np.integer) else value


def _tooltip() -> list[Spec]:
    texts = [_shown("layer", "Layer"), _shown("kind", "Kind"), _shown("shape", "Output")]
    numbers = [_shown("value", "SI", ".3f"), _shown("low", "95 %, low", ".3f"), _shown("high", "95 %, high", ".3f")]
    return [
        *texts,
        _shown("parameters", "Parameters", ","),
        _shown("samples", "Samples"),
        *numbers,
        _shown("chance", "Chance", ".4f"),
    ]


def _shown(field: str, title: str, number: str = "") -> Spec:
    kind: Spec = {"type": "quantitative", "format": number} if number else {"type": "nominal"}
    return {"field": field, "title": title, **kind}


def _chance_rules(rows: Sequence[Spec], y: Spec) -> list[Spec]:
    """One dashed line a level; levels that are closer than 0.01 share one."""
    levels: list[float] = []
    for value in sorted({row["chance"] for row in rows if row["chance"] is not None}):
        if not levels or value - levels[-1] >= 0.01:
            levels.append(value)
    if not levels:
        return []
    rule = {"type": "rule", "color": GRAY, "strokeDash": [6, 4]}
    values = [{"value": level, "text": "chance"} for level in levels]
    place = {"y": {**y, "field": "value"}, "x": None, "color": None}
    return [{"data": {"values": values}, "mark": rule, "encoding": place}]


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
        {"data": {"values": values}, "mark": ring, "encoding": {"y": y, "color": None}},
        {"data": {"values": values}, "mark": text, "encoding": {"y": y, "color": None, "text": {"field": "text"}}},
    ]


def _first_samples(rows: Sequence[Spec], default: str) -> str:
    found = {row["samples"] for row in rows}
    return next((name for name in SAMPLES.values() if name in found), default)


def _si_axis(values: Sequence[float]) -> Spec:
    """From 0 to the next tenth above all values, at most 1."""
    top = min(1.0, max(0.1, math.ceil(max(values, default=1.0) * 10 + 0.2) / 10))
    axis = {"tickCount": 6, "minExtent": _AXIS_WIDTH}
    return {
        "field": "value",
        "type": "quantitative",
        "scale": {"domain": [0, top]},
        "title": "Separation Index",
        "axis": axis,
    }


def _layer_axis() -> Spec:
    return {"title": None, "labelAngle": -90, "labelOverlap": "greedy", "labelLimit": 140, "grid": False}


def _epoch_axis() -> Spec:
    axis = {"tickMinStep": 1, "format": "d", "grid": False}
    return {"field": "epoch", "type": "quantitative", "title": "Epoch", "axis": axis}


def _legend() -> Spec:
    return {"orient": "top", "title": None, "labelLimit": 260, "symbolOpacity": 1}


def _one_alone(field: str) -> Spec:
    """A click in the legend fades all but one line."""
    return {"name": "alone", "select": {"type": "point", "fields": [field]}, "bind": "legend"}


def _faded(opacity: float) -> Spec:
    return {"condition": {"param": "alone", "value": opacity}, "value": 0.08 * opacity}


def _page_wide(spec: Spec) -> Spec:
    return {"$schema": SCHEMA, "width": "container", "autosize": {"type": "fit-x", "contains": "padding"}, **spec}
