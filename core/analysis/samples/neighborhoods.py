"""Read a study's stored neighbors, and find duplicates, hubs and confused classes in them."""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from core.analysis.curves import has_pooling, pooling_filters
from core.analysis.samples.selection import layers_with_neighbors
from core.data.sampling import name_some
from core.measures.related.neighbor_overlap import hub_skewness
from core.study.store.filtering import Filter
from core.study.store.lookup import check_layers, check_pooling, check_split, stored_pooling
from core.study.store.opening import Study, StudyError
from core.study.store.tables.class_names import sample_classes


def stored_neighbors(study: Study, layer: str, pooling: str, split: str, *, among: str | None = None) -> pd.DataFrame:
    """Read the neighbors of one split's samples at one layer, sorted by sample and rank.

    Parameters
    ----------
    study : Study
    layer : str
    pooling : {"mean", "flat"}
        A layer without spatial extent, stored as `flat`, is found under both.
    split : {"test", "train"}
        The split of the samples.
    among : {"test", "train"}, optional
        The split of the neighbors; default that of the samples. "train" with split "test" gives the nearest training
        samples of the test samples.

    Raises
    ------
    StudyError
        The study has no such layer, pooling or split, or stores no such neighbors; the message says what it has.
    """
    check_split(study, split)
    check_split(study, among or split, "among")
    pooling = stored_pooling(study, layer, pooling)
    selection = {"layer": layer, "pooling": pooling, "split": split, "nearest_split": among or split}
    neighbors = study.table("neighbors", filters=[(column, "==", value) for column, value in selection.items()])
    if neighbors.empty:
        raise StudyError(
            f"The study in {study.path} stores no neighbors of {layer!r}, {pooling!r}, {split!r} among "
            f"{among or split!r}. {_stored_instead(study, pooling, split, among or split)}"
        )
    return neighbors.sort_values(["sample", "rank"], ignore_index=True)


def read_nearest(
    study: Study, layers: Sequence[str], pooling: str, split: str, *, among: str | None = None
) -> dict[str, pd.DataFrame]:
    """Read the nearest neighbor of each sample at some layers, and no other rows of the table.

    Parameters
    ----------
    study : Study
    layers : sequence of str
    pooling, split, among
        As in `stored_neighbors`.

    Returns
    -------
    dict
        From layer to a DataFrame with the columns sample, nearest, same_label, sorted by sample. Layers whose neighbors
        the study does not store are missing.

    Raises
    ------
    StudyError
        The study has no such layer, pooling or split.
    """
    check_layers(study, layers)
    check_pooling(study, pooling)
    check_split(study, split)
    check_split(study, among or split, "among")
    filters: list[Filter] = [("layer", "in", list(layers)), ("split", "==", split)]
    filters += [("nearest_split", "==", among or split), ("rank", "==", 1)]
    columns = ["layer", "pooling", "sample", "nearest", "same_label"]
    of_pooling = pooling_filters(filters, study.layers, pooling)
    rows = study.table("neighbors", columns, of_pooling) if len(layers) else pd.DataFrame()
    if rows.empty:
        return {}
    rows = rows[has_pooling(rows, study.layers, pooling)].sort_values("sample", kind="stable")
    groups = rows.drop(columns="pooling").groupby("layer", observed=True)
    return {str(layer): group.drop(columns="layer").reset_index(drop=True) for layer, group in groups}


def duplicates(study: Study, layer: str, pooling: str, *, within: float = 0.0) -> pd.DataFrame:
    """Return pairs of samples with equal or nearly equal activations, within and across the splits.

    A pair is listed where one sample is among the stored neighbors of the other, at a distance of at most `within`
    times the median distance to the nearest neighbor. So 0 lists exact duplicates (of the activations; the images may
    differ), 0.1 near-duplicates. Where more samples coincide than neighbors are stored, some pairs are missing.

    Parameters
    ----------
    study : Study
    layer : str
        The layer `input`, where the study has it, compares the images themselves.
    pooling : {"mean", "flat"}
        A layer without spatial extent, stored as `flat`, is found under both.
    within : float
        Share of the median distance to the nearest neighbor, at least 0.

    Returns
    -------
    DataFrame
        One row a pair, nearest first: first, second (samples; first < second), first_split, second_split, distance,
        same_class.

    Raises
    ------
    StudyError
        The study has no such layer or pooling, or stores no neighbors of it; the message says what it has.
    ValueError
        `within` is negative.
    """
    if within < 0:
        raise ValueError(f"within must be at least 0; got {within}. 0 lists exact duplicates, 0.1 near ones.")
    pooling = stored_pooling(study, layer, pooling)
    table = study.table("neighbors", filters=[("layer", "==", layer), ("pooling", "==", pooling)])
    if table.empty:
        there = stored_layers_text(layers_with_neighbors(study))
        raise StudyError(f"The study in {study.path} stores no neighbors of {layer!r}, {pooling!r}. {there}")
    limit = within * float(table.loc[table["rank"] == 1, "distance"].median())
    close = table[table["distance"] <= limit]
    pairs = pd.DataFrame(
        {
            "first": np.minimum(close["sample"], close["nearest"]),
            "second": np.maximum(close["sample"], close["nearest"]),
            "distance": close["distance"],
            "same_class": close["same_label"],
        }
    ).drop_duplicates(["first", "second"])
    splits = study.samples.set_index("sample")["split"].astype(str)
    pairs.insert(2, "first_split", splits.reindex(pairs["first"]).to_numpy())
    pairs.insert(3, "second_split", splits.reindex(pairs["second"]).to_numpy())
    return pairs.sort_values(["distance", "first", "second"], ignore_index=True)


