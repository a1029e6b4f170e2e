"""The chart of the notebook's curve, its replication and the same with permuted labels."""

from typing import Any

import altair as alt
import pandas as pd

from core.report.charts.frame import LABEL_HEIGHT, UncheckedChart, framed, layer_axis
from core.report.charts.labels import spread
from core.report.charts.theme import GRAY
from explorer.app_pages.method.notebook import SERIES

HEIGHT = 380
DASHES = dict(zip(SERIES, ([1, 0], [1, 0], [5, 3], [1, 0], [1, 0]), strict=True))
SHAPES = dict(zip(SERIES, ("circle", "diamond", "cross", "triangle-up", "square"), strict=True))


def notebook_chart(curves: pd.DataFrame) -> UncheckedChart:
    """One line per series, with gaps at layers that a network does not have.

    Parameters
    ----------
    curves : DataFrame
        Of `notebook_curves`.
    """
    layers = list(dict.fromkeys(curves["layer"]))
    x = alt.X("layer:N", scale=alt.Scale(type="band", domain=layers, padding=0), axis=layer_axis())
    y = alt.Y("value:Q", scale=alt.Scale(domain=[0, 1]), axis=alt.Axis(title=None, tickCount=6))
    color = alt.Color("series:N", scale=alt.Scale(domain=list(SERIES)), legend=None)
    dash = alt.StrokeDash("series:N", scale=_scale(DASHES), legend=None)
    shape = alt.Shape("series:N", scale=_scale(SHAPES), legend=None)
    base = alt.Chart(curves).encode(x=x, y=y, color=color)
    return framed(
        [
            base.mark_line(strokeWidth=2, aria=False).encode(strokeDash=dash),
            base.mark_point(filled=True, size=26, opacity=1, aria=False).encode(shape=shape),
            *_names(curves, y, color),
            _hover_band(curves, x),
        ],
        height=HEIGHT,
    )


def _names(curves: pd.DataFrame, y: alt.Y, color: alt.Color) -> list[alt.Chart]:
    """The names of the series at the right ends of their lines, moved apart where they would overlap."""
    last = curves.dropna(subset=["value"]).groupby("series", sort=False).tail(1).sort_values("value")
    labels = last.assign(value=spread(last["value"].to_list(), LABEL_HEIGHT / HEIGHT, 1.0))
    text: dict[str, Any] = {"align": "left", "baseline": "middle", "dx": 7, "fontSize": 12, "fontWeight": 600}
    return [alt.Chart(labels).mark_text(**text).encode(x=alt.value("width"), y=y, text="series:N", color=color)]


def _hover_band(curves: pd.DataFrame, x: alt.X) -> alt.Chart:
    """One band per layer, visible under the pointer, with the values of all series in its tooltip."""
    texts = curves.assign(
        text=curves["value"].map("{:.3f}".format).where(curves["value"].notna(), "not in this network")
    )
    table = texts.pivot_table(index="layer", columns="series", values="text", aggfunc="first", sort=False)
    series = list(table.columns)
    # Vega-Lite reads special characters in field names, so the columns get plain ones.
    table = table.set_axis([f"s{index}" for index in range(len(series))], axis=1).reset_index()
    hover = alt.selection_point(name="hover", on="pointerover", clear="pointerout", fields=["layer"], empty=False)
    tooltip = [alt.Tooltip("layer:N", title="Layer")]
    tooltip += [alt.Tooltip(f"s{index}:N", title=name) for index, name in enumerate(series)]
    band = alt.Chart(table).mark_rect(color=GRAY)
    opacity = alt.condition(hover, alt.value(0.22), alt.value(0))
    chart: alt.Chart = band.encode(x=x, opacity=opacity, tooltip=tooltip).add_params(hover)
    return chart


def _scale(values: dict[str, Any]) -> alt.Scale:
    return alt.Scale(domain=list(values), range=list(values.values()))
