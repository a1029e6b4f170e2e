"""The queue of runs: a run waits until no other run works. Its state is stored in files, which any process can read.

A waiting run has a file `waiting` with a number that is greater than those of the runs before it; it removes the file
when its turn comes. The working run holds a lock in the folder of studies. A process that ended leaves the queue by
itself, because its lock is released. This module imports little, because a run waits before it loads anything else.
"""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from core.study.store.locks import is_locked, lock_file

ALIVE, WAITING = "alive", "waiting"
_TURN = ".turn"
_EVERY_S = 0.5


def join_queue(folder: Path) -> None:
    """Put the run of this folder at the end of the queue. Only one process at a time may call this."""
    last = max((number for _, number in _waiting_runs(folder.parent)), default=0)
    (folder / WAITING).write_text(str(last + 1), encoding="ascii")


def num_waiting(studies: Path) -> int:
    """How many runs wait, without those whose process ended."""
    return sum(is_locked(folder / ALIVE) for folder, _ in _waiting_runs(studies))


def is_waiting(folder: Path) -> bool:
    """Whether the run of this folder waits, or its process ended while it waited."""
    return (folder / WAITING).exists()


def num_ahead(folder: Path) -> int:
    """How many runs must end before this one starts: those that wait before it, and the one that works."""
    own_number = _number(folder)
    num_waiting_before = 0
    for run, number in _waiting_runs(folder.parent):
        num_waiting_before += number < own_number and is_locked(run / ALIVE)
    return num_waiting_before + is_locked(folder.parent / _TURN)


@contextmanager
def turn(folder: Path) -> Iterator[None]:
    """Wait for a run's turn, and hold it while the context is open; a run outside the queue starts at once."""
    if not is_waiting(folder):
        yield
        return
    with (folder.parent / _TURN).open("a+b") as handle:
        while num_ahead(folder) or not _try_lock(handle.fileno()):
            time.sleep(_EVERY_S)
        (folder / WAITING).unlink()
        yield


def _try_lock(descriptor: int) -> bool:
    try:
        lock_file(descriptor)
    except OSError:
        return False
    return True


def _waiting_runs(studies: Path) -> list[tuple[Path, int]]:
    """The folders and numbers of the runs for which `is_waiting`."""
    return [(path.parent, _number(path.parent)) for path in studies.glob(f"*/{WAITING}")]


def _number(folder: Path) -> int:
    try:
        return int((folder / WAITING).read_text(encoding="ascii"))
    except (OSError, ValueError):  # the run has just left the queue
        return 0
