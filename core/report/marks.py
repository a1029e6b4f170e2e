"""Common parts of Vega-Lite specifications: axes, rules, tooltips, legends, and rows as JSON."""

import math
from collections.abc import Hashable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

Spec = dict[str, Any]

SCHEMA = "https://vega.github.io/schema/vega-lite/v6.json"
GRAY = "#808895"  # readable on white and on near-black
_AXIS_WIDTH = 44  # pixels; equal in all charts, so that the same layer is at the same x in charts below each other


def records(rows: pd.DataFrame, columns: list[str]) -> list[Spec]:
    """Return the columns of a table as JSON rows, with null for missing values and floats rounded to five decimals."""
    table = rows[columns].astype(object).where(rows[columns].notna(), None)
    return [_json_row(row) for row in table.to_dict("records")]


def _json_row(row: Mapping[Hashable, Any]) -> Spec:
    """Convert NumPy numbers to Python's, which JSON knows."""
    values: Spec = {}
    for name, value in row.items():
        if isinstance(value, float | np.floating):
            value = round(float(value), 5)
        elif isinstance(value, np.integer):
            value = int(value)
        values[str(name)] = value
    return values


def known_values(rows: Sequence[Spec], *fields: str) -> list[float]:
    """Return the values of some fields of all rows, without nulls."""
    values = []
    for row in rows:
        values += [row[field] for field in fields if row[field] is not None]
    return values


def tooltip_field(field: str, title: str, number_format: str = "") -> Spec:
    """Return the tooltip entry of a field: a number if it has a format, otherwise text."""
    kind: Spec = {"type": "quantitative", "format": number_format} if number_format else {"type": "nominal"}
    return {"field": field, "title": title, **kind}


def chance_rules(rows: Sequence[Spec], y: Spec) -> list[Spec]:
    """Return one dashed line a level of chance; levels that are closer than 0.01 share a line."""
    levels: list[float] = []
    for value in sorted(set(known_values(rows, "chance"))):
        if not levels or value - levels[-1] >= 0.01:
            levels.append(value)
    if not levels:
        return []
    rule = {"type": "rule", "color": GRAY, "strokeDash": [6, 4]}
    values = [{"value": level, "text": "chance"} for level in levels]
    encoding = {"y": {**y, "field": "value"}, "x": {"value": 0}, "x2": {"value": "width"}, "color": {"value": GRAY}}
    return [{"data": {"values": values}, "mark": rule, "encoding": encoding}]


def si_axis(values: Sequence[float]) -> Spec:
    """Return a y axis of SI, from 0 to the next tenth above all values, at most 1."""
    top = min(1.0, max(0.1, math.ceil(max(values, default=1.0) * 10 + 0.2) / 10))
    axis = {"tickCount": 6, "minExtent": _AXIS_WIDTH}
    return {
        "field": "value",
        "type": "quantitative",
        "scale": {"domain": [0, top]},
        "title": "Separation Index",
        "axis": axis,
    }


def layer_axis() -> Spec:
    """Return an x axis of layer names."""
    return {"title": None, "labelAngle": -90, "labelOverlap": "greedy", "labelLimit": 140, "grid": False}


def legend() -> Spec:
    """Return a legend above the chart, without a title."""
    return {"orient": "top", "title": None, "labelLimit": 260, "symbolOpacity": 1}


def legend_selection(field: str) -> Spec:
    """Return a parameter that selects one line by a click in the legend; see `selected_opacity`."""
    return {"name": "alone", "select": {"type": "point", "fields": [field]}, "bind": "legend"}


def selected_opacity(opacity: float) -> Spec:
    """Return an opacity that fades everything but the line that `legend_selection` selects."""
    return {"condition": {"param": "alone", "value": opacity}, "value": 0.08 * opacity}


def page_wide(spec: Spec) -> Spec:
    """Complete a specification to a chart as wide as its page."""
    return {"$schema": SCHEMA, "width": "container", "autosize": {"type": "fit-x", "contains": "padding"}, **spec}
