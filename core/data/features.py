"""Ready-made features with labels: a file, or a folder of files, one layer each, in network order."""

import re
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from core.data import labels as label_files
from core.data.arrays import IDS, LABELS, SUFFIXES, LayerFile, columns, entries, list_layers, read_array, read_column
from core.data.errors import DataError
from core.data.files import check_regular, check_utf8_name
from core.data.labels import checked, checked_ids, column_note, names_file, read_ids, read_labels
from core.data.sampling import name_some
from core.label_text import alike_note

_NUMBERED = re.compile(r"(\d+)[-_. ]+(.+)")


@dataclass(frozen=True, eq=False)
class LabelledFeatures:
    """Layers in network order, none of them read yet, and a label for each sample, shape (n,).

    ids : what the samples are called, distinct, shape (n,); None where nothing names them.
    label_column, id_column : of the tables, where they are columns. notes : how the labels were read, where that does
    not go without saying.
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
    path : an .npy, .npz or .parquet file, or a folder of such files. An .npz file with several arrays holds several
        layers. A Parquet table's columns are the features; a column of lists counts as many as a list is long.
        The files of a folder are named by layer and come in natural order (conv2 before conv10); where each name begins
        with a number, as in 03-conv2.npy, in the order of the numbers, which are no part of the layer's name.
    labels : a column of the Parquet table(s), "FILE" or "FILE:COLUMN" (see `labels.read_labels`). By default the array
        `labels` of the .npz file, or the file labels.npy, labels.txt, labels.csv or labels.parquet in the folder.
    ids : what the samples are called, in the same ways; by default what is named `ids` there, if there is such a thing.

    Raises
    ------
    ValueError
        If there are no labels, `labels` or `ids` is neither a file nor a column of the tables, or the kind of file is
        not understood.
    DataError
        If a file is damaged or holds something else, or the lengths differ.
    FileNotFoundError
        If there is no such file or folder.
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
    layers = _ordered(files, without) if root.is_dir() else tuple(list_layers(root, without))
    num_samples = _common_length(layers)
    read = _common_column(layers, label_column, num_samples) if label_column else _labels(root, labels, num_samples)
    return LabelledFeatures(
        layers,
        read,
        _common_ids(layers, id_column, num_samples) if id_column else _ids(root, ids, num_samples),
        label_column,
        id_column,
        _notes(read, "" if label_column else labels or _beside(root, LABELS)),
    )


def open_test_features(
    path: str | Path, labels: str | None, train: LabelledFeatures, ids: str | None = None
) -> LabelledFeatures:
    """The test samples' features, of the same layers as those of the training samples.

    Parameters
    ----------
    path, labels, ids : as in `open_features`; by default labels and ids are in the same columns as those of `train`.

    Raises
    ------
    ValueError, OSError
        As `open_features`; also where the layers are others.
    """
    test = open_features(path, labels or train.label_column or None, ids or train.id_column or None)
    names, others = ([layer.name for layer in part.layers] for part in (train, test))
    if len(names) != len(others) or (len(names) > 1 and names != others):
        raise ValueError(
            f"test must have the layers of FEATURES, {', '.join(names[:5])}; got {', '.join(others[:5])}. "
            "Name the files alike."
        )
    both = (train.labels, test.labels)
    if all(labels.dtype.kind == "U" for labels in both):
        note = alike_note(np.unique(np.concatenate(both)).tolist())
        if note and note not in (*train.notes, *test.notes):
            return replace(test, notes=(*test.notes, note))
    return test


def _column(files: list[Path], name: str | None, what: str) -> str:
    """The column of labels or ids, which all tables have; empty where they are in a file, or there are no tables."""
    tables = [file for file in files if file.suffix.lower() == ".parquet"]
    if not name or not tables:
        return ""
    lacking = next((table for table in tables if name not in columns(table)), None)
    if lacking is None:
        return name
    if names_file(name):
        return ""
    raise ValueError(
        f"{what} must name a file, or a column of {lacking}; got {name!r}. Its columns are "
        f"{name_some(columns(lacking))}."
    )


def _common_ids(layers: tuple[LayerFile, ...], column: str, num_samples: int) -> NDArray[np.str_]:
    found = _common_column(layers, column, num_samples, IDS)
    return checked_ids(found, num_samples, f"column {column!r}")


def _common_column(layers: tuple[LayerFile, ...], column: str, num_samples: int, what: str = LABELS) -> NDArray[Any]:
    """A column which is the same in all tables, for else their rows are in different orders."""
    tables = [layer.path for layer in layers if layer.without]
    values = checked(read_column(tables[0], column), num_samples, f"column {column!r}", what)
    for other in tables[1:]:
        if not np.array_equal(read_column(other, column), values):
            raise DataError(
                f"column {column!r} must be the same in all tables; {other} differs from {tables[0]}. "
                "Write the samples in one order."
            )
    return values


def _labels(root: Path, labels: str | None, num_samples: int) -> NDArray[Any]:
    """Labels from the file that was named, or from where they lie beside the features."""
    if labels is not None:
        return read_labels(labels, num_samples)
    if root.suffix.lower() == ".npz" and LABELS in entries(root):
        return checked(read_array(root, LABELS), num_samples, str(root))
    if beside := _beside(root, LABELS):
        return read_labels(beside, num_samples)
    raise ValueError(
        f"labels must be given, since {root} holds none; got nothing. Name a file, or the column of a Parquet table."
    )


def _ids(root: Path, ids: str | None, num_samples: int) -> NDArray[np.str_] | None:
    """Ids from the file that was named, or from beside the features; None where there are none."""
    if ids is not None:
        return read_ids(ids, num_samples)
    if root.suffix.lower() == ".npz" and IDS in entries(root):
        return checked_ids(read_array(root, IDS), num_samples, root)
    beside = _beside(root, IDS)
    return read_ids(beside, num_samples) if beside else None


def _notes(labels: NDArray[Any], file: str) -> tuple[str, ...]:
    """Which column the labels are, and that they are no classes. file : of the labels, "" where they lie elsewhere."""
    notes = [column_note(file, LABELS)] if file else []
    if len(np.unique(labels)) == len(labels):
        notes.append(
            f"Each of the {len(labels):,} samples has a label of its own, so that no two can be of one class: are "
            "these the labels?"
        )
    if labels.dtype.kind == "U":
        notes.append(alike_note(np.unique(labels).tolist()))
    return tuple(filter(None, notes))


def _beside(folder: Path, name: str) -> str:
    """A file of labels or ids in the features' folder; empty where there is none."""
    files = [file for suffix in label_files.SUFFIXES if (file := folder / f"{name}{suffix}").is_file()]
    return str(files[0]) if files else ""


