"""The chart of a measure through the network: DataFrames in, an Altair chart out.

One view holds four panels on one x axis (SI, the kNN baseline, channels, parameters), each with a y scale whose range
is a part of the height. So the chart follows the width of the page, one hover band crosses all panels, and one picture
has everything.
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
LABEL_HEIGHT = 15  # pixels a direct label needs
DRAWN = [
    "layer",
    "pooling",
    "value",
    "low",
    "high",
    "series",
    "samples_name",
]  # no more in the specification
UNTRAINED = "untrained"
PICK = "pick"  # the selection that a click makes
NAMES = "layers"  # the x axis, as a parameter: once in the specification, not once a mark
GRAY = "#808895"  # readable on white and on near-black
DASHES = {"mean": [1, 0], "flat": [7, 3]}
SHAPES = {"mean": "circle", "flat": "diamond"}


@dataclass(frozen=True)
class Panel:
    """A part of the chart's height, in pixels from the top."""

    top: int
    bottom: int

    @property
    def height(self) -> int:
        return self.bottom - self.top

    def below(self, height: int) -> "Panel":
        """The next panel, after a gap that holds its title."""
        return Panel(self.bottom + GAP, self.bottom + GAP + height)

    def scale(self, **options: Any) -> alt.Scale:
        return alt.Scale(range=[self.bottom, self.top], **options)

    def axis(self, title: str, **options: Any) -> alt.Axis:
        """A y axis whose title stands above it, to be read without turning the head."""
        place: dict[str, Any] = {
            "titleAngle": 0,
            "titleAlign": "left",
            "titleAnchor": "end",
            "titleBaseline": "bottom",
            "labelFlush": False,
        }
        return alt.Axis(orient="left", title=title, titleX=-38, titleY=self.top - 9, minExtent=38, **place, **options)


class UncheckedChart(alt.LayerChart):
    """A chart that is checked against Vega-Lite's schema only when asked, as the tests do.

    Streamlit would have each one checked whenever it is shown: half of the time that a change of a widget takes, and
    with the schema to load most of what the server does before the first chart.
    """

    def to_dict(self, validate: bool = False, **options: Any) -> dict[str, Any]:
        return super().to_dict(validate=validate, **options)


@debug_mode(False)  # which would check every part of the chart when it is made
def layers_chart(
    curves: pd.DataFrame,
    layers: pd.DataFrame,
    *,
    measure: str = "SI",
    control: pd.DataFrame | None = None,
    chosen: str | None = None,
) -> UncheckedChart:
    """Draw curves through the network above those of the kNN baseline, and the layers' channels and
    parameters; a click selects a layer (`PICK`).

    Parameters
    ----------
    curves : rows of `OpenStudy.curves`, at least one with a value.
    layers : the layers on the x axis, in network order; at least one.
    measure : what the rows of SI show.
    control : layer and value of the network without training, drawn in gray.
    chosen : the layer that is marked.
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
    for column, title, scale in _catalogue_panels(layers):
        panel = panel.below(PANEL_HEIGHT)
        axis = panel.axis(title, tickCount=2, labelExpr="format(datum.value, '~s')")
        panels.append(_bar_panel(layers, column, axis, panel.scale(**scale)))
    return framed(
        [*_block_bands(layers), *_chosen_band(layers, chosen), *panels, _hover_band(lines, layers)],
        height=panel.bottom,
        params=[alt.VariableParameter(name=NAMES, value=tuple(layers["layer"]))],  # lists are copied often
        resolve={"scale": {"y": "independent"}},
    )


def spec_and_tables(chart: UncheckedChart) -> dict[str, Any]:
    """The chart as Vega-Lite, with each of its tables once, by name: what can be kept, and shown as often as asked."""
    tables: dict[str, pd.DataFrame] = {}
    _name_tables(chart, tables)
    return chart.to_dict() | {"datasets": tables}


def _name_tables(chart: Any, tables: dict[str, pd.DataFrame]) -> None:
    """Move the tables of a chart and its layers into `tables`."""
    if isinstance(chart.data, pd.DataFrame):
        name = next((name for name, table in tables.items() if table is chart.data), f"table{len(tables)}")
        tables[name], chart.data = chart.data, alt.NamedData(name)
    for part in getattr(chart, "layer", ()):
        _name_tables(part, tables)


def framed(layer: Sequence[alt.Chart | alt.LayerChart], *, height: int, **options: Any) -> UncheckedChart:
    """One view as wide as the page, with its labels, drawn as SVG so that it can be saved as such."""
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
    others = {UNTRAINED: float(control["value"].iloc[-1])} if len(control) else {}
    bands, rules = _bands(base, lines), _chance_rules(lines, y)
    labels = _label_marks(direct_labels(lines, top, top * LABEL_HEIGHT / panel.height, others), lines, y)
    return alt.LayerChart(layer=[*bands, *rules, *_control_line(control, layers, y), *marks, *labels])


def _baseline_panel(lines: pd.DataFrame, layers: pd.DataFrame, panel: Panel) -> alt.LayerChart:
    """The accuracy of kNN on the same axis: lines with their names, no band."""
    top = upper_end(lines[["value"]].to_numpy(float))
    title = f"Accuracy of kNN (k = {lines['order'].iloc[0]})"
    y = alt.Y("value:Q", scale=panel.scale(domain=[0, top]), axis=panel.axis(title, tickCount=3))
    line = _lines_base(lines, layers, y).mark_line(strokeWidth=1.5, aria=False, point={"size": 7})
    labels = _label_marks(direct_labels(lines, top, top * LABEL_HEIGHT / panel.height), lines, y)
    return alt.LayerChart(layer=[line.encode(strokeDash=_dash()), *labels])


def _lines_base(lines: pd.DataFrame, layers: pd.DataFrame, y: alt.Y) -> alt.Chart:
    """One line a series, in its samples' color."""
    return alt.Chart(lines[DRAWN]).encode(x=layer_x(layers), y=y, color=_samples_color(lines), detail="series:N")


