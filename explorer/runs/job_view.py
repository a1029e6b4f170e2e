"""One run on the page: how far it is, what can be done with it, and what it printed."""

import re
from pathlib import Path

import streamlit as st

from core.report.words.formatting import plain
from core.study.durations import in_words
from explorer.runs.jobs import (
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
from explorer.runs.starting import start_run
from explorer.runs.study_list import may_change, own_removed_jobs
from explorer.server.page_errors import guarded
from explorer.server.public_mode import is_public
from explorer.state.address import keep_study

EVERY_S = 1.0
MAX_REMOVED = 5  # shown, of the runs in the trash
STATES = {
    "waiting": (":material/hourglass_top:", "Waiting in line"),
    "running": (":material/progress_activity:", "Running"),
    "stopping": (":material/stop_circle:", "Stopping"),
    "complete": (":material/check_circle:", "Finished"),
    "cancelled": (":material/pause_circle:", "Stopped"),
    "failed": (":material/error:", "Failed"),
}


def show_job(job: Job, *, name: str = "run") -> None:
    """The run, looked at again and again as long as it goes on; the rest of the page is left alone.

    name : of the panel, where a page has several.
    """
    every = None if status(job).is_over else EVERY_S
    st.fragment(guarded(_panel), run_every=every)(job.folder.parent, job.id, name, watched=every is not None)


def _panel(studies: Path, run: str, name: str, *, watched: bool) -> None:
    job = find_job(studies, run)
    if job is None:
        if not show_removed(name, only=run):
            st.info("This run has been removed.")
        return
    now = status(job)
    if watched and now.is_over:
        st.rerun()  # the whole page: the list of runs and the picker change, and nobody needs to look again
    icon, word = STATES[now.state]
    with st.container(border=True, key=f"{name}_panel"):
        st.markdown(f"{icon} **{word}** · {plain(job.title)}")
        _show_progress(job, now)
        _show_buttons(job, now, name)
        _show_log(job)


def _show_progress(job: Job, now: Status) -> None:
    of = f" of {job.num_layers:,}" if job.num_layers else ""
    if now.is_over:
        if now.state == "failed":
            st.error(_public_text(error_text(job)))
        if job.makes_study:
            st.caption(f"{now.layers:,}{of} {_layers(job.num_layers or now.layers)} measured.{_what_next(now)}")
        return
    if now.state == "waiting":
        st.caption(f"{queue_text(now.before)} It starts by itself: you may leave this page, and come back to it.")
        return
    share = min(now.layers / job.num_layers, 1.0) if job.num_layers else 0.0
    if job.makes_study:
        st.progress(share, text=f"{now.layers:,}{of} {_layers(job.num_layers)} measured · {time_text(job, now)}")
    if now.total:
        count = f"{now.done:,} of {now.total:,} {now.unit}"
        left = "" if now.stage_left_s is None else f", {in_words(now.stage_left_s)} left in this step"
        st.progress(min(now.done / now.total, 1.0), text=f"{plain(now.stage)}: {count}{left}")
    else:
        st.caption("Starting. Loading a network takes a few seconds.")


def queue_text(before: int) -> str:
    """The place in the line, in words."""
    if not before:
        return "Yours is next."
    return f"{before:,} {'run' if before == 1 else 'runs'} before yours."


def time_text(job: Job, now: Status) -> str:
    """Time taken, and time left: as planned, unless the step alone takes longer; by the layers once some are there."""
    left = max(job.estimated_s - now.elapsed_s, now.stage_left_s or 0)
    if 0 < now.layers < job.num_layers and not job.estimated_s:
        left = now.elapsed_s / now.layers * (job.num_layers - now.layers)
    taken = f"{in_words(now.elapsed_s)} so far"
    return f"{taken}, about {in_words(left)} left" if left >= 1 else taken


def _show_buttons(job: Job, now: Status, name: str) -> None:
    with st.container(horizontal=True):
        if has_results(job):
            label = "Open the study" if now.state == "complete" else "Open what is there so far"
            if st.button(label, type="primary", icon=":material/monitoring:", key=f"open_{name}"):
                keep_study(job.id)
                st.switch_page("pages/layers/view.py")
        if now.state == "complete" and (file := job.exported):
            kind = "application/octet-stream"
            st.download_button(
                f"Download {file.name}", file.read_bytes, file.name, kind, on_click="ignore", key=f"download_{name}"
            )
        if not may_change(job):
            return
        if now.state == "running":
            st.button("Stop", icon=":material/stop:", key=f"stop_{name}", on_click=guarded(cancel), args=(job,))
        elif now.state == "waiting":
            st.button(
                "Leave the line", icon=":material/close:", key=f"stop_{name}", on_click=guarded(cancel), args=(job,)
            )
        elif now.state == "stopping":
            st.button(
                "Stop at once", icon=":material/dangerous:", key=f"kill_{name}", on_click=guarded(cancel), args=(job,),
                kwargs={"at_once": True}, help="Without waiting for the step that it is in.",
            )  # fmt: skip
        elif now.state != "complete" and st.button(_again(job), icon=":material/resume:", key=f"resume_{name}"):
            _resume(job)
        if now.is_over and st.button(
            "Remove", icon=":material/delete:", key=f"remove_{name}", help="With its results. It can be put back."
        ):
            remove(job)
            st.query_params.pop("run", None)
            st.rerun()


def show_removed(name: str, *, only: str = "") -> bool:
    """The runs in the trash, each with a button that puts it back. Returns whether there are any.

    name : of the panel, where a page has several. only : the id of the one to show; default all.
    """
    removed = [job for job in own_removed_jobs() if only in ("", job.id)][:MAX_REMOVED]
    for job in removed:
        with st.container(horizontal=True, vertical_alignment="center"):
            st.markdown(f":material/delete: Removed · **{plain(job.title)}**", width="stretch")
            if st.button("Undo", icon=":material/undo:", key=f"restore_{name} {job.id}"):
                st.query_params["run"] = restore(job).id
                st.rerun()
    return bool(removed)


def _again(job: Job) -> str:
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
        with st.expander("What it printed", expanded=not job.makes_study and status(job).state == "complete"):
            st.code("\n".join(lines), language=None, wrap_lines=True, height=220)
            study = f", the study in `{job.study}`" if job.makes_study else ""
            st.caption(f"All of it is in `{job.folder}`{study}.")


def _public_text(text: str) -> str:
    """The command's words; in public without anything that could be a path of this server."""
    return plain(in_form_words(hide_paths(text) if is_public() else text))


def hide_paths(text: str) -> str:
    """A text in which every absolute path, and every path within the folder of uploads, is only its last name."""
    return re.sub(r"(?<!\w)(?:\.\.)?(?:/[^\s'\",;:]+)+/([^\s'\",;:/]+)", r"\1", text)


def _what_next(now: Status) -> str:
    if now.state == "complete":
        return ""
    return " Go on computes the rest."


def _layers(count: int) -> str:
    return "layer" if count == 1 else "layers"
