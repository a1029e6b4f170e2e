"""Marks of samples on the pages: kept with the study or, where that cannot be, in the session with a download."""

import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial
from operator import itemgetter
from pathlib import Path
from typing import Any

import pandas as pd
import streamlit as st

from core.analysis.samples.tables import marked_samples
from core.report.words.formatting import plain
from core.study.store.marks import MARKS_FILE, MOST_NOTE, Mark, MarksError, change_mark, read_marks, with_mark
from explorer.server.page_errors import guarded
from explorer.server.public_mode import is_public
from explorer.studies.loading import OpenStudy, cached_tables
from explorer.studies.session_values import SessionValues

BUTTONS = {  # label, icon and key of each mark
    "label error": ("Label error", ":material/label_off:", "E"),
    "duplicate": ("Duplicate", ":material/content_copy:", "D"),
    "fine": ("Fine", ":material/check:", "F"),
}
# Marks that cannot be kept with the study, with empty ones for marks in its folder that were removed.
_IN_SESSION = SessionValues[dict[str, Mark]]("session marks")
IN_PUBLIC = (
    "On a public server marks stay in this tab, until it is reloaded. Save the table of marks below the gallery."
)
NOT_WRITABLE = "Marks stay in this tab, until it is reloaded: the study's folder cannot be written. Save their table."


@dataclass(frozen=True)
class StudyMarks:
    """The marks of a study, as this session sees them.

    Attributes
    ----------
    marks : mapping of str to Mark
        By the sample's id.
    reason : str
        Why new marks are kept in the session only, as Markdown; "" where they are kept with the study.
    """

    marks: Mapping[str, Mark]
    reason: str = ""


def study_marks(study: OpenStudy) -> StudyMarks:
    """The marks of a study: those in its folder, and those that are kept in the session because it is not writable."""
    in_session = _IN_SESSION.read(study.path, {})
    if is_public():
        return StudyMarks(_with_content({**_marks_of_others(study), **in_session}), IN_PUBLIC)
    try:
        marks = _marks_in_folder(study)
    except MarksError as error:
        return StudyMarks(_with_content(in_session), f"{plain(error)} Until then marks stay in this tab.")
    if in_session or not os.access(study.path, os.W_OK):
        return StudyMarks(_with_content({**marks, **in_session}), NOT_WRITABLE)
    return StudyMarks(marks)


def set_mark(study: OpenStudy, sample: Mapping[str, Any], *, mark: str | None = None, note: str | None = None) -> None:
    """Change the mark of a sample, its note, or both.

    Parameters
    ----------
    study : OpenStudy
        The open study.
    sample : mapping
        Row of the table `samples`, with the short class name.
    mark : str, optional
        The new mark; "" for none.
    note : str, optional
        The new note.
    """
    kept, name = study_marks(study), str(sample["id"])
    before = kept.marks.get(name, Mark())
    changed = replace(
        before,
        mark=before.mark if mark is None else mark,
        note=before.note if note is None else note,
        class_name=str(sample["class_name"]),
        num_samples=len(cached_tables(study.path, study.stamp).samples),
    )
    if not kept.reason:
        try:
            change_mark(Path(study.path), name, changed)
            return
        except MarksError:  # another program has made the folder read-only or damaged the file; `study_marks` says so
            pass
    in_session = _IN_SESSION.read(study.path, {})
    _IN_SESSION.write(study.path, {name: Mark(), **with_mark(in_session, name, changed)})


def show_mark_buttons(study: OpenStudy, sample: Mapping[str, Any]) -> None:
    """Show buttons that mark a sample; call it before its picture, so that who sees it marks it and no other one."""
    current = study_marks(study).marks.get(str(sample["id"]), Mark())
    for mark, (label, icon, shortcut) in BUTTONS.items():
        is_set = current.mark == mark
        st.button(
            label,
            icon=icon,
            shortcut=shortcut,
            type="primary" if is_set else "secondary",
            key=f"mark {mark} of {study.path}",
            on_click=guarded(partial(set_mark, study, sample, mark="" if is_set else mark)),
        )


def show_note(study: OpenStudy, sample: Mapping[str, Any]) -> None:
    """Show a field for a note and, if marks are not kept with the study, where they are."""
    kept = study_marks(study)
    key = f"note of {sample['sample']} of {study.path}"

    def save_note() -> None:
        set_mark(study, sample, note=str(st.session_state[key]))

    note = kept.marks.get(str(sample["id"]), Mark()).note
    st.text_input("Note", note, max_chars=MOST_NOTE, key=key, on_change=guarded(save_note))
    if kept.reason:
        st.caption(f":orange[:material/warning:] {kept.reason}")


def mark_column(kept: StudyMarks, ids: pd.Series) -> pd.Series:
    """The mark of each sample, "" for none."""
    marks = {name: mark.mark for name, mark in kept.marks.items()}
    return pd.Series([marks.get(name, "") for name in ids], index=ids.index, dtype=object)


def marked_table(study: OpenStudy, kept: StudyMarks) -> pd.DataFrame:
    """The table of `core.marks`, for the marks that this session sees."""
    key = repr(sorted(kept.marks.items(), key=itemgetter(0)))
    return _cached_marked_table(study.path, study.stamp, key, kept.marks)


@st.cache_data(max_entries=16, show_spinner=False)
def _cached_marked_table(path: str, stamp: tuple[int, ...], key: str, _marks: Mapping[str, Mark]) -> pd.DataFrame:
    """The table of marks; `key` tells them from others, and is quicker to hash than the marks themselves."""
    return marked_samples(cached_tables(path, stamp), _marks)


def _marks_in_folder(study: OpenStudy) -> Mapping[str, Mark]:
    file = Path(study.path) / MARKS_FILE
    try:
        stat = file.stat()
    except FileNotFoundError:
        return {}
    except OSError:
        return read_marks(Path(study.path))  # whose error says what is wrong
    return _cached_marks(study.path, (stat.st_mtime_ns, stat.st_size, stat.st_ino))


def _marks_of_others(study: OpenStudy) -> Mapping[str, Mark]:
    try:
        return _marks_in_folder(study)
    except MarksError:
        return {}


@st.cache_resource(max_entries=8, show_spinner=False)
def _cached_marks(path: str, stamp: tuple[int, ...]) -> Mapping[str, Mark]:
    return read_marks(Path(path))


def _with_content(marks: Mapping[str, Mark]) -> dict[str, Mark]:
    """Without empty marks, by which a session hides marks in the folder."""
    return {name: mark for name, mark in marks.items() if mark.mark or mark.note}
