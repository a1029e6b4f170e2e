"""A study's samples as the page Samples needs them, read once and kept."""

import pandas as pd
import streamlit as st

from core.analysis.samples.neighborhoods import stored_neighbors
from core.analysis.samples.paths import agreement, nearest_by_layer, neighbors_by_layer, sample_summaries
from core.analysis.samples.prediction_depth import depths, votes
from core.analysis.samples.suspects import CLEAR_SCORE, duplicates_first, samples_to_check
from core.report.words.samples_to_check import expectation_text, trial_swaps
from core.report.words.small_classes import small_classes_text
from core.study.store.class_names import sample_classes, short_classes
from core.study.store.opening import Study, StudyError
from explorer.studies.class_tables import Place
from explorer.studies.loading import cached_tables


def named_samples(study: Study) -> pd.DataFrame:
    """The table `samples`, with the classes' short names."""
    classes = sample_classes(study.samples)
    samples = study.samples.astype({"split": str})
    return samples.assign(class_name=classes.map(short_classes(classes)).to_numpy())


class Pair:
    """The samples of two classes at every layer, which is little to read of a large study."""

    def __init__(self, path: str, stamp: tuple[int, ...], place: Place, pair: tuple[str, str]) -> None:
        study = cached_tables(path, stamp)
        self.samples = named_samples(study)
        self.names = self.samples.set_index("sample")["class_name"]
        self.possible = self.names[(self.samples["split"] == place.among).to_numpy()]
        ours = self.samples.loc[self.samples["class_name"].isin(pair), "sample"].tolist()
        self.nearest = nearest_by_layer(study, place.pooling, place.split, among=place.among, samples=ours)


@st.cache_resource(max_entries=16, show_spinner="Following two classes through the layers")
def cached_pair(path: str, stamp: tuple[int, ...], place: Place, pair: tuple[str, str]) -> Pair:
    return Pair(path, stamp, place, pair)


class Journeys:
    """A study's samples at every layer, for one pooling and comparison; computed once."""

    def __init__(self, path: str, stamp: tuple[int, ...], pooling: str, split: str, among: str) -> None:
        self.study = cached_tables(path, stamp)
        self.samples = named_samples(self.study)
        self.names = self.samples.set_index("sample")["class_name"]
        neighbors = neighbors_by_layer(self.study, pooling, split, among=among)
        nearest = neighbors[neighbors["rank"] == 1].drop(columns="rank")
        self.voters = int(neighbors["rank"].max()) if len(neighbors) else 0
        self.small_classes = small_classes_text(self.samples, split, self.voters, among=among)
        self.depths = depths(votes(neighbors, self.names), self.names)
        self.fates = sample_summaries(agreement(nearest)) if len(nearest) else pd.DataFrame()
        self.to_check = samples_to_check(neighbors, self.samples)
        self.num_clear = int((self.to_check["score"] >= CLEAR_SCORE).sum())
        self.swaps = trial_swaps(self.study, neighbors, split)
        self.expectation = expectation_text(self.study, split, self.swaps, self.num_clear)
        self.nearest = nearest.astype({"layer": "category"})


@st.cache_resource(max_entries=4, show_spinner="Following the samples through the layers")
def cached_journeys(path: str, stamp: tuple[int, ...], pooling: str, split: str, among: str) -> Journeys:
    return Journeys(path, stamp, pooling, split, among)


@st.cache_resource(max_entries=16, show_spinner=False)
def cached_neighbors(path: str, stamp: tuple[int, ...], place: Place) -> pd.DataFrame:
    study = cached_tables(path, stamp)
    try:
        return stored_neighbors(study, place.layer, place.pooling, place.split, among=place.among)
    except StudyError:  # it stores none of this layer
        return study.table("neighbors", filters=[("sample", "==", -1)])


@st.cache_resource(max_entries=16, show_spinner=False)
def cached_places(path: str, stamp: tuple[int, ...], layer: str) -> pd.DataFrame:
    return cached_tables(path, stamp).table("projection", ["sample", "x", "y"], filters=[("layer", "==", layer)])


@st.cache_data(max_entries=16, show_spinner=False)
def cached_duplicates(path: str, stamp: tuple[int, ...], place: Place, within: float) -> pd.DataFrame:
    study = cached_tables(path, stamp)
    return duplicates_first(study, place.layer, place.pooling, within=within)
