"""How sure the difference of two measures is that were taken on the same samples, as before and after fine-tuning.

Each sample is scored twice, so the two values rise and fall together, and their difference is surer than the two
intervals suggest. But the samples are not independent: scores that look at a common sample vary together, in either
neighbor graph. So the variance of the mean difference is summed over all such pairs, as for one measure alone.
"""

from dataclasses import dataclass
from math import sqrt
from statistics import NormalDist

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import betaincinv

from core.measures.neighbor_graph import shrunken_class_means
from core.measures.separation import encode_labels
from core.measures.significance import normal_p, shared_node_variance

# Samples' worth of the overall mean in a class's: more than for one measure, because classes differ less in how much
# they change than in how well they separate. Chosen by tests/benchmarks/paired_coverage.py.
_DRAWN_BY = 100
_ADDED = 2.0  # samples, half of which changed, one way as often as the other (Agresti and Min 2005)


@dataclass(frozen=True)
class PairedDifference:
    """The mean of after − before over the same samples.

    value : in [-1, 1]. changed : mean of the squared differences; for scores of 0 and 1, the share of samples whose
    score changed. effective_n : independent samples that the differences are worth. num_samples : all of them.
    """

    value: float
    changed: float
    effective_n: float
    num_samples: int

    @property
    def z(self) -> float:
        """Standard errors from no difference, with the same standard error and center as the interval."""
        center, error = self._center_and_error()
        return center / error

    @property
    def p_value(self) -> float:
        """Two-sided: p < 0.05 where the 95% interval leaves out 0."""
        return min(1.0, 2 * normal_p(abs(self.z)))

    def interval(self, level: float = 0.95) -> tuple[float, float]:
        """For the expected difference on a fresh sample of the same size and classes; holds the value."""
        if not 0 < level < 1:
            raise ValueError(f"level must lie between 0 and 1; got {level}. 0.95 is usual.")
        center, error = self._center_and_error()
        half = NormalDist().inv_cdf(0.5 + level / 2) * error
        return max(-1.0, min(center - half, self.value)), min(1.0, max(center + half, self.value))

    def exact_interval(self, level: float = 0.95) -> tuple[float, float]:
        """The same of scores that are 0 or 1, for few samples and high levels, where `interval` is too short.

        Clopper and Pearson's bounds of the shares of samples that rose and that fell, subtracted: wide rather than
        wrong.
        """
        if not 0 < level < 1:
            raise ValueError(f"level must lie between 0 and 1; got {level}. 0.95 is usual.")
        error = (1 - level) / 4  # at each end of each share
        rose, fell = ((self.changed + sign * self.value) / 2 for sign in (1, -1))
        rose_low, rose_high = _clopper_pearson(rose, self.effective_n, error)
        fell_low, fell_high = _clopper_pearson(fell, self.effective_n, error)
        return rose_low - fell_high, rose_high - fell_low

    def _center_and_error(self) -> tuple[float, float]:
        """Agresti and Min's: two more samples, half of which changed. So no change at all has an interval too."""
        total = self.effective_n + _ADDED
        center = self.value * self.effective_n / total
        changed = (self.changed * self.effective_n + _ADDED / 2) / total
        return center, sqrt((changed - center**2) / total)


def paired_difference(
    before: ArrayLike, after: ArrayLike, labels: ArrayLike, *, nodes_before: ArrayLike, nodes_after: ArrayLike
) -> PairedDifference:
    """The difference of two measures, each a mean of per-sample scores, on the same samples in the same order.

    With dᵢ = afterᵢ − beforeᵢ and residuals from the class's mean of d (drawn toward that of all), the variance of the
    mean is Σ rᵢrⱼ/n² over pairs (i, j) whose scores depend on a common sample in either graph. It is never taken as
    less than if the n differences were independent, which also covers sums that come out negative.

    Parameters
    ----------
    before, after : float, shape (n,), the score of each sample in [0, 1].
    labels : integers or strings of shape (n,).
    nodes_before, nodes_after : int, shapes (n, j) and (n, k): the samples that each score depends on, numbered alike in
        both: the sample itself and the neighbors that it was compared with.

    Raises
    ------
    ValueError
        Shapes that do not fit, or scores outside of [0, 1].
    """
    codes = encode_labels(labels).codes
    first, second = (
        _checked_scores(scores, len(codes), name) for scores, name in ((before, "before"), (after, "after"))
    )
    nodes = _joined_nodes(
        _checked_nodes(nodes_before, len(codes), "nodes_before"), _checked_nodes(nodes_after, len(codes), "nodes_after")
    )
    difference = second - first
    value, changed = float(difference.mean()), float((difference**2).mean())
    residuals = difference - shrunken_class_means(difference, codes, _DRAWN_BY)
    return PairedDifference(value, changed, _effective_n(changed - value**2, residuals, nodes), len(codes))


def unpaired_interval(before: tuple[float, float, float], after: tuple[float, float, float]) -> tuple[float, float]:
    """Interval of after − before from the two values' own intervals, as if the samples were not the same.

    For where it is not known which neighbors the samples had. The same samples make both values high or low together,
    so it is wider than it needs to be. Newcombe's (1998) combination of two score intervals.

    Parameters
    ----------
    before, after : value, low and high of each, with one and the same level.

    Returns
    -------
    (low, high) : nan for both where an interval is missing.
    """
    (first, first_low, first_high), (second, second_low, second_high) = before, after
    down = sqrt((second - second_low) ** 2 + (first_high - first) ** 2)
    up = sqrt((second_high - second) ** 2 + (first - first_low) ** 2)
    low, high = np.clip([second - first - down, second - first + up], -1, 1)
    return float(low), float(high)


def _clopper_pearson(share: float, effective_n: float, error: float) -> tuple[float, float]:
    """Bounds of a share, each missed with at most a probability of `error`."""
    count = max(0.0, share * effective_n)
    rest = max(0.0, effective_n - count)
    low = float(betaincinv(count, rest + 1, error)) if count > 0 else 0.0
    return low, float(betaincinv(count + 1, rest, 1 - error)) if rest > 0 else 1.0


def _effective_n(spread: float, residuals: NDArray[np.float64], nodes: NDArray[np.int64]) -> float:
    """Independent samples of this spread whose mean would vary as much; at most the n there are."""
    if spread <= 0:
        return float(len(residuals))
    return min(spread / max(shared_node_variance(residuals, nodes), spread / len(residuals)), len(residuals))


def _checked_scores(scores: ArrayLike, num_samples: int, name: str) -> NDArray[np.float64]:
    array = np.asarray(scores, dtype=np.float64)
    if array.shape != (num_samples,) or not ((array >= 0) & (array <= 1)).all():
        raise ValueError(
            f"{name} must be {num_samples} scores from 0 to 1, one a label; got shape {array.shape}. "
            "Give the per-sample scores of the measure, without nan."
        )
    return array


def _joined_nodes(before: NDArray[np.int64], after: NDArray[np.int64]) -> NDArray[np.int64]:
    """All that a difference depends on; the samples themselves, which stand first in both, only once."""
    return np.column_stack([before, after[:, 1:] if np.array_equal(before[:, 0], after[:, 0]) else after])


def _checked_nodes(nodes: ArrayLike, num_samples: int, name: str) -> NDArray[np.int64]:
    array = np.asarray(nodes)
    if array.ndim != 2 or len(array) != num_samples or array.dtype.kind not in "iu":
        raise ValueError(
            f"{name} must be integers of shape ({num_samples}, k); got {array.dtype} of shape {array.shape}. "
            "Stack each sample's own number and those of its neighbors."
        )
    return array.astype(np.int64)
