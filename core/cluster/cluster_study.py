"""A study on a cluster: activations extracted shard by shard, layers searched and measured as tasks."""

from collections import deque
from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from core.cluster.connecting import Cluster
from core.cluster.extraction import Key, check_images_seen, extract, plan_extraction
from core.cluster.search_tasks import TileCount, answer_of, cut_search, submit_search
from core.cluster.shards import Shards
from core.cluster.storage import free_bytes, remove, storage
from core.cluster.tiles import Findings
from core.cluster.waiting import explained, result
from core.network.catalogue import LayerInfo
from core.network.passes import poolings_of
from core.search.neighbors import Neighbors
from core.search.sliced import Question
from core.study.measuring.layer_tables import layer_row, measure_layer
from core.study.measuring.searches import Key as Comparison
from core.study.measuring.searches import StoredLayer, comparison_questions, pilot_questions
from core.study.measuring.unusable import Survey, UnusableLayer
from core.study.plan import Plan, Progress, Report
from core.study.samples import MeasureOptions, StudySamples
from core.study.streaming import layer_bytes, renamed

MOST_TASKS = 20_000  # that the scheduler knows of at once, but for those of a single layer

_MANY_TASKS = 100  # of a layer, from which on its tasks are told of one by one
Stage = tuple[LayerInfo, ...]
Tables = dict[str, pd.DataFrame]
Answers = Mapping[Comparison, Sequence[Findings]]


@contextmanager
def on_cluster(plan: Plan, cluster: Cluster, storage_address: str | None, folder: Path) -> Iterator["ClusterStudy"]:
    """Compute a plan on a cluster, while the storage lasts. folder : of the study."""
    with storage(cluster, storage_address, folder) as address, explained(cluster):
        check_images_seen(cluster, plan.images)
        study = ClusterStudy(plan, cluster, address)
        try:
            yield study
        finally:
            study.close()


