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
from core.cluster.extraction import Key, check_images_readable, extract, plan_extraction
from core.cluster.search_tasks import TileCount, neighbors_of, submit_search, tile_search
from core.cluster.shards import Shards
from core.cluster.storage import free_bytes, remove, storage
from core.cluster.tiles import Candidates
from core.cluster.waiting import explain_failure, result
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

MAX_TASKS = 20_000  # in the scheduler at the same time, except that a single layer may have more
MANY_TASKS = 100  # from this number of tasks of a layer on, progress is reported task by task
Stage = tuple[LayerInfo, ...]
Tables = dict[str, pd.DataFrame]
Answers = Mapping[Comparison, Sequence[Candidates]]


@contextmanager
def on_cluster(plan: Plan, cluster: Cluster, storage_address: str | None, folder: Path) -> Iterator["ClusterStudy"]:
    """Provide the computation of a plan on a cluster; at the end its storage is removed.

    Parameters
    ----------
    plan : Plan
        The plan of the study.
    cluster : Cluster
        The cluster.
    storage_address : str or None
        See `core.cluster.storage.storage`.
    folder : Path
        Folder of the study.
    """
    with storage(cluster, storage_address, folder) as address, explain_failure(cluster):
        check_images_readable(cluster, plan.images)
        study = ClusterStudy(plan, cluster, address)
        try:
            yield study
        finally:
            study.close()


