"""Recording of SI of selected layers during a training, after selected epochs, into a study."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from core.network.catalogue import LayerInfo, catalogue, select_layers
from core.network.channel_means import ChannelMeans, representative_layers
from core.network.kernels import current_kernels
from core.study.measuring.layer_tables import layer_row, measure_layer
from core.study.run import package_versions
from core.study.samples import MeasureOptions
from core.training.recording.epochs import EpochsWriter, read_history, recorded_epochs
from core.training.recording.watched_samples import WatchedSamples

if TYPE_CHECKING:
    import keras

BUDGET = 0.05  # share of the training time
_NEIGHBORS = 10


class Pace:
    """Decides after which epochs to record: every `every` epochs, or as often as a share of the training time allows.

    The records before the first and after the last epoch are always made, and are not counted.

    Parameters
    ----------
    every : int or None
        Number of epochs between records; None: as often as `budget` allows.
    budget : float
        The share of the training time that records may take.
    """

    def __init__(self, every: int | None, budget: float) -> None:
        if every is not None and every < 1:
            raise ValueError(f"every must be at least 1; got {every}. Leave it out to stay within a share of the time.")
        if not budget > 0:
            raise ValueError(f"budget must be above 0, a share of the training's time; got {budget}. 0.05 is usual.")
        self.recorded_options = {"every": every, "budget": None if every else budget}
        self._every, self._budget = every, budget
        self._trained_s, self._spent_s, self._record_s = 0.0, 0.0, 0.0

    def resume(self, history: pd.DataFrame, recorded: Sequence[int]) -> None:
        """Take over the times of a training that is resumed.

        Parameters
        ----------
        history : pd.DataFrame
            With the columns of `core.training.recording.epochs.HISTORY`.
        recorded : sequence of int
            The epochs whose SI was recorded.
        """
        self._trained_s = float(history["seconds"].sum())
        records = history.loc[history["epoch"].isin(recorded), "separation_s"]
        self._spent_s = float(records[history["epoch"] > 0].sum())
        self._record_s = float(records.iloc[-1]) if len(records) else 0.0

    def trained(self, seconds: float) -> None:
        """Add the seconds that an epoch took."""
        self._trained_s += seconds

    def recorded(self, seconds: float, *, counts: bool) -> None:
        """Set the seconds that a record took; with `counts` they are added to the time spent on records."""
        self._record_s = seconds
        if counts:
            self._spent_s += seconds

    def is_due(self, done: int) -> bool:
        """Return whether to record after `done` epochs; a record is expected to take as long as the last one."""
        if self._every is not None:
            return done % self._every == 0
        return self._spent_s + self._record_s <= self._budget * self._trained_s


class TrainingRecord:
    """Measures the layers of one training, and writes them to the folder of a study.

    Parameters
    ----------
    model : keras.Model
        A functional or sequential model.
    watched : WatchedSamples
        The samples.
    layers : sequence of LayerInfo
        Layers from the catalogue of the model.
    out : Path
        Folder of the study.
    options : mapping
        Options to record in study.json, in addition to layers and neighbors.
    pace : Pace
        Decides after which epochs to record.
    """

    def __init__(
        self,
        model: "keras.Model",
        watched: WatchedSamples,
        layers: Sequence[LayerInfo],
        out: Path,
        options: Mapping[str, Any],
        pace: Pace,
    ) -> None:
        self._samples, self._pace = watched.samples, pace
        self._means = ChannelMeans(model, layers)
        self._load = watched.loader(self._means.image_shape)
        self._options = MeasureOptions(num_neighbors=_NEIGHBORS, probe=False, projection="none")
        kernels = current_kernels()
        used = {
            "data": {"name": watched.name, **watched.samples.describe()},
            "model": {"name": model.name},
            "versions": dict(package_versions()),
            "kernels": kernels and asdict(kernels),
        }
        asked = {
            **options,
            **pace.recorded_options,
            "pooling": "mean",
            "layers": [layer.layer for layer in layers],
            "neighbors": _NEIGHBORS,
        }
        info = {"asked": asked, "used": used, "cautions": [*watched.notes, *watched.samples.cautions()]}
        self._writer = EpochsWriter(out, watched.samples, info)

    def begin(self, epoch: int) -> None:
        """Begin, or resume after `epoch` epochs; record the current network if this epoch has not been recorded.

        Raises
        ------
        core.study.store.opening.StudyError
            If the folder contains another study, or later epochs of this training.
        """
        if self._writer.start(epoch):
            self._pace.resume(read_history(self._writer.folder), recorded_epochs(self._writer.folder))
            return
        seconds = self._measure(epoch)
        self._pace.recorded(seconds, counts=False)
        self._writer.add_history({"epoch": epoch, "separation_s": seconds})

    def end_epoch(self, row: Mapping[str, Any], *, is_last: bool) -> None:
        """Add an epoch to the history, and record the network if a record is due.

        Parameters
        ----------
        row : mapping
            Row of the history: phase, epoch (from 1), losses and accuracies, and the seconds that the epoch took.
        is_last : bool
            Whether this is the last epoch of the training.
        """
        done, spent_s = int(row["epoch"]), 0.0
        self._pace.trained(float(row["seconds"]))
        if is_last or self._pace.is_due(done):
            spent_s = self._measure(done)
            self._pace.recorded(spent_s, counts=not is_last)
        self._writer.add_history({**row, "separation_s": spent_s})

    def finish(self) -> None:
        """Record that the training has ended."""
        self._writer.finish()

    def _measure(self, epoch: int) -> float:
        """Measure every layer of the current network, and write the epoch; return the seconds that this took."""
        began = time.perf_counter()
        means = self._means(self._load, len(self._samples))
        tables = []
        for layer in self._means.layers:
            pooling = "mean" if layer.spatial else "flat"
            activations = {pooling: means[layer.layer]}
            tables.append(measure_layer(layer_row(layer), activations, self._samples, self._options))
        self._writer.write(epoch, tables)
        return time.perf_counter() - began


def chosen_layers(model: "keras.Model", layers: str | Sequence[str] | None) -> tuple[LayerInfo, ...]:
    """Select layers by names and patterns, or by default a few layers from the whole depth of the network.

    Raises
    ------
    ValueError
        If the model is neither functional nor sequential, or a pattern matches nothing.
    """
    if not getattr(model, "inputs", None):
        raise ValueError(
            f"model must be functional or sequential, with a known input shape; {model.name} is not. Build it "
            "from keras.Input."
        )
    all_layers = catalogue(model)
    if layers is None:
        return representative_layers(all_layers)
    return select_layers(all_layers, layers if isinstance(layers, str) else ",".join(layers))
