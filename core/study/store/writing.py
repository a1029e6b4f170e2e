"""Writing a study: one writer at a time, a layer at a time, each step whole or not at all."""

import json
import shutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from core.data.files import check_folder, make_folder, replace_file
from core.measures.significance import q_values
from core.network.models.registry import is_model_file
from core.study.measuring.unusable import unusable_cautions
from core.study.resumed_kernels import go_on_with_kernels
from core.study.store.locks import LockTakenError, held_lock
from core.study.store.marks import MARKS_FILE, MARKS_LOCK
from core.study.store.opening import (
    FORMAT,
    LAYER_TABLES,
    PART_SCHEMAS,
    SCHEMAS,
    StudyError,
    finished_layers,
    layer_notes,
    layer_parts,
    load_study,
    read_info,
    read_table_file,
    stored_measurements,
)
from core.study.store.replacing import refuse_to_replace
from core.study.store.study_json import info_faults, printable_values
from core.study.store.tables.schemas import TABLES
from core.study.store.tables.ties import tie_cautions

Info = dict[str, Any]
_LEVEL, _LEVEL_OF_PARTS = 9, 1  # of Zstandard: parts are read once, and gone when the study is complete
_ROW_GROUP = 2**17  # rows; who reads one layer of a large table reads a few groups of them, not all
_LOCK_S = 0.2  # a reader that asks whether the study is being written holds its lock for an instant
_MERGED, _SAMPLES = ".parts.tmp", "samples.parquet"


@contextmanager
def study_lock(folder: Path) -> Iterator[None]:
    """Hold the study for one writer; a second one is refused. The system frees it when the holder dies."""
    make_folder(folder)
    try:
        with held_lock(folder / ".lock", _LOCK_S):
            yield
    except LockTakenError as error:
        raise StudyError(f"{folder} is being written by another run. Wait for it, or choose another folder.") from error


def remove_unused(folder: Path) -> None:
    """Remove a study in which no layer has been measured, as a failed start leaves it; another one stays."""
    if finished_layers(folder) or (folder / MARKS_FILE).exists():
        return
    for name in ("study.json", _SAMPLES, ".lock"):
        (folder / name).unlink(missing_ok=True)
    with suppress(OSError):  # of a folder that holds something else
        (folder / "parts").rmdir()
    with suppress(OSError):
        folder.rmdir()


def begin(folder: Path, info: Info, samples: pd.DataFrame) -> Info:
    """Start a study, or go on with the one in the folder if it is the same.

    Parameters
    ----------
    folder : locked by the caller.
    info : `asked` and `used`, and what else study.json shall bear.
    samples : the table `samples`.

    Returns
    -------
    The content of study.json: as it stands if the study is complete, else in the state "running".

    Raises
    ------
    StudyError
        The folder holds something else, or a study that asked for or used something else; the difference is named.
        Or what it holds is damaged.
        Or some of its layers were computed with other kernels of TensorFlow.
    """
    info, there = printable_values(info), read_info(folder)
    if there is None:
        _refuse_other_content(folder)
        there = {"format": FORMAT, "state": "running", "created": now_utc()}
        _write_samples(folder, samples)
    else:
        _refuse_differences(folder, there, info)
        load_study(folder)  # which refuses what is damaged, now and not after hours
        if there.get("state") == "complete":
            return there
        if not (folder / _SAMPLES).exists():
            _write_samples(folder, samples)
        if finished_layers(folder):
            info = dict(go_on_with_kernels(folder, there, info))
    for stale in (*folder.glob("parts/*.tmp"), folder / _MERGED):
        shutil.rmtree(stale, ignore_errors=True)
    running = there | info | {"state": "running"}
    write_info(folder, running)
    return running


def refuse_occupied(folder: Path, *, overwrite: bool = False) -> None:
    """Refuse a folder in which no study can be begun or gone on with, before anything that takes long.

    overwrite : whether a study that is there will be replaced.

    Raises
    ------
    StudyError
        It holds a complete study, or something else.
    DataError
        It cannot be made or written to.
    """
    check_folder(folder)
    if overwrite and (folder / "study.json").exists():
        refuse_to_replace(folder, "study.json")
        return
    info = read_info(folder)
    if info is not None and info.get("state") == "complete":
        raise StudyError(
            f"{folder} holds a complete study. Choose another folder, or pass overwrite=True to replace it."
        )
    if info is None and folder.exists():
        _refuse_other_content(folder)


