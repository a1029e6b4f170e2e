"""What is not fit for a study is refused within seconds, with what to do about it."""

import os
import socket
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from distributed import Client, LocalCluster

from core.cluster import connecting
from core.cluster.connecting import Cluster, ClusterError, connect
from core.cluster.extraction import check_images_readable
from core.cluster.storage import check_shared
from core.cluster.waiting import Patience, explain_failure, result
from core.data.images.loading import load_images
from core.network.kernels import MAX_ISA, ONEDNN, THREADS, current_kernels

pytestmark = pytest.mark.slow


def test_the_environment_of_this_process_stays():
    before = dict(os.environ)
    with connect("local:1:512MiB") as cluster:
        assert cluster.num_workers == 1
        assert cluster.worker_memory == 512 << 20
        assert cluster.is_local
    assert dict(os.environ) == before


def test_a_client_stays_open(cluster: Cluster):
    with connect(cluster.client) as again:
        assert again.num_workers == 2
        assert again.worker_memory == 1 << 30
    assert cluster.client.status == "running"


@pytest.mark.parametrize("address", ["local:0", "local:two", "somewhere", "local:1:many"])
def test_other_addresses_are_wrong(address: str):
    with pytest.raises(ValueError, match="must"), connect(address):
        pass


def test_nothing_answers():
    assert connecting.CONNECT_TIMEOUT_S <= 8
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    expected = rf"nothing answers at tcp://127.0.0.1:{port}.*dask scheduler"
    with pytest.raises(ClusterError, match=expected), connect(f"tcp://127.0.0.1:{port}", timeout_s=1):
        pass


def test_no_workers():
    expected = r"at least one worker.*dask worker"
    with (
        LocalCluster(n_workers=0, dashboard_address="127.0.0.1:0", silence_logs=50) as empty,
        pytest.raises(ClusterError, match=expected),
        connect(empty.scheduler_address, timeout_s=0.5),
    ):
        pass


def test_other_versions(cluster: Cluster, monkeypatch: pytest.MonkeyPatch):
    versions = connecting.describe_worker()["versions"] | {"numpy": "1.0"}
    monkeypatch.setattr(connecting, "describe_worker", _Here(versions))
    with pytest.raises(ClusterError, match=r"same versions.*numpy \d.*\(here 1\.0\)"), connect(cluster.client):
        pass


def test_workers_take_the_kernels_of_this_process_unless_they_have_loaded_others(cluster: Cluster):
    here = current_kernels()
    assert here is not None
    with connect("local:1:2GiB") as own:
        assert own.instructions == ((here.instructions,) if here.instructions else ())
        own.client.run(os.environ.update, {ONEDNN: "0" if here.onednn else "1", THREADS: "7", MAX_ISA: "SSE41"})
        with connect(own.client):
            assert all(there.has_settings_of(here) for there in own.client.run(current_kernels).values())
        own.client.run(_load_with_seven_threads)
        expected = (
            r"same kernels of TensorFlow as this process .* has loaded it with others \(.*7 threads\)\. Start the"
        )
        with pytest.raises(ClusterError, match=expected), connect(own.client):
            pass


def _load_with_seven_threads() -> None:
    import tensorflow as tf

    tf.config.threading.set_intra_op_parallelism_threads(7)


class _Here:
    """Says other versions here than on a worker."""

    def __init__(self, versions: dict[str, str]) -> None:
        self._versions, self._home = versions, os.getpid()

    def __call__(self) -> dict[str, object]:
        from core.cluster.connecting import describe_worker

        return {"versions": self._versions, "memory": 1} if os.getpid() == self._home else describe_worker()


def test_storage_that_workers_do_not_see(cluster: Cluster):
    with pytest.raises(ClusterError, match=r"accessible to this process and to all workers.*--cluster-storage"):
        check_shared(cluster, "memory://each-process-has-its-own")


