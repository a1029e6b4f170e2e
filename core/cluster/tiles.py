"""What workers search: functions of small arguments that read shards, and return what little is found in them."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from dask.sizeof import sizeof
from distributed import get_worker
from numpy.typing import NDArray

from core.cluster.shards import Places, Shards, num_places, row_numbers
from core.search.tiled import Best, best_across, best_among, best_within, merge, stack

Array = NDArray[Any]
TOPIC = "separation-index-tiles"  # of the events that count tasks
Findings = dict[int, Best]  # what is known of the rows of a group, by its number


@sizeof.register(Best)
def bytes_of(best: Best) -> int:
    """By which a scheduler decides what to move; an unknown class would weigh nothing."""
    return best.indices.nbytes + best.squared.nbytes


@dataclass(frozen=True, eq=False)
class Block:
    """Rows that a worker holds at once: the place of the first among all that are asked about, and where they lie."""

    start: int
    rows: Places

    def __len__(self) -> int:
        return num_places(self.rows)


@dataclass(frozen=True, eq=False)
class Group:
    """Consecutive blocks, one side of a task; `number` tells its findings apart."""

    number: int
    blocks: tuple[Block, ...]


def search_within(shards: Shards, group: Group, k: int) -> Findings:
    """The k best of each row of a group among the others of it."""
    known: list[Best] = []
    for place in reversed(range(len(group.blocks))):
        block, behind = group.blocks[place], group.blocks[place + 1 :]
        features = _room(shards, block, behind)
        shards.read_into(block.rows, features[: len(block)])
        own = best_within(features[: len(block)], k).shifted(block.start)
        found, back = _meet(shards, features, block, behind, own.within, [best.within for best in known], k)
        known = [merge([own, found], k), *(merge(both, k) for both in zip(known, back, strict=True))]
    return {group.number: stack(known)}


def search_across(shards: Shards, left: Group, right: Group, known: Sequence[Findings], k: int) -> Findings:
    """The best of each row of one group among the rows of another, and the other way round.

    known : the findings of both groups within themselves. What is farther than these is left out, and they are not
        part of what is returned.
    """
    within = {number: best.within for findings in known for number, best in findings.items()}
    limits = _by_block(right, within[right.number])
    found, back = [], [Best.unknown(len(block), k) for block in right.blocks]
    for block, limit in zip(left.blocks, _by_block(left, within[left.number]), strict=True):
        features = _room(shards, block, right.blocks)
        shards.read_into(block.rows, features[: len(block)])
        forth, met = _meet(shards, features, block, right.blocks, limit, limits, k)
        found.append(forth)
        back = [merge(both, k) for both in zip(back, met, strict=True)]
        limits = [np.minimum(limit, best.within) for limit, best in zip(limits, back, strict=True)]
    return {left.number: stack(found), right.number: stack(back)}


def search_among(shards: Shards, queries: Group, references: Group, k: int) -> Findings:
    """The best of each query among the rows of a group, never itself."""
    found = []
    for block in queries.blocks:
        asked, rows = shards.read(block.rows), row_numbers(block.rows)
        parts = []
        for other in references.blocks:
            own = _places_in(row_numbers(other.rows), rows)
            parts.append(best_among(shards.read(other.rows), asked, own, k).shifted(other.start))
        found.append(merge(parts, k))
    return {queries.number: stack(found)}


def merge_findings(number: int, parts: Sequence[Findings], k: int) -> Findings:
    """The k best of what some tasks have found of one group."""
    return {number: merge([findings[number] for findings in parts], k)}


def counted(work: Callable[..., Findings], shards: Shards, *arguments: Any) -> Findings:
    """Search, and let the client know that one more task has been done for these shards."""
    findings = work(shards, *arguments)
    get_worker().log_event(TOPIC, shards.address)
    return findings


def _room(shards: Shards, block: Block, others: Sequence[Block]) -> Array:
    """Room for the features of a block, and behind it for those of any of the others."""
    return np.empty((len(block) + max(map(len, others), default=0), shards.num_features), np.float32)


def _meet(
    shards: Shards,
    features: Array,
    block: Block,
    others: Sequence[Block],
    limit: Array,
    limits: Sequence[Array],
    k: int,
) -> tuple[Best, list[Best]]:
    """The best of a block, whose features come first in the room, among some others, and of each of these in it."""
    found, back = Best.unknown(len(block), k), []
    for other, other_limit in zip(others, limits, strict=True):
        both = features[: len(block) + len(other)]
        shards.read_into(other.rows, both[len(block) :])
        within = np.concatenate([np.minimum(limit, found.within), other_limit])
        forth, met = best_across(both, len(block), k, within)
        found = merge([found, forth.shifted(other.start)], k)
        back.append(met.shifted(block.start))
    return found, back


def _by_block(group: Group, values: Array) -> list[Array]:
    """Values of the rows of a group, block by block."""
    return np.split(values, np.cumsum([len(block) for block in group.blocks])[:-1])


def _places_in(rows: NDArray[np.int64], wanted: NDArray[np.int64]) -> NDArray[np.int64]:
    """Where each wanted row stands among ascending rows, -1 where it does not."""
    place = np.minimum(np.searchsorted(rows, wanted), len(rows) - 1)
    return np.where(rows[place] == wanted, place, -1)
