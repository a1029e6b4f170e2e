"""Two studies of the same samples side by side, layer by layer: before and after fine-tuning, network against network."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from core.measures.paired import paired_difference, unpaired_interval
from core.measures.significance import normal_p, q_values
from core.study.results import Study, StudyError

MEASURES = {"separation": None, "cross": "train"}  # measure -> split of the neighbors; None is the samples' own
MATCHES = ("name", "position")
CERTAIN = 0.05  # of q-values
LEVEL_Z = 1.959964  # of the 95 % intervals in the tables
ROSE, FELL, UNCERTAIN, UNKNOWN = "rose", "fell", "no certain change", "no interval"
COLUMNS = [
    *("layer", "layer_before", "position", "position_before", "relative_position", "before", "after", "difference"),
    *("low", "high", "z", "p_value", "q_value", "paired", "meaning"),
]


def compare_studies(
    before: Study,
    after: Study,
    *,
    measure: str = "separation",
    pooling: str = "mean",
    split: str = "test",
    layers: Sequence[str] | None = None,
    match: str | None = None,
) -> pd.DataFrame:
    """The change of SI from one study to another at each common layer, with 95 % intervals of the difference.

    Where both studies store a layer's nearest neighbors, the interval is paired: of the same samples, its variance
    summed over samples that share neighbors in either graph. Where one does not, it comes from the two values' own
    intervals as if the samples were others; it is wider than needed. Without those there is none.

    Parameters
    ----------
    before, after : studies of the same samples; the layers may be of different networks.
    measure : "separation", or "cross" (from test samples to training samples; split "test").
    pooling : "mean" or "flat"; a layer without space counts in both.
    split : of the samples.
    layers : of these layers of `after` only; default all.
    match : "name" compares layers of the same name; "position" each layer of `after` with the one of `before` nearest
        by relative position (0 the first layer, 1 the last). Default: name, where both have the same names for at
        least half of the layers of either; else position.

    Returns
    -------
    DataFrame
        One row a layer of `after` that has a partner, in network order: layer, layer_before, position, position_before,
        relative_position (0 to 1), before, after, difference (after − before), low, high, z, p_value (two-sided),
        q_value (Benjamini and Hochberg, over these rows), paired (whether the interval is), meaning: "rose" or "fell"
        where q < 0.05, else "no certain change", or "no interval" where there is none.

    Raises
    ------
    StudyError
        The studies are of different samples, or lack the measure; the message says what differs.
    ValueError
        An unknown measure or match.
    """
    _check_choice("measure", measure, tuple(MEASURES))
    if match is not None:
        _check_choice("match", match, MATCHES)
    check_same_samples(before, after, splits=(split,) if measure == "separation" else ("train", split))
    sides = [_Side(study, measure, pooling, split) for study in (before, after)]
    pairs = _pairs(sides[0].values, sides[1].values, match)
    if layers is not None:
        pairs = pairs[pairs["layer"].isin(layers)]
    rows = [_compared(*sides, pair) for pair in pairs.to_dict("records")]
    table = pd.DataFrame(rows, columns=COLUMNS[:-1])
    table["q_value"] = q_values(table["p_value"].to_numpy(float))
    return table.assign(meaning=_meanings(table))[COLUMNS]


def check_same_samples(before: Study, after: Study, *, splits: Sequence[str]) -> None:
    """Refuse two studies whose samples differ in number, id, order or class.

    Raises
    ------
    StudyError
        Says what differs, and where first.
    """
    for split in splits:
        first, second = (_samples(study, split) for study in (before, after))
        if len(first) != len(second) or not len(first):
            raise _differ(f"{len(first):,} {split} samples before, {len(second):,} after")
        for column, what in (("id", "id"), ("class", "class")):
            place = np.flatnonzero(first[column].to_numpy() != second[column].to_numpy())
            if len(place):
                at = place[0]
                same = " (the same ids in another order)" if _reordered(first, second, column) else ""
                raise _differ(
                    f"{what} {first[column].iloc[at]!r} before, {second[column].iloc[at]!r} after, at {split} sample "
                    f"{at:,}{same}"
                )


@dataclass(frozen=True, eq=False)
class _Side:
    """One of the two studies, under the choices that both share."""

    study: Study
    measure: str
    pooling: str
    split: str

    def __post_init__(self) -> None:
        object.__setattr__(self, "values", _values(self))
        object.__setattr__(self, "neighbors", _neighbors(self))

    values: pd.DataFrame = None  # type: ignore[assignment]
