"""Labels in files, one a sample: NumPy arrays, lines of text, or a column of a table."""

import csv
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from core.data.arrays import columns, read_array, read_column
from core.data.errors import DataError
from core.data.sampling import name_some

SUFFIXES = (".npy", ".txt", ".csv", ".parquet")


def read_labels(name: str, num_samples: int) -> NDArray[Any]:
    """Labels from "FILE" or "FILE:COLUMN".

    .npy : integers or strings of shape (n,). .txt : one label a line. .csv : one column with or without a header, which
    is known by the number of lines; or a header and several columns, of which COLUMN is taken. .parquet : COLUMN, which
    may be left out where it is the only one. Text that is whole numbers throughout becomes numbers.

    Returns
    -------
    np.ndarray, integers or strings, shape (num_samples,)

    Raises
    ------
    ValueError
        If there is no such file, of a kind known here, or no such column.
    DataError
        If the number of labels is not `num_samples`, a label is missing, or the file is damaged.
    """
    path, column = _split(name)
    kind = path.suffix.lower()
    if not path.is_file() or kind not in SUFFIXES:
        raise ValueError(f"labels must be in an existing file of {', '.join(SUFFIXES)}; got {name!r}. Check the path.")
    if kind == ".npy":
        labels = read_array(path)
    elif kind == ".parquet":
        labels = read_column(path, _chosen(column, columns(path), path))
    else:
        lines = _text(path).splitlines()
        labels = _numbers(_csv_column(lines, column, path, num_samples) if kind == ".csv" else lines, path)
    return checked(labels, num_samples, str(path))


def names_file(name: str) -> bool:
    """Whether "FILE" or "FILE:COLUMN" names a file that exists."""
    return _split(name)[0].is_file()


def checked(labels: NDArray[Any], num_samples: int, place: str) -> NDArray[Any]:
    """The labels, if they are integers or strings, one for each sample."""
    if labels.dtype.kind == "O" and all(isinstance(label, str) for label in labels.ravel().tolist()):
        labels = labels.astype(np.str_)
    if labels.ndim != 1 or labels.dtype.kind not in "biuU":
        raise DataError(
            f"labels in {place} must be integers or strings of shape (n,); got {labels.dtype} of shape {labels.shape}."
        )
    if len(labels) != num_samples:
        raise DataError(f"labels in {place} must be {num_samples:,}, one for each sample; got {len(labels):,}.")
    return labels


def _split(name: str) -> tuple[Path, str]:
    """A file, and the column that may follow it after a colon."""
    path, colon, column = name.rpartition(":")
    return (Path(path), column) if colon and not Path(name).exists() and Path(path).is_file() else (Path(name), "")


def _chosen(column: str, there: list[str], path: Path) -> str:
    if not column and len(there) == 1:
        return there[0]
    if column in there:
        return column
    raise ValueError(f"labels must name one of the columns of {path}, {name_some(there)}; got {column!r}.")


def _csv_column(lines: list[str], column: str, path: Path, num_samples: int) -> list[str]:
    """The only column, whose header is known by the number of lines, or the named one."""
    rows = [row for row in csv.reader(lines) if row] if "," in "".join(lines[:1]) or column else [[x] for x in lines]
    if column or (rows and len(rows[0]) > 1):
        place = rows[0].index(_chosen(column, rows[0], path))
        if any(len(row) != len(rows[0]) for row in rows):
            raise DataError(f"the lines of {path} must all have {len(rows[0])} columns; some have more or fewer.")
        return [row[place] for row in rows[1:]]
    return [row[0] for row in rows[len(rows) == num_samples + 1 :]]


def _numbers(lines: list[str], path: Path) -> NDArray[Any]:
    """Lines as integers where all are, else as they stand."""
    texts = [line.strip() for line in lines]
    if "" in texts:
        raise DataError(f"labels in {path} must not be empty; got nothing in line {texts.index('') + 1}.")
    try:
        return np.array([int(text) for text in texts], dtype=np.int64)
    except ValueError:
        return np.array(texts, dtype=np.str_)


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise DataError(f"{path} must be text in UTF-8; got bytes that are none. Save it again.") from error
