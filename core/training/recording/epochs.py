"""The recorded epochs of a training on disk: one folder with a study of the network after each recorded epoch.

    epochs/00000/     a study of the network before the first epoch; epochs/00003/ is the one after the third
    epochs/.lock      held by the training as long as it runs; see `training_state`
    history.parquet   one row per epoch, in order; see `HISTORY`
    study.json, ...   copies of the tables of the last recorded epoch: the folder itself is a study, too

The folder of an epoch is renamed into place when it is complete, and only then its tables are copied to the top. If a
training is resumed from an earlier epoch, the later ones are removed.
"""

import os
import re
import shutil
import weakref
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from core.data.errors import DataError
from core.data.files import check_regular, replace_file
from core.study.samples import StudySamples
from core.study.store.locks import is_locked, lock_file
from core.study.store.opening import FORMAT, SCHEMAS, Study, StudyError, load_study, read_info, read_table_file
from core.study.store.study_json import info_faults
from core.study.store.tables.schemas import HISTORY as HISTORY_TABLE
from core.study.store.writing import (
    begin,
    differences,
    end,
    now_utc,
    study_lock,
    write_info,
    write_layer,
)

HISTORY = HISTORY_TABLE.schema
RUNNING, FINISHED, INTERRUPTED, NONE = "running", "finished", "interrupted", "none"
_EPOCHS, _HISTORY_FILE, _LOCK = "epochs", "history.parquet", ".lock"
_OWN_FILES = (".lock", _EPOCHS, _HISTORY_FILE)  # may exist without a study.json after an interrupted start

Info = dict[str, Any]
Tables = Mapping[str, pd.DataFrame]


def recorded_epochs(folder: str | os.PathLike[str]) -> tuple[int, ...]:
    """Return the numbers of the recorded epochs, ascending; 0 is the network before the first epoch."""
    epochs = Path(folder) / _EPOCHS
    names = [path.name for path in epochs.iterdir()] if epochs.is_dir() else []
    return tuple(sorted(int(name) for name in names if re.fullmatch("[0-9]{5,9}", name)))


def training_state(folder: str | os.PathLike[str]) -> str:
    """Return whether a recorded training is "running", "finished" or "interrupted"; "none" without a recorded epoch.

    A training that runs holds a lock, which ends with its process. So one that has been killed is interrupted. In a
    notebook, a training that an error has stopped is running until its callback is gone or trains again.

    Raises
    ------
    StudyError
        If study.json is damaged.
    """
    folder = Path(folder)
    if not recorded_epochs(folder):
        return NONE
    training = (read_info(folder) or {}).get("training")
    if isinstance(training, Mapping) and training.get("finished") is True:
        return FINISHED
    return RUNNING if is_locked(folder / _EPOCHS / _LOCK) else INTERRUPTED


def load_epoch(folder: str | os.PathLike[str], epoch: int) -> Study:
    """Open the study of the network after one epoch.

    Raises
    ------
    StudyError
        If the epoch was not recorded.
    """
    recorded = recorded_epochs(folder)
    if epoch not in recorded:
        raise StudyError(f"epoch must be one of {', '.join(map(str, recorded)) or 'none'} in {folder}; got {epoch}.")
    return load_study(_epoch_folder(Path(folder), epoch))


def read_epochs(folder: str | os.PathLike[str]) -> pd.DataFrame:
    """Return the table `measurements` of all recorded epochs, in order, with an additional first column `epoch`."""
    tables = []
    for epoch in recorded_epochs(folder):
        table = load_epoch(folder, epoch).measurements
        table.insert(0, "epoch", epoch)
        tables.append(table.astype(dict.fromkeys(table.columns[table.dtypes == "category"], object)))
    if not tables:
        return pd.DataFrame(columns=["epoch", *SCHEMAS["measurements"].names])
    return pd.concat(tables, ignore_index=True)


