"""The look of all charts: colors on a light and on a dark ground, as configurations of Vega-Lite.

The app's colors are those of `.streamlit/config.toml`, which must be the same.
"""

from typing import Any

GRAY = "#808895"  # readable on white and on near-black
HIGHLIGHT = "#e8590c"  # outlines; readable on every color of a heat map
# Distinct for color-blind readers and in gray print (after Okabe and Ito). First: test, train, test to train.
CATEGORIES = {
    "light": ["#0b62a4", "#c4540a", "#0a7d5c", "#8e4b8f", "#5f6b7a"],
    "dark": ["#6cb6f0", "#f0a35e", "#4fcfa2", "#d59ad6", "#a3adba"],
}
_TEXT = {"light": "#1f2933", "dark": "#e6eaee"}
_SOFT_TEXT = {"light": "#5b6672", "dark": "#a3adba"}
_LINES = {"light": "#d9dee4", "dark": "#333c46"}


def vega_config(ground: str = "light", *, font: str = "system-ui, sans-serif", font_size: int = 11) -> dict[str, Any]:
    """Return a configuration of Vega-Lite.

    Parameters
    ----------
    ground : {"light", "dark"}
        What the chart stands on; the chart's own background is transparent.
    font : str
        Font family of all texts.
    font_size : int
        Size of the texts of axes and legends, in pixels.
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
