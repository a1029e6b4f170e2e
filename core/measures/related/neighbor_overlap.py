"""How many nearest neighbors two sets of features of the same samples have in common, and how many by chance."""

from __future__ import annotations  # so that help() shows the names of types as they are written here

from dataclasses import dataclass
from math import sqrt

import numpy as np
from numpy.typing import ArrayLike, NDArray

from core.data.cached_property import cached_property


@dataclass(frozen=True)
class Overlap:
    """Neighbor overlap of two neighbor graphs.

    value : mean share of the k neighbors that the same sample has in the other graph, 0 to 1.
    chance : what it is on average where the samples of one graph are renamed at random: k/(n − 1), exactly.
    sd : its standard deviation then, exactly; nan where not all samples were asked.
    k : neighbors compared. num_samples : samples whose neighbors were compared.
    """

    value: float
    chance: float
    sd: float
    k: int
    num_samples: int

    @property
    def z(self) -> float:
        """Standard deviations above chance; nan where the standard deviation is not known, or 0."""
        return (self.value - self.chance) / self.sd if self.sd > 0 else float("nan")


@dataclass(frozen=True, eq=False)
class NeighborSets:
    """Each sample's k nearest neighbors, in no order.

    indices : int64, shape (m, k); a row holds no sample twice, and never the sample itself.
    rows : int64, shape (m,): the samples whose neighbors they are.
    num_samples : n, the samples that can be neighbors.
    """

    indices: NDArray[np.int64]
    rows: NDArray[np.int64]
    num_samples: int

    @classmethod
    def of(
        cls, indices: ArrayLike, *, rows: ArrayLike | None = None, num_samples: int | None = None, name: str = "indices"
    ) -> NeighborSets:
        """Check neighbor indices; by default row i holds the neighbors of sample i, and all samples are asked."""
        found = np.asarray(indices)
        if found.ndim != 2 or found.dtype.kind not in "iu" or not found.size:
            raise ValueError(
                f"{name} must be integers of shape (n, k); got {found.dtype} of shape {found.shape}. "
                "Pass Neighbors.indices."
            )
        asked = np.arange(len(found)) if rows is None else np.asarray(rows)
        total = len(found) if num_samples is None else num_samples
        if len(asked) != len(found) or min(found.min(), asked.min()) < 0 or max(found.max(), asked.max()) >= total:
            raise ValueError(
                f"{name} must name samples below {total}, one row a sample asked; got {found.min()} to {found.max()} "
                f"in {len(found)} rows. Say which were asked with rows, and num_samples."
            )
        ordered = np.sort(found.astype(np.int64), axis=1)
        if (np.diff(ordered, axis=1) == 0).any() or (found == asked[:, None]).any():
            raise ValueError(
                f"{name} must hold each neighbor once, and no sample itself. Leave it out of its neighbors."
            )
        return cls(ordered, asked.astype(np.int64), total)

    @cached_property
    def pair_counts(self) -> NDArray[np.float64]:
        """Ordered pairs of edges i → j: the same, reversed, of one source, of one target, in a chain; then disjoint."""
        num_edges = self.indices.size
        edges = (self.rows[:, None] * self.num_samples + self.indices).ravel()
        reverse = (self.indices * self.num_samples + self.rows[:, None]).ravel()
        mutual = np.isin(reverse, edges).sum()
        into = np.bincount(self.indices.ravel(), minlength=self.num_samples).astype(np.float64)
        out = np.bincount(self.rows, minlength=self.num_samples) * float(self.indices.shape[1])
        chains = 2 * ((into * out).sum() - mutual)  # i → j → l and l → i → j
        counts = [num_edges, mutual, (out**2).sum() - num_edges, (into**2).sum() - num_edges, chains]
        return np.array([*counts, float(num_edges) ** 2 - sum(counts)], dtype=np.float64)


