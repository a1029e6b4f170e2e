"""What the server does before it answers, so that the first visitor need not wait for it."""

import asyncio
import logging
import os
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from importlib import import_module
from pathlib import Path

import streamlit as st
from streamlit import runtime

from explorer.runs.housekeeping import housekeeping
from explorer.server.public_mode import limits

MODULES = (
    *(
        "explorer.controls.downloads",
        "explorer.controls.page_header",
        "explorer.studies.pictures",
        "explorer.pages.layers.content",
        "explorer.controls.sample_cards",
    ),
    *("explorer.pages.layers.overview_strip", "explorer.controls.layer_table", "explorer.runs.uploads.checking"),
    # What Streamlit loads with the first script, the first icon and the first picture.
    *("streamlit.runtime.scriptrunner.magic_funcs", "streamlit.material_icon_names", "PIL.Image"),
)
OPENING_S = 0.2  # from here until the server listens
log = logging.getLogger(__name__)


@asynccontextmanager
async def serving(app: st.App) -> AsyncIterator[None]:
    """Around the time in which the server answers: warm up first, then show the page to the person at the keyboard."""
    try:
        warm_up(sys.argv[1:])
    except Exception:  # the page says what is wrong, and the server is there to show it
        log.warning("the first visitor will wait a little longer: the warm-up failed", exc_info=True)
    asyncio.get_running_loop().call_later(OPENING_S, open_page)
    with housekeeping(is_active_session):
        yield


def is_active_session(session: str) -> bool:
    """Whether a browser is connected to the session of this id."""
    return not runtime.exists() or runtime.get_instance().is_active_session(session)


def open_page() -> None:
    """Open the page, unless the server is headless: `streamlit run` opens a browser for scripts, not for an app."""
    from streamlit import cli_util
    from streamlit.web.server import server_util

    if not st.get_option("server.headless"):
        cli_util.open_browser(server_util.get_url(page_host()))


def max_file_bytes() -> int:
    """The largest file that may be uploaded."""
    return int(st.get_option("server.maxUploadSize")) << 20


def max_sessions() -> int | None:
    """How many browser tabs may be connected at the same time; None for any number."""
    try:
        return limits().sessions
    except ValueError:  # of what the server was started with: the pages say what
        return None


def page_host() -> str:
    """Where a browser on this machine finds the server, by the rules of `streamlit run`."""
    from streamlit import config
    from streamlit.web.server import server_util

    for option in ("browser.serverAddress", "server.address"):
        if config.is_manually_set(option):
            return server_util.get_display_address(str(st.get_option(option)))
    return "localhost"


def warm_up(arguments: Sequence[str]) -> None:
    """Import what the pages import, open the first study, and draw it once for nobody.

    arguments : of the command line, which may name the first study.

    Raises
    ------
    ValueError, OSError
        The first study cannot be opened, or has nothing to draw.
    """
    from streamlit import env_util

    for name in MODULES:
        import_module(name)
    env_util.is_repl()  # the first element asks, and the first answer looks at every module that is loaded
    from explorer.pages.layers.content import prepare
    from explorer.studies.loading import bundled_studies, first_study, study_stamp

    first = first_study(arguments, os.environ)
    bundled = bundled_studies()
    path = bundled.get(first or next(iter(bundled)), Path(first or ""))
    prepare(str(path), study_stamp(path))
