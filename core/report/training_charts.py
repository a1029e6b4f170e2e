"""Charts of the epochs of a training as Vega-Lite specifications, each a function from a DataFrame to a dict."""

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import pandas as pd

from core.report.marks import (
    GRAY,
    Spec,
    chance_rules,
    known_values,
    layer_axis,
    legend,
    legend_selection,
    page_wide,
    records,
    selected_opacity,
    si_axis,
    tooltip_field,
)

# Red, green, blue from the first layer to the last; each color is readable on white and on near-black.
_RAMP = np.array([[95, 105, 200], [56, 134, 186], [32, 148, 130], [104, 150, 48], [190, 128, 20], [205, 85, 60]])
_COLUMNS = ["epoch", "layer", "value", "low", "high", "chance"]
_TITLES = {
    "loss": "loss",
    "val_loss": "validation loss",
    "accuracy": "accuracy",
    "val_accuracy": "validation accuracy",
}


def network_chart(rows: pd.DataFrame, order: Sequence[str], epoch: int | None = None) -> Spec:
    """Draw SI through the network after one epoch, with the curves of the other epochs in gray behind it.

    Parameters
    ----------
    rows : DataFrame
        One row for each epoch and layer, with the columns epoch, layer, value, low, high, chance.
    order : sequence of str
        The layers in network order.
    epoch : int, optional
        The epoch that is shown. By default the reader chooses it, beginning with the last.
    """
    values = _rows(rows, order)
    y = si_axis(known_values(values, "value", "high", "chance"))
    x = {"field": "layer", "type": "nominal", "sort": None, "scale": {"domain": list(order)}, "axis": layer_axis()}
    epochs = sorted({row["epoch"] for row in values})
    shown_only = {"transform": [{"filter": "datum.epoch == shown_epoch"}]}
    parameter: Spec = {"name": "shown_epoch", "value": epochs[-1] if epoch is None else epoch}
    if epoch is None:
        parameter["bind"] = _input(epochs)
    gray_line = {"mark": {"type": "line", "strokeWidth": 1, "color": GRAY, "opacity": 0.35}}
    band = {"y": {**y, "field": "low"}, "y2": {"field": "high"}}
    return page_wide(
        {
            "params": [parameter],
            "data": {"values": values},
            "height": 260,
            "encoding": {"x": x},
            "layer": [
                {**gray_line, "encoding": {"y": y, "detail": {"field": "epoch"}}},
                *chance_rules(values, y),
                {**shown_only, "mark": {"type": "area", "opacity": 0.16}, "encoding": band},
                {**shown_only, "mark": {"type": "line", "strokeWidth": 2.5}, "encoding": {"y": y}},
                {
                    **shown_only,
                    "mark": {"type": "point", "filled": True, "size": 50, "opacity": 1},
                    "encoding": {"y": y, "tooltip": _tooltip()},
                },
            ],
        }
    )


def training_chart(rows: pd.DataFrame, order: Sequence[str], epoch: int | None = None) -> Spec:
    """Draw SI of each layer over the epochs, with a mark at `epoch`, if given; parameters as in `network_chart`."""
    values = _rows(rows, order)
    y = si_axis(known_values(values, "value", "high", "chance"))
    scale = {"domain": list(order), "range": layer_colors(len(order))}
    two_columns = {**legend(), "columns": 2, "symbolType": "circle"}
    color = {"field": "layer", "type": "nominal", "scale": scale, "legend": two_columns}
    point = {"type": "point", "filled": True, "size": 40}
    return page_wide(
        {
            "data": {"values": values},
            "height": 260,
            "encoding": {"x": _epoch_axis(rows["epoch"]), "color": color},
            "layer": [
                *_epoch_rule(epoch),
                *chance_rules(values, y),
                {"mark": {"type": "line", "strokeWidth": 2}, "encoding": {"y": y, "opacity": selected_opacity(1)}},
                {
                    "params": [legend_selection("layer")],
                    "mark": point,
                    "encoding": {"y": y, "tooltip": _tooltip(), "opacity": selected_opacity(1)},
                },
            ],
        }
    )


