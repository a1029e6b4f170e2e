"""Fine-tuning a network on labelled images, into a folder that says what was asked, what was used and what came out.

    training.json     what was asked, what was used (data fingerprint, weights and their hash, versions), state, results
    history.parquet   phase, epoch, loss, accuracy, val_loss, val_accuracy
    head.keras        the network after the first phase, the new head on the unchanged backbone
    final.keras       the network after the last phase

While a training goes on, there are also a checkpoint and the cache of frozen activations.
"""

import os
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from core.data.images.copies import copy_notes
from core.data.images.labelled_images import LabelledImages
from core.data.images.loading import load_images
from core.data.images.pixel_cache import bytes_to_keep
from core.network.kernels import current_kernels, recorded_kernels
from core.network.models.registry import Network, load_network, network_choice
from core.study.options import check_options, declare, declare_as_in_study, with_parameters
from core.study.plan import available_bytes
from core.study.resumed_kernels import begin_as_recorded, refuse_other_kernels
from core.study.run import package_versions
from core.study.store.opening import StudyError, read_table_file
from core.study.store.schemas import TRAINING_HISTORY
from core.study.store.study_json import fine_tuning_faults, read_json_object
from core.study.store.writing import differences, now_utc, replace_file, study_lock, write_json
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
from core.training.tails import HeadedNetwork

FORMAT = 1
_INFO, _HISTORY = "training.json", "history.parquet"

Info = dict[str, Any]
Report = Callable[[TrainingProgress], None]


@with_parameters
@dataclass(frozen=True)
class FineTuneOptions:
    """What is asked of a fine-tuning; the data must have a test split.

    Afterwards model is None where the file that weights names says what network it is.
    training : the recipe; its seed also decides the split and the choice of images. Without a cache every epoch sees
    new copies of the training images.
    """

    data: str = declare_as_in_study("data")
    model: str | None = declare_as_in_study("model", help="Network to train: its name, or a .keras or .h5 file.")
    weights: str | None = declare_as_in_study(
        "weights",
        help="Weights to start from: imagenet, noisy-student (of efficientnet-b0), none, or a .keras or .h5 file of "
        "the network.",
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
        """How it is carried out on this machine."""
        gpu = has_gpu()
        cached = not gpu if self.cache is None else self.cache
        return Execution(
            num_variants=self.variants if cached else None,
            mixed_precision=gpu if self.mixed_precision is None else self.mixed_precision,
        )


@dataclass(frozen=True, eq=False)
class FineTuned:
    """The folder of a fine-tuning."""

    path: Path

    @cached_property
    def info(self) -> Info:
        """The content of training.json."""
        return _there(self.path) or {}

    @cached_property
    def history(self) -> pd.DataFrame:
        """One row an epoch: phase, epoch, loss, accuracy, val_loss, val_accuracy."""
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
) -> FineTuned:
    """Train a new head for a network, then its tail, or go on with a training that was interrupted.

    Parameters
    ----------
    options : what is asked.
    out : the folder for the results. If it holds the same training, only the epochs that are missing are computed.
    separation : the folder of a study of the training, which records SI meanwhile (see `FineTuningRecord`); the
        training comes out the same. Default none.
    progress : called after each batch and each epoch. An exception that it raises ends the run.

    Returns
    -------
    FineTuned

    Raises
    ------
    StudyError
        The folder holds another training (the difference is named) or something else, or another run writes to it, or
        it is removed meanwhile.
    ValueError, OSError
        Broken or missing data, no test split, an unknown model or weight set, nothing that matches `unfreeze`, or too
        little room on the disk.
    RuntimeError
        The loss became infinite or undefined.
    KeyboardInterrupt
        As it came; the same call goes on from the last whole epoch.
    """
    folder, report = Path(out), progress or _ignore
    begin_as_recorded(_there(folder))
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
        remedy = "Lay them out as train/CLASS/... and test/CLASS/..."
        raise ValueError(
            f"data must have images to train on and to test on; {options.data!r} has only the split "
            f"{str(images.splits[0])!r}. {remedy if options.test_fraction else 'Choose a test fraction above 0.'}"
        )
    network = load_network(options.model, options.weights, seed=options.training.seed)
    headed = with_head(network.model, len(images.class_names), options.training)
    execution = options.execution()
    with study_lock(folder):
        info = _begin(folder, _info(options, images, network, execution))
        if info["state"] != "complete":
            data = _training_data(images, network.input_size)
            try:
                record = _record(images, headed, options, folder, separation)
                seen = _watching(folder, report)
                told = seen if record is None else _both(record, seen)
                history = train(headed, data, options.training, folder, execution=execution, report=told)
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


