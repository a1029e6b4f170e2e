"""The last resort of every page: what goes wrong is one sentence on it, and a traceback only in the server's log."""

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
    """The same part of a page, whose errors are told in its place.

    Streamlit's own signals, such as that a page is run again, are no errors and pass.
    """

    @functools.wraps(render)
    def run(*args: Parameters.args, **kwargs: Parameters.kwargs) -> None:
        try:
            render(*args, **kwargs)
        except Exception as error:
            show_error(error)

    return run


def show_error(error: Exception) -> None:
    """What is wrong, for the person at the page; what only a developer understands goes to the log."""
    if isinstance(error, StudyError | DataError):  # tables are checked when they are read
        reason = "It is damaged, or gone." if is_public() else plain(error)
        st.error(f"**This study cannot be shown.** {reason}", icon=":material/folder_off:")
        return
    log.error("a page failed", exc_info=error)
    told = "The log of the server says more." if is_public() else "The terminal that the app runs in says more."
    st.error(
        "**This page cannot be shown.** That is a defect of the program. Choose another study or view, and report it. "
        + told,
        icon=":material/bug_report:",
    )
