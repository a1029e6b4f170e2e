"""The files in the page's uploaders, as they were kept on disk; the rest of the session's files are given up."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import streamlit as st
from streamlit.runtime.scriptrunner import get_script_run_ctx

from core.report.words.formatting import plain
from explorer.runs.disk import holds
from explorer.runs.uploads.store import store
from explorer.server.public_mode import studies_folder

_GONE = "It is empty, or was removed since, for it was there for long. Choose it again."


@dataclass(frozen=True)
class ReceivedFile:
    """A file on disk. Another host than ours leaves it in memory: then it is Streamlit's own object that is passed on.

    name : as the visitor calls it. path : None where the file was not kept, and `refused` says why.
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
    """The files in an uploader, all of which have been kept.

    Raises
    ------
    ValueError
        One was refused; why, and what to do.
    """
    files = uploaded_files(key)
    refused = [f"{file.name!r} was not kept. {file.refused}" for file in files if getattr(file, "refused", "")]
    if refused:
        raise ValueError(" ".join(refused))
    return files


def show_refused(keys: tuple[str, ...]) -> None:
    """Say beneath the uploaders which files were not kept, by reason."""
    reasons: dict[str, list[str]] = {}
    for key in keys:
        for file in uploaded_files(key):
            if reason := getattr(file, "refused", ""):
                reasons.setdefault(reason, []).append(repr(file.name))
    for reason, names in reasons.items():
        few = ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")
        st.error(plain(f"Not kept: {few}. {reason}"), icon=":material/block:")


def keep_shown(keys: tuple[str, ...]) -> None:
    """Give up the files of this session that its uploaders showed before, and do not show now."""
    if session := _session():
        store.keep_shown(session, {file.file_id for key in keys for file in uploaded_files(key)})


def release_uploads() -> None:
    """Give up all files of this session: a page without uploaders is shown, and the uploaders start empty."""
    if session := _session():
        store.remove_session(session)


def hold_upload(upload: str) -> None:
    """Keep what was saved for this session's plan, instead of what was saved for its last one."""
    if session := _session():
        holds.hold(session, upload, studies_folder())


def release_upload() -> None:
    """This session's plan has become a run, which keeps its upload, or is none any more."""
    if session := _session():
        holds.release(session, studies_folder())


def _received(file: Any) -> Any:
    session = _session()
    stored = store.find(session, file.file_id) if session else None
    if stored:
        return ReceivedFile(file.name, file.file_id, stored.path, stored.refused)
    return file if file.getvalue() else ReceivedFile(file.name, file.file_id, None, _GONE)


def _session() -> str:
    context = get_script_run_ctx(suppress_warning=True)
    return context.session_id if context else ""
