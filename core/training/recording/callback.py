"""A Keras callback that records SI during training into a study."""

from __future__ import annotations  # so that help() shows the names of types as they are written here

import os
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import keras

from core.study.from_features.writer import ClassNames
from core.study.store.replacing import replaced
from core.training.recording.recorder import BUDGET, Pace, TrainingRecord, chosen_layers
from core.training.recording.watched_samples import watched_samples

_ACCURACIES = ("accuracy", "acc", "sparse_categorical_accuracy", "categorical_accuracy", "binary_accuracy")


class SeparationCallback(keras.callbacks.Callback):
    """Records the Separation Index of layers, with chance and interval, while a model is trained.

        model.fit(..., callbacks=[core.SeparationCallback((x_test, y_test), out="training-study")])

    SI is computed from the channel means of each layer, on the same samples at every epoch, with the network in
    inference mode. The training is not affected: weights, optimizer, moving averages and random numbers are the same
    as without the callback. The first record is that of the network before the first epoch. The folder is at any time a
    study of the last recorded epoch; `core.training.recording.epochs` reads the other epochs and the history of losses,
    which also has the seconds that each epoch and each record took.

    *Cost.* A record runs `num_samples` samples through the network up to its deepest layer, and searches their
    neighbors; with EfficientNet-Lite0 this takes 6 s on two cores. By default records take at most 5% of the training
    time, not counting those before the first and after the last epoch, which are always made. With 6,000 images there
    is a record after every epoch that trains all weights, and after every first to third epoch that trains a new head
    alone, depending on the machine (`tests/benchmarks/callback_cost.py`). `every` sets a fixed number of epochs
    instead.

    Parameters
    ----------
    data : (images, labels), tf.data.Dataset or LabelledImages
        The samples to measure, preprocessed like those that the model is trained on: a pair of arrays; a dataset of
        such pairs, batched or not, which is read once (use a separate dataset: reading a shuffled one changes its order
        at the next reading); or images from `core.data.images.loading`, of which `split` is used. Labels are integers
        or strings of shape (n,).
    out : str or path-like
        Folder of the study. A training that is resumed with `fit(initial_epoch=...)` continues in it.
    layers : str or sequence of str, optional
        Names and patterns, as in `--layers`: "main", "all", "block*_add", or several, separated by commas or in a list.
        Default: five main layers, evenly spaced, and the last three layers of the head.
    every : int, optional
        Number of epochs between records; there is also one after the last epoch. Default: as often as `budget` allows,
        which depends on how long epochs and records take on this machine.
    budget : float
        The share of the training time that recording may take if `every` is not given.
    num_samples : int
        Largest number of samples: a stratified subsample that depends on `seed`. SI increases with the number of
        samples, so compare trainings with the same number.
    split : {"test", "train"}
        Which split of the training the samples are.
    class_names : sequence or mapping, optional
        Names of the integer labels 0, 1, ..., or a mapping from label to name; default: the labels, or the class names
        of the images.
    seed : int
        Random seed of the subsample.
    overwrite : bool
        Replace the study in the folder, whatever it is of, once the network before the first epoch is recorded. A
        folder of anything else is refused, and a training that is resumed with `fit(initial_epoch=...)` continues.

    Raises
    ------
    ValueError
        If an argument is invalid.
    core.study.store.opening.StudyError
        When the training begins: if the folder contains another study, or later epochs of this training.
    """

    def __init__(
        self,
        data: Any,
        *,
        out: str | os.PathLike[str],
        layers: str | Sequence[str] | None = None,
        every: int | None = None,
        budget: float = BUDGET,
        num_samples: int = 500,
        split: str = "test",
        class_names: ClassNames | None = None,
        seed: int = 0,
        overwrite: bool = False,
    ) -> None:
        super().__init__()
        if num_samples < 1:
            raise ValueError(f"num_samples must be at least 1; got {num_samples}.")
        self._out, self._layers, self._overwrite = Path(out), layers, overwrite
        self._every, self._budget = every, budget
        Pace(every, budget)  # checks the arguments now, not only when the training begins
        self._watched = watched_samples(data, num_samples, split=split, class_names=class_names, seed=seed)
        self._recorded_options = {"num_samples": num_samples, "split": split, "seed": seed}
        self._record: TrainingRecord | None = None
        self._epoch_began = 0.0

    def on_train_begin(self, logs: Mapping[str, float] | None = None) -> None:
        self._record = None

    def on_epoch_begin(self, epoch: int, logs: Mapping[str, float] | None = None) -> None:
        if self._record is None:
            layers, pace = chosen_layers(self.model, self._layers), Pace(self._every, self._budget)
            self._record = TrainingRecord(self.model, self._watched, layers, self._out, self._recorded_options, pace)
            with replaced(self._out, "study.json", overwrite=self._overwrite and epoch == 0):
                self._record.begin(epoch)
        self._epoch_began = time.perf_counter()

    def on_epoch_end(self, epoch: int, logs: Mapping[str, float] | None = None) -> None:
        assert self._record is not None
        row = _history_row(epoch + 1, logs or {}, time.perf_counter() - self._epoch_began)
        is_last = epoch + 1 == self.params.get("epochs") or self.model.stop_training
        self._record.end_epoch(row, is_last=is_last)

    def on_train_end(self, logs: Mapping[str, float] | None = None) -> None:
        if self._record is not None:
            self._record.finish()


def _history_row(epoch: int, logs: Mapping[str, float], seconds: float) -> dict[str, object]:
    """Return a row of the history; of several accuracies the first one counts."""
    accuracy = next((name for name in _ACCURACIES if name in logs), "")
    log_names = {"loss": "loss", "accuracy": accuracy, "val_loss": "val_loss", "val_accuracy": f"val_{accuracy}"}
    row: dict[str, object] = {"phase": "fit", "epoch": epoch, "seconds": seconds}
    for column, name in log_names.items():
        value = logs.get(name)
        row[column] = None if value is None else float(value)
    return row