def _record(
    images: LabelledImages,
    network: HeadedNetwork,
    options: FineTuneOptions,
    folder: Path,
    out: str | os.PathLike[str] | None,
) -> FineTuningRecord | None:
    return None if out is None else FineTuningRecord(images, network, options.training, folder, out)


def _both(record: FineTuningRecord, report: Report) -> Report:
    """Tell both; the record last, so that an epoch is seen before it is measured."""

    def told(progress: TrainingProgress) -> None:
        report(progress)
        record(progress)

    return told


def _watching(folder: Path, report: Report) -> Report:
    """Tell, and after each epoch see that the folder is there still."""

    def told(progress: TrainingProgress) -> None:
        if progress.result is not None:
            _check_still_there(folder)
        report(progress)

    return told


def _training_data(images: LabelledImages, size: tuple[int, int]) -> TrainingData:
    return TrainingData(
        load=lambda rows: images.load(rows, size),
        labels=images.labels,
        train=np.flatnonzero(images.splits == "train"),
        test=np.flatnonzero(images.splits == "test"),
    )


def _info(options: FineTuneOptions, images: LabelledImages, network: Network, execution: Execution) -> Info:
    """training.json but for format, state and times."""
    asked, kernels = asdict(options), current_kernels()
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
    skipped = [asdict(one) for one in images.skipped]
    found = {"asked": asked, "used": used, "class_names": list(images.class_names), "skipped": skipped}
    return found | {"notes": [*images.notes, *copy_notes(images)]}


_EARLIER_OPTIONS = {"skip_small_classes": False, "test_fraction": 0.2}  # of trainings begun before there were these
# Options for which something that was used stands: the fingerprint, the hash, the execution.
_STOOD_FOR = ("data", "model", "weights", "cache", "variants", "mixed_precision")


def _begin(folder: Path, info: Info) -> Info:
    """Start a training, or go on with the one in the folder if it is the same."""
    there = _there(folder)
    if there is None:
        others = sorted(one.name for one in folder.iterdir() if one.name not in (".lock", f".{_INFO}.tmp"))
        if others:
            raise StudyError(
                f"{folder} must be empty or hold a training; it has {', '.join(others[:3])} and no {_INFO}. "
                "Choose another folder."
            )
        there = {"format": FORMAT, "state": "running", "created": now_utc()}
    else:
        _refuse_differences(folder, there, info)
        if there.get("state") == "complete":
            return there
        before, now = recorded_kernels(there), recorded_kernels(info)
        if before and now:
            refuse_other_kernels(folder, before, now)
    running = there | info | {"state": "running"}
    _write_info(folder, running)
    return running


def _check_still_there(folder: Path, *files: str) -> None:
    """Refuse to go on with a folder from which others have taken what this training has written into it.

    Raises
    ------
    StudyError
        The folder, its training.json or one of the files is gone.
    """
    lost = [name for name in (_INFO, *files) if not (folder / name).exists()]
    if lost:
        gone = f"it has lost {', '.join(lost)}" if folder.is_dir() else "it has been removed"
        raise StudyError(
            f"{folder} must stay as it is while a training writes to it; {gone}. Run the same command again."
        )


def _there(folder: Path) -> Info | None:
    """What training.json says of a training that was begun; None where there is none."""
    try:
        return read_json_object(folder / _INFO, f"{_INFO} in {folder}")
    except (FileNotFoundError, NotADirectoryError):
        return None
    except ValueError as error:
        raise StudyError(f"{error} Delete the folder to start over.") from error


def _refuse_differences(folder: Path, there: Info, here: Info) -> None:
    if there.get("format") != FORMAT:
        raise StudyError(
            f"{folder} holds a training of format {there.get('format')!r}, not {FORMAT}. Choose another folder."
        )
    if faults := fine_tuning_faults(there):
        raise StudyError(f"{_INFO} in {folder} cannot be used: {'; '.join(faults)}. Choose another folder.")
    changed = differences(_compared(there), _compared(here))
    if changed:
        raise StudyError(
            f"{folder} holds another training; it differs in {'; '.join(changed)}. "
            "Ask for the same to go on with it, choose another folder, or delete this one."
        )


def _compared(info: Info) -> Info:
    """What makes two trainings the same; paths do not."""
    asked, used = _EARLIER_OPTIONS | info["asked"], info["used"]
    return {
        **{name: value for name, value in asked.items() if name not in _STOOD_FOR},
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
    """No one asked for progress."""
