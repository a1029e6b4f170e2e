"""What the pages' widgets have in common: their session keys, and the choice of one thing from a few."""

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any

import streamlit as st

from explorer.studies.loading import OpenStudy


def widget_key(page: str, name: str, study: OpenStudy) -> str:
    """A widget's session key: a study has its own, because another one offers other choices.

    So has a page: with one key for all, a page would start from none.
    """
    return f"{page} {name} of {study.path}"


def open_expander(label: str, key: str) -> AbstractContextManager[object] | None:
    """An expander, where it is open: what it holds is made and sent only then. Another label would close it."""
    expander = st.expander(label, key=key, on_change="rerun")
    return expander if expander.open else None


def choose_one(label: str, offered: Sequence[str], names: Mapping[str, str], *, first: str, key: str) -> str:
    """One of those offered, shown by their names where they have one; `first` until another is chosen."""
    st.session_state.setdefault(key, first)
    return str(
        st.segmented_control(label, offered, format_func=lambda name: names.get(name, name), required=True, key=key)
    )


def selected_point(event: object, name: str, *fields: str) -> dict[str, Any]:
    """The first point of a chart's selection; {} where there is none with these fields, for a client may forge it."""
    points = selected(event).get(name)
    point = points[0] if isinstance(points, list) and points else None
    whole = isinstance(point, Mapping) and all(isinstance(point.get(field), str | int) for field in fields)
    return dict(point) if whole and isinstance(point, Mapping) else {}


def selected_row(event: object, count: int) -> int | None:
    """The first row selected of a table that has `count` of them; None where there is none."""
    rows = selected(event).get("rows")
    row = rows[0] if isinstance(rows, list) and rows else None
    return row if isinstance(row, int) and 0 <= row < count else None


def selected(event: object) -> Mapping[str, Any]:
    """What was selected in a chart or table, as the browser says; nothing where it says something else."""
    selection = event.get("selection") if isinstance(event, Mapping) else None
    return selection if isinstance(selection, Mapping) else {}
