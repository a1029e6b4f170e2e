"""The clusters of classes of a study, each with its evidence."""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from core.analysis.class_clusters.clustering import count_confusions, find_clusters
from core.analysis.class_clusters.evidence import (
    NearestCounts,
    Parting,
    Rise,
    SizeEvidence,
    agreement_chances,
    parting,
    rise,
    share_interval,
    size_evidence,
)
from core.analysis.samples.neighborhoods import stored_neighbors
from core.analysis.samples.paths import nearest_by_layer
from core.analysis.samples.selection import LayerSelection, select_layer
from core.analysis.samples.suspects import CLEAR_SCORE, duplicates_first, late_neighbors, samples_to_check
from core.measures.separation import excess_over_chance
from core.study.store.lookup import stored_pooling
from core.study.store.opening import Study
from core.study.store.tables.class_names import sample_classes, short_classes

PICTURES = 4  # samples of a cluster that are shown as examples
COLUMNS = [
    *("classes", "num_classes", "num_samples", "confused", "share", "low", "high"),
    *("value", "chance", "excess", "merged_value", "merged_chance", "merged_excess"),
    *("parting", "parting_layer", "data", "fewer", "fewer_value", "rise_low", "rise_high"),
    *("suspects", "clear_suspects", "duplicates"),
]


@dataclass(frozen=True)
class ClassCluster:
    """Classes that run into each other at a layer, and what is known about them.

    Attributes
    ----------
    classes : tuple of str
        Short names, sorted.
    num_samples : int
        Samples of these classes.
    confused : int
        Those whose nearest neighbor is of another class of the cluster.
    low, high : float
        The 95% interval of confused / num_samples.
    value, chance : float
        SI of these samples, and its chance level.
    merged_value, merged_chance : float
        The same with one class in place of the cluster's.
    parting : Parting
        Where the classes part.
    rise : Rise
        Whether SI of these samples still rises with the number of samples.
    sizes : SizeEvidence or None
        SI of all classes over sample size, where the study has it.
    suspects, clear_suspects : int
        Samples whose neighbors at the late layers name another class of the cluster; and those whose label they clearly
        contradict.
    duplicates : int
        Pairs of samples of two classes of the cluster with equal activations at the layer.
    examples : tuple of int
        Up to four confused samples, of different classes first.
    """

    classes: tuple[str, ...]
    num_samples: int
    confused: int
    low: float
    high: float
    value: float
    chance: float
    merged_value: float
    merged_chance: float
    parting: Parting
    rise: Rise
    sizes: SizeEvidence | None
    suspects: int
    clear_suspects: int
    duplicates: int
    examples: tuple[int, ...]

    @property
    def excess(self) -> float:
        """SI of the samples on the scale from chance (0) to 1; nan where chance is 1."""
        return excess_over_chance(self.value, self.chance)

    @property
    def merged_excess(self) -> float:
        """The same after merging; nan where merging leaves no other class."""
        return excess_over_chance(self.merged_value, self.merged_chance)


def class_clusters(
    study: Study,
    *,
    layer: str | None = None,
    split: str | None = None,
    among: str | None = None,
    pooling: str | None = None,
) -> pd.DataFrame:
    """Return clusters of classes that run into each other, with the layer where they part and what may help.

    The rule is that of `core.analysis.class_clusters.clustering`: average linkage on the confusion of nearest neighbors
    above chance, cut where merging would no longer raise SI significantly. This is the table "Classes that run into
    each other" of the page Classes.

    Parameters
    ----------
    study : Study
        A study that stores neighbors.
    layer, split, among, pooling : str, optional
        The layer, the split of the samples, that of their neighbors, and "mean" or "flat"; default as in
        `core.analysis.samples.selection.select_layer`.

    Returns
    -------
    DataFrame
        One row a cluster, the one with the most confused samples first: classes (names, separated by commas),
        num_classes, num_samples, confused (samples whose nearest neighbor is of another class of the cluster), share,
        low, high (its 95% interval); value, chance, excess (SI of the cluster's samples), merged_value, merged_chance,
        merged_excess (the same if the classes were one); parting ("part", "do not part" or "cannot be decided"),
        parting_layer; data ("rises", "does not rise" or "cannot be decided": SI of these samples with their number),
        fewer_value (SI with the share `fewer` of the samples), rise_low, rise_high (95% interval of value −
        fewer_value); suspects, clear_suspects (samples whose late neighbors name another class of the cluster),
        duplicates (pairs of equal activations in two classes of it).

    Raises
    ------
    StudyError
        The study has no such layer, split or pooling, or stores no such neighbors.

    Examples
    --------
    >>> import core
    >>> core.class_clusters(core.load_study("explorer/demo/digits"))["classes"].tolist()
    ['2, 3']
    """
    selection = select_layer(study, layer=layer, split=split, among=among, pooling=pooling)
    return clusters_table(find_class_clusters(study, selection))


