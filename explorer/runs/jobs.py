"""Runs of `python -m core`, each in a process and a folder of its own; everything known about one is in its folder.

So a page that is opened anew, a second tab and a restarted server all find a run again. A folder holds `job.json` (what
was asked), `log.txt` (progress as lines of JSON, and what the command printed), `study/`, and what `worker` leaves.
"""

import json
import os
import re
import secrets
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

from core.study.store.locks import is_locked, lock_file
from core.study.store.opening import StudyError, finished_layers, layer_parts
from explorer.runs.run_queue import ALIVE, WAITING, is_waiting, join_queue, num_ahead, num_waiting
from explorer.runs.worker import EXIT, STARTED, TIME_LIMIT

ROOT = Path(__file__).resolve().parents[2]
STUDY = "study"
TRASH = ".trash"  # within the folder of studies: runs that were removed, and can be put back
START_S = 20  # more than a busy machine needs to start Python
_TAIL = 64 << 10  # bytes read of a log
_CANCELLED, _LOG, _RECORD, _REMOVED = "cancelled", "log.txt", "job.json", "removed"
_LATE_S = 30  # after its limit a run is killed from outside: it stops itself, if it can
_INTERRUPTED = 130
_NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,80}")


@dataclass(frozen=True)
class Job:
    """A run, as recorded when it was started.

    Attributes
    ----------
    folder : its folder; the folder's name is its id.
    arguments : of `python -m core`, with paths relative to the folder.
    title : what it is called on screen.
    num_layers, estimated_s : what the plan said; 0 where there was none.
    started : seconds since 1970 of its last start, or of its record before the first.
    uploads : the folder of the uploaded data, else "".
    visitor : whose it is on a public server, else "".
    """

    folder: Path
    arguments: tuple[str, ...]
    title: str
    num_layers: int = 0
    estimated_s: float = 0.0
    started: float = 0.0
    uploads: str = ""
    visitor: str = ""

    @property
    def id(self) -> str:
        return self.folder.name

    @property
    def study(self) -> Path:
        return self.folder / STUDY

    @property
    def makes_study(self) -> bool:
        """Whether its command writes a study; others print something, or export a network."""
        return self.arguments[:1] in (("study",), ("measure",))

    @property
    def exported(self) -> Path | None:
        """The network's file, once the run has exported one."""
        out = next((word.removeprefix("--out=") for word in self.arguments if word.startswith("--out=")), "")
        file = self.folder / out
        return file if file.suffix == ".keras" and file.is_file() else None


@dataclass(frozen=True)
class Status:
    """What has become of a run.

    Attributes
    ----------
    state : "waiting", "running", "stopping", "complete", "cancelled" or "failed".
    before : runs that must end before this one's turn, for a run that waits.
    layers : layers whose rows are there.
    stage, done, total, unit : the last progress that was reported.
    stage_left_s : seconds that the stage will still take, as reported; None where not known.
    elapsed_s : since the last start, or its turn, for a run that goes on.
    exit_status : of the process; None while it runs, and where it was killed.
    """

    state: str
    layers: int
    before: int = 0
    stage: str = ""
    done: int = 0
    total: int = 0
    unit: str = ""
    stage_left_s: float | None = None
    elapsed_s: float = 0.0
    exit_status: int | None = None

    @property
    def is_over(self) -> bool:
        return self.state not in ("waiting", "running", "stopping")


class BusyError(RuntimeError):
    """The run goes on already, or no more may wait in line."""


def new_job(studies: Path, arguments: Sequence[str], *, title: str, **plan: Any) -> Job:
    """Record a run in a new folder of `studies`. Its id cannot be guessed: in public, it is the key to its results."""
    slug = re.sub(r"[^a-z0-9]+", "-", title.lower()).strip("-")[:40].strip("-") or "study"
    recorded = {"started": time.time(), **plan}  # old runs are removed: one that is about to start must not look old
    job = Job(studies / f"{slug}-{secrets.token_hex(8)}", tuple(arguments), title, **recorded)
    job.folder.mkdir(parents=True)
    _write(job)
    return job


def start(job: Job, *, line: int | None = None, limit_s: float | None = None, environ: Mapping[str, str] = {}) -> Job:
    """Start a run, or go on with one that ended early: its command skips the layers that are there.

    Parameters
    ----------
    line : wait until no other run of this line works, and refuse if so many wait already; default: start at once.
    limit_s : seconds from its turn on, after which it is stopped; default never.
    environ : variables of its process beside this one's.

    Raises
    ------
    BusyError
        This run goes on, or the line is full.
    """
    with _only_one_starts(job.folder.parent):
        if is_alive(job):
            raise BusyError("This run goes on already.")
        if line is not None and num_waiting(job.folder.parent) >= line:
            raise BusyError(f"{line} runs wait in line, and no more may. Try again when one of them has ended.")
        for name in (_CANCELLED, STARTED, EXIT, WAITING):
            (job.folder / name).unlink(missing_ok=True)
        if line is not None:
            join_queue(job.folder)
        started = replace(job, started=time.time())
        _write(started)
        process = _spawn(job, environ if limit_s is None else {**environ, TIME_LIMIT: str(limit_s)})
        _wait_for_start(job, process)
    threading.Thread(target=process.wait, daemon=True).start()  # so that no zombie stays
    return started


