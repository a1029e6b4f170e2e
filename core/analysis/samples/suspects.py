"""Samples to check: duplicates, samples whose neighbors have another label, and samples that are predicted late."""

from typing import Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from core.analysis.result_tables import SAMPLES_TO_CHECK, checked
from core.analysis.samples.label_votes import LabelVotes
from core.analysis.samples.neighborhoods import duplicates
from core.analysis.samples.paths import neighbors_by_layer
from core.analysis.samples.planted_labels import PlantedSwaps, plant_swaps
from core.study.store.opening import Study
from core.study.store.tables.class_names import sample_classes

LATE = 20  # number of layers, counted from the last one, that vote about labels
LEAST_SCORE = 0.6  # score from which on a sample is listed
CLEAR_SCORE = 0.9  # score from which on a sample's label is clearly contradicted by its neighbors


def samples_to_check(neighbors: pd.DataFrame, samples: pd.DataFrame, *, at_least: float = LEAST_SCORE) -> pd.DataFrame:
    """Return samples whose neighbors at the late layers have another label: the label is wrong, or the image unusual.

    The last twenty layers vote, or all if there are fewer. At each of them, every stored neighbor of a sample votes for
    its own label, and so does every sample that has this one among its neighbors, because a mislabelled sample is often
    a neighbor of the samples of its true class. The votes of a layer are weighted by the square of its SI above chance,
    so a layer at chance has no weight. The score is the votes for the strongest other class, divided by the votes for
    that class and for the label together: 1 where no vote is for the label, 0.5 where both have equally many. Where
    classes look alike, most of the listed labels are correct; `expected_swaps` estimates how often wrong ones are
    listed.

    Parameters
    ----------
    neighbors : DataFrame
        As returned by `neighbors_by_layer`, for the layers that may vote.
    samples : DataFrame
        The table `samples` of the study.
    at_least : float
        The lowest score that is listed, in (0, 1].

    Returns
    -------
    DataFrame
        The highest score first, equal scores ordered by the votes for the other class: sample, id, split, class_name,
        suggested (the other class), score, votes, own_votes (for the other class and for the label, as weighted means
        over the layers), layers (number of layers that vote).

    Raises
    ------
    ValueError
        `at_least` is out of range.
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
    listed = listed.astype({"split": str, "class_name": str, "suggested": str})
    return checked(listed, SAMPLES_TO_CHECK, "samples to check")


def expected_swaps(
    neighbors: pd.DataFrame, samples: pd.DataFrame, *, at_least: float = CLEAR_SCORE
) -> PlantedSwaps | None:
    """Measure how often `samples_to_check` lists wrong labels; see `core.analysis.samples.planted_labels`.

    Parameters
    ----------
    neighbors, samples, at_least
        As for `samples_to_check`.

    Returns
    -------
    PlantedSwaps or None
        None where there are no neighbors, or only one class.
    """
    codes, classes = _class_codes(samples)
    return plant_swaps(LabelVotes.of(_late_rows(neighbors)), codes, len(classes), at_least=at_least)


def late_neighbors(study: Study, pooling: str, split: str, *, among: str | None = None) -> pd.DataFrame:
    """Read the neighbors at the last layers, as many as `samples_to_check` uses; see `neighbors_by_layer`.

    Of a large study, this reads a small part of the table.
    """
    names = study.layers["layer"].tolist()
    neighbors = neighbors_by_layer(study, pooling, split, among=among, layers=names[-LATE:])
    if neighbors["layer"].nunique() < min(LATE, len(names)):  # neighbors may be stored of some layers only
        neighbors = neighbors_by_layer(study, pooling, split, among=among)
    return neighbors


def hard_samples(depths: pd.DataFrame, samples: pd.DataFrame) -> pd.DataFrame:
    """Return samples by prediction depth, the largest first.

    Parameters
    ----------
    depths : DataFrame
        As returned by `core.analysis.samples.prediction_depth.prediction_depth`.
    samples : DataFrame
        The table `samples` of the study.

    Returns
    -------
    DataFrame
        Of samples with equal depth, wrong predictions come first: sample, id, split, class_name, and the columns of
        `depths`.
    """
    properties = samples.set_index("sample")[["id", "split", "class_name"]].astype(str)
    table = depths.join(properties).reset_index()[["sample", *properties, *depths]]
    return table.sort_values(["depth", "correct", "sample"], ascending=[False, True, True], ignore_index=True)


def duplicates_first(study: Study, layer: str, pooling: str, *, within: float = 0.0) -> pd.DataFrame:
    """Return `duplicates` with pairs of a training and a test sample first, because they inflate all test results.

    Parameters
    ----------
    study, layer, pooling, within
        As for `core.analysis.samples.neighborhoods.duplicates`.

    Returns
    -------
    DataFrame
        The columns of `duplicates`, and across: whether the pair is of a training and a test sample.
    """
    pairs = duplicates(study, layer, pooling, within=within)
    pairs = pairs.assign(across=pairs["first_split"] != pairs["second_split"])
    return pairs.sort_values(["across", "distance", "first"], ascending=[False, True, True], ignore_index=True)


def duplicate_flags(pairs: pd.DataFrame) -> dict[int, Literal["across", "within"]]:
    """Return, by sample, whether it has a duplicate in the other split ("across") or only in its own ("within").

    Parameters
    ----------
    pairs : DataFrame
        As returned by `duplicates_first`.
    """
    flags: dict[int, Literal["across", "within"]] = {}
    for first, second, across in pairs[["first", "second", "across"]].itertuples(index=False):
        for sample in (int(first), int(second)):
            if across:
                flags[sample] = "across"
            else:
                flags.setdefault(sample, "within")
    return flags


def _late_rows(neighbors: pd.DataFrame) -> pd.DataFrame:
    """The rows of the late layers, which vote."""
    late = list(dict.fromkeys(neighbors["layer"]))[-LATE:]
    return neighbors[neighbors["layer"].isin(late)]


def _class_codes(samples: pd.DataFrame) -> tuple[NDArray[np.int64], NDArray[np.object_]]:
    """The class code of each sample, indexed by its number, and the class names in alphabetic order."""
    names = pd.Categorical(sample_classes(samples))
    codes = np.full(int(samples["sample"].max()) + 1 if len(samples) else 0, -1, dtype=np.int64)
    codes[samples["sample"]] = names.codes
    return codes, names.categories.to_numpy(object)
