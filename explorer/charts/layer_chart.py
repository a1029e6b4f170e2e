"""The chart of a measure through the network: DataFrames in, an Altair chart out.

One view holds up to four panels on one x axis (SI, kNN baseline, channels, parameters). Each panel has a y scale whose
range is a part of the view's height. Unlike a concatenation of charts, one view follows the width of the page, lets the
hover band cross all panels, and can be saved as one picture.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import altair as alt
import numpy as np
import pandas as pd
from altair.utils.schemapi import debug_mode
from numpy.typing import NDArray

from explorer.charts.labels import chance_levels, direct_labels, tooltip_table, with_series
from explorer.state.choices import SAMPLES

MAIN_HEIGHT, BASELINE_HEIGHT, PANEL_HEIGHT, GAP = 300, 72, 48, 36
LABEL_HEIGHT = 15  # pixels of a label beside the plot
# Columns that the marks need; others would only make the specification larger.
DRAWN = ["layer", "pooling", "value", "low", "high", "series", "samples_name"]
UNTRAINED = "untrained"
PICK = "pick"  # name of the selection that a click makes
NAMES = "layers"  # parameter with the layers' names, so that the specification has them once instead of once per mark
GRAY = "#808895"  # readable on white and on near-black
DASHES = {"mean": [1, 0], "flat": [7, 3]}
SHAPES = {"mean": "circle", "flat": "diamond"}


@dataclass(frozen=True)
class Panel:
    """A part of a chart's height.

    Attributes
    ----------
    top, bottom : int
        Pixels from the top of the chart.
    """

    top: int
    bottom: int

    @property
    def height(self) -> int:
        """Pixels."""
        return self.bottom - self.top

    def below(self, height: int) -> "Panel":
        """The next panel, below a gap for its title."""
        return Panel(self.bottom + GAP, self.bottom + GAP + height)

    def scale(self, **options: Any) -> alt.Scale:
        """A y scale within the panel."""
        return alt.Scale(range=[self.bottom, self.top], **options)

    def axis(self, title: str, **options: Any) -> alt.Axis:
        """A y axis with a horizontal title above it."""
        style: dict[str, Any] = {
            "titleAngle": 0,
            "titleAlign": "left",
            "titleAnchor": "end",
            "titleBaseline": "bottom",
            "labelFlush": False,
        }
        return alt.Axis(orient="left", title=title, titleX=-38, titleY=self.top - 9, minExtent=38, **style, **options)


class UncheckedChart(alt.LayerChart):
    """A chart that is not validated against Vega-Lite's schema by default; the tests validate it.

    Streamlit calls `to_dict` whenever it shows a chart. Validation takes half of the time of a page's rerun, and
    loading the schema most of the time before the first chart.
    """

    def to_dict(self, validate: bool = False, **options: Any) -> dict[str, Any]:
        """The specification of the chart."""
        return super().to_dict(validate=validate, **options)


@debug_mode(False)  # debug mode would validate every part of the chart when it is made
def layers_chart(
    curves: pd.DataFrame,
    layers: pd.DataFrame,
    *,
    measure: str = "SI",
    control: pd.DataFrame | None = None,
    chosen: str | None = None,
) -> UncheckedChart:
    """Curves through the network, the kNN baseline, and the channels and parameters of the layers.

    A click selects a layer; Streamlit reports it under `PICK`.

    Parameters
    ----------
    curves : DataFrame
        Rows of `OpenStudy.curves`, at least one with a value.
    layers : DataFrame
        The layers on the x axis, in network order; at least one.
    measure : str
        Title of the measure in the rows of "SI".
    control : DataFrame, optional
        Layer and value of the same network without training, drawn in gray.
    chosen : str, optional
        The layer to mark.
    """
    lines = with_series(curves, measure)
    separation, baseline = lines[lines["measure"] == "SI"], lines[lines["measure"] == "kNN"]
    panel = Panel(0, MAIN_HEIGHT)
    panels: list[alt.Chart | alt.LayerChart] = [
        _curve_panel(separation, layers, panel, measure, _control_rows(control, layers))
    ]
    if baseline["value"].notna().any():
        panel = panel.below(BASELINE_HEIGHT)
        panels.append(_baseline_panel(baseline, layers, panel))
    for column, title, scale in _property_panels(layers):
        panel = panel.below(PANEL_HEIGHT)
        axis = panel.axis(title, tickCount=2, labelExpr="format(datum.value, '~s')")
        panels.append(_bar_panel(layers, column, axis, panel.scale(**scale)))
    return framed(
        [*_block_bands(layers), *_chosen_band(layers, chosen), *panels, _hover_band(lines, layers)],
        height=panel.bottom,
        params=[alt.VariableParameter(name=NAMES, value=tuple(layers["layer"]))],  # Altair copies lists, not tuples
        resolve={"scale": {"y": "independent"}},
    )


def spec_and_tables(chart: UncheckedChart) -> dict[str, Any]:
    """The chart as a Vega-Lite specification with named datasets, to be cached and shown repeatedly."""
    tables: dict[str, pd.DataFrame] = {}
    _name_tables(chart, tables)
    return chart.to_dict() | {"datasets": tables}


def _name_tables(chart: Any, tables: dict[str, pd.DataFrame]) -> None:
    """Move the tables of a chart and its layers into `tables`; a table that several marks share is stored once."""
    if isinstance(chart.data, pd.DataFrame):
        name = next((name for name, table in tables.items() if table is chart.data), f"table{len(tables)}")
        tables[name] = chart.data
        chart.data = alt.NamedData(name)
    for part in getattr(chart, "layer", ()):
        _name_tables(part, tables)


def framed(layer: Sequence[alt.Chart | alt.LayerChart], *, height: int, **options: Any) -> UncheckedChart:
    """One view that is as wide as the page, including labels, drawn as SVG so that it can be saved as SVG."""
    return UncheckedChart(
        layer=list(layer),
        height=height,
        autosize=alt.AutoSizeParams(type="fit-x", contains="padding"),
        usermeta={"embedOptions": {"renderer": "svg"}},
        config={"view": {"strokeWidth": 0}},
        **options,
    )


def _curve_panel(
    lines: pd.DataFrame, layers: pd.DataFrame, panel: Panel, measure: str, control: pd.DataFrame
) -> alt.LayerChart:
    """The curves with their bands, chance levels, the control and labels."""
    top = upper_end(lines[["value", "high", "chance"]].to_numpy(float))
    title = "Separation Index" if measure == "SI" else measure
    y = alt.Y("value:Q", scale=panel.scale(domain=[0, top]), axis=panel.axis(title, tickCount=6))
    base = _lines_base(lines, layers, y)
    shape = alt.Shape("pooling:N", scale=alt.Scale(domain=list(SHAPES), range=list(SHAPES.values())), legend=None)
    size = 34 if len(layers) <= 80 else 12
    marks = [
        base.mark_line(strokeWidth=2, aria=False).encode(strokeDash=_dash()),
        base.mark_point(filled=True, size=size, opacity=1, aria=False).encode(shape=shape),
    ]
    gray_labels = {UNTRAINED: float(control["value"].iloc[-1])} if len(control) else {}
    bands, rules = _bands(base, lines), _chance_rules(lines, y)
    labels = _label_marks(direct_labels(lines, top, top * LABEL_HEIGHT / panel.height, gray_labels), lines, y)
    return alt.LayerChart(layer=[*bands, *rules, *_control_line(control, layers, y), *marks, *labels])


def _baseline_panel(lines: pd.DataFrame, layers: pd.DataFrame, panel: Panel) -> alt.LayerChart:
    """Lines with the accuracy of kNN and their names; no bands."""
    top = upper_end(lines[["value"]].to_numpy(float))
    title = f"Accuracy of kNN (k = {lines['order'].iloc[0]})"
    y = alt.Y("value:Q", scale=panel.scale(domain=[0, top]), axis=panel.axis(title, tickCount=3))
    line = _lines_base(lines, layers, y).mark_line(strokeWidth=1.5, aria=False, point={"size": 7})
    labels = _label_marks(direct_labels(lines, top, top * LABEL_HEIGHT / panel.height), lines, y)
    return alt.LayerChart(layer=[line.encode(strokeDash=_dash()), *labels])


def _lines_base(lines: pd.DataFrame, layers: pd.DataFrame, y: alt.Y) -> alt.Chart:
    """The encodings of one line per series, in the color of its samples."""
    return alt.Chart(lines[DRAWN]).encode(x=layer_x(layers), y=y, color=_samples_color(lines), detail="series:N")


def _control_rows(control: pd.DataFrame | None, layers: pd.DataFrame) -> pd.DataFrame:
    """The control's values at the layers of the chart, in network order; empty without a control."""
    if control is None or control.empty:
        return pd.DataFrame({"layer": [], "value": []})
    values = control.set_index("layer")["value"]
    return layers[["layer"]].assign(value=layers["layer"].map(values)).dropna(subset=["value"])


