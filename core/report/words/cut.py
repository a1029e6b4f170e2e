"""Sentences about where to cut a network, as Markdown."""

import math

import numpy as np
import pandas as pd

from core.analysis.cut.advice import Advice
from core.report.words.formatting import SPLIT_NAMES, difference_text, number, one_layer
from core.study.store.tables.ties import LIMIT_TEXT, left_out_text

_LARGE_SHARE = 0.2  # share of the best layer's gain over chance from which on the tolerance is called large
_MANY = 100  # an estimate of more than this many times the present samples is not given as a number


def headline(advice: Advice) -> str:
    """Return the recommendation in one line, without Markdown."""
    if _one_class(advice):
        return f"All {samples_text(advice)} are of one class: SI is 1 by construction"
    if advice.all_tied:
        return "No layer is recommended: many samples have several nearest neighbors at the same distance"
    if not advice.separates:
        return f"No layer is certain to be {tolerance_text(advice)} above chance"
    if advice.num_candidates == 1:
        usable = "can be compared" if advice.tied else "is measured"
        return f"One layer{_before_head(advice)} {usable}: there is nothing to choose"
    if advice.recommended is None:
        return f"{samples_text(advice)} cannot decide where to cut"
    if advice.recommended == advice.best:
        return f"Cut at {advice.best}, where SI is highest{_before_head(advice)}"
    return f"Cut at {advice.recommended}: SI within {tolerance_text(advice)} of the best"


def explanation(advice: Advice) -> str:
    """Return the reasons: the best layer, the recommended one with its interval, and what cannot be decided."""
    if _one_class(advice):
        return _reasons(advice)
    best = f"SI is highest{_before_head(advice)} at {one_layer(advice.best)}: {_best_value(advice)}."
    return f"{best} {_reasons(advice)}".strip()


def conclusion(advice: Advice) -> str:
    """Return the headline and its reasons as one text, which names the best layer once where it is recommended."""
    if advice.recommended == advice.best and advice.num_candidates > 1:
        return f"{headline(advice)}: {_best_value(advice)}. {_reasons(advice)}".strip()
    return f"{headline(advice)}. {explanation(advice)}"


def _best_value(advice: Advice) -> str:
    """The highest SI with its samples and its chance level."""
    best = advice.row(advice.best)
    chance = "" if pd.isna(best["chance"]) else f", chance {number(best['chance'])}"
    return f"**{number(best['value'])}** ({samples_text(advice)}{chance})"


def _reasons(advice: Advice) -> str:
    """The head's value, the recommended layer with its interval, and what cannot be decided."""
    if _one_class(advice):
        return "SI cannot distinguish between layers. Take samples of at least two classes."
    parts = [_head(advice)]
    if advice.all_tied:
        parts.append(_all_tied())
    elif not advice.separates:
        parts.append(_at_chance(advice))
    elif advice.num_candidates > 1:
        parts.append(_recommended(advice) if advice.recommended else _no_recommendation(advice))
        parts += [_undecided(advice), _large_tolerance(advice)]
    if not advice.all_tied:
        parts.append(left_out_text(advice.tied))
    return " ".join(part for part in parts if part)


def difference_to_best_text(row: pd.Series) -> str:
    """Format a layer's SI minus that of the best, with its interval if there is one.

    Parameters
    ----------
    row : Series
        With difference, difference_low, difference_high.
    """
    text = difference_text(row["difference"], row["difference_low"], row["difference_high"])
    return f"{text}, no interval" if pd.isna(row["difference_low"]) else text


def samples_text(advice: Advice) -> str:
    """Return the number and the split of the samples, such as "1,200 test samples"."""
    split = SPLIT_NAMES.get(advice.split, advice.split)
    among = " among the training samples" if advice.measure == "cross" else ""
    return f"{advice.num_samples:,} {split} samples{among}"


def tolerance_text(advice: Advice) -> str:
    """Format the tolerance without trailing zeros."""
    return f"{advice.tolerance:g}"


def level_text(advice: Advice) -> str:
    """Return the level of the intervals, as a phrase."""
    return f"95%, corrected for {advice.num_candidates} layers"


def enough_text(advice: Advice) -> str:
    """Return what would lead to a recommendation: more samples, or another tolerance; "" where that is unknown."""
    ways = []
    if math.isfinite(advice.samples_needed):
        ways.append(f"about {advice.samples_needed:,.0f} samples, if all values stayed as they are")
    if (larger := enough_tolerance(advice)) is not None:
        ways.append(f"a tolerance of {larger:g} with these")
    return ", or ".join(ways)