def loss_chart(history: pd.DataFrame, epoch: int | None = None) -> Spec:
    """Draw accuracy and loss over the epochs; loss is dashed and has an axis on the right.

    Parameters
    ----------
    history : DataFrame
        With the columns `core.training.recording.epochs.HISTORY`.
    epoch : int, optional
        An epoch to mark.
    """
    recorded = [name for name in _TITLES if history[name].notna().any()]
    rows = history.melt("epoch", recorded, "name", "value").dropna(subset=["value"])
    kinds = np.where(rows["name"].str.contains("loss"), "loss", "accuracy")
    rows = rows.assign(kind=kinds, name=rows["name"].map(_TITLES))
    color = {"field": "name", "type": "nominal", "scale": {"domain": [_TITLES[name] for name in recorded]}}
    color["legend"] = {**legend(), "columns": 2, "symbolType": "circle"}
    sides = {"loss": "right", "accuracy": "left"}
    panels = [_panel(kind, side) for kind, side in sides.items() if (rows["kind"] == kind).any()]
    return page_wide(
        {
            "data": {"values": records(rows, ["epoch", "name", "kind", "value"])},
            "height": 220,
            "encoding": {"x": _epoch_axis(history["epoch"]), "color": color},
            "layer": [*_epoch_rule(epoch), *panels],
            "resolve": {"scale": {"y": "independent"}},
        }
    )


def layer_colors(count: int) -> list[str]:
    """Return `count` colors, such as "#5f69c8", evenly spaced along a ramp from the first layer to the last."""
    positions = np.linspace(0, len(_RAMP) - 1, count) if count > 1 else np.zeros(count)
    channels = [np.interp(positions, np.arange(len(_RAMP)), _RAMP[:, channel]) for channel in range(3)]
    return [f"#{int(red):02x}{int(green):02x}{int(blue):02x}" for red, green, blue in zip(*channels, strict=True)]


def _panel(kind: str, side: str) -> Spec:
    """Lines of one kind with an axis on one side; the left axis has a grid."""
    axis = {"orient": side, "tickCount": 5, "grid": side == "left"}
    y = {"field": "value", "type": "quantitative", "title": kind.capitalize(), "axis": axis, "scale": {"zero": True}}
    tooltip = [
        tooltip_field("name", "What"),
        tooltip_field("epoch", "Epoch", "d"),
        tooltip_field("value", "Value", ".4f"),
    ]
    mark = {"type": "line", "point": True, "strokeDash": [4, 3] if kind == "loss" else [1, 0]}
    filtered = [{"filter": f"datum.kind === '{kind}'"}]
    return {"transform": filtered, "mark": mark, "encoding": {"y": y, "tooltip": tooltip}}


def _rows(rows: pd.DataFrame, order: Sequence[str]) -> list[Spec]:
    """The rows of the layers in `order`, sorted by epoch and then by layer."""
    position = {name: number for number, name in enumerate(order)}
    named = rows.assign(layer=rows["layer"].astype(str))
    positioned = named.assign(position=named["layer"].map(position)).dropna(subset=["position"])
    return records(positioned.sort_values(["epoch", "position"]), _COLUMNS)


def _input(epochs: Sequence[int]) -> Spec:
    """A slider, or a list where the recorded epochs are not evenly spaced."""
    steps = {after - before for before, after in pairwise(epochs)}
    if len(steps) == 1:
        return {"input": "range", "min": epochs[0], "max": epochs[-1], "step": steps.pop(), "name": "Epoch "}
    return {"input": "select", "options": list(epochs), "name": "Epoch "}


def _epoch_rule(epoch: int | None) -> list[Spec]:
    """A vertical rule at an epoch, if one is given."""
    if epoch is None:
        return []
    rule = {"type": "rule", "color": GRAY, "strokeWidth": 6, "opacity": 0.3}
    return [{"data": {"values": [{"epoch": epoch}]}, "mark": rule, "encoding": {"color": {"value": GRAY}}}]


def _epoch_axis(epochs: pd.Series) -> Spec:
    axis = {"tickMinStep": 1, "format": "d", "grid": False}
    scale = {"domain": [0, int(epochs.max())], "nice": False}
    return {"field": "epoch", "type": "quantitative", "title": "Epoch", "axis": axis, "scale": scale}


def _tooltip() -> list[Spec]:
    return [
        tooltip_field("layer", "Layer"),
        tooltip_field("epoch", "Epoch", "d"),
        tooltip_field("value", "SI", ".3f"),
        tooltip_field("low", "95 %, low", ".3f"),
        tooltip_field("high", "95 %, high", ".3f"),
        tooltip_field("chance", "Chance", ".4f"),
    ]
