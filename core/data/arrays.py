"""Arrays of features in files: NumPy's .npy and .npz, and Parquet tables, checked before they are read."""

import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tokenize import TokenError
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from core.data.errors import ARCHIVE_ERRORS, DataError
from core.data.sampling import name_some

SUFFIXES = (".npy", ".npz", ".parquet")
LABELS, IDS = "labels", "ids"  # the arrays of an .npz file that are none of features
_NO_FEATURES = (
    LABELS,
    "label",
    "class",
    "target",
    "id",
    "index",
    "__index_level_0__",
    "unnamed: 0",
)  # columns, by their names
# What NumPy raises on a damaged header, which is a Python literal, beside ValueError.
_HEADER_ERRORS = (SyntaxError, TokenError, RecursionError, OverflowError, TypeError)
_BLOCK = 1 << 22  # numbers looked at together


@dataclass(frozen=True)
class LayerFile:
    """One layer's features, where they lie: shape (num_samples, ...).

    name : the layer's. path : the file. entry : the array's name in an .npz file.
    without : the columns of a Parquet table that hold no features, such as the labels.
    """

    name: str
    path: Path
    num_samples: int
    entry: str = ""
    without: tuple[str, ...] = ()

    def read(self) -> NDArray[Any]:
        """The features, mapped into memory where the format allows it.

        Raises
        ------
        DataError
            If a number is NaN or infinite, or the file is damaged.
        """
        if self.path.suffix.lower() == ".parquet":
            features = _parquet_features(self.path, self.without)
        else:
            features = read_array(self.path, self.entry)
        _check_finite(features, self.path)
        return features


def list_layers(path: Path, without: tuple[str, ...] = ()) -> list[LayerFile]:
    """What a file holds, by its header alone: one layer, or several in an .npz file, in the file's order.

    Raises
    ------
    DataError
        If the file is damaged, holds pickled objects or anything but numbers, or no features at all.
    ValueError
        If the file is of another kind.
    """
    kind = path.suffix.lower()
    if kind not in SUFFIXES:
        raise ValueError(f"features must be a file of {', '.join(SUFFIXES)}, or a folder of them; got {str(path)!r}.")
    if kind == ".parquet":
        return [LayerFile(path.stem, path, _check_table(path, without), without=without)]
    if kind == ".npy":
        with path.open("rb") as file:
            return [LayerFile(path.stem, path, _check_header(file, path))]
    found = []
    for entry in entries(path):
        if entry not in (LABELS, IDS):
            with _readable(path, entry), zipfile.ZipFile(path) as archive, archive.open(f"{entry}.npy") as member:
                found.append(LayerFile(entry, path, _check_header(member, path, entry), entry))
    if not found:
        raise DataError(f"{path} must hold an array of features; got {', '.join(entries(path)) or 'none'}.")
    return found


def entries(path: Path) -> list[str]:
    """The names of the arrays in an .npz file, in its order."""
    try:
        with zipfile.ZipFile(path) as archive:
            return [name.removesuffix(".npy") for name in archive.namelist() if name.endswith(".npy")]
    except ARCHIVE_ERRORS as error:
        if _names_a_file(error):
            raise
        raise DataError(
            f"{path} must be an .npz file; got something else, or a part of one. Write it again."
        ) from error


def read_array(path: Path, entry: str = "") -> NDArray[Any]:
    """An array of an .npy file, mapped into memory, or one entry of an .npz file."""
    with _readable(path, entry):
        if not entry:
            return np.asarray(np.load(path, mmap_mode="r", allow_pickle=False))
        with np.load(path, allow_pickle=False) as arrays:
            return np.asarray(arrays[entry])


@contextmanager
def _readable(path: Path, entry: str) -> Iterator[None]:
    """What goes wrong while an array is read, as a DataError that names file and array."""
    try:
        yield
    except (*ARCHIVE_ERRORS, *_HEADER_ERRORS, KeyError) as error:
        if isinstance(error, DataError) or _names_a_file(error):
            raise
        reason = " ".join(str(error).split()).rstrip(".")
        raise DataError(f"{_place(path, entry)} is damaged and cannot be read: {reason}. Write it again.") from error


def _names_a_file(error: Exception) -> bool:
    """Whether the system says which file it could not open; damage within one has no name."""
    return isinstance(error, OSError) and error.filename is not None


def read_column(path: Path, column: str) -> NDArray[Any]:
    """A column of a Parquet table, without gaps."""
    values = _table(path, [column])[column]
    if values.null_count:
        raise DataError(f"column {column!r} of {path} must have no gaps; got {values.null_count:,}. Drop such rows.")
    return np.asarray(values.to_numpy())


def columns(path: Path) -> list[str]:
    """The names of a Parquet table's columns."""
    return list(_opened(path).schema_arrow.names)


