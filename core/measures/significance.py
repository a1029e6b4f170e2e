"""How far a measure is from chance, and how sure it is: null moments, permutations, intervals, q-values.

The neighbor graph does not depend on the labels. So under labels permuted at random, the mean and the variance of a
count of agreeing edges follow from the numbers of edges that share nodes (Schilling 1986; Henze 1988), and one
permutation costs one look at each edge.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from math import erfc, sqrt
from statistics import NormalDist
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import sparse

PERMUTATIONS = 9_999
ENOUGH_FOR_NORMAL = 100  # agreements expected by chance from which the normal approximation holds in the tail
TARGETS = ("data", "population")
_FEW_NODES = 3  # that a score depends on, at most, for pairs of scores to be summed without a list of them
_ROWS = 32  # agreements counted at once: few enough for a core's cache, and for a byte

Codes = NDArray[np.integer[Any]]


@dataclass(frozen=True)
class NullMoments:
    """Mean and standard deviation of a measure under labels permuted at random."""

    mean: float
    sd: float

    def z(self, value: float) -> float:
        """Standard deviations above chance; nan where every permutation gives the same value."""
        return (value - self.mean) / self.sd if self.sd > 0 else float("nan")


def agreement_moments(queries: NDArray[np.int64], nearest: NDArray[np.int64], counts: NDArray[np.int64]) -> NullMoments:
    """Moments of the share of edges whose two ends have the same label, all labels permuted together.

    With E edges, M ordered pairs of edges between the same two nodes, S ordered pairs with exactly one common node, and
    p₂, p₃, p₂₂ the probabilities that two given nodes, three given nodes, and both of two disjoint pairs agree:
    E²·Var = E p₂ + M p₂ + S p₃ + (E² − E − M − S) p₂₂ − E² p₂².

    Parameters
    ----------
    queries : int64, shape (m,): node of each query.
    nearest : int64, shape (m, k): its neighbors' nodes.
    counts : int64, shape (num_classes,): samples of each class; their sum is the number of nodes.
    """
    num_nodes = int(counts.sum())
    start, end = np.repeat(queries, nearest.shape[1]), nearest.ravel()
    num_edges = len(start)
    degree = np.bincount(start, minlength=num_nodes) + np.bincount(end, minlength=num_nodes)
    pair = np.minimum(start, end) * num_nodes + np.maximum(start, end)
    multiplicity = np.unique(pair, return_counts=True)[1].astype(np.float64)
    same_pair = float((multiplicity * (multiplicity - 1)).sum())
    one_common = float((degree.astype(np.float64) * (degree - 1)).sum()) - 2 * same_pair
    disjoint = float(num_edges) ** 2 - num_edges - same_pair - one_common
    p2, p3 = all_alike(counts, 2), all_alike(counts, 3)
    second = (num_edges + same_pair) * p2 + one_common * p3 + disjoint * _two_pairs_alike(counts)
    return NullMoments(p2, sqrt(max(second / num_edges**2 - p2**2, 0.0)))


def cross_moments(nearest: NDArray[np.int64], train: NDArray[np.int64], test: NDArray[np.int64]) -> NullMoments:
    """Moments of the share of test samples that agree with their training neighbor, labels permuted in each split.

    Parameters
    ----------
    nearest : int64, shape (m,): training node of each test sample.
    train, test : samples of each class in the splits, shape (num_classes,), classes in the same order.
    """
    p, q = train / train.sum(), test / test.sum()
    mean, num_queries, num_train = float(p @ q), len(nearest), int(train.sum())
    pairs_test = test * (test - 1.0) / max(test.sum() * (test.sum() - 1.0), 1.0)
    pairs_train = train * (train - 1.0) / max(num_train * (num_train - 1.0), 1.0)
    common = float(p @ pairs_test)  # two test samples with one and the same neighbor
    ratio = num_train * float(num_queries) / max((num_train - 1.0) * (num_queries - 1.0), 1.0)
    apart = float(pairs_train @ pairs_test) + ratio * float((p * q).sum() ** 2 - ((p * q) ** 2).sum())
    used = np.bincount(nearest).astype(np.float64)
    num_common = float((used * (used - 1)).sum())
    num_apart = float(num_queries) * (num_queries - 1) - num_common
    second = num_queries * mean + num_common * common + num_apart * apart
    return NullMoments(mean, sqrt(max(second / num_queries**2 - mean**2, 0.0)))


def all_alike(counts: NDArray[np.int64], size: int) -> float:
    """Probability that `size` samples drawn without replacement have one label: Σ (n_c)_size / (n)_size."""
    total, numerator, denominator = float(counts.sum()), np.ones(len(counts)), 1.0
    for step in range(size):
        numerator *= np.maximum(counts - step, 0)
        denominator *= max(total - step, 1.0)
    return float(numerator.sum() / denominator)


def none_alike(counts: NDArray[np.int64], size: int) -> float:
    """Probability that none of `size` other samples has a sample's label: Σ (n_c/n) C(n − n_c, size)/C(n − 1, size)."""
    total, product = float(counts.sum()), counts / counts.sum()
    for step in range(size):
        product = product * np.maximum(total - counts - step, 0) / max(total - 1 - step, 1.0)
    return float(product.sum())


