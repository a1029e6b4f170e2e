"""Votes of a sample's neighbors at the late layers about its label, counted under any labels of the same samples.

Neighbors do not depend on labels. So the votes are arranged once, and can be counted again in milliseconds after some
labels have been changed, as in `core.analysis.samples.planted_labels`.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from core.data.cached_property import cached_property

# Values are summed in an array of all possible pairs if it has at most this many times as many entries as there are
# values; for larger arrays, sorting is faster.
_DENSE = 4


@dataclass(frozen=True, eq=False)
class VoteScores:
    """The other class with the most votes, for each sample that has votes for another class than its label.

    Attributes
    ----------
    sample : np.ndarray, int64, shape (n,)
        Numbers in the table `samples`, ascending.
    suggested : np.ndarray, int64, shape (n,)
        Code of the other class.
    votes, own_votes : np.ndarray, float64, shape (n,)
        Weighted mean over the layers of the votes for the other class and for the sample's label.
    """

    sample: NDArray[np.int64]
    suggested: NDArray[np.int64]
    votes: NDArray[np.float64]
    own_votes: NDArray[np.float64]

    @property
    def score(self) -> NDArray[np.float64]:
        """The share of the other class, votes / (votes + own_votes), in (0, 1]."""
        return self.votes / (self.votes + self.own_votes)


@dataclass(frozen=True, eq=False)
class LabelVotes:
    """The votes about samples: each stored neighbor votes about a sample, and a sample about each of its neighbors.

    Attributes
    ----------
    target, voter, layer : np.ndarray, int32, shape (votes,)
        The sample that a vote is about, the sample whose label it is, and the index of the layer.
    first : np.ndarray, int64
        Indices of the votes of nearest neighbors, by which layers are weighted.
    samples : np.ndarray, int32
        The samples that have votes about them, ascending.
    """

    target: NDArray[np.int32]
    voter: NDArray[np.int32]
    layer: NDArray[np.int32]
    first: NDArray[np.int64]
    samples: NDArray[np.int32]

    @classmethod
    def of(cls, neighbors: pd.DataFrame) -> "LabelVotes":
        """Arrange the votes of a table of `core.analysis.samples.paths.neighbors_by_layer`.

        There are no votes about samples that occur only as neighbors, such as those of the other split.
        """
        sample = neighbors["sample"].to_numpy(np.int32)
        nearest = neighbors["nearest"].to_numpy(np.int32)
        layer = pd.factorize(neighbors["layer"])[0].astype(np.int32)
        samples = np.unique(sample)
        reverse = np.isin(nearest, samples)
        return cls(
            target=np.concatenate([sample, nearest[reverse]]),
            voter=np.concatenate([nearest, sample[reverse]]),
            layer=np.concatenate([layer, layer[reverse]]),
            first=np.flatnonzero(neighbors["rank"].to_numpy() == 1),
            samples=samples,
        )

    def scores(
        self, codes: NDArray[np.int64], num_classes: int, *, targets: NDArray[np.int32] | None = None
    ) -> VoteScores:
        """Count the votes under given labels.

        Parameters
        ----------
        codes : np.ndarray, int64, shape (largest sample number + 1,)
            Class code of each sample, indexed by its number.
        num_classes : int
            More than the largest code.
        targets : np.ndarray, int32, optional
            The only samples about which votes are counted; default all.
        """
        weights = self.layer_weights(codes, num_classes)
        selected = slice(None) if targets is None else self._votes_about(targets)
        sample, voted, votes = _sum_by_pair(
            self.target[selected], codes[self.voter[selected]], weights[self.layer[selected]], num_classes
        )
        is_label = voted == codes[sample]
        own_votes = np.zeros(len(codes))
        own_votes[sample[is_label]] = votes[is_label]
        sample, voted, votes = sample[~is_label], voted[~is_label], votes[~is_label]
        order = np.lexsort((voted, -votes, sample))  # by sample, then most votes first, then the lower code
        first = order[np.flatnonzero(np.diff(sample[order], prepend=-1))]
        return VoteScores(sample[first], voted[first], votes[first], own_votes[sample[first]])

    def confusions(
        self, codes: NDArray[np.int64], num_classes: int
    ) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float64]]:
        """Count the votes about each class's samples for every other class, at the layer of the highest SI.

        Other layers are not used: those that separate the classes badly confuse all of them, which would hide the pairs
        of similar classes.

        Parameters
        ----------
        codes, num_classes
            As in `scores`.

        Returns
        -------
        label, voted : np.ndarray, int64, shape (pairs,)
            Codes of the pairs of classes with votes, ascending.
        votes : np.ndarray, float64, shape (pairs,)
        """
        best = self.layer == self.layer_weights(codes, num_classes).argmax()
        label, voted = codes[self.target[best]], codes[self.voter[best]]
        differ = label != voted
        return _sum_by_pair(label[differ], voted[differ], np.ones(int(differ.sum())), num_classes)

    def layer_weights(self, codes: NDArray[np.int64], num_classes: int) -> NDArray[np.float64]:
        """Return a weight for each layer: the square of its SI above chance, scaled so that the weights add up to 1.

        All weights are 0 where no layer is above chance.
        """
        label, voted = codes[self.target[self.first]], codes[self.voter[self.first]]
        layer = self.layer[self.first]
        num_layers = int(self.layer.max()) + 1 if len(self.layer) else 0
        num_queries = np.maximum(np.bincount(layer, minlength=num_layers), 1)
        value = np.bincount(layer, label == voted, minlength=num_layers) / num_queries
        sample_counts = np.bincount(codes[self.samples], minlength=num_classes)
        nearest_counts = np.bincount(voted, minlength=num_classes)
        chance = float(sample_counts @ nearest_counts) / max(int(sample_counts.sum() * nearest_counts.sum()), 1)
        squared_excess = ((value - chance) / max(1 - chance, 1e-12)).clip(min=0) ** 2
        weights: NDArray[np.float64] = squared_excess / max(squared_excess.sum(), 1e-12)
        return weights

    @cached_property
    def _by_target(self) -> tuple[NDArray[np.int64], NDArray[np.int32]]:
        """Indices of the votes, sorted by target, and the sorted targets."""
        order = np.argsort(self.target, kind="stable")  # a stable order keeps sums the same to the last bit
        return order, self.target[order]

    def _votes_about(self, targets: NDArray[np.int32]) -> NDArray[np.int64]:
        """Indices of the votes about some samples."""
        order, target = self._by_target
        start = np.searchsorted(target, targets, side="left")
        count = np.searchsorted(target, targets, side="right") - start
        offset = np.arange(count.sum()) - np.repeat(np.cumsum(count) - count, count)  # 0, 1, … within each target
        votes: NDArray[np.int64] = order[np.repeat(start, count) + offset]
        return votes


def _sum_by_pair(
    first: NDArray[Any], second: NDArray[np.int64], values: NDArray[np.float64], num_second: int
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float64]]:
    """Sum values by pairs of codes; return both codes and the sum of each pair with a positive sum, sorted by pair."""
    keys = first.astype(np.int64) * num_second + second
    lowest, highest = (int(keys.min()), int(keys.max())) if len(keys) else (0, 0)
    if highest - lowest < _DENSE * len(keys):
        sums = np.bincount(keys - lowest, values).astype(np.float64)
        pairs = np.arange(lowest, lowest + len(sums))
    else:
        pairs, pair_of_key = np.unique(keys, return_inverse=True)
        sums = np.bincount(pair_of_key, values, minlength=len(pairs)).astype(np.float64)
    pairs, sums = pairs[sums > 0], sums[sums > 0]
    first_codes, second_codes = np.divmod(pairs, num_second)
    return first_codes, second_codes, sums
