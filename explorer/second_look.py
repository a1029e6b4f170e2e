"""Samples that deserve a second look: likely label errors and duplicates, ranked, to take away."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import streamlit as st

from explorer.class_tables import Place
from explorer.components import save_table_row
from explorer.data import OpenStudy
from explorer.journeys import Journeys, cached_duplicates
from explorer.sample_cards import PAGE, selected_key
from explorer.widgets import widget_key

NEAR = {0.0: "Exact", 0.1: "Near"}
CONFIG: Mapping[str, Any] = {
    "id": st.column_config.TextColumn("Sample", pinned=True),
    "split": st.column_config.TextColumn("Split"),
    "class_name": st.column_config.TextColumn("Label"),
    "suggested": st.column_config.TextColumn("Neighbors say"),
    "score": st.column_config.ProgressColumn("Share of the last layers", format="percent", min_value=0, max_value=1),
    "distance": st.column_config.NumberColumn("Distance", format="%.3g"),
    "agrees": st.column_config.CheckboxColumn("Same class"),
    "layer": st.column_config.TextColumn("Layer", pinned=True),
    "nearest_id": st.column_config.TextColumn("Nearest neighbor"),
    "nearest_class": st.column_config.TextColumn("Its class"),
    "same_class": st.column_config.CheckboxColumn("Same class"),
    "across": st.column_config.CheckboxColumn("Train and test"),
}


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
        st.info("No sample's neighbors agree on another class at most of the last layers.")
        return
    layers = int(found["layers"].iloc[0])
    st.markdown(
        f"**{int((found['score'] == 1).sum()):,}** of {len(journeys.fates):,} samples have a nearest neighbor of one "
        f"and the same *other* class at all of the last {layers} layers; at most of them it is {len(found):,}, listed. "
        "A reason to look, not an error: where the network does not separate the classes, most are none. A click on a "
        "row selects the sample."
    )
    key = widget_key(PAGE, "errors", study)

    def select() -> None:
        rows = st.session_state[key].selection.rows
        if rows:
            st.session_state[selected_key(study)] = int(found["sample"].iloc[rows[0]])

    st.dataframe(
        found.drop(columns=["sample", "layers"]),
        hide_index=True,
        column_config={**CONFIG, "distance": st.column_config.NumberColumn("Distance / median", format="%.2f")},
        on_select=select,
        selection_mode="single-row",
        key=key,
        alt="Likely label errors, the most suspicious first",
    )
    save_table_row(lambda: found, f"{Path(study.path).name}_label_errors")


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
    found = cached_duplicates(study.path, study.stamp, place, float(within or 0.0))
    if found.empty:
        st.info(f"No two samples coincide at {place.layer}, among the stored neighbors.")
        return
    across = int(found["across"].sum())
    st.markdown(
        f"**{len(found):,}** pairs that `{place.layer}` cannot tell apart{' or hardly' if within else ''}; "
        f"**{across:,}** of a training and a test sample, which make a test too easy. "
        "Activations coincide; the images may differ."
    )
    st.dataframe(found, hide_index=True, column_config=CONFIG)
    save_table_row(lambda: found, f"{Path(study.path).name}_duplicates")
