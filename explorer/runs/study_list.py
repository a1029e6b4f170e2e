"""The studies that can be named: those that come with the app, and those that it computed."""

from pathlib import Path

import streamlit as st

from core.study.store.opening import StudyError
from explorer.runs.jobs import STUDY, TRASH, Job, find_job, has_results, list_jobs, removed_jobs
from explorer.server.public_mode import is_public, studies_folder
from explorer.server.visitors import visitor_id
from explorer.studies.loading import bundled_studies
from explorer.studies.provenance import study_title

MAX_LISTED = 20
_OWN = "own runs"


def known_studies() -> dict[str, Path]:
    """Bundled studies by folder name, then runs with results by id, the latest first."""
    runs = {job.id: job.study for job in own_jobs()[:MAX_LISTED] if has_results(job)}
    return bundled_studies() | runs


def own_jobs() -> list[Job]:
    """The runs that may be listed: all of them locally; in public those that this visitor started or was linked to."""
    studies = studies_folder()
    if not is_public():
        return list_jobs(studies)
    linked = [find_job(studies, st.query_params.get(name, "")) for name in ("study", "run")]
    jobs = {job.id: job for job in (*started_jobs(), *linked) if job}
    return sorted(jobs.values(), key=lambda job: job.started, reverse=True)


def remember_job(job: Job) -> None:
    """List a run in this session from now on, as one that it started."""
    st.session_state[_OWN] = tuple(dict.fromkeys((*st.session_state.get(_OWN, ()), job.id)))


def started_jobs() -> list[Job]:
    """The runs that this visitor started: in this session, or in another one of the same browser."""
    return _own_jobs(studies_folder())


def own_removed_jobs() -> list[Job]:
    """The runs in the trash that may be put back: all of them locally; in public those that this visitor started."""
    if not is_public():
        return removed_jobs(studies_folder())
    return _own_jobs(studies_folder() / TRASH)


def may_change(job: Job) -> bool:
    """Whether this visitor may stop or remove a run: in public only who started it, and not who has its link."""
    if not is_public() or job.visitor in ("", current_visitor()):
        return True
    return job.id in st.session_state.get(_OWN, ())


def current_visitor() -> str:
    """Who looks at this page of a public server; "" where the browser has no cookie of ours."""
    return visitor_id(st.context.cookies) if is_public() else ""


def _own_jobs(folder: Path) -> list[Job]:
    visitor, ids = current_visitor(), st.session_state.get(_OWN, ())
    if not visitor:
        return [job for name in ids if (job := find_job(folder, name))]
    return [job for job in list_jobs(folder) if job.visitor == visitor or job.id in ids]


def study_path(name: str, known: dict[str, Path]) -> Path:
    """Where the study of this name is; in public, only a known one is anywhere.

    Raises
    ------
    StudyError
        No such study, in public. Locally any text is a path, if it can be one.
    """
    if name in known:
        return known[name]
    if is_public():
        raise StudyError("There is no study of this name here, or it has been removed. Choose one of the list.")
    return typed_path(name)


def typed_path(name: str) -> Path:
    """The path that a text is, with ~ for the home folder.

    Raises
    ------
    StudyError
        There is no such home folder.
    """
    try:
        return Path(name).expanduser()
    except RuntimeError as error:  # "~name" where there is no such user
        raise StudyError(f"There is no home folder {name.split('/')[0]!r} here. Type the whole path.") from error


def known_title(name: str, known: dict[str, Path]) -> str:
    """What a study is called in a list."""
    if name not in known:
        return name
    folder = known[name].name
    return study_title(known[name]).replace(folder, "run" if folder == STUDY else name, 1)
