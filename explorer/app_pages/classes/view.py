"""The page Classes: SI of each class by layer, and the classes that are confused."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import pandas as pd
import streamlit as st

from core.analysis.samples.class_values import class_names, class_values, ranked_classes
from core.analysis.samples.selection import LayerSelection
from core.analysis.samples.tables import named_pairs
from core.report.words.formatting import SAMPLES, plain
from core.study.store.opening import StudyError
from core.study.store.tables.class_names import short_class
from explorer.app_pages.classes.charts import PICKED, confusion_chart, development_chart, heat_map
from explorer.app_pages.classes.class_search import find_class, show_class
from explorer.app_pages.classes.clusters_view import show_clusters
from explorer.app_pages.classes.pair_view import show_pair
from explorer.controls.downloads import picture_of, save_menu
from explorer.controls.layer_controls import layer_controls
from explorer.controls.page_header import show_notes, show_provenance
from explorer.controls.phone_order import chart_first, controls_after_chart
from explorer.controls.samples.dialog import show_open_sample
from explorer.controls.samples.open_sample import restore_sample
from explorer.controls.sections import TAB, mark_section, show_sections, show_tabs
from explorer.controls.study_picker import open_chosen_study
from explorer.controls.terms import show_terms
from explorer.controls.widgets import open_expander, selected_point, selected_row, widget_key
from explorer.server.page_errors import guarded
from explorer.state.address import current_view, keep_view
from explorer.state.choices import one_offered
from explorer.studies.class_tables import (
    BARS,
    DEVELOPED,
    PAGE_SIZE,
    cached_layers_with_neighbors,
    classes_finding,
    layer_query,
    pages,
)
from explorer.studies.loading import OpenStudy, cached_tables

PAGE = "classes"
PAIR = ("first of the pair", "second of the pair")
HEAT, LINES, CONFUSIONS = "class_map", "class_lines", "class_confusions"
GROUPS, EVERY, PAIRS = "groups", "every", "pairs"  # as the address calls them
TABS = {GROUPS: "Groups of classes", EVERY: "Every class", PAIRS: "Confused pairs"}
SECTIONS = {"answers": "Classes", "choices": "Choices"}
KEPT = ("page", "find", "pair")  # query parameters of tabs, which stay in the address while another tab is open
HEAT_CAPTION = (
    "SI of a class: the share of its samples whose nearest other sample has its label. The classes are ordered by SI "
    "at the outlined layer, the lowest first. A click on a cell opens the samples of that class at that layer."
)
CONFIG = {
    "class_name": st.column_config.TextColumn("Class", pinned=True),
    "first": st.column_config.TextColumn("Class", pinned=True),
    "second": st.column_config.TextColumn("and class", pinned=True),
    "count": st.column_config.NumberColumn("Samples", help="Of either class, with a nearest neighbor of the other."),
    "of_first": st.column_config.NumberColumn("Of the first", help="The part of them that is of the first class."),
    "of_second": st.column_config.NumberColumn("Of the second", help="The part of them that is of the second class."),
    "total": st.column_config.NumberColumn("Of", help="Query samples of both classes."),
    "share": st.column_config.NumberColumn("Share", format="percent"),
    "chance": st.column_config.NumberColumn("Chance", format="percent", help="Expected with permuted labels."),
    "value": st.column_config.ProgressColumn("SI", format="%.3f", min_value=0, max_value=1),
    "num_queries": st.column_config.NumberColumn("Samples"),
}


def render() -> None:
    """Draw the page: groups of confused classes, the classes through the network, and confused pairs, a tab each."""
    study = open_chosen_study()
    if study is None:
        return
    if study.curves.empty:
        st.info("This study has no Separation Index by class yet. Come back when its first layer is done.")
        return
    head, query = st.container(), current_view(PAGE)
    show_sections(SECTIONS, only_on_phone=True)
    with chart_first(PAGE):
        with controls_after_chart(PAGE):
            mark_section("choices")
            selection = layer_controls(study, PAGE, query)
        answers = st.container()
    values = cached_values(study.path, study.stamp, selection)
    pairs = cached_pairs(study.path, study.stamp, selection)
    ranked = ranked_classes(values, selection.layer)
    with head:
        st.title("Classes", anchor=False)
        stored = cached_layers_with_neighbors(study.path, study.stamp)
        st.markdown(classes_finding(ranked, pairs, selection, stored))
        show_notes(study)
        show_terms("SI", "chance", "excess", "confusion", "cluster")
    if ranked.empty:
        st.info("This study stores no Separation Index by class. Run its command again with this version.")
        return
    with answers:
        mark_section("answers")
        opened, place = show_tabs(TABS, query, first=first_tab(query), key=widget_key(PAGE, TAB, study))
    view = layer_query(selection, study.curves) | {name: query[name] for name in KEPT if name in query}
    filters = None
    with place:
        if opened == GROUPS:
            show_clusters(study, selection)
        elif opened == EVERY:
            view |= show_every_class(study, values, ranked, pairs, selection)
        else:
            pair, filters = show_pairs(study, sorted(ranked["class_name"]), pairs, selection)
            view |= {"pair": list(pair)} if pair else {}
    if opened != first_tab(view):
        view[TAB] = [opened]
    keep_view(PAGE, view)
    show_provenance(study)
    restore_sample(study, PAGE, query, [], "Sample", selection)
    show_open_sample(study, PAGE)
    if filters:
        open_samples(study, selection, filters)


def first_tab(query: Mapping[str, Sequence[str]]) -> str:
    """The part of the page that an address without one opens: the one with what else it says."""
    if "pair" in query:
        return PAIRS
    return EVERY if "find" in query or "page" in query else GROUPS


def show_every_class(
    study: OpenStudy,
    values: pd.DataFrame,
    ranked: pd.DataFrame,
    pairs: pd.DataFrame | None,
    selection: LayerSelection,
) -> dict[str, list[str]]:
    """Show the heat map, a class that was searched for, and the hardest classes; returns their query parameters."""
    query = current_view(PAGE)
    st.header("Every class through the network", anchor="every-class")
    with chart_first("every_class"):
        with (
            controls_after_chart("every_class"),
            st.container(horizontal=True, vertical_alignment="bottom", gap="medium"),
        ):
            searched = find_class(study, ranked, query, widget_key(PAGE, "page", study))
            map_page = choose_map_page(study, len(ranked), query)
        with st.container():
            if searched:
                show_class(study, searched, values, ranked, pairs, selection)
            show_map(study, values, ranked, selection, map_page)
    show_development(study, values, ranked, selection)
    first_page = pages(len(ranked))[0]
    return {"page": [map_page] if map_page != first_page else [], "find": [searched] if searched else []}


def show_pairs(
    study: OpenStudy, classes: list[str], pairs: pd.DataFrame | None, selection: LayerSelection
) -> tuple[tuple[str, str] | None, dict[str, list[str]] | None]:
    """Show the most confused classes, and two of them layer by layer.

    Returns
    -------
    pair : tuple of str or None
        The two classes.
    filters : dict or None
        Query parameters for the page Samples, if the user wants to open the samples there.
    """
    show_confusions(study, pairs, selection)
    pair = pair_controls(study, classes, pairs, current_view(PAGE))
    return pair, show_pair(study, pair, selection) if pair else None


def choose_map_page(study: OpenStudy, num_classes: int, query: Mapping[str, Sequence[str]]) -> str:
    """Show the widget that pages through the classes of the heat map, if there is more than one page."""
    page_names, key = pages(num_classes), widget_key(PAGE, "page", study)
    if len(page_names) == 1:
        return page_names[0]
    start = one_offered(query, "page", page_names) or page_names[0]
    if st.session_state.setdefault(key, start) not in page_names:
        st.session_state[key] = page_names[0]
    label = f"Classes, lowest SI first ({num_classes:,} in total)"
    return str(st.selectbox(label, page_names, key=key, width=300))


def show_map(
    study: OpenStudy, values: pd.DataFrame, ranked: pd.DataFrame, selection: LayerSelection, chosen: str
) -> None:
    """Show the heat map of one page of classes. A click on a cell opens the samples of a class.

    Parameters
    ----------
    study : OpenStudy
        The open study.
    values, ranked : DataFrame
        Of `class_values` and `ranked_classes`.
    selection : LayerSelection
        Layer, pooling and samples.
    chosen : str
        Of `pages`.
    """
    page_names, part = pages(len(ranked)), f"All {len(ranked):,} classes are shown."
    if len(page_names) > 1:
        part = f"Classes {chosen} of {len(ranked):,} are shown."
    classes = ranked["class_name"].tolist()[page_names.index(chosen) * PAGE_SIZE :][:PAGE_SIZE]
    alt = f"Heat map: SI of {len(classes)} classes at each layer. The table below has the numbers at {selection.layer}."
    with st.container(key=HEAT):
        chart = heat_map(values, classes, selection.layer)
        event = st.altair_chart(
            chart,
            width="stretch",
            alt=alt,
            on_select="rerun",
            selection_mode=PICKED,
            key=widget_key(PAGE, "map", study),
        )
    if picked := selected_point(event, PICKED, "layer", "class_name"):
        open_samples(
            study,
            LayerSelection(picked["layer"], selection.pooling, selection.samples),
            {"class": [picked["class_name"]]},
        )
    st.caption(f"{part} {HEAT_CAPTION}")
    picture = picture_of(chart, study, "SI of the classes at each layer", part)
    save_menu(f"{Path(study.path).name}_classes", lambda: values, picture, info=study.info)
    if listed := open_expander(
        "The classes at this layer as a table, hardest first", widget_key(PAGE, "ranked", study)
    ):
        with listed:
            st.dataframe(ranked, hide_index=True, column_config=CONFIG)


def show_development(study: OpenStudy, values: pd.DataFrame, ranked: pd.DataFrame, selection: LayerSelection) -> None:
    """Show SI of the classes that are hardest at the chosen layer at all layers."""
    st.header("The hardest classes through the network", anchor="hardest")
    classes = ranked["class_name"].tolist()[:DEVELOPED]
    with st.container(key=LINES):
        chart = development_chart(values, classes, selection.layer)
        alt = f"Separation Index through the network of {', '.join(classes)}, and the mean of all classes."
        st.altair_chart(chart, width="stretch", alt=alt)
    text = f"The {len(classes)} hardest of {len(ranked):,} classes at {plain(selection.layer)} (dotted line)."
    st.caption(text)
    drawn = values[values["class_name"].isin(classes)]
    picture = picture_of(chart, study, "The hardest classes through the network", text)
    save_menu(f"{Path(study.path).name}_hardest_classes", lambda: drawn, picture, info=study.info)


def show_confusions(study: OpenStudy, pairs: pd.DataFrame | None, selection: LayerSelection) -> None:
    """Show the most confused classes as bars and as a table; a click chooses the pair that is shown below."""
    st.header("Most confused classes", anchor="confused")
    if pairs is None:
        st.info("The study stores no neighbors of this layer, so the confused classes are unknown.")
        return
    if pairs.empty:
        st.info("No sample's nearest neighbor is of another class here.")
        return
    st.caption(
        f"{SAMPLES[selection.samples]} samples at {selection.layer}. For two classes, this counts the samples of "
        "either class whose nearest neighbor is of the other class. A click on a bar or a row shows the two classes "
        "below, through the layers and with their images."
    )
    left, right = st.columns(2, gap="medium")
    keys = {name: widget_key(PAGE, name, study) for name in ("bars", "pairs")}

    def pick_bar() -> None:
        if picked := selected_point(st.session_state[keys["bars"]], PICKED, "first", "second"):
            choose_pair(study, picked["first"], picked["second"])

    def pick_row() -> None:
        row = selected_row(st.session_state[keys["pairs"]], len(pairs))
        if row is not None:
            choose_pair(study, *map(str, pairs[["first", "second"]].iloc[row]))

    with left, st.container(key=CONFUSIONS):
        top = pairs.head(BARS)
        alt = f"Bars: the {len(top)} most confused pairs at {selection.layer}; the table has all {len(pairs):,}."
        chart, mode = confusion_chart(top), PICKED
        st.altair_chart(
            chart, width="stretch", alt=alt, on_select=guarded(pick_bar), selection_mode=mode, key=keys["bars"]
        )
    with right:
        st.dataframe(
            pairs,
            hide_index=True,
            column_config=CONFIG,
            on_select=guarded(pick_row),
            selection_mode="single-row",
            key=keys["pairs"],
            alt="Pairs of classes, the most confused first",
        )
    text = f"{len(top)} of {len(pairs):,} pairs drawn, all in the table."
    st.caption(text)
    picture = picture_of(chart, study, f"Most confused classes at {plain(selection.layer)}", text)
    save_menu(f"{Path(study.path).name}_confusions", lambda: pairs, picture, info=study.info)


def pair_controls(
    study: OpenStudy, classes: list[str], pairs: pd.DataFrame | None, query: Mapping[str, Sequence[str]]
) -> tuple[str, str] | None:
    """Show the widgets for two classes, by default the most confused ones; None, with a message, if they are equal.

    Parameters
    ----------
    study : OpenStudy
        The open study.
    classes : list of str
        The classes to choose from.
    pairs : DataFrame or None
        Of `cached_pairs`.
    query : dict
        Query parameters of the page.
    """
    if len(classes) < 2:
        return None
    start = [name for name in map(short_class, query.get("pair", ())) if name in classes]
    if len(set(start)) != 2:
        start = classes[:2] if pairs is None or pairs.empty else pairs[["first", "second"]].iloc[0].tolist()
    keys = [widget_key(PAGE, name, study) for name in PAIR]
    for key, name in zip(keys, start, strict=True):
        if st.session_state.setdefault(key, name) not in classes:
            st.session_state[key] = name
    st.header("Two classes, layer by layer", anchor="two-classes")
    with st.container(horizontal=True, vertical_alignment="bottom", gap="medium"):
        first = str(st.selectbox("Class", classes, key=keys[0], filter_mode="contains", width=240))
        second = str(st.selectbox("and class", classes, key=keys[1], filter_mode="contains", width=240))
    if first == second:
        st.info("Choose two different classes.")
        return None
    return first, second


def choose_pair(study: OpenStudy, first: str, second: str) -> None:
    """Set the widgets of `pair_controls`; only possible before they are drawn."""
    for name, value in zip(PAIR, (first, second), strict=True):
        st.session_state[widget_key(PAGE, name, study)] = value


def open_samples(study: OpenStudy, selection: LayerSelection, filters: dict[str, list[str]]) -> None:
    """Switch to the page Samples with the same selection and these filters."""
    query = {"study": [st.query_params.get("study", study.path)], "layer": [selection.layer]}
    st.switch_page("app_pages/samples/view.py", query_params=query | layer_query(selection, study.curves) | filters)


@st.cache_data(max_entries=8, show_spinner=False)
def cached_values(path: str, stamp: tuple[int, ...], selection: LayerSelection) -> pd.DataFrame:
    """SI by class and layer; see `class_values`."""
    study = cached_tables(path, stamp)
    return class_values(study.classes, study.layers, class_names(study.samples), selection)


@st.cache_data(max_entries=32, show_spinner=False)
def cached_pairs(path: str, stamp: tuple[int, ...], selection: LayerSelection) -> pd.DataFrame | None:
    """The confused pairs with short class names; None if the study stores no neighbors of the layer."""
    try:
        return named_pairs(cached_tables(path, stamp), selection)
    except StudyError:
        return None


guarded(render)()
