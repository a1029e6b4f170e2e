"""Fine-tuning in two phases: first a new head on the frozen network, then the head and the network's tail.

All random choices of an epoch are determined by the seed, the phase and the epoch, and each epoch ends with a
checkpoint. So an interrupted training can be resumed after its last complete epoch, with the same results.
"""

import shutil
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from core.network.activations import default_batch_size
from core.training.inputs import (
    DROPOUT,
    ORDER,
    CachedActivations,
    ComputedActivations,
    Source,
    TrainingData,
    compiled,
    in_batches,
)
from core.training.options import PHASES, Execution, TrainingOptions
from core.training.saved_state import (
    EpochResult,
    TrainingState,
    assign,
    read_state,
    remove_state,
    values,
    write_model,
    write_state,
)
from core.training.steps import Steps
from core.training.tails import HeadedNetwork, add_head

if TYPE_CHECKING:
    import keras

HEAD_FILE, FINAL_FILE = "head.keras", "final.keras"
_CACHE = "cache"


@dataclass(frozen=True)
class TrainingProgress:
    """The progress of a training.

    Attributes
    ----------
    stage : str
        Such as "activations", "head" or "tail".
    epoch : int
        Number of the epoch, from 1; 0 in a stage without epochs.
    epochs : int
        Number of epochs of the stage; 0 in a stage without epochs.
    done, total : int
        Number of images done, and of all images of the stage.
    result : EpochResult or None
        The result of an epoch that has just ended.
    """

    stage: str
    epoch: int
    epochs: int
    done: int
    total: int
    result: EpochResult | None = None


Report = Callable[[TrainingProgress], None]


def has_gpu() -> bool:
    """Return whether TensorFlow can use a GPU."""
    import tensorflow as tf

    return bool(tf.config.list_physical_devices("GPU"))


def with_head(model: "keras.Model", num_classes: int, options: TrainingOptions) -> HeadedNetwork:
    """Add a new head to a network, and cut it according to the options; see `tails.add_head`."""
    unfreeze = options.unfreeze if options.tail_epochs else None
    return add_head(model, num_classes, unfreeze=unfreeze, dropout=options.dropout, seed=options.seed)


def train(
    network: HeadedNetwork,
    data: TrainingData,
    options: TrainingOptions,
    folder: Path,
    *,
    execution: Execution,
    report: Report,
) -> tuple[EpochResult, ...]:
    """Fine-tune a network, or resume an interrupted training.

    Parameters
    ----------
    network : HeadedNetwork
        From `with_head` with the same options; its weights are changed.
    data : TrainingData
        Labelled images. The test split is only evaluated, unless `early_stopping` chooses an epoch by it.
    options : TrainingOptions
        The recipe.
    folder : Path
        For the checkpoint, the cache and the results: `head.keras` is the network after the first phase, `final.keras`
        the one after the last. Both are complete float32 models from pixels to probabilities, without augmentation.
    execution : Execution
        How the training is carried out on this machine.
    report : callable
        Called after each batch and each epoch. An exception that it raises ends the training; the same call resumes it
        after the last complete epoch.

    Returns
    -------
    tuple of EpochResult
        All epochs of both phases.

    Raises
    ------
    OSError
        If the disk is too small for the cache.
    RuntimeError
        If the loss becomes infinite or undefined.
    """
    run = _Training(network, data, options, folder, execution, report)
    run.set_precision()
    state = read_state(folder)
    first = PHASES.index(state.phase) if state else 0
    num_phases = 2 if options.tail_epochs else 1
    for phase in PHASES[first:num_phases]:
        state = run.phase(phase, state)
    assert state is not None  # there is always a phase
    run.save(FINAL_FILE)
    return state.history


def clean_up(folder: Path) -> None:
    """Remove the checkpoint and the cache, which are only needed to resume a training."""
    shutil.rmtree(folder / _CACHE, ignore_errors=True)
    remove_state(folder)


