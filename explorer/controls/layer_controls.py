"""The widgets of the pages Classes and Samples that choose samples, pooling and layer."""

from collections.abc import Mapping, Sequence

import streamlit as st

from core.analysis.samples.selection import LayerSelection, best_layer, offered_layers, offered_poolings_and_samples
from core.report.words.formatting import SAMPLES
from explorer.controls.widgets import choose_one, widget_key
from explorer.state.address import current_layer, keep_layer
from explorer.state.choices import POOLINGS
from explorer.studies.class_tables import layer_selection
from explorer.studies.loading import OpenStudy


def layer_controls(study: OpenStudy, page: str, query: Mapping[str, Sequence[str]]) -> LayerSelection:
    """Show the widgets, initialized from the address; a chosen layer is kept for the other pages.

    Parameters
    ----------
    study : OpenStudy
        The open study.
    page : str
        The page, for the session keys of its widgets.
    query : mapping
        Query parameters of the page.
    """
    start = layer_selection(query, current_layer(), study.curves)
    poolings, samples = offered_poolings_and_samples(study.curves)
    keys = {name: widget_key(page, name, study) for name in ("layer", "pooling", "samples")}
    st.session_state.setdefault(keys["layer"], start.layer)
    with st.container(horizontal=True, vertical_alignment="bottom", gap="medium"):
        chosen_samples = choose_one("Samples", samples, SAMPLES, first=start.samples, key=keys["samples"])
        pooling = choose_one("Pooling", poolings, POOLINGS, first=start.pooling, key=keys["pooling"])
        layers = offered_layers(study.curves, pooling, chosen_samples)
        best = best_layer(study.curves, pooling, chosen_samples)
        if st.session_state[keys["layer"]] not in layers:
            st.session_state[keys["layer"]] = best
        layer = str(st.selectbox("Layer", layers, key=keys["layer"], filter_mode="contains", width=300))
    if layer != best or current_layer() is not None:  # the default is not a choice that other pages should follow
        keep_layer(layer)
    return LayerSelection(layer, pooling, chosen_samples)
