"""The page Samples: single samples beside their nearest neighbors, and through the network."""

from collections.abc import Sequence
from typing import Any

import pandas as pd
import streamlit as st

from core.analysis.samples.selection import LayerSelection
from core.data.sampling import counted
from core.report.words.formatting import one_layer
from explorer.app_pages.samples.data_quality import show_data_quality
from explorer.app_pages.samples.gallery_view import Gallery, gallery_query, show_gallery, show_marks
from explorer.app_pages.samples.map_view import MapSource, lassoed_samples, show_lasso_filter, show_map
from explorer.controls.layer_controls import layer_controls
from explorer.controls.page_header import show_notes, show_provenance
from explorer.controls.page_style import PAIRED
from explorer.controls.phone_order import chart_first, controls_after_chart
from explorer.controls.sample_cards import PAGE, offer_pictures, show_selected
from explorer.controls.samples.dialog import show_open_sample
from explorer.controls.samples.marking import mark_column, study_marks
from explorer.controls.samples.open_sample import open_button, restore_sample, selected_key
from explorer.controls.sections import TAB, mark_section, show_sections, show_tabs
from explorer.controls.study_picker import open_chosen_study
from explorer.controls.terms import show_terms
from explorer.controls.widgets import widget_key
from explorer.server.page_errors import guarded
from explorer.state.address import current_layer, current_view, keep_view
from explorer.studies.class_tables import cached_layers_with_neighbors, layer_query
from explorer.studies.gallery import (
    FILTERS,
    MARK_FILTERS,
    SORTS,
    Filter,
    filter_from_query,
    filter_marks,
    filter_query,
    filter_samples,
    neighbors_of,
    sample_from_query,
    samples_at,
    samples_finding,
)
from explorer.studies.loading import OpenStudy
from explorer.studies.pictures import study_pictures
from explorer.studies.sample_paths import SamplePaths, cached_neighbors, cached_sample_paths

KINDS = {"test": "test samples", "train": "training samples", "cross": "test samples (among the training samples)"}
SECTIONS = {"map": "Map", "selected": "Selected", "lists": "Gallery and data quality"}
GALLERY, QUALITY = "gallery", "data-quality"
TABS = {GALLERY: "Gallery", QUALITY: "Data quality"}
EITHER_HELP = "Also samples of the second class whose nearest neighbor is of the first."
SORT_HELP = (
    "Decided late or early: by prediction depth, the layer from which on the vote of a sample's stored neighbors no "
    "longer changes. Samples that are decided late are hard to classify."
)


def render() -> None:
    """Draw the page: map, selected sample, in tabs the gallery and data quality, and the marked samples."""
    study = open_chosen_study()
    if study is None:
        return
    if study.curves.empty:
        st.info("This study has no samples to show yet. Come back when its first layer is done.")
        return
    head, menu = st.container(), st.empty()
    query, is_new_view = current_view(PAGE), widget_key(PAGE, "layer", study) not in st.session_state
    with chart_first(PAGE):
        with controls_after_chart(PAGE):
            controls = st.container()
        chart = st.container()
    filters = st.container()  # below the map, which a window shows more of then
    with controls:
        selection = layer_controls(study, PAGE, query, needs_neighbors=True)
    sample_paths = cached_sample_paths(study.path, study.stamp, selection.pooling, selection.split, selection.among)
    table = _table(sample_paths, selection.layer)
    with head:
        st.title("Samples", anchor=False)
        stored = sample_paths.arrays.layers
        if len(table):
            with_neighbors = f"the {counted(len(stored), 'layer')} whose neighbors are stored"
            layers = with_neighbors if len(stored) < len(study.layers) else "all layers"
            st.markdown(samples_finding(table, selection.layer, KINDS[selection.samples], layers))
        if text := instead_text(study.layers, current_layer(), selection.layer, stored):
            st.caption(text)
        show_notes(study)
        show_terms("SI", "nearest neighbor", "confusion", "prediction depth", "layer", "pooling")
    if table.empty:
        st.info(no_neighbors_text(study, selection))
        return
    pictures = study_pictures(study.info)
    offer_pictures(pictures)
    if is_new_view:  # the address is new, or the page was opened again
        st.session_state[selected_key(study)] = sample_from_query(query, table)
    with filters:
        chosen = filter_controls(study, filter_from_query(query, sorted(table["class_name"].unique())), table)
    kept = study_marks(study)
    with menu:
        show_sections(SECTIONS | ({"marked": "Marked"} if kept.marks else {}))
    table = table.assign(mark=mark_column(kept, table["id"]))
    filtered = filter_samples(table, chosen, selection.layer, lassoed_samples(study))
    filtered = filter_marks(filtered, chosen.mark)
    gallery = Gallery(filtered, len(table), chosen, selection)
    selected = selected_sample(study, table, filtered)
    restore_sample(study, PAGE, query, filtered["sample"], gallery.title, selection)
    neighbors = neighbors_of(cached_neighbors(study.path, study.stamp, selection), sample_paths.samples, selected)
    with chart:
        show_map(MapSource(study, selection, sample_paths, pictures), table, filtered, neighbors, selected)
    show_selected(table, neighbors, pictures, selected, selection)
    with st.container(width=200):  # pixels, of the button, which is as wide as what holds it
        open_button(study, PAGE, selected, filtered["sample"], gallery.title, selection, name="selected")
    mark_section("lists")
    opened, place = show_tabs(TABS, query, first=GALLERY, key=widget_key(PAGE, TAB, study))
    with place:
        if opened == GALLERY:
            show_gallery(study, gallery, pictures, query)
        else:
            show_data_quality(study, sample_paths, selection, pictures, kept)
    show_marks(study, kept)
    sample_query = {"sample": [str(table.loc[table["sample"] == selected, "id"].iloc[0])]}
    view = layer_query(selection, study.curves) | filter_query(chosen) | gallery_query(study) | sample_query
    keep_view(PAGE, view | {TAB: [] if opened == GALLERY else [opened]})
    show_provenance(study)
    show_open_sample(study, PAGE, sample_paths)


