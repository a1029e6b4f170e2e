"""What is known about a cluster of classes: where they part, and whether data, merging or relabelling would help."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from core.analysis.curves import one_metric
from core.analysis.cut.advice import SI_TOLERANCE
from core.analysis.samples.class_pairs import first_separated_layer
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
        The 95% interval of count / total.
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
        The 95% interval of value − fewer.
    """

    verdict: str
    fraction: float = float("nan")
    fewer: float = float("nan")
    value: float = float("nan")
    low: float = float("nan")
    high: float = float("nan")


@dataclass(frozen=True, eq=False)
class NearestCounts:
    """In which classes the samples of each class have their nearest neighbor, and how many, layer by layer.

    Attributes
    ----------
    classes : Index of str
        The classes; `nearest` and the rows of each class are by their place here.
    starts : np.ndarray, int64, shape (classes + 1,)
        Where the rows of each class start, and where the last ones end.
    layer, nearest, count : np.ndarray, int32, shape (rows,)
        The layer by its place in the network, the class of the neighbors, and the samples, at least 1.
    """

    classes: pd.Index
    starts: NDArray[np.int64]
    layer: NDArray[np.int32]
    nearest: NDArray[np.int32]
    count: NDArray[np.int32]

    @classmethod
    def of(cls, nearest: Mapping[str, pd.DataFrame], names: pd.Series) -> "NearestCounts":
        """Count.

        Parameters
        ----------
        nearest : mapping
            From layer, in network order, to a DataFrame with the columns sample and nearest.
        names : Series
            Class by sample, a category.
        """
        classes, codes = names.cat.categories, names.cat.codes.astype(np.int64)
        num_classes = len(classes)
        parts = []
        for index, rows in enumerate(nearest.values()):
            pairs = codes.reindex(rows["sample"]).to_numpy() * num_classes + codes.reindex(rows["nearest"]).to_numpy()
            counts = np.bincount(pairs, minlength=num_classes**2)
            present = np.flatnonzero(counts)
            parts.append(np.column_stack([np.full(len(present), index), present, counts[present]]).astype(np.int32))
        layer, pair, count = np.concatenate(parts).T
        own, other = np.divmod(pair, num_classes)
        order = np.argsort(own, kind="stable")
        starts = np.searchsorted(own[order], np.arange(num_classes + 1))
        return cls(classes, starts, layer[order], other[order], count[order])

    def by_layer(self, place: int, num_layers: int, among: NDArray[np.bool_] | None = None) -> NDArray[np.float64]:
        """How many samples of a class have their nearest neighbor in any class, or among some, at each layer.

        Parameters
        ----------
        place : int
            Of the class in `classes`.
        num_layers : int
            Layers of the network.
        among : np.ndarray of bool, shape (classes,), optional
            The classes of the neighbors.
        """
        rows = slice(self.starts[place], self.starts[place + 1])
        layer, count = self.layer[rows], self.count[rows]
        if among is not None:
            chosen = among[self.nearest[rows]]
            layer, count = layer[chosen], count[chosen]
        return np.asarray(np.bincount(layer, count, num_layers), dtype=np.float64)


def cluster_curve(
    counts: NearestCounts, layers: Sequence[str], classes: Collection[str], possible: pd.Series
) -> pd.DataFrame:
    """Return how often the classes of a cluster are confused with each other at each layer.

    Parameters
    ----------
    counts : NearestCounts
        Of the layers.
    layers : sequence of str
        All layers, in network order.
    classes : collection of str
        The classes of the cluster.
    possible : Series of int
        By class, the number of samples that may be neighbors.

    Returns
    -------
    DataFrame
        For each layer with samples of the cluster, in network order: layer, count (those whose nearest neighbor is of
        another class of the cluster), total (all), expected (of count / total, if the neighbors of other classes fell
        on these in proportion to their sizes).
    """
    in_cluster = possible.reindex(list(classes), fill_value=0)
    expected_shares = (in_cluster.sum() - in_cluster) / (possible.sum() - in_cluster).clip(lower=1)
    places = counts.classes.get_indexer(pd.Index(list(classes))).tolist()
    every_place = np.arange(len(counts.classes))
    within = np.isin(every_place, places)
    confused, total, expected = np.zeros((3, len(layers)))
    for place, expected_share in zip(places, expected_shares, strict=True):
        of_class, own = (counts.by_layer(place, len(layers), among) for among in (None, every_place == place))
        confused += counts.by_layer(place, len(layers), within) - own
        total += of_class
        expected += expected_share * (of_class - own)
    curve = pd.DataFrame({"layer": list(layers), "count": confused.astype(int), "total": total.astype(int)})
    curve = curve.assign(expected=expected / np.maximum(total, 1))
    return curve[curve["total"] > 0]


