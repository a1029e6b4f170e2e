"""A study's samples as the page Samples needs them, read once and kept."""

import pandas as pd
import streamlit as st

from core.study.journeys import agreement, fates, label_errors, nearest_by_layer
from core.study.neighborhoods import duplicates, stored_neighbors
from core.study.results import StudyError
from explorer.class_tables import Place, stored_pooling
from explorer.class_words import short_classes
from explorer.picker import cached_tables


class Journeys:
    """A study's samples at every layer, for one pooling and comparison; computed once."""

    def __init__(self, path: str, stamp: tuple[int, ...], pooling: str, split: str, among: str) -> None:
        self.study = cached_tables(path, stamp)
        samples = self.study.samples.astype({"split": str, "class_name": str})
        shown = short_classes(samples["class_name"])
        self.samples = samples.assign(class_name=samples["class_name"].map(shown))
        self.nearest = nearest_by_layer(self.study, pooling, split, among=among)
        self.fates = fates(agreement(self.nearest)) if len(self.nearest) else pd.DataFrame()
        self.errors = label_errors(self.nearest, self.samples)
        self.nearest = self.nearest.astype({"layer": "category"})


@st.cache_resource(max_entries=4, show_spinner="Following the samples through the layers")
def cached_journeys(path: str, stamp: tuple[int, ...], pooling: str, split: str, among: str) -> Journeys:
    return Journeys(path, stamp, pooling, split, among)


@st.cache_resource(max_entries=16, show_spinner=False)
def cached_neighbors(path: str, stamp: tuple[int, ...], place: Place) -> pd.DataFrame:
    study = cached_tables(path, stamp)
    try:
        return stored_neighbors(study, place.layer, stored_pooling(study.layers, place), place.split, among=place.among)
    except StudyError:  # it stores none of this layer
        return study.neighbors.head(0)


@st.cache_resource(max_entries=16, show_spinner=False)
def cached_places(path: str, stamp: tuple[int, ...], layer: str) -> pd.DataFrame:
    return cached_tables(path, stamp).table("projection", ["sample", "x", "y"], filters=[("layer", "==", layer)])


@st.cache_data(max_entries=16, show_spinner=False)
def cached_duplicates(path: str, stamp: tuple[int, ...], place: Place, within: float) -> pd.DataFrame:
    study = cached_tables(path, stamp)
    found = duplicates(study, place.layer, stored_pooling(study.layers, place), within=within)
    ids = study.samples.set_index("sample")["id"]
    named = found.assign(first=found["first"].map(ids), second=found["second"].map(ids))
    named = named.assign(across=named["first_split"] != named["second_split"])
    return named.sort_values(["across", "distance"], ascending=[False, True], ignore_index=True)
