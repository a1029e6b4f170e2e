"""Background runs of `python -m core`, each in its own process and its own folder.

The folder contains everything about the run, so that a new page, a second tab and a restarted server find it again:
`job.json` (the request), `log.txt` (progress as lines of JSON, and the command's output), `study/`, and the files of
`worker`.
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
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

from core.data.files import make_folder, replace_file
from core.study.store.locks import LockTakenError, held_lock, is_locked
from core.study.store.opening import StudyError, finished_layers, layer_parts
from explorer.runs.background.run_queue import ALIVE, WAITING, is_waiting, join_queue, num_ahead, num_waiting
from explorer.runs.background.worker import EXIT, STARTED, TIME_LIMIT
from explorer.server.public_mode import FOLDER_SETTING

ROOT = Path(__file__).resolve().parents[3]
STUDY = "study"
TRASH = ".trash"  # within the folder of studies: removed runs, which can be restored
START_S = 20  # more than a busy machine needs to start Python
_TAIL_BYTES = 64 << 10  # read at the end of a log
_CANCELLED, _LOG, _RECORD, _REMOVED = "cancelled", "log.txt", "job.json", "removed"
_LATE_S = 30  # a run normally ends itself at its time limit; this much later the server kills it
_INTERRUPTED = 130  # exit status of an interrupted command
_NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,80}")


@dataclass(frozen=True)
class Job:
    """A run, as recorded when it was started.

    Attributes
    ----------
    folder : Path
        The run's folder; its name is the run's id.
    arguments : tuple of str
        Arguments of `python -m core`, with paths relative to the folder.
    title : str
        Name of the run on the page.
    num_layers : int
        Number of layers according to the plan; 0 without a plan.
    estimated_s : float
        Duration according to the plan; 0 without a plan.
    started : float
        Time of the last start, in seconds since 1970; before the first start, when the run was recorded.
    uploads : str
        Folder of the uploaded data, relative to the folder of studies; "" without any.
    name : str
        Name that a person gave the run and its study; "" without one.
    visitor : str
        Id of the visitor who started the run on a public server; "" locally.
    """

    folder: Path
    arguments: tuple[str, ...]
    title: str
    num_layers: int = 0
    estimated_s: float = 0.0
    started: float = 0.0
    uploads: str = ""
    name: str = ""
    visitor: str = ""

    @property
    def id(self) -> str:
        return self.folder.name

    @property
    def study(self) -> Path:
        return self.folder / STUDY

    @property
    def makes_study(self) -> bool:
        """Whether the command writes a study; others print something or export a network."""
        return self.arguments[:1] in (("study",), ("measure",))

    @property
    def exported(self) -> Path | None:
        """The file of the exported network; None if there is none yet."""
        outputs = [word.removeprefix("--out=") for word in self.arguments if word.startswith("--out=")]
        if not outputs:
            return None
        file = self.folder / outputs[0]
        return file if file.suffix == ".keras" and file.is_file() else None


@dataclass(frozen=True)
class Status:
    """The state of a run.

    Attributes
    ----------
    state : str
        "waiting", "running", "stopping", "complete", "cancelled" or "failed".
    layers : int
        Number of layers that have been measured.
    before : int
        For a waiting run: number of runs that must end before its turn.
    stage : str
        The present step, as last reported.
    done, total : int
        Progress of the step, as last reported.
    unit : str
        Unit of `done` and `total`.
    stage_left_s : float or None
        Remaining seconds of the step, as last reported; None if unknown.
    elapsed_s : float
        Seconds since the run's turn or last start; 0 for a run that has ended.
    exit_status : int or None
        Exit status of the process; None while it runs, or if it was killed.
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
        """Whether the run has ended."""
        return self.state not in ("waiting", "running", "stopping")


class BusyError(RuntimeError):
    """The run is already active, or too many runs wait."""


