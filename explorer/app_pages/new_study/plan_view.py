"""The plan of a new study: what it would compute and cost, the choice where that is hours, and the start."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pandas as pd
import streamlit as st

from core.report.words.formatting import plain
from core.study.durations import in_words
from core.study.exactness import EXACT_HOURS
from explorer.app_pages.new_study.feature_fields import ARCHIVE, saved_features
from explorer.runs.background import jobs
from explorer.runs.disk import holds, make_room
from explorer.runs.job_view import hide_paths
from explorer.runs.request import Request, in_form_words
from explorer.runs.starting import new_run, planned
from explorer.runs.uploads.checking import Saved, save_images
from explorer.runs.uploads.uploaders import hold_upload, kept_files, release_upload
from explorer.server.public_mode import MIB, Limits, studies_folder
from explorer.state.address import keep_view

_PLAN, _SAVED = "plan of the new study", "upload of the new study"
_WANTED = "start of the new study"  # what shall start as soon as its files have arrived
_STARTED = "plan of the started study"
_TIME_HELP = "An estimate from counted operations and the speed measured now; baselines not included."


def plan_and_start(request: Request, files: list[Any], allowed: Limits, page: str) -> None:
    """The start at once, or first the plan with its price; what is refused says why, here beneath the form.

    Either way the plan is made, and the limits judge it. Where it offers a choice, as of a search of hours, nothing
    starts before the choice is made. A request refused is tried again by itself when a file arrives: the button may
    have been pressed while the upload was still on its way.

    files : uploaded. page : whose address the run is kept in.
    """
    asked = (request, tuple(file.file_id for file in files))
    with st.container(horizontal=True):
        starts = st.button("Start", type="primary", icon=":material/play_arrow:", key="start_at_once")
        pressed = st.button("Show the plan", icon=":material/checklist:", key="show_plan")
    if starts or pressed:
        st.session_state[_WANTED] = request if starts else None
    if starts or pressed or _file_arrived(asked[1]):
        st.session_state[_PLAN] = (asked, request, {}, "The form was changed while the plan was made.")  # if it is
        progress = st.empty()
        with st.spinner("Planning"):
            st.session_state[_PLAN] = (asked, *_plan_or_reason(request, allowed, progress.caption))
        progress.empty()
    if not st.session_state.get(_PLAN):
        return
    planned_for, filled, summary, reason = st.session_state[_PLAN]
    if planned_for != asked:
        st.caption("The form has changed since the plan was made.")
    elif reason:
        st.error(plain(in_form_words(hide_paths(reason) if allowed.public else reason)), icon=":material/block:")
    else:
        show_plan(summary, filled)
        _show_left_out()
        if st.session_state.pop(_WANTED, None) == request and not summary.get("choice"):
            saved: Saved | None = st.session_state.get(_SAVED)
            _start(filled, summary, allowed, saved, page)
        _show_start(filled, summary, allowed, page)


def show_started_plan(run: str) -> None:
    """Show the plan of a run that this session started, in an expander."""
    started = st.session_state.get(_STARTED)
    if started and started[0] == run:
        with st.expander("The plan"):
            show_plan(started[1], started[2], "started_plan")


def _file_arrived(files: tuple[str, ...]) -> bool:
    """Whether the last request was refused, and there are files now that it did not have."""
    if not st.session_state.get(_PLAN):
        return False
    (_, had), _, _, reason = st.session_state[_PLAN]
    return bool(reason) and not set(files) <= set(had)


def _plan_or_reason(
    request: Request, allowed: Limits, report: Callable[[str], object]
) -> tuple[Request, dict[str, Any], str]:
    """The request with its upload in place, and its plan; or why there is none."""
    try:
        filled = _with_upload(request, allowed)
        plan = planned(filled, allowed, report)
        return filled, plan | {"notes": list(map(_in_visitors_names, plan.get("notes", [])))}, ""
    except (ValueError, OSError) as error:  # a DataError and a PlanError are ValueErrors
        reason = str(error) if isinstance(error, ValueError) or not allowed.public else "This cannot be read here."
        return request, {}, _in_visitors_names(reason)


def _in_visitors_names(text: str) -> str:
    """A message with the names of the uploaded files in place of the paths at which they are kept."""
    saved: Saved | None = st.session_state.get(_SAVED)
    return saved.in_visitors_names(text) if saved else text


def _with_upload(request: Request, allowed: Limits) -> Request:
    """The request with the paths at which its uploaded files are kept."""
    st.session_state.pop(_SAVED, None)
    if request.source not in ("images", "features"):
        return request
    if request.source == "features":
        filled, saved = saved_features(request, allowed)
    else:
        archives = kept_files(ARCHIVE)
        if not archives:
            raise ValueError("data must be given: choose a file to upload.")
        studies = studies_folder()
        make_room(studies, allowed.disk_bytes, allowed.unpacked_bytes, holds.wanted())
        saved = save_images(archives[0], studies, allowed)
        hold_upload(saved.folder)
        filled = replace(request, data=saved.data)
    st.session_state[_SAVED] = saved
    return filled


def show_plan(summary: dict[str, Any], request: Request, key: str = "plan") -> None:
    """Samples, layers, time and memory of a study."""
    with st.container(border=True, key=key):
        columns = st.columns(4)
        splits = ", ".join(f"{count:,} {name}" for name, count in summary["splits"].items())
        columns[0].metric("Samples", f"{summary['samples']:,}", help=splits)
        columns[1].metric("Classes", f"{summary['classes']:,}")
        columns[2].metric("Layers", f"{len(summary['layers']):,}")
        columns[3].metric("Expected time", f"≈ {in_words(max(1, summary['estimated_s']))}", help=_TIME_HELP)
        st.caption(
            f"{splits}{_on_cluster(summary['cluster']) if 'cluster' in summary else _in_passes(summary, request)}"
        )
        if (of_map := summary.get("map", {})).get("num_layers"):
            st.caption(
                f"Map of the samples: {of_map['num_layers']:,} layers, about {in_words(of_map['seconds'])} after "
                f"measuring, and {of_map['num_bytes'] / MIB:,.0f} MiB on disk until it is done."
            )
        for note in summary.get("notes", []):
            st.caption(f":orange[:material/warning:] {plain(note)}")
        _show_passes(summary)


def _show_left_out() -> None:
    """The files of an uploaded archive that are no images, so that none vanishes without a word."""
    saved: Saved | None = st.session_state.get(_SAVED)
    if saved and saved.left_out:
        st.caption(f"Files of the archive that are no images which can be read here are left out: {saved.left_out}.")


def _in_passes(summary: dict[str, Any], request: Request) -> str:
    largest = max((row["bytes"] for row in summary["passes"]), default=0)
    budget = f" of {summary['budget_bytes'] / MIB:,.0f} allowed" if "budget_bytes" in summary else ""
    network = " The network comes on top: about 700 MiB." if request.uses_network else ""
    passes = len(summary["passes"])
    over = f"{passes} passes over the images" if request.uses_network and passes > 1 else "one pass"
    how = f", in {over}" if request.uses_network else ""
    return f"{how}. Activations in memory: at most {largest / MIB:,.1f} MiB{budget}.{network}"


def _on_cluster(cost: dict[str, Any]) -> str:
    workers = f"{cost['workers']:,} {'worker' if cost['workers'] == 1 else 'workers'}"
    return (
        f", on {workers} of {cost['worker_memory'] / MIB:,.0f} MiB, in {cost['network_tasks'] + cost['tasks']:,} "
        f"tasks. Storage: {cost['storage_bytes'] / MIB:,.1f} MiB of activations; the search reads "
        f"{cost['read_bytes'] / MIB:,.1f} MiB."
    )


def _show_passes(summary: dict[str, Any]) -> None:
    with st.expander(f"The {len(summary['layers']):,} layers" if len(summary["layers"]) > 1 else "The layer"):
        st.dataframe(
            pd.DataFrame({"position": range(1, len(summary["layers"]) + 1), "layer": summary["layers"]}),
            hide_index=True,
        )


def _show_start(request: Request, summary: dict[str, Any], allowed: Limits, page: str) -> None:
    saved: Saved | None = st.session_state.get(_SAVED)
    ways = _ways(request, summary)
    for place, (label, way, estimated_s) in enumerate(ways):
        key, kind = ("start_run", "primary") if place == 0 else ("start_exact_run", "secondary")
        if st.button(label, type=kind, icon=":material/play_arrow:", key=key):  # type: ignore[arg-type]
            _start(way, summary | {"estimated_s": estimated_s}, allowed, saved, page)
    if allowed.waiting is not None:
        st.caption(
            f"The server computes one study at a time. Up to {allowed.waiting:,} others wait in line, one of each "
            "visitor, and start by themselves."
        )
    st.caption("The same by hand, from the command line:" if len(ways) == 1 else "The same by hand, one of these:")
    names = saved.names if saved else {}
    st.code("\n".join(way.repeated_by(names) for _, way, _ in ways), language="bash", wrap_lines=True)


def _ways(request: Request, summary: dict[str, Any]) -> list[tuple[str, Request, float]]:
    """How the plan can be started: a button's label, what it asks for, and its seconds; of a long one two ways."""
    offered = summary.get("choice")
    if not offered:
        return [("Start the run", request, summary["estimated_s"])]
    precision, sampled_s, exact_s = (offered[name] for name in ("precision", "sampled_s", "exact_s"))
    st.info(
        f"Asking every sample takes more than {EXACT_HOURS:.0f} hours. SI of the samples at hand can be had, "
        f"unbiased and to ± {100 * precision:.2g} points at 95%, from sampled queries, each asked about all samples.",
        icon=":material/balance:",
    )
    return [
        (
            f"Start with sampled queries, ≈ {in_words(sampled_s)}",
            replace(request, precision=precision),
            sampled_s,
        ),
        (f"Start with every sample, ≈ {in_words(exact_s)}", replace(request, allow_long_search=True), exact_s),
    ]


def _start(request: Request, summary: dict[str, Any], allowed: Limits, saved: Saved | None, page: str) -> None:
    try:
        job = new_run(request, summary, allowed, saved.folder if saved else "")
    except jobs.BusyError as error:
        st.warning(f"{error} Nothing is lost.", icon=":material/hourglass_top:")
    except ValueError as error:
        st.error(plain(error), icon=":material/block:")
    else:
        release_upload()
        st.session_state[_PLAN] = None
        st.session_state[_STARTED] = (job.id, summary, request)
        keep_view(page, request.query() | {"run": [job.id]})
        st.rerun()
