"""Connection to a Dask cluster, which is checked before any work.

An address is `local:N`, which starts N processes on this machine, `local:N:SIZE` with a memory limit for each process,
or the address of a running scheduler, such as tcp://host:8786.
"""

import os
import platform
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Any

import core
from core.network.kernels import Kernels, current_kernels
from core.study.plan import available_bytes, parse_bytes

if TYPE_CHECKING:
    from distributed import Client

CONNECT_TIMEOUT_S = 8.0  # for the connection to a scheduler, and again for the first worker
_PACKAGES = ("numpy", "scikit-learn", "distributed", "tensorflow", "tensorflow-cpu", "keras")
_LOCAL = re.compile(r"local:(\d+)(?::(.+))?")
_THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
_PLUGIN_NAME = "separation-index-kernels"  # of the plugin that sets the kernels of workers


class ClusterError(RuntimeError):
    """A cluster cannot be reached, is not suitable for a study, or is gone; the message says what to do."""


@dataclass(frozen=True, eq=False)
class Cluster:
    """A cluster that has been checked; the attributes describe it at the time of the check.

    Attributes
    ----------
    client : distributed.Client
        The connection.
    address : str
        The address as given by the user.
    num_workers : int
        Number of tasks that run at the same time; a worker with several threads counts several times.
    worker_memory : int
        Bytes of memory for each of these tasks; a worker's memory is divided among its threads.
    is_local : bool
        Whether the cluster was started by this process.
    instructions : tuple of str
        The instruction sets of the workers' processors.
    """

    client: "Client"
    address: str
    num_workers: int
    worker_memory: int
    is_local: bool
    instructions: tuple[str, ...] = ()


@dataclass(frozen=True)
class LocalWorkers:
    """The number of processes to start on this machine, and the memory of each in bytes."""

    number: int
    memory: int


