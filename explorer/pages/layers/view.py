"""The first page: a measure through the network, layer by layer."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import streamlit as st

from core.analysis.separation_level import lead_curve
from core.report.words.findings import describe, layer_text, significance_note
from core.report.words.small_classes import baseline_text
from explorer.charts.labels import with_series
from explorer.charts.layer_chart import PICK
from explorer.controls.downloads import export_row
from explorer.controls.layer_table import column_config, layer_table
from explorer.controls.page_header import show_cautions, show_notes, show_provenance
from explorer.controls.sample_cards import show_picture
from explorer.controls.study_picker import open_chosen_study, pick_layer
from explorer.controls.widgets import open_expander, selected_point, widget_key
from explorer.pages.layers.content import ChartData, cached_chart, cards_of, chart_data, offered_choices
from explorer.pages.layers.measure_options import FULL, SEPARATION, explained, measure_title, sampling_title
from explorer.pages.layers.overview_strip import HINT, MIN_LAYERS, show_slider, show_strip
from explorer.server.page_errors import guarded
from explorer.state.address import asked_view, current_tolerance, keep_view
from explorer.state.choices import (
    COLUMNS,
    DRAWS,
    POOLINGS,
    SAMPLES,
    Choices,
    Selection,
    from_query,
    select_curves,
    to_query,
    unmatched_names,
)
from explorer.state.links import link_to
from explorer.studies.loading import OpenStudy, cached_tables
from explorer.studies.pictures import study_pictures

CARDS = (
    ("Where it is good enough", ":material/content_cut:", "decide", "Decide"),
    ("Most confused classes", ":material/join_inner:", "classes", "Look at the classes"),
    ("Samples to check", ":material/rule:", "samples", "Look at the samples"),
)
LEADS = (("classes", "Its classes"), ("samples", "Its samples"), ("compare", "Compare"), ("sample_size", "Sample size"))
PAGE, CHART = "layers", "layers_chart"
FILTERS = ("kinds", "blocks", "names")
SPAN = "span"
NOT_DRAWN: dict[str, Any] = {"columns": "interval", "table": False}  # what of a selection leaves the chart as it is
CARD_PICTURE = 84  # pixels
WIDTHS = [7, 2]  # of the chart, and of what stands beside it
CHANCE = "Dashed gray: chance, what meaningless labels would score."
CONTROL = "Solid gray: the same network without training."
BANDS = {
    "population": "Band: 95 % interval for the SI expected of a fresh sample of the same size and classes.",
    "data": "Band: 95 % interval for the SI of all samples at hand, of which only some were asked.",
    DRAWS: "Line: the mean of the draws; band: the lowest to the highest draw.",
}


def render() -> None:
    """Choose a study, say what it shows, draw it, lead on, list it. The chart comes first, cards and table after it."""
    study = open_chosen_study()
    if study is None:
        return
    if study.curves.empty:
        st.info("This study has no Separation Index to show yet. Come back when its first layer is done.")
        return
    head = st.container()
    offered = offered_choices(study)
    selection = controls(study, offered)
    left, right = st.columns(WIDTHS, gap="medium")
    with right:
        chosen = pick_layer(study, PAGE)
        panel, cards = st.container(), st.container()
    shown = chart_data(study, selection, chosen)
    with head:
        show_finding(study, selection, shown)
    with left:
        if shown.curves["value"].notna().any():
            show_chart(study, selection, shown)
        else:
            show_nothing(study, selection)
            show_strip(study, _keys(study)[SPAN])
        show_cautions(study)
    with panel:
        show_layer(shown)
    with cards:
        show_cards(study, selection)
    show_table(study, shown)
    show_provenance(study)


def controls(study: OpenStudy, offered: Choices) -> Selection:
    """The widgets above the chart, started from the page's address and written back to it."""
    start = from_query(asked_view(PAGE), offered)
    keys = _keys(study)
    for name in [name for name in keys if name != "columns"]:
        value = getattr(start, name)
        st.session_state.setdefault(keys[name], list(value) if isinstance(value, tuple) else value)
    span = tuple(st.session_state[keys[SPAN]])
    st.session_state[keys[SPAN]] = span if set(span) <= set(offered.names) else ()  # the study may have changed
    with st.container(horizontal=True, vertical_alignment="bottom", gap="small"):
        pooling, samples, knn = line_controls(offered, keys)
        measure, sampling = measure_controls(offered, keys)
        kinds, blocks, names = layer_filters(offered, keys)
    table, span = st.session_state[keys["table"]], st.session_state[keys[SPAN]]
    if table:  # else the session would hold a choice that no widget has, and never forget it
        st.session_state.setdefault(keys["columns"], start.columns)
    columns = st.session_state.get(keys["columns"], start.columns)
    selection = Selection(pooling, samples, knn, kinds, blocks, names, columns, measure, sampling, table, span)
    keep_view(PAGE, to_query(selection, offered))
    return selection


