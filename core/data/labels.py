"""Labels and ids of samples in files: NumPy arrays, lines of text, or a column of a table."""

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
from core.data.label_text import MISSING, as_number, describe_targets
from core.data.sampling import name_some

SUFFIXES = (".npy", ".txt", ".csv", ".parquet")
_INTEGER = re.compile(r"0|-?[1-9][0-9]*")  # the canonical form only: 01, +1 and 1_0 are texts
_MISSING = {"nan", "na", "n/a", "none", "null", "<na>"}
_HEADERS = {  # usual names of the column of labels or ids
    "labels": {"label", "labels", "class", "classes", "class_name", "category", "target", "y"},
    "ids": {"id", "ids", "name", "names", "file", "filename", "image", "path"},
}
_DELIMITERS = (",", ";", "\t")
_UNNAMED = re.compile(r"\s*|Unnamed: \d+|__index_level_\d+__")  # columns with an index, as named by pandas


def read_labels(name: str, num_samples: int) -> NDArray[Any]:
    """Read labels from "FILE" or "FILE:COLUMN".

    ======== ==========================================================================================================
    .npy     Integers or strings of shape (n,).
    .txt     One label per line.
    .csv     One column with or without a header, which is recognized by the number of lines; or a header and several
             columns, separated by commas, semicolons or tabs, of which COLUMN is read.
    .parquet The column COLUMN.
    ======== ==========================================================================================================

    COLUMN may be left out if only one column has a name: an unnamed index, as written by `DataFrame.to_csv`, is never
    taken for the labels. Labels in text files become integers if all of them are whole numbers in canonical form with
    absolute values below 2⁶³; otherwise all of them stay text, so that "1", "01" and "1_0" are three classes. In a .csv
    file with a single column, quotes around a value are removed.

    Parameters
    ----------
    name : str
        "FILE" or "FILE:COLUMN".
    num_samples : int
        Expected number of labels.

    Returns
    -------
    np.ndarray, integers or strings, shape (num_samples,)

    Raises
    ------
    ValueError
        If there is no such file or column, or the format of the file is not supported.
    DataError
        If the number of labels is not `num_samples`, a label is missing, the first line is a header, the labels are
        real numbers, or the file is damaged.
    """
    values, path = _read(name, num_samples, "labels")
    if isinstance(values, _Lines):
        values = _parse_labels(values, path)
    return check_labels(values, num_samples, str(path))


def read_ids(name: str, num_samples: int) -> NDArray[np.str_]:
    """Read the names of the samples from "FILE" or "FILE:COLUMN".

    The formats are those of `read_labels`, but numbers in text files stay text.

    Parameters
    ----------
    name : str
        "FILE" or "FILE:COLUMN".
    num_samples : int
        Expected number of ids.

    Returns
    -------
    np.ndarray of str, shape (num_samples,)

    Raises
    ------
    ValueError, DataError
        As `read_labels`; also if an id occurs twice.
    """
    values, path = _read(name, num_samples, "ids")
    if isinstance(values, _Lines):
        values = np.array([text.strip() for text in values.texts])
    return check_ids(values, num_samples, path)


def check_ids(ids: NDArray[Any], num_samples: int, source: object) -> NDArray[np.str_]:
    """Return the ids as text, after checking that they are integers or strings, one per sample, and unique.

    Parameters
    ----------
    ids : np.ndarray
        The ids as read.
    num_samples : int
        Expected number of ids.
    source : object
        Where the ids were read from, for error messages.

    Raises
    ------
    DataError
        If the ids are of another type, if their number differs, or if an id occurs twice.
    """
    names = check_labels(ids, num_samples, str(source), "ids").astype(np.str_)
    values, counts = np.unique(names, return_counts=True)
    if len(values) < len(names):
        raise DataError(
            f"ids in {source} must be distinct; got {str(values[counts.argmax()])!r} more than once. Rename one."
        )
    return names


