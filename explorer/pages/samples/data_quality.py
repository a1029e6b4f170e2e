"""Samples that deserve a second look: duplicates, samples to check and hard samples, ranked, to take away."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd
import streamlit as st

from core.analysis.samples.planted_labels import LEAST_WRONG, PlantedSwaps
from core.analysis.samples.suspects import CLEAR_SCORE, duplicate_flags, hard_samples
from core.report.words.formatting import plain
from core.report.words.samples_to_check import span
from core.study.store.opening import StudyError
from explorer.controls.downloads import save_table_row
from explorer.controls.sample_cards import PAGE, selected_key, show_picture
from explorer.controls.widgets import selected_row, widget_key
from explorer.server.page_errors import guarded
from explorer.studies.class_tables import LayerSelection
from explorer.studies.gallery import short_id
from explorer.studies.loading import OpenStudy
from explorer.studies.pictures import Pictures
from explorer.studies.sample_paths import SamplePaths, cached_duplicates

NEAR = {0.0: "Exact", 0.1: "Near"}
FLAGS = {"across": "in the other split", "within": "in its own split"}
CARDS, PICTURE = 6, 104
RATES = (0.01, 0.02, 0.05)  # of wrong labels
ASSUMED = (
    "They were swapped with classes that look alike, drawn by which ones the neighbors at the best layer mix up. It is "
    "assumed that wrong labels are like these and spread evenly, and that the network was not trained on them. Images "
    "that themselves look like the wrong class are listed less often."
)
CONFIG: Mapping[str, Any] = {
    "id": st.column_config.TextColumn("Sample", pinned=True),
    "split": st.column_config.TextColumn("Split"),
    "class_name": st.column_config.TextColumn("Label"),
    "suggested": st.column_config.TextColumn("Neighbors say"),
    "score": st.column_config.ProgressColumn("Score", format="%.2f", min_value=0, max_value=1),
    "votes": st.column_config.NumberColumn("Votes for that", format="%.1f", help="Of neighbors, a layer."),
    "own_votes": st.column_config.NumberColumn("for the label", format="%.1f"),
    "duplicate": st.column_config.TextColumn("Has a duplicate"),
    "depth": st.column_config.NumberColumn("Prediction depth"),
    "layer": st.column_config.TextColumn("Layer", pinned=True),
    "decided": st.column_config.TextColumn("Decided at"),
    "prediction": st.column_config.TextColumn("Neighbors say at the end"),
    "correct": st.column_config.CheckboxColumn("Right"),
    "settled": st.column_config.CheckboxColumn("Before the last layer"),
    "distance": st.column_config.NumberColumn("Distance", format="%.3g"),
    "agrees": st.column_config.CheckboxColumn("Same class"),
    "nearest_id": st.column_config.TextColumn("Nearest neighbor"),
    "nearest_class": st.column_config.TextColumn("Its class"),
    "first": st.column_config.TextColumn("Sample", pinned=True),
    "second": st.column_config.TextColumn("and its duplicate"),
    "first_split": st.column_config.TextColumn("Split"),
    "second_split": st.column_config.TextColumn("Its split"),
    "same_class": st.column_config.CheckboxColumn("Same class"),
    "across": st.column_config.CheckboxColumn("Train and test"),
}


def show_data_quality(
    study: OpenStudy, sample_paths: SamplePaths, selection: LayerSelection, pictures: Pictures
) -> None:
    """Duplicates first, for they flatter every number; then samples to check and hard samples."""
    st.header("Worth a second look", anchor=False)
    flags = show_duplicates(study, sample_paths, selection)
    if sample_paths.small_classes:
        st.caption(f":orange[:material/warning:] {sample_paths.small_classes}")
    check, hard = st.tabs(["Samples to check", "Hard samples"])
    with check:
        show_samples_to_check(study, sample_paths, flags, pictures)
    with hard:
        show_hard(study, sample_paths)


def show_samples_to_check(
    study: OpenStudy, sample_paths: SamplePaths, flags: Mapping[int, str], pictures: Pictures
) -> None:
    """Samples whose neighbors name another class, the first with pictures, all as a table; how many may be wrong."""
    listed = sample_paths.to_check
    if listed.empty:
        st.info("No sample's neighbors at the late layers name another class more often than its label.")
        return
    listed = listed.assign(duplicate=listed["sample"].map(flags).map(FLAGS).fillna(""))
    layers = int(listed["layers"].iloc[0])
    st.markdown(
        f"**{sample_paths.num_clear:,}** of {len(sample_paths.fates):,} samples have a score of {CLEAR_SCORE} or more; "
        f"{len(listed):,} with 0.6 or more are listed. At the last {layers} layers, a sample's stored neighbors vote, "
        "and those that it is a neighbor of; the score is the share of the strongest other class among its votes and "
        f"the label's. That alone makes no label wrong. {sample_paths.expectation}"
    )
    show_swaps(sample_paths.swaps, sample_paths.num_clear)
    if pictures:
        show_check_cards(study, listed.head(CARDS), sample_paths, pictures)
    show_selectable(study, listed.drop(columns="layers"), "errors", "Samples to check, the highest score first")
    save_table_row(lambda: listed, f"{Path(study.path).name}_samples_to_check")


def show_swaps(swaps: PlantedSwaps | None, num_clear: int) -> None:
    """How many wrong labels would be listed if some shares of all labels were wrong."""
    if swaps is None or not swaps.tells_wrong_labels(num_clear):
        return
    rates = [rate for rate in RATES if swaps.num_wrong(rate) >= LEAST_WRONG]
    table = pd.DataFrame(
        {
            "If so many labels were wrong": [f"{rate:.0%}: {swaps.num_wrong(rate):,}" for rate in rates],
            f"of them would score {CLEAR_SCORE} or more": [span(*swaps.expected(rate)) for rate in rates],
        }
    )
    st.table(table.set_index(table.columns[0]), border="horizontal", width="content")
    st.caption(
        f"{swaps.share_listed:.0%} of {swaps.num_swapped:,} labels that were swapped for a trial, few at a time, score "
        f"{CLEAR_SCORE} or more; the ranges are of 95 %. {ASSUMED}"
    )


def show_check_cards(study: OpenStudy, found: pd.DataFrame, sample_paths: SamplePaths, pictures: Pictures) -> None:
    """The samples with the highest score: picture, label, and what their neighbors say."""
    sources = sample_paths.samples.set_index("sample")["source"]
    with st.container(horizontal=True, gap="small"):
        for row in found.to_dict("records"):
            with st.container(border=True, width=164):
                show_picture(pictures, sources[row["sample"]], row["class_name"], PICTURE)
                st.markdown(
                    f"**{plain(row['class_name'])}**, or **{plain(row['suggested'])}**?  \n"
                    f"{plain(short_id(row['id']))}  \n:small[score {row['score']:.2f}]"
                )

                def select(sample: int = int(row["sample"])) -> None:
                    st.session_state[selected_key(study)] = sample

                key = f"check {row['sample']} of {study.path}"
                st.button("Look closer", key=key, on_click=guarded(select), width="stretch")


def show_hard(study: OpenStudy, sample_paths: SamplePaths) -> None:
    """Samples by how late their vote settles."""
    found = hard_samples(sample_paths.depths, sample_paths.samples)
    if found.empty:
        return
    wrong, late = int((~found["correct"]).sum()), int((~found["settled"]).sum())
    st.markdown(
        f"Prediction depth is the layer from which on the vote of a sample's {sample_paths.voters} stored neighbors no "
        f"longer changes; half of the samples are decided by layer {int(found['depth'].median()) + 1:,}. For "
        f"**{late:,}** of {len(found):,} the vote still changes at the last one; **{wrong:,}** end in a wrong class."
    )
    shown = found.rename(columns={"layer": "decided"})
    show_selectable(study, shown, "hard", "Samples by prediction depth, the latest first")
    save_table_row(lambda: found, f"{Path(study.path).name}_prediction_depth")


def show_selectable(study: OpenStudy, found: pd.DataFrame, name: str, alt: str) -> None:
    """A table of samples; a click on a row selects the sample for the whole page."""
    key = widget_key(PAGE, name, study)

    def select() -> None:
        row = selected_row(st.session_state[key], len(found))
        if row is not None:
            st.session_state[selected_key(study)] = int(found["sample"].iloc[row])

    st.dataframe(
        found.drop(columns="sample"),
        hide_index=True,
        column_config=dict(CONFIG),
        on_select=guarded(select),
        selection_mode="single-row",
        key=key,
        alt=alt,
    )
    st.caption("A click on a row selects the sample.")


def show_duplicates(study: OpenStudy, sample_paths: SamplePaths, selection: LayerSelection) -> Mapping[int, str]:
    """Pairs that the layer cannot tell apart, of training and test first; by sample, where its duplicate is."""
    within = st.segmented_control(
        "Duplicates",
        list(NEAR),
        format_func=NEAR.__getitem__,
        default=0.0,
        required=True,
        key=widget_key(PAGE, "within", study),
        help="Near: within a tenth of the median distance to the nearest neighbor.",
    )
    try:
        found = cached_duplicates(study.path, study.stamp, selection, float(within or 0.0))
    except StudyError:  # nothing is stored of this layer
        st.markdown(
            f"The study stores no neighbors of `{selection.layer}`, so that duplicates cannot be looked for there."
        )
        return {}
    how = "coincide, or nearly," if within else "coincide"
    if found.empty:
        st.markdown(f":material/check_circle: No two samples {how} at `{selection.layer}`, among the stored neighbors.")
        return {}
    across, contrary = int(found["across"].sum()), int((~found["same_class"].astype(bool)).sum())
    text = (
        f"**{len(found):,}** pairs {how} at `{selection.layer}`: **{across:,}** of a training and a test sample, which "
        f"make every number about the test too good; **{contrary:,}** of different labels, of which one must be wrong "
        "if the images are the same. Activations coincide; the images may differ."
    )
    (st.warning if across else st.info)(text, icon=":material/content_copy:")
    ids = sample_paths.samples.set_index("sample")["id"]
    named = found.assign(first=found["first"].map(ids), second=found["second"].map(ids))
    st.dataframe(named, hide_index=True, column_config=dict(CONFIG))
    save_table_row(lambda: named, f"{Path(study.path).name}_duplicates")
    return duplicate_flags(found)
