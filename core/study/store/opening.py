"""Opening a study on disk. `schemas` declares its tables, `validation` checks them, `writing` writes them.

A study is a folder with `study.json` and Parquet tables (see `schemas.TABLES`). While a run goes on, each layer's rows
lie in `parts/<position>/`, renamed into place when complete; at the end they are merged. Readers accept both, so a run
that died is a valid study of the layers it finished. Others may write the format: `study.json` needs `format` and
`state`.

This is the one place where a study comes in, and whoever wrote it is not trusted: `load_study` checks `study.json` and
every table of usual size in full, and of larger ones the metadata of their files; the rows of these are checked
whenever some are read. Code that is given a `Study` need not check it again.
"""

from __future__ import annotations  # so that help() shows the names of types as they are written here

import difflib
import os
from collections import OrderedDict
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from core.data.cached_property import cached_property
from core.data.files import check_regular
from core.data.sampling import name_some
from core.study.store.display import StudyDisplay
from core.study.store.filtering import Filters, distinct_texts, filtered_columns, read_filtered
from core.study.store.locks import is_locked
from core.study.store.study_json import info_faults, read_json_object
from core.study.store.tables import validation
from core.study.store.tables.schemas import PART_TABLES, TABLES, Table

FORMAT = 2
MOST_ROWS = 250_000  # of a table that is checked in full when a study is opened
ROWS_AT_ONCE = 1_000_000  # of a larger table that is read a part at a time
_REMEMBERED = 256  # studies whose tables need no second check while their files stay as they are

FileStamp = tuple[str, int, int, int]
Stamp = tuple[FileStamp, ...]

SCHEMAS: Mapping[str, pa.Schema] = {name: table.schema for name, table in TABLES.items()}
PART_SCHEMAS: Mapping[str, pa.Schema] = {name: table.schema for name, table in PART_TABLES.items()}
WHOLE_TABLES = ("samples",)  # written once, before the first layer
LAYER_TABLES = tuple(name for name in SCHEMAS if name not in WHOLE_TABLES)


class StudyError(ValueError):
    """A folder is no study, or another study than expected."""


