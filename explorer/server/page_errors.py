"""Error handling of all pages: a page shows one sentence, the traceback goes to the server's log."""

import functools
import logging
from collections.abc import Callable
from typing import ParamSpec

import streamlit as st

from core.data.errors import DataError
from core.report.words.formatting import plain
from core.study.store.opening import StudyError
from explorer.server.public_mode import is_public

Parameters = ParamSpec("Parameters")
log = logging.getLogger(__name__)


def guarded(render: Callable[Parameters, None]) -> Callable[Parameters, None]:
    """Wrap a part of a page so that an exception becomes a message at that part.

    Streamlit's control signals (rerun, stop) are no subclasses of `Exception` and pass through.
    """

    @functools.wraps(render)
    def run(*args: Parameters.args, **kwargs: Parameters.kwargs) -> None:
        try:
            render(*args, **kwargs)
        except Exception as error:
            show_error(error)

    return run


def reason_text(error: Exception) -> str:
    """What is wrong with a study, as Markdown; paths are not told in public."""
    return "It is damaged or was removed." if is_public() else plain(error)


def show_error(error: Exception) -> None:
    """Show what is wrong in the user's words; log the traceback of anything unexpected."""
    if isinstance(error, StudyError | DataError):  # tables are read lazily, so a damaged one is noticed only here
        st.error(f"**This study cannot be shown.** {reason_text(error)}", icon=":material/folder_off:")
        return
    log.error("a page failed", exc_info=error)
    details = "Details are in the server's log." if is_public() else "Details are in the terminal that runs the app."
    st.error(
        "**This page cannot be shown.** This is a bug. Choose another study or view, and please report it. " + details,
        icon=":material/bug_report:",
    )
