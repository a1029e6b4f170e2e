"""Sentences about how far and where in a network the classes separate, computed from a curve of SI.

**Levels.** The headline is about the best layer's excess, (SI − chance) / (1 − chance): 0 at chance, 1 where every
sample's nearest neighbor has its label. Below 0.25 the classes are *hardly* separated, from 0.25 *partly*, from 0.5
*largely*, from 0.9 *almost completely*. Where the 95% interval covers several levels, the first and the last are
named.

**Position.** The classes separate where SI reaches half of the best layer's gain over chance. The intervals give an
earliest and a latest layer for that. It is *early* in the first third of the layers, *midway* in the second and *late*
in the last; where earliest and latest layer are in two thirds, both are named. No position is named where no layer is
certainly below half of the gain and not all are certainly above it, for hardly separated classes, and for fewer than
four layers. Where the network's first layer is not part of the curve, the text says "the first of these layers".

**Many layers.** The best of many values is biased upward, and some of many intervals miss. So the lower end of the best
layer's interval, and all intervals by which layers are compared, are computed at the level at which the intervals of
all layers hold together with 95% confidence (Bonferroni). The distance from chance that the best layer must have is
corrected in the same way.

**Rise and fall.** Two layers differ where the interval of their difference excludes 0. It is computed from the two
layers' intervals, as if their samples were independent. So it is wider than a paired interval, and changes are called
certain too seldom rather than too often.

**Ties.** Nothing is concluded from a layer where many samples have several nearest neighbors at the same distance; see
`core.study.store.tables.ties`.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from core.analysis.separation_level import (
    LEVELS,
    SIGNIFICANT,
    best_is_clear,
    chance_or_zero,
    clearly_above_chance,
    column_or_nan,
    half_way_range,
    has_interval,
    intervals,
    joint_intervals,
    level_index,
    separation_levels,
)
from core.measures.paired import unpaired_interval
from core.report.words.formatting import POOLED, difference_text, number, one_layer
from core.study.store.tables.ties import LIMIT_TEXT, NO_CONCLUSION, has_many_ties, share_text, tied_share

FEWEST_LAYERS = 4  # with fewer, the headline does not say where among them the classes separate
_FIRST_POSITION = 1  # of the network's first layer; the pixels have position 0
_THIRDS = ("early", "midway", "late")


@dataclass(frozen=True)
class Finding:
    """A headline without a full stop, and the sentences beneath it, as Markdown."""

    headline: str
    detail: str


def describe(curve: pd.DataFrame) -> Finding:
    """Describe how far and where the classes separate along a curve of SI, as far as its intervals allow.

    The levels and positions are defined at the top of this module. A single layer is described by its value and
    interval. Where no layer is clearly above chance, the text says so, or that so few samples cannot decide it. Where
    chance is unknown, no level is named. Nothing is concluded from layers with many tied samples, nor from samples of a
    single class, whose chance is 1.

    Parameters
    ----------
    curve : DataFrame
        As returned by `core.analysis.separation_level.lead_curve`, with at least one layer.
    """
    if bool((curve["chance"] == 1).all()):
        return _one_class(curve)
    tied = has_many_ties(curve)
    if tied.all():
        return Finding(NO_CONCLUSION, _tied_text(curve))
    if tied.any():
        finding = _describe_untied(curve[~tied].reset_index(drop=True), every_layer="Every other layer")
        return replace(finding, detail=f"{_tied_text(curve[tied])} {finding.detail}")
    return _describe_untied(curve, every_layer="Every layer")


def _describe_untied(curve: pd.DataFrame, *, every_layer: str) -> Finding:
    """Describe layers without many ties. every_layer : the subject of a sentence about all of them."""
    if len(curve) == 1:
        return _describe_one_layer(curve)
    best = int(np.argmax(curve["value"].to_numpy(float)))
    knows_chance = _knows_chance(curve)
    if knows_chance and not best_is_clear(curve, best):
        return _nothing_clear(curve, best)
    sentences = [
        _highest(curve, best),
        _level_sentence(curve, best),
        _rise(curve, best),
        _end(curve, best),
        _at_chance(curve, every_layer) if knows_chance else "",
    ]
    return Finding(_headline(curve, best), " ".join(filter(None, sentences)))


def _describe_one_layer(curve: pd.DataFrame) -> Finding:
    """Describe a curve of a single layer by its value and interval."""
    headline = f"One layer: SI {number(curve['value'].iloc[0])}{_span_text(curve, 0)}"
    sentences = [f"{_where(curve)} SI is {_measured(curve, 0)} in {_layer(curve, 0)}.", _level_sentence(curve, 0)]
    if _knows_chance(curve) and not clearly_above_chance(curve)[0]:
        sentences.append("It is not clearly above chance.")
    return Finding(headline, " ".join(filter(None, sentences)))


def significance_note(curve: pd.DataFrame) -> str:
    """Explain why z, p and q are not in the headline, with an example from the curve.

    Parameters
    ----------
    curve : DataFrame
        A curve with q-values, as returned by `core.analysis.separation_level.lead_curve`.
    """
    tested = curve[curve["q_value"].notna()].reset_index(drop=True)
    significant = tested[tested["q_value"] < SIGNIFICANT].reset_index(drop=True)
    start = (
        f"z, p and q ask whether meaningless labels would score as high. With {tested['num_queries'].max():,} samples"
    )
    end = "Read value, interval and chance first; significance says that a layer is not at chance, not that it is good."
    if significant.empty:
        return f"{start}, no layer has q < {SIGNIFICANT}. {end}"
    lowest = int(significant["value"].argmin())
    value, chance = significant["value"].iloc[lowest], significant["chance"].iloc[lowest]
    example = f"{_layer(significant, lowest)} with an SI of {number(value)} (chance {number(chance)})"
    return f"{start}, {len(significant)} of {len(tested)} layers have q < {SIGNIFICANT}, among them {example}. {end}"


def layer_text(layer: pd.Series, lines: pd.DataFrame) -> str:
    """Describe a layer as Markdown: its properties, then its value on each line of a chart.

    Parameters
    ----------
    layer : Series
        A row of the table of layers.
    lines : DataFrame
        Curves with the additional column title, the name of the line.
    """
    shape = " × ".join(map(str, layer["output_shape"]))
    parameters = f"{int(layer['parameters']):,} parameters" if pd.notna(layer["parameters"]) else ""
    properties = [layer["kind"], layer["block"], f"output {shape}", parameters]
    here = lines[(lines["layer"] == layer["layer"]) & lines["value"].notna()]
    values = [_value(title, *row) for title, *row in here[["title", "value", "low", "high"]].itertuples(index=False)]
    return f":small[{' · '.join(filter(None, properties))}]  \n" + "  \n".join(values)


def _value(title: str, value: float, low: float, high: float) -> str:
    span = "" if pd.isna(low) or pd.isna(high) else f" ({number(low)} to {number(high)})"
    return f"{title} **{number(value)}**{span}"


def _knows_chance(curve: pd.DataFrame) -> bool:
    """Whether the study records chance for all layers of the curve."""
    return bool(np.isfinite(curve["chance"].to_numpy(float)).all())


def _headline(curve: pd.DataFrame, best: int) -> str:
    """The level, and where among the layers it is reached, as far as that is known."""
    levels = _levels_of(curve, best)
    if not levels:
        return f"The highest SI of {len(curve)} layers is {number(curve['value'].iloc[best])}"
    level = f"The classes are {_level_range(levels)} separated"
    where = _where_separated(curve, best, levels)
    return f"{level}, {where}" if where else level


def _level_range(levels: Sequence[str]) -> str:
    """Such as "partly", or "partly to largely"."""
    return levels[0] if len(levels) == 1 else f"{levels[0]} to {levels[-1]}"


def _where_separated(curve: pd.DataFrame, best: int, levels: Sequence[str]) -> str:
    """Where among the layers the classes separate, in a few words; "" where that cannot be said."""
    if levels[0] == LEVELS[0][0] or len(curve) < FEWEST_LAYERS:
        return ""
    starts_early = curve["position"].iloc[0] <= _FIRST_POSITION
    first = "the first layer" if starts_early else f"the first of these {len(curve)} layers"
    low, _ = intervals(curve)
    chance = chance_or_zero(curve)
    lowest_excess = float((low - chance)[: best + 1].min() / (1 - chance[best]))
    if LEVELS[level_index(lowest_excess)][0] == levels[0]:
        return f"from {first} on"
    earliest, latest = half_way_range(curve, best)
    if latest == 0:
        return f"half of it from {first} on"
    if earliest == 0:
        return ""
    words = _THIRDS[_third(earliest, len(curve)) : _third(latest, len(curve)) + 1]
    return f"{' or '.join(words)} in the network" if len(words) < len(_THIRDS) else ""


def _third(layer: int, count: int) -> int:
    """In which third of the layers a layer is: 0, 1 or 2."""
    return min(2, int(3 * layer / (count - 1)))


def _levels_of(curve: pd.DataFrame, layer: int) -> tuple[str, ...]:
    """The levels that a layer's interval covers; none where chance is unknown or 1."""
    chance = float(curve["chance"].iloc[layer])
    if not (chance < 1 and _knows_chance(curve)):
        return ()
    low, high = _level_interval(curve, layer)
    return separation_levels(low, high, chance)


