"""SI over sample size: values of subsamples, a curve fitted to them, and how many queries a precision needs.

SI rises with the number of samples, because neighbors come closer. A subsample of both queries and references is biased
low: its values are a learning curve. A subsample of the queries against all references is not: its values scatter
around the SI of all samples.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from math import ceil, sqrt
from statistics import NormalDist

import numpy as np
from numpy.typing import ArrayLike, NDArray

from core.search.neighbors import nearest_neighbors

FARTHEST = 8  # times the largest size fitted: beyond it, what the asymptote is decides, and that is hardly known
MIN_SIZES = 3  # a curve of three parameters
_RATES = np.arange(1, 201) / 100
_KINSHIP = 0.25  # errors of one pool at sizes n < m correlate like (n/m)^0.25: chosen on digits, where 50 to 200: 0.74

Scores = NDArray[np.float64]


def subsample_values(
    features: ArrayLike, codes: ArrayLike, subsamples: Sequence[NDArray[np.int64]], *, metric: str = "euclidean"
) -> Scores:
    """SI of each subsample, its samples being both queries and references: a learning curve, biased low.

    Parameters
    ----------
    features : array of shape (n, d), or (n, ...), flattened per sample. codes : integers of shape (n,), the labels.
    subsamples : rows of each subsample, distinct, at least two. Nested ones make curves that are comparable.
    metric : "euclidean" or "cosine".

    Returns
    -------
    float64, shape (len(subsamples),). One exact neighbor search each; equal distances go to the sample named first.

    Raises
    ------
    ValueError
        A row twice in a subsample (it would be its own neighbor's copy and inflate SI); else as `nearest_neighbors`.
    """
    features, codes = np.asarray(features), np.asarray(codes)
    if codes.shape != features.shape[:1]:
        raise ValueError(f"codes must have shape ({len(features)},), one a sample; got {codes.shape}.")
    return np.array([_subsample_value(features, codes, np.asarray(rows), metric) for rows in subsamples])


def required_queries(precision: float, num_samples: int, *, level: float = 0.95, share: float = 0.5) -> int:
    """Queries to draw so that SI of all `num_samples` is known to ± `precision`; decide it before looking at any.

    m₀ = z² p (1 − p)/e², rounded up, and m = m₀ N/(N + m₀), rounded up, since the queries are drawn without replacement
    from N samples: at ± 0.01 and 95% at worst 9604 N/(N + 9604).

    Parameters
    ----------
    precision : half the width of the interval, between 0 and 0.5.
    num_samples : N, all samples. level : coverage of the interval.
    share : the SI expected, 0.5 at worst; from a pilot, whose queries are then not used again.

    Raises
    ------
    ValueError
        An argument out of its range.
    """
    if not 0 < precision < 0.5:
        raise ValueError(f"precision must lie between 0 and 0.5; got {precision}. 0.01 means ± one percentage point.")
    if not 0 < share < 1:
        raise ValueError(
            f"share must lie between 0 and 1, both excluded; got {share}. After a pilot of m queries with h hits, give "
            "(h + 1)/(m + 2)."
        )
    if num_samples < 1:
        raise ValueError(f"num_samples must be at least 1; got {num_samples}. Count the samples that can be queries.")
    if _normal_quantile(level) * sqrt(share * (1 - share)) / precision >= num_samples:
        return num_samples  # what the formula gives from m₀ = N² on, where it could no longer be computed
    independent = ceil(_normal_quantile(level) ** 2 * share * (1 - share) / precision**2)
    return -(-independent * num_samples // (num_samples + independent))


@dataclass(frozen=True, eq=False)
class FittedCurve:
    """SI(n) = asymptote − gap · (n/N)^(−rate), with N the largest size fitted; never above 1.

    The same curve as a − b n^(−c), but its amplitude is a difference of SI whatever the rate is: with b, a small change
    of the rate means another order of magnitude.

    sizes : the sizes fitted, ascending. num_repeats : subsamples of each size.
    num_samples : the samples that the subsamples were drawn from.
    asymptote : in [0, 1]; what SI tends to, if the curve keeps its form. gap : asymptote − SI(N), at least 0.
    rate : in [0.01, 2]; says nothing where the gap is 0.
    resampled : float64, shape (resamples, 3): asymptote, gap and rate refitted; without rows where nothing varied.
    """

    sizes: tuple[int, ...]
    num_samples: int
    num_repeats: int
    asymptote: float
    gap: float
    rate: float
    resampled: Scores = field(repr=False)

    def value(self, size: float) -> float:
        """SI expected of a fresh sample of `size`, from the smallest size fitted to 8 times the largest.

        Raises
        ------
        ValueError
            A size outside of that range.
        """
        self._check(size)
        return float(_curve(np.array([self.asymptote, self.gap, self.rate]), size / self.sizes[-1]))

    def interval(self, size: float, level: float = 0.95) -> tuple[float, float]:
        """Where the expected SI of a fresh sample of `size` lies: percentiles of the refitted curves.

        It holds the value. It covers the choice of subsamples, the choice of the samples at hand, and what follows from
        both for the three parameters, but not that the curve may have another form. With 200 pools in each of
        eight designs (digits, blobs; tests/benchmarks/curve_coverage.py) the 95% interval held the truth up to 8 times
        the largest size in 92.5% to 99.5%, the most where the pool was much larger than its subsamples; repeats alone
        in 5% to 86%.

        Returns
        -------
        (low, high); nan for both with one repeat a size, which does not show how much repeats differ.

        Raises
        ------
        ValueError
            A size outside of the range of `value`, a level outside of 0 and 1.
        """
        self._check(size)
        _normal_quantile(level)
        if not len(self.resampled):
            return float("nan"), float("nan")
        value, curves = self.value(size), _curve(self.resampled, size / self.sizes[-1])
        low, high = np.quantile(curves, [(1 - level) / 2, (1 + level) / 2])
        return min(float(low), value), max(float(high), value)

    def _check(self, size: float) -> None:
        smallest, largest = self.sizes[0], self.sizes[-1]
        if size > FARTHEST * largest:
            raise ValueError(
                f"size must be at most {FARTHEST * largest}, {FARTHEST} times the largest size fitted; got {size}. "
                "Farther out the asymptote decides, which so few sizes hardly determine. Fit larger subsamples."
            )
        if not size >= smallest:
            raise ValueError(
                f"size must be at least {smallest}, the smallest size fitted; got {size}. Fit smaller subsamples."
            )


def fit_curve(
    sizes: Sequence[int], values: ArrayLike, *, num_samples: int, resamples: int = 1000, seed: int = 0
) -> FittedCurve:
    """Fit SI over sample size, by weighted least squares, and refit it to resampled repeats.

    A repeat is one chain of nested subsamples, so it is resampled as a whole. That alone says nothing of the samples at
    hand, which all repeats share (with subsamples as large as all of them the repeats are equal): each resample also
    gets an error of theirs. Its variance at size n is f SI (1 − SI)/num_samples, Hoeffding's (1948) bound n/num_samples
    times that of one subsample, with f ≥ 1, how much more subsamples vary than independent trials, from the repeats.
    For one rate the curve is linear in its other parameters, so each fit tries all rates of a grid of 0.01 and solves
    the rest exactly: it cannot fail to converge or depend on a start.

    Parameters
    ----------
    sizes : at least three, ascending, at most `num_samples`.
    values : shape (repeats, sizes), as from `subsample_values`: a row is one chain. num_samples : what the subsamples
        were drawn from. resamples : refits behind an interval. seed : of the resampling.

    Raises
    ------
    ValueError
        Fewer than three sizes, sizes that do not ascend, values of another shape or outside of 0 and 1.
    """
    n = _checked_sizes(sizes, num_samples)
    table = _checked_values(values, len(n))
    means = table.mean(axis=0)
    shrunk = (means * num_samples + 1) / (num_samples + 2)  # all hits are no proof of no misses
    spread = shrunk * (1 - shrunk)
    left_out = 1 / n - 1 / num_samples
    weights = 1 / (spread * (1 / num_samples + left_out / len(table)))
    asymptote, gap, rate = _fit(means[None], n, weights)[0].tolist()
    resampled = np.empty((0, 3))
    if len(table) > 1:
        rng = np.random.default_rng(seed)
        inflation = _inflation(table, spread * left_out)
        deviation = np.sqrt(inflation * spread / num_samples)
        drawn = _resampled_means(table, resamples, rng) + deviation * _kindred_normal(n, resamples, rng)
        resampled = _fit(np.clip(drawn, 0, 1), n, weights)
    whole_sizes = tuple(int(size) for size in n)
    return FittedCurve(whole_sizes, num_samples, len(table), asymptote, gap, rate, resampled)


def _subsample_value(
    features: NDArray[np.generic], codes: NDArray[np.generic], rows: NDArray[np.int64], metric: str
) -> float:
    if len(np.unique(rows)) != len(rows):
        raise ValueError("subsamples must not name a row twice, or copies are neighbors. Draw without replacement.")
    nearest = nearest_neighbors(features[rows], metric=metric).indices[:, 0]
    return float((codes[rows[nearest]] == codes[rows]).mean())


def _checked_sizes(sizes: Sequence[int], num_samples: int) -> Scores:
    n = np.asarray(sizes, dtype=np.float64)
    if n.ndim != 1 or len(n) < MIN_SIZES:
        raise ValueError(
            f"sizes must be at least {MIN_SIZES}, as the curve has three parameters; got {list(sizes)}. "
            "Measure more subsample sizes, each about twice the one before."
        )
    if not (n[0] >= 2 and (np.diff(n) > 0).all() and n[-1] <= num_samples):
        raise ValueError(
            f"sizes must ascend from at least 2 to at most num_samples = {num_samples}; got {list(sizes)}. "
            "Sort them, and name each once."
        )
    return n


def _checked_values(values: ArrayLike, num_sizes: int) -> Scores:
    table = np.asarray(values, dtype=np.float64)
    if table.ndim != 2 or table.shape[1] != num_sizes or not len(table):
        raise ValueError(
            f"values must have shape (repeats, {num_sizes}); got {table.shape}. Give a row for each chain of "
            "subsamples, a column for each size."
        )
    if not ((table >= 0) & (table <= 1)).all():
        raise ValueError(f"values must be SIs between 0 and 1; got {table.min()} to {table.max()}. Drop other repeats.")
    return table


def _resampled_means(table: Scores, resamples: int, rng: np.random.Generator) -> Scores:
    """Mean of as many chains drawn with replacement, shape (resamples, sizes), the deviations made unbiased."""
    repeats, means = len(table), table.mean(axis=0)
    drawn = table[rng.integers(repeats, size=(resamples, repeats))].mean(axis=1)
    result: Scores = means + (drawn - means) * sqrt(repeats / (repeats - 1))
    return result


def _inflation(table: Scores, independent: Scores) -> float:
    """How much more the repeats vary than `independent` trials drawn from the same samples; at least 1."""
    part = independent > 0  # subsamples of all samples are equal
    return max(1.0, float((table.var(axis=0, ddof=1)[part] / independent[part]).mean()))


def _kindred_normal(n: Scores, resamples: int, rng: np.random.Generator) -> Scores:
    """Standard normal numbers, shape (resamples, sizes), correlated between sizes as the errors of one pool are."""
    correlation = (np.minimum.outer(n, n) / np.maximum.outer(n, n)) ** _KINSHIP
    return rng.standard_normal((resamples, len(n))) @ np.linalg.cholesky(correlation).T


def _fit(values: Scores, n: Scores, weights: Scores) -> Scores:
    """Asymptote, gap and rate of each row of values, shape (m, 3): for every rate the best line, then the best rate."""
    x = (n / n[-1])[None] ** -_RATES[:, None]  # (rates, sizes)
    share = weights / weights.sum()
    x_mean, mean = x @ share, values @ share
    centered = (x - x_mean[:, None]) * share
    gap = np.maximum(-(values @ centered.T) / (centered * x).sum(axis=1), 0)  # (m, rates)
    asymptote = mean[:, None] + gap * x_mean
    # The problem is convex: where the asymptote exceeds 1, the best allowed one is 1.
    gap_below_one = ((1 - values) * share) @ x.T / (x**2 @ share)
    gap = np.where(asymptote > 1, gap_below_one, gap)
    asymptote = np.minimum(asymptote, 1)
    errors = sum(
        weight * (value[:, None] - asymptote + gap * column) ** 2
        for weight, value, column in zip(share, values.T, x.T, strict=True)
    )
    best = np.argmin(errors, axis=1)
    row = np.arange(len(values))
    return np.column_stack([asymptote[row, best], gap[row, best], _RATES[best]])


def _curve(parameters: Scores, ratio: float) -> Scores:
    """The curve at n/N = ratio, of parameters of shape (..., 3)."""
    asymptote, gap, rate = np.moveaxis(parameters, -1, 0)
    result: Scores = np.clip(asymptote - gap * ratio**-rate, 0, 1)
    return result


def _normal_quantile(level: float) -> float:
    if not 0 < level < 1:
        raise ValueError(f"level must lie between 0 and 1; got {level}. 0.95 is usual.")
    return NormalDist().inv_cdf(0.5 + level / 2)