def cancel(job: Job, *, at_once: bool = False) -> None:
    """Ask a run to stop; it leaves a valid study of the layers done so far. `at_once` kills it, which does so too."""
    number = process_id(job)
    if number is None:
        return
    (job.folder / _CANCELLED).touch()
    signal_number = signal.SIGKILL if at_once and hasattr(signal, "SIGKILL") else signal.SIGTERM
    with suppress(ProcessLookupError):
        os.killpg(number, signal_number) if hasattr(os, "killpg") else os.kill(number, signal_number)


def process_id(job: Job) -> int | None:
    """The process of a run that goes on, which leads a process group; whichever server started it."""
    try:
        number = int((job.folder / STARTED).read_text(encoding="ascii"))
    except (OSError, ValueError):
        return None
    return number if number > 1 and is_alive(job) else None


def remove(job: Job) -> None:
    """Move a run that is over to the trash, with its study.

    Raises
    ------
    BusyError
        It goes on.
    """
    if is_alive(job):
        raise BusyError("This run goes on. Stop it first.")
    trash = job.folder.parent / TRASH
    trash.mkdir(exist_ok=True)
    (job.folder / _REMOVED).touch()
    os.replace(job.folder, trash / job.id)


def removed_jobs(studies: Path) -> list[Job]:
    """The runs in the trash, the last removed first."""
    return sorted(list_jobs(studies / TRASH), key=_removed, reverse=True)


def restore(job: Job) -> Job:
    """Take a run out of the trash."""
    restored = replace(job, folder=job.folder.parents[1] / job.id)
    os.replace(job.folder, restored.folder)
    (restored.folder / _REMOVED).unlink(missing_ok=True)
    return restored


def delete(job: Job) -> None:
    """Delete a run that is over, for good, with its study, and its upload where no other run uses it."""
    in_trash = job.folder.parent.name == TRASH
    studies = job.folder.parents[1] if in_trash else job.folder.parent
    if not in_trash:
        remove(job)
    shutil.rmtree(studies / TRASH / job.id)
    if job.uploads and job.uploads not in used_uploads(studies):
        shutil.rmtree(studies / job.uploads, ignore_errors=True)


def empty_trash(studies: Path, keep_s: float) -> None:
    """Delete what was removed more than this many seconds ago, and what an interrupted deletion left."""
    for job in removed_jobs(studies):
        if _removed(job) < time.time() - keep_s:
            delete(job)
    for folder in (studies / TRASH).glob("*/"):
        if find_job(studies / TRASH, folder.name) is None:
            shutil.rmtree(folder, ignore_errors=True)


def used_uploads(studies: Path) -> set[str]:
    """The folders of uploads that a run uses, be it a removed one that can be put back."""
    return {job.uploads for job in (*list_jobs(studies), *list_jobs(studies / TRASH)) if job.uploads}


def find_job(studies: Path, name: str) -> Job | None:
    """The run of this id, if there is one. No other text than an id is ever part of a path."""
    if not _NAME.fullmatch(name):
        return None
    try:
        record = json.loads((studies / name / _RECORD).read_text(encoding="utf-8"))
        known = {field.name: record[field.name] for field in fields(Job) if field.name in record}
        return Job(studies / name, **(known | {"arguments": tuple(record["arguments"])}))
    except (OSError, ValueError, TypeError, KeyError):
        return None


def list_jobs(studies: Path) -> list[Job]:
    """All runs, the latest first."""
    names = [path.name for path in studies.iterdir()] if studies.is_dir() else []
    jobs = [job for name in names if (job := find_job(studies, name))]
    return sorted(jobs, key=lambda job: job.started, reverse=True)


def is_alive(job: Job) -> bool:
    """Whether its process holds its lock, whoever started it. A process that merely got the same number does not."""
    return is_locked(job.folder / ALIVE)


def status(job: Job) -> Status:
    """What the files of a run say of it."""
    alive = is_alive(job)
    cancelled = (job.folder / _CANCELLED).exists()
    exit_status = None if alive else _exit_status(job)
    before = num_ahead(job.folder) if alive and is_waiting(job.folder) else 0
    if alive:
        state = "stopping" if cancelled else "waiting" if is_waiting(job.folder) else "running"
    elif exit_status == 0:
        state = "complete"
    else:
        state = "cancelled" if cancelled or exit_status == _INTERRUPTED else "failed"
    report = _last_report(job) if alive else {}
    elapsed_s = max(0.0, time.time() - _began(job)) if alive else 0.0
    return Status(state, _num_layers(job), before, elapsed_s=elapsed_s, exit_status=exit_status, **report)


