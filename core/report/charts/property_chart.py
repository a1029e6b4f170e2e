"""The chart of SI versus a property of the layers: one dot per layer."""

from collections.abc import Mapping
from math import ceil, floor, log10
from typing import Any

import altair as alt
import pandas as pd
from altair.utils.schemapi import debug_mode

from core.analysis.layer_properties import PROPERTIES
from core.report.charts.frame import FONT_SIZE, PAGE, Size, UncheckedChart, framed, upper_end
from core.report.charts.theme import GRAY

HEIGHT = 230


@debug_mode(False)
def property_chart(
    dots: pd.DataFrame,
    column: str,
    chosen: str | None = None,
    *,
    marked: Mapping[str, str] | None = None,
    size: Size = PAGE,
) -> UncheckedChart:
    """SI versus a property of the layers: one dot per layer, with its interval if it has one.

    Parameters
    ----------
    dots : DataFrame
        As returned by `core.analysis.layer_properties.layer_properties`.
    column : str
        A key of `PROPERTIES`, known for some layers.
    chosen : str, optional
        The layer to mark with its name.
    marked : mapping, optional
        From further layers to the texts to mark them with.
    size : Size
    """
    title, logarithmic = PROPERTIES[column]
    number_format = "{:,.3f}" if column in ("knn", "linear_probe") else "{:,.0f}"
    rows = dots.dropna(subset=[column])
    rows = rows.assign(
        x_text=rows[column].map(number_format.format), si_text=rows["si"].map("{:.3f}".format), line="after"
    )
    rows = rows[["layer", "kind", "block", column, "si", "low", "high", "x_text", "si_text", "line"]]
    scale = alt.Scale(type="log" if logarithmic else "linear", zero=False, nice=not logarithmic, padding=8)
    labels: dict[str, Any] = {"labelExpr": "format(datum.value, '~s')"} if logarithmic else {}
    if logarithmic and size != PAGE:
        labels["values"] = _round_values(rows[column])
    axis = alt.Axis(title=title, grid=False, tickCount=5, labelOverlap="greedy", **labels)
    top = upper_end(rows[["si", "high"]].to_numpy(float))
    encodings = {
        "x": alt.X(f"{column}:Q", scale=scale, axis=axis),
        "y": alt.Y("si:Q", scale=alt.Scale(domain=[0, top]), axis=alt.Axis(title="Separation Index", tickCount=5)),
    }
    color = alt.Color("line:N", scale=alt.Scale(domain=["after", "before"]), legend=None)
    marks: list[alt.Chart] = []
    if rows["low"].notna().any():
        rule = alt.Chart(rows[rows["low"].notna()]).mark_rule(strokeWidth=size(1), opacity=0.3, aria=False)
        marks.append(rule.encode(x=encodings["x"], y=alt.Y("low:Q"), y2="high:Q", color=color))
    point = alt.Chart(rows).mark_point(filled=True, size=45 * size.scale**2, opacity=0.8)
    point = point.encode(**encodings, color=color)
    marks.append(point.encode(tooltip=_tooltip(rows, title)) if size.interactive else point)
    texts = {**({chosen: chosen} if chosen else {}), **(marked or {})}
    return framed([*marks, *_marked(rows, column, texts, encodings, size)], height=size(HEIGHT), size=size)


def _tooltip(rows: pd.DataFrame, title: str) -> list[alt.Tooltip]:
    texts = {"layer": "Layer", "kind": "Kind", "block": "Block", "x_text": title, "si_text": "SI"}
    return [alt.Tooltip(f"{name}:N", title=text) for name, text in texts.items() if (rows[name] != "").any()]


def _marked(
    rows: pd.DataFrame, column: str, texts: Mapping[str, str], encodings: Mapping[str, Any], size: Size
) -> list[alt.Chart]:
    """A ring around each marked layer, and its text on the side where there is room; the highest one's above it."""
    points = rows.loc[rows["layer"].isin(list(texts)), ["layer", "si", column]].sort_values("si", ascending=False)
    middle = _middle(rows[column], logarithmic=PROPERTIES[column][1])
    charts = []
    for index, (_, point) in enumerate(points.iterrows()):
        left = point[column] > middle
        base = alt.Chart(points[points["layer"] == point["layer"]].assign(text=texts[point["layer"]]))
        base = base.encode(x=encodings["x"], y=encodings["y"])
        ring = base.mark_point(
            size=190 * size.scale**2, strokeWidth=size(2), color=GRAY, filled=False, opacity=1, aria=False
        )
        name = base.mark_text(
            align="right" if left else "left",
            dx=size(-12 if left else 12),
            dy=size(14 if index else -8),
            fontSize=size(FONT_SIZE),
            fontWeight=600,
            color=GRAY,
        )
        charts += [ring, name.encode(text="text:N")]
    return charts


def _round_values(values: pd.Series) -> list[float]:
    """The values 1, 2 and 5 times powers of ten within the range of a logarithmic axis; only 1 where it is wide."""
    low, high = float(values.min()), float(values.max())
    powers = range(floor(log10(low)), ceil(log10(high)) + 1)
    steps = (1, 2, 5) if len(powers) <= 4 else (1,)
    ticks = [float(step * 10**power) for power in powers for step in steps]
    return [tick for tick in ticks if low <= tick <= high]


def _middle(values: pd.Series, *, logarithmic: bool) -> float:
    """The middle of the x axis."""
    low, high = float(values.min()), float(values.max())
    return (low * high) ** 0.5 if logarithmic else (low + high) / 2
