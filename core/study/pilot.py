"""How many samples to ask for a given precision: decided in advance, at worst or by a pilot that is then discarded."""

from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from core.measures.curves import required_queries
from core.measures.neighbors import nearest_neighbors
from core.measures.significance import wilson
from core.study.samples import StudySamples

_SURE = 0.99  # level of the interval of a pilot's share, of which the point nearest to one half counts


def queries_at_worst(samples: StudySamples, precision: float) -> dict[str, int]:
    """Queries that each split needs whatever SI turns out to be."""
    return {split: required_queries(precision, len(samples.rows(split))) for split in samples.split_names}


def queries_after_pilot(
    activations: Iterable[NDArray[Any]], samples: StudySamples, precision: float, *, pilot: int, seed: int
) -> dict[str, int]:
    """Queries that each split needs by what a pilot found at every layer; the layer that needs most decides.

    Parameters
    ----------
    activations : arrays of shape (n, d), one a layer and pooling, rows in the order of the samples.
    samples : the n samples. precision : half the width of the interval wanted.
    pilot : queries of the pilot in each split, the first of the order that `seed` gives.
    """
    needed = dict.fromkeys(samples.split_names, 1)
    for features in activations:
        for split in needed:
            rows = samples.rows(split)
            asked, labels = samples.seeded_order(split, seed)[:pilot], samples.labels[rows]
            nearest = nearest_neighbors(features[rows], rows=asked).indices[:, 0]
            low, high = wilson(float((labels[nearest] == labels[asked]).mean()), len(asked), _SURE)
            share = float(np.clip(0.5, low, high))
            needed[split] = max(needed[split], required_queries(precision, len(rows), share=share))
    return needed
