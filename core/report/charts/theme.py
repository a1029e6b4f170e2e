"""The look of all charts: colors on a light and on a dark ground, as configurations of Vega-Lite.

The app's colors are those of `explorer/.streamlit/config.toml`, which must be the same.
"""

from typing import Any, TypeVar

import altair as alt

from core.report.chart_files import PORTABLE_FONT

Chart = TypeVar("Chart", bound=alt.LayerChart)
GRAY = "#808895"  # readable on white and on near-black
# Distinct for color-blind readers and in gray print (after Okabe and Ito). First: test, train, test to train.
CATEGORIES = {
    "light": ["#0b62a4", "#c4540a", "#0a7d5c", "#8e4b8f", "#5f6b7a"],
    "dark": ["#6cb6f0", "#f0a35e", "#4fcfa2", "#d59ad6", "#a3adba"],
}
FONT_SIZE = 11  # of axes and legends on a page, in pixels
_TEXT = {"light": "#1f2933", "dark": "#e6eaee"}
_SOFT_TEXT = {"light": "#5b6672", "dark": "#a3adba"}
# The same for charts in the app, which change with its theme: Vega knows the background that Streamlit sets.
APP_TEXT = f"luminance(background) > 0.5 ? '{_SOFT_TEXT['light']}' : '{_SOFT_TEXT['dark']}'"
_LINES = {"light": "#d9dee4", "dark": "#333c46"}


def vega_config(
    ground: str = "light", *, font: str = "system-ui, sans-serif", font_size: float = FONT_SIZE
) -> dict[str, Any]:
    """Return a configuration of Vega-Lite.

    Parameters
    ----------
    ground : {"light", "dark"}
        What the chart stands on; the chart's own background is transparent.
    font : str
        Font family of all texts.
    font_size : float
        Size of the texts of axes and legends, in pixels; all other sizes of axes follow it.
    """
    axis = {
        "labelColor": _SOFT_TEXT[ground],
        "titleColor": _SOFT_TEXT[ground],
        "domainColor": _LINES[ground],
        "tickColor": _LINES[ground],
        "gridColor": _LINES[ground],
        "titleFontWeight": "normal",
        "labelFontSize": font_size,
        "titleFontSize": font_size,
        **_sizes(font_size / FONT_SIZE),
    }
    legend = {"labelColor": _TEXT[ground], "titleColor": _TEXT[ground]}
    return {
        "background": "transparent",
        "font": font,
        "view": {"stroke": None},
        "axis": axis,
        "legend": {**legend, "labelFontSize": font_size, "titleFontSize": font_size},
        "mark": {"color": CATEGORIES[ground][0]},
        "range": {"category": CATEGORIES[ground]},
    }


def _sizes(scale: float) -> dict[str, float]:
    """Sizes of an axis, in pixels, which are Vega-Lite's own on a page."""
    if scale == 1:
        return {}
    sizes = {"tickSize": 5, "labelPadding": 2, "titlePadding": 4, "tickWidth": 1, "domainWidth": 1, "gridWidth": 1}
    return {name: round(scale * pixels, 2) for name, pixels in sizes.items()}


def themed(chart: Chart, ground: str = "light") -> Chart:
    """Return the chart with its own colors and background, for a place that has no theme, such as a notebook."""
    background = {"light": "#ffffff", "dark": "#14181d"}[ground]
    chart.config = {**vega_config(ground, font=PORTABLE_FONT), "background": background}
    return chart