@dataclass(frozen=True, eq=False)
class _Tables:
    """What all clusters of a study are looked up in.

    names : class name by sample, a category. queries, possible : by class, the number of queries, and of the samples
    that may be their neighbors. among_themselves : whether the queries are among these. suspects : of
    `samples_to_check`. copies : of `duplicates_first`. sizes : of `size_evidence`.
    """

    names: pd.Series
    queries: pd.Series
    possible: pd.Series
    among_themselves: bool
    suspects: pd.DataFrame
    copies: pd.DataFrame
    sizes: SizeEvidence | None


@dataclass(frozen=True, eq=False)
class ClusterSources:
    """What the clusters of all layers are looked up in, for one pooling and split.

    Attributes
    ----------
    suspects : DataFrame
        Of `core.analysis.samples.suspects.samples_to_check`.
    nearest : dict
        From layer, in network order, to the columns sample and nearest of
        `core.analysis.samples.paths.nearest_by_layer`.
    counts : NearestCounts
        Of these layers.
    """

    suspects: pd.DataFrame
    nearest: dict[str, pd.DataFrame]
    counts: NearestCounts


def read_cluster_sources(study: Study, pooling: str, split: str, among: str) -> ClusterSources:
    """Read what does not depend on the layer of the clusters; parameters are those of `nearest_by_layer`."""
    late = late_neighbors(study, pooling, split, among=among)
    rows = nearest_by_layer(study, pooling, split, among=among)
    layers = rows[["sample", "nearest"]].groupby(rows["layer"], observed=True)
    nearest = {str(layer): table for layer, table in layers}
    names = _class_names(study)
    return ClusterSources(
        suspects=samples_to_check(late, study.samples.assign(class_name=names.to_numpy(object))),
        nearest=nearest,
        counts=NearestCounts.of(nearest, names),
    )


def find_class_clusters(
    study: Study, selection: LayerSelection, *, sources: Callable[[], ClusterSources] | None = None
) -> list[ClassCluster]:
    """The clusters of classes of a study at a layer; see `class_clusters`.

    Parameters
    ----------
    study : Study
    selection : LayerSelection
    sources : callable, optional
        Returns what `read_cluster_sources` reads, which the clusters of other layers have in common; called only if
        there is a cluster. By default it is read.

    Raises
    ------
    StudyError
        The study stores no such neighbors.
    """
    split, among, pooling = selection.split, selection.among, selection.pooling
    neighbors = stored_neighbors(study, selection.layer, pooling, split, among=among)
    names = _class_names(study)
    possible = names[(study.samples["split"].astype(str) == among).to_numpy()]
    nearest = neighbors[neighbors["rank"] == 1]
    clusters = find_clusters(count_confusions(nearest, names, possible))
    if not clusters:
        return []
    source = sources() if sources else read_cluster_sources(study, pooling, split, among)
    tables = _Tables(
        names=names,
        queries=names.reindex(nearest["sample"]).value_counts(),
        possible=possible.value_counts(),
        among_themselves=split == among,
        suspects=source.suspects,
        copies=duplicates_first(study, selection.layer, pooling),
        sizes=None
        if selection.samples == "cross"
        else size_evidence(study.measurements, selection.layer, stored_pooling(study, selection.layer, pooling), split),
    )
    results = []
    for cluster in clusters:
        of_cluster = neighbors[names.reindex(neighbors["sample"]).isin(cluster).to_numpy()]
        results.append(_with_evidence(cluster, tables, of_cluster, source))
    return results


