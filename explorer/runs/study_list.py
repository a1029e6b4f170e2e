"""The studies and runs that a visitor can see, open and change."""

import os
import sys
from pathlib import Path

import streamlit as st

from core.study.store.opening import StudyError
from explorer.runs.background.jobs import STUDY, TRASH, Job, find_job, has_results, list_jobs, removed_jobs
from explorer.server.public_mode import is_public, studies_folder
from explorer.server.visitors import visitor_id
from explorer.studies.descriptions import description_of
from explorer.studies.loading import bundled_studies, started_studies
from explorer.studies.provenance import study_title

MAX_LISTED = 20
_SESSION_RUNS = "own runs"  # session key of the ids of runs that this session started


def known_studies() -> dict[str, Path]:
    """The studies that the app was started on by their path, bundled ones by folder name, runs with results by id.

    The latest runs come first.
    """
    runs = {job.id: job.study for job in visitor_jobs()[:MAX_LISTED] if has_results(job)}
    return _started_on() | bundled_studies() | runs


def _started_on() -> dict[str, Path]:
    """The studies that the app was started on, but for bundled ones, by their path."""
    folders = {}
    for name in started_studies(sys.argv[1:], os.environ):
        try:
            folders[name] = typed_path(name)
        except StudyError:  # of a home folder that does not exist, which the page says when the study is opened
            continue
    return folders


def visitor_jobs() -> list[Job]:
    """The runs that the visitor sees: locally all; in public those that the visitor started, or has a link to."""
    studies = studies_folder()
    if not is_public():
        return list_jobs(studies)
    linked = [find_job(studies, st.query_params.get(name, "")) for name in ("study", "run")]
    jobs = {job.id: job for job in (*started_jobs(), *linked) if job}
    return sorted(jobs.values(), key=lambda job: job.started, reverse=True)


def remember_job(job: Job) -> None:
    """Remember that this session started a run."""
    st.session_state[_SESSION_RUNS] = tuple(dict.fromkeys((*st.session_state.get(_SESSION_RUNS, ()), job.id)))


def started_jobs() -> list[Job]:
    """The runs that this visitor started, in this session or another one of the same browser."""
    return _started_jobs(studies_folder())


def removed_visitor_jobs() -> list[Job]:
    """The runs in the trash that the visitor may restore: locally all; in public those that the visitor started."""
    if not is_public():
        return removed_jobs(studies_folder())
    return _started_jobs(studies_folder() / TRASH)


def may_change(job: Job) -> bool:
    """Whether this visitor may stop or remove a run: in public only its owner, not everyone with its link."""
    if not is_public() or job.visitor in ("", current_visitor()):
        return True
    return job.id in st.session_state.get(_SESSION_RUNS, ())


def current_visitor() -> str:
    """The id of the visitor of a public server; "" locally, or without a cookie of this app."""
    return visitor_id(st.context.cookies) if is_public() else ""


def _started_jobs(folder: Path) -> list[Job]:
    visitor, ids = current_visitor(), st.session_state.get(_SESSION_RUNS, ())
    if not visitor:
        return [job for name in ids if (job := find_job(folder, name))]
    return [job for job in list_jobs(folder) if job.visitor == visitor or job.id in ids]


def study_path(name: str, known: dict[str, Path]) -> Path:
    """The folder of a study.

    Parameters
    ----------
    name : str
        A name in `known`; locally also the path of any folder.
    known : dict
        Of `known_studies`.

    Raises
    ------
    StudyError
        If there is no such study, in public; or if the text cannot be a path.
    """
    if name in known:
        return known[name]
    if is_public():
        raise StudyError("There is no study with this name, or it was removed. Choose one from the list.")
    return typed_path(name)


def typed_path(name: str) -> Path:
    """A path that the user typed, in which ~ is the home folder.

    Raises
    ------
    StudyError
        If there is no such home folder.
    """
    try:
        return Path(name).expanduser()
    except RuntimeError as error:  # "~name" where there is no such user
        raise StudyError(f"There is no home folder {name.split('/')[0]!r} here. Type the full path.") from error


def known_title(name: str, known: dict[str, Path]) -> str:
    """The title of a study in a list."""
    if name not in known:
        return name
    path = known[name]
    return study_title(path, description_of(path).name or _short_name(name, known))


def short_title(name: str, known: dict[str, Path]) -> str:
    """What a study is called in a chart or table with others.

    It is the name that a person gave it, else that of its run or its folder.
    """
    path = known[name] if name in known else Path(name)
    return description_of(path).name or _run_title(path) or (_short_name(name, known) if name in known else path.name)


def run_title(job: Job) -> str:
    """What a run is called: the name that a person gave its study, else its own."""
    return description_of(job.study).name or job.title


def _run_title(study: Path) -> str:
    """The title of the run that made a study; "" where no run of this app did."""
    job = find_job(study.parents[1], study.parent.name) if study.name == STUDY and len(study.parents) > 1 else None
    return job.title if job else ""


def _short_name(name: str, known: dict[str, Path]) -> str:
    """What a study is called in its title: its folder's name, with the folder above it where two would be alike."""
    path = known[name]
    if path.name == STUDY:
        job = find_job(path.parents[1], path.parent.name) if len(path.parents) > 1 else None
        return (job.name if job else "") or "run"
    if os.sep not in name:  # a bundled study
        return name
    is_alone = sum(other.name == path.name for other in known.values()) == 1
    return path.name if is_alone else f"{path.parent.name}/{path.name}"