@dataclass(frozen=True)
class _Lines:
    """One text per sample, and the number of the line in the file that it ends in, counted from 1."""

    texts: list[str]
    numbers: list[int]


def _read(name: str, num_samples: int, what: str) -> tuple[NDArray[Any] | _Lines, Path]:
    """Read an array, or lines of text; also return the path of the file."""
    path, column = _split_column(name)
    kind = path.suffix.lower()
    if not path.is_file() or kind not in SUFFIXES:
        remedy = "Save them as one of these." if path.is_file() else "Check the path."
        raise ValueError(f"{what} must be in an existing file of {', '.join(SUFFIXES)}; got {name!r}. {remedy}")
    if kind == ".npy":
        return read_array(path), path
    if kind == ".parquet":
        return read_column(path, _choose_column(column, columns(path), path, what)), path
    file_lines = _read_text(path).splitlines()
    if kind == ".csv":
        lines = _csv_column(_csv_rows(file_lines, path), column, path, num_samples, what)
    else:
        _check_not_numbered(file_lines, path, what)
        lines = _Lines(file_lines, list(range(1, len(file_lines) + 1)))
    if not column:
        _check_no_header(lines.texts, path, num_samples, what)
    return lines, path


def column_note(name: str, what: str) -> str:
    """Say which column is read, if none was given and only one of several has a name; otherwise "".

    Parameters
    ----------
    name : str
        "FILE" or "FILE:COLUMN".
    what : {"labels", "ids"}
        What the file holds.
    """
    path, column = _split_column(name)
    kind = path.suffix.lower()
    if column or kind not in (".csv", ".parquet") or not path.is_file():
        return ""
    header = _csv_rows(_read_text(path).splitlines(), path).header if kind == ".csv" else columns(path)
    if len(header) < 2:
        return ""
    return f"The {what} are the column {_choose_column('', header, path, what)!r} of {path}, the only one with a name."


def names_file(name: str) -> bool:
    """Return whether "FILE" or "FILE:COLUMN" names a file that exists."""
    return _split_column(name)[0].is_file()


def check_labels(labels: NDArray[Any], num_samples: int, source: str, what: str = "labels") -> NDArray[Any]:
    """Return labels or ids, strings as NumPy strings, after checking that they are integers or strings, one per sample.

    Parameters
    ----------
    labels : np.ndarray
        The labels or ids as read.
    num_samples : int
        Expected number of them.
    source : str
        Where they were read from, for error messages.
    what : {"labels", "ids"}
        What they are; ids may contain texts such as "nan".

    Raises
    ------
    DataError
        If they are of another type, if their number differs, or if a label is missing.
    """
    if labels.dtype.kind == "O" and all(isinstance(label, str) for label in labels.ravel().tolist()):
        labels = labels.astype(np.str_)
    if labels.ndim == 1 and labels.dtype.kind == "f" and what == "labels":
        _check_no_real_numbers(labels.tolist(), source)
    if labels.ndim != 1 or labels.dtype.kind not in "biuU":
        likeness = describe_targets(labels) if what == "labels" else "."
        remedy = ". Convert them first, as with labels.astype(int)." if likeness == "." else likeness
        raise DataError(
            f"{what} in {source} must be integers or strings of shape (n,); got {labels.dtype} of shape "
            f"{labels.shape}{remedy}"
        )
    if what == "labels" and labels.dtype.kind == "U":
        _check_not_missing(labels, source)
    if len(labels) != num_samples:
        raise DataError(f"{what} in {source} must be {num_samples:,}, one for each sample; got {len(labels):,}.")
    return labels


def _check_not_missing(labels: NDArray[Any], source: str) -> None:
    """Raise an error for texts such as "nan", which would otherwise become a class."""
    is_missing = np.array([label.strip() in MISSING for label in labels.tolist()], dtype=bool)
    if is_missing.any():
        raise DataError(
            f"labels in {source} must not be missing; got {str(labels[is_missing.argmax()])!r} and the like for "
            f"{is_missing.sum():,} of {len(labels):,} samples. Drop those samples, or rename the class."
        )