def enough_tolerance(advice: Advice) -> float | None:
    """Return a tolerance with which a layer would be recommended, rounded up to hundredths.

    None where it is unknown, or so large that a layer at chance could be within it.
    """
    if math.isnan(advice.smallest_tolerance):
        return None
    tolerance = (math.floor(100 * advice.smallest_tolerance) + 1) / 100
    return tolerance if tolerance < advice.most_tolerance else None


def _before_head(advice: Advice) -> str:
    """The phrase " before the head" where the network's head is not a candidate."""
    return "" if advice.head is None else " before the head"


def _head(advice: Advice) -> str:
    """SI of the head itself, as a sentence."""
    if advice.head is None or math.isnan(advice.head_value):
        return ""
    return f"The head itself, {one_layer(advice.head)}, has {number(advice.head_value)}."


def _large_tolerance(advice: Advice) -> str:
    """A warning where the tolerance is large in comparison with the best layer's gain over chance."""
    best = advice.row(advice.best)
    share = advice.tolerance / (best["value"] - best["chance"])
    if not share > _LARGE_SHARE:
        return ""
    return f"The tolerance is {share:.0%} of what the best layer gains over chance: look at the classes, too."


def _one_class(advice: Advice) -> bool:
    """Whether all samples are of one class."""
    return bool(advice.row(advice.best)["chance"] == 1)


def _at_chance(advice: Advice) -> str:
    """Why nothing is recommended where the best layer is not certain to be above chance."""
    return (
        f"With these samples no layer is certain to be more than the tolerance of {tolerance_text(advice)} above "
        "chance, so none can be recommended."
    )


def _all_tied() -> str:
    """Why nothing is recommended where all layers have many ties."""
    return (
        f"But at each layer more than {LIMIT_TEXT} of the samples have several neighbors at exactly the "
        "same smallest distance: SI then depends on the order of the samples."
    )


def _recommended(advice: Advice) -> str:
    """The recommended layer and the interval by which it is recommended."""
    row = advice.row(str(advice.recommended))
    if advice.recommended == advice.best:
        return _best_recommended(advice, row)
    paired = "" if row["paired"] else "; not paired, since the study stores no neighbors"
    return (
        f"{one_layer(row['layer'])}, **{number(row['value'])}**, is the earliest layer that is certain to be within "
        f"{tolerance_text(advice)} of the best: {difference_to_best_text(row)} ({level_text(advice)}{paired})."
    )


def _best_recommended(advice: Advice, row: pd.Series) -> str:
    """Why the best layer itself is recommended. row : that layer's."""
    if advice.best == advice.first:
        text = "No candidate comes before it."
    else:
        text = f"No earlier layer is certain to be within {tolerance_text(advice)} of it ({level_text(advice)})."
    if row["difference_low"] < 0:
        return f"{text} Another layer may be the best, but by at most {-row['difference_low']:.3f}."
    return text


def _no_recommendation(advice: Advice) -> str:
    """What is missing for a recommendation."""
    ways = enough_text(advice)
    text = f"No layer is certain to be within {tolerance_text(advice)} of the best one ({level_text(advice)})."
    return f"{text} What would decide: {ways}." if ways else text


def _undecided(advice: Advice) -> str:
    """The layers before the recommended one that may also be within the tolerance."""
    rows = advice.undecided
    if rows.empty or advice.recommended is None:
        return ""
    first = one_layer(rows["layer"].iloc[0])
    if len(rows) == 1:
        text = f"One earlier layer, {first}, is not ruled out"
    else:
        text = f"{len(rows)} earlier layers, from {first} on, are not ruled out"
    text = f"{text}: {samples_text(advice)} cannot decide that"
    finite = rows[np.isfinite(rows["samples_needed"])]
    if finite.empty:
        return f"{text}."
    easiest = finite.iloc[int(finite["samples_needed"].argmin())]
    if easiest["samples_needed"] > _MANY * advice.num_samples:
        return f"{text}, nor would {_MANY} times as many."
    needed = f"about {easiest['samples_needed']:,.0f} would for {one_layer(easiest['layer'])}"
    return f"{text}; {needed}, if all values stayed as they are."
