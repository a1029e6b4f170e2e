"""Blocks of a network on an x axis of layers: bands behind every second one, and their names as labels."""

import json
import re

import altair as alt
import pandas as pd

from core.report.charts.frame import Size, layer_axis, x_scale
from core.report.charts.theme import GRAY

_CHARACTER = 0.62  # width of a character, as a part of the font's size
_FONT_SIZE = 11  # of the axis, on a page
_AXES = 110  # pixels beside the plot of a chart, on a page: the axis, and the names of the lines


def block_runs(layers: pd.DataFrame) -> pd.DataFrame:
    """Return the runs of layers of one block: first, middle and last layer, block, and number of layers.

    Parameters
    ----------
    layers : DataFrame
        With the columns layer and block, in network order. It has no runs if no layer has a block.
    """
    if layers["block"].eq("").all():
        return pd.DataFrame({"first": [], "middle": [], "last": [], "block": [], "count": []})
    return _runs(layers["layer"], layers["block"])


def block_bands(runs: pd.DataFrame, axis: alt.Axis | None) -> list[alt.Chart]:
    """Return a faint background behind every second run."""
    if len(runs) < 2:
        return []
    x = alt.X("first:N", scale=x_scale(), bandPosition=0, axis=axis)
    band = alt.Chart(runs.loc[1::2, ["first", "last"]]).mark_rect(color=GRAY, opacity=0.08, aria=False)
    return [band.encode(x=x, x2=alt.X2("last", bandPosition=1))]


def block_axis(layers: pd.DataFrame, size: Size) -> tuple[alt.Axis, pd.DataFrame]:
    """Return an axis that names blocks, and the runs that it names; of layers without blocks, the usual axis.

    The names are as long as there is room for: block4a, 4a, or 4 for all of 4a, 4b and 4c.
    """
    runs = block_runs(layers)
    if runs.empty:
        return layer_axis(size), runs
    for labelled in block_names_by_length(layers):
        if _fits(labelled, len(layers), size):
            break
    texts = json.dumps(dict(zip(labelled["middle"], labelled["block"], strict=True)))
    axis = alt.Axis(
        title="Layers in network order, by block",
        values=labelled["middle"].tolist(),
        labelExpr=f"{texts}[datum.value]",
        labelAngle=0,
        labelOverlap="greedy",
        labelFlush=False,
        ticks=False,
        grid=False,
    )
    return axis, labelled


def block_names_by_length(layers: pd.DataFrame) -> list[pd.DataFrame]:
    """Return the runs of `block_runs` with names of different lengths, the longest first.

    Such as block4a, 4a, and 4 for all of 4a, 4b and 4c.
    """
    short = layers["block"].str.removeprefix(common_prefix(layers["block"]))
    stages = short.map(lambda name: re.sub(r"(?<=\d)[a-z]$", "", name))
    return [_runs(layers["layer"], names) for names in (layers["block"], short, stages)]


def common_prefix(blocks: pd.Series) -> str:
    """Return the letters that the names of most blocks begin with, such as "block"; "" where there are none."""
    names = blocks[blocks != blocks.shift()]
    prefixes = names.str.extract(r"^([A-Za-z_]+)(?=\d)")[0].dropna()
    if prefixes.empty or prefixes.value_counts().iloc[0] <= len(names) / 2:
        return ""
    return str(prefixes.mode().iloc[0])


def _runs(names: pd.Series, blocks: pd.Series) -> pd.DataFrame:
    run = (blocks != blocks.shift()).cumsum()
    runs = names.groupby(run, sort=False).agg(["first", "last", "count"])
    middle = names.groupby(run, sort=False).agg(lambda run_names: run_names.iloc[(len(run_names) - 1) // 2])
    return runs.assign(middle=middle, block=blocks.groupby(run, sort=False).first()).reset_index(drop=True)


def _fits(runs: pd.DataFrame, num_layers: int, size: Size) -> bool:
    """Whether the name of each run of several layers is narrower than the run."""
    width = size.width if isinstance(size.width, int) else 760
    layer_width = (width - size(_AXES)) / num_layers
    several = runs[runs["count"] > 1]
    texts = several["block"].str.len() * _CHARACTER * size(_FONT_SIZE)
    return bool((texts <= several["count"] * layer_width).all())
