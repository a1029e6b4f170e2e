"""Classes too small for votes: what kNN, prediction depth and samples to check cannot say about them.

k neighbors vote, and the class with most votes is named (`core.measures.baselines.knn_correct`, `core.study.depth`). A
class never holds more votes than it has other samples among the possible neighbors. With fewer than k // 2 + 1 of them
it never holds a majority: at least half of the votes are for other classes, however well the layer separates it. So it
is named only where these votes are spread over several classes, or where votes are equal; with no other sample, never.
"""

import pandas as pd

from core.study.class_words import sample_classes
from core.study.provenance import SPLIT_NAMES


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
    return _classes_with_fewer(samples, split, votes_for_majority(num_votes), among=among)


def _classes_with_fewer(samples: pd.DataFrame, split: str, least: int, *, among: str | None = None) -> pd.Series:
    """The classes of a split whose samples have fewer than `least` possible neighbors of their class."""
    split_of_sample = samples["split"].astype(str).to_numpy()
    classes = sample_classes(samples)
    counts = classes[split_of_sample == split].value_counts(sort=False)
    if among in (None, split):
        others = counts - 1
    else:
        others = classes[split_of_sample == among].value_counts().reindex(counts.index, fill_value=0)
    return counts[others < least]


def baseline_text(samples: pd.DataFrame, curves: pd.DataFrame) -> str:
    """What to say beside the accuracy of kNN; "" where every class can hold a majority, or there is no kNN.

    samples : the table `samples` of a study. curves : those shown, of `core.study.curves.tidy_curves`.
    """
    votes = curves.loc[curves["measure"] == "kNN", ["samples", "order"]].drop_duplicates()
    texts = [small_classes_text(samples, str(split), int(k)) for split, k in votes.itertuples(index=False)]
    return " ".join(f"kNN baseline: {text}" for text in texts if text)


def small_classes_text(samples: pd.DataFrame, split: str, num_votes: int, *, among: str | None = None) -> str:
    """What to say beside the votes of `num_votes` neighbors; "" where every class can hold a majority.

    Parameters are those of `small_classes`.
    """
    small = small_classes(samples, split, num_votes, among=among) if num_votes > 0 else pd.Series(dtype=int)
    if small.empty:
        return ""
    in_split = samples["split"].astype(str).to_numpy() == split
    num_classes, num_samples = sample_classes(samples)[in_split].nunique(), int(in_split.sum())
    one = len(small) == 1
    kind = SPLIT_NAMES.get(split, split)
    others = "other samples" if among in (None, split) else f"{SPLIT_NAMES.get(str(among), among)} samples"
    return (
        f"{len(small):,} of {num_classes:,} classes, with {int(small.sum()):,} of {num_samples:,} {kind} samples, "
        f"{'has' if one else 'have'} fewer than {votes_for_majority(num_votes)} {others}: too few for a majority of "
        f"{num_votes} votes. However well {'it is' if one else 'they are'} separated, a vote of neighbors names "
        f"{'it' if one else 'them'} only where the other votes are spread over several classes, or equal."
    )


def order_text(samples: pd.DataFrame, split: str, order: int) -> str:
    """What to say beside the high-order measure, which asks for `order` neighbors of the sample's class.

    "" where every class has so many other samples. Parameters are those of `small_classes`.
    """
    small = _classes_with_fewer(samples, split, order) if order > 1 else pd.Series(dtype=int)
    if small.empty:
        return ""
    in_split = samples["split"].astype(str).to_numpy() == split
    num_classes, num_samples = sample_classes(samples)[in_split].nunique(), int(in_split.sum())
    one = len(small) == 1
    return (
        f"{len(small):,} of {num_classes:,} classes, with {int(small.sum()):,} of {num_samples:,} "
        f"{SPLIT_NAMES.get(split, split)} samples, {'has' if one else 'have'} fewer than {order} other samples: "
        f"high_order of order {order} is 0 for {'it' if one else 'them'} by construction, and soft below 1. Ask for a "
        "lower order."
    )