def _control_line(control: pd.DataFrame, layers: pd.DataFrame, y: alt.Y) -> list[alt.Chart]:
    if control.empty:
        return []
    line = alt.Chart(control).mark_line(color=GRAY, strokeWidth=1.5, aria=False)
    return [line.encode(x=layer_x(layers), y=y)]


def _bands(base: alt.Chart, lines: pd.DataFrame) -> list[alt.Chart]:
    """Bands from low to high, if the study has intervals."""
    if not (lines["low"].notna() & lines["high"].notna()).any():
        return []
    return [base.mark_area(opacity=0.16, line=False, aria=False).encode(y=alt.Y("low:Q"), y2="high:Q")]


def _chance_rules(lines: pd.DataFrame, y: alt.Y) -> list[alt.Chart]:
    levels = pd.DataFrame([{"value": level.value, "text": f"Chance: {level.label}"} for level in chance_levels(lines)])
    if levels.empty:
        return []
    rule = alt.Chart(levels).mark_rule(strokeDash=[6, 4], strokeWidth=1.2, color=GRAY)
    return [rule.encode(y=y, description="text:N")]


def _label_marks(labels: pd.DataFrame, lines: pd.DataFrame, y: alt.Y) -> list[alt.Chart]:
    """The texts of `direct_labels` beside the plot, each in the color of its line."""
    labels = labels.rename(columns={"y": "value"})
    text: dict[str, Any] = {"align": "left", "baseline": "middle", "dx": 7, "fontSize": 12}
    is_gray = labels["samples_name"].isna()
    encodings = {"x": alt.value("width"), "y": y, "text": "text:N"}
    names = alt.Chart(labels[~is_gray]).mark_text(fontWeight=600, **text)
    names = names.encode(color=_samples_color(lines), **encodings)
    if not is_gray.any():
        return [names]
    return [names, alt.Chart(labels[is_gray]).mark_text(color=GRAY, **text).encode(**encodings)]


