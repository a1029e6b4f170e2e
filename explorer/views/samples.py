"""The samples behind a number: each beside its nearest neighbors, and followed through the network."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd
import streamlit as st

from core.study.journeys import agreement, fates, label_errors, nearest_by_layer
from core.study.neighborhoods import duplicates, stored_neighbors
from core.study.results import StudyError
from explorer.address import asked_view, keep_view
from explorer.class_tables import Place, pages, place_query, stored_pooling
from explorer.components import save_svg_button
from explorer.data import OpenStudy, study_stamp
from explorer.frame import show_notes, show_provenance
from explorer.gallery import (
    EXPLAINED,
    FILTERS,
    PAGE_SIZE,
    Filter,
    agreement_text,
    asked_filter,
    asked_sample,
    filter_query,
    keep_shown,
    neighbors_of,
    path_finding,
    path_of,
    samples_at,
    samples_finding,
)
from explorer.images import Pictures, is_public, study_pictures
from explorer.picker import open_chosen_study
from explorer.place_controls import cached_tables, place_controls, widget_key
from explorer.provenance import plain
from explorer.sample_charts import PICKED, drawn_dots, path_chart, plane_chart

PAGE = "samples"
PLANE, PATH = "samples_plane", "samples_path"
COLUMNS = 6  # cards beside each other
OF = {"test": "test samples", "train": "training samples", "cross": "test samples (among the training samples)"}
NEAR = {0.0: "Exact", 0.1: "Near"}
NO_PLANE = (
    "This study has no projection of this layer: it was made with `--projection none`, before there was one, or from "
    "activations with space. It is computed with the activations; run the study again in a new folder to have it."
)
PLANE_CAPTION = (
    "Two principal components of the layer's channel means (or UMAP, where the study asked for it): a map to find samples "
    "by, in which what is near need not be. A click on a dot selects its sample: ◇ selected, □ its neighbors, faint: "
    "left out by the filter."
)
CONFIG: Mapping[str, Any] = {
    "id": st.column_config.TextColumn("Sample", pinned=True),
    "split": st.column_config.TextColumn("Split"),
    "class_name": st.column_config.TextColumn("Label"),
    "suggested": st.column_config.TextColumn("Neighbors say"),
    "score": st.column_config.ProgressColumn("Share of late layers", format="percent", min_value=0, max_value=1),
    "distance": st.column_config.NumberColumn("Distance", format="%.3g"),
    "agrees": st.column_config.CheckboxColumn("Same class"),
    "layer": st.column_config.TextColumn("Layer", pinned=True),
    "nearest_id": st.column_config.TextColumn("Nearest neighbor"),
    "nearest_class": st.column_config.TextColumn("Its class"),
    "same_class": st.column_config.CheckboxColumn("Same class"),
    "across": st.column_config.CheckboxColumn("Train and test"),
}


class Journeys:
    """A study's samples at every layer, for one pooling and comparison; computed once."""

    def __init__(self, path: str, stamp: tuple[int, ...], pooling: str, split: str, among: str) -> None:
        self.study = cached_tables(path, stamp)
        self.samples = self.study.samples.astype({"split": str, "class_name": str})
        self.nearest = nearest_by_layer(self.study, pooling, split, among=among)
        self.fates = fates(agreement(self.nearest)) if len(self.nearest) else pd.DataFrame()
        self.errors = label_errors(self.nearest, self.samples)
        self.nearest = self.nearest.astype({"layer": "category"})


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
    place = place_controls(study, PAGE, query)
    journeys = cached_journeys(study.path, study_stamp(Path(study.path)), place.pooling, place.split, place.among)
    table = _table(journeys, place.layer)
    with head:
        st.title("Samples", anchor=False)
        if len(table):
            st.markdown(samples_finding(table, place.layer, OF[place.samples]))
        show_notes(study)
    if table.empty:
        st.info(f"The study stores no neighbors of {place.layer}. Choose another layer, or other samples, above.")
        return
    pictures = study_pictures(study.info)
    _offer_pictures(study, pictures)
    if fresh:  # a new address, or the page is opened again
        st.session_state[_selected_key(study)] = asked_sample(query, table)
    chosen = filter_controls(study, asked_filter(query, sorted(table["class_name"].unique())), table)
    shown = keep_shown(table, chosen, place.layer)
    selected = selected_sample(study, table, shown)
    neighbors = neighbors_of(
        cached_neighbors(study.path, study_stamp(Path(study.path)), place), journeys.samples, selected
    )
    left, right = st.columns([5, 6], gap="large")
    with left:
        show_plane(study, journeys, table, shown, neighbors, selected, place)
    with right:
        show_selected(study, table, neighbors, pictures, selected, place)
    show_path(study, journeys, selected, place)
    page = show_gallery(study, shown, pictures, chosen, len(table), query)
    show_second_look(study, journeys, place)
    named = table.loc[table["sample"] == selected, "id"].iloc[0]
    keep_view(PAGE, place_query(place, study.curves) | filter_query(chosen) | page | {"sample": [str(named)]})
    show_provenance(study)


