"""The form's part for ready-made features: their files, those of test samples, and labels; and their way to disk."""

from dataclasses import replace
from typing import Any

import streamlit as st

from core.search.neighbors import METRICS
from explorer.app_pages.new_study.option_fields import option_field
from explorer.runs.disk import holds, make_room
from explorer.runs.request import Request
from explorer.runs.uploads.checking import FEATURE_SUFFIXES, LABEL_SUFFIXES, Saved, check_column, save_features
from explorer.runs.uploads.uploaders import hold_upload, kept_files, uploaded_files
from explorer.server.public_mode import Limits, studies_folder

FILES, LABELS, TEST, TEST_LABELS = "new features", "new labels", "new test", "new test labels"
ARCHIVE = "new zip"  # the uploader of images
UPLOADERS = (FILES, LABELS, TEST, TEST_LABELS)
_KINDS = [suffix.removeprefix(".") for suffix in FEATURE_SUFFIXES]
_LABEL_KINDS = [suffix.removeprefix(".") for suffix in LABEL_SUFFIXES]


def feature_fields(request: Request) -> tuple[Request, list[Any]]:
    """The uploaders. Returns what they say, and all files."""
    st.file_uploader(
        "Features: one file a layer, rows are samples; or one .npz file of several layers",
        type=_KINDS,
        accept_multiple_files=True,
        key=FILES,
        help="Files named 01-conv1.npy, 02-conv2.npy keep that order. An array `labels` in an .npz file is the labels.",
    )
    left, right = st.columns(2)
    with left:
        labels = st.file_uploader("Labels: one a sample", type=_LABEL_KINDS, key=LABELS)
    with right:
        column = st.text_input(
            "or the column of the Parquet table that holds them", key="new column", disabled=labels is not None
        )
    with st.expander("Test samples", icon=":material/science:"):
        st.caption("Other samples, with the same layers: each is asked about its neighbors among those above, too.")
        left, right = st.columns(2)
        with left:
            st.file_uploader("Their features", type=_KINDS, accept_multiple_files=True, key=TEST)
        with right:
            st.file_uploader("Their labels", type=_LABEL_KINDS, key=TEST_LABELS, help="Or in the same column.")
    files = [file for key in UPLOADERS for file in uploaded_files(key)]
    return replace(request, labels="" if labels else column.strip()), files


def feature_options(request: Request, start: Request) -> Request:
    """Neighbors, metric, and whether to compute related measures."""
    left, middle, right = st.columns(3, vertical_alignment="bottom")
    with left:
        neighbors = option_field("neighbors", start)
    with middle:
        metric = st.segmented_control(
            "Metric", METRICS, format_func=str.capitalize, default=start.metric, required=True, key="new metric"
        )
    with right:
        related_measures = option_field("related_measures", start)
    return replace(request, neighbors=neighbors, metric=str(metric), related_measures=related_measures)


def saved_features(request: Request, allowed: Limits) -> tuple[Request, Saved]:
    """The request with the paths at which its files are kept, and these.

    Raises
    ------
    ValueError
        A file is missing, or is none that may be kept.
    """
    features, labels, test, test_labels = map(kept_files, UPLOADERS)
    if not features:
        raise ValueError("data must be given: choose a file to upload.")
    if test_labels and not test:
        raise ValueError("test samples must have features beside their labels: choose their file, too.")
    studies = studies_folder()
    make_room(studies, allowed.disk_bytes, 0, holds.wanted())
    saved = save_features(features, _one(labels), studies, allowed, test=test, test_labels=_one(test_labels))
    hold_upload(saved.folder)
    if request.labels:
        check_column(saved, request.labels, studies)
    filled = replace(request, data=saved.data, labels=saved.labels or request.labels)
    return replace(filled, test=saved.test, test_labels=saved.test_labels), saved


def _one(files: list[Any]) -> Any:
    return files[0] if files else None
