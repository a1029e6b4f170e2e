"""What the pages about classes and samples have in common: the layer, pooling and samples that they look at."""

from collections.abc import Mapping, Sequence

import pandas as pd
import streamlit as st

from core.study.class_words import short_classes
from core.study.results import Study, load_study
from explorer.address import asked_layer, keep_layer
from explorer.class_tables import Place, best_layer, chosen_place, offered_layers, offered_places
from explorer.data import OpenStudy
from explorer.state import POOLINGS, SAMPLES


def place_controls(study: OpenStudy, page: str, query: Mapping[str, Sequence[str]]) -> Place:
    """The widgets, started from the address; the layer is kept for the other pages where it was chosen."""
    start = chosen_place(query, asked_layer(), study.curves)
    poolings, samples = offered_places(study.curves)
    keys = {name: widget_key(page, name, study) for name in ("layer", "pooling", "samples")}
    for name, key in keys.items():
        st.session_state.setdefault(key, getattr(start, name))
    with st.container(horizontal=True, vertical_alignment="bottom", gap="medium"):
        shown = st.segmented_control(
            "Samples", samples, format_func=SAMPLES.__getitem__, required=True, key=keys["samples"]
        )
        pooling = st.segmented_control(
            "Pooling", poolings, format_func=POOLINGS.__getitem__, required=True, key=keys["pooling"]
        )
        layers = offered_layers(study.curves, str(pooling), str(shown))
        best = best_layer(study.curves, str(pooling), str(shown))
        if st.session_state[keys["layer"]] not in layers:
            st.session_state[keys["layer"]] = best
        layer = str(st.selectbox("Layer", layers, key=keys["layer"], filter_mode="contains", width=300))
    if layer != best or asked_layer() is not None:
        keep_layer(layer)
    return Place(layer, str(pooling), str(shown))


def widget_key(page: str, name: str, study: OpenStudy) -> str:
    """A widget's session key: a study has its own, because another one offers other choices."""
    return f"{page} {name} of {study.path}"


def class_names(samples: pd.DataFrame) -> pd.Series:
    """Class name by label, as the pages show it."""
    names = samples.drop_duplicates("label").set_index("label")["class_name"].astype(str)
    return names.map(short_classes(names))


@st.cache_resource(max_entries=4, show_spinner="Opening the study")
def cached_tables(path: str, stamp: tuple[int, ...]) -> Study:
    """The study's tables, read when they are asked for."""
    return load_study(path)