def read_header(file: IO[bytes]) -> tuple[tuple[int, ...], np.dtype[Any]]:
    """Shape and dtype that an array's header promises; ValueError where it has none that can be read."""
    try:
        version = np.lib.format.read_magic(file)
        read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        shape, _, dtype = read(file)
    except (*_HEADER_ERRORS, MemoryError) as error:
        raise ValueError(str(error)) from error
    return shape, dtype


def _check_header(file: IO[bytes], path: Path, entry: str = "") -> int:
    """The number of samples that an array's header promises; what is no array of numbers is refused."""
    try:
        shape, dtype = read_header(file)
    except ValueError as error:
        raise DataError(f"{_place(path, entry)} must be a NumPy array; got: {error} Write it again.") from error
    if dtype.hasobject:
        raise DataError(
            f"{_place(path, entry)} must hold plain numbers; got pickled objects, which can run code when read. "
            "Save it again as array.astype('float32')."
        )
    if dtype.kind not in "biuf" or not shape or 0 in shape:
        raise DataError(
            f"{_place(path, entry)} must hold real numbers of shape (n, d) or (n, ...); got {dtype} of shape {shape}."
        )
    return int(shape[0])


def _check_table(path: Path, without: tuple[str, ...]) -> int:
    """The number of rows of a table whose columns can all be features."""
    import pyarrow as pa

    opened = _opened(path)
    fields = [field for field in opened.schema_arrow if field.name not in without]
    named = [repr(field.name) for field in fields if field.name.lower() in _NO_FEATURES]
    if named:
        raise DataError(
            f"the columns of {path} must be features; got {name_some(named)}, by name none. Ask for the labels with "
            "--labels COLUMN, for the samples' names with --ids COLUMN, and drop or rename the others."
        )

    def is_numeric(kind: Any) -> bool:
        result: bool = pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_boolean(kind)
        return result

    others = [f"{field.name!r} ({field.type})" for field in fields if not is_numeric(_element(field.type))]
    if others or not fields or not opened.metadata.num_rows:
        raise DataError(
            f"the columns of {path} must be numbers, or lists of numbers; got {name_some(others) or 'nothing else'}. "
            "Ask for the labels with --labels COLUMN, and drop the others."
        )
    return int(opened.metadata.num_rows)


def _element(kind: Any) -> Any:
    """The type within a list, or the type itself."""
    import pyarrow as pa

    lists = (pa.types.is_list, pa.types.is_large_list, pa.types.is_fixed_size_list)
    return kind.value_type if any(is_list(kind) for is_list in lists) else kind


def _parquet_features(path: Path, without: tuple[str, ...]) -> NDArray[Any]:
    """All other columns side by side, shape (n, d); a column of lists gives as many as a list is long."""
    table = _table(path, [name for name in columns(path) if name not in without])
    parts = [_column_matrix(table[name], name, path) for name in table.column_names]
    return parts[0] if len(parts) == 1 else np.concatenate(parts, axis=1)


def _column_matrix(column: Any, name: str, path: Path) -> NDArray[Any]:
    import pyarrow as pa
    import pyarrow.compute as pc

    flat = column
    while (inner := _element(flat.type)) != flat.type:
        flat = pa.chunked_array([chunk.flatten() for chunk in flat.chunks], inner)
    if column.null_count or flat.null_count:
        raise DataError(f"column {name!r} of {path} must have no gaps; got some. Drop or impute such samples.")
    if flat is not column:
        lengths = pc.unique(pc.list_value_length(column)).to_pylist()
        if len(lengths) > 1 or not len(flat):
            raise DataError(
                f"the lists in column {name!r} of {path} must be of one length; got {min(lengths)} to {max(lengths)}."
            )
    return np.asarray(flat.to_numpy()).reshape(len(column), -1)


def _table(path: Path, wanted: list[str]) -> Any:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        return pq.read_table(path, columns=wanted)
    except (pa.ArrowException, OSError) as error:  # OSError: damaged pages
        raise DataError(f"{path} cannot be read: {error}. Write it again.") from error


def _opened(path: Path) -> Any:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        return pq.ParquetFile(path)
    except pa.ArrowException as error:
        raise DataError(f"{path} must be a Parquet file; got: {error} Write it again.") from error


def _check_finite(features: NDArray[Any], path: Path) -> None:
    """Refuse NaN and infinity by row, block by block, so that a mapped file is not copied."""
    if features.dtype.kind != "f":
        return
    step = max(1, _BLOCK // max(1, features[0].size))
    for start in range(0, len(features), step):
        block = features[start : start + step].reshape(len(features[start : start + step]), -1)
        finite = np.isfinite(block)
        if not finite.all():
            row, column = np.argwhere(~finite)[0].tolist()
            raise DataError(
                f"{path} must hold finite numbers; got {block[row, column]} in row {start + row}, column {column}. "
                "Remove or impute such samples first."
            )


def _place(path: Path, entry: str) -> str:
    return f"array {entry!r} of {path}" if entry else str(path)
