"""The process of a run: `python -m explorer.worker FOLDER ARGUMENT...` is `python -m core ARGUMENT...`, recorded.

It holds a lock on FOLDER/alive for as long as it lives, so that any other process can tell whether it does, whatever
has become of the one that started it, and it leaves its exit status in FOLDER/exit.
"""

import contextlib
import os
import sys
import time
from pathlib import Path

from core.study.results import lock_file

DATA_LIMIT = "SI_EXPLORER_RUN_BYTES"  # the variable that bounds its memory
ALIVE, STARTED, EXIT = "alive", "started", "exit"


def work(folder: Path, arguments: list[str]) -> int:
    """Run the command with little claim on the processor. Returns its exit status."""
    if hasattr(os, "nice"):
        os.nice(10)  # the pages come first
    from core.cli import main  # here, for the pages import this module's names

    bound_memory()
    with (folder / ALIVE).open("a+b") as handle:
        _lock(handle.fileno())
        (folder / EXIT).unlink(missing_ok=True)
        (folder / STARTED).touch()
        status = 1
        try:
            status = main(arguments)
        except SystemExit as wrong_usage:
            status = wrong_usage.code if isinstance(wrong_usage.code, int) else 1
        finally:
            with contextlib.suppress(OSError):  # the folder may have been deleted meanwhile
                (folder / EXIT).write_text(str(status), encoding="ascii")
    return status


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
    sys.exit(work(Path(sys.argv[1]), sys.argv[2:]))
