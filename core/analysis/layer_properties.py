"""SI versus properties of the layers: one row a layer, and rank correlations over the layers."""

from collections.abc import Mapping
from dataclasses import dataclass
from math import atanh, sqrt, tanh

import numpy as np
import pandas as pd

from core.study.store.tables.ties import has_many_ties

MIN_LAYERS = 4  # for a rank correlation with an interval

# The properties that SI is compared with: title, and whether the axis is logarithmic.
PROPERTIES: Mapping[str, tuple[str, bool]] = {
    "parameters": ("Parameters", True),
    "channels": ("Depth (channels)", True),
    "cumulative_parameters": ("Cumulative parameters", True),
    "position": ("Position in the network", False),
    "knn": ("kNN accuracy", False),
    "linear_probe": ("Linear probe accuracy", False),
}


@dataclass(frozen=True)
class RankCorrelation:
    """Spearman's rank correlation over layers.

    Attributes
    ----------
    value, low, high : float
        The correlation and its 95% interval; nan if there are too few layers or only one value.
    num_layers : int
        Number of layers.
    """

    value: float
    low: float
    high: float
    num_layers: int


def layer_properties(
    layers: pd.DataFrame, curves: pd.DataFrame, probe: pd.DataFrame, *, pooling: str, samples: str
) -> pd.DataFrame:
    """Return SI and the properties of each layer.

    Parameters
    ----------
    layers : DataFrame
        As returned by `core.analysis.curves.measured_layers`.
    curves : DataFrame
        As returned by `core.analysis.curves.tidy_curves`.
    probe : DataFrame
        As returned by `probe_accuracies`.
    pooling : {"mean", "flat"}
    samples : {"test", "train", "cross"}

    Returns
    -------
    DataFrame
        One row per layer that has an SI: layer, kind, block, si, low, high; the columns of `PROPERTIES`, nan if
        unknown; and tied: whether many samples have several nearest neighbors.
    """
    rows = _curve(curves, "SI", pooling, samples).set_index("layer")
    layers = layers[layers["layer"].isin(rows.index)].reset_index(drop=True)
    table = layers[["layer", "kind", "block", "position", "channels", "parameters", "cumulative_parameters"]].copy()
    for name, column in {"si": "value", "low": "low", "high": "high"}.items():
        table[name] = table["layer"].map(rows[column])
    for name, (_, logarithmic) in PROPERTIES.items():
        if logarithmic:  # 0, such as the parameters of a sum, has no logarithm
            table[name] = table[name].where(table[name] > 0)
    table["knn"] = table["layer"].map(_curve(curves, "kNN", pooling, samples).set_index("layer")["value"])
    split = "test" if samples == "cross" else samples
    table["linear_probe"] = table["layer"].map(probe[probe["split"] == split].set_index("layer")["value"])
    table["tied"] = table["layer"].isin(rows.index[has_many_ties(rows)])
    return table.dropna(subset=["si"]).reset_index(drop=True)


def _curve(curves: pd.DataFrame, measure: str, pooling: str, samples: str) -> pd.DataFrame:
    keep = (curves["measure"] == measure) & (curves["pooling"] == pooling) & (curves["samples"] == samples)
    return curves[keep]


def probe_accuracies(measurements: pd.DataFrame) -> pd.DataFrame:
    """Return accuracies of the linear probe on channel means: split, layer, value.

    Parameters
    ----------
    measurements : DataFrame
        The table `measurements` of a study.
    """
    rows = measurements
    rows = rows[(rows["measure"] == "linear_probe") & (rows["sampling"] == "full") & (rows["repeat"] == 0)]
    rows = rows.astype({"layer": object, "split": object})
    return rows[["split", "layer", "value"]].drop_duplicates(["split", "layer"])


def known_properties(table: pd.DataFrame) -> list[str]:
    """Return the properties in which the layers are known to differ."""
    return [name for name in PROPERTIES if table[name].min() < table[name].max()]


def rank_correlation(first: pd.Series, second: pd.Series) -> RankCorrelation:
    """Return Spearman's rank correlation with a 95% interval.

    The interval uses Fisher's z and the variance 1.06/(n − 3) of Fieller et al. (1957). It is approximate, because the
    layers of a network are not independent.
    """
    known = first.notna() & second.notna()
    x, y = first[known].rank(), second[known].rank()
    if len(x) < MIN_LAYERS or x.nunique() < 2 or y.nunique() < 2:
        return RankCorrelation(float("nan"), float("nan"), float("nan"), len(x))
    value = float(np.corrcoef(x, y)[0, 1])
    center, half = atanh(np.clip(value, -0.999999, 0.999999)), 1.959964 * sqrt(1.06 / (len(x) - 3))
    return RankCorrelation(value, tanh(center - half), tanh(center + half), len(x))


def correlations(table: pd.DataFrame) -> dict[str, RankCorrelation]:
    """Return SI's rank correlation with each known property, over the layers without many tied samples.

    Parameters
    ----------
    table : DataFrame
        As returned by `layer_properties`.
    """
    untied = table[~table["tied"]]
    return {name: rank_correlation(untied[name], untied["si"]) for name in known_properties(untied)}