@dataclass(frozen=True, eq=False)
class _Training:
    """One training, with the arguments of `train`."""

    network: HeadedNetwork
    data: TrainingData
    options: TrainingOptions
    folder: Path
    execution: Execution
    report: Report

    def phase(self, phase: str, state: TrainingState | None) -> TrainingState:
        """Run the remaining epochs of a phase; `state` is the one after the last complete epoch."""
        steps = Steps(
            self.network,
            phase,
            rate=self.options.rate(phase),
            dropout=self.options.dropout,
            mixed_precision=self.execution.mixed_precision,
        )
        if state:
            assign(self.network.state(), state.variables)
        if state and state.phase == phase:
            assign(steps.optimizer_variables, state.optimizer)
        else:
            state = TrainingState(phase, state.history if state else (), (), (), values(steps.optimizer_variables))
        if not self._is_over(state):
            state = self._epochs(steps, state)
        variables = state.best if self.options.early_stopping else state.variables
        assign(self.network.state(), variables)
        if phase == "head":
            self.save(HEAD_FILE)
        return replace(state, variables=variables)

    def set_precision(self) -> None:
        self.network.set_precision("mixed_float16" if self.execution.mixed_precision else "float32")

    def save(self, name: str) -> None:
        """Write the complete model, which computes in float32."""
        self.network.set_precision("float32")
        write_model(self.folder / name, self.network.whole)
        self.set_precision()

    def _epochs(self, steps: Steps, state: TrainingState) -> TrainingState:
        source = self._source(state.phase)
        while not self._is_over(state):
            result = self._epoch(steps, source, state.phase, len(state.of_phase) + 1)
            variables = values(self.network.state())
            is_best = all(result.val_loss < earlier.val_loss for earlier in state.of_phase)
            state = TrainingState(
                state.phase,
                (*state.history, result),
                variables,
                variables if is_best else state.best,
                values(steps.optimizer_variables),
            )
            write_state(self.folder, state)
            epochs, num_images = self.options.epochs(state.phase), len(self.data.train)
            done = result.epoch * num_images
            self.report(TrainingProgress(state.phase, result.epoch, epochs, done, epochs * num_images, result))
        return state

    def _is_over(self, state: TrainingState) -> bool:
        results, patience = state.of_phase, self.options.early_stopping
        if len(results) >= self.options.epochs(state.phase):
            return True
        losses = [result.val_loss for result in results]
        return bool(patience and losses) and len(losses) - 1 - int(np.argmin(losses)) >= (patience or 0)

    def _epoch(self, steps: Steps, source: Source, phase: str, epoch: int) -> EpochResult:
        """Train on every image once, in a new random order, then evaluate the test split."""
        data, options = self.data, self.options
        phase_number = PHASES.index(phase)
        order = np.random.default_rng((options.seed, ORDER, phase_number, epoch)).permutation(data.train)
        batches = in_batches(order, options.batch_size)
        dropout_rng = np.random.default_rng((options.seed, DROPOUT, phase_number, epoch))
        seeds = dropout_rng.integers(2**31, size=(len(batches), 2))
        loss, hits = 0.0, 0
        start, epochs = (epoch - 1) * len(order), options.epochs(phase)
        for number, tensors in enumerate(source.train_batches(batches, phase_number, epoch)):
            batch_loss, batch_hits = steps.train(tensors, data.labels[batches[number]], seeds[number])
            loss += batch_loss
            hits += batch_hits
            done = start + min((number + 1) * options.batch_size, len(order))
            self.report(TrainingProgress(phase, epoch, epochs, done, epochs * len(order)))
        if not np.isfinite(loss):
            raise RuntimeError(
                f"the loss became {loss} in epoch {epoch} of the phase {phase}. Start again with a lower rate: "
                f"--{phase}-learning-rate {options.rate(phase) / 10:g}."
            )
        val_loss, val_accuracy = self._test(steps, source)
        return EpochResult(phase, epoch, loss / len(order), hits / len(order), val_loss, val_accuracy)

    def _test(self, steps: Steps, source: Source) -> tuple[float, float]:
        rows = self.data.test
        batches = in_batches(rows, self.options.batch_size)
        loss, hits = 0.0, 0
        for batch, tensors in zip(batches, source.test_batches(batches), strict=True):
            batch_loss, batch_hits = steps.test(tensors, self.data.labels[batch])
            loss += batch_loss
            hits += batch_hits
        return loss / len(rows), hits / len(rows)

    def _source(self, phase: str) -> Source:
        """Return the source of a phase's inputs, pooled for the head, at the cut for the tail; computed or cached."""
        network, data, options = self.network, self.data, self.options

        def pooled(images: Any) -> list[Any]:
            return [network.pooled(network.below_cut(images))]

        is_cached = self.execution.num_variants is not None
        transform = network.below_cut if is_cached or phase == "tail" else pooled
        computed = ComputedActivations(transform, data, options.augmentation, options.seed)
        if not is_cached:
            return computed
        at_cut = self._fill_cache("cut", computed, lambda tensors: tensors)
        if phase == "tail" or network.tail is None:
            return at_cut
        return self._fill_cache("pooled", at_cut, compiled(lambda tensors: [network.pooled(tensors)]))

    def _fill_cache(
        self, name: str, source: ComputedActivations | CachedActivations, transform: Callable[[Any], list[Any]]
    ) -> CachedActivations:
        """Return activations in files, after computing the missing ones."""
        cache = CachedActivations(
            self.folder / _CACHE / name,
            self.data,
            num_variants=0 if self.options.augmentation.changes_nothing else self.execution.num_variants or 0,
            seed=self.options.seed,
        )
        stage = "activations" if name == "cut" else "pooling"
        cache.fill(
            source,
            transform,
            min(self.options.batch_size, default_batch_size()),
            lambda done, total: self.report(TrainingProgress(stage, 0, 0, done, total)),
        )
        return cache
