"""Samples followed through the layers: when their nearest neighbor is of their class, and which labels look wrong."""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from core.study.results import Study

FATES = ("always", "gained", "lost", "never")
LATE = 5  # layers at the end, which are asked about labels


def nearest_by_layer(
    study: Study, pooling: str, split: str, *, among: str | None = None, layers: Sequence[str] | None = None
) -> pd.DataFrame:
    """Each sample's nearest neighbor at every layer.

    A layer without space is stored once, as `flat`; it stands here for `mean` too.

    Parameters
    ----------
    study, pooling, split : what to look up.
    among : the split of the neighbors; default the samples' own.
    layers : no more of the table is read than these; default all.

    Returns
    -------
    DataFrame
        layer, sample, nearest, distance, agrees; in network order, then by sample. Empty where nothing is stored.
    """
    columns = ["layer", "pooling", "sample", "nearest", "distance", "agrees"]
    filters = [("split", "==", split), ("nearest_split", "==", among or split), ("rank", "==", 1)]
    filters += [] if layers is None else [("layer", "in", list(layers))]
    table = study.table("neighbors", columns, filters)
    table = table.assign(layer=table["layer"].astype(str))
    position = study.layers.set_index("layer")["position"]
    once = study.layers.loc[study.layers["output_shape"].map(len) <= 1, "layer"]
    asked = table["pooling"] == pooling
    table = table[asked | (table["layer"].isin(once) & ~table["layer"].isin(table.loc[asked, "layer"].unique()))]
    table = table.assign(position=table["layer"].map(position)).dropna(subset=["position"])
    table = table.sort_values(["position", "sample"], kind="stable", ignore_index=True)
    return table[["layer", "sample", "nearest", "distance", "agrees"]]


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


def nearest_at_the_end(study: Study, pooling: str, split: str) -> pd.DataFrame:
    """`nearest_by_layer` of as many layers at the end as `label_errors` asks; reads little of a large study."""
    names = study.layers["layer"].tolist()
    for count in (LATE, 4 * LATE, len(names)):  # neighbors may be stored of some layers only
        nearest = nearest_by_layer(study, pooling, split, layers=names[-count:])
        if nearest["layer"].nunique() >= LATE:
            break
    return nearest


def label_errors(nearest: pd.DataFrame, samples: pd.DataFrame, *, at_least: float = 0.6) -> pd.DataFrame:
    """Samples that the late layers agree to place in another class: likely label errors, or images hard to tell.

    Asked are the last five layers, or as many as there are. A sample's score is the share of them at which its nearest
    neighbor is of one and the same other class. Equal scores go by how close these neighbors are. A candidate is a
    reason to look, not an error: at a network that does not separate the classes, most candidates are none.

    Parameters
    ----------
    nearest : rows of `nearest_by_layer`. samples : the table `samples`.
    at_least : the least score that is listed, more than 0.

    Returns
    -------
    DataFrame
        The most suspicious first: sample, id, split, class_name, suggested (the other class), score, layers (how many
        were asked), distance (mean distance to those neighbors over the layer's median).
    """
    if not 0 < at_least <= 1:
        raise ValueError(f"at_least must be more than 0 and at most 1; got {at_least}. 0.6 lists majorities.")
    late = list(dict.fromkeys(nearest["layer"]))[-LATE:]
    rows = nearest[nearest["layer"].isin(late)]
    names = samples.set_index("sample")["class_name"].astype(str)
    relative = rows["distance"] / rows.groupby("layer")["distance"].transform("median").replace(0, np.nan)
    rows = rows.assign(relative=relative, suggested=rows["nearest"].map(names))[~rows["agrees"].astype(bool)]
    votes = rows.groupby(["sample", "suggested"], as_index=False).agg(
        score=("layer", "count"), distance=("relative", "mean")
    )
    votes["score"] /= max(len(late), 1)
    order = ["score", "distance", "sample"]
    votes = votes[votes["score"] >= at_least].sort_values(order, ascending=[False, True, True])
    found = votes.drop_duplicates("sample").merge(samples, on="sample", how="left").assign(layers=len(late))
    columns = ["sample", "id", "split", "class_name", "suggested", "score", "layers", "distance"]
    return found[columns].astype({"split": str, "class_name": str})
