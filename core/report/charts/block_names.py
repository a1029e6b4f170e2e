"""Names of blocks, or of few layers, below a chart whose width only the browser knows: level, none over another.

For several widths of a layer it is worked out here which names there is room for, and in which row each stands; the
chart shows those of the width that it has.
"""

from dataclasses import dataclass
from typing import Literal

import altair as alt
import pandas as pd

from core.report.charts.blocks import block_names_by_length, block_runs, common_prefix
from core.report.charts.frame import AXIS_WIDTH, Size, soft_text, x_scale

ROW_HEIGHT = 14  # pixels
MAX_ROWS = 4
ROWS_OF_LAYERS = 2  # in more of them, it is hard to see which layer a name belongs to
WIDTHS = (
    2.0,
    2.5,
    3.0,
    3.5,
    4.0,
    5.0,
    6.5,
    8.0,
    10.0,
    12.0,
    14.0,
    17.0,
    21.0,
    26.0,
    34.0,
    45.0,
    60.0,
    90.0,
)  # of a layer
_CHARACTER, _FONT_SIZE, _GAP = 6.6, 11, 4  # pixels: width of a character, font, and at least between two names
_BEFORE = -_GAP  # where the word that all blocks begin with ends, left of the first layer
_LARGEST = 1e6


@dataclass(frozen=True)
class _Candidate:
    """Names that may be shown: a row a run of layers, the word that they leave out, and in how many rows they stand."""

    names: pd.DataFrame
    prefix: str = ""
    num_rows: int = MAX_ROWS


def placed_names(layers: pd.DataFrame) -> pd.DataFrame:
    """Work out the names of the blocks, and the row of each, for all `WIDTHS` of a layer.

    Parameters
    ----------
    layers : DataFrame
        With the columns layer and block, in network order. Where there is room for the names of all layers, or no block
        has several layers, layers are named.

    Returns
    -------
    DataFrame
        One row a name and width: low and high, the widths of a layer in pixels for which it holds; text; row, from 0;
        layer, the one in the middle; part, where in the band of this layer the name stands (0.5 its middle, 1 its end).
        An empty layer is the word that the names of all blocks begin with, where they are shown without it.
    """
    rows: list[dict[str, object]] = []
    ends, candidates = [*WIDTHS[1:], _LARGEST], _candidates(layers)
    for low, high in zip(WIDTHS, ends, strict=True):
        rows += [{**name, "low": 0.0 if low == WIDTHS[0] else low, "high": high} for name in _names_at(candidates, low)]
    return pd.DataFrame(rows)


def block_names(layers: pd.DataFrame, top: float, size: Size) -> list[alt.Chart]:
    """Return marks that name the blocks below the plot, whose lower end is at `top` pixels."""
    names = placed_names(layers)
    names["y"] = top + size(ROW_HEIGHT) * (names["row"] + 1)
    charts = []
    for part, shown in names.groupby("part"):
        x = alt.X("layer:N", scale=x_scale(), bandPosition=float(str(part)), axis=None)
        charts.append(_marks(shown, size, align="center").encode(x=x))
    if (names["layer"] == "").any():
        charts.append(_marks(names[names["layer"] == ""], size, align="right").encode(x=alt.value(_BEFORE)))
    return charts


def _marks(names: pd.DataFrame, size: Size, *, align: Literal["center", "right"]) -> alt.Chart:
    width = "bandwidth('x')"
    table = names.loc[(names["layer"] == "") == (align == "right"), ["layer", "text", "y", "low", "high"]]
    text = alt.Chart(table).mark_text(
        align=align, baseline="middle", fontSize=size(_FONT_SIZE), color=soft_text(size), clip=False, aria=False
    )
    shown = text.transform_filter(f"{width} >= datum.low && {width} < datum.high")
    chart: alt.Chart = shown.encode(y=alt.Y("y:Q", scale=None, axis=None), text="text:N")
    return chart


def _candidates(layers: pd.DataFrame) -> list[_Candidate]:
    """The names of layers, then the runs of layers with names of blocks, the longest names first."""
    named = pd.DataFrame({"middle": layers["layer"], "block": layers["layer"], "count": 1})
    if (block_runs(layers)["count"] == 1).all():
        return [_Candidate(named)]
    prefix = common_prefix(layers["block"])
    blocks = [_Candidate(names, prefix if length else "") for length, names in enumerate(block_names_by_length(layers))]
    return [_Candidate(named, num_rows=ROWS_OF_LAYERS), *blocks]


def _names_at(candidates: list[_Candidate], width: float) -> list[dict[str, object]]:
    """The longest names for which there is room where a layer is so many pixels wide, else the shortest ones."""
    for candidate in candidates:
        placed, complete = _in_rows(candidate, width)
        if complete:
            break
    return placed


def _in_rows(candidate: _Candidate, width: float) -> tuple[list[dict[str, object]], bool]:
    """Put names into rows, those of several layers first; a name for which no row has room is left out.

    Returns also whether none is left out, and those of several layers are all in the first row.
    """
    names, prefix, num_rows = candidate.names, candidate.prefix, candidate.num_rows
    taken: list[list[tuple[float, float]]] = [[] for _ in range(num_rows)]
    rows: list[dict[str, object]] = []
    if prefix and len(prefix) * _CHARACTER <= AXIS_WIDTH:
        rows.append({"layer": "", "part": 0.5, "text": prefix, "row": 0})
        taken[0].append((-float(AXIS_WIDTH), float(_BEFORE)))
    complete = True
    centers = ((names["count"].cumsum() - names["count"] / 2) * width).tolist()
    blocks = list(zip(names["block"], names["middle"], names["count"].tolist(), centers, strict=True))
    for text, layer, count, center in sorted(blocks, key=lambda block: block[2] == 1):
        half = len(text) * _CHARACTER / 2
        row = next((row for row in range(num_rows) if _is_free(taken[row], center - half, center + half)), None)
        complete &= row == 0 or (row is not None and count == 1)
        if row is not None:
            taken[row].append((center - half, center + half))
            rows.append({"layer": layer, "part": 0.5 if count % 2 else 1.0, "text": text, "row": row})
    return rows, complete


def _is_free(taken: list[tuple[float, float]], start: float, end: float) -> bool:
    return all(end + _GAP <= other_start or other_end + _GAP <= start for other_start, other_end in taken)
