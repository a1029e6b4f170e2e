"""The charts of the page Compare: DataFrames in, an Altair chart out."""

from typing import Any

import altair as alt
import numpy as np
import pandas as pd
from altair.utils.schemapi import debug_mode

from core.study.store.ties import MANY_TIES
from explorer.app_pages.compare.tables import PROPERTIES
from explorer.charts.labels import spread
from explorer.charts.layer_chart import GRAY, LABEL_HEIGHT, NAMES, Panel, UncheckedChart, framed, layer_x, upper_end

DOTS_HEIGHT, VALUES_HEIGHT, CHANGE_HEIGHT, GAP = 230, 230, 170, 52
SHAPES = {
    "rose": "triangle-up",
    "fell": "triangle-down",
    "no certain change": "circle",
    "no interval": "cross",
    MANY_TIES: "square",
}
DASHES = {"after": [1, 0], "before": [6, 3], "control": [1, 0]}


@debug_mode(False)
def dots_chart(dots: pd.DataFrame, column: str, chosen: str | None = None) -> UncheckedChart:
    """SI versus a property of the layers: one dot per layer, with its interval if it has one.

    Parameters
    ----------
    dots : DataFrame
        Of `layer_dots`.
    column : str
        A key of `PROPERTIES`, known for some layers.
    chosen : str, optional
        The layer to mark.
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
    axis = alt.Axis(title=title, grid=False, tickCount=5, labelOverlap="greedy", **labels)
    top = upper_end(rows[["si", "high"]].to_numpy(float))
    encodings = {
        "x": alt.X(f"{column}:Q", scale=scale, axis=axis),
        "y": alt.Y("si:Q", scale=alt.Scale(domain=[0, top]), axis=alt.Axis(title="Separation Index", tickCount=5)),
    }
    base = alt.Chart(rows)
    texts = {"layer": "Layer", "kind": "Kind", "block": "Block", "x_text": title, "si_text": "SI"}
    tooltip = [alt.Tooltip(f"{name}:N", title=text) for name, text in texts.items() if (rows[name] != "").any()]
    marks: list[alt.Chart] = []
    if rows["low"].notna().any():
        rule = alt.Chart(rows[rows["low"].notna()]).mark_rule(strokeWidth=1, opacity=0.3, aria=False)
        marks.append(rule.encode(x=encodings["x"], y=alt.Y("low:Q"), y2="high:Q", color=_color("after")))
    point = base.mark_point(filled=True, size=45, opacity=0.8).encode(
        **encodings, tooltip=tooltip, color=_color("after")
    )
    return framed([*marks, point, *_marked(rows[rows["layer"] == chosen], encodings)], height=DOTS_HEIGHT)


def _marked(rows: pd.DataFrame, encodings: dict[str, Any]) -> list[alt.Chart]:
    """A ring around the chosen layer, and its name."""
    if rows.empty:
        return []
    base = alt.Chart(rows[["layer", "si", *_x_column(encodings)]]).encode(x=encodings["x"], y=encodings["y"])
    ring = base.mark_point(size=190, strokeWidth=2, color=GRAY, filled=False, opacity=1, aria=False)
    name = base.mark_text(align="right", dx=-12, dy=-8, fontSize=12, fontWeight=600, color=GRAY)
    return [ring, name.encode(text="layer:N")]


def _x_column(encodings: dict[str, Any]) -> list[str]:
    """The column of the x axis."""
    return [str(encodings["x"].shorthand).removesuffix(":Q")]


@debug_mode(False)
def change_chart(table: pd.DataFrame, control: pd.DataFrame, names: tuple[str, str]) -> UncheckedChart:
    """SI of two studies layer by layer, and below it their difference with its 95 % interval.

    Parameters
    ----------
    table : DataFrame
        Of `core.analysis.comparing.compare_studies`; at least one row.
    control : DataFrame
        Layer and value of the untrained control; may be empty.
    names : tuple of str
        Names of the two studies, before and after.
    """
    lines = _lines(table, control)
    top = Panel(0, VALUES_HEIGHT)
    bottom = Panel(VALUES_HEIGHT + GAP, VALUES_HEIGHT + GAP + CHANGE_HEIGHT)
    return framed(
        [_values_panel(table, lines, names, top), _change_panel(table, bottom), _hover_band(table, names)],
        height=bottom.bottom,
        params=[alt.VariableParameter(name=NAMES, value=tuple(table["layer"]))],
        resolve={"scale": {"y": "independent"}},
    )


def _lines(table: pd.DataFrame, control: pd.DataFrame) -> pd.DataFrame:
    """The values in long form: layer, line ("before", "after" or "control") and value, in network order."""
    parts = [table[["layer"]].assign(line=line, value=table[line]) for line in ("before", "after")]
    order = {layer: index for index, layer in enumerate(table["layer"])}
    if len(control):
        parts.insert(0, control.assign(line="control").sort_values("layer", key=lambda names: names.map(order)))
    return pd.concat(parts, ignore_index=True)


def _values_panel(table: pd.DataFrame, lines: pd.DataFrame, names: tuple[str, str], panel: Panel) -> alt.LayerChart:
    end = upper_end(lines[["value"]].to_numpy(float))
    y = alt.Y("value:Q", scale=panel.scale(domain=[0, end]), axis=panel.axis("Separation Index", tickCount=5))
    encodings = {"x": layer_x(table), "y": y}
    charts = []
    for line in ("control", "before", "after"):  # later ones are drawn on top
        rows = lines[lines["line"] == line]
        if rows.empty:
            continue
        width = 1.5 if line == "control" else 2
        mark = alt.Chart(rows).mark_line(strokeWidth=width, strokeDash=DASHES[line], aria=False, point={"size": 12})
        charts.append(mark.encode(**encodings, color=_color(line)))
    return alt.LayerChart(layer=[*charts, *_line_names(lines, names, y, end)])


def _line_names(lines: pd.DataFrame, names: tuple[str, str], y: alt.Y, end: float) -> list[alt.Chart]:
    """The names of the lines at their right ends, moved apart where they would overlap."""
    texts = {"before": names[0], "after": names[1], "control": "untrained control"}
    labels = lines.dropna(subset=["value"]).groupby("line").tail(1).sort_values("value", ignore_index=True)
    labels = labels.assign(
        value=spread(labels["value"].to_list(), end * LABEL_HEIGHT / VALUES_HEIGHT, end),
        text=labels["line"].map(texts),
    )
    style: dict[str, Any] = {"align": "left", "baseline": "middle", "dx": 7, "fontSize": 12, "limit": 150}
    encodings = {"x": alt.value("width"), "y": y, "text": "text:N"}
    return [
        alt.Chart(rows).mark_text(fontWeight=600, **style).encode(**encodings, color=_color(str(line)))
        for line, rows in labels.groupby("line")
    ]


def _change_panel(table: pd.DataFrame, panel: Panel) -> alt.LayerChart:
    """Bands from low to high, a line at no change, and one mark per layer whose shape shows the verdict."""
    largest = float(np.nanmax(np.abs(table[["difference", "low", "high"]].to_numpy(float))))
    reach = largest * 1.08 or 0.01  # a little room above the largest; some height if all are 0
    axis = panel.axis("Difference, with 95 % interval", tickCount=5, format="+.2f" if reach > 0.02 else "+.3f")
    y = alt.Y("difference:Q", scale=panel.scale(domain=[-reach, reach]), axis=axis)
    x, band = layer_x(table), table[table["low"].notna()]
    shape = alt.Shape("verdict:N", legend=None, scale=alt.Scale(domain=list(SHAPES), range=list(SHAPES.values())))
    base = alt.Chart(table[["layer", "difference", "verdict"]].assign(line="after"))
    rows = pd.DataFrame({"difference": [0.0]})
    charts = [
        alt.Chart(rows).mark_rule(strokeDash=[6, 4], color=GRAY, aria=False).encode(y=y),
        base.mark_line(strokeWidth=1, opacity=0.6, aria=False).encode(x=x, y=y, color=_color("after")),
        base.mark_point(filled=True, size=40, opacity=1, aria=False).encode(
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


def _hover_band(table: pd.DataFrame, names: tuple[str, str]) -> alt.Chart:
    """One band per layer over both panels, visible under the pointer, with the numbers in its tooltip."""
    interval = table["low"].map("{:+.3f}".format) + " to " + table["high"].map("{:+.3f}".format)
    interval = interval.where(table["low"].notna(), "–")
    rows = pd.DataFrame(
        {
            "layer": table["layer"],
            "against": table["layer_before"],
            "before": table["before"].map("{:.3f}".format),
            "after": table["after"].map("{:.3f}".format),
            "difference": table["difference"].map("{:+.3f}".format) + " (" + interval + ")",
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
    chart: alt.Chart = band.encode(
        x=layer_x(table), opacity=opacity, tooltip=tooltip, description=description
    ).add_params(hover)
    return chart


def _color(line: str) -> Any:
    """The color of a line: gray for the control, the theme's colors for the studies."""
    if line == "control":
        return alt.value(GRAY)
    return alt.Color("line:N", scale=alt.Scale(domain=["after", "before"]), legend=None)
