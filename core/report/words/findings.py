"""Says in words, computed from a curve, how far and where in a network the classes separate.

**Levels.** A headline looks at the best layer's excess, (SI − chance) / (1 − chance): 0 at chance, 1 where every
sample's nearest neighbor has its label. Below 0.25 the classes are *hardly* separated, from 0.25 *partly*, from 0.5
*largely*, from 0.9 *almost completely*. Where the 95 % interval reaches over a limit, both levels are named.

**Where.** Half of the best layer's gain over chance tells where the classes separate. By the intervals there is an
earliest and a latest layer from which on that half may be reached. In the first third of the layers it is *early*, in
the second *midway*, in the last *late*; where earliest and latest lie in two of them both are named, and where no layer
is certainly below half of the gain and not all are certainly above it, nothing is said of where. Hardly separated
classes, and fewer than four layers, have no such word in the headline. Where the network's first layer is not among
those spoken of, "the first layer" is called the first of these.

**Many layers.** The best of many values is too good by luck, and among many intervals some miss. So the headline takes
the lower end of the best layer's interval, and all intervals that layers are compared by, at the level that all layers
together hold with 95 % (Bonferroni), and asks a corrected distance from chance of the best layer.

**Rise and fall.** Two layers differ where the interval of their difference leaves out 0. It is put together from the
two layers' intervals, as if their samples were others, so it is wider than a paired one and says "certain" too seldom
rather than too often.

**Ties.** Nothing is concluded from a layer where many samples have several nearest neighbors at the same distance; see
`core.study.store.ties`.
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
from core.report.words.formatting import POOLED, number, one_layer
from core.study.store.ties import LIMIT_TEXT, NO_CONCLUSION, has_many_ties, share_text, tied_share

FEWEST_LAYERS = 4  # for a word on where among them
_FIRST_POSITION = 1  # of a network's first layer; 0 is that of the pixels
_THIRDS = ("early", "midway", "late")


@dataclass(frozen=True)
class Finding:
    """A headline without a full stop, and the sentences beneath it, as Markdown."""

    headline: str
    detail: str


def describe(curve: pd.DataFrame) -> Finding:
    """How far and where the classes separate along one curve of SI, as far as its intervals allow to say so.

    The module says what the levels and the words on where mean. One layer alone gets its value and interval; where no
    layer is clearly above chance, that is said, or that so few samples cannot decide it. Where the study does not say
    chance, there is no level. Nothing is concluded from layers with many tied samples, and nothing about samples of one
    class, whose chance is 1.

    Parameters
    ----------
    curve : as `lead_curve` returns it; at least one layer.
    """
    if bool((curve["chance"] == 1).all()):
        return _one_class(curve)
    tied = has_many_ties(curve)
    if tied.all():
        return Finding(NO_CONCLUSION, _tied_text(curve))
    if tied.any():
        finding = _describe(curve[~tied].reset_index(drop=True), every="Every other layer")
        return replace(finding, detail=f"{_tied_text(curve[tied])} {finding.detail}")
    return _describe(curve, every="Every layer")


def _describe(curve: pd.DataFrame, *, every: str) -> Finding:
    """What `describe` says of layers without many ties. every : what all of them are called."""
    known = bool(np.isfinite(curve["chance"].to_numpy(float)).all())
    best = int(np.argmax(curve["value"].to_numpy(float)))
    if len(curve) == 1:
        text = f"{_where(curve)} SI is {_measured(curve, 0)} in {_layer(curve, 0)}."
        headline = f"One layer: SI {number(curve['value'].iloc[0])}{_span_text(curve, 0)}"
        unclear = "It is not clearly above chance." if known and not clearly_above_chance(curve)[0] else ""
        return Finding(headline, " ".join(filter(None, [text, _level_sentence(curve, 0), unclear])))
    if known and not best_is_clear(curve, best):
        return _nothing_clear(curve, best)
    sentences = [
        _highest(curve, best),
        _level_sentence(curve, best),
        _rise(curve, best),
        _end(curve, best),
        _at_chance(curve, every) if known else "",
    ]
    return Finding(_headline(curve, best), " ".join(filter(None, sentences)))


def significance_note(curve: pd.DataFrame) -> str:
    """Why z, p and q are not the headline, told by one curve's own layers; for a curve that has q-values."""
    known = curve[curve["q_value"].notna()].reset_index(drop=True)
    found = known[known["q_value"] < SIGNIFICANT].reset_index(drop=True)
    start = (
        f"z, p and q ask whether meaningless labels would score as high. With {known['num_queries'].max():,} samples"
    )
    end = "Read value, interval and chance first; significance says that a layer is not at chance, not that it is good."
    if found.empty:
        return f"{start}, no layer has q < {SIGNIFICANT}. {end}"
    least = int(found["value"].argmin())
    value, chance = found["value"].iloc[least], found["chance"].iloc[least]
    example = f"{_layer(found, least)} with an SI of {number(value)} (chance {number(chance)})"
    return f"{start}, {len(found)} of {len(known)} layers have q < {SIGNIFICANT}, among them {example}. {end}"


