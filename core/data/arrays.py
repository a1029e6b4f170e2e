"""Feature arrays in .npy, .npz and Parquet files, checked before they are read."""

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
LABELS, IDS = "labels", "ids"  # arrays of an .npz file that are not features
_NO_FEATURES = (  # columns of a Parquet table that, by their name, are not features
    LABELS,
    "label",
    "class",
    "target",
    "id",
    "index",
    "__index_level_0__",
    "unnamed: 0",
)
# The header of a .npy file is a Python literal; NumPy raises these, besides ValueError, if it is damaged.
_HEADER_ERRORS = (SyntaxError, TokenError, RecursionError, OverflowError, TypeError)
_BLOCK_SIZE = 1 << 22  # numbers per block of the check for NaN and infinity


@dataclass(frozen=True)
class LayerFile:
    """The features of one layer in a file, not read yet; shape (num_samples, ...).

    Attributes
    ----------
    name : str
        Name of the layer.
    path : Path
        The file.
    num_samples : int
        Number of samples.
    entry : str
        Name of the array in an .npz file; "" otherwise.
    without : tuple of str
        Columns of a Parquet table that are not features, such as the labels.
    """

    name: str
    path: Path
    num_samples: int
    entry: str = ""
    without: tuple[str, ...] = ()

    def read(self) -> NDArray[Any]:
        """Return the features, memory-mapped if the file is an .npy file.

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
    """List the layers in a file from its header alone: one layer, or several in an .npz file, in the order of the file.

    Parameters
    ----------
    path : Path
        A .npy, .npz or .parquet file.
    without : tuple of str
        Columns of a Parquet table that are not features.

    Raises
    ------
    DataError
        If the file is damaged, contains pickled objects or other non-numeric data, or contains no features.
    ValueError
        If the file has another extension.
    """
    kind = path.suffix.lower()
    if kind not in SUFFIXES:
        raise ValueError(
            f"features must be a file of {', '.join(SUFFIXES)}, or a folder of them; got {str(path)!r}. Save them as "
            "one of these; pandas.read_csv(…).to_parquet(…) does so with a table of text."
        )
    if kind == ".parquet":
        return [LayerFile(path.stem, path, _check_table(path, without), without=without)]
    if kind == ".npy":
        with path.open("rb") as file:
            return [LayerFile(path.stem, path, _check_header(file, path))]
    layers = []
    for entry in entries(path):
        if entry not in (LABELS, IDS):
            with _explain_damage(path, entry), zipfile.ZipFile(path) as archive, archive.open(f"{entry}.npy") as member:
                layers.append(LayerFile(entry, path, _check_header(member, path, entry), entry))
    if not layers:
        raise DataError(f"{path} must hold an array of features; got {', '.join(entries(path)) or 'none'}.")
    return layers


def entries(path: Path) -> list[str]:
    """Return the names of the arrays in an .npz file, in the order of the file."""
    try:
        with zipfile.ZipFile(path) as archive:
            return [name.removesuffix(".npy") for name in archive.namelist() if name.endswith(".npy")]
    except ARCHIVE_ERRORS as error:
        if _names_a_file(error):
            raise
        raise DataError(
            f"{path} must be an .npz file; got another format or an incomplete file. Write it again."
        ) from error


def read_array(path: Path, entry: str = "") -> NDArray[Any]:
    """Return the array of an .npy file, memory-mapped, or one entry of an .npz file."""
    with _explain_damage(path, entry):
        if not entry:
            return np.asarray(np.load(path, mmap_mode="r", allow_pickle=False))
        with np.load(path, allow_pickle=False) as arrays:
            return np.asarray(arrays[entry])


@contextmanager
def _explain_damage(path: Path, entry: str) -> Iterator[None]:
    """Turn errors that occur while an array is read into a DataError that names the file and the array."""
    try:
        yield
    except (*ARCHIVE_ERRORS, *_HEADER_ERRORS, KeyError) as error:
        if isinstance(error, DataError) or _names_a_file(error):
            raise
        reason = " ".join(str(error).split()).rstrip(".")
        name = _array_name(path, entry)
        raise DataError(f"{name} is damaged and cannot be read: {reason}. Write it again.") from error


def _names_a_file(error: Exception) -> bool:
    """Return whether the operating system could not open a file: damage within a file comes without a file name."""
    return isinstance(error, OSError) and error.filename is not None


def read_column(path: Path, column: str) -> NDArray[Any]:
    """Return a column of a Parquet table; missing values are an error."""
    values = _read_table(path, [column])[column]
    if values.null_count:
        raise DataError(
            f"column {column!r} of {path} must not have missing values; got {values.null_count:,}. Drop such rows."
        )
    return np.asarray(values.to_numpy())


def columns(path: Path) -> list[str]:
    """Return the names of the columns of a Parquet table."""
    return list(_open_parquet(path).schema_arrow.names)


def read_header(file: IO[bytes]) -> tuple[tuple[int, ...], np.dtype[Any]]:
    """Return shape and dtype from the header of a .npy file.

    Raises
    ------
    ValueError
        If the header cannot be read.
    """
    try:
        if np.lib.format.read_magic(file) == (1, 0):
            shape, _, dtype = np.lib.format.read_array_header_1_0(file)
        else:
            shape, _, dtype = np.lib.format.read_array_header_2_0(file)
    except (*_HEADER_ERRORS, MemoryError) as error:
        raise ValueError(str(error)) from error
    return shape, dtype


def _check_header(file: IO[bytes], path: Path, entry: str = "") -> int:
    """Return the number of samples from an array's header, after checking that it is an array of real numbers."""
    name = _array_name(path, entry)
    try:
        shape, dtype = read_header(file)
    except ValueError as error:
        raise DataError(f"{name} must be a NumPy array; got: {error} Write it again.") from error
    if dtype.hasobject:
        raise DataError(
            f"{name} must hold plain numbers; got pickled objects, which can run code when read. "
            "Save it again as array.astype('float32')."
        )
    if dtype.kind not in "biuf" or not shape or 0 in shape:
        raise DataError(f"{name} must hold real numbers of shape (n, d) or (n, ...); got {dtype} of shape {shape}.")
    return int(shape[0])


