"""Two classes through the network: how often they are confused, where they separate, and which samples are confused."""

import numpy as np
import pandas as pd

from core.data.sampling import name_some
from core.study.store.lookup import did_you_mean


def pair_curve(
    nearest: pd.DataFrame, names: pd.Series, first: str, second: str, *, possible: pd.Series | None = None
) -> pd.DataFrame:
    """Return how often two classes are confused at each layer.

    Parameters
    ----------
    nearest : DataFrame
        As returned by `core.analysis.samples.paths.nearest_by_layer`.
    names : Series of str
        Class name by sample.
    first, second : str
        Two classes.
    possible : Series of str, optional
        Class name by sample, for all samples that may be neighbors; default the queries.

    Returns
    -------
    DataFrame
        In network order: layer, count (samples of either class whose nearest neighbor is of the other class), total
        (queries of both classes), share (count / total), own (share of queries whose nearest neighbor is of their own
        class), chance (what share would be with meaningless labels). Both share and own are small where the layer
        separates neither class from the rest.

    Raises
    ------
    ValueError
        A class is unknown, or both are the same.
    """
    _check_pair(names, first, second)
    sample_class, nearest_class = nearest["sample"].map(names), nearest["nearest"].map(names)
    rows = nearest[["layer"]].assign(
        confused=_confused(sample_class, nearest_class, first, second), own=sample_class == nearest_class
    )
    layers = rows[sample_class.isin([first, second])].groupby("layer", sort=False, observed=True)
    table = pd.DataFrame({"count": layers["confused"].sum(), "total": layers.size()})
    table["share"] = table["count"] / table["total"]
    table["own"] = layers["own"].mean()
    queries = names.reindex(nearest["sample"].unique())
    table["chance"] = _chance(queries, queries if possible is None else possible, first, second)
    return table.reset_index().astype({"layer": object})


def first_separated_layer(curve: pd.DataFrame) -> str | None:
    """Return the first layer from which on two classes are never confused, to the last layer; None if there is none.

    Parameters
    ----------
    curve : DataFrame
        As returned by `pair_curve`, with at least one layer.
    """
    confused_rows = np.flatnonzero(curve["count"].to_numpy() > 0)
    first = int(confused_rows[-1]) + 1 if len(confused_rows) else 0
    return str(curve["layer"].iloc[first]) if first < len(curve) else None


def pair_causes(nearest: pd.DataFrame, names: pd.Series, first: str, second: str, layer: str) -> pd.DataFrame:
    """Return the samples by which two classes are confused at one layer.

    Parameters
    ----------
    nearest, names, first, second
        As for `pair_curve`.
    layer : str
        One of the layers in `nearest`.

    Returns
    -------
    DataFrame
        One row for each sample of either class whose nearest neighbor is of the other class: sample, nearest, distance,
        class_name, nearest_class, layers (number of layers at which its nearest neighbor is of the other class), share
        (of all layers). Samples with the most layers come first.

    Raises
    ------
    ValueError
        A class or the layer is unknown, or both classes are the same.
    """
    _check_pair(names, first, second)
    layers = nearest["layer"].astype(str).unique().tolist()
    if layer not in layers:
        raise ValueError(f"layer must be one of those in nearest; got {layer!r}. It has {name_some(layers)}.")
    rows = nearest.assign(class_name=nearest["sample"].map(names), nearest_class=nearest["nearest"].map(names))
    rows = rows[_confused(rows["class_name"], rows["nearest_class"], first, second)]
    layers_confused = rows["sample"].value_counts()
    here = rows[rows["layer"] == layer]
    here = here.assign(layers=here["sample"].map(layers_confused))
    here = here.assign(share=here["layers"] / nearest["layer"].nunique())
    columns = ["sample", "nearest", "distance", "class_name", "nearest_class", "layers", "share"]
    return here.sort_values(["layers", "sample"], ascending=[False, True], ignore_index=True)[columns]


def _check_pair(names: pd.Series, first: str, second: str) -> None:
    known = set(names.unique())
    for name, value in {"first": first, "second": second}.items():
        if value not in known:
            hint = did_you_mean(value, known)
            raise ValueError(f"{name} must be a class of the study; got {value!r}.{hint} See the table samples.")
    if first == second:
        raise ValueError(f"first and second must be two classes; got {first!r} twice.")


def _confused(sample_class: pd.Series, nearest_class: pd.Series, first: str, second: str) -> pd.Series:
    """Whether one of two classes is a sample's and the other one that of its nearest neighbor."""
    first_as_second = (sample_class == first) & (nearest_class == second)
    second_as_first = (sample_class == second) & (nearest_class == first)
    return first_as_second | second_as_first


def _chance(queries: pd.Series, possible: pd.Series, first: str, second: str) -> float:
    """The expected share of confused samples with permuted labels.

    It is the share that the other class has of all possible neighbors, which do not include the sample itself.

    queries, possible : class name by sample, of the queries and of the samples that may be their neighbors.
    """
    num_possible = len(possible) - int(queries.index.isin(possible.index).any())
    query_counts, possible_counts = queries.value_counts(), possible.value_counts()
    num_first, num_second = query_counts.get(first, 0), query_counts.get(second, 0)
    expected = num_first * possible_counts.get(second, 0) + num_second * possible_counts.get(first, 0)
    return float(expected / max(num_possible, 1) / max(num_first + num_second, 1))
