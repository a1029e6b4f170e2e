"""What a study's stored neighbors say beyond SI: duplicates, hubs, and which classes run into each other."""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from core.data.sampling import name_some
from core.measures.related.neighbor_overlap import hub_skewness
from core.study.store.class_names import sample_classes
from core.study.store.lookup import check_layers, check_pooling, check_split, stored_pooling
from core.study.store.opening import Study, StudyError


def stored_neighbors(study: Study, layer: str, pooling: str, split: str, *, among: str | None = None) -> pd.DataFrame:
    """The neighbors of one split's samples at one layer, in the order of samples and ranks.

    Parameters
    ----------
    study, layer, pooling, split : what to look up; a layer without space, stored as `flat`, stands for both poolings.
    among : the split of the neighbors; default the samples' own. "train" with split "test" gives test-to-train.

    Raises
    ------
    StudyError
        The study has no such layer, pooling or split, or stores no such neighbors; the message says what it has.
    """
    check_split(study, split)
    check_split(study, among or split, "among")
    pooling = stored_pooling(study, layer, pooling)
    place = {"layer": layer, "pooling": pooling, "split": split, "nearest_split": among or split}
    found = study.table("neighbors", filters=[(column, "==", value) for column, value in place.items()])
    if found.empty:
        raise StudyError(
            f"The study in {study.path} stores no neighbors of {layer!r}, {pooling!r}, {split!r} among "
            f"{among or split!r}. {_stored_words(study)}"
        )
    return found.sort_values(["sample", "rank"], ignore_index=True)


def read_nearest(
    study: Study, layers: Sequence[str], pooling: str, split: str, *, among: str | None = None
) -> dict[str, pd.DataFrame]:
    """The nearest neighbor of each sample at some layers, reading no more of the table than that.

    A layer without space, stored as `flat`, stands for both poolings.

    Returns
    -------
    From layer to a DataFrame of sample, nearest, agrees, in the order of samples; without the layers that the study
    stores no neighbors of.

    Raises
    ------
    StudyError
        The study has no such layer, pooling or split.
    """
    check_layers(study, layers)
    check_pooling(study, pooling)
    check_split(study, split)
    check_split(study, among or split, "among")
    filters = [("layer", "in", list(layers)), ("split", "==", split), ("nearest_split", "==", among or split)]
    columns = ["layer", "pooling", "sample", "nearest", "agrees"]
    rows = study.table("neighbors", columns, [*filters, ("rank", "==", 1)]) if len(layers) else pd.DataFrame()
    if rows.empty:
        return {}
    flat_only = study.layers.loc[study.layers["output_shape"].map(len) <= 1, "layer"]
    rows = rows[(rows["pooling"] == pooling) | rows["layer"].isin(flat_only)].sort_values("sample", kind="stable")
    groups = rows.drop(columns="pooling").groupby("layer", observed=True)
    return {str(layer): group.drop(columns="layer").reset_index(drop=True) for layer, group in groups}


def duplicates(study: Study, layer: str, pooling: str, *, within: float = 0.0) -> pd.DataFrame:
    """Pairs of samples that a layer cannot tell apart, or hardly, within and across the splits.

    A pair is listed where one is among the other's stored neighbors at a distance of at most `within` times the median
    distance to the nearest neighbor. So 0 lists exact duplicates (of the activations; the images may differ), 0.1
    near-duplicates. Where more samples coincide than neighbors are stored, not every pair of them is listed.

    Parameters
    ----------
    study, layer, pooling : what to look up. `input`, where the study has it, compares the images themselves; a layer
        without space, stored as `flat`, stands for both poolings.
    within : share of the median nearest distance, at least 0.

    Returns
    -------
    DataFrame
        One row a pair, nearest first: first, second (samples; first < second), first_split, second_split, distance,
        same_class.

    Raises
    ------
    StudyError
        The study has no such layer or pooling, or stores no neighbors of it; the message says what it has.
    """
    if within < 0:
        raise ValueError(f"within must be at least 0; got {within}. 0 lists exact duplicates, 0.1 near ones.")
    pooling = stored_pooling(study, layer, pooling)
    table = study.table("neighbors", filters=[("layer", "==", layer), ("pooling", "==", pooling)])
    if table.empty:
        raise StudyError(
            f"The study in {study.path} stores no neighbors of {layer!r}, {pooling!r}. {_stored_words(study)}"
        )
    limit = within * float(table.loc[table["rank"] == 1, "distance"].median())
    close = table[table["distance"] <= limit]
    pairs = pd.DataFrame(
        {
            "first": np.minimum(close["sample"], close["nearest"]),
            "second": np.maximum(close["sample"], close["nearest"]),
            "distance": close["distance"],
            "same_class": close["agrees"],
        }
    ).drop_duplicates(["first", "second"])
    splits = study.samples.set_index("sample")["split"].astype(str)
    pairs.insert(2, "first_split", splits.reindex(pairs["first"]).to_numpy())
    pairs.insert(3, "second_split", splits.reindex(pairs["second"]).to_numpy())
    return pairs.sort_values(["distance", "first", "second"], ignore_index=True)


