"""The process of a run: `python -m explorer.runs.worker FOLDER ARGUMENT...` is `python -m core ARGUMENT...`, recorded.

It holds a lock on FOLDER/alive for as long as it lives, so that any other process can tell whether it does, whatever
has become of the one that started it; its process id is in FOLDER/started, and it leaves its exit status in
FOLDER/exit. Where it stands in line, it waits for its turn before it loads anything.
"""

import contextlib
import os
import signal
import sys
import threading
import time
from pathlib import Path

from core.study.store.locks import lock_file
from explorer.runs.run_queue import ALIVE, turn

DATA_LIMIT = "SI_EXPLORER_RUN_BYTES"  # the variable that bounds its memory
TIME_LIMIT = "SI_EXPLORER_RUN_S"  # the variable that bounds the seconds from its turn on
STARTED, EXIT = "started", "exit"


def work(folder: Path, arguments: list[str]) -> int:
    """Run the command with little claim on the processor. Returns its exit status."""
    if hasattr(os, "nice"):
        os.nice(10)  # the pages come first
    with (folder / ALIVE).open("a+b") as handle:
        _lock(handle.fileno())
        (folder / EXIT).unlink(missing_ok=True)
        record_process(folder)
        with turn(folder):
            (folder / STARTED).touch()  # its time counts from here
            return _work(folder, arguments)


def record_process(folder: Path) -> None:
    """Write the number of this process in one step: whoever finds the file can read the number."""
    unfinished = folder / f"{STARTED}.part"
    unfinished.write_text(str(os.getpid()), encoding="ascii")
    os.replace(unfinished, folder / STARTED)


def _work(folder: Path, arguments: list[str]) -> int:
    bound_time()
    from core.cli import main  # here, for the pages import this module's names, and who waits holds no memory

    bound_memory()
    status = 1
    try:
        status = main(arguments)
    except SystemExit as wrong_usage:
        status = wrong_usage.code if isinstance(wrong_usage.code, int) else 1
    finally:
        with contextlib.suppress(OSError):  # the folder may have been deleted meanwhile
            (folder / EXIT).write_text(str(status), encoding="ascii")
    return status


def bound_time() -> None:
    """Bound the time that the process takes from now on, where the server asks for it; it says so, and is killed."""
    if asked := os.environ.get(TIME_LIMIT):
        timer = threading.Timer(float(asked), _end, [float(asked)])
        timer.daemon = True
        timer.start()


def _end(limit_s: float) -> None:
    sys.stderr.write(f"error: a run may take {limit_s:.0f} s here; it was stopped. Take fewer samples or layers.\n")
    sys.stderr.flush()
    os.killpg(os.getpgrp(), signal.SIGKILL) if hasattr(os, "killpg") else os._exit(1)


def bound_memory() -> None:
    """Bound what the process may allocate, where the server asks for it and the system can."""
    asked = os.environ.get(DATA_LIMIT)
    with contextlib.suppress(ImportError):  # Windows has no such limits
        import resource

        if asked:
            resource.setrlimit(resource.RLIMIT_DATA, (int(asked), int(asked)))


def _lock(descriptor: int) -> None:
    """Take the lock; a page that asks whether a run lives holds it for an instant."""
    for _ in range(50):
        try:
            return lock_file(descriptor)
        except OSError:
            time.sleep(0.02)
    raise SystemExit("error: this run is going on already.")


if __name__ == "__main__":
    sys.exit(work(Path(sys.argv[1]).resolve(), sys.argv[2:]))
