"""Ready-made features with labels: a file, or a folder of files, one layer each, in network order."""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from core.data import labels as label_files
from core.data.arrays import LABELS, SUFFIXES, LayerFile, columns, entries, list_layers, read_array, read_column
from core.data.errors import DataError
from core.data.labels import checked, names_file, read_labels
from core.data.sampling import name_some

_NUMBERED = re.compile(r"(\d+)[-_. ]+(.+)")


@dataclass(frozen=True, eq=False)
class LabelledFeatures:
    """Layers in network order, none of them read yet, and a label for each sample, shape (n,)."""

    layers: tuple[LayerFile, ...]
    labels: NDArray[Any]


def open_features(path: str | Path, labels: str | None = None) -> LabelledFeatures:
    """Find the features in a file or folder, check headers and lengths, and read the labels.

    Parameters
    ----------
    path : an .npy, .npz or .parquet file, or a folder of such files. An .npz file with several arrays holds several
        layers. A Parquet table's columns are the features; a column of lists counts as many as a list is long.
        The files of a folder are named by layer and come in natural order (conv2 before conv10); where each name begins
        with a number, as in 03-conv2.npy, in the order of the numbers, which are no part of the layer's name.
    labels : a column of the Parquet table(s), "FILE" or "FILE:COLUMN" (see `labels.read_labels`). By default the array
        `labels` of the .npz file, or the file labels.npy, labels.txt, labels.csv or labels.parquet in the folder.

    Raises
    ------
    ValueError
        If there are no labels, `labels` is neither a file nor a column of the tables, or the kind of file is not
        understood.
    DataError
        If a file is damaged or holds something else, or the lengths differ.
    FileNotFoundError
        If there is no such file or folder.
    """
    root = Path(path)
    if not root.exists():
        raise FileNotFoundError(f"features must be a file or a folder; there is no {str(root)!r}. Check the path.")
    files = _layer_files(root) if root.is_dir() else [root]
    column = _column(files, labels)
    layers = _ordered(files, column) if root.is_dir() else tuple(list_layers(root, column))
    num_samples = _common_length(layers)
    if column:
        return LabelledFeatures(layers, _common_labels(layers, column, num_samples))
    return LabelledFeatures(layers, _labels(root, labels, num_samples))


def _column(files: list[Path], labels: str | None) -> str:
    """The column of the labels, which all tables have; empty where they are in a file, or there are no tables."""
    tables = [file for file in files if file.suffix.lower() == ".parquet"]
    if not labels or not tables:
        return ""
    lacking = next((table for table in tables if labels not in columns(table)), None)
    if lacking is None:
        return labels
    if names_file(labels):
        return ""
    raise ValueError(
        f"labels must name a file, or a column of {lacking}; got {labels!r}. Its columns are "
        f"{name_some(columns(lacking))}."
    )


def _common_labels(layers: tuple[LayerFile, ...], column: str, num_samples: int) -> NDArray[Any]:
    """The labels' column, which is the same in all tables, for else their rows are in different orders."""
    tables = [layer.path for layer in layers if layer.without]
    labels = checked(read_column(tables[0], column), num_samples, f"column {column!r}")
    for other in tables[1:]:
        if not np.array_equal(read_column(other, column), labels):
            raise DataError(
                f"column {column!r} must be the same in all tables; {other} differs from {tables[0]}. "
                "Write the samples in one order."
            )
    return labels


def _labels(root: Path, labels: str | None, num_samples: int) -> NDArray[Any]:
    """Labels from the file that was named, or from where they lie beside the features."""
    if labels is not None:
        return read_labels(labels, num_samples)
    if root.suffix.lower() == ".npz" and LABELS in entries(root):
        return checked(read_array(root, LABELS), num_samples, str(root))
    beside = [root / f"{LABELS}{suffix}" for suffix in label_files.SUFFIXES if (root / f"{LABELS}{suffix}").is_file()]
    if beside:
        return read_labels(str(beside[0]), num_samples)
    raise ValueError(
        f"labels must be given, since {root} holds none; got nothing. Name a file, or the column of a Parquet table."
    )


def _layer_files(folder: Path) -> list[Path]:
    """The files of a folder that are layers, in natural order."""
    files = [
        file
        for file in sorted(folder.iterdir(), key=lambda file: _natural(file.name))
        if file.suffix.lower() in SUFFIXES and file.stem.lower() != LABELS and not file.name.startswith(".")
    ]
    if not files:
        raise DataError(f"{folder} must hold files of {', '.join(SUFFIXES)}, one a layer; got none. Check the path.")
    return files


def _ordered(files: list[Path], column: str) -> tuple[LayerFile, ...]:
    """The layers of a folder's files, named after the files."""
    numbered = [_NUMBERED.fullmatch(file.stem) for file in files]
    names = [match[2] if match else file.stem for match, file in zip(numbered, files, strict=True)]
    if not all(numbered) or len(set(names)) < len(names):
        names = [file.stem for file in files]
    layers = []
    for name, file in zip(names, files, strict=True):
        held = list_layers(file, column if file.suffix.lower() == ".parquet" else "")
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
