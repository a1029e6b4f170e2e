"""Where a study's activations lie while a cluster works on it, and whether all workers see the same place."""

import os
import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import fsspec
from fsspec.implementations.local import LocalFileSystem

from core.cluster.connecting import Cluster, ClusterError


@contextmanager
def storage(cluster: Cluster, asked: str | None, folder: Path) -> Iterator[str]:
    """An address for a study's activations, empty at first and removed at the end.

    asked : an address that fsspec knows, within which it lies; default beside the study.
    folder : the study's.

    Raises
    ------
    ClusterError
        Workers do not see what is written there, or cannot write to it.
    """
    name = f"{folder.resolve().name}.activations"
    address = f"{folder.resolve().parent}/{name}" if asked is None else f"{_absolute(asked)}/{name}"
    remove(address)
    try:
        check_shared(cluster, address)
        yield address
    finally:
        remove(address)


def _absolute(address: str) -> str:
    """The address as all processes understand it: a folder's does not depend on where they were started."""
    return address.rstrip("/") if "://" in address else os.path.abspath(address)


def check_shared(cluster: Cluster, address: str) -> None:
    """What this process writes every worker reads, and the other way round."""
    token = uuid.uuid4().hex
    try:
        _write(f"{address}/{token}", token)
        answers = cluster.client.run(_answer_token, address, token)
        unseen = [worker for worker, name in answers.items() if name is None or _read(f"{address}/{name}") != token]
    except (OSError, ValueError, ImportError) as error:
        raise ClusterError(
            f"cluster storage must be a place that can be written to; {address}: {error}. Choose another with "
            "--cluster-storage, such as s3://bucket/path (with s3fs installed everywhere)."
        ) from error
    if unseen:
        raise ClusterError(
            f"cluster storage must be seen by this process and by all workers; {', '.join(unseen[:3])} cannot see "
            f"{address}. Name a shared folder or an address such as s3://bucket/path with --cluster-storage."
        )


def _answer_token(address: str, token: str) -> str | None:
    """A worker's answer to a token, under a name of its own; None where there is nothing to answer to."""
    try:
        if _read(f"{address}/{token}") != token:
            return None
        name = uuid.uuid4().hex
        _write(f"{address}/{name}", token)
    except OSError:
        return None
    return name


def _write(address: str, text: str) -> None:
    system, path = fsspec.url_to_fs(address)
    system.makedirs(path.rpartition("/")[0], exist_ok=True)
    system.pipe_file(path, text.encode())


def _read(address: str) -> str:
    system, path = fsspec.url_to_fs(address)
    try:
        return bytes(system.cat_file(path)).decode()
    except FileNotFoundError:
        return ""


def free_bytes(address: str) -> int:
    """What may be filled: of a folder's disk, the half of what is free; other storage is not asked."""
    system, path = fsspec.url_to_fs(address)
    if not isinstance(system, LocalFileSystem):
        return 1 << 62
    return shutil.disk_usage(os.path.dirname(path)).free // 2


def remove(address: str) -> None:
    """Remove all that lies at an address."""
    system, path = fsspec.url_to_fs(address)
    if system.exists(path):
        system.rm(path, recursive=True)