def _control_rows(control: pd.DataFrame | None, layers: pd.DataFrame) -> pd.DataFrame:
    """The control at the layers shown, in network order; empty where there is none."""
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
    """The intervals, where the study has them."""
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
    chance = labels["samples_name"].isna()
    place = {"x": alt.value("width"), "y": y, "text": "text:N"}
    names = alt.Chart(labels[~chance]).mark_text(fontWeight=600, **text)
    names = names.encode(color=_samples_color(lines), **place)
    if not chance.any():
        return [names]
    return [names, alt.Chart(labels[chance]).mark_text(color=GRAY, **text).encode(**place)]


def _bar_panel(layers: pd.DataFrame, column: str, axis: alt.Axis, scale: alt.Scale) -> alt.Chart:
    bars = alt.Chart(layers[["layer", column]]).mark_bar(
        color=GRAY, opacity=0.75, aria=False, width=alt.ExprRef("min(28, 0.8 * bandwidth('x'))")
    )
    chart: alt.Chart = bars.encode(x=layer_x(layers), y=alt.Y(f"{column}:Q", axis=axis, scale=scale))
    return chart


def _catalogue_panels(layers: pd.DataFrame) -> list[tuple[str, str, dict[str, Any]]]:
    """The panels beneath, as far as the study knows the numbers. Parameters reach from none to millions."""
    panels: list[tuple[str, str, dict[str, Any]]] = [
        ("channels", "Depth (channels)", {}),
        ("parameters", "Parameters (square-root scale)", {"type": "sqrt"}),
    ]
    return [panel for panel in panels if (layers[panel[0]] > 0).any()]


def _block_bands(layers: pd.DataFrame) -> list[alt.Chart]:
    """A faint ground beneath every other block, where the study has blocks."""
    run = (layers["block"] != layers["block"].shift()).cumsum()
    runs = layers.groupby(run)["layer"].agg(["first", "last"])[1::2]
    if runs.empty or layers["block"].eq("").all():
        return []
    x = alt.X("first:N", scale=_x_scale(layers), bandPosition=0, axis=layer_axis())
    return [
        alt.Chart(runs).mark_rect(color=GRAY, opacity=0.08, aria=False).encode(x=x, x2=alt.X2("last", bandPosition=1))
    ]


def _chosen_band(layers: pd.DataFrame, chosen: str | None) -> list[alt.Chart]:
    """The chosen layer, marked over all panels."""
    here = layers.loc[layers["layer"] == chosen, ["layer"]]
    if here.empty:
        return []
    band = alt.Chart(here).mark_rect(color=GRAY, opacity=0.28, stroke=GRAY, strokeWidth=1.5, aria=False)
    return [band.encode(x=layer_x(layers))]


def _hover_band(lines: pd.DataFrame, layers: pd.DataFrame) -> alt.Chart:
    """One band a layer over all panels: shown under the pointer, all that is known in its tooltip, a click selects."""
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
    """The layers in network order; the chart has their names as its parameter `NAMES`."""
    return alt.X("layer:N", scale=_x_scale(layers), axis=layer_axis())


def _x_scale(layers: pd.DataFrame) -> alt.Scale:
    return alt.Scale(type="band", domain=alt.ExprRef(NAMES), padding=0)


def layer_axis() -> alt.Axis:
    """Names upright, thinned out where there is no room for all of them."""
    return alt.Axis(
        title=None, labelAngle=-90, labelOverlap="greedy", labelLimit=140, labelPadding=4, ticks=True, grid=False
    )


def _samples_color(lines: pd.DataFrame) -> alt.Color:
    """The same color for the same samples in every chart; the colors are the theme's."""
    others = [name for name in lines["samples_name"].unique() if name not in SAMPLES.values()]
    return alt.Color("samples_name:N", scale=alt.Scale(domain=[*SAMPLES.values(), *others]), legend=None)


def _dash() -> alt.StrokeDash:
    return alt.StrokeDash("pooling:N", scale=alt.Scale(domain=list(DASHES), range=list(DASHES.values())), legend=None)


def upper_end(values: NDArray[np.float64]) -> float:
    """The next tenth above all values, with a little room; at most 1."""
    highest = np.max(values, initial=0, where=~np.isnan(values))
    return min(1.0, max(0.1, math.ceil(highest * 10 + 0.2) / 10))
