"""The panel of one run: progress, buttons and log; and the runs in the trash."""

import re
from pathlib import Path
from typing import Any

import streamlit as st

from core.report.words.formatting import plain
from core.study.durations import in_words
from core.study.store.opening import StudyError, read_info
from explorer.runs.background.jobs import (
    BusyError,
    Job,
    Status,
    cancel,
    error_text,
    find_job,
    has_results,
    log_lines,
    remove,
    restore,
    status,
)
from explorer.runs.request import in_form_words
from explorer.runs.run_again import run_again
from explorer.runs.starting import start_run
from explorer.runs.study_list import may_change, removed_visitor_jobs, run_title
from explorer.runs.uploads.checking import without_uploads
from explorer.server.page_errors import guarded
from explorer.server.public_mode import is_public, limits
from explorer.state.address import keep_study
from explorer.state.links import link_to

EVERY_S = 1.0  # between two updates of the panel
MAX_REMOVED = 5  # runs shown of those in the trash
STATES = {
    "waiting": (":material/hourglass_top:", "Waiting in line"),
    "running": (":material/progress_activity:", "Running"),
    "stopping": (":material/stop_circle:", "Stopping"),
    "complete": (":material/check_circle:", "Finished"),
    "cancelled": (":material/pause_circle:", "Stopped"),
    "failed": (":material/error:", "Failed"),
}


def show_job(job: Job, *, name: str = "run") -> None:
    """Show the panel of a run, updated every second until the run ends; the rest of the page is not rerun.

    Parameters
    ----------
    job : Job
        The run.
    name : str
        Distinguishes the panels of a page.
    """
    is_over = status(job).is_over
    panel = st.fragment(guarded(_panel), run_every=None if is_over else EVERY_S)
    panel(job.folder.parent, job.id, name, watched=not is_over)


def _panel(studies: Path, run: str, name: str, *, watched: bool) -> None:
    """Show the panel once; `watched` tells whether it is updated repeatedly."""
    job = find_job(studies, run)
    if job is None:
        if not show_removed(name, only=run):
            st.info("This run has been removed.")
        return
    current = status(job)
    if watched and current.is_over:
        st.rerun()  # of the whole page: the list of runs and the picker change, and updates of the panel end
    icon, state = STATES[current.state]
    with st.container(border=True, key=f"{name}_panel"):
        st.markdown(f"{icon} **{state}** · {plain(run_title(job))}")
        if current.is_over:
            _show_result(job, current)
        else:
            _show_progress(job, current)
        _show_buttons(job, current, name)
        _show_log(job)


def _show_result(job: Job, ended: Status) -> None:
    """Show the error of a failed run, and how many layers were measured."""
    if ended.state == "failed":
        st.error(_public_text(error_text(job)))
    if job.makes_study:
        text = f"{_layers_text(job, ended)} measured."
        if ended.state != "complete":
            text += " Go on computes the rest."
        st.caption(text)


def _show_progress(job: Job, current: Status) -> None:
    """Show the progress of a run that waits or works."""
    if current.state == "waiting":
        st.caption(f"{queue_text(current.before)} It starts by itself: you may leave this page and come back.")
        return
    if job.makes_study:
        share = min(current.layers / job.num_layers, 1.0) if job.num_layers else 0.0
        st.progress(share, text=f"{_layers_text(job, current)} measured · {time_text(job, current)}")
    if current.total:
        text = f"{plain(current.stage)}: {current.done:,} of {current.total:,} {current.unit}"
        if current.stage_left_s is not None:
            text += f", {in_words(current.stage_left_s)} left in this step"
        st.progress(min(current.done / current.total, 1.0), text=text)
    else:
        st.caption("Starting. Loading a network takes a few seconds.")


def _layers_text(job: Job, current: Status) -> str:
    """Such as "1 of 5 layers", or "1 layer" if the number of layers was not planned."""
    if not job.num_layers:
        return f"{current.layers:,} {'layer' if current.layers == 1 else 'layers'}"
    return f"{current.layers:,} of {job.num_layers:,} {'layer' if job.num_layers == 1 else 'layers'}"


def queue_text(num_ahead: int) -> str:
    """How many runs are ahead in the queue, in words."""
    if not num_ahead:
        return "Yours is next."
    return f"{num_ahead:,} {'run' if num_ahead == 1 else 'runs'} before yours."


