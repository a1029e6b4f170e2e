"""Samples through the layers of a network: their neighbors, and whether the nearest one has their label."""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from core.analysis.curves import has_pooling, pooling_filters
from core.study.store.filtering import Filter
from core.study.store.lookup import check_layers, check_pooling, check_split
from core.study.store.opening import Study

SUMMARIES = ("always", "gained", "lost", "never")


def nearest_by_layer(
    study: Study,
    pooling: str,
    split: str,
    *,
    among: str | None = None,
    layers: Sequence[str] | None = None,
    samples: Sequence[int] | None = None,
) -> pd.DataFrame:
    """Read each sample's nearest neighbor at every layer: `neighbors_by_layer` with k = 1, without the rank."""
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
    """Read each sample's stored neighbors at every layer.

    Parameters
    ----------
    study : Study
    pooling : {"mean", "flat"}
        Layers without spatial extent are stored once, as `flat`, and are part of the result for both.
    split : {"test", "train"}
        The split of the samples.
    among : {"test", "train"}, optional
        The split of the neighbors; default that of the samples.
    k : int, optional
        Largest rank to read; default all stored neighbors.
    layers : sequence of str, optional
        The only layers to read; default all.
    samples : sequence of int, optional
        The only samples to read; default all.

    Returns
    -------
    DataFrame
        layer (a category), sample, rank, nearest, distance, same_label (whether the labels are equal); in network
        order, then by sample and rank. Empty where nothing is stored.

    Raises
    ------
    StudyError
        The study has no such layer, pooling or split; the message says what it has.
    """
    check_layers(study, layers or ())
    check_pooling(study, pooling)
    check_split(study, split)
    check_split(study, among or split, "among")
    columns = ["layer", "pooling", "sample", "rank", "nearest", "distance", "same_label"]
    filters: list[Filter] = [("split", "==", split), ("nearest_split", "==", among or split)]
    if k is not None:
        filters.append(("rank", "<=", k))
    if layers is not None:
        filters.append(("layer", "in", list(layers)))
    if samples is not None:
        filters.append(("sample", "in", list(samples)))
    table = study.table("neighbors", columns, pooling_filters(filters, study.layers, pooling))
    table = table[has_pooling(table, study.layers, pooling)]
    stored_layers = set(table["layer"].unique())
    order = [layer for layer in study.layers["layer"] if layer in stored_layers]
    layer = table["layer"].astype("category").cat.set_categories(order)
    table = table.assign(layer=layer).dropna(subset=["layer"])
    if not _is_in_order(table):
        table = table.sort_values(["layer", "sample", "rank"], kind="stable")
    return table[["layer", "sample", "rank", "nearest", "distance", "same_label"]].reset_index(drop=True)


def _is_in_order(table: pd.DataFrame) -> bool:
    """Whether rows are sorted by layer, sample and rank, as core writes them; sorting takes many times longer."""
    layer, sample = table["layer"].cat.codes.to_numpy(), table["sample"].to_numpy()
    rank = table["rank"].to_numpy()
    ahead = rank[1:] >= rank[:-1]
    for column in (sample, layer):
        ahead = (column[1:] > column[:-1]) | ((column[1:] == column[:-1]) & ahead)
    return bool(ahead.all())


def nearest_path(nearest: pd.DataFrame, samples: pd.DataFrame, sample: int) -> pd.DataFrame:
    """Name the nearest neighbor of one sample at every layer, in network order.

    Parameters
    ----------
    nearest : DataFrame
        As returned by `nearest_by_layer`.
    samples : DataFrame
        The table `samples`, with short class names.
    sample : int
        The number of the sample.

    Returns
    -------
    DataFrame
        layer, nearest, nearest_id, nearest_source, nearest_class, distance, same_label.
    """
    rows = nearest[nearest["sample"] == sample]
    names = rows_of_samples(samples, rows["nearest"])[["id", "source", "class_name"]]
    names.columns = pd.Index(["nearest_id", "nearest_source", "nearest_class"])
    columns = ["layer", "nearest", *names.columns, "distance", "same_label"]
    path = rows.join(names, on="nearest")[columns].reset_index(drop=True)
    return path.assign(layer=path["layer"].astype(str))


def rows_of_samples(samples: pd.DataFrame, numbers: pd.Series) -> pd.DataFrame:
    """Return some rows of the table `samples`, indexed by sample; much faster than indexing all of a large study."""
    return samples[samples["sample"].isin(numbers)].set_index("sample").astype(object)


def sample_summaries(agrees: pd.DataFrame) -> pd.DataFrame:
    """Summarize at which layers each sample's nearest neighbor has its label.

    Parameters
    ----------
    agrees : DataFrame
        Of `core.analysis.samples.path_arrays.PathArrays.agreement`, with at least one layer.

    Returns
    -------
    DataFrame
        Indexed by sample.

        - fate, one of `SUMMARIES`: the nearest neighbor has the sample's label at every layer (always); not at every
          layer, but at the last one (gained); at some layer, but not at the last one (lost); at no layer (never).
        - first: the first layer at which it has; null where there is none.
        - settled: the first layer from which on it has, up to the last layer; null where there is none.
        - share: of the layers at which it has.
    """
    values, layers = agrees.to_numpy(), agrees.columns.to_numpy(object)
    ever, last = values.any(axis=1), values[:, -1]
    num_settled = np.logical_and.accumulate(values[:, ::-1], axis=1).sum(axis=1)  # agreeing layers at the end
    settled = np.minimum(len(layers) - num_settled, len(layers) - 1)
    return pd.DataFrame(
        {
            "fate": np.select([values.all(axis=1), last, ever], SUMMARIES[:3], SUMMARIES[3]),
            "first": np.where(ever, layers[values.argmax(axis=1)], None),
            "settled": np.where(last, layers[settled], None),
            "share": values.mean(axis=1),
        },
        index=agrees.index,
    )
