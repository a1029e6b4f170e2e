"""Precomputed features with labels, from one file or from a folder with one file per layer."""

import re
from collections import Counter
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from core.data import labels as label_files
from core.data.arrays import IDS, LABELS, SUFFIXES, LayerFile, columns, entries, list_layers, read_array, read_column
from core.data.errors import DataError
from core.data.files import check_regular, check_utf8_name
from core.data.label_text import alike_note
from core.data.labels import check_ids, check_labels, column_note, names_file, read_ids, read_labels
from core.data.sampling import name_some

_NUMBERED = re.compile(r"(\d+)[-_. ]+(.+)")  # a file name such as 03-conv2


@dataclass(frozen=True, eq=False)
class LabelledFeatures:
    """Features of several layers, not read yet, with the labels of the samples.

    Attributes
    ----------
    layers : tuple of LayerFile
        In network order.
    labels : np.ndarray, integers or strings, shape (n,)
        Class of each sample.
    ids : np.ndarray of str, shape (n,), or None
        Unique names of the samples; None if they have no names.
    label_column, id_column : str
        Columns of the Parquet tables with the labels and ids; "" if these come from elsewhere.
    notes : tuple of str
        Remarks about how the labels were read, for the user.
    """

    layers: tuple[LayerFile, ...]
    labels: NDArray[Any]
    ids: NDArray[np.str_] | None = None
    label_column: str = ""
    id_column: str = ""
    notes: tuple[str, ...] = ()


def open_features(path: str | Path, labels: str | None = None, ids: str | None = None) -> LabelledFeatures:
    """Find the features in a file or folder, check headers and lengths, and read the labels and ids.

    Parameters
    ----------
    path : str or Path
        A .npy, .npz or .parquet file, or a folder of such files. An .npz file with several arrays holds several layers.
        The columns of a Parquet table are the features; a column of lists of length k gives k features. The files of a
        folder are named by layer and sorted in natural order (conv2 before conv10). If each name begins with a number,
        as in 03-conv2.npy, they are sorted by these numbers, which do not become part of the layer's name.
    labels : str, optional
        A column of the Parquet table(s), "FILE" or "FILE:COLUMN" (see `labels.read_labels`). Default: the array
        `labels` of the .npz file, or the file labels.npy, labels.txt, labels.csv or labels.parquet in the folder.
    ids : str, optional
        Names of the samples, given like `labels`. Default: the array or file called `ids`, if there is one.

    Raises
    ------
    ValueError
        If there are no labels, if `labels` or `ids` is neither a file nor a column of the tables, or if the format of a
        file is not supported.
    DataError
        If a file is damaged or has unsuitable content, or the lengths differ.
    FileNotFoundError
        If the file or folder does not exist.
    """
    root = Path(path)
    if not root.exists():
        raise FileNotFoundError(f"features must be a file or a folder; there is no {str(root)!r}. Check the path.")
    files = _layer_files(root) if root.is_dir() else [root]
    for file in files:
        check_regular(file)
        if file.suffix.lower() == ".parquet":
            check_utf8_name(file, "features")
    label_column, id_column = _column(files, labels, LABELS), _column(files, ids, IDS)
    without = tuple(filter(None, (label_column, id_column)))
    layers = _ordered_layers(files, without) if root.is_dir() else tuple(list_layers(root, without))
    num_samples = _common_length(layers)
    if label_column:
        label_values = _common_column(layers, label_column, num_samples)
        label_file = ""
    else:
        label_values = _read_labels(root, labels, num_samples)
        label_file = labels or _default_file(root, LABELS)
    id_values = _common_ids(layers, id_column, num_samples) if id_column else _read_ids(root, ids, num_samples)
    return LabelledFeatures(layers, label_values, id_values, label_column, id_column, _notes(label_values, label_file))


def open_test_features(
    path: str | Path, labels: str | None, train: LabelledFeatures, ids: str | None = None
) -> LabelledFeatures:
    """Open the features of the test samples, which must have the same layers as those of the training samples.

    Parameters
    ----------
    path : str or Path
        As in `open_features`.
    labels : str or None
        As in `open_features`; default: the same column as in `train`.
    train : LabelledFeatures
        The training samples.
    ids : str, optional
        As in `open_features`; default: the same column as in `train`.

    Raises
    ------
    ValueError, OSError
        As `open_features`; also if the layers differ.
    """
    test = open_features(path, labels or train.label_column or None, ids or train.id_column or None)
    train_names = [layer.name for layer in train.layers]
    test_names = [layer.name for layer in test.layers]
    # With a single layer in each, the names of the files need not agree.
    if len(train_names) != len(test_names) or (len(train_names) > 1 and train_names != test_names):
        raise ValueError(
            f"test must have the layers of FEATURES, {', '.join(train_names[:5])}; got {', '.join(test_names[:5])}. "
            "Name the files alike."
        )
    if train.labels.dtype.kind == test.labels.dtype.kind == "U":
        note = alike_note(np.unique(np.concatenate([train.labels, test.labels])).tolist())
        if note and note not in (*train.notes, *test.notes):
            return replace(test, notes=(*test.notes, note))
    return test


