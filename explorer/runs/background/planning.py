"""What a run will compute and cost, asked from the command line in another process: the server loads no network."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from threading import Condition
from typing import Any

from explorer.runs.background.jobs import core_environ
from explorer.runs.background.worker import TIME_LIMIT

LOOK_S = 0.3  # between two reports of how far a plan is
MOST_WAITING = 20  # plans

# python -m core, with the memory that the server allows, and an end of its own should the server be killed
_BOUNDED = """
import sys
from core.cli import main
from explorer.runs.background.worker import bound_memory, bound_time
bound_time()
bound_memory()
sys.exit(main(sys.argv[1:]))
"""


class PlanError(ValueError):
    """The command line refuses what is asked for, and says why."""


def ignore(text: str) -> None:
    """Discard progress reports."""


def plan(
    arguments: Sequence[str],
    folder: Path,
    *,
    timeout_s: float,
    environ: Mapping[str, str] | None = None,
    report: Callable[[str], object] = ignore,
) -> Any:
    """The plan of `python -m core ARGUMENTS` as `--dry-run --json` prints it.

    Parameters
    ----------
    arguments : as in `jobs.Job`, with paths relative to a folder within `folder`.
    report : is told how far it is, again and again; the plan is given up when it raises.

    Raises
    ------
    PlanError
        With the command's own words, or because it took too long.
    """
    command = [sys.executable, "-c", _BOUNDED, *arguments, "--dry-run", "--json"]
    folder.mkdir(parents=True, exist_ok=True)
    process = subprocess.Popen(
        command,
        cwd=folder,
        env=core_environ() | dict(environ or {}) | {TIME_LIMIT: str(timeout_s + 5)},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,  # so that it can be ended with its children
    )
    try:
        printed, errors = _wait(process, timeout_s, report)
    finally:
        _end(process)
    if process.returncode:
        raise PlanError(_reason(errors))
    return json.loads(printed)


class PlanQueue:
    """Lets a number of plans be made at the same time; the others wait, first come, first served."""

    def __init__(self, most: int | None) -> None:
        self._most, self._tickets, self._changed = most, list[object](), Condition()

    @contextmanager
    def turn(self, report: Callable[[str], object] = ignore) -> Iterator[None]:
        """Wait for a place, and keep it as long as the context.

        report : is told how many are before; the place in the queue is given up when it raises.

        Raises
        ------
        PlanError
            Too many wait already.
        """
        ticket = object()
        with self._changed:
            if self._most is not None and len(self._tickets) >= self._most + MOST_WAITING:
                raise PlanError("Too many plans are being made. Try again in a moment.")
            self._tickets.append(ticket)
        try:
            while before := self._before(ticket):
                report(f"{before} {'plan of another visitor is' if before == 1 else 'plans of others are'} made first")
            yield
        finally:
            with self._changed:
                self._tickets.remove(ticket)
                self._changed.notify_all()

    def _before(self, ticket: object) -> int:
        """How many must end before this one's turn, after waiting a little for a change."""
        with self._changed:
            if self._most is None or (before := self._tickets.index(ticket) - self._most + 1) <= 0:
                return 0
            self._changed.wait(LOOK_S)
            return max(0, before)


def _wait(process: "subprocess.Popen[str]", timeout_s: float, report: Callable[[str], object]) -> tuple[str, str]:
    start = time.monotonic()
    while (elapsed_s := time.monotonic() - start) < timeout_s:
        with suppress(subprocess.TimeoutExpired):
            return process.communicate(timeout=min(LOOK_S, timeout_s - elapsed_s))
        report(f"Planning: data and network are checked, nothing is measured yet ({elapsed_s:.0f} s)")
    raise PlanError(f"The plan took more than {timeout_s:.0f} s. Take fewer samples, or a faster disk.")


def _end(process: "subprocess.Popen[str]") -> None:
    """Kill the process with its children, where it still works, and leave nothing of it."""
    if process.poll() is None:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL) if hasattr(os, "killpg") else process.kill()
        process.wait()
    for stream in (process.stdout, process.stderr):
        if stream is not None:
            stream.close()


def _reason(printed: str) -> str:
    """What the command printed after "error:", or its last line."""
    _, separator, reason = printed.rpartition("error: ")
    lines = [line for line in printed.splitlines() if line.strip()]
    if separator:
        return reason.strip()
    return lines[-1] if lines else "The plan ended without saying why, most often because memory ran out."
