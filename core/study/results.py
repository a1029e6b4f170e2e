"""The tables of a study on disk: their columns, and how to read them. `writing` writes them.

A study is a folder with `study.json` and Parquet tables (see `SCHEMAS`). While a run goes on, each layer's rows lie in
`parts/<position>/`, renamed into place when complete; at the end they are merged. Readers accept both, so a run that
died is a valid study of the layers it finished. Others may write the format: `study.json` needs `format` and `state`.
"""

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from core.study.locks import is_locked

FORMAT = 1

_text = pa.dictionary(pa.int32(), pa.string())


def _schema(**columns: pa.DataType) -> pa.Schema:
    return pa.schema(list(columns.items()))


SCHEMAS: dict[str, pa.Schema] = {
    "layers": _schema(
        position=pa.int32(),
        layer=pa.string(),
        kind=_text,
        block=_text,
        channels=pa.int32(),
        parameters=pa.int64(),
        cumulative_parameters=pa.int64(),
        cumulative_flop=pa.int64(),
        output_shape=pa.list_(pa.int32()),
        num_features=pa.int64(),
        note=pa.string(),  # why there are no values; null where there are
    ),
    "measurements": _schema(
        split=_text,
        layer=_text,
        pooling=_text,
        metric=_text,
        measure=_text,
        order=pa.int32(),
        ties=_text,
        sampling=_text,
        num_queries=pa.int32(),
        num_references=pa.int32(),
        repeat=pa.int32(),
        value=pa.float64(),
        low=pa.float64(),
        high=pa.float64(),
        target=_text,
        chance=pa.float64(),
        excess=pa.float64(),
        z=pa.float64(),
        p_value=pa.float64(),
        q_value=pa.float64(),
        num_undecided=pa.int32(),
    ),
    "classes": _schema(
        split=_text,
        layer=_text,
        pooling=_text,
        measure=_text,
        order=pa.int32(),
        label=pa.int32(),
        num_queries=pa.int32(),
        value=pa.float32(),
        chance=pa.float32(),
    ),
    "samples": _schema(
        sample=pa.int32(), split=_text, id=pa.string(), label=pa.int32(), class_name=_text, source=pa.string()
    ),
    "neighbors": _schema(
        split=_text,
        layer=_text,
        pooling=_text,
        sample=pa.int32(),
        rank=pa.int32(),
        nearest=pa.int32(),
        nearest_split=_text,
        distance=pa.float32(),
        agrees=pa.bool_(),
    ),
    "projection": _schema(split=_text, layer=_text, sample=pa.int32(), x=pa.float32(), y=pa.float32()),
    "curves": _schema(
        split=_text,
        layer=_text,
        pooling=_text,
        metric=_text,
        measure=_text,
        size=pa.int32(),
        kind=_text,
        value=pa.float64(),
        low=pa.float64(),
        high=pa.float64(),
        num_samples=pa.int32(),
        num_sizes=pa.int32(),
        largest_size=pa.int32(),
        repeats=pa.int32(),
        asymptote=pa.float64(),
        gap=pa.float64(),
        rate=pa.float64(),
    ),
    "geometry": _schema(
        split=_text,
        layer=_text,
        pooling=_text,
        measure=_text,
        value=pa.float64(),
        low=pa.float64(),
        high=pa.float64(),
        chance=pa.float64(),
        num_samples=pa.int32(),
    ),
    "alignment": _schema(
        split=_text,
        layer=_text,
        other_layer=_text,
        value=pa.float64(),
        chance=pa.float64(),
        debiased=pa.float64(),
        num_samples=pa.int32(),
    ),
}
# Only in the parts of layers, gone when these are merged: what later layers are aligned with.
PART_SCHEMAS: dict[str, pa.Schema] = {"grams": _schema(split=_text, layer=_text, gram=pa.list_(pa.float32()))}
_LATER_COLUMNS = {"layers": ("cumulative_flop", "note")}  # null in a study written before there were these
WHOLE_TABLES = ("samples",)  # written once, before the first layer
LAYER_TABLES = tuple(name for name in SCHEMAS if name not in WHOLE_TABLES)


class StudyError(ValueError):
    """A folder that is no study, or not the study that was asked for."""


