"""Runs that wait in line until no other works: who is next is told by files, to any process that looks.

A run that waits has a number in its `waiting`, greater than those before it, and removes the file when its turn comes;
one that works holds a lock in the folder of studies. A process that is gone has lost its place. Of the standard library
alone, for a run waits before it loads anything.
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
    """Give the run of this folder the last place. Only one process at a time may do so."""
    last = max((number for _, number in _line(folder.parent)), default=0)
    (folder / WAITING).write_text(str(last + 1), encoding="ascii")


def num_waiting(studies: Path) -> int:
    """How many runs wait, and live."""
    return sum(is_locked(folder / ALIVE) for folder, _ in _line(studies))


def is_waiting(folder: Path) -> bool:
    """Whether the run of this folder waits, or died when it did."""
    return (folder / WAITING).exists()


def num_ahead(folder: Path) -> int:
    """How many runs must end before this one's turn: those that wait before it, and the one that works."""
    own = _number(folder)
    before = sum(is_locked(other / ALIVE) for other, number in _line(folder.parent) if number < own)
    return before + is_locked(folder.parent / _TURN)


@contextmanager
def turn(folder: Path) -> Iterator[None]:
    """Wait for the turn of a run that stands in line, and keep it; one that does not stand there goes ahead."""
    if not is_waiting(folder):
        yield
        return
    with (folder.parent / _TURN).open("a+b") as handle:
        while num_ahead(folder) or not _try(handle.fileno()):
            time.sleep(_EVERY_S)
        (folder / WAITING).unlink()
        yield


def _try(descriptor: int) -> bool:
    try:
        lock_file(descriptor)
    except OSError:
        return False
    return True


def _line(studies: Path) -> list[tuple[Path, int]]:
    """The folders of runs that wait, or died when they did, and their numbers."""
    return [(path.parent, _number(path.parent)) for path in studies.glob(f"*/{WAITING}")]


def _number(folder: Path) -> int:
    try:
        return int((folder / WAITING).read_text(encoding="ascii"))
    except (OSError, ValueError):  # it has left the line at this moment
        return 0
