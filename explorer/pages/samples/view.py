"""The samples behind a number: each beside its nearest neighbors, and followed through the network."""

from pathlib import Path
from typing import Any

import pandas as pd
import streamlit as st

from explorer.controls.downloads import export_row
from explorer.controls.layer_controls import layer_controls
from explorer.controls.page_header import show_notes, show_provenance
from explorer.controls.sample_cards import PAGE, offer_pictures, selected_key, show_gallery, show_selected
from explorer.controls.study_picker import open_chosen_study
from explorer.controls.widgets import open_expander, selected_point, widget_key
from explorer.pages.samples.charts import OTHER, PICKED, REFERENCE, SAME, drawn_dots, path_chart, plane_chart
from explorer.pages.samples.data_quality import CONFIG, show_data_quality
from explorer.server.page_errors import guarded
from explorer.state.address import asked_view, keep_view
from explorer.studies.class_tables import LayerSelection, layer_query
from explorer.studies.gallery import (
    FILTERS,
    SORTS,
    Filter,
    depth_text,
    filter_from_query,
    filter_query,
    filter_samples,
    neighbors_of,
    path_finding,
    path_of,
    sample_from_query,
    samples_at,
    samples_finding,
)
from explorer.studies.loading import OpenStudy
from explorer.studies.pictures import study_pictures
from explorer.studies.sample_paths import SamplePaths, cached_neighbors, cached_projection, cached_sample_paths

PLANE, PATH = "samples_plane", "samples_path"
OF = {"test": "test samples", "train": "training samples", "cross": "test samples (among the training samples)"}
NO_PLANE = (
    "This study has no projection of this layer: it was made with `--projection none`, before there was one, or from "
    "activations with space. It is computed with the activations; run the study again in a new folder to have it."
)
EITHER = "Also samples of the second class whose nearest neighbor is of the first: all that confuse the two."
DEPTH_HELP = (
    "Decided late: by prediction depth, the layer from which on the vote of a sample's stored neighbors no longer "
    "changes. What is decided late is hard to tell, and worth a look."
)
PLANE_CAPTION = (
    "Two principal components of the layer's channel means (or UMAP, where the study asked for it): a map to find "
    "samples by, in which what is near need not be. A click on a dot selects its sample: ◇ selected, □ its neighbors, "
    "faint: left out by the filter."
)


def render() -> None:
    """The plane, the selected sample, the gallery, and what deserves a second look."""
    study = open_chosen_study()
    if study is None:
        return
    if study.curves.empty:
        st.info("This study has no samples to show yet. Come back when its first layer is done.")
        return
    head = st.container()
    query, fresh = asked_view(PAGE), widget_key(PAGE, "layer", study) not in st.session_state
    selection = layer_controls(study, PAGE, query)
    sample_paths = cached_sample_paths(study.path, study.stamp, selection.pooling, selection.split, selection.among)
    table = _table(sample_paths, selection.layer)
    with head:
        st.title("Samples", anchor=False)
        if len(table):
            st.markdown(samples_finding(table, selection.layer, OF[selection.samples]))
        show_notes(study)
    if table.empty:
        st.info(f"The study stores no neighbors of {selection.layer}. Choose another layer, or other samples, above.")
        return
    pictures = study_pictures(study.info)
    offer_pictures(pictures)
    if fresh:  # a new address, or the page is opened again
        st.session_state[selected_key(study)] = sample_from_query(query, table)
    chosen = filter_controls(study, filter_from_query(query, sorted(table["class_name"].unique())), table)
    shown = filter_samples(table, chosen, selection.layer)
    selected = selected_sample(study, table, shown)
    neighbors = neighbors_of(cached_neighbors(study.path, study.stamp, selection), sample_paths.samples, selected)
    left, right = st.columns([5, 6], gap="large")
    with left:
        show_plane(study, sample_paths, table, shown, neighbors, selected, selection)
    with right:
        show_selected(table, neighbors, pictures, selected, selection)
    show_path(study, sample_paths, table, selected, selection)
    page = show_gallery(study, shown, pictures, chosen, len(table), query)
    show_data_quality(study, sample_paths, selection, pictures)
    named = table.loc[table["sample"] == selected, "id"].iloc[0]
    keep_view(PAGE, layer_query(selection, study.curves) | filter_query(chosen) | page | {"sample": [str(named)]})
    show_provenance(study)


def filter_controls(study: OpenStudy, start: Filter, table: pd.DataFrame) -> Filter:
    """Which samples are shown, on the plane and in the gallery."""
    classes = ["", *sorted(table["class_name"].unique())]
    keys = {name: widget_key(PAGE, name, study) for name in ("shown", "class_name", "taken", "either", "sort")}
    for name, key in keys.items():
        st.session_state.setdefault(key, getattr(start, name))
    with st.container(horizontal=True, vertical_alignment="bottom", gap="medium"):
        names: dict[str, Any] = {"format_func": lambda name: name or "All", "filter_mode": "contains", "width": 200}
        shown = st.selectbox("Show", list(FILTERS), format_func=FILTERS.__getitem__, key=keys["shown"], width=200)
        class_name = st.selectbox("Class", classes, key=keys["class_name"], **names)
        taken = st.selectbox("Neighbor's class", classes, key=keys["taken"], **names)
        either = st.checkbox("Either way round", key=keys["either"], help=EITHER, disabled=not (class_name and taken))
        sort = st.selectbox(
            "Show first", list(SORTS), format_func=SORTS.__getitem__, key=keys["sort"], width=200, help=DEPTH_HELP
        )
    return Filter(str(shown), str(class_name), str(taken), either, str(sort))


