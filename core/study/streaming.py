"""The layers of a pass, one after the other, ready to be measured: in memory, in a file, or searched slice by slice."""

from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from core.data.scratch_arrays import ScratchArrays
from core.network.activations import Allocate, stream_pass
from core.network.catalogue import LayerInfo
from core.network.passes import Pass, poolings_of
from core.network.shared_buffer import SharedBuffer, uses_shared_buffer
from core.search.sliced import Question, SlicedSearch
from core.study.measuring.layer_tables import activation_bytes, layer_row
from core.study.measuring.searches import Key, SlicedLayer
from core.study.measuring.unusable import SlicedSurvey, UnusableLayer
from core.study.plan import Plan, Progress, Report

Activations = NDArray[Any] | SlicedLayer | UnusableLayer


class PassOutput:
    """What one pass hands on to the next: memory, and a boundary; without one, a pass starts at the pixels.

    passes : those that will come, in order.
    """

    def __init__(self, passes: Sequence[Pass]) -> None:
        self._shared_buffer = SharedBuffer(passes)
        self._boundary: LayerInfo | None = None
        self._activations: NDArray[np.float32] | None = None

    def start(self, pass_: Pass) -> NDArray[np.float32] | None:
        """The activations at which a pass can start, shape (n, d)."""
        return self._activations if self._boundary == pass_.start else None

    def memory(self, pass_: Pass) -> Allocate | None:
        """Makes the arrays of a pass; None where each is to have memory of its own."""
        if uses_shared_buffer(pass_):
            return self._shared_buffer.open(pass_)
        self._shared_buffer.release(pass_)
        return None

    def take(self, pass_: Pass, found: Mapping[tuple[str, str], NDArray[np.float32]]) -> None:
        """Hold what a run of the pass has kept, and no longer what it started at, unless the next pass does as well."""
        if pass_.keep is None:
            self._boundary = self._activations = None
        elif pass_.keep != self._boundary:
            self._boundary, self._activations = pass_.keep, found[pass_.keep.layer, "flat"]


def stream_layers(
    plan: Plan, pass_: Pass, questions: Mapping[Key, Question], *, pass_output: PassOutput, stage: str, progress: Report
) -> Generator[tuple[LayerInfo, dict[str, Activations]]]:
    """Each layer of a pass with its activations by pooling; the dict is emptied when the next one is asked for.

    Close it where it is not read to its end, so that files are removed.

    pass_output : hands memory and boundaries on, the same one for all passes of a plan, in order.
    questions : what will be asked; a layer in slices is searched for the answers to these, and to no others.
    stage : names the runs of the network to `progress`.
    """
    memory = pass_output.memory(pass_)
    if pass_.slices:
        yield pass_.layers[0], _searched(plan, pass_, questions, pass_output, stage, progress)
        return
    with _spool(plan.spool if pass_.spooled_bytes else None, pass_) as in_files:
        activations = _run(plan, pass_, pass_output.start(pass_), stage, progress, allocate=in_files or memory)
        pass_output.take(pass_, activations)
        for layer in pass_.layers:
            own: dict[str, Activations] = {
                pooling: activations.pop((layer.layer, pooling)) for pooling in _poolings(plan, layer)
            }
            yield layer, own
            own.clear()


def _searched(
    plan: Plan, pass_: Pass, questions: Mapping[Key, Question], pass_output: PassOutput, stage: str, progress: Report
) -> dict[str, Activations]:
    """A layer searched slice by slice; its mean, where asked for, is small and kept whole."""
    slices = _Slices(plan, pass_, pass_output, stage, progress)
    centers = plan.options.measures().centers
    search = SlicedSearch(
        list(questions.values()), num_rows=len(plan.images), dtype=np.float64 if centers else np.float32
    )
    survey = SlicedSurvey(len(plan.images))
    for columns in (*pass_.slices[1:], pass_.slices[0]):  # the first one comes last: it stays for the next round
        block = slices.get(columns)
        survey.add(block)
        if survey.is_finite:
            search.survey(columns.start, block)
    found: dict[str, Activations] = dict.fromkeys(_poolings(plan, pass_.layers[0]), slices.means)
    if survey.note:
        return found | {"flat": UnusableLayer(survey.note)}
    search.shortlist()
    while search.unfinished:
        for columns in pass_.slices:
            search.look(columns.start, slices.get(columns))
        search.decide()
    found["flat"] = SlicedLayer(dict(zip(questions, search.neighbors(), strict=True)), search.gram)
    return found


