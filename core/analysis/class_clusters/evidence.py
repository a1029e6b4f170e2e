"""What is known about a cluster of classes: where they part, and whether data, merging or relabelling would help."""

from collections.abc import Collection
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from core.analysis.curves import one_metric
from core.analysis.cut.advice import SI_TOLERANCE
from core.analysis.samples.class_pairs import confusion_by_layer, first_separated_layer
from core.measures.neighbor_graph import shrunken_class_means
from core.measures.paired import paired_difference
from core.measures.significance import shared_node_n, wilson

PARTS, STAYS, UNDECIDED = "part", "do not part", "cannot be decided"
RISES, FLAT = "rises", "does not rise"
FEWEST_NEIGHBORS = 2  # stored per sample, from which SI of fewer samples can be derived
LEFT_OVER = 0.05  # largest share of the draws in which none of the stored neighbors is drawn
SMALL_RISE = SI_TOLERANCE  # where the whole interval is below, SI does not rise


@dataclass(frozen=True)
class Parting:
    """Where the classes of a cluster part.

    Attributes
    ----------
    verdict : str
        "part": from `layer` on, no sample has its nearest neighbor in another class of the cluster. "do not part": at
        the last layer, certainly more of them have than expected. "cannot be decided": neither.
    layer : str
        The layer from which on they are parted; the last layer where they are not.
    count, total : int
        Samples at that layer with their nearest neighbor in another class of the cluster, and all samples.
    low, high : float
        The 95 % interval of count / total.
    expected : float
        What count / total would be if the samples whose nearest neighbor is of another class had it in classes of any
        kind, in proportion to their sizes.
    """

    verdict: str
    layer: str
    count: int
    total: int
    low: float
    high: float
    expected: float


@dataclass(frozen=True)
class Rise:
    """SI of a cluster's samples, compared with SI if only some of the possible neighbors had been there.

    Attributes
    ----------
    verdict : str
        "rises", "does not rise" or "cannot be decided".
    fraction : float
        The share of the samples that are left; nan where too few neighbors are stored to tell.
    fewer, value : float
        SI with that share of the samples, and with all of them.
    low, high : float
        The 95 % interval of value − fewer.
    """

    verdict: str
    fraction: float = float("nan")
    fewer: float = float("nan")
    value: float = float("nan")
    low: float = float("nan")
    high: float = float("nan")


def cluster_curve(
    nearest: pd.DataFrame, names: pd.Series, classes: Collection[str | int], possible: pd.Series
) -> pd.DataFrame:
    """Return how often the classes of a cluster are confused with each other at each layer.

    Parameters
    ----------
    nearest : DataFrame
        As returned by `core.analysis.samples.paths.nearest_by_layer`.
    names : Series of str or int
        Class by sample, by name or as a number, which is much faster.
    classes : collection of str or int
        The classes of the cluster, as in `names`.
    possible : Series of str or int
        The same as `names`, for all samples that may be neighbors.

    Returns
    -------
    DataFrame
        In network order: layer, count (samples of the cluster whose nearest neighbor is of another class of it), total
        (samples of the cluster), share (count / total), own (share of its samples whose nearest neighbor is of their
        own class), expected (of `share`, if the neighbors of other classes fell on these in proportion to their sizes).
    """
    sample_class, nearest_class = nearest["sample"].map(names), nearest["nearest"].map(names)
    same_class = sample_class == nearest_class
    counts = possible.value_counts()
    in_cluster = counts.reindex(list(classes), fill_value=0)
    expected = (in_cluster.sum() - in_cluster) / (counts.sum() - in_cluster).clip(lower=1)
    rows = pd.DataFrame(
        {
            "layer": nearest["layer"],
            "confused": nearest_class.isin(classes) & ~same_class,
            "own": same_class,
            "expected": sample_class.map(expected).where(~same_class, 0.0),
        }
    )
    return confusion_by_layer(rows[sample_class.isin(classes)], ["own", "expected"])


def parting(nearest: pd.DataFrame, names: pd.Series, classes: Collection[str | int], possible: pd.Series) -> Parting:
    """Where the classes of a cluster part; parameters are those of `cluster_curve`, with at least one layer."""
    curve = cluster_curve(nearest, names, classes, possible)
    separated = first_separated_layer(curve)
    row = curve.iloc[-1] if separated is None else curve[curve["layer"] == separated].iloc[0]
    in_cluster = nearest["sample"].map(names).isin(classes)
    at_layer = nearest[in_cluster & (nearest["layer"] == row["layer"])]
    sample_class, nearest_class = at_layer["sample"].map(names), at_layer["nearest"].map(names)
    confused = nearest_class.isin(classes) & (sample_class != nearest_class)
    low, high = share_interval(confused, sample_class, at_layer[["sample", "nearest"]])
    verdict = PARTS
    if separated is None:
        verdict = STAYS if low > row["expected"] else UNDECIDED
    return Parting(verdict, str(row["layer"]), int(row["count"]), int(row["total"]), low, high, float(row["expected"]))


