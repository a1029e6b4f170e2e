"""Neighbor overlap of a study's layers with each other, or with those of another study, from stored neighbors."""

from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from core.analysis.comparing import check_same_samples
from core.measures.related.neighbor_overlap import NeighborSets, Overlap
from core.measures.related.neighbor_overlap import neighbor_overlap as overlap_of
from core.study.store.lookup import check_pooling, check_split
from core.study.store.opening import Study, StudyError

COLUMNS = ["layer", "other_layer", "position", "other_position", "value", "chance", "z", "k", "num_samples"]


def neighbor_overlap(
    study: Study, other: Study | None = None, *, split: str = "test", pooling: str = "mean", k: int | None = None
) -> pd.DataFrame:
    """How many nearest neighbors samples have in common, layer × layer or network × network.

    Parameters
    ----------
    study : with stored neighbors. other : another study of the same samples; default the study itself.
    split, pooling : which neighbors, within the split; layers without space, stored as `flat`, count in both poolings.
    k : nearest neighbors to compare; default as many as both store.

    Returns
    -------
    DataFrame
        One row a pair of layers: layer (of `study`), other_layer, position, other_position, value (mean share in
        common, 0 to 1), chance (k/(n − 1)), z (with the exact spread where samples are renamed; null where not all
        samples of the split were asked), k, num_samples. Within one study both directions of a pair are there, and the
        diagonal.

    Raises
    ------
    StudyError
        The studies are of different samples, or one stores no such neighbors, or fewer than k.
    """
    for part in (study, other or study):
        check_split(part, split)
        check_pooling(part, pooling)
    if other is not None:
        check_same_samples(study, other, splits=(split,))
    parts = [_stored(part, split, pooling) for part in (study, other or study)]
    stored = min(part["rank"].max() for part in parts)
    if k is not None and not 1 <= k <= stored:
        raise StudyError(f"k must be from 1 to {stored}, the neighbors stored a sample; got {k}. Ask for fewer.")
    sets = [_sets(part, one, split, k or stored) for part, one in zip(parts, (study, other or study), strict=True)]
    found = _pairs(*sets) if other is not None else _symmetric(sets[0])
    rows = [
        {"layer": layer, "other_layer": other_layer, "z": one.z}
        | {"value": one.value, "chance": one.chance, "k": one.k, "num_samples": one.num_samples}
        for (layer, other_layer), one in found.items()
    ]
    table = pd.DataFrame(rows)
    for column, part in (("position", study), ("other_position", other or study)):
        name = column.replace("position", "layer")
        table[column] = table[name].map(part.layers.set_index("layer")["position"])
    return table.sort_values(["position", "other_position"], ignore_index=True)[COLUMNS]


def _stored(study: Study, split: str, pooling: str) -> pd.DataFrame:
    """The neighbors within a split, of one pooling."""
    columns = ["layer", "pooling", "sample", "rank", "nearest"]
    filters: list[tuple[str, str, Any]] = [("split", "==", split), ("nearest_split", "==", split)]
    rows = study.table("neighbors", columns, filters)
    flat_only = study.layers.loc[study.layers["output_shape"].map(len) <= 1, "layer"]
    rows = rows[(rows["pooling"] == pooling) | rows["layer"].isin(flat_only)]
    if rows.empty:
        raise StudyError(
            f"The study in {study.path} stores no neighbors of {split} samples, {pooling}. Choose what it has."
        )
    return rows


def _sets(rows: pd.DataFrame, study: Study, split: str, k: int) -> dict[str, NeighborSets]:
    """By layer; samples are numbered within the split."""
    members = np.sort(study.samples.loc[study.samples["split"] == split, "sample"].to_numpy())
    rows = rows[rows["rank"] <= k].sort_values(["sample", "rank"])
    found = {}
    for layer, part in rows.groupby("layer", observed=True):
        nearest: NDArray[np.int64] = np.searchsorted(members, part["nearest"].to_numpy().reshape(-1, k))
        asked = np.searchsorted(members, part["sample"].to_numpy()[::k])
        found[str(layer)] = NeighborSets.of(nearest, rows=asked, num_samples=len(members))
    return found


def _pairs(first: dict[str, NeighborSets], second: dict[str, NeighborSets]) -> dict[tuple[str, str], Overlap]:
    return {(a, b): overlap_of(one, other) for a, one in first.items() for b, other in second.items()}


def _symmetric(sets: dict[str, NeighborSets]) -> dict[tuple[str, str], Overlap]:
    """Each pair once computed, and there in both directions."""
    names = list(sets)
    half = {(a, b): overlap_of(sets[a], sets[b]) for place, a in enumerate(names) for b in names[place:]}
    return half | {(b, a): one for (a, b), one in half.items()}
