"""One step of the browser's history for each change that a person makes."""

from pathlib import Path

import streamlit as st

_script = st.components.v2.component(
    "separation_index_history", js=Path(__file__).with_suffix(".js").read_text(encoding="utf-8")
)


def one_step_a_change() -> None:
    """Make the browser merge the addresses that a page writes after one click or key into one step of its history."""
    _script(key="browser history", height="content")
