"""Charts of the epochs of a training: SI through the network, SI of each layer over the epochs, loss and accuracy."""

from collections.abc import Sequence
from itertools import pairwise
from typing import Any, Literal

import altair as alt
import numpy as np
import pandas as pd
from altair.utils.schemapi import debug_mode

from core.report.charts.frame import (
    AXIS_WIDTH,
    PAGE,
    Size,
    UncheckedChart,
    framed,
    layer_x,
    names_parameter,
    upper_end,
)
from core.report.charts.labels import merged_levels
from core.report.charts.theme import GRAY

NETWORK_HEIGHT, LOSS_HEIGHT = 260, 220
SHOWN = "shown_epoch"  # parameter with the epoch that is shown
ALONE = "alone"  # selection of one line by a click in the legend
# Red, green, blue from the first layer to the last; each color is readable on white and on near-black.
_RAMP = np.array([[95, 105, 200], [56, 134, 186], [32, 148, 130], [104, 150, 48], [190, 128, 20], [205, 85, 60]])
_COLUMNS = ["epoch", "layer", "value", "low", "high", "chance"]
_TITLES = {
    "loss": "loss",
    "val_loss": "validation loss",
    "accuracy": "accuracy",
    "val_accuracy": "validation accuracy",
}


@debug_mode(False)
def network_chart(
    rows: pd.DataFrame, order: Sequence[str], epoch: int | None = None, *, size: Size = PAGE
) -> UncheckedChart:
    """SI through the network after one epoch, with the curves of the other epochs in gray behind it.

    Parameters
    ----------
    rows : DataFrame
        One row for each epoch and layer, with the columns epoch, layer, value, low, high, chance.
    order : sequence of str
        The layers in network order.
    epoch : int, optional
        The epoch that is shown. By default the reader chooses it, beginning with the last.
    size : Size
    """
    rows = _ordered(rows, order)
    epochs = sorted(map(int, rows["epoch"].unique()))
    parameter = alt.VariableParameter(
        name=SHOWN,
        value=epochs[-1] if epoch is None else epoch,
        bind=_input(epochs) if epoch is None else alt.Undefined,
    )
    x, y = layer_x(), _si_axis(rows)
    base = alt.Chart(rows).encode(x=x)
    chosen_epoch = base.transform_filter(f"datum.epoch == {SHOWN}")
    return framed(
        [
            base.mark_line(strokeWidth=1, color=GRAY, opacity=0.35).encode(y=y, detail="epoch:N"),
            *_chance_rules(rows, y),
            chosen_epoch.mark_area(opacity=0.16, line=False).encode(y=alt.Y("low:Q"), y2="high:Q"),
            chosen_epoch.mark_line(strokeWidth=2.5).encode(y=y),
            chosen_epoch.mark_point(filled=True, size=50, opacity=1).encode(y=y, tooltip=_tooltip()),
        ],
        height=size(NETWORK_HEIGHT),
        size=size,
        params=[names_parameter(order), parameter],
    )


@debug_mode(False)
def training_chart(
    rows: pd.DataFrame, order: Sequence[str], epoch: int | None = None, *, size: Size = PAGE
) -> UncheckedChart:
    """SI of each layer over the epochs, with a mark at `epoch`, if given; parameters as in `network_chart`."""
    rows = _ordered(rows, order)
    y = _si_axis(rows)
    scale = alt.Scale(domain=list(order), range=layer_colors(len(order)))
    alone = alt.selection_point(name=ALONE, fields=["layer"], bind="legend")
    base = alt.Chart(rows).encode(
        x=_epoch_axis(rows["epoch"]),
        y=y,
        color=alt.Color("layer:N", scale=scale, legend=_legend()),
        opacity=alt.condition(alone, alt.value(1), alt.value(0.08)),
    )
    points = base.mark_point(filled=True, size=40).encode(tooltip=_tooltip())
    return framed(
        [*_epoch_rule(epoch), *_chance_rules(rows, y), base.mark_line(strokeWidth=2), points.add_params(alone)],
        height=size(NETWORK_HEIGHT),
        size=size,
    )


@debug_mode(False)
def loss_chart(history: pd.DataFrame, epoch: int | None = None, *, size: Size = PAGE) -> UncheckedChart:
    """Accuracy and loss over the epochs; loss is dashed and has an axis on the right.

    Parameters
    ----------
    history : DataFrame
        With the columns `core.training.recording.epochs.HISTORY`.
    epoch : int, optional
        An epoch to mark.
    size : Size
    """
    recorded = [name for name in _TITLES if history[name].notna().any()]
    rows = history.melt("epoch", recorded, "name", "value").dropna(subset=["value"])
    kinds = np.where(rows["name"].str.contains("loss"), "loss", "accuracy")
    rows = rows.assign(kind=kinds, name=rows["name"].map(_TITLES), value=rows["value"].astype(float))
    color = alt.Color("name:N", scale=alt.Scale(domain=[_TITLES[name] for name in recorded]), legend=_legend())
    base = alt.Chart(rows[["epoch", "name", "kind", "value"]]).encode(x=_epoch_axis(history["epoch"]), color=color)
    sides: dict[str, Literal["left", "right"]] = {"loss": "right", "accuracy": "left"}
    panels = []
    for kind, side in sides.items():
        if (rows["kind"] == kind).any():
            panels.append(_loss_panel(base, kind, side))
    return framed(
        [*_epoch_rule(epoch), *panels],
        height=size(LOSS_HEIGHT),
        size=size,
        resolve={"scale": {"y": "independent"}},
    )


