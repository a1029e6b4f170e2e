"""Names, notes and tags of studies: in the study's folder where it may be written, otherwise in the session."""

import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import streamlit as st

from core.study.store.description import (
    DESCRIPTION_FILE,
    Description,
    change_description,
    checked_description,
    read_description,
)
from core.study.store.opening import StudyError
from explorer.server.public_mode import is_public
from explorer.studies.loading import DEMO
from explorer.studies.session_values import SessionValues

_IN_SESSION = SessionValues[Description | None]("descriptions of studies")


def description_of(path: Path) -> Description:
    """What a person says of a study; an empty description where the file is damaged, which `fault_of` tells."""
    return _IN_SESSION.read(str(path), None) or _cached_description(str(path), _stamp(path))[0]


def fault_of(path: Path) -> str:
    """Why the description of a study cannot be read, as a sentence; "" where it can."""
    return _cached_description(str(path), _stamp(path))[1]


def is_kept(path: Path) -> bool:
    """Whether changes are kept with the study: not of bundled studies, in public, or in a folder that is read-only."""
    return not (is_public() or path.resolve().is_relative_to(DEMO) or not os.access(path, os.W_OK))


def describe_study(path: Path, **changes: Any) -> None:
    """Change the name, note or tags of a study, in its folder or in this session.

    Raises
    ------
    ValueError
        If a text is too long; a StudyError if the present description is damaged.
    """
    if is_kept(path):
        change_description(path, **changes)
        return
    checked = checked_description(**changes)
    present = description_of(path)
    _IN_SESSION.write(str(path), replace(present, **{name: getattr(checked, name) for name in changes}))


def _stamp(path: Path) -> int:
    """Changes when the description does."""
    try:
        return (path / DESCRIPTION_FILE).stat().st_mtime_ns
    except (OSError, ValueError):  # a typed path may hold NUL characters
        return 0


@st.cache_data(max_entries=256, show_spinner=False)
def _cached_description(path: str, stamp: int) -> tuple[Description, str]:
    """A description and what is wrong with its file."""
    if not stamp:
        return Description(), ""
    try:
        return read_description(Path(path)), ""
    except StudyError as error:
        return Description(), "Its name, note and tags are damaged." if is_public() else str(error)
