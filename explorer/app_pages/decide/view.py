"""The page Decide: at which layer to cut the network, what this saves and costs, and which network to use."""

from pathlib import Path

import numpy as np
import pandas as pd
import streamlit as st

from core.analysis.cut.advice import Advice
from core.analysis.cut.without_network import why_no_network
from core.analysis.samples.selection import offered_poolings_and_samples
from core.report.words.cut import difference_to_best_text, explanation, headline, level_text
from core.report.words.formatting import SAMPLES
from core.study.reopening import has_network
from core.study.store.opening import StudyError
from explorer.app_pages.decide.charts import PICK, VERDICTS, cut_chart
from explorer.app_pages.decide.computed import cached_advice, cached_class_costs
from explorer.app_pages.decide.export_view import show_blocks, show_export
from explorer.app_pages.decide.ranking_view import show_ranking
from explorer.app_pages.decide.tables import savings, share, time_help, time_share
from explorer.controls.downloads import picture_of, save_menu
from explorer.controls.layer_table import show_numbers
from explorer.controls.page_header import show_notes, show_provenance
from explorer.controls.phone_order import chart_first, controls_after_chart
from explorer.controls.sections import show_sections
from explorer.controls.study_picker import open_chosen_study
from explorer.controls.terms import show_terms
from explorer.controls.widgets import choose_one, open_expander, selected_point, widget_key
from explorer.runs.commands import shown_path
from explorer.server.page_errors import guarded
from explorer.server.public_mode import is_public
from explorer.state.address import (
    MAX_TOLERANCE,
    MIN_TOLERANCE,
    current_layer,
    current_tolerance,
    keep_layer,
    keep_tolerance,
)
from explorer.state.choices import POOLINGS
from explorer.studies.loading import OpenStudy, cached_tables

PAGE, CUT = "decide", "decide_cut"
SECTIONS = {"cut": "Cut", "export": "Export", "blocks": "Blocks", "networks": "Which network"}
CUT_COLUMNS = {
    "layer": "Layer",
    "value": "SI",
    "difference": "Minus the best",
    "difference_low": "95%, low",
    "difference_high": "95%, high",
    "verdict": "Verdict",
    "samples_needed": "Samples needed",
    "parameters_saved": "Parameters saved",
    "flop_saved": "Operations saved",
    "seconds_saved": "Time saved",
    "seconds_saved_low": "Time, least",
    "seconds_saved_high": "Time, most",
    "linear_probe": "Linear probe",
}


def render() -> None:
    """Draw the page: the cut and its export, the blocks, and the ranking of networks."""
    study = open_chosen_study()
    if study is None:
        return
    advice = show_cut(study)
    if advice is not None:
        show_blocks(study, "cross" if advice.measure == "cross" else advice.split, advice.pooling)
    show_ranking(study)
    show_provenance(study)


def show_cut(study: OpenStudy) -> Advice | None:
    """Show the recommended cut, and what a cut at any layer saves and costs; None, with a message, if impossible."""
    heading, menu = st.container(), st.empty()
    with chart_first(PAGE):
        with controls_after_chart(PAGE):
            samples, pooling, tolerance = controls(study)
            try:
                advice = cached_advice(study.path, study.stamp, samples, pooling, tolerance)
            except StudyError as error:
                st.info(str(error))
                show_notes(study)
                return None
            layer = choose_cut(study, advice)
            show_cost(study, advice, layer)
            if text := cached_class_costs(study.path, study.stamp, samples, pooling, tolerance, layer):
                st.markdown(text)
        show_chart(study, advice, layer)
    heading.title(headline(advice), anchor="cut")
    savings_text = "" if advice.recommended is None else savings(advice.row(advice.recommended))
    with heading:
        st.markdown(f"{explanation(advice)} {savings_text}".strip())
        show_notes(study)
        show_terms("SI", "cut", "tolerance", "interval")
    with menu:
        show_sections(SECTIONS)
    if expander := open_expander("All layers", widget_key(PAGE, "listed", study)):
        with expander:
            show_numbers(table_of_layers(advice), CUT_COLUMNS)
    show_export(study, layer, advice.pooling)
    return advice


def controls(study: OpenStudy) -> tuple[str, str, float]:
    """Show the widgets for samples, pooling and tolerance; returns what is chosen."""
    poolings, samples = offered_poolings_and_samples(study.curves)
    with st.container(horizontal=True, vertical_alignment="bottom", gap="medium"):
        chosen = choose_one("Samples", samples, SAMPLES, first=samples[0], key=widget_key(PAGE, "samples", study))
        pooling = choose_one("Pooling", poolings, POOLINGS, first=poolings[0], key=widget_key(PAGE, "pooling", study))
        tolerance = choose_tolerance(study)
    return chosen, pooling, tolerance