def _bar_panel(layers: pd.DataFrame, column: str, axis: alt.Axis, scale: alt.Scale) -> alt.Chart:
    bars = alt.Chart(layers[["layer", column]]).mark_bar(
        color=GRAY, opacity=0.75, aria=False, width=alt.ExprRef("min(28, 0.8 * bandwidth('x'))")
    )
    chart: alt.Chart = bars.encode(x=layer_x(layers), y=alt.Y(f"{column}:Q", axis=axis, scale=scale))
    return chart


def _property_panels(layers: pd.DataFrame) -> list[tuple[str, str, dict[str, Any]]]:
    """Column, title and scale of the panels with properties of the layers that the study knows."""
    panels: list[tuple[str, str, dict[str, Any]]] = [
        ("channels", "Depth (channels)", {}),
        ("parameters", "Parameters (square-root scale)", {"type": "sqrt"}),  # from 0, which has no logarithm
    ]
    return [panel for panel in panels if (layers[panel[0]] > 0).any()]


def _block_bands(layers: pd.DataFrame) -> list[alt.Chart]:
    """A faint background behind every second block, if the study has blocks."""
    run = (layers["block"] != layers["block"].shift()).cumsum()
    runs = layers.groupby(run)["layer"].agg(["first", "last"])[1::2]
    if runs.empty or layers["block"].eq("").all():
        return []
    x = alt.X("first:N", scale=_x_scale(layers), bandPosition=0, axis=layer_axis())
    return [
        alt.Chart(runs).mark_rect(color=GRAY, opacity=0.08, aria=False).encode(x=x, x2=alt.X2("last", bandPosition=1))
    ]


