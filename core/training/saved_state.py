"""What a training leaves on disk while it goes on: a checkpoint after each epoch, and models. Whole or not there."""

import json
import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from core.training.options import PHASES

if TYPE_CHECKING:
    import keras

_CHECKPOINT = "checkpoint.npz"


@dataclass(frozen=True)
class EpochResult:
    """One epoch of a phase, counted from 1.

    loss, accuracy : mean over the training images as they were seen in this epoch, varied and with dropout, while the
    weights changed. val_loss, val_accuracy : of the test split after it.
    """

    phase: str
    epoch: int
    loss: float
    accuracy: float
    val_loss: float
    val_accuracy: float


@dataclass(frozen=True, eq=False)
class TrainingState:
    """All that the next epoch depends on.

    phase : the phase of the last epoch. history : all epochs of all phases. variables : those that any phase changes.
    best : the same after the epoch of this phase with the lowest val_loss. optimizer : its variables.
    """

    phase: str
    history: tuple[EpochResult, ...]
    variables: tuple[NDArray[Any], ...]
    best: tuple[NDArray[Any], ...]
    optimizer: tuple[NDArray[Any], ...]

    @property
    def of_phase(self) -> tuple[EpochResult, ...]:
        """The epochs of the phase."""
        return tuple(result for result in self.history if result.phase == self.phase)


def write_state(folder: Path, state: TrainingState) -> None:
    """Replace the checkpoint in one step."""
    meta = json.dumps({"phase": state.phase, "history": [asdict(result) for result in state.history]})
    arrays = {
        f"{name}_{place:04d}": array
        for name in ("variables", "best", "optimizer")
        for place, array in enumerate(getattr(state, name))
    }
    scratch = folder / f".{_CHECKPOINT}.tmp"
    with scratch.open("wb") as handle:
        np.savez(handle, meta=np.array(meta), **arrays)
    os.replace(scratch, folder / _CHECKPOINT)


def read_state(folder: Path) -> TrainingState | None:
    """Read the checkpoint, if there is one.

    Raises
    ------
    OSError
        It is damaged.
    """
    path = folder / _CHECKPOINT
    if not path.exists():
        return None
    try:
        if not path.is_file():
            raise ValueError("it is no regular file")
        with path.open("rb") as handle, np.load(handle) as file:
            meta = json.loads(str(file["meta"]))
            groups = {
                name: tuple(file[key] for key in sorted(file.files) if key.startswith(f"{name}_"))
                for name in ("variables", "best", "optimizer")
            }
        if meta["phase"] not in PHASES:
            raise ValueError(f"its phase is {meta['phase']!r}")
        history = tuple(EpochResult(**result) for result in meta["history"])
        return TrainingState(meta["phase"], history, **groups)
    except Exception as error:  # what NumPy, zipfile, zlib and a header's parser raise on damage has no common kind
        reason = " ".join(str(error).split()).rstrip(".")
        raise OSError(
            f"{path} cannot be read: {reason}. Delete it to train from the first epoch, or choose another folder."
        ) from error


def remove_state(folder: Path) -> None:
    """Drop the checkpoint of a training whose results are written."""
    (folder / _CHECKPOINT).unlink(missing_ok=True)


def values(variables: Sequence[Any]) -> tuple[NDArray[Any], ...]:
    """A copy of what variables hold."""
    return tuple(np.array(variable) for variable in variables)


def assign(variables: Sequence[Any], arrays: Sequence[NDArray[Any]]) -> None:
    """Give variables their values back."""
    for variable, array in zip(variables, arrays, strict=True):
        variable.assign(array)


def write_model(path: Path, model: "keras.Model") -> None:
    """Write a whole model in one step."""
    scratch = path.with_name(f".{path.stem}.tmp.keras")  # Keras insists on the ending
    model.save(scratch)
    os.replace(scratch, path)
