"""A sample in a dialog: picture, neighbors, path through the layers; buttons and arrow keys go through its list."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd
import streamlit as st

from core.analysis.samples.paths import nearest_path
from core.report.words.formatting import one_layer, plain
from explorer.controls.downloads import picture_of, save_menu
from explorer.controls.samples.marking import show_mark_buttons, show_note
from explorer.controls.samples.open_sample import OpenSample, close_sample, keep_open_sample, opened_sample
from explorer.controls.samples.path_chart import path_chart
from explorer.server.page_errors import guarded
from explorer.state.address import update_view
from explorer.studies.gallery import (
    agreement_text,
    depth_text,
    frequent_neighbors,
    neighbors_of,
    path_finding,
    short_id,
)
from explorer.studies.loading import OpenStudy
from explorer.studies.pictures import LARGE_PIXELS, Pictures, study_pictures
from explorer.studies.sample_paths import (
    SamplePaths,
    cached_neighbors,
    cached_paths_of,
    cached_samples,
    cached_to_check,
    known_sample_paths,
)

DIALOG, PATH = "sample_dialog", "sample_path"
LARGE, NEIGHBOR, MIN_NEIGHBORS = 420, 120, 5  # pixels, and neighbors that are shown at least
OPEN = {"open": ["yes"]}  # the query parameter that says that the sample of the address is open
PATH_CAPTION = "● the sample's class, ✚ another class; dotted: the chosen layer. The rows are the neighbors' classes."


@dataclass(frozen=True)
class SampleDetails:
    """What the dialog shows of a sample, apart from pictures.

    Attributes
    ----------
    row : mapping
        Of the table `samples`, with the short class name.
    neighbors : DataFrame
        Of `neighbors_of`, at the chosen layer.
    path : DataFrame
        Of `nearest_path`.
    decision : str
        When the vote of its neighbors is decided, as Markdown; "" where the study stores no neighbors of it.
    suggestion : str
        The class that its neighbors at the late layers name, as Markdown; "" where it is that of the label.
    """

    row: Mapping[str, Any]
    neighbors: pd.DataFrame
    path: pd.DataFrame
    decision: str
    suggestion: str


def show_open_sample(study: OpenStudy, page: str, paths: SamplePaths | None = None) -> None:
    """Show the dialog if a sample is open on this page; call it last, since a script run may show one dialog only.

    Parameters
    ----------
    study : OpenStudy
        The open study.
    page : str
        The page.
    paths : SamplePaths, optional
        Of `sample_details`.
    """
    opened = opened_sample(study, page)
    if opened is None:
        return
    update_view(page, {"sample": [sample_id(study, opened.sample)]} | OPEN)

    def close() -> None:
        close_sample(study, page)

    dialog = st.dialog(opened.title, width="large", icon=":material/photo:", on_dismiss=guarded(close))
    dialog(guarded(_show_content))(study, page, paths)


def sample_details(study: OpenStudy, opened: OpenSample, paths: SamplePaths | None = None) -> SampleDetails:
    """Gather what the dialog shows of a sample.

    Parameters
    ----------
    study : OpenStudy
        The open study.
    opened : OpenSample
        The open sample. One of the other split than the page shows is shown among its own split.
    paths : SamplePaths, optional
        All samples through the layers, where the page has them; without them, the sample is read, and some of its list.
    """
    sample, selection = opened.sample, opened.selection
    indexed = cached_samples(study.path, study.stamp)
    row: dict[str, Any] = indexed.loc[sample].to_dict()  # type: ignore[assignment]
    if row["split"] != selection.split:
        selection = replace(selection, samples=str(row["split"]))
    chosen = (selection.pooling, selection.split, selection.among)
    if paths is None or not paths.is_of(selection):
        paths = known_sample_paths(study.path, study.stamp, *chosen)
    if paths is not None:
        arrays, depths = paths.arrays, paths.depths
    else:
        arrays = cached_paths_of(study.path, study.stamp, *chosen, opened.around)
        depths = arrays.depths(indexed["class_name"])
    samples = indexed.reset_index(drop=True)
    neighbors = neighbors_of(cached_neighbors(study.path, study.stamp, selection), samples, sample)
    path = nearest_path(arrays.of(sample), samples, sample)
    decision = _decision(depths, sample, len(path), arrays.num_voters)
    return SampleDetails(
        row, neighbors, path, decision, _suggestion(cached_to_check(study.path, study.stamp, *chosen), sample)
    )


def sample_id(study: OpenStudy, sample: int) -> str:
    """The id of a sample."""
    return str(cached_samples(study.path, study.stamp).loc[sample, "id"])


def _show_content(study: OpenStudy, page: str, paths: SamplePaths | None) -> None:
    """The content of the dialog; a press of a key runs this function alone, not the page."""
    opened = opened_sample(study, page)
    if opened is None:  # closed just before, maybe by this run, which drew nothing of the page
        st.rerun()
    details = sample_details(study, opened, paths)
    pictures = study_pictures(study.info)
    with st.container(key=DIALOG):
        with st.container(horizontal=True, vertical_alignment="center", gap="small"):
            _show_navigation(study, page, opened)
            show_mark_buttons(study, details.row)
        left, right = st.columns([4, 7], gap="medium")
        with left:
            _show_sample(study, details, pictures)
        with right:
            _show_neighbors(details, pictures, opened.selection.layer)
            _show_path(study, details, opened.selection.layer)


def _show_navigation(study: OpenStudy, page: str, opened: OpenSample) -> None:
    """Buttons to the previous and the next sample of the list, which the arrow keys press, too."""

    def move(steps: int) -> None:
        moved = opened.moved(steps)
        keep_open_sample(study, page, moved)
        update_view(page, {"sample": [sample_id(study, moved.sample)]})

    for label, shortcut, steps in (("Previous", "Left", -1), ("Next", "Right", 1)):
        st.button(
            label,
            shortcut=shortcut,
            key=f"{label} sample on {page}",
            on_click=guarded(partial(move, steps)),
            disabled=opened.moved(steps).index == opened.index,
        )
    st.caption(f"{opened.index + 1:,} of {len(opened.samples):,}", width="content")


def _show_sample(study: OpenStudy, details: SampleDetails, pictures: Pictures) -> None:
    row = details.row
    show_large_picture(pictures, row["source"], row["class_name"])
    st.markdown(f"Class **{plain(row['class_name'])}**, {row['split']}  \n:small[{plain(row['id'])}]")
    show_note(study, row)
    for text in filter(None, (details.decision, details.suggestion)):
        st.markdown(text)


def _show_neighbors(details: SampleDetails, pictures: Pictures, layer: str) -> None:
    """Its stored neighbors at the chosen layer and, if these are few, those that are nearest at most other layers."""
    neighbors = details.neighbors
    frequent = frequent_neighbors(details.path, set(neighbors["sample"]), MIN_NEIGHBORS - len(neighbors))
    if neighbors.empty:
        st.info(f"The study stores no neighbors of this sample at {one_layer(layer)}.")
    else:
        count = "nearest neighbor" if len(neighbors) == 1 else f"{len(neighbors)} nearest neighbors"
        further = ", and further ones that are its nearest at other layers" if len(frequent) else ""
        st.markdown(f"Its {count} at {one_layer(layer)}{further}:")
    with st.container(horizontal=True, gap="small"):
        for row in neighbors.to_dict("records"):
            _show_neighbor(row, pictures, f"{row['rank']}., {row['split']}, distance {row['distance']:.4g}")
        for row in frequent.to_dict("records"):
            _show_neighbor(row, pictures, f"nearest at {row['layers']} layers")


def _show_neighbor(row: Mapping[Any, Any], pictures: Pictures, text: str) -> None:
    with st.container(width=NEIGHBOR, gap="xsmall"):
        show_small_picture(pictures, row["source"], row["class_name"])
        agreement = agreement_text(bool(row["same_label"]), plain(row["class_name"]))
        name = short_id(row["id"]).rpartition(".")[0] or row["id"]  # without the suffix, which would not fit
        st.markdown(f":small[{agreement}  \n{plain(name)}  \n{text}]")


def _show_path(study: OpenStudy, details: SampleDetails, layer: str) -> None:
    """The nearest neighbor of the sample at every layer."""
    if details.path.empty:
        return
    class_name = str(details.row["class_name"])
    finding = path_finding(details.path, class_name)
    st.markdown(f"**Its nearest neighbor through the layers.** {finding}")
    with st.container(key=PATH):
        chart = path_chart(details.path, study.layers, class_name, layer)
        st.altair_chart(chart, width="stretch", alt=f"Class of the nearest neighbor at each layer. {finding}")
    st.caption(PATH_CAPTION)
    title = f"The nearest neighbor of {plain(details.row['id'])} through the layers"
    picture = picture_of(chart, study, title, PATH_CAPTION)
    save_menu(f"{Path(study.path).name}_path", lambda: details.path, picture, info=study.info)


def _decision(depths: pd.DataFrame, sample: int, num_layers: int, num_voters: int) -> str:
    if sample not in depths.index:
        return ""
    row = depths.loc[sample].to_dict()
    row["decided"] = row["layer"] if row["settled"] else ""
    return depth_text(row, num_layers, num_voters)


def _suggestion(to_check: pd.DataFrame, sample: int) -> str:
    rows = to_check[to_check["sample"] == sample]
    if rows.empty:
        return ""
    row = rows.iloc[0]
    return f"At the late layers its neighbors say **{plain(row['suggested'])}**, with a score of {row['score']:.2f}."


def show_large_picture(pictures: Pictures, source: str, class_name: str) -> None:
    """Show a sample's picture as large as the dialog has room for, if there is one."""
    picture = cached_large_picture(pictures, source) if pictures else None
    if picture is not None:
        st.image(picture, width=LARGE, alt=f"{class_name}: {source}")


def show_small_picture(pictures: Pictures, source: str, class_name: str) -> None:
    """Show a neighbor's picture, if there is one."""
    picture = cached_large_picture(pictures, source, 2 * NEIGHBOR) if pictures else None
    if picture is not None:
        st.image(picture, width=NEIGHBOR, alt=f"{class_name}: {source}")


@st.cache_data(max_entries=400, show_spinner=False)
def cached_large_picture(pictures: Pictures, source: str, pixels: int = LARGE_PIXELS) -> bytes | None:
    """A sample's picture, at most so many pixels wide and high."""
    return pictures.encoded(source, pixels)
