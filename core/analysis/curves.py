"""A study's measurements as curves through the network: one row a layer, measure, samples and pooling."""

from collections.abc import Iterable
from typing import Any

import pandas as pd

from core.study.store.opening import Study

KNN = 5  # neighbors that vote, where a study has several

CURVE_COLUMNS = [
    "layer",
    "position",
    "measure",
    "order",
    "samples",
    "pooling",
    "value",
    "low",
    "high",
    "chance",
    "excess",
    "num_queries",
    "num_references",
    "metric",
    "sampling",
    "target",
    "z",
    "p_value",
    "q_value",
    "num_tied",
]


def tidy_curves(layers: pd.DataFrame, measurements: pd.DataFrame) -> pd.DataFrame:
    """The measurements that make curves through the network, with the columns `CURVE_COLUMNS`.

    A layer without spatial extent is measured once, as `flat`; it stands in the curve of channel means too, because the
    mean of one number a channel is that number.
    """
    rows = _main_rows(measurements)
    rows = rows.assign(
        samples=rows["split"].where(rows["measure"] != "cross", "cross"),
        measure=rows["measure"].map({"separation": "SI", "cross": "SI", "knn": "kNN"}),
        order=rows["order"].astype(int),  # measures without an order make the column one of floats
    )
    return placed(rows, layers)[CURVE_COLUMNS]


def measured_layers(study: Study) -> pd.DataFrame:
    """The layers in network order; texts that are missing are empty."""
    layers = study.layers
    texts = {name: layers[name].astype(object).fillna("").astype(str) for name in ("layer", "kind", "block")}
    return layers.assign(**texts)


def has_space(layers: pd.DataFrame) -> pd.Series:
    """Whether a layer has several numbers a channel, so that pooling makes a difference."""
    return layers["output_shape"].map(len) > 1


def _main_rows(measurements: pd.DataFrame) -> pd.DataFrame:
    """Rows of SI, test-to-train SI and one kNN, over all samples or sampled queries."""
    rows = with_texts(measurements)
    rows = rows[rows["sampling"].isin(["full", "queries"]) & (rows["repeat"] == 0)]
    knn_order = one_of(rows.loc[rows["measure"] == "knn", "order"], KNN)
    separation = rows["measure"].isin(["separation", "cross"]) & (rows["order"] == 1)
    rows = one_metric(rows[separation | ((rows["measure"] == "knn") & (rows["order"] == knn_order))])
    result: pd.DataFrame = rows[rows["sampling"] == one_of(rows["sampling"], "full")]
    return result


def with_texts(measurements: pd.DataFrame) -> pd.DataFrame:
    """Text columns as text, not as categories."""
    texts = ("split", "layer", "pooling", "metric", "measure", "sampling", "target")
    return measurements.assign(**{name: measurements[name].astype(object) for name in texts})


def one_metric(rows: pd.DataFrame) -> pd.DataFrame:
    """Rows of one distance and one rule for ties, the usual ones where the study has them."""
    for name, first in {"metric": "euclidean", "ties": "first"}.items():
        rows = rows[rows[name] == one_of(rows[name], first)]
    return rows


def placed(rows: pd.DataFrame, layers: pd.DataFrame) -> pd.DataFrame:
    """Rows in network order; those of layers without space in both poolings, where the study has means."""
    rows = rows.assign(position=rows["layer"].map(layers.set_index("layer")["position"])).dropna(subset=["position"])
    if (rows["pooling"] == "mean").any():
        means = rows.loc[rows["pooling"] == "mean", "layer"]
        once = rows["layer"].isin(layers.loc[~has_space(layers), "layer"]) & ~rows["layer"].isin(means)
        rows = pd.concat([rows, rows[once].assign(pooling="mean")])
    return rows.sort_values("position", kind="stable", ignore_index=True)


def one_of(values: Iterable[Any], first: Any) -> Any:
    """`first` where it occurs, else the greatest; None where there is nothing."""
    found = set(values)
    return first if first in found else max(found, default=None)
