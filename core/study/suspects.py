"""Samples to look at: duplicates, likely label errors, and samples that a network finds hard."""

from typing import Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from core.study.journeys import neighbors_by_layer
from core.study.neighborhoods import duplicates
from core.study.results import Study

LATE = 20  # layers at the end, which are asked about labels
LIKELY = 0.9  # score of a label error that is worth counting
COLUMNS = ["sample", "id", "split", "class_name", "suggested", "score", "votes", "own_votes", "layers"]


def label_errors(neighbors: pd.DataFrame, samples: pd.DataFrame, *, at_least: float = 0.6) -> pd.DataFrame:
    """Samples whose neighbors at the late layers name another class: likely label errors, or images hard to tell.

    The last twenty layers vote, or as many as there are. At each, every stored neighbor of a sample has a vote for its
    own label, and so has every sample that has this one among its neighbors: a mislabelled sample is often a neighbor
    of those it belongs to. A layer's votes weigh as the square of its SI above chance, so that a layer at chance has
    none. The score is the share that the strongest other class has of its own and the label's votes together: 1 where
    nobody supports the label, 0.5 where both are even. A candidate is a reason to look, not an error.

    Parameters
    ----------
    neighbors : of `neighbors_by_layer`, from the layers that may vote. samples : the table `samples`.
    at_least : the least score that is listed, more than 0.

    Returns
    -------
    DataFrame
        The most suspicious first, equal scores by the votes for the other class: sample, id, split, class_name,
        suggested (the other class), score, votes and own_votes (for the other class and for the label, on average of a
        layer), layers (how many voted).
    """
    if not 0 < at_least <= 1:
        raise ValueError(f"at_least must be more than 0 and at most 1; got {at_least}. 0.6 lists clear majorities.")
    late = list(dict.fromkeys(neighbors["layer"]))[-LATE:]
    names = samples.set_index("sample")["class_name"].astype(str)
    tally = _tally(neighbors[neighbors["layer"].isin(late)], pd.Series(pd.Categorical(names), names.index))
    own = tally["class_name"].to_numpy(object) == names.reindex(tally["sample"]).to_numpy(object)
    others = tally[~own].sort_values(["votes", "class_name"], ascending=[False, True]).drop_duplicates("sample")
    found = others.rename(columns={"class_name": "suggested"}).merge(samples, on="sample", how="left")
    own_votes = tally[own].set_index("sample")["votes"].reindex(found["sample"]).fillna(0.0).to_numpy()
    found = found.assign(own_votes=own_votes, score=found["votes"] / (found["votes"] + own_votes), layers=len(late))
    found = found[found["score"] >= at_least]
    found = found.sort_values(["score", "votes", "sample"], ascending=[False, False, True], ignore_index=True)
    return found[COLUMNS].astype({"split": str, "class_name": str, "suggested": str})


def late_neighbors(study: Study, pooling: str, split: str, *, among: str | None = None) -> pd.DataFrame:
    """`neighbors_by_layer` of as many layers at the end as `label_errors` asks; reads little of a large study."""
    names = study.layers["layer"].tolist()
    neighbors = neighbors_by_layer(study, pooling, split, among=among, layers=names[-LATE:])
    if neighbors["layer"].nunique() < min(LATE, len(names)):  # neighbors may be stored of some layers only
        neighbors = neighbors_by_layer(study, pooling, split, among=among)
    return neighbors


def hard_samples(depths: pd.DataFrame, samples: pd.DataFrame) -> pd.DataFrame:
    """Samples by how late the network decides about them.

    Parameters
    ----------
    depths : of `core.study.depth.prediction_depth`. samples : the table `samples`.

    Returns
    -------
    DataFrame
        The latest first, of equally late ones those that end in a wrong class: sample, id, split, class_name, and the
        columns of `depths`.
    """
    known = samples.set_index("sample")[["id", "split", "class_name"]].astype(str)
    table = depths.join(known).reset_index()[["sample", *known, *depths]]
    return table.sort_values(["depth", "correct", "sample"], ascending=[False, True, True], ignore_index=True)


def duplicates_first(study: Study, layer: str, pooling: str, *, within: float = 0.0) -> pd.DataFrame:
    """`duplicates`, those of a training and a test sample first: they make every number about the test too high.

    Returns
    -------
    DataFrame
        The columns of `duplicates`, and across: whether the pair is of a training and a test sample.
    """
    pairs = duplicates(study, layer, pooling, within=within)
    pairs = pairs.assign(across=pairs["first_split"] != pairs["second_split"])
    return pairs.sort_values(["across", "distance", "first"], ascending=[False, True, True], ignore_index=True)


def duplicate_flags(pairs: pd.DataFrame) -> dict[int, Literal["across", "within"]]:
    """By sample, whether it has a duplicate in the other split, or else in its own.

    pairs : of `duplicates_first`.
    """
    flags: dict[int, Literal["across", "within"]] = {}
    for first, second, across in pairs[["first", "second", "across"]].itertuples(index=False):
        for sample in (int(first), int(second)):
            if across or sample not in flags:
                flags[sample] = "across" if across else "within"
    return flags


def _tally(neighbors: pd.DataFrame, classes: pd.Series) -> pd.DataFrame:
    """Weighted votes, a mean over the layers: one row a sample and a class that has some."""
    num_classes = len(classes.cat.categories)
    codes = np.full(int(classes.index.max()) + 1 if len(classes) else 0, -1, dtype=np.int64)
    codes[classes.index] = classes.cat.codes
    sample, nearest = neighbors["sample"].to_numpy(np.int64), neighbors["nearest"].to_numpy(np.int64)
    weights = _layer_weights(neighbors, codes, num_classes)
    back = np.isin(nearest, np.unique(sample))  # a neighbor of the other split is not asked itself
    voted = np.concatenate([sample, nearest[back]]) * num_classes
    voted += np.concatenate([codes[nearest], codes[sample[back]]])
    cells, place = np.unique(voted, return_inverse=True)
    votes = np.bincount(place, np.concatenate([weights, weights[back]]), minlength=len(cells))
    table = pd.DataFrame(
        {
            "sample": cells // max(num_classes, 1),
            "class_name": classes.cat.categories.to_numpy(object)[cells % max(num_classes, 1)],
            "votes": votes,
        }
    )
    return table[table["votes"] > 0]


def _layer_weights(neighbors: pd.DataFrame, codes: NDArray[np.int64], num_classes: int) -> NDArray[np.float64]:
    """Each vote's weight: its layer's squared SI above chance, the weights of the layers adding up to 1."""
    nearest = neighbors[neighbors["rank"] == 1]
    value = nearest.groupby("layer", observed=True)["agrees"].mean().astype(float)
    asked = np.bincount(codes[nearest["sample"].unique()], minlength=num_classes) / max(nearest["sample"].nunique(), 1)
    named = np.bincount(codes[nearest["nearest"]], minlength=num_classes) / max(len(nearest), 1)
    chance = float(asked @ named)
    excess = ((value - chance) / max(1 - chance, 1e-12)).clip(lower=0) ** 2
    return np.asarray(neighbors["layer"].astype(object).map(excess / max(excess.sum(), 1e-12)), dtype=np.float64)
