"""The epochs of a training on disk: a study of the network after each recorded epoch, in one folder.

    epochs/00000/     an ordinary study of the network before the first epoch, epochs/00003/ of the one after the third
    history.parquet   one row an epoch, in order; see `HISTORY`
    study.json, ...   the tables of the last recorded epoch again: the folder is an ordinary study, too

An epoch's folder is renamed into place when it is whole, and only then copied to the top, a table at a time. A training
that goes on from an earlier epoch drops the later ones.
"""

import os
import re
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from core.data.errors import DataError
from core.data.files import check_regular
from core.study.samples import StudySamples
from core.study.store.opening import FORMAT, SCHEMAS, Study, StudyError, load_study, read_info, read_table_file
from core.study.store.schemas import HISTORY as HISTORY_TABLE
from core.study.store.study_json import info_faults
from core.study.store.writing import (
    begin,
    differences,
    end,
    now_utc,
    replace_file,
    study_lock,
    write_info,
    write_layer,
)

HISTORY = HISTORY_TABLE.schema
_EPOCHS, _HISTORY_FILE = "epochs", "history.parquet"
_OURS = (".lock", _EPOCHS, _HISTORY_FILE)  # of a start that was cut short

Info = dict[str, Any]
Tables = Mapping[str, pd.DataFrame]


def has_epochs(folder: Path) -> bool:
    """Whether a study has recorded epochs of a training."""
    return bool(recorded_epochs(folder))


def recorded_epochs(folder: str | os.PathLike[str]) -> tuple[int, ...]:
    """The numbers of the epochs that a study has, ascending; 0 is the network before the first one."""
    epochs = Path(folder) / _EPOCHS
    names = [path.name for path in epochs.iterdir()] if epochs.is_dir() else []
    return tuple(sorted(int(name) for name in names if re.fullmatch("[0-9]{5,9}", name)))


def load_epoch(folder: str | os.PathLike[str], epoch: int) -> Study:
    """The study of the network after one epoch.

    Raises
    ------
    StudyError
        The epoch was not recorded.
    """
    recorded = recorded_epochs(folder)
    if epoch not in recorded:
        raise StudyError(f"epoch must be one of {', '.join(map(str, recorded)) or 'none'} in {folder}; got {epoch}.")
    return load_study(_epoch_folder(Path(folder), epoch))


def read_epochs(folder: str | os.PathLike[str]) -> pd.DataFrame:
    """The table `measurements` of every recorded epoch, in order, with the column `epoch` in front."""
    tables = []
    for epoch in recorded_epochs(folder):
        table = load_epoch(folder, epoch).measurements
        table.insert(0, "epoch", epoch)
        tables.append(table.astype(dict.fromkeys(table.columns[table.dtypes == "category"], object)))
    if not tables:
        return pd.DataFrame(columns=["epoch", *SCHEMAS["measurements"].names])
    return pd.concat(tables, ignore_index=True)


def read_history(folder: str | os.PathLike[str]) -> pd.DataFrame:
    """One row an epoch of the training, with the columns of `HISTORY`; empty where there is none.

    Raises
    ------
    StudyError
        The file is damaged.
    """
    path = Path(folder) / _HISTORY_FILE
    table = read_table_file(path, HISTORY_TABLE) if path.exists() else HISTORY.empty_table()
    rows: pd.DataFrame = table.to_pandas()
    return rows


