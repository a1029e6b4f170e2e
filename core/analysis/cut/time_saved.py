"""The share of a network's time that a cut saves, and whether the measurement is precise enough to name it.

All layers take turns in each round of a measurement (`core.network.timing`), so each round gives the share of the time
that a cut saves: 1 minus the layer's seconds divided by those of the layer that takes longest. The share is the median
of the rounds, and their range is reported with it. On a busy machine the rounds differ: where the range is wider than
`WIDEST_RANGE`, the measurement is too imprecise and no share is given.
"""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

WIDEST_RANGE = 0.2  # as a share of the time; 10% more or less seldom changes the choice of a layer
FEWEST_ROUNDS = 3  # rounds without which no range is given
COLUMNS = ["seconds", "seconds_saved", "seconds_saved_low", "seconds_saved_high", "timing_rounds"]


def time_saved(
    seconds: Mapping[str, float], rounds: Mapping[str, Sequence[float]], layers: Sequence[str]
) -> pd.DataFrame:
    """Return the seconds an image up to each layer, and the share of the time that a cut there saves.

    Parameters
    ----------
    seconds : mapping
        From layer to seconds an image. Where all are 0, as for pixels, nothing can be saved and all columns are null.
    rounds : mapping
        From layer to the seconds in each round of the measurement.
    layers : sequence of str
        The layers of the result. Those that were not timed have null in all columns.

    Returns
    -------
    DataFrame
        Indexed by layer: seconds; seconds_saved (share in 0 to 1; null where the rounds differ too much),
        seconds_saved_low, seconds_saved_high (range over the rounds), timing_rounds (number of rounds). The last three
        are null where there are fewer than three rounds.
    """
    longest = max(seconds, key=lambda layer: seconds[layer])
    table = pd.DataFrame(np.nan, index=pd.Index(layers), columns=COLUMNS)
    if seconds[longest] <= 0:
        return table
    table["seconds"] = [seconds.get(layer, np.nan) for layer in layers]
    table["seconds_saved"] = 1 - table["seconds"] / seconds[longest]
    if len(rounds[longest]) < FEWEST_ROUNDS:
        return table
    for layer in table.index[table["seconds"].notna()]:
        shares = 1 - np.asarray(rounds[layer]) / np.asarray(rounds[longest])
        low, high = float(shares.min()), float(shares.max())
        share = float(np.median(shares)) if high - low <= WIDEST_RANGE else np.nan
        table.loc[layer, COLUMNS[1:]] = [share, low, high, len(shares)]
    return table


def time_saved_text(row: pd.Series) -> str:
    """Return the share of the time that a cut saves, with the range over the rounds; "" where it was not measured.

    Parameters
    ----------
    row : Series
        A row of the table `layers` of `core.analysis.cut.advice.Advice`.
    """
    if pd.isna(row["seconds"]):
        return ""
    if pd.isna(row["seconds_saved"]):
        return f"a share of the time that cannot be told ({range_text(row)})"
    return f"{row['seconds_saved']:.0%} of the time ({range_text(row)})"


def range_text(row: pd.Series) -> str:
    """Return the range and the number of rounds of the measurement, as a phrase."""
    if pd.isna(row["timing_rounds"]):
        return "measured without a range"
    return f"{span_text(row)} in {row['timing_rounds']:.0f} rounds"


def span_text(row: pd.Series) -> str:
    """Return the lowest and the highest share over the rounds, such as "40 to 45%"."""
    low, high = (round(100 * row[f"seconds_saved_{end}"]) for end in ("low", "high"))
    return f"{low} to {high}%"
