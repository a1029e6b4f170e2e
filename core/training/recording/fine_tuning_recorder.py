"""SI while a network is fine-tuned: what the training reports of itself, listened to."""

import os
import time
from dataclasses import asdict
from pathlib import Path

from core.data.images.labelled_images import LabelledImages
from core.training.options import PHASES, TrainingOptions
from core.training.phases import TrainingProgress
from core.training.recording.recorder import BUDGET, Pace, TrainingRecord, chosen_layers
from core.training.recording.watched_samples import watched_samples
from core.training.saved_state import assign, read_state
from core.training.tails import HeadedNetwork

SAMPLES = 500


class FineTuningRecord:
    """Called with the progress of a fine-tuning, it records SI of a handful of layers on the same test images.

    It does so as often as takes at most 5 % of the time, before the first epoch and after the last. Epochs are counted
    through both phases. A training that goes on goes on in the same study.

    images : with a test split. network : about to be trained. training : its folder, which may hold a checkpoint.
    out : the study's folder.

    Raises
    ------
    core.study.store.opening.StudyError
        The folder `out` holds another study, or later epochs of this training.
    """

    def __init__(
        self,
        images: LabelledImages,
        network: HeadedNetwork,
        options: TrainingOptions,
        training: Path,
        out: str | os.PathLike[str],
    ) -> None:
        watched = watched_samples(images, SAMPLES, split="test", class_names=None, seed=options.seed)
        layers, pace = chosen_layers(network.whole, None), Pace(None, BUDGET)
        asked = {"num_samples": SAMPLES, "split": "test", "seed": options.seed}
        state = read_state(training)
        if state is not None:
            assign(network.state(), state.variables)
        self._done = len(state.history) if state else 0
        self._last = (PHASES[bool(options.tail_epochs)], options.epochs(PHASES[bool(options.tail_epochs)]))
        self._record = TrainingRecord(network.whole, watched, layers, Path(out), asked, pace)
        self._record.begin(self._done)
        self._seconds, self._told = 0.0, time.perf_counter()

    def __call__(self, progress: TrainingProgress) -> None:
        """What the training reports; an epoch's time is that between its reports."""
        now = time.perf_counter()
        self._seconds += (now - self._told) * (progress.stage in PHASES)
        if progress.result is not None:
            self._done += 1
            row = asdict(progress.result) | {"epoch": self._done, "seconds": self._seconds}
            self._record.end_epoch(row, is_last=(progress.stage, progress.epoch) == self._last)
            self._seconds = 0.0
        self._told = time.perf_counter()

    def finish(self) -> None:
        """Say that the training has ended."""
        self._record.finish()
