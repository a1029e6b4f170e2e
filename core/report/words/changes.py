"""Sentences about the comparison of two studies: certain changes, small changes, and what cannot be decided.

A change is certain where q < 0.05 over the compared layers. Otherwise its 95% interval decides what can be said: if
the interval lies between −`SMALL` and +`SMALL`, SI changed by less than `SMALL`; if not, these samples cannot decide.
"""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from core.analysis.comparing import LayerMatch
from core.analysis.cut.advice import SI_TOLERANCE
from core.analysis.result_tables import CERTAIN_CHANGES
from core.analysis.several_studies import Difference
from core.report.words.formatting import POOLED, SPLIT_NAMES, difference_text, number, one_layer, plain
from core.study.store.tables.ties import MANY_TIES, left_out_text

SMALL = SI_TOLERANCE  # of SI: a change is called small if its interval excludes changes of this size
ASSUMED_SAMPLES = "That these are the same samples, in the same order, is assumed: the studies have no ids."
_DIFFERENCES: Mapping[str, str] = {  # why two studies are not comparable; {} is what the other one has
    "data": "other data{}",
    "unknown": "samples not recorded",
    "samples": "other samples of the same data",
    "size": "another number of samples{}, and SI rises with it",
    "metric": "another distance{}",
    "split": "another split{}",
    "pooling": "another pooling{}",
}
_SHORTEST_RUN = 3  # layers at the end with the same certain change, from which on that is mentioned
_NUM_NAMED = 3  # layers without a partner that are named; others are counted


def describe_changes(table: pd.DataFrame, match: LayerMatch, names: tuple[str, str]) -> str:
    """Describe the changes from one study to another, as Markdown.

    Conclusions come with the difference, its interval and the number of samples. The first sentence says if layers were
    matched by position. Nothing is concluded from layers with many tied samples, which the text mentions.

    Parameters
    ----------
    table : DataFrame
        As returned by `core.analysis.comparing.compare_studies`, with at least one row.
    match : LayerMatch
        As returned by `core.analysis.comparing.match_layers` for the same arguments.
    names : (str, str)
        Names of the studies before and after, as plain text.
    """
    tied = table["verdict"] == MANY_TIES
    untied = table[~tied]
    parts = []
    if len(untied):
        parts.append(_first_sentence(untied))
    if match.assumes_same_samples:
        parts.append(ASSUMED_SAMPLES)
    if len(untied):
        parts += [_uncertain(untied), _largest(untied), _end_run(table)]
    parts += [left_out_text(table.loc[tied, "layer"].tolist()), _unmatched_layers(match, names)]
    return " ".join(filter(None, parts))


def why_not_comparable(differences: Sequence[Difference]) -> str:
    """Say why the values of another study are not comparable, as plain text; "" where they are.

    >>> why_not_comparable([Difference("data", "digits"), Difference("split", "train")])
    'other data (digits), another split (training)'
    """
    names = SPLIT_NAMES | POOLED
    texts = []
    for difference in differences:
        other = f" ({names.get(difference.other, difference.other)})" if difference.other else ""
        texts.append(_DIFFERENCES[difference.kind].format(other))
    return ", ".join(texts)


def count_uncertain(table: pd.DataFrame) -> tuple[int, int, int]:
    """Count the layers whose change is not certain: smaller than `SMALL`, undecided, and without an interval."""
    rows = table[~table["verdict"].isin([*CERTAIN_CHANGES, MANY_TIES])]
    unknown = rows["low"].isna() | rows["high"].isna()
    small = (rows["low"] >= -SMALL) & (rows["high"] <= SMALL)
    return int(small.sum()), int((~small & ~unknown).sum()), int(unknown.sum())


def samples_text(table: pd.DataFrame) -> str:
    """Return the number of samples of a comparison, such as "1,200 samples" or "1,000 to 1,200 samples"."""
    counts = table["num_samples"].dropna()
    if counts.empty:
        return "these samples"
    least, most = int(counts.min()), int(counts.max())
    return f"{least:,} samples" if least == most else f"{least:,} to {most:,} samples"