def instead_text(layers: pd.DataFrame, asked: str | None, shown: str, stored: Sequence[str]) -> str:
    """That a layer which another page or a link has chosen cannot be shown here, as Markdown; "" where it can.

    Parameters
    ----------
    layers : DataFrame
        Of `OpenStudy`.
    asked, shown : str
        The layer that all pages share, if any, and the one that is shown.
    stored : sequence of str
        The layers whose neighbors are stored.
    """
    if asked is None or asked == shown or asked in stored or asked not in set(layers["layer"]):
        return ""
    return (
        f"The study stores no neighbors of {one_layer(asked)}. This is {one_layer(shown)}, the best of the layers that "
        "have them."
    )


def no_neighbors_text(study: OpenStudy, selection: LayerSelection) -> str:
    """Why the page has nothing to show, and what to do."""
    if not cached_layers_with_neighbors(study.path, study.stamp):
        return (
            "The study stores no neighbors, so its samples cannot be shown. Run it again with "
            "`--neighbors 10 --neighbor-layers all`."
        )
    kind = KINDS[selection.samples]
    return f"The study stores no neighbors of {kind} here. Choose other samples or another pooling above."


def filter_controls(study: OpenStudy, start: Filter, table: pd.DataFrame) -> Filter:
    """Show the widgets that choose which samples the map and the gallery show.

    Parameters
    ----------
    study : OpenStudy
        The open study.
    start : Filter
        The filter in the address.
    table : DataFrame
        Of `samples_at`.
    """
    classes = ["", *sorted(table["class_name"].unique())]
    names = ("shown", "class_name", "taken", "either", "sort", "mark")
    keys = {name: widget_key(PAGE, name, study) for name in names}
    for name, key in keys.items():
        st.session_state.setdefault(key, getattr(start, name))
    with st.container(key=f"{PAIRED}_filters", horizontal=True, vertical_alignment="bottom", gap="medium"):
        classes_of: dict[str, Any] = {
            "format_func": lambda name: name or "All",
            "filter_mode": "contains",
            "width": 200,
        }
        shown = st.selectbox("Show", list(FILTERS), format_func=FILTERS.__getitem__, key=keys["shown"], width=200)
        class_name = st.selectbox("Class", classes, key=keys["class_name"], **classes_of)
        taken = st.selectbox("Neighbor's class", classes, key=keys["taken"], **classes_of)
        no_pair = not (class_name and taken)
        either = st.checkbox("Both directions", key=keys["either"], help=EITHER_HELP, disabled=no_pair)
        sort = st.selectbox(
            "Show first", list(SORTS), format_func=SORTS.__getitem__, key=keys["sort"], width=200, help=SORT_HELP
        )
        mark = st.selectbox(
            "Marks", list(MARK_FILTERS), format_func=MARK_FILTERS.__getitem__, key=keys["mark"], width=140
        )
        show_lasso_filter(study)
    return Filter(str(shown), str(class_name), str(taken), either, str(sort), str(mark))


def selected_sample(study: OpenStudy, table: pd.DataFrame, filtered: pd.DataFrame) -> int:
    """The sample that the user selected, if it is a query of this layer; else the first one that passes the filter."""
    chosen = st.session_state.get(selected_key(study))
    if chosen is None or not (table["sample"] == chosen).any():
        chosen = (filtered if len(filtered) else table)["sample"].iloc[0]
    return int(chosen)


def _table(sample_paths: SamplePaths, layer: str) -> pd.DataFrame:
    """The query samples of a layer; see `samples_at`."""
    if not sample_paths.arrays.layers:
        return pd.DataFrame()
    rows = sample_paths.arrays.at(layer)
    return samples_at(rows, sample_paths.summaries, sample_paths.samples, sample_paths.depths)


guarded(render)()
