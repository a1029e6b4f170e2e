"""Planning and starting runs as this server allows them."""

import os
import shutil
import time
from collections.abc import Callable
from functools import cache
from pathlib import Path
from threading import Lock
from typing import Any

from explorer.runs import jobs
from explorer.runs.disk import make_room, used_bytes
from explorer.runs.planning import PlanQueue, ignore, plan
from explorer.runs.request import Request, check_plan, check_request
from explorer.runs.study_list import current_visitor, remember_job, started_jobs
from explorer.runs.uploads.checking import UPLOADS
from explorer.runs.worker import DATA_LIMIT
from explorer.server.public_mode import MIB, Limits, limits, studies_folder

PLAN_S = {False: 900.0, True: 60.0}  # seconds, local and public: a local folder may hold 100,000 images
RUN_BYTES = 32 * MIB  # what a run may write, roughly
_ONE_THREAD = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")


def planned(request: Request, allowed: Limits, report: Callable[[str], object] = ignore) -> dict[str, Any]:
    """What the request would compute and cost; kept for a while, so that a second look is free.

    report : is told how far the plan is, again and again; the plan is given up when it raises.

    Raises
    ------
    ValueError
        It is refused, by the limits or by the command line, and why.
    """
    check_request(request, allowed)
    arguments = _arguments(request, allowed)
    folder = studies_folder() / UPLOADS  # as deep as a run's folder, so that relative paths mean the same
    found: dict[str, Any] | None = _plans.find((folder, arguments, allowed))
    if found is None:
        with _plan_queue(allowed.plans).turn(report):
            timeout_s = PLAN_S[allowed.public]
            found = plan(arguments, folder, timeout_s=timeout_s, environ=_environ(allowed), report=report)
        _plans.keep((folder, arguments, allowed), found)
    check_plan(found, allowed)
    return found


def new_run(request: Request, found: dict[str, Any], allowed: Limits, upload: str = "") -> jobs.Job:
    """Start the run of a plan. upload : the folder of its uploaded data, within the folder of studies.

    Raises
    ------
    jobs.BusyError
        As many wait in line as may, or one of this visitor's runs waits or works already.
    ValueError
        The upload is not there any more, or there is no room for the run.
    """
    check_request(request, allowed)
    check_plan(found, allowed)
    _refuse_a_second(allowed)
    studies = studies_folder()
    if upload and not (studies / upload).is_dir():
        raise ValueError("The uploaded files were removed since the plan was made. Show the plan again.")
    _refuse_more_than_a_share(studies, allowed)
    make_room(studies, allowed.disk_bytes, RUN_BYTES, {upload})
    job = jobs.new_job(
        studies,
        (*_arguments(request, allowed), "--progress=json"),
        title=request.title,
        num_layers=len(found["layers"]),
        estimated_s=float(found["estimated_s"]),
        uploads=upload,
        visitor=current_visitor(),
    )
    try:
        return start_run(job)
    except jobs.BusyError:
        shutil.rmtree(job.folder)  # the upload stays, for the next try
        raise


def start_run(job: jobs.Job) -> jobs.Job:
    """Start a run, or go on with one, as the server allows it. This session remembers it.

    Raises
    ------
    jobs.BusyError
        As many wait in line as may, or one of this visitor's runs waits or works already.
    """
    allowed = limits()
    _refuse_a_second(allowed)
    started = jobs.start(job, line=allowed.waiting, limit_s=allowed.run_s, environ=_environ(allowed))
    remember_job(started)
    return started


def _refuse_a_second(allowed: Limits) -> None:
    """One place in line for each visitor, so that nobody takes them all."""
    other = next((job for job in started_jobs() if jobs.is_alive(job)), None) if allowed.waiting is not None else None
    if other:
        raise jobs.BusyError(
            f"One of your runs waits or works already: {other.title}. Each visitor may have one at a time on this "
            "server: wait for its end, or stop it."
        )


def _refuse_more_than_a_share(studies: Path, allowed: Limits) -> None:
    """Bound what a visitor's runs hold on disk."""
    if allowed.visitor_bytes is None:
        return
    own = started_jobs()
    uploads = {studies / job.uploads for job in own if job.uploads}
    held = used_bytes(*(job.folder for job in own), *uploads)
    if held > allowed.visitor_bytes:
        raise ValueError(
            f"Your runs on this server may have at most {allowed.visitor_bytes // MIB:,} MiB together; they have "
            f"{held // MIB:,} MiB. Remove one of them below first."
        )


class RecentPlans:
    """The last plans, for all sessions. keep_s : seconds for which one is kept. most : plans that are kept."""

    def __init__(self, keep_s: float = 600.0, most: int = 64) -> None:
        self._keep_s, self._most, self._lock = keep_s, most, Lock()
        self._plans: dict[Any, tuple[float, dict[str, Any]]] = {}

    def find(self, key: Any) -> dict[str, Any] | None:
        """The plan of this key, where it is there still."""
        with self._lock:
            made, found = self._plans.get(key, (0.0, None))
            return found if found is not None and time.monotonic() - made < self._keep_s else None

    def keep(self, key: Any, found: dict[str, Any]) -> None:
        """Keep a plan instead of the oldest."""
        with self._lock:
            self._plans.pop(key, None)
            self._plans[key] = (time.monotonic(), found)
            if len(self._plans) > self._most:
                del self._plans[next(iter(self._plans))]


_plans = RecentPlans()


@cache
def _plan_queue(most: int | None) -> PlanQueue:
    """The queue of this server: each plan may load a network."""
    return PlanQueue(most)


def _arguments(request: Request, allowed: Limits) -> tuple[str, ...]:
    """Of the command line, seen from the run's folder, with the server's memory budget where the run has none."""
    if request.source in ("images", "features"):
        beside = {
            name: str(Path("..", value))
            for name in ("data", "labels", "test", "test_labels")
            if _is_upload(value := getattr(request, name))
        }
        request = Request(**{**vars(request), **beside})
    budget = [f"--memory={allowed.memory_bytes}"] if allowed.memory_bytes and request.command == "study" else []
    return tuple(word for word in request.arguments() if not (budget and word.startswith("--memory="))) + tuple(budget)


def _is_upload(value: str) -> bool:
    return value.startswith(f"{UPLOADS}{os.sep}")


def _environ(allowed: Limits) -> dict[str, str]:
    """One thread and bounded memory in public, where the pages share a small machine with the run."""
    if not allowed.public:
        return {}
    bounded = {} if allowed.networks else {DATA_LIMIT: str(allowed.process_bytes)}
    return _ONE_THREAD | bounded
