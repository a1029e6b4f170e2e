"""Sentences about samples to check: how many there are, how many wrong labels to expect, duplicates, hard samples."""

from pathlib import PurePath

import pandas as pd

from core.analysis.samples.planted_labels import LEAST_WRONG, PlantedSwaps
from core.analysis.samples.suspects import CLEAR_SCORE, expected_swaps, samples_to_check
from core.report.words.formatting import SPLIT_NAMES, one_layer
from core.report.words.small_classes import small_classes_text
from core.study.store.marks import MARKS
from core.study.store.opening import Study
from core.study.store.tables.class_names import sample_classes

USUAL_RATE = 0.02  # share of wrong labels for which the expected number is given
_NETWORK_FILES = (".keras", ".h5", ".hdf5")
LEARNED = (
    "How many of these labels are wrong cannot be estimated here: the network may have been trained on them, and then "
    "neighbors confirm the wrong ones too."
)
TOO_FEW = (
    "How many of these labels are wrong cannot be estimated from so few samples or classes: 2% of the samples must "
    f"be at least {LEAST_WRONG}, and there must be at least two classes."
)
NOT_TOLD = (
    "How many of these labels are wrong cannot be estimated: swapped labels would be listed hardly more often than "
    "others. These layers cannot distinguish wrong labels from correct ones."
)


def check_text(study: Study, neighbors: pd.DataFrame, split: str, *, among: str | None = None) -> str:
    """Return the number of samples to check in a split and the expected number of wrong labels, as Markdown.

    Parameters
    ----------
    study : Study
    neighbors : DataFrame
        As returned by `core.analysis.samples.suspects.late_neighbors`, not empty.
    split : {"test", "train"}
        The split of the samples.
    among : {"test", "train"}, optional
        The split of their neighbors; default the same split.
    """
    count = len(samples_to_check(neighbors, _named(study), at_least=CLEAR_SCORE))
    swaps = trial_swaps(study, neighbors, split)
    sentences = [
        count_text(count, neighbors["sample"].nunique(), split),
        expectation_text(study, split, swaps, count),
        small_classes_text(study.samples, split, int(neighbors["rank"].max()), among=among),
    ]
    return " ".join(filter(None, sentences))


def count_text(count: int, total: int, split: str) -> str:
    """Return how many of the samples have labels that their neighbors clearly contradict, as Markdown."""
    kind = SPLIT_NAMES.get(split, "")
    if not count:
        return f"No label of {total:,} {kind} samples is clearly contradicted by its neighbors at the late layers."
    return (
        f"**{count:,}** of {total:,} {kind} samples have hardly any neighbors of their label at the late layers, but "
        "many of one other class. That alone makes no label wrong."
    )


def trial_swaps(study: Study, neighbors: pd.DataFrame, split: str) -> PlantedSwaps | None:
    """Return `expected_swaps` of a split, or None where its samples are few, or their labels may have been learned."""
    if may_have_learned(study, split):
        return None
    swaps = expected_swaps(neighbors, _named(study))
    return swaps if swaps is not None and swaps.num_wrong(USUAL_RATE) >= LEAST_WRONG else None


def _named(study: Study) -> pd.DataFrame:
    """The table `samples`, in which a class without a name is called by its label."""
    return study.samples.assign(class_name=sample_classes(study.samples).to_numpy())


def expectation_text(study: Study, split: str, swaps: PlantedSwaps | None, count: int) -> str:
    """Say how many listed samples would have a wrong label if 2% of all labels were wrong, or why this is unknown.

    Parameters
    ----------
    study : Study
    split : {"test", "train"}
    swaps : PlantedSwaps or None
        As returned by `trial_swaps`.
    count : int
        Number of listed samples.
    """
    if swaps is not None:
        return swaps_text(swaps, count)
    if not count:
        return ""
    return LEARNED if may_have_learned(study, split) else TOO_FEW


def swaps_text(swaps: PlantedSwaps, count: int) -> str:
    """Say the expected number of wrong labels among `count` listed samples; "" where nothing can be expected."""
    if not swaps.tells_wrong_labels(count):
        return NOT_TOLD if count else ""
    share = f"{100 * USUAL_RATE:.0f}% of the labels ({swaps.num_wrong(USUAL_RATE):,})"
    low, high = swaps.expected(USUAL_RATE)
    if count == 0 and low == 0:  # that none is listed agrees with the expectation
        return ""
    if low > count:
        return (
            f"If {share} were swapped with classes that look alike, {span(low, high)} samples would be listed; so "
            "wrong labels of that kind are probably rarer."
        )
    return (
        f"If {share} were swapped with classes that look alike, **{span(low, min(high, count))}** of these {count:,} "
        "would be wrong. That assumes a network that was not trained on the wrong labels."
    )


