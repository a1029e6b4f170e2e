"""What pages about a study have in common: its notes beneath the headline, and how it was computed at the end."""

from pathlib import Path

import streamlit as st

from core.report.words.formatting import plain
from core.study.store.opening import is_being_written
from explorer.controls.widgets import open_expander
from explorer.server.page_errors import guarded
from explorer.studies.loading import OpenStudy
from explorer.studies.provenance import caption, facts


def show_notes(study: OpenStudy, *, cautions: bool = True) -> None:
    """Network, data and numbers of samples; whether the study is finished; what it cautions against."""
    st.caption(caption(study))
    if study.state != "complete":
        _show_unfinished(study)
    if cautions:
        show_cautions(study)


def show_cautions(study: OpenStudy) -> None:
    """What the study itself cautions against."""
    for caution in study.info.get("cautions", []):
        st.caption(f":orange[:material/warning:] {plain(caution)}")


@st.fragment
@guarded
def show_provenance(study: OpenStudy) -> None:
    """The command and everything a reader needs to judge the numbers, sent when it is opened."""
    told = open_expander("How this was computed", f"provenance of {study.path}")
    if told is None:
        return
    with told:
        if study.info.get("command"):
            st.code(study.info["command"], language="bash", wrap_lines=True)
        st.table(facts(study), border="horizontal")


def _show_unfinished(study: OpenStudy) -> None:
    again = "its command, run again," if study.info.get("command") else "the same call, made again,"
    text = "is running" if is_being_written(Path(study.path)) else f"was interrupted; {again} finishes it"
    with st.container(horizontal=True, vertical_alignment="center"):
        st.info(f"This study {text}. It has {len(study.layers)} layers so far.", icon=":material/hourglass_top:")
        st.button("Look again", icon=":material/refresh:")
