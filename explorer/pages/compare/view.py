"""SI against what a layer is, and this study against another one of the same samples."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd
import streamlit as st

from core.analysis.comparing import LayerMatch, compare_studies, match_layers
from core.report.words.changes import describe_changes
from core.report.words.formatting import plain
from core.report.words.small_classes import baseline_text
from core.study.store.ties import left_out_text
from explorer.controls.downloads import export_row, save_chart_button, save_configuration_button, save_table_buttons
from explorer.controls.page_header import show_notes, show_provenance
from explorer.controls.study_picker import open_chosen_study, pick_layer, pick_other_study, untrained_control
from explorer.controls.widgets import choose_one, widget_key
from explorer.pages.compare.charts import change_chart, dots_chart
from explorer.pages.compare.geometry_view import show_geometry
from explorer.pages.compare.tables import (
    AGAINST,
    CompareSelection,
    compare_query,
    compare_selection,
    control_curve,
    correlation_text,
    correlations,
    dots_finding,
    layer_dots,
    offered,
    probe_accuracies,
)
from explorer.server.page_errors import guarded
from explorer.state.address import asked_view, current_layer, keep_view
from explorer.state.choices import POOLINGS, SAMPLES
from explorer.studies.loading import OpenStudy, cached_tables, study_stamp

PAGE, CHANGES = "compare", "change_chart"
MATCHES = {"": "By name where possible", "name": "By name", "position": "By relative position"}
COLUMNS = 3  # charts beside each other
DOTS_CAPTION = (
    "One dot a layer; bars: 95 % interval of SI. Spearman's rank correlation over the layers shown, with a 95 % "
    "interval after Fisher. Layers of a network follow from one another, so read it as a rough guide. Layers without "
    "parameters (sums, pooling) are left out against parameters. The linear probe is trained on channel means."
)
CHANGE_CAPTION = (
    "Difference: the open study minus the other. ▲ rose, ▼ fell: q < 0.05 over these layers (Benjamini and Hochberg); "
    "● no certain change, which is not to say that there is none; ■ many ties, nothing concluded. The "
    "interval is for a fresh sample of the same size and classes."
)
UNPAIRED = (
    "At {count} of {total} layers one of the studies has no stored neighbors. There the interval is not paired: it "
    "follows from the two values' own intervals, and is wider than it needs to be."
)
CONFIG: Mapping[str, Any] = {
    "layer": st.column_config.TextColumn("Layer", pinned=True),
    "layer_before": st.column_config.TextColumn("Compared with"),
    "before": st.column_config.NumberColumn("Before", format="%.3f"),
    "after": st.column_config.NumberColumn("After", format="%.3f"),
    "difference": st.column_config.NumberColumn("Difference", format="%+.3f"),
    "low": st.column_config.NumberColumn("95 %, from", format="%+.3f"),
    "high": st.column_config.NumberColumn("95 %, to", format="%+.3f"),
    "q_value": st.column_config.NumberColumn("q", format="%.4f", help="p after Benjamini and Hochberg."),
    "paired": st.column_config.CheckboxColumn("Paired", help="Whether the interval knows that samples are the same."),
    "meaning": st.column_config.TextColumn("Meaning"),
    "matched_by": st.column_config.TextColumn("Matched by", help="How the layer of the other study was found."),
    "position": st.column_config.NumberColumn("Position"),
}


def render() -> None:
    """Choose a study; SI against what its layers are; the study against another."""
    study = open_chosen_study()
    if study is None:
        return
    if study.curves.empty:
        st.info("This study has no Separation Index to compare yet. Come back when its first layer is done.")
        return
    st.title("Compare", anchor=False)
    start = compare_selection(asked_view(PAGE), study.curves)
    selection = controls(study, start)
    show_dots(study, selection)
    selection = show_other(study, selection, start)
    keep_view(PAGE, compare_query(selection, study.curves))
    show_geometry(study, study.stamp, selection)
    show_notes(study)
    show_provenance(study)


def controls(study: OpenStudy, start: CompareSelection) -> CompareSelection:
    """Pooling and samples, for both parts of the page."""
    poolings, samples = offered(study.curves)
    keys = {name: widget_key(PAGE, name, study) for name in ("pooling", "samples")}
    with st.container(horizontal=True, vertical_alignment="bottom", gap="medium"):
        pooling = choose_one("Pooling", poolings, POOLINGS, first=start.pooling, key=keys["pooling"])
        chosen = choose_one("Samples", samples, SAMPLES, first=start.samples, key=keys["samples"])
        with st.container(width=300):
            pick_layer(study, PAGE, "Choose one to mark it")
    return CompareSelection(pooling, chosen, start.match, start.before)


def show_dots(study: OpenStudy, selection: CompareSelection) -> None:
    """A chart for each thing that is known of the layers, and which of them SI goes with."""
    st.header("What SI goes with", anchor=False)
    tables = cached_tables(study.path, study.stamp)
    probe = probe_accuracies(tables)
    dots = layer_dots(study, probe, selection)
    found = correlations(dots)
    if not found:
        st.info("This study has too few layers for a comparison.")
        return
    left_out = left_out_text(dots.loc[dots["tied"], "layer"].tolist())
    st.markdown(f"{dots_finding(found, selection)} {left_out}".strip())
    names = list(found)
    for row in range(0, len(names), COLUMNS):
        for place, name in zip(st.columns(COLUMNS, gap="medium"), names[row : row + COLUMNS], strict=False):
            with place, st.container(key=f"dots_{name}"):
                title, text = AGAINST[name][0], correlation_text(found[name])
                chart = dots_chart(dots, name, current_layer())
                st.altair_chart(chart, width="stretch", alt=f"Separation Index against {title}, a dot a layer. {text}.")
                st.caption(text)
                file = f"{Path(study.path).name}_{name}"
                with st.container(horizontal=True, gap="small"):
                    for kind in ("png", "svg"):
                        save_chart_button(kind.upper(), container=f"dots_{name}", file_name=f"{file}.{kind}")
    small = baseline_text(tables.samples, study.curves[study.curves["samples"] == selection.samples])
    st.caption(f"{DOTS_CAPTION} {small}".strip())
    with st.container(horizontal=True, vertical_alignment="center", gap="small"):
        st.caption("Save the numbers", width="content")
        save_table_buttons(lambda: dots, f"{Path(study.path).name}_compare")
        save_configuration_button(study.info, f"{Path(study.path).name}_compare")


def show_other(study: OpenStudy, selection: CompareSelection, start: CompareSelection) -> CompareSelection:
    """The study to compare with, and what changed from it to the open one."""
    st.header("Against another study", anchor=False)
    keys = {name: widget_key(PAGE, name, study) for name in ("before", "match")}
    with st.container(horizontal=True, vertical_alignment="bottom", gap="medium"):
        name, path = pick_other_study(study.path, start.before, label="Compare with", key=keys["before"])
        match = choose_one("Match layers", tuple(MATCHES), MATCHES, first=start.match, key=keys["match"])
    selection = CompareSelection(selection.pooling, selection.samples, match, name)
    if path is None:
        st.info(
            "Choose a study of the same samples: the network before fine-tuning, untrained, or another network on the "
            "same images. The open study is taken as *after*, the other as *before*."
        )
        return selection
    try:
        table, layers = _cached_changes(str(path), study_stamp(path), study.path, study.stamp, selection)
    except (ValueError, OSError) as error:  # a StudyError is a ValueError, as is a path that none can be
        st.error(f"**These studies cannot be compared.** {plain(error)}", icon=":material/difference:")
        return selection
    if table.empty:
        st.info(
            f"None of the {len(layers.only_after)} layers of this study has the name of one of the "
            f"{len(layers.only_before)} of the other, so by name nothing can be compared. Match them by relative "
            "position, if the two networks go through comparable stages."
        )
        return selection
    show_changes(study, table, layers, Path(name).name, selection)
    return selection


def show_changes(
    study: OpenStudy, table: pd.DataFrame, layers: LayerMatch, before: str, selection: CompareSelection
) -> None:
    """The sentence, the chart, the table by size of change."""
    after = Path(study.path).name
    finding = describe_changes(table, layers, (before, after))
    st.markdown(f"From **{plain(before)}** to **{plain(after)}**: {finding}")
    with st.container(key=CHANGES):
        alt = f"Separation Index of {before} and {after} by layer, and the difference. {finding.replace('**', '')}"
        chart = change_chart(table, _control(study, selection, table), (before, after))
        st.altair_chart(chart, width="stretch", alt=alt.replace("`", ""))
    unpaired = int((~table["paired"].astype(bool)).sum())
    note = UNPAIRED.format(count=unpaired, total=len(table)) if unpaired else ""
    st.caption(" ".join(filter(None, [CHANGE_CAPTION, note])))
    file = f"{before}_to_{after}"
    export_row(CHANGES, lambda: table, file)
    ranked = table.sort_values("difference", key=abs, ascending=False, ignore_index=True)
    same = (table["layer"] == table["layer_before"]).all()
    columns = [name for name in CONFIG if not (same and name == "layer_before")]
    st.dataframe(ranked[columns], hide_index=True, column_config=CONFIG)


def _control(study: OpenStudy, selection: CompareSelection, table: pd.DataFrame) -> pd.DataFrame:
    """SI of the untrained control at the layers shown; empty where none is bundled, or it is what is compared with."""
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
    """The comparison, and which layers were compared with which."""
    first, second = cached_tables(before, before_stamp), cached_tables(after, after_stamp)
    cross, match = selection.samples == "cross", selection.match or None
    measure, split = ("cross", "test") if cross else ("separation", selection.samples)
    pooling = selection.pooling
    layers = match_layers(first, second, measure=measure, pooling=pooling, split=split, match=match)
    table = compare_studies(first, second, measure=measure, pooling=pooling, split=split, match=match)
    return table, layers


guarded(render)()
