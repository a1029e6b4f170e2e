"""Waiting for a cluster, and what it means when one fails."""

import time
from collections.abc import Callable, Iterator
from concurrent.futures import CancelledError
from contextlib import contextmanager
from typing import Any

from core.cluster.connecting import Cluster, ClusterError

_LOOK_EVERY_S = 0.1
_COUNT_EVERY_S = 2.0
_PATIENCE_S = 30.0  # without any worker at work: a nanny replaces a worker that died within a few seconds

Future = Any  # of distributed, which has no types


def result(cluster: Cluster, future: Future, waiting: Callable[[], None] = lambda: None) -> Any:
    """The result of a future; `waiting` is called now and then before it is there.

    Raises
    ------
    ClusterError
        The scheduler is gone, or all workers are and none comes back, or all have paused for want of memory.
    """
    patience = _Patience(cluster)
    while not future.done():
        patience.look()
        waiting()
        time.sleep(_LOOK_EVERY_S)
    return future.result()


class _Patience:
    """Looks after the cluster while its work is awaited."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self._counted = self._seen = time.monotonic()

    def look(self) -> None:
        """Raise where waiting is in vain."""
        client, now = self._cluster.client, time.monotonic()
        if client.status != "running":
            raise _gone(self._cluster)
        if now - self._counted < _COUNT_EVERY_S:
            return
        self._counted = now
        workers = client.scheduler_info(n_workers=-1)["workers"].values()
        if any(worker["status"] != "paused" for worker in workers):
            self._seen = now
        elif now - self._seen > _PATIENCE_S:
            raise _paused(self._cluster) if workers else _deserted(self._cluster)


@contextmanager
def explained(cluster: Cluster) -> Iterator[None]:
    """What goes wrong with the cluster, as an error that says what to do."""
    from distributed import KilledWorker
    from distributed.client import ClosedClientError
    from distributed.comm import CommClosedError

    try:
        yield
    except KilledWorker as error:
        raise ClusterError(
            f"{error.allowed_failures + 1} workers died one after the other at one task, most often because it takes "
            f"more memory than a worker may hold ({cluster.worker_memory / 2**20:,.0f} MiB). {_more_memory(cluster)} "
            f"The layers done so far are kept. ({error.task})"
        ) from error
    except MemoryError as error:
        raise ClusterError(f"a worker ran out of memory. {_more_memory(cluster)}") from error
    except (CancelledError, ClosedClientError, CommClosedError) as error:
        raise _gone(cluster) from error


def _more_memory(cluster: Cluster) -> str:
    setting = f"local:{cluster.num_workers}:SIZE" if cluster.is_local else "`dask worker --memory-limit SIZE`"
    return (
        f"Give each worker more with {setting} (a network of images takes about 2 GiB), start fewer workers, or choose "
        "--pooling mean or --no-probe."
    )


def _deserted(cluster: Cluster) -> ClusterError:
    return ClusterError(
        f"the cluster at {cluster.address} has lost all its workers. The layers done so far are kept; start workers, "
        "and the same command goes on from there."
    )


def _paused(cluster: Cluster) -> ClusterError:
    return ClusterError(
        f"all workers of the cluster at {cluster.address} have paused, because their memory is nearly full "
        f"({cluster.worker_memory / 2**20:,.0f} MiB each). {_more_memory(cluster)} The layers done so far are kept."
    )


def _gone(cluster: Cluster) -> ClusterError:
    return ClusterError(
        f"the scheduler at {cluster.address} is gone. The layers done so far are kept; start it and its workers again, "
        "and the same command goes on from there."
    )