class EpochsWriter:
    """Writes the epochs of one training into a folder, one at a time.

    folder : of the study, made where it does not exist. samples : the same at every epoch.
    info : `asked` and `used` of study.json; a training that goes on must have the same `asked` and the same data.
    """

    def __init__(self, folder: str | os.PathLike[str], samples: StudySamples, info: Info) -> None:
        self.folder = Path(folder)
        self._samples, self._info = samples, info
        self._created = now_utc()
        self._written: set[int] = set()

    def start(self, epoch: int) -> bool:
        """Begin, or go on, after so many epochs; later ones are dropped. Returns whether this epoch is recorded.

        Raises
        ------
        StudyError
            The folder holds something else, another training, or, where `epoch` is 0, later epochs of one.
        """
        with study_lock(self.folder):
            there = read_info(self.folder)
            self._check(there)
            recorded = recorded_epochs(self.folder)
            if epoch == 0 and recorded and recorded[-1] > 0:
                raise StudyError(
                    f"{self.folder} holds epochs up to {recorded[-1]}. Pass initial_epoch={recorded[-1]} to fit to go "
                    "on from there, choose another folder, or delete this one."
                )
            self._created = (there or {}).get("created", self._created)
            self._drop_after(epoch)
            self._written = {number for number in recorded if number <= epoch}
            return epoch in recorded

    def write(self, epoch: int, layers: Sequence[Tables]) -> None:
        """Record an epoch: the tables of each layer, as `core.study.measuring.layer_tables.measure_layer` returns
        them."""
        self._check_still_there()
        with study_lock(self.folder):
            final = _epoch_folder(self.folder, epoch)
            scratch = final.with_name(f".{final.name}.tmp")
            shutil.rmtree(scratch, ignore_errors=True)
            scratch.mkdir(parents=True)
            info = begin(scratch, self._study_info(epoch), self._samples.frame())
            for tables in layers:
                write_layer(scratch, int(tables["layers"]["position"].iloc[0]), tables)
            end(scratch, info, complete=True)
            (scratch / ".lock").unlink(missing_ok=True)
            shutil.rmtree(final, ignore_errors=True)
            scratch.rename(final)
            self._publish(final, finished=False)
            self._written.add(epoch)

    def add_history(self, row: Mapping[str, Any]) -> None:
        """Append an epoch's row to the history."""
        self._check_still_there()
        history = read_history(self.folder)
        rows = [*history[history["epoch"] != row["epoch"]].to_dict("records"), dict(row)]
        self._write_history(pd.DataFrame(rows, columns=HISTORY.names))

    def finish(self) -> None:
        """Say that the training has ended."""
        self._check_still_there()
        recorded = recorded_epochs(self.folder)
        if recorded:
            with study_lock(self.folder):
                self._publish(_epoch_folder(self.folder, recorded[-1]), finished=True)

    def _check_still_there(self) -> None:
        """Refuse to go on where the epochs that this training has written, or went on from, are gone."""
        lost = sorted(self._written - set(recorded_epochs(self.folder)))
        if lost:
            gone = f"epoch {lost[0]} is gone" if self.folder.is_dir() else "it has been removed"
            raise StudyError(f"{self.folder} must stay as it is while a training writes to it; {gone}. Train again.")

    def _drop_after(self, epoch: int) -> None:
        """Go back to an earlier epoch."""
        kept = [number for number in recorded_epochs(self.folder) if number <= epoch]
        later = [number for number in recorded_epochs(self.folder) if number > epoch]
        for number in later:
            shutil.rmtree(_epoch_folder(self.folder, number))
        history = read_history(self.folder)
        if (history["epoch"] > epoch).any():
            self._write_history(history[history["epoch"] <= epoch])
        if later and kept:
            self._publish(_epoch_folder(self.folder, kept[-1]), finished=False)

    def _publish(self, newest: Path, *, finished: bool) -> None:
        """Copy an epoch's tables to the top, study.json last; nothing where one of them is no regular file."""
        files = list(newest.glob("*.parquet"))
        try:
            for file in files:
                check_regular(file)  # a copy of a device such as /dev/zero would fill the disk
        except DataError as error:
            raise StudyError(f"{error} Delete {newest}, and train again from an earlier epoch.") from error
        for file in files:
            replace_file(self.folder / file.name, lambda scratch, file=file: shutil.copyfile(file, scratch))  # type: ignore[misc]
        training = {"epochs": list(recorded_epochs(self.folder)), "finished": finished}
        info = read_info(newest) or {}
        write_info(self.folder, info | {"created": self._created, "training": info["training"] | training})

    def _study_info(self, epoch: int) -> Info:
        """study.json of one epoch but for format, state and times."""
        used = dict(self._info["used"])
        used["model"] = {**used.get("model", {}), "weights": _after(epoch)}
        return {**self._info, "used": used, "training": {"epoch": epoch}}

    def _check(self, there: Info | None) -> None:
        """Refuse a folder that holds anything but this training."""
        if there is None:
            others = sorted(path.name for path in self.folder.iterdir() if path.name not in _OURS)
            others = [name for name in others if not name.endswith((".parquet", ".tmp"))]
            if others:
                raise StudyError(
                    f"{self.folder} must be empty or hold the epochs of a training; it has {', '.join(others[:3])}. "
                    "Choose another folder."
                )
            return
        if there.get("format") != FORMAT or "training" not in there:
            raise StudyError(f"{self.folder} holds a study that is none of a training. Choose another folder.")
        if faults := info_faults(there):
            raise StudyError(f"study.json in {self.folder} cannot be used: {'; '.join(faults)}. Choose another folder.")
        changed = differences(there.get("asked", {}), self._info["asked"])
        changed += differences(there.get("used", {}).get("data", {}), self._info["used"]["data"], "data.")
        if changed:
            raise StudyError(
                f"{self.folder} holds another training; it differs in {'; '.join(changed)}. "
                "Ask for the same to go on with it, choose another folder, or delete this one."
            )

    def _write_history(self, history: pd.DataFrame) -> None:
        table = pa.Table.from_pandas(history.reindex(columns=HISTORY.names), HISTORY, preserve_index=False)
        replace_file(self.folder / _HISTORY_FILE, lambda scratch: pq.write_table(table, scratch))


def _epoch_folder(folder: Path, epoch: int) -> Path:
    return folder / _EPOCHS / f"{epoch:05d}"


def _after(epoch: int) -> str:
    """How the weights of an epoch came about."""
    return "before training" if epoch == 0 else f"after {epoch} epoch{'s' * (epoch > 1)}"
