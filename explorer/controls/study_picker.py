"""The top of every page: the app's name, and the widgets that choose the study and the layer."""

import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import streamlit as st

from core.analysis.several_studies import comparability_rank, study_differences
from core.report.words.changes import why_not_comparable
from core.report.words.formatting import plain
from core.study.store.opening import StudyError, read_info
from explorer.controls.unknown_values import unknown_text, unknown_values
from explorer.controls.widgets import widget_key
from explorer.runs.run_again import run_again
from explorer.runs.study_list import known_studies, known_title, study_path, typed_path
from explorer.server.page_errors import guarded, reason_text
from explorer.server.public_mode import is_public, limits
from explorer.state.address import (
    PICKER,
    STUDY,
    current_layer,
    current_study,
    keep_layer,
    keep_study,
    new_address,
    shown_page,
)
from explorer.state.links import link_to
from explorer.studies.loading import OpenStudy, bundled_studies, first_study, has_values, read_study, study_stamp
from explorer.studies.provenance import control_of

PICKER_HELP = "Choose a study, or type the path of a folder that a command or `core.study_from_features` wrote."
OPENED = "path and stamp of the study that is open"  # in the session
_MOST_SUGGESTED = 4  # studies
_UNKNOWN = "values of a link that are not in the study"


def open_chosen_study() -> OpenStudy | None:
    """Show the picker and open its study; None, with a message on the page, if there is none."""
    link = new_address()
    with st.container(horizontal=True, vertical_alignment="bottom", horizontal_alignment="distribute"):
        show_name()
        with st.container(horizontal=True, vertical_alignment="bottom", width="content"):
            path = pick_study()
            link_to("new_study", "Use my data", ":material/add_circle:")
            again = st.container(width="content")
    if path is None:
        return None
    try:
        with st.spinner("Opening the study"):
            study = cached_study(str(path), study_stamp(path))
    except (ValueError, OSError) as error:  # StudyError is a ValueError; so is what an impossible path raises
        st.error(f"**This study cannot be opened.** {reason_text(error)}", icon=":material/folder_off:")
        st.caption("Choose another study above, or correct the path. Your other choices are kept.")
        return None
    st.session_state[OPENED] = (study.path, study.stamp)
    with again:
        _link_to_run_again(study)
    _show_unknown(study, link)
    if len(study.layers) and not has_values(study):
        st.info("**No layer of this study has a Separation Index.** Choose another study above.")
        for caution in study.info.get("cautions", []):
            st.caption(plain(caution))
        return None
    return study


def _show_unknown(study: OpenStudy, link: Mapping[str, Sequence[str]]) -> None:
    """Say which values of a link the study does not have, until another study or page is opened."""
    place = (study.path, shown_page())
    if link and list(link.get(STUDY, [current_study()])) == [current_study()]:
        st.session_state[_UNKNOWN] = (place, unknown_values(study, link))
    told_at, unknown = st.session_state.get(_UNKNOWN, (None, []))
    if unknown and told_at == place:
        st.warning(unknown_text(unknown), icon=":material/link_off:")


def _link_to_run_again(study: OpenStudy) -> None:
    """Show a link to the form of a new study, filled from this one."""
    name = current_study() or study.path
    filled = run_again(study.info, Path(study.path), limits())
    query = {STUDY: [name], "from": [name]} | filled.request.query()
    link_to("new_study", "Run again", ":material/replay:", query)


@dataclass(frozen=True)
class OfferedStudy:
    """A study that can be drawn beside the open one.

    Attributes
    ----------
    name : str
        As in `explorer.runs.study_list.known_studies`, or a typed path.
    title : str
        Its name in the picker, with the reason why it is not comparable.
    rank : int
        Of `core.analysis.several_studies.comparability_rank`.
    """

    name: str
    title: str
    rank: int


def offered_studies(study: OpenStudy, known: Mapping[str, Path]) -> list[OfferedStudy]:
    """The other studies, the comparable ones first."""
    offered = []
    for name, path in known.items():
        if str(path) == study.path:
            continue
        differences = study_differences(study.info, info_or_empty(path))
        title, reason = known_title(name, dict(known)), why_not_comparable(differences)
        if reason:
            title = f"{title} — not comparable: {reason}"
        offered.append(OfferedStudy(name, title, comparability_rank(differences)))
    return sorted(offered, key=lambda one: one.rank)


