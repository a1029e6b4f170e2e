"""Recording of SI while a network is fine-tuned."""

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
    """Records SI of a few layers on the same test images; it is called with the progress of a fine-tuning.

    SI is recorded before the first epoch, after the last, and in between as often as takes at most 5% of the time.
    Epochs are numbered through both phases. A resumed training continues in the same study.

    Parameters
    ----------
    images : LabelledImages
        Images with a test split.
    network : HeadedNetwork
        The network that is about to be trained.
    options : TrainingOptions
        The recipe of the training.
    training : Path
        Folder of the training, which may contain a checkpoint.
    out : str or path-like
        Folder of the study.

    Raises
    ------
    core.study.store.opening.StudyError
        If the folder `out` contains another study, or later epochs of this training.
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
        recorded_options = {"num_samples": SAMPLES, "split": "test", "seed": options.seed}
        state = read_state(training)
        if state is not None:
            assign(network.state(), state.variables)
        self._done = len(state.history) if state else 0
        last_phase = "tail" if options.tail_epochs else "head"
        self._last = (last_phase, options.epochs(last_phase))
        self._record = TrainingRecord(network.whole, watched, layers, Path(out), recorded_options, pace)
        self._record.begin(self._done)
        self._epoch_s, self._last_report = 0.0, time.perf_counter()

    def __call__(self, progress: TrainingProgress) -> None:
        """Take a progress report; the duration of an epoch is the time between its reports."""
        now = time.perf_counter()
        if progress.stage in PHASES:
            self._epoch_s += now - self._last_report
        if progress.result is not None:
            self._done += 1
            row = asdict(progress.result) | {"epoch": self._done, "seconds": self._epoch_s}
            self._record.end_epoch(row, is_last=(progress.stage, progress.epoch) == self._last)
            self._epoch_s = 0.0
        self._last_report = time.perf_counter()

    def finish(self) -> None:
        """Record that the training has ended."""
        self._record.finish()