def filter_controls(study: OpenStudy, start: Filter, table: pd.DataFrame) -> Filter:
    """Which samples are shown, on the plane and in the gallery."""
    classes = ["", *sorted(table["class_name"].unique())]
    keys = {name: widget_key(PAGE, name, study) for name in ("shown", "class_name", "taken")}
    for name, key in keys.items():
        st.session_state.setdefault(key, getattr(start, name))
    with st.container(horizontal=True, vertical_alignment="bottom", gap="medium"):
        names: dict[str, Any] = {"format_func": lambda name: name or "All", "filter_mode": "contains", "width": 200}
        shown = st.selectbox("Show", list(FILTERS), format_func=FILTERS.__getitem__, key=keys["shown"], width=200)
        class_name = st.selectbox("Class", classes, key=keys["class_name"], **names)
        taken = st.selectbox("Neighbor's class", classes, key=keys["taken"], **names)
    return Filter(str(shown), str(class_name), str(taken))


def selected_sample(study: OpenStudy, table: pd.DataFrame, shown: pd.DataFrame) -> int:
    """The sample that was chosen, if it was asked at this layer; else the first that is shown."""
    chosen = st.session_state.get(_selected_key(study))
    if chosen is None or not (table["sample"] == chosen).any():
        chosen = int((shown if len(shown) else table)["sample"].iloc[0])
    return int(chosen)


def show_plane(
    study: OpenStudy,
    journeys: Journeys,
    table: pd.DataFrame,
    shown: pd.DataFrame,
    neighbors: pd.DataFrame,
    selected: int,
    place: Place,
) -> None:
    """The samples on the plane; a click selects one."""
    st.subheader("The samples on a plane", anchor=False)
    places = cached_places(study.path, study_stamp(Path(study.path)), place.layer)
    if places.empty:
        st.info(NO_PLANE, icon=":material/scatter_plot:")
        return
    dots = _dots(places, journeys, table, shown, neighbors, selected)
    drawn = drawn_dots(dots, {selected, *neighbors["sample"]})
    key = widget_key(PAGE, "plane", study)

    def select() -> None:
        picked = st.session_state[key].selection.get(PICKED)
        if picked:
            st.session_state[_selected_key(study)] = int(picked[0]["sample"])

    with st.container(key=PLANE):
        name = table.loc[table["sample"] == selected, "id"].iloc[0]
        alt = f"{len(drawn):,} samples at {place.layer} on a plane. Selected: {name}. The gallery below lists the samples."
        st.altair_chart(plane_chart(drawn), width="stretch", alt=alt, on_select=select, selection_mode=PICKED, key=key)
    some = f" {len(drawn):,} of {len(dots):,} samples are drawn." if len(drawn) < len(dots) else ""
    st.caption(PLANE_CAPTION + some)
    save_svg_button("Chart as SVG", container=PLANE, file_name=f"{Path(study.path).name}_plane.svg")


def show_selected(
    study: OpenStudy,
    table: pd.DataFrame,
    neighbors: pd.DataFrame,
    pictures: Pictures,
    selected: int,
    place: Place,
) -> None:
    """The selected sample beside its stored neighbors."""
    row = table[table["sample"] == selected].iloc[0]
    st.subheader(f"{plain(row['id'])}", anchor=False)
    st.markdown(f"Class **{plain(row['class_name'])}**. Its {len(neighbors)} nearest at `{place.layer}`, as stored:")
    with st.container(horizontal=True, gap="small"):
        with st.container(border=True, width=190):
            _picture(study, pictures, row["source"], row["class_name"], 150)
            st.markdown(f"**{plain(row['class_name'])}**  \n{plain(row['id'])}  \nselected")
        for neighbor in neighbors.to_dict("records"):
            with st.container(border=True, width=190):
                _picture(study, pictures, neighbor["source"], neighbor["class_name"], 150)
                said = agreement_text(bool(neighbor["agrees"]), plain(neighbor["class_name"]))
                st.markdown(
                    f"**{neighbor['rank']}. {plain(neighbor['class_name'])}**  \n{plain(neighbor['id'])} "
                    f"({neighbor['split']})  \n{said}  \ndistance {neighbor['distance']:.4g}"
                )


