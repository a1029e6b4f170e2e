"""Locks on files, which end with the process that holds them; standard library only, so that looking is cheap."""

import os
from pathlib import Path


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
