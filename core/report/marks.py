"""What the specifications of Vega-Lite have in common: axes, rules, tooltips, rows as JSON."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

Spec = dict[str, Any]

SCHEMA = "https://vega.github.io/schema/vega-lite/v6.json"
GRAY = "#808895"  # readable on white and on near-black
_AXIS_WIDTH = 44  # the same for charts one above the other, so that their layers stand above each other


def records(rows: pd.DataFrame, columns: list[str]) -> list[Spec]:
    """Rows as JSON: what is not known is null, and no more digits than can be seen."""
    table = rows[columns].astype(object).where(rows[columns].notna(), None)
    return [{str(name): _plain(value) for name, value in row.items()} for row in table.to_dict("records")]


def _plain(value: Any) -> Any:
    if isinstance(value, float | np.floating):
        return round(float(value), 5)
    return int(value) if isinstance(value, np.integer) else value


def shown(field: str, title: str, number: str = "") -> Spec:
    kind: Spec = {"type": "quantitative", "format": number} if number else {"type": "nominal"}
    return {"field": field, "title": title, **kind}


def chance_rules(rows: Sequence[Spec], y: Spec) -> list[Spec]:
    """One dashed line a level; levels that are closer than 0.01 share one."""
    levels: list[float] = []
    for value in sorted({row["chance"] for row in rows if row["chance"] is not None}):
        if not levels or value - levels[-1] >= 0.01:
            levels.append(value)
    if not levels:
        return []
    rule = {"type": "rule", "color": GRAY, "strokeDash": [6, 4]}
    values = [{"value": level, "text": "chance"} for level in levels]
    place = {"y": {**y, "field": "value"}, "x": {"value": 0}, "x2": {"value": "width"}, "color": {"value": GRAY}}
    return [{"data": {"values": values}, "mark": rule, "encoding": place}]


def si_axis(values: Sequence[float]) -> Spec:
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


def layer_axis() -> Spec:
    return {"title": None, "labelAngle": -90, "labelOverlap": "greedy", "labelLimit": 140, "grid": False}


def legend() -> Spec:
    return {"orient": "top", "title": None, "labelLimit": 260, "symbolOpacity": 1}


def one_alone(field: str) -> Spec:
    """A click in the legend fades all but one line."""
    return {"name": "alone", "select": {"type": "point", "fields": [field]}, "bind": "legend"}


def faded(opacity: float) -> Spec:
    return {"condition": {"param": "alone", "value": opacity}, "value": 0.08 * opacity}


def page_wide(spec: Spec) -> Spec:
    return {"$schema": SCHEMA, "width": "container", "autosize": {"type": "fit-x", "contains": "padding"}, **spec}