def _level_interval(curve: pd.DataFrame, layer: int) -> tuple[float, float]:
    """The interval that decides on the level; its lower end is corrected for the choice of the best of all layers."""
    return float(joint_intervals(curve)[0][layer]), float(intervals(curve)[1][layer])


def _highest(curve: pd.DataFrame, best: int) -> str:
    """The layer of the highest SI and its value, or the number of layers that share it."""
    equal = int((curve["value"] == curve["value"].iloc[best]).sum())
    if equal == 1:
        return f"{_where(curve)} SI is highest in {_layer(curve, best)}, at {_measured(curve, best)}."
    return (
        f"{_where(curve)} SI is highest, and equal, in {equal} layers, the first of which is {_layer(curve, best)}: "
        f"{_measured(curve, best)}."
    )


def _level_sentence(curve: pd.DataFrame, layer: int) -> str:
    """The layer's excess over chance, with the ends of the interval and the level."""
    levels, chance = _levels_of(curve, layer), float(curve["chance"].iloc[layer])
    if not levels:
        return ""
    ends = (curve["value"].iloc[layer], *_level_interval(curve, layer))
    excess, least, most = (max(0.0, (value - chance) / (1 - chance)) for value in ends)
    correction = f", corrected for the choice of the best of {len(curve)} layers" if len(curve) > 1 else ""
    text = f"On a scale from chance (0) to perfect (1), that is {excess:.2f} ({least:.2f} to {most:.2f}{correction})"
    if len(levels) == 1:
        return f"{text}: {levels[0]} separated."
    return f"{text}: {_level_range(levels)} separated, which {_samples(curve)} do not decide."


