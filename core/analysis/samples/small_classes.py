"""Classes that are too small to win a vote of k neighbors, as in kNN, prediction depth and samples to check.

In a vote of k neighbors, the most frequent class is the prediction (`core.measures.baselines.knn_correct`,
`core.analysis.samples.prediction_depth`). A class cannot get more votes than it has other samples among the possible
neighbors. With fewer than k // 2 + 1 of these it cannot get a majority: at least half of the votes are for other
classes, however well the layer separates the class. It is then predicted only where the other votes are spread over
several classes, or where votes are equal; without any other sample, it is never predicted.
"""

import pandas as pd

from core.study.store.tables.class_names import sample_classes


def votes_for_majority(num_votes: int) -> int:
    """Return the smallest number that is more than half of the votes."""
    return num_votes // 2 + 1


def small_classes(samples: pd.DataFrame, split: str, num_votes: int, *, among: str | None = None) -> pd.Series:
    """Return the classes of a split that cannot get a majority of the votes of their samples' neighbors.

    Parameters
    ----------
    samples : DataFrame
        The table `samples` of a study.
    split : {"test", "train"}
        The split of the samples whose neighbors vote.
    num_votes : int
        Number of neighbors that vote, at least 1.
    among : {"test", "train"}, optional
        The split of the neighbors; default the same split.

    Returns
    -------
    Series of int
        By class, the number of its samples in the split.
    """
    return classes_with_fewer(samples, split, votes_for_majority(num_votes), among=among)


def classes_with_fewer(samples: pd.DataFrame, split: str, least: int, *, among: str | None = None) -> pd.Series:
    """Return the classes of a split whose samples have fewer than `least` possible neighbors of their class.

    Parameters and result are those of `small_classes`.
    """
    split_of_sample = samples["split"].astype(str).to_numpy()
    classes = sample_classes(samples)
    counts = classes[split_of_sample == split].value_counts(sort=False)
    if among in (None, split):
        others = counts - 1
    else:
        others = classes[split_of_sample == among].value_counts().reindex(counts.index, fill_value=0)
    small: pd.Series = counts[others < least]
    return small
