"""What is said of where to cut: one wording for the command line, the pages and the report. Markdown."""

import math

import numpy as np
import pandas as pd

from core.analysis.cut.advice import Advice
from core.report.words.formatting import SPLIT_NAMES, number, one_layer
from core.study.store.ties import LIMIT_TEXT, reason_text

_LARGE_SHARE = 0.2  # of the best layer's gain over chance
_MANY = 100  # times the samples: a number beyond it says nothing


def headline(advice: Advice) -> str:
    """The recommendation in a line, without Markdown."""
    if _one_class(advice):
        return f"All {samples_text(advice)} are of one class: SI is 1 by construction"
    if advice.all_tied:
        return "No layer is recommended: many samples have several nearest neighbors at the same distance"
    if not advice.separates:
        return f"No layer is certain to be {tolerance_text(advice)} above chance"
    if advice.num_candidates == 1:
        known = "can be judged" if advice.tied else "is measured"
        return f"One layer{_before_head(advice)} {known}: there is nothing to choose"
    if advice.recommended is None:
        return f"{samples_text(advice)} cannot decide where to cut"
    if advice.recommended == advice.best:
        return f"Cut at {advice.best}, where SI is highest{_before_head(advice)}"
    return f"Cut at {advice.recommended}: SI within {tolerance_text(advice)} of the best"


def explanation(advice: Advice) -> str:
    """Why: the best layer, the recommended one with its interval, and what cannot be decided."""
    if _one_class(advice):
        return "No layer can be told from another by SI. Take samples of two classes or more."
    best = advice.row(advice.best)
    chance = "" if pd.isna(best["chance"]) else f", chance {number(best['chance'])}"
    value = f"**{number(best['value'])}** ({samples_text(advice)}{chance})"
    parts = [f"SI is highest{_before_head(advice)} at {one_layer(advice.best)}: {value}.", _head(advice)]
    if advice.all_tied:
        parts.append(_all_tied(advice))
    elif not advice.separates:
        parts.append(_at_chance(advice))
    elif advice.num_candidates > 1:
        parts += [_recommended(advice) if advice.recommended else _none(advice), _undecided(advice), _scale(advice)]
    if advice.tied and not advice.all_tied:
        parts.append(_left_out(advice))
    return " ".join(part for part in parts if part)


def difference_text(row: pd.Series) -> str:
    """A layer's SI minus that of the best, with its interval where there is one."""
    text = f"{row['difference']:+.3f}" if row["difference"] else "0"
    if pd.isna(row["difference_low"]):
        return f"{text}, no interval"
    return f"{text} [{row['difference_low']:+.3f}, {row['difference_high']:+.3f}]"


def samples_text(advice: Advice) -> str:
    """How many samples, and whose."""
    split = SPLIT_NAMES.get(advice.split, advice.split)
    among = " among the training samples" if advice.measure == "cross" else ""
    return f"{advice.num_samples:,} {split} samples{among}"


def tolerance_text(advice: Advice) -> str:
    """The tolerance without needless zeros."""
    return f"{advice.tolerance:g}"


def level_text(advice: Advice) -> str:
    """What kind of interval it is."""
    return f"95 %, corrected for {advice.num_candidates} layers"


def enough_text(advice: Advice) -> str:
    """What would decide where these samples cannot; "" where that is not known."""
    ways = []
    if math.isfinite(advice.samples_needed):
        ways.append(f"about {advice.samples_needed:,.0f} samples, if all values stayed as they are")
    if (larger := enough_tolerance(advice)) is not None:
        ways.append(f"a tolerance of {larger:g} with these")
    return ", or ".join(ways)


def enough_tolerance(advice: Advice) -> float | None:
    """The next hundredth above the smallest tolerance that names a layer; None where it would reach down to chance."""
    if math.isnan(advice.smallest_tolerance):
        return None
    tolerance = (math.floor(100 * advice.smallest_tolerance) + 1) / 100
    return tolerance if tolerance < advice.most_tolerance else None


