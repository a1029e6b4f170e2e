"""Further studies in the chart of Layers: which there are, how comparable they are, and what may be said of them."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import streamlit as st

from core.analysis.comparing import compare_studies, match_layers
from core.analysis.several_studies import study_differences
from core.report.words.changes import describe_changes, why_not_comparable
from core.report.words.formatting import POOLED, SAMPLES, plain
from core.study.store.opening import StudyError
from explorer.app_pages.layers.lines import Lines, reasons_against
from explorer.controls.study_picker import cached_study, offered_studies
from explorer.runs.study_list import known_studies, short_title, study_path
from explorer.server.page_errors import reason_text
from explorer.server.public_mode import is_public
from explorer.state.address import current_study
from explorer.state.choices import MOST_STUDIES, Selection
from explorer.state.links import link_to
from explorer.state.measures import FULL, SEPARATION
from explorer.studies.loading import OpenStudy, cached_tables, has_values, study_stamp

HELP = (
    "Studies to draw in the same chart. Those of the same samples, measured in the same way, come first; of the others "
    "the reason is named why their values are not comparable."
)


def pick_others(study: OpenStudy, start: Sequence[str], key: str) -> tuple[str, ...]:
    """Show the picker of further studies; returns their names.

    Parameters
    ----------
    study : OpenStudy
        The open study.
    start : sequence of str
        The names in the address.
    key : str
        Session key of the widget.
    """
    known = known_studies()
    start = [name for name in start if str(known.get(name, name)) != study.path]  # it may have been opened meanwhile
    offered = offered_studies(study, known)
    titles = {one.name: one.title for one in offered}
    if not is_public():
        titles |= {name: name for name in start if name not in titles}
    chosen = st.session_state.setdefault(key, list(start))
    if is_public():  # only there may a name stand for nothing
        st.session_state[key] = [name for name in chosen if name in titles]
        for name in chosen:
            if name not in titles:
                st.warning(f"There is no study {plain(name)} here, or it was removed.")
    names = st.multiselect(
        "Also show",
        list(dict.fromkeys([*titles, *st.session_state[key]])),
        format_func=lambda name: titles.get(name, name),
        key=key,
        accept_new_options=not is_public(),
        max_selections=MOST_STUDIES,
        filter_mode="contains",
        placeholder="Other studies" if is_public() else "Other studies, or the path of a study folder",
        help=HELP,
    )
    return tuple(names)


def open_others(study: OpenStudy, names: Sequence[str]) -> dict[str, OpenStudy]:
    """Open the chosen studies, by the names that the chart shows: the open one, comparable ones, and then others.

    A study that cannot be opened is left out, and the page says why.
    """
    known = known_studies()
    studies = {_title_of_path(study.path, known): study}
    for name in names:
        try:
            path = study_path(name, known)
            other = cached_study(str(path), study_stamp(path))
        except (ValueError, OSError) as error:  # StudyError is a ValueError
            reason = plain(error) if isinstance(error, StudyError) and not is_public() else reason_text(error)
            st.warning(f"**{plain(short_title(name, known))} cannot be shown.** {reason}", icon=":material/folder_off:")
            continue
        if other.path == study.path:
            continue
        if not has_values(other):
            st.warning(f"**{plain(short_title(name, known))}** has no Separation Index to show.")
            continue
        studies[_unused(short_title(name, known), studies)] = other
    against = reasons_against(studies)
    return dict(sorted(studies.items(), key=lambda item: item[0] in against))


def notes_about(studies: Mapping[str, OpenStudy], lines: Lines) -> list[str]:
    """What must be said of the studies in the chart, as Markdown sentences: alignment, samples, missing values."""
    notes: list[str] = []
    if len(studies) == 1:
        return notes
    if lines.alignment.by == "position":
        reason = "do not have the same names"
        if lines.alignment.reordered:
            reason = "of the same names do not come in the same order"
        notes.append(
            f"The x axis is **relative depth**, because the networks' layers {reason}: 0% is the first measured layer "
            "of each, 100% the last."
        )
    else:
        notes.append("Layers are aligned by name.")
    (_, first), *others = studies.items()
    for name, other in others:
        differences = study_differences(first.info, other.info)
        if differences:
            same_samples = {difference.kind for difference in differences} <= {"pooling", "split", "metric"}
            what = "not measured in the same way" if same_samples else "not the same samples"
            reason = plain(why_not_comparable(differences))
            notes.append(
                f"**{plain(name)}: {what}**, so its values (gray) cannot be compared with the others ({reason})."
            )
    for name in lines.missing:
        notes.append(f"**{plain(name)}** has no values for these choices.")
    return notes


def show_conclusion(studies: Mapping[str, OpenStudy], selection: Selection) -> None:
    """Say how two comparable studies differ, by the rule of the page Compare, with a link to it.

    Nothing is said of more studies, of studies that are not comparable, of other measures than SI and of drawn samples.
    """
    if len(studies) != 2 or selection.measure != SEPARATION or selection.samplings != (FULL,):
        return
    (after_name, after), (before_name, before) = studies.items()
    if study_differences(after.info, before.info):
        return
    pooling = "flat" if selection.pooling == "flat" else "mean"
    try:
        text = cached_conclusion(
            before.path, before.stamp, after.path, after.stamp, (before_name, after_name), pooling, selection.samples[0]
        )
    except (ValueError, OSError) as error:  # StudyError is a ValueError
        st.caption(f"Nothing is concluded from these two studies: {reason_text(error)}")
        return
    samples = f"{SAMPLES.get(selection.samples[0], selection.samples[0])} samples, {POOLED[pooling]}"
    st.markdown(f"From **{plain(before_name)}** to **{plain(after_name)}** ({samples}): {text}")
    query = {"study": [current_study() or after.path], "before": [selection.also[0]], "pooling": [pooling]}
    link_to(
        "compare", "Compare layer by layer", ":material/compare_arrows:", query | {"samples": selection.samples[:1]}
    )


@st.cache_data(max_entries=32, show_spinner="Comparing the studies")
def cached_conclusion(
    before: str,
    before_stamp: tuple[int, ...],
    after: str,
    after_stamp: tuple[int, ...],
    names: tuple[str, str],
    pooling: str,
    samples: str,
) -> str:
    """The sentences of `core.report.words.changes.describe_changes` about two studies."""
    first, second = cached_tables(before, before_stamp), cached_tables(after, after_stamp)
    options: dict[str, Any] = {"pooling": pooling, "measure": "separation", "split": samples}
    if samples == "cross":
        options |= {"measure": "cross", "split": "test"}
    table, layers = compare_studies(first, second, **options), match_layers(first, second, **options)
    return describe_changes(table, layers, names) if len(table) else "the studies have no layers in common."


def _title_of_path(path: str, known: dict[str, Path]) -> str:
    """The short name of the open study."""
    name = next((name for name, folder in known.items() if str(folder) == path), path)
    return short_title(name, known)


def _unused(name: str, taken: Mapping[str, Any]) -> str:
    """The name, with a number where another study in the chart has the same one."""
    number, unused = 1, name
    while unused in taken:
        number += 1
        unused = f"{name} ({number})"
    return unused
