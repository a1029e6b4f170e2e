"""What all charts share: one view with panels, its size, axes of layers and of SI, and specifications with their data.

A chart with several panels is one view in which each panel has a y scale whose range is a part of the view's height.
Unlike a concatenation of charts, one view follows the width of the page, lets the hover band cross all panels, and can
be saved as one picture.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import altair as alt
import numpy as np
import pandas as pd
from altair.utils.schemapi import UndefinedType
from numpy.typing import NDArray

from core.report.charts.theme import APP_TEXT, GRAY

NAMES = "layers"  # parameter with the layers' names, so that the specification has them once instead of once per mark
AXIS_WIDTH = 38  # pixels; equal in all charts, so that the same layer is at the same x in charts below each other
# Style of the cells of a heat map, whose color shows the column `value`: a stroke of the same color closes the seams
# between them, through which the ground would shine. As an encoding of its own it would change the legend.
CELLS: dict[str, Any] = {"stroke": alt.ExprRef("scale('color', datum.value)"), "strokeWidth": 0.8}
_DECIMALS = 5  # of numbers in a specification that stands alone
_NARROW = 450  # pixels, of a chart on a phone


@dataclass(frozen=True)
class Size:
    """Size of a chart and of its texts, in pixels.

    Attributes
    ----------
    width : int or None
        Width with all texts; None for charts in the app, which sets it.
    scale : float
        Factor of all heights, marks and texts.
    interactive : bool
        Whether pointer and clicks do something.
    """

    width: int | str | None = None
    scale: float = 1.0
    interactive: bool = True

    def __call__(self, pixels: float) -> float:
        """Pixels of this size for pixels on a page; whole numbers stay whole."""
        return pixels if self.scale == 1 else round(self.scale * pixels, 2)


PAGE = Size()  # the app, which sets the width
CONTAINER = Size("container")  # a page of HTML: as wide as the element that holds the chart
NOTEBOOK = Size(760)
LABEL_HEIGHT = 15  # pixels of a label beside the plot
FONT_SIZE = 12  # pixels, of such a label


@dataclass(frozen=True)
class Panel:
    """A part of a chart's height.

    Attributes
    ----------
    top, bottom : float
        Pixels from the top of the chart.
    size : Size
    """

    top: float
    bottom: float
    size: Size = PAGE

    @property
    def height(self) -> float:
        """Pixels."""
        return self.bottom - self.top

    def below(self, height: float, gap: float) -> "Panel":
        """The next panel, below a gap for its title."""
        return Panel(self.bottom + gap, self.bottom + gap + height, self.size)

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
        width = self.size(AXIS_WIDTH)
        return alt.Axis(
            orient="left",
            title=title,
            titleX=-width,
            titleY=self.top - self.size(9),
            minExtent=width,
            **style,
            **options,
        )


class UncheckedChart(alt.LayerChart):
    """A chart that is not validated against Vega-Lite's schema by default; the tests validate it.

    The app calls `to_dict` whenever it shows a chart. Validation takes half of the time of a page's rerun, and
    loading the schema most of the time before the first chart.
    """

    def to_dict(self, validate: bool = False, **options: Any) -> dict[str, Any]:
        """The specification of the chart, with all its rows."""
        if alt.data_transformers.active != "default":  # the app has its own
            return super().to_dict(validate=validate, **options)
        with alt.data_transformers.disable_max_rows():
            return super().to_dict(validate=validate, **options)


def framed(
    layer: Sequence[alt.Chart | alt.LayerChart], *, height: float, size: Size = PAGE, **options: Any
) -> UncheckedChart:
    """One view that is as wide as the page, including labels, drawn as SVG so that it can be saved as SVG."""
    config: dict[str, Any] = {"view": {"strokeWidth": 0}}
    if size.width is not None:
        options["width"] = size.width
    else:
        config["axis"] = {"labelColor": {"expr": APP_TEXT}, "titleColor": {"expr": APP_TEXT}}
    return UncheckedChart(
        layer=list(layer),
        height=height,
        autosize=alt.AutoSizeParams(type="fit-x", contains="padding"),
        usermeta={"embedOptions": {"renderer": "svg"}},
        config=config,
        **options,
    )


def soft_text(size: Size = PAGE) -> str | alt.ExprRef:
    """The color of texts that stand back, such as the chance level's; on a page it follows the background."""
    return GRAY if size.width is not None else alt.ExprRef(APP_TEXT)