def measure_controls(offered: Choices, keys: Mapping[str, str]) -> tuple[str, str]:
    """Which measure, over which samples; only what the study has is offered."""
    measure, sampling = SEPARATION, FULL
    if len(offered.samplings) > 1:
        sampling = st.selectbox(
            "Sampling",
            offered.samplings,
            format_func=sampling_title,
            key=keys["sampling"],
            width=140,
            help="All samples; fewer samples, each the others' possible neighbor; or fewer queries among all samples. "
            "Subsamples are of plain SI.",
        )
    if len(offered.measures) > 1:
        measure = st.selectbox(
            "Measure",
            offered.measures,
            format_func=measure_title,
            key=keys["measure"],
            width=190,
            disabled=sampling != FULL,
        )
    return (measure if sampling == FULL else SEPARATION), sampling


def line_controls(offered: Choices, keys: Mapping[str, str]) -> tuple[str, tuple[str, ...], bool]:
    """Pooling, samples, and whether the baseline is shown."""
    pooling = st.segmented_control(
        "Pooling",
        offered.poolings,
        format_func=POOLINGS.__getitem__,
        required=True,
        key=keys["pooling"],
        help="The vector of a layer: the mean of each channel, or all activations, flattened.",
    )
    samples = st.pills(
        "Samples",
        offered.samples,
        format_func=lambda name: SAMPLES.get(name, name),
        selection_mode="multi",
        key=keys["samples"],
        help="Test, Train: each sample's nearest other sample in its own split. "
        "Test to train: each test sample's nearest training sample.",
    )
    knn = st.toggle("kNN baseline", key=keys["knn"], disabled=not offered.knn)
    return str(pooling), tuple(name for name in offered.samples if name in samples), knn


def layer_filters(offered: Choices, keys: Mapping[str, str]) -> tuple[tuple[str, ...], ...]:
    """From where to where, kinds, blocks and names or patterns to restrict the layers to."""
    chosen = sum(bool(st.session_state[keys[name]]) for name in (*FILTERS, SPAN))
    label = f"Layers ({chosen} filter{'s' * (chosen > 1)})" if chosen else "All layers"
    with st.popover(label, icon=":material/filter_list:", key="layer_filters"):
        show_slider(offered.names, keys[SPAN])
        kinds = _multiselect("Kinds", offered.kinds, keys["kinds"])
        blocks = _multiselect("Blocks", offered.blocks, keys["blocks"])
        names = _multiselect("Names or patterns, such as *_add", offered.names, keys["names"], new=True)
        for name in unmatched_names(offered.names, names):
            st.warning(f"No layer is called {name!r}, or matches it.")
        show_all_button(keys, key="show_all", disabled=not chosen)
    return kinds, blocks, names


def show_all_button(keys: Mapping[str, str], *, key: str, disabled: bool = False) -> None:
    """Drops every filter."""

    def drop_filters() -> None:
        st.session_state.update({keys[name]: [] for name in FILTERS} | {keys[SPAN]: ()})

    st.button("Show all layers", on_click=guarded(drop_filters), key=key, disabled=disabled)


def show_finding(study: OpenStudy, selection: Selection, shown: ChartData) -> None:
    """The headline and the sentences that the numbers of SI say, and what the study itself cautions against."""
    count = len(shown.layers)
    lead = lead_curve(shown.curves)
    if selection.measure != SEPARATION:
        lead = lead_curve(select_curves(study.curves, shown.layers, selection))
    if len(lead):
        finding = describe(lead)
        st.title(finding.headline, anchor=False)
        some = f" This is about the {count} layers shown, of {len(study.layers)}." if count < len(study.layers) else ""
        drawn = f" Here: the mean of draws of {sampling_title(selection.sampling)}." * (selection.sampling != FULL)
        st.markdown(finding.detail + some + drawn)
    show_notes(study, cautions=False)


