"""Tables of a study's samples and their neighbors at every layer, computed once and cached for all sessions."""

import threading
from dataclasses import dataclass
from weakref import WeakValueDictionary

import pandas as pd
import streamlit as st

from core.analysis.samples.neighborhoods import stored_neighbors
from core.analysis.samples.path_arrays import PathArrays, read_path_arrays
from core.analysis.samples.paths import nearest_by_layer, sample_summaries
from core.analysis.samples.planted_labels import PlantedSwaps
from core.analysis.samples.selection import LayerSelection
from core.analysis.samples.suspects import CLEAR_SCORE, duplicates_first, late_neighbors, samples_to_check
from core.analysis.samples.tables import named_samples
from core.report.words.samples_to_check import expectation_text, trial_swaps
from core.report.words.small_classes import small_classes_text
from core.study.store.opening import StudyError
from explorer.studies.loading import cached_tables

_ONE_AT_A_TIME = threading.Lock()
_KNOWN: "WeakValueDictionary[tuple[object, ...], SamplePaths]" = WeakValueDictionary()  # what the cache holds


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
        chosen = (selection.pooling, selection.split, selection.among)
        if known := known_sample_paths(path, stamp, *chosen):
            self.nearest = known.arrays.of_samples(of_pair)
        else:
            self.nearest = nearest_by_layer(study, *chosen[:2], among=selection.among, samples=of_pair)


@st.cache_resource(max_entries=16, show_spinner="Following two classes through the layers")
def cached_pair_paths(path: str, stamp: tuple[int, ...], selection: LayerSelection, pair: tuple[str, str]) -> PairPaths:
    """Two classes through the layers, computed once."""
    return PairPaths(path, stamp, selection, pair)


class SamplePaths:
    """All samples of one split at every layer, for one pooling.

    Attributes
    ----------
    pooling, split, among : str
        The activations, the split of the samples, and that of their neighbors.
    samples : DataFrame
        Of `named_samples`.
    names : Series
        Class name by sample.
    sample_numbers : frozenset of int
        The numbers of all samples.
    arrays : PathArrays
        The nearest neighbor of each sample at each layer.
    small_classes : str
        A caution about classes that are too small for the vote; "" without any.
    depths : DataFrame
        Of `core.analysis.samples.prediction_depth.depths`.
    summaries : DataFrame
        Of `core.analysis.samples.paths.sample_summaries`: at which layers each sample has a nearest neighbor of its
        class.
    """

    def __init__(self, path: str, stamp: tuple[int, ...], pooling: str, split: str, among: str) -> None:
        study = cached_tables(path, stamp)
        self.pooling, self.split, self.among = pooling, split, among
        self.samples = named_samples(study)
        self.names = self.samples.set_index("sample")["class_name"]
        self.sample_numbers = frozenset(self.samples["sample"].tolist())
        self.arrays = read_path_arrays(study, pooling, split, self.names, among=among)
        self.small_classes = small_classes_text(self.samples, split, self.arrays.num_voters, among=among)
        self.depths = self.arrays.depths(self.names)
        self.summaries = sample_summaries(self.arrays.agreement()) if self.arrays.layers else pd.DataFrame()

    def is_of(self, selection: LayerSelection) -> bool:
        """Whether these are the samples and the activations that were chosen."""
        return (self.pooling, self.split, self.among) == (selection.pooling, selection.split, selection.among)


@st.cache_resource(max_entries=4, show_spinner="Following the samples through the layers")
def cached_sample_paths(path: str, stamp: tuple[int, ...], pooling: str, split: str, among: str) -> SamplePaths:
    """All samples of a split through the layers, computed once; one after the other, which bounds the memory."""
    with _ONE_AT_A_TIME:
        paths = SamplePaths(path, stamp, pooling, split, among)
    _KNOWN[path, stamp, pooling, split, among] = paths
    return paths


def known_sample_paths(path: str, stamp: tuple[int, ...], pooling: str, split: str, among: str) -> SamplePaths | None:
    """All samples of a split through the layers, if they are in the cache; else it is faster to read a few of them."""
    return _KNOWN.get((path, stamp, pooling, split, among))


@st.cache_resource(max_entries=16, show_spinner=False)
def cached_paths_of(
    path: str, stamp: tuple[int, ...], pooling: str, split: str, among: str, samples: tuple[int, ...]
) -> PathArrays:
    """A few samples through the layers, of which no other rows are kept."""
    study = cached_tables(path, stamp)
    names = cached_samples(path, stamp)["class_name"]
    return read_path_arrays(study, pooling, split, names, among=among, samples=samples)


@dataclass(frozen=True, eq=False)
class LabelTrial:
    """How many wrong labels may be among the samples to check.

    Attributes
    ----------
    num_clear : int
        How many samples have at least `CLEAR_SCORE`.
    swaps : PlantedSwaps or None
        How often labels that were swapped for a trial are found.
    expectation : str
        What follows from this trial, as Markdown.
    """

    num_clear: int
    swaps: PlantedSwaps | None
    expectation: str


@st.cache_resource(max_entries=4, show_spinner=False)
def cached_to_check(path: str, stamp: tuple[int, ...], pooling: str, split: str, among: str) -> pd.DataFrame:
    """Of `core.analysis.samples.suspects.samples_to_check`."""
    study = cached_tables(path, stamp)
    return samples_to_check(late_neighbors(study, pooling, split, among=among), named_samples(study))


@st.cache_resource(max_entries=4, show_spinner="Looking for wrong labels")
def cached_label_trial(path: str, stamp: tuple[int, ...], pooling: str, split: str, among: str) -> LabelTrial:
    """Count the samples to check, and swap labels for a trial."""
    study = cached_tables(path, stamp)
    num_clear = int((cached_to_check(path, stamp, pooling, split, among)["score"] >= CLEAR_SCORE).sum())
    swaps = trial_swaps(study, late_neighbors(study, pooling, split, among=among), split)
    return LabelTrial(num_clear, swaps, expectation_text(study, split, swaps, num_clear))


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
