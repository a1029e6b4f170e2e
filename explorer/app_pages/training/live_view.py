"""The part of the page Training about a training that is running, or was interrupted."""

import time
from pathlib import Path

import pandas as pd
import streamlit as st

from core.report.charts.training_charts import loss_chart, network_chart, training_chart
from core.study.durations import in_words
from core.study.store.opening import StudyError
from core.training.recording.epochs import (
    HISTORY,
    RUNNING,
    load_epoch,
    read_history,
    recorded_epochs,
    training_state,
)
from explorer.app_pages.training.tables import history_text, separation_rows
from explorer.controls.page_header import show_notes
from explorer.server.page_errors import guarded
from explorer.studies.loading import OpenStudy

REFRESH_S = 2.0
LIVE = "live_training"
LEFT_OFF = (
    "Its process ended before the last epoch. Call `fit` again with `initial_epoch`, or repeat the command "
    "`fine-tune`, to go on from there."
)


def recording_state(path: str) -> str:
    """The state of the recorded training in a folder, as `training_state`; RUNNING while study.json cannot be read."""
    try:
        return training_state(path)
    except (StudyError, OSError):  # it is being replaced at this moment
        return RUNNING


def show_interrupted(study: OpenStudy, *, is_empty: bool) -> None:
    """Say that the training was interrupted, and what it has recorded.

    Parameters
    ----------
    study : OpenStudy
        The open study.
    is_empty : bool
        Whether it has too few epochs to show; the page then has no other title.
    """
    epochs = recorded_epochs(study.path)
    if is_empty:
        st.title("This training was interrupted", anchor=False)
        show_notes(study)
    last = f"The last recorded epoch is {epochs[-1]}." if epochs else ""
    st.warning(f"**This training was interrupted.** {last} {LEFT_OFF}", icon=":material/stop_circle:")


def show_running(study: OpenStudy) -> None:
    """Show a training while it runs; only this part of the page is refreshed, every two seconds."""
    st.title("This training is running", anchor=False)
    show_notes(study)
    st.fragment(guarded(show_progress), run_every=REFRESH_S)(study)


def show_progress(study: OpenStudy) -> None:
    """Show the epochs that are recorded so far; when the training is over, draw the page again."""
    if recording_state(study.path) != RUNNING:
        st.rerun()  # the whole page, which then no longer refreshes itself
    progress = read_progress(study.path)
    if progress is None:
        st.info("The first epoch is being recorded.", icon=":material/hourglass_top:")
        return
    rows, layers, history = progress
    epoch = int(rows["epoch"].max())
    age = _age_text(study.path, epoch)
    st.markdown(f":material/autorenew: {history_text(history)} · SI recorded after epoch {epoch}, {age} ago")
    left, right = st.columns(2, gap="medium")
    with left, st.container(key=LIVE):
        st.header("Over the epochs", anchor=False)
        st.altair_chart(training_chart(rows, layers, epoch), width="stretch", alt="SI of each layer by epoch.")
        st.caption("Epoch 0 is the network before training. Dashed gray: chance.")
    with right:
        st.header("Loss and accuracy", anchor=False)
        if history["loss"].notna().any() or history["accuracy"].notna().any():
            st.altair_chart(loss_chart(history), width="stretch", alt="Loss and accuracy by epoch.")
        else:
            st.caption("They appear after the first epoch.")
    st.header("Through the network", anchor=False)
    st.altair_chart(network_chart(rows, layers, epoch), width="stretch", alt=f"SI of each layer after epoch {epoch}.")
    st.caption("Band: 95% interval. Faint: the other epochs. Dashed gray: chance.")


def read_progress(path: str) -> tuple[pd.DataFrame, tuple[str, ...], pd.DataFrame] | None:
    """SI of the recorded epochs, the layers, and the history; None while nothing can be read.

    Epochs that the training removes, or files that it replaces, while they are read are left out until the next time.
    """
    tables: list[pd.DataFrame] = []
    layers: tuple[str, ...] = ()
    for epoch in recorded_epochs(path):
        try:
            rows, layers = _cached_epoch(path, epoch, _written_ns(path, epoch))
        except (StudyError, OSError):
            continue
        tables.append(rows)
    rows = pd.concat(tables, ignore_index=True) if tables else pd.DataFrame()
    if rows.empty:
        return None
    try:
        history = read_history(path)
    except (StudyError, OSError):
        history = HISTORY.empty_table().to_pandas()
    return rows, layers, history


@st.cache_resource(max_entries=1024, show_spinner=False)
def _cached_epoch(path: str, epoch: int, written_ns: int) -> tuple[pd.DataFrame, tuple[str, ...]]:
    """SI and the layers of one epoch, whose files do not change. All sessions share it, so it must not be modified."""
    study = load_epoch(path, epoch)
    measured = study.measurements
    measured = measured.astype(dict.fromkeys(measured.columns[measured.dtypes == "category"], object))
    rows, _ = separation_rows(measured.assign(epoch=epoch))
    known = set(rows["layer"])
    return rows, tuple(name for name in study.layers["layer"] if name in known)


def _age_text(path: str, epoch: int) -> str:
    return in_words(max(1.0, time.time() - _written_ns(path, epoch) / 1e9))


def _written_ns(path: str, epoch: int) -> int:
    """When an epoch was recorded, in nanoseconds; 0 if it is gone."""
    try:
        return (Path(path) / "epochs" / f"{epoch:05d}").stat().st_mtime_ns
    except OSError:
        return 0