def _check_no_real_numbers(values: Sequence[float], source: str) -> None:
    """Raise an error for finite numbers that are not all whole: these are a continuous target, not classes."""
    fraction = next((value for value in values if not float(value).is_integer()), None)
    if fraction is not None and np.isfinite(values).all():
        raise DataError(
            f"labels in {source} must be classes; got real numbers such as {fraction:g}. Divide them into classes; or "
            "measure features against a continuous target in Python, with core.smoothness_index."
        )


def _split_column(name: str) -> tuple[Path, str]:
    """Split "FILE:COLUMN" into the file and the column, which is "" for "FILE"."""
    path, colon, column = name.rpartition(":")
    if colon and not Path(name).exists() and Path(path).is_file():  # the name of a file may contain a colon
        return Path(path), column
    return Path(name), ""


def _choose_column(column: str, available: Sequence[str], path: Path, what: str) -> str:
    """Return the given column, or by default the only column that has a name."""
    named = [name for name in available if not _UNNAMED.fullmatch(name)]
    if not column and len(named) == 1:
        return named[0]
    if not column and len(available) == 1:
        return available[0]
    if column and available.count(column) == 1:
        return column
    candidates = [name for name in named if name.strip().casefold() in _HEADERS[what]] or named[-1:] or ["COLUMN"]
    raise ValueError(
        f"{what} must name one of the columns of {path}, {name_some(named or list(available))}; got {column!r}. Write "
        f"it after the file, as in {path}:{candidates[0]}."
    )


@dataclass(frozen=True)
class _CsvRows:
    """The cells of each row of a .csv file, and the number of the line in the file that it ends in."""

    cells: list[list[str]]
    numbers: list[int]

    @property
    def header(self) -> list[str]:
        """The first row; empty if there is none."""
        return self.cells[0] if self.cells else []


def _csv_column(rows: _CsvRows, column: str, path: Path, num_samples: int, what: str) -> _Lines:
    """Return the given column, or the only one, which may have a header."""
    if not rows.cells or (len(rows.header) == 1 and not column):
        first = 1 if len(rows.cells) == num_samples + 1 else 0  # one line more than samples: it is the header
        return _Lines([row[0] for row in rows.cells[first:]], rows.numbers[first:])
    try:
        position = rows.header.index(_choose_column(column, rows.header, path, what))
    except ValueError:
        _check_header(rows.cells, path, what)  # if there is no header, that is the better explanation
        raise
    if any(len(row) != len(rows.header) for row in rows.cells):
        raise DataError(
            f"the lines of {path} must all have {len(rows.header)} columns; some have more or fewer. Write it again."
        )
    return _Lines([row[position] for row in rows.cells[1:]], rows.numbers[1:])


def _check_header(rows: list[list[str]], path: Path, what: str) -> None:
    """Raise an error if the first row of a table looks like data: it has numbers, or texts that occur below, too.

    A row with a usual name of a column is always taken for a header.
    """
    header = rows[0]
    column_names = set().union(*_HEADERS.values())
    if any(cell.strip().casefold() in column_names for cell in header):
        return
    columns_below = [set(column) for column in zip(*rows[1:], strict=False)]
    is_repeated = any(cell.strip() and cell in below for cell, below in zip(header, columns_below, strict=False))
    has_numbers = any(as_number(cell) is not None for cell in header)
    if is_repeated or has_numbers:
        raise ValueError(
            f"{what} must be in a column that the first line of {path} names; that line, {name_some(header)}, looks "
            f"like data. Add a line before it that names the {len(header)} columns, and write the name of the column "
            f"after the file, as in {path}:{what.removesuffix('s')}."
        )


