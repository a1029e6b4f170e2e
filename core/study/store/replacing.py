"""Replacing the output of an earlier run by that of a new one, all or nothing.

The folder of the earlier run is renamed to `.NAME.replaced` beside it, and removed when the new output is complete. If
the new run fails or is stopped, what it has written is removed and the earlier folder gets its name back. If its
process is killed, the earlier output stays under the other name, from which the next run with `overwrite` starts.

Only an output is ever removed or renamed: a folder with a record of its kind that contains nothing else than such a run
writes, and what other commands and the explorer write beside a study. The marks of samples go by their ids, so they are
carried over to the new output.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from core.study.store.locks import is_locked
from core.study.store.marks import MARKS_FILE, carry_marks, read_marks
from core.study.store.opening import StudyError
from core.study.store.study_json import read_json_object
from core.study.store.tables.schemas import RANKING_TABLES, TABLES

_ANY_OUTPUT = (".lock", ".*.tmp", ".*.tmp.keras")
_STUDY_TABLES = tuple(f"{name}.parquet" for name in (*TABLES, "history"))
_BESIDE_STUDY = (  # of cut, blocks and the explorer
    *("timing.json", "blocks.json"),
    *("marks*.json", ".marks.lock", "description.json", ".description.lock"),
)
_CONTENTS: Mapping[str, tuple[str, ...]] = {  # patterns of what a run writes, by the file that records it
    "study.json": (*_STUDY_TABLES, "parts", "epochs", *_BESIDE_STUDY),
    "training.json": ("history.parquet", "head.keras", "final.keras", "checkpoint*", "cache"),
    "ranking.json": tuple(f"{name}.parquet" for name in RANKING_TABLES),
}


@contextmanager
def replaced(folder: Path, record: str, *, overwrite: bool = True) -> Iterator[None]:
    """Set the output in a folder aside while a new one is written to it; see the module's docstring.

    Parameters
    ----------
    folder : Path
        The folder, which may be missing.
    record : {"study.json", "training.json", "ranking.json"}
        The file that the output must have.
    overwrite : bool
        Without, nothing is done: the run goes on with what the folder holds.

    Raises
    ------
    StudyError
        If the folder holds something else, or another run writes to it.
    """
    folder = Path.cwd() / folder  # "." has no name
    if not overwrite or not (folder / record).exists():
        yield  # the run itself refuses a folder of anything else
        return
    refuse_to_replace(folder, record)
    aside = folder.with_name(f".{folder.name}.replaced")
    _set_aside(folder, aside, record)
    try:
        yield
    except BaseException:
        _carry_all_marks(folder, aside)
        shutil.rmtree(folder, ignore_errors=True)
        aside.rename(folder)
        raise
    _carry_all_marks(aside, folder)
    shutil.rmtree(aside)


def refuse_to_replace(folder: Path, record: str) -> None:
    """Raise a StudyError unless a folder is the output of a run that is over, and holds nothing else."""
    if folder.is_symlink() or not {"format", "state"} <= _recorded(folder / record).keys():
        raise StudyError(
            f"overwrite must replace only a folder, no link, whose {record} says its format and state; {folder} is "
            "another one. Choose another folder."
        )
    others = _other_content(folder, record)
    if others:
        raise StudyError(
            f"overwrite must replace only what a run has written; {folder} holds {', '.join(others[:3])}, too. Move it "
            "elsewhere, or choose another folder."
        )
    for marks in (folder / MARKS_FILE, *folder.glob(f"*/{MARKS_FILE}")):
        read_marks(marks.parent)  # which are carried over
    if is_locked(folder / ".lock"):
        raise StudyError(f"{folder} is being written by another run. Wait for it, or choose another folder.")


def _other_content(folder: Path, record: str) -> list[str]:
    """Return what a folder holds besides the output of a run; a ranking holds the studies of its networks."""
    allowed = (record, *_ANY_OUTPUT, *_CONTENTS[record])
    others = []
    for path in sorted(folder.iterdir()):
        if any(fnmatchcase(path.name, pattern) for pattern in allowed):
            continue
        if record == "ranking.json" and path.is_dir() and not path.is_symlink():
            inner = _other_content(path, "study.json")
            others += [f"{path.name}/{name}" for name in inner]
        else:
            others.append(path.name)
    return others


def _set_aside(folder: Path, aside: Path, record: str) -> None:
    """Rename the folder; where a killed run has left an earlier output aside, that of the two which is complete."""
    if aside.exists():
        refuse_to_replace(aside, record)
        if _recorded(folder / record).get("state") == "complete":
            _carry_all_marks(aside, folder)
            shutil.rmtree(aside)
        else:
            _carry_all_marks(folder, aside)
            shutil.rmtree(folder)
            return
    folder.rename(aside)


def _carry_all_marks(source: Path, target: Path) -> None:
    """Carry over the marks of a study, or of each study of a ranking."""
    for marks in (source / MARKS_FILE, *source.glob(f"*/{MARKS_FILE}")):
        carry_marks(marks.parent, target / marks.parent.relative_to(source))


def _recorded(record: Path) -> dict[str, Any]:
    """Return the content of a record; empty where there is none that can be read."""
    try:
        return read_json_object(record, record.name)
    except (OSError, ValueError):
        return {}
