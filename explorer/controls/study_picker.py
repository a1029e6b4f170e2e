"""The head of every page: the app's name and the study that all pages speak about."""

import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import streamlit as st

from core.report.words.formatting import plain
from core.study.store.opening import StudyError, read_info
from explorer.controls.widgets import widget_key
from explorer.runs.study_list import known_studies, known_title, study_path, typed_path
from explorer.server.public_mode import is_public
from explorer.state.address import current_layer, current_study, keep_layer, keep_study
from explorer.state.links import link_to
from explorer.studies.loading import OpenStudy, bundled_studies, first_study, read_study, study_stamp
from explorer.studies.provenance import control_of

TYPED = "Choose a study, or type the path of a study folder: what a command or `core.study_from_features` wrote."


def open_chosen_study() -> OpenStudy | None:
    """The study in the picker; None, with a message on the page, where there is none."""
    with st.container(horizontal=True, vertical_alignment="bottom", horizontal_alignment="distribute"):
        show_name()
        with st.container(horizontal=True, vertical_alignment="bottom", width="content"):
            path = pick_study()
            link_to("new_study", "Use my data", ":material/add_circle:")
    if path is None:
        return None
    try:
        with st.spinner("Opening the study"):
            return cached_study(str(path), study_stamp(path))
    except (ValueError, OSError) as error:  # a StudyError is a ValueError, as is a path that none can be
        reason = "It is damaged, or gone." if is_public() else plain(error)
        st.error(f"**This study cannot be opened.** {reason}", icon=":material/folder_off:")
        st.caption("Choose another study above, or correct the path; the rest of the view is kept.")
        return None


def pick_other_study(open_path: str, asked: str, *, label: str, key: str) -> tuple[str, Path | None]:
    """Another study than the open one, from the bundled ones or a folder that is typed: its name, and where it is."""
    known = {name: path for name, path in known_studies().items() if str(path) != open_path}
    names = list(dict.fromkeys(name for name in (*known, asked) if name))
    chosen = st.selectbox(
        label,
        names,
        index=names.index(asked) if asked else None,
        format_func=lambda name: known_title(name, known),
        key=key,
        accept_new_options=not is_public(),
        filter_mode="contains",
        placeholder="Choose a study" if is_public() else "Choose, or type the path of a study folder",
        help="A study of the same samples: the network before fine-tuning, untrained, or another network.",
        width=520,
    )
    return (chosen, _path_or_message(chosen, known)) if chosen else ("", None)


def show_name() -> None:
    """The app's name and what it is for; all of the head on a page that speaks about no study."""
    st.markdown("**Separation Index Explorer**  \nSee where a network separates your classes", width="content")


def carry_study() -> None:
    """Keep the open study and the chosen layer in the address of a page that does not speak about them."""
    if study := current_study():
        keep_study(study)
    if layer := current_layer():
        keep_layer(layer)


def pick_layer(study: OpenStudy, page: str, placeholder: str = "Click one in the chart") -> str | None:
    """The layer that all pages speak about: chosen here, or by whoever sets the widget's key; None for none."""
    names, key = list(study.layers["layer"]), widget_key(page, "layer", study)
    carried = current_layer()
    st.session_state.setdefault(key, carried if carried in names else None)
    chosen = st.selectbox(
        "Layer",
        names,
        index=None,
        key=key,
        placeholder=placeholder,
        filter_mode="contains",
        help="The layer that is carried to every other page.",
    )
    keep_layer(chosen)
    return chosen


def untrained_control(study: OpenStudy) -> OpenStudy | None:
    """The bundled study of the same network with untrained weights on the same data."""
    bundled = bundled_studies()
    name = control_of(study, bundled, {name: read_info_or_none(path) for name, path in bundled.items()})
    return cached_study(str(bundled[name]), study_stamp(bundled[name])) if name else None


def read_info_or_none(path: Path) -> Mapping[str, Any]:
    """study.json, or nothing where it cannot be read."""
    try:
        return read_info(path) or {}
    except StudyError:
        return {}


@st.cache_resource(max_entries=8, show_spinner=False)
def cached_study(path: str, stamp: tuple[int, ...]) -> OpenStudy:
    """The study as the pages see it. Nobody may change it: all sessions share it."""
    return read_study(Path(path))


def pick_study() -> Path | None:
    """The bundled studies, the ones named at the start and in the address, and any folder that is typed in."""
    known = known_studies()
    started, linked = first_study(sys.argv[1:], os.environ), current_study()
    names = list(dict.fromkeys(name for name in (started, *known, linked) if name))
    chosen = st.selectbox(
        "Study",
        names,
        index=names.index(linked) if linked else (0 if names else None),
        format_func=lambda name: known_title(name, known),
        key="study",
        accept_new_options=not is_public(),
        filter_mode="contains",
        placeholder="Choose a study" if is_public() else "Type the path of a study folder",
        help="Choose a study." if is_public() else TYPED,
        width=460,
    )
    if not chosen:
        st.info(f"No study is open. {'Choose one' if is_public() else 'Type the path of a study folder'} above.")
        return None
    keep_study(chosen)
    return _path_or_message(chosen, known, started)


def _path_or_message(name: str, known: dict[str, Path], started: str | None = None) -> Path | None:
    """Where a study is, or why it is nowhere.

    started : the study that the app was started with, which in public may be anywhere.
    """
    try:
        return typed_path(name) if name == started and name not in known else study_path(name, known)
    except StudyError as error:
        st.error(f"**This study cannot be opened.** {plain(error)}", icon=":material/folder_off:")
        return None
