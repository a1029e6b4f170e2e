"""Estimate the number of wrong labels among the samples to check, by swapping labels and counting how many are listed.

A sample is listed to be checked if its neighbors at the late layers have another label
(`core.analysis.samples.suspects`). The labels of most listed samples may be correct, because some classes look alike.
How often a wrong label is listed can be measured within a study, because neighbors do not depend on labels: swap a few
labels, count the votes again, and count how many of the swapped samples are listed. A swapped sample gets the label of
a class with which its own class is confused, drawn in proportion to the votes at the best layer; a class drawn
uniformly would be detected more easily. Only a hundredth of the labels is swapped at a time, so that the other labels
stay nearly as they are.

Assumptions: wrong labels are spread evenly over the samples; they are between classes that the network itself confuses,
and a mislabelled image is no more similar to the wrong class than other images of its class are; the network was not
trained on the wrong labels. A network that was may have memorized them, and then its neighbors confirm them.
"""

from dataclasses import dataclass
from math import ceil, lgamma

import numpy as np
from numpy.typing import NDArray

from core.analysis.samples.label_votes import LabelVotes

SWAPPED_AT_ONCE = 0.01  # share of the labels
ENOUGH, MOST_TRIALS = 2000, 200  # swapped labels in all trials together, and the largest number of trials
LEAST_WRONG = 5  # with fewer wrong labels, a range of counts is not informative
LEAST_GAIN = 2.0  # swapped labels must be listed at least this many times as often as labels in general
LEVEL = 0.95  # of the range of expected counts


@dataclass(frozen=True)
class PlantedSwaps:
    """How often swapped labels are listed.

    Attributes
    ----------
    num_samples : int
        Number of samples about which votes are counted.
    num_swapped : int
        Number of swapped labels in all trials together.
    num_listed : int
        Number of swapped labels that were listed.
    """

    num_samples: int
    num_swapped: int
    num_listed: int

    @property
    def share_listed(self) -> float:
        """The share of the swapped labels that were listed."""
        return self.num_listed / self.num_swapped

    def num_wrong(self, rate: float) -> int:
        """Return the number of wrong labels if this share of all labels were wrong."""
        return round(rate * self.num_samples)

    def expected(self, rate: float) -> tuple[int, int]:
        """Return a 95% range of the number of wrong labels that are listed, if this share of all labels is wrong.

        It is computed from the predictive distribution of a binomial count, given `num_listed` of `num_swapped` and
        Jeffreys' prior.

        Returns
        -------
        low, high : int
        """
        probability = _beta_binomial(
            self.num_wrong(rate), self.num_listed + 0.5, self.num_swapped - self.num_listed + 0.5
        )
        tail = (1 - LEVEL) / 2
        return tuple(np.searchsorted(np.cumsum(probability), [tail, 1 - tail]).tolist())

    def tells_wrong_labels(self, num_listed: int) -> bool:
        """Whether swapped labels are listed at least twice as often as labels in general.

        Otherwise, being listed says nothing about whether a label is wrong.

        Parameters
        ----------
        num_listed : int
            Number of samples of the study that are listed.
        """
        return self.num_listed > 0 and self.share_listed * self.num_samples >= LEAST_GAIN * num_listed


def plant_swaps(
    votes: LabelVotes, codes: NDArray[np.int64], num_classes: int, *, at_least: float, seed: int = 0
) -> PlantedSwaps | None:
    """Swap a few labels at a time between classes that look alike, and count how many of these samples are listed.

    Parameters
    ----------
    votes : LabelVotes
        The votes at the late layers.
    codes : np.ndarray, int64, shape (largest sample number + 1,)
        Class code of each sample, indexed by its number.
    num_classes : int
        More than the largest code.
    at_least : float
        The score from which on a sample is listed.
    seed : int
        Seed of the random choices.

    Returns
    -------
    PlantedSwaps or None
        None where there are no votes, or only one class.
    """
    num_samples = len(votes.samples)
    if num_samples == 0 or num_classes < 2:
        return None
    num_at_once = max(1, round(SWAPPED_AT_ONCE * num_samples))
    num_trials = min(ceil(ENOUGH / num_at_once), MOST_TRIALS)
    confusions = votes.confusions(codes, num_classes)
    rng = np.random.default_rng(seed)
    num_listed = 0
    for _ in range(num_trials):
        samples = rng.choice(votes.samples, num_at_once, replace=False)
        swapped = codes.copy()
        swapped[samples] = swap_classes(codes[samples], confusions, num_classes, rng)
        num_listed += int((votes.scores(swapped, num_classes, targets=samples).score >= at_least).sum())
    return PlantedSwaps(num_samples, num_trials * num_at_once, num_listed)


def swap_classes(
    classes: NDArray[np.int64],
    confusions: tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float64]],
    num_classes: int,
    rng: np.random.Generator,
) -> NDArray[np.int64]:
    """Draw another class for each class, in proportion to how often the two are confused.

    Where a class is never confused with another, all other classes are equally probable.

    Parameters
    ----------
    classes : np.ndarray, int64, shape (n,)
    confusions : tuple of arrays
        As returned by `LabelVotes.confusions`: class (ascending), other class, votes.
    num_classes : int
    rng : np.random.Generator

    Returns
    -------
    np.ndarray, int64, shape (n,)
    """
    first, second, weight = confusions
    swapped = (classes + rng.integers(1, num_classes, len(classes))) % num_classes
    # The confusions of a class are the entries from start to end; one is drawn by inverting the cumulative weights.
    start = np.searchsorted(first, classes, side="left")
    end = np.searchsorted(first, classes, side="right")
    cumulative = np.concatenate([[0.0], np.cumsum(weight)])
    drawn = cumulative[start] + rng.random(len(classes)) * (cumulative[end] - cumulative[start])
    entry = np.clip(np.searchsorted(cumulative, drawn, side="right") - 1, start, np.maximum(end - 1, start))
    is_confused = end > start
    swapped[is_confused] = second[entry[is_confused]]
    return swapped


def _beta_binomial(count: int, a: float, b: float) -> NDArray[np.float64]:
    """Probabilities of 0 to `count` successes in a beta-binomial distribution, shape (count + 1,)."""
    logs = [
        lgamma(count + 1) - lgamma(k + 1) - lgamma(count - k + 1) + lgamma(k + a) + lgamma(count - k + b)
        for k in range(count + 1)
    ]
    return np.exp(np.array(logs) + lgamma(a + b) - lgamma(a) - lgamma(b) - lgamma(count + a + b))
