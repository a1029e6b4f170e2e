"""The engine that computes studies on a Dask cluster. Importing it does not need the extra `cluster`."""

from __future__ import annotations  # so that help() shows the names of types as they are written here

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from core.cluster.connecting import Cluster, connect
from core.cluster.estimate import cluster_size
from core.study.engine import StudyWork
from core.study.plan import Plan

if TYPE_CHECKING:
    from distributed import Client


@dataclass(frozen=True)
class DaskEngine:
    """Computes studies on a Dask cluster; `core.run_study(options, out, engine=DaskEngine("local:2"))`.

    Parameters
    ----------
    client : distributed.Client or str
        A client, or an address for `core.cluster.connecting.connect`, such as "tcp://host:8786" or "local:2".
    storage : str, optional
        A folder or an fsspec address that all workers can access, for temporary activations; default beside the study.
    """

    client: str | Client | Cluster
    storage: str | None = None
    has_own_memory: ClassVar[bool] = True

    @contextmanager
    def connect(self) -> Iterator[DaskConnection]:
        """Connect to the cluster, and check that it can compute a study.

        Raises
        ------
        ModuleNotFoundError, ValueError, ClusterError
            As `core.cluster.connecting.connect`.
        """
        with connect(self.client) as cluster:
            yield DaskConnection(cluster, self.storage)


@dataclass(frozen=True)
class DaskConnection:
    """A connection to a checked cluster, with the storage for temporary activations."""

    cluster: Cluster
    storage: str | None

    @property
    def instructions(self) -> tuple[str, ...]:
        """The instruction sets of the workers' processors."""
        return self.cluster.instructions

    def product_rate(self) -> float:
        """Return the operations per second of large float32 matrix products, of all workers together."""
        size = cluster_size(self.cluster)
        return size.workers * size.rate

    def work(self, plan: Plan, folder: Path) -> AbstractContextManager[StudyWork]:
        """Return a context in which the plan can be computed on the cluster; at its end the storage is removed."""
        from core.cluster.cluster_study import on_cluster  # which needs the extra `cluster`

        return on_cluster(plan, self.cluster, self.storage, folder)
