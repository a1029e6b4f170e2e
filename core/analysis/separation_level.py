"""How far along a curve of SI the classes are separated, and which layers are clearly above chance."""

from statistics import NormalDist

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from core.study.store.ties import has_many_ties

CLEAR = 3.0  # standard errors above chance, where there is no interval


SIGNIFICANT = 0.05  # of q-values


LEVELS = (("hardly", 0.0), ("partly", 0.25), ("largely", 0.5), ("almost completely", 0.9))  # from which excess on


_Z_95 = 1.959964


_SPREAD = 1.4  # times the binomial standard error: how much SI of permuted labels scatters at most


_INTERVALS = ("population", "data")  # targets; others, such as the range of draws, are no intervals


def lead_curve(curves: pd.DataFrame) -> pd.DataFrame:
    """The one curve to speak about: SI; test before train before test to train; channel means before all activations.

    Samples of several classes come before samples of one class, of which SI says nothing. Layers without a value are
    left out.
    """
    rows = curves[(curves["measure"] == "SI") & curves["value"].notna()]
    several_classes = ~(rows["chance"] == 1)
    rows = rows[several_classes] if several_classes.any() else rows
    for column, preferred in {"samples": ("test", "train", "cross"), "pooling": ("mean", "flat")}.items():
        rows = rows[rows[column] == _preferred(rows[column], preferred)]
    return rows.sort_values("position", ignore_index=True)


def best_layer(curve: pd.DataFrame) -> str:
    """The layer of the highest SI; one with many tied samples only where there is no other."""
    tied = has_many_ties(curve)
    rows = curve if tied.all() else curve[~tied]
    return str(rows["layer"].iloc[int(rows["value"].argmax())])


def intervals(curve: pd.DataFrame) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Low and high of each layer; where the study stores none, Wilson's, as if its samples were independent."""
    value, count = (curve[name].to_numpy(float) for name in ("value", "num_queries"))
    low, high = column_or_nan(curve, "low"), column_or_nan(curve, "high")
    squared = _Z_95**2
    center = (value + squared / (2 * count)) / (1 + squared / count)
    half = _Z_95 / (1 + squared / count) * np.sqrt(value * (1 - value) / count + squared / (4 * count**2))
    missing = np.isnan(low) | np.isnan(high) | ~has_interval(curve)
    return np.where(missing, np.minimum(center - half, value), low), np.where(missing, center + half, high)


def joint_intervals(curve: pd.DataFrame) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Low and high of each layer, wide enough for all layers together to hold with 95 % (Bonferroni)."""
    value = curve["value"].to_numpy(float)
    low, high = intervals(curve)
    wider = NormalDist().inv_cdf(1 - 0.025 / len(curve)) / _Z_95
    return np.maximum(0.0, value - wider * (value - low)), np.minimum(1.0, value + wider * (high - value))


def separation_levels(low: float, high: float, chance: float) -> tuple[str, ...]:
    """The levels that an interval of SI reaches, the lowest first; none where chance is 1, as with one class."""
    if chance >= 1:
        return ()
    first, last = (level_index((end - chance) / (1 - chance)) for end in (low, high))
    return tuple(name for name, _ in LEVELS[first : last + 1])


def half_way_range(curve: pd.DataFrame, best: int) -> tuple[int, int]:
    """The earliest and the latest layer from which on half of the best layer's gain over chance may be reached.

    Earlier ones are followed by a layer that certainly has less than half of the gain; from the latest on, up to the
    best layer, every one certainly has half of it or more. Certain is what holds at both ends of both intervals, taken
    for all layers together.
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
    """Whether SI lies three binomial standard errors above chance, and its whole 95 % interval, where known, above it.

    The interval alone would let a layer or two of many pass by luck. The first is a rough guide: labels permuted on a
    fixed neighbor graph spread up to 1.4 times as much, because two samples may be each other's nearest. A small q says
    little, since with many samples it is small next to chance; but a q that is known must be below 0.05: with a handful
    of samples no value may be so unusual, whatever standard errors say.
    """
    chance, low = curve["chance"].to_numpy(float), curve["low"].to_numpy(float)
    error = np.sqrt(chance * (1 - chance) / curve["num_queries"].to_numpy(float))
    far = curve["value"].to_numpy(float) > chance + CLEAR * error
    result: np.ndarray = far & ~(low <= chance) & ~(column_or_nan(curve, "q_value") >= SIGNIFICANT)
    return result


def level_index(excess: float) -> int:
    """The place among `LEVELS` of an excess over chance."""
    return max(0, sum(excess >= least for _, least in LEVELS) - 1)


def best_is_clear(curve: pd.DataFrame, best: int) -> bool:
    """Whether the best layer is clearly above chance although it is the best of many by luck too.

    Parameters
    ----------
    curve : value, low, high, chance, num_queries of all layers that it is the best of.
    best : its row.
    """
    chance, count = float(curve["chance"].iloc[best]), float(curve["num_queries"].iloc[best])
    least = max(CLEAR, _SPREAD * NormalDist().inv_cdf(1 - 0.05 / len(curve)))
    far = curve["value"].iloc[best] > chance + least * np.sqrt(chance * (1 - chance) / count)
    return bool(far and clearly_above_chance(curve)[best] and joint_intervals(curve)[0][best] > chance)


def chance_or_zero(curve: pd.DataFrame) -> NDArray[np.float64]:
    """Chance by layer; 0 where the study does not say it of all of them."""
    chance = curve["chance"].to_numpy(float)
    return chance if np.isfinite(chance).all() else np.zeros_like(chance)


def has_interval(curve: pd.DataFrame) -> NDArray[np.bool_]:
    """Whether low and high of each layer are an interval, and not such as the range of draws."""
    if "target" not in curve:
        return np.ones(len(curve), bool)
    return (curve["target"].isna() | curve["target"].isin(_INTERVALS)).to_numpy()


def column_or_nan(curve: pd.DataFrame, name: str) -> NDArray[np.float64]:
    return curve[name].to_numpy(float) if name in curve else np.full(len(curve), np.nan)


def _preferred(values: pd.Series, order: tuple[str, ...]) -> str | None:
    found = list(values.unique())
    return next((name for name in order if name in found), found[0] if found else None)
