"""The charts of the page Classes: DataFrames in, an Altair chart out."""

from collections.abc import Sequence
from typing import Any

import altair as alt
import pandas as pd
from altair.utils.schemapi import debug_mode

from explorer.charts.labels import spread
from explorer.charts.layer_chart import GRAY, LABEL_HEIGHT, NAMES, UncheckedChart, framed, layer_x, upper_end

ROW_HEIGHT, LINES_HEIGHT, BAR_HEIGHT = 18, 260, 24
NARROW = 450  # pixels of a chart, in which long names leave no room for bars
PICKED = "picked"  # the chart's selection, as Streamlit reports it
ALL = "all classes"
EVERY: dict[str, Any] = {"labelOverlap": False, "labelFlush": False}  # no name is left out
DASHES = ([1, 0], [6, 3], [2, 2], [8, 3, 2, 3], [12, 4])


@debug_mode(False)
def heat_map(values: pd.DataFrame, classes: Sequence[str], layer: str) -> UncheckedChart:
    """SI of each class at each layer, a row a class; a click picks a class and a layer.

    Parameters
    ----------
    values : of `class_values`. classes : the rows, from the top; at least one. layer : the column to outline.
    """
    layers = values[["layer", "position"]].drop_duplicates().sort_values("position")
    rows = values[values["class_name"].isin(classes)].assign(
        si=lambda table: table["value"].map("{:.2f}".format), by=lambda table: table["chance"].map("{:.3f}".format)
    )
    picked = alt.selection_point(name=PICKED, fields=["class_name", "layer"], empty=False)
    y = alt.Y(
        "class_name:N",
        sort=list(classes),
        title=None,
        axis=alt.Axis(labelLimit=160, **EVERY),
    )
    legend = alt.Legend(title="SI", orient="top", gradientLength=180, format=".1f", titleOrient="left")
    color = alt.Color("value:Q", scale=alt.Scale(domain=[0, 1], scheme="viridis"), legend=legend)
    titles = {"class_name": "Class", "layer": "Layer", "si": "SI", "by": "Chance", "num_queries": "Samples"}
    cells = (
        alt.Chart(rows[["layer", "class_name", "value", "si", "by", "num_queries"]])
        .mark_rect(cursor="pointer", aria=False)
        .encode(
            x=layer_x(layers), y=y, color=color, tooltip=[alt.Tooltip(f"{n}:N", title=t) for n, t in titles.items()]
        )
        .add_params(picked)
    )
    outline = alt.Chart(pd.DataFrame({"layer": [layer]})).mark_rect(
        filled=False, stroke="#e8590c", strokeWidth=2.5, aria=False, tooltip=None
    )
    return framed(
        [cells, outline.encode(x=layer_x(layers))],
        height=ROW_HEIGHT * len(classes),
        params=[alt.VariableParameter(name=NAMES, value=tuple(layers["layer"]))],
    )


@debug_mode(False)
def development_chart(values: pd.DataFrame, classes: Sequence[str], layer: str) -> UncheckedChart:
    """SI of a few classes through the network, beside the mean of all classes.

    Parameters
    ----------
    values : of `class_values`. classes : at most as many as `DASHES`. layer : marked by a rule.
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
    charts: list[alt.Chart] = [rule.encode(x=layer_x(layers))]
    for at, name in enumerate([ALL, *classes]):
        dash = DASHES[(at - 1) % len(DASHES)] if at else [1, 0]
        mark = alt.Chart(
            lines[lines["class_name"] == name].assign(text=lambda rows: rows["value"].map("{:.2f}".format))
        )
        tooltip = [
            alt.Tooltip(f"{n}:N", title=t) for n, t in {"class_name": "Class", "layer": "Layer", "text": "SI"}.items()
        ]
        charts.append(
            mark.mark_line(strokeDash=dash, strokeWidth=1.5 if at else 3, aria=False, point={"size": 14}).encode(
                x=layer_x(layers), y=y, color=_line_color(name, classes), tooltip=tooltip
            )
        )
    return framed(
        [*charts, *_line_names(lines, classes, y, top)],
        height=LINES_HEIGHT,
        params=[alt.VariableParameter(name=NAMES, value=tuple(layers["layer"]))],
    )


@debug_mode(False)
def confusion_chart(pairs: pd.DataFrame) -> UncheckedChart:
    """Bars: how many samples of two classes have their neighbor in the other one; a tick at what chance would give.

    Parameters
    ----------
    pairs : rows of `core.analysis.samples.neighborhoods.confused_pairs`, at least one, from the top; a click picks one.
    """
    rows = pairs.assign(
        pair=pairs["first"] + " – " + pairs["second"],
        text=pairs["count"].astype(str) + " of " + pairs["total"].astype(str),
        expected=pairs["chance"] * pairs["total"],
        by=pairs["chance"].map("{:.1%}".format),
    )
    picked = alt.selection_point(name=PICKED, fields=["first", "second"], empty=False)
    y = alt.Y(
        "pair:N",
        sort=rows["pair"].tolist(),
        title=None,
        axis=alt.Axis(labelLimit=alt.ExprRef(f"containerSize()[0] < {NARROW} ? 150 : 300"), **EVERY),
    )
    axis = alt.Axis(title="Samples of both; tick: chance", tickMinStep=1, tickCount=5, labelOverlap="greedy")
    x = alt.X("count:Q", axis=axis)
    titles = {"first": "Class", "second": "and class", "text": "Samples", "by": "Chance"}
    base = alt.Chart(rows).encode(y=y)
    bars = base.mark_bar(cursor="pointer", aria=False, height={"band": 0.7}).encode(
        x=x, tooltip=[alt.Tooltip(f"{n}:N", title=t) for n, t in titles.items()]
    )
    tick = base.mark_tick(color="#e8590c", thickness=2.5, aria=False).encode(x="expected:Q")
    text = base.mark_text(align="left", dx=5, aria=False, color=GRAY).encode(x=x, text="text:N")
    return framed([bars.add_params(picked), tick, text], height=BAR_HEIGHT * len(rows))


def _line_names(lines: pd.DataFrame, classes: Sequence[str], y: alt.Y, top: float) -> list[alt.Chart]:
    """The lines' names beside their right ends, moved apart where they would overlap."""
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
