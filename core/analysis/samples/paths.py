"""Samples followed through the layers: who their neighbors are, and when the nearest is of their class."""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from core.study.store.lookup import check_layers, check_pooling, check_split
from core.study.store.opening import Study

FATES = ("always", "gained", "lost", "never")


def nearest_by_layer(
    study: Study,
    pooling: str,
    split: str,
    *,
    among: str | None = None,
    layers: Sequence[str] | None = None,
    samples: Sequence[int] | None = None,
) -> pd.DataFrame:
    """Each sample's nearest neighbor at every layer: `neighbors_by_layer` with k = 1, without the rank."""
    table = neighbors_by_layer(study, pooling, split, among=among, k=1, layers=layers, samples=samples)
    return table.drop(columns="rank")


def neighbors_by_layer(
    study: Study,
    pooling: str,
    split: str,
    *,
    among: str | None = None,
    k: int | None = None,
    layers: Sequence[str] | None = None,
    samples: Sequence[int] | None = None,
) -> pd.DataFrame:
    """Each sample's stored neighbors at every layer.

    A layer without space is stored once, as `flat`; it stands here for `mean` too.

    Parameters
    ----------
    study, pooling, split : what to look up.
    among : the split of the neighbors; default the samples' own.
    k : no more neighbors than that; default all that are stored.
    layers, samples : no more of the table is read than these; default all.

    Returns
    -------
    DataFrame
        layer (a category), sample, rank, nearest, distance, agrees; in network order, then by sample and rank. Empty
        where nothing is stored.

    Raises
    ------
    StudyError
        The study has no such layer, pooling or split; the message says what it has.
    """
    check_layers(study, layers or ())
    check_pooling(study, pooling)
    check_split(study, split)
    check_split(study, among or split, "among")
    columns = ["layer", "pooling", "sample", "rank", "nearest", "distance", "agrees"]
    filters: list[tuple[str, str, object]] = [("split", "==", split), ("nearest_split", "==", among or split)]
    filters += [] if k is None else [("rank", "<=", k)]
    filters += [] if layers is None else [("layer", "in", list(layers))]
    filters += [] if samples is None else [("sample", "in", list(samples))]
    table = study.table("neighbors", columns, filters)
    once = study.layers.loc[study.layers["output_shape"].map(len) <= 1, "layer"]
    asked = table["pooling"] == pooling
    table = table[asked | (table["layer"].isin(once) & ~table["layer"].isin(table.loc[asked, "layer"].unique()))]
    order = [layer for layer in study.layers["layer"] if layer in set(table["layer"].unique())]
    layer = table["layer"].astype("category").cat.set_categories(order)
    table = table.assign(layer=layer).dropna(subset=["layer"])
    table = table.sort_values(["layer", "sample", "rank"], kind="stable", ignore_index=True)
    return table[["layer", "sample", "rank", "nearest", "distance", "agrees"]]


def agreement(nearest: pd.DataFrame) -> pd.DataFrame:
    """Whether the nearest neighbor is of the sample's class.

    Parameters
    ----------
    nearest : rows of `nearest_by_layer`.

    Returns
    -------
    DataFrame
        bool, of shape (samples, layers): a row a sample, a column a layer, in network order. The mean of a column is
        the layer's SI. Samples that some layer did not ask are left out.
    """
    layers = list(dict.fromkeys(nearest["layer"]))
    table = nearest.set_index(["sample", "layer"])["agrees"].unstack()  # noqa: PD010 - pivot_table would average
    return table[layers].dropna().astype(bool)


def fates(agrees: pd.DataFrame) -> pd.DataFrame:
    """What becomes of each sample on its way through the network.

    Parameters
    ----------
    agrees : of `agreement`, at least one layer.

    Returns
    -------
    DataFrame
        By sample: fate, one of `FATES`: its neighbor is of its class at every layer (always) or at none (never); not at
        every layer, but at the last (gained); at some layer, but not at the last (lost). first, settled : the first
        layer at which it is, and the one from which on it stays so to the end; null where there is none. share : of
        the layers at which it is.
    """
    values, layers = agrees.to_numpy(), agrees.columns.to_numpy(object)
    ever, last = values.any(axis=1), values[:, -1]
    tail = np.logical_and.accumulate(values[:, ::-1], axis=1).sum(axis=1)  # layers at the end that agree
    fate = np.select([values.all(axis=1), last, ever], FATES[:3], FATES[3])
    return pd.DataFrame(
        {
            "fate": fate,
            "first": np.where(ever, layers[values.argmax(axis=1)], None),
            "settled": np.where(last, layers[np.minimum(len(layers) - tail, len(layers) - 1)], None),
            "share": values.mean(axis=1),
        },
        index=agrees.index,
    )
