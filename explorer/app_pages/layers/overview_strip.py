"""A small chart of all layers on which a range of layers can be chosen; a slider does the same for the keyboard."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import altair as alt
import numpy as np
import pandas as pd
import streamlit as st
from altair.utils.schemapi import debug_mode

from core.analysis.separation_level import lead_curve
from core.report.charts.frame import spec_and_tables
from core.report.charts.theme import GRAY
from explorer.controls.widgets import selected
from explorer.server.page_errors import guarded
from explorer.studies.loading import OpenStudy

BRUSH, STRIP = "brush", "layers_strip"
MIN_LAYERS = 12  # a study with fewer layers needs no strip
HEIGHT = 44  # pixels
HINT = "Drag over the strip above to show a range of layers; a double click on it shows all layers."


def brushed_span(brush: Mapping[str, Any], names: Sequence[str]) -> tuple[str, ...]:
    """The first and the last layer of a brushed range; () for all layers.

    A layer is part of the range if its middle is. A range within one layer selects this layer.

    Parameters
    ----------
    brush : mapping
        The chart's selection: field to two positions; layer i extends from i to i + 1.
    names : sequence of str
        All layers, in network order.
    """
    try:
        low, high = sorted(map(float, brush["index"]))
    except (KeyError, TypeError, ValueError):  # nothing is brushed, or a client sent something else
        return ()
    if not np.isfinite([low, high]).all():
        return ()
    indices = [index for index in range(len(names)) if low <= index + 0.5 <= high]
    if not indices:
        indices = [min(max(int((low + high) / 2), 0), len(names) - 1)]
    if len(indices) == len(names):
        return ()
    return names[indices[0]], names[indices[-1]]


@debug_mode(False)
def strip_chart(values: Sequence[float], start: tuple[int, int] | None) -> dict[str, Any]:
    """Small bars with the SI of all layers, as a Vega-Lite specification.

    Parameters
    ----------
    values : sequence of float
        SI of each layer, in network order.
    start : tuple of int or None
        Indices of the first and the last layer of the initial brush; None for no brush.
    """
    rows = pd.DataFrame({"index": range(len(values)), "end": range(1, len(values) + 1), "value": values})
    brush = alt.selection_interval(
        name=BRUSH,
        encodings=["x"],
        mark=alt.BrushConfig(fill=GRAY, fillOpacity=0.3, stroke=GRAY),
        value={"x": [start[0], start[1] + 1]} if start else alt.Undefined,
    )
    scale = alt.Scale(domain=[0, len(values)], nice=False)
    bars = alt.Chart(rows).mark_rect(color=GRAY, opacity=0.5, aria=False)
    bars = bars.encode(
        x=alt.X("index:Q", axis=None, scale=scale), x2="end", y=alt.Y("value:Q", axis=None), y2=alt.datum(0)
    )
    chart = bars.add_params(brush).properties(
        height=HEIGHT,
        autosize=alt.AutoSizeParams(type="fit-x", contains="padding"),
        usermeta={"embedOptions": {"renderer": "canvas"}},  # no SVG, because this chart is never saved
    )
    return spec_and_tables(chart.configure_view(strokeOpacity=0.3))


@dataclass(frozen=True)
class ControlState:
    """State of a widget (strip or slider) that chooses a range of layers.

    Attributes
    ----------
    number : int
        How many widgets were created for this control, this one included.
    widget : str
        Session key of the widget.
    start : tuple of str
        First and last layer when the widget was created; () for all.
    shows : tuple of str
        First and last layer that the widget shows now; () for all.
    """

    number: int
    widget: str
    start: tuple[str, ...]
    shows: tuple[str, ...]


def show_strip(study: OpenStudy, key: str) -> None:
    """Show the strip, unless the study has few layers.

    Parameters
    ----------
    study : OpenStudy
        The open study.
    key : str
        Session key under which the first and the last chosen layer are stored; () for all.
    """
    names = study.layers["layer"].tolist()
    if len(names) < MIN_LAYERS:
        return
    state = _control_state("strip", key)

    def store() -> None:
        _store_span(state, key, brushed_span(selected(st.session_state[state.widget]).get(BRUSH, {}), names))

    values = lead_curve(study.curves).set_index("layer")["value"].reindex(names).fillna(0.0).tolist()
    start = (names.index(state.start[0]), names.index(state.start[1])) if state.start else None
    chart = strip_chart(values, start)
    with st.container(key=STRIP):
        alt = f"Overview of all {len(names)} layers. To choose a range by keyboard, use the slider under All layers."
        st.vega_lite_chart(
            chart, width="stretch", key=state.widget, on_select=guarded(store), selection_mode=BRUSH, alt=alt
        )


def show_slider(names: Sequence[str], key: str) -> None:
    """Show a slider for the same choice as in `show_strip`."""
    if len(names) < 2:
        return
    state, full_span = _control_state("slider", key), (names[0], names[-1])

    def store() -> None:
        span = st.session_state[state.widget]
        _store_span(state, key, () if span == full_span else span)

    st.select_slider("From layer to layer", names, state.start or full_span, key=state.widget, on_change=guarded(store))


def _control_state(control: str, key: str) -> ControlState:
    """The state of a control, with a new widget if the other control changed the span or the page was opened again.

    A new widget is the only way to change what a widget shows. But a new one after every change would lose the focus
    and interrupt the user's dragging.
    """
    span, state_key = st.session_state[key], f"{control} for {key}"
    state: ControlState | None = st.session_state.get(state_key)
    if state is None or state.shows != span or state.widget not in st.session_state:
        number = state.number + 1 if state else 1
        state = ControlState(number, f"{control} {number} for {key}", span, span)
        st.session_state[state_key] = state
    return state


def _store_span(state: ControlState, key: str, span: tuple[str, ...]) -> None:
    """Store the span that the user chose on a control."""
    control = state.widget.partition(" ")[0]
    st.session_state[f"{control} for {key}"] = replace(state, shows=span)
    st.session_state[key] = span
