"""Fine-tuning of a network on labelled images, with a record of options, data and results in a folder.

    training.json     the options, what was used (data fingerprint, weights and their hash, versions), and the state
    history.parquet   phase, epoch, loss, accuracy, val_loss, val_accuracy
    head.keras        the network after the first phase, with the new head on the unchanged backbone
    final.keras       the network after the last phase

During the training the folder also contains a checkpoint and the cache of frozen activations.
"""

from __future__ import annotations  # so that help() shows the names of types as they are written here

import os
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from core.data.files import check_folder, replace_file
from core.data.images.copies import copy_notes
from core.data.images.labelled_images import LabelledImages
from core.data.images.loading import check_data_exist, load_images
from core.data.images.pixel_cache import bytes_to_keep
from core.network.kernels import current_kernels, recorded_kernels
from core.network.models.registry import Network, load_network, network_choice
from core.study.options import check_kind, check_options, declare, declare_as_in_study, with_parameters
from core.study.plan import available_bytes
from core.study.resumed_kernels import begin_as_recorded, refuse_other_kernels
from core.study.run import package_versions
from core.study.store.opening import StudyError, read_table_file
from core.study.store.replacing import replaced
from core.study.store.study_json import fine_tuning_faults, read_json_object
from core.study.store.tables.schemas import TRAINING_HISTORY
from core.study.store.writing import differences, now_utc, study_lock, write_json
from core.training.inputs import TrainingData
from core.training.options import Execution, TrainingOptions
from core.training.phases import (
    FINAL_FILE,
    HEAD_FILE,
    TrainingProgress,
    clean_up,
    has_gpu,
    train,
    with_head,
)
from core.training.recording.fine_tuning_recorder import FineTuningRecord
from core.training.saved_state import EpochResult

FORMAT = 1
_INFO, _HISTORY = "training.json", "history.parquet"

Info = dict[str, Any]
Report = Callable[[TrainingProgress], None]


@with_parameters
@dataclass(frozen=True)
class FineTuneOptions:
    """The options of a fine-tuning; the data must have a test split.

    Afterwards model is None where the file that weights names says what network it is.
    training : the recipe; its seed also decides the split and the choice of images. Without a cache every epoch sees
    new copies of the training images.
    """

    data: str = declare_as_in_study("data")
    model: str | None = declare_as_in_study("model", help="Network to train: its name, or a .keras or .h5 file.")
    weights: str | None = declare_as_in_study(
        "weights",
        help="Weights to start from: imagenet, noisy-student (of efficientnet-b0), none, or a .keras or .h5 file of "
        "the network; with a model also a file of its weights (.h5, .weights.h5, .tar.gz), or a folder that holds one.",
    )
    training: TrainingOptions = field(default_factory=TrainingOptions)
    per_class: int | None = declare_as_in_study(
        "per_class", help="Number of images to draw from each class of each split."
    )
    skip_broken: bool = declare_as_in_study("skip_broken")
    skip_small_classes: bool = declare_as_in_study("skip_small_classes")
    test_fraction: float = declare_as_in_study("test_fraction")
    cache: bool | None = declare(
        None,
        help="Compute the frozen layers once, and train on their stored output.",
        group="cost",
        default_text="only without a GPU",
    )
    variants: int = declare(
        4,
        help="Number of augmented copies of each training image in the cache; 0 stores the images as they are.",
        group="cost",
        metavar="K",
    )
    mixed_precision: bool | None = declare(
        None,
        help="Compute the network's products in float16.",
        group="cost",
        default_text="only on a GPU",
    )

    def __post_init__(self) -> None:
        model, weights = network_choice(self.model, self.weights)
        object.__setattr__(self, "model", model)
        object.__setattr__(self, "weights", weights)
        check_options(self)

    def execution(self) -> Execution:
        """Return how the training is carried out on this machine."""
        gpu = has_gpu()
        uses_cache = not gpu if self.cache is None else self.cache
        return Execution(
            num_variants=self.variants if uses_cache else None,
            mixed_precision=gpu if self.mixed_precision is None else self.mixed_precision,
        )


@dataclass(frozen=True, eq=False)
class FineTuned:
    """The folder of a fine-tuning."""

    path: Path

    @cached_property
    def info(self) -> Info:
        """The content of training.json."""
        return _read_info(self.path) or {}

    @cached_property
    def history(self) -> pd.DataFrame:
        """One row per epoch: phase, epoch, loss, accuracy, val_loss, val_accuracy."""
        rows: pd.DataFrame = read_table_file(self.path / _HISTORY, TRAINING_HISTORY).to_pandas()
        return rows

    @property
    def head(self) -> Path:
        """The network after the first phase, a `.keras` file."""
        return self.path / HEAD_FILE

    @property
    def final(self) -> Path:
        """The network after the last phase, a `.keras` file."""
        return self.path / FINAL_FILE