def test_storage_that_nobody_can_write(cluster: Cluster, tmp_path: Path):
    (tmp_path / "file").write_text("")
    with pytest.raises(ClusterError, match=r"must be writable.*--cluster-storage"):
        check_shared(cluster, str(tmp_path / "file" / "within"))


def test_storage_of_an_unknown_kind(cluster: Cluster):
    with pytest.raises(ClusterError, match=r"must be writable.*--cluster-storage"):
        check_shared(cluster, "nowhere://bucket")


def test_a_worker_that_runs_out_of_memory(tmp_path: Path):
    with connect("local:1:400MiB") as cluster:
        expected = r"more memory than a worker has \(400 MiB\).*local:1:SIZE"
        with pytest.raises(ClusterError, match=expected), explain_failure(cluster):
            result(cluster, cluster.client.submit(_fill_memory))  # rather than wait for good


def _fill_memory() -> None:
    """Takes more and more, slowly enough for the nanny to see it."""
    held = []
    for _ in range(60):
        held.append(bytearray(os.urandom(1 << 20)) * 20)
        time.sleep(0.05)


@pytest.fixture(scope="module")
def two_threads() -> Iterator[Client]:
    """A cluster of one process that runs two tasks at once."""
    with (
        LocalCluster(
            n_workers=1, threads_per_worker=2, memory_limit="1GiB", dashboard_address="127.0.0.1:0", silence_logs=50
        ) as started,
        Client(started, set_as_default=False) as client,
    ):
        yield client


def test_a_worker_of_two_threads_counts_as_two_of_half_its_memory(two_threads: Client):
    with connect(two_threads) as cluster:
        assert (cluster.num_workers, cluster.worker_memory) == (2, 512 << 20)


def test_data_that_workers_do_not_see(two_threads: Client, images: Path):
    found = load_images(images)
    with connect(two_threads) as cluster:
        check_images_readable(cluster, found)
        elsewhere = replace(found, encoded=_Only(os.getpid(), found.encoded))
        with pytest.raises(ClusterError, match=r"same path on all workers.*not here.*shared disk"):
            check_images_readable(cluster, elsewhere)


class _Only:
    """Reads files in one process only."""

    def __init__(self, pid: int, read: Callable[[str], bytes]) -> None:
        self._pid, self._read = pid, read

    def __call__(self, sample: str) -> bytes:
        if os.getpid() != self._pid:
            raise OSError("not here")
        return self._read(sample)


def test_all_workers_lost(two_threads: Client):
    with connect(two_threads) as cluster:
        future = two_threads.submit(time.sleep, 60)
        two_threads.cluster.scale(0)
        with pytest.raises(ClusterError, match=r"has lost all its workers.*same command again to resume"):
            result(cluster, future, patience=Patience(check_s=0.1, idle_s=0.1))


def test_workers_that_have_paused_for_want_of_memory():
    """As workers that were started by hand do; those that `local:N` starts do not pause."""
    dask, distributed = pytest.importorskip("dask"), pytest.importorskip("distributed")
    limits = {"target": False, "spill": False, "pause": 0.8, "terminate": False}
    settings = {f"distributed.worker.memory.{what}": share for what, share in limits.items()}
    few = {"n_workers": 1, "threads_per_worker": 1, "memory_limit": "48MiB"}  # less than Python itself takes
    with (
        dask.config.set(settings | {"distributed.worker.multiprocessing-method": "spawn"}),
        distributed.LocalCluster(**few, dashboard_address="127.0.0.1:0", silence_logs=50) as small,
        distributed.Client(small, set_as_default=False) as client,
        connect(client) as cluster,
    ):
        deadline = time.monotonic() + 60
        while {worker["status"] for worker in client.scheduler_info()["workers"].values()} != {"paused"}:
            assert time.monotonic() < deadline
            time.sleep(0.1)
        future = client.submit(max, 1, 2, pure=False)
        with pytest.raises(ClusterError, match=r"have paused.*nearly full \(48 MiB each\).*--memory-limit"):
            result(cluster, future, patience=Patience(check_s=0.2, idle_s=1.0))
