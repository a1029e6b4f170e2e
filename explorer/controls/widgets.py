"""Streamlit widgets that the pages share: session keys, expanders, a choice of one, selections in charts and tables."""

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any

import streamlit as st

from explorer.studies.loading import OpenStudy


def widget_key(page: str, name: str, study: OpenStudy) -> str:
    """A widget's session key.

    It contains the study, because another study offers other choices, and the page, because Streamlit drops the state
    of a widget when its page is left.
    """
    return f"{page} {name} of {study.path}"


def open_expander(label: str, key: str) -> AbstractContextManager[object] | None:
    """Show an expander; returns it if it is open, else None, so that its content is computed only when needed.

    The label must stay the same between runs, or the expander closes.
    """
    expander = st.expander(label, key=key, on_change="rerun")
    return expander if expander.open else None


def choose_one(label: str, offered: Sequence[str], names: Mapping[str, str], *, first: str, key: str) -> str:
    """Show a segmented control and return the chosen value.

    Parameters
    ----------
    label : str
        Label of the widget.
    offered : sequence of str
        The values to choose from.
    names : mapping
        Value to display name; a value without a name is displayed itself.
    first : str
        The value until another is chosen.
    key : str
        Session key of the widget.
    """
    st.session_state.setdefault(key, first)
    chosen = st.segmented_control(
        label, offered, format_func=lambda name: names.get(name, name), required=True, key=key
    )
    return first if chosen is None else str(chosen)  # None: a click elsewhere came before the browser had drawn this


def selected_point(event: object, name: str, *fields: str) -> dict[str, Any]:
    """The first point of a chart's selection; {} without one that has all fields.

    Everything is checked, because the browser sends the event and a client may forge it.
    """
    points = selected(event).get(name)
    if not isinstance(points, list) or not points or not isinstance(points[0], Mapping):
        return {}
    point = dict(points[0])
    if not all(isinstance(point.get(field), str | int) for field in fields):
        return {}
    return point


def selected_row(event: object, count: int) -> int | None:
    """The index of the first selected row of a table with `count` rows; None without one."""
    rows = selected(event).get("rows")
    if not isinstance(rows, list) or not rows:
        return None
    row = rows[0]
    return row if isinstance(row, int) and 0 <= row < count else None


def selected(event: object) -> Mapping[str, Any]:
    """The selection in an event of a chart or table; {} if the browser sent anything else."""
    selection = event.get("selection") if isinstance(event, Mapping) else None
    return selection if isinstance(selection, Mapping) else {}
