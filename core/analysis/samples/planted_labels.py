"""How many wrong labels to expect among the samples to check: labels are swapped on purpose, and counted.

A sample to check is one whose late neighbors name another class (`core.analysis.samples.suspects`). Most such samples
may be right: photographs of classes that look alike. How often a wrong label is listed, a study can try out by itself,
because neighbors do not depend on labels: swap a few labels, count the votes again, and see how many of the swapped
samples get a score that puts them on the list. A swapped sample gets the label of a class that its own class is
confused with, drawn by the votes at the best layer; a uniform choice of the other class would be found more easily. Few
labels are swapped at a time, a hundredth: the question is how many of those labels are listed that are wrong already,
whatever their number.

What this assumes: wrong labels are spread evenly over the samples and lie between classes that the network itself
confuses, the image being no more like the wrong class than others of its class are; and the network was not trained on
the wrong labels. One that was may have learned them by heart, and agrees with them.
"""

from dataclasses import dataclass
from math import ceil, lgamma

import numpy as np
from numpy.typing import NDArray

from core.analysis.samples.label_votes import LabelVotes

SWAPPED_AT_ONCE = 0.01  # share of the labels
ENOUGH, MOST_TRIALS = 2000, 200  # labels that are swapped in all, in at most so many trials
LEAST_WRONG = 5  # wrong labels below which a range says nothing
LEAST_GAIN = 2.0  # times as many of the swapped labels as of all must be listed
LEVEL = 0.95


@dataclass(frozen=True)
class PlantedSwaps:
    """How often swapped labels are listed.

    num_samples : that votes are counted about. num_swapped : labels that were swapped in all trials together.
    num_listed : how many of these were listed.
    """

    num_samples: int
    num_swapped: int
    num_listed: int

    @property
    def share_listed(self) -> float:
        """Of the swapped labels."""
        return self.num_listed / self.num_swapped

    def num_wrong(self, rate: float) -> int:
        """Wrong labels, if this share of all were wrong."""
        return round(rate * self.num_samples)

    def expected(self, rate: float) -> tuple[int, int]:
        """At least and at most so many of the wrong labels are listed, if a share of all labels is wrong; 95 %.

        The predictive distribution of a binomial count after `num_listed` of `num_swapped`, with Jeffreys' prior.
        """
        probability = _beta_binomial(
            self.num_wrong(rate), self.num_listed + 0.5, self.num_swapped - self.num_listed + 0.5
        )
        cumulative, outside = np.cumsum(probability), (1 - LEVEL) / 2
        return tuple(np.searchsorted(cumulative, [outside, 1 - outside]).tolist())

    def tells_wrong_labels(self, num_listed: int) -> bool:
        """Whether swapped labels are listed at least twice as often as any; else a list says nothing about labels.

        num_listed : samples of the study that are listed.
        """
        return self.num_listed > 0 and self.share_listed * self.num_samples >= LEAST_GAIN * num_listed


def plant_swaps(
    votes: LabelVotes, codes: NDArray[np.int64], num_classes: int, *, at_least: float, seed: int = 0
) -> PlantedSwaps | None:
    """Swap some labels at a time between classes that look alike, and count how many of these samples are listed.

    Parameters
    ----------
    votes : of the late layers.
    codes : shape (largest number of a sample + 1,), class codes by number of the sample.
    num_classes : more than the largest code.
    at_least : the score from which a sample is listed.
    seed : of what is drawn.

    Returns
    -------
    PlantedSwaps or None
        None where there are no votes, or there is one class only.
    """
    judged = votes.samples
    if not len(judged) or num_classes < 2:
        return None
    at_once = max(1, round(SWAPPED_AT_ONCE * len(judged)))
    trials = min(ceil(ENOUGH / at_once), MOST_TRIALS)
    confusions = votes.confusions(codes, num_classes)
    rng = np.random.default_rng(seed)
    num_listed = 0
    for _ in range(trials):
        rows = rng.choice(judged, at_once, replace=False)
        swapped = codes.copy()
        swapped[rows] = swap_classes(codes[rows], confusions, num_classes, rng)
        num_listed += int((votes.scores(swapped, num_classes, targets=rows).score >= at_least).sum())
    return PlantedSwaps(len(judged), trials * at_once, num_listed)


def swap_classes(
    classes: NDArray[np.int64],
    confusions: tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float64]],
    num_classes: int,
    rng: np.random.Generator,
) -> NDArray[np.int64]:
    """Another class for each: drawn by how often the class is confused with it, or from all where it never is.

    confusions : of `LabelVotes.confusions`: class (ascending), other class, votes.
    """
    first, second, weight = confusions
    swapped = (classes + rng.integers(1, num_classes, len(classes))) % num_classes
    start = np.searchsorted(first, classes, side="left")
    end = np.searchsorted(first, classes, side="right")
    ends = np.concatenate([[0.0], np.cumsum(weight)])
    drawn = ends[start] + rng.random(len(classes)) * (ends[end] - ends[start])
    confused = end > start
    place = np.clip(np.searchsorted(ends, drawn, side="right") - 1, start, np.maximum(end - 1, start))
    swapped[confused] = second[place[confused]]
    return swapped


def _beta_binomial(count: int, a: float, b: float) -> NDArray[np.float64]:
    """Probabilities of 0 to `count` successes whose own probability is drawn from a beta distribution."""
    logs = [
        lgamma(count + 1) - lgamma(k + 1) - lgamma(count - k + 1) + lgamma(k + a) + lgamma(count - k + b)
        for k in range(count + 1)
    ]
    return np.exp(np.array(logs) + lgamma(a + b) - lgamma(a) - lgamma(b) - lgamma(count + a + b))