def show_path(study: OpenStudy, journeys: Journeys, selected: int, place: Place) -> None:
    """Who is nearest to the selected sample at every layer."""
    st.subheader("Its nearest neighbor through the layers", anchor=False)
    path = path_of(journeys.nearest, journeys.samples, selected)
    path = path.assign(layer=path["layer"].astype(str))
    own = journeys.samples.set_index("sample")["class_name"][selected]
    said = path_finding(path, own)
    st.markdown(said)
    with st.container(key=PATH):
        chart = path_chart(path, study.layers, own, place.layer)
        st.altair_chart(chart, width="stretch", alt=f"Class of the nearest neighbor at each layer. {said}")
    st.caption("● the sample's class, ✚ another class; dotted: the chosen layer. The rows are the neighbors' classes.")
    with st.container(horizontal=True, vertical_alignment="center"):
        save_svg_button("Chart as SVG", container=PATH, file_name=f"{Path(study.path).name}_path.svg")
        _csv(path, f"{Path(study.path).name}_path.csv", "Path as CSV", "path_csv")
    with st.expander("The path as a table"):
        st.dataframe(path.drop(columns="nearest"), hide_index=True, column_config=CONFIG)


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
        _csv(shown.drop(columns="source"), f"{Path(study.path).name}_samples.csv", "Samples as CSV", "samples_csv")
        st.caption(f"{EXPLAINED[chosen.shown]} First those that most layers disagree about.".strip(), width="content")
    rows = shown.iloc[parts.index(part) * PAGE_SIZE :][:PAGE_SIZE]
    with st.container(horizontal=True, gap="small", key="gallery"):
        for row in rows.to_dict("records"):
            with st.container(border=True, width=178):
                show_card(study, row, pictures)
    return {"page": [part]} if part != parts[0] else {}


def show_card(study: OpenStudy, row: Mapping[Any, Any], pictures: Pictures) -> None:
    """A sample, whom it is nearest to, and a button to look closer."""
    _picture(study, pictures, row["source"], row["class_name"], 140)
    said = agreement_text(bool(row["agrees"]), plain(row["nearest_class"]))
    st.markdown(
        f"**{plain(row['class_name'])}**  \n{plain(row['id'])}  \n{said}  \nto {plain(row['nearest_id'])}, "
        f"{row['distance']:.3g}  \nagrees at {row['share']:.0%} of layers"
    )

    def select() -> None:
        st.session_state[_selected_key(study)] = int(row["sample"])

    st.button("Look closer", key=f"look {row['sample']} of {study.path}", on_click=select, width="stretch")


def show_second_look(study: OpenStudy, journeys: Journeys, place: Place) -> None:
    """Likely label errors and duplicates, ranked, to take away."""
    st.header("Worth a second look", anchor=False)
    errors, copies = st.tabs(["Likely label errors", "Duplicates"])
    with errors:
        show_errors(study, journeys)
    with copies:
        show_duplicates(study, journeys, place)


def show_errors(study: OpenStudy, journeys: Journeys) -> None:
    found = journeys.errors
    if found.empty:
        st.info("No sample's neighbors agree on another class at half of the late layers or more.")
        return
    layers = int(found["layers"].iloc[0])
    st.markdown(
        f"**{len(found):,}** of {len(journeys.fates):,} samples: at half or more of the last {layers} layers the nearest "
        "neighbor is of one and the same *other* class. A reason to look, not an error: where the network does not "
        "separate the classes, most are none. A click on a row selects the sample."
    )
    key = widget_key(PAGE, "errors", study)

    def select() -> None:
        rows = st.session_state[key].selection.rows
        if rows:
            st.session_state[_selected_key(study)] = int(found["sample"].iloc[rows[0]])

    st.dataframe(
        found.drop(columns=["sample", "layers"]),
        hide_index=True,
        column_config={**CONFIG, "distance": st.column_config.NumberColumn("Distance / median", format="%.2f")},
        on_select=select,
        selection_mode="single-row",
        key=key,
        alt="Likely label errors, the most suspicious first",
    )
    _csv(found, f"{Path(study.path).name}_label_errors.csv", "Label errors as CSV", "errors_csv")


