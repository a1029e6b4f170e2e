"""Samples as cards: a picture where there is one, the label, and whom the sample is nearest to."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd
import streamlit as st

from core.report.words.formatting import plain
from explorer.controls.downloads import save_table_buttons
from explorer.controls.widgets import widget_key
from explorer.server.page_errors import guarded
from explorer.server.public_mode import is_public
from explorer.studies.class_tables import LayerSelection, pages
from explorer.studies.gallery import EXPLAINED, FILTERS, PAGE_SIZE, SORTS, Filter, agreement_text, short_id
from explorer.studies.loading import OpenStudy
from explorer.studies.pictures import Pictures

PAGE = "samples"


def offer_pictures(pictures: Pictures) -> None:
    """Why there are no pictures, and the study that has some everywhere."""
    if pictures:
        return
    why = (
        "this explorer is open to everyone and reads no folder"
        if is_public()
        else "the folder with its images is not here"
    )
    with st.container(horizontal=True, vertical_alignment="center"):
        st.info(f"No pictures: {why}. Samples are named instead.", icon=":material/hide_image:")
        st.link_button("Open the digits, which have pictures", "samples?study=digits", icon=":material/image:")


def show_selected(
    table: pd.DataFrame,
    neighbors: pd.DataFrame,
    pictures: Pictures,
    selected: int,
    selection: LayerSelection,
) -> None:
    """The selected sample beside its stored neighbors."""
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
                said = agreement_text(bool(neighbor["agrees"]), plain(neighbor["class_name"]))
                st.markdown(
                    f"**{neighbor['rank']}. {plain(neighbor['class_name'])}**  \n{plain(short_id(neighbor['id']))} "
                    f"({neighbor['split']})  \n{said}  \ndistance {neighbor['distance']:.4g}"
                )


def show_gallery(
    study: OpenStudy,
    shown: pd.DataFrame,
    pictures: Pictures,
    chosen: Filter,
    total: int,
    query: Mapping[str, list[str]],
) -> dict[str, list[str]]:
    """The samples that the filter lets through, page by page; what the address has to say of the page."""
    st.subheader(f"{FILTERS[chosen.shown]}: {len(shown):,} of {total:,} samples", anchor=False)
    if shown.empty:
        st.info(f"No sample passes the filter. {EXPLAINED[chosen.shown]} Choose “All” above to see them again.")
        return {}
    parts, key = pages(len(shown), PAGE_SIZE), widget_key(PAGE, "page", study)
    asked = next((one for one in query.get("page", ()) if one in parts), parts[0])
    if st.session_state.setdefault(key, asked) not in parts:
        st.session_state[key] = parts[0]
    with st.container(horizontal=True, vertical_alignment="bottom", gap="medium"):
        part = str(st.selectbox(f"Samples (of {len(shown):,})", parts, key=key, width=200))
        save_table_buttons(lambda: shown.drop(columns=["source", "nearest_source"]), f"{Path(study.path).name}_samples")
        st.caption(f"{EXPLAINED[chosen.shown]} First: {SORTS[chosen.sort].lower()}.".strip(), width="content")
    rows = shown.iloc[parts.index(part) * PAGE_SIZE :][:PAGE_SIZE]
    with st.container(horizontal=True, gap="small", key="gallery"):
        for row in rows.to_dict("records"):
            with st.container(border=True, width=228):
                show_card(study, row, pictures)
    return {"page": [part]} if part != parts[0] else {}


def show_card(study: OpenStudy, row: Mapping[Any, Any], pictures: Pictures) -> None:
    """A sample, whom it is nearest to, and a button to look closer."""
    with st.container(horizontal=True, gap="xsmall"):
        show_picture(pictures, row["source"], row["class_name"], 92)
        show_picture(pictures, row["nearest_source"], f"nearest neighbor, {row['nearest_class']}", 92)
    said = agreement_text(bool(row["agrees"]), plain(row["nearest_class"]))
    decided = f"decided at `{row['decided']}`" if row["decided"] else "not decided before the end"
    st.markdown(
        f"**{plain(row['class_name'])}**  \n{plain(short_id(row['id']))}  \n{said}  \n"
        f"to {plain(short_id(row['nearest_id']))}, {row['distance']:.3g}  \nagrees at {row['share']:.0%} of layers  \n"
        f"{decided}"
    )

    def select() -> None:
        st.session_state[selected_key(study)] = int(row["sample"])

    st.button("Look closer", key=f"look {row['sample']} of {study.path}", on_click=guarded(select), width="stretch")


def selected_key(study: OpenStudy) -> str:
    return f"selected sample of {study.path}"


def show_picture(pictures: Pictures, source: str, class_name: str, width: int) -> None:
    """A sample's picture, where there is one."""
    picture = cached_picture(pictures, source) if pictures else None
    if picture is not None:
        st.image(picture, width=width, alt=f"{class_name}: {source}")


@st.cache_data(max_entries=400, show_spinner=False)
def cached_picture(pictures: Pictures, source: str) -> bytes | None:
    return pictures.png(source)
