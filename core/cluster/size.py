"""How many workers a cluster has, how large and how fast they are: what an estimate is made from."""

import os
from dataclasses import dataclass

from core.study.costs import product_rate


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


def cluster_size(address: str) -> ClusterSize:
    """The size of the cluster at an address; the processes of `local:N` are not started for it.

    Raises
    ------
    ValueError, OSError, ImportError
        As `core.cluster.connecting.connect`.
    """
    from core.cluster.connecting import connect, local_workers  # not for every estimate: they need the extra

    local = local_workers(address)
    if local is not None:
        cores = os.cpu_count() or 1
        rate = product_rate() / max(cores, local.workers)
        return ClusterSize(local.workers, local.worker_memory, rate, "this machine's measured now")
    with connect(address) as cluster:
        info = cluster.client.scheduler_info(n_workers=-1)["workers"].values()
        rate = cluster.client.submit(product_rate, pure=False).result(timeout=30)
        return ClusterSize(len(info), min(worker["memory_limit"] for worker in info), rate, "measured on one now")
