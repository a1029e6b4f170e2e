"""SI while a network is trained by Keras: a callback that records chosen epochs into a study."""

import os
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import keras

from core.study.from_features.writer import ClassNames
from core.training.recording.recorder import BUDGET, Pace, TrainingRecord, chosen_layers
from core.training.recording.watched_samples import watched_samples

_ACCURACIES = ("accuracy", "acc", "sparse_categorical_accuracy", "categorical_accuracy", "binary_accuracy")


class SeparationCallback(keras.callbacks.Callback):
    """Records the Separation Index of layers, with chance and interval, while a model is trained.

        model.fit(..., callbacks=[core.SeparationCallback((x_test, y_test), out="training-study")])

    Measured are the channel means of each layer on the same samples every time, as the network is at test time. The
    training does not notice: weights, optimizer, moving averages and random numbers are as they would be without.
    The first record is of the network before the first epoch. The folder is a study at any time, that of the last
    recorded epoch; `core.training.recording.epochs` reads the others and the history of losses, which says for each
    epoch how many seconds it took, and how many this.

    What it costs: one run at test time of `num_samples` samples through the network as far as its deepest layer, and a
    search among them; with EfficientNet-Lite0 6 s on two cores. By default it records as often as takes at most 5 % of
    the training's time, beside the records of the network before the first epoch and after the last, which come in any
    case: of 6,000 images after every epoch that trains all weights, and after each or every third that trains a new
    head alone, as the machine is (`tests/benchmarks/callback_cost.py`). For records whatever they cost, name `every`.

    Parameters
    ----------
    data
        The samples to measure, prepared as those that the model is trained on: (images, labels); a `tf.data.Dataset` of
        such pairs, batched or not, which is read once (one of its own: reading a shuffled dataset changes the order in
        which it comes the next time); or images from `core.data.images.labelled_images`, of which `split` is taken.
        Labels are integers or strings of shape (n,).
    out
        The study's folder. A training that goes on with `fit(initial_epoch=...)` goes on in it.
    layers
        Names and patterns, as `--layers` takes them: "main", "all", "block*_add", or several, separated by commas or in
        a list. Default: five main layers, evenly spaced, and the last three of the head.
    every
        Record after each so many epochs, and after the last. Default: as often as `budget` allows, which depends on how
        long epochs and records take on this machine.
    budget
        The share of the training's time that recording may take where `every` is not given.
    num_samples
        At most so many are measured: a stratified subsample that depends on `seed`. SI rises with the number of
        samples, so compare trainings at the same number.
    split
        What the samples are to the training: "test" or "train".
    class_names
        Names of the integer labels 0, 1, ..., or a mapping from label to name; default the labels, or what the
        images say.
    seed
        Of the subsample.

    Raises
    ------
    ValueError
        An argument is none of these.
    core.study.store.opening.StudyError
        When the training begins: the folder holds another study, or later epochs of this training.
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
    ) -> None:
        super().__init__()
        if num_samples < 1:
            raise ValueError(f"num_samples must be at least 1; got {num_samples}.")
        self._out, self._layers = Path(out), layers
        self._every, self._budget = every, budget
        Pace(every, budget)  # refuses what it cannot be, now and not when the training begins
        self._watched = watched_samples(data, num_samples, split=split, class_names=class_names, seed=seed)
        self._asked = {"num_samples": num_samples, "split": split, "seed": seed}
        self._record: TrainingRecord | None = None
        self._epoch_began = 0.0

    def on_train_begin(self, logs: Mapping[str, float] | None = None) -> None:
        self._record = None

    def on_epoch_begin(self, epoch: int, logs: Mapping[str, float] | None = None) -> None:
        if self._record is None:
            layers, pace = chosen_layers(self.model, self._layers), Pace(self._every, self._budget)
            self._record = TrainingRecord(self.model, self._watched, layers, self._out, self._asked, pace)
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
    """A row of the history; of several accuracies the first one."""
    accuracy = next((name for name in _ACCURACIES if name in logs), "")
    found = {"loss": "loss", "accuracy": accuracy, "val_loss": "val_loss", "val_accuracy": f"val_{accuracy}"}
    values = {column: logs.get(name) for column, name in found.items()}
    row: dict[str, object] = {"phase": "fit", "epoch": epoch, "seconds": seconds}
    return row | {column: None if value is None else float(value) for column, value in values.items()}
