"""A neighbor search as tasks: tiles of groups of rows, and a tree that merges what they find of each group."""

import uuid
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from core.cluster.connecting import Cluster
from core.cluster.shards import Shards, as_places
from core.cluster.tiles import (
    TOPIC,
    Block,
    Findings,
    Group,
    counted,
    merge_findings,
    search_across,
    search_among,
    search_within,
)
from core.cluster.tiling import FAN_IN, Tiling, tiling
from core.cluster.waiting import result
from core.search.neighbors import Neighbors
from core.search.sliced import Question
from core.search.tiled import stack

Future = Any  # of distributed, which has no types


def nearest_stored(cluster: Cluster, shards: Shards, *, k: int = 1) -> Neighbors:
    """The exact k nearest other rows of each stored row: what `nearest_neighbors` finds in memory."""
    rows = np.arange(shards.num_rows)
    findings = submit_search(cluster, shards, Question(rows, rows, k))
    return answer_of([result(cluster, future) for future in findings])


def submit_search(cluster: Cluster, shards: Shards, question: Question, *, priority: int = 0) -> list[Future]:
    """Ask a question of stored activations; the futures hold the findings of the groups of queries, in order."""
    cut = cut_search(cluster, shards.num_features, question)
    submit = _Submit(cluster.client, priority)
    queries = _groups(question.queries, cut.queries)
    parts: list[list[Future]] = [[] for _ in queries]
    if cut.symmetric:
        for i, j, future in _self_join(submit, shards, queries, question.k):
            for number in {i, j}:
                parts[number].append(future)
    else:
        references = _groups(question.references, cut.references)
        for i, j in cut.tiles():
            parts[i].append(submit.search(search_among, shards, queries[i], references[j], question.k))
    return [_merged(submit, number, found, question.k) for number, found in enumerate(parts)]


def cut_search(cluster: Cluster, num_features: int, question: Question) -> Tiling:
    """The tasks of a question on this cluster."""
    return tiling(
        len(question.references),
        num_features,
        question.k,
        cluster.worker_memory,
        num_queries=None if np.array_equal(question.queries, question.references) else len(question.queries),
        workers=cluster.num_workers,
    )


def answer_of(findings: Sequence[Findings]) -> Neighbors:
    """The answer, of the findings of all groups of queries in order."""
    return stack([best for found in findings for best in found.values()]).neighbors()


class TileCount:
    """How many search tasks are done for each array of shards; one that runs again counts again."""

    def __init__(self, cluster: Cluster) -> None:
        self._client, self._counts = cluster.client, Counter[str]()
        self._client.subscribe_topic(TOPIC, self._take)

    def close(self) -> None:
        """Count no more."""
        self._client.unsubscribe_topic(TOPIC)

    def count(self, shards: Shards) -> int:
        return self._counts[shards.address]

    def _take(self, event: tuple[float, str]) -> None:
        self._counts[event[1]] += 1


class _Submit:
    """Hands tasks to the cluster, all with one priority."""

    def __init__(self, client: Any, priority: int) -> None:
        self._client, self._priority = client, priority

    def __call__(self, work: Callable[..., Findings], *arguments: Any) -> Future:
        return self._client.submit(work, *arguments, priority=self._priority, pure=False)

    def search(self, work: Callable[..., Findings], *arguments: Any) -> Future:
        """A task that counts, under the name of its work."""
        key = f"{work.__name__}-{uuid.uuid4().hex}"
        return self._client.submit(counted, work, *arguments, key=key, priority=self._priority, pure=False)


def _self_join(submit: _Submit, shards: Shards, groups: Sequence[Group], k: int) -> Iterator[tuple[int, int, Future]]:
    """First each group within itself: what that finds keeps down the work of all tiles of two groups."""
    within = [submit.search(search_within, shards, group, k) for group in groups]
    for i, left in enumerate(groups):
        yield i, i, within[i]
        for j, right in enumerate(groups[i + 1 :], start=i + 1):
            yield i, j, submit.search(search_across, shards, left, right, [within[i], within[j]], k)


def _merged(submit: _Submit, number: int, parts: list[Future], k: int) -> Future:
    """The root of a tree of tasks, each of which merges a few findings."""
    while len(parts) > 1:
        some = [parts[start : start + FAN_IN] for start in range(0, len(parts), FAN_IN)]
        parts = [submit(merge_findings, number, few, k) for few in some]
    return parts[0]


def _groups(rows: NDArray[np.int64], cut: Sequence[Sequence[slice]]) -> list[Group]:
    """Where the rows of each block of each group are stored."""
    return [
        Group(number, tuple(Block(block.start, as_places(rows[block])) for block in blocks))
        for number, blocks in enumerate(cut)
    ]
