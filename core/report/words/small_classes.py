"""Sentences about classes that are too small for votes of neighbors."""

import pandas as pd

from core.analysis.samples.small_classes import classes_with_fewer, small_classes, votes_for_majority
from core.report.words.formatting import SPLIT_NAMES
from core.study.store.tables.class_names import sample_classes


def baseline_text(samples: pd.DataFrame, curves: pd.DataFrame) -> str:
    """Return a note on the accuracy of kNN; "" where every class can get a majority, or there is no kNN.

    Parameters
    ----------
    samples : DataFrame
        The table `samples` of a study.
    curves : DataFrame
        The curves that are shown, as returned by `core.analysis.curves.tidy_curves`.
    """
    votes = curves.loc[curves["measure"] == "kNN", ["samples", "order"]].drop_duplicates()
    texts = [small_classes_text(samples, str(split), int(k)) for split, k in votes.itertuples(index=False)]
    return " ".join(f"kNN baseline: {text}" for text in texts if text)


def small_classes_text(samples: pd.DataFrame, split: str, num_votes: int, *, among: str | None = None) -> str:
    """Return a note on votes of `num_votes` neighbors; "" where every class can get a majority.

    Parameters are those of `core.analysis.samples.small_classes.small_classes`.
    """
    small = small_classes(samples, split, num_votes, among=among) if num_votes > 0 else pd.Series(dtype=int)
    if small.empty:
        return ""
    has, they_are, them = ("has", "it is", "it") if len(small) == 1 else ("have", "they are", "them")
    others = "other samples" if among in (None, split) else f"{SPLIT_NAMES.get(str(among), among)} samples"
    return (
        f"{_counts_text(small, samples, split)} {has} fewer than {votes_for_majority(num_votes)} {others}: too few for "
        f"a majority of {num_votes} votes. However well {they_are} separated, a vote of neighbors names {them} only "
        "where the other votes are spread over several classes, or equal."
    )


def order_text(samples: pd.DataFrame, split: str, order: int) -> str:
    """Return a note on the high-order measure, which requires `order` neighbors of the sample's class.

    It is "" where every class has that many other samples. Parameters are those of
    `core.analysis.samples.small_classes.small_classes`.
    """
    small = classes_with_fewer(samples, split, order) if order > 1 else pd.Series(dtype=int)
    if small.empty:
        return ""
    has, them = ("has", "it") if len(small) == 1 else ("have", "them")
    return (
        f"{_counts_text(small, samples, split)} {has} fewer than {order} other samples: high_order of order {order} is "
        f"0 for {them} by construction, and soft below 1. Choose a lower order."
    )


def _counts_text(small: pd.Series, samples: pd.DataFrame, split: str) -> str:
    """The numbers of small classes and of their samples, as the subject of a sentence."""
    in_split = samples["split"].astype(str).to_numpy() == split
    num_classes = sample_classes(samples)[in_split].nunique()
    num_samples = int(in_split.sum())
    return (
        f"{len(small):,} of {num_classes:,} classes, with {int(small.sum()):,} of {num_samples:,} "
        f"{SPLIT_NAMES.get(split, split)} samples,"
    )
