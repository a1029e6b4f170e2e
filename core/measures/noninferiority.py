"""Which layers are not worse than the best by more than a tolerance, and which cannot be told with these samples.

A test of non-inferiority asks more than that a difference is not significant: the whole interval of a layer's
difference to the best must lie above minus the tolerance. Which layer is the best is not certain either, so a layer is
held against every layer that may be the best (multiple comparisons with the best, Hsu 1984). For one layer, all of
these comparisons must hold, which needs no correction; that many layers are tried does, and each interval has the level
that Bonferroni's inequality asks for.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

WITHIN, WORSE, UNDECIDED = VERDICTS = ("within", "worse", "undecided")
LEVEL = 0.95
_BATCH = 8  # candidates that are held against their rivals at once

Pairs = Sequence[tuple[int, int]]


@dataclass(frozen=True, eq=False)
class Decision:
    """The verdict on each candidate, in the order in which the candidates were given.

    Attributes
    ----------
    best : int
        The candidate of the highest value, the first of equal ones.
    low, high : np.ndarray, float64, shape (candidates,)
        Interval of the candidate's difference to the best one, whichever that is; at most 0. A candidate that is not
        `held` is compared with the one of the highest value alone.
    verdicts : np.ndarray of str, shape (candidates,)
        "within": low > -tolerance; "worse": high < -tolerance; else "undecided", also where an interval is nan.
    sample_ratio : np.ndarray, float64, shape (candidates,)
        How many times the present number of samples would make the candidate "within" if all values stayed as they
        are, because intervals narrow with the root of that number; inf where the value lies more than the tolerance
        below the highest, nan where an interval is.
    held : np.ndarray of bool, shape (candidates,)
        Whether the candidate was held against all that may be the best: the one of the highest value, and those within
        the tolerance of it, in their order, until one of them is within the tolerance of all.
    """

    best: int
    low: NDArray[np.float64]
    high: NDArray[np.float64]
    verdicts: NDArray[np.str_]
    sample_ratio: NDArray[np.float64]
    held: NDArray[np.bool_]

    @property
    def recommended(self) -> int | None:
        """The first candidate that is within the tolerance; None where the samples cannot name one."""
        within = np.flatnonzero(self.verdicts == WITHIN)
        return int(within[0]) if len(within) else None

    @property
    def smallest_ratio(self) -> float:
        """How many times the present number of samples would name a candidate; nan where no interval is known."""
        known = self.sample_ratio[self.held & ~np.isnan(self.sample_ratio)]
        return float(known.min()) if len(known) else float("nan")

    @property
    def smallest_tolerance(self) -> float:
        """A tolerance above this one names a candidate with the present samples; nan where no interval is known."""
        known = self.low[self.held & ~np.isnan(self.low)]
        return max(0.0, -float(known.max())) if len(known) else float("nan")


def corrected_level(num_candidates: int, level: float = LEVEL) -> float:
    """The level of one candidate's intervals at which all of them hold together with probability `level`."""
    return 1 - (1 - level) / max(1, num_candidates - 1)


def decide(values: ArrayLike, intervals: Callable[[Pairs], NDArray[np.float64]], *, tolerance: float) -> Decision:
    """Decide for each candidate whether it is within the tolerance of the best one.

    Parameters
    ----------
    values : float, shape (candidates,), the higher the better.
    intervals : from pairs (i, j) of candidates to the intervals of value i - value j at the level of
        `corrected_level`, shape (pairs, 2); nan where unknown.
    tolerance : how much lower than the best is acceptable, above 0.

    Raises
    ------
    ValueError
        No candidate, a value that is nan, or a tolerance that is not above 0.
    """
    scores = np.asarray(values, dtype=np.float64)
    if scores.ndim != 1 or not len(scores) or np.isnan(scores).any():
        raise ValueError(f"values must be numbers of shape (candidates,), at least one; got {scores.tolist()}.")
    check_tolerance(tolerance)
    best = int(scores.argmax())
    others = [i for i in range(len(scores)) if i != best]
    low, high = np.zeros(len(scores)), np.zeros(len(scores))
    low[others], high[others] = _ends(intervals([(i, best) for i in others]))
    ratio = _needed(scores - scores[best], low, tolerance)
    ratio[best] = 0.0
    rivals = [i for i in others if not high[i] < 0]  # each of them may be the best one, too
    held = np.zeros(len(scores), dtype=bool)  # against all rivals
    passing = [best, *(i for i in others if low[i] > -tolerance)]
    for start in range(0, len(passing), _BATCH):
        batch = passing[start : start + _BATCH]
        pairs = [(i, rival) for i in batch for rival in rivals if rival != i]
        first, second = np.asarray(pairs, dtype=np.int64).reshape(-1, 2).T
        rival_low = _ends(intervals(pairs))[0]
        with np.errstate(invalid="ignore"):  # nan stays nan: an unknown interval decides nothing
            np.minimum.at(low, first, rival_low)
            np.maximum.at(ratio, first, _needed(scores[first] - scores[second], rival_low, tolerance))
        held[batch] = True
        if any(low[i] > -tolerance for i in batch if i != best):
            break  # an earlier layer than all further ones is within
    low, high = np.minimum(low, 0.0), np.minimum(high, 0.0)
    return Decision(best, low, high, verdicts_of(low, high, tolerance), ratio, held)


def verdicts_of(low: ArrayLike, high: ArrayLike, tolerance: float) -> NDArray[np.str_]:
    """Return a verdict for each interval of a difference: "within" the tolerance, "worse" than that, else "undecided".

    Parameters
    ----------
    low, high : float, of one shape; an end that is nan decides nothing.
    tolerance : how much worse is acceptable, above 0.
    """
    is_within, is_worse = np.asarray(low) > -tolerance, np.asarray(high) < -tolerance
    return np.where(is_within, WITHIN, np.where(is_worse, WORSE, UNDECIDED))


def check_tolerance(tolerance: float) -> None:
    """Refuse a tolerance that decides nothing, or everything.

    Raises
    ------
    ValueError
        Unless 0 < tolerance < 1.
    """
    if not 0 < tolerance < 1:
        raise ValueError(
            f"tolerance must lie above 0 and below 1, in units of the measure; got {tolerance}. 0.03 is usual."
        )


def _ends(intervals: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Lower and upper ends of intervals of shape (pairs, 2), also of none."""
    ends = np.asarray(intervals, dtype=np.float64).reshape(-1, 2)
    return ends[:, 0], ends[:, 1]


def _needed(difference: NDArray[np.float64], low: NDArray[np.float64], tolerance: float) -> NDArray[np.float64]:
    """Times the present number of samples at which the lower end reaches -tolerance; inf where it never does."""
    room = difference + tolerance
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = ((difference - low) / room) ** 2
    return np.where(room > 0, ratio, np.inf)
