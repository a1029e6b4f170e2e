"""Charts of the siblings of SI and of how alike layers are: DataFrames in, an Altair chart out."""

from typing import Any

import altair as alt
import pandas as pd
from altair.utils.schemapi import debug_mode

from explorer.charts.layer_chart import GRAY, NAMES, Panel, UncheckedChart, framed, layer_x
from explorer.pages.compare.geometry_tables import MEASURES

SMALL_HEIGHT, ROW_HEIGHT, MIN_HEIGHT = 130, 9, 240


@debug_mode(False)
def related_chart(rows: pd.DataFrame, measure: str, chosen: str | None = None) -> UncheckedChart:
    """One measure through the network, small, with its interval and its chance level where it has them.

    Parameters
    ----------
    rows : of `related_rows`. measure : one of `MEASURES` that they have. chosen : a layer to be marked.
    """
    shown, own = MEASURES[measure], rows[(rows["measure"] == measure) & rows["value"].notna()]
    if shown.logarithmic:
        own = own[own["value"] > 0]
        own = own.assign(chance=own["chance"].where(own["chance"] > 0))
    own = own.assign(line="after", value_text=own["value"].map(lambda value: shown.digits % value))
    own = own.assign(chance_text=own["chance"].map(lambda value: shown.digits % value if pd.notna(value) else "–"))
    panel = Panel(0, SMALL_HEIGHT)
    scale = panel.scale(type="log", nice=True) if shown.logarithmic else panel.scale(zero=False, nice=True)
    axis = panel.axis(shown.title, tickCount=4, **({"format": "~g"} if shown.logarithmic else {}))
    x = alt.X(
        "layer:N",
        scale=alt.Scale(type="band", domain=alt.ExprRef(NAMES), padding=0),
        axis=alt.Axis(title=None, labels=False, ticks=False),
    )
    y = alt.Y("value:Q", scale=scale, axis=axis)
    color = alt.Color("line:N", scale=alt.Scale(domain=["after"]), legend=None)
    marks = [
        _mark(own.dropna(subset=["chance"]), "chance", x, scale).mark_line(strokeDash=[5, 4], color=GRAY, aria=False),
        alt.Chart(own[["layer", "value", "line"]]).mark_line(strokeWidth=2, aria=False).encode(x=x, y=y, color=color),
        *_hover(own, x, shown.title),
    ]
    band = own.dropna(subset=["low", "high"])
    if len(band):
        area = alt.Chart(band[["layer", "low", "high", "line"]]).mark_area(opacity=0.2, line=False, aria=False)
        marks.insert(0, area.encode(x=x, y=alt.Y("low:Q", scale=scale), y2="high:Q", color=color))
    here = own.loc[own["layer"] == chosen, ["layer"]]
    if len(here):
        marks.insert(0, alt.Chart(here).mark_rect(color=GRAY, opacity=0.28, aria=False).encode(x=x))
    parameters = [alt.VariableParameter(name=NAMES, value=tuple(rows["layer"].unique()))]
    return framed(marks, height=SMALL_HEIGHT, params=parameters)


@debug_mode(False)
def similarity_chart(rows: pd.DataFrame, title: str) -> UncheckedChart:
    """How alike each two layers are: a cell a pair.

    Parameters
    ----------
    rows : of `similarity_rows`. title : of the color's legend.
    """
    layers = rows[["layer"]].drop_duplicates()
    cells = rows[["layer", "other", "value", "chance"]].assign(
        value=rows["value"].round(4),
        chance=rows["chance"].map(lambda value: f"{value:.4f}" if pd.notna(value) else "–"),
    )
    order = alt.Scale(type="band", domain=alt.ExprRef(NAMES), padding=0)
    y = alt.Y("other:N", scale=order, axis=alt.Axis(title=None, labelOverlap="greedy", labelLimit=160, grid=False))
    legend = alt.Legend(title=title, orient="top", gradientLength=180, format=".1f", titleOrient="left")
    color = alt.Color("value:Q", scale=alt.Scale(domain=[0, 1], scheme="viridis", clamp=True), legend=legend)
    tooltip = [
        alt.Tooltip("layer:N", title="Layer"),
        alt.Tooltip("other:N", title="Other layer"),
        alt.Tooltip("value:Q", title=title, format=".3f"),
        alt.Tooltip("chance:N", title="Chance"),
    ]
    mark = alt.Chart(cells).mark_rect(aria=False).encode(x=layer_x(layers), y=y, color=color, tooltip=tooltip)
    return framed(
        [mark],
        height=max(MIN_HEIGHT, ROW_HEIGHT * len(layers)),
        params=[alt.VariableParameter(name=NAMES, value=tuple(layers["layer"]))],
    )


def _mark(rows: pd.DataFrame, column: str, x: alt.X, scale: alt.Scale) -> alt.Chart:
    return alt.Chart(rows[["layer", column]]).encode(x=x, y=alt.Y(f"{column}:Q", scale=scale))


def _hover(rows: pd.DataFrame, x: alt.X, title: str) -> list[Any]:
    """A band a layer, shown under the pointer, with the numbers in its tooltip."""
    hover = alt.selection_point(name="hover", on="pointerover", clear="pointerout", fields=["layer"], empty=False)
    texts = {"layer": "Layer", "value_text": title, "chance_text": "Chance"}
    tooltip = [alt.Tooltip(f"{name}:N", title=text) for name, text in texts.items()]
    opacity = alt.condition(hover, alt.value(0.22), alt.value(0))
    band = alt.Chart(rows[list(texts)]).mark_rect(color=GRAY).encode(x=x, opacity=opacity, tooltip=tooltip)
    return [band.add_params(hover)]
