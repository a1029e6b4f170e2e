"""Start-up of the server: load modules and draw the first study in advance, so that the first visitor need not wait."""

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

from explorer.preparing import PREPARER
from explorer.runs.housekeeping import housekeeping
from explorer.server.public_mode import limits

MODULES = (
    "core.report.words.findings",
    "core.report.words.sample_counts",
    "explorer.controls.downloads",
    "explorer.controls.layer_table",
    "explorer.controls.page_header",
    "explorer.controls.phone_order",
    "explorer.controls.sample_cards",
    "explorer.controls.samples.dialog",
    "explorer.controls.sections",
    "explorer.controls.terms",
    "explorer.studies.class_tables",
    "explorer.app_pages.layers.content",
    "explorer.app_pages.layers.introduction",
    "explorer.app_pages.layers.other_studies",
    "explorer.app_pages.layers.overview_strip",
    "explorer.app_pages.layers.studies_table",
    "explorer.runs.uploads.checking",
    "explorer.studies.pictures",
    # Streamlit loads these with the first script, the first icon and the first picture.
    "PIL.Image",
    "streamlit.material_icon_names",
    "streamlit.runtime.scriptrunner.magic_funcs",
)
OPENING_S = 0.2  # the server listens this much later; before that a browser would find nothing
log = logging.getLogger(__name__)


@asynccontextmanager
async def serving(app: st.App) -> AsyncIterator[None]:
    """Lifespan of the server: warm up, open a browser where there is one, and clean up while the server runs."""
    try:
        warm_up(sys.argv[1:])
    except Exception:  # start all the same: the page itself shows what is wrong with the study
        log.warning("the warm-up failed; the first page will load more slowly", exc_info=True)
    asyncio.get_running_loop().call_later(OPENING_S, open_page)
    with housekeeping(is_active_session):
        yield
    PREPARER.stop()


def is_active_session(session: str) -> bool:
    """Whether a browser is connected to the session with this id."""
    return not runtime.exists() or runtime.get_instance().is_active_session(session)


def open_page() -> None:
    """Open a browser unless the server is headless: `streamlit run` does this for scripts, not for an ASGI app."""
    from streamlit import cli_util
    from streamlit.web.server import server_util

    if not st.get_option("server.headless"):
        cli_util.open_browser(server_util.get_url(page_host()))


def max_file_bytes() -> int:
    """The largest size of one uploaded file."""
    return int(st.get_option("server.maxUploadSize")) << 20


def max_sessions() -> int | None:
    """How many browser tabs may be connected at the same time; None for any number."""
    try:
        return limits().sessions
    except ValueError:  # a setting of the server is invalid; the pages show which one
        return None


def page_host() -> str:
    """The host name under which a browser on this machine finds the server, by the rules of `streamlit run`."""
    from streamlit import config
    from streamlit.web.server import server_util

    for option in ("browser.serverAddress", "server.address"):
        if config.is_manually_set(option):
            return server_util.get_display_address(str(st.get_option(option)))
    return "localhost"


def warm_up(arguments: Sequence[str]) -> None:
    """Import what the pages import, open the first study, and fill the caches with its first page.

    Parameters
    ----------
    arguments : sequence of str
        Arguments of the command line, which may name the first study.

    Raises
    ------
    ValueError, OSError
        If the first study cannot be opened, or has nothing to draw.
    """
    from streamlit import env_util

    for name in MODULES:
        import_module(name)
    env_util.is_repl()  # Streamlit calls this for the first element; its first call inspects every loaded module
    from explorer.app_pages.layers.content import prepare
    from explorer.studies.loading import bundled_studies, first_study, study_stamp

    first = first_study(arguments, os.environ)
    bundled = bundled_studies()
    path = bundled.get(first or next(iter(bundled)), Path(first or ""))
    prepare(str(path), study_stamp(path))
