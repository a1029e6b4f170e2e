"""The style of all pages: CSS for what Streamlit's settings cannot say."""

import streamlit as st

_GROUP, _SLIDER, _TABS = (f'[data-testid="{name}"]' for name in ("stButtonGroup", "stSliderThumbValue", "stTabs"))
# Rows of buttons are as high as the fields beside them, so that their labels stand in one line; in a narrow window they
# wrap, where Streamlit would cut off the last one. Streamlit writes what is chosen in the primary color, which is too
# dark for a text on a dark page.
STYLE = f"""<style>
{_GROUP} > [role] button {{min-height: 2.5rem;}}
@media (max-width: 640px) {{{_GROUP} > [role] {{flex-wrap: wrap; row-gap: .25rem;}}}}
{_GROUP} button:is([aria-checked="true"], [aria-pressed="true"], [data-selected="true"]),
{_GROUP} button:is([aria-checked="true"], [aria-pressed="true"], [data-selected="true"]) p,
{_SLIDER} p, {_TABS} [role="tab"][aria-selected="true"] p {{color: light-dark(#0b62a4, #6cb6f0);}}
</style>"""


def show_style() -> None:
    """Apply the style to the page; it takes no room."""
    st.html(STYLE)