def new_job(studies: Path, arguments: Sequence[str], *, title: str, **plan: Any) -> Job:
    """Record a run in a new folder.

    Parameters
    ----------
    studies : Path
        The folder of studies.
    arguments : sequence of str
        Arguments of `python -m core`, with paths relative to the run's folder.
    title : str
        Name of the run on the page.
    **plan
        Further attributes of `Job`.

    Raises
    ------
    DataError
        The folder cannot be written to.
    """
    slug = re.sub(r"[^a-z0-9]+", "-", title.lower()).strip("-")[:40].strip("-") or "study"
    values = {"started": time.time(), **plan}  # without a time the run would count as old and be removed
    # The id cannot be guessed, because in public everyone who knows it can see the results.
    job = Job(studies / f"{slug}-{secrets.token_hex(8)}", tuple(arguments), title, **values)
    make_folder(job.folder, FOLDER_SETTING)
    _write(job)
    return job


def start(
    job: Job, *, max_waiting: int | None = None, limit_s: float | None = None, environ: Mapping[str, str] = {}
) -> Job:
    """Start a run, or continue one that ended early: its command skips the layers that have been measured.

    Parameters
    ----------
    job : Job
        The run.
    max_waiting : int, optional
        Put the run into the queue, and refuse it if this many runs wait already. By default it starts at once.
    limit_s : float, optional
        Seconds after which the run is stopped, counted from its turn; by default it is never stopped.
    environ : mapping
        Environment variables of its process in addition to those of this process.

    Returns
    -------
    Job
        The run with its new start time.

    Raises
    ------
    BusyError
        If the run is already active, or the queue is full.
    """
    with _only_one_starts(job.folder.parent):
        if is_alive(job):
            raise BusyError("This run is already active.")
        if max_waiting is not None and num_waiting(job.folder.parent) >= max_waiting:
            raise BusyError(f"{max_waiting} runs wait in line, and no more may. Try again when one of them has ended.")
        for name in (_CANCELLED, STARTED, EXIT, WAITING):
            (job.folder / name).unlink(missing_ok=True)
        if max_waiting is not None:
            join_queue(job.folder)
        started = replace(job, started=time.time())
        _write(started)
        process = _spawn(job, environ if limit_s is None else {**environ, TIME_LIMIT: str(limit_s)})
        _wait_for_start(job, process)
    threading.Thread(target=process.wait, daemon=True).start()  # a process that nobody waits for becomes a zombie
    return started


def cancel(job: Job, *, at_once: bool = False) -> None:
    """Ask a run to stop, or kill it. Either leaves a valid study of the layers that have been measured.

    Parameters
    ----------
    job : Job
        The run.
    at_once : bool
        Kill the process instead of asking it to stop after the present step.
    """
    number = process_id(job)
    if number is None:
        return
    (job.folder / _CANCELLED).touch()
    signal_number = signal.SIGKILL if at_once and hasattr(signal, "SIGKILL") else signal.SIGTERM
    with suppress(ProcessLookupError):
        if hasattr(os, "killpg"):
            os.killpg(number, signal_number)
        else:  # Windows has no process groups of this kind
            os.kill(number, signal_number)


def process_id(job: Job) -> int | None:
    """The process id of an active run, which is also the id of its process group; None if the run is not active."""
    try:
        number = int((job.folder / STARTED).read_text(encoding="ascii"))
    except (OSError, ValueError):
        return None
    return number if number > 1 and is_alive(job) else None


def remove(job: Job) -> None:
    """Move a run that has ended to the trash, with its study.

    Raises
    ------
    BusyError
        If the run is active.
    """
    if is_alive(job):
        raise BusyError("This run is active. Stop it first.")
    trash = job.folder.parent / TRASH
    trash.mkdir(exist_ok=True)
    (job.folder / _REMOVED).touch()
    os.replace(job.folder, trash / job.id)


def removed_jobs(studies: Path) -> list[Job]:
    """The runs in the trash, the most recently removed first."""
    return sorted(list_jobs(studies / TRASH), key=_removal_time, reverse=True)


