"""The chart of several lines of SI, by layer or by relative depth: studies, and sample sizes, over each other."""

import json
from typing import Any

import altair as alt
import pandas as pd
from altair.utils.schemapi import debug_mode

from core.report.charts.block_names import block_names
from core.report.charts.blocks import block_bands
from core.report.charts.frame import (
    FONT_SIZE,
    LABEL_HEIGHT,
    PAGE,
    Panel,
    UncheckedChart,
    framed,
    names_parameter,
    upper_end,
)
from core.report.charts.labels import spread
from core.report.charts.layer_chart import PICK, chosen_layer_band, layer_rows
from core.report.charts.theme import GRAY
from explorer.app_pages.layers.lines import Lines, chance_levels_by_study

HEIGHT = 380
LABEL_LIMIT = 130  # pixels of a line's name beside the plot
SHAPES = ("circle", "square", "diamond")
DASHES = ([1, 0], [7, 3], [2, 2], [9, 3, 2, 3], [4, 4], [1, 3])
_MANY_LAYERS = 80


@debug_mode(False)
def lines_chart(lines: Lines, measure: str, chosen: str | None = None) -> UncheckedChart:
    """Lines of SI with faint bands, their names and the chance levels.

    Parameters
    ----------
    lines : Lines
        At least one line.
    measure : str
        Title of the y axis.
    chosen : str, optional
        The layer to mark, where the x axis is of layers.
    """
    rows, panel = lines.rows, Panel(0, HEIGHT)
    by_name = lines.alignment.by == "name"
    top = upper_end(rows[["value", "high", "chance"]].to_numpy(float))
    y = alt.Y("value:Q", scale=panel.scale(domain=[0, top]), axis=panel.axis(measure, tickCount=6))
    layers = layer_rows(lines.layers) if by_name else None
    x = layers.x if layers else _depth_x()
    colors = _colors(lines)
    drawn = rows[["line", "color", "dash", "shape", "layer", "depth", "value", "low", "high"]].assign(
        dash=rows["dash"] % len(DASHES), shape=rows["shape"] % len(SHAPES)
    )
    base = alt.Chart(drawn).encode(x=x, y=y, color=colors, detail="line:N")
    point_size = 30 if rows.groupby("line").size().max() <= _MANY_LAYERS else 10
    marks: list[alt.Chart] = []
    if (rows["low"].notna() & rows["high"].notna()).any():
        band = base.mark_area(opacity=0.1, line=False, aria=False)
        marks.append(band.encode(y=alt.Y("low:Q"), y2="high:Q"))
    marks += [
        base.mark_line(strokeWidth=2, aria=False).encode(strokeDash=_scaled(alt.StrokeDash, "dash", DASHES)),
        base.mark_point(filled=True, size=point_size, opacity=1, aria=False).encode(
            shape=_scaled(alt.Shape, "shape", SHAPES)
        ),
    ]
    labels = _labels(lines, top, y, colors)
    hover = _layer_bands(lines, x) if by_name else _depth_points(lines, x, y)
    # Within a layer of their own, lines and bands share one y scale.
    curves = alt.LayerChart(layer=[*_chance_rules(rows, y), *marks, *labels])
    bands = block_bands(layers.runs, layers.axis) if layers else []
    names = block_names(layers.layers, HEIGHT, PAGE) if layers and layers.axis is None else []
    return framed(
        [*bands, *_chosen_band(lines, chosen, x), curves, *names, hover],
        height=HEIGHT,
        params=[names_parameter(lines.alignment.layers)] if by_name else [],
        resolve={"scale": {"y": "independent"}},
    )


def _colors(lines: Lines) -> alt.Color:
    """A color of the theme for each study or size; gray for studies that cannot be compared with the first one."""
    is_gray = [name in lines.not_comparable for name in lines.names("color")]
    domain = [name for name, gray in zip(lines.names("color"), is_gray, strict=True) if not gray]
    color = alt.Color("color:N", scale=alt.Scale(domain=domain), legend=_legend(lines))
    if not any(is_gray):
        return color
    names = json.dumps([name for name, gray in zip(lines.names("color"), is_gray, strict=True) if gray])
    return color.condition(test=f"indexof({names}, datum.color) >= 0", value=GRAY)


def _legend(lines: Lines) -> alt.Legend | None:
    """A legend of sample sizes in their order, which the ends of the lines need not have."""
    if len(lines.names("size")) == 1 or len(lines.names("study")) > 1:
        return None
    return alt.Legend(title=None, orient="top", symbolType="stroke", symbolStrokeWidth=3, symbolOpacity=1, columns=3)


def _scaled(channel: Any, field: str, values: tuple[Any, ...]) -> Any:
    """An encoding of a column with indices of `values`."""
    scale = alt.Scale(domain=list(range(len(values))), range=list(values))
    return channel(f"{field}:N", scale=scale, legend=None)


def _depth_x() -> alt.X:
    axis = alt.Axis(title="Relative depth in each network (%)", grid=False, tickCount=6)
    return alt.X("depth:Q", scale=alt.Scale(domain=[0, 100], nice=False), axis=axis)


