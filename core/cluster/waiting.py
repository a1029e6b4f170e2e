"""Waiting for results of a cluster, and errors that explain its failures."""

import time
from collections.abc import Callable, Iterator
from concurrent.futures import CancelledError
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from core.cluster.connecting import Cluster, ClusterError

_POLL_INTERVAL_S = 0.1

Future = Any  # `distributed` has no type annotations


@dataclass(frozen=True)
class Patience:
    """How long results are awaited from a cluster that does not work.

    Attributes
    ----------
    check_s : float
        Seconds between two looks at the state of the workers.
    idle_s : float
        Seconds without an active worker after which the cluster is given up. A nanny replaces a dead worker within a
        few seconds.
    """

    check_s: float = 2.0
    idle_s: float = 30.0


def result(
    cluster: Cluster,
    future: Future,
    waiting: Callable[[], None] = lambda: None,
    *,
    patience: Patience = Patience(),
) -> Any:
    """Wait for the result of a future; `waiting` is called repeatedly until it is available.

    Raises
    ------
    ClusterError
        If the scheduler is gone, if all workers are gone and not replaced, or if all have paused for lack of memory.
    """
    watch = _Watch(cluster, patience)
    while not future.done():
        watch.check()
        waiting()
        time.sleep(_POLL_INTERVAL_S)
    return future.result()


class _Watch:
    """Checks the state of the cluster while its results are awaited."""

    def __init__(self, cluster: Cluster, patience: Patience) -> None:
        self._cluster, self._patience = cluster, patience
        self._last_check = self._last_active = time.monotonic()

    def check(self) -> None:
        """Raise an error if the result can no longer be expected."""
        client, now = self._cluster.client, time.monotonic()
        if client.status != "running":
            raise _scheduler_gone(self._cluster)
        if now - self._last_check < self._patience.check_s:
            return
        self._last_check = now
        workers = client.scheduler_info(n_workers=-1)["workers"].values()
        if any(worker["status"] != "paused" for worker in workers):
            self._last_active = now
        elif now - self._last_active > self._patience.idle_s:
            raise _all_paused(self._cluster) if workers else _no_workers(self._cluster)


@contextmanager
def explain_failure(cluster: Cluster) -> Iterator[None]:
    """Turn failures of the cluster into a ClusterError that says what to do."""
    from distributed import KilledWorker
    from distributed.client import ClosedClientError
    from distributed.comm import CommClosedError

    try:
        yield
    except KilledWorker as error:
        raise ClusterError(
            f"{error.allowed_failures + 1} workers died one after the other during the same task, usually because it "
            f"needs more memory than a worker has ({cluster.worker_memory / 2**20:,.0f} MiB). {_more_memory(cluster)} "
            f"The finished layers are kept. ({error.task})"
        ) from error
    except MemoryError as error:
        raise ClusterError(f"a worker ran out of memory. {_more_memory(cluster)}") from error
    except (CancelledError, ClosedClientError, CommClosedError) as error:
        raise _scheduler_gone(cluster) from error


def _more_memory(cluster: Cluster) -> str:
    setting = f"local:{cluster.num_workers}:SIZE" if cluster.is_local else "`dask worker --memory-limit SIZE`"
    return (
        f"Give each worker more with {setting} (a network of images takes about 2 GiB), start fewer workers, or choose "
        "--pooling mean or --no-probe."
    )


def _no_workers(cluster: Cluster) -> ClusterError:
    return ClusterError(
        f"the cluster at {cluster.address} has lost all its workers. The finished layers are kept; start workers, and "
        "run the same command again to resume."
    )


def _all_paused(cluster: Cluster) -> ClusterError:
    return ClusterError(
        f"all workers of the cluster at {cluster.address} have paused, because their memory is nearly full "
        f"({cluster.worker_memory / 2**20:,.0f} MiB each). {_more_memory(cluster)} The finished layers are kept."
    )


def _scheduler_gone(cluster: Cluster) -> ClusterError:
    return ClusterError(
        f"the scheduler at {cluster.address} is gone. The finished layers are kept; start it and its workers, and run "
        "the same command again to resume."
    )