def _csv_rows(lines: list[str], path: Path) -> _CsvRows:
    """Split the lines of a .csv file into cells at the delimiter that the first line contains.

    Empty lines are skipped. If the first line contains no delimiter, each line, empty or not, is one cell.
    """
    for delimiter in _DELIMITERS:
        if delimiter not in "".join(lines[:1]):
            continue
        cells, numbers = [], []
        reader = csv.reader(lines, delimiter=delimiter)
        try:
            for row in reader:
                if row:
                    cells.append(row)
                    numbers.append(reader.line_num)
        except csv.Error as error:  # a cell of more than 128 KiB, for example after an unclosed quotation mark
            raise DataError(f'{path} must be a table of short texts; got: {error}. Look for a stray ".') from error
        # A semicolon or tab may also be part of a text; it separates columns only if all rows have equally many.
        if delimiter == "," or len({len(row) for row in cells}) == 1:
            return _CsvRows(cells, numbers)
    return _CsvRows([[_unquoted(line)] for line in lines], list(range(1, len(lines) + 1)))


def _unquoted(line: str) -> str:
    """Return the single value in a line of a .csv file, without quotes around it."""
    text = line.strip()
    is_quoted = len(text) > 1 and text[0] == text[-1] == '"'
    return text[1:-1].replace('""', '"') if is_quoted else line


def _parse_labels(lines: _Lines, path: Path) -> NDArray[Any]:
    """Return the labels as integers if all of them are integers, otherwise as text."""
    texts = [text.strip() for text in lines.texts]
    num_empty = texts.count("")
    if num_empty:
        more = f" and {num_empty - 1:,} more" if num_empty > 1 else ""
        line = lines.numbers[texts.index("")]
        raise DataError(f"labels in {path} must not be empty; got nothing in line {line}{more}. Drop such samples.")
    non_integers = [text for text in texts if not _INTEGER.fullmatch(text)]
    if not non_integers and all(abs(int(text)) < 2**63 for text in texts):
        return np.array([int(text) for text in texts], dtype=np.int64)
    if 0 < len(non_integers) < len(texts) and all(text.lower() in _MISSING for text in non_integers):
        raise DataError(
            f"labels in {path} must not be missing; got {min(non_integers)!r} among numbers, {len(non_integers):,} of "
            f"{len(texts):,}. Drop such samples."
        )
    numbers = [number for number in map(as_number, texts) if number is not None]
    if len(numbers) == len(texts):
        _check_no_real_numbers(numbers, str(path))
    return np.array(texts, dtype=np.str_)


def _check_no_header(lines: list[str], path: Path, num_samples: int, what: str) -> None:
    """Raise an error if there are as many lines as samples but the first is a header: all labels would be shifted."""
    if len(lines) != num_samples or num_samples < 2 or lines[0] in lines[1:]:
        return
    first = lines[0].strip().casefold()
    is_title = first in _HEADERS[what] or first.startswith("#")
    if not is_title:
        all_others_integers = all(_INTEGER.fullmatch(line.strip()) for line in lines[1:])
        is_only_text = bool(first) and as_number(first) is None and all_others_integers
        is_title = what == "labels" and is_only_text and first not in _MISSING
    if is_title:
        raise DataError(
            f"{what} in {path} must be {num_samples:,}, one for each sample; got the header {lines[0]!r} and "
            f"{len(lines) - 1:,}. Add what is missing; if the first line is not a header, rename that value."
        )


def _check_not_numbered(lines: list[str], path: Path, what: str) -> None:
    """Raise an error for lines such as "0,cat" and "1,dog": they are a table, and each would become a class."""
    starts = [re.match(r"(\d+)[,;\t]", line) for line in lines]
    numbers = [int(start[1]) for start in starts if start]
    if len(numbers) == len(lines) > 1 and numbers in (list(range(len(lines))), list(range(1, len(lines) + 1))):
        raise DataError(
            f"{what} in {path} must be one per line; got numbered lines such as {lines[0]!r}. Leave the numbers out, "
            "or name the file .csv."
        )


def _read_text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise DataError(f"{path} must be text in UTF-8; got other bytes. Save it again.") from error