def show_duplicates(study: OpenStudy, journeys: Journeys, place: Place) -> None:
    key = widget_key(PAGE, "within", study)
    within = st.segmented_control(
        "Duplicates",
        list(NEAR),
        format_func=NEAR.__getitem__,
        default=0.0,
        required=True,
        key=key,
        help="Near: within a tenth of the median distance to the nearest neighbor.",
    )
    found = cached_duplicates(study.path, study_stamp(Path(study.path)), place, float(within or 0.0))
    if found.empty:
        st.info(f"No two samples coincide at {place.layer}, among the stored neighbors.")
        return
    across = int(found["across"].sum())
    st.markdown(
        f"**{len(found):,}** pairs that `{place.layer}` cannot tell apart{' or hardly' if within else ''}; **{across:,}** "
        "of a training and a test sample, which make a test too easy. Activations coincide; the images may differ."
    )
    st.dataframe(found, hide_index=True, column_config=CONFIG)
    _csv(found, f"{Path(study.path).name}_duplicates.csv", "Duplicates as CSV", "duplicates_csv")


def _table(journeys: Journeys, layer: str) -> pd.DataFrame:
    if journeys.nearest.empty:
        return pd.DataFrame()
    return samples_at(journeys.nearest, journeys.fates, journeys.samples, layer)


def _dots(
    places: pd.DataFrame,
    journeys: Journeys,
    table: pd.DataFrame,
    shown: pd.DataFrame,
    neighbors: pd.DataFrame,
    selected: int,
) -> pd.DataFrame:
    """A dot a sample that was asked, and its neighbors from another split."""
    rows = places.merge(table[["sample", "id", "class_name", "nearest_class", "agrees"]], on="sample")
    others = neighbors[~neighbors["sample"].isin(rows["sample"])]
    if len(others):
        added = places.merge(others[["sample", "id", "class_name"]], on="sample")
        rows = pd.concat([rows, added.assign(nearest_class="", agrees=True)], ignore_index=True)
    marked = rows["sample"].map({**dict.fromkeys(neighbors["sample"], "neighbor"), selected: "selected"}).fillna("")
    return rows.assign(shown=rows["sample"].isin(shown["sample"]), marked=marked)


def _picture(study: OpenStudy, pictures: Pictures, source: str, class_name: str, width: int) -> None:
    picture = cached_picture(pictures, source) if pictures else None
    if picture is not None:
        st.image(picture, width=width, alt=f"{class_name}: {source}")


def _offer_pictures(study: OpenStudy, pictures: Pictures) -> None:
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


def _selected_key(study: OpenStudy) -> str:
    return f"selected sample of {study.path}"


def _csv(table: pd.DataFrame, name: str, label: str, key: str) -> None:
    st.download_button(label, table.to_csv(index=False).encode(), name, "text/csv", on_click="ignore", key=key)


@st.cache_resource(max_entries=4, show_spinner="Following the samples through the layers")
def cached_journeys(path: str, stamp: tuple[int, ...], pooling: str, split: str, among: str) -> Journeys:
    return Journeys(path, stamp, pooling, split, among)


@st.cache_resource(max_entries=16, show_spinner=False)
def cached_neighbors(path: str, stamp: tuple[int, ...], place: Place) -> pd.DataFrame:
    study = cached_tables(path, stamp)
    try:
        return stored_neighbors(study, place.layer, stored_pooling(study.layers, place), place.split, among=place.among)
    except StudyError:  # it stores none of this layer
        return study.neighbors.head(0)


@st.cache_resource(max_entries=16, show_spinner=False)
def cached_places(path: str, stamp: tuple[int, ...], layer: str) -> pd.DataFrame:
    return cached_tables(path, stamp).table("projection", ["sample", "x", "y"], where={"layer": layer})


@st.cache_data(max_entries=16, show_spinner=False)
def cached_duplicates(path: str, stamp: tuple[int, ...], place: Place, within: float) -> pd.DataFrame:
    study = cached_tables(path, stamp)
    found = duplicates(study, place.layer, stored_pooling(study.layers, place), within=within)
    ids = study.samples.set_index("sample")["id"]
    named = found.assign(first=found["first"].map(ids), second=found["second"].map(ids))
    named = named.assign(across=named["first_split"] != named["second_split"])
    return named.sort_values(["across", "distance"], ascending=[False, True], ignore_index=True)


@st.cache_data(max_entries=400, show_spinner=False)
def cached_picture(pictures: Pictures, source: str) -> bytes | None:
    return pictures.png(source)


render()
