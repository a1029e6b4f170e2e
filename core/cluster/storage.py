"""Shared storage for the activations of a study on a cluster, and the check that all workers can access it."""

import hashlib
import os
import platform
import shutil
import sys
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import fsspec
from fsspec.implementations.local import LocalFileSystem

from core.cluster.connecting import Cluster, ClusterError

UNLIMITED_BYTES = sys.maxsize  # stands for storage without a known limit, such as an object store


@contextmanager
def storage(cluster: Cluster, parent: str | None, folder: Path) -> Iterator[str]:
    """Provide an address for the activations of a study, which is empty at first and removed at the end.

    Parameters
    ----------
    cluster : Cluster
        The cluster whose workers must be able to access the address.
    parent : str or None
        A folder or fsspec address that will contain the new one; None: beside the study.
    folder : Path
        Folder of the study.

    Yields
    ------
    str
        The address.

    Raises
    ------
    ClusterError
        If workers cannot read what is written there, or cannot write to it.
    """
    address = _address(parent, folder.resolve())
    try:
        check_shared(cluster, address)
        yield address
    finally:
        with suppress(OSError, ValueError, ImportError):  # storage that cannot be removed has raised an error already
            remove(address)


def _address(parent: str | None, folder: Path) -> str:
    """Return an address that no other study uses; for a folder, an absolute path, valid in every process."""
    if parent is None:
        return f"{folder}.activations"
    owner = hashlib.sha256(f"{platform.node()}:{folder}".encode()).hexdigest()[:12]
    base = parent.rstrip("/") if "://" in parent else os.path.abspath(parent)
    return f"{base}/{folder.name}-{owner}.activations"


def check_shared(cluster: Cluster, address: str) -> None:
    """Check that workers can read what this process writes, and vice versa; earlier content of the address is removed.

    Raises
    ------
    ClusterError
        If workers cannot access the address, or it cannot be written to.
    """
    token = uuid.uuid4().hex
    try:
        remove(address)
        _write(f"{address}/{token}", token)
        answers = cluster.client.run(_answer_token, address, token)
        unseen = [worker for worker, name in answers.items() if name is None or _read(f"{address}/{name}") != token]
    except (OSError, ValueError, ImportError) as error:
        raise ClusterError(
            f"cluster storage must be writable; got {address}: {error}. Choose another with --cluster-storage, such as "
            "s3://bucket/path (with s3fs installed everywhere)."
        ) from error
    if unseen:
        raise ClusterError(
            f"cluster storage must be accessible to this process and to all workers; {', '.join(unseen[:3])} cannot "
            f"access {address}. Name a shared folder or an address such as s3://bucket/path with --cluster-storage."
        )


def _answer_token(address: str, token: str) -> str | None:
    """On a worker: write the token to a new name and return the name; None if the token cannot be read."""
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
    """Return the bytes that may be used: half of the free space of a folder's disk, no limit in other storage."""
    system, path = fsspec.url_to_fs(address)
    if not isinstance(system, LocalFileSystem):
        return UNLIMITED_BYTES
    return shutil.disk_usage(os.path.dirname(path)).free // 2


def remove(address: str) -> None:
    """Remove an address with all of its content."""
    system, path = fsspec.url_to_fs(address)
    if system.exists(path):
        system.rm(path, recursive=True)
