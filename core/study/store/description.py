"""Name, note and tags that a person gives a study, kept in `description.json` in the study's folder.

They describe the study to people and change no number. Several programs may write at the same time: each writer holds
a lock, reads what there is, changes its own fields and replaces the file in one step.
"""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from core.data.files import replace_file
from core.study.store.locks import held_lock
from core.study.store.opening import StudyError
from core.study.store.study_json import printable, read_json_object

DESCRIPTION_FILE, DESCRIPTION_LOCK = "description.json", ".description.lock"
MOST_NAME, MOST_NOTE, MOST_TAG, MOST_TAGS = 80, 2_000, 40, 20  # characters, characters, characters, tags
_WAIT_S = 5.0  # for another writer, which needs milliseconds


@dataclass(frozen=True)
class Description:
    """What a person says of a study.

    Attributes
    ----------
    name : str
        What the study is called in lists and charts; "" for the name of its folder.
    note : str
        Any text.
    tags : tuple of str
        Distinct words, in the order in which they were given.
    """

    name: str = ""
    note: str = ""
    tags: tuple[str, ...] = ()


def read_description(folder: Path) -> Description:
    """Return what a person says of a study; an empty description where there is none.

    Raises
    ------
    StudyError
        If `description.json` cannot be read, or is damaged; the message says how to start over.
    """
    path = folder / DESCRIPTION_FILE
    try:
        content = read_json_object(path, DESCRIPTION_FILE)
    except (FileNotFoundError, NotADirectoryError):
        return Description()
    except OSError as error:
        raise StudyError(f"{path} cannot be read: {error.strerror}.") from error
    except ValueError as error:
        raise StudyError(f"{error} Delete {path} to start over.") from error
    faults = _faults(content)
    if faults:
        raise StudyError(f"{path} is damaged: {'; '.join(faults)}. Delete it to start over.")
    return Description(content.get("name", ""), content.get("note", ""), tuple(content.get("tags", ())))


def change_description(folder: Path, **changes: Any) -> Description:
    """Change some fields of what a person says of a study, and return the result.

    Parameters
    ----------
    folder : Path
        The study's folder.
    **changes
        Fields of `Description` with their new values; the others stay as they are, even if another program changes
        them at the same time. Spaces at both ends are removed, and so are empty and repeated tags.

    Raises
    ------
    ValueError
        If a text is too long, or there are too many tags.
    StudyError
        If the folder may not be written, or the present description is damaged.
    """
    cleaned = checked_description(**changes)
    try:
        with held_lock(folder / DESCRIPTION_LOCK, _WAIT_S):
            description = replace(read_description(folder), **{name: getattr(cleaned, name) for name in changes})
            text = json.dumps(asdict(description), indent=1, ensure_ascii=False)
            replace_file(folder / DESCRIPTION_FILE, lambda scratch: scratch.write_text(text + "\n", encoding="utf-8"))
    except OSError as error:
        raise StudyError(
            f"{folder / DESCRIPTION_FILE} cannot be written: {error.strerror or error}. Copy the study to a folder "
            "that you may write."
        ) from error
    return description


def checked_description(*, name: str = "", note: str = "", tags: Sequence[str] = ()) -> Description:
    """Return a description without superfluous spaces and tags.

    Raises
    ------
    ValueError
        With everything that is too long or not printable.
    """
    tidy_name, tidy_note = " ".join(printable(name).split()), printable(note).strip()
    words = [" ".join(printable(tag).split()) for tag in tags]
    tidy_tags = tuple(dict.fromkeys(filter(None, words)))
    description = Description(tidy_name, tidy_note, tidy_tags)
    faults = _faults(asdict(description) | {"tags": list(tidy_tags)})
    if faults:
        raise ValueError(f"{'; '.join(faults)}. Write less.")
    return description


def _faults(content: dict[str, Any]) -> list[str]:
    """What is wrong with the fields of a description."""
    faults = []
    for field, most in {"name": MOST_NAME, "note": MOST_NOTE}.items():
        value = content.get(field, "")
        if not isinstance(value, str) or len(value) > most:
            faults.append(f"{field} must be a text of at most {most:,} characters; got {_short(value)}")
    tags = content.get("tags", [])
    if not isinstance(tags, list) or len(tags) > MOST_TAGS:
        return [*faults, f"tags must be a list of at most {MOST_TAGS} texts; got {_short(tags)}"]
    for tag in tags:
        if not isinstance(tag, str) or not 0 < len(tag) <= MOST_TAG:
            faults.append(f"tags must be texts of 1 to {MOST_TAG} characters; got {_short(tag)}")
    return faults


def _short(value: object) -> str:
    """A value for a message: of texts and lists the length, because they may be long."""
    if isinstance(value, str | list | tuple):
        return f"{len(value):,} {'characters' if isinstance(value, str) else 'entries'}"
    return type(value).__name__