def restore(job: Job) -> Job:
    """Move a run from the trash back to the folder of studies."""
    restored = replace(job, folder=job.folder.parents[1] / job.id)
    os.replace(job.folder, restored.folder)
    (restored.folder / _REMOVED).unlink(missing_ok=True)
    return restored


def delete(job: Job) -> None:
    """Delete a run that has ended permanently, with its study, and with its upload unless another run uses it."""
    in_trash = job.folder.parent.name == TRASH
    studies = job.folder.parents[1] if in_trash else job.folder.parent
    if not in_trash:
        remove(job)
    shutil.rmtree(studies / TRASH / job.id)
    if job.uploads and job.uploads not in used_uploads(studies):
        shutil.rmtree(studies / job.uploads, ignore_errors=True)


def empty_trash(studies: Path, keep_s: float) -> None:
    """Delete the runs that were removed more than `keep_s` seconds ago, and remains of interrupted deletions."""
    for job in removed_jobs(studies):
        if _removal_time(job) < time.time() - keep_s:
            delete(job)
    for folder in (studies / TRASH).glob("*/"):
        if find_job(studies / TRASH, folder.name) is None:
            shutil.rmtree(folder, ignore_errors=True)


def used_uploads(studies: Path) -> set[str]:
    """The folders of uploads that any run uses, including removed runs, which can be restored."""
    return {job.uploads for job in (*list_jobs(studies), *list_jobs(studies / TRASH)) if job.uploads}


def find_job(studies: Path, name: str) -> Job | None:
    """The run with this id; None if there is none, or if the text is no id and must not become part of a path."""
    if not _NAME.fullmatch(name):
        return None
    try:
        record = json.loads((studies / name / _RECORD).read_text(encoding="utf-8"))
        known = {field.name: record[field.name] for field in fields(Job) if field.name in record}
        return Job(studies / name, **(known | {"arguments": tuple(record["arguments"])}))
    except (OSError, ValueError, TypeError, KeyError):
        return None


def list_jobs(studies: Path) -> list[Job]:
    """All runs, the most recently started first."""
    names = [path.name for path in studies.iterdir()] if studies.is_dir() else []
    jobs = [job for name in names if (job := find_job(studies, name))]
    return sorted(jobs, key=lambda job: job.started, reverse=True)


def is_alive(job: Job) -> bool:
    """Whether the run's process exists. It is known by its lock, because process ids are reused."""
    return is_locked(job.folder / ALIVE)


def status(job: Job) -> Status:
    """The state of a run according to its files."""
    num_layers, cancelled = _num_layers(job), (job.folder / _CANCELLED).exists()
    if is_alive(job):
        return _active_status(job, num_layers, cancelled)
    exit_status = _exit_status(job)
    if exit_status == 0:
        state = "complete"
    elif cancelled or exit_status == _INTERRUPTED:
        state = "cancelled"
    else:
        state = "failed"
    return Status(state, num_layers, exit_status=exit_status)


def _active_status(job: Job, num_layers: int, cancelled: bool) -> Status:
    """The state of a run whose process exists."""
    waits = is_waiting(job.folder)
    if cancelled:
        state = "stopping"
    elif waits:
        state = "waiting"
    else:
        state = "running"
    before = num_ahead(job.folder) if waits else 0
    elapsed_s = max(0.0, time.time() - _start_time(job))
    return Status(state, num_layers, before, elapsed_s=elapsed_s, **_last_report(job))


def log_lines(job: Job, most: int = 200) -> list[str]:
    """The last lines of the command's output, without its progress; at most `most`."""
    lines = [line for line in _log_tail(job) if not line.startswith("{") and line.strip()]
    return lines[-most:]


