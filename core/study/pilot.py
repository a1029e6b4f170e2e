"""How many samples to ask for a given precision: decided in advance, at worst or by a pilot that is then discarded."""

from collections.abc import Iterable, Mapping

import numpy as np

from core.measures.sample_size import required_queries
from core.measures.significance import wilson
from core.search.neighbors import Neighbors
from core.study.measuring.searches import Key, pilot_questions
from core.study.samples import StudySamples

_SURE = 0.99  # level of the interval of a pilot's share, of which the point nearest to one half counts


def queries_at_worst(samples: StudySamples, precision: float) -> dict[str, int]:
    """Queries that each split needs whatever SI turns out to be."""
    return {split: required_queries(precision, len(samples.rows(split))) for split in samples.split_names}


def queries_after_pilot(
    found: Iterable[Mapping[Key, Neighbors]], samples: StudySamples, precision: float, *, pilot: int, seed: int
) -> dict[str, int]:
    """Queries that each split needs by what a pilot found at every layer; the layer that needs most decides.

    Parameters
    ----------
    found : the answers to `pilot_questions(samples, pilot, seed)`, one set a layer and pooling.
    samples : the n samples. precision : half the width of the interval wanted.
    pilot : queries of the pilot in each split, the first of the order that `seed` gives.
    """
    questions = pilot_questions(samples, pilot, seed)
    needed = dict.fromkeys(samples.split_names, 1)
    for answers in found:
        for split in needed:
            question, neighbors = questions[split, split], answers[split, split]
            nearest = question.references[neighbors.indices[:, 0]]
            agreed = samples.labels[nearest] == samples.labels[question.queries]
            low, high = wilson(float(agreed.mean()), len(agreed), _SURE)
            share = float(np.clip(0.5, low, high))
            needed[split] = max(needed[split], required_queries(precision, len(question.references), share=share))
    return needed
