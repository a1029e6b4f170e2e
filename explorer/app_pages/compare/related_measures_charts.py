"""Charts of related separability measures and of the similarity of layers: DataFrames in, an Altair chart out."""

from typing import Any

import altair as alt
import pandas as pd
from altair.utils.schemapi import debug_mode

from core.report.charts.frame import (
    CELLS,
    Panel,
    UncheckedChart,
    framed,
    gradient_length,
    layer_x,
    names_parameter,
    x_scale,
)
from core.report.charts.theme import GRAY
from explorer.app_pages.compare.related_measures_tables import MEASURES

SMALL_HEIGHT, ROW_HEIGHT, MIN_HEIGHT = 130, 9, 240


@debug_mode(False)
def related_chart(rows: pd.DataFrame, measure: str, chosen: str | None = None) -> UncheckedChart:
    """A small chart of one measure through the network, with its interval and chance level if it has them.

    Parameters
    ----------
    rows : DataFrame
        Of `related_rows`.
    measure : str
        A key of `MEASURES` that `rows` has.
    chosen : str, optional
        The layer to mark.
    """
    display = MEASURES[measure]
    values = rows[(rows["measure"] == measure) & rows["value"].notna()]
    panel = Panel(0, SMALL_HEIGHT)
    if display.logarithmic:  # only positive numbers have a logarithm
        values = values[values["value"] > 0]
        values = values.assign(chance=values["chance"].where(values["chance"] > 0))
        scale, axis = panel.scale(type="log", nice=True), panel.axis(display.title, tickCount=4, format="~g")
    else:
        scale, axis = panel.scale(zero=False, nice=True), panel.axis(display.title, tickCount=4)
    chance_text = values["chance"].map(lambda value: display.digits % value).where(values["chance"].notna(), "–")
    value_text = values["value"].map(lambda value: display.digits % value)
    values = values.assign(line="after", value_text=value_text, chance_text=chance_text)
    x = alt.X(
        "layer:N",
        scale=x_scale(),
        axis=alt.Axis(title=None, labels=False, ticks=False),
    )
    y = alt.Y("value:Q", scale=scale, axis=axis)
    color = alt.Color("line:N", scale=alt.Scale(domain=["after"]), legend=None)
    marks = [
        _chance_line(values.dropna(subset=["chance"]), x, scale),
        alt.Chart(values[["layer", "value", "line"]])
        .mark_line(strokeWidth=2, aria=False)
        .encode(x=x, y=y, color=color),
        *_hover_band(values, x, display.title),
    ]
    band = values.dropna(subset=["low", "high"])
    if len(band):
        area = alt.Chart(band[["layer", "low", "high", "line"]]).mark_area(opacity=0.2, line=False, aria=False)
        marks.insert(0, area.encode(x=x, y=alt.Y("low:Q", scale=scale), y2="high:Q", color=color))
    chosen_layer = values.loc[values["layer"] == chosen, ["layer"]]
    if len(chosen_layer):
        marks.insert(0, alt.Chart(chosen_layer).mark_rect(color=GRAY, opacity=0.28, aria=False).encode(x=x))
    parameters = [names_parameter(rows["layer"].unique())]
    return framed(marks, height=SMALL_HEIGHT, params=parameters)


@debug_mode(False)
def similarity_chart(rows: pd.DataFrame, title: str) -> UncheckedChart:
    """A heat map of the similarity of layers: one cell per pair.

    Parameters
    ----------
    rows : DataFrame
        Of `similarity_rows`.
    title : str
        Title of the color legend.
    """
    layers = rows[["layer"]].drop_duplicates()
    cells = rows[["layer", "other", "value", "chance"]].assign(
        value=rows["value"].round(4),
        chance=rows["chance"].map(lambda value: f"{value:.4f}" if pd.notna(value) else "–"),
    )
    order = x_scale()
    y = alt.Y("other:N", scale=order, axis=alt.Axis(title=None, labelOverlap="greedy", labelLimit=160, grid=False))
    legend = alt.Legend(title=title, orient="top", gradientLength=gradient_length(), format=".1f", titleOrient="left")
    color = alt.Color("value:Q", scale=alt.Scale(domain=[0, 1], scheme="viridis", clamp=True), legend=legend)
    tooltip = [
        alt.Tooltip("layer:N", title="Layer"),
        alt.Tooltip("other:N", title="Other layer"),
        alt.Tooltip("value:Q", title=title, format=".3f"),
        alt.Tooltip("chance:N", title="Chance"),
    ]
    mark = alt.Chart(cells).mark_rect(aria=False, **CELLS)
    return framed(
        [mark.encode(x=layer_x(), y=y, color=color, tooltip=tooltip)],
        height=max(MIN_HEIGHT, ROW_HEIGHT * len(layers)),
        params=[names_parameter(layers["layer"])],
    )


def _chance_line(rows: pd.DataFrame, x: alt.X, scale: alt.Scale) -> alt.Chart:
    """A dashed gray line through the chance levels."""
    line = alt.Chart(rows[["layer", "chance"]]).mark_line(strokeDash=[5, 4], color=GRAY, aria=False)
    chart: alt.Chart = line.encode(x=x, y=alt.Y("chance:Q", scale=scale))
    return chart


def _hover_band(rows: pd.DataFrame, x: alt.X, title: str) -> list[Any]:
    """One band per layer, visible under the pointer, with the numbers in its tooltip."""
    hover = alt.selection_point(name="hover", on="pointerover", clear="pointerout", fields=["layer"], empty=False)
    texts = {"layer": "Layer", "value_text": title, "chance_text": "Chance"}
    tooltip = [alt.Tooltip(f"{name}:N", title=text) for name, text in texts.items()]
    opacity = alt.condition(hover, alt.value(0.22), alt.value(0))
    band = alt.Chart(rows[list(texts)]).mark_rect(color=GRAY).encode(x=x, opacity=opacity, tooltip=tooltip)
    return [band.add_params(hover)]