def local_workers(address: str) -> LocalWorkers | None:
    """Parse `local:N` or `local:N:SIZE`; return None for another kind of address.

    Raises
    ------
    ValueError
        If the number of workers is 0, or the size is invalid.
    """
    local = _LOCAL.fullmatch(address)
    if local is None:
        return None
    number, limit = int(local[1]), local[2]
    if number < 1:
        raise ValueError(f"cluster must have at least one worker; got {address}.")
    if limit:
        return LocalWorkers(number, parse_bytes(limit))
    return LocalWorkers(number, available_bytes() // (number + 1))  # one share is for this process


def check_installed() -> None:
    """Raise a ModuleNotFoundError if the extra `cluster` is not installed."""
    try:
        import distributed  # noqa: F401
    except ImportError as error:
        raise ModuleNotFoundError("--cluster needs Dask. Install it: pip install -e '.[cluster]'.") from error


@contextmanager
def connect(address: "str | Client | Cluster", *, timeout_s: float = CONNECT_TIMEOUT_S) -> Iterator[Cluster]:
    """Connect to a cluster and check it; at the end of the context close what was opened here.

    Parameters
    ----------
    address : str, distributed.Client or Cluster
        An address (see the module's docstring), or an existing connection, which stays open.
    timeout_s : float
        Seconds to wait for the scheduler, and again for the first worker.

    Raises
    ------
    ModuleNotFoundError
        If the extra `cluster` is not installed.
    ValueError
        If the address is invalid.
    ClusterError
        If nothing answers, if there are no workers, or if their versions differ from those of this process.
    """
    check_installed()
    import distributed

    if isinstance(address, Cluster):
        yield address
        return
    if isinstance(address, distributed.Client):
        yield _check(address, str(address.scheduler_info(n_workers=0)["address"]), timeout_s, is_local=False)
        return
    local = local_workers(address)
    if local is None and "://" not in address:
        raise ValueError(
            f"cluster must be local:N, local:N:2GiB or an address such as tcp://host:8786; got {address!r}."
        )
    with _start_local(local) if local else _connect_to_scheduler(address, timeout_s) as client:
        yield _check(client, address, timeout_s, is_local=local is not None)


@contextmanager
def _start_local(local: LocalWorkers) -> Iterator["Client"]:
    """Start processes on this machine, by spawn and each watched by a nanny; they share cores and memory evenly.

    A network runs in as many threads as in this process, because its results depend on the number of threads.
    """
    import dask
    from distributed import Client, LocalCluster

    threads = str(max(1, (os.cpu_count() or 1) // local.number))
    kernels = current_kernels()
    environment = dict.fromkeys(_THREADS, threads) | {"TF_CPP_MIN_LOG_LEVEL": "2"}
    if kernels is not None:
        environment |= {name: value for name, value in kernels.environment().items() if value is not None}
    settings = {
        "distributed.worker.multiprocessing-method": "spawn",  # TensorFlow does not work after a fork
        "distributed.nanny.pre-spawn-environ": environment,
        # Results are small; the memory is needed by the computation itself, which spilling or pausing cannot reduce.
        "distributed.worker.memory.target": False,
        "distributed.worker.memory.spill": False,
        "distributed.worker.memory.pause": False,
    }
    with (
        _restore_environment(),
        dask.config.set(settings),
        LocalCluster(
            n_workers=local.number,
            threads_per_worker=1,
            memory_limit=local.memory,
            host="127.0.0.1",
            dashboard_address="127.0.0.1:0",  # any free port
            silence_logs=50,
        ) as cluster,
        Client(cluster, set_as_default=False) as client,
    ):
        yield client


@contextmanager
def _restore_environment() -> Iterator[None]:
    """Restore the environment of this process, in which nannies set variables for the processes that they start."""
    before = dict(os.environ)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


@contextmanager
def _connect_to_scheduler(address: str, timeout_s: float) -> Iterator["Client"]:
    """Connect to a running scheduler."""
    from distributed import Client

    try:
        client = Client(address, timeout=timeout_s, set_as_default=False)
    except (OSError, ValueError, ImportError) as error:
        raise ClusterError(
            f"cluster must be the address of a running scheduler; nothing answers at {address} ({error}). Start one "
            "with `dask scheduler`, and workers with `dask worker ADDRESS`; check host, port and firewall."
        ) from error
    with client:
        yield client


def _check(client: "Client", address: str, timeout_s: float, *, is_local: bool) -> Cluster:
    """Check that the cluster has workers, and that their versions and kernels are those of this process."""
    try:
        client.wait_for_workers(1, timeout=timeout_s)
    except TimeoutError as error:
        raise ClusterError(
            f"cluster must have at least one worker; the scheduler at {address} has none. Start some with "
            "`dask worker ADDRESS --nthreads 1 --memory-limit SIZE`."
        ) from error
    try:
        workers: dict[str, Mapping[str, Any]] = client.run(describe_worker)
    except (ImportError, AttributeError) as error:  # a worker cannot unpickle the function
        raise ClusterError(
            f"workers must have this version of the project installed; those at {address} do not ({error}). Install it "
            "in their environment and start them again."
        ) from error
    _check_versions(workers)
    instructions = _set_kernels(client)
    threads = client.nthreads()
    scheduler_workers = client.scheduler_info(n_workers=-1)["workers"]
    task_memory = []  # of each worker, in bytes per thread
    for name, worker in workers.items():
        limit = scheduler_workers.get(name, {}).get("memory_limit")
        task_memory.append((limit or worker["memory"]) // threads.get(name, 1))
    return Cluster(client, address, sum(threads.values()), int(min(task_memory)), is_local, instructions)


def _set_kernels(client: "Client") -> tuple[str, ...]:
    """Set all present and future workers to the kernels of this process; return the workers' instruction sets.

    Raises
    ------
    ClusterError
        If a worker has loaded TensorFlow with other settings.
    """
    own_kernels = current_kernels()
    if own_kernels is None:
        return ()
    from core.cluster.worker_kernels import WorkerKernels  # which needs the extra `cluster`

    client.register_plugin(WorkerKernels(own_kernels), name=_PLUGIN_NAME)
    workers: dict[str, Kernels | None] = client.run(current_kernels)
    instructions = set()
    for name, kernels in workers.items():
        if kernels is None or not kernels.has_settings_of(own_kernels):
            raise ClusterError(
                f"workers must compute with the same kernels of TensorFlow as this process ({own_kernels}), because "
                f"the last bits of results depend on them; {name} has loaded it with others ({kernels}). Start the "
                "workers again: they take over the settings of this process if they have not loaded TensorFlow yet."
            )
        if kernels.instructions:
            instructions.add(kernels.instructions)
    return tuple(sorted(instructions))


def _check_versions(workers: Mapping[str, Mapping[str, Any]]) -> None:
    """Check that every worker has the versions of this process."""
    own_versions = describe_worker()["versions"]
    for name, worker in workers.items():
        versions = worker["versions"]
        different = [
            f"{package} {versions.get(package)} (here {own_versions.get(package)})"
            for package in own_versions | versions
            if own_versions.get(package) != versions.get(package)
        ]
        if different:
            raise ClusterError(
                f"workers must run the same versions as this process; {name} has {', '.join(different)}. Install the "
                "same environment on all machines, because results and pickled tasks depend on it."
            )


def describe_worker() -> dict[str, Any]:
    """On a worker: return the versions of its packages, and its free memory in bytes."""
    versions = {"python": ".".join(platform.python_version_tuple()[:2]), "core": core.__version__}
    for package in _PACKAGES:
        try:
            versions[package] = version(package)
        except PackageNotFoundError:
            continue
    return {"versions": versions, "memory": available_bytes()}