def duplicates_text(pairs: pd.DataFrame, layer: str, *, near: bool) -> str:
    """Say how many pairs of samples have equal activations at a layer, as Markdown.

    Parameters
    ----------
    pairs : DataFrame
        As returned by `core.analysis.samples.suspects.duplicates_first`.
    layer : str
        Name of the layer.
    near : bool
        Whether pairs of nearly equal activations are among them.
    """
    equal = "equal or nearly equal" if near else "equal"
    if pairs.empty:
        return f"Among the stored neighbors, no two samples have {equal} activations at {one_layer(layer)}."
    num_across, num_contrary = int(pairs["across"].sum()), int((~pairs["same_class"].astype(bool)).sum())
    return (
        f"**{len(pairs):,}** pairs of samples have {equal} activations at {one_layer(layer)}: **{num_across:,}** of a "
        f"training and a test sample, which make every number about the test samples too good; **{num_contrary:,}** "
        "with different labels, of which one must be wrong if the images are the same. Images with equal activations "
        "may differ."
    )


def depths_text(samples: pd.DataFrame, num_voters: int) -> str:
    """Say how late the votes of the samples' neighbors settle, as Markdown.

    Parameters
    ----------
    samples : DataFrame
        As returned by `core.analysis.samples.suspects.hard_samples`, not empty.
    num_voters : int
        Number of stored neighbors that vote.
    """
    num_wrong, num_unsettled = int((~samples["correct"]).sum()), int((~samples["settled"]).sum())
    by_depth = samples.sort_values("depth", kind="stable")["layer"]
    middle = one_layer(str(by_depth.iloc[(len(by_depth) - 1) // 2]))
    vote = f"the vote of a sample's {num_voters} stored neighbors"
    if num_voters == 1:
        vote = "the class of a sample's nearest neighbor"
    last = "the last layer with stored neighbors"
    if num_unsettled:
        last = f"{one_layer(str(samples.loc[~samples['settled'], 'layer'].iloc[0]))}, {last}"
    return (
        f"Prediction depth is the layer from which on {vote} no longer changes: for half of the samples {middle} or "
        f"an earlier layer. For **{num_unsettled:,}** of {len(samples):,} it still changes at {last}; "
        f"**{num_wrong:,}** {'ends' if num_wrong == 1 else 'end'} in a wrong class."
    )


def span(low: int, high: int) -> str:
    """Format a range of counts, such as "3 to 12"."""
    return f"{low:,}" if low == high else f"{low:,} to {high:,}"


def may_have_learned(study: Study, split: str) -> bool:
    """Whether the study's network may have been trained on the labels of a split.

    This is True for the training samples of a network that was recorded during training, or loaded from a file. The
    weights that come with this program were trained on other data; for features, it is unknown.
    """
    if split != "train":
        return False
    options = study.info.get("asked", {})
    suffixes = [PurePath(str(options.get(name, ""))).suffix.lower() for name in ("model", "weights")]
    return "training" in study.info or any(suffix in _NETWORK_FILES for suffix in suffixes)


def marks_text(marked: pd.DataFrame, mark: str | None = None) -> str:
    """Return how many samples have which mark.

    Parameters
    ----------
    marked : DataFrame
        As returned by `core.marks`.
    mark : str, optional
        The mark that all of them have; default several marks.
    """
    if marked.empty:
        what = "marked" if mark is None else f"marked as {mark}"
        return f"No sample is {what}. Samples are marked in the explorer: open one on the page Samples."
    counts = marked["mark"].value_counts()
    parts = [f"{counts[name]:,} as {name}" for name in MARKS if name in counts]
    if "" in counts:
        parts.append(f"{counts['']:,} with a note only")
    text = f"Marked: {', '.join(parts)}."
    missing = int(marked["sample"].isna().sum())
    if missing:
        text += f" {missing:,} of these marks go to samples that this study does not have (any more)."
    return text