def stored_layers_text(layers: Sequence[str]) -> str:
    """The layers whose neighbors a study stores, as a sentence. layers : of `layers_with_neighbors`."""
    if not layers:
        return "It has none at all."
    return f"It has those of {name_some(layers)}. Choose {'one of them' if len(layers) > 1 else 'it'}."


def _stored_instead(study: Study, pooling: str, split: str, among: str) -> str:
    """The layers of which the same neighbors are stored, as a sentence; or that there are none of any layer."""
    of_samples: list[Filter] = [("split", "==", split), ("nearest_split", "==", among), ("rank", "==", 1)]
    rows = study.table("neighbors", ["layer"], pooling_filters(of_samples, study.layers, pooling))
    if rows.empty and layers_with_neighbors(study):
        return "It has these of no layer. Choose another split or pooling."
    return stored_layers_text(rows["layer"].astype(str).unique().tolist())


def hubness(study: Study, layer: str, pooling: str, split: str) -> tuple[pd.Series, float]:
    """Return how often each sample is a nearest neighbor, and the skewness of that number over the samples.

    A skewness far above 0 means that there are hubs: a few samples are the nearest neighbor of many others, and errors
    in their labels count many times (Radovanović et al. 2010, for the k nearest neighbors; here k = 1).

    Parameters
    ----------
    study, layer, pooling, split
        As in `stored_neighbors`.

    Returns
    -------
    counts : Series of int
        By sample of the split, how often it is a nearest neighbor.
    skewness : float
        nan where all counts are equal.
    """
    nearest = stored_neighbors(study, layer, pooling, split).query("rank == 1")["nearest"]
    members = study.samples.loc[study.samples["split"] == split, "sample"]
    counts = nearest.value_counts().reindex(members, fill_value=0)
    return counts, hub_skewness(counts)


def confusion(study: Study, layer: str, pooling: str, split: str, *, among: str | None = None) -> pd.DataFrame:
    """Return the confusion matrix of the nearest neighbor's class.

    Parameters
    ----------
    study, layer, pooling, split, among
        As in `stored_neighbors`.

    Returns
    -------
    DataFrame
        Counts of shape (classes, classes): rows are the classes of the samples, columns those of their nearest
        neighbors. The diagonal divided by the row sums is the SI of each class.
    """
    nearest = stored_neighbors(study, layer, pooling, split, among=among).query("rank == 1")
    names = sample_classes(study.samples)
    classes = pd.Index(sorted(names.unique()), name="class_name")
    sample_class = pd.Categorical(names.reindex(nearest["sample"]), classes)
    nearest_class = pd.Categorical(names.reindex(nearest["nearest"]), classes)
    counts = pd.crosstab(sample_class, nearest_class, dropna=False)
    return counts.rename_axis(index="class_name", columns="nearest_class")


def confused_pairs(study: Study, layer: str, pooling: str, split: str, *, among: str | None = None) -> pd.DataFrame:
    """Return pairs of classes by the number of samples of either whose nearest neighbor is of the other.

    Command line, pages and report all use this order: the first pair, the most confused classes, is the one whose
    confusion lowers SI most. Pairs with the same number are ordered by share, the larger first, then by name.

    Parameters
    ----------
    study, layer, pooling, split, among
        As in `stored_neighbors`.

    Returns
    -------
    DataFrame
        One row for each pair that is confused at least once: first, second (class names, first < second), count
        (samples of either class whose nearest neighbor is of the other), of_first, of_second (count by the class of the
        sample), total (queries of both classes), share (count / total), chance (what share would be with meaningless
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
    sample_class = names.reindex(nearest["sample"]).to_numpy(object)
    nearest_class = names.reindex(nearest["nearest"]).to_numpy(object)
    confused = sample_class != nearest_class
    is_first = sample_class < nearest_class
    rows = pd.DataFrame(
        {
            "first": np.where(is_first, sample_class, nearest_class)[confused],
            "second": np.where(is_first, nearest_class, sample_class)[confused],
            "of_first": is_first[confused].astype(int),
        }
    )
    pairs = rows.groupby(["first", "second"], as_index=False).agg(
        count=("of_first", "size"), of_first=("of_first", "sum")
    )
    pairs["of_second"] = pairs["count"] - pairs["of_first"]
    query_counts = pd.Series(sample_class, dtype=object).value_counts()
    first_queries, second_queries = (
        pairs[name].map(query_counts).fillna(0).astype(int) for name in ("first", "second")
    )
    pairs["total"] = first_queries + second_queries
    pairs["share"] = pairs["count"] / pairs["total"]
    in_split = (study.samples["split"] == (among or split)).to_numpy()
    possible_counts = names[in_split].value_counts()
    first_possible, second_possible = (pairs[name].map(possible_counts).astype(float) for name in ("first", "second"))
    expected = first_queries * second_possible + second_queries * first_possible
    num_possible = in_split.sum() - (among is None or among == split)  # a sample is not its own neighbor
    pairs["chance"] = expected / num_possible / pairs["total"]
    order = ["count", "share", "first", "second"]
    return pairs.sort_values(order, ascending=[False, False, True, True], ignore_index=True)
