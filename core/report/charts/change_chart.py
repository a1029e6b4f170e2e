"""The chart of two studies: SI of both layer by layer, and below it the difference with its interval."""

from typing import Any

import altair as alt
import numpy as np
import pandas as pd
from altair.utils.schemapi import debug_mode

from core.report.charts.blocks import block_axis, block_bands
from core.report.charts.frame import (
    FONT_SIZE,
    LABEL_HEIGHT,
    PAGE,
    Panel,
    Size,
    UncheckedChart,
    framed,
    layer_axis,
    layer_x,
    names_parameter,
    upper_end,
)
from core.report.charts.labels import spread
from core.report.charts.theme import GRAY
from core.study.store.tables.ties import MANY_TIES

VALUES_HEIGHT, CHANGE_HEIGHT, GAP = 230, 170, 52
SHAPES = {
    "rose": "triangle-up",
    "fell": "triangle-down",
    "no certain change": "circle",
    "no interval": "cross",
    MANY_TIES: "square",
}
DASHES = {"after": [1, 0], "before": [6, 3], "control": [1, 0]}


@debug_mode(False)
def change_chart(
    table: pd.DataFrame, control: pd.DataFrame, names: tuple[str, str], *, size: Size = PAGE
) -> UncheckedChart:
    """SI of two studies layer by layer, and below it their difference with its 95% interval.

    Parameters
    ----------
    table : DataFrame
        As returned by `core.analysis.comparing.compare_studies`; at least one row. With the column block, the x axis
        of a chart that is not interactive names blocks in place of layers.
    control : DataFrame
        Layer and value of the untrained control; may be empty.
    names : tuple of str
        Names of the two studies, before and after.
    size : Size
    """
    lines = _lines(table, control)
    top = Panel(0, size(VALUES_HEIGHT), size)
    bottom = top.below(size(CHANGE_HEIGHT), size(GAP))
    axis, bands = layer_axis(), []
    if not size.interactive and "block" in table:
        axis, runs = block_axis(table, size)
        bands = block_bands(runs, axis)
    x = layer_x(axis)
    hover = [_hover_band(table, names, x)] if size.interactive else []
    return framed(
        [*bands, _values_panel(lines, names, x, top), _change_panel(table, x, bottom), *hover],
        height=bottom.bottom,
        size=size,
        params=[names_parameter(table["layer"])],
        resolve={"scale": {"y": "independent"}},
    )


def _lines(table: pd.DataFrame, control: pd.DataFrame) -> pd.DataFrame:
    """The values in long form: layer, line ("before", "after" or "control") and value, in network order."""
    parts = [table[["layer"]].assign(line=line, value=table[line]) for line in ("before", "after")]
    order = {layer: index for index, layer in enumerate(table["layer"])}
    if len(control):
        parts.insert(0, control.assign(line="control").sort_values("layer", key=lambda names: names.map(order)))
    return pd.concat(parts, ignore_index=True)


def _values_panel(lines: pd.DataFrame, names: tuple[str, str], x: alt.X, panel: Panel) -> alt.LayerChart:
    size = panel.size
    end = upper_end(lines[["value"]].to_numpy(float))
    y = alt.Y("value:Q", scale=panel.scale(domain=[0, end]), axis=panel.axis("Separation Index", tickCount=5))
    encodings = {"x": x, "y": y}
    charts = []
    for line in ("control", "before", "after"):  # later ones are drawn on top
        rows = lines[lines["line"] == line]
        if rows.empty:
            continue
        width = size(1.5 if line == "control" else 2)
        dash = [size(part) for part in DASHES[line]]
        point = {"size": 12 * size.scale**2}
        mark = alt.Chart(rows).mark_line(strokeWidth=width, strokeDash=dash, aria=False, point=point)
        charts.append(mark.encode(**encodings, color=_color(line)))
    return alt.LayerChart(layer=[*charts, *_line_names(lines, names, y, end, size)])