def _stored_words(study: Study) -> str:
    """Which layers a study stores neighbors of."""
    layers = study.table("neighbors", ["layer"])["layer"].astype(str).unique().tolist()
    return f"It has those of {name_some(layers)}." if layers else "It has none at all."


def hubness(study: Study, layer: str, pooling: str, split: str) -> tuple[pd.Series, float]:
    """How often each sample is a nearest neighbor, and the skewness of that number over the samples.

    A skewness far above 0 means hubs: a few samples are nearest to many, and errors about them count many times
    (Radovanović et al. 2010, who define it so for the k nearest; here k = 1).

    Returns
    -------
    (counts, skewness) : a Series from sample to how often it is nearest, over all samples of the split; a float, nan
    where all counts are equal.
    """
    nearest = stored_neighbors(study, layer, pooling, split).query("rank == 1")["nearest"]
    members = study.samples.loc[study.samples["split"] == split, "sample"]
    counts = nearest.value_counts().reindex(members, fill_value=0)
    return counts, hub_skewness(counts)


def confusion(study: Study, layer: str, pooling: str, split: str, *, among: str | None = None) -> pd.DataFrame:
    """Which class each class's samples have as their nearest neighbor.

    Returns
    -------
    DataFrame
        Counts of shape (classes, classes) by class name: row the samples' class, column their neighbors'. The diagonal
        over the row sums is the SI of each class.
    """
    nearest = stored_neighbors(study, layer, pooling, split, among=among).query("rank == 1")
    names = sample_classes(study.samples)
    classes = pd.Index(sorted(names.unique()), name="class_name")
    own, other = (pd.Categorical(names.reindex(nearest[column]), classes) for column in ("sample", "nearest"))
    counts = pd.crosstab(own, other, dropna=False)
    return counts.rename_axis(index="class_name", columns="nearest_class")


def confused_pairs(study: Study, layer: str, pooling: str, split: str, *, among: str | None = None) -> pd.DataFrame:
    """Pairs of classes by how many samples of either have their nearest neighbor in the other one.

    This is what all doors call the most confused classes: the pair at the top is the one whose confusion costs SI most.
    Of pairs with equally many such samples the one with the larger share comes first, then the order of the names.

    Parameters
    ----------
    study, layer, split : what to look up.
    pooling : "mean" or "flat"; a layer without space, stored as `flat`, stands for both.
    among : the split of the neighbors; default the samples' own.

    Returns
    -------
    DataFrame
        One row a pair that is confused at least once: first, second (class names, first < second), count (samples of
        either whose nearest neighbor is of the other), of_first, of_second (the part of count that belongs to either),
        total (samples of both that were asked), share (count / total), chance (what share would be with meaningless
        labels).

    Raises
    ------
    StudyError
        The study stores no such neighbors.
    """
    nearest = read_nearest(study, [layer], pooling, split, among=among).get(layer)
    if nearest is None:
        nearest = stored_neighbors(study, layer, pooling, split, among=among).query("rank == 1")
    names = sample_classes(study.samples)
    own = names.reindex(nearest["sample"]).to_numpy(object)
    other = names.reindex(nearest["nearest"]).to_numpy(object)
    confused = own != other
    is_first = own < other
    rows = pd.DataFrame(
        {
            "first": np.where(is_first, own, other)[confused],
            "second": np.where(is_first, other, own)[confused],
            "of_first": is_first[confused].astype(int),
        }
    )
    pairs = rows.groupby(["first", "second"], as_index=False).agg(
        count=("of_first", "size"), of_first=("of_first", "sum")
    )
    pairs["of_second"] = pairs["count"] - pairs["of_first"]
    asked = pd.Series(own, dtype=object).value_counts()
    first_asked, second_asked = (pairs[name].map(asked).fillna(0).astype(int) for name in ("first", "second"))
    pairs["total"] = first_asked + second_asked
    pairs["share"] = pairs["count"] / pairs["total"]
    in_split = (study.samples["split"] == (among or split)).to_numpy()
    possible = names[in_split].value_counts()
    first_possible, second_possible = (pairs[name].map(possible).astype(float) for name in ("first", "second"))
    expected = first_asked * second_possible + second_asked * first_possible
    others = in_split.sum() - (among is None or among == split)  # a sample is not its own neighbor
    pairs["chance"] = expected / others / pairs["total"]
    order = ["count", "share", "first", "second"]
    return pairs.sort_values(order, ascending=[False, False, True, True], ignore_index=True)
