"""SI of some layers of a network that is being trained, recorded after chosen epochs into a study."""

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

BUDGET = 0.05  # of the training's time
_NEIGHBORS = 10


class Pace:
    """After which epochs to record: every so many, or as often as takes at most a share of the training's time.

    The record before the first epoch and that of the last one come in any case, and are not counted.

    every : epochs from record to record; None: as the time allows. budget : that share.
    """

    def __init__(self, every: int | None, budget: float) -> None:
        if every is not None and every < 1:
            raise ValueError(f"every must be at least 1; got {every}. Leave it out to stay within a share of the time.")
        if not budget > 0:
            raise ValueError(f"budget must be above 0, a share of the training's time; got {budget}. 0.05 is usual.")
        self.asked = {"every": every, "budget": None if every else budget}
        self._every, self._budget = every, budget
        self._trained_s, self._spent_s, self._record_s = 0.0, 0.0, 0.0

    def go_on(self, history: pd.DataFrame, recorded: Sequence[int]) -> None:
        """Count what a training took that goes on; recorded : the epochs whose SI was recorded."""
        self._trained_s = float(history["seconds"].sum())
        records = history.loc[history["epoch"].isin(recorded), "separation_s"]
        self._spent_s = float(records[history["epoch"] > 0].sum())
        self._record_s = float(records.iloc[-1]) if len(records) else 0.0

    def trained(self, seconds: float) -> None:
        """An epoch took so long."""
        self._trained_s += seconds

    def recorded(self, seconds: float, *, counts: bool) -> None:
        """A record took so long."""
        self._record_s = seconds
        self._spent_s += seconds * counts

    def is_due(self, done: int) -> bool:
        """Whether to record after so many epochs; one more record is taken to cost as much as the last one did."""
        if self._every is not None:
            return done % self._every == 0
        return self._spent_s + self._record_s <= self._budget * self._trained_s


class TrainingRecord:
    """One training's layers, samples and folder.

    model : functional or sequential. layers : of its catalogue. asked : what study.json says was asked, beside layers
    and neighbors.
    """

    def __init__(
        self,
        model: "keras.Model",
        watched: WatchedSamples,
        layers: Sequence[LayerInfo],
        out: Path,
        asked: Mapping[str, Any],
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
        names = [layer.layer for layer in layers]
        asked = {**asked, **pace.asked, "pooling": "mean", "layers": names, "neighbors": _NEIGHBORS}
        info = {"asked": asked, "used": used, "cautions": [*watched.notes, *watched.samples.cautions()]}
        self._writer = EpochsWriter(out, watched.samples, info)

    def begin(self, epoch: int) -> None:
        """Begin, or go on, after so many epochs; the network as it is then is recorded where it is not yet.

        Raises
        ------
        core.study.store.opening.StudyError
            The folder holds another study, or later epochs of this training.
        """
        if self._writer.start(epoch):
            self._pace.go_on(read_history(self._writer.folder), recorded_epochs(self._writer.folder))
            return
        seconds = self._measure(epoch)
        self._pace.recorded(seconds, counts=False)
        self._writer.add_history({"epoch": epoch, "separation_s": seconds})

    def end_epoch(self, row: Mapping[str, Any], *, is_last: bool) -> None:
        """Record the network after an epoch, where it is due.

        row : of the history: phase, epoch (from 1), loss and so on, and the epoch's seconds.
        """
        done, spent_s = int(row["epoch"]), 0.0
        self._pace.trained(float(row["seconds"]))
        if is_last or self._pace.is_due(done):
            spent_s = self._measure(done)
            self._pace.recorded(spent_s, counts=not is_last)
        self._writer.add_history({**row, "separation_s": spent_s})

    def finish(self) -> None:
        """Say that the training has ended."""
        self._writer.finish()

    def _measure(self, epoch: int) -> float:
        """Measure every layer as the network is now, and write the epoch; how long that took."""
        began = time.perf_counter()
        means = self._means(self._load, len(self._samples))
        tables = []
        for layer in self._means.layers:
            pooling = "mean" if layer.spatial else "flat"
            found = {pooling: means[layer.layer]}
            tables.append(measure_layer(layer_row(layer), found, self._samples, self._options))
        self._writer.write(epoch, tables)
        return time.perf_counter() - began


def chosen_layers(model: "keras.Model", layers: str | Sequence[str] | None) -> tuple[LayerInfo, ...]:
    """Layers by names and patterns, or, without any, a handful that shows the way through the network.

    Raises
    ------
    ValueError
        The model is neither functional nor sequential, or a pattern matches nothing.
    """
    if not getattr(model, "inputs", None):
        raise ValueError(
            f"model must be functional or sequential, with a known input shape; {model.name} is not. Build it "
            "from keras.Input."
        )
    there = catalogue(model)
    if layers is None:
        return representative_layers(there)
    return select_layers(there, layers if isinstance(layers, str) else ",".join(layers))
