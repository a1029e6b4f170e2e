"""On a phone, the chart comes before the controls: a wide screen has room for both, a narrow one shows one of them.

The order is one of display only, made by CSS for windows of at most 640 pixels, below which Streamlit also stacks
columns. So nothing is drawn twice, and the server need not know how wide the window is.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import streamlit as st

_BODY, _CONTROLS = "chart_first", "controls_after_chart"  # beginnings of keys, which Streamlit makes CSS classes
_WRAPPER, _ROW, _COLUMN = (f'[data-testid="{name}"]' for name in ("stLayoutWrapper", "stHorizontalBlock", "stColumn"))
_COLUMNS = f'[class*="st-key-{_BODY}"] > {_WRAPPER}:has(> {_ROW} > {_COLUMN})'
# Columns give up their row, so that the controls can stand between the first column, the chart, and the others.
STYLE = f"""<style>
@media (max-width: 640px) {{
  {_WRAPPER}:has(> [class*="st-key-{_CONTROLS}"]) {{order: 1;}}
  {_COLUMNS}, {_COLUMNS} > {_ROW} {{display: contents;}}
  {_COLUMNS} > {_ROW} > {_COLUMN} {{flex: none; width: 100%; order: 2;}}
  {_COLUMNS} > {_ROW} > {_COLUMN}:first-child {{order: 0;}}
}}
</style>"""


@contextmanager
def chart_first(page: str) -> Iterator[None]:
    """A part of a page, in which `controls_after_chart` stand below the chart on a phone."""
    st.html(STYLE)
    with st.container(key=f"{_BODY}_{page}"):
        yield


@contextmanager
def controls_after_chart(page: str) -> Iterator[None]:
    """The controls of a chart; only within `chart_first` of the same page, and once."""
    with st.container(key=f"{_CONTROLS}_{page}"):
        yield
