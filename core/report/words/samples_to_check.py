"""What is said of samples to check: how many there are, and how many wrong labels to expect among them."""

from pathlib import PurePath

import pandas as pd

from core.analysis.samples.planted_labels import LEAST_WRONG, PlantedSwaps
from core.analysis.samples.suspects import CLEAR_SCORE, expected_swaps, samples_to_check
from core.report.words.formatting import SPLIT_NAMES
from core.report.words.small_classes import small_classes_text
from core.study.store.opening import Study

USUAL_RATE = 0.02  # of wrong labels, in a sentence
_NETWORK_FILES = (".keras", ".h5", ".hdf5")
LEARNED = (
    "How many of these labels are wrong cannot be estimated here: the network may have been trained on them, and then "
    "it agrees with the wrong ones too."
)
TOO_FEW = (
    "How many of these labels are wrong cannot be estimated from so few samples or classes: 2 % must be "
    f"{LEAST_WRONG} samples or more, of two classes or more."
)
NOT_TOLD = (
    "How many of these labels are wrong cannot be estimated: swapped labels would be listed hardly more often than any "
    "others. These layers do not tell wrong labels from right ones."
)


def check_text(study: Study, neighbors: pd.DataFrame, split: str) -> str:
    """How many samples to check a split has, and how many wrong labels to expect among them, as Markdown.

    neighbors : of `core.analysis.samples.suspects.late_neighbors`, not empty.
    """
    count = len(samples_to_check(neighbors, study.samples, at_least=CLEAR_SCORE))
    swaps = trial_swaps(study, neighbors, split)
    told = f"{count_text(count, neighbors['sample'].nunique(), split)} {expectation_text(study, split, swaps, count)}"
    small = small_classes_text(study.samples, split, int(neighbors["rank"].max()))
    return f"{told.strip()} {small}".strip()


def count_text(count: int, total: int, split: str) -> str:
    """How many of the samples have a clear score, as Markdown."""
    kind = SPLIT_NAMES.get(split, "")
    if not count:
        return f"No label of {total:,} {kind} samples is clearly contradicted by its neighbors at the late layers."
    return (
        f"**{count:,}** of {total:,} {kind} samples have hardly a neighbor of their label at the late layers, but many "
        "of one other class. That alone makes no label wrong."
    )


def trial_swaps(study: Study, neighbors: pd.DataFrame, split: str) -> PlantedSwaps | None:
    """`expected_swaps` of the samples of a split; None, too, where they are few, or their labels may be learned."""
    if may_have_learned(study, split):
        return None
    swaps = expected_swaps(neighbors, study.samples)
    return swaps if swaps is not None and swaps.num_wrong(USUAL_RATE) >= LEAST_WRONG else None


def expectation_text(study: Study, split: str, swaps: PlantedSwaps | None, count: int) -> str:
    """How many of `count` listed samples would be wrong if 2 % of all labels were; or why that cannot be said.

    swaps : of `trial_swaps`.
    """
    if swaps is not None:
        return swaps_text(swaps, count)
    if not count:
        return ""
    return LEARNED if may_have_learned(study, split) else TOO_FEW


def swaps_text(swaps: PlantedSwaps, count: int) -> str:
    """The expectation in a sentence; "" where there is none to say. count : of the samples listed."""
    if not swaps.tells_wrong_labels(count):
        return NOT_TOLD if count else ""
    share = f"{100 * USUAL_RATE:.0f} % of the labels ({swaps.num_wrong(USUAL_RATE):,})"
    low, high = swaps.expected(USUAL_RATE)
    if count == 0 and low == 0:  # none is listed, and none need be: nothing is to be expected of them
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


def span(low: int, high: int) -> str:
    """A range of counts."""
    return f"{low:,}" if low == high else f"{low:,} to {high:,}"


def may_have_learned(study: Study, split: str) -> bool:
    """Whether the study's network may have been trained on the labels of a split.

    True of the training samples of a network that was being trained, or came from a file; weights that come with the
    program are of other data, and features do not say.
    """
    if split != "train":
        return False
    asked = study.info.get("asked", {})
    files = [PurePath(str(asked.get(name, ""))).suffix.lower() for name in ("model", "weights")]
    return "training" in study.info or any(suffix in _NETWORK_FILES for suffix in files)