def _line_names(lines: pd.DataFrame, names: tuple[str, str], y: alt.Y, end: float, size: Size) -> list[alt.Chart]:
    """The names of the lines at their right ends, moved apart where they would overlap."""
    texts = {"before": names[0], "after": names[1], "control": "untrained control"}
    labels = lines.dropna(subset=["value"]).groupby("line").tail(1).sort_values("value", ignore_index=True)
    labels = labels.assign(
        value=spread(labels["value"].to_list(), end * LABEL_HEIGHT / VALUES_HEIGHT, end),
        text=labels["line"].map(texts),
    )
    style: dict[str, Any] = {"align": "left", "baseline": "middle", "dx": size(7), "fontSize": size(FONT_SIZE)}
    style["limit"] = size(150)
    encodings = {"x": alt.value("width"), "y": y, "text": "text:N"}
    return [
        alt.Chart(rows).mark_text(fontWeight=600, **style).encode(**encodings, color=_color(str(line)))
        for line, rows in labels.groupby("line")
    ]


def _change_panel(table: pd.DataFrame, x: alt.X, panel: Panel) -> alt.LayerChart:
    """Bands from low to high, a line at no change, and one mark per layer whose shape shows the verdict."""
    largest = float(np.nanmax(np.abs(table[["difference", "low", "high"]].to_numpy(float))))
    reach = largest * 1.08 or 0.01  # a little room above the largest; some height if all are 0
    axis = panel.axis("Difference, with 95% interval", tickCount=5, format="+.2f" if reach > 0.02 else "+.3f")
    y = alt.Y("difference:Q", scale=panel.scale(domain=[-reach, reach]), axis=axis)
    size, band = panel.size, table[table["low"].notna()]
    shape = alt.Shape("verdict:N", legend=None, scale=alt.Scale(domain=list(SHAPES), range=list(SHAPES.values())))
    base = alt.Chart(table[["layer", "difference", "verdict"]].assign(line="after"))
    rows = pd.DataFrame({"difference": [0.0]})
    charts = [
        alt.Chart(rows).mark_rule(strokeDash=[size(6), size(4)], color=GRAY, aria=False).encode(y=y),
        base.mark_line(strokeWidth=size(1), opacity=0.6, aria=False).encode(x=x, y=y, color=_color("after")),
        base.mark_point(filled=True, size=40 * size.scale**2, opacity=1, aria=False).encode(
            x=x, y=y, shape=shape, color=_color("after")
        ),
    ]
    if len(band):
        area = alt.Chart(band[["layer", "low", "high"]].assign(line="after")).mark_area(
            opacity=0.18, line=False, aria=False
        )
        scaled = alt.Y("low:Q", scale=panel.scale(domain=[-reach, reach]))
        charts.insert(0, area.encode(x=x, y=scaled, y2="high:Q", color=_color("after")))
    return alt.LayerChart(layer=charts)


def _hover_band(table: pd.DataFrame, names: tuple[str, str], x: alt.X) -> alt.Chart:
    """One band per layer over both panels, visible under the pointer, with the numbers in its tooltip."""
    interval = table["low"].map("{:+z.3f}".format) + " to " + table["high"].map("{:+z.3f}".format)
    interval = interval.where(table["low"].notna(), "–")
    rows = pd.DataFrame(
        {
            "layer": table["layer"],
            "against": table["layer_before"],
            "before": table["before"].map("{:.3f}".format),
            "after": table["after"].map("{:.3f}".format),
            "difference": table["difference"].map("{:+z.3f}".format) + " (" + interval + ")",
            "verdict": table["verdict"],
        }
    )
    titles = {"layer": "Layer", "against": "Compared with", "before": names[0], "after": names[1]}
    titles |= {"difference": "Difference", "verdict": "Meaning"}
    if (rows["layer"] == rows["against"]).all():
        del titles["against"]
    descriptions = []  # for screen readers
    for row in rows.to_dict("records"):
        descriptions.append(", ".join(f"{title} {row[name]}" for name, title in titles.items()))
    hover = alt.selection_point(name="hover", on="pointerover", clear="pointerout", fields=["layer"], empty=False)
    band = alt.Chart(rows.assign(description=descriptions)).mark_rect(color=GRAY)
    tooltip = [alt.Tooltip(f"{name}:N", title=title) for name, title in titles.items()]
    opacity = alt.condition(hover, alt.value(0.22), alt.value(0))
    description = alt.Description("description:N")
    chart: alt.Chart = band.encode(x=x, opacity=opacity, tooltip=tooltip, description=description).add_params(hover)
    return chart


def _color(line: str) -> Any:
    """The color of a line: gray for the control, the theme's colors for the studies."""
    if line == "control":
        return alt.value(GRAY)
    return alt.Color("line:N", scale=alt.Scale(domain=["after", "before"]), legend=None)