def pick_other_study(offered: Sequence[OfferedStudy], start: str, *, label: str, key: str) -> tuple[str, Path | None]:
    """Show a picker for a second study.

    Parameters
    ----------
    offered : sequence of OfferedStudy
        Of `offered_studies`.
    start : str
        Name of the study to start from; "" for none.
    label, key : str
        Label and session key of the widget.

    Returns
    -------
    name : str
        Name of the chosen study; "" for none.
    path : Path or None
        Its folder; None without a choice, or if there is no such study, which the page then says.
    """
    known = known_studies()
    titles = {one.name: one.title for one in offered}
    names = list(dict.fromkeys(name for name in (*titles, start) if name))
    chosen = st.selectbox(
        label,
        names,
        index=names.index(start) if start else None,
        format_func=lambda name: titles.get(name, name),
        key=key,
        accept_new_options=not is_public(),
        filter_mode="contains",
        placeholder="Choose a study" if is_public() else "Choose, or type the path of a study folder",
        help="A study of the same samples: the network before fine-tuning, untrained, or another network.",
        width=520,
    )
    return (chosen, _path_or_message(chosen, known)) if chosen else ("", None)


def suggest_studies(offered: Sequence[OfferedStudy], key: str) -> None:
    """Show a button for each of a few comparable studies, which chooses it in the picker of this session key."""
    suggested = [one for one in offered if one.rank == 0][:_MOST_SUGGESTED]

    def choose(name: str) -> None:
        st.session_state[key] = name

    with st.container(horizontal=True, gap="small"):
        for one in suggested:
            name = f"suggest {one.name} for {key}"
            st.button(one.title, icon=":material/compare_arrows:", key=name, on_click=guarded(choose), args=(one.name,))


def show_name() -> None:
    """Show the app's name and what it is for."""
    st.markdown("**Separation Index Explorer**  \nSee where a network separates your classes", width="content")


def carry_study() -> None:
    """Keep the open study and the chosen layer in the address of a page that does not use them."""
    if study := current_study():
        keep_study(study)
    if layer := current_layer():
        keep_layer(layer)


def pick_layer(study: OpenStudy, page: str, placeholder: str = "Click one in the chart") -> str | None:
    """Show a picker for the layer that all pages share; None for none. A page may also set its widget's key."""
    names, key = list(study.layers["layer"]), widget_key(page, "layer", study)
    start = current_layer()
    st.session_state.setdefault(key, start if start in names else None)
    chosen = st.selectbox(
        "Layer",
        names,
        index=None,
        key=key,
        placeholder=placeholder,
        filter_mode="contains",
        help="All pages use this layer.",
    )
    keep_layer(chosen)
    return chosen


def untrained_control(study: OpenStudy) -> OpenStudy | None:
    """The bundled study of the same network with untrained weights on the same data; None without one."""
    bundled = bundled_studies()
    name = control_of(study, {name: info_or_empty(path) for name, path in bundled.items()})
    return cached_study(str(bundled[name]), study_stamp(bundled[name])) if name else None


def info_or_empty(path: Path) -> Mapping[str, Any]:
    """The content of study.json; {} if it cannot be read."""
    try:
        return read_info(path) or {}
    except StudyError:
        return {}


@st.cache_resource(max_entries=24, show_spinner=False)  # a chart may have many studies
def cached_study(path: str, stamp: tuple[int, ...]) -> OpenStudy:
    """The study as the pages use it. All sessions share it, so it must not be modified."""
    return read_study(Path(path))


def pick_study() -> Path | None:
    """Show the picker of studies; locally, the path of any folder can be typed too. None, with a message, for none."""
    known = known_studies()
    from_start, current = first_study(sys.argv[1:], os.environ), current_study()
    names = list(dict.fromkeys(name for name in (from_start, *known, current) if name))
    default = from_start or next(iter(known), None)
    picked = st.session_state.get(PICKER)
    if names and (not picked or (is_public() and picked not in names)):
        picked = current or names[0]
    if names:  # in each run: a widget whose choices have changed is a new one, and would show the first of them
        st.session_state[PICKER] = picked
    chosen = st.selectbox(
        "Study",
        names,
        index=0 if names else None,
        format_func=lambda name: known_title(name, known),
        key=PICKER,
        accept_new_options=not is_public(),
        filter_mode="contains",
        placeholder="Choose a study" if is_public() else "Type the path of a study folder",
        help="Choose a study." if is_public() else PICKER_HELP,
        width=460,
    )
    if not chosen:
        st.info(f"No study is open. {'Choose one' if is_public() else 'Type the path of a study folder'} above.")
        return None
    keep_study(chosen, default)
    return _path_or_message(chosen, known, from_start)


def _path_or_message(name: str, known: dict[str, Path], from_start: str | None = None) -> Path | None:
    """The folder of a study; None, with a message, if there is none.

    `from_start` is the study that the app was started with: its path is allowed even in public.
    """
    try:
        return typed_path(name) if name == from_start and name not in known else study_path(name, known)
    except StudyError as error:
        st.error(f"**This study cannot be opened.** {plain(error)}", icon=":material/folder_off:")
        return None
