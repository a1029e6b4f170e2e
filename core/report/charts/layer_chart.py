"""The chart of a measure through the network: SI, the kNN baseline, channels and parameters, on one x axis."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import altair as alt
import pandas as pd
from altair.utils.schemapi import debug_mode

from core.report.charts.block_names import block_names
from core.report.charts.blocks import block_axis, block_bands, block_runs
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
    soft_text,
    upper_end,
)
from core.report.charts.labels import chance_levels, direct_labels, tooltip_table, with_series
from core.report.charts.marked_layers import marked_charts, marked_layers
from core.report.charts.theme import GRAY
from core.report.words.formatting import SAMPLES

MAIN_HEIGHT, BASELINE_HEIGHT, PANEL_HEIGHT, GAP = 300, 72, 48, 36
FEW_LAYERS = 12  # of which each is named, where each is a block of its own
SINGLE_HEIGHT = 140  # of a panel with a property of the layers that has the chart to itself
PANELS = ("si", "knn", "channels", "parameters")  # from the top
# Columns that the marks need; others would only make the specification larger.
DRAWN = ["layer", "pooling", "value", "low", "high", "series", "samples_name"]
UNTRAINED = "untrained"
CHOSEN = "chosen_layer"  # name of the band that marks the chosen layer
PICK = "pick"  # name of the selection that a click makes
DASHES = {"mean": [1, 0], "flat": [7, 3]}
SHAPES = {"mean": "circle", "flat": "diamond"}


@dataclass(frozen=True, eq=False)
class LayerRows:
    """The layers of a chart and how its x axis names them.

    Attributes
    ----------
    layers : DataFrame
        In network order.
    axis : alt.Axis or None
        None where `block_names` names the blocks.
    runs : DataFrame
        The blocks, of `core.report.charts.blocks.block_runs`.
    size : Size
    """

    layers: pd.DataFrame
    axis: alt.Axis | None
    runs: pd.DataFrame
    size: Size

    @property
    def x(self) -> alt.X:
        """The x encoding of all marks."""
        return layer_x(self.axis)


@debug_mode(False)  # debug mode would validate every part of the chart when it is made
def layers_chart(
    curves: pd.DataFrame,
    layers: pd.DataFrame,
    *,
    measure: str = "SI",
    control: pd.DataFrame | None = None,
    chosen: str | None = None,
    marked: Mapping[str, str] | None = None,
    panels: Sequence[str] = PANELS,
    size: Size = PAGE,
) -> UncheckedChart:
    """Curves through the network, the kNN baseline, and the channels and parameters of the layers.

    A click selects a layer, which the app reads under the name `PICK`.

    Parameters
    ----------
    curves : DataFrame
        As returned by `core.analysis.curves.tidy_curves`, at least one row with a value.
    layers : DataFrame
        The layers on the x axis, in network order, as returned by `core.analysis.curves.measured_layers`; at least one.
    measure : str
        Title of the measure in the rows of "SI".
    control : DataFrame, optional
        Layer and value of the same network without training, drawn in gray.
    chosen : str, optional
        The layer to highlight.
    marked : mapping, optional
        From some layers to a text that is written beside them.
    panels : sequence of str
        Which of `PANELS` to draw; those that the study knows nothing about are left out.
    size : Size
        A chart that is not interactive, such as a figure, names blocks in place of layers.
    """
    rows = layer_rows(layers, size)
    lines = with_series(curves, measure)
    separation, baseline = lines[lines["measure"] == "SI"], lines[lines["measure"] == "kNN"]
    panel = Panel(0, 0, size)
    charts: list[alt.Chart | alt.LayerChart] = []
    if "si" in panels:
        panel = panel.below(size(MAIN_HEIGHT), 0)
        charts.append(_curve_panel(separation, rows, panel, measure, _control_rows(control, layers), marked or {}))
    if "knn" in panels and baseline["value"].notna().any():
        panel = panel.below(size(BASELINE_HEIGHT), size(GAP) if charts else 0)
        charts.append(_baseline_panel(baseline, rows, panel))
    for column, title, scale in _property_panels(layers, panels):
        height = SINGLE_HEIGHT if len(panels) == 1 else PANEL_HEIGHT
        panel = panel.below(size(height), size(GAP) if charts else 0)
        axis = panel.axis(title, tickCount=2, labelExpr="format(datum.value, '~s')")
        charts.append(_bar_panel(rows, column, axis, panel.scale(**scale)))
    hover = [_hover_band(lines, rows)] if size.interactive else []
    names = block_names(layers, panel.bottom, size) if rows.axis is None else []
    return framed(
        [*block_bands(rows.runs, rows.axis), *_chosen_band(rows, chosen), *charts, *names, *hover],
        height=panel.bottom,
        size=size,
        params=[names_parameter(layers["layer"])],
        resolve={"scale": {"y": "independent"}},
    )


def layer_rows(layers: pd.DataFrame, size: Size = PAGE) -> LayerRows:
    """Return the layers of a chart, and how its x axis names them.

    Parameters
    ----------
    layers : DataFrame
        With the columns layer and block, in network order.
    size : Size
    """
    if size.interactive:
        runs = block_runs(layers)
        has_blocks = len(runs) > 0 and (len(layers) <= FEW_LAYERS or (runs["count"] > 1).any())
        return LayerRows(layers, None if has_blocks else layer_axis(), runs, size)
    axis, runs = block_axis(layers, size)
    return LayerRows(layers, axis, runs, size)


def _curve_panel(
    lines: pd.DataFrame,
    rows: LayerRows,
    panel: Panel,
    measure: str,
    control: pd.DataFrame,
    marked: Mapping[str, str],
) -> alt.LayerChart:
    """The curves with their bands, chance levels, the control and labels."""
    top = upper_end(lines[["value", "high", "chance"]].to_numpy(float))
    title = "Separation Index" if measure == "SI" else measure
    y = alt.Y("value:Q", scale=panel.scale(domain=[0, top]), axis=panel.axis(title, tickCount=6))
    base = _lines_base(lines, rows, y)
    shape = alt.Shape("pooling:N", scale=alt.Scale(domain=list(SHAPES), range=list(SHAPES.values())), legend=None)
    point_size = 34 if len(rows.layers) <= 80 else 12
    scale, order = rows.size.scale, rows.layers["layer"].tolist()
    marks = [
        base.mark_line(strokeWidth=rows.size(2), aria=False).encode(strokeDash=_dash()),
        base.mark_point(filled=True, size=point_size * scale**2, opacity=1, aria=False).encode(shape=shape),
        *marked_charts(marked_layers(lines, order, marked, top, panel), rows.x, y, top, panel),
    ]
    gray_labels = {UNTRAINED: float(control["value"].iloc[-1])} if len(control) else {}
    bands, rules = _bands(base, lines), _chance_rules(lines, y, rows.size)
    gap = top * rows.size(LABEL_HEIGHT) / panel.height
    labels = _label_marks(direct_labels(lines, top, gap, gray_labels), lines, y, rows.size)
    return alt.LayerChart(layer=[*bands, *rules, *_control_line(control, rows, y), *marks, *labels])


def _baseline_panel(lines: pd.DataFrame, rows: LayerRows, panel: Panel) -> alt.LayerChart:
    """Lines with the accuracy of kNN and their names; no bands."""
    top = upper_end(lines[["value"]].to_numpy(float))
    title = f"Accuracy of kNN (k = {lines['order'].iloc[0]})"
    y = alt.Y("value:Q", scale=panel.scale(domain=[0, top]), axis=panel.axis(title, tickCount=3))
    size = rows.size
    point = {"size": 7 * size.scale**2}
    line = _lines_base(lines, rows, y).mark_line(strokeWidth=size(1.5), aria=False, point=point)
    labels = _label_marks(direct_labels(lines, top, top * size(LABEL_HEIGHT) / panel.height), lines, y, size)
    return alt.LayerChart(layer=[line.encode(strokeDash=_dash()), *labels])


def _lines_base(lines: pd.DataFrame, rows: LayerRows, y: alt.Y) -> alt.Chart:
    """The encodings of one line per series, in the color of its samples."""
    return alt.Chart(lines[DRAWN]).encode(x=rows.x, y=y, color=_samples_color(lines), detail="series:N")


def _control_rows(control: pd.DataFrame | None, layers: pd.DataFrame) -> pd.DataFrame:
    """The control's values at the layers of the chart, in network order; empty without a control."""
    if control is None or control.empty:
        return pd.DataFrame({"layer": [], "value": []})
    values = control.set_index("layer")["value"]
    return layers[["layer"]].assign(value=layers["layer"].map(values)).dropna(subset=["value"])