def check_still_there(folder: Path, layers: Iterable[str] = ()) -> None:
    """Refuse to go on with a folder from which others have taken what a run has written into it.

    layers : those whose rows this run has written, or found there when it started.

    Raises
    ------
    StudyError
        The folder, its study.json, its samples or the rows of one of the layers are gone.
    """
    lost = [name for name in ("study.json", _SAMPLES) if not (folder / name).exists()]
    if expected_layers := () if lost else tuple(layers):
        finished = finished_layers(folder)  # once: it opens a file of each layer
        lost = [f"the rows of {name!r}" for name in expected_layers if name not in finished]
    if lost:
        gone = f"it has lost {', '.join(lost[:3])}" if folder.is_dir() else "it has been removed"
        raise StudyError(f"{folder} must stay as it is while a run writes to it; {gone}. Run the same command again.")


def end(folder: Path, info: Info, *, complete: bool) -> None:
    """Merge the tables of a complete study; leave an interrupted one as it is, to be resumed.

    What is to be said of layers without values, or with many tied samples, is added to the cautions.

    Raises
    ------
    StudyError
        It shall be complete, but others have taken something from the folder meanwhile.
    """
    if complete:
        check_still_there(folder)
        merge_parts(folder)
    elif not (folder / "study.json").exists():
        return  # the folder has been removed: there is nothing left to be resumed
    if cautions := [*unusable_cautions(layer_notes(folder)), *tie_cautions(stored_measurements(folder))]:
        info = info | {"cautions": list(dict.fromkeys([*info.get("cautions", []), *cautions]))}
    write_info(
        folder, info | {"state": "complete" if complete else "partial", "finished": now_utc() if complete else None}
    )


def write_info(folder: Path, info: Mapping[str, Any]) -> None:
    """Replace study.json in one step, so that a reader sees the old or the new one."""
    write_json(folder / "study.json", info)


def write_layer(folder: Path, position: int, tables: Mapping[str, pd.DataFrame]) -> None:
    """Write one layer's rows, all of its tables at once: they appear together or not at all.

    Raises
    ------
    StudyError
        The folder is gone.
    """
    if not folder.is_dir():
        check_still_there(folder)
    final = folder / "parts" / f"{position:05d}"
    scratch = final.with_name(final.name + ".tmp")
    shutil.rmtree(scratch, ignore_errors=True)
    final.parent.mkdir(exist_ok=True)
    scratch.mkdir()
    for name, frame in tables.items():
        _write_table(scratch / f"{name}.parquet", _as_table(name, frame), compression_level=_LEVEL_OF_PARTS)
    scratch.rename(final)


def write_embedding(part: Path, rows: pd.DataFrame) -> None:
    """Write the embedding of a layer into its part, beside its projection, whose place it takes when parts are merged.

    rows : of the table `projection`.
    """
    table = _as_table("embedding", rows)
    replace_file(part / "embedding.parquet", partial(_write_table, table=table, compression_level=_LEVEL_OF_PARTS))


def merge_parts(folder: Path) -> None:
    """Merge the layers' parts into one file a table, in network order, and drop the parts. Safe to repeat."""
    parts = layer_parts(folder)
    if not parts:
        return
    with ThreadPoolExecutor(thread_name_prefix="merge-parts") as pool:
        list(pool.map(partial(_merge_table, folder, parts), LAYER_TABLES))  # a list, so that an error is raised
    # In one step: half of the parts, merged again by a resumed run, would replace all of them.
    (folder / "parts").rename(folder / _MERGED)
    shutil.rmtree(folder / _MERGED)


def _merge_table(folder: Path, parts: Sequence[Path], name: str) -> None:
    """Merge one table; nothing where no part has it."""
    files = [part / f"{name}.parquet" for part in parts]
    if name == "projection":  # an embedding takes its place
        embedded = [part / "embedding.parquet" for part in parts]
        files = [file if file.exists() else other for file, other in zip(embedded, files, strict=True)]
    tables = [read_table_file(file, TABLES[name]) for file in files if file.exists()]
    if tables:
        merged = _finished(name, pa.concat_tables(tables).unify_dictionaries())
        replace_file(folder / f"{name}.parquet", partial(_write_table, table=merged))


def _finished(name: str, merged: pa.Table) -> pa.Table:
    """What only the whole study can say: q-values, over all its p-values together."""
    if name != "measurements":
        return merged
    position = merged.column_names.index("q_value")
    adjusted = q_values(merged["p_value"].to_numpy())
    return merged.set_column(position, "q_value", pa.array(adjusted, pa.float64(), from_pandas=True))