def _column(files: list[Path], name: str | None, what: str) -> str:
    """Return the column of labels or ids, which all tables must have; "" if a file is named or there are no tables."""
    tables = [file for file in files if file.suffix.lower() == ".parquet"]
    if not name or not tables:
        return ""
    incomplete = next((table for table in tables if name not in columns(table)), None)
    if incomplete is None:
        return name
    if names_file(name):
        return ""
    raise ValueError(
        f"{what} must name a file, or a column of {incomplete}; got {name!r}. Its columns are "
        f"{name_some(columns(incomplete))}."
    )


def _common_ids(layers: tuple[LayerFile, ...], column: str, num_samples: int) -> NDArray[np.str_]:
    values = _common_column(layers, column, num_samples, IDS)
    return check_ids(values, num_samples, f"column {column!r}")


def _common_column(layers: tuple[LayerFile, ...], column: str, num_samples: int, what: str = LABELS) -> NDArray[Any]:
    """Return a column that must be the same in all tables; otherwise their rows are in different orders."""
    tables = [layer.path for layer in layers if layer.without]
    values = check_labels(read_column(tables[0], column), num_samples, f"column {column!r}", what)
    for table in tables[1:]:
        if not np.array_equal(read_column(table, column), values):
            raise DataError(
                f"column {column!r} must be the same in all tables; {table} differs from {tables[0]}. "
                "Write the samples in the same order."
            )
    return values


def _read_labels(root: Path, labels: str | None, num_samples: int) -> NDArray[Any]:
    """Read the labels from the given file, or by default from beside the features."""
    if labels is not None:
        return read_labels(labels, num_samples)
    if root.suffix.lower() == ".npz" and LABELS in entries(root):
        return check_labels(read_array(root, LABELS), num_samples, str(root))
    if default_file := _default_file(root, LABELS):
        return read_labels(default_file, num_samples)
    raise ValueError(
        f"labels must be given, since {root} holds none; got nothing. Name a file, or the column of a Parquet table."
    )


def _read_ids(root: Path, ids: str | None, num_samples: int) -> NDArray[np.str_] | None:
    """Read the ids from the given file, or by default from beside the features; None if there are none."""
    if ids is not None:
        return read_ids(ids, num_samples)
    if root.suffix.lower() == ".npz" and IDS in entries(root):
        return check_ids(read_array(root, IDS), num_samples, root)
    default_file = _default_file(root, IDS)
    return read_ids(default_file, num_samples) if default_file else None


def _notes(labels: NDArray[Any], file: str) -> tuple[str, ...]:
    """Return remarks about the labels. `file` is the file that they came from, or "" if they came from elsewhere."""
    notes = [column_note(file, LABELS)] if file else []
    if len(np.unique(labels)) == len(labels):
        notes.append(
            f"All {len(labels):,} samples have different labels, so no two samples are of the same class. Check that "
            "these are the labels."
        )
    if labels.dtype.kind == "U":
        notes.append(alike_note(np.unique(labels).tolist()))
    return tuple(filter(None, notes))


def _default_file(folder: Path, name: str) -> str:
    """Return the file of labels or ids in the folder of the features; "" if there is none."""
    for suffix in label_files.SUFFIXES:
        file = folder / f"{name}{suffix}"
        if file.is_file():
            return str(file)
    return ""


def _layer_files(folder: Path) -> list[Path]:
    """List the files of a folder that hold layers, in natural order."""
    files = []
    for file in sorted(folder.iterdir(), key=lambda file: _natural_key(file.name)):
        is_hidden = file.name.startswith(".")
        if file.suffix.lower() in SUFFIXES and file.stem.lower() not in (LABELS, IDS) and not is_hidden:
            files.append(file)
    if not files:
        raise DataError(f"{folder} must hold files of {', '.join(SUFFIXES)}, one per layer; got none. Check the path.")
    return files


def _ordered_layers(files: list[Path], without: tuple[str, ...]) -> tuple[LayerFile, ...]:
    """List the layers in the files of a folder, named after the files."""
    layers = []
    for name, file in zip(_layer_names(files), files, strict=True):
        file_layers = list_layers(file, without if file.suffix.lower() == ".parquet" else ())
        if len(file_layers) == 1:
            layers.append(replace(file_layers[0], name=name))
        else:
            layers += [replace(layer, name=f"{name}/{layer.name}") for layer in file_layers]
    counts = Counter(layer.name for layer in layers)
    repeated = sorted(name for name, count in counts.items() if count > 1)
    if repeated:
        raise DataError(f"each layer must have its own file; got several for {name_some(repeated)}. Rename them.")
    return tuple(layers)


def _layer_names(files: list[Path]) -> list[str]:
    """Return the names of the files, without leading numbers if all names have one and still differ without it."""
    stems = [file.stem for file in files]
    matches = [_NUMBERED.fullmatch(stem) for stem in stems]
    names = [match[2] for match in matches if match]
    is_unambiguous = len(names) == len(stems) == len(set(names))
    return names if is_unambiguous else stems


def _common_length(layers: tuple[LayerFile, ...]) -> int:
    first = layers[0]
    for layer in layers:
        if layer.num_samples != first.num_samples:
            raise DataError(
                f"layers must all have the same samples; got {first.num_samples:,} in {first.name!r} and "
                f"{layer.num_samples:,} in {layer.name!r}."
            )
    return first.num_samples


def _natural_key(name: str) -> list[tuple[int, int | str]]:
    """Return a sort key that orders numbers within names by their value."""
    parts = [part for part in re.split(r"(\d+)", name.lower()) if part]
    return [(0, int(part)) if part.isdecimal() else (1, part) for part in parts]