def show_chart(study: OpenStudy, selection: Selection, shown: ChartData) -> None:
    """The chart, what it shows in a line, and how to take it away. A click on it chooses a layer for all pages."""
    key, picked = widget_key(PAGE, "layer", study), f"click of {study.path}"

    def take() -> None:
        if layer := picked_layer(st.session_state[picked]):
            st.session_state[key] = layer

    chart = cached_chart(study.path, study.stamp, replace(selection, **NOT_DRAWN), shown.chosen)
    with st.container(key=CHART):
        alt = f"{measure_title(selection.measure)} through the network, {len(shown.layers)} layers."
        st.vega_lite_chart(chart, width="stretch", key=picked, on_select=guarded(take), selection_mode=PICK, alt=alt)
    show_strip(study, _keys(study)[SPAN])  # beneath, so that the browser draws the chart first
    targets = set(shown.curves.loc[(shown.curves["measure"] == "SI") & shown.curves["low"].notna(), "target"])
    texts = [explained(selection.measure), CHANCE, *(text for target, text in BANDS.items() if target in targets)]
    texts += [CONTROL] * bool(len(shown.control)) + [HINT] * (len(study.layers) >= MIN_LAYERS)
    texts.append(baseline_text(cached_tables(study.path, study.stamp).samples, shown.curves))
    st.caption(" ".join(filter(None, texts)))
    file = f"{Path(study.path).name}_layers"
    export_row(CHART, lambda: _numbers(shown.curves, shown.layers), file, study.info, report_of=study.path)


def picked_layer(event: Any) -> str | None:
    """The layer that a click on the chart selected."""
    point = selected_point(event, PICK, "layer")
    return str(point["layer"]) if point else None


def show_layer(shown: ChartData) -> None:
    """The chosen layer's numbers, and the pages that look at it more closely."""
    rows = shown.layers[shown.layers["layer"] == shown.chosen]
    if rows.empty:
        return
    with st.container(key="layer_panel", gap="xsmall"):
        st.markdown(layer_text(rows.iloc[0], with_series(shown.curves, shown.measure)))
        with st.container(horizontal=True, gap="xsmall"):
            for view, label in LEADS:
                link_to(view, label)


def show_cards(study: OpenStudy, selection: Selection) -> None:
    """Three cards that lead on: where it is good enough, the most confused classes, samples to check."""
    found, pictures = cards_of(study, selection, current_tolerance()), study_pictures(study.info)
    for (title, icon, view, label), card in zip(CARDS, found, strict=False):
        with st.container(border=True, gap="xsmall"):
            st.markdown(f"{icon} **{title}**")
            st.markdown(f":small[{card.text}]")
            if pictures and card.pictures:
                with st.container(horizontal=True, gap="small"):
                    for source, class_name in card.pictures:
                        show_picture(pictures, source, class_name, CARD_PICTURE)
            link_to(view, label, ":material/arrow_forward:")


def _numbers(curves: pd.DataFrame, layers: pd.DataFrame) -> pd.DataFrame:
    """The curves shown, a row a value, with what is known of the layers; shapes such as 7x7x320."""
    known = layers.assign(output_shape=layers["output_shape"].map(lambda shape: "x".join(map(str, shape))))
    return curves.merge(known.drop(columns="position"), on="layer")


def offered_columns(curves: pd.DataFrame) -> tuple[str, ...]:
    """What the table may show: significance only where the study has it."""
    return tuple(COLUMNS) if curves["q_value"].notna().any() else ("interval",)


def show_table(study: OpenStudy, shown: ChartData) -> None:
    """One row a layer, made when it is opened; a click on a column's head sorts. Significance is said why."""
    if shown.curves["value"].isna().all():
        return
    if listed := open_expander("The layers as a table", _keys(study)["table"]):
        with listed:
            show_rows(study, shown)


def show_rows(study: OpenStudy, shown: ChartData) -> None:
    """The table, with the columns that are asked for."""
    offered, key = offered_columns(shown.curves), _keys(study)["columns"]
    columns: str | None = None
    if len(offered) > 1:
        columns = st.segmented_control("Columns", offered, format_func=COLUMNS.__getitem__, required=True, key=key)
    significance = columns == "significance"
    if significance:
        st.caption(significance_note(lead_curve(shown.curves[shown.curves["q_value"].notna()])))
    table = layer_table(with_series(shown.curves, shown.measure), shown.layers, significance=significance)
    st.dataframe(table, hide_index=True, column_config=column_config(table))


def show_nothing(study: OpenStudy, selection: Selection) -> None:
    """Why there is no chart, and the way back."""
    if not selection.samples:
        st.info("Choose the samples to show, above.")
        return
    st.info("No measured layer is of the chosen kinds, blocks and names at once.")
    show_all_button(_keys(study), key="show_all_below")


def _keys(study: OpenStudy) -> dict[str, str]:
    """Session keys of the widgets: a study has its own, because another one offers other choices."""
    names = ("pooling", "samples", "knn", "columns", "measure", "sampling", "table", SPAN, *FILTERS)
    return {name: f"{name} of {study.path}" for name in names}


def _multiselect(label: str, options: Sequence[str], key: str, *, new: bool = False) -> tuple[str, ...]:
    chosen = st.multiselect(label, options, key=key, accept_new_options=new, filter_mode="contains", placeholder="All")
    return tuple(chosen)


guarded(render)()
