"""What the pages' widgets have in common: their session keys, and the choice of one thing from a few."""

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager

import streamlit as st

from explorer.data import OpenStudy


def widget_key(page: str, name: str, study: OpenStudy) -> str:
    """A widget's session key: a study has its own, because another one offers other choices.

    So has a page: with one key for all, a page would start from none.
    """
    return f"{page} {name} of {study.path}"


def opened(label: str, key: str) -> AbstractContextManager[object] | None:
    """An expander, where it is open: what it holds is made and sent only then. Another label would close it."""
    expander = st.expander(label, key=key, on_change="rerun")
    return expander if expander.open else None


def choose_one(label: str, offered: Sequence[str], names: Mapping[str, str], *, first: str, key: str) -> str:
    """One of those offered, shown by their names where they have one; `first` until another is chosen."""
    st.session_state.setdefault(key, first)
    return str(
        st.segmented_control(label, offered, format_func=lambda name: names.get(name, name), required=True, key=key)
    )
