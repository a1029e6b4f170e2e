"""A study on a cluster: activations extracted shard by shard, layers searched and measured as tasks, tables gathered."""

from collections import deque
from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from core.cluster.connecting import Cluster, connect
from core.cluster.extraction import Extraction, Key, extract, plan_extraction
from core.cluster.search import answer_of, submit_search
from core.cluster.shards import Shards
from core.cluster.storage import remove, storage
from core.cluster.tiles import Findings
from core.cluster.waiting import explained, result
from core.measures.neighbors import Neighbors
from core.network.layers import LayerInfo
from core.network.passes import poolings_of
from core.study.measuring import layer_row, measure_layer
from core.study.plan import Plan, Progress, Report
from core.study.samples import MeasureOptions, StudySamples
from core.study.searches import Key as Comparison
from core.study.searches import StoredLayer, comparison_questions, pilot_questions

if TYPE_CHECKING:
    from distributed import Client

MOST_TASKS = 20_000  # of layers whose tasks wait at the scheduler at once

Tables = dict[str, pd.DataFrame]
Answers = Mapping[Comparison, Sequence[Findings]]


@contextmanager
def on_cluster(
    plan: Plan, address: "str | Client", asked_storage: str | None, folder: Path
) -> Iterator["ClusterStudy"]:
    """A plan's work on a cluster, while the connection and the storage last."""
    with connect(address) as cluster, storage(cluster, asked_storage, folder) as place, explained(cluster):
        study = ClusterStudy(plan, cluster, place)
        try:
            yield study
        finally:
            study.cancel()


class ClusterStudy:
    """What a study computes, done by the workers of a cluster."""

    def __init__(self, plan: Plan, cluster: Cluster, address: str) -> None:
        self._plan, self._cluster, self._address = plan, cluster, address
        self._futures: deque[Any] = deque()
        self._shards: Mapping[Key, Shards] = {}

    def pilot_answers(self, progress: Report) -> Iterator[Mapping[Comparison, Neighbors]]:
        """What the pilot finds at each layer and pooling."""
        questions = pilot_questions(self._plan.samples, self._plan.options.pilot, self._plan.options.seed)
        self._extract(self._plan.layers, progress)
        for shards in self._shards.values():
            answers = {key: submit_search(self._cluster, shards, question) for key, question in questions.items()}
            yield {
                key: answer_of([result(self._cluster, future) for future in futures])
                for key, futures in answers.items()
            }

    def measured_layers(
        self, options: MeasureOptions, finished: frozenset[str], progress: Report
    ) -> Generator[tuple[LayerInfo, Tables]]:
        """The tables of each layer that is not finished, in network order."""
        layers = [layer for layer in self._plan.layers if layer.layer not in finished]
        self._extract(layers, progress)
        samples = self._cluster.client.submit(_same, self._plan.samples, pure=False)  # comes again if its worker dies
        for place, layer in enumerate(layers):
            self._futures.append(self._measure(layer, samples, options, priority=-place))
        for place, layer in enumerate(layers):
            progress(Progress(f"neighbors in {layer.layer}", place, len(layers), "layers"))
            tables = result(self._cluster, self._futures[0])
            self._futures.popleft()
            yield layer, tables
            for pooling in poolings_of(layer, self._plan.poolings):
                remove(self._shards[layer.layer, pooling].address)
        progress(Progress("neighbors", len(layers), len(layers), "layers"))

    def cancel(self) -> None:
        """Leave no task waiting."""
        if self._futures and self._cluster.client.status == "running":
            self._cluster.client.cancel(list(self._futures), force=True)

    def _extract(self, layers: Sequence[LayerInfo], progress: Report) -> None:
        """Bring the activations of layers into shards, but for those that are there."""
        missing = [
            layer
            for layer in layers
            if (layer.layer, "flat") not in self._shards and (layer.layer, "mean") not in self._shards
        ]
        if not missing:
            return
        cluster, images = self._cluster, self._plan.images
        extraction = plan_extraction(
            self._plan, missing, self._address, num_workers=cluster.num_workers, worker_memory=cluster.worker_memory
        )
        self._futures.extend(
            self._extract_shard(extraction, start) for start in range(0, len(images), extraction.rows_a_shard)
        )
        done = 0
        progress(Progress("activations", done, len(images), "images"))
        while self._futures:
            done += result(cluster, self._futures[0])
            self._futures.popleft()
            progress(Progress("activations", done, len(images), "images"))
        self._shards = extraction.shards

    def _extract_shard(self, extraction: Extraction, start: int) -> Any:
        rows = range(start, min(start + extraction.rows_a_shard, len(self._plan.images)))
        return self._cluster.client.submit(extract, extraction, self._plan.images.select(rows), start, pure=False)

    def _measure(self, layer: LayerInfo, samples: Any, options: MeasureOptions, priority: int) -> Any:
        """The tables of a layer, as a future."""
        questions = comparison_questions(self._plan.samples, options)
        shards = {pooling: self._shards[layer.layer, pooling] for pooling in poolings_of(layer, self._plan.poolings)}
        answers = {
            pooling: {key: submit_search(self._cluster, own, question, priority=priority) for key, question in questions.items()}
            for pooling, own in shards.items()
        }
        return self._cluster.client.submit(
            measure, layer_row(layer), shards, answers, samples, options, priority=priority, pure=False
        )


def measure(
    layer: Mapping[str, Any],
    shards: Mapping[str, Shards],
    answers: Mapping[str, Answers],
    samples: StudySamples,
    options: MeasureOptions,
) -> Tables:
    """On a worker: the tables of a layer whose neighbors have been found; by pooling its shards and the findings."""
    found = {
        pooling: StoredLayer(
            {key: answer_of(findings) for key, findings in answers[pooling].items()},
            own.read_all,
            samples,
            options,
        )
        for pooling, own in shards.items()
    }
    return measure_layer(layer, found, samples, options)


def _same(samples: StudySamples) -> StudySamples:
    return samples
