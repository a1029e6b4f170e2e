"""SI while a network is trained by Keras: a callback that records chosen epochs into a study."""

import os
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import keras

from core.network.channel_means import ChannelMeans, a_handful
from core.network.layers import LayerInfo, catalogue, select_layers
from core.study.epochs import EpochsWriter
from core.study.measuring import layer_row, measure_layer
from core.study.run import package_versions
from core.study.samples import MeasureOptions
from core.study.training_samples import WatchedSamples, watched_samples

_ACCURACIES = ("accuracy", "acc", "sparse_categorical_accuracy", "categorical_accuracy", "binary_accuracy")
_NEIGHBORS = 10


class SeparationCallback(keras.callbacks.Callback):
    """Records the Separation Index of layers, with chance and interval, while a model is trained.

        model.fit(..., callbacks=[core.SeparationCallback((x_test, y_test), out="training-study")])

    Measured are the channel means of each layer on the same samples every time, as the network is at test time. The
    training does not notice: weights, optimizer, moving averages and random numbers are as they would be without.
    The first record is of the network before the first epoch. The folder is a study at any time, that of the last
    recorded epoch; `core.study.epochs` reads the others and the history of losses, which says for each epoch how many
    seconds it took, and how many this.

    What it costs: one run at test time of `num_samples` samples through the network as far as its deepest layer, and a
    search among them. With the defaults, EfficientNet-Lite0 and 6,000 training images that is 2.5 % of an epoch which
    trains all weights, but 13 % of one that trains a new head alone (`tests/benchmarks/callback_cost.py`). Where epochs
    are short, lower `num_samples` or raise `every`.

    Parameters
    ----------
    data
        The samples to measure, prepared as those that the model is trained on: (images, labels); a `tf.data.Dataset` of
        such pairs, batched or not, which is read once (one of its own: reading a shuffled dataset changes the order in
        which it comes the next time); or images from `core.data.images`, of which `split` is taken. Labels are integers
        or strings of shape (n,).
    out
        The study's folder. A training that goes on with `fit(initial_epoch=...)` goes on in it.
    layers
        Names and patterns, as `--layers` takes them: "main", "all", "block*_add", or several, separated by commas or in
        a list. Default: five main layers, evenly spaced, and the last three of the head.
    every
        Record after each so many epochs, and after the last.
    num_samples
        At most so many are measured: a stratified subsample that depends on `seed`. SI rises with the number of
        samples, so compare trainings at the same number.
    split
        What the samples are to the training: "test" or "train".
    class_names
        Names of the integer labels 0, 1, ...; default the labels, or what the images say.
    seed
        Of the subsample.

    Raises
    ------
    ValueError
        An argument is none of these.
    core.study.results.StudyError
        When the training begins: the folder holds another study, or later epochs of this training.
    """

    def __init__(
        self,
        data: Any,
        *,
        out: str | os.PathLike[str],
        layers: str | Sequence[str] | None = None,
        every: int = 1,
        num_samples: int = 500,
        split: str = "test",
        class_names: Sequence[str] | None = None,
        seed: int = 0,
    ) -> None:
        super().__init__()
        for name, value in (("every", every), ("num_samples", num_samples)):
            if value < 1:
                raise ValueError(f"{name} must be at least 1; got {value}.")
        self._out, self._every = Path(out), every
        self._layers = layers if layers is None or isinstance(layers, str) else ",".join(layers)
        self._watched = watched_samples(data, num_samples, split=split, class_names=class_names, seed=seed)
        self._asked = {"every": every, "num_samples": num_samples, "split": split, "seed": seed, "pooling": "mean"}
        self._record: _Record | None = None
        self._epoch_began = 0.0

    def on_train_begin(self, logs: Mapping[str, float] | None = None) -> None:
        self._record = None

    def on_epoch_begin(self, epoch: int, logs: Mapping[str, float] | None = None) -> None:
        if self._record is None:
            began = time.perf_counter()
            self._record = _Record(self.model, self._watched, self._chosen_layers(), self._out, self._asked)
            if not self._record.writer.start(epoch):
                self._record.measure(epoch)
                self._record.writer.add_history(_history_row(epoch, {}, None, time.perf_counter() - began))
        self._epoch_began = time.perf_counter()

    def on_epoch_end(self, epoch: int, logs: Mapping[str, float] | None = None) -> None:
        assert self._record is not None
        ended, done = time.perf_counter(), epoch + 1
        if done % self._every == 0 or done == self.params.get("epochs") or self.model.stop_training:
            self._record.measure(done)
        spent_s = time.perf_counter() - ended
        self._record.writer.add_history(_history_row(done, logs or {}, ended - self._epoch_began, spent_s))

    def on_train_end(self, logs: Mapping[str, float] | None = None) -> None:
        if self._record is not None:
            self._record.writer.finish()

    def _chosen_layers(self) -> tuple[LayerInfo, ...]:
        if not getattr(self.model, "inputs", None):
            raise ValueError(
                f"model must be functional or sequential, with a known input shape; {self.model.name} is not. Build it "
                "from keras.Input."
            )
        layers = catalogue(self.model)
        return a_handful(layers) if self._layers is None else select_layers(layers, self._layers)


class _Record:
    """One training's layers, samples and folder."""

    def __init__(
        self,
        model: keras.Model,
        watched: WatchedSamples,
        layers: Sequence[LayerInfo],
        out: Path,
        asked: Mapping[str, Any],
    ) -> None:
        self._samples = watched.samples
        self._means = ChannelMeans(model, layers)
        self._load = watched.loader(self._means.image_shape)
        self._options = MeasureOptions(num_neighbors=_NEIGHBORS, probe=False, projection="none")
        used = {
            "data": {"name": watched.name, **watched.samples.describe()},
            "model": {"name": model.name},
            "versions": dict(package_versions()),
        }
        asked = {**asked, "layers": [layer.layer for layer in layers], "neighbors": _NEIGHBORS}
        info = {"asked": asked, "used": used, "cautions": [*watched.notes, *watched.samples.cautions()]}
        self.writer = EpochsWriter(out, watched.samples, info)

    def measure(self, epoch: int) -> None:
        """Measure every layer as the network is now, and write the epoch."""
        means = self._means(self._load, len(self._samples))
        tables = []
        for layer in self._means.layers:
            pooling = "mean" if layer.spatial else "flat"
            found = {pooling: means[layer.layer]}
            tables.append(measure_layer(layer_row(layer), found, self._samples, self._options))
        self.writer.write(epoch, tables)


def _history_row(
    epoch: int, logs: Mapping[str, float], seconds: float | None, separation_s: float
) -> dict[str, object]:
    """A row of the history; of several accuracies the first one."""
    accuracy = next((name for name in _ACCURACIES if name in logs), "")
    found = {"loss": "loss", "accuracy": accuracy, "val_loss": "val_loss", "val_accuracy": f"val_{accuracy}"}
    values = {column: logs.get(name) for column, name in found.items()}
    row: dict[str, object] = {"phase": "fit", "epoch": epoch, "seconds": seconds, "separation_s": separation_s}
    return row | {column: None if value is None else float(value) for column, value in values.items()}
