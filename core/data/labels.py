"""Labels, or names, in files, one a sample: NumPy arrays, lines of text, or a column of a table."""

import csv
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from core.data.arrays import columns, read_array, read_column
from core.data.errors import DataError
from core.data.sampling import name_some
from core.label_text import MISSING, as_number

SUFFIXES = (".npy", ".txt", ".csv", ".parquet")
_INTEGER = re.compile(r"0|-?[1-9][0-9]*")  # the one way to write a number: 01, +1 and 1_0 are texts
_MISSING = {"nan", "na", "n/a", "none", "null", "<na>"}
_HEADERS = {
    "labels": {"label", "labels", "class", "classes", "class_name", "category", "target", "y"},
    "ids": {"id", "ids", "name", "names", "file", "filename", "image", "path"},
}
_DELIMITERS = (",", ";", "\t")
_UNNAMED = re.compile(r"\s*|Unnamed: \d+|__index_level_\d+__")  # columns of an index, as pandas writes and reads it


def read_labels(name: str, num_samples: int) -> NDArray[Any]:
    """Labels from "FILE" or "FILE:COLUMN".

    .npy : integers or strings of shape (n,). .txt : one label a line. .csv : one column with or without a header, which
    is known by the number of lines; or a header and several columns, separated by commas, semicolons or tabs, of which
    COLUMN is taken. .parquet : COLUMN. It may be left out where only one column has a name: an index without a name, as
    `DataFrame.to_csv` writes it, is never the labels. Text that is whole numbers throughout, each written the usual
    way and below 2⁶³, becomes numbers; else all of it stays text, so that "1", "01" and "1_0" are three classes. The
    only column of a .csv is read without the quotes around a value.

    Returns
    -------
    np.ndarray, integers or strings, shape (num_samples,)

    Raises
    ------
    ValueError
        If there is no such file, of a kind known here, or no such column.
    DataError
        If the number of labels is not `num_samples`, a label is missing, the first is a header, the labels are real
        numbers, or the file is damaged.
    """
    found, path = _read(name, num_samples, "labels")
    return checked(_numbers(found, path) if isinstance(found, _Lines) else found, num_samples, str(path))


def read_ids(name: str, num_samples: int) -> NDArray[np.str_]:
    """What the samples are called, from "FILE" or "FILE:COLUMN" as `read_labels` takes them; text stays as it stands.

    Raises
    ------
    ValueError, DataError
        As `read_labels`; also where an id stands twice.
    """
    found, path = _read(name, num_samples, "ids")
    return checked_ids(
        np.array([line.strip() for line in found.texts]) if isinstance(found, _Lines) else found, num_samples, path
    )


def checked_ids(ids: NDArray[Any], num_samples: int, place: object) -> NDArray[np.str_]:
    """The ids as text, if they are integers or strings, one for each sample, and distinct."""
    names = checked(ids, num_samples, str(place), "ids").astype(np.str_)
    values, counts = np.unique(names, return_counts=True)
    if len(values) < len(names):
        raise DataError(f"ids in {place} must be distinct; got {str(values[counts.argmax()])!r} more than once.")
    return names


@dataclass(frozen=True)
class _Lines:
    """Texts, one a sample, and the line of the file that each of them ends in, counted from 1."""

    texts: list[str]
    numbers: list[int]


def _read(name: str, num_samples: int, what: str) -> tuple[NDArray[Any] | _Lines, Path]:
    """An array, or lines of text, and the file."""
    path, column = _split(name)
    kind = path.suffix.lower()
    if not path.is_file() or kind not in SUFFIXES:
        raise ValueError(f"{what} must be in an existing file of {', '.join(SUFFIXES)}; got {name!r}. Check the path.")
    if kind == ".npy":
        return read_array(path), path
    if kind == ".parquet":
        return read_column(path, _chosen(column, columns(path), path, what)), path
    file_lines = _text(path).splitlines()
    if kind == ".csv":
        lines = _csv_column(file_lines, column, path, num_samples, what)
    else:
        _refuse_numbered(file_lines, path, what)
        lines = _Lines(file_lines, list(range(1, len(file_lines) + 1)))
    if not column:
        _refuse_header(lines.texts, path, num_samples, what)
    return lines, path


def column_note(name: str, what: str) -> str:
    """Which column is read where none was named and there are several, and an index is passed over; else ""."""
    path, column = _split(name)
    kind = path.suffix.lower()
    if column or kind not in (".csv", ".parquet") or not path.is_file():
        return ""
    rows = _csv_rows(_text(path).splitlines(), path)[0] if kind == ".csv" else [columns(path)]
    if not rows or len(rows[0]) < 2:
        return ""
    return f"The {what} are the column {_chosen('', rows[0], path, what)!r} of {path}, the only one that has a name."


