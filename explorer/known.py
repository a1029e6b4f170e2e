"""The studies that can be named: those that come with the app, and those that it computed."""

from pathlib import Path

import streamlit as st

from core.study.results import StudyError
from explorer.data import bundled_studies
from explorer.jobs import STUDY, Job, find_job, has_results, list_jobs
from explorer.provenance import study_title
from explorer.public import is_public, studies_folder

MOST_LISTED = 20
_OWN = "own runs"


def known_studies() -> dict[str, Path]:
    """Bundled studies by folder name, then runs with results by id, the latest first."""
    runs = {job.id: job.study for job in own_jobs()[:MOST_LISTED] if has_results(job)}
    return bundled_studies() | runs


def own_jobs() -> list[Job]:
    """The runs that may be listed: all of them locally; in public those that this session started or was linked to."""
    studies = studies_folder()
    if not is_public():
        return list_jobs(studies)
    ids = [*st.session_state.get(_OWN, ()), st.query_params.get("study", ""), st.query_params.get("run", "")]
    jobs = [job for name in dict.fromkeys(ids) if (job := find_job(studies, name))]
    return sorted(jobs, key=lambda job: job.started, reverse=True)


def remember_job(job: Job) -> None:
    """List a run in this session from now on, as one that it started."""
    st.session_state[_OWN] = tuple(dict.fromkeys((*st.session_state.get(_OWN, ()), job.id)))


def started_jobs() -> list[Job]:
    """The runs that this session started."""
    studies = studies_folder()
    return [job for name in st.session_state.get(_OWN, ()) if (job := find_job(studies, name))]


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
