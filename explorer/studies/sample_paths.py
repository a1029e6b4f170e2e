"""Tables of a study's samples and their neighbors at every layer, computed once and cached for all sessions."""

import threading

import pandas as pd
import streamlit as st

from core.analysis.samples.neighborhoods import stored_neighbors
from core.analysis.samples.paths import agreement, nearest_by_layer, neighbors_by_layer, sample_summaries
from core.analysis.samples.prediction_depth import depths, votes
from core.analysis.samples.selection import LayerSelection
from core.analysis.samples.suspects import CLEAR_SCORE, duplicates_first, samples_to_check
from core.analysis.samples.tables import named_samples
from core.report.words.samples_to_check import expectation_text, trial_swaps
from core.report.words.small_classes import small_classes_text
from core.study.store.opening import StudyError
from explorer.studies.loading import cached_tables

_ONE_AT_A_TIME = threading.Lock()


class PairPaths:
    """The samples of two classes at every layer; much faster to read than all samples of a large study.

    Attributes
    ----------
    samples : DataFrame
        Of `named_samples`: all samples of the study.
    names : Series
        Class name by sample.
    possible : Series
        Class names of all possible neighbors.
    nearest : DataFrame
        Of `core.analysis.samples.paths.nearest_by_layer`, for the samples of the two classes.
    """

    def __init__(self, path: str, stamp: tuple[int, ...], selection: LayerSelection, pair: tuple[str, str]) -> None:
        study = cached_tables(path, stamp)
        self.samples = named_samples(study)
        self.names = self.samples.set_index("sample")["class_name"]
        self.possible = self.names[(self.samples["split"] == selection.among).to_numpy()]
        of_pair = self.samples.loc[self.samples["class_name"].isin(pair), "sample"].tolist()
        self.nearest = nearest_by_layer(
            study, selection.pooling, selection.split, among=selection.among, samples=of_pair
        )


@st.cache_resource(max_entries=16, show_spinner="Following two classes through the layers")
def cached_pair_paths(path: str, stamp: tuple[int, ...], selection: LayerSelection, pair: tuple[str, str]) -> PairPaths:
    """Two classes through the layers, computed once."""
    return PairPaths(path, stamp, selection, pair)


class SamplePaths:
    """All samples of one split at every layer, for one pooling.

    Attributes
    ----------
    study : Study
        The study's tables.
    samples : DataFrame
        Of `named_samples`.
    names : Series
        Class name by sample.
    sample_numbers : frozenset of int
        The numbers of all samples.
    num_voters : int
        Number of stored neighbors per sample, which vote on its class.
    small_classes : str
        A caution about classes that are too small for the vote; "" without any.
    depths : DataFrame
        Of `core.analysis.samples.prediction_depth.depths`.
    summaries : DataFrame
        Of `core.analysis.samples.paths.sample_summaries`: at which layers each sample has a nearest neighbor of its
        class.
    to_check : DataFrame
        Of `core.analysis.samples.suspects.samples_to_check`.
    num_clear : int
        How many of them have at least `CLEAR_SCORE`.
    swaps : PlantedSwaps or None
        How often labels that were swapped for a trial are found.
    expectation : str
        What follows from this trial, as Markdown.
    nearest : DataFrame
        The nearest neighbor of each sample at each layer.
    """

    def __init__(self, path: str, stamp: tuple[int, ...], pooling: str, split: str, among: str) -> None:
        self.study = cached_tables(path, stamp)
        self.samples = named_samples(self.study)
        self.names = self.samples.set_index("sample")["class_name"]
        self.sample_numbers = frozenset(self.samples["sample"].tolist())
        neighbors = neighbors_by_layer(self.study, pooling, split, among=among)
        nearest = neighbors[neighbors["rank"] == 1].drop(columns="rank")
        self.num_voters = int(neighbors["rank"].max()) if len(neighbors) else 0
        self.small_classes = small_classes_text(self.samples, split, self.num_voters, among=among)
        self.depths = depths(votes(neighbors, self.names), self.names)
        self.summaries = sample_summaries(agreement(nearest)) if len(nearest) else pd.DataFrame()
        self.to_check = samples_to_check(neighbors, self.samples)
        self.num_clear = int((self.to_check["score"] >= CLEAR_SCORE).sum())
        self.swaps = trial_swaps(self.study, neighbors, split)
        self.expectation = expectation_text(self.study, split, self.swaps, self.num_clear)
        self.nearest = nearest.astype({"layer": "category"})


@st.cache_resource(max_entries=4, show_spinner="Following the samples through the layers")
def cached_sample_paths(path: str, stamp: tuple[int, ...], pooling: str, split: str, among: str) -> SamplePaths:
    """All samples of a split through the layers, computed once; one after the other, which bounds the memory."""
    with _ONE_AT_A_TIME:
        return SamplePaths(path, stamp, pooling, split, among)


@st.cache_resource(max_entries=4, show_spinner=False)
def cached_samples(path: str, stamp: tuple[int, ...]) -> pd.DataFrame:
    """The table `samples` with short class names, indexed by the column sample."""
    return named_samples(cached_tables(path, stamp)).set_index("sample", drop=False)


@st.cache_resource(max_entries=16, show_spinner=False)
def cached_neighbors(path: str, stamp: tuple[int, ...], selection: LayerSelection) -> pd.DataFrame:
    """The stored neighbors at one layer; no rows if the study stores none there."""
    study = cached_tables(path, stamp)
    try:
        return stored_neighbors(study, selection.layer, selection.pooling, selection.split, among=selection.among)
    except StudyError:  # the study stores none of this layer
        return study.table("neighbors", filters=[("sample", "==", -1)])  # no row, but all columns


@st.cache_resource(max_entries=16, show_spinner=False)
def cached_projection(path: str, stamp: tuple[int, ...], layer: str) -> pd.DataFrame:
    """Coordinates of the samples on the plane of one layer: sample, x, y; no rows without a projection."""
    return cached_tables(path, stamp).table("projection", ["sample", "x", "y"], filters=[("layer", "==", layer)])


@st.cache_data(max_entries=16, show_spinner=False)
def cached_duplicates(path: str, stamp: tuple[int, ...], selection: LayerSelection, within: float) -> pd.DataFrame:
    study = cached_tables(path, stamp)
    return duplicates_first(study, selection.layer, selection.pooling, within=within)
