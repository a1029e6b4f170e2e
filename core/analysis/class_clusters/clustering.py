"""Which classes run into each other: average linkage on their confusion above chance, cut by significance.

**Chance.** A sample whose nearest neighbor is of another class has to have it in some class. Where classes do not run
into each other, these neighbors fall on the other classes in proportion to their sizes. So of the samples of class a
with such a neighbor, the share m_b / (n − m_a) is expected in class b, with n possible neighbors, m_b of them in b.

**Distance.** Of two classes, the share of their samples whose nearest neighbor is of the other class, minus this
expectation, is their excess confusion (0 where it is negative). Their distance is 1 minus it.

**Tree.** Average linkage (UPGMA) of these distances.

**Cut.** Merging two groups raises the SI of their samples by the share of them whose nearest neighbor is in the other
group. A group is kept together where both its parts are, and this gain

- exceeds by more than `LEAST_GAIN` what is expected if the neighbors outside of a group fell on the other classes in
  proportion to their sizes (the tolerance of the project, so that with many samples a difference too small to matter
  joins nothing); and
- is significant: the probability of at least as many links, by the binomial distribution over the samples whose
  neighbor is outside of their group, is below 0.05 divided by the number of pairs of classes (Bonferroni). Two samples
  that are each other's nearest neighbor are one link, because the one follows from the other; so the test is rather too
  strict than too lenient.

A cluster is a largest group of at least two classes that is kept together. Of two classes alone, nothing can be said:
whatever is confused is confused with the other one.
"""

from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.cluster.hierarchy import linkage
from scipy.spatial.distance import squareform

LEAST_GAIN = 0.03  # of SI, above chance
SIGNIFICANT = 0.05  # for all pairs of classes together

Counts = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Confusions:
    """How often the samples of each class have their nearest neighbor in another one.

    Attributes
    ----------
    classes : tuple of str
        Names, sorted.
    nearest : int64, shape (classes, classes)
        For each pair of classes, the samples of either whose nearest neighbor is of the other; symmetric, 0 on the
        diagonal.
    links : int64, shape (classes, classes)
        The same, with two samples that are each other's nearest neighbor counted once.
    queries, strays, possible : int64, shape (classes,)
        Samples of each class: those whose nearest neighbor is known, those of them where it is of another class, and
        those that may be a neighbor.
    """

    classes: tuple[str, ...]
    nearest: Counts
    links: Counts
    queries: Counts
    strays: Counts
    possible: Counts

    def expected(self) -> NDArray[np.float64]:
        """For each pair of classes, `nearest` if strays fell on the other classes in proportion to their sizes."""
        num_others = np.maximum(self.possible.sum() - self.possible, 1)
        one_way = (self.strays / num_others)[:, None] * self.possible
        both: NDArray[np.float64] = one_way + one_way.T
        np.fill_diagonal(both, 0)
        return both


def count_confusions(nearest: pd.DataFrame, names: pd.Series, possible: pd.Series | None = None) -> Confusions:
    """Count how often classes are confused at one layer.

    Parameters
    ----------
    nearest : DataFrame
        One row a sample, with its nearest neighbor: sample, nearest.
    names : Series of str
        Class name by sample, of all samples and neighbors.
    possible : Series of str, optional
        Class name by sample, for all samples that may be neighbors; default the samples of `nearest`.
    """
    sample_class, nearest_class = names.reindex(nearest["sample"]), names.reindex(nearest["nearest"])
    possible = sample_class if possible is None else possible
    classes = sorted(set(sample_class.unique()) | set(possible.unique()))
    first = pd.Categorical(sample_class, classes).codes.astype(np.int64)
    second = pd.Categorical(nearest_class, classes).codes.astype(np.int64)
    counts = _table(first, second, len(classes))
    mutual_rows = _is_mutual(nearest)
    mutual = _table(first[mutual_rows], second[mutual_rows], len(classes))
    both = counts + counts.T
    np.fill_diagonal(both, 0)
    return Confusions(
        classes=tuple(classes),
        nearest=both,
        links=both - np.where(both > 0, mutual, 0),
        queries=np.bincount(first, minlength=len(classes)),
        strays=np.bincount(first[first != second], minlength=len(classes)),
        possible=np.bincount(pd.Categorical(possible, classes).codes, minlength=len(classes)),
    )


