"""The page Layers, the first one: a measure through the network, layer by layer."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import streamlit as st

from core.analysis.samples.selection import LayerSelection
from core.analysis.separation_level import lead_curve
from core.report.charts.labels import with_series
from core.report.charts.layer_chart import PICK
from core.report.words.cards import Card
from core.report.words.findings import describe, layer_text, significance_note
from core.report.words.formatting import SAMPLES
from core.report.words.sample_counts import unequal_counts_text
from core.report.words.small_classes import baseline_text
from explorer.app_pages.layers.content import (
    ChartData,
    cached_chart,
    cached_lines,
    cached_lines_chart,
    cards_of,
    chart_data,
    offered_choices,
)
from explorer.app_pages.layers.introduction import show_introduction
from explorer.app_pages.layers.measure_options import explanation, measure_title, sampling_title
from explorer.app_pages.layers.other_studies import notes_about, open_others, pick_others, show_conclusion
from explorer.app_pages.layers.overview_strip import HINT, MIN_LAYERS, show_slider, show_strip
from explorer.app_pages.layers.studies_table import show_studies
from explorer.controls.downloads import Picture, picture_of, save_menu
from explorer.controls.layer_table import column_config, layer_table
from explorer.controls.page_header import show_cautions, show_notes, show_provenance
from explorer.controls.phone_order import chart_first, controls_after_chart
from explorer.controls.sample_cards import show_picture
from explorer.controls.samples.dialog import show_open_sample
from explorer.controls.samples.open_sample import open_button, restore_sample
from explorer.controls.sections import TAB, mark_section, show_sections
from explorer.controls.study_picker import open_chosen_study, pick_layer
from explorer.controls.terms import show_terms
from explorer.controls.widgets import open_expander, selected_point, widget_key
from explorer.server.page_errors import guarded
from explorer.state.address import STUDY, current_layer, current_study, current_tolerance, current_view, keep_view
from explorer.state.choices import (
    COLUMNS,
    DRAWS,
    POOLINGS,
    Choices,
    Selection,
    from_query,
    select_curves,
    to_query,
    unmatched_names,
)
from explorer.state.links import link_to
from explorer.state.measures import FULL, SEPARATION, Measure, Sampling
from explorer.studies.class_tables import cached_layers_with_neighbors, layer_selection
from explorer.studies.loading import OpenStudy, cached_tables, has_values
from explorer.studies.pictures import study_pictures, why_no_pictures
from explorer.studies.sample_paths import cached_samples

CARDS = (
    ("Where it is good enough", ":material/content_cut:", "decide", "Decide", ""),
    ("Most confused classes", ":material/join_inner:", "classes", "Look at the classes", "pairs"),
    ("Samples to check", ":material/rule:", "samples", "Look at the samples", "data-quality"),
)  # title, icon, and the page, text and tab of a link
LAYER_LINKS = (
    ("classes", "Its classes"),
    ("samples", "Its samples"),
    ("compare", "Compare"),
    ("sample_size", "Sample size"),
)
PAGE, CHART = "layers", "layers_chart"
TERMS = ("chance", "interval", "kNN baseline", "depth (channels)", "pooling", "excess", "cut", "tolerance")
SECTIONS = {
    "chart": "Chart",
    "choices": "Choices",
    "layer": "Layer",
    "findings": "What follows",
    "tables": "Tables",
}
FILTERS = ("kinds", "blocks", "names")
SPAN = "span"
NOT_DRAWN: dict[str, Any] = {"columns": "interval", "table": False, "also": ()}  # choices that do not change the chart
CARD_PICTURE = 80  # pixels; two stand side by side in a card of a window of 1,200
WIDTHS = [7, 2]  # of the chart and of the column beside it
CHANCE = "Dashed gray: chance, the expected value with randomly permuted labels."
CONTROL = "Solid gray: the same network without training."
SIZES = (
    "SI rises with the number of samples, because the nearest one comes closer. The order of layers can be compared "
    "along each line, values of different sizes cannot."
)
OF_ONE = "The kNN baseline, depth and parameters are drawn for a single study and sample size only."
BANDS = {
    "population": "Band: 95% interval for the SI expected of a fresh sample of the same size and classes.",
    "data": "Band: 95% interval for the SI of all samples at hand, of which only some were queries.",
    DRAWS: "Line: the mean of the draws; band: the lowest to the highest draw.",
}


def render() -> None:
    """Draw the page: finding, chart, the chosen layer, cards and table."""
    study = open_chosen_study()
    if study is None:
        return
    if study.curves.empty:
        st.info("This study has no Separation Index to show yet. Come back when its first layer is done.")
        return
    head = st.container()
    show_sections(SECTIONS, only_on_phone=True)
    offered, query = offered_choices(study), current_view(PAGE)
    with chart_first(PAGE):
        mark_section("chart")
        with controls_after_chart(PAGE):
            mark_section("choices")
            selection = controls(study, offered)
            studies = open_others(study, selection.also)
        left, right = st.columns(WIDTHS, gap="medium")
    with right:
        mark_section("layer")
        chosen = pick_layer(study, PAGE)
        panel, cards = st.container(), st.container()
        with cards:
            mark_section("findings")
    data = chart_data(study, selection, chosen)
    # Elements appear on the page in the order in which they are sent: the chart first, cards and table after it.
    with head:
        show_finding(study, selection, data)
    with left:
        if selection.samples and (len(studies) > 1 or len(selection.samplings) > 1):
            show_lines(study, studies, selection, chosen)
        elif data.curves["value"].notna().any():
            show_chart(study, selection, data)
        else:
            show_nothing(study, selection)
            show_strip(study, _keys(study)[SPAN])
        conclusion = st.container()
        show_cautions(study)
    with panel:
        show_layer(data)
    with conclusion:  # last of the column, because the neighbors of all layers are read for it
        if selection.samples:
            show_conclusion(studies, selection)
    with cards:
        show_cards(study, selection)
    mark_section("tables")
    show_studies(study, studies)
    show_table(study, data)
    show_provenance(study)
    if "open" in query and has_values(study):
        restore_sample(study, PAGE, query, [], "Sample", _dialog_selection(study))
    show_open_sample(study, PAGE)


def controls(study: OpenStudy, offered: Choices) -> Selection:
    """Show the widgets above the chart, initialized from the address and written back to it."""
    start = from_query(current_view(PAGE), offered)
    keys = _keys(study)
    for name in [name for name in keys if name not in ("columns", "also")]:
        value = getattr(start, name)
        st.session_state.setdefault(keys[name], list(value) if isinstance(value, tuple) else value)
    span = tuple(st.session_state[keys[SPAN]])
    if not set(span) <= set(offered.names):  # the study may have changed since the span was chosen
        span = ()
    st.session_state[keys[SPAN]] = span
    with st.container(horizontal=True, vertical_alignment="bottom", gap="small"):
        pooling, samples, knn = line_controls(offered, keys)
        measure, samplings = measure_controls(offered, keys)
        kinds, blocks, names = layer_filters(offered, keys)
    also = pick_others(study, start.also, keys["also"])
    table, span = st.session_state[keys["table"]], st.session_state[keys[SPAN]]
    if table:  # only then is there a widget; without one, Streamlit would keep the value forever
        st.session_state.setdefault(keys["columns"], start.columns)
    columns = st.session_state.get(keys["columns"], start.columns)
    selection = Selection(
        pooling=pooling,
        samples=samples,
        knn=knn,
        kinds=kinds,
        blocks=blocks,
        names=names,
        columns=columns,
        measure=measure,
        samplings=samplings,
        table=table,
        span=span,
        also=also,
    )
    keep_view(PAGE, to_query(selection, offered))
    return selection


def measure_controls(offered: Choices, keys: Mapping[str, str]) -> tuple[Measure, tuple[Sampling, ...]]:
    """Show the widgets for measure and samplings, each only if the study offers a choice."""
    measure = SEPARATION
    samplings: tuple[Sampling, ...] = (FULL,)
    if len(offered.samplings) > 1:
        chosen = st.multiselect(
            "Sampling",
            offered.samplings,
            format_func=sampling_title,
            key=keys["samplings"],
            width=260,
            wrap=True,
            placeholder="All samples",
            help="All samples; a subsample, within which neighbors are searched; or fewer queries among all samples. "
            "Several of them lie over each other in the chart. Subsamples have no other measure than SI.",
        )
        samplings = tuple(sampling for sampling in offered.samplings if sampling in chosen) or (FULL,)
    if len(offered.measures) > 1:
        measure = st.selectbox(
            "Measure",
            offered.measures,
            format_func=measure_title,
            key=keys["measure"],
            width=190,
            disabled=samplings != (FULL,),
        )
    return (measure if samplings == (FULL,) else SEPARATION), samplings


def line_controls(offered: Choices, keys: Mapping[str, str]) -> tuple[str, tuple[str, ...], bool]:
    """Show the widgets for pooling, samples and the kNN baseline."""
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
    """Show the widgets that restrict the layers: range, kinds, blocks, and names or patterns."""
    num_filters = sum(bool(st.session_state[keys[name]]) for name in (*FILTERS, SPAN))
    label = "All layers"
    if num_filters:
        label = f"Layers ({num_filters} filter{'s' * (num_filters > 1)})"
    with st.popover(label, icon=":material/filter_list:", key="layer_filters"):
        show_slider(offered.names, keys[SPAN])
        kinds = _multiselect("Kinds", offered.kinds, keys["kinds"])
        blocks = _multiselect("Blocks", offered.blocks, keys["blocks"])
        names = _multiselect("Names or patterns, such as *_add", offered.names, keys["names"], new=True)
        for name in unmatched_names(offered.names, names):
            st.warning(f"No layer has the name {name!r} or matches it.")
        show_all_button(keys, key="show_all", disabled=not num_filters)
    return kinds, blocks, names


def show_all_button(keys: Mapping[str, str], *, key: str, disabled: bool = False) -> None:
    """Show a button that removes all filters."""

    def drop_filters() -> None:
        st.session_state.update({keys[name]: [] for name in FILTERS} | {keys[SPAN]: ()})

    st.button("Show all layers", on_click=guarded(drop_filters), key=key, disabled=disabled)


def show_finding(study: OpenStudy, selection: Selection, data: ChartData) -> None:
    """Show headline and text about SI, and the notes about the study."""
    lead = lead_curve(data.curves)
    if selection.measure != SEPARATION:  # headline and text are about SI, whichever measure the chart shows
        lead = lead_curve(select_curves(study.curves, data.layers, selection))
    if len(lead):
        finding = describe(lead)
        st.title(finding.headline, anchor=False)
        show_introduction(lead, study.info)
        sentences = [finding.detail]
        if len(data.layers) < len(study.layers):
            sentences.append(f"This is about the {len(data.layers)} layers shown, of {len(study.layers)}.")
        if selection.sampling != FULL:
            sentences.append(f"The values are means over draws of {sampling_title(selection.sampling)}.")
        st.markdown(" ".join(sentences))
    elif not len(data.curves):
        st.title("No layer is shown", anchor=False)
    show_notes(study, cautions=False)
    show_terms(*TERMS)


def show_chart(study: OpenStudy, selection: Selection, data: ChartData) -> None:
    """Show the chart, its caption and download buttons. A click on the chart chooses a layer for all pages."""
    layer_key, click_key = widget_key(PAGE, "layer", study), f"click of {study.path}"

    def choose_layer() -> None:
        if layer := picked_layer(st.session_state[click_key]):
            st.session_state[layer_key] = layer

    chart = cached_chart(study.path, study.stamp, replace(selection, **NOT_DRAWN), data.chosen)
    with st.container(key=CHART):
        alt = f"{measure_title(selection.measure)} through the network, {len(data.layers)} layers."
        st.vega_lite_chart(
            chart, width="stretch", key=click_key, on_select=guarded(choose_layer), selection_mode=PICK, alt=alt
        )
    show_strip(study, _keys(study)[SPAN])  # after the chart, so that the browser draws the chart first
    text = _chart_caption(study, selection, data)
    st.caption(f"{text} {HINT}" if len(study.layers) >= MIN_LAYERS else text)
    file, title = f"{Path(study.path).name}_layers", f"{measure_title(selection.measure)} through the network"
    picture = picture_of(chart, study, title, text)
    save_menu(file, lambda: _numbers(data.curves, data.layers), picture, info=study.info, report_of=study.path)


def show_lines(study: OpenStudy, studies: Mapping[str, OpenStudy], selection: Selection, chosen: str | None) -> None:
    """Show the lines of several studies, what must be said of them, and download buttons."""
    layer_key, click_key = widget_key(PAGE, "layer", study), f"click of several with {study.path}"

    def choose_layer() -> None:
        layer = picked_layer(st.session_state[click_key])
        if layer in set(study.layers["layer"]):  # of several networks, others may have the layer
            st.session_state[layer_key] = layer

    keys = tuple((name, one.path, one.stamp) for name, one in studies.items())
    drawn = replace(selection, **NOT_DRAWN)
    lines = cached_lines(keys, drawn)
    if lines.rows.empty:
        show_nothing(study, selection)
        return
    notes = " ".join(notes_about(studies, lines)) or SIZES
    st.caption(notes)
    chart = cached_lines_chart(keys, drawn, chosen)
    with st.container(key=CHART):
        alt = f"{measure_title(selection.measure)} through the network: {', '.join(lines.names('line'))}."
        st.vega_lite_chart(
            chart,
            width="stretch",
            key=click_key,
            on_select=guarded(choose_layer),
            selection_mode=PICK,
            alt=alt,
        )
    show_strip(study, _keys(study)[SPAN])
    targets = set(lines.rows.loc[lines.rows["low"].notna(), "target"])
    bands = [text for target, text in BANDS.items() if target in targets]
    text = " ".join([explanation(selection.measure), CHANCE, *bands])
    if selection.knn:
        text += f" {OF_ONE}"
    st.caption(text)
    title = f"{measure_title(selection.measure)} through the network"
    picture = picture_of(chart, study, title, text) if len(studies) == 1 else Picture(chart, title, f"{text} {notes}")
    save_menu(f"{Path(study.path).name}_lines", lambda: lines.rows, picture)


def _chart_caption(study: OpenStudy, selection: Selection, data: ChartData) -> str:
    """The measure, and what the lines and bands of the chart mean."""
    targets = set(data.curves.loc[(data.curves["measure"] == "SI") & data.curves["low"].notna(), "target"])
    texts = [explanation(selection.measure), CHANCE, *(text for target, text in BANDS.items() if target in targets)]
    if len(data.control):
        texts.append(CONTROL)
    samples = cached_tables(study.path, study.stamp).samples
    if (selection.measure, selection.sampling) == (SEPARATION, FULL):
        texts.append(unequal_counts_text(samples, data.curves))
    texts.append(baseline_text(samples, data.curves))
    return " ".join(filter(None, texts))


def picked_layer(event: Any) -> str | None:
    """The layer that a click on the chart selected; None for none."""
    point = selected_point(event, PICK, "layer")
    return str(point["layer"]) if point else None


def show_layer(data: ChartData) -> None:
    """Show the numbers of the chosen layer, and links to pages with more about it."""
    rows = data.layers[data.layers["layer"] == data.chosen]
    if rows.empty:
        return
    with st.container(key="layer_panel", gap="xsmall"):
        st.markdown(layer_text(rows.iloc[0], with_series(data.curves, data.measure)))
        with st.container(horizontal=True, gap="xsmall"):
            for page, label in LAYER_LINKS:
                link_to(page, label)


def show_cards(study: OpenStudy, selection: Selection) -> None:
    """Show three cards with links: where to cut, the most confused classes, samples to check."""
    cards, pictures = cards_of(study, selection, current_tolerance()), study_pictures(study.info)
    name = current_study() or study.path
    for (title, icon, page, label, tab), card in zip(CARDS, cards, strict=False):
        with st.container(border=True, gap="xsmall"):
            st.markdown(f"{icon} **{title}**")
            st.markdown(f":small[{card.text}]")
            if pictures and card.pictures:
                with st.container(horizontal=True, gap="small"):
                    for source, class_name in card.pictures:
                        show_picture(pictures, source, class_name, CARD_PICTURE)
                show_card_button(study, card, title)
            link_to(page, label, ":material/arrow_forward:", {STUDY: [name], TAB: [tab]} if tab else None)
    if cards and (reason := why_no_pictures(study.info)):
        st.caption(f":material/hide_image: {reason}")


def show_card_button(study: OpenStudy, card: Card, title: str) -> None:
    """Show a button that opens the samples in the pictures of a card."""
    samples = cached_samples(study.path, study.stamp)
    shown = [int(samples.index[samples["source"] == source][0]) for source, _ in card.pictures]
    open_button(study, PAGE, shown[0], shown, title, _dialog_selection(study), name="card")


def _dialog_selection(study: OpenStudy) -> LayerSelection:
    """The layer at which a sample is opened: the chosen one, else the best one whose neighbors are stored."""
    stored = cached_layers_with_neighbors(study.path, study.stamp)
    return layer_selection({}, current_layer(), study.curves, stored)


def _numbers(curves: pd.DataFrame, layers: pd.DataFrame) -> pd.DataFrame:
    """The curves of the chart, one row per value, with the properties of the layers; shapes are such as 7x7x320."""
    properties = layers.assign(output_shape=layers["output_shape"].map(lambda shape: "x".join(map(str, shape))))
    return curves.merge(properties.drop(columns="position"), on="layer")


def offered_columns(curves: pd.DataFrame) -> tuple[str, ...]:
    """The sets of columns that the table can show: significance only if the study has it."""
    return tuple(COLUMNS) if curves["q_value"].notna().any() else ("interval",)


def show_table(study: OpenStudy, data: ChartData) -> None:
    """Show an expander with the table of layers, computed when it is opened."""
    if data.curves["value"].isna().all():
        return
    if expander := open_expander("The layers as a table", _keys(study)["table"]):
        with expander:
            show_rows(study, data)


def show_rows(study: OpenStudy, data: ChartData) -> None:
    """Show the table of layers with the chosen columns, and for significance how to read it."""
    offered, key = offered_columns(data.curves), _keys(study)["columns"]
    columns: str | None = None
    if len(offered) > 1:
        columns = st.segmented_control("Columns", offered, format_func=COLUMNS.__getitem__, required=True, key=key)
    significance = columns == "significance"
    if significance:
        st.caption(significance_note(lead_curve(data.curves[data.curves["q_value"].notna()])))
    table = layer_table(with_series(data.curves, data.measure), data.layers, significance=significance)
    st.dataframe(table, hide_index=True, column_config=column_config(table))


def show_nothing(study: OpenStudy, selection: Selection) -> None:
    """Say why there is no chart, and offer to remove the filters."""
    if not selection.samples:
        st.info("Choose the samples to show above.")
        return
    st.info("No measured layer matches all filters: range, kinds, blocks and names.")
    show_all_button(_keys(study), key="show_all_below")


def _keys(study: OpenStudy) -> dict[str, str]:
    """Session keys of the widgets by name; they contain the study, because another study offers other choices."""
    names = ("pooling", "samples", "knn", "columns", "measure", "samplings", "table", "also", SPAN, *FILTERS)
    return {name: f"{name} of {study.path}" for name in names}


def _multiselect(label: str, options: Sequence[str], key: str, *, new: bool = False) -> tuple[str, ...]:
    chosen = st.multiselect(label, options, key=key, accept_new_options=new, filter_mode="contains", placeholder="All")
    return tuple(chosen)


guarded(render)()