def _control_line(control: pd.DataFrame, rows: LayerRows, y: alt.Y) -> list[alt.Chart]:
    if control.empty:
        return []
    line = alt.Chart(control).mark_line(color=GRAY, strokeWidth=rows.size(1.5), aria=False)
    return [line.encode(x=rows.x, y=y)]


def _bands(base: alt.Chart, lines: pd.DataFrame) -> list[alt.Chart]:
    """Bands from low to high, if the study has intervals."""
    if not (lines["low"].notna() & lines["high"].notna()).any():
        return []
    return [base.mark_area(opacity=0.16, line=False, aria=False).encode(y=alt.Y("low:Q"), y2="high:Q")]


def _chance_rules(lines: pd.DataFrame, y: alt.Y, size: Size) -> list[alt.Chart]:
    levels = pd.DataFrame([{"value": level.value, "text": f"Chance: {level.label}"} for level in chance_levels(lines)])
    if levels.empty:
        return []
    dash = [size(6), size(4)]
    rule = alt.Chart(levels).mark_rule(strokeDash=dash, strokeWidth=size(1.2), color=GRAY)
    return [rule.encode(y=y, description="text:N")]


def _label_marks(labels: pd.DataFrame, lines: pd.DataFrame, y: alt.Y, size: Size) -> list[alt.Chart]:
    """The texts of `direct_labels` beside the plot, each in the color of its line."""
    labels = labels.rename(columns={"y": "value"})
    text: dict[str, Any] = {"align": "left", "baseline": "middle", "dx": size(7), "fontSize": size(FONT_SIZE)}
    is_gray = labels["samples_name"].isna()
    encodings = {"x": alt.value("width"), "y": y, "text": "text:N"}
    names = alt.Chart(labels[~is_gray]).mark_text(fontWeight=600, **text)
    names = names.encode(color=_samples_color(lines), **encodings)
    if not is_gray.any():
        return [names]
    return [names, alt.Chart(labels[is_gray]).mark_text(color=soft_text(size), **text).encode(**encodings)]