@dataclass(frozen=True, eq=False, repr=False)
class Study(StudyDisplay):
    """A study folder, its tables read on first use.

    path : the folder. info : the content of `study.json`. Tables are DataFrames with the columns of `SCHEMAS`.
    """

    path: Path
    info: Mapping[str, Any]

    @property
    def state(self) -> str:
        """ "complete"; else "partial" or "running", with the layers done so far."""
        return str(self.info["state"])

    @cached_property
    def layers(self) -> pd.DataFrame:
        """One row a layer, in network order."""
        return self.table("layers").sort_values("position", ignore_index=True)

    @cached_property
    def measurements(self) -> pd.DataFrame:
        """One row a value. Where `num_queries` is not said, all samples of the split were asked."""
        table = self.table("measurements")
        if not table["num_queries"].isna().any():
            return table
        counts = self.samples["split"].astype(str).value_counts()
        num_queries = table["num_queries"].fillna(table["split"].astype(object).map(counts))
        if num_queries.isna().any():
            fault = "column 'num_queries' must have no gaps where the table samples does not say how many there are"
            raise _not_usable(f"measurements.parquet in {self.path}", [fault])
        return table.assign(num_queries=num_queries.astype("int32"))

    @cached_property
    def classes(self) -> pd.DataFrame:
        return self.table("classes")

    @cached_property
    def samples(self) -> pd.DataFrame:
        return self.table("samples")

    @cached_property
    def neighbors(self) -> pd.DataFrame:
        return self.table("neighbors")

    @cached_property
    def projection(self) -> pd.DataFrame:
        """Each sample's place on a plane, by layer; empty for a study made without, or before there was one."""
        return self.table("projection")

    @cached_property
    def curves(self) -> pd.DataFrame:
        """SI over sample size, observed, fitted and extrapolated; empty without subsamples of three sizes."""
        return self.table("curves")

    @cached_property
    def related_measures(self) -> pd.DataFrame:
        """Related separability measures, intrinsic dimension and hubness; empty for a study made without
        `related_measures`."""
        return self.table("related_measures")

    @cached_property
    def alignment(self) -> pd.DataFrame:
        """Linear CKA of pairs of layers, each pair once; empty for a study made without `related_measures`."""
        return self.table("alignment")

    def table(self, name: str, columns: Sequence[str] | None = None, filters: Filters | None = None) -> pd.DataFrame:
        """A table of the study, merged or from its parts; empty, with the right columns, where nothing was written.

        Parameters
        ----------
        name : one of `layers`, `samples`, `measurements`, `classes`, `neighbors`, `projection`, `curves`,
            `related_measures`, `alignment`.
        columns, filters : what to read of it, as in `pyarrow.parquet.read_table`; default all.

        Raises
        ------
        StudyError
            There is no such table or column; the message lists those there are.
            What was read is not as the table must be; the message names the file and the column.
        """
        if name not in TABLES:
            raise StudyError(f"name must be one of {', '.join(TABLES)}; got {name!r}.{_similar(name)}")
        unknown = [column for column in columns or () if column not in TABLES[name].columns]
        if unknown:
            raise StudyError(
                f"columns must be some of {', '.join(TABLES[name].columns)}; got {', '.join(map(repr, unknown))}."
            )
        names = list(columns or TABLES[name].columns)
        if (name, self._stamp) in _CHECKED:
            table = self._read(name, names, filters)
        else:
            keyed = list(dict.fromkeys([*names, *(column for key in TABLES[name].keys for column in key)]))
            table = self._checked(name, self._read(name, keyed, filters)).select(names)
        rows: pd.DataFrame = table.to_pandas()
        return rows

    def num_rows(self, name: str) -> int:
        """The number of rows of a table, as its files say, of which no row is read."""
        return sum(int(_open_parquet(file).metadata.num_rows) for file in self._files(name))

    def layer_groups(self, name: str, most_rows: int = ROWS_AT_ONCE) -> list[list[str]]:
        """The study's layers in network order, in groups of which a table has about as many rows each.

        Read one group at a time, a large table takes little memory.
        """
        layers = self.layers["layer"].tolist()
        size = max(1, len(layers) * most_rows // max(self.num_rows(name), 1))
        return [layers[start : start + size] for start in range(0, len(layers), size)]

    def distinct(self, name: str, column: str) -> list[str]:
        """The distinct values of a column of texts, in order of appearance, much faster than by reading the table.

        Parameters
        ----------
        name : str
            A table that `table` knows, with the column layer.
        column : str
            A column of it. Each file is checked, but not that its rows are of this study.
        """
        if self.state == "complete":
            texts = [text for file in self._files(name) for text in _distinct_texts(file, name, column)]
            return list(dict.fromkeys(texts))
        data = validation.of_layers(
            self._read(name, [*dict.fromkeys(["layer", column])]), TABLES[name], self._layer_names
        )
        return [str(value) for value in data[column].unique().to_pylist()]

    if not TYPE_CHECKING:  # for a type checker, an attribute that is not declared is a fault

        def __getattr__(self, name: str) -> Any:
            """Name the tables where an attribute is asked for that a study does not have."""
            if hasattr(type(self), name):
                return object.__getattribute__(self, name)  # once more, for the error that this has raised
            text = f"a Study has no attribute {name!r}.{_similar(name)} Its tables are {', '.join(TABLES)}."
            raise AttributeError(text, name=name, obj=self)

    def check(self) -> None:
        """Check every table that can be read in a moment, and what the files of the others say of themselves.

        Raises
        ------
        StudyError
            A table is not as it must be; the message names the file and the column.
        """
        for name in TABLES if self.state == "complete" else ("layers", "samples", "measurements"):
            if (name, self._stamp) in _CHECKED:
                continue
            columns, files = list(TABLES[name].columns), self._files(name)
            if self.num_rows(name) > MOST_ROWS:
                for file in files:
                    _open(file, name, columns)  # which checks its description
                continue
            self._checked(name, self._read(name, columns))
            if name == "measurements":
                _ = self.measurements  # where `num_queries` is not said, it must be known otherwise
            _remember(_CHECKED, (name, self._stamp))

    def _read(self, name: str, columns: Sequence[str], filters: Filters | None = None) -> pa.Table:
        """Some columns of a table in their declared types, each file checked by itself."""
        parts = [_read_file(file, name, columns, filters) for file in self._files(name)]
        if not parts:
            return SCHEMAS[name].empty_table().select(list(columns))
        return pa.concat_tables(parts).unify_dictionaries()

    def _checked(self, name: str, data: pa.Table) -> pa.Table:
        """The same rows, if no two are the same one, and all are of layers and samples of this study.

        Of a study that is being written, rows of layers that came after it was opened are left out.
        """
        table = TABLES[name]
        faults = validation.key_faults(data, table)
        if not faults and name not in ("layers", "samples"):
            if self.state != "complete":
                data = validation.of_layers(data, table, self._layer_names)
            faults = validation.layer_faults(data, table, self._layer_names)
            faults += validation.sample_faults(data, table, self._samples_by_number)
        if not faults and name == "neighbors":
            faults = validation.neighbor_faults(data) or validation.agreement_faults(data, self._samples_by_number)
        if not faults and name == "samples":
            faults = validation.samples_by_number(data)[1]
        if faults:
            raise _not_usable(f"{name}.parquet in {self.path}", faults)
        return data

    @cached_property
    def _layer_names(self) -> tuple[str, ...]:
        return tuple(self.layers["layer"])

    @cached_property
    def _samples_by_number(self) -> validation.Samples:
        return validation.samples_by_number(pa.Table.from_pandas(self.samples[["sample", "split", "label"]]))[0]

    def _files(self, name: str) -> list[Path]:
        """The files of a table. Of a study without a merged table, the parts that there were when it was opened."""
        merged = self.path / f"{name}.parquet"
        if merged.exists():
            return [merged]
        return [file for part in self._parts if (file := part / merged.name).exists()]

    @cached_property
    def _parts(self) -> list[Path]:
        return layer_parts(self.path)

    @cached_property
    def _stamp(self) -> Stamp:
        """What changes when any of the study's tables does."""
        files = sorted(self.path.glob("*.parquet")) + [file for part in self._parts for file in sorted(part.iterdir())]
        return tuple(_file_stamp(file) for file in files if file.exists())


def _similar(name: object) -> str:
    """A suggestion for a wrong name of a table; empty where none is similar."""
    similar = difflib.get_close_matches(str(name), TABLES, n=1)
    return f" Did you mean {similar[0]!r}?" if similar else ""


def load_study(path: str | os.PathLike[str]) -> Study:
    """Open a study folder, complete or not.

    Parameters
    ----------
    path : folder with a `study.json`.

    Raises
    ------
    StudyError
        The folder is missing, holds no study, one of a newer format, or one with something in it that cannot be right;
        the message names the file and the column or field.
    """
    if not isinstance(path, str | os.PathLike):
        raise StudyError(f"path must be that of a study's folder; got {type(path).__name__}. Pass a text.")
    folder = Path(path)
    info = read_info(folder)
    if info is None:
        raise StudyError(
            f"{folder} must be a study folder with a study.json; got {_what_is(folder)}. {_which_folder(folder)}"
        )
    if info.get("format") != FORMAT or "state" not in info:
        raise StudyError(
            f"study.json in {folder} must have format {FORMAT} and a state; got format {info.get('format')!r}. "
            "Update this program, or run the study again."
        )
    faults = info_faults(info)
    if faults:
        raise _not_usable(f"study.json in {folder}", faults)
    if info["state"] == "running" and not is_being_written(folder):
        info["state"] = "partial"  # its run was killed before it could say so
    study = Study(folder, info)
    study.check()
    return study


def read_info(folder: Path) -> dict[str, Any] | None:
    """The content of study.json, or None where there is none."""
    try:
        return read_json_object(folder / "study.json", f"study.json in {folder}")
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise StudyError(f"study.json in {folder} cannot be read: {error.strerror}. Choose another folder.") from error
    except ValueError as error:
        raise StudyError(f"{error} Delete the folder to start over.") from error


def finished_layers(folder: Path) -> set[str]:
    """Names of the layers whose rows are complete."""
    return {
        name for file in _layer_files(folder) for name in _read_file(file, "layers", ["layer"])["layer"].to_pylist()
    }


def layer_notes(folder: Path) -> pd.DataFrame:
    """Position, name and note of the layers that have one, in network order."""
    columns = ["position", "layer", "note"]
    tables = [_read_file(file, "layers", columns) for file in _layer_files(folder)]
    rows = [row for table in tables for row in table.to_pylist()]
    noted = sorted((row for row in rows if row["note"]), key=lambda row: row["position"])
    return pd.DataFrame(noted, columns=columns)


def stored_measurements(folder: Path) -> pd.DataFrame:
    """What tells the layers with many tied samples: columns of the table `measurements`, of the layers done so far."""
    columns = ["layer", "measure", "num_queries", "num_tied"]
    tables = [_read_file(file, "measurements", columns).to_pandas() for file in _table_files(folder, "measurements")]
    return pd.concat(tables, ignore_index=True) if tables else pd.DataFrame(columns=columns)


def _layer_files(folder: Path) -> list[Path]:
    """The files of the table `layers`."""
    return _table_files(folder, "layers")


def _table_files(folder: Path, name: str) -> list[Path]:
    """The files of a table of layers: the merged one, or those of the layers done so far."""
    merged = folder / f"{name}.parquet"
    parts = [part / merged.name for part in layer_parts(folder)]
    return [merged] if merged.exists() else [file for file in parts if file.exists()]


def is_being_written(folder: Path) -> bool:
    """Whether a run holds the study's lock at this moment."""
    return is_locked(folder / ".lock")


def layer_parts(folder: Path) -> list[Path]:
    """Complete parts in network order."""
    parts = folder / "parts"
    return sorted(path for path in parts.iterdir() if path.name.isdigit()) if parts.is_dir() else []


def read_table_file(path: Path, table: Table) -> pa.Table:
    """All columns of one Parquet file in the types that a table declares, with their values checked.

    Raises
    ------
    StudyError
        The file is damaged or something else; the message names it and the column.
    """
    columns = list(table.columns)
    data = _values_of(_open_as(path, table, columns), path, table, columns, None)
    if faults := validation.key_faults(data, table):
        raise _not_usable(f"{path.name} in {path.parent}", faults)
    return data


def _read_file(path: Path, name: str, columns: Sequence[str], filters: Filters | None = None) -> pa.Table:
    file = _open(path, name, [*columns, *filtered_columns(filters or [])])
    return _values_of(file, path, TABLES[name], columns, filters)


def _open(path: Path, name: str, columns: Sequence[str]) -> pq.ParquetFile:
    return _open_as(path, TABLES[name], columns)


def _open_as(path: Path, table: Table, columns: Sequence[str]) -> pq.ParquetFile:
    """Open a table's file after checking its own description, once while the file stays as it is."""
    file = _open_parquet(path)
    try:
        stamp = _file_stamp(path)
        described = (stamp, id(table), *columns)
        if described in _DESCRIBED:
            return file
        _, _, file_bytes, _ = stamp
        faults = validation.file_faults(file, file_bytes, table, list(dict.fromkeys(columns)))
    except (OSError, ValueError, pa.ArrowException) as error:
        raise _broken(path, error) from error
    if faults:
        raise _not_usable(f"{path.name} in {path.parent}", faults)
    _remember(_DESCRIBED, described)
    return file


def _file_stamp(path: Path) -> FileStamp:
    """What changes when a file does: name, time, bytes and inode."""
    stat = os.stat(path)
    return os.path.abspath(path), stat.st_mtime_ns, stat.st_size, stat.st_ino


def _open_parquet(path: Path) -> pq.ParquetFile:
    """Open a file without looking at more than its footer."""
    try:
        check_regular(path)
        return pq.ParquetFile(path.absolute(), page_checksum_verification=True)
    except (OSError, ValueError, pa.ArrowException) as error:
        raise _broken(path, error) from error


def _values_of(
    file: pq.ParquetFile, path: Path, table: Table, columns: Sequence[str], filters: Filters | None
) -> pa.Table:
    """Some columns of a file that was looked at, in their declared types, values checked."""
    there = [column for column in columns if column in file.schema_arrow.names]
    try:
        data = read_filtered(file, there, filters) if filters else file.read(there)
        data, faults = validation.converted(data, table, columns)
    except (OSError, ValueError, pa.ArrowException) as error:
        raise _broken(path, error) from error
    faults = faults or validation.value_faults(data, table)
    if faults:
        raise _not_usable(f"{path.name} in {path.parent}", faults)
    return data


def _distinct_texts(path: Path, name: str, column: str) -> list[str]:
    file = _open(path, name, [column])
    try:
        return distinct_texts(file, column)
    except (OSError, ValueError, pa.ArrowException) as error:
        raise _broken(path, error) from error


def _broken(path: Path, error: Exception) -> StudyError:
    reason = " ".join(str(error).split()) or type(error).__name__
    return StudyError(
        f"{path.name} in {path.parent} cannot be read: {reason[:300].rstrip('.')}. Delete the folder, and run the "
        "study again."
    )


def _not_usable(what: str, faults: Sequence[str]) -> StudyError:
    return StudyError(f"{what} cannot be used: {'; '.join(faults)}. Delete the folder, and run the study again.")


def _remember(checked: OrderedDict[Any, None], what: Hashable) -> None:
    """What has been checked need not be checked again while its files stay as they are."""
    checked[what] = None
    while len(checked) > _REMEMBERED * len(TABLES):
        checked.popitem(last=False)


_CHECKED: OrderedDict[tuple[str, Stamp], None] = OrderedDict()  # name of a table, and the state of the study's files
_DESCRIBED: OrderedDict[tuple[Any, ...], None] = OrderedDict()  # state of a file, and the columns that were looked at


def _which_folder(folder: Path) -> str:
    """What to do about a folder that is no study: which studies are in it."""
    within = sorted(file.parent.name for file in folder.glob("*/study.json"))
    return f"Choose one of the studies in it: {name_some(within)}." if within else "Give the folder that --out named."


def _what_is(folder: Path) -> str:
    if not folder.exists():
        return "no such folder"
    return "a folder without one" if folder.is_dir() else "a file"