def rise(neighbors: pd.DataFrame, names: pd.Series) -> Rise:
    """Compare SI of samples with their SI if only some of the possible neighbors had been there.

    Of a random share f of the samples, the nearest one that is left is the j-th neighbor with probability
    f (1 − f)^(j − 1). So the expected SI of fewer samples follows from the stored neighbors. f is one half, or so much
    more that the stored neighbors are all missing in at most 5 % of the draws, which count as the last of them.

    Parameters
    ----------
    neighbors : DataFrame
        Stored neighbors at one layer: sample, rank, nearest; the same ranks for each sample.
    names : Series of str
        Class name by sample.
    """
    ranks = neighbors.pivot_table(index="sample", columns="rank", values="nearest").dropna().astype(np.int64)
    num_stored = ranks.shape[1]
    if num_stored < FEWEST_NEIGHBORS or ranks.empty:
        return Rise(UNDECIDED)
    sample_class = names.reindex(ranks.index).to_numpy(object)
    agrees = names.reindex(ranks.to_numpy().ravel()).to_numpy(object).reshape(ranks.shape) == sample_class[:, None]
    fraction = max(0.5, 1 - LEFT_OVER ** (1 / num_stored))
    weights = fraction * (1 - fraction) ** np.arange(num_stored)
    weights[-1] += (1 - fraction) ** num_stored
    fewer, full = agrees @ weights, agrees[:, 0].astype(float)
    nodes = np.column_stack([ranks.index.to_numpy(np.int64), ranks.to_numpy()])
    difference = paired_difference(
        np.clip(fewer, 0, 1), full, sample_class.astype(str), nodes_before=nodes, nodes_after=nodes[:, :2]
    )
    low, high = difference.interval()
    verdict = RISES if low > 0 else FLAT if high < SMALL_RISE else UNDECIDED
    return Rise(verdict, fraction, float(fewer.mean()), float(full.mean()), low, high)


@dataclass(frozen=True)
class SizeEvidence:
    """SI of all classes at a layer with fewer samples, and with all of them.

    Attributes
    ----------
    size, num_samples : int
        The number of samples drawn that is closest to half of them, and all of them.
    fewer, value : float
        Mean SI of the draws, and SI of all samples.
    """

    size: int
    num_samples: int
    fewer: float
    value: float


def size_evidence(measurements: pd.DataFrame, layer: str, pooling: str, split: str) -> SizeEvidence | None:
    """What a study says of SI over sample size at a layer; None if it has no smaller sizes.

    Parameters
    ----------
    measurements : DataFrame
        The table `measurements` of a study.
    layer, pooling, split : str
        As stored in the table.
    """
    rows = measurements[(measurements["measure"] == "separation") & (measurements["order"] == 1)]
    rows = rows[(rows["layer"] == layer) & (rows["pooling"] == pooling) & (rows["split"] == split)]
    rows = one_metric(rows)
    full, drawn = rows[rows["sampling"] == "full"], rows[rows["sampling"] == "subsample"]
    if full.empty or drawn.empty:
        return None
    num_samples = int(full["num_queries"].iloc[0])
    size = int(min(drawn["num_queries"], key=lambda drawn_size: (abs(2 * drawn_size - num_samples), drawn_size)))
    fewer = float(drawn.loc[drawn["num_queries"] == size, "value"].mean())
    return SizeEvidence(size, num_samples, fewer, float(full["value"].iloc[0]))


def share_interval(hits: pd.Series, classes: pd.Series, nodes: pd.DataFrame) -> tuple[float, float]:
    """The 95 % interval of a share of samples that share neighbors: Wilson's, with the effective number of samples.

    Parameters
    ----------
    hits : Series of bool
        One a sample.
    classes : Series of str
        The class of each sample.
    nodes : DataFrame of int
        For each sample the samples that its hit depends on: itself and its neighbors.
    """
    scores = hits.to_numpy(float)
    codes = pd.factorize(classes)[0].astype(np.int64)
    residuals = scores - shrunken_class_means(scores, codes)
    value = float(scores.mean())
    return wilson(value, shared_node_n(value, residuals, nodes.to_numpy(np.int64)))


def agreement_chances(queries: pd.Series, possible: pd.Series, classes: Collection[str]) -> tuple[float, float]:
    """The chance levels of SI of a cluster's samples: with their classes, and with one class in their place.

    Parameters
    ----------
    queries, possible : Series of str
        Class name by sample, of the queries and of the samples that may be their neighbors.
    classes : collection of str
        The classes of the cluster.
    """
    among_themselves = bool(queries.index.isin(possible.index).any())
    num_possible = max(len(possible) - among_themselves, 1)
    names = sorted(classes)
    query_counts = _counts(queries, names)
    possible_counts = _counts(possible, names)
    others = possible_counts - among_themselves
    within_cluster = float(query_counts @ others) / num_possible / max(query_counts.sum(), 1)
    merged = float(possible_counts.sum() - among_themselves) / num_possible
    return within_cluster, merged


def _counts(classes: pd.Series, names: list[str]) -> NDArray[np.int64]:
    return np.asarray(classes.value_counts().reindex(names, fill_value=0), dtype=np.int64)
