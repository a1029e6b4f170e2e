"""What the server does before it answers, so that the first visitor need not wait for it."""

import asyncio
import os
import sys
import webbrowser
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from importlib import import_module
from pathlib import Path

import streamlit as st

MODULES = ("components", "frame", "images", "picker", "sample_cards", "summary", "tables", "uploads")


@asynccontextmanager
async def serving(app: st.App) -> AsyncIterator[None]:
    """Around the time in which the server answers: warm up first, then show the page to the person at the keyboard."""
    warm_up(sys.argv[1:])
    if not st.get_option("server.headless"):  # `streamlit run` opens a browser for scripts only, not for an app
        url = f"http://localhost:{st.get_option('server.port')}"
        asyncio.get_running_loop().call_soon(webbrowser.open, url)
    yield


def warm_up(arguments: Sequence[str]) -> None:
    """Import what the pages import, open the first study, and draw it once for nobody.

    arguments : of the command line, which may name the first study.
    """
    for name in MODULES:
        import_module(f"explorer.{name}")
    from explorer.charts import layers_chart
    from explorer.data import bundled_studies, first_study, read_study
    from explorer.state import choices, default_selection, select_curves

    first = first_study(arguments, os.environ)
    bundled = bundled_studies()
    path = bundled.get(first or next(iter(bundled)), Path(first or ""))
    with suppress(ValueError, OSError):  # the page says what is wrong with it
        study = read_study(path)
        selection = default_selection(choices(study.layers, study.curves))
        layers_chart(select_curves(study.curves, study.layers, selection), study.layers).to_dict()
