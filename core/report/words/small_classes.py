"""What is said beside votes of neighbors, where classes are too small for them."""

import pandas as pd

from core.analysis.samples.small_classes import classes_with_fewer, small_classes, votes_for_majority
from core.report.words.formatting import SPLIT_NAMES
from core.study.store.class_names import sample_classes


def baseline_text(samples: pd.DataFrame, curves: pd.DataFrame) -> str:
    """What to say beside the accuracy of kNN; "" where every class can hold a majority, or there is no kNN.

    samples : the table `samples` of a study. curves : those shown, of `core.analysis.curves.tidy_curves`.
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
    small = classes_with_fewer(samples, split, order) if order > 1 else pd.Series(dtype=int)
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