def names_file(name: str) -> bool:
    """Whether "FILE" or "FILE:COLUMN" names a file that exists."""
    return _split(name)[0].is_file()


def checked(labels: NDArray[Any], num_samples: int, place: str, what: str = "labels") -> NDArray[Any]:
    """The labels, or ids, if they are integers or strings, one for each sample."""
    if labels.dtype.kind == "O" and all(isinstance(label, str) for label in labels.ravel().tolist()):
        labels = labels.astype(np.str_)
    if labels.ndim == 1 and labels.dtype.kind == "f" and what == "labels":
        _refuse_real(labels.tolist(), place)
    if labels.ndim != 1 or labels.dtype.kind not in "biuU":
        raise DataError(
            f"{what} in {place} must be integers or strings of shape (n,); got {labels.dtype} of shape {labels.shape}. "
            "Convert them first, as with labels.astype(int)."
        )
    if what == "labels" and labels.dtype.kind == "U":
        _refuse_missing(labels, place)
    if len(labels) != num_samples:
        raise DataError(f"{what} in {place} must be {num_samples:,}, one for each sample; got {len(labels):,}.")
    return labels


def _refuse_missing(labels: NDArray[Any], place: str) -> None:
    """Texts that stand for no label would be a class of their own."""
    is_missing = np.array([label.strip() in MISSING for label in labels.tolist()], dtype=bool)
    if is_missing.any():
        raise DataError(
            f"labels in {place} must not be missing; got {str(labels[is_missing.argmax()])!r} and the like for "
            f"{is_missing.sum():,} of {len(labels):,} samples. Drop those samples, or rename the class."
        )


def _refuse_real(values: Sequence[float], place: str) -> None:
    """Real numbers that are not all whole are a quantity, not classes."""
    fraction = next((value for value in values if not float(value).is_integer()), None)
    if fraction is not None and np.isfinite(values).all():
        raise DataError(
            f"labels in {place} must be classes; got real numbers such as {fraction:g}. Divide them into classes; or "
            "measure features against a continuous target in Python, with core.smoothness_index."
        )


def _split(name: str) -> tuple[Path, str]:
    """A file, and the column that may follow it after a colon."""
    path, colon, column = name.rpartition(":")
    return (Path(path), column) if colon and not Path(name).exists() and Path(path).is_file() else (Path(name), "")


def _chosen(column: str, there: Sequence[str], path: Path, what: str) -> str:
    """The column that was named, or the only one that has a name."""
    named = [name for name in there if not _UNNAMED.fullmatch(name)]
    if not column and len(named) == 1:
        return named[0]
    if not column and len(there) == 1:
        return there[0]
    if column and there.count(column) == 1:
        return column
    usual = [name for name in named if name.strip().casefold() in _HEADERS[what]]
    example = f"{path}:{(usual or named[-1:] or ['COLUMN'])[0]}"
    raise ValueError(
        f"{what} must name one of the columns of {path}, {name_some(named or list(there))}; got {column!r}. Write it "
        f"after the file, as in {example}."
    )


def _csv_column(lines: list[str], column: str, path: Path, num_samples: int, what: str) -> _Lines:
    """The only column, whose header is known by the number of lines, or the named one."""
    rows, numbers = _csv_rows(lines, path)
    if not rows or (len(rows[0]) == 1 and not column):
        first = int(len(rows) == num_samples + 1)
        return _Lines([row[0] for row in rows[first:]], numbers[first:])
    try:
        chosen = _chosen(column, rows[0], path, what)
    except ValueError:
        _refuse_data_as_header(rows, path, what)
        raise
    place = rows[0].index(chosen)
    if any(len(row) != len(rows[0]) for row in rows):
        raise DataError(
            f"the lines of {path} must all have {len(rows[0])} columns; some have more or fewer. Write it again."
        )
    return _Lines([row[place] for row in rows[1:]], numbers[1:])


