"""The process of a run: `python -m explorer.runs.background.worker FOLDER ARGUMENT...` runs `core ARGUMENT...`.

The process holds a lock on FOLDER/alive as long as it lives, so that any other process can check whether it does, even
if the server that started it has ended. It writes its process id to FOLDER/started and its exit status to FOLDER/exit.
If it is in the queue, it waits for its turn before it loads anything.
"""

import contextlib
import json
import os
import signal
import sys
import threading
import time
from pathlib import Path

from core.study.store.locks import lock_file
from explorer.runs.background.run_queue import ALIVE, turn

DATA_LIMIT = "SI_EXPLORER_RUN_BYTES"  # environment variable: largest memory that the process may allocate
TIME_LIMIT = "SI_EXPLORER_RUN_S"  # environment variable: seconds that the process may take from its turn on
STARTED, EXIT = "started", "exit"


def work(folder: Path, arguments: list[str]) -> int:
    """Run the command with low priority. Returns its exit status.

    Parameters
    ----------
    folder : Path
        The run's folder.
    arguments : list of str
        Arguments of `python -m core`.
    """
    if hasattr(os, "nice"):
        os.nice(10)  # the pages come first
    with (folder / ALIVE).open("a+b") as handle:
        _lock(handle.fileno())
        (folder / EXIT).unlink(missing_ok=True)
        record_process(folder)
        with turn(folder):
            (folder / STARTED).touch()  # the elapsed time is counted from the modification time
            return _work(folder, arguments)


def record_process(folder: Path) -> None:
    """Write the process id in one step, so that no reader finds an incomplete file."""
    unfinished = folder / f"{STARTED}.part"
    unfinished.write_text(str(os.getpid()), encoding="ascii")
    os.replace(unfinished, folder / STARTED)


def _work(folder: Path, arguments: list[str]) -> int:
    bound_time()
    from core.cli import main  # here, because the pages import this module, and a waiting run shall take no memory

    bound_memory()
    status = 1
    try:
        status = main(arguments)
    except SystemExit as wrong_usage:
        status = wrong_usage.code if isinstance(wrong_usage.code, int) else 1
    finally:
        name_study(folder, arguments)
        with contextlib.suppress(OSError):  # the folder may have been deleted meanwhile
            (folder / EXIT).write_text(str(status), encoding="ascii")
    return status


def name_study(folder: Path, arguments: list[str]) -> None:
    """Give the run's study the name that the run has, unless a person gave it another one meanwhile."""
    from core.study.store.description import change_description, read_description

    outputs = [word.removeprefix("--out=") for word in arguments if word.startswith("--out=")]
    with contextlib.suppress(OSError, ValueError, AttributeError):  # the name is not worth a failed run
        name = json.loads((folder / "job.json").read_text(encoding="utf-8")).get("name")
        study = folder / outputs[0] if outputs else folder
        if name and (study / "study.json").exists() and not read_description(study).name:
            change_description(study, name=name)


def bound_time() -> None:
    """Kill this process, with a message, after the time that `TIME_LIMIT` sets; without it there is no limit."""
    if limit := os.environ.get(TIME_LIMIT):
        timer = threading.Timer(float(limit), _end, [float(limit)])
        timer.daemon = True
        timer.start()


def _end(limit_s: float) -> None:
    sys.stderr.write(f"error: a run may take {limit_s:.0f} s here; it was stopped. Take fewer samples or layers.\n")
    sys.stderr.flush()
    os.killpg(os.getpgrp(), signal.SIGKILL) if hasattr(os, "killpg") else os._exit(1)


def bound_memory() -> None:
    """Limit the memory of this process to what `DATA_LIMIT` sets, if the system supports it."""
    limit = os.environ.get(DATA_LIMIT)
    with contextlib.suppress(ImportError):  # Windows has no such limits
        import resource

        if limit:
            resource.setrlimit(resource.RLIMIT_DATA, (int(limit), int(limit)))


def _lock(descriptor: int) -> None:
    """Take the lock; try repeatedly, because a page that checks whether a run lives holds it for an instant."""
    for _ in range(50):
        try:
            return lock_file(descriptor)
        except OSError:
            time.sleep(0.02)
    raise SystemExit("error: this run is going on already.")


if __name__ == "__main__":
    sys.exit(work(Path(sys.argv[1]).resolve(), sys.argv[2:]))
