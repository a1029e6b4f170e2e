"""The widgets of the pages Classes and Samples that choose samples, pooling and layer."""

from collections.abc import Mapping, Sequence

import streamlit as st

from core.analysis.samples.selection import LayerSelection, best_layer, offered_layers, offered_poolings_and_samples
from core.report.words.formatting import SAMPLES
from explorer.controls.widgets import choose_one, widget_key
from explorer.state.address import current_layer, keep_layer
from explorer.state.choices import POOLINGS
from explorer.studies.class_tables import cached_layers_with_neighbors, layer_selection
from explorer.studies.loading import OpenStudy


def layer_controls(
    study: OpenStudy, page: str, query: Mapping[str, Sequence[str]], *, needs_neighbors: bool = False
) -> LayerSelection:
    """Show the widgets, initialized from the address; a chosen layer is kept for the other pages.

    Without a choice the layer is the best one whose neighbors are stored.

    Parameters
    ----------
    study : OpenStudy
        The open study.
    page : str
        The page, for the session keys of its widgets.
    query : mapping
        Query parameters of the page.
    needs_neighbors : bool
        Offer only layers whose neighbors are stored. What other pages have chosen stays, if it is none of them.
    """
    stored = cached_layers_with_neighbors(study.path, study.stamp)
    shared = current_layer()
    start = layer_selection(query, shared, study.curves, stored)
    poolings, samples = offered_poolings_and_samples(study.curves)
    keys = {name: widget_key(page, name, study) for name in ("layer", "pooling", "samples")}
    st.session_state.setdefault(keys["layer"], start.layer)
    with st.container(horizontal=True, vertical_alignment="bottom", gap="medium"):
        chosen_samples = choose_one("Samples", samples, SAMPLES, first=start.samples, key=keys["samples"])
        pooling = choose_one("Pooling", poolings, POOLINGS, first=start.pooling, key=keys["pooling"])
        layers = every = offered_layers(study.curves, pooling, chosen_samples)
        if needs_neighbors:
            layers = [layer for layer in every if layer in stored] or every
        best = best_layer(study.curves, pooling, chosen_samples, stored)
        if st.session_state[keys["layer"]] not in layers:
            st.session_state[keys["layer"]] = best
        text = f"The {len(layers)} of {len(every)} layers whose neighbors are stored." if layers != every else None
        layer = str(st.selectbox("Layer", layers, key=keys["layer"], filter_mode="contains", width=300, help=text))
    if layer != best or shared in layers:  # the default is not a choice that other pages should follow
        keep_layer(layer)
    return LayerSelection(layer, pooling, chosen_samples)