def time_text(job: Job, current: Status) -> str:
    """Elapsed and remaining time in words.

    The remaining time follows from the plan, but is at least that of the present step. Without a plan it is
    extrapolated from the measured layers.
    """
    left_s = max(job.estimated_s - current.elapsed_s, current.stage_left_s or 0)
    if 0 < current.layers < job.num_layers and not job.estimated_s:
        left_s = current.elapsed_s / current.layers * (job.num_layers - current.layers)
    elapsed = f"{in_words(current.elapsed_s)} so far"
    return f"{elapsed}, about {in_words(left_s)} left" if left_s >= 1 else elapsed


def _show_buttons(job: Job, current: Status, name: str) -> None:
    """Show buttons for what can be done with the run in its present state."""
    with st.container(horizontal=True):
        if has_results(job):
            label = "Open the study" if current.state == "complete" else "Open the finished layers"
            if st.button(label, type="primary", icon=":material/monitoring:", key=f"open_{name}"):
                keep_study(job.id)
                st.switch_page("app_pages/layers/view.py")
        if current.state == "complete" and (file := job.exported):
            kind = "application/octet-stream"
            st.download_button(
                f"Download {file.name}", file.read_bytes, file.name, kind, on_click="ignore", key=f"download_{name}"
            )
        if not may_change(job):
            return
        if current.state == "running":
            st.button("Stop", icon=":material/stop:", key=f"stop_{name}", on_click=guarded(cancel), args=(job,))
        elif current.state == "waiting":
            st.button(
                "Leave the line", icon=":material/close:", key=f"stop_{name}", on_click=guarded(cancel), args=(job,)
            )
        elif current.state == "stopping":
            st.button(
                "Stop at once",
                icon=":material/dangerous:",
                key=f"kill_{name}",
                on_click=guarded(cancel),
                args=(job,),
                kwargs={"at_once": True},
                help="Without waiting for the present step.",
            )
        elif current.state != "complete" and st.button(_again(job), icon=":material/resume:", key=f"resume_{name}"):
            _resume(job)
        if current.is_over and job.makes_study and (info := _info_or_none(job)):
            filled = run_again(info, job.study, limits())
            link_to(
                "new_study", "Run again with changes", ":material/replay:", {"from": [job.id]} | filled.request.query()
            )
        if current.is_over and st.button(
            "Remove",
            icon=":material/delete:",
            key=f"remove_{name}",
            help="Removes the run and its results. Can be undone.",
        ):
            remove(job)
            st.query_params.pop("run", None)
            st.rerun()


def show_removed(name: str, *, only: str = "") -> bool:
    """Show the runs in the trash, each with a button that restores it. Returns whether there are any.

    Parameters
    ----------
    name : str
        Distinguishes the panels of a page.
    only : str
        Id of the run to show; "" for all.
    """
    removed = [job for job in removed_visitor_jobs() if only in ("", job.id)][:MAX_REMOVED]
    for job in removed:
        with st.container(horizontal=True, vertical_alignment="center"):
            st.markdown(f":material/delete: Removed · **{plain(run_title(job))}**", width="stretch")
            if st.button("Undo", icon=":material/undo:", key=f"restore_{name} {job.id}"):
                st.query_params["run"] = restore(job).id
                st.rerun()
    return bool(removed)


def _info_or_none(job: Job) -> dict[str, Any] | None:
    """The content of the study.json of a run; None where there is none that can be read."""
    try:
        return read_info(job.study)
    except StudyError:
        return None


def _again(job: Job) -> str:
    """Label of the button that starts a run again: a study keeps its finished layers, other commands start over."""
    return "Go on" if job.makes_study else "Start again"


def _resume(job: Job) -> None:
    try:
        start_run(job)
    except BusyError as error:
        st.warning(str(error))
        return
    st.rerun()


def _show_log(job: Job) -> None:
    lines = log_lines(job)
    if lines and not is_public():
        is_only_result = not job.makes_study and status(job).state == "complete"
        with st.expander("Log", expanded=is_only_result):
            st.code("\n".join(lines), language=None, wrap_lines=True, height=220)
            study = f", the study in `{job.study}`" if job.makes_study else ""
            st.caption(f"The full log is in `{job.folder}`{study}.")


def _public_text(text: str) -> str:
    """A message of the command line; in public without anything that could be a path of this server."""
    return plain(in_form_words(hide_paths(text) if is_public() else without_uploads(text)))


def hide_paths(text: str) -> str:
    """Replace each absolute path, and each path in the folder of uploads, by its last part."""
    return re.sub(r"(?<!\w)(?:\.\.)?(?:/[^\s'\",;:]+)+/([^\s'\",;:/]+)", r"\1", text)
