"""The page Compare: SI versus layer properties, this study and another one of the same samples, related measures."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import streamlit as st

from core.analysis.comparing import LayerMatch, compare_studies, match_layers
from core.analysis.layer_properties import PROPERTIES, correlations, probe_accuracies
from core.report.charts.change_chart import change_chart
from core.report.charts.property_chart import property_chart
from core.report.words.changes import describe_changes
from core.report.words.formatting import SAMPLES, plain
from core.report.words.small_classes import baseline_text
from core.study.store.tables.ties import left_out_text
from explorer.app_pages.compare.related_measures_view import show_related_measures, show_similarity
from explorer.app_pages.compare.tables import (
    CompareSelection,
    compare_query,
    compare_selection,
    control_curve,
    correlation_text,
    dots_finding,
    layer_dots,
    offered,
)
from explorer.controls.downloads import picture_of, save_menu
from explorer.controls.layer_table import without_minus_zero
from explorer.controls.page_header import show_notes, show_provenance
from explorer.controls.phone_order import chart_first, controls_after_chart
from explorer.controls.sections import TAB, mark_section, show_sections, show_tabs
from explorer.controls.study_picker import (
    offered_studies,
    open_chosen_study,
    pick_layer,
    pick_other_study,
    suggest_studies,
    untrained_control,
)
from explorer.controls.terms import show_terms
from explorer.controls.widgets import choose_one, widget_key
from explorer.runs.study_list import known_studies
from explorer.server.page_errors import guarded
from explorer.state.address import current_layer, current_view, keep_view
from explorer.state.choices import POOLINGS
from explorer.studies.loading import OpenStudy, cached_tables, study_stamp

PAGE, CHANGES = "compare", "change_chart"
MATCHES = {"": "By name where possible", "name": "By name", "position": "By relative position"}
COLUMNS = 3  # charts beside each other
PROPERTIES_TAB, OTHER, RELATED, SIMILARITY = "properties", "another-study", "related-measures", "similarity"
TABS = {
    PROPERTIES_TAB: "Layer properties",
    OTHER: "Another study",
    RELATED: "Related measures",
    SIMILARITY: "Similarity of layers",
}
SECTIONS = {"charts": "Charts", "choices": "Choices"}
DOTS_CAPTION = (
    "One dot per layer; bars: 95% interval of SI. Spearman's rank correlation over the layers shown, with Fisher's "
    "95% interval. Layers of a network are not independent, so the interval is approximate. The charts of parameters "
    "leave out layers without parameters (sums, pooling)."
)
PROBE_CAPTION = "The linear probe is trained on channel means."
CHANGE_CAPTION = (
    "Difference: the open study minus the other. ▲ rose, ▼ fell: q < 0.05 over these layers (Benjamini and Hochberg); "
    "● no certain change, which does not prove that there is none; ■ many ties, no conclusion. The interval is for a "
    "fresh sample of the same size and classes."
)
UNPAIRED = (
    "At {count} of {total} layers one of the studies has no stored neighbors. There the interval is not paired: it is "
    "computed from the intervals of the two values, and is wider than a paired one."
)
CONFIG: Mapping[str, Any] = {
    "layer": st.column_config.TextColumn("Layer", pinned=True),
    "layer_before": st.column_config.TextColumn("Compared with"),
    "before": st.column_config.NumberColumn("Before", format="%.3f"),
    "after": st.column_config.NumberColumn("After", format="%.3f"),
    "difference": st.column_config.NumberColumn("Difference", format="%+.3f"),
    "low": st.column_config.NumberColumn("95%, from", format="%+.3f"),
    "high": st.column_config.NumberColumn("95%, to", format="%+.3f"),
    "q_value": st.column_config.NumberColumn("q", format="%.4f", help="p after Benjamini and Hochberg."),
    "paired": st.column_config.CheckboxColumn(
        "Paired", help="Whether the interval uses that the samples are the same."
    ),
    "verdict": st.column_config.TextColumn("Meaning"),
    "matched_by": st.column_config.TextColumn("Matched by", help="How the layer of the other study was found."),
    "position": st.column_config.NumberColumn("Position"),
}


def render() -> None:
    """Draw the page, a tab each: SI versus layer properties, another study, related measures, similar layers."""
    study = open_chosen_study()
    if study is None:
        return
    if study.curves.empty:
        st.info("This study has no Separation Index to compare yet. Come back when its first layer is done.")
        return
    st.title("Compare", anchor=False)
    show_terms("SI", "depth (channels)", "kNN baseline", "interval", "q")
    show_notes(study)
    query = current_view(PAGE)
    start = compare_selection(query, study.curves)
    show_sections(SECTIONS, only_on_phone=True)
    with chart_first(PAGE):
        with controls_after_chart(PAGE):
            mark_section("choices")
            selection = controls(study, start)
        with st.container():
            mark_section("charts")
            opened, place = show_tabs(TABS, query, first=first_tab(query), key=widget_key(PAGE, TAB, study))
            with place:
                selection = show_tab(opened, study, selection, start)
    view = compare_query(selection, study.curves)
    keep_view(PAGE, view if opened == first_tab(view) else view | {TAB: [opened]})
    show_provenance(study)


def first_tab(query: Mapping[str, Sequence[str]]) -> str:
    """The tab that an address without one opens."""
    return OTHER if "before" in query else PROPERTIES_TAB


def show_tab(opened: str, study: OpenStudy, selection: CompareSelection, start: CompareSelection) -> CompareSelection:
    """Show the content of the open tab; returns the selection with the other study."""
    if opened == OTHER:
        return show_other(study, selection, start)
    if opened == PROPERTIES_TAB:
        show_dots(study, selection)
    elif opened == RELATED:
        show_related_measures(study, study.stamp, selection)
    else:
        show_similarity(study, study.stamp, selection)
    return selection


def controls(study: OpenStudy, start: CompareSelection) -> CompareSelection:
    """Show the widgets for pooling, samples and layer, which all parts of the page use."""
    poolings, samples = offered(study.curves)
    keys = {name: widget_key(PAGE, name, study) for name in ("pooling", "samples")}
    with st.container(horizontal=True, vertical_alignment="bottom", gap="medium"):
        pooling = choose_one("Pooling", poolings, POOLINGS, first=start.pooling, key=keys["pooling"])
        chosen = choose_one("Samples", samples, SAMPLES, first=start.samples, key=keys["samples"])
        with st.container(width=300):
            pick_layer(study, PAGE, "Choose one to mark it")
    return CompareSelection(pooling, chosen, start.match, start.before)


def show_dots(study: OpenStudy, selection: CompareSelection) -> None:
    """Show a chart of SI versus each property of the layers, and with which of them SI is correlated."""
    st.header("SI versus layer properties", anchor=False)
    tables = cached_tables(study.path, study.stamp)
    dots = layer_dots(study, probe_accuracies(tables.measurements), selection)
    rank_correlations = correlations(dots)
    if not rank_correlations:
        st.info("This study has too few layers for a comparison.")
        return
    left_out = left_out_text(dots.loc[dots["tied"], "layer"].tolist())
    st.markdown(f"{dots_finding(rank_correlations, selection)} {left_out}".strip())
    texts = {name: correlation_text(correlation) for name, correlation in rank_correlations.items()}
    names = list(texts)
    for start in range(0, len(names), COLUMNS):
        _show_dots_charts(study, dots, names[start : start + COLUMNS], texts)
    small = baseline_text(tables.samples, study.curves[study.curves["samples"] == selection.samples])
    probe = PROBE_CAPTION if "linear_probe" in names else ""
    st.caption(" ".join(filter(None, [DOTS_CAPTION, probe, small])))


def _show_dots_charts(study: OpenStudy, dots: pd.DataFrame, names: Sequence[str], texts: Mapping[str, str]) -> None:
    """Show the charts of some properties beside each other."""
    for column, name in zip(st.columns(COLUMNS, gap="medium"), names, strict=False):
        with column:
            _show_dots_chart(study, dots, name, texts[name])


def _show_dots_chart(study: OpenStudy, dots: pd.DataFrame, name: str, correlation: str) -> None:
    """Show the chart of one property with its correlation and download buttons."""
    with st.container(key=f"dots_{name}"):
        alt = f"Separation Index versus {PROPERTIES[name][0]}, one dot per layer. {correlation}."
        chart = property_chart(dots, name, current_layer())
        st.altair_chart(chart, width="stretch", alt=alt)
        st.caption(correlation)
        title = f"Separation Index versus {PROPERTIES[name][0]}"
        picture = picture_of(chart, study, title, f"One dot per layer. {correlation}.")
        save_menu(f"{Path(study.path).name}_{name}", lambda: dots, picture, info=study.info)


def show_other(study: OpenStudy, selection: CompareSelection, start: CompareSelection) -> CompareSelection:
    """Show a picker for another study, and the change from it to the open one; returns the completed selection."""
    st.header("Comparison with another study", anchor=False)
    keys = {name: widget_key(PAGE, name, study) for name in ("before", "match")}
    studies = offered_studies(study, known_studies())
    with st.container(horizontal=True, vertical_alignment="bottom", gap="medium"):
        name, path = pick_other_study(studies, start.before, label="Compare with", key=keys["before"])
        match = choose_one("Match layers", tuple(MATCHES), MATCHES, first=start.match, key=keys["match"])
    selection = CompareSelection(selection.pooling, selection.samples, match, name)
    if path is None:
        st.info(
            "Choose a study of the same samples: of the network before fine-tuning, of the untrained network, or of "
            "another network. The open study is *after*, the other one *before*."
        )
        suggest_studies(studies, keys["before"])
        return selection
    try:
        table, layers = _cached_changes(str(path), study_stamp(path), study.path, study.stamp, selection)
    except (ValueError, OSError) as error:  # StudyError is a ValueError; so is what an impossible path raises
        st.error(f"**These studies cannot be compared.** {plain(error)}", icon=":material/difference:")
        return selection
    if table.empty:
        st.info(
            f"The {len(layers.only_after)} layers of this study and the {len(layers.only_before)} layers of the other "
            "have no name in common. Match layers by relative position if the networks have comparable stages."
        )
        return selection
    show_changes(study, table, layers, Path(name).name, selection)
    return selection


def show_changes(
    study: OpenStudy, table: pd.DataFrame, layers: LayerMatch, before: str, selection: CompareSelection
) -> None:
    """Show the change between two studies: text, chart, and a table with the largest changes first."""
    after = Path(study.path).name
    finding = describe_changes(table, layers, (before, after))
    st.markdown(f"From **{plain(before)}** to **{plain(after)}**: {finding}")
    with st.container(key=CHANGES):
        alt = f"Separation Index of {before} and {after} by layer, and the difference. {finding.replace('**', '')}"
        chart = change_chart(table, _control(study, selection, table), (before, after))
        st.altair_chart(chart, width="stretch", alt=alt.replace("`", ""))
    unpaired = int((~table["paired"].astype(bool)).sum())
    note = UNPAIRED.format(count=unpaired, total=len(table)) if unpaired else ""
    text = " ".join(filter(None, [CHANGE_CAPTION, note]))
    st.caption(text)
    picture = picture_of(chart, study, f"From {plain(before)} to {plain(after)}", text)
    save_menu(f"{before}_to_{after}", lambda: table, picture)
    ranked = table.sort_values("difference", key=abs, ascending=False, ignore_index=True)
    columns = list(CONFIG)
    if (table["layer"] == table["layer_before"]).all():
        columns.remove("layer_before")
    differences = ["difference", "low", "high"]
    ranked[differences] = without_minus_zero(ranked[differences])
    st.dataframe(ranked[columns], hide_index=True, column_config=CONFIG)


def _control(study: OpenStudy, selection: CompareSelection, table: pd.DataFrame) -> pd.DataFrame:
    """SI of the untrained control at the compared layers; empty without a control, or if it is the other study."""
    control = untrained_control(study)
    if control is None or Path(control.path).name == selection.before:
        return pd.DataFrame(columns=["layer", "value"])
    return control_curve(control, selection, list(table["layer"]))


@st.cache_data(max_entries=32, show_spinner="Comparing the studies")
def _cached_changes(
    before: str,
    before_stamp: tuple[int, ...],
    after: str,
    after_stamp: tuple[int, ...],
    selection: CompareSelection,
) -> tuple[pd.DataFrame, LayerMatch]:
    """The change of SI from one study to another, and which layers were compared."""
    first, second = cached_tables(before, before_stamp), cached_tables(after, after_stamp)
    options: dict[str, Any] = {"pooling": selection.pooling, "match": selection.match or None}
    if selection.samples == "cross":
        options |= {"measure": "cross", "split": "test"}
    else:
        options |= {"measure": "separation", "split": selection.samples}
    return compare_studies(first, second, **options), match_layers(first, second, **options)


guarded(render)()