def _layer_files(folder: Path) -> list[Path]:
    """The files of a folder that are layers, in natural order."""
    files = [
        file
        for file in sorted(folder.iterdir(), key=lambda file: _natural(file.name))
        if file.suffix.lower() in SUFFIXES and file.stem.lower() not in (LABELS, IDS) and not file.name.startswith(".")
    ]
    if not files:
        raise DataError(f"{folder} must hold files of {', '.join(SUFFIXES)}, one a layer; got none. Check the path.")
    return files


def _ordered(files: list[Path], without: tuple[str, ...]) -> tuple[LayerFile, ...]:
    """The layers of a folder's files, named after the files."""
    numbered = [_NUMBERED.fullmatch(file.stem) for file in files]
    names = [match[2] if match else file.stem for match, file in zip(numbered, files, strict=True)]
    if not all(numbered) or len(set(names)) < len(names):
        names = [file.stem for file in files]
    layers = []
    for name, file in zip(names, files, strict=True):
        held = list_layers(file, without if file.suffix.lower() == ".parquet" else ())
        layers += [_renamed(layer, name if len(held) == 1 else f"{name}/{layer.name}") for layer in held]
    repeated = sorted({layer.name for layer in layers if sum(other.name == layer.name for other in layers) > 1})
    if repeated:
        raise DataError(f"each layer must have a file of its own; got several for {name_some(repeated)}. Rename them.")
    return tuple(layers)


def _renamed(layer: LayerFile, name: str) -> LayerFile:
    return LayerFile(name, layer.path, layer.num_samples, layer.entry, layer.without)


def _common_length(layers: tuple[LayerFile, ...]) -> int:
    first = layers[0]
    for other in layers:
        if other.num_samples != first.num_samples:
            raise DataError(
                f"layers must all have the same samples; got {first.num_samples:,} in {first.name!r} and "
                f"{other.num_samples:,} in {other.name!r}."
            )
    return first.num_samples


def _natural(name: str) -> list[tuple[int, int | str]]:
    """A key that orders numbers in names by their value."""
    return [(0, int(part)) if part.isdecimal() else (1, part) for part in re.split(r"(\d+)", name.lower()) if part]
