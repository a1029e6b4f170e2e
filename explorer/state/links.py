"""Links from one page of the app to another."""

from collections.abc import Mapping, Sequence

import streamlit as st
from streamlit.errors import StreamlitAPIException


def link_to(page: str, label: str, icon: str | None = None, query: Mapping[str, Sequence[str]] | None = None) -> None:
    """Show a link to a page of `app_pages/`; nothing if the app has no such page or runs this page alone.

    query : the query parameters of its address; by default those that the page had last.
    """
    try:
        st.page_link(f"app_pages/{page}/view.py", label=label, icon=icon, query_params=query)
    except (StreamlitAPIException, KeyError):  # KeyError: outside of the app's navigation
        return