def differences(there: Mapping[str, Any], here: Mapping[str, Any], prefix: str = "") -> list[str]:
    """Where two nested settings differ, as readable entries "name: old → new"."""
    entries = []
    for key in dict.fromkeys([*there, *here]):
        old, new = there.get(key), here.get(key)
        if isinstance(old, Mapping) and isinstance(new, Mapping):
            entries += differences(old, new, f"{prefix}{key}.")
        elif old != new:
            entries.append(f"{prefix}{key}: {old!r} → {new!r}")
    return entries


def _refuse_differences(folder: Path, there: Info, info: Info) -> None:
    """The same folder with other options or other data would mix two studies."""
    if there.get("format") != FORMAT:
        raise StudyError(
            f"{folder} holds a study of format {there.get('format')!r}, not {FORMAT}. Choose another folder."
        )
    faults = info_faults(there)
    if faults:
        raise StudyError(f"study.json in {folder} cannot be used: {'; '.join(faults)}. Choose another folder.")
    changed = differences(_comparable(there.get("asked", {})), _comparable(info["asked"]))
    for part, unimportant in {"data": ("name", "ignored_files", "sources_folder"), "model": ()}.items():
        old, new = (_without(whole.get("used", {}).get(part, {}), *unimportant) for whole in (there, info))
        changed += differences(old, new, f"{part}.")
    if changed:
        raise StudyError(
            f"{folder} holds another study; it differs in {'; '.join(changed)}. "
            "Ask for the same to go on with it, choose another folder, or replace it: overwrite=True, or --overwrite."
        )


def _comparable(asked: Info) -> Info:
    """What was asked, but for what something that was used stands for.

    A data folder has many names, and its fingerprint is what counts; the hash of a file's weights says what network it
    is.
    """
    settings = _without(asked, "data")
    return _without(settings, "model") if is_model_file(settings.get("weights")) else settings


def _without(settings: Info, *names: str) -> Info:
    """Settings but for some."""
    return {key: value for key, value in settings.items() if key not in names}


def _refuse_other_content(folder: Path) -> None:
    ours = (".lock", _SAMPLES, f".{_SAMPLES}.tmp", ".study.json.tmp", MARKS_FILE, MARKS_LOCK)  # of a start cut short
    others = sorted(path.name for path in folder.iterdir() if path.name not in ours)
    if others:
        raise StudyError(
            f"{folder} must be empty or hold a study; it has {', '.join(others[:3])} and no study.json. "
            "Choose another folder."
        )


def _write_samples(folder: Path, samples: pd.DataFrame) -> None:
    replace_file(folder / _SAMPLES, partial(_write_table, table=_as_table("samples", samples)))


def _as_table(name: str, frame: pd.DataFrame) -> pa.Table:
    """The frame in the table's schema; columns that it lacks, or that hold nothing, are null."""
    schema = {**SCHEMAS, **PART_SCHEMAS}[name]
    unknown = set(frame.columns) - set(schema.names)
    if unknown:
        raise ValueError(
            f"the table {name} must have the columns of its schema; got also {', '.join(sorted(unknown))}."
        )
    values = dict(frame.items())
    columns = [_as_array(values.get(field.name), field.type, len(frame)) for field in schema]
    return pa.Table.from_arrays(columns, schema=schema)


def _as_array(values: "pd.Series[Any] | None", kind: pa.DataType, num_rows: int) -> pa.Array:
    """Convert a column to its declared type, null where it is missing or holds nothing."""
    is_complete = values is not None and num_rows > 0 and values.dtype.kind in "iub"  # these have no gaps
    if values is None or not (is_complete or values.notna().any()):
        return pa.nulls(num_rows, kind)
    return pa.array(values, kind, from_pandas=True)


def _write_table(path: Path, table: pa.Table, *, compression_level: int = _LEVEL) -> None:
    """Numbers stand as they are: a dictionary of numbers that hardly repeat makes the file larger.

    With checksums, so that a reader notices what a disk or a copy has changed.
    """
    pq.write_table(
        table,
        path.absolute(),  # a colon in a relative path would make an address of it
        compression="zstd",
        compression_level=compression_level,
        use_dictionary=_texts(table.schema),
        write_page_checksum=True,
        row_group_size=_ROW_GROUP,
    )


def _texts(schema: pa.Schema) -> list[str]:
    return [field.name for field in schema if pa.types.is_dictionary(field.type) or pa.types.is_string(field.type)]


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """Replace a JSON file in one step. Names of files that are no UTF-8 are written with escapes."""
    text = json.dumps(printable_values(content), indent=1, ensure_ascii=False)
    replace_file(path, lambda scratch: scratch.write_text(text + "\n", encoding="utf-8"))


def now_utc() -> str:
    """The time in UTC, to the second."""
    return datetime.now(UTC).isoformat(timespec="seconds")
