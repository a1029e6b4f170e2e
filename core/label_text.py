"""Labels that are texts: which of them stand for no label, and which are one label written in several ways."""

import re
import unicodedata
from collections.abc import Iterable

# What programs write where a label is missing. In small letters "none" and "na" may well be classes.
MISSING = frozenset({"", "nan", "NaN", "NAN", "NA", "N/A", "n/a", "<NA>", "<na>", "None", "NaT", "null", "NULL"})
_NUMBER = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?")
_NAMED = 3  # groups that a note names


def as_number(text: str) -> float | None:
    """The value of a label that is written as a number; None of any other."""
    return float(text) if _NUMBER.fullmatch(text.strip()) else None


def alike_labels(labels: Iterable[str]) -> list[tuple[str, ...]]:
    """Groups of labels that differ in no more than case, spaces, quotes, invisible characters or form of a number.

    >>> alike_labels(["Cat", "dog", "cat", "1.0", "1"])
    [('Cat', 'cat'), ('1', '1.0')]
    """
    groups: dict[object, list[str]] = {}
    for label in dict.fromkeys(labels):
        groups.setdefault(_key(label), []).append(label)
    return [tuple(sorted(group)) for group in groups.values() if len(group) > 1]


def alike_note(labels: Iterable[str]) -> str:
    """One sentence that names the groups of `alike_labels`; "" where there are none."""
    groups = alike_labels(labels)
    if not groups:
        return ""
    named = "; ".join(" and ".join(map(repr, group)) for group in groups[:_NAMED])
    more = f"; and {len(groups) - _NAMED:,} more" if len(groups) > _NAMED else ""
    return f"Labels that may mean the same are measured as different classes: {named}{more}. Write each in one way."


def _key(label: str) -> object:
    """What alike labels have in common."""
    visible = "".join(char for char in unicodedata.normalize("NFC", label) if unicodedata.category(char) != "Cf")
    text = visible.strip().strip("\"'").strip()
    number = as_number(text)
    return unicodedata.normalize("NFC", text.casefold()) if number is None else number
