"""Curves through the network: a study's measurements as a table with one row a layer, measure, samples and pooling."""

from collections.abc import Iterable, Sequence
from typing import Any

import pandas as pd

from core.analysis.result_tables import CURVES, checked
from core.study.store.filtering import Filter, Filters
from core.study.store.opening import Study

KNN = 5  # preferred number of voting neighbors, where a study has several

CURVE_COLUMNS = list(CURVES.columns)


def tidy_curves(layers: pd.DataFrame, measurements: pd.DataFrame) -> pd.DataFrame:
    """Return the measurements that are drawn as curves through the network.

    A layer without spatial extent is measured once, as `flat`. It is part of the curve of channel means too, because
    the mean of one number a channel is that number.

    Parameters
    ----------
    layers : DataFrame
        As returned by `measured_layers`.
    measurements : DataFrame
        The table `measurements` of the study.

    Returns
    -------
    DataFrame
        With the columns of `core.analysis.result_tables.CURVES`, in network order. `measure` is "SI" or "kNN";
        `samples` is "test", "train" or, for test samples and their nearest training samples, "cross".
    """
    rows = _main_rows(measurements)
    rows = rows.assign(
        samples=rows["split"].where(rows["measure"] != "cross", "cross"),
        measure=rows["measure"].map({"separation": "SI", "cross": "SI", "knn": "kNN"}),
        order=rows["order"].astype(int),  # float in the table, where measures without an order have nan
    )
    return checked(in_network_order(rows, layers), CURVES, "curves")


def measured_layers(study: Study) -> pd.DataFrame:
    """Return the table `layers` of a study, with "" for missing texts."""
    layers = study.layers
    texts = {name: layers[name].astype(object).fillna("").astype(str) for name in ("layer", "kind", "block")}
    return layers.assign(**texts)


def has_space(layers: pd.DataFrame) -> pd.Series:
    """Whether each layer has spatial extent: several numbers a channel, so that pooling makes a difference."""
    return layers["output_shape"].map(len) > 1


def has_pooling(rows: pd.DataFrame, layers: pd.DataFrame, pooling: str) -> pd.Series:
    """Whether each row is of a pooling; rows of layers without spatial extent, stored with one, are of both.

    Parameters
    ----------
    rows : DataFrame
        With the columns layer and pooling.
    layers : DataFrame
        The table `layers` of the study.
    pooling : {"mean", "flat"}
    """
    without_space = layers.loc[~has_space(layers), "layer"]
    chosen = rows["pooling"] == pooling
    if without_space.empty:
        return chosen
    of_both = rows["layer"].isin(without_space) & ~rows["layer"].isin(rows.loc[chosen, "layer"].unique())
    return chosen | of_both


def pooling_filters(filters: Sequence[Filter], layers: pd.DataFrame, pooling: str) -> Filters:
    """The filters with which a study's table has all rows of which `has_pooling` takes some, and few others.

    Parameters
    ----------
    filters : sequence of filter
        What the rows must be otherwise.
    layers : DataFrame
        The table `layers` of the study.
    pooling : {"mean", "flat"}
    """
    without_space = layers.loc[~has_space(layers), "layer"].tolist()
    chosen = [*filters, ("pooling", "==", pooling)]
    return [chosen, [*filters, ("layer", "in", without_space)]] if without_space else chosen


def _main_rows(measurements: pd.DataFrame) -> pd.DataFrame:
    """Rows of SI, test-to-train SI and kNN with one k, over all samples or sampled queries."""
    rows = with_texts(measurements)
    rows = rows[rows["sampling"].isin(["full", "queries"]) & (rows["repeat"] == 0)]
    knn_order = preferred_value(rows.loc[rows["measure"] == "knn", "order"], KNN)
    separation = rows["measure"].isin(["separation", "cross"]) & (rows["order"] == 1)
    rows = one_metric(rows[separation | ((rows["measure"] == "knn") & (rows["order"] == knn_order))])
    result: pd.DataFrame = rows[rows["sampling"] == preferred_value(rows["sampling"], "full")]
    return result


def with_texts(measurements: pd.DataFrame) -> pd.DataFrame:
    """Return measurements with texts in place of categories."""
    texts = ("split", "layer", "pooling", "metric", "measure", "sampling", "target")
    return measurements.assign(**{name: measurements[name].astype(object) for name in texts})


def one_metric(rows: pd.DataFrame) -> pd.DataFrame:
    """Return the rows of one distance and one rule for ties: Euclidean and "first" where the study has them."""
    for name, preferred in {"metric": "euclidean", "ties": "first"}.items():
        rows = rows[rows[name] == preferred_value(rows[name], preferred)]
    return rows


def in_network_order(rows: pd.DataFrame, layers: pd.DataFrame) -> pd.DataFrame:
    """Return rows sorted by the position of their layer.

    Where some rows are of channel means, rows of layers without spatial extent appear in both poolings.
    """
    rows = rows.assign(position=rows["layer"].map(layers.set_index("layer")["position"])).dropna(subset=["position"])
    if (rows["pooling"] == "mean").any():
        means = rows.loc[rows["pooling"] == "mean", "layer"]
        flat_only = rows["layer"].isin(layers.loc[~has_space(layers), "layer"]) & ~rows["layer"].isin(means)
        rows = pd.concat([rows, rows[flat_only].assign(pooling="mean")])
    return rows.sort_values("position", kind="stable", ignore_index=True)


def preferred_value(values: Iterable[Any], preferred: Any) -> Any:
    """Return the preferred value where it occurs, otherwise the largest one; None where there are no values."""
    distinct = set(values)
    return preferred if preferred in distinct else max(distinct, default=None)
