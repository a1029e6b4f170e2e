"""Samples as cards: picture if available, label and nearest neighbor."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd
import streamlit as st

from core.analysis.samples.selection import LayerSelection
from core.report.words.formatting import plain
from explorer.controls.downloads import save_menu
from explorer.controls.widgets import widget_key
from explorer.server.page_errors import guarded
from explorer.server.public_mode import is_public
from explorer.state.choices import one_offered
from explorer.studies.class_tables import pages
from explorer.studies.gallery import EXPLAINED, FILTERS, PAGE_SIZE, SORTS, Filter, agreement_text, short_id
from explorer.studies.loading import OpenStudy
from explorer.studies.pictures import Pictures

PAGE = "samples"


def offer_pictures(pictures: Pictures) -> None:
    """If the study has no pictures, say why, and link to a study that has some on every machine."""
    if pictures:
        return
    reason = "a public server reads no image folders" if is_public() else "the study's image folder is not here"
    with st.container(horizontal=True, vertical_alignment="center"):
        st.info(f"No pictures: {reason}. Samples are shown by name.", icon=":material/hide_image:")
        st.link_button("Open the digits, which have pictures", "samples?study=digits", icon=":material/image:")


def show_selected(
    table: pd.DataFrame,
    neighbors: pd.DataFrame,
    pictures: Pictures,
    selected: int,
    selection: LayerSelection,
) -> None:
    """Show the selected sample beside its stored neighbors.

    Parameters
    ----------
    table : DataFrame
        Of `samples_at`.
    neighbors : DataFrame
        Of `neighbors_of`.
    pictures : Pictures
        The study's pictures.
    selected : int
        The sample to show; one of `table`.
    selection : LayerSelection
        The layer that the neighbors are of.
    """
    row = table[table["sample"] == selected].iloc[0]
    st.subheader(f"{plain(row['id'])}", anchor=False)
    st.markdown(
        f"Class **{plain(row['class_name'])}**. Its {len(neighbors)} nearest at `{selection.layer}`, as stored:"
    )
    with st.container(horizontal=True, gap="small"):
        with st.container(border=True, width=158):
            show_picture(pictures, row["source"], row["class_name"], 124)
            st.markdown(f"**{plain(row['class_name'])}**  \n{plain(short_id(row['id']))}  \nselected")
        for neighbor in neighbors.to_dict("records"):
            with st.container(border=True, width=158):
                show_picture(pictures, neighbor["source"], neighbor["class_name"], 124)
                agreement = agreement_text(bool(neighbor["same_label"]), plain(neighbor["class_name"]))
                st.markdown(
                    f"**{neighbor['rank']}. {plain(neighbor['class_name'])}**  \n{plain(short_id(neighbor['id']))} "
                    f"({neighbor['split']})  \n{agreement}  \ndistance {neighbor['distance']:.4g}"
                )


def show_gallery(
    study: OpenStudy,
    filtered: pd.DataFrame,
    pictures: Pictures,
    chosen: Filter,
    total: int,
    query: Mapping[str, list[str]],
) -> dict[str, list[str]]:
    """Show the filtered samples page by page.

    Parameters
    ----------
    study : OpenStudy
        The open study.
    filtered : DataFrame
        Of `filter_samples`.
    pictures : Pictures
        The study's pictures.
    chosen : Filter
        The filter that `filtered` passed.
    total : int
        Number of samples without the filter.
    query : mapping
        Query parameters of the page.

    Returns
    -------
    dict
        Query parameters of the gallery; empty for its first page.
    """
    st.subheader(f"{FILTERS[chosen.shown]}: {len(filtered):,} of {total:,} samples", anchor=False)
    if filtered.empty:
        st.info(f"No sample passes the filter. {EXPLAINED[chosen.shown]} Choose “All” above to see them again.")
        return {}
    page_names, key = pages(len(filtered), PAGE_SIZE), widget_key(PAGE, "page", study)
    start = one_offered(query, "page", page_names) or page_names[0]
    if st.session_state.setdefault(key, start) not in page_names:
        st.session_state[key] = page_names[0]
    with st.container(horizontal=True, vertical_alignment="bottom", gap="medium"):
        page = str(st.selectbox(f"Samples (of {len(filtered):,})", page_names, key=key, width=200))
        file = f"{Path(study.path).name}_samples"
        save_menu(file, lambda: filtered.drop(columns=["source", "nearest_source"]))
        st.caption(f"{EXPLAINED[chosen.shown]} First: {SORTS[chosen.sort].lower()}.".strip(), width="content")
    rows = filtered.iloc[page_names.index(page) * PAGE_SIZE :][:PAGE_SIZE]
    with st.container(horizontal=True, gap="small", key="gallery"):
        for row in rows.to_dict("records"):
            with st.container(border=True, width=228):
                show_card(study, row, pictures)
    return {"page": [page]} if page != page_names[0] else {}


def show_card(study: OpenStudy, row: Mapping[Any, Any], pictures: Pictures) -> None:
    """Show a sample, its nearest neighbor, and a button that selects it."""
    with st.container(horizontal=True, gap="xsmall"):
        show_picture(pictures, row["source"], row["class_name"], 92)
        show_picture(pictures, row["nearest_source"], f"nearest neighbor, {row['nearest_class']}", 92)
    agreement = agreement_text(bool(row["same_label"]), plain(row["nearest_class"]))
    decided = f"decided at `{row['decided']}`" if row["decided"] else "not decided before the last layer"
    st.markdown(
        f"**{plain(row['class_name'])}**  \n{plain(short_id(row['id']))}  \n{agreement}  \n"
        f"to {plain(short_id(row['nearest_id']))}, {row['distance']:.3g}  \nagrees at {row['share']:.0%} of layers  \n"
        f"{decided}"
    )

    def select() -> None:
        st.session_state[selected_key(study)] = int(row["sample"])

    st.button("Look closer", key=f"look {row['sample']} of {study.path}", on_click=guarded(select), width="stretch")


def selected_key(study: OpenStudy) -> str:
    """The session key of the selected sample."""
    return f"selected sample of {study.path}"


def show_picture(pictures: Pictures, source: str, class_name: str, width: int) -> None:
    """Show a sample's picture, if there is one."""
    picture = cached_picture(pictures, source) if pictures else None
    if picture is not None:
        st.image(picture, width=width, alt=f"{class_name}: {source}")


@st.cache_data(max_entries=400, show_spinner=False)
def cached_picture(pictures: Pictures, source: str) -> bytes | None:
    """A sample's picture as PNG."""
    return pictures.png(source)