def show_chart(study: OpenStudy, advice: Advice, layer: str) -> None:
    """Show the loss of SI by a cut after each layer; a click chooses a layer."""
    chart_key = widget_key(PAGE, "chart", study)

    def pick_cut() -> None:
        point = selected_point(st.session_state[chart_key], PICK, "layer")
        if point and point["layer"] in set(advice.layers["layer"]):
            st.session_state[widget_key(PAGE, "cut", study)] = point["layer"]

    with st.container(key=CUT):
        chart = cut_chart(advice.layers, layer, advice.tolerance)
        st.altair_chart(
            chart,
            width="stretch",
            on_select=guarded(pick_cut),
            selection_mode=PICK,
            key=chart_key,
            alt=headline(advice),
        )
    paired = ", paired: both layers use the same samples" if advice.layers["paired"].all() else ""
    text = (
        f"Bars: interval of the difference to the best layer, whichever that is ({level_text(advice)}{paired}). A "
        "layer is recommended only if its whole bar lies above the lower dashed line, the tolerance. If a bar crosses "
        "that line, these samples cannot decide. The network's own head and the input pixels are not offered as cuts."
    )
    st.caption(f"A click chooses a layer. {text}")
    picture = picture_of(chart, study, "SI lost by a cut after each layer", text)
    save_menu(f"{Path(study.path).name}_cut", lambda: advice.layers, picture, info=study.info)


def choose_tolerance(study: OpenStudy) -> float:
    """Show a field for the accepted loss of SI; the value is kept in the address for the other pages."""
    key = widget_key(PAGE, "tolerance", study)
    st.session_state.setdefault(key, current_tolerance())
    tolerance = st.number_input(
        "Tolerance",
        min_value=MIN_TOLERANCE,
        max_value=MAX_TOLERANCE,
        step=0.005,
        format="%.3f",
        key=key,
        width=140,
        help="The accepted loss of SI compared with the best layer.",
    )
    rounded = round(float(tolerance), 4)
    keep_tolerance(rounded)
    return rounded


def table_of_layers(advice: Advice) -> pd.DataFrame:
    """The table of layers with verdicts in words, and the samples needed to decide where these cannot."""
    layers = advice.layers
    needed = layers["samples_needed"].where(layers["verdict"] == "undecided").replace(np.inf, np.nan)
    return layers.assign(verdict=layers["verdict"].map(VERDICTS), samples_needed=needed.astype("Int64"))


def choose_cut(study: OpenStudy, advice: Advice) -> str:
    """Show a slider for the layer to cut at: the one chosen here or on another page, else the recommended one.

    As long as the user has not moved the slider, it follows the recommendation when the tolerance changes.
    """
    names, key = advice.layers["layer"].tolist(), widget_key(PAGE, "cut", study)
    previous_key, shared_layer = f"{key}, recommended before", current_layer()
    if st.session_state.get(key) not in names:
        st.session_state[key] = shared_layer if shared_layer in names else advice.target
    elif st.session_state[key] == st.session_state.get(previous_key):
        st.session_state[key] = advice.target
    st.session_state[previous_key] = advice.target
    layer = str(st.select_slider("Cut after", names, key=key))
    if layer != advice.target or shared_layer is not None:
        keep_layer(layer)
    return layer


def show_cost(study: OpenStudy, advice: Advice, layer: str) -> None:
    """Show what the cut saves and costs, in figures; that of the linear probe where any layer has one."""
    row = advice.row(layer)
    probe = row["linear_probe_difference"]
    with st.container(horizontal=True, gap="medium"):
        st.metric("SI at the cut", f"{row['value']:.3f}", help="The page Layers shows its 95% interval.")
        st.metric("Minus the best layer", "the best" if row["difference"] == 0 else difference_to_best_text(row))
        st.metric("Parameters saved", share(row["parameters_saved"]))
        st.metric("Operations saved", share(row["flop_saved"]))
        st.metric("Time saved", time_share(row), help=f"{time_help(row)} {_timing_help(study)}".strip())
        if advice.layers["linear_probe"].notna().any():
            st.metric("Linear probe, minus the best layer's", "–" if pd.isna(probe) else f"{probe:+z.3f}")


def _timing_help(study: OpenStudy) -> str:
    """What the time means, and the command that measures it if the study has a network."""
    if not has_network(study.info):
        return f"Time per image, which cannot be measured. {why_no_network(cached_tables(study.path, study.stamp))}"
    return f"Time per image; `python -m core cut {shown_path(Path(study.path), public=is_public())}` measures it."


guarded(render)()
