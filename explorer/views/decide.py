"""From a number to a decision: where to cut this network, what that saves and costs, and which network to take."""

from pathlib import Path

import pandas as pd
import streamlit as st

from core.study.advice import Advice, advise, layers_before_head, with_seconds
from core.study.results import StudyError
from core.study.timings import kept_timing
from explorer.address import asked_layer, keep_layer
from explorer.class_tables import offered_places
from explorer.components import export_row
from explorer.data import OpenStudy
from explorer.decide_charts import cut_chart
from explorer.deciding import headline, interval, reason, share
from explorer.export_view import show_blocks, show_export
from explorer.exporting import shown_path
from explorer.frame import show_notes, show_provenance
from explorer.picker import cached_tables, open_chosen_study
from explorer.public import is_public
from explorer.ranking_view import show_ranking
from explorer.state import POOLINGS, SAMPLES
from explorer.tables import show_numbers
from explorer.widgets import choose_one, opened, widget_key

PAGE, CUT = "decide", "decide_cut"
SVG = {"usermeta": {"embedOptions": {"renderer": "svg"}}}  # so that a chart can be saved as such
CUT_COLUMNS = {
    "layer": "Layer",
    "value": "SI",
    "difference": "Minus the best",
    "difference_low": "95 %, low",
    "difference_high": "95 %, high",
    "within": "As good",
    "parameters_saved": "Parameters saved",
    "flop_saved": "Operations saved",
    "seconds_saved": "Time saved",
    "linear_probe": "Linear probe",
}


def render() -> None:
    """The cut and what to take along, the blocks, then the networks."""
    study = open_chosen_study()
    if study is None:
        return
    advice = show_cut(study)
    if advice is not None:
        show_blocks(study, advice.split, advice.pooling, advice.measure)
    show_notes(study)
    show_ranking(study)
    show_provenance(study)


def show_cut(study: OpenStudy) -> Advice | None:
    """The advice, and what a cut at any layer saves and costs; None, with a message, where there is none."""
    heading = st.container()
    poolings, samples = offered_places(study.curves)
    with st.container(horizontal=True, vertical_alignment="bottom", gap="medium"):
        shown = choose_one("Samples", samples, SAMPLES, first=samples[0], key=widget_key(PAGE, "samples", study))
        pooling = choose_one("Pooling", poolings, POOLINGS, first=poolings[0], key=widget_key(PAGE, "pooling", study))
        head = st.toggle("The network's own head counts", value=False, key=widget_key(PAGE, "head", study))
    try:
        advice = cached_advice(study.path, study.stamp, shown, pooling, head)
    except StudyError as error:
        st.info(str(error))
        return None
    heading.title(headline(advice), anchor=False)
    heading.markdown(reason(advice))
    layer = choose_cut(study, advice)
    show_cost(study, advice.row(layer))
    with st.container(key=CUT):
        st.vega_lite_chart(cut_chart(advice.layers, layer) | SVG, width="stretch")
    paired = ", paired: of the same samples" if advice.layers["paired"].all() else ""
    st.caption(
        f"Bars: 95 % interval of the difference{paired}. The best was chosen by its value, so that differences to it "
        "come out a little too large. As good is no proof of equality: the lower end says how much a cut may cost."
    )
    file = f"{Path(study.path).name}_cut"
    export_row(CUT, lambda: advice.layers, file, study.info)
    if listed := opened("All layers", widget_key(PAGE, "listed", study)):
        with listed:
            show_numbers(advice.layers, CUT_COLUMNS)
    show_export(study, layer, advice.pooling)
    return advice


@st.cache_data(max_entries=16, show_spinner="Comparing the layers …")
def cached_advice(path: str, stamp: tuple[int, ...], samples: str, pooling: str, head: bool) -> Advice:
    """The advice; `stamp` makes it anew when the study changes."""
    study = cached_tables(path, stamp)
    measure, split = ("cross", "test") if samples == "cross" else ("separation", samples)
    layers = None if head else layers_before_head(study)
    advice = advise(study, split=split, pooling=pooling, measure=measure, layers=layers)
    seconds = kept_timing(study).get("seconds")
    return with_seconds(advice, seconds) if seconds else advice


def choose_cut(study: OpenStudy, advice: Advice) -> str:
    """The layer to cut at: the one chosen on another page, else the advised one."""
    names, key = advice.layers["layer"].tolist(), widget_key(PAGE, "cut", study)
    asked = asked_layer()
    if st.session_state.get(key) not in names:
        st.session_state[key] = asked if asked in names else advice.earliest
    layer = str(st.select_slider("Cut after", names, key=key))
    if layer != advice.earliest or asked is not None:
        keep_layer(layer)
    return layer


def show_cost(study: OpenStudy, row: pd.Series) -> None:
    """What the cut saves and costs, in figures."""
    with st.container(horizontal=True, gap="large"):
        st.metric("SI there", f"{row['value']:.3f}", help="Its 95 % interval is on the page Layers.")
        st.metric("Minus the best layer", interval(row))
        st.metric("Parameters saved", share(row["parameters_saved"]))
        st.metric("Operations saved", share(row["flop_saved"]))
        left = "–" if pd.isna(row["seconds"]) else f"{share(row['seconds_saved'])}, {1000 * row['seconds']:.3g} ms left"
        folder = shown_path(Path(study.path), public=is_public())
        st.metric("Time saved", left, help=f"An image, measured: `python -m core cut {folder}` does so.")
        probe = row["linear_probe_difference"]
        st.metric("Linear probe, minus the best layer's", "–" if pd.isna(probe) else f"{probe:+.3f}")


render()
