"""Neighbor overlap between layers: the share of stored nearest neighbors that samples have in common at two layers."""

from itertools import combinations_with_replacement, product

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from core.analysis.comparing import check_same_samples
from core.analysis.curves import has_pooling, pooling_filters
from core.analysis.result_tables import OVERLAPS, checked
from core.measures.related.neighbor_overlap import NeighborSets, Overlap
from core.measures.related.neighbor_overlap import neighbor_overlap as overlap_of
from core.study.store.filtering import Filter
from core.study.store.lookup import check_pooling, check_split, check_study
from core.study.store.opening import Study, StudyError


def neighbor_overlap(
    study: Study, other: Study | None = None, *, split: str = "test", pooling: str = "mean", k: int | None = None
) -> pd.DataFrame:
    """Return the neighbor overlap of each pair of layers, of one study or of two.

    Parameters
    ----------
    study : Study
        A study with stored neighbors.
    other : Study, optional
        Another study of the same samples; default the study itself.
    split : {"test", "train"}
        Which samples; their neighbors are of the same split.
    pooling : {"mean", "flat"}
        Which features; layers without spatial extent, stored as `flat`, count in both.
    k : int, optional
        Number of nearest neighbors to compare; default as many as both studies store.

    Returns
    -------
    DataFrame
        One row a pair of layers, in network order: layer (of `study`), other_layer, position, other_position, value
        (mean share of common neighbors, 0 to 1), chance (k/(n − 1)), z (by the exact variance under random renaming of
        the samples; null where not all samples of the split were queries), k, num_samples. Within one study, both
        directions of each pair and the diagonal are included.

    Raises
    ------
    StudyError
        The studies are of different samples, or one stores no such neighbors, or fewer than k.
    """
    studies = (study, other or study)
    for one_study in studies:
        check_study(one_study)
        check_split(one_study, split)
        check_pooling(one_study, pooling)
    if other is not None:
        check_same_samples(study, other, splits=(split,))
    neighbors = [_stored(part, split, pooling) for part in studies]
    most_stored = min(rows["rank"].max() for rows in neighbors)
    if k is not None and not 1 <= k <= most_stored:
        raise StudyError(f"k must be from 1 to {most_stored}, the neighbors stored a sample; got {k}. Ask for fewer.")
    sets = [_sets(rows, part, split, k or most_stored) for rows, part in zip(neighbors, studies, strict=True)]
    overlaps = _all_pairs(sets[0]) if other is None else _pairs(*sets)
    table = pd.DataFrame([_row(*layers, overlap) for layers, overlap in overlaps.items()])
    for prefix, part in zip(("", "other_"), studies, strict=True):
        positions = part.layers.set_index("layer")["position"]
        table[f"{prefix}position"] = table[f"{prefix}layer"].map(positions)
    return checked(table.sort_values(["position", "other_position"], ignore_index=True), OVERLAPS, "overlaps")


def _row(layer: str, other_layer: str, overlap: Overlap) -> dict[str, object]:
    return {
        "layer": layer,
        "other_layer": other_layer,
        "value": overlap.value,
        "chance": overlap.chance,
        "z": overlap.z,
        "k": overlap.k,
        "num_samples": overlap.num_samples,
    }


def _stored(study: Study, split: str, pooling: str) -> pd.DataFrame:
    """Read the neighbors within a split, of one pooling."""
    columns = ["layer", "pooling", "sample", "rank", "nearest"]
    filters: list[Filter] = [("split", "==", split), ("nearest_split", "==", split)]
    rows = study.table("neighbors", columns, pooling_filters(filters, study.layers, pooling))
    rows = rows[has_pooling(rows, study.layers, pooling)]
    if rows.empty:
        raise StudyError(
            f"The study in {study.path} stores no neighbors of {split} samples, {pooling}. Choose what it has."
        )
    return rows


def _sets(rows: pd.DataFrame, study: Study, split: str, k: int) -> dict[str, NeighborSets]:
    """The k nearest neighbors by layer, with samples numbered within the split."""
    members = np.sort(study.samples.loc[study.samples["split"] == split, "sample"].to_numpy())
    rows = rows[rows["rank"] <= k].sort_values(["sample", "rank"])
    sets = {}
    for layer, part in rows.groupby("layer", observed=True):
        nearest: NDArray[np.int64] = np.searchsorted(members, part["nearest"].to_numpy().reshape(-1, k))
        queries = np.searchsorted(members, part["sample"].to_numpy()[::k])
        sets[str(layer)] = NeighborSets.of(nearest, rows=queries, num_samples=len(members))
    return sets


def _pairs(first: dict[str, NeighborSets], second: dict[str, NeighborSets]) -> dict[tuple[str, str], Overlap]:
    """The overlap of each layer of one study with each layer of another."""
    return {(a, b): overlap_of(first[a], second[b]) for a, b in product(first, second)}


def _all_pairs(sets: dict[str, NeighborSets]) -> dict[tuple[str, str], Overlap]:
    """The overlap of each two layers of one study, computed once and entered in both directions."""
    overlaps = {}
    for first, second in combinations_with_replacement(sets, 2):
        overlaps[first, second] = overlaps[second, first] = overlap_of(sets[first], sets[second])
    return overlaps