def read_history(folder: str | os.PathLike[str]) -> pd.DataFrame:
    """Return one row per epoch of the training, with the columns of `HISTORY`; empty without a history.

    Raises
    ------
    StudyError
        If the file is damaged.
    """
    path = Path(folder) / _HISTORY_FILE
    table = read_table_file(path, HISTORY_TABLE) if path.exists() else HISTORY.empty_table()
    rows: pd.DataFrame = table.to_pandas()
    return rows


class EpochsWriter:
    """Writes the epochs of one training into a folder, one at a time.

    Parameters
    ----------
    folder : str or path-like
        Folder of the study; it is created if it does not exist.
    samples : StudySamples
        The samples, the same at every epoch.
    info : dict
        `asked` and `used` for study.json; a resumed training must have the same `asked` and the same data.
    """

    def __init__(self, folder: str | os.PathLike[str], samples: StudySamples, info: Info) -> None:
        self.folder = Path(folder)
        self._samples, self._info = samples, info
        self._created = now_utc()
        self._written: set[int] = set()
        self._free_lock: Callable[[], object] | None = None  # called, too, when this writer or its process is gone

    def start(self, epoch: int) -> bool:
        """Begin, or resume after `epoch` epochs; later epochs are removed. Return whether this epoch is recorded.

        Raises
        ------
        StudyError
            If the folder contains something else, another training or, for `epoch` 0, later epochs.
        """
        with study_lock(self.folder):
            existing_info = read_info(self.folder)
            self._check_same_training(existing_info)
            recorded = recorded_epochs(self.folder)
            if epoch == 0 and recorded and recorded[-1] > 0:
                raise StudyError(
                    f"{self.folder} holds epochs up to {recorded[-1]}. Pass initial_epoch={recorded[-1]} to fit to "
                    "resume from there, choose another folder, or delete this one."
                )
            self._created = (existing_info or {}).get("created", self._created)
            self._remove_later_epochs(epoch)
            self._written = {number for number in recorded if number <= epoch}
            if self._written:  # a finished training that goes on is no longer finished
                self._publish(_epoch_folder(self.folder, max(self._written)), finished=False)
            self._hold_lock()
            return epoch in recorded

    def write(self, epoch: int, layers: Sequence[Tables]) -> None:
        """Record an epoch from the tables of each layer, which `core.study.measuring.layer_tables.measure_layer` makes.

        Parameters
        ----------
        epoch : int
            Number of the epoch.
        layers : sequence of mapping
            For each layer its tables by name.
        """
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
            self._hold_lock()  # where an earlier training held it when this one started

    def add_history(self, row: Mapping[str, Any]) -> None:
        """Append the row of an epoch to the history, replacing an earlier row of this epoch."""
        self._check_still_there()
        history = read_history(self.folder)
        rows = [*history[history["epoch"] != row["epoch"]].to_dict("records"), dict(row)]
        self._write_history(pd.DataFrame(rows, columns=HISTORY.names))

    def finish(self) -> None:
        """Record that the training has ended."""
        self._check_still_there()
        recorded = recorded_epochs(self.folder)
        if recorded:
            with study_lock(self.folder):
                self._publish(_epoch_folder(self.folder, recorded[-1]), finished=True)
        if self._free_lock is not None:
            self._free_lock()
            self._free_lock = None

    def _hold_lock(self) -> None:
        """Hold the lock by which others see that this training runs; another one that holds it is not hindered."""
        if self._free_lock is not None:
            return
        path = self.folder / _EPOCHS / _LOCK
        path.parent.mkdir(exist_ok=True)
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
        try:
            lock_file(descriptor)
        except OSError:  # such as an earlier training of this notebook, which an error has stopped
            os.close(descriptor)
            return
        self._free_lock = weakref.finalize(self, os.close, descriptor)

    def _check_still_there(self) -> None:
        """Raise an error if epochs that this training has written or resumed from have been removed."""
        missing = sorted(self._written - set(recorded_epochs(self.folder)))
        if missing:
            state = f"epoch {missing[0]} is gone" if self.folder.is_dir() else "it has been removed"
            raise StudyError(f"{self.folder} must stay as it is while a training writes to it; {state}. Train again.")

    def _remove_later_epochs(self, epoch: int) -> None:
        """Remove the epochs after `epoch`, and copy the last remaining one to the top."""
        remaining = [number for number in recorded_epochs(self.folder) if number <= epoch]
        later = [number for number in recorded_epochs(self.folder) if number > epoch]
        for number in later:
            shutil.rmtree(_epoch_folder(self.folder, number))
        history = read_history(self.folder)
        if (history["epoch"] > epoch).any():
            self._write_history(history[history["epoch"] <= epoch])
        if later and remaining:
            self._publish(_epoch_folder(self.folder, remaining[-1]), finished=False)

    def _publish(self, newest: Path, *, finished: bool) -> None:
        """Copy the tables of an epoch to the top, study.json last; nothing if the epoch is damaged."""
        info = read_info(newest)
        if info is None or not isinstance(info.get("training"), dict):
            raise StudyError(
                f"{newest} must hold the study.json of an epoch; it is {'missing' if info is None else 'another one'}. "
                f"Delete {newest}, and train again from an earlier epoch."
            )
        files = list(newest.glob("*.parquet"))
        try:
            for file in files:
                check_regular(file)  # a copy of a device such as /dev/zero would fill the disk
        except DataError as error:
            raise StudyError(f"{error} Delete {newest}, and train again from an earlier epoch.") from error
        for file in files:
            replace_file(self.folder / file.name, lambda scratch, file=file: shutil.copyfile(file, scratch))  # type: ignore[misc]
        training = {"epochs": list(recorded_epochs(self.folder)), "finished": finished}
        write_info(self.folder, info | {"created": self._created, "training": info["training"] | training})

    def _study_info(self, epoch: int) -> Info:
        """Return the content of study.json for one epoch, without format, state and times."""
        used = dict(self._info["used"])
        used["model"] = {**used.get("model", {}), "weights": _weights_text(epoch)}
        return {**self._info, "used": used, "training": {"epoch": epoch}}

    def _check_same_training(self, existing_info: Info | None) -> None:
        """Raise an error if the folder contains anything but this training."""
        if existing_info is None:
            names = sorted(path.name for path in self.folder.iterdir() if path.name not in _OWN_FILES)
            unexpected = [name for name in names if not name.endswith((".parquet", ".tmp"))]
            if unexpected:
                raise StudyError(
                    f"{self.folder} must be empty or hold the epochs of a training; it has "
                    f"{', '.join(unexpected[:3])}. Choose another folder."
                )
            return
        if existing_info.get("format") != FORMAT or "training" not in existing_info:
            raise StudyError(f"{self.folder} holds a study without training epochs. Choose another folder.")
        if faults := info_faults(existing_info):
            raise StudyError(f"study.json in {self.folder} cannot be used: {'; '.join(faults)}. Choose another folder.")
        changed = differences(existing_info.get("asked", {}), self._info["asked"])
        changed += differences(existing_info.get("used", {}).get("data", {}), self._info["used"]["data"], "data.")
        if changed:
            raise StudyError(
                f"{self.folder} holds another training; it differs in {'; '.join(changed)}. "
                "Use the same settings to resume it, choose another folder, or delete this one."
            )

    def _write_history(self, history: pd.DataFrame) -> None:
        table = pa.Table.from_pandas(history.reindex(columns=HISTORY.names), HISTORY, preserve_index=False)
        replace_file(self.folder / _HISTORY_FILE, lambda scratch: pq.write_table(table, scratch))


def _epoch_folder(folder: Path, epoch: int) -> Path:
    return folder / _EPOCHS / f"{epoch:05d}"


def _weights_text(epoch: int) -> str:
    """Describe the weights of an epoch."""
    if epoch == 0:
        return "before training"
    return f"after {epoch} epoch" if epoch == 1 else f"after {epoch} epochs"
