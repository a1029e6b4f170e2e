"""The part of the page Decide that hands on: the cut network as a file, and the redundant blocks tried out."""

import shlex
from collections.abc import Sequence
from pathlib import Path

import pandas as pd
import streamlit as st

from core.study.blocks import redundant_blocks
from core.study.results import StudyError
from explorer.components import save_table_row
from explorer.data import OpenStudy
from explorer.deciding import blocks_text
from explorer.exporting import HEADS, Cut, has_network, hindrance, shown_path, verify_arguments
from explorer.job_view import show_job
from explorer.jobs import BusyError, is_alive, list_jobs, new_job
from explorer.known import remember_job
from explorer.picker import cached_tables
from explorer.public import is_public, studies_folder
from explorer.running import start_run
from explorer.tables import show_numbers
from explorer.widgets import choose_one, widget_key

PAGE = "decide"
BLOCK_COLUMNS = {
    "block": "Block",
    "before": "SI before",
    "after": "SI after",
    "difference": "Rise",
    "low": "95 %, low",
    "high": "95 %, high",
    "redundant": "May be redundant",
    "parameters": "Parameters",
    "parameters_share": "Share of them",
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
    """The blocks across which SI does not rise, with the parameters they hold."""
    st.header("Redundant blocks", anchor=False)
    try:
        table = cached_blocks(study.path, study.stamp, split, pooling, measure)
    except StudyError as error:
        st.info(str(error))
        return
    st.markdown(blocks_text(table))
    show_numbers(table, BLOCK_COLUMNS)
    save_table_row(lambda: table, f"{Path(study.path).name}_blocks")
    st.caption(
        "A flat SI is a reason to try a block, not to drop it: early blocks may prepare what later ones separate. "
        "Of 18 residual blocks tried out in two networks, the advice was right for 11. To take each residual block "
        "out, and measure the accuracy without it:"
    )
    folder = shown_path(Path(study.path), public=is_public())
    st.code(shlex.join(["python", "-m", "core", "blocks", folder, "--verify"]), language="bash", wrap_lines=True)
    if reason := _hindrance(study, data=True):
        st.caption(reason)
        return
    arguments = verify_arguments(Path(study.path), study.info, _places(study))
    run_here("Try them out", arguments, f"blocks of {Path(study.path).name}, tried out", key="verify")


@st.cache_data(max_entries=16, show_spinner="Comparing the blocks …")
def cached_blocks(path: str, stamp: tuple[int, ...], split: str, pooling: str, measure: str) -> pd.DataFrame:
    """What `redundant_blocks` says; `stamp` makes it anew when the study changes."""
    return redundant_blocks(cached_tables(path, stamp), split=split, pooling=pooling, measure=measure)


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
    return hindrance(study.info, _places(study), data=data)


def _places(study: OpenStudy) -> tuple[Path, ...]:
    """Where relative paths of the study may begin: where the app was started, or in the folder of its run."""
    return Path.cwd(), Path(study.path).resolve().parent
