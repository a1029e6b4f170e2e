"""The checkpoint that a training writes after each epoch, and its models; all files are replaced atomically."""

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
_GROUPS = ("variables", "best", "optimizer")  # of arrays in a checkpoint


@dataclass(frozen=True)
class EpochResult:
    """The result of one epoch of a phase.

    Attributes
    ----------
    phase : str
        "head" or "tail".
    epoch : int
        Number of the epoch in its phase, from 1.
    loss, accuracy : float
        Means over the training images during the epoch, with augmentation and dropout, while the weights changed.
    val_loss, val_accuracy : float
        Means over the test split after the epoch.
    """

    phase: str
    epoch: int
    loss: float
    accuracy: float
    val_loss: float
    val_accuracy: float


@dataclass(frozen=True, eq=False)
class TrainingState:
    """Everything that the next epoch depends on.

    Attributes
    ----------
    phase : str
        Phase of the last epoch.
    history : tuple of EpochResult
        All epochs of all phases.
    variables : tuple of np.ndarray
        Values of the variables that any phase changes.
    best : tuple of np.ndarray
        The same after the epoch of this phase with the lowest `val_loss`.
    optimizer : tuple of np.ndarray
        Values of the optimizer's variables.
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
    """Replace the checkpoint atomically."""
    meta = json.dumps({"phase": state.phase, "history": [asdict(result) for result in state.history]})
    arrays = {}
    for group in _GROUPS:
        for number, array in enumerate(getattr(state, group)):
            arrays[f"{group}_{number:04d}"] = array
    scratch = folder / f".{_CHECKPOINT}.tmp"
    with scratch.open("wb") as handle:
        np.savez(handle, meta=np.array(meta), **arrays)
    os.replace(scratch, folder / _CHECKPOINT)


def read_state(folder: Path) -> TrainingState | None:
    """Read the checkpoint; None if there is none.

    Raises
    ------
    OSError
        If it is damaged.
    """
    path = folder / _CHECKPOINT
    if not path.exists():
        return None
    try:
        if not path.is_file():
            raise ValueError("it is not a regular file")
        with path.open("rb") as handle, np.load(handle) as file:
            meta = json.loads(str(file["meta"]))
            groups = {}
            for group in _GROUPS:
                keys = sorted(key for key in file.files if key.startswith(f"{group}_"))
                groups[group] = tuple(file[key] for key in keys)
        if meta["phase"] not in PHASES:
            raise ValueError(f"its phase is {meta['phase']!r}")
        history = tuple(EpochResult(**result) for result in meta["history"])
        return TrainingState(meta["phase"], history, **groups)
    except Exception as error:  # NumPy, zipfile, zlib and the parser of a header raise many kinds of errors
        reason = " ".join(str(error).split()).rstrip(".")
        raise OSError(
            f"{path} cannot be read: {reason}. Delete it to train from the first epoch, or choose another folder."
        ) from error


def remove_state(folder: Path) -> None:
    """Delete the checkpoint of a finished training."""
    (folder / _CHECKPOINT).unlink(missing_ok=True)


def values(variables: Sequence[Any]) -> tuple[NDArray[Any], ...]:
    """Return copies of the values of variables."""
    return tuple(np.array(variable) for variable in variables)


def assign(variables: Sequence[Any], arrays: Sequence[NDArray[Any]]) -> None:
    """Set the values of variables.

    Raises
    ------
    OSError
        The arrays are not as many or not as large as the variables: they come from a damaged checkpoint.
    """
    if [tuple(variable.shape) for variable in variables] != [array.shape for array in arrays]:
        raise OSError(
            f"{_CHECKPOINT} does not fit the network: it has other weights or none. Delete it to train from the first "
            "epoch, or choose another folder."
        )
    for variable, array in zip(variables, arrays, strict=True):
        variable.assign(array)


def write_model(path: Path, model: "keras.Model") -> None:
    """Write a complete model atomically."""
    scratch = path.with_name(f".{path.stem}.tmp.keras")  # Keras requires this extension
    model.save(scratch)
    os.replace(scratch, path)
