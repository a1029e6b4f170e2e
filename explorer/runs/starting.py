"""Plans and starts runs within the limits of this server."""

import os
import shutil
import time
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from pathlib import Path
from threading import Lock
from typing import Any

from core.data.files import make_folder
from explorer.runs.background import jobs
from explorer.runs.background.planning import PlanQueue, ignore, plan
from explorer.runs.background.worker import DATA_LIMIT
from explorer.runs.disk import make_room, used_bytes
from explorer.runs.request import Request, check_plan, check_request
from explorer.runs.study_list import current_visitor, remember_job, started_jobs
from explorer.runs.uploads.checking import UPLOADS
from explorer.server.public_mode import FOLDER_SETTING, MIB, Limits, limits, studies_folder

PLAN_S = {False: 900.0, True: 60.0}  # seconds, local and public: a local folder may hold 100,000 images
RUN_BYTES = 32 * MIB  # roughly what a run writes
_ONE_THREAD = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")


def planned(request: Request, allowed: Limits, report: Callable[[str], object] = ignore) -> dict[str, Any]:
    """What a request would compute and cost; cached for some minutes.

    Parameters
    ----------
    request : Request
        The request.
    allowed : Limits
        The server's limits.
    report : callable
        Called repeatedly with the progress of the plan; if it raises, the plan is cancelled.

    Raises
    ------
    ValueError
        If the limits or the command line refuse the request, or the folder of studies cannot be written to; the
        message says why.
    """
    check_request(request, allowed)
    arguments = _arguments(request, allowed)
    folder = studies_folder() / UPLOADS  # as deep as a run's folder, so that relative paths mean the same
    cached: dict[str, Any] | None = _plans.find((folder, arguments, allowed))
    if cached is not None:
        check_plan(cached, allowed)
        return cached
    make_folder(folder, FOLDER_SETTING)
    with _plan_queue(allowed.plans).turn(report):
        timeout_s = PLAN_S[allowed.public]
        new_plan: dict[str, Any] = plan(
            arguments, folder, timeout_s=timeout_s, environ=_environ(allowed), report=report
        )
    _plans.keep((folder, arguments, allowed), new_plan)
    check_plan(new_plan, allowed)
    return new_plan


def new_run(request: Request, run_plan: dict[str, Any], allowed: Limits, upload: str = "") -> jobs.Job:
    """Start the run of a plan.

    Parameters
    ----------
    request : Request
        The request.
    run_plan : dict
        Of `planned`, for this request.
    allowed : Limits
        The server's limits.
    upload : str
        Folder of the uploaded data, relative to the folder of studies; "" without any.

    Raises
    ------
    jobs.BusyError
        If the queue is full, or the visitor has another active run.
    ValueError
        If the upload was removed, or there is no room for the run.
    """
    check_request(request, allowed)
    check_plan(run_plan, allowed)
    _refuse_second_run(allowed)
    studies = studies_folder()
    if upload and not (studies / upload).is_dir():
        raise ValueError("The uploaded files were removed since the plan was made. Show the plan again.")
    _refuse_over_quota(studies, allowed)
    make_room(studies, allowed.disk_bytes, RUN_BYTES, {upload})
    job = jobs.new_job(
        studies,
        (*_arguments(request, allowed), "--progress=json"),
        title=request.title,
        num_layers=len(run_plan["layers"]),
        estimated_s=float(run_plan["estimated_s"]),
        uploads=upload,
        name=request.name,
        visitor=current_visitor(),
    )
    try:
        return start_run(job)
    except jobs.BusyError:
        shutil.rmtree(job.folder)  # but not the upload, which the next attempt needs
        raise


def start_run(job: jobs.Job) -> jobs.Job:
    """Start or continue a run within the server's limits; the session remembers it.

    Raises
    ------
    jobs.BusyError
        If the queue is full, or the visitor has another active run.
    """
    allowed = limits()
    _refuse_second_run(allowed)
    started = jobs.start(job, max_waiting=allowed.waiting, limit_s=allowed.run_s, environ=_environ(allowed))
    remember_job(started)
    return started


def _refuse_second_run(allowed: Limits) -> None:
    """Allow one active run per visitor where runs are queued, so that nobody fills the queue."""
    if allowed.waiting is None:
        return
    for job in started_jobs():
        if jobs.is_alive(job):
            raise jobs.BusyError(
                f"You already have an active run: {job.title}. Each visitor may have one at a time on this server: "
                "wait until it ends, or stop it."
            )


def _refuse_over_quota(studies: Path, allowed: Limits) -> None:
    """Limit the disk space of a visitor's runs."""
    if allowed.visitor_bytes is None:
        return
    visitor_jobs = started_jobs()
    uploads = {studies / job.uploads for job in visitor_jobs if job.uploads}
    size = used_bytes(*(job.folder for job in visitor_jobs), *uploads)
    if size > allowed.visitor_bytes:
        raise ValueError(
            f"Your runs on this server may have at most {allowed.visitor_bytes // MIB:,} MiB together; they have "
            f"{size // MIB:,} MiB. Remove one of them below first."
        )


class RecentPlans:
    """A cache of plans for all sessions. Its methods may be called from any thread.

    Parameters
    ----------
    keep_s : float
        Seconds for which a plan is kept.
    max_plans : int
        Number of plans that are kept.
    """

    def __init__(self, keep_s: float = 600.0, max_plans: int = 64) -> None:
        self._keep_s = keep_s
        self._max_plans = max_plans
        self._lock = Lock()
        self._plans: dict[Any, tuple[float, dict[str, Any]]] = {}

    def find(self, key: Any) -> dict[str, Any] | None:
        """The plan of a key; None if it is not kept any more."""
        with self._lock:
            if key not in self._plans:
                return None
            made_at, plan = self._plans[key]
            return plan if time.monotonic() - made_at < self._keep_s else None

    def keep(self, key: Any, plan: dict[str, Any]) -> None:
        """Keep a plan; if there are too many, the oldest is dropped."""
        with self._lock:
            self._plans.pop(key, None)
            self._plans[key] = (time.monotonic(), plan)
            if len(self._plans) > self._max_plans:
                del self._plans[next(iter(self._plans))]


_plans = RecentPlans()


@cache
def _plan_queue(most: int | None) -> PlanQueue:
    """The server's queue of plans; a plan may load a network, so few are made at the same time."""
    return PlanQueue(most)


def _arguments(request: Request, allowed: Limits) -> tuple[str, ...]:
    """The arguments of `python -m core` in the run's folder, with the server's memory budget if it has one."""
    if request.source in ("images", "features"):
        request = replace(
            request,
            data=_from_run_folder(request.data),
            labels=_from_run_folder(request.labels),
            test=_from_run_folder(request.test),
            test_labels=_from_run_folder(request.test_labels),
        )
    words = list(request.arguments())
    if allowed.memory_bytes and request.command == "study":
        words = [word for word in words if not word.startswith("--memory=")]
        words.append(f"--memory={allowed.memory_bytes}")
    return tuple(words)


def _from_run_folder(value: str) -> str:
    """The path of an upload relative to a run's folder; other values, such as the name of a column, unchanged."""
    return str(Path("..", value)) if value.startswith(f"{UPLOADS}{os.sep}") else value


def _environ(allowed: Limits) -> dict[str, str]:
    """Environment variables of a run: in public, one thread and limited memory, to leave resources for the pages."""
    if not allowed.public:
        return {}
    if allowed.networks:
        return _ONE_THREAD
    return _ONE_THREAD | {DATA_LIMIT: str(allowed.process_bytes)}
