"""Prediction depth, worked out by hand and by a plain loop."""

from collections import Counter

import numpy as np
import pandas as pd
import pytest

import core
from core.analysis.samples.paths import neighbors_by_layer
from core.analysis.samples.prediction_depth import depths, prediction_depth, votes

NAMES = pd.Series(list("aabbc"), name="class_name")


def rows(nearest_by_layer: dict[str, dict[int, list[int]]]) -> pd.DataFrame:
    """Neighbors as `neighbors_by_layer` gives them, from layer and sample to whom is nearest, in order."""
    return pd.DataFrame(
        [
            {"layer": layer, "sample": sample, "rank": rank, "nearest": nearest}
            for layer, samples in nearest_by_layer.items()
            for sample, found in samples.items()
            for rank, nearest in enumerate(found, start=1)
        ]
    )


@pytest.mark.parametrize(
    ("nearest", "vote"),
    [
        ([2], "b"),
        ([2, 0], "b"),  # two neighbors vote as the first
        ([2, 0, 1], "a"),
        ([4, 0, 2], "c"),  # all different: the nearest
        ([4, 2, 0, 3, 1], "b"),  # b and a twice each: b's nearest member is nearer
    ],
)
def test_a_vote_and_its_ties(nearest, vote):
    assert votes(rows({"only": {0: nearest}}), NAMES).loc[0, "only"] == vote


def test_a_sample_with_fewer_neighbors_votes_with_those():
    table = votes(rows({"only": {0: [2, 3, 1], 1: [4]}}), NAMES)
    assert table["only"].to_dict() == {0: "b", 1: "c"}


def test_depths_by_hand():
    voted = pd.DataFrame(
        [list("aaaa"), list("abaa"), list("bbba"), list("abab"), list("aabb")], columns=["one", "two", "three", "four"]
    )
    table = depths(voted, NAMES)
    assert table["depth"].tolist() == [0, 2, 3, 3, 2]
    assert table["layer"].tolist() == ["one", "three", "four", "four", "three"]
    assert table["prediction"].tolist() == ["a", "a", "a", "b", "b"]
    assert table["correct"].tolist() == [True, True, False, True, False]
    assert table["settled"].tolist() == [True, True, False, False, True]


def test_one_layer_settles_everything():
    table = depths(pd.DataFrame({"only": ["a", "b"]}), NAMES)
    assert table[["depth", "settled"]].to_numpy().tolist() == [[0, True], [0, True]]


@pytest.fixture(scope="module")
def study(layered_study):
    return layered_study(["train"] * 30 + ["test"] * 10)


@pytest.mark.parametrize("k", [1, 2, 3, 10])
@pytest.mark.parametrize(("split", "among"), [("train", "train"), ("test", "train"), ("test", "test")])
def test_a_plain_loop_gives_the_same(study, k, split, among):
    names = study.samples["class_name"].astype(str)
    table = prediction_depth(study, "flat", split, among=among, k=k)
    neighbors = neighbors_by_layer(study, "flat", split, among=among)
    for sample, row in table.iterrows():
        voted = []
        for layer in study.layers["layer"]:
            here = neighbors[(neighbors["layer"] == layer) & (neighbors["sample"] == sample)]
            ballots = names[here["nearest"].iloc[:k]].tolist()
            voted.append(Counter(ballots).most_common(1)[0][0])  # of equal counts the first met
        depth = max([at + 1 for at in range(4) if voted[at] != voted[at + 1]], default=0)
        while depth and voted[depth - 1] == voted[-1]:
            depth -= 1
        assert (row["depth"], row["prediction"], row["settled"]) == (depth, voted[-1], depth < 4)
        assert row["correct"] == (voted[-1] == names[sample])
    assert len(table) == (study.samples["split"] == split).sum()


def test_test_samples_are_judged_by_the_training_samples(study, tmp_path):
    assert prediction_depth(study, "flat", "test").equals(prediction_depth(study, "flat", "test", among="train"))
    alone = core.study_from_features(
        {"line": np.arange(6.0)[:, None]}, [0, 1] * 3, splits=["test"] * 6, out=tmp_path / "s"
    )
    assert len(prediction_depth(alone, "flat", "test")) == 6


def test_only_the_asked_layers_count(study):
    table = prediction_depth(study, "flat", "train", layers=["layer 0", "layer 3"])
    assert set(table["layer"]) <= {"layer 0", "layer 3"}
    assert table["depth"].max() == 1


def test_a_split_that_is_not_there_and_no_neighbor_asked(study):
    with pytest.raises(core.StudyError, match=r"split must be one .* got 'valid'. It has train and test"):
        prediction_depth(study, "mean", "valid")
    with pytest.raises(ValueError, match="k must be at least 1; got 0"):
        prediction_depth(study, "flat", "train", k=0)
