"""Where a study is computed: what an engine can do, and the engine of this process.

`run_study` is handed an engine, asks it for a connection, and the connection for the work on one plan. `LocalEngine`
computes in this process; `core.cluster.engine.DaskEngine` on a cluster. The tables are the same.
"""

from collections.abc import Generator, Iterator, Mapping
from contextlib import AbstractContextManager, closing, nullcontext
from pathlib import Path
from typing import Protocol

import numpy as np
import pandas as pd

from core.network.catalogue import LayerInfo
from core.network.passes import Pass
from core.search.neighbors import Neighbors
from core.search.sliced import Question
from core.study.costs import product_rate
from core.study.measuring.layer_pool import measured_in_order
from core.study.measuring.layer_tables import layer_row, measure_layer
from core.study.measuring.searches import Key, SlicedLayer, answer, pilot_questions, study_questions
from core.study.measuring.unusable import survey
from core.study.plan import Plan, Progress, Report
from core.study.samples import MeasureOptions
from core.study.streaming import Activations, PassOutput, layer_bytes, renamed, stream_layers


class StudyWork(Protocol):
    """The computations of one plan."""

    def pilot_answers(self, progress: Report) -> Iterator[Mapping[Key, Neighbors]]:
        """Yield what the pilot finds at each layer and pooling."""
        ...

    def measured_layers(
        self, options: MeasureOptions, finished: frozenset[str], progress: Report
    ) -> Generator[tuple[LayerInfo, dict[str, pd.DataFrame]]]:
        """Yield the tables of each layer that is not finished, in network order."""
        ...


class Connection(Protocol):
    """An engine that is ready.

    instructions : the instruction sets of the processors that compute, where they are not this process's.
    """

    @property
    def instructions(self) -> tuple[str, ...]: ...

    def product_rate(self) -> float:
        """Return the operations a second of large float32 matrix products, of all processors together."""
        ...

    def work(self, plan: Plan, folder: Path) -> AbstractContextManager[StudyWork]:
        """Prepare to compute a plan. folder : of the study."""
        ...


class Engine(Protocol):
    """Computes studies.

    has_own_memory : whether activations lie elsewhere than in this process, so that `memory` and `spool` mean nothing.
    """

    @property
    def has_own_memory(self) -> bool: ...

    def connect(self) -> AbstractContextManager[Connection]:
        """Connect for one run, and check that the engine can do it."""
        ...


class LocalEngine:
    """Computes in this process."""

    has_own_memory = False
    instructions: tuple[str, ...] = ()

    def connect(self) -> AbstractContextManager[Connection]:
        """Nothing is to be connected."""
        return nullcontext(self)

    def product_rate(self) -> float:
        """Return the operations a second of large float32 matrix products, measured now."""
        return product_rate()

    def work(self, plan: Plan, folder: Path) -> AbstractContextManager[StudyWork]:
        """Compute a plan pass by pass."""
        return nullcontext(_LocalWork(plan))


class _LocalWork:
    """Pass by pass, the activations of each in memory, or as the plan says."""

    def __init__(self, plan: Plan) -> None:
        self._plan = plan

    def pilot_answers(self, progress: Report) -> Iterator[Mapping[Key, Neighbors]]:
        plan, passes = self._plan, self._plan.passes()
        questions, pass_output = (
            pilot_questions(plan.samples, plan.options.pilot, plan.options.seed),
            PassOutput(passes),
        )
        for pass_ in passes:
            with closing(
                stream_layers(plan, pass_, questions, pass_output=pass_output, stage="pilot", progress=progress)
            ) as layers:
                for _, activations in layers:
                    yield from [_answers(found, questions) for found in activations.values() if _is_usable(found)]

    def measured_layers(
        self, options: MeasureOptions, finished: frozenset[str], progress: Report
    ) -> Generator[tuple[LayerInfo, dict[str, pd.DataFrame]]]:
        """Every pass that is still needed, the first one from the pixels."""
        passes = self._plan.passes(finished)
        pass_output = PassOutput(passes)
        for number, pass_ in enumerate(passes, start=1):
            stage = f"pass {number} of {len(passes)}"
            yield from self._measured(pass_, options, pass_output, renamed(progress, stage))

    def _measured(
        self, pass_: Pass, options: MeasureOptions, pass_output: PassOutput, progress: Report
    ) -> Iterator[tuple[LayerInfo, dict[str, pd.DataFrame]]]:
        """Stream the layers of a pass and measure each; its activations go as it goes."""
        plan = self._plan
        questions, stage = study_questions(plan.samples, options), "activations"
        num_layers = len(pass_.layers)
        with (
            closing(
                stream_layers(plan, pass_, questions, pass_output=pass_output, stage=stage, progress=progress)
            ) as layers,
            closing(self._measured_layers(layers, options)) as measured,
        ):
            for number, (layer, tables) in enumerate(measured, start=1):
                yield layer, tables
                progress(Progress(f"neighbors in {layer.layer}", number, num_layers, "layers"))
        progress(Progress("neighbors", num_layers, num_layers, "layers"))

    def _measured_layers(
        self, layers: Iterator[tuple[LayerInfo, dict[str, Activations]]], options: MeasureOptions
    ) -> Generator[tuple[LayerInfo, dict[str, pd.DataFrame]]]:
        """The layers of a pass, measured."""
        plan = self._plan

        def measure(layer: LayerInfo, activations: Mapping[str, Activations]) -> dict[str, pd.DataFrame]:
            return measure_layer(layer_row(layer), activations, plan.samples, options)

        held = ((layer, dict(activations)) for layer, activations in layers)  # emptied when the next is asked for
        return measured_in_order(
            held, measure, lambda layer, _: layer_bytes(plan, layer), budget_bytes=plan.budget_bytes
        )


def _is_usable(found: Activations) -> bool:
    """Whether a layer's activations have neighbors."""
    return isinstance(found, SlicedLayer) or (isinstance(found, np.ndarray) and not survey(found).note)


def _answers(found: Activations, questions: Mapping[Key, Question]) -> Mapping[Key, Neighbors]:
    if isinstance(found, SlicedLayer):
        return found.answers
    assert isinstance(found, np.ndarray), "layers that cannot be measured are left out"
    return {key: answer(found, question) for key, question in questions.items()}