def layer_text(layer: pd.Series, lines: pd.DataFrame) -> str:
    """A layer in a few words, as Markdown: what it is, then the value of each line there; its name stands above.

    layer : a row of the table of layers. lines : curves with `title`, as `with_series` names them.
    """
    shape = " × ".join(map(str, layer["output_shape"]))
    parameters = f"{int(layer['parameters']):,} parameters" if pd.notna(layer["parameters"]) else ""
    known = [layer["kind"], layer["block"], f"output {shape}", parameters]
    here = lines[(lines["layer"] == layer["layer"]) & lines["value"].notna()]
    values = [_value(title, *row) for title, *row in here[["title", "value", "low", "high"]].itertuples(index=False)]
    return f":small[{' · '.join(filter(None, known))}]  \n" + "  \n".join(values)


def _value(title: str, value: float, low: float, high: float) -> str:
    span = "" if pd.isna(low) or pd.isna(high) else f" ({number(low)} to {number(high)})"
    return f"{title} **{number(value)}**{span}"


def _headline(curve: pd.DataFrame, best: int) -> str:
    """The level, and where among the layers, as far as it is known."""
    levels = _levels_of(curve, best)
    if not levels:
        return f"The highest SI of {len(curve)} layers is {number(curve['value'].iloc[best])}"
    level = f"The classes are {' to '.join((levels[0], levels[-1]) if len(levels) > 1 else levels)} separated"
    where = _where_separated(curve, best, levels)
    return f"{level}, {where}" if where else level


def _where_separated(curve: pd.DataFrame, best: int, levels: Sequence[str]) -> str:
    """Where among the layers, in a word or two; empty where nothing can be said."""
    if levels[0] == LEVELS[0][0] or len(curve) < FEWEST_LAYERS:
        return ""
    starts_early = curve["position"].iloc[0] <= _FIRST_POSITION
    first = "the first layer" if starts_early else f"the first of these {len(curve)} layers"
    low, _ = intervals(curve)
    lowest = float((low - chance_or_zero(curve))[: best + 1].min() / (1 - chance_or_zero(curve)[best]))
    if LEVELS[level_index(lowest)][0] == levels[0]:
        return f"from {first} on"
    earliest, latest = half_way_range(curve, best)
    if latest == 0:
        return f"half of it from {first} on"
    if earliest == 0:
        return ""
    words = _THIRDS[_third(earliest, len(curve)) : _third(latest, len(curve)) + 1]
    return f"{' or '.join(words)} in the network" if len(words) < len(_THIRDS) else ""


def _third(layer: int, count: int) -> int:
    return min(2, int(3 * layer / (count - 1)))


