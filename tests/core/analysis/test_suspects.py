"""Samples to check, hard samples and duplicates, on tables worked out by hand."""

from collections import defaultdict

import numpy as np
import pandas as pd
import pytest

import core
from core.analysis.samples.paths import neighbors_by_layer
from core.analysis.samples.prediction_depth import prediction_depth
from core.analysis.samples.suspects import (
    CLEAR_SCORE,
    LATE,
    duplicate_flags,
    duplicates_first,
    hard_samples,
    late_neighbors,
    samples_to_check,
)

SAMPLES = pd.DataFrame(
    {
        "sample": range(6),
        "id": list("uvwxyz"),
        "split": "train",
        "label": [0, 0, 0, 1, 1, 1],
        "class_name": ["cat", "cat", "cat", "dog", "dog", "dog"],
    }
)


def neighbors_of(*layers: dict[int, list[int]], samples: pd.DataFrame = SAMPLES) -> pd.DataFrame:
    """Neighbors at layers named 0, 1, ...: from sample to whom is nearest, in order."""
    names = samples["class_name"]
    return pd.DataFrame(
        [
            {
                "layer": str(at),
                "sample": sample,
                "rank": rank,
                "nearest": nearest,
                "same_label": names[sample] == names[nearest],
            }
            for at, layer in enumerate(layers)
            for sample, found in layer.items()
            for rank, nearest in enumerate(found, start=1)
        ]
    )


# w is called a cat, lies among the dogs, and is named by x as its second neighbor.
AMONG_DOGS = {0: [1, 2], 1: [0, 2], 2: [3, 4], 3: [4, 2], 4: [3, 5], 5: [4, 3]}


def test_votes_go_both_ways():
    table = samples_to_check(neighbors_of(AMONG_DOGS), SAMPLES, at_least=0.1)
    first = table.iloc[0]
    # w's own two neighbors and x, whose neighbor it is, say dog; u and v, whose neighbor it is, say cat.
    assert (first["id"], first["class_name"], first["suggested"]) == ("w", "cat", "dog")
    assert (first["votes"], first["own_votes"], first["score"]) == pytest.approx((3, 2, 0.6))
    # x: neighbors y, w; named by w, y, z: one neighbor and one that names it say cat.
    second = table.iloc[1]
    assert (second["id"], second["votes"], second["own_votes"]) == ("x", pytest.approx(2), pytest.approx(3))
    assert table["id"].tolist() == ["w", "x", "y"]  # y: w names it, against x, z and twice again
    assert samples_to_check(neighbors_of(AMONG_DOGS), SAMPLES)["id"].tolist() == ["w"]


def test_layers_weigh_as_the_square_of_si_above_chance():
    half = {0: [1], 1: [0], 2: [3], 3: [4], 4: [0], 5: [1]}  # agree: 3 of 6, chance 1/2: weight 0
    good = {0: [1], 1: [0], 2: [4], 3: [4], 4: [3], 5: [4]}  # agree: 5 of 6
    alone, both = (samples_to_check(neighbors_of(*layers), SAMPLES, at_least=0.1) for layers in ((good,), (half, good)))
    assert alone.drop(columns="layers").equals(both.drop(columns="layers"))
    assert (alone["layers"].iloc[0], both["layers"].iloc[0]) == (1, 2)
    assert samples_to_check(neighbors_of(half), SAMPLES, at_least=0.1).empty


def test_a_neighbor_from_the_other_split_is_not_asked_itself():
    mixed = SAMPLES.assign(split=["test"] * 3 + ["train"] * 3, class_name=["cat", "dog", "dog", "cat", "dog", "dog"])
    table = samples_to_check(neighbors_of({0: [3], 1: [3], 2: [4]}, samples=mixed), mixed)
    assert table[["id", "suggested", "score", "votes"]].to_numpy().tolist() == [["v", "cat", 1.0, 1.0]]


def test_only_the_late_layers_vote():
    good = {0: [1], 1: [0], 2: [1], 3: [4], 4: [3], 5: [4]}
    wrong = {**good, 0: [3]}
    assert samples_to_check(neighbors_of(*[wrong] * 5, *[good] * LATE), SAMPLES, at_least=0.01).empty
    assert len(samples_to_check(neighbors_of(*[good] * 5, *[wrong] * LATE), SAMPLES, at_least=0.01))


def test_at_least_is_checked():
    with pytest.raises(ValueError, match="at_least must be more than 0 and at most 1; got 0"):
        samples_to_check(neighbors_of(AMONG_DOGS), SAMPLES, at_least=0)


