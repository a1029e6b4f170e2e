"""The files in the page's uploaders as they are stored on disk; other files of the session are removed."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import streamlit as st
from streamlit.runtime.scriptrunner import get_script_run_ctx

from core.report.words.formatting import plain
from explorer.runs.disk import holds
from explorer.runs.uploads.store import store
from explorer.server.public_mode import studies_folder

_GONE = "It is empty, or it was removed because it was not used for a long time. Choose it again."


@dataclass(frozen=True)
class ReceivedFile:
    """An uploaded file on disk.

    On a host that does not use our middleware, files stay in memory, and Streamlit's own objects are used instead.

    Attributes
    ----------
    name : str
        The visitor's name of the file.
    file_id : str
        Streamlit's id of the file.
    path : Path or None
        Where the content is stored; None if the file was refused.
    refused : str
        Why the file was refused; "" if it was not.
    """

    name: str
    file_id: str
    path: Path | None
    refused: str = ""

    def getvalue(self) -> bytes:
        """All of its bytes."""
        return self.path.read_bytes() if self.path else b""


def uploaded_files(key: str) -> list[Any]:
    """The files in an uploader."""
    value = st.session_state.get(key) or []
    files = value if isinstance(value, list) else [value]
    return [_received(file) for file in files if hasattr(file, "file_id") and hasattr(file, "getvalue")]


def kept_files(key: str) -> list[Any]:
    """The files in an uploader, none of which was refused.

    Raises
    ------
    ValueError
        If a file was refused; the message says why and what to do.
    """
    files = uploaded_files(key)
    refused = [f"{file.name!r} was not kept. {file.refused}" for file in files if getattr(file, "refused", "")]
    if refused:
        raise ValueError(" ".join(refused))
    return files


def show_refused(keys: tuple[str, ...]) -> None:
    """Show which files of the uploaders were refused, by reason."""
    reasons: dict[str, list[str]] = {}
    for key in keys:
        for file in uploaded_files(key):
            if reason := getattr(file, "refused", ""):
                reasons.setdefault(reason, []).append(repr(file.name))
    for reason, names in reasons.items():
        listed = ", ".join(names[:5])
        if len(names) > 5:
            listed += f" and {len(names) - 5} more"
        st.error(plain(f"Not kept: {listed}. {reason}"), icon=":material/block:")


def keep_shown(keys: tuple[str, ...]) -> None:
    """Remove the files of this session that its uploaders showed before and do not show now."""
    if session := _session():
        file_ids: set[str] = set()
        for key in keys:
            file_ids.update(file.file_id for file in uploaded_files(key))
        store.keep_shown(session, file_ids)


def release_uploads() -> None:
    """Remove all files of this session; called on pages without uploaders, because those will start empty."""
    if session := _session():
        store.remove_session(session)


def hold_upload(upload: str) -> None:
    """Hold the upload of this session's plan instead of that of its previous plan."""
    if session := _session():
        holds.hold(session, upload, studies_folder())


def release_upload() -> None:
    """Stop holding this session's upload: its plan was dropped, or became a run, which keeps the upload."""
    if session := _session():
        holds.release(session, studies_folder())


def _received(file: Any) -> Any:
    """The stored file for Streamlit's file; Streamlit's own one if it has content."""
    session = _session()
    stored = store.find(session, file.file_id) if session else None
    if stored:
        return ReceivedFile(file.name, file.file_id, stored.path, stored.refused)
    return file if file.getvalue() else ReceivedFile(file.name, file.file_id, None, _GONE)


def _session() -> str:
    """The id of the present session; "" outside of one."""
    context = get_script_run_ctx(suppress_warning=True)
    return context.session_id if context else ""