def _two_pairs_alike(counts: NDArray[np.int64]) -> float:
    """Probability that of four samples the first two agree and the last two agree."""
    pairs = counts * (counts - 1.0)
    within = pairs * np.maximum(counts - 2, 0) * np.maximum(counts - 3, 0)
    across = pairs.sum() ** 2 - (pairs**2).sum()
    total = float(counts.sum())
    orders = total * (total - 1) * (total - 2) * (total - 3)
    return float((within.sum() + across) / orders) if orders > 0 else 0.0


def normal_p(z: float) -> float:
    """One-sided upper tail of the standard normal distribution."""
    return 0.5 * erfc(z / sqrt(2))


def permutation_p(value: float, null_values: NDArray[np.float64], *, lower: bool = False) -> float:
    """p = (1 + b)/(1 + B), b the permutations that reach the value (from below where `lower`), up to rounding."""
    margin = 1e-12
    reached = null_values <= value + margin if lower else null_values >= value - margin
    return float((1 + reached.sum()) / (1 + len(null_values)))


@dataclass(frozen=True, eq=False)
class Shuffles:
    """Random orders of labels, kept so that measures of the same samples are tested on the same permutations.

    permutations : how many of each set of labels. seed : of the random orders.
    """

    permutations: int = PERMUTATIONS
    seed: int = 0
    _kept: dict[tuple[bytes, int], Codes] = field(default_factory=dict, repr=False)
    _by_sample: dict[tuple[bytes, int], Codes] = field(default_factory=dict, repr=False)

    def of(self, codes: Codes, part: int = 0) -> Codes:
        """The label codes in random orders, shape (permutations, n); another `part` is shuffled independently."""
        key = (codes.tobytes(), part)
        if key not in self._kept:
            rng = np.random.default_rng((self.seed, part))
            small = codes.astype(np.min_scalar_type(int(codes.max(initial=0))))
            self._kept[key] = rng.permuted(np.broadcast_to(small, (self.permutations, len(codes))), axis=1)
        return self._kept[key]

    def by_sample(self, codes: Codes, part: int = 0) -> Codes:
        """The same orders, shape (n, permutations): each sample's labels lie side by side."""
        key = (codes.tobytes(), part)
        if key not in self._by_sample:
            self._by_sample[key] = np.ascontiguousarray(self.of(codes, part).T)
        return self._by_sample[key]


def agreeing_shares(queries: Codes, references: Codes, nearest: NDArray[np.int64]) -> NDArray[np.float64]:
    """The share of queries whose nearest reference has their label, under each permutation.

    Parameters
    ----------
    queries, references : label codes as `Shuffles.by_sample` gives them, shapes (m, permutations), (n, permutations).
    nearest : int64, shape (m,): the row of each query's nearest reference.
    """
    counts = np.zeros(queries.shape[1], dtype=np.int64)
    for start in range(0, len(nearest), _ROWS):
        part = slice(start, start + _ROWS)
        agrees = queries[part] == references[nearest[part]]
        counts += agrees.view(np.uint8).sum(axis=0, dtype=np.uint8)
    return counts / len(nearest)


