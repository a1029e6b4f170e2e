"""The search tasks of workers: they read shards, and return the nearest candidates that they find."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from dask.sizeof import sizeof
from distributed import get_worker
from numpy.typing import NDArray

from core.cluster.shards import RowSelection, Shards, num_selected, row_numbers
from core.search.tiled import Best, best_across, best_among, best_within, merge, stack

Array = NDArray[Any]
TOPIC = "separation-index-tiles"  # of the events that count tasks
Candidates = dict[int, Best]  # by the number of a group, the nearest candidates of its rows


@sizeof.register(Best)
def best_bytes(best: Best) -> int:
    """Return the size for the scheduler, which decides by it what to move; it would take unknown classes as tiny."""
    return best.indices.nbytes + best.squared.nbytes


@dataclass(frozen=True, eq=False)
class Block:
    """Rows that a worker holds at the same time.

    Attributes
    ----------
    start : int
        Position of the first row among all queries or references of the search.
    rows : slice or np.ndarray
        The rows in storage.
    """

    start: int
    rows: RowSelection

    def __len__(self) -> int:
        return num_selected(self.rows)


@dataclass(frozen=True, eq=False)
class Group:
    """Consecutive blocks, one side of a task; `number` identifies the group."""

    number: int
    blocks: tuple[Block, ...]


def search_within(shards: Shards, group: Group, k: int) -> Candidates:
    """Find the k nearest candidates of each row of a group among the other rows of the group."""
    best: list[Best] = []  # of the blocks so far, from the last block to the first
    for number in reversed(range(len(group.blocks))):
        block, later_blocks = group.blocks[number], group.blocks[number + 1 :]
        features = _read_with_space(shards, block, later_blocks)
        within = best_within(features[: len(block)], k).shifted(block.start)
        pair = _BlockPairs(shards, features, block, k)
        in_later, of_later = pair.search(later_blocks, within.within, [candidates.within for candidates in best])
        later_best = [merge(candidates, k) for candidates in zip(best, of_later, strict=True)]
        best = [merge([within, in_later], k), *later_best]
    return {group.number: stack(best)}


def search_across(shards: Shards, left: Group, right: Group, known: Sequence[Candidates], k: int) -> Candidates:
    """Find the nearest candidates of each row of one group in another group, and vice versa.

    Parameters
    ----------
    shards : Shards
        The features.
    left, right : Group
        The two groups.
    known : sequence of dict
        The candidates of both groups within themselves. More distant rows are left out, and these candidates are not
        part of the result.
    k : int
        Number of candidates.
    """
    limits: dict[int, Array] = {}  # by group, the distances below which candidates are of interest
    for candidates in known:
        limits.update((number, best.within) for number, best in candidates.items())
    right_limits = _split_by_block(right, limits[right.number])
    left_best, right_best = [], [Best.unknown(len(block), k) for block in right.blocks]
    for block, limit in zip(left.blocks, _split_by_block(left, limits[left.number]), strict=True):
        features = _read_with_space(shards, block, right.blocks)
        in_right, of_right = _BlockPairs(shards, features, block, k).search(right.blocks, limit, right_limits)
        left_best.append(in_right)
        right_best = [merge(candidates, k) for candidates in zip(right_best, of_right, strict=True)]
        right_limits = [np.minimum(old, best.within) for old, best in zip(right_limits, right_best, strict=True)]
    return {left.number: stack(left_best), right.number: stack(right_best)}


def search_among(shards: Shards, queries: Group, references: Group, k: int) -> Candidates:
    """Find the nearest candidates of each query in a group of references, never the query itself."""
    best = []
    for block in queries.blocks:
        query_features, query_rows = shards.read(block.rows), row_numbers(block.rows)
        parts = []
        for reference_block in references.blocks:
            own_positions = _positions_in(row_numbers(reference_block.rows), query_rows)
            reference_features = shards.read(reference_block.rows)
            candidates = best_among(reference_features, query_features, own_positions, k)
            parts.append(candidates.shifted(reference_block.start))
        best.append(merge(parts, k))
    return {queries.number: stack(best)}


def merge_candidates(number: int, parts: Sequence[Candidates], k: int) -> Candidates:
    """Merge the results of several tasks for one group to its k nearest candidates."""
    return {number: merge([candidates[number] for candidates in parts], k)}


def search_and_report(work: Callable[..., Candidates], shards: Shards, *arguments: Any) -> Candidates:
    """Search, and report to the client that one more task has been done for these shards."""
    candidates = work(shards, *arguments)
    get_worker().log_event(TOPIC, shards.address)
    return candidates


def _read_with_space(shards: Shards, block: Block, others: Sequence[Block]) -> Array:
    """Read the features of a block into an array with space after them for any of the other blocks."""
    num_rows = len(block) + max(map(len, others), default=0)
    features = np.empty((num_rows, shards.num_features), np.float32)
    shards.read_into(block.rows, features[: len(block)])
    return features


@dataclass(frozen=True, eq=False)
class _BlockPairs:
    """The search between one block, whose rows come first in `features`, and other blocks, one after the other."""

    shards: Shards
    features: Array
    block: Block
    k: int

    def search(self, others: Sequence[Block], limit: Array, other_limits: Sequence[Array]) -> tuple[Best, list[Best]]:
        """Return the nearest candidates of the block in the others, and those of each of the others in the block.

        The limits are the distances of the candidates that are known already.
        """
        num_rows = len(self.block)
        in_others, of_others = Best.unknown(num_rows, self.k), []
        for other, other_limit in zip(others, other_limits, strict=True):
            both = self.features[: num_rows + len(other)]
            self.shards.read_into(other.rows, both[num_rows:])
            within = np.concatenate([np.minimum(limit, in_others.within), other_limit])
            in_other, of_other = best_across(both, num_rows, self.k, within)
            in_others = merge([in_others, in_other.shifted(other.start)], self.k)
            of_others.append(of_other.shifted(self.block.start))
        return in_others, of_others


def _split_by_block(group: Group, values: Array) -> list[Array]:
    """Split the values of the rows of a group by block."""
    return np.split(values, np.cumsum([len(block) for block in group.blocks])[:-1])


def _positions_in(rows: NDArray[np.int64], wanted: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the position of each wanted row among ascending rows, -1 if it is not among them."""
    positions = np.minimum(np.searchsorted(rows, wanted), len(rows) - 1)
    return np.where(rows[positions] == wanted, positions, -1)