def _bar_panel(rows: LayerRows, column: str, axis: alt.Axis, scale: alt.Scale) -> alt.Chart:
    bars = alt.Chart(rows.layers[["layer", column]]).mark_bar(
        color=GRAY, opacity=0.75, aria=False, width=alt.ExprRef("min(28, 0.8 * bandwidth('x'))")
    )
    chart: alt.Chart = bars.encode(x=rows.x, y=alt.Y(f"{column}:Q", axis=axis, scale=scale))
    return chart


def _property_panels(layers: pd.DataFrame, panels: Sequence[str]) -> list[tuple[str, str, dict[str, Any]]]:
    """Column, title and scale of the panels with properties of the layers that the study knows."""
    properties: list[tuple[str, str, dict[str, Any]]] = [
        ("channels", "Depth (channels)", {}),
        ("parameters", "Parameters (square-root scale)", {"type": "sqrt"}),  # from 0, which has no logarithm
    ]
    return [panel for panel in properties if panel[0] in panels and (layers[panel[0]] > 0).any()]


def _chosen_band(rows: LayerRows, chosen: str | None) -> list[alt.Chart]:
    """A band over all panels that marks the chosen layer."""
    chosen_layer = rows.layers.loc[rows.layers["layer"] == chosen, ["layer"]]
    if chosen_layer.empty:
        return []
    return [chosen_layer_band(str(chosen), rows.x)]


def chosen_layer_band(layer: str, x: alt.X) -> alt.Chart:
    """Return a band that marks one layer, which `with_chosen_layer` finds in a specification."""
    band = alt.Chart(pd.DataFrame({"layer": [layer]}), name=CHOSEN)
    chart: alt.Chart = band.mark_rect(color=GRAY, opacity=0.28, stroke=GRAY, strokeWidth=1.5, aria=False).encode(x=x)
    return chart


def with_chosen_layer(spec: Mapping[str, Any], layer: str | None) -> dict[str, Any]:
    """Return a specification with another layer marked: much faster than to make the chart again.

    Parameters
    ----------
    spec : mapping
        Of `core.report.charts.frame.spec_and_tables`, of a chart with a `chosen_layer_band`; without one, it is
        returned as it is. It is not changed.
    layer : str or None
        A layer of the chart; None for no band.
    """
    bands = [part for part in spec["layer"] if part.get("name") == CHOSEN]
    if not bands:
        return dict(spec)
    tables = dict(spec["datasets"])
    if layer is None:
        del tables[bands[0]["data"]["name"]]
        return {**spec, "layer": [part for part in spec["layer"] if part is not bands[0]], "datasets": tables}
    tables[bands[0]["data"]["name"]] = pd.DataFrame({"layer": [layer]})
    return {**spec, "datasets": tables}


def _hover_band(lines: pd.DataFrame, rows: LayerRows) -> alt.Chart:
    """One band per layer over all panels: visible under the pointer, with a tooltip; a click selects the layer."""
    table, columns = tooltip_table(lines, rows.layers)
    hover = alt.selection_point(name="hover", on="pointerover", clear="pointerout", fields=["layer"], empty=False)
    pick = alt.selection_point(name=PICK, on="click", clear=False, toggle=False, fields=["layer"], empty=False)
    tooltip = [alt.Tooltip(f"{column}:N", title=title) for column, title in columns.items()]
    band = (
        alt.Chart(table)
        .mark_rect(color=GRAY, cursor="pointer")
        .encode(
            x=rows.x,
            opacity=alt.condition(hover, alt.value(0.22), alt.value(0)),
            tooltip=tooltip,
            description=alt.Description("description:N"),
        )
    )
    chart: alt.Chart = band.add_params(hover, pick)
    return chart


def _samples_color(lines: pd.DataFrame) -> alt.Color:
    """The theme's colors, the same for the same samples in every chart."""
    names = list(dict.fromkeys([*SAMPLES.values(), *lines["samples_name"]]))
    return alt.Color("samples_name:N", scale=alt.Scale(domain=names), legend=None)


def _dash() -> alt.StrokeDash:
    return alt.StrokeDash("pooling:N", scale=alt.Scale(domain=list(DASHES), range=list(DASHES.values())), legend=None)