def spec_and_tables(chart: alt.Chart | alt.LayerChart) -> dict[str, Any]:
    """The chart as a Vega-Lite specification with named datasets, to be cached and shown repeatedly.

    The chart itself gives up its tables.
    """
    tables: dict[str, pd.DataFrame] = {}
    _name_tables(chart, tables)
    return chart.to_dict(validate=False) | {"datasets": tables}


def standalone_spec(chart: UncheckedChart, config: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """The chart as a Vega-Lite specification that holds its data and needs nothing else.

    Parameters
    ----------
    chart : UncheckedChart
    config : mapping, optional
        Such as `core.report.charts.theme.vega_config` returns it; what the chart itself sets comes first.
    """
    spec = spec_and_tables(chart)
    spec["datasets"] = {name: records(table) for name, table in spec["datasets"].items()}
    return spec if config is None else with_config(spec, config)


def with_config(spec: Mapping[str, Any], config: Mapping[str, Any]) -> dict[str, Any]:
    """A specification with a configuration, of which what the chart itself sets comes first."""
    of_chart = spec.get("config", {})
    return {**spec, "config": {**config, **of_chart, "view": {**config.get("view", {}), **of_chart.get("view", {})}}}


def notebook_html(chart: UncheckedChart) -> str:
    """The chart as the HTML that Altair shows in notebooks."""
    with alt.renderers.enable("html"):
        bundle: Any = chart._repr_mimebundle_()
    return str(bundle["text/html"])


def records(table: pd.DataFrame) -> list[dict[str, Any]]:
    """The rows of a table for JSON: null for missing values, and floats rounded to five decimals."""
    rounded = table.round(_DECIMALS)
    with_null = rounded.astype(object).where(table.notna(), None)
    return [{str(name): _plain(value) for name, value in row.items()} for row in with_null.to_dict("records")]


def _plain(value: Any) -> Any:
    """A number of NumPy as one of Python's, which JSON knows."""
    return value.item() if isinstance(value, np.generic) else value


def _name_tables(chart: Any, tables: dict[str, pd.DataFrame]) -> None:
    """Move the tables of a chart and its layers into `tables`; a table that several marks share is stored once."""
    if isinstance(chart.data, pd.DataFrame):
        name = next((name for name, table in tables.items() if table is chart.data), f"table{len(tables)}")
        tables[name] = chart.data
        chart.data = alt.NamedData(name)
    for part in getattr(chart, "layer", ()):
        _name_tables(part, tables)


def layer_x(axis: alt.Axis | UndefinedType | None = alt.Undefined) -> alt.X:
    """An x axis of layers in network order; the chart must have their names as its parameter `NAMES`.

    Without an argument it is `layer_axis`; with None, nothing is written below the plot.
    """
    return alt.X("layer:N", scale=x_scale(), axis=layer_axis() if axis is alt.Undefined else axis)


def names_parameter(layers: Iterable[str]) -> alt.VariableParameter:
    """The parameter `NAMES` of a chart with these layers."""
    return alt.VariableParameter(name=NAMES, value=tuple(layers))  # Altair copies lists, not tuples


def x_scale() -> alt.Scale:
    """The scale of an x axis of layers."""
    return alt.Scale(type="band", domain=alt.ExprRef(NAMES), padding=0)


def layer_axis(size: Size = PAGE) -> alt.Axis:
    """An axis with vertical names; where there is no room for all of them, some are left out."""
    limit, padding = size(140), size(4)
    return alt.Axis(
        title=None,
        labelAngle=-90,
        labelOverlap="greedy",
        labelLimit=limit,
        labelPadding=padding,
        ticks=True,
        grid=False,
    )


def gradient_length() -> alt.ExprRef:
    """The length of a legend's color scale: short in a chart on a phone, in which it would be cut off."""
    return alt.ExprRef(f"containerSize()[0] < {_NARROW} ? 90 : 180")


def upper_end(values: NDArray[np.float64]) -> float:
    """The end of a y axis from 0: the next tenth at least 0.02 above all values, and at most 1."""
    highest = np.max(values, initial=0, where=~np.isnan(values))
    return min(1.0, max(0.1, math.ceil(highest * 10 + 0.2) / 10))