def _one_class(curve: pd.DataFrame) -> Finding:
    """The finding for samples of a single class."""
    kind = {"test": "test ", "train": "training "}.get(str(curve["samples"].iloc[0]), "")
    headline = f"All {int(curve['num_queries'].max()):,} {kind}samples are of one class"
    return Finding(headline, "SI is 1 by construction, whatever a layer does. Take samples of at least two classes.")


def _tied_text(tied: pd.DataFrame) -> str:
    """Why nothing is concluded from some layers. tied : their rows."""
    most = int(np.argmax(tied_share(tied)))
    share = f"{share_text(float(tied_share(tied)[most]))} of the samples"
    if len(tied) == 1:
        which = f"At {_layer(tied, most)}, {share}"
    else:
        limit = f"more than {LIMIT_TEXT} of the samples"
        which = f"At {len(tied)} layers {limit}, and at {_layer(tied, most)} {share},"
    return (
        f"{which} have several neighbors at exactly the same smallest distance: SI then depends on the order of the "
        "samples, and nothing is concluded from it."
    )


def _nothing_clear(curve: pd.DataFrame, best: int) -> Finding:
    """The finding where no layer is clearly above chance: SI is low, or there are too few samples to decide."""
    _, high = intervals(curve)
    highest = f"the highest is {_measured(curve, best)} in {_layer(curve, best)}"
    text = f"{_where(curve)} no layer's SI is clearly above chance; {highest}."
    widest = int(np.argmax(high))
    chance = float(curve["chance"].iloc[widest])
    levels = separation_levels(chance, float(high[widest]), chance)
    if len(levels) == 1:
        return Finding("No layer is clearly above chance", text)
    headline = f"{_samples(curve)} cannot decide whether the classes are separated"
    more = f"This does not say that none separates the classes: the interval of {_layer(curve, widest)} reaches up to"
    return Finding(headline, f"{text} {more} {number(float(high[widest]))}, {levels[-1]} separated.")


def _rise(curve: pd.DataFrame, best: int) -> str:
    """The rise from the first layer to the best one, with its interval, and where half of the gain is reached."""
    if best == 0:
        return ""
    low, high = _difference(curve, 0, best)
    difference = float(curve["value"].iloc[best] - curve["value"].iloc[0])
    span = difference_text(difference, low, high)
    if low <= 0:
        return f"Its difference to the first layer, {span}, is no certain rise with {_samples(curve)}."
    rise = f"From the first layer, {_layer(curve, 0)}, it rises by {span}."
    hardly = _levels_of(curve, best) == (LEVELS[0][0],)
    return rise if hardly else f"{rise} {_half(curve, best)}"