def _class_names(study: Study) -> pd.Series:
    """Short class name by sample, a category; the categories are sorted."""
    classes = sample_classes(study.samples)
    return classes.map(short_classes(classes)).astype("category")


def clusters_table(clusters: Sequence[ClassCluster]) -> pd.DataFrame:
    """The clusters as a table, with the columns of `class_clusters`."""
    return pd.DataFrame([_row(cluster) for cluster in clusters], columns=COLUMNS)


def _row(cluster: ClassCluster) -> tuple[object, ...]:
    """The values of `COLUMNS`."""
    parts, data = cluster.parting, cluster.rise
    return (
        *(", ".join(cluster.classes), len(cluster.classes), cluster.num_samples, cluster.confused),
        *(cluster.confused / cluster.num_samples, cluster.low, cluster.high),
        *(cluster.value, cluster.chance, cluster.excess),
        *(cluster.merged_value, cluster.merged_chance, cluster.merged_excess),
        *(parts.verdict, parts.layer),
        *(data.verdict, data.fraction, data.fewer, data.low, data.high),
        *(cluster.suspects, cluster.clear_suspects, cluster.duplicates),
    )


def _with_evidence(
    classes: tuple[str, ...], tables: _Tables, neighbors: pd.DataFrame, source: ClusterSources
) -> ClassCluster:
    """One cluster.

    neighbors : the stored neighbors of its samples at the layer.
    """
    names = tables.names
    nearest = neighbors[neighbors["rank"] == 1]
    own, other = names.reindex(nearest["sample"]), names.reindex(nearest["nearest"])
    agrees = own.to_numpy() == other.to_numpy()
    confused = other.isin(classes).to_numpy() & ~agrees
    low, high = share_interval(confused, own, nearest[["sample", "nearest"]])
    chance, merged_chance = agreement_chances(
        tables.queries, tables.possible, classes, among_themselves=tables.among_themselves
    )
    suspects = tables.suspects
    suspects = suspects[suspects["class_name"].isin(classes) & suspects["suggested"].isin(classes)]
    return ClassCluster(
        classes=classes,
        num_samples=len(nearest),
        confused=int(confused.sum()),
        low=low,
        high=high,
        value=float(agrees.mean()),
        chance=chance,
        merged_value=float((agrees | confused).mean()),
        merged_chance=merged_chance,
        parting=parting(source.nearest, source.counts, names, classes, tables.possible),
        rise=rise(neighbors, names),
        sizes=tables.sizes,
        suspects=len(suspects),
        clear_suspects=int((suspects["score"] >= CLEAR_SCORE).sum()),
        duplicates=_count_copies(tables.copies, names, classes),
        examples=_examples(nearest["sample"].to_numpy()[confused], names),
    )


def _count_copies(copies: pd.DataFrame, names: pd.Series, classes: Sequence[str]) -> int:
    """Pairs of samples with equal activations that are of two classes of a cluster."""
    first, second = names.reindex(copies["first"]).to_numpy(), names.reindex(copies["second"]).to_numpy()
    return int((np.isin(first, classes) & np.isin(second, classes) & (first != second)).sum())


def _examples(confused: NDArray[np.int64], names: pd.Series) -> tuple[int, ...]:
    """Up to four of the confused samples: the first of each class, then the second of each, and so on."""
    num_before: Counter[str] = Counter()  # by class, the samples that came before
    ordered = []
    for sample, name in zip(confused.tolist(), names.reindex(confused), strict=True):
        ordered.append((num_before[name], name, sample))
        num_before[name] += 1
    return tuple(sample for _, _, sample in sorted(ordered)[:PICTURES])
