"""A neighbor search as tasks on a cluster: tasks that search pairs of groups, and a tree of tasks that merge."""

import uuid
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from core.cluster.connecting import Cluster
from core.cluster.shards import Shards, select_rows
from core.cluster.tiles import (
    TOPIC,
    Block,
    Candidates,
    Group,
    merge_candidates,
    search_across,
    search_among,
    search_and_report,
    search_within,
)
from core.cluster.tiling import FAN_IN, Tiling, tiling
from core.search.neighbors import Neighbors
from core.search.sliced import Question
from core.search.tiled import Best, stack

Future = Any  # `distributed` has no type annotations


def submit_search(cluster: Cluster, shards: Shards, question: Question, *, priority: int = 0) -> list[Future]:
    """Submit the search of a question in stored activations.

    Returns
    -------
    list of Future
        For each group of queries, in order, a future of its nearest candidates.
    """
    tasks = tile_search(cluster, shards.num_features, question)
    submit = _Submit(cluster.client, priority)
    queries = _groups(question.queries, tasks.queries)
    parts: list[list[Future]] = [[] for _ in queries]  # for each group the results to merge
    if tasks.symmetric:
        for first, second, future in _self_join(submit, shards, queries, question.k):
            for number in {first, second}:
                parts[number].append(future)
    else:
        references = _groups(question.references, tasks.references)
        for query, reference in tasks.tiles():
            future = submit.search(search_among, shards, queries[query], references[reference], question.k)
            parts[query].append(future)
    return [_submit_merges(submit, number, futures, question.k) for number, futures in enumerate(parts)]


def tile_search(cluster: Cluster, num_features: int, question: Question) -> Tiling:
    """Divide the search of a question into tasks for this cluster."""
    is_self_join = np.array_equal(question.queries, question.references)
    return tiling(
        len(question.references),
        num_features,
        question.k,
        cluster.worker_memory,
        num_queries=None if is_self_join else len(question.queries),
        workers=cluster.num_workers,
    )


def neighbors_of(results: Sequence[Candidates]) -> Neighbors:
    """Return the neighbors from the nearest candidates of all groups of queries, in order."""
    best: list[Best] = []
    for candidates in results:
        best += candidates.values()
    return stack(best).neighbors()


class TileCount:
    """Counts the finished search tasks for each array of shards; a task that runs again counts again."""

    def __init__(self, cluster: Cluster) -> None:
        self._client, self._counts = cluster.client, Counter[str]()
        self._client.subscribe_topic(TOPIC, self._take)

    def close(self) -> None:
        """Stop counting."""
        self._client.unsubscribe_topic(TOPIC)

    def count(self, shards: Shards) -> int:
        """Return the number of finished tasks for some shards."""
        return self._counts[shards.address]

    def _take(self, event: tuple[float, str]) -> None:
        self._counts[event[1]] += 1


class _Submit:
    """Submits tasks to the cluster, all with the same priority."""

    def __init__(self, client: Any, priority: int) -> None:
        self._client, self._priority = client, priority

    def __call__(self, work: Callable[..., Candidates], *arguments: Any) -> Future:
        return self._client.submit(work, *arguments, priority=self._priority, pure=False)

    def search(self, work: Callable[..., Candidates], *arguments: Any) -> Future:
        """Submit a search that reports when it is done; its key contains the name of the function."""
        key = f"{work.__name__}-{uuid.uuid4().hex}"
        return self._client.submit(search_and_report, work, *arguments, key=key, priority=self._priority, pure=False)


def _self_join(submit: _Submit, shards: Shards, groups: Sequence[Group], k: int) -> Iterator[tuple[int, int, Future]]:
    """Submit a self-join; yield for each task the numbers of its two groups, and its future.

    First each group is searched within itself: the distances found limit the search in all pairs of groups.
    """
    within = [submit.search(search_within, shards, group, k) for group in groups]
    for first, left in enumerate(groups):
        yield first, first, within[first]
        for second in range(first + 1, len(groups)):
            known = [within[first], within[second]]
            yield first, second, submit.search(search_across, shards, left, groups[second], known, k)


def _submit_merges(submit: _Submit, number: int, parts: list[Future], k: int) -> Future:
    """Submit a tree of tasks that each merge a few results; return the future of its root."""
    while len(parts) > 1:
        batches = [parts[start : start + FAN_IN] for start in range(0, len(parts), FAN_IN)]
        parts = [submit(merge_candidates, number, batch, k) for batch in batches]
    return parts[0]


def _groups(rows: NDArray[np.int64], slices: Sequence[Sequence[slice]]) -> list[Group]:
    """Return the groups of blocks, with the stored rows of each block."""
    groups = []
    for number, group_slices in enumerate(slices):
        blocks = tuple(Block(part.start, select_rows(rows[part])) for part in group_slices)
        groups.append(Group(number, blocks))
    return groups
