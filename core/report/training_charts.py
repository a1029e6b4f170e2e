"""The charts of a training's epochs as Vega-Lite specifications: DataFrame in, dict out."""

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import pandas as pd

from core.report.marks import (
    GRAY,
    Spec,
    chance_rules,
    faded,
    layer_axis,
    legend,
    one_alone,
    page_wide,
    records,
    shown,
    si_axis,
)

# From the first layer to the last; each readable on white and on near-black.
_RAMP = np.array([[95, 105, 200], [56, 134, 186], [32, 148, 130], [104, 150, 48], [190, 128, 20], [205, 85, 60]])
_COLUMNS = ["epoch", "layer", "value", "low", "high", "chance"]
_TITLES = {
    "loss": "loss",
    "val_loss": "validation loss",
    "accuracy": "accuracy",
    "val_accuracy": "validation accuracy",
}


def network_chart(rows: pd.DataFrame, order: Sequence[str], epoch: int | None = None) -> Spec:
    """SI through the network after one epoch, those after the others faint behind it.

    Parameters
    ----------
    rows : one for each epoch and layer, with the columns epoch, layer, value, low, high, chance.
    order : the layers in network order.
    epoch : the one that is shown; None lets the reader choose, beginning with the last.
    """
    found = _rows(rows, order)
    y = si_axis([row[name] for row in found for name in ("value", "high", "chance") if row[name] is not None])
    x = {"field": "layer", "type": "nominal", "sort": None, "scale": {"domain": list(order)}, "axis": layer_axis()}
    epochs = sorted({row["epoch"] for row in found})
    now = {"transform": [{"filter": "datum.epoch == shown_epoch"}]}
    chosen: Spec = {"name": "shown_epoch", "value": epochs[-1] if epoch is None else epoch}
    if epoch is None:
        chosen["bind"] = _input(epochs)
    behind = {"mark": {"type": "line", "strokeWidth": 1, "color": GRAY, "opacity": 0.35}}
    band = {"y": {**y, "field": "low"}, "y2": {"field": "high"}}
    return page_wide(
        {
            "params": [chosen],
            "data": {"values": found},
            "height": 260,
            "encoding": {"x": x},
            "layer": [
                {**behind, "encoding": {"y": y, "detail": {"field": "epoch"}}},
                *chance_rules(found, y),
                {**now, "mark": {"type": "area", "opacity": 0.16}, "encoding": band},
                {**now, "mark": {"type": "line", "strokeWidth": 2.5}, "encoding": {"y": y}},
                {
                    **now,
                    "mark": {"type": "point", "filled": True, "size": 50, "opacity": 1},
                    "encoding": {"y": y, "tooltip": _tooltip()},
                },
            ],
        }
    )


def training_chart(rows: pd.DataFrame, order: Sequence[str], epoch: int | None = None) -> Spec:
    """SI of each layer over the epochs; as `network_chart`, and `epoch`, where there is one, is marked."""
    found = _rows(rows, order)
    y = si_axis([row[name] for row in found for name in ("value", "high", "chance") if row[name] is not None])
    scale = {"domain": list(order), "range": layer_colors(len(order))}
    named = {**legend(), "columns": 2, "symbolType": "circle"}
    color = {"field": "layer", "type": "nominal", "scale": scale, "legend": named}
    point = {"type": "point", "filled": True, "size": 40}
    return page_wide(
        {
            "data": {"values": found},
            "height": 260,
            "encoding": {"x": _epoch_axis(rows["epoch"]), "color": color},
            "layer": [
                *_epoch_rule(epoch),
                *chance_rules(found, y),
                {"mark": {"type": "line", "strokeWidth": 2}, "encoding": {"y": y, "opacity": faded(1)}},
                {
                    "params": [one_alone("layer")],
                    "mark": point,
                    "encoding": {"y": y, "tooltip": _tooltip(), "opacity": faded(1)},
                },
            ],
        }
    )


