"""How far along a curve of SI the classes are separated, and which layers are clearly above chance."""

from statistics import NormalDist

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from core.study.store.tables.ties import has_many_ties

CLEAR = 3.0  # standard errors above chance from which SI may be called clearly above chance
SIGNIFICANT = 0.05  # a q-value below this one is significant
LEVELS = (("hardly", 0.0), ("partly", 0.25), ("largely", 0.5), ("almost completely", 0.9))  # name, least excess
_Z_95 = 1.959964  # standard errors in half of a 95% interval
_SPREAD = 1.4  # the standard deviation of SI with permuted labels is at most this many binomial standard errors
_INTERVALS = ("population", "data")  # targets of intervals; others, such as the range of draws, are no intervals


def lead_curve(curves: pd.DataFrame) -> pd.DataFrame:
    """Select the curve that the summary of a study describes.

    It is a curve of SI: of test samples if there are any, else training samples, else test to training samples; of
    channel means if there are any, else all activations. Samples of several classes come before samples of a single
    class, about which SI says nothing. Layers without a value are left out.

    Parameters
    ----------
    curves : DataFrame
        As returned by `core.analysis.curves.tidy_curves`.
    """
    rows = curves[(curves["measure"] == "SI") & curves["value"].notna()]
    several_classes = ~(rows["chance"] == 1)
    rows = rows[several_classes] if several_classes.any() else rows
    for column, preferred in {"samples": ("test", "train", "cross"), "pooling": ("mean", "flat")}.items():
        rows = rows[rows[column] == _preferred(rows[column], preferred)]
    return rows.sort_values("position", ignore_index=True)


def best_layer(curve: pd.DataFrame) -> str:
    """Return the layer of the highest SI, without layers with many tied samples unless there are no others."""
    tied = has_many_ties(curve)
    rows = curve if tied.all() else curve[~tied]
    return str(rows["layer"].iloc[int(rows["value"].argmax())])


def has_best_layer(curve: pd.DataFrame) -> bool:
    """Return whether a layer can be called the best: of several layers, with several classes, not all tied."""
    several_classes = not bool((curve["chance"] == 1).all())
    return len(curve) > 1 and several_classes and not has_many_ties(curve).all()


def intervals(curve: pd.DataFrame) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the low and high ends of each layer's 95% interval.

    Where the study stores none, it is Wilson's interval, as if the samples were independent.
    """
    value, count = (curve[name].to_numpy(float) for name in ("value", "num_queries"))
    low, high = column_or_nan(curve, "low"), column_or_nan(curve, "high")
    squared = _Z_95**2
    center = (value + squared / (2 * count)) / (1 + squared / count)
    half = _Z_95 / (1 + squared / count) * np.sqrt(value * (1 - value) / count + squared / (4 * count**2))
    missing = np.isnan(low) | np.isnan(high) | ~has_interval(curve)
    return np.where(missing, np.minimum(center - half, value), low), np.where(missing, center + half, high)


def joint_intervals(curve: pd.DataFrame) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return intervals of all layers that hold together with 95% confidence (Bonferroni): low and high ends."""
    value = curve["value"].to_numpy(float)
    low, high = intervals(curve)
    wider = NormalDist().inv_cdf(1 - 0.025 / len(curve)) / _Z_95
    return np.maximum(0.0, value - wider * (value - low)), np.minimum(1.0, value + wider * (high - value))


def separation_levels(low: float, high: float, chance: float) -> tuple[str, ...]:
    """Return the names of the levels that an interval of SI covers, the lowest first.

    There are none where chance is 1, as with a single class.
    """
    if chance >= 1:
        return ()
    first, last = (level_index((end - chance) / (1 - chance)) for end in (low, high))
    return tuple(name for name, _ in LEVELS[first : last + 1])