def find_clusters(confusions: Confusions) -> list[tuple[str, ...]]:
    """Find the clusters of classes, by the rule at the top of this module.

    Parameters
    ----------
    confusions : Confusions
        Of one layer.

    Returns
    -------
    list of tuple of str
        The class names of each cluster, sorted; the cluster with the most confused samples first.
    """
    num_classes = len(confusions.classes)
    if num_classes < 2:
        return []
    tree = linkage(squareform(_distances(confusions), checks=False), method="average")
    groups: list[Counts] = [np.array([index]) for index in range(num_classes)]
    whole = [True] * num_classes  # whether the group is kept together
    largest = {index: groups[index] for index in range(num_classes)}  # groups that no kept group contains
    for left, right in tree[:, :2].astype(int).tolist():
        joined = whole[left] and whole[right] and _run_into_each_other(confusions, groups[left], groups[right])
        if joined:
            del largest[left], largest[right]
            largest[len(groups)] = np.sort(np.concatenate([groups[left], groups[right]]))
        groups.append(np.concatenate([groups[left], groups[right]]))
        whole.append(joined)
    clusters = [group for group in largest.values() if len(group) > 1]
    clusters.sort(key=lambda group: (-int(confusions.nearest[np.ix_(group, group)].sum()), tuple(group)))
    return [tuple(confusions.classes[index] for index in group) for group in clusters]


def _distances(confusions: Confusions) -> NDArray[np.float64]:
    """The distance of each pair of classes, shape (classes, classes)."""
    totals = np.maximum(confusions.queries[:, None] + confusions.queries, 1)
    distances: NDArray[np.float64] = 1 - np.clip((confusions.nearest - confusions.expected()) / totals, 0, 1)
    np.fill_diagonal(distances, 0)
    return distances


def _run_into_each_other(confusions: Confusions, first: Counts, second: Counts) -> bool:
    """Whether merging two groups of classes raises SI by more than the tolerance above chance, significantly."""
    num_queries, num_possible = confusions.queries, confusions.possible
    num_leaving, by_chance = 0, 0.0  # samples whose nearest neighbor is outside of their group
    for group, other in ((first, second), (second, first)):
        within = int(confusions.nearest[np.ix_(group, group)].sum()) // 2
        leaving = int(confusions.strays[group].sum()) - within
        num_leaving += leaving
        by_chance += leaving * num_possible[other].sum() / max(num_possible.sum() - num_possible[group].sum(), 1)
    between = np.ix_(first, second)
    total = int(num_queries[first].sum() + num_queries[second].sum())
    if not num_leaving or confusions.nearest[between].sum() - by_chance <= LEAST_GAIN * total:
        return False
    num_pairs = len(confusions.classes) * (len(confusions.classes) - 1) // 2
    links = int(confusions.links[between].sum())
    from scipy.stats import binom  # here, because it takes a third of a second to load

    return bool(binom.sf(links - 1, num_leaving, min(by_chance / num_leaving, 1)) < SIGNIFICANT / num_pairs)


def _table(first: Counts, second: Counts, num_classes: int) -> Counts:
    """How often each pair of codes occurs, shape (classes, classes)."""
    counts = np.bincount(first * num_classes + second, minlength=num_classes**2)
    return counts.reshape(num_classes, num_classes)


def _is_mutual(nearest: pd.DataFrame) -> NDArray[np.bool_]:
    """Whether a sample is the nearest neighbor of its nearest neighbor, for each row of sample and nearest."""
    back = nearest.set_index("sample")["nearest"].reindex(nearest["nearest"])
    result: NDArray[np.bool_] = back.to_numpy() == nearest["sample"].to_numpy()
    return result
