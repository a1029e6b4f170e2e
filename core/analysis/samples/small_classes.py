"""Classes too small for votes: what kNN, prediction depth and samples to check cannot say about them.

k neighbors vote, and the class with most votes is named (`core.measures.baselines.knn_correct`,
`core.analysis.samples.prediction_depth`). A class never holds more votes than it has other samples among the possible
neighbors. With fewer than k // 2 + 1 of them it never holds a majority: at least half of the votes are for other
classes, however well the layer separates it. So it is named only where these votes are spread over several classes, or
where votes are equal; with no other sample, never.
"""

import pandas as pd

from core.study.store.class_names import sample_classes


def votes_for_majority(num_votes: int) -> int:
    """How many of some votes are more than half of them."""
    return num_votes // 2 + 1


def small_classes(samples: pd.DataFrame, split: str, num_votes: int, *, among: str | None = None) -> pd.Series:
    """The classes of a split that can never hold a majority of the votes of their samples' neighbors.

    Parameters
    ----------
    samples : the table `samples` of a study.
    split : of the samples whose neighbors vote. among : of these neighbors; default the same split.
    num_votes : neighbors that vote, at least 1.

    Returns
    -------
    Series
        By class, how many of its samples are in the split.
    """
    return classes_with_fewer(samples, split, votes_for_majority(num_votes), among=among)


def classes_with_fewer(samples: pd.DataFrame, split: str, least: int, *, among: str | None = None) -> pd.Series:
    """The classes of a split whose samples have fewer than `least` possible neighbors of their class."""
    split_of_sample = samples["split"].astype(str).to_numpy()
    classes = sample_classes(samples)
    counts = classes[split_of_sample == split].value_counts(sort=False)
    if among in (None, split):
        others = counts - 1
    else:
        others = classes[split_of_sample == among].value_counts().reindex(counts.index, fill_value=0)
    values: pd.Series = counts[others < least]
    return values