def log_lines(job: Job, most: int = 200) -> list[str]:
    """The last lines that the command printed, without its progress."""
    return [line for line in _tail(job) if not line.startswith("{") and line.strip()][-most:]


def error_text(job: Job) -> str:
    """Why a run failed: what its command said last, or what its silence means."""
    lines = log_lines(job)
    errors = [place for place, line in enumerate(lines) if line.startswith("error: ") or ": error: " in line]
    if errors:
        return "\n".join(lines[errors[-1] :]).split("error: ", 1)[-1]
    if is_waiting(job.folder):
        return "The process was ended from outside while it waited in line. Go on puts it there again."
    if _exit_status(job) is None:
        return (
            "The process was ended from outside without a word, most often because memory ran out. Take fewer samples "
            "or a smaller memory budget; the layers done so far are kept."
        )
    return lines[-1] if lines else "The process ended without saying why."


def forget_old(studies: Path, keep_s: float) -> None:
    """Delete runs that are over, when they were started more than this many seconds ago."""
    for job in list_jobs(studies):
        if job.started < time.time() - keep_s and not is_alive(job):
            delete(job)


def stop_overdue(studies: Path, limit_s: float) -> None:
    """Kill the runs that take longer than this, whichever server started them, and with whatever limit."""
    for job in list_jobs(studies):
        if time.time() - _began(job) > limit_s + _LATE_S and is_alive(job) and not is_waiting(job.folder):
            cancel(job, at_once=True)


def has_results(job: Job) -> bool:
    """Whether there is a study to open, be it of one layer."""
    return _num_layers(job) > 0


def _spawn(job: Job, environ: Mapping[str, str]) -> "subprocess.Popen[bytes]":
    command = [sys.executable, "-m", "explorer.runs.worker", ".", *job.arguments]
    with (job.folder / _LOG).open("ab") as log:
        return subprocess.Popen(
            command,
            cwd=job.folder,
            env=core_environ() | dict(environ),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,  # Ctrl-C at the server is not meant for it, and it can be stopped with its children
        )


def core_environ() -> dict[str, str]:
    """The environment of `python -m core` in any folder: the project need not be installed."""
    paths = [str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(paths), "PYTHONUNBUFFERED": "1"}


def _wait_for_start(job: Job, process: "subprocess.Popen[bytes]") -> None:
    """Until its lock tells that it lives, or it has ended."""
    deadline = time.monotonic() + START_S
    while time.monotonic() < deadline and process.poll() is None and not (job.folder / STARTED).exists():
        time.sleep(0.02)


@contextmanager
def _only_one_starts(studies: Path) -> Iterator[None]:
    """One start at a time, over all tabs and servers; the others wait for a while."""
    deadline = time.monotonic() + START_S
    with (studies / ".starting").open("a+b") as handle:
        while True:
            try:
                lock_file(handle.fileno())
                break
            except OSError as error:
                if time.monotonic() > deadline:
                    raise BusyError("Another run is being started. Try again in a moment.") from error
                time.sleep(0.05)
        yield


def _write(job: Job) -> None:
    record = {name: value for name, value in vars(job).items() if name != "folder"}
    scratch = job.folder / f".{_RECORD}.tmp"
    scratch.write_text(json.dumps(record, indent=1), encoding="utf-8")
    os.replace(scratch, job.folder / _RECORD)


def _began(job: Job) -> float:
    """When it was started, or its turn came, in seconds since 1970."""
    try:
        return (job.folder / STARTED).stat().st_mtime
    except OSError:
        return job.started


def _removed(job: Job) -> float:
    """When it was removed, in seconds since 1970."""
    try:
        return (job.folder / _REMOVED).stat().st_mtime
    except OSError:
        return job.started


def _exit_status(job: Job) -> int | None:
    try:
        return int((job.folder / EXIT).read_text(encoding="ascii"))
    except (OSError, ValueError):
        return None


def _num_layers(job: Job) -> int:
    """Complete parts, which are counted without being read; else the layers of the merged tables."""
    try:
        return len(layer_parts(job.study)) or len(finished_layers(job.study))
    except (StudyError, OSError):  # the parts are being merged at this moment
        return 0


def _last_report(job: Job) -> dict[str, Any]:
    for line in reversed(_tail(job)):
        if line.startswith('{"stage"'):
            with suppress(ValueError):  # a line that is being written
                report = json.loads(line)
                return {"stage_left_s": report.pop("left_s"), **report}
    return {}


def _tail(job: Job) -> list[str]:
    try:
        with (job.folder / _LOG).open("rb") as log:
            log.seek(0, os.SEEK_END)
            log.seek(max(0, log.tell() - _TAIL))
            return log.read().decode("utf-8", "replace").splitlines()
    except FileNotFoundError:
        return []