def fine_tune(
    options: FineTuneOptions,
    out: str | os.PathLike[str],
    *,
    separation: str | os.PathLike[str] | None = None,
    progress: Report | None = None,
    overwrite: bool = False,
) -> FineTuned:
    """Train a new head for a network, then its tail, or resume an interrupted training.

    Parameters
    ----------
    options : FineTuneOptions
        Data, network and recipe.
    out : str or path-like
        Folder for the results. If it contains the same training, only the missing epochs are computed.
    separation : str or path-like, optional
        Folder for a study that records SI during the training (see `FineTuningRecord`), which does not affect the
        results. Default: none.
    progress : callable, optional
        Called with a `TrainingProgress` after each batch and each epoch. An exception that it raises ends the run.
    overwrite : bool
        Replace the training in the folder, whatever it is of, and the study in `separation`, when the new one is
        complete; if this one fails or is stopped, the earlier one stays. A folder of anything else is refused.

    Returns
    -------
    FineTuned

    Raises
    ------
    StudyError
        If the folder contains another training (the message says how it differs) or something else, if another run
        writes to it, or if it is removed during the training.
    ValueError, OSError
        If the data are missing or unusable, have no test split, if the model or weights are unknown, if nothing matches
        `unfreeze`, or if the disk is too small.
    RuntimeError
        If the loss becomes infinite or undefined.
    KeyboardInterrupt
        As raised by the user; the same call resumes the training after the last complete epoch.
    """
    folder, report = Path(out), progress or _ignore
    check_folder(folder)
    check_kind("options", options, FineTuneOptions)
    if not overwrite:
        begin_as_recorded(_read_info(folder))
    check_data_exist(options.data)
    network = load_network(options.model, options.weights, seed=options.training.seed)  # before minutes of images
    images = load_images(
        options.data,
        seed=options.training.seed,
        per_class=options.per_class,
        skip_broken=options.skip_broken,
        skip_small_classes=options.skip_small_classes,
        test_fraction=options.test_fraction,
        keep_bytes=bytes_to_keep(available_bytes()),
        progress=lambda done, total: report(TrainingProgress("checking images", 0, 0, done, total)),
    )
    if set(images.splits.tolist()) != {"train", "test"}:
        if options.test_fraction:
            remedy = "Lay them out as train/CLASS/... and test/CLASS/..."
        else:
            remedy = "Choose a test fraction above 0."
        raise ValueError(
            f"data must have a training split and a test split; {options.data!r} has only the split "
            f"{str(images.splits[0])!r}. {remedy}"
        )
    headed = with_head(network.model, len(images.class_names), options.training)
    execution = options.execution()
    with ExitStack() as stack:
        stack.enter_context(replaced(folder, _INFO, overwrite=overwrite))
        if separation is not None:
            stack.enter_context(replaced(Path(separation), "study.json", overwrite=overwrite))
        stack.enter_context(study_lock(folder))
        info = _begin_or_resume(folder, _build_info(options, images, network, execution))
        if info["state"] != "complete":
            data = _training_data(images, network.input_size)
            try:
                report = _check_folder(folder, report)
                record = None
                if separation is not None:
                    record = FineTuningRecord(images, headed, options.training, folder, separation)
                    report = _with_record(record, report)
                history = train(headed, data, options.training, folder, execution=execution, report=report)
            except BaseException as error:
                if (folder / _INFO).exists():
                    _write_info(folder, info | {"state": "partial"})
                elif isinstance(error, Exception):
                    _check_still_there(folder)
                raise
            _check_still_there(folder, HEAD_FILE, FINAL_FILE)
            if record is not None:
                record.finish()
            _write_history(folder, history)
            _write_info(folder, info | {"state": "complete", "finished": now_utc()})
            clean_up(folder)
    return FineTuned(folder)


def _with_record(record: FineTuningRecord, report: Report) -> Report:
    """Pass progress on to `report` and then to the record, so that an epoch is reported before it is measured."""

    def report_and_record(progress: TrainingProgress) -> None:
        report(progress)
        record(progress)

    return report_and_record


def _check_folder(folder: Path, report: Report) -> Report:
    """Pass progress on to `report`, after checking at the end of each epoch that the folder still exists."""

    def check_and_report(progress: TrainingProgress) -> None:
        if progress.result is not None:
            _check_still_there(folder)
        report(progress)

    return check_and_report


