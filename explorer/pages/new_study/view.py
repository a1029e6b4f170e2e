"""A new study: what to measure, the plan before it starts, and the run in a process of its own."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pandas as pd
import streamlit as st

from core.network.catalogue import DEFAULT_LAYERS
from core.report.words.formatting import plain
from core.study.plan import PIXELS
from explorer.controls.study_picker import carry_study, show_name
from explorer.pages.new_study.feature_fields import (
    ARCHIVE,
    UPLOADERS,
    feature_fields,
    feature_options,
    related_measures_field,
)
from explorer.pages.new_study.plan_view import plan_and_start
from explorer.runs import jobs
from explorer.runs.job_view import STATES, show_job, show_removed
from explorer.runs.request import (
    MOST_TEST,
    RANGES,
    SKIP_BROKEN,
    SKIP_SMALL,
    SOURCES,
    Request,
    asked_request,
    models,
    sources,
    usual_model,
    weights_of,
)
from explorer.runs.study_list import own_jobs, own_removed_jobs
from explorer.runs.uploads.uploaders import keep_shown, show_refused, uploaded_files
from explorer.server.page_errors import guarded
from explorer.server.public_mode import MIB, Limits, limits, studies_folder
from explorer.state.address import asked_view, keep_view

PAGE = "new_study"
WIDTH = 960  # pixels
POOLINGS = {"mean": "Mean of each channel", "flat": "All activations", "both": "Both"}
SPLITS = {"both": "Train and test", "train": "Train", "test": "Test"}


def render() -> None:
    """The run that the address names, the form with its plan, and the list of runs."""
    show_name()
    carry_study()
    allowed = limits()
    with st.container(width=WIDTH):
        st.title("New study", anchor=False)
        st.markdown(
            "Choose data and a network, look at the plan, and start. The run goes on in a process of its own: you may "
            "leave this page, and come back to it."
        )
        run = _asked_run()
        if run:
            show_job(run)
        show_removed("run")
        request, files = form(asked_request(asked_view(PAGE)), allowed)
        shown = {"features": UPLOADERS, "images": (ARCHIVE,)}.get(request.source, ())
        keep_shown(shown)
        show_refused(shown)
        keep_view(PAGE, request.query() | ({"run": [run.id]} if run else {}))
        plan_and_start(request, files, allowed, PAGE)
        show_runs(run)


def _asked_run() -> jobs.Job | None:
    """The run in the address, else the one shown before, else one that goes on."""
    name = next(iter(asked_view(PAGE).get("run", [])), "")
    if name and (job := jobs.find_job(studies_folder(), name)):
        return job
    if name and name not in [job.id for job in own_removed_jobs()]:
        st.info("The run of this link is not here any more.")
    return next((job for job in own_jobs() if jobs.is_alive(job)), None)


def form(start: Request, allowed: Limits) -> tuple[Request, list[Any]]:
    """The widgets, started from the address. Returns what they say, and the uploaded files."""
    with st.container(border=True):
        request, files = _data_fields(start, allowed)
        if request.source != "features":
            request = _network_fields(request, start, allowed)
        request = _further_fields(request, start, allowed)
    return request, files


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
        layers = _text("Layers", start.layers, "new layers", DEFAULT_LAYERS, _LAYERS_HELP)
    with right:
        pooling = st.segmented_control(
            "Pooling", list(POOLINGS), format_func=POOLINGS.__getitem__, default=start.pooling, required=True,
            key="new pooling",
        )  # fmt: skip
    return replace(request, layers=layers or DEFAULT_LAYERS, pooling=str(pooling))


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
    number: Callable[..., Any] = st.number_input
    if request.source == "features":
        return feature_options(request, start)
    left, middle, right = st.columns(3)
    with left:
        split = st.segmented_control(
            "Split", list(SPLITS), format_func=SPLITS.__getitem__, default=start.split, required=True, key="new split"
        )
    with middle:
        per_class = number(
            "Samples a class", *RANGES["per_class"], start.per_class or None, placeholder="all", key="new per class",
            help="Of each split, drawn by the seed. Empty: all.",
        )  # fmt: skip
    with right:
        sizes = _text("Sample sizes", start.sizes, "new sizes", "none, or 100,200,400", _SIZES_HELP)
    with st.expander("More options"):
        columns = st.columns(3)
        with columns[0]:
            repeats = number("Draws of each size", *RANGES["repeats"], start.repeats, key="new repeats")
            neighbors = number("Neighbors stored", *RANGES["neighbors"], start.neighbors, key="new neighbors")
            test_fraction = number(
                "Test fraction", 0.0, MOST_TEST, start.test_fraction, 0.05, format="%.2f", key="new test fraction",
                help=_FRACTION_HELP,
            )  # fmt: skip
        with columns[1]:
            seed = number("Seed", *RANGES["seed"], start.seed, key="new seed")
            if not allowed.public:
                memory = _text(
                    "Memory for activations", start.memory, "new memory", "half of what is free", _MEMORY_HELP
                )
        with columns[2]:
            if not allowed.public:
                spool = _text("Spool folder", start.spool, "new spool", "none", _SPOOL_HELP)
        related_measures = related_measures_field(start)
        skip_broken = st.checkbox(SKIP_BROKEN, start.skip_broken, key="new skip broken", help=_BROKEN_HELP)
        skip_small = st.checkbox(SKIP_SMALL, start.skip_small_classes, key="new skip small", help=_SMALL_HELP)
        if not allowed.public:
            cluster, storage = _cluster_fields(start)
    request = replace(
        request, split=str(split), per_class=int(per_class or 0), sizes=sizes.replace(" ", ""), repeats=int(repeats),
        neighbors=int(neighbors), seed=int(seed), related_measures=related_measures, test_fraction=float(test_fraction),
        skip_broken=skip_broken, skip_small_classes=skip_small,
    )  # fmt: skip
    if allowed.public:
        return request
    return replace(request, memory=memory, spool=spool, cluster=cluster, cluster_storage=storage)


def _cluster_fields(start: Request) -> tuple[str, str]:
    """The address of a cluster, and the storage that its workers share."""
    left, right = st.columns(2)
    with left:
        cluster = _text("Cluster", start.cluster, "new cluster", "none, or tcp://host:8786", _CLUSTER_HELP)
    with right:
        storage = _text(
            "Cluster storage", start.cluster_storage, "new cluster storage", "beside the study", _STORAGE_HELP
        )
    return cluster, storage


def show_runs(shown: jobs.Job | None) -> None:
    """All runs that there are to see, each a click away."""
    runs = own_jobs()
    if not runs or [run.id for run in runs] == [shown.id if shown else ""]:
        return
    st.subheader("Runs", anchor=False)
    for run in runs[:50]:
        icon, word = STATES[jobs.status(run).state]
        when = pd.Timestamp(run.started, unit="s", tz="UTC").strftime("%Y-%m-%d %H:%M UTC")
        with st.container(horizontal=True, vertical_alignment="center"):
            st.markdown(f"{icon} {word} · **{plain(run.title)}** · {when}", width="stretch")
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
_TFDS_HELP = "Needs the package tensorflow-datasets; the data set is downloaded where it is not there yet."
_LAYERS_HELP = "A union of main, all, names, and patterns such as block*_add, separated by commas."
_FRACTION_HELP = "Share of the test split, where the data have no splits. 0: no split, all samples are measured as one."
_BROKEN_HELP = "Images that cannot be read are left out and recorded, instead of an error."
_SMALL_HELP = "Classes that are empty, too small, or missing in a split are left out and named, instead of an error."
_NETWORK_HELP = "Or type the name of any network of keras.applications, or the path of a .keras or .h5 file."
_LAYERS_HELP = (
    "A union of main, last_pool (the last global pooling), output, all, names, and patterns such as block*_add, "
    "separated by commas."
)
_SIZES_HELP = "Numbers of samples of a split, for the page Sample size: each is drawn several times."
_MEMORY_HELP = "Such as 2GiB. Layers that do not fit come in slices, or are spooled."
_SPOOL_HELP = "A folder for the activations of layers that do not fit the memory, removed afterwards."
_CLUSTER_HELP = (
    "Of a Dask scheduler, or local:4 for four processes of this computer: its workers compute. Needs the extra "
    "`cluster`."
)
_STORAGE_HELP = "A folder or s3://... that all workers reach, for the activations; removed afterwards."

guarded(render)()