def _half(curve: pd.DataFrame, best: int) -> str:
    """The layer from which on at least half of the best layer's gain is reached."""
    earliest, latest = half_way_range(curve, best)
    gain = "that gain over chance" if _knows_chance(curve) else "the best value"
    if latest == 0:
        return f"Every layer up to the best one has at least half of {gain}."
    if earliest == latest:
        return f"Half of {gain} is reached from {_layer(curve, latest)} on, layer {latest + 1} of {len(curve)}."
    if earliest == 0:
        return f"From which layer on half of {gain} is reached cannot be decided with {_samples(curve)}."
    span = f"between {_layer(curve, earliest)} and {_layer(curve, latest)}, layers {earliest + 1} to {latest + 1}"
    return f"Half of {gain} is reached {span} of {len(curve)}."


def _end(curve: pd.DataFrame, best: int) -> str:
    """The fall to the last layer; "" unless it is certain, and at least a tenth of the gain over chance."""
    last = len(curve) - 1
    gain = curve["value"].to_numpy(float) - chance_or_zero(curve)
    low, high = _difference(curve, best, last)
    if last == best or gain[last] > 0.9 * gain[best] or high >= 0:
        return ""
    difference = float(curve["value"].iloc[last] - curve["value"].iloc[best])
    span = difference_text(difference, low, high)
    return f"The last layer, {_layer(curve, last)}, falls back to {number(curve['value'].iloc[last])} ({span})."


def _difference(curve: pd.DataFrame, first: int, second: int) -> tuple[float, float]:
    """The interval of the second layer's SI minus that of the first, from the joint intervals of all layers."""
    low, high = joint_intervals(curve)
    value = curve["value"].to_numpy(float)
    before, after = ((float(value[row]), float(low[row]), float(high[row])) for row in (first, second))
    return unpaired_interval(before, after)


def _measured(curve: pd.DataFrame, layer: int) -> str:
    """Value, interval, chance and number of samples, as Markdown."""
    value, chance = float(curve["value"].iloc[layer]), float(curve["chance"].iloc[layer])
    parts = [f"chance {number(chance)}"] if np.isfinite(chance) else []
    return f"**{number(value)}**{_span_text(curve, layer, [*parts, _samples(curve)])}"


def _span_text(curve: pd.DataFrame, layer: int, more: Sequence[str] = ()) -> str:
    """The interval in parentheses, with further parts separated by semicolons."""
    low, high = intervals(curve)
    span = f"{number(float(low[layer]))} to {number(float(high[layer]))}"
    is_stored = has_interval(curve)[layer] and not np.isnan(column_or_nan(curve, "low")[layer])
    text = f"95% interval {span}" if is_stored else f"rough 95% interval {span}"
    return f" ({'; '.join([text, *more])})"


def _samples(curve: pd.DataFrame) -> str:
    return f"{int(curve['num_queries'].max()):,} samples"


def _at_chance(curve: pd.DataFrame, every_layer: str) -> str:
    """Which layers are not clearly above chance."""
    unclear = np.flatnonzero(~clearly_above_chance(curve))
    if len(unclear) == 0:
        return f"{every_layer} is clearly above chance."
    first, last = _layer(curve, unclear[0]), _layer(curve, unclear[-1])
    if len(unclear) == 1:
        return f"One layer, {first}, is not clearly above chance."
    consecutive = unclear[-1] - unclear[0] == len(unclear) - 1
    span = f"from {first} to {last}" if consecutive else f"the first {first} and the last {last}"
    return f"{len(unclear)} layers, {span}, are not clearly above chance."


def _where(curve: pd.DataFrame) -> str:
    """The samples and the pooling, as the beginning of a sentence."""
    samples, pooling = curve["samples"].iloc[0], curve["pooling"].iloc[0]
    text = {
        "test": "Among the test samples",
        "train": "Among the training samples",
        "cross": "From test to training samples",
    }.get(samples, f"Among the samples of {samples}")
    return f"{text} ({POOLED.get(pooling, pooling)}),"


def _layer(curve: pd.DataFrame, index: int) -> str:
    return one_layer(curve["layer"].iloc[index])
