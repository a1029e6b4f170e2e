"""Texts beside marked layers, in places where they cover no line."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import altair as alt
import numpy as np
import pandas as pd
from numpy.typing import NDArray

from core.report.charts.frame import FONT_SIZE, LABEL_HEIGHT, Panel
from core.report.charts.theme import GRAY

Side = Literal["left", "right"]
Edges = tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]  # x, lower and upper edge of a line

_CHARACTER = 0.6  # width of a character, as a part of the font's size
_AXES = 110  # pixels beside the plot
_WIDE = 900  # pixels of a chart whose width is not known here
_DISTANCE = 11  # pixels between the middle of a mark and its text
_STEPS = 60  # positions of a text that are tried, and points of a line that it must not cover


@dataclass(frozen=True)
class Place:
    """Where a text stands.

    Attributes
    ----------
    y : float
        In units of the y axis.
    side : {"left", "right"}
        The side of the mark on which it stands.
    """

    y: float
    side: Side


def marked_layers(
    lines: pd.DataFrame, order: list[str], marked: Mapping[str, str], top: float, panel: Panel
) -> pd.DataFrame:
    """Return where the texts of marked layers stand beside the first line.

    Parameters
    ----------
    lines : DataFrame
        Of `core.report.charts.labels.with_series`: layer, series, value, low, high.
    order : list of str
        The layers on the x axis.
    marked : mapping
        From some layers to texts.
    top : float
        The end of the y axis.
    panel : Panel

    Returns
    -------
    DataFrame
        layer, value, text, y, side; the highest value first.
    """
    first = lines[(lines["series"] == lines["series"].iloc[0]) & lines["value"].notna()]
    unordered = first.loc[first["layer"].isin(list(marked)), ["layer", "value"]]
    points: pd.DataFrame = unordered.sort_values("value", ascending=False, kind="stable", ignore_index=True)
    edges = _edges(lines, order)
    places: list[Place] = []
    for layer, value in points[["layer", "value"]].itertuples(index=False):
        places.append(_place(order.index(layer), float(value), marked[layer], edges, top, panel, places))
    points["text"] = points["layer"].map(marked)
    points["y"] = [place.y for place in places]
    points["side"] = [place.side for place in places]
    return points


def marked_charts(points: pd.DataFrame, x: alt.X, y: alt.Y, top: float, panel: Panel) -> list[alt.Chart]:
    """Return a ring around each marked layer, its text, and a rule between them where they are apart.

    Parameters
    ----------
    points : DataFrame
        Of `marked_layers`.
    x, y : encodings of the chart, whose field y is `value`.
    top, panel
        As in `marked_layers`.
    """
    if points.empty:
        return []
    size = panel.size
    base = alt.Chart(points[["layer", "value", "y"]]).encode(x=x)
    ring = base.mark_point(
        filled=False, size=150 * size.scale**2, color=GRAY, strokeWidth=size(2), opacity=1, aria=False
    )
    charts = [ring.encode(y=y)]
    apart = (points["value"] - points["y"]).abs() > _text_height(top, panel)
    if apart.any():
        rule = alt.Chart(points.loc[apart, ["layer", "value", "y"]]).mark_rule(
            color=GRAY, strokeWidth=size(1), aria=False
        )
        charts.append(rule.encode(x=x, y=y, y2="y:Q"))
    for side, rows in points.groupby("side", sort=False):
        left = side == "left"
        text = alt.Chart(rows[["layer", "text"]].assign(value=rows["y"])).mark_text(
            align="right" if left else "left",
            baseline="middle",
            dx=size(-_DISTANCE if left else _DISTANCE),
            fontSize=size(FONT_SIZE),
            fontWeight=600,
            color=GRAY,
        )
        charts.append(text.encode(x=x, y=y, text="text:N"))
    return charts


def _edges(lines: pd.DataFrame, order: list[str]) -> list[Edges]:
    """For each line: positions on the x axis, and the lower and upper edge of line and band there."""
    edges: list[Edges] = []
    for _, rows in lines.dropna(subset=["value"]).groupby("series", sort=False):
        rows = rows[rows["layer"].isin(order)]
        value = rows["value"].to_numpy(float)
        low = np.fmin(rows["low"].to_numpy(float), value)
        high = np.fmax(rows["high"].to_numpy(float), value)
        edges.append((np.array([order.index(layer) for layer in rows["layer"]], dtype=float), low, high))
    return edges


def _place(
    index: int,
    value: float,
    text: str,
    edges: list[Edges],
    top: float,
    panel: Panel,
    taken: list[Place],
) -> Place:
    """The free place nearest to the mark, to its left in the right half; where none is free, beside the mark."""
    width = panel.size.width if isinstance(panel.size.width, int) else _WIDE
    num_layers = 1 + max(int(positions.max()) for positions, _, _ in edges)
    layer_width = max(1.0, (width - panel.size(_AXES)) / num_layers)
    height = _text_height(top, panel)
    distance = panel.size(_DISTANCE) / layer_width  # in layers, as `length`
    length = _CHARACTER * panel.size(FONT_SIZE) * len(text) / layer_width
    sides: tuple[Side, ...] = ("left", "right") if index >= num_layers / 2 else ("right", "left")
    candidates = []
    for side in sides:
        start, end = (
            (index - distance - length, index - distance) if side == "left" else (index, index + distance + length)
        )
        if start < -0.5 or end > num_layers:
            continue
        xs = np.linspace(start, end, _STEPS)
        for y in np.linspace(height / 2, top - height / 2, _STEPS):
            if _is_free(xs, y, height, edges) and all(abs(y - other.y) >= height for other in taken):
                candidates.append((abs(y - value) + (side != sides[0]) * height, Place(float(y), side)))
    if not candidates:
        return Place(min(max(value, height / 2), top - height / 2), sides[0])
    return min(candidates, key=lambda candidate: candidate[0])[1]


def _is_free(xs: NDArray[np.float64], y: float, height: float, edges: list[Edges]) -> bool:
    """Whether a text at some positions of the x axis covers no line."""
    for positions, low, high in edges:
        inside = (xs >= positions.min()) & (xs <= positions.max())
        lowest, highest = np.interp(xs, positions, low), np.interp(xs, positions, high)
        if (inside & (lowest < y + 0.6 * height) & (highest > y - 0.6 * height)).any():
            return False
    return True


def _text_height(top: float, panel: Panel) -> float:
    """Height of a text in units of the y axis."""
    return top * panel.size(LABEL_HEIGHT) / panel.height
