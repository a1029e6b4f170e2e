"""What a sample's neighbors at the late layers say about its label: votes counted for any labels of the same samples.

Neighbors do not depend on labels. So the votes are laid out once, and counted again in milliseconds after some labels
have been changed, which `core.analysis.samples.planted_labels` does.
"""

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

_DENSE = 4  # times as many pairs as values are summed in an array of all pairs; beyond that, sorting takes less


@dataclass(frozen=True, eq=False)
class VoteScores:
    """The strongest other class of each sample that has votes for one; arrays of one length, ascending by sample.

    sample : numbers in the table `samples`. suggested : code of that class. votes, own_votes : for it and for the
    sample's label, a mean over the layers. score : votes / (votes + own_votes), in (0, 1].
    """

    sample: NDArray[np.int64]
    suggested: NDArray[np.int64]
    votes: NDArray[np.float64]
    own_votes: NDArray[np.float64]

    @property
    def score(self) -> NDArray[np.float64]:
        return self.votes / (self.votes + self.own_votes)


@dataclass(frozen=True, eq=False)
class LabelVotes:
    """Who votes about whom: every stored neighbor about a sample, and a sample about each of its neighbors.

    target, voter, layer : one entry a vote, which names the class of its voter; layer is a number. first : places among
    them of the nearest neighbors, by which layers are weighted. samples : those voted about, ascending.
    """

    target: NDArray[np.int32]
    voter: NDArray[np.int32]
    layer: NDArray[np.int32]
    first: NDArray[np.int64]
    samples: NDArray[np.int32]

    @classmethod
    def of(cls, neighbors: pd.DataFrame) -> "LabelVotes":
        """Lay out the votes of a table of `core.analysis.samples.paths.neighbors_by_layer`.

        A neighbor that has no neighbors of its own in the table, such as one of the other split, is not voted about.
        """
        sample = neighbors["sample"].to_numpy(np.int32)
        nearest = neighbors["nearest"].to_numpy(np.int32)
        layer = pd.factorize(neighbors["layer"])[0].astype(np.int32)
        samples = np.unique(sample)
        back = np.isin(nearest, samples)
        return cls(
            target=np.concatenate([sample, nearest[back]]),
            voter=np.concatenate([nearest, sample[back]]),
            layer=np.concatenate([layer, layer[back]]),
            first=np.flatnonzero(neighbors["rank"].to_numpy() == 1),
            samples=samples,
        )

    def scores(
        self, codes: NDArray[np.int64], num_classes: int, *, targets: NDArray[np.int32] | None = None
    ) -> VoteScores:
        """Count the votes under some labels.

        Parameters
        ----------
        codes : shape (largest number of a sample + 1,), the class of each sample by its number, from 0.
        num_classes : more than the largest code.
        targets : the only samples to count votes about; default all.
        """
        weights = self.layer_weights(codes, num_classes)
        chosen = slice(None) if targets is None else self._votes_about(targets)
        sample, named, votes = _sum_by_pair(
            self.target[chosen], codes[self.voter[chosen]], weights[self.layer[chosen]], num_classes
        )
        own = named == codes[sample]
        own_votes = np.zeros(len(codes))
        own_votes[sample[own]] = votes[own]
        sample, named, votes = sample[~own], named[~own], votes[~own]
        strongest_first = np.lexsort((named, -votes, sample))  # and of equally strong classes the lower code
        first = strongest_first[np.flatnonzero(np.diff(sample[strongest_first], prepend=-1))]
        return VoteScores(sample[first], named[first], votes[first], own_votes[sample[first]])

    def confusions(
        self, codes: NDArray[np.int64], num_classes: int
    ) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float64]]:
        """Votes about a class's samples for another class, at the layer of the highest SI: which classes look alike.

        Layers that separate the classes badly mix up all of them, and would hide which ones are hard to tell apart.

        Returns
        -------
        class (ascending), other class and votes, of the pairs with any.
        """
        best = self.layer == self.layer_weights(codes, num_classes).argmax()
        own, named = codes[self.target[best]], codes[self.voter[best]]
        other = own != named
        return _sum_by_pair(own[other], named[other], np.ones(int(other.sum())), num_classes)

    def layer_weights(self, codes: NDArray[np.int64], num_classes: int) -> NDArray[np.float64]:
        """The square of each layer's SI above chance, adding up to 1; all 0 where no layer is above chance."""
        own, named = codes[self.target[self.first]], codes[self.voter[self.first]]
        layer = self.layer[self.first]
        num_layers = int(self.layer.max()) + 1 if len(self.layer) else 0
        queries = np.maximum(np.bincount(layer, minlength=num_layers), 1)
        value = np.bincount(layer, own == named, minlength=num_layers) / queries
        of_samples = np.bincount(codes[self.samples], minlength=num_classes)
        of_nearest = np.bincount(named, minlength=num_classes)
        chance = float(of_samples @ of_nearest) / max(int(of_samples.sum() * of_nearest.sum()), 1)
        excess = ((value - chance) / max(1 - chance, 1e-12)).clip(min=0) ** 2
        values: NDArray[np.float64] = excess / max(excess.sum(), 1e-12)
        return values

    @cached_property
    def _by_target(self) -> tuple[NDArray[np.int64], NDArray[np.int32]]:
        """Places of the votes, ascending by target, and these targets."""
        order = np.argsort(self.target, kind="stable")  # so that sums are the same to the last bit
        return order, self.target[order]

    def _votes_about(self, targets: NDArray[np.int32]) -> NDArray[np.int64]:
        """Places of the votes about some samples."""
        order, target = self._by_target
        start = np.searchsorted(target, targets, side="left")
        count = np.searchsorted(target, targets, side="right") - start
        within = np.arange(count.sum()) - np.repeat(np.cumsum(count) - count, count)
        values: NDArray[np.int64] = order[np.repeat(start, count) + within]
        return values


def _sum_by_pair(
    first: NDArray[Any], second: NDArray[np.int64], values: NDArray[np.float64], num_second: int
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float64]]:
    """Sums of values by pairs of numbers, of the pairs whose sum is positive; ascending by pair."""
    cells = first.astype(np.int64) * num_second + second
    least, most = (int(cells.min()), int(cells.max())) if len(cells) else (0, 0)
    if most - least < _DENSE * len(cells):
        sums = np.bincount(cells - least, values).astype(np.float64)
        pairs = np.arange(least, least + len(sums))
    else:
        pairs, pair_of_cell = np.unique(cells, return_inverse=True)
        sums = np.bincount(pair_of_cell, values, minlength=len(pairs)).astype(np.float64)
    pairs, sums = pairs[sums > 0], sums[sums > 0]
    numbers, others = np.divmod(pairs, num_second)
    return numbers, others, sums
