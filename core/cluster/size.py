"""How many workers a cluster has, how large and how fast they are: what an estimate is made from."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from core.cluster.connecting import Cluster, check_installed, connect, local_workers
from core.study.costs import product_rate

if TYPE_CHECKING:
    from distributed import Client

_RATE_S = 60.0  # to wait for a worker's measurement, which takes one


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