class _Slices:
    """The slices of a layer, of which one at a time is in memory."""

    def __init__(self, plan: Plan, pass_: Pass, pass_output: PassOutput, stage: str, progress: Report) -> None:
        self._plan, self._pass, self._stage, self._progress = plan, pass_, stage, progress
        self._pass_output, self._start = pass_output, pass_output.start(pass_)
        self._columns: slice | None = None
        self._held: NDArray[np.float32] | None = None
        self._num_runs = 0
        self.means: NDArray[np.float32] = np.empty((0, 0), np.float32)

    def get(self, columns: slice) -> NDArray[np.float32]:
        """A slice, shape (n, columns), from memory if it is the last one that was asked for."""
        if self._held is None or columns != self._columns:
            self._held = None  # before the next one is there
            self._num_runs += 1
            stage = f"{self._stage}, run {self._num_runs} of {max(self._pass.num_runs, self._num_runs)}"
            found = _run(self._plan, self._pass, self._start, stage, self._progress, columns=columns)
            if self._num_runs == 1:
                self._start_later(found)
            name = self._pass.layers[0].layer
            self._held, self._columns = found[name, "flat"], columns
            self.means = found.get((name, "mean"), self.means)
        return self._held

    def _start_later(self, found: Mapping[tuple[str, str], NDArray[np.float32]]) -> None:
        """Further runs keep no boundary, and start at the one that the first run kept where that is of use."""
        self._pass_output.take(self._pass, found)
        again = self._pass.again()
        if again.start != self._pass.start:
            self._start = self._pass_output.start(again)
        self._pass = again


@contextmanager
def _spool(folder: Path | None, pass_: Pass) -> Iterator[Allocate | None]:
    """Makes the arrays of a pass's layers in files of a folder, which are gone afterwards; None without a folder."""
    if folder is None:
        yield None
        return
    names = {layer.layer for layer in pass_.layers}
    with ScratchArrays(folder) as files:

        def allocate(key: tuple[str, str], shape: tuple[int, int]) -> NDArray[np.float32]:
            is_boundary = key[0] not in names  # for the next pass
            return np.empty(shape, np.float32) if is_boundary else files.new(shape)

        yield allocate


def _run(
    plan: Plan,
    pass_: Pass,
    start: NDArray[np.float32] | None,
    stage: str,
    progress: Report,
    *,
    columns: slice | None = None,
    allocate: Allocate | None = None,
) -> dict[tuple[str, str], NDArray[np.float32]]:
    """One run of the network over the images; without a network, the pixels."""
    num_samples = len(plan.images)
    if plan.network is None:
        pixels = plan.images.raw(np.arange(num_samples))
        return {(pass_.layers[0].layer, "flat"): pixels.reshape(num_samples, -1)}
    network = plan.network
    return stream_pass(
        network,
        pass_,
        lambda rows: plan.images.load(rows, network.input_size),
        num_samples,
        poolings=plan.poolings,
        batch_size=plan.batch_size,
        columns=columns,
        allocate=allocate,
        start=start,
        progress=lambda done, total: progress(Progress(stage, done, total, "images")),
    )


def _poolings(plan: Plan, layer: LayerInfo) -> tuple[str, ...]:
    return poolings_of(layer, plan.poolings)


def layer_bytes(plan: Plan, layer: LayerInfo) -> int:
    """Bytes of a layer's activations."""
    return activation_bytes(layer_row(layer), _poolings(plan, layer), len(plan.images))


def renamed(progress: Report, prefix: str) -> Report:
    """Reports with the pass's name before the stage's."""
    return lambda report: progress(replace(report, stage=f"{prefix}, {report.stage}"))
