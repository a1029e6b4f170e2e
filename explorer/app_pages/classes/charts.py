"""The charts of the page Classes: DataFrames in, an Altair chart out."""

from collections.abc import Mapping, Sequence
from itertools import cycle
from typing import Any

import altair as alt
import pandas as pd
from altair.utils.schemapi import debug_mode

from core.report.charts.frame import (
    CELLS,
    LABEL_HEIGHT,
    UncheckedChart,
    framed,
    gradient_length,
    layer_x,
    names_parameter,
    soft_text,
    upper_end,
)
from core.report.charts.labels import spread
from core.report.charts.theme import GRAY

ROW_HEIGHT, LINES_HEIGHT, BAR_HEIGHT = 18, 260, 24
NARROW = 450  # pixels; in a narrower chart, long names would leave no room for bars
PICKED = "picked"  # name of the chart's selection, under which Streamlit reports it
ALL = "all classes"
ALL_LABELS: dict[str, Any] = {"labelOverlap": False, "labelFlush": False}  # an axis that leaves out no name
DASHES = ([1, 0], [6, 3], [2, 2], [8, 3, 2, 3], [12, 4])


@debug_mode(False)
def heat_map(values: pd.DataFrame, classes: Sequence[str], layer: str) -> UncheckedChart:
    """SI of each class at each layer, one row per class; a click picks a class and a layer.

    Parameters
    ----------
    values : DataFrame
        Of `class_values`.
    classes : sequence of str
        The rows, from the top; at least one.
    layer : str
        The column to outline.
    """
    layers = values[["layer", "position"]].drop_duplicates().sort_values("position")
    rows = values[values["class_name"].isin(classes)]
    rows = rows.assign(si=rows["value"].map("{:.2f}".format), chance_text=rows["chance"].map("{:.3f}".format))
    picked = alt.selection_point(name=PICKED, fields=["class_name", "layer"], empty=False)
    y = alt.Y("class_name:N", sort=list(classes), title=None, axis=alt.Axis(labelLimit=160, **ALL_LABELS))
    legend = alt.Legend(title="SI", orient="top", gradientLength=gradient_length(), format=".1f", titleOrient="left")
    color = alt.Color("value:Q", scale=alt.Scale(domain=[0, 1], scheme="viridis"), legend=legend)
    titles = {"class_name": "Class", "layer": "Layer", "si": "SI", "chance_text": "Chance", "num_queries": "Samples"}
    cells = (
        alt.Chart(rows[[*titles, "value"]])
        .mark_rect(cursor="pointer", aria=False, **CELLS)
        .encode(x=layer_x(), y=y, color=color, tooltip=_tooltip(titles))
        .add_params(picked)
    )
    outline = alt.Chart(pd.DataFrame({"layer": [layer]})).mark_rect(
        filled=False, stroke="#e8590c", strokeWidth=2.5, aria=False, tooltip=None
    )
    return framed(
        [cells, outline.encode(x=layer_x())],
        height=ROW_HEIGHT * len(classes),
        params=[names_parameter(layers["layer"])],
    )


@debug_mode(False)
def development_chart(values: pd.DataFrame, classes: Sequence[str], layer: str) -> UncheckedChart:
    """SI of a few classes through the network, and the mean of all classes.

    Parameters
    ----------
    values : DataFrame
        Of `class_values`.
    classes : sequence of str
        The classes to draw; at most as many as `DASHES`.
    layer : str
        The layer to mark by a vertical line.
    """
    layers = values[["layer", "position"]].drop_duplicates().sort_values("position")
    mean = values.groupby("layer", as_index=False)["value"].mean().assign(class_name=ALL)
    rows = values.loc[values["class_name"].isin(classes), ["layer", "value", "class_name"]]
    order = layers["layer"].tolist()
    lines = pd.concat([mean, rows]).dropna(subset=["value"])
    lines = lines.sort_values("layer", key=lambda column: column.map(order.index), ignore_index=True)
    top = upper_end(lines[["value"]].to_numpy(float))
    y = alt.Y("value:Q", scale=alt.Scale(domain=[0, top]), axis=alt.Axis(title="SI of the class", tickCount=5))
    rule = alt.Chart(pd.DataFrame({"layer": [layer]})).mark_rule(color=GRAY, strokeDash=[3, 3], aria=False)
    charts: list[alt.Chart] = [rule.encode(x=layer_x())]
    lines = lines.assign(text=lines["value"].map("{:.2f}".format))
    tooltip = _tooltip({"class_name": "Class", "layer": "Layer", "text": "SI"})
    styles = {ALL: ([1, 0], 3.0)} | {name: (dash, 1.5) for name, dash in zip(classes, cycle(DASHES), strict=False)}
    for name, (dash, width) in styles.items():
        line = alt.Chart(lines[lines["class_name"] == name])
        line = line.mark_line(strokeDash=dash, strokeWidth=width, aria=False, point={"size": 14})
        charts.append(line.encode(x=layer_x(), y=y, color=_line_color(name, classes), tooltip=tooltip))
    return framed(
        [*charts, *_line_names(lines, classes, y, top)],
        height=LINES_HEIGHT,
        params=[names_parameter(layers["layer"])],
    )