def loss_chart(history: pd.DataFrame, epoch: int | None = None) -> Spec:
    """Accuracy and, dashed and on a scale of its own, loss over the epochs; rows of
    `core.training.recording.epochs.HISTORY`.

    epoch : is marked.
    """
    known = [name for name in _TITLES if history[name].notna().any()]
    rows = history.melt("epoch", known, "name", "value").dropna(subset=["value"])
    kinds = np.where(rows["name"].str.contains("loss"), "loss", "accuracy")
    rows = rows.assign(kind=kinds, name=rows["name"].map(_TITLES))
    color = {"field": "name", "type": "nominal", "scale": {"domain": [_TITLES[name] for name in known]}}
    color["legend"] = {**legend(), "columns": 2, "symbolType": "circle"}
    panels = [
        _panel(kind, side) for kind, side in (("loss", "right"), ("accuracy", "left")) if (rows["kind"] == kind).any()
    ]
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
    """A color for each of so many layers, in an order that the eye can follow."""
    places = np.linspace(0, len(_RAMP) - 1, count) if count > 1 else np.zeros(count)
    mixed = [np.interp(places, np.arange(len(_RAMP)), _RAMP[:, channel]) for channel in range(3)]
    return [f"#{int(red):02x}{int(green):02x}{int(blue):02x}" for red, green, blue in zip(*mixed, strict=True)]


def _panel(kind: str, side: str) -> Spec:
    """Lines of one kind with an axis of their own; only accuracy has a grid."""
    axis = {"orient": side, "tickCount": 5, "grid": side == "left"}
    y = {"field": "value", "type": "quantitative", "title": kind.capitalize(), "axis": axis, "scale": {"zero": True}}
    tooltip = [shown("name", "What"), shown("epoch", "Epoch", "d"), shown("value", "Value", ".4f")]
    mark = {"type": "line", "point": True, "strokeDash": [4, 3] if kind == "loss" else [1, 0]}
    filtered = [{"filter": f"datum.kind === '{kind}'"}]
    return {"transform": filtered, "mark": mark, "encoding": {"y": y, "tooltip": tooltip}}


def _rows(rows: pd.DataFrame, order: Sequence[str]) -> list[Spec]:
    """The rows of the layers in network order, epoch by epoch."""
    place = {name: number for number, name in enumerate(order)}
    named = rows.assign(layer=rows["layer"].astype(str))
    ranked = named.assign(place=named["layer"].map(place)).dropna(subset=["place"]).sort_values(["epoch", "place"])
    return records(ranked, _COLUMNS)


def _input(epochs: Sequence[int]) -> Spec:
    """A slider, or a list where some epochs were not recorded."""
    steps = {after - before for before, after in pairwise(epochs)}
    if len(steps) == 1:
        return {"input": "range", "min": epochs[0], "max": epochs[-1], "step": steps.pop(), "name": "Epoch "}
    return {"input": "select", "options": list(epochs), "name": "Epoch "}


def _epoch_rule(epoch: int | None) -> list[Spec]:
    if epoch is None:
        return []
    rule = {"type": "rule", "color": GRAY, "strokeWidth": 6, "opacity": 0.3}
    return [{"data": {"values": [{"epoch": epoch}]}, "mark": rule, "encoding": {"color": {"value": GRAY}}}]


def _epoch_axis(epochs: pd.Series) -> Spec:
    axis = {"tickMinStep": 1, "format": "d", "grid": False}
    scale = {"domain": [0, int(epochs.max())], "nice": False}
    return {"field": "epoch", "type": "quantitative", "title": "Epoch", "axis": axis, "scale": scale}


def _tooltip() -> list[Spec]:
    texts = [shown("layer", "Layer"), shown("epoch", "Epoch", "d"), shown("value", "SI", ".3f")]
    interval = [shown("low", "95 %, low", ".3f"), shown("high", "95 %, high", ".3f")]
    return [*texts, *interval, shown("chance", "Chance", ".4f")]