def _first_sentence(table: pd.DataFrame) -> str:
    """How many layers rose and fell, how they were matched, and the samples."""
    counts = table["verdict"].value_counts()
    rose, fell = (int(counts.get(word, 0)) for word in CERTAIN_CHANGES)
    total = f"{len(table)} layer{'s' * (len(table) != 1)}"
    if (table["matched_by"] == "position").any():
        compared = f"{total}, **compared by relative position, not by name**, with {samples_text(table)}"
    else:
        compared = f"{total} compared by name, with {samples_text(table)}"
    moved = [f"**{word}** at {count}" for word, count in zip(CERTAIN_CHANGES, (rose, fell), strict=True) if count]
    if not moved:
        if len(table) == 1:
            return f"SI did not change with certainty: {compared}."
        return f"SI changed with certainty at none of {compared}."
    return f"SI {' and '.join(moved)} of {compared}."


def _uncertain(table: pd.DataFrame) -> str:
    """Describe the layers whose change is not certain, without calling any values equal that may differ."""
    small, undecided, unknown = count_uncertain(table)
    rows = table[~table["verdict"].isin(CERTAIN_CHANGES)]
    parts = []
    if small:
        same = " (the values are the same)" if small == len(rows) and (rows["difference"] == 0).all() else ""
        where = f"all {small}" if small == len(table) > 1 else small
        parts.append(f"at {where} any change is smaller than {SMALL}{same}")
    if undecided:
        low, high = rows["low"].min(), rows["high"].max()
        span = f"the intervals reach from {low:+z.3f} to {high:+z.3f}"
        parts.append(f"at {undecided} a change cannot be decided with {samples_text(table)}: {span}")
    if unknown:
        parts.append(f"at {unknown} there is no interval, so nothing can be concluded")
    text = "; ".join(parts)
    return f"{text[0].upper()}{text[1:]}." if text else ""


def _largest(table: pd.DataFrame) -> str:
    """The largest certain change; without any certain change, the largest difference."""
    certain = table[table["verdict"].isin(CERTAIN_CHANGES)]
    rows = table if certain.empty else certain
    row = rows.iloc[int(np.argmax(rows["difference"].abs().to_numpy(float)))]
    if row["difference"] == 0:
        return ""
    what = "largest difference" if certain.empty else "largest certain change"
    values = f"from {number(row['before'])} to {number(row['after'])}"
    interval = "no interval" if pd.isna(row["low"]) or pd.isna(row["high"]) else "95% interval"
    change = f"{difference_text(row['difference'], row['low'], row['high'])} ({interval})"
    chance = ""
    if certain.empty and len(table) > 1 and (row["low"] > 0 or row["high"] < 0):
        chance = f"; the largest of {len(table)} may exclude 0 by chance"
    return f"The {what} is {change} in {_layer(row)}, {values}{chance}."


def _layer(row: pd.Series) -> str:
    """The layer, and the one with which it is compared if that has another name."""
    layer, layer_before = str(row["layer"]), str(row["layer_before"])
    if layer == layer_before:
        return one_layer(layer)
    return f"{one_layer(layer)} (compared with {one_layer(layer_before)})"


def _end_run(table: pd.DataFrame) -> str:
    """The layer from which on, to the last one, every layer changed with certainty in the same direction."""
    meaning = table["verdict"].tolist()
    first = len(meaning) - 1
    while first > 0 and meaning[first - 1] == meaning[-1]:
        first -= 1
    if meaning[-1] not in CERTAIN_CHANGES or first == 0 or len(meaning) - first < _SHORTEST_RUN:
        return ""
    return f"From {one_layer(table['layer'].iloc[first])} to the end, every layer {meaning[-1]}."


def _unmatched_layers(match: LayerMatch, names: tuple[str, str]) -> str:
    """How many layers were not compared and, for a match by position, how many names the studies share."""
    unmatched = [
        f"{len(layers)} of **{plain(name)}** ({_first_names(layers)})"
        for layers, name in zip((match.only_before, match.only_after), names, strict=True)
        if layers
    ]
    reason = "have no layer of their name in the other study" if match.by == "name" else "have no partner"
    text = f"Not compared, since they {reason}: {' and '.join(unmatched)}." if unmatched else ""
    if match.by == "name":
        return text
    common = f"{match.num_common or 'no'} layer name{'s' * (match.num_common != 1)}"
    return f"The two studies share {common}. {text}".strip()


def _first_names(layers: Sequence[str]) -> str:
    """The names of the first layers, and the number of the others."""
    more = len(layers) - _NUM_NAMED
    named = ", ".join(map(one_layer, layers[:_NUM_NAMED]))
    return f"{named} and {more} more" if more > 0 else named