def _chosen_band(layers: pd.DataFrame, chosen: str | None) -> list[alt.Chart]:
    """A band over all panels that marks the chosen layer."""
    chosen_layer = layers.loc[layers["layer"] == chosen, ["layer"]]
    if chosen_layer.empty:
        return []
    band = alt.Chart(chosen_layer).mark_rect(color=GRAY, opacity=0.28, stroke=GRAY, strokeWidth=1.5, aria=False)
    return [band.encode(x=layer_x(layers))]


def _hover_band(lines: pd.DataFrame, layers: pd.DataFrame) -> alt.Chart:
    """One band per layer over all panels: visible under the pointer, with a tooltip; a click selects the layer."""
    table, columns = tooltip_table(lines, layers)
    hover = alt.selection_point(name="hover", on="pointerover", clear="pointerout", fields=["layer"], empty=False)
    pick = alt.selection_point(name=PICK, on="click", clear=False, toggle=False, fields=["layer"], empty=False)
    tooltip = [alt.Tooltip(f"{column}:N", title=title) for column, title in columns.items()]
    band = (
        alt.Chart(table)
        .mark_rect(color=GRAY, cursor="pointer")
        .encode(
            x=layer_x(layers),
            opacity=alt.condition(hover, alt.value(0.22), alt.value(0)),
            tooltip=tooltip,
            description=alt.Description("description:N"),
        )
    )
    chart: alt.Chart = band.add_params(hover, pick)
    return chart


def layer_x(layers: pd.DataFrame) -> alt.X:
    """An x axis of layers in network order; the chart must have their names as its parameter `NAMES`."""
    return alt.X("layer:N", scale=_x_scale(layers), axis=layer_axis())


def _x_scale(layers: pd.DataFrame) -> alt.Scale:
    return alt.Scale(type="band", domain=alt.ExprRef(NAMES), padding=0)


def layer_axis() -> alt.Axis:
    """An axis with vertical names; where there is no room for all of them, some are left out."""
    return alt.Axis(
        title=None, labelAngle=-90, labelOverlap="greedy", labelLimit=140, labelPadding=4, ticks=True, grid=False
    )


def _samples_color(lines: pd.DataFrame) -> alt.Color:
    """The theme's colors, the same for the same samples in every chart."""
    names = list(dict.fromkeys([*SAMPLES.values(), *lines["samples_name"]]))
    return alt.Color("samples_name:N", scale=alt.Scale(domain=names), legend=None)


def _dash() -> alt.StrokeDash:
    return alt.StrokeDash("pooling:N", scale=alt.Scale(domain=list(DASHES), range=list(DASHES.values())), legend=None)


def upper_end(values: NDArray[np.float64]) -> float:
    """The end of a y axis from 0: the next tenth at least 0.02 above all values, and at most 1."""
    highest = np.max(values, initial=0, where=~np.isnan(values))
    return min(1.0, max(0.1, math.ceil(highest * 10 + 0.2) / 10))