def parting(
    nearest: Mapping[str, pd.DataFrame],
    counts: NearestCounts,
    names: pd.Series,
    classes: Collection[str],
    possible: pd.Series,
) -> Parting:
    """Where the classes of a cluster part.

    Parameters
    ----------
    nearest, names
        As for `NearestCounts.of`, with at least one layer.
    counts, classes, possible
        Of `cluster_curve`.
    """
    curve = cluster_curve(counts, list(nearest), classes, possible)
    separated = first_separated_layer(curve)
    row = curve.iloc[-1] if separated is None else curve[curve["layer"] == separated].iloc[0]
    at_layer = nearest[row["layer"]]
    at_layer = at_layer[names.reindex(at_layer["sample"]).isin(classes).to_numpy()]
    sample_class, nearest_class = names.reindex(at_layer["sample"]), names.reindex(at_layer["nearest"])
    confused = nearest_class.isin(classes).to_numpy() & (sample_class.to_numpy() != nearest_class.to_numpy())
    low, high = share_interval(confused, sample_class, at_layer[["sample", "nearest"]])
    verdict = PARTS
    if separated is None:
        verdict = STAYS if low > row["expected"] else UNDECIDED
    return Parting(verdict, str(row["layer"]), int(row["count"]), int(row["total"]), low, high, float(row["expected"]))


def rise(neighbors: pd.DataFrame, names: pd.Series) -> Rise:
    """Compare SI of samples with their SI if only some of the possible neighbors had been there.

    Of a random share f of the samples, the nearest one that is left is the j-th neighbor with probability
    f (1 − f)^(j − 1). So the expected SI of fewer samples follows from the stored neighbors. f is one half, or so much
    more that the stored neighbors are all missing in at most 5% of the draws, which count as the last of them.

    Parameters
    ----------
    neighbors : DataFrame
        Stored neighbors at one layer: sample, rank, nearest; the same ranks for each sample.
    names : Series of str
        Class name by sample.
    """
    if neighbors["rank"].nunique() < FEWEST_NEIGHBORS:
        return Rise(UNDECIDED)
    ranks = neighbors.pivot_table(index="sample", columns="rank", values="nearest").dropna().astype(np.int64)
    num_stored = ranks.shape[1]
    if ranks.empty:
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


def share_interval(hits: NDArray[np.bool_], classes: pd.Series, nodes: pd.DataFrame) -> tuple[float, float]:
    """The 95% interval of a share of samples that share neighbors: Wilson's, with the effective number of samples.

    Parameters
    ----------
    hits : array of bool
        One a sample.
    classes : Series of str
        The class of each sample.
    nodes : DataFrame of int
        For each sample the samples that its hit depends on: itself and its neighbors.
    """
    scores = hits.astype(float)
    codes = pd.factorize(classes)[0].astype(np.int64)
    residuals = scores - shrunken_class_means(scores, codes)
    value = float(scores.mean())
    return wilson(value, shared_node_n(value, residuals, nodes.to_numpy(np.int64)))


def agreement_chances(
    queries: pd.Series, possible: pd.Series, classes: Collection[str], *, among_themselves: bool
) -> tuple[float, float]:
    """The chance levels of SI of a cluster's samples: with their classes, and with one class in their place.

    Parameters
    ----------
    queries, possible : Series of int
        By class, the number of queries, and of the samples that may be their neighbors.
    classes : collection of str
        The classes of the cluster.
    among_themselves : bool
        Whether the queries are among these samples, each of which is not its own neighbor.
    """
    num_possible = max(int(possible.sum()) - among_themselves, 1)
    names = sorted(classes)
    query_counts = queries.reindex(names, fill_value=0).to_numpy(np.int64)
    others = possible.reindex(names, fill_value=0).to_numpy(np.int64) - among_themselves
    within_cluster = float(query_counts @ others) / num_possible / max(query_counts.sum(), 1)
    merged = float(others.sum() + (len(names) - 1) * among_themselves) / num_possible
    return within_cluster, merged