@debug_mode(False)
def confusion_chart(pairs: pd.DataFrame) -> UncheckedChart:
    """Bars of the number of samples of two classes whose nearest neighbor is of the other class, with ticks at chance.

    A click picks a pair.

    Parameters
    ----------
    pairs : DataFrame
        Rows of `core.analysis.samples.neighborhoods.confused_pairs`, from the top; at least one.
    """
    rows = pairs.assign(
        pair=pairs["first"] + " – " + pairs["second"],
        text=pairs["count"].astype(str) + " of " + pairs["total"].astype(str),
        expected=pairs["chance"] * pairs["total"],
        chance_text=pairs["chance"].map("{:.1%}".format),
    )
    picked = alt.selection_point(name=PICKED, fields=["first", "second"], empty=False)
    y = alt.Y(
        "pair:N",
        sort=rows["pair"].tolist(),
        title=None,
        axis=alt.Axis(labelLimit=alt.ExprRef(f"containerSize()[0] < {NARROW} ? 150 : 300"), **ALL_LABELS),
    )
    axis = alt.Axis(title="Samples of both; tick: chance", tickMinStep=1, tickCount=5, labelOverlap="greedy")
    x = alt.X("count:Q", axis=axis)
    tooltip = _tooltip({"first": "Class", "second": "and class", "text": "Samples", "chance_text": "Chance"})
    base = alt.Chart(rows).encode(y=y)
    bars = base.mark_bar(cursor="pointer", aria=False, height={"band": 0.7}).encode(x=x, tooltip=tooltip)
    tick = base.mark_tick(color="#e8590c", thickness=2.5, aria=False).encode(x="expected:Q")
    text = base.mark_text(align="left", dx=5, aria=False, color=soft_text()).encode(x=x, text="text:N")
    return framed([bars.add_params(picked), tick, text], height=BAR_HEIGHT * len(rows))


def _tooltip(titles: Mapping[str, str]) -> list[alt.Tooltip]:
    return [alt.Tooltip(f"{name}:N", title=title) for name, title in titles.items()]


def _line_names(lines: pd.DataFrame, classes: Sequence[str], y: alt.Y, top: float) -> list[alt.Chart]:
    """The names of the lines at their right ends, moved apart where they would overlap."""
    ends = lines.groupby("class_name").tail(1).sort_values("value", ignore_index=True)
    ends = ends.assign(value=spread(ends["value"].to_list(), top * LABEL_HEIGHT / LINES_HEIGHT, top))
    return [
        alt.Chart(rows)
        .mark_text(align="left", baseline="middle", dx=7, fontSize=12, fontWeight=600, limit=190)
        .encode(x=alt.value("width"), y=y, text="class_name:N", color=_line_color(str(name), classes))
        for name, rows in ends.groupby("class_name")
    ]


def _line_color(name: str, classes: Sequence[str]) -> Any:
    """The theme's colors for the classes, gray for the mean."""
    if name == ALL:
        return alt.value(GRAY)
    return alt.Color("class_name:N", scale=alt.Scale(domain=list(classes)), legend=None)
