"""Parts of the page Decide that run commands: export of the cut network, and accuracy without each block."""

import shlex
from collections.abc import Sequence
from pathlib import Path

import streamlit as st

from core.analysis.cut.blocks import (
    ACCURACY_TOLERANCE,
    NOT_TRIED,
    cannot_verify,
    with_verified,
)
from core.analysis.cut.without_network import torch_cut_lines, why_no_network
from core.data.errors import DataError
from core.report.words.blocks import ALONE, NO_MEASUREMENT, blocks_text
from core.report.words.formatting import plain
from core.study.store.opening import StudyError
from explorer.app_pages.decide.computed import cached_blocks
from explorer.controls.downloads import save_menu
from explorer.controls.layer_table import show_numbers
from explorer.controls.widgets import choose_one, widget_key
from explorer.runs.background.jobs import BusyError, is_alive, list_jobs, new_job
from explorer.runs.commands import HEADS, Cut, cannot_cut, search_folders, shown_path, verify_arguments
from explorer.runs.job_view import show_job
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
    "parameters_share": "Share of parameters",
}
BLOCK_COLUMNS = {
    "block": "Block",
    "parameters": "Parameters",
    "parameters_share": "Share of parameters",
    "before": "SI before",
    "after": "SI after",
    "difference": "Difference of SI",
    "low": "95%, low",
    "high": "95%, high",
}


def show_export(study: OpenStudy, layer: str, pooling: str) -> None:
    """Show the command that exports the network up to a layer and, if it can run here, a button that runs it."""
    st.header("Export the cut network", anchor="export")
    opened = cached_tables(study.path, study.stamp)
    if reason := why_no_network(opened):
        st.caption(reason)
        if lines := torch_cut_lines(opened, layer):
            st.markdown(f"In your own program it is cut after `{layer}` as follows, where torchvision can trace it:")
            st.code("\n".join(lines), language="python", wrap_lines=True)
        return
    head = choose_one("Classifier on top", list(HEADS), HEADS, first="none", key=widget_key(PAGE, "top", study))
    cut = Cut(Path(study.path), layer, pooling, head)
    output = "the features of the layer" if head == "none" else "one score per class; the largest is the prediction"
    st.markdown(f"A Keras file of the network up to `{layer}`. Its input is raw pixels, its output {output}.")
    st.code(cut.command(public=is_public()), language="bash", wrap_lines=True)
    if reason := _cannot_run(study, data=head != "none"):
        st.caption(reason)
        return
    arguments = cut.arguments(study.info, search_folders(Path(study.path)))
    run_here("Export it", arguments, f"{layer}, cut from {Path(study.path).name}", key="export")


def show_blocks(study: OpenStudy, samples: str, pooling: str) -> None:
    """Show SI before and after each block, and the accuracy without each block or how to measure it."""
    st.header("Can a block be removed?", anchor="blocks")
    try:
        blocks, verified = cached_blocks(study.path, study.stamp, samples, pooling)
    except StudyError as error:
        st.info(str(error))
        return
    if verified is None:
        show_numbers(blocks, BLOCK_COLUMNS)
        save_menu(f"{Path(study.path).name}_blocks", lambda: blocks)
        st.markdown(NO_MEASUREMENT)
        show_verification(study)
        return
    tolerance = choose_tolerance(study)
    table = with_verified(blocks, verified, tolerance)
    st.markdown(blocks_text(table, verified, tolerance))
    show_numbers(table[table["verdict"] != NOT_TRIED], MEASURED_COLUMNS)
    st.caption(f"{ALONE} The other blocks have no shortcut connection that could replace them.")
    show_numbers(table, BLOCK_COLUMNS)
    save_menu(f"{Path(study.path).name}_blocks", lambda: table)
    st.caption("SI before and after a block does not show whether the network needs the block.")


def choose_tolerance(study: OpenStudy) -> float:
    """Show a field for the accepted loss of accuracy when a block is removed."""
    return float(
        st.number_input(
            "Tolerance (accuracy)",
            min_value=0.001,
            max_value=0.5,
            value=ACCURACY_TOLERANCE,
            step=0.005,
            format="%.3f",
            width=200,
            key=widget_key(PAGE, "block_tolerance", study),
            help="A block is not needed if removing it certainly lowers the accuracy by no more than this.",
        )
    )


def show_verification(study: OpenStudy) -> None:
    """Show the command that measures the accuracy without each block and, if it can run here, a button."""
    if reason := cannot_verify(cached_tables(study.path, study.stamp)):
        st.caption(reason)
        return
    folder = shown_path(Path(study.path), public=is_public())
    st.code(shlex.join(["python", "-m", "core", "blocks", folder, "--verify"]), language="bash", wrap_lines=True)
    if reason := _cannot_run(study, data=True):
        st.caption(reason)
        return
    arguments = verify_arguments(Path(study.path), study.info, search_folders(Path(study.path)))
    run_here("Measure it", arguments, f"blocks of {Path(study.path).name}, taken out", key="verify")


def run_here(label: str, arguments: Sequence[str], title: str, *, key: str) -> None:
    """Show a button that runs a command in the background, and the latest run of this command.

    Parameters
    ----------
    label : str
        Text of the button.
    arguments : sequence of str
        Arguments of `python -m core`.
    title : str
        What the run is called.
    key : str
        Distinguishes the widgets from those of other commands on the page.
    """
    job = next((run for run in list_jobs(studies_folder()) if run.arguments == tuple(arguments)), None)
    is_running = job is not None and is_alive(job)
    if st.button(label, icon=":material/play_arrow:", key=f"run_{key}", disabled=is_running):
        try:
            job = start_run(new_job(studies_folder(), arguments, title=title))
        except (BusyError, DataError) as error:
            st.warning(plain(error))
            return
        remember_job(job)
        st.rerun()
    if job is not None:
        show_job(job, name=key)


def _cannot_run(study: OpenStudy, *, data: bool) -> str:
    """Why the command cannot run here; "" if it can. `data` tells whether it needs the study's images."""
    if is_public():
        return "If you run the app on your own computer, a button here runs the command."
    return cannot_cut(study.info, search_folders(Path(study.path)), data=data)