def _refuse_data_as_header(rows: list[list[str]], path: Path, what: str) -> None:
    """Say that a table has no header where its first line holds numbers, or texts that stand below them as well.

    A usual name of a column is none of them.
    """
    is_title = any(cell.strip().casefold() in names for cell in rows[0] for names in _HEADERS.values())
    others = [set(column) for column in zip(*rows[1:], strict=False)]
    is_repeated = any(cell.strip() and cell in below for cell, below in zip(rows[0], others, strict=False))
    has_numbers = any(as_number(cell) is not None for cell in rows[0])
    if is_title or not (is_repeated or has_numbers):
        return
    raise ValueError(
        f"{what} must be in a column that the first line of {path} names; that line, {name_some(rows[0])}, looks like "
        f"data. Add a line before it that names the {len(rows[0])} columns, and write the name of the column after the "
        f"file, as in {path}:{what.removesuffix('s')}."
    )


def _csv_rows(lines: list[str], path: Path) -> tuple[list[list[str]], list[int]]:
    """The cells of each line that is not empty, and the number of the line in the file.

    In several columns where the first line has some, else one cell a line as it stands, and empty lines count.
    """
    for delimiter in _DELIMITERS:
        if delimiter not in "".join(lines[:1]):
            continue
        try:
            reader = csv.reader(lines, delimiter=delimiter)
            numbered = [(row, reader.line_num) for row in reader if row]
        except csv.Error as error:  # a cell of more than 128 KiB, as behind a quotation mark that nothing closes
            raise DataError(f'{path} must be a table of short texts; got: {error}. Look for a stray ".') from error
        if delimiter == "," or len({len(row) for row, _ in numbered}) == 1:
            return [row for row, _ in numbered], [number for _, number in numbered]
    return [[_unquoted(line)] for line in lines], list(range(1, len(lines) + 1))


def _unquoted(line: str) -> str:
    """The only value of a line of a .csv, without the quotes around it."""
    text = line.strip()
    is_quoted = len(text) > 1 and text[0] == text[-1] == '"'
    return text[1:-1].replace('""', '"') if is_quoted else line


def _numbers(lines: _Lines, path: Path) -> NDArray[Any]:
    """Lines as integers where all are, else as they stand."""
    texts = [line.strip() for line in lines.texts]
    if "" in texts:
        more = f" and {texts.count('') - 1:,} more" if texts.count("") > 1 else ""
        line = lines.numbers[texts.index("")]
        raise DataError(f"labels in {path} must not be empty; got nothing in line {line}{more}. Drop such samples.")
    are_integers = [_INTEGER.fullmatch(text) is not None for text in texts]
    if all(are_integers) and all(abs(int(text)) < 2**63 for text in texts):
        return np.array([int(text) for text in texts], dtype=np.int64)
    others = {text for text, is_integer in zip(texts, are_integers, strict=True) if not is_integer}
    if any(are_integers) and others and {text.lower() for text in others} <= _MISSING:
        count = len(texts) - sum(are_integers)
        raise DataError(
            f"labels in {path} must not be missing; got {min(others)!r} among numbers, {count:,} of {len(texts):,}. "
            "Drop such samples."
        )
    numbers = [number for number in map(as_number, texts) if number is not None]
    if len(numbers) == len(texts):
        _refuse_real(numbers, str(path))
    return np.array(texts, dtype=np.str_)


def _refuse_header(lines: list[str], path: Path, num_samples: int, what: str) -> None:
    """As many lines as samples, the first of them a header: each label would stand beside the next sample."""
    if len(lines) != num_samples or num_samples < 2:
        return
    first, others = lines[0].strip().casefold(), [line.strip() for line in lines[1:]]
    is_title = first in _HEADERS[what] or first.startswith("#")
    only_number_missing = first and as_number(first) is None and all(_INTEGER.fullmatch(text) for text in others)
    if lines[0] in lines[1:] or not (is_title or (what == "labels" and only_number_missing and first not in _MISSING)):
        return
    raise DataError(
        f"{what} in {path} must be {num_samples:,}, one for each sample; got the header {lines[0]!r} and "
        f"{len(others):,}. Add what is missing; if the first line is no header, write that name in another way."
    )


def _refuse_numbered(lines: list[str], path: Path, what: str) -> None:
    """Lines such as "0,cat" and "1,dog" are a table, and would each be a class of their own."""
    starts = [re.match(r"(\d+)[,;\t]", line) for line in lines]
    numbers = [int(start[1]) for start in starts if start]
    if len(numbers) == len(lines) > 1 and numbers in (list(range(len(lines))), list(range(1, len(lines) + 1))):
        raise DataError(
            f"{what} in {path} must be one a line; got numbered lines such as {lines[0]!r}. Leave the numbers out, or "
            "name the file .csv."
        )


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise DataError(f"{path} must be text in UTF-8; got bytes that are none. Save it again.") from error
