"""Samples as cards: picture if available, label and nearest neighbor."""

import pandas as pd
import streamlit as st

from core.analysis.samples.selection import LayerSelection
from core.report.words.formatting import plain
from explorer.server.public_mode import is_public
from explorer.studies.gallery import agreement_text, short_id
from explorer.studies.pictures import Pictures

PAGE = "samples"
CARD, PICTURE = 170, 136  # pixels; two cards stand side by side on a phone


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
    st.header(f"{plain(row['id'])}", anchor="selected")
    count = "nearest neighbor" if len(neighbors) == 1 else f"{len(neighbors)} nearest neighbors"
    st.markdown(f"Class **{plain(row['class_name'])}**. Its {count} at `{selection.layer}`, as stored:")
    with st.container(horizontal=True, gap="small"):
        with st.container(border=True, width=CARD):
            show_picture(pictures, row["source"], row["class_name"], PICTURE)
            st.markdown(f"**{plain(row['class_name'])}**  \n:small[{plain(short_id(row['id']))}]  \n:small[selected]")
        for neighbor in neighbors.to_dict("records"):
            with st.container(border=True, width=CARD):
                show_picture(pictures, neighbor["source"], neighbor["class_name"], PICTURE)
                lines = [
                    f"{plain(short_id(neighbor['id']))} ({neighbor['split']})",
                    agreement_text(bool(neighbor["same_label"])),
                    f"distance {neighbor['distance']:.4g}",
                ]
                st.markdown(
                    f"**{neighbor['rank']}. {plain(neighbor['class_name'])}**  \n"
                    + "  \n".join(f":small[{line}]" for line in lines)
                )


def show_picture(pictures: Pictures, source: str, class_name: str, width: int) -> None:
    """Show a sample's picture, if there is one."""
    picture = cached_picture(pictures, source) if pictures else None
    if picture is not None:
        st.image(picture, width=width, alt=f"{class_name}: {source}")


@st.cache_data(max_entries=400, show_spinner=False)
def cached_picture(pictures: Pictures, source: str) -> bytes | None:
    """A sample's picture as PNG."""
    return pictures.png(source)