@pytest.fixture(scope="module")
def flipped(tmp_path_factory):
    """Three blobs, three of 60 labels flipped; 24 layers, the first four of them noise."""
    rng = np.random.default_rng(0)
    truth = np.arange(60) % 3
    labels = truth.copy()
    labels[[3, 31, 50]] = (truth[[3, 31, 50]] + 1) % 3
    layers = {f"layer {at}": rng.normal(size=(60, 3)) + (4 if at > 3 else 0) * np.eye(3)[truth] for at in range(24)}
    return truth, core.study_from_features(layers, labels, out=tmp_path_factory.mktemp("flipped") / "study")


def test_flipped_labels_come_first_with_their_true_class(flipped):
    truth, study = flipped
    table = samples_to_check(late_neighbors(study, "flat", "train"), study.samples)
    assert set(table["sample"].head(3)) == {3, 31, 50}
    assert table["suggested"].head(3).tolist() == [str(truth[sample]) for sample in table["sample"].head(3)]
    assert (table["score"].head(3) >= CLEAR_SCORE).all()
    assert set(table.loc[table["score"] >= CLEAR_SCORE, "sample"]) == {3, 31, 50}


def test_a_plain_loop_gives_the_same_votes(flipped):
    _, study = flipped
    neighbors = late_neighbors(study, "flat", "train")
    names = study.samples["class_name"].astype(str)
    weight, chance = {}, None
    for layer, rows in neighbors.groupby("layer"):
        nearest = rows[rows["rank"] == 1]
        own, named = (names[nearest[column]].value_counts(normalize=True) for column in ("sample", "nearest"))
        chance = float((own * named).sum())
        weight[layer] = max(0, (nearest["same_label"].mean() - chance) / (1 - chance)) ** 2
    total, votes = sum(weight.values()), defaultdict(float)
    for row in neighbors.itertuples():
        votes[row.sample, names[row.nearest]] += weight[row.layer] / total
        votes[row.nearest, names[row.sample]] += weight[row.layer] / total
    for row in samples_to_check(neighbors, study.samples, at_least=0.01).itertuples():
        others = {name: votes[row.sample, name] for name in "012" if name != row.class_name}
        assert row.votes == pytest.approx(max(others.values()))
        assert row.own_votes == pytest.approx(votes[row.sample, row.class_name])
        assert row.score == pytest.approx(row.votes / (row.votes + row.own_votes))


def test_the_end_of_a_network_is_read_as_far_as_neighbors_are_stored(flipped, tmp_path):
    _, study = flipped
    assert late_neighbors(study, "mean", "train")["layer"].unique().tolist() == [f"layer {at}" for at in range(4, 24)]
    copy = core.study_from_features(
        {f"l{at}": np.arange(4.0)[:, None] for at in range(24)}, [0, 0, 1, 1], out=tmp_path / "s"
    )
    copy.neighbors[copy.neighbors["layer"].isin(["l2", "l3"])].to_parquet(copy.path / "neighbors.parquet")
    assert late_neighbors(core.load_study(copy.path), "mean", "train")["layer"].unique().tolist() == ["l2", "l3"]


def test_no_neighbors_nothing_to_check(flipped):
    _, study = flipped
    assert samples_to_check(neighbors_by_layer(study, "mean", "train").iloc[:0], study.samples).empty


def test_hard_samples_are_decided_late_and_wrong_ones_come_first(flipped):
    _, study = flipped
    found = prediction_depth(study, "flat", "train", k=1)
    table = hard_samples(found, study.samples)
    assert sorted(table["sample"]) == list(range(60))
    keys = list(zip(-table["depth"], table["correct"], table["sample"], strict=True))
    assert keys == sorted(keys)
    assert table.set_index("sample")["id"].to_dict() == study.samples.set_index("sample")["id"].to_dict()


def test_duplicates_of_train_and_test_come_first(tmp_path):
    line = np.array([[0.0], [0.0], [1.0], [5.0], [6.0], [5.0]])
    splits = ["train"] * 4 + ["test"] * 2
    study = core.study_from_features({"line": line}, [0, 0, 1, 1, 1, 1], splits=splits, out=tmp_path / "study")
    pairs = duplicates_first(study, "line", "flat")
    assert pairs[["first", "second", "across", "same_class"]].to_numpy().tolist() == [
        [3, 5, True, True],
        [0, 1, False, True],
    ]
    assert duplicate_flags(pairs) == {3: "across", 5: "across", 0: "within", 1: "within"}