@dataclass(frozen=True, eq=False)
class Study:
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
        return self.table("measurements")

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
    def geometry(self) -> pd.DataFrame:
        """The siblings of SI, intrinsic dimension and hubness; empty for a study made without `geometry`."""
        return self.table("geometry")

    @cached_property
    def alignment(self) -> pd.DataFrame:
        """Linear CKA of pairs of layers, each pair once; empty for a study made without `geometry`."""
        return self.table("alignment")

    def table(
        self, name: str, columns: list[str] | None = None, filters: list[tuple[str, str, Any]] | None = None
    ) -> pd.DataFrame:
        """A table of the study, merged or from its parts; empty, with the right columns, where nothing was written.

        columns, filters : what to read of it, as in `pyarrow.parquet.read_table`; default all.
        """
        parts = _read_tables(self.path, name, columns, filters)
        if not parts:
            return SCHEMAS[name].empty_table().select(columns or SCHEMAS[name].names).to_pandas()
        later = [] if columns else [SCHEMAS[name].field(added) for added in _LATER_COLUMNS.get(name, ())]
        missing = set(columns or SCHEMAS[name].names) - set(parts[0].column_names) - {field.name for field in later}
        if missing:
            raise StudyError(f"The table {name} in {self.path} lacks the columns {', '.join(sorted(missing))}.")
        found = pa.concat_tables([*parts, pa.schema(later).empty_table()], promote_options="permissive")
        return found.unify_dictionaries().to_pandas()


def load_study(path: str | os.PathLike[str]) -> Study:
    """Open a study folder, complete or not.

    Parameters
    ----------
    path : folder with a `study.json`.

    Raises
    ------
    StudyError
        The folder is missing, holds no study, or one of a newer format.
    """
    folder = Path(path)
    info = read_info(folder)
    if info is None:
        raise StudyError(
            f"{folder} must be a study folder with a study.json; got {_what_is(folder)}. "
            "Give the folder that --out named."
        )
    if info.get("format") != FORMAT or "state" not in info:
        raise StudyError(
            f"study.json in {folder} must have format {FORMAT} and a state; got format {info.get('format')!r}. "
            "Update this program, or run the study again."
        )
    if info["state"] == "running" and not is_being_written(folder):
        info["state"] = "partial"  # its run was killed before it could say so
    return Study(folder, info)


def read_info(folder: Path) -> dict[str, Any] | None:
    """The content of study.json, or None where there is none."""
    try:
        info = json.loads((folder / "study.json").read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise StudyError(
            f"study.json in {folder} must be JSON; got {error}. Delete the folder to start over."
        ) from error
    if not isinstance(info, dict):
        raise StudyError(f"study.json in {folder} must be a JSON object; got {type(info).__name__}.")
    return info


def finished_layers(folder: Path) -> set[str]:
    """Names of the layers whose rows are complete."""
    return {name for table in _read_tables(folder, "layers", ["layer"]) for name in table["layer"].to_pylist()}


def layer_notes(folder: Path) -> pd.DataFrame:
    """Position, name and note of the layers that have one, in network order."""
    tables = [table for table in _read_tables(folder, "layers", None) if "note" in table.column_names]
    rows = [row for table in tables for row in table.select(["position", "layer", "note"]).to_pylist()]
    noted = sorted((row for row in rows if row["note"]), key=lambda row: row["position"])
    return pd.DataFrame(noted, columns=["position", "layer", "note"])


def is_being_written(folder: Path) -> bool:
    """Whether a run holds the study's lock at this moment."""
    return is_locked(folder / ".lock")


def layer_parts(folder: Path) -> list[Path]:
    """Complete parts in network order."""
    parts = folder / "parts"
    return sorted(path for path in parts.iterdir() if path.name.isdigit()) if parts.is_dir() else []


def _read_tables(
    folder: Path, name: str, columns: list[str] | None, filters: list[tuple[str, str, Any]] | None = None
) -> list[pa.Table]:
    """A table's files, read."""
    try:
        return [pq.read_table(file, columns=columns, filters=filters) for file in _table_files(folder, name)]
    except (OSError, pa.ArrowException) as error:
        raise StudyError(
            f"The study in {folder} has a broken table {name}: {error}. Delete the folder, and run the study again."
        ) from error


def _table_files(folder: Path, name: str) -> list[Path]:
    """The merged file of a table where there is one, else its parts."""
    merged = folder / f"{name}.parquet"
    if merged.exists():
        return [merged]
    return [file for part in layer_parts(folder) if (file := part / f"{name}.parquet").exists()]


def _what_is(folder: Path) -> str:
    if not folder.exists():
        return "no such folder"
    return "a folder without one" if folder.is_dir() else "a file"