def error_text(job: Job) -> str:
    """Why a run failed: the error message of its command, or what the lack of one means."""
    lines = log_lines(job)
    error_lines = [index for index, line in enumerate(lines) if line.startswith("error: ") or ": error: " in line]
    if error_lines:
        return "\n".join(lines[error_lines[-1] :]).split("error: ", 1)[-1]
    if is_waiting(job.folder):
        return "The process was killed while it waited in line. Go on puts it back in line."
    if _exit_status(job) is None:
        return (
            "The process was killed without a message, most often because memory ran out. Take fewer samples or a "
            "smaller memory budget; the layers measured so far are kept."
        )
    return lines[-1] if lines else "The process ended without a message."


def forget_old(studies: Path, keep_s: float) -> None:
    """Delete runs that have ended and were started more than `keep_s` seconds ago."""
    for job in list_jobs(studies):
        if job.started < time.time() - keep_s and not is_alive(job):
            delete(job)


def stop_overdue(studies: Path, limit_s: float) -> None:
    """Kill the runs that take longer than `limit_s` seconds, whichever server started them."""
    for job in list_jobs(studies):
        if time.time() - _start_time(job) > limit_s + _LATE_S and is_alive(job) and not is_waiting(job.folder):
            cancel(job, at_once=True)


def has_results(job: Job) -> bool:
    """Whether there is a study with at least one layer."""
    return _num_layers(job) > 0


def _spawn(job: Job, environ: Mapping[str, str]) -> "subprocess.Popen[bytes]":
    command = [sys.executable, "-m", "explorer.runs.background.worker", ".", *job.arguments]
    with (job.folder / _LOG).open("ab") as log:
        return subprocess.Popen(
            command,
            cwd=job.folder,
            env=core_environ() | dict(environ),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,  # so that Ctrl-C at the server does not stop it, and its children stop with it
        )


def core_environ() -> dict[str, str]:
    """Environment variables for `python -m core` in any folder, even if the project is not installed."""
    paths = [str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(paths), "PYTHONUNBUFFERED": "1"}


def _wait_for_start(job: Job, process: "subprocess.Popen[bytes]") -> None:
    """Wait until the process has recorded that it started, or has ended."""
    deadline = time.monotonic() + START_S
    while time.monotonic() < deadline and process.poll() is None and not (job.folder / STARTED).exists():
        time.sleep(0.02)


@contextmanager
def _only_one_starts(studies: Path) -> Iterator[None]:
    """Allow one start at a time, over all tabs and servers; others wait up to `START_S`."""
    with ExitStack() as lock:
        try:
            lock.enter_context(held_lock(studies / ".starting", START_S))
        except LockTakenError as error:
            raise BusyError("Another run is being started. Try again in a moment.") from error
        yield


def _write(job: Job) -> None:
    record = {name: value for name, value in vars(job).items() if name != "folder"}
    text = json.dumps(record, indent=1)
    replace_file(job.folder / _RECORD, lambda scratch: scratch.write_text(text, encoding="utf-8"))


def _start_time(job: Job) -> float:
    """When the run started or its turn came, in seconds since 1970."""
    try:
        return (job.folder / STARTED).stat().st_mtime
    except OSError:
        return job.started


def _removal_time(job: Job) -> float:
    """When the run was removed, in seconds since 1970."""
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
    """The number of measured layers: complete parts, which need not be read, else the layers of the merged tables."""
    try:
        return len(layer_parts(job.study)) or len(finished_layers(job.study))
    except (StudyError, OSError):  # the parts are just being merged
        return 0


def _last_report(job: Job) -> dict[str, Any]:
    """The last progress in the log, by attribute of `Status`; {} without any."""
    for line in reversed(_log_tail(job)):
        if line.startswith('{"stage"'):
            with suppress(ValueError):  # the line is not complete yet
                report = json.loads(line)
                return {"stage_left_s": report.pop("left_s"), **report}
    return {}


def _log_tail(job: Job) -> list[str]:
    """The last lines of the log."""
    try:
        with (job.folder / _LOG).open("rb") as log:
            log.seek(0, os.SEEK_END)
            log.seek(max(0, log.tell() - _TAIL_BYTES))
            return log.read().decode("utf-8", "replace").splitlines()
    except FileNotFoundError:
        return []