def neighbor_overlap(first: NeighborSets | ArrayLike, second: NeighborSets | ArrayLike) -> Overlap:
    """The mean share of nearest neighbors that samples have in common in two sets of features.

    value = mean over samples of |A_i ∩ B_i|/k, with A_i and B_i the k nearest neighbors of sample i in either. 1 where
    the neighborhoods are the same, k/(n − 1) on average where they have nothing to do with each other. It sees
    neighborhoods only: no rotation, shift or scale of either set of features changes it.

    Parameters
    ----------
    first, second : neighbor indices of shape (n, k), such as `nearest_neighbors(features, k=10).indices`, row i those
        of sample i; or `NeighborSets`, where only some samples were asked.

    Returns
    -------
    Overlap
        Chance and standard deviation are those of the samples of one graph renamed at random, which keeps its hubs and
        mutual neighbors (the permutations of Mantel's test); both have closed forms.

    Raises
    ------
    ValueError
        Shapes or samples that differ, indices that name no sample, a sample among its own neighbors.

    References
    ----------
    Huh et al., arXiv 2405.07987 (mutual k-nearest neighbors); Mantel, Cancer Research 27, 1967 (the moments).
    """
    one, other = (
        given if isinstance(given, NeighborSets) else NeighborSets.of(given, name=name)
        for name, given in (("first", first), ("second", second))
    )
    if one.indices.shape != other.indices.shape or one.num_samples != other.num_samples:
        raise ValueError(
            f"second must have the shape of first, {one.indices.shape}; got {other.indices.shape}. "
            "Compare the same samples with the same k."
        )
    if not np.array_equal(one.rows, other.rows):
        raise ValueError("second must ask the samples that first does; got others. Keep those that both have.")
    num_rows, k = one.indices.shape
    shared = int((one.indices[:, :, None] == other.indices[:, None, :]).sum())
    return Overlap(shared / (num_rows * k), k / (one.num_samples - 1), _renamed_sd(one, other), k, num_rows)


def _renamed_sd(one: NeighborSets, other: NeighborSets) -> float:
    """Standard deviation of the overlap over all ways to name the samples of the other graph.

    The square of the number of common edges is a sum over pairs of edges, one pair from each graph; a pair from one
    graph falls on a given pair of the other of its kind with the same probability for all of that kind.
    """
    n = float(one.num_samples)
    if len(one.rows) < n:
        return float("nan")
    triples = n * (n - 1) * (n - 2)
    kinds = np.array([n * (n - 1), n * (n - 1), triples, triples, 2 * triples, triples * (n - 3)])
    products = one.pair_counts * other.pair_counts
    second_moment = np.divide(products, kinds, out=np.zeros(6), where=kinds > 0).sum()
    num_edges = one.indices.size
    variance = second_moment / num_edges**2 - (num_edges / (n * (n - 1))) ** 2
    return sqrt(max(0.0, float(variance)))


def hub_skewness(counts: ArrayLike) -> float:
    """Skewness of how often each sample is a nearest neighbor: far above 0 means hubs, which are nearest to many.

    Neighbors drawn at random give `random_hub_skewness`.

    Parameters
    ----------
    counts : shape (n,): of how many samples each is among the k nearest.

    Returns
    -------
    float
        nan where all counts are equal.

    References
    ----------
    Radovanović, Nanopoulos and Ivanović, "Hubs in space", JMLR 11, 2010.
    """
    numbers = np.asarray(counts, dtype=np.float64)
    deviation = numbers - numbers.mean()
    spread = np.sqrt((deviation**2).mean())
    return float((deviation**3).mean() / spread**3) if spread > 0 else float("nan")


def random_hub_skewness(num_samples: int, k: int = 1) -> float:
    """Skewness of one sample's count where every sample draws its k neighbors among the others at random (binomial)."""
    share = k / (num_samples - 1)
    return (1 - 2 * share) / sqrt((num_samples - 1) * share * (1 - share)) if share < 1 else float("nan")
