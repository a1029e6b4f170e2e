"""The part of the page Decide that hands on: the cut network as a file, and the blocks tried out."""

import shlex
from collections.abc import Sequence
from pathlib import Path

import pandas as pd
import streamlit as st

from core.analysis.cut.blocks import (
    NOT_TRIED,
    TOLERANCE,
    Verified,
    cannot_verify,
    separation_across_blocks,
    with_verified,
)
from core.analysis.cut.verified_blocks import load_verified
from core.report.words.blocks import ALONE, NO_MEASUREMENT, blocks_text
from core.study.store.opening import StudyError
from explorer.controls.downloads import save_table_row
from explorer.controls.layer_table import show_numbers
from explorer.controls.widgets import choose_one, widget_key
from explorer.runs.commands import HEADS, Cut, cannot_cut, has_network, shown_path, verify_arguments
from explorer.runs.job_view import show_job
from explorer.runs.jobs import BusyError, is_alive, list_jobs, new_job
from explorer.runs.starting import start_run
from explorer.runs.study_list import remember_job
from explorer.server.public_mode import is_public, studies_folder
from explorer.studies.loading import OpenStudy, cached_tables

PAGE = "decide"
MEASURED_COLUMNS = {
    "block": "Block",
    "verdict": "Verdict",
    "accuracy": "Accuracy without it",
    "change": "Change",
    "change_low": "Change, low",
    "change_high": "Change, high",
    "parameters": "Parameters",
    "parameters_share": "Share of them",
}
BLOCK_COLUMNS = {
    "block": "Block",
    "parameters": "Parameters",
    "parameters_share": "Share of them",
    "before": "SI before",
    "after": "SI after",
    "difference": "Difference of SI",
    "low": "95 %, low",
    "high": "95 %, high",
}


def show_export(study: OpenStudy, layer: str, pooling: str) -> None:
    """The command that exports the network up to a layer, and, where it can run here, a button that runs it."""
    st.header("Take the cut along", anchor=False)
    if not has_network(study.info):
        st.caption(_hindrance(study, data=False))
        return
    head = choose_one("Classifier on top", list(HEADS), HEADS, first="none", key=widget_key(PAGE, "top", study))
    cut = Cut(Path(study.path), layer, pooling, head)
    text = "the features of the layer" if head == "none" else "a score a class, the largest of which wins"
    st.markdown(f"The network up to `{layer}`: a file that Keras loads by itself. From raw pixels it gives {text}.")
    st.code(cut.command(public=is_public()), language="bash", wrap_lines=True)
    if reason := _hindrance(study, data=head != "none"):
        st.caption(reason)
        return
    arguments = cut.arguments(study.info, _places(study))
    run_here("Export it", arguments, f"{layer}, cut from {Path(study.path).name}", key="export")


def show_blocks(study: OpenStudy, split: str, pooling: str, measure: str) -> None:
    """The accuracy without each block, where it was measured, and SI across the blocks; else how to measure it."""
    st.header("Blocks it can do without", anchor=False)
    try:
        blocks, verified = cached_blocks(study.path, study.stamp, split, pooling, measure)
    except StudyError as error:
        st.info(str(error))
        return
    if verified is None:
        show_numbers(blocks, BLOCK_COLUMNS)
        save_table_row(lambda: blocks, f"{Path(study.path).name}_blocks")
        st.markdown(NO_MEASUREMENT)
        show_verification(study)
        return
    tolerance = choose_tolerance(study)
    table = with_verified(blocks, verified, tolerance)
    st.markdown(blocks_text(table, verified, tolerance))
    show_numbers(table[table["verdict"] != NOT_TRIED], MEASURED_COLUMNS)
    st.caption(f"{ALONE} The other blocks have no shortcut that could go on in their place.")
    show_numbers(table, BLOCK_COLUMNS)
    save_table_row(lambda: table, f"{Path(study.path).name}_blocks")
    st.caption("SI before and after each block describes it, and does not tell whether the network needs it.")


def choose_tolerance(study: OpenStudy) -> float:
    """The loss of accuracy up to which a block is not needed."""
    return float(
        st.number_input(
            "Tolerance (accuracy)",
            min_value=0.001,
            max_value=0.5,
            value=TOLERANCE,
            step=0.005,
            format="%.3f",
            width=200,
            key=widget_key(PAGE, "block_tolerance", study),
            help="A block is not needed where the accuracy without it is certainly lower by no more than this.",
        )
    )


def show_verification(study: OpenStudy) -> None:
    """The command that measures the accuracy without each block, and a button where it can run here."""
    if reason := cannot_verify(cached_tables(study.path, study.stamp)):
        st.caption(reason)
        return
    folder = shown_path(Path(study.path), public=is_public())
    st.code(shlex.join(["python", "-m", "core", "blocks", folder, "--verify"]), language="bash", wrap_lines=True)
    if reason := _hindrance(study, data=True):
        st.caption(reason)
        return
    arguments = verify_arguments(Path(study.path), study.info, _places(study))
    run_here("Measure it", arguments, f"blocks of {Path(study.path).name}, taken out", key="verify")


@st.cache_data(max_entries=16, show_spinner="Comparing the blocks …")
def cached_blocks(
    path: str, stamp: tuple[int, ...], split: str, pooling: str, measure: str
) -> tuple[pd.DataFrame, Verified | None]:
    """SI across the blocks, and the accuracy without them where it was measured; `stamp` makes both anew."""
    study = cached_tables(path, stamp)
    blocks = separation_across_blocks(study, split=split, pooling=pooling, measure=measure)
    return blocks, load_verified(study)


def run_here(label: str, arguments: Sequence[str], title: str, *, key: str) -> None:
    """A button that starts the command in a process of its own, and the latest run of it, whoever started it."""
    job = next((one for one in list_jobs(studies_folder()) if one.arguments == tuple(arguments)), None)
    busy = job is not None and is_alive(job)
    if st.button(label, icon=":material/play_arrow:", key=f"run_{key}", disabled=busy):
        try:
            job = start_run(new_job(studies_folder(), arguments, title=title))
        except BusyError as error:
            st.warning(str(error))
            return
        remember_job(job)
        st.rerun()
    if job is not None:
        show_job(job, name=key)


def _hindrance(study: OpenStudy, *, data: bool) -> str:
    """Why there is no button."""
    if is_public():
        return "On your own computer, the page has a button for it."
    return cannot_cut(study.info, _places(study), data=data)


def _places(study: OpenStudy) -> tuple[Path, ...]:
    """Where relative paths of the study may begin: where the app was started, or in the folder of its run."""
    return Path.cwd(), Path(study.path).resolve().parent