def layer_colors(count: int) -> list[str]:
    """Return `count` colors, such as "#5f69c8", evenly spaced along a ramp from the first layer to the last."""
    positions = np.linspace(0, len(_RAMP) - 1, count) if count > 1 else np.zeros(count)
    channels = [np.interp(positions, np.arange(len(_RAMP)), _RAMP[:, channel]) for channel in range(3)]
    return [f"#{int(red):02x}{int(green):02x}{int(blue):02x}" for red, green, blue in zip(*channels, strict=True)]


def _loss_panel(base: alt.Chart, kind: str, side: Literal["left", "right"]) -> alt.Chart:
    """Lines of one kind with an axis on one side; the left axis has a grid."""
    axis = alt.Axis(orient=side, tickCount=5, grid=side == "left")
    y = alt.Y("value:Q", title=kind.capitalize(), axis=axis, scale=alt.Scale(zero=True))
    tooltip = [
        alt.Tooltip("name:N", title="What"),
        alt.Tooltip("epoch:Q", title="Epoch", format="d"),
        alt.Tooltip("value:Q", title="Value", format=".4f"),
    ]
    dash = [4, 3] if kind == "loss" else [1, 0]
    chart: alt.Chart = (
        base.transform_filter(f"datum.kind === '{kind}'")
        .mark_line(point=True, strokeDash=dash)
        .encode(y=y, tooltip=tooltip)
    )
    return chart


def _ordered(rows: pd.DataFrame, order: Sequence[str]) -> pd.DataFrame:
    """The rows of the layers in `order`, sorted by epoch and then by layer."""
    position = {name: number for number, name in enumerate(order)}
    named = rows.assign(layer=rows["layer"].astype(str))
    positioned = named.assign(position=named["layer"].map(position)).dropna(subset=["position"])
    return positioned.sort_values(["epoch", "position"], ignore_index=True)[_COLUMNS]


def _si_axis(rows: pd.DataFrame) -> alt.Y:
    """A y axis from 0 to the next tenth above all values, as wide as in the charts beside or below it."""
    top = upper_end(rows[["value", "high", "chance"]].to_numpy(float))
    axis = alt.Axis(title="Separation Index", tickCount=6, minExtent=AXIS_WIDTH)
    return alt.Y("value:Q", scale=alt.Scale(domain=[0, top]), axis=axis)


def _chance_rules(rows: pd.DataFrame, y: alt.Y) -> list[alt.Chart]:
    """One dashed line a level of chance."""
    levels = pd.DataFrame({"value": [level.value for level in merged_levels(rows["chance"])]})
    if levels.empty:
        return []
    return [alt.Chart(levels).mark_rule(color=GRAY, strokeDash=[6, 4]).encode(y=y)]


def _legend() -> alt.Legend:
    """A legend above the chart, in two columns, without a title."""
    return alt.Legend(orient="top", title=None, labelLimit=260, symbolOpacity=1, columns=2, symbolType="circle")


def _input(epochs: Sequence[int]) -> Any:
    """A slider, or a list where the recorded epochs are not evenly spaced."""
    steps = {after - before for before, after in pairwise(epochs)}
    if len(steps) == 1:
        return alt.binding_range(min=epochs[0], max=epochs[-1], step=steps.pop(), name="Epoch ")
    return alt.binding_select(options=list(epochs), name="Epoch ")


def _epoch_rule(epoch: int | None) -> list[alt.Chart]:
    """A vertical rule at an epoch, if one is given."""
    if epoch is None:
        return []
    rule = alt.Chart(pd.DataFrame({"epoch": [epoch]})).mark_rule(color=GRAY, strokeWidth=6, opacity=0.3)
    return [rule.encode(x="epoch:Q")]


def _epoch_axis(epochs: pd.Series) -> alt.X:
    axis = alt.Axis(tickMinStep=1, format="d", grid=False)
    scale = alt.Scale(domain=[0, int(epochs.max())], nice=False)
    return alt.X("epoch:Q", title="Epoch", axis=axis, scale=scale)


def _tooltip() -> list[alt.Tooltip]:
    return [
        alt.Tooltip("layer:N", title="Layer"),
        alt.Tooltip("epoch:Q", title="Epoch", format="d"),
        alt.Tooltip("value:Q", title="SI", format=".3f"),
        alt.Tooltip("low:Q", title="95%, low", format=".3f"),
        alt.Tooltip("high:Q", title="95%, high", format=".3f"),
        alt.Tooltip("chance:Q", title="Chance", format=".4f"),
    ]
