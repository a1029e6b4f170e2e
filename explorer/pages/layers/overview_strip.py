"""A strip of all layers beneath the chart, to draw a part of them on; the same as a slider, for the keyboard."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd
import streamlit as st

from core.analysis.separation_level import lead_curve
from explorer.charts.layer_chart import GRAY
from explorer.controls.widgets import selected
from explorer.server.page_errors import guarded
from explorer.studies.loading import OpenStudy

BRUSH, STRIP = "brush", "layers_strip"
MIN_LAYERS = 12  # fewer are seen at a glance
HEIGHT = 44  # pixels
HINT = "Draw over the strip above to look at some of the layers; a double click on it brings all back."


def brushed_span(brush: Mapping[str, Any], names: Sequence[str]) -> tuple[str, ...]:
    """First and last of the layers whose middle was drawn over, or the one that was drawn within; () for all.

    brush : of the chart's selection; layer i of `names` reaches from i to i + 1.
    """
    try:
        low, high = sorted(map(float, brush["place"]))
    except (KeyError, TypeError, ValueError):  # nothing is chosen, or not by a browser
        return ()
    if not np.isfinite([low, high]).all():
        return ()
    within = [place for place in range(len(names)) if low <= place + 0.5 <= high]
    places = within or [min(max(int((low + high) / 2), 0), len(names) - 1)]
    span = names[places[0]], names[places[-1]]
    return () if len(places) == len(names) else span


def strip_chart(values: Sequence[float], start: tuple[int, int] | None) -> dict[str, Any]:
    """SI of all layers in small, as Vega-Lite. start : first and last place of those chosen when it is first drawn."""
    rows = pd.DataFrame({"place": range(len(values)), "end": range(1, len(values) + 1), "value": values})
    brush = {"type": "interval", "encodings": ["x"], "mark": {"fill": GRAY, "fillOpacity": 0.3, "stroke": GRAY}}
    chosen = {"value": {"x": [start[0], start[1] + 1]}} if start else {}
    x = {"field": "place", "type": "quantitative", "axis": None, "scale": {"domain": [0, len(values)], "nice": False}}
    return {
        "data": {"name": "layers"},
        "datasets": {"layers": rows},
        "height": HEIGHT,
        "autosize": {"type": "fit-x", "contains": "padding"},
        "params": [{"name": BRUSH, "select": brush, **chosen}],
        "mark": {"type": "rect", "color": GRAY, "opacity": 0.5, "aria": False},
        "encoding": {
            "x": x,
            "x2": {"field": "end"},
            "y": {"field": "value", "type": "quantitative", "axis": None},
            "y2": {"datum": 0},
        },
        "config": {"view": {"strokeOpacity": 0.3}},
        "usermeta": {"embedOptions": {"renderer": "canvas"}},  # for it is drawn on, and never saved
    }


@dataclass(frozen=True)
class ControlState:
    """A control as it was last made: the widget's key, the span it started from, and the one that it shows by now."""

    number: int
    widget: str
    start: tuple[str, ...]
    shows: tuple[str, ...]


def show_strip(study: OpenStudy, key: str) -> None:
    """The strip; the first and last layer that are drawn over go into the session under `key`, () for all."""
    names = study.layers["layer"].tolist()
    if len(names) < MIN_LAYERS:
        return
    turn = _control_state("strip", key)

    def take() -> None:
        _choose(turn, key, brushed_span(selected(st.session_state[turn.widget]).get(BRUSH, {}), names))

    values = lead_curve(study.curves).set_index("layer")["value"].reindex(names).fillna(0.0).tolist()
    chart = strip_chart(values, (names.index(turn.start[0]), names.index(turn.start[1])) if turn.start else None)
    with st.container(key=STRIP):
        alt = f"All {len(names)} layers in small. To choose some by keyboard, use the slider under All layers."
        st.vega_lite_chart(
            chart, width="stretch", key=turn.widget, on_select=guarded(take), selection_mode=BRUSH, alt=alt
        )


def show_slider(names: Sequence[str], key: str) -> None:
    """The same choice on a slider."""
    if len(names) < 2:
        return
    turn, everything = _control_state("slider", key), (names[0], names[-1])

    def take() -> None:
        chosen = st.session_state[turn.widget]
        _choose(turn, key, () if chosen == everything else chosen)

    st.select_slider("From layer to layer", names, turn.start or everything, key=turn.widget, on_change=guarded(take))


def _control_state(control: str, key: str) -> ControlState:
    """The control as it was; made anew where another one has changed the span, or the page is opened again.

    Made anew on every change, it would forget what is being drawn on it, and that it has the focus.
    """
    span, kept = st.session_state[key], f"{control} for {key}"
    last: ControlState | None = st.session_state.get(kept)
    if last is None or last.shows != span or last.widget not in st.session_state:
        number = last.number + 1 if last else 1
        last = st.session_state[kept] = ControlState(number, f"{control} {number} for {key}", span, span)
    return last


def _choose(turn: ControlState, key: str, span: tuple[str, ...]) -> None:
    """Take over what a control shows."""
    control = turn.widget.partition(" ")[0]
    st.session_state[f"{control} for {key}"] = replace(turn, shows=span)
    st.session_state[key] = span
