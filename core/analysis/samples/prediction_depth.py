"""Prediction depth: the layer from which on the vote of a sample's nearest neighbors no longer changes."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from core.analysis.samples.paths import neighbors_by_layer
from core.study.store.opening import Study

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
    """Prediction depth of each sample of a split (Baldock, Maennel and Neyshabur 2021, arXiv 2106.09647).

    Training samples vote leave-one-out: their stored neighbors never hold the sample itself. Test samples are judged by
    their nearest training samples where the study stores these, else by the other test samples. The paper has 30
    neighbors vote, a study stores 10 unless told otherwise; with one, it is the nearest neighbor's class that settles.

    Parameters
    ----------
    study, pooling, split : what to look up; a layer without space, stored as `flat`, stands for `mean` too.
    among : the split of the neighbors; default as said above.
    k : neighbors that vote, at least 1; default, or where the study stores fewer, as many as there are.
    layers : only these are asked; default all.

    Returns
    -------
    DataFrame
        As `depths`; empty where the study stores no such neighbors.

    Raises
    ------
    ValueError
        `k` is less than 1; the study has no such layer, pooling or split.
    """
    if k is not None and k < 1:
        raise ValueError(f"k must be at least 1; got {k}. 1 asks the nearest neighbor alone.")
    names = study.samples.set_index("sample")["class_name"].astype(str)
    there = set(study.samples["split"].astype(str))
    others = [name for name in dict.fromkeys(["train", split]) if name == split or name in there]
    for split_asked in [among] if among else others:
        neighbors = neighbors_by_layer(study, pooling, split, among=split_asked, k=k, layers=layers)
        if len(neighbors):
            break
    return depths(votes(neighbors, names), names)


def votes(neighbors: pd.DataFrame, names: pd.Series) -> pd.DataFrame:
    """The class that most of a sample's neighbors name, at every layer.

    Of classes with equally many, the one whose nearest member is nearest wins; so two neighbors vote as the first.

    Parameters
    ----------
    neighbors : of `neighbors_by_layer`, in its order. names : class name by sample.

    Returns
    -------
    DataFrame
        Class names, of shape (samples, layers), in network order; without the samples that some layer did not ask.
    """
    layers = list(dict.fromkeys(neighbors["layer"]))
    if not layers:
        return pd.DataFrame(index=pd.Index([], name="sample"))
    classes = pd.Categorical(names)
    codes = pd.Series(classes.codes.astype(np.int32), names.index)
    layer, sample = pd.Categorical(neighbors["layer"], layers).codes, neighbors["sample"].to_numpy()
    begins = np.append(True, (layer[1:] != layer[:-1]) | (sample[1:] != sample[:-1]))
    ballots = np.full((int(begins.sum()), int(neighbors["rank"].max())), -1, dtype=np.int32)
    ballots[np.cumsum(begins) - 1, neighbors["rank"].to_numpy() - 1] = codes.reindex(neighbors["nearest"])
    vote = classes.categories.to_numpy(object)[_majority(ballots)]
    table = pd.DataFrame({"sample": sample[begins], "layer": layer[begins], "vote": vote})
    wide = table.set_index(["sample", "layer"])["vote"].unstack()  # noqa: PD010 - there is nothing to aggregate
    return wide.dropna().set_axis(layers, axis="columns")


def depths(voted: pd.DataFrame, names: pd.Series) -> pd.DataFrame:
    """The depth from which on each sample's vote stays what it is at the last layer.

    Parameters
    ----------
    voted : of `votes`. names : class name by sample.

    Returns
    -------
    DataFrame
        By sample: depth, the number of layers before that one, from 0 (the vote is the same at all layers) to one less
        than there are (it changed at the last layer); layer, that one's name; prediction, the vote at the last layer;
        correct, whether that is the sample's class; settled, False for a sample whose vote changed at the last layer,
        of which nobody knows whether it would have changed again.
    """
    if voted.empty:
        return pd.DataFrame(columns=COLUMNS, index=pd.Index([], name="sample"))
    values = voted.to_numpy(object)
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


def _majority(ballots: NDArray[np.int32]) -> NDArray[np.int32]:
    """The most frequent code of each row; of equally frequent ones, the first in the row; -1 is no code."""
    counts = np.stack([(ballots == ballots[:, [at]]).sum(axis=1) for at in range(ballots.shape[1])], axis=1)
    best = np.where(ballots >= 0, counts, 0).argmax(axis=1)
    return np.asarray(ballots[np.arange(len(ballots)), best])