class ClusterStudy:
    """Computes a study with the workers of a cluster.

    The layers are divided into stages whose activations fit into the storage together; usually there is one stage. In
    each stage all layers are extracted, then searched and measured, several at once, as long as the number of tasks
    stays below `MAX_TASKS`.
    """

    def __init__(self, plan: Plan, cluster: Cluster, address: str) -> None:
        self._plan, self._cluster, self._address = plan, cluster, address
        self._futures: deque[Any] = deque()  # of the tasks whose results are awaited, in order
        self._extracted: Stage = ()
        self._shards: Mapping[Key, Shards] = {}
        self._surveys: dict[Key, Survey] = {}
        self._tiles = TileCount(cluster)

    def pilot_answers(self, progress: Report) -> Iterator[Mapping[Comparison, Neighbors]]:
        """Yield the neighbors that the pilot search finds at each layer and pooling."""
        plan, cluster = self._plan, self._cluster
        questions = pilot_questions(plan.samples, plan.options.pilot, plan.options.seed)
        for stage in self._stages(plan.layers):
            self._extract(stage, progress)
            for key, shards in self._shards.items():
                if self._surveys[key].note:
                    continue
                searches = {name: submit_search(cluster, shards, question) for name, question in questions.items()}
                neighbors = {}
                for name, futures in searches.items():
                    neighbors[name] = neighbors_of([result(cluster, future) for future in futures])
                yield neighbors

    def measured_layers(
        self, options: MeasureOptions, finished: frozenset[str], progress: Report
    ) -> Generator[tuple[LayerInfo, Tables]]:
        """Yield the tables of each layer that is not finished, in network order."""
        remaining = [layer for layer in self._plan.layers if layer.layer not in finished]
        # The result of a task, unlike scattered data, is computed again if its worker dies.
        samples = self._cluster.client.submit(_return_samples, self._plan.samples, pure=False)
        stages = self._stages(remaining)
        for number, stage in enumerate(stages, start=1):
            report = progress if len(stages) == 1 else renamed(progress, f"stage {number} of {len(stages)}")
            self._extract(stage, report)
            yield from self._measure_stage(stage, samples, options, report)

    def close(self) -> None:
        """Cancel all tasks."""
        if self._cluster.client.status == "running":
            self._tiles.close()
            self._cluster.client.cancel(list(self._futures), force=True)

    def _stages(self, layers: Sequence[LayerInfo]) -> list[Stage]:
        """Divide layers into stages of consecutive layers whose activations fit into the storage together."""
        available_bytes = free_bytes(self._address)
        stages: list[Stage] = []
        stage_bytes = 0
        for layer in layers:
            num_bytes = layer_bytes(self._plan, layer)
            if num_bytes > available_bytes:
                raise ValueError(
                    f"cluster storage must have {num_bytes:,} bytes to spare for the activations of {layer.layer}; got "
                    f"{available_bytes:,} at {self._address}. Name another place with --cluster-storage, or choose "
                    "--pooling mean."
                )
            if not stages or stage_bytes + num_bytes > available_bytes:
                stages.append(())
                stage_bytes = 0
            stages[-1] += (layer,)
            stage_bytes += num_bytes
        return stages

    def _extract(self, stage: Stage, progress: Report) -> None:
        """Extract the activations of a stage into shards, after removing earlier ones, unless this has been done."""
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
        for start in range(0, num_images, extraction.rows_per_shard):
            images = self._plan.images.select(np.arange(start, min(start + extraction.rows_per_shard, num_images)))
            self._futures.append(cluster.client.submit(extract, extraction, images, start, pure=False))
        done = 0
        self._surveys = {}
        progress(Progress("activations", done, num_images, "images"))
        while self._futures:
            surveys = result(cluster, self._futures[0])
            for key, survey in surveys.items():
                self._surveys[key] = self._surveys[key].with_more(survey) if key in self._surveys else survey
            done += next(iter(surveys.values())).num_samples
            self._futures.popleft()
            progress(Progress("activations", done, num_images, "images"))
        self._extracted, self._shards = stage, extraction.shards

    def _measure_stage(
        self, stage: Stage, samples: Any, options: MeasureOptions, progress: Report
    ) -> Iterator[tuple[LayerInfo, Tables]]:
        """Yield the tables of one layer after the other, while the following layers are being computed."""
        questions = comparison_questions(self._plan.samples, options)
        waiting = deque(enumerate(stage))  # layers that have not been submitted yet
        submitted: deque[int] = deque()  # numbers of tasks of the submitted layers, the awaited one first
        for number, layer in enumerate(stage):
            while waiting:
                next_number, next_layer = waiting[0]
                num_tasks = self._num_tasks(next_layer, questions)
                if submitted and sum(submitted) + num_tasks > MAX_TASKS:
                    break
                waiting.popleft()
                submitted.append(num_tasks)
                self._futures.append(self._measure(next_layer, questions, samples, options, priority=-next_number))
            progress(Progress(f"neighbors in {layer.layer}", number, len(stage), "layers"))
            report_tiles = partial(self._report_tiles, layer, submitted[0], progress)
            tables = result(self._cluster, self._futures[0], report_tiles)
            self._futures.popleft()
            submitted.popleft()
            yield layer, tables
            for shards in self._shards_by_pooling(layer).values():
                remove(shards.address)
        progress(Progress("neighbors", len(stage), len(stage), "layers"))

    def _report_tiles(self, layer: LayerInfo, num_tasks: int, progress: Report) -> None:
        """Report the progress within a layer that has many tasks."""
        if num_tasks >= MANY_TASKS:
            done = sum(self._tiles.count(shards) for shards in self._shards_by_pooling(layer).values())
            progress(Progress(f"tiles of {layer.layer}", min(done, num_tasks), num_tasks, "tasks"))

    def _shards_by_pooling(self, layer: LayerInfo) -> dict[str, Shards]:
        """Return the shards of a layer, by pooling."""
        return {pooling: self._shards[layer.layer, pooling] for pooling in poolings_of(layer, self._plan.poolings)}

    def _usable_shards(self, layer: LayerInfo) -> dict[str, Shards]:
        """Return the shards of a layer that can be searched, by pooling."""
        usable = {}
        for pooling, shards in self._shards_by_pooling(layer).items():
            if not self._surveys[layer.layer, pooling].note:
                usable[pooling] = shards
        return usable

    def _num_tasks(self, layer: LayerInfo, questions: Mapping[Comparison, Question]) -> int:
        """Return the number of tasks of a layer: those of its searches, and one that measures it."""
        num_tasks = 1
        for shards in self._usable_shards(layer).values():
            for question in questions.values():
                num_tasks += tile_search(self._cluster, shards.num_features, question).num_tasks
        return num_tasks

    def _measure(
        self,
        layer: LayerInfo,
        questions: Mapping[Comparison, Question],
        samples: Any,
        options: MeasureOptions,
        *,
        priority: int,
    ) -> Any:
        """Submit all tasks of a layer; return a future of its tables."""
        shards = self._usable_shards(layer)
        notes = {pooling: self._surveys[layer.layer, pooling].note for pooling in self._shards_by_pooling(layer)}
        answers: dict[str, dict[Comparison, list[Any]]] = {}
        for pooling, pooling_shards in shards.items():
            answers[pooling] = {}
            for key, question in questions.items():
                answers[pooling][key] = submit_search(self._cluster, pooling_shards, question, priority=priority)
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
    """On a worker: compute the tables of a layer whose nearest candidates have been found.

    Parameters
    ----------
    layer : mapping
        The layer, as a row of the table of layers.
    shards : mapping of str to Shards
        By pooling the activations.
    answers : mapping
        By pooling and comparison the nearest candidates of all groups of queries.
    samples : StudySamples
        The samples of the study.
    options : MeasureOptions
        What to measure.
    notes : mapping of str to str
        By pooling, in order, why the layer cannot be measured; "" if it can.
    """
    measurable: dict[str, StoredLayer | UnusableLayer] = {}
    for pooling, note in notes.items():
        if note:
            measurable[pooling] = UnusableLayer(note)
            continue
        neighbors = {key: neighbors_of(candidates) for key, candidates in answers[pooling].items()}
        measurable[pooling] = StoredLayer(neighbors, shards[pooling].read_all, samples, options)
    return measure_layer(layer, measurable, samples, options)


def _return_samples(samples: StudySamples) -> StudySamples:
    return samples
