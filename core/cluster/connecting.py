"""A connection to a Dask cluster that can do a study: found by an address or started here, checked before any work.

An address is `local:N`, which starts N processes on this machine, `local:N:SIZE` with a memory limit for each, or that
of a scheduler that runs, such as tcp://host:8786.
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

_CONNECT_S = 8.0  # to reach a scheduler, and then for a first worker
_SAME = ("numpy", "scikit-learn", "distributed", "tensorflow", "tensorflow-cpu", "keras")
_LOCAL = re.compile(r"local:(\d+)(?::(.+))?")
_THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
_KERNELS = "separation-index-kernels"  # the plugin that sets workers


class ClusterError(RuntimeError):
    """A cluster cannot be reached, is not fit for a study, or is gone; the text says what to do."""


@dataclass(frozen=True, eq=False)
class Cluster:
    """A cluster that has been checked.

    client : of `distributed`. address : as it was asked for. is_local : whether it was started here.
    num_workers, worker_memory : tasks that run at once, and the bytes that each may hold; a worker of several threads
    counts as several, and shares its memory among them. instructions : the instruction sets of the workers' processors.
    All as they were when the cluster was checked.
    """

    client: "Client"
    address: str
    num_workers: int
    worker_memory: int
    is_local: bool
    instructions: tuple[str, ...] = ()


@dataclass(frozen=True)
class LocalWorkers:
    """Processes to start on this machine, and the bytes that each may hold."""

    number: int
    memory: int


def local_workers(address: str) -> LocalWorkers | None:
    """What `local:N` or `local:N:SIZE` asks for; None for another kind of address.

    Raises
    ------
    ValueError
        No workers, or no size.
    """
    local = _LOCAL.fullmatch(address)
    if local is None:
        return None
    number, limit = int(local[1]), local[2]
    if number < 1:
        raise ValueError(f"cluster must have at least one worker; got {address}.")
    return LocalWorkers(number, parse_bytes(limit) if limit else available_bytes() // (number + 1))  # and this process


def check_installed() -> None:
    """Refuse to go on without the extra.

    Raises
    ------
    ModuleNotFoundError
        With how to install it.
    """
    try:
        import distributed  # noqa: F401
    except ImportError as error:
        raise ModuleNotFoundError("--cluster needs Dask. Install it: pip install -e '.[cluster]'.") from error


@contextmanager
def connect(address: "str | Client | Cluster") -> Iterator[Cluster]:
    """Connect, check, and let go again; what `local:N` started ends with it. What is connected already stays so.

    Raises
    ------
    ModuleNotFoundError
        The extra `cluster` is not installed.
    ValueError
        No such kind of address.
    ClusterError
        Nothing answers, there are no workers, or their versions differ from those here.
    """
    check_installed()
    import distributed

    if isinstance(address, Cluster):
        yield address
        return
    if isinstance(address, distributed.Client):
        yield _checked(address, str(address.scheduler_info(n_workers=0)["address"]), is_local=False)
        return
    local = local_workers(address)
    if local is None and "://" not in address:
        raise ValueError(
            f"cluster must be local:N, local:N:2GiB or an address such as tcp://host:8786; got {address!r}."
        )
    with _started(local) if local else _reached(address) as client:
        yield _checked(client, address, is_local=local is not None)


@contextmanager
def _started(local: LocalWorkers) -> Iterator["Client"]:
    """Processes on this machine, started by spawn, each watched by a nanny; they share cores and memory evenly.

    A network runs in as many threads as it would in this process: its results depend on their number.
    """
    import dask
    from distributed import Client, LocalCluster

    threads = str(max(1, (os.cpu_count() or 1) // local.number))
    kernels = current_kernels()
    variables = {} if kernels is None else kernels.environment()
    settings = {
        "distributed.worker.multiprocessing-method": "spawn",  # TensorFlow does not survive a fork
        "distributed.nanny.pre-spawn-environ": dict.fromkeys(_THREADS, threads)
        | {"TF_CPP_MIN_LOG_LEVEL": "2"}
        | {name: value for name, value in variables.items() if value is not None},
        # Results are small; what fills a worker is the work itself, which no spilling or pausing makes smaller.
        "distributed.worker.memory.target": False,
        "distributed.worker.memory.spill": False,
        "distributed.worker.memory.pause": False,
    }
    with (
        _environment_kept(),
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
def _environment_kept() -> Iterator[None]:
    """What nannies set for the processes that they start is not set for this one afterwards."""
    before = dict(os.environ)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


@contextmanager
def _reached(address: str) -> Iterator["Client"]:
    """A scheduler that runs already."""
    from distributed import Client

    try:
        client = Client(address, timeout=_CONNECT_S, set_as_default=False)
    except (OSError, ValueError, ImportError) as error:
        raise ClusterError(
            f"cluster must be the address of a running scheduler; nothing answers at {address} ({error}). Start one "
            "with `dask scheduler`, and workers with `dask worker ADDRESS`; check host, port and firewall."
        ) from error
    with client:
        yield client


def _checked(client: "Client", address: str, *, is_local: bool) -> Cluster:
    """Workers are there, and what they run on is what runs here."""
    try:
        client.wait_for_workers(1, timeout=_CONNECT_S)
    except TimeoutError as error:
        raise ClusterError(
            f"cluster must have at least one worker; the scheduler at {address} has none. Start some with "
            "`dask worker ADDRESS --nthreads 1 --memory-limit SIZE`."
        ) from error
    try:
        workers: dict[str, Mapping[str, Any]] = client.run(describe_worker)
    except (ImportError, AttributeError) as error:  # as they unpickle the question
        raise ClusterError(
            f"workers must have this version of the project installed; those at {address} do not ({error}). Install it "
            "in their environment and start them again."
        ) from error
    _refuse_differences(workers)
    instructions = _set_kernels(client)
    threads = client.nthreads()
    limits = {name: info["memory_limit"] for name, info in client.scheduler_info(n_workers=-1)["workers"].items()}
    memory = min((limits.get(name) or worker["memory"]) // threads.get(name, 1) for name, worker in workers.items())
    return Cluster(client, address, sum(threads.values()), int(memory), is_local, instructions)


def _set_kernels(client: "Client") -> tuple[str, ...]:
    """Have every worker compute as this process does, also one that comes later. Returns their instruction sets.

    Raises
    ------
    ClusterError
        A worker has loaded TensorFlow with other settings.
    """
    here = current_kernels()
    if here is None:
        return ()
    from core.cluster.worker_kernels import WorkerKernels  # which needs the extra `cluster`

    client.register_plugin(WorkerKernels(here), name=_KERNELS)
    workers: dict[str, Kernels | None] = client.run(current_kernels)
    for name, there in workers.items():
        if there is None or not there.has_settings_of(here):
            raise ClusterError(
                f"workers must compute with the same kernels of TensorFlow as this process ({here}), for the last bits "
                f"depend on them; {name} has loaded it with others ({there}). Start the workers again: they take the "
                "settings of this process as long as they have not loaded TensorFlow."
            )
    return tuple(sorted({there.instructions for there in workers.values() if there and there.instructions}))


def _refuse_differences(workers: Mapping[str, Mapping[str, Any]]) -> None:
    """Every worker has the versions of this process."""
    here = describe_worker()["versions"]
    for name, worker in workers.items():
        there = worker["versions"]
        differ = [
            f"{package} {there.get(package)} (here {here.get(package)})"
            for package in here | there
            if here.get(package) != there.get(package)
        ]
        if differ:
            raise ClusterError(
                f"workers must run the same versions as this process; {name} has {', '.join(differ)}. Install the same "
                "environment on all machines, for numbers and pickled tasks depend on it."
            )


def describe_worker() -> dict[str, Any]:
    """What a worker runs on: its versions, and the bytes of memory that are free."""
    versions = {"python": ".".join(platform.python_version_tuple()[:2]), "core": core.__version__}
    for package in _SAME:
        try:
            versions[package] = version(package)
        except PackageNotFoundError:
            continue
    return {"versions": versions, "memory": available_bytes()}
