"""Fine-tuning in two phases: a new head on the frozen network, then the network's tail with it.

Every random choice of an epoch comes from the seed, the phase and the epoch, and each epoch ends with a checkpoint; so
a run that was interrupted goes on from its last whole epoch, and ends as it would have ended.
"""

import shutil
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

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
    """Where a training is: `done` of the `total` images of a stage (`activations`, `head`, `tail`), in an epoch.

    result is there once an epoch has ended. epoch counts from 1; it is 0 where there are no epochs.
    """

    stage: str
    epoch: int
    epochs: int
    done: int
    total: int
    result: EpochResult | None = None


Report = Callable[[TrainingProgress], None]


def has_gpu() -> bool:
    """Whether TensorFlow sees a GPU."""
    import tensorflow as tf

    return bool(tf.config.list_physical_devices("GPU"))


def with_head(model: "keras.Model", num_classes: int, options: TrainingOptions) -> HeadedNetwork:
    """Give a network the head that is trained, and cut it as the options ask; see `tails.add_head`."""
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
    """Fine-tune a network, or go on with a training that was interrupted.

    Parameters
    ----------
    network
        From `with_head` with the same options; it is changed.
    data
        Labelled images. The test split is only measured, unless `early_stopping` chooses an epoch by it.
    options
        What is asked.
    folder
        For the checkpoint, the cache and the results: `head.keras` as the first phase leaves the network, `final.keras`
        as the last one does. Both are whole models in float32, from pixels to probabilities, without augmentation.
    execution
        How it is carried out.
    report
        Called after each batch and each epoch. An exception that it raises ends the training; the same call goes on
        from the last whole epoch.

    Returns
    -------
    tuple of EpochResult
        Of all epochs of both phases.

    Raises
    ------
    OSError
        The disk is too small for the cache.
    RuntimeError
        The loss became infinite or undefined.
    """
    run = _Training(network, data, options, folder, execution, report)
    run.set_precision()
    state = read_state(folder)
    for phase in PHASES[PHASES.index(state.phase) if state else 0 : 2 if options.tail_epochs else 1]:
        state = run.phase(phase, state)
    assert state is not None  # there is always a phase
    run.save(FINAL_FILE)
    return state.history


def clean_up(folder: Path) -> None:
    """Remove what only a training that goes on needs: the checkpoint and the cache."""
    shutil.rmtree(folder / _CACHE, ignore_errors=True)
    remove_state(folder)


@dataclass(frozen=True, eq=False)
class _Training:
    """What both phases have in common."""

    network: HeadedNetwork
    data: TrainingData
    options: TrainingOptions
    folder: Path
    execution: Execution
    report: Report

    def phase(self, phase: str, state: TrainingState | None) -> TrainingState:
        """What is left of a phase; `state` is how the last whole epoch left the network."""
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
        """Write the whole model as one that computes in float32."""
        self.network.set_precision("float32")
        write_model(self.folder / name, self.network.whole)
        self.set_precision()

    def _epochs(self, steps: Steps, state: TrainingState) -> TrainingState:
        source = self._source(state.phase)
        while not self._is_over(state):
            result = self._epoch(steps, source, state.phase, len(state.of_phase) + 1)
            variables = values(self.network.state())
            is_best = all(result.val_loss < other.val_loss for other in state.of_phase)
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
        """Train on every image once, in an order of its own, then measure the test split."""
        data, options = self.data, self.options
        place = PHASES.index(phase)
        order = np.random.default_rng((options.seed, ORDER, place, epoch)).permutation(data.train)
        batches = in_batches(order, options.batch_size)
        seeds = np.random.default_rng((options.seed, DROPOUT, place, epoch)).integers(2**31, size=(len(batches), 2))
        loss, hits = 0.0, 0
        start, epochs = (epoch - 1) * len(order), options.epochs(phase)
        for number, tensors in enumerate(source.train_batches(batches, place, epoch)):
            sums = steps.train(tensors, data.labels[batches[number]], seeds[number])
            loss, hits = loss + sums[0], hits + sums[1]
            done = start + min((number + 1) * options.batch_size, len(order))
            self.report(TrainingProgress(phase, epoch, epochs, done, epochs * len(order)))
        if not np.isfinite(loss):
            raise RuntimeError(
                f"the loss became {loss} in epoch {epoch} of the phase {phase}. Start anew with a lower rate: "
                f"--{phase}-learning-rate {options.rate(phase) / 10:g}."
            )
        val_loss, val_accuracy = self._test(steps, source)
        return EpochResult(phase, epoch, loss / len(order), hits / len(order), val_loss, val_accuracy)

    def _test(self, steps: Steps, source: Source) -> tuple[float, float]:
        rows = self.data.test
        batches = in_batches(rows, self.options.batch_size)
        tested = zip(batches, source.test_batches(batches), strict=True)
        losses, hits = zip(*(steps.test(tensors, self.data.labels[batch]) for batch, tensors in tested), strict=True)
        return sum(losses) / len(rows), sum(hits) / len(rows)

    def _source(self, phase: str) -> Source:
        """Pooled activations for the head, those at the cut for the tail; computed each time, or once."""
        network, data, options = self.network, self.data, self.options

        def pooled(images: Any) -> list[Any]:
            return [network.pooled(network.below_cut(images))]

        through = pooled if phase == "head" and self.execution.num_variants is None else network.below_cut
        computed = ComputedActivations(through, data, options.augmentation, options.seed)
        if self.execution.num_variants is None:
            return computed
        at_cut = self._cached("cut", computed, lambda tensors: tensors)
        if phase == "tail" or network.tail is None:
            return at_cut
        return self._cached("pooled", at_cut, compiled(lambda tensors: [network.pooled(tensors)]))

    def _cached(
        self, name: str, source: ComputedActivations | CachedActivations, through: Callable[[Any], list[Any]]
    ) -> CachedActivations:
        """Activations in files, filled as far as they are not."""
        cache = CachedActivations(
            self.folder / _CACHE / name,
            self.data,
            num_variants=0 if self.options.augmentation.changes_nothing else self.execution.num_variants or 0,
            seed=self.options.seed,
        )
        stage = "activations" if name == "cut" else "pooling"
        cache.fill(
            source,
            through,
            self.options.batch_size,
            lambda done, total: self.report(TrainingProgress(stage, 0, 0, done, total)),
        )
        return cache