def _before_head(advice: Advice) -> str:
    """Among which layers it is so, where the network's head is left out."""
    return "" if advice.head is None else " before the head"


def _head(advice: Advice) -> str:
    """What SI the head itself has."""
    if advice.head is None or math.isnan(advice.head_value):
        return ""
    return f"The head itself, {one_layer(advice.head)}, has {number(advice.head_value)}."


def _scale(advice: Advice) -> str:
    """A warning where the tolerance is much of what there is to lose."""
    best = advice.row(advice.best)
    share = advice.tolerance / (best["value"] - best["chance"])
    if not share > _LARGE_SHARE:
        return ""
    return f"The tolerance is {share:.0%} of what the best layer gains over chance: look at the classes, too."


def _one_class(advice: Advice) -> bool:
    """Whether all samples are of one class."""
    return bool(advice.row(advice.best)["chance"] == 1)


def _at_chance(advice: Advice) -> str:
    """Why nothing is recommended although some layer has the highest SI."""
    return (
        f"With these samples no layer is certain to be more than the tolerance of {tolerance_text(advice)} above "
        "chance, so that none can be recommended."
    )


def _all_tied(advice: Advice) -> str:
    """Why nothing is recommended where no layer's neighbors are certain."""
    return (
        f"But at each layer more than {LIMIT_TEXT} of the samples have several neighbors at exactly the "
        "same smallest distance: SI then depends on the order of the samples."
    )


def _left_out(advice: Advice) -> str:
    """Which layers are no candidates because of their ties."""
    one = len(advice.tied) == 1
    which = (
        f"{one_layer(advice.tied[0])} is" if one else f"{len(advice.tied)} layers, as {one_layer(advice.tied[0])}, are"
    )
    return f"{which} no candidate{'s' * (not one)}: {reason_text()}"


def _recommended(advice: Advice) -> str:
    """How sure the recommended layer is."""
    tolerance = tolerance_text(advice)
    row = advice.row(str(advice.recommended))
    if advice.recommended == advice.best:
        parts = []
        if advice.best == advice.first:
            parts.append("No candidate comes before it.")
        else:
            parts.append(f"No earlier layer is certain to be within {tolerance} of it ({level_text(advice)}).")
        if row["difference_low"] < 0:
            parts.append(f"Another layer may be the best, but by at most {-row['difference_low']:.3f}.")
        return " ".join(parts)
    paired = "" if row["paired"] else "; not paired, since the study stores no neighbors"
    return (
        f"{one_layer(row['layer'])}, **{number(row['value'])}**, is the earliest layer that is certain to be within "
        f"{tolerance} of the best: {difference_text(row)} ({level_text(advice)}{paired})."
    )


def _none(advice: Advice) -> str:
    """What is missing for a recommendation."""
    ways = enough_text(advice)
    text = f"No layer is certain to be within {tolerance_text(advice)} of the best one ({level_text(advice)})."
    return f"{text} What would decide: {ways}." if ways else text


def _undecided(advice: Advice) -> str:
    """Which layers before the recommended one may do as well."""
    rows = advice.undecided
    if rows.empty or advice.recommended is None:
        return ""
    names = "One earlier layer" if len(rows) == 1 else f"{len(rows)} earlier layers"
    which = one_layer(rows["layer"].iloc[0]) if len(rows) == 1 else f"from {one_layer(rows['layer'].iloc[0])} on"
    verb = "are" if len(rows) > 1 else "is"
    text = f"{names}, {which}, {verb} not ruled out: {samples_text(advice)} cannot decide that"
    finite = rows[np.isfinite(rows["samples_needed"])]
    if finite.empty:
        return f"{text}."
    easiest = finite.iloc[int(finite["samples_needed"].argmin())]
    if easiest["samples_needed"] > _MANY * advice.num_samples:
        return f"{text}, nor would {_MANY} times as many."
    needed = f"about {easiest['samples_needed']:,.0f} would for {one_layer(easiest['layer'])}"
    return f"{text}; {needed}, if all values stayed as they are."
