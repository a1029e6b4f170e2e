"""Menus within a long page: a row of links to its sections, and tabs.

The row stays in sight while the page is scrolled. A link is a fragment of the address (`#pairs`), so that it can be
sent, and *Back* returns to the section before. Of tabs only the open one is drawn; the address names it (`tab=pairs`).
"""

from collections.abc import Mapping, Sequence
from html import escape

import streamlit as st
from streamlit.elements.lib.mutable_tab_container import TabContainer

TAB = "tab"  # query parameter
_HEADER, _MAIN = (f'[data-testid="{name}"]' for name in ("stHeader", "stMain"))
# The row lies below Streamlit's header, which covers the top of the page: a heading, or a control that gets the focus,
# is scrolled to below both.
STYLE = f"""<style>
[data-testid="stElementContainer"]:has(> * .si-sections) {{position: sticky; top: 3.75rem; z-index: 90;}}
.si-sections {{display: flex; flex-wrap: wrap; gap: .25rem 1.1rem; white-space: nowrap; padding: .45rem 0;
  background: light-dark(#ffffff, #14181d); font-size: .875rem;
  border-bottom: 1px solid light-dark(#d9dee3, #38424d);}}
.si-sections a {{color: light-dark(#0b62a4, #6cb6f0); text-decoration: none;}}
.si-sections a:hover, .si-sections a:focus-visible {{text-decoration: underline;}}
@media (max-width: 640px) {{.si-sections {{flex-wrap: nowrap; overflow-x: auto; scrollbar-width: none;}}}}
@media (min-width: 641px) {{.si-sections.si-phone {{display: none;}}}}
[data-testid="stElementContainer"]:has(> * > .si-section) {{position: absolute;}}
[data-testid="stHeading"] :is(h1, h2, h3) {{scroll-margin-top: .5rem;}}
{_MAIN} {{scroll-padding-top: 7rem;}}
{_HEADER} {{z-index: 95;}}
</style>"""


def show_sections(sections: Mapping[str, str], *, only_on_phone: bool = False) -> None:
    """Show links to sections of the page; call it outside of any container, so that it stays in sight.

    Parameters
    ----------
    sections : mapping
        From the anchor of a section, which `st.header` or `mark_section` gives it, to the text of its link.
    only_on_phone : bool
        Whether the row is left out in windows of more than 640 pixels, in which the page is short.
    """
    links = "".join(f'<a href="#{escape(anchor)}">{escape(text)}</a>' for anchor, text in sections.items())
    phone = " si-phone" if only_on_phone else ""
    st.html(f'{STYLE}<nav class="si-sections{phone}" aria-label="On this page">{links}</nav>')


def mark_section(anchor: str) -> None:
    """Let a link of `show_sections` lead here, where no heading does; it takes no room."""
    st.html(f'<span id="{escape(anchor)}" class="si-section"></span>')


def show_tabs(
    tabs: Mapping[str, str], query: Mapping[str, Sequence[str]], *, first: str, key: str
) -> tuple[str, TabContainer]:
    """Show tabs, of which only the open one is to be drawn.

    Parameters
    ----------
    tabs : mapping
        From the name of a tab, as in the address, to its title.
    query : mapping
        Query parameters of the page.
    first : str
        The name of the tab that is open where the address names none.
    key : str
        Session key of the widget.

    Returns
    -------
    name : str
        Of the open tab.
    place : TabContainer
        Where its content belongs.
    """
    if st.session_state.get(key) not in tabs.values():
        chosen = next((name for name in query.get(TAB, ()) if name in tabs), first)
        st.session_state[key] = tabs[chosen]
    places = dict(zip(tabs, st.tabs(list(tabs.values()), key=key, on_change="rerun"), strict=True))
    opened = next((name for name, place in places.items() if place.open), first)
    return opened, places[opened]
