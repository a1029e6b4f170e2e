"""What the comparison of two studies comes to, in words: certain changes, small ones, and what cannot be decided.

A change is certain where q < 0.05 over the layers compared. Where it is not, its 95 % interval says what that means: SI
changed by less than `SMALL` if the interval lies within that to both sides of 0; else these samples cannot decide it.
"""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from core.analysis.comparing import LayerMatch
from core.analysis.cut.advice import TOLERANCE
from core.report.words.formatting import number, one_layer, plain
from core.study.store.ties import MANY_TIES, left_out_text

SMALL = TOLERANCE  # of SI: a change that an interval has to rule out before anything is called small
CERTAIN = ("rose", "fell")
ASSUMED_SAMPLES = "That these are the same samples, in the same order, is assumed: the studies have no ids."
_LEAST_RUN = 3  # layers
_NAMED = 3  # layers that are left out


def describe_changes(table: pd.DataFrame, match: LayerMatch, names: tuple[str, str]) -> str:
    """What changed from one study to another, as Markdown.

    Every conclusion has its difference, its interval and the samples behind it; layers that are matched by position
    are said to be so in the first sentence. Nothing is concluded from layers with many tied samples, and that is said.

    Parameters
    ----------
    table : of `core.analysis.comparing.compare_studies`; at least one row.
    match : of `core.analysis.comparing.match_layers`, with the same arguments.
    names : what the two studies are called, before and after; plain text.
    """
    tied = table["meaning"] == MANY_TIES
    judged = table[~tied]
    parts = [_first_sentence(judged) if len(judged) else "", ASSUMED_SAMPLES if match.assumes_same_samples else ""]
    if len(judged):
        parts += [_uncertain(judged), _largest(judged), _end_run(table)]
    parts += [left_out_text(table.loc[tied, "layer"].tolist()), _left_out(match, names)]
    return " ".join(filter(None, parts))


def count_uncertain(table: pd.DataFrame) -> tuple[int, int, int]:
    """Layers whose change is not certain: surely smaller than `SMALL`, not to be decided, and without an interval."""
    rows = table[~table["meaning"].isin([*CERTAIN, MANY_TIES])]
    unknown = rows["low"].isna() | rows["high"].isna()
    small = (rows["low"] >= -SMALL) & (rows["high"] <= SMALL)
    return int(small.sum()), int((~small & ~unknown).sum()), int(unknown.sum())


def samples_text(table: pd.DataFrame) -> str:
    """Such as "1,200 samples": the number behind the values of a comparison."""
    counts = table["num_samples"].dropna()
    if counts.empty:
        return "these samples"
    least, most = int(counts.min()), int(counts.max())
    return f"{least:,} samples" if least == most else f"{least:,} to {most:,} samples"


def difference_text(row: pd.Series) -> str:
    """Such as "+0.120 (95 % interval +0.100 to +0.140)"."""
    if pd.isna(row["low"]) or pd.isna(row["high"]):
        return f"{row['difference']:+.3f} (no interval)"
    return f"{row['difference']:+.3f} (95 % interval {row['low']:+.3f} to {row['high']:+.3f})"


def _first_sentence(table: pd.DataFrame) -> str:
    """How many layers rose and fell, how they were matched, and the samples."""
    counts = table["meaning"].value_counts()
    rose, fell = (int(counts.get(word, 0)) for word in CERTAIN)
    total = f"{len(table)} layer{'s' * (len(table) != 1)}"
    if (table["matched_by"] == "position").any():
        compared = f"{total}, **compared by relative position, not by name**, with {samples_text(table)}"
    else:
        compared = f"{total} compared by name, with {samples_text(table)}"
    moved = [f"**{word}** at {count}" for word, count in zip(CERTAIN, (rose, fell), strict=True) if count]
    if not moved:
        return f"SI changed with certainty at none of {compared}."
    return f"SI {' and '.join(moved)} of {compared}."


def _uncertain(table: pd.DataFrame) -> str:
    """What is known of the layers whose change is not certain; never that they are equal."""
    small, undecided, unknown = count_uncertain(table)
    rows = table[~table["meaning"].isin(CERTAIN)]
    parts = []
    if small:
        same = " (the values are the same)" if small == len(rows) and (rows["difference"] == 0).all() else ""
        where = f"all {small}" if small == len(table) > 1 else small
        parts.append(f"at {where} any change is smaller than {SMALL}{same}")
    if undecided:
        low, high = rows["low"].min(), rows["high"].max()
        span = f"the intervals reach from {low:+.3f} to {high:+.3f}"
        parts.append(f"at {undecided} a change cannot be decided with {samples_text(table)}: {span}")
    if unknown:
        parts.append(f"at {unknown} there is no interval, so nothing can be concluded")
    text = "; ".join(parts)
    return f"{text[0].upper()}{text[1:]}." if text else ""


def _largest(table: pd.DataFrame) -> str:
    """The largest certain change; where none is, the largest difference."""
    certain = table[table["meaning"].isin(CERTAIN)]
    rows = table if certain.empty else certain
    row = rows.iloc[int(np.argmax(rows["difference"].abs().to_numpy(float)))]
    if row["difference"] == 0:
        return ""
    what = "largest difference" if certain.empty else "largest certain change"
    values = f"from {number(row['before'])} to {number(row['after'])}"
    chance = ""
    if certain.empty and len(table) > 1 and (row["low"] > 0 or row["high"] < 0):
        chance = f"; the largest of {len(table)} may be so by chance"
    return f"The {what} is {difference_text(row)} in {_layer(row)}, {values}{chance}."


def _layer(row: pd.Series) -> str:
    """The layer, and the one it is compared with where that bears another name."""
    name, other = str(row["layer"]), str(row["layer_before"])
    return one_layer(name) if name == other else f"{one_layer(name)} (compared with {one_layer(other)})"


def _end_run(table: pd.DataFrame) -> str:
    """From which layer on everything changed with certainty in one direction, where that is so to the end."""
    meaning = table["meaning"].tolist()
    first = len(meaning) - 1
    while first > 0 and meaning[first - 1] == meaning[-1]:
        first -= 1
    if meaning[-1] not in CERTAIN or first == 0 or len(meaning) - first < _LEAST_RUN:
        return ""
    return f"From {one_layer(table['layer'].iloc[first])} to the end, every layer {meaning[-1]}."


def _left_out(match: LayerMatch, names: tuple[str, str]) -> str:
    """How many layers were compared with none, and why layers were not matched by name."""
    left = [
        f"{len(layers)} of **{plain(name)}** ({_some(layers)})"
        for layers, name in zip((match.only_before, match.only_after), names, strict=True)
        if layers
    ]
    reason = "have no layer of their name in the other study" if match.by == "name" else "have no partner"
    text = f"Not compared, since they {reason}: {' and '.join(left)}." if left else ""
    if match.by == "name":
        return text
    common = f"{match.num_common or 'no'} layer name{'s' * (match.num_common != 1)}"
    return f"The two studies share {common}. {text}".strip()


def _some(layers: Sequence[str]) -> str:
    """The first layers by name, and how many more there are."""
    more = len(layers) - _NAMED
    named = ", ".join(map(one_layer, layers[:_NAMED]))
    return f"{named} and {more} more" if more > 0 else named
