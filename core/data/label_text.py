"""What labels are: texts that stand for no label, labels written in several ways, and targets that are no labels."""

import re
import unicodedata
from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray

# What programs write where a label is missing. In small letters "none" and "na" may well be classes.
MISSING = frozenset({"", "nan", "NaN", "NAN", "NA", "N/A", "n/a", "<NA>", "<na>", "None", "NaT", "null", "NULL"})
_NUMBER = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?")
_NAMED = 3  # groups that a note names
_SMOOTHNESS = " Measure such targets with core.smoothness_index(features, targets)."


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


def describe_targets(array: NDArray[Any]) -> str:
    """Say what targets that are no labels look like, and what to do; "." where they look like nothing usual.

    The text continues a sentence: ", one-hot rows. Pass labels.argmax(axis=1)."
    """
    if array.dtype.kind in "OSU" and array.ndim == 2:
        return ", a column. Pass labels.squeeze()." if array.shape[1] == 1 else ", a table. Pass the column of labels."
    if array.dtype.kind not in "biuf" or array.size == 0 or array.ndim not in (1, 2):
        return "."
    if array.ndim == 2 and array.shape[1] == 1 and (array == np.floor(array)).all():
        return ", a column. Pass labels.reshape(-1), as integers."
    if array.ndim == 1 or array.shape[1] == 1:
        if np.isfinite(array).all() and (array == np.floor(array)).all():
            return (
                ", whole numbers stored as floats. Convert them with labels.astype(int), or labels.long() in PyTorch."
            )
        return f", targets of a regression.{_SMOOTHNESS}"
    if np.isin(array, (0, 1)).all():
        if (array.sum(axis=1) == 1).all():
            return ", one-hot rows. Pass labels.argmax(axis=1)."
        return f", several labels a sample (multi-label); SI needs a single one.{_SMOOTHNESS}"
    if array.dtype.kind == "f" and (array >= 0).all() and np.allclose(array.sum(axis=1), 1, atol=1e-3):
        return ", probabilities of classes. Pass labels.argmax(axis=1)."
    return f", {array.shape[1]} targets a sample, as of a regression.{_SMOOTHNESS}"


def _key(label: str) -> object:
    """What alike labels have in common."""
    visible = "".join(char for char in unicodedata.normalize("NFC", label) if unicodedata.category(char) != "Cf")
    text = visible.strip().strip("\"'").strip()
    number = as_number(text)
    return unicodedata.normalize("NFC", text.casefold()) if number is None else number
