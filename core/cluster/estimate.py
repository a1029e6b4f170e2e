"""What a neighbor search on a cluster costs: operations, tasks and bytes, and how large and fast the workers are."""

from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING

from core.cluster.connecting import Cluster, check_installed, connect, local_workers
from core.cluster.tiling import BYTES_A_CANDIDATE, Tiling, group_rows, results_merged, tiling
from core.study.costs import layer_widths, product_rate, searches_of_plan
from core.study.measuring.searches import KNN, ORDERS
from core.study.plan import Plan

if TYPE_CHECKING:
    from distributed import Client

_RATE_S = 60.0  # to wait for a worker's measurement, which takes one


@dataclass(frozen=True)
class SearchCost:
    """Of one search, or of several, added.

    flop : floating-point operations of the inner products, a multiplication and an addition counted as two; in a
        self-join each pair of rows once.
    tasks : that search and merge, see `core.cluster.tiling`.
    storage_bytes : of the features, written once.
    read_bytes : of the features, as all tasks together read them from storage.
    moved_bytes : of results between workers, at most: where no task merges what lies on its own worker.
    """

    flop: float
    tasks: int
    storage_bytes: int
    read_bytes: int
    moved_bytes: int

    def __add__(self, other: "SearchCost") -> "SearchCost":
        return SearchCost(*(getattr(self, one.name) + getattr(other, one.name) for one in fields(self)))

    def seconds(self, rate: float, *, workers: int = 1) -> float:
        """Expected time of `workers` that each make `rate` operations a second, and never wait for storage."""
        return self.flop / (rate * workers)

    def read_rate(self, rate: float) -> float:
        """Bytes a second that each worker must read so as not to wait, at `rate` operations a second."""
        return self.read_bytes / self.seconds(rate)


NOTHING = SearchCost(0.0, 0, 0, 0, 0)


def search_cost(
    num_rows: int,
    num_features: int,
    *,
    queries: int | None = None,
    k: int = 10,
    itemsize: int = 4,
    workers: int = 1,
    worker_memory: int,
) -> SearchCost:
    """What it costs to find the k nearest of `num_rows` rows of `num_features` numbers.

    Parameters
    ----------
    queries : rows that are asked about all rows; default each row about all others, in which each pair is met once.
    itemsize : bytes of a number.
    workers, worker_memory : that share the tasks, and the bytes that each may hold.

    Raises
    ------
    ValueError
        The workers are too small, see `core.cluster.tiling.tiling`.
    """
    cut = tiling(num_rows, num_features, k, worker_memory, num_queries=queries, itemsize=itemsize, workers=workers)
    row_bytes = itemsize * num_features
    return SearchCost(
        flop=float(num_features) * num_rows * (num_rows if queries is None else 2 * queries),
        tasks=cut.num_tasks,
        storage_bytes=row_bytes * num_rows,
        read_bytes=row_bytes * cut.rows_read,
        moved_bytes=_moved_bytes(cut, k),
    )


def _moved_bytes(cut: Tiling, k: int) -> int:
    """Every result that is merged, level after level, and the last ones to the client."""
    num_queries = sum(map(group_rows, cut.queries))
    return BYTES_A_CANDIDATE * k * num_queries * (results_merged(len(cut.references)) + 1)


def cluster_search_cost(plan: Plan, precision: float | None, *, workers: int, worker_memory: int) -> SearchCost:
    """What the searches of a plan cost on so many workers of so many bytes each.

    Raises
    ------
    ValueError
        The workers are too small for a layer, see `core.cluster.tiling.tiling`.
    """
    wanted = max(plan.options.neighbors, *ORDERS, *KNN)
    widths = [width for layer in plan.layers for width in layer_widths(plan, layer)]
    total = NOTHING
    for width in widths:
        for references, queries in searches_of_plan(plan, precision):
            k = min(wanted, max(1, references - 1))
            total += search_cost(references, width, queries=queries, k=k, workers=workers, worker_memory=worker_memory)
    return replace(total, storage_bytes=4 * len(plan.images) * sum(widths))  # written once for all of its searches


@dataclass(frozen=True)
class ClusterSize:
    """What an estimate needs to know of a cluster.

    workers : how many. worker_memory : bytes that the smallest may hold. rate : operations a second of large float32
    products of each. measured : how that is known.
    """

    workers: int
    worker_memory: int
    rate: float
    measured: str


def cluster_size(address: "str | Client | Cluster") -> ClusterSize:
    """The size of the cluster at an address; the processes of `local:N` are not started for it.

    Raises
    ------
    ModuleNotFoundError, ValueError, ClusterError
        As `core.cluster.connecting.connect`.
    """
    check_installed()
    local = local_workers(address) if isinstance(address, str) else None
    if local is not None:
        rate = product_rate() / local.number
        return ClusterSize(local.number, local.memory, rate, "a share of what this machine does now")
    with connect(address) as cluster:
        rate = cluster.client.submit(product_rate, pure=False).result(timeout=_RATE_S)
        return ClusterSize(cluster.num_workers, cluster.worker_memory, rate, "measured on one of them now")
