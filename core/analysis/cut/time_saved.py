"""How much of a network's time a cut saves, and whether the measurement can tell.

All layers take turns in each round of a measurement (`core.network.timing`), so each round gives the share of the time
that a cut saves: 1 minus the layer's seconds divided by those of the layer that takes longest. The share is the median
of the rounds, with their range. On a busy machine the rounds differ: where the range is wider than `WIDEST_RANGE`, the
share cannot be told, and none is given.
"""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

WIDEST_RANGE = 0.2  # of the time: a saving of 10 % more or less seldom changes where one cuts
FEWEST_ROUNDS = 3  # that a range needs
COLUMNS = ["seconds", "seconds_saved", "seconds_saved_low", "seconds_saved_high", "timing_rounds"]


def time_saved(
    seconds: Mapping[str, float], rounds: Mapping[str, Sequence[float]] | None, layers: Sequence[str]
) -> pd.DataFrame:
    """Seconds and the share of the time saved by cutting at each layer.

    Parameters
    ----------
    seconds : an image, by layer; where all are 0, as of the pixels alone, nothing can be saved, and all is null.
    rounds : the same in each round of the measurement, where that is known.
    layers : that are asked about; those that were not timed have null in all columns.

    Returns
    -------
    DataFrame
        Indexed by layer: seconds; seconds_saved (a share; null where the rounds differ too much to tell),
        seconds_saved_low, seconds_saved_high (over the rounds; null where there are fewer than three, or they are not
        known), timing_rounds (null where there are too few).
    """
    longest = max(seconds, key=lambda layer: seconds[layer])
    table = pd.DataFrame(np.nan, index=pd.Index(layers), columns=COLUMNS)
    if seconds[longest] <= 0:
        return table
    table["seconds"] = [seconds.get(layer, np.nan) for layer in layers]
    table["seconds_saved"] = 1 - table["seconds"] / seconds[longest]
    if not rounds or len(rounds[longest]) < FEWEST_ROUNDS:
        return table
    for layer in table.index[table["seconds"].notna()]:
        shares = 1 - np.asarray(rounds[layer]) / np.asarray(rounds[longest])
        low, high = float(shares.min()), float(shares.max())
        share = float(np.median(shares)) if high - low <= WIDEST_RANGE else np.nan
        table.loc[layer, COLUMNS[1:]] = [share, low, high, len(shares)]
    return table


def time_saved_text(row: pd.Series) -> str:
    """What a cut saves of the time, with the range over the rounds; "" where it was not measured.

    row : of the table of `core.analysis.cut.advice.Advice`.
    """
    if pd.isna(row["seconds"]):
        return ""
    if pd.isna(row["seconds_saved"]):
        return f"of the time a share that cannot be told ({range_text(row)})"
    return f"{row['seconds_saved']:.0%} of the time ({range_text(row)})"


def range_text(row: pd.Series) -> str:
    """How far apart the rounds of the measurement are."""
    if pd.isna(row["timing_rounds"]):
        return "measured without a range"
    return f"{span_text(row)} in {row['timing_rounds']:.0f} rounds"


def span_text(row: pd.Series) -> str:
    """The least and the largest share of the rounds."""
    low, high = (round(100 * row[f"seconds_saved_{end}"]) for end in ("low", "high"))
    return f"{low} to {high}%"