def _levels_of(curve: pd.DataFrame, layer: int) -> tuple[str, ...]:
    """The levels that a layer's interval reaches; none where chance is unknown or 1."""
    chance = float(curve["chance"].iloc[layer])
    if not (chance < 1 and np.isfinite(curve["chance"].to_numpy(float)).all()):
        return ()
    low, high = _level_interval(curve, layer)
    return separation_levels(low, high, chance)


def _level_interval(curve: pd.DataFrame, layer: int) -> tuple[float, float]:
    """What tells the level of the best layer. Its low is that for all layers together: it is the best by luck too."""
    return float(joint_intervals(curve)[0][layer]), float(intervals(curve)[1][layer])


def _highest(curve: pd.DataFrame, best: int) -> str:
    """Where SI is highest, and how high; layers of the same value are not called lower."""
    equal = int((curve["value"] == curve["value"].iloc[best]).sum())
    if equal == 1:
        return f"{_where(curve)} SI is highest in {_layer(curve, best)}, at {_measured(curve, best)}."
    return (
        f"{_where(curve)} SI is highest, and the same, in {equal} layers, the first of which is {_layer(curve, best)}: "
        f"{_measured(curve, best)}."
    )


def _level_sentence(curve: pd.DataFrame, layer: int) -> str:
    """How far from chance to 1 that is, with the interval's ends."""
    levels, chance = _levels_of(curve, layer), float(curve["chance"].iloc[layer])
    if not levels:
        return ""
    ends = (curve["value"].iloc[layer], *_level_interval(curve, layer))
    excess, least, most = (max(0.0, (value - chance) / (1 - chance)) for value in ends)
    many = f", the best of {len(curve)} layers allowed for" if len(curve) > 1 else ""
    text = f"From chance (0) to perfect (1) that is {excess:.2f} ({least:.2f} to {most:.2f}{many})"
    if len(levels) == 1:
        return f"{text}: {levels[0]} separated."
    return f"{text}: {' to '.join((levels[0], levels[-1]))} separated, which {_samples(curve)} do not decide."


def _one_class(curve: pd.DataFrame) -> Finding:
    """All samples are of one class."""
    kind = {"test": "test ", "train": "training "}.get(str(curve["samples"].iloc[0]), "")
    headline = f"All {int(curve['num_queries'].max()):,} {kind}samples are of one class"
    return Finding(headline, "SI is 1 by construction, whatever a layer does. Take samples of two classes or more.")


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
    """No layer is clearly above chance: there is little to see, or too few samples to see it."""
    _, high = intervals(curve)
    highest = f"the highest is {_measured(curve, best)} in {_layer(curve, best)}"
    text = f"{_where(curve)} no layer's SI is clearly above chance; {highest}."
    reach = int(np.argmax(high))
    levels = separation_levels(
        float(curve["chance"].iloc[reach]), float(high[reach]), float(curve["chance"].iloc[reach])
    )
    if len(levels) == 1:
        return Finding("No layer is clearly above chance", text)
    headline = f"{_samples(curve)} cannot decide whether the classes are separated"
    more = f"This does not say that none separates the classes: the interval of {_layer(curve, reach)} reaches up to"
    return Finding(headline, f"{text} {more} {number(float(high[reach]))}, {levels[-1]} separated.")


def _rise(curve: pd.DataFrame, best: int) -> str:
    """From the first layer to the best one, with the interval of the difference, and where half of the gain is."""
    if best == 0:
        return ""
    low, high = _difference(curve, 0, best)
    difference = float(curve["value"].iloc[best] - curve["value"].iloc[0])
    span = f"{difference:+.3f} [{low:+.3f}, {high:+.3f}]"
    if low <= 0:
        return f"Its difference to the first layer, {span}, is no certain rise with {_samples(curve)}."
    rise = f"From the first layer, {_layer(curve, 0)}, it rises by {span}."
    hardly = _levels_of(curve, best) == (LEVELS[0][0],)
    return rise if hardly else f"{rise} {_half(curve, best)}"