class ClusterStudy:
    """What a study computes, done by the workers of a cluster.

    Layers come in stages whose activations fit the storage together, usually one. In a stage all layers are extracted,
    then searched and measured, as many at once as the scheduler shall know of.
    """

    def __init__(self, plan: Plan, cluster: Cluster, address: str) -> None:
        self._plan, self._cluster, self._address = plan, cluster, address
        self._futures: deque[Any] = deque()  # of tasks that are awaited, in order
        self._extracted: Stage = ()
        self._shards: Mapping[Key, Shards] = {}
        self._surveys: dict[Key, Survey] = {}
        self._tiles = TileCount(cluster)

    def pilot_answers(self, progress: Report) -> Iterator[Mapping[Comparison, Neighbors]]:
        """What the pilot finds at each layer and pooling."""
        plan, cluster = self._plan, self._cluster
        questions = pilot_questions(plan.samples, plan.options.pilot, plan.options.seed)
        for stage in self._stages(plan.layers):
            self._extract(stage, progress)
            for place, shards in self._shards.items():
                if self._surveys[place].note:
                    continue
                found = {key: submit_search(cluster, shards, question) for key, question in questions.items()}
                yield {key: answer_of([result(cluster, one) for one in futures]) for key, futures in found.items()}

    def measured_layers(
        self, options: MeasureOptions, finished: frozenset[str], progress: Report
    ) -> Generator[tuple[LayerInfo, Tables]]:
        """The tables of each layer that is not finished, in network order."""
        left = [layer for layer in self._plan.layers if layer.layer not in finished]
        samples = self._cluster.client.submit(_same, self._plan.samples, pure=False)  # comes again if its worker dies
        stages = self._stages(left)
        for number, stage in enumerate(stages, start=1):
            report = progress if len(stages) == 1 else renamed(progress, f"stage {number} of {len(stages)}")
            self._extract(stage, report)
            yield from self._measured(stage, samples, options, report)

    def close(self) -> None:
        """Leave no task waiting."""
        if self._cluster.client.status == "running":
            self._tiles.close()
            self._cluster.client.cancel(list(self._futures), force=True)

    def _stages(self, layers: Sequence[LayerInfo]) -> list[Stage]:
        """Consecutive layers whose activations fit the storage together."""
        room, stages, taken = free_bytes(self._address), list[Stage](), 0
        for layer in layers:
            needed = layer_bytes(self._plan, layer)
            if needed > room:
                raise ValueError(
                    f"cluster storage must have {needed:,} bytes to spare for the activations of {layer.layer}; got "
                    f"{room:,} at {self._address}. Name another place with --cluster-storage, or choose --pooling mean."
                )
            if not stages or taken + needed > room:
                stages.append(())
                taken = 0
            stages[-1] += (layer,)
            taken += needed
        return stages

    def _extract(self, stage: Stage, progress: Report) -> None:
        """Bring the activations of a stage into shards, in place of what is there, unless they are there."""
        if set(stage) <= set(self._extracted):
            return
        for shards in self._shards.values():
            remove(shards.address)
        cluster, num_images = self._cluster, len(self._plan.images)
        extraction = plan_extraction(
            self._plan, stage, self._address, num_workers=cluster.num_workers, worker_memory=cluster.worker_memory
        )
        for shards in extraction.shards.values():
            shards.create()
        for start in range(0, num_images, extraction.rows_a_shard):
            images = self._plan.images.select(np.arange(start, min(start + extraction.rows_a_shard, num_images)))
            self._futures.append(cluster.client.submit(extract, extraction, images, start, pure=False))
        done = 0
        self._surveys = {}
        progress(Progress("activations", done, num_images, "images"))
        while self._futures:
            surveys = result(cluster, self._futures[0])
            for key, found in surveys.items():
                self._surveys[key] = self._surveys[key].with_more(found) if key in self._surveys else found
            done += next(iter(surveys.values())).num_samples
            self._futures.popleft()
            progress(Progress("activations", done, num_images, "images"))
        self._extracted, self._shards = stage, extraction.shards

    def _measured(
        self, stage: Stage, samples: Any, options: MeasureOptions, progress: Report
    ) -> Iterator[tuple[LayerInfo, Tables]]:
        """Layer after layer; those behind are under way meanwhile."""
        questions = comparison_questions(self._plan.samples, options)
        waiting, tasks = deque(enumerate(stage)), deque[int]()
        for place, layer in enumerate(stage):
            while waiting and (not tasks or sum(tasks) + self._num_tasks(waiting[0][1], questions) <= MOST_TASKS):
                number, following = waiting.popleft()
                tasks.append(self._num_tasks(following, questions))
                self._futures.append(self._measure(following, questions, samples, options, priority=-number))
            progress(Progress(f"neighbors in {layer.layer}", place, len(stage), "layers"))
            tables = result(self._cluster, self._futures[0], partial(self._report_tiles, layer, tasks[0], progress))
            self._futures.popleft()
            tasks.popleft()
            yield layer, tables
            for shards in self._of(layer).values():
                remove(shards.address)
        progress(Progress("neighbors", len(stage), len(stage), "layers"))

    def _report_tiles(self, layer: LayerInfo, num_tasks: int, progress: Report) -> None:
        """How far a search has come that takes long."""
        if num_tasks >= _MANY_TASKS:
            done = sum(self._tiles.count(shards) for shards in self._of(layer).values())
            progress(Progress(f"tiles of {layer.layer}", min(done, num_tasks), num_tasks, "tasks"))

    def _of(self, layer: LayerInfo) -> dict[str, Shards]:
        """The shards of a layer, by pooling."""
        return {pooling: self._shards[layer.layer, pooling] for pooling in poolings_of(layer, self._plan.poolings)}

    def _usable(self, layer: LayerInfo) -> dict[str, Shards]:
        """The shards of a layer that can be searched, by pooling."""
        shards = self._of(layer)
        return {pooling: own for pooling, own in shards.items() if not self._surveys[layer.layer, pooling].note}

    def _num_tasks(self, layer: LayerInfo, questions: Mapping[Comparison, Question]) -> int:
        return 1 + sum(
            cut_search(self._cluster, shards.num_features, question).num_tasks
            for shards in self._usable(layer).values()
            for question in questions.values()
        )

    def _measure(
        self,
        layer: LayerInfo,
        questions: Mapping[Comparison, Question],
        samples: Any,
        options: MeasureOptions,
        *,
        priority: int,
    ) -> Any:
        """The tables of a layer, as a future."""
        shards = self._usable(layer)
        notes = {pooling: self._surveys[layer.layer, pooling].note for pooling in self._of(layer)}
        answers = {
            pooling: {
                key: submit_search(self._cluster, own, question, priority=priority)
                for key, question in questions.items()
            }
            for pooling, own in shards.items()
        }
        arguments = (layer_row(layer), shards, answers, samples, options, notes)
        return self._cluster.client.submit(measure, *arguments, priority=priority, pure=False)


def measure(
    layer: Mapping[str, Any],
    shards: Mapping[str, Shards],
    answers: Mapping[str, Answers],
    samples: StudySamples,
    options: MeasureOptions,
    notes: Mapping[str, str],
) -> Tables:
    """On a worker: the tables of a layer whose neighbors have been found; by pooling its shards and the findings.

    notes : by pooling, in their order, why there are neither; empty where there are.
    """
    found: dict[str, StoredLayer | UnusableLayer] = {}
    for pooling, note in notes.items():
        if note:
            found[pooling] = UnusableLayer(note)
            continue
        answered = {key: answer_of(findings) for key, findings in answers[pooling].items()}
        found[pooling] = StoredLayer(answered, shards[pooling].read_all, samples, options)
    return measure_layer(layer, found, samples, options)


def _same(samples: StudySamples) -> StudySamples:
    return samples
