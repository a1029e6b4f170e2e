"""Marks of samples: what a person says of them, kept in `marks.json` beside the tables of a study.

A mark goes by the sample's id, so that it stays with its sample when the study is measured again. Several processes may
mark samples of the same study: each change is made under a lock to what the file holds at that moment, and the file is
replaced in one step. A file that cannot be read is never replaced.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pandas as pd

from core.data.errors import DataError
from core.data.files import read_file, replace_file
from core.study.store.locks import LockTakenError, held_lock
from core.study.store.opening import Study, StudyError
from core.study.store.tables.class_names import sample_classes, short_classes

MARKS = ("label error", "duplicate", "fine")
MARKS_FILE, MARKS_LOCK = "marks.json", ".marks.lock"
MOST_NOTE = 500  # characters
COLUMNS = ["sample", "id", "split", "class_name", "mark", "note", "changed"]
_FORMAT = 1
_MOST_BYTES = 64 << 20
_LOCK_S = 10.0
_NUMBERED = re.compile(r"((train|test)/)?\d+")  # ids that were not given, but counted


class MarksError(StudyError):
    """The marks of a study cannot be read or written."""


@dataclass(frozen=True)
class Mark:
    """What a person says of a sample.

    Attributes
    ----------
    mark : str
        One of `MARKS`; "" for a note alone.
    note : str
        One line.
    class_name : str
        The sample's class when it was marked.
    num_samples : int
        Number of samples of the study in which it was marked.
    changed : str
        When, UTC.
    """

    mark: str = ""
    note: str = ""
    class_name: str = ""
    num_samples: int = 0
    changed: str = ""

    def __post_init__(self) -> None:
        if self.mark not in ("", *MARKS):
            raise ValueError(f"mark must be one of {', '.join(MARKS)}, or empty; got {self.mark!r}.")


Marks = Mapping[str, Mark]  # by the sample's id


def read_marks(folder: Path) -> dict[str, Mark]:
    """Read the marks in a study's folder; empty without any.

    Raises
    ------
    MarksError
        The file cannot be read, or holds anything else than marks.
    """
    path = folder / MARKS_FILE
    try:
        return _marks_in(json.loads(read_file(path, _MOST_BYTES)))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, TypeError, RecursionError, DataError) as error:
        reason = " ".join(str(error).split()).rstrip(".") or type(error).__name__
        raise MarksError(
            f"{MARKS_FILE} in {folder} must hold marks of samples; it cannot be read: {reason[:200]}. It is left as it "
            "is. Repair it, or move it elsewhere to start without marks."
        ) from error


def change_mark(folder: Path, sample: str, mark: Mark) -> dict[str, Mark]:
    """Set the mark of one sample, and return all marks; those of other samples stay as they are in the file.

    Parameters
    ----------
    folder : Path
        The study's folder.
    sample : str
        The sample's id.
    mark : Mark
        The new mark; one without mark and note removes that of the sample.

    Raises
    ------
    MarksError
        The file cannot be read or written, or another process has held it for ten seconds.
    """
    return _change(folder, lambda marks: with_mark(marks, sample, mark))


def carry_marks(source: Path, target: Path) -> None:
    """Add the marks in one folder to those in another one; of a sample that is marked in both, the later mark stays.

    A file that cannot be read is moved as it is, under a name that is free.

    Raises
    ------
    MarksError
        The marks cannot be written.
    """
    if not (source / MARKS_FILE).exists():
        return
    target.mkdir(parents=True, exist_ok=True)
    try:
        earlier = read_marks(source)
        _change(target, lambda marks: _merged(earlier, marks))
    except MarksError:
        _move_unread(source / MARKS_FILE, target)


def with_mark(marks: Marks, sample: str, mark: Mark) -> dict[str, Mark]:
    """The marks with that of one sample changed, or removed if it says nothing."""
    others = {name: other for name, other in marks.items() if name != sample}
    note = " ".join(mark.note.split())[:MOST_NOTE]
    if not mark.mark and not note:
        return others
    return others | {sample: replace(mark, note=note, changed=datetime.now(UTC).isoformat(timespec="milliseconds"))}


def marks_table(study: Study, marks: Marks | None = None) -> pd.DataFrame:
    """List the marked samples of a study, in the order of the samples; then marks of samples that it does not have.

    An id that is only a number, because none was given, could be another sample's in other data. So its mark counts for
    a sample of the same number only if its class and the number of samples are those of when it was marked.

    Parameters
    ----------
    study : Study
        The study.
    marks : mapping of str to Mark, optional
        By id; default those in the study's folder.

    Returns
    -------
    DataFrame
        sample (null where the study does not have the sample), id, split, class_name (its class now; where the study
        does not have it, when it was marked), mark, note, changed.

    Raises
    ------
    MarksError
        The file of the marks cannot be read.
    """
    marks = read_marks(study.path) if marks is None else marks
    if not marks:
        return pd.DataFrame(columns=COLUMNS).astype({"sample": "Int64"})
    rows = pd.DataFrame([{"id": name, **asdict(mark)} for name, mark in marks.items()])
    classes = sample_classes(study.samples)
    samples = study.samples[["sample", "id", "split"]].astype({"id": str, "split": str})
    samples = samples.assign(class_now=classes.map(short_classes(classes)).to_numpy(object))
    table = rows.merge(samples, on="id", how="left")
    same = (table["class_now"] == table["class_name"]) & (table["num_samples"] == len(samples))
    attached = table["sample"].notna() & (same | ~table["id"].map(lambda name: bool(_NUMBERED.fullmatch(name))))
    table["sample"] = table["sample"].where(attached).astype("Int64")
    table["split"] = table["split"].where(attached)
    table["class_name"] = table["class_now"].where(attached, table["class_name"])
    return table.sort_values(["sample", "id"], ignore_index=True)[COLUMNS]


def _marks_in(content: Any) -> dict[str, Mark]:
    """The marks in what the file holds."""
    if not isinstance(content, dict) or not isinstance(content.get("marks"), dict):
        raise ValueError("it must hold a JSON object with the fields format and marks, marks an object, too")
    if content.get("format") != _FORMAT:
        raise ValueError(f"its format must be {_FORMAT}; got {content.get('format')!r}")
    return {name: _mark(fields) for name, fields in content["marks"].items()}


def _mark(fields: Any) -> Mark:
    if not isinstance(fields, Mapping):
        raise ValueError(f"a mark must be an object; got {fields!r}")
    known = {name: fields[name] for name in Mark.__dataclass_fields__ if name in fields}
    mark = Mark(**known)
    for name, kind in (("note", str), ("class_name", str), ("num_samples", int), ("changed", str)):
        if not isinstance(getattr(mark, name), kind):
            raise ValueError(f"{name} must be {kind.__name__}; got {getattr(mark, name)!r}")
    return mark


def _change(folder: Path, change: Callable[[dict[str, Mark]], Mapping[str, Mark]]) -> dict[str, Mark]:
    """Change the file under its lock."""
    try:
        with held_lock(folder / MARKS_LOCK, _LOCK_S):
            marks = dict(change(read_marks(folder)))
            _write(folder / MARKS_FILE, marks)
    except LockTakenError as error:
        raise MarksError(
            f"the marks in {folder} must be free; another process has held them for {_LOCK_S:.0f} s. Try again."
        ) from error
    except OSError as error:
        raise MarksError(
            f"the marks in {folder} must be writable; got {error.strerror or error}. Copy the study to a folder of "
            "yours."
        ) from error
    return marks


def _write(path: Path, marks: Marks) -> None:
    """Replace the file in one step."""
    content = {"format": _FORMAT, "marks": {name: asdict(mark) for name, mark in sorted(marks.items())}}
    text = json.dumps(content, indent=1) + "\n"
    replace_file(path, lambda scratch: scratch.write_text(text, encoding="utf-8"))


def _merged(earlier: Marks, later: Marks) -> dict[str, Mark]:
    """All marks; of a sample that is marked in both, the one that was changed last."""
    marks = dict(earlier)
    for name, mark in later.items():
        if name not in marks or marks[name].changed <= mark.changed:
            marks[name] = mark
    return marks


def _move_unread(file: Path, target: Path) -> None:
    """Move a file that cannot be read under a name that is free: marks.json, marks.1.json, …"""
    number, moved = 0, target / MARKS_FILE
    while moved.exists():
        number += 1
        moved = target / f"marks.{number}.json"
    try:
        os.replace(file, moved)
    except OSError as error:
        raise MarksError(
            f"the marks in {file.parent} must stay with the study; {moved} cannot be written: {error.strerror}."
        ) from error