def selected_sample(study: OpenStudy, table: pd.DataFrame, shown: pd.DataFrame) -> int:
    """The sample that was chosen, if it was asked at this layer; else the first that is shown."""
    chosen = st.session_state.get(selected_key(study))
    if chosen is None or not (table["sample"] == chosen).any():
        chosen = int((shown if len(shown) else table)["sample"].iloc[0])
    return int(chosen)


def show_plane(
    study: OpenStudy,
    sample_paths: SamplePaths,
    table: pd.DataFrame,
    shown: pd.DataFrame,
    neighbors: pd.DataFrame,
    selected: int,
    selection: LayerSelection,
) -> None:
    """The samples on the plane; a click selects one."""
    st.subheader("The samples on a plane", anchor=False)
    places = cached_projection(study.path, study.stamp, selection.layer)
    if places.empty:
        st.info(NO_PLANE, icon=":material/scatter_plot:")
        return
    dots = _dots(places, sample_paths, table, shown, neighbors, selected)
    drawn = drawn_dots(dots, {selected, *neighbors["sample"]})
    key = widget_key(PAGE, "plane", study)

    def select() -> None:
        picked = selected_point(st.session_state[key], PICKED, "sample")
        if picked and isinstance(picked["sample"], int):
            st.session_state[selected_key(study)] = picked["sample"]

    with st.container(key=PLANE):
        name = table.loc[table["sample"] == selected, "id"].iloc[0]
        alt = (
            f"{len(drawn):,} samples at {selection.layer} on a plane. Selected: {name}. The gallery lists the samples."
        )
        st.altair_chart(
            plane_chart(drawn), width="stretch", alt=alt, on_select=guarded(select), selection_mode=PICKED, key=key
        )
    some = f" {len(drawn):,} of {len(dots):,} samples are drawn." if len(drawn) < len(dots) else ""
    st.caption(PLANE_CAPTION + some)
    export_row(PLANE, lambda: dots, f"{Path(study.path).name}_plane", study.info)


def show_path(
    study: OpenStudy, sample_paths: SamplePaths, table: pd.DataFrame, selected: int, selection: LayerSelection
) -> None:
    """Who is nearest to the selected sample at every layer."""
    st.subheader("Its nearest neighbor through the layers", anchor=False)
    path = path_of(sample_paths.nearest, sample_paths.samples, selected)
    path = path.assign(layer=path["layer"].astype(str))
    own = sample_paths.samples.set_index("sample")["class_name"][selected]
    said = path_finding(path, own)
    row = table[table["sample"] == selected].iloc[0].to_dict()
    st.markdown(f"{said}  \n{depth_text(row, path['layer'].nunique(), sample_paths.voters)}")
    with st.container(key=PATH):
        chart = path_chart(path, study.layers, own, selection.layer)
        st.altair_chart(chart, width="stretch", alt=f"Class of the nearest neighbor at each layer. {said}")
    st.caption("● the sample's class, ✚ another class; dotted: the chosen layer. The rows are the neighbors' classes.")
    export_row(PATH, lambda: path, f"{Path(study.path).name}_path", study.info)
    if table_of_path := open_expander("The path as a table", widget_key(PAGE, "path", study)):
        with table_of_path:
            st.dataframe(path.drop(columns="nearest"), hide_index=True, column_config=CONFIG)


def _table(sample_paths: SamplePaths, layer: str) -> pd.DataFrame:
    if sample_paths.nearest.empty:
        return pd.DataFrame()
    return samples_at(sample_paths.nearest, sample_paths.fates, sample_paths.samples, layer, sample_paths.depths)


def _dots(
    places: pd.DataFrame,
    sample_paths: SamplePaths,
    table: pd.DataFrame,
    shown: pd.DataFrame,
    neighbors: pd.DataFrame,
    selected: int,
) -> pd.DataFrame:
    """A dot a sample that was asked, and its neighbors from another split."""
    asked = table[["sample", "id", "class_name", "nearest_class"]]
    rows = places.merge(asked.assign(says=table["agrees"].map({True: SAME, False: OTHER})), on="sample")
    others = neighbors[~neighbors["sample"].isin(rows["sample"])]
    if len(others):
        added = places.merge(others[["sample", "id", "class_name"]], on="sample")
        rows = pd.concat([rows, added.assign(nearest_class="–", says=REFERENCE)], ignore_index=True)
    marked = rows["sample"].map({**dict.fromkeys(neighbors["sample"], "neighbor"), selected: "selected"}).fillna("")
    return rows.assign(shown=rows["sample"].isin(shown["sample"]), marked=marked)


guarded(render)()
