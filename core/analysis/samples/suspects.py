"""Samples to look at: duplicates, samples whose neighbors name another class, and samples that a network finds hard."""

from typing import Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from core.analysis.samples.label_votes import LabelVotes
from core.analysis.samples.neighborhoods import duplicates
from core.analysis.samples.paths import neighbors_by_layer
from core.analysis.samples.planted_labels import PlantedSwaps, plant_swaps
from core.study.store.opening import Study

LATE = 20  # layers at the end, which are asked about labels
CLEAR_SCORE = 0.9  # of a sample to check that is worth counting
COLUMNS = ["sample", "id", "split", "class_name", "suggested", "score", "votes", "own_votes", "layers"]


def samples_to_check(neighbors: pd.DataFrame, samples: pd.DataFrame, *, at_least: float = 0.6) -> pd.DataFrame:
    """Samples whose neighbors at the late layers name another class: the label is wrong, or the image hard to tell.

    The last twenty layers vote, or as many as there are. At each, every stored neighbor of a sample has a vote for its
    own label, and so has every sample that has this one among its neighbors: a mislabelled sample is often a neighbor
    of those it belongs to. A layer's votes weigh as the square of its SI above chance, so that a layer at chance has
    none. The score is the share that the strongest other class has of its own and the label's votes together: 1 where
    nobody supports the label, 0.5 where both are even. Where classes look alike, most of these labels are right;
    `expected_swaps` says how often wrong ones are listed.

    Parameters
    ----------
    neighbors : of `neighbors_by_layer`, from the layers that may vote. samples : the table `samples`.
    at_least : the least score that is listed, more than 0.

    Returns
    -------
    DataFrame
        The highest score first, equal scores by the votes for the other class: sample, id, split, class_name,
        suggested (the other class), score, votes and own_votes (for the other class and for the label, on average of a
        layer), layers (how many voted).
    """
    if not 0 < at_least <= 1:
        raise ValueError(f"at_least must be more than 0 and at most 1; got {at_least}. 0.6 lists clear majorities.")
    late = _late_rows(neighbors)
    codes, classes = _class_codes(samples)
    scores = LabelVotes.of(late).scores(codes, len(classes))
    listed = pd.DataFrame(
        {
            "sample": scores.sample,
            "suggested": classes[scores.suggested],
            "score": scores.score,
            "votes": scores.votes,
            "own_votes": scores.own_votes,
            "layers": late["layer"].nunique(),
        }
    )
    listed = listed[listed["score"] >= at_least].merge(samples, on="sample", how="left")
    listed = listed.sort_values(["score", "votes", "sample"], ascending=[False, False, True], ignore_index=True)
    return listed[COLUMNS].astype({"split": str, "class_name": str, "suggested": str})


def expected_swaps(
    neighbors: pd.DataFrame, samples: pd.DataFrame, *, at_least: float = CLEAR_SCORE
) -> PlantedSwaps | None:
    """How often `samples_to_check` lists wrong labels, tried out: see `core.analysis.samples.planted_labels`.

    Parameters
    ----------
    neighbors, samples, at_least : as for `samples_to_check`.

    Returns
    -------
    PlantedSwaps or None
        None where there are no neighbors, or the samples are of one class.
    """
    codes, classes = _class_codes(samples)
    return plant_swaps(LabelVotes.of(_late_rows(neighbors)), codes, len(classes), at_least=at_least)


def late_neighbors(study: Study, pooling: str, split: str, *, among: str | None = None) -> pd.DataFrame:
    """`neighbors_by_layer` of as many layers at the end as `samples_to_check` asks; reads little of a large study."""
    names = study.layers["layer"].tolist()
    neighbors = neighbors_by_layer(study, pooling, split, among=among, layers=names[-LATE:])
    if neighbors["layer"].nunique() < min(LATE, len(names)):  # neighbors may be stored of some layers only
        neighbors = neighbors_by_layer(study, pooling, split, among=among)
    return neighbors


def hard_samples(depths: pd.DataFrame, samples: pd.DataFrame) -> pd.DataFrame:
    """Samples by how late the network decides about them.

    Parameters
    ----------
    depths : of `core.analysis.samples.prediction_depth.prediction_depth`. samples : the table `samples`.

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


def _late_rows(neighbors: pd.DataFrame) -> pd.DataFrame:
    """The rows of the layers that vote."""
    late = list(dict.fromkeys(neighbors["layer"]))[-LATE:]
    return neighbors[neighbors["layer"].isin(late)]


def _class_codes(samples: pd.DataFrame) -> tuple[NDArray[np.int64], NDArray[np.object_]]:
    """The class of each sample by its number, and the classes' names in alphabetic order."""
    names = pd.Categorical(samples["class_name"].astype(str))
    codes = np.full(int(samples["sample"].max()) + 1 if len(samples) else 0, -1, dtype=np.int64)
    codes[samples["sample"]] = names.codes
    return codes, names.categories.to_numpy(object)
