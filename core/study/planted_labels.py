"""How many wrong labels to expect among the samples to check: labels are swapped on purpose, and counted.

A sample to check is one whose late neighbors name another class (`core.study.suspects`). Most such samples may be
right: photographs of classes that look alike. How many would be wrong if a share of all labels were, a study can try
out by itself, because neighbors do not depend on labels: swap a share of the labels, count the votes again, and see how
many of the swapped samples get a score that puts them on the list. A swapped sample gets the label of a class that its
own class is confused with, drawn by the votes; a uniform choice of the other class would be found too easily.

What this assumes: the labels of the study are right but for few; wrong labels are spread evenly over the samples and
lie between classes that the network itself confuses; and the network was not trained on the wrong labels. One that
was may have learned them by heart, and agrees with them.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from core.study.label_votes import LabelVotes

DRAWS = 39  # lowest to highest of 39 holds the next one with a probability of 38/40, 95 %
LEAST_SWAPPED = 5  # wrong labels below which a count says nothing
LEAST_GAIN = 2.0  # times as many of the swapped samples as of all must be listed


@dataclass(frozen=True)
class PlantedSwaps:
    """How many of some swapped labels are listed.

    rate : share of the labels that were swapped. num_samples, num_swapped : of the samples that votes are counted
    about. share_listed : of the swapped ones, over all draws. low, high : how many of `num_swapped` were listed, at
    least and at most in a draw; with 39 draws a 95 % range.
    """

    rate: float
    num_samples: int
    num_swapped: int
    share_listed: float
    low: int
    high: int


def plant_swaps(
    votes: LabelVotes,
    codes: NDArray[np.int64],
    num_classes: int,
    *,
    rate: float,
    at_least: float,
    draws: int = DRAWS,
    seed: int = 0,
) -> PlantedSwaps | None:
    """Swap a share of the labels between classes that look alike, and count how many of these samples are listed.

    Parameters
    ----------
    votes : of the late layers.
    codes : shape (largest number of a sample + 1,), class codes by number of the sample; -1 where there is none.
    num_classes : at least 2.
    rate : share of the labels to swap, in (0, 1).
    at_least : the score from which a sample is listed.
    draws, seed : how often, and how it is drawn.

    Returns
    -------
    PlantedSwaps or None
        None where that would be less than five labels, or there is one class only.
    """
    if not 0 < rate < 1:
        raise ValueError(f"rate must lie between 0 and 1; got {rate}. 0.02 swaps two labels in a hundred.")
    judged = votes.samples
    num_swapped = round(rate * len(judged))
    if num_swapped < LEAST_SWAPPED or num_classes < 2:
        return None
    members = np.union1d(judged, votes.voter)
    confusions = votes.confusions(codes, num_classes)
    rng = np.random.default_rng(seed)
    counts = np.empty(draws, np.int64)  # of swapped samples that are listed, by draw
    judged_swapped = 0
    for draw in range(draws):
        rows = rng.choice(members, round(rate * len(members)), replace=False)
        swapped = codes.copy()
        swapped[rows] = swap_classes(codes[rows], confusions, num_classes, rng)
        targets = rows[np.isin(rows, judged)]
        counts[draw] = (votes.scores(swapped, num_classes, targets=targets).score >= at_least).sum()
        judged_swapped += len(targets)
    share = counts.sum() / max(judged_swapped, 1)
    return PlantedSwaps(rate, len(judged), num_swapped, float(share), int(counts.min()), int(counts.max()))


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
