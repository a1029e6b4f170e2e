"""A new study: what to measure, the plan before it starts, and the run in a process of its own."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pandas as pd
import streamlit as st

from core.network.catalogue import DEFAULT_LAYERS
from core.report.words.formatting import plain
from core.study.options import PIXELS, RUN_OPTIONS, STUDY_OPTIONS
from core.study.store.description import MOST_NAME
from core.study.store.opening import StudyError, read_info
from explorer.app_pages.new_study.feature_fields import ARCHIVE, UPLOADERS, feature_fields, feature_options
from explorer.app_pages.new_study.option_fields import option_field
from explorer.app_pages.new_study.plan_view import plan_and_start, show_started_plan
from explorer.controls.study_picker import carry_study, show_name
from explorer.runs.background import jobs
from explorer.runs.job_view import STATES, show_job, show_removed
from explorer.runs.request import (
    FORM_OPTIONS,
    HIDDEN_OPTIONS,
    SOURCES,
    Request,
    models,
    parse_request,
    sources,
    usual_model,
    weights_of,
)
from explorer.runs.run_again import run_again
from explorer.runs.study_list import (
    known_studies,
    removed_visitor_jobs,
    run_title,
    short_title,
    study_path,
    visitor_jobs,
)
from explorer.runs.uploads.uploaders import keep_shown, show_refused, uploaded_files
from explorer.server.page_errors import guarded, reason_text
from explorer.server.public_mode import MIB, Limits, limits, studies_folder
from explorer.state.address import current_view, keep_view

PAGE = "new_study"
FROM = "from"  # query parameter: the study that filled the form
WIDTH = 960  # pixels
# Options that have a place of their own; the others stand under "More options".
PLACED = ("data", "model", "weights", "layers", "pooling", "split", "per_class", "sizes")


def render() -> None:
    """The run that the address names, the form with its plan, and the list of runs."""
    show_name()
    carry_study()
    allowed = limits()
    with st.container(width=WIDTH):
        st.title("New study", anchor=False)
        st.markdown(
            "Choose data and a network, and start; or look at the plan first. The run goes on in a process of its own: "
            "you may leave this page, and come back to it."
        )
        run = _asked_run()
        if run:
            show_job(run)
            show_started_plan(run.id)
        show_removed("run")
        origin = current_view(PAGE).get(FROM, [])[:1]
        for name in origin:
            show_origin(name, allowed)
        request, files = form(parse_request(current_view(PAGE)), allowed)
        shown = {"features": UPLOADERS, "images": (ARCHIVE,)}.get(request.source, ())
        keep_shown(shown)
        show_refused(shown)
        keep_view(PAGE, request.query() | ({"run": [run.id]} if run else {}) | ({FROM: origin} if origin else {}))
        plan_and_start(request, files, allowed, PAGE)
        show_runs(run)


def _asked_run() -> jobs.Job | None:
    """The run in the address, else the one shown before, else one that goes on."""
    name = next(iter(current_view(PAGE).get("run", [])), "")
    if name and (job := jobs.find_job(studies_folder(), name)):
        return job
    if name and name not in [job.id for job in removed_visitor_jobs()]:
        st.info("The run of this link is not here any more.")
    return next((job for job in visitor_jobs() if jobs.is_alive(job)), None)


def show_origin(name: str, allowed: Limits) -> None:
    """Say from which study the form was filled, and what of it the form does not take over."""
    known = known_studies()
    try:
        path = study_path(name, known)
        filled = run_again(read_info(path) or {}, path, allowed)
    except StudyError as error:
        st.warning(reason_text(error))
        return
    st.caption(f"Filled from **{plain(short_title(name, known))}**. Change what you want, and start.")
    for note in filled.notes:
        st.caption(f":orange[:material/warning:] {plain(note)}")


def form(start: Request, allowed: Limits) -> tuple[Request, list[Any]]:
    """The widgets, started from the address. Returns what they say, and the uploaded files."""
    with st.container(border=True):
        request, files = _data_fields(start, allowed)
        if request.source != "features":
            request = _network_fields(request, start, allowed)
        request = _further_fields(request, start, allowed)
        request = _hidden_options(request, start, allowed)
        name = st.text_input(
            "Name",
            start.name[:MOST_NAME],
            key="new name",
            placeholder=request.title,
            max_chars=MOST_NAME,
            help=_NAME_HELP,
        )
    return replace(request, name=" ".join(str(name).split())), files


def _hidden_options(request: Request, start: Request, allowed: Limits) -> Request:
    """Take over the options of another study that the form has no field for, and name them."""
    if request.source == "features" or allowed.public:
        return request
    values = {name: getattr(start, name) for name in HIDDEN_OPTIONS}
    changed = {name: value for name, value in values.items() if value != HIDDEN_OPTIONS[name].default}
    if not changed:
        return request
    texts = ", ".join(f"{name.replace('_', ' ')} {value}" for name, value in changed.items())
    if not st.checkbox(f"Also as before: {plain(texts)}", True, key="new hidden", help=_HIDDEN_HELP):
        return request
    return replace(request, **values)


def _data_fields(start: Request, allowed: Limits) -> tuple[Request, list[Any]]:
    offered = sources(allowed)
    source = st.segmented_control(
        "Data",
        offered,
        format_func=SOURCES.__getitem__,
        default=start.source if start.source in offered else offered[0],
        required=True,
        key="new source",
    )
    request = replace(Request(), source=str(source))
    if allowed.public and not allowed.networks:
        st.caption("This public server is small: it measures ready-made features, and the digits' pixels.")
    if allowed.public and source in ("features", "images"):
        st.caption(
            f"At most {allowed.upload_bytes // MIB} MiB may be uploaded together. What you upload is removed when you "
            "leave, a study after a day."
        )
    if source == "folder":
        return replace(request, data=_text("Folder", start.data, "new folder", "/path/to/images", _FOLDER_HELP)), []
    if source == "tfds":
        return replace(request, data=_text("Name", start.data, "new tfds", "stanford_dogs", _TFDS_HELP)), []
    if source == "images":
        st.file_uploader("Zip archive with a folder for each class", type=["zip"], key=ARCHIVE)
        return request, uploaded_files(ARCHIVE)
    return feature_fields(request) if source == "features" else (request, [])


def _network_fields(request: Request, start: Request, allowed: Limits) -> Request:
    offered = models(allowed)
    usual = usual_model(request.source)
    first = start.model if usual == usual_model(start.source) else usual
    names = list(dict.fromkeys([*offered, *([] if allowed.public else [first])]))
    left, right = st.columns(2)
    with left:
        model = st.selectbox(
            "Network",
            names,
            index=names.index(first) if first in names else 0,
            format_func=lambda name: "pixels (no network)" if name == PIXELS else name,
            accept_new_options=not allowed.public,
            filter_mode="contains",
            key="new model" if usual == PIXELS else "new network",
            help=None if allowed.public else _NETWORK_HELP,
        )
    request = replace(request, model=str(model))
    if not request.uses_network:
        return request
    if known := weights_of(request.model):
        with right:
            request = replace(request, weights=_weights_field(known, request.model, start, allowed))
    left, right = st.columns(2)
    with left:
        layers = option_field("layers", start)
    with right:
        pooling = option_field("pooling", start)
    return replace(request, layers=layers or DEFAULT_LAYERS, pooling=pooling)


def _weights_field(known: tuple[str, ...], model: str, start: Request, allowed: Limits) -> str:
    """The weights of a network that was chosen by its name."""
    offered = [*known, *([start.weights] if not allowed.public and start.weights not in known else [])]
    return str(
        st.selectbox(
            "Weights",
            offered,
            index=offered.index(start.weights) if start.weights in offered else 0,
            accept_new_options=not allowed.public,
            key=f"new weights of {model}",
            help=None if allowed.public else "Or type the path of a .keras or .h5 file that holds this network.",
        )
    )


def _further_fields(request: Request, start: Request, allowed: Limits) -> Request:
    if request.source == "features":
        return feature_options(request, start)
    left, middle, right = st.columns(3)
    with left:
        split = option_field("split", start)
    with middle:
        per_class = option_field("per_class", start)
    with right:
        sizes = option_field("sizes", start)
    request = replace(request, split=split, per_class=per_class, sizes=sizes.replace(" ", ""))
    with st.expander("More options"):
        further = [name for name in STUDY_OPTIONS if name in FORM_OPTIONS and name not in PLACED]
        request = _fields([name for name in further if FORM_OPTIONS[name].kind is not bool], 3, request, start)
        request = _fields([name for name in further if FORM_OPTIONS[name].kind is bool], 1, request, start)
        if not allowed.public:
            request = _fields([name for name in RUN_OPTIONS if name in FORM_OPTIONS], 2, request, start)
    return request


def _fields(names: Sequence[str], num_columns: int, request: Request, start: Request) -> Request:
    """Show the fields of options in rows. Returns the request with their values."""
    columns = st.columns(num_columns)
    for place, name in enumerate(names):
        with columns[place % num_columns]:
            request = replace(request, **{name: option_field(name, start)})
    return request


def show_runs(shown: jobs.Job | None) -> None:
    """All runs that there are to see, each a click away."""
    runs = visitor_jobs()
    if not runs or [run.id for run in runs] == [shown.id if shown else ""]:
        return
    st.header("Runs", anchor=False)
    for run in runs[:50]:
        icon, word = STATES[jobs.status(run).state]
        when = pd.Timestamp(run.started, unit="s", tz="UTC").strftime("%Y-%m-%d %H:%M UTC")
        with st.container(horizontal=True, vertical_alignment="center"):
            st.markdown(f"{icon} {word} · **{plain(run_title(run))}** · {when}", width="stretch")
            if st.button("Show", key=f"show {run.id}", disabled=shown is not None and run.id == shown.id):
                keep_view(PAGE, {"run": [run.id]})
                st.rerun()
    if len(runs) > 50:
        st.caption(f"The latest 50 of {len(runs):,}.")


def _text(label: str, value: str, key: str, placeholder: str, help_text: str) -> str:
    return str(st.text_input(label, value, key=key, placeholder=placeholder, help=help_text)).strip()


_FOLDER_HELP = (
    "Images in train/<class>/ and test/<class>/ (or other usual names of splits), or in <class>/ alone. They stay "
    "where they are."
)
_NAME_HELP = "What the run and its study are called in lists and charts. Without one, data and network."
_HIDDEN_HELP = "Options that this form has no field for, from the study that filled it. Without the tick, defaults."
_TFDS_HELP = "Needs the package tensorflow-datasets; the data set is downloaded where it is not there yet."
_NETWORK_HELP = "Or type the name of any network of keras.applications, or the path of a .keras or .h5 file."

guarded(render)()
