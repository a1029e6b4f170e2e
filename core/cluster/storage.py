"""Where a study's activations lie while a cluster works on it, and whether all workers see the same place."""

import hashlib
import os
import platform
import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
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
    address = _address(asked, folder.resolve())
    try:
        check_shared(cluster, address)
        yield address
    finally:
        with suppress(OSError, ValueError, ImportError):  # what keeps it from being removed kept it from being used
            remove(address)


def _address(asked: str | None, folder: Path) -> str:
    """A place that no other study takes; a folder is named so that it does not matter where a process was started."""
    if asked is None:
        return f"{folder}.activations"
    owner = hashlib.sha256(f"{platform.node()}:{folder}".encode()).hexdigest()[:12]
    return f"{asked.rstrip('/') if '://' in asked else os.path.abspath(asked)}/{folder.name}-{owner}.activations"


def check_shared(cluster: Cluster, address: str) -> None:
    """What this process writes every worker reads, and the other way round; what was there before is removed.

    Raises
    ------
    ClusterError
        Workers do not see it, or it cannot be written to.
    """
    token = uuid.uuid4().hex
    try:
        remove(address)
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
