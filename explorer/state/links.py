"""Links from one page to another, where the page exists."""

import streamlit as st
from streamlit.errors import StreamlitAPIException


def link_to(page: str, label: str, icon: str | None = None) -> None:
    """A link to a page of `pages/`; nothing where the app has no such page, or where the page runs by itself."""
    try:
        st.page_link(f"pages/{page}/view.py", label=label, icon=icon)
    except (StreamlitAPIException, KeyError):  # KeyError: outside of the app's navigation
        return
