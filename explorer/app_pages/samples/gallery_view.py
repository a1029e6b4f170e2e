"""The gallery of the page Samples: pages of thumbnails that pass the filter, and the table of marks."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pandas as pd
import streamlit as st

from core.analysis.samples.selection import LayerSelection
from core.report.words.samples_to_check import marks_text
from explorer.app_pages.samples.thumbnail_grid import show_thumbnails
from explorer.controls.downloads import save_menu
from explorer.controls.sample_cards import PAGE
from explorer.controls.samples.marking import StudyMarks, marked_table
from explorer.controls.samples.open_sample import open_sample, selected_key
from explorer.controls.widgets import widget_key
from explorer.server.page_errors import guarded
from explorer.state.address import update_view
from explorer.state.choices import one_offered
from explorer.studies.class_tables import pages
from explorer.studies.gallery import EXPLAINED, FILTERS, PAGE_SIZES, SORTS, Filter
from explorer.studies.loading import OpenStudy
from explorer.studies.pictures import Pictures

KEYS = "Arrow keys go from picture to picture, PageUp and PageDown to another page; Enter opens."


@dataclass(frozen=True, eq=False)
class Gallery:
    """What the gallery shows.

    Attributes
    ----------
    samples : DataFrame
        Of `filter_samples`, with the column mark.
    total : int
        Number of samples without the filter.
    chosen : Filter
        The filter that `samples` passed.
    selection : LayerSelection
        The layer that the samples are looked at.
    """

    samples: pd.DataFrame
    total: int
    chosen: Filter
    selection: LayerSelection

    @property
    def title(self) -> str:
        """What is shown, and how many."""
        return f"{FILTERS[self.chosen.shown]}: {len(self.samples):,} of {self.total:,} samples"


@st.fragment
@guarded
def show_gallery(study: OpenStudy, gallery: Gallery, pictures: Pictures, query: Mapping[str, list[str]]) -> None:
    """Show the filtered samples page by page; turning a page runs this function alone.

    Parameters
    ----------
    study : OpenStudy
        The open study.
    gallery : Gallery
        The samples.
    pictures : Pictures
        The study's pictures.
    query : mapping
        Query parameters of the page.
    """
    st.header(gallery.title, anchor=False)
    if gallery.samples.empty:
        explained = EXPLAINED[gallery.chosen.shown]
        st.info(f"No sample passes the filter. {explained} Choose “All” above to see them again.")
        return
    pager = st.container(horizontal=True, vertical_alignment="center", gap="small")
    with pager:
        size = _choose_size(study, query)
    page_names, key = pages(len(gallery.samples), size), widget_key(PAGE, "page", study)
    first = one_offered(query, "page", page_names) or page_names[0]
    if st.session_state.setdefault(key, first) not in page_names:
        st.session_state[key] = page_names[0]
    index = page_names.index(st.session_state[key])

    def turn(target: int) -> None:
        st.session_state[key] = page_names[min(max(target, 0), len(page_names) - 1)]
        update_view(PAGE, gallery_query(study))

    def open_tile(sample: int) -> None:
        open_sample(study, PAGE, sample, gallery.samples["sample"], gallery.title, gallery.selection)
        st.session_state[_clicked(study)] = True

    with pager:
        last = len(page_names) - 1
        for name, icon, aim in (
            ("First", ":material/first_page:", 0),
            ("Previous", ":material/chevron_left:", index - 1),
            ("Next", ":material/chevron_right:", index + 1),
            ("Last", ":material/last_page:", last),
        ):
            st.button(
                name,
                icon=icon,
                key=f"{name} page of {study.path}",
                on_click=guarded(partial(turn, aim)),
                disabled=aim == index or not 0 <= aim <= last,
            )
        st.markdown(f"{page_names[index]} of {len(gallery.samples):,}", width="content")
        file = f"{Path(study.path).name}_samples"
        save_menu(file, lambda: gallery.samples.drop(columns=["source", "nearest_source"]))
    rows = gallery.samples.iloc[index * size :][:size].to_dict("records")
    with st.container(key="gallery"):
        show_thumbnails(
            rows,
            pictures,
            key=widget_key(PAGE, "grid", study),
            label=f"{gallery.title}, {page_names[index]}",
            selected=st.session_state.get(selected_key(study)),
            open_sample=open_tile,
            turn_page=lambda step: turn(index + step),
        )
    st.caption(f"{EXPLAINED[gallery.chosen.shown]} First: {SORTS[gallery.chosen.sort].lower()}. {KEYS}".strip())
    if st.session_state.pop(_clicked(study), False):
        st.rerun()  # the whole page, which shows the dialog


def gallery_query(study: OpenStudy) -> dict[str, list[str]]:
    """The query parameters of the gallery: without those of its first page and its usual size."""
    page = str(st.session_state.get(widget_key(PAGE, "page", study), ""))
    size = st.session_state.get(widget_key(PAGE, "tiles", study), PAGE_SIZES[0])
    return {
        "page": [] if page.startswith("1–") or not page else [page],
        "tiles": [] if size == PAGE_SIZES[0] else [str(size)],
    }


def show_marks(study: OpenStudy, kept: StudyMarks) -> None:
    """Show how many samples are marked, the table of marks, and where they are kept."""
    if not kept.marks:
        return
    st.header("Marked samples", anchor="marked")
    table = marked_table(study, kept)
    st.markdown(marks_text(table))
    if kept.reason:
        st.info(kept.reason, icon=":material/save:")
    else:
        st.caption(
            f"Kept in `marks.json` of the study's folder. On the command line: `python -m core marks {study.path}`"
        )
    st.dataframe(table.drop(columns=["sample", "changed"]), hide_index=True, column_config=dict(MARK_CONFIG))
    save_menu(f"{Path(study.path).name}_marks", lambda: table)


MARK_CONFIG = {
    "id": st.column_config.TextColumn("Sample", pinned=True),
    "split": st.column_config.TextColumn("Split"),
    "class_name": st.column_config.TextColumn("Label"),
    "mark": st.column_config.TextColumn("Mark"),
    "suggested": st.column_config.TextColumn("Neighbors say"),
    "note": st.column_config.TextColumn("Note"),
    "file": st.column_config.TextColumn("File"),
}


def _choose_size(study: OpenStudy, query: Mapping[str, list[str]]) -> int:
    """Show the choice of how many samples a page has."""
    key = widget_key(PAGE, "tiles", study)
    asked = one_offered(query, "tiles", [str(size) for size in PAGE_SIZES])
    st.session_state.setdefault(key, int(asked or PAGE_SIZES[0]))

    def keep_size() -> None:
        update_view(PAGE, gallery_query(study))

    chosen = st.segmented_control(
        "Pictures on a page",
        PAGE_SIZES,
        required=True,
        key=key,
        on_change=guarded(keep_size),
        label_visibility="collapsed",
    )
    return int(chosen or PAGE_SIZES[0])


def _clicked(study: OpenStudy) -> str:
    return f"a tile was clicked of {study.path}"
