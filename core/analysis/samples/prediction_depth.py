"""Prediction depth: the layer from which on a kNN prediction of a sample's class no longer changes."""

from collections.abc import Sequence
from typing import Any, TypeVar

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from core.analysis.samples.paths import neighbors_by_layer
from core.study.store.opening import Study
from core.study.store.tables.class_names import sample_classes

Codes = TypeVar("Codes", bound=np.integer[Any])

COLUMNS = ["depth", "layer", "prediction", "correct", "settled"]


def prediction_depth(
    study: Study,
    pooling: str,
    split: str,
    *,
    among: str | None = None,
    k: int | None = None,
    layers: Sequence[str] | None = None,
) -> pd.DataFrame:
    """Return the prediction depth of each sample of a split (Baldock, Maennel and Neyshabur 2021, arXiv 2106.09647).

    Neighbors of training samples are other training samples, never the sample itself. Neighbors of test samples are
    training samples where the study stores these, otherwise other test samples. In the paper, 30 neighbors vote; a
    study stores 10 by default. With k = 1, the prediction is the class of the nearest neighbor.

    Parameters
    ----------
    study : Study
    pooling : {"mean", "flat"}
        Layers without spatial extent, stored as `flat`, are part of both.
    split : {"test", "train"}
        The split of the samples.
    among : {"test", "train"}, optional
        The split of the neighbors; default as described above.
    k : int, optional
        Number of neighbors that vote, at least 1. The default, and the maximum, is the number that the study stores.
    layers : sequence of str, optional
        The only layers to use; default all.

    Returns
    -------
    DataFrame
        As returned by `depths`; empty where the study stores no such neighbors.

    Raises
    ------
    ValueError
        `k` is less than 1.
    StudyError
        The study has no such layer, pooling or split.
    """
    if k is not None and k < 1:
        raise ValueError(f"k must be at least 1; got {k}. With 1, the nearest neighbor alone decides.")
    names = sample_classes(study.samples)
    if among:
        neighbor_splits = [among]
    elif split == "train" or "train" not in set(study.samples["split"].astype(str)):
        neighbor_splits = [split]
    else:
        neighbor_splits = ["train", split]
    for neighbor_split in neighbor_splits:
        neighbors = neighbors_by_layer(study, pooling, split, among=neighbor_split, k=k, layers=layers)
        if len(neighbors):
            break
    return depths(votes(neighbors, names), names)


def votes(neighbors: pd.DataFrame, names: pd.Series) -> pd.DataFrame:
    """Return the most frequent class among each sample's neighbors, at every layer.

    Of equally frequent classes, the one with the nearest neighbor is chosen; so two neighbors vote like the first one.

    Parameters
    ----------
    neighbors : DataFrame
        As returned by `neighbors_by_layer`, in its order.
    names : Series of str
        Class name by sample.

    Returns
    -------
    DataFrame of str, shape (samples, layers)
        Class names, with layers in network order. Samples that are not queries at every layer are left out.
    """
    layers = list(dict.fromkeys(neighbors["layer"]))
    if not layers:
        return pd.DataFrame(index=pd.Index([], name="sample"))
    classes = pd.Categorical(names)
    codes = pd.Series(classes.codes.astype(np.int32), names.index)
    layer, sample = pd.Categorical(neighbors["layer"], layers).codes, neighbors["sample"].to_numpy()
    is_first = np.append(True, (layer[1:] != layer[:-1]) | (sample[1:] != sample[:-1]))  # of its layer and sample
    ballots = np.full((int(is_first.sum()), int(neighbors["rank"].max())), -1, dtype=np.int32)
    ballots[np.cumsum(is_first) - 1, neighbors["rank"].to_numpy() - 1] = codes.reindex(neighbors["nearest"])
    vote = classes.categories.to_numpy(object)[majority(ballots)]
    table = pd.DataFrame({"sample": sample[is_first], "layer": layer[is_first], "vote": vote})
    wide = table.set_index(["sample", "layer"])["vote"].unstack()  # noqa: PD010 - there is nothing to aggregate
    return wide.dropna().set_axis(layers, axis="columns")


def depths(voted: pd.DataFrame, names: pd.Series) -> pd.DataFrame:
    """Return the depth from which on each sample's vote is the same as at the last layer.

    Parameters
    ----------
    voted : DataFrame
        As returned by `votes`.
    names : Series of str
        Class name by sample.

    Returns
    -------
    DataFrame
        Indexed by sample.

        - depth: the number of layers before the one from which on the vote stays the same, from 0 (it is the same at
          all layers) to the number of layers minus 1 (it changed at the last layer).
        - layer: the name of that layer.
        - prediction: the vote at the last layer.
        - correct: whether the prediction is the sample's class.
        - settled: False where the vote changed at the last layer, so that it might have changed again after it.
    """
    if voted.empty:
        return pd.DataFrame(columns=COLUMNS, index=pd.Index([], name="sample"))
    values = voted.to_numpy()
    same = values == values[:, -1:]
    depth = len(voted.columns) - np.logical_and.accumulate(same[:, ::-1], axis=1).sum(axis=1)
    return pd.DataFrame(
        {
            "depth": depth,
            "layer": voted.columns.to_numpy(object)[depth],
            "prediction": values[:, -1],
            "correct": values[:, -1] == names.reindex(voted.index).to_numpy(object),
            "settled": (depth < len(voted.columns) - 1) | (len(voted.columns) == 1),
        },
        index=voted.index,
    )


def majority(ballots: NDArray[Codes]) -> NDArray[Codes]:
    """Return the most frequent code of each row, and of equally frequent ones the first.

    Parameters
    ----------
    ballots : np.ndarray of int, shape (n, k)
        Entries of -1 are empty.

    Returns
    -------
    np.ndarray, shape (n,)
    """
    ranks = np.ascontiguousarray(ballots.T)
    counts = (ranks >= 0).astype(np.int16)
    for later in range(1, len(ranks)):
        for earlier in range(later):
            same = (ranks[earlier] == ranks[later]) & (ranks[later] >= 0)
            counts[earlier] += same
            counts[later] += same
    return np.asarray(ballots[np.arange(len(ballots)), counts.argmax(axis=0)])