def null_values(
    score: Callable[[Codes, Codes], NDArray[np.float64]], query_codes: Codes, reference_codes: Codes, entries_each: int
) -> NDArray[np.float64]:
    """The measure of each row of permuted codes; `score` sees some rows at a time, `entries_each` numbers a row."""
    step = max(1, (1 << 23) // max(1, entries_each))
    parts = range(0, len(query_codes), step)
    return np.concatenate([score(query_codes[i : i + step], reference_codes[i : i + step]) for i in parts])


def wilson(value: float, effective_n: float, level: float = 0.95) -> tuple[float, float]:
    """Wilson's score interval of a share among `effective_n` independent trials; infinite n gives the value itself.

    nan for both ends where the share, or what it is worth, is undefined.
    """
    if not 0 < level < 1:
        raise ValueError(f"level must lie between 0 and 1; got {level}. 0.95 is usual.")
    if np.isnan(value) or np.isnan(effective_n):
        return float("nan"), float("nan")
    if np.isinf(effective_n):
        return value, value
    z = NormalDist().inv_cdf(0.5 + level / 2)
    ratio = z**2 / effective_n
    center = (value + ratio / 2) / (1 + ratio)
    half = z / (1 + ratio) * sqrt(value * (1 - value) / effective_n + ratio / (4 * effective_n))
    return max(0.0, min(center - half, value)), min(1.0, max(center + half, value))


def wilson_n(value: float, low: float, high: float, level: float = 0.95) -> float:
    """Independent trials for which `wilson` gives this interval; nan where an end is, infinite where both are equal.

    Solves Wilson's half-width for n, so that an interval stored at one level can be had at another.
    """
    if np.isnan([value, low, high]).any():
        return float("nan")
    z, half = NormalDist().inv_cdf(0.5 + level / 2), (high - low) / 2
    if half <= 0:
        return float("inf")
    spread = value * (1 - value)
    a, b = 0.25 - half**2, spread - 2 * half**2  # a r² + b r - half² = 0, with r = z²/n
    if a <= 0:
        return 0.0
    ratio = (-b + sqrt(b**2 + 4 * a * half**2)) / (2 * a)
    return z**2 / ratio


def finite_population_n(num_sampled: int, num_all: int) -> float:
    """Independent trials that a random sample of `num_sampled` out of `num_all` is worth; all of them: infinite."""
    if num_sampled >= num_all:
        return float("inf")
    return num_sampled * (num_all - 1) / (num_all - num_sampled)


def shared_node_n(value: float, residuals: NDArray[np.float64], nodes: NDArray[np.int64]) -> float:
    """Independent trials that scores are worth which share nodes of a neighbor graph.

    The variance of the mean is estimated by Σ rᵢrⱼ/m² over pairs of queries whose nodes meet (each with itself
    included), and set equal to value·(1 − value)/n. Never more than the m trials there are, unless all agree; nan where
    the value is.

    Parameters
    ----------
    value : the mean. residuals : float64, shape (m,): each query's part of m times the error of the mean.
    nodes : int64, shape (m, 1 + k): the samples that each query's score depends on.
    """
    return _limited_n(value, len(residuals), lambda: shared_node_variance(residuals, nodes))


def shared_node_variance(residuals: NDArray[np.float64], nodes: NDArray[np.int64]) -> float:
    """Variance of a mean of scores which share nodes: Σ rᵢrⱼ/m² over pairs whose nodes meet. Can come out negative.

    Parameters
    ----------
    residuals : float64, shape (m,). nodes : int64, shape (m, any): the samples that each score depends on; a sample
        may stand twice in a row.
    """
    num_scores, num_nodes = nodes.shape
    if not 1 <= num_nodes <= _FEW_NODES:
        return _dependent_variance(residuals, dependent_pairs(nodes))
    columns = _without_gaps(nodes).T
    low, high = np.minimum.reduce(columns), np.maximum.reduce(columns)
    middle = columns.sum(axis=0) - low - high if num_nodes == _FEW_NODES else low
    return _sum_of_few(residuals, low, middle, high) / float(num_scores) ** 2


def _sum_of_few(
    residuals: NDArray[np.float64], low: NDArray[np.int64], middle: NDArray[np.int64], high: NDArray[np.int64]
) -> float:
    """Σ rᵢrⱼ over pairs of scores that meet in at least one of up to three nodes, which ascend and may be equal.

    Inclusion and exclusion, without a list of the pairs: those that meet in a node, less those that meet in two, plus
    those that meet in three. A sum over all pairs that meet in something is the sum of (Σ r)² over what they meet in.
    """
    second, third = residuals * (middle != low), residuals * (high != middle)  # 0 where a node stands twice
    of_three = second * (high != middle)
    one = _sum_of_squares(np.concatenate([low, middle, high]), np.concatenate([residuals, second, third]))
    size = int(high.max()) + 1
    pairs = _numbered(np.concatenate([low * size + middle, middle * size + high, low * size + high]))
    two = _sum_of_squares(pairs, np.concatenate([second, third, of_three]))
    different = np.flatnonzero((middle != low) & (high != middle))
    three = _sum_of_squares(_numbered(pairs[different] * size + high[different]), residuals[different])
    return one - two + three


def _sum_of_squares(groups: NDArray[np.int64], values: NDArray[np.float64]) -> float:
    """The sum of the squared sums of each group."""
    return float((np.bincount(groups, values) ** 2).sum())


def _numbered(keys: NDArray[np.int64]) -> NDArray[np.int64]:
    """Numbers from 0 on, in place of keys that may have gaps."""
    return np.unique(keys, return_inverse=True)[1]


def _without_gaps(nodes: NDArray[np.int64]) -> NDArray[np.int64]:
    """Nodes numbered from 0 on, below their count."""
    if nodes.min() < 0 or nodes.max() >= nodes.size:
        return _numbered(nodes).reshape(nodes.shape)
    return nodes.astype(np.int64, copy=False)  # a pair of nodes makes one number, for which 32 bits are too few


def dependent_pairs(nodes: NDArray[np.int64]) -> sparse.csr_array:
    """1 for each pair of scores that share a node, each score with itself included; shape (m, m).

    nodes : as in `shared_node_variance`. This takes most of its time, and serves all scores of the same nodes.
    """
    nodes = _without_gaps(nodes)  # each gap would be an empty column
    small = np.int32 if nodes.size <= np.iinfo(np.int32).max else np.int64  # half of the memory to read
    columns = nodes.ravel().astype(small)
    starts = np.arange(0, nodes.size + 1, nodes.shape[1], dtype=small)
    depends = sparse.csr_array((np.ones(nodes.size), columns, starts), shape=(len(nodes), int(columns.max()) + 1))
    pairs = depends @ depends.T
    pairs.data.fill(1.0)  # as its sign would be, which sorts the columns first
    return pairs


def dependent_n(value: float, residuals: NDArray[np.float64], pairs: sparse.csr_array) -> float:
    """`shared_node_n` where the pairs are known. pairs : as `dependent_pairs` gives them."""
    return _limited_n(value, len(residuals), lambda: _dependent_variance(residuals, pairs))


def _limited_n(value: float, num_queries: int, variance: Callable[[], float]) -> float:
    """Trials whose mean has this variance; at most the queries, and all of them where each agrees or none does."""
    spread = value * (1 - value)
    if np.isnan(spread):
        return float("nan")
    if spread <= 0:
        return float(num_queries)
    return float(min(spread / max(variance(), spread / num_queries), num_queries))


def _dependent_variance(residuals: NDArray[np.float64], pairs: sparse.csr_array) -> float:
    return float(residuals @ (pairs @ residuals)) / len(residuals) ** 2


def q_values(p_values: ArrayLike) -> NDArray[np.float64]:
    """Benjamini and Hochberg's (1995) adjusted p-values; nan stays nan and does not count.

    Parameters
    ----------
    p_values : shape (tests,).
    """
    p = np.asarray(p_values, dtype=np.float64)
    known = np.flatnonzero(~np.isnan(p))
    adjusted = np.full(len(p), np.nan)
    order = known[np.argsort(p[known], kind="stable")]
    scaled = p[order] * len(order) / np.arange(1, len(order) + 1)
    adjusted[order] = np.minimum(np.minimum.accumulate(scaled[::-1])[::-1], 1.0)
    return adjusted