def half_way_range(curve: pd.DataFrame, best: int) -> tuple[int, int]:
    """Return the range of layers in which the curve may reach half of the best layer's gain over chance for good.

    Before the earliest layer of the range, there is still a layer to come that certainly has less than half of the
    gain. From the latest one up to the best layer, every layer certainly has half of it or more. "Certainly" means at
    both ends of both intervals, at the level at which the intervals of all layers hold together.

    Parameters
    ----------
    curve : DataFrame
        As returned by `lead_curve`.
    best : int
        The row of the best layer.

    Returns
    -------
    earliest, latest : int
        Rows of the curve.
    """
    low, high = joint_intervals(curve)
    chance = chance_or_zero(curve)
    least, most = (low[best] - chance[best]) / 2, (high[best] - chance[best]) / 2
    certainly_below = np.flatnonzero((high - chance < least)[:best])
    maybe_below = np.flatnonzero((low - chance < most)[:best])
    earliest = int(certainly_below[-1]) + 1 if len(certainly_below) else 0
    latest = int(maybe_below[-1]) + 1 if len(maybe_below) else 0
    return earliest, latest


def clearly_above_chance(curve: pd.DataFrame) -> np.ndarray:
    """Return whether each layer's SI is clearly above chance.

    Three conditions must hold: SI lies more than three binomial standard errors above chance; the whole 95% interval,
    where it is known, lies above chance; the q-value, where it is known, is below 0.05.

    The interval alone would let a few of many layers pass by luck. The standard errors are a rough guide: under
    permutation of the labels on a fixed neighbor graph, SI varies up to 1.4 times as much, because two samples may be
    each other's nearest neighbor. A small q-value alone says little, because with many samples it is small even if SI
    is very close to chance; but with a handful of samples no value may be unusual, whatever the standard errors say.
    """
    chance, low = curve["chance"].to_numpy(float), curve["low"].to_numpy(float)
    error = np.sqrt(chance * (1 - chance) / curve["num_queries"].to_numpy(float))
    far = curve["value"].to_numpy(float) > chance + CLEAR * error
    result: np.ndarray = far & ~(low <= chance) & ~(column_or_nan(curve, "q_value") >= SIGNIFICANT)
    return result


def level_index(excess: float) -> int:
    """Return the index in `LEVELS` of an excess over chance, (SI − chance) / (1 − chance)."""
    return max(0, sum(excess >= least for _, least in LEVELS) - 1)


def best_is_clear(curve: pd.DataFrame, best: int) -> bool:
    """Whether the best layer is clearly above chance, corrected for having been chosen as the best of many.

    Parameters
    ----------
    curve : DataFrame
        All layers among which it is the best: value, low, high, chance, num_queries.
    best : int
        Its row.
    """
    chance, count = float(curve["chance"].iloc[best]), float(curve["num_queries"].iloc[best])
    least = max(CLEAR, _SPREAD * NormalDist().inv_cdf(1 - 0.05 / len(curve)))
    far = curve["value"].iloc[best] > chance + least * np.sqrt(chance * (1 - chance) / count)
    return bool(far and clearly_above_chance(curve)[best] and joint_intervals(curve)[0][best] > chance)


def chance_or_zero(curve: pd.DataFrame) -> NDArray[np.float64]:
    """Return the chance level of each layer, or zeros where it is unknown for some layer."""
    chance = curve["chance"].to_numpy(float)
    return chance if np.isfinite(chance).all() else np.zeros_like(chance)


def has_interval(curve: pd.DataFrame) -> NDArray[np.bool_]:
    """Return whether low and high of each layer are an interval, and not, for example, the range of several draws."""
    if "target" not in curve:
        return np.ones(len(curve), bool)
    return (curve["target"].isna() | curve["target"].isin(_INTERVALS)).to_numpy()


def column_or_nan(curve: pd.DataFrame, name: str) -> NDArray[np.float64]:
    """Return a column as floats, or nan for each row where the table lacks it."""
    return curve[name].to_numpy(float) if name in curve else np.full(len(curve), np.nan)


def _preferred(values: pd.Series, order: tuple[str, ...]) -> str | None:
    """The first name of `order` that occurs; where none does, the first value; None where there are no values."""
    present = list(values.unique())
    for name in order:
        if name in present:
            return name
    return present[0] if present else None