def _labels(lines: Lines, top: float, y: alt.Y, colors: alt.Color) -> list[alt.Chart]:
    """The lines' names and the chance levels beside the plot, moved apart where they would overlap."""
    last = lines.rows.groupby("line", sort=False).tail(1)
    labels = last[["line", "color", "value"]].set_axis(["text", "color", "value"], axis=1)
    chance = [
        {"text": " ".join(filter(None, [f"chance {level:.2g}", names])), "color": None, "value": level}
        for level, names in chance_levels_by_study(lines.rows)
    ]
    labels = pd.DataFrame([*labels.to_dict("records"), *chance]).sort_values("value", ignore_index=True)
    labels["value"] = spread(labels["value"].to_list(), top * LABEL_HEIGHT / HEIGHT, top)
    text: dict[str, Any] = {
        "align": "left",
        "baseline": "middle",
        "dx": 7,
        "fontSize": FONT_SIZE,
        "limit": LABEL_LIMIT,
    }
    is_gray = labels["color"].isna()
    encodings = {"x": alt.value("width"), "y": y, "text": "text:N"}
    charts = [alt.Chart(labels[~is_gray]).mark_text(fontWeight=600, **text).encode(color=colors, **encodings)]
    if is_gray.any():
        charts.append(alt.Chart(labels[is_gray][["text", "value"]]).mark_text(color=GRAY, **text).encode(**encodings))
    return charts


def _chance_rules(rows: pd.DataFrame, y: alt.Y) -> list[alt.Chart]:
    levels = pd.DataFrame([{"value": level} for level, _ in chance_levels_by_study(rows)])
    if levels.empty:
        return []
    return [alt.Chart(levels).mark_rule(strokeDash=[6, 4], strokeWidth=1.2, color=GRAY).encode(y=y)]


def _chosen_band(lines: Lines, chosen: str | None, x: alt.X) -> list[alt.Chart]:
    """A band that marks the chosen layer."""
    if chosen not in lines.alignment.layers:
        return []
    return [chosen_layer_band(str(chosen), x)]


def _layer_bands(lines: Lines, x: alt.X) -> alt.Chart:
    """One band a layer: visible under the pointer, with the values of all lines; a click selects the layer."""
    texts = lines.rows.assign(text=_value_texts(lines.rows))
    wide = texts.pivot_table(index="layer", columns="line", values="text", aggfunc="first", sort=False)
    wide = wide.reindex(index=[name for name in lines.alignment.layers if name in wide.index]).fillna("–")
    titles = {f"s{index}": str(line) for index, line in enumerate(wide.columns)}
    table = wide.set_axis(list(titles), axis=1).rename_axis("layer").reset_index()
    tooltip = [alt.Tooltip("layer:N", title="Layer")]
    tooltip += [alt.Tooltip(f"{name}:N", title=title) for name, title in titles.items()]
    hover, pick = _selections()
    band = alt.Chart(table).mark_rect(color=GRAY, cursor="pointer", aria=False)
    opacity = alt.condition(hover, alt.value(0.22), alt.value(0))
    chart: alt.Chart = band.encode(x=x, opacity=opacity, tooltip=tooltip).add_params(hover, pick)
    return chart


def _depth_points(lines: Lines, x: alt.X, y: alt.Y) -> alt.Chart:
    """An invisible point on each value, with a tooltip; a click selects its layer."""
    rows = lines.rows
    table = rows[["line", "layer", "depth", "value"]].assign(
        text=_value_texts(rows), chance=rows["chance"].map(lambda level: "–" if pd.isna(level) else f"{level:.4f}")
    )
    tooltip = [
        alt.Tooltip("line:N", title="Line"),
        alt.Tooltip("layer:N", title="Layer"),
        alt.Tooltip("depth:Q", title="Depth (%)", format=".0f"),
        alt.Tooltip("text:N", title="Value"),
        alt.Tooltip("chance:N", title="Chance"),
    ]
    hover, pick = _selections()
    points = alt.Chart(table).mark_point(filled=True, size=150, color=GRAY, cursor="pointer", aria=False)
    opacity = alt.condition(hover, alt.value(0.5), alt.value(0))
    chart: alt.Chart = points.encode(x=x, y=y, opacity=opacity, tooltip=tooltip).add_params(hover, pick)
    return chart


def _selections() -> tuple[alt.Parameter, alt.Parameter]:
    """What is under the pointer, and the layer that a click selects."""
    hover = alt.selection_point(name="hover", on="pointerover", clear="pointerout", fields=["layer"], empty=False)
    pick = alt.selection_point(name=PICK, on="click", clear=False, toggle=False, fields=["layer"], empty=False)
    return hover, pick


def _value_texts(rows: pd.DataFrame) -> list[str]:
    """Such as "0.512 (0.480 to 0.544), 1,200 samples"."""
    texts = []
    for value, low, high, count in rows[["value", "low", "high", "num_queries"]].itertuples(index=False, name=None):
        interval = "" if pd.isna(low) or pd.isna(high) else f" ({low:.3f} to {high:.3f})"
        texts.append(f"{value:.3f}{interval}, n {count:,.0f}")
    return texts
