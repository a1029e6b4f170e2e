"""Planning and starting runs as this server allows them."""

import os
import shutil
from pathlib import Path
from threading import BoundedSemaphore
from typing import Any

import streamlit as st

from explorer import jobs
from explorer.known import remember_job, started_jobs
from explorer.planning import PlanError, plan
from explorer.public import KEEP_S, Limits, limits, studies_folder
from explorer.request import Request, check_plan, check_request
from explorer.uploads import UPLOADS
from explorer.worker import DATA_LIMIT

PLAN_S = {False: 900.0, True: 60.0}  # seconds, local and public: a local folder may hold 100,000 images
_MOST_WAITING_S = 30.0
_ONE_THREAD = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")


def planned(request: Request, allowed: Limits) -> dict[str, Any]:
    """What the request would compute and cost; kept for a while, so that a second look is free.

    Raises
    ------
    ValueError
        It is refused, by the limits or by the command line, and why.
    """
    check_request(request, allowed)
    found = _cached_plan(_arguments(request, allowed), allowed.public)
    check_plan(found, allowed)
    return found


def new_run(request: Request, found: dict[str, Any], allowed: Limits, upload: str = "") -> jobs.Job:
    """Start the run of a plan. upload : the folder of its uploaded data, within the folder of studies.

    Raises
    ------
    jobs.BusyError
        As many wait in line as may, or one of this session's runs waits or works already.
    """
    check_request(request, allowed)
    check_plan(found, allowed)
    _refuse_a_second(allowed)
    studies = studies_folder()
    if allowed.public:
        jobs.forget_old(studies, KEEP_S)
    job = jobs.new_job(
        studies,
        (*_arguments(request, allowed), "--progress=json"),
        title=request.title,
        num_layers=len(found["layers"]),
        estimated_s=float(found["estimated_s"]),
        uploads=upload,
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
        As many wait in line as may, or one of this session's runs waits or works already.
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


@st.cache_data(max_entries=64, ttl=600, show_spinner=False)
def _cached_plan(arguments: tuple[str, ...], public: bool) -> dict[str, Any]:
    waiting = _one_plan()
    if not waiting.acquire(timeout=_MOST_WAITING_S):
        raise PlanError("Another visitor's plan is being made. Try again in a moment.")
    try:
        folder = studies_folder() / UPLOADS  # as deep as a run's folder, so that relative paths mean the same
        found: dict[str, Any] = plan(arguments, folder, timeout_s=PLAN_S[public], environ=_environ(limits()))
        return found
    finally:
        waiting.release()


@st.cache_resource
def _one_plan() -> BoundedSemaphore:
    """One plan at a time on this server: each may load a network."""
    return BoundedSemaphore(1)


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
