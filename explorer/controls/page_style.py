"""The style of all pages: CSS for what Streamlit's settings cannot say."""

import streamlit as st

_GROUP, _SLIDER, _TABS = (f'[data-testid="{name}"]' for name in ("stButtonGroup", "stSliderThumbValue", "stTabs"))
PAIRED = "paired_on_phone"  # beginning of keys of rows, which on a phone hold two cards or fields each
_PAIRED = 2 * f'[class*="st-key-{PAIRED}"]'  # said twice it counts for more than Streamlit's own, in whatever order
_PICTURES = '[data-testid="stHorizontalBlock"] > [data-testid="stElementContainer"]'
_CODE = '[data-testid="stCode"] pre code[class]'
# Rows of buttons are as high as the fields beside them, so that their labels stand in one line; in a narrow window they
# wrap, where Streamlit would cut off the last one. A name that is too long for its field ends in "…". Streamlit writes
# what is chosen in the primary color, which is too dark for a text on a dark page. Its colors of code are too light:
# these reach 4.5:1 on the background of code.
STYLE = f"""<style>
{_GROUP} > [role] button {{min-height: 2.5rem;}}
[data-testid="stSelectbox"] input {{text-overflow: ellipsis;}}
@media (max-width: 640px) {{
  {_GROUP} > [role] {{flex-wrap: wrap; row-gap: .25rem;}}
  {_PAIRED} {{column-gap: 1rem;}}
  {_PAIRED} > * {{flex: 0 0 calc(50% - .5rem); width: calc(50% - .5rem); min-width: 0;}}
  {_PAIRED} > * > [data-testid="stVerticalBlock"] {{padding: .5rem;}}
  {_PAIRED} {_PICTURES}:has(img) {{flex: 1 1 0; width: 0; min-width: 0;}}
  {_PAIRED} img {{max-width: 100%; height: auto;}}
}}
{_GROUP} button:is([aria-checked="true"], [aria-pressed="true"], [data-selected="true"]),
{_GROUP} button:is([aria-checked="true"], [aria-pressed="true"], [data-selected="true"]) p,
{_SLIDER} p, {_TABS} [role="tab"][aria-selected="true"] p {{color: light-dark(#0b62a4, #6cb6f0);}}
{_CODE} .token {{color: light-dark(#a8480a, #f0a35e);}}
{_CODE} .token.keyword, {_CODE} .token.function {{color: light-dark(#0b62a4, #6cb6f0);}}
{_CODE} .token.string {{color: light-dark(#0a6b4f, #4fcfa2);}}
{_CODE} .token:is(.operator, .punctuation, .comment) {{color: light-dark(#4f5b69, #a3adba);}}
</style>"""


def show_style() -> None:
    """Apply the style to the page; it takes no room."""
    st.html(STYLE)
