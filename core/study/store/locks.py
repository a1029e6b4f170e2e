"""Locks on files, which end with the process that holds them; standard library only, so that looking is cheap."""

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_RETRY_S = 0.02


class LockTakenError(OSError):
    """Another process holds a lock."""


@contextmanager
def held_lock(path: Path, seconds: float) -> Iterator[None]:
    """Hold the lock of a file, waiting so long for another holder; the system frees it when the holder dies.

    The file stays, because removing it would let two writers lock two files.

    Raises
    ------
    LockTakenError
        Another process held it for the whole time.
    """
    deadline = time.monotonic() + seconds
    with path.open("a+b") as handle:
        while True:
            try:
                lock_file(handle.fileno())
                break
            except OSError as error:
                if time.monotonic() > deadline:
                    raise LockTakenError(error.errno, error.strerror) from error
                time.sleep(_RETRY_S)
        yield


def is_locked(path: Path) -> bool:
    """Whether a process holds the lock of a file; a file that is not there is held by none."""
    try:
        with path.open("rb") as handle:
            lock_file(handle.fileno(), shared=True)
    except FileNotFoundError:
        return False
    except OSError:
        return True
    return False


def lock_file(descriptor: int, *, shared: bool = False) -> None:
    """Lock without waiting, until the file is closed; OSError where another holds it. Readers who only look share."""
    if os.name == "nt":
        import msvcrt

        msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)  # type: ignore[attr-defined]
    else:
        import fcntl

        fcntl.flock(descriptor, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