def _check_table(path: Path, without: tuple[str, ...]) -> int:
    """Return the number of rows of a Parquet table, after checking that its columns can be features."""
    table_file = _open_parquet(path)
    fields = [field for field in table_file.schema_arrow if field.name not in without]
    suspicious = [repr(field.name) for field in fields if field.name.lower() in _NO_FEATURES]
    if suspicious:
        raise DataError(
            f"the columns of {path} must be features; got {name_some(suspicious)}, which by their names are not. Name "
            "the labels with --labels COLUMN, the samples' names with --ids COLUMN, and drop or rename the others."
        )
    non_numeric = [f"{field.name!r} ({field.type})" for field in fields if not _is_numeric(_element(field.type))]
    if non_numeric or not fields or not table_file.metadata.num_rows:
        raise DataError(
            f"the columns of {path} must be numbers, or lists of numbers; got {name_some(non_numeric) or 'no such'}. "
            "Name the labels with --labels COLUMN, and drop the others."
        )
    return int(table_file.metadata.num_rows)


def _is_numeric(kind: Any) -> bool:
    import pyarrow as pa

    return bool(pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_boolean(kind))


def _element(kind: Any) -> Any:
    """Return the type of the elements of a list type, or the type itself if it is not a list."""
    import pyarrow as pa

    lists = (pa.types.is_list, pa.types.is_large_list, pa.types.is_fixed_size_list)
    return kind.value_type if any(is_list(kind) for is_list in lists) else kind


def _parquet_features(path: Path, without: tuple[str, ...]) -> NDArray[Any]:
    """Return all columns but `without` as one matrix, shape (n, d); a list of length k gives k columns."""
    table = _read_table(path, [name for name in columns(path) if name not in without])
    parts = [_column_matrix(table[name], name, path) for name in table.column_names]
    return parts[0] if len(parts) == 1 else np.concatenate(parts, axis=1)


def _column_matrix(column: Any, name: str, path: Path) -> NDArray[Any]:
    """Return a column, possibly of nested lists of equal length, as a matrix with one row per sample."""
    import pyarrow as pa
    import pyarrow.compute as pc

    flat = column
    while (inner := _element(flat.type)) != flat.type:
        flat = pa.chunked_array([chunk.flatten() for chunk in flat.chunks], inner)
    if column.null_count or flat.null_count:
        raise DataError(
            f"column {name!r} of {path} must not have missing values; got some. Drop or impute such samples."
        )
    if flat is not column:
        lengths = pc.unique(pc.list_value_length(column)).to_pylist()
        if len(lengths) > 1 or not len(flat):
            raise DataError(
                f"the lists in column {name!r} of {path} must have equal lengths; got {min(lengths)} to {max(lengths)}."
            )
    return np.asarray(flat.to_numpy()).reshape(len(column), -1)


def _read_table(path: Path, names: list[str]) -> Any:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        return pq.read_table(path, columns=names)
    except (pa.ArrowException, OSError, ValueError) as error:  # OSError: damaged pages
        raise DataError(f"{path} cannot be read: {error}. Write it again.") from error


def _open_parquet(path: Path) -> Any:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        return pq.ParquetFile(path)
    except (pa.ArrowException, OSError, ValueError) as error:
        raise DataError(f"{path} must be a Parquet file; got: {error} Write it again.") from error


def _check_finite(features: NDArray[Any], path: Path) -> None:
    """Raise an error for NaN and infinity; block by block, so that a memory-mapped file is not copied as a whole."""
    if features.dtype.kind != "f":
        return
    step = max(1, _BLOCK_SIZE // max(1, features[0].size))
    for start in range(0, len(features), step):
        rows = features[start : start + step]
        block = rows.reshape(len(rows), -1)
        finite = np.isfinite(block)
        if not finite.all():
            row, column = np.argwhere(~finite)[0].tolist()
            raise DataError(
                f"{path} must hold finite numbers; got {block[row, column]} in row {start + row}, column {column}. "
                "Remove or impute such samples first."
            )


def _array_name(path: Path, entry: str) -> str:
    """Name an array for an error message."""
    return f"array {entry!r} of {path}" if entry else str(path)