def _half(curve: pd.DataFrame, best: int) -> str:
    """From which layer on half of the best one's gain is there."""
    earliest, latest = half_way_range(curve, best)
    gain = "that gain over chance" if np.isfinite(curve["chance"].to_numpy(float)).all() else "the best value"
    if latest == 0:
        return f"Every layer up to the best one has at least half of {gain}."
    if earliest == latest:
        return f"Half of {gain} is reached from {_layer(curve, latest)} on, layer {latest + 1} of {len(curve)}."
    if earliest == 0:
        return f"From which layer on half of {gain} is reached cannot be decided with {_samples(curve)}."
    span = f"between {_layer(curve, earliest)} and {_layer(curve, latest)}, layers {earliest + 1} to {latest + 1}"
    return f"Half of {gain} is reached {span} of {len(curve)}."


def _end(curve: pd.DataFrame, best: int) -> str:
    """Only where the last layer certainly lost some of the gain, and a tenth of it or more."""
    last = len(curve) - 1
    gain = curve["value"].to_numpy(float) - chance_or_zero(curve)
    low, high = _difference(curve, best, last)
    if last == best or gain[last] > 0.9 * gain[best] or high >= 0:
        return ""
    difference = float(curve["value"].iloc[last] - curve["value"].iloc[best])
    span = f"{difference:+.3f} [{low:+.3f}, {high:+.3f}]"
    return f"The last layer, {_layer(curve, last)}, falls back to {number(curve['value'].iloc[last])} ({span})."


def _difference(curve: pd.DataFrame, first: int, second: int) -> tuple[float, float]:
    """The interval of the second layer's SI minus the first one's, from their intervals for all layers together."""
    low, high = joint_intervals(curve)
    value = curve["value"].to_numpy(float)
    one, other = ((float(value[at]), float(low[at]), float(high[at])) for at in (first, second))
    return unpaired_interval(one, other)


def _measured(curve: pd.DataFrame, layer: int) -> str:
    """Value, interval, chance and samples, as Markdown."""
    value, chance = float(curve["value"].iloc[layer]), float(curve["chance"].iloc[layer])
    parts = [f"chance {number(chance)}"] if np.isfinite(chance) else []
    return f"**{number(value)}**{_span_text(curve, layer, [*parts, _samples(curve)])}"


def _span_text(curve: pd.DataFrame, layer: int, more: Sequence[str] = ()) -> str:
    """The interval in parentheses, with what else belongs there."""
    low, high = intervals(curve)
    span = f"{number(float(low[layer]))} to {number(float(high[layer]))}"
    stored = has_interval(curve)[layer] and not np.isnan(column_or_nan(curve, "low")[layer])
    text = f"95 % interval {span}" if stored else f"95 %, roughly: {span}"
    return f" ({'; '.join([text, *more])})"


def _samples(curve: pd.DataFrame) -> str:
    return f"{int(curve['num_queries'].max()):,} samples"


def _at_chance(curve: pd.DataFrame, every: str) -> str:
    unclear = np.flatnonzero(~clearly_above_chance(curve))
    if len(unclear) == 0:
        return f"{every} is clearly above chance."
    first, last = _layer(curve, unclear[0]), _layer(curve, unclear[-1])
    if len(unclear) == 1:
        return f"One layer, {first}, is not clearly above chance."
    consecutive = unclear[-1] - unclear[0] == len(unclear) - 1
    span = f"from {first} to {last}" if consecutive else f"the first {first} and the last {last}"
    return f"{len(unclear)} layers, {span}, are not clearly above chance."


def _where(curve: pd.DataFrame) -> str:
    """Which samples and which pooling, to begin a sentence with."""
    samples, pooling = curve["samples"].iloc[0], curve["pooling"].iloc[0]
    text = {
        "test": "Among the test samples",
        "train": "Among the training samples",
        "cross": "From test to training samples",
    }.get(samples, f"Among the samples of {samples}")
    return f"{text} ({POOLED.get(pooling, pooling)}),"


def _layer(curve: pd.DataFrame, index: int) -> str:
    return one_layer(curve["layer"].iloc[index])
