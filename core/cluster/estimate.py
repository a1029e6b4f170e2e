"""Estimates for neighbor searches on a cluster: operations, tasks and bytes, and size and speed of the workers."""

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from core.cluster.connecting import Cluster, check_installed, connect, local_workers
from core.cluster.tiling import CANDIDATE_BYTES, Tiling, group_rows, results_merged, tiling
from core.study.costs import layer_widths, product_rate, searches_of_plan
from core.study.measuring.searches import KNN, ORDERS
from core.study.plan import Plan

if TYPE_CHECKING:
    from distributed import Client

_RATE_TIMEOUT_S = 60.0  # for a measurement on a worker, which takes about 1 s


@dataclass(frozen=True)
class SearchCost:
    """The cost of one search, or the sum of several.

    Attributes
    ----------
    flop : float
        Floating-point operations of the inner products; a multiplication and an addition count as two. In a self-join
        each pair of rows counts once.
    tasks : int
        Number of tasks that search or merge, see `core.cluster.tiling`.
    storage_bytes : int
        Size of the features in storage.
    read_bytes : int
        Bytes of features that all tasks together read from storage.
    moved_bytes : int
        Largest number of bytes of results that are moved between workers, if no result is merged where it was computed.
    """

    flop: float
    tasks: int
    storage_bytes: int
    read_bytes: int
    moved_bytes: int

    def __add__(self, other: "SearchCost") -> "SearchCost":
        return SearchCost(
            self.flop + other.flop,
            self.tasks + other.tasks,
            self.storage_bytes + other.storage_bytes,
            self.read_bytes + other.read_bytes,
            self.moved_bytes + other.moved_bytes,
        )

    def seconds(self, rate: float, *, workers: int = 1) -> float:
        """Return the expected time in seconds, if each worker makes `rate` operations per second without waiting."""
        return self.flop / (rate * workers)


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
    """Estimate the cost of a search for the k nearest neighbors.

    Parameters
    ----------
    num_rows : int
        Rows that are searched.
    num_features : int
        Numbers per row.
    queries : int, optional
        Number of query rows, which are compared with all rows. Default: a self-join of all rows, which computes each
        pair once.
    k : int
        Number of neighbors.
    itemsize : int
        Bytes per number.
    workers : int
        Number of workers that share the tasks.
    worker_memory : int
        Memory of a worker in bytes.

    Raises
    ------
    ValueError
        If the memory of a worker is too small, see `core.cluster.tiling.tiling`.
    """
    tasks = tiling(num_rows, num_features, k, worker_memory, num_queries=queries, itemsize=itemsize, workers=workers)
    row_bytes = itemsize * num_features
    return SearchCost(
        flop=float(num_features) * num_rows * (num_rows if queries is None else 2 * queries),
        tasks=tasks.num_tasks,
        storage_bytes=row_bytes * num_rows,
        read_bytes=row_bytes * tasks.rows_read,
        moved_bytes=_moved_bytes(tasks, k),
    )


def _moved_bytes(tasks: Tiling, k: int) -> int:
    """Return the bytes of all results that are merged, level by level, and of the final ones for the client."""
    num_queries = sum(map(group_rows, tasks.queries))
    return CANDIDATE_BYTES * k * num_queries * (results_merged(len(tasks.references)) + 1)


def cluster_search_cost(plan: Plan, precision: float | None, *, workers: int, worker_memory: int) -> SearchCost:
    """Estimate the cost of all searches of a plan.

    Parameters
    ----------
    plan : Plan
        The plan of a study.
    precision : float or None
        Precision of a pilot-based search; None for the exact search.
    workers : int
        Number of workers.
    worker_memory : int
        Memory of a worker in bytes.

    Raises
    ------
    ValueError
        If the memory of a worker is too small for a layer, see `core.cluster.tiling.tiling`.
    """
    max_neighbors = max(plan.options.neighbors, *ORDERS, *KNN)
    widths: list[int] = []
    for layer in plan.layers:
        widths += layer_widths(plan, layer)
    total = NOTHING
    for width in widths:
        for references, queries in searches_of_plan(plan, precision):
            k = min(max_neighbors, max(1, references - 1))
            total += search_cost(references, width, queries=queries, k=k, workers=workers, worker_memory=worker_memory)
    return replace(total, storage_bytes=4 * len(plan.images) * sum(widths))  # written once for all searches


@dataclass(frozen=True)
class ClusterSize:
    """Size and speed of a cluster.

    Attributes
    ----------
    workers : int
        Number of workers.
    worker_memory : int
        Memory of the smallest worker in bytes.
    rate : float
        Operations per second of large float32 matrix products on each worker.
    measured : str
        How the rate was measured.
    """

    workers: int
    worker_memory: int
    rate: float
    measured: str


def cluster_size(address: "str | Client | Cluster") -> ClusterSize:
    """Return size and speed of the cluster at an address; for `local:N` no processes are started.

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
        rate = cluster.client.submit(product_rate, pure=False).result(timeout=_RATE_TIMEOUT_S)
        return ClusterSize(cluster.num_workers, cluster.worker_memory, rate, "measured on one of them now")