def _training_data(images: LabelledImages, size: tuple[int, int]) -> TrainingData:
    return TrainingData(
        load=lambda rows: images.load(rows, size),
        labels=images.labels,
        train=np.flatnonzero(images.splits == "train"),
        test=np.flatnonzero(images.splits == "test"),
    )


def _build_info(options: FineTuneOptions, images: LabelledImages, network: Network, execution: Execution) -> Info:
    """Return the content of training.json, without format, state and times."""
    requested, kernels = asdict(options), current_kernels()
    used = {
        "data": {
            "name": images.name,
            "fingerprint": images.fingerprint,
            "num_train": int((images.splits == "train").sum()),
            "num_test": int((images.splits == "test").sum()),
        },
        "model": {
            "name": network.name,
            "weights": network.weights,
            "weights_sha256": network.weights_sha256,
            "expects": network.expects,
            "input_size": list(network.input_size),
        },
        "execution": asdict(execution),
        "versions": dict(package_versions()),
        "kernels": kernels and asdict(kernels),
    }
    return {
        "asked": requested,
        "used": used,
        "class_names": list(images.class_names),
        "skipped": [asdict(skipped) for skipped in images.skipped],
        "notes": [*images.notes, *copy_notes(images)],
    }


# Options that are compared by what was used for them instead: the fingerprint, the hash and the execution.
_REPRESENTED = ("data", "model", "weights", "cache", "variants", "mixed_precision")


def _begin_or_resume(folder: Path, info: Info) -> Info:
    """Begin a training, or resume the one in the folder if it is the same; return its record."""
    recorded = _read_info(folder)
    if recorded is None:
        names = sorted(path.name for path in folder.iterdir() if path.name not in (".lock", f".{_INFO}.tmp"))
        if names:
            raise StudyError(
                f"{folder} must be empty or hold a training; it has {', '.join(names[:3])} and no {_INFO}. "
                "Choose another folder."
            )
        recorded = {"format": FORMAT, "state": "running", "created": now_utc()}
    else:
        _check_same_training(folder, recorded, info)
        if recorded.get("state") == "complete":
            return recorded
        earlier_kernels, kernels = recorded_kernels(recorded), recorded_kernels(info)
        if earlier_kernels and kernels:
            refuse_other_kernels(folder, earlier_kernels, kernels)
    running = recorded | info | {"state": "running"}
    _write_info(folder, running)
    return running


def _check_still_there(folder: Path, *files: str) -> None:
    """Raise a StudyError if the folder, its training.json or one of the files has been removed."""
    missing = [name for name in (_INFO, *files) if not (folder / name).exists()]
    if missing:
        state = f"it has lost {', '.join(missing)}" if folder.is_dir() else "it has been removed"
        raise StudyError(
            f"{folder} must stay as it is while a training writes to it; {state}. Run the same command again."
        )


def _read_info(folder: Path) -> Info | None:
    """Return the content of training.json; None if there is none."""
    try:
        return read_json_object(folder / _INFO, f"{_INFO} in {folder}")
    except (FileNotFoundError, NotADirectoryError):
        return None
    except ValueError as error:
        raise StudyError(f"{error} Delete the folder to start over.") from error


def _check_same_training(folder: Path, recorded: Info, info: Info) -> None:
    if recorded.get("format") != FORMAT:
        raise StudyError(
            f"{folder} holds a training of format {recorded.get('format')!r}, not {FORMAT}. Choose another folder."
        )
    if faults := fine_tuning_faults(recorded):
        raise StudyError(f"{_INFO} in {folder} cannot be used: {'; '.join(faults)}. Choose another folder.")
    changed = differences(_compared(recorded), _compared(info))
    if changed:
        raise StudyError(
            f"{folder} holds another training; it differs in {'; '.join(changed)}. "
            "Use the same settings to resume it, choose another folder, or replace it: overwrite=True, or --overwrite."
        )


def _compared(info: Info) -> Info:
    """Return the part of a record that is the same for equal trainings; paths may differ."""
    requested, used = info["asked"], info["used"]
    return {
        **{name: value for name, value in requested.items() if name not in _REPRESENTED},
        "data": {"fingerprint": used["data"]["fingerprint"]},
        "weights_sha256": used["model"]["weights_sha256"],
        "execution": used["execution"],
    }


def _write_history(folder: Path, history: tuple[EpochResult, ...]) -> None:
    table = pd.DataFrame([asdict(result) for result in history]).astype({"epoch": "int32"})
    replace_file(folder / _HISTORY, lambda scratch: table.to_parquet(scratch, index=False))


def _write_info(folder: Path, info: Mapping[str, Any]) -> None:
    write_json(folder / _INFO, info)


def _ignore(progress: TrainingProgress) -> None:
    """Discard progress reports."""
