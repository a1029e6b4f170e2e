"""Parts of every page about a study: notes below the headline, and at the end how the study was computed."""

from pathlib import Path

import streamlit as st

from core.report.words.formatting import plain
from core.study.store.opening import is_being_written
from explorer.controls.widgets import open_expander
from explorer.server.page_errors import guarded
from explorer.studies.loading import OpenStudy
from explorer.studies.provenance import caption, facts


def show_notes(study: OpenStudy, *, cautions: bool = True) -> None:
    """Show network, data, numbers of samples, whether the study is complete, and its cautions."""
    st.caption(caption(study))
    if study.state != "complete":
        _show_unfinished(study)
    if cautions:
        show_cautions(study)


def show_cautions(study: OpenStudy) -> None:
    """Show the cautions that the study stores."""
    for caution in study.info.get("cautions", []):
        st.caption(f":orange[:material/warning:] {plain(caution)}")


@st.fragment
@guarded
def show_provenance(study: OpenStudy) -> None:
    """Show the study's command and settings in an expander, filled when it is opened."""
    expander = open_expander("How this was computed", f"provenance of {study.path}")
    if expander is None:
        return
    with expander:
        if study.info.get("command"):
            st.code(study.info["command"], language="bash", wrap_lines=True)
        st.table(facts(study), border="horizontal")


def _show_unfinished(study: OpenStudy) -> None:
    if is_being_written(Path(study.path)):
        text = "This study is being computed."
    elif study.info.get("command"):
        text = "This study was interrupted. Run its command again to complete it."
    else:
        text = "This study was interrupted. Repeat the call that made it to complete it."
    with st.container(horizontal=True, vertical_alignment="center"):
        st.info(f"{text} It has {len(study.layers)} layers so far.", icon=":material/hourglass_top:")
        st.button("Refresh", icon=":material/refresh:")
