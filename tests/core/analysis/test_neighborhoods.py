"""Duplicates, hubs and confusions from a study's stored neighbors, on points worked out by hand."""

import numpy as np
import pytest
from scipy.stats import skew

import core
from core.analysis.layer_overlap import neighbor_overlap
from core.analysis.samples.class_pairs import pair_causes
from core.analysis.samples.neighborhoods import (
    confused_pairs,
    confusion,
    duplicates,
    hubness,
    read_nearest,
    stored_neighbors,
)
from core.analysis.samples.paths import nearest_by_layer, neighbors_by_layer
from core.analysis.samples.prediction_depth import prediction_depth

# Points on a line; train: 0 1 1 5 6, test: 1 5.5 20
POSITIONS = np.array([[0.0], [1.0], [1.0], [5.0], [6.0], [1.0], [5.5], [20.0]])
LABELS = ["a", "a", "b", "b", "b", "b", "a", "a"]
SPLITS = ["train"] * 5 + ["test"] * 3


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    out = tmp_path_factory.mktemp("neighborhoods") / "study"
    return core.study_from_features({"line": POSITIONS}, LABELS, out=out, splits=SPLITS)


def test_stored_neighbors_are_sorted(study):
    table = stored_neighbors(study, "line", "flat", "train")
    assert table.query("rank == 1")["nearest"].tolist() == [1, 2, 1, 4, 3]
    across = stored_neighbors(study, "line", "flat", "test", among="train")
    assert across.query("rank == 1")["nearest"].tolist() == [1, 3, 4]


def test_exact_duplicates_within_and_across_splits(study):
    table = duplicates(study, "line", "flat")
    assert list(zip(table["first"], table["second"], strict=True)) == [(1, 2), (1, 5), (2, 5)]
    assert table["second_split"].tolist() == ["train", "test", "test"]
    assert table["same_class"].tolist() == [False, False, True]


def test_near_duplicates_are_measured_by_the_median_nearest_distance(study):
    nearest = study.neighbors.query("rank == 1")["distance"].median()
    table = duplicates(study, "line", "flat", within=0.5 / nearest)
    assert table["distance"].max() == 0.5
    assert {(3, 6), (4, 6)} < set(zip(table["first"], table["second"], strict=True))
    with pytest.raises(ValueError, match="within must be at least 0; got -1"):
        duplicates(study, "line", "flat", within=-1)


def test_hubness_counts_and_skewness(study):
    counts, skewness = hubness(study, "line", "flat", "train")
    assert counts.to_dict() == {0: 0, 1: 2, 2: 1, 3: 1, 4: 1}
    assert skewness == pytest.approx(skew([0, 2, 1, 1, 1]), abs=1e-12)


def test_confusion_and_its_diagonal(study):
    table = confusion(study, "line", "flat", "train")
    assert table.loc["a"].tolist() == [1, 1]
    assert table.loc["b"].tolist() == [1, 2]
    value = study.measurements.query("measure == 'separation' and split == 'train'")["value"].iloc[0]
    assert np.diag(table).sum() / table.to_numpy().sum() == value


def test_confused_pairs_count_both_ways_together(study):
    pairs = confused_pairs(study, "line", "flat", "train")
    pair = {"first": "a", "second": "b", "count": 2, "of_first": 1, "of_second": 1, "total": 5, "share": 2 / 5}
    # an a has three b among the four others, a b two a
    assert pairs.to_dict("records") == [pair | {"chance": pytest.approx((2 * 3 / 4 + 3 * 2 / 4) / 5)}]
    across = confused_pairs(study, "line", "flat", "test", among="train")
    pair |= {"count": 3, "of_first": 2, "of_second": 1, "total": 3, "share": 1.0}  # all three, the b beside the first 1
    assert across.to_dict("records") == [pair | {"chance": pytest.approx((2 * 3 / 5 + 1 * 2 / 5) / 3)}]


def test_confused_pairs_are_ordered_by_count_then_share_then_name(tmp_path):
    # beside each other: a c, a c | b d, b d | c d (where a pair is one sample beside another, both count)
    points = [0.0, 1, 10, 11, 20, 21, 30, 31, 40, 41, 50, 51, 52, 53]
    labels = list("acacbdbdcdeeee")
    study = core.study_from_features({"line": np.array(points)[:, None]}, labels, out=tmp_path / "s")
    pairs = confused_pairs(study, "line", "mean", "train")  # a layer without space stands for both poolings
    assert pairs[["first", "second", "count", "total"]].to_numpy().tolist() == [
        ["a", "c", 4, 5],
        ["b", "d", 4, 5],
        ["c", "d", 2, 6],
    ]


def test_classes_without_a_name_are_confused_by_their_label(study):
    unnamed = core.load_study(study.path)
    object.__setattr__(unnamed, "samples", study.samples.assign(class_name=None))
    pairs = confused_pairs(unnamed, "line", "flat", "train")
    assert pairs[["first", "second", "count"]].to_numpy().tolist() == [["0", "1", 2]]
    assert confusion(unnamed, "line", "flat", "train").to_numpy().tolist() == [[1, 1], [1, 2]]


LOOKUPS = {
    "stored_neighbors": lambda study, layer, pooling, split: stored_neighbors(study, layer, pooling, split),
    "read_nearest": lambda study, layer, pooling, split: read_nearest(study, [layer], pooling, split),
    "duplicates": lambda study, layer, pooling, split: duplicates(study, layer, pooling),
    "hubness": hubness,
    "confusion": confusion,
    "confused_pairs": confused_pairs,
    "neighbors_by_layer": lambda study, layer, pooling, split: neighbors_by_layer(
        study, pooling, split, layers=[layer]
    ),
    "prediction_depth": lambda study, layer, pooling, split: prediction_depth(study, pooling, split, layers=[layer]),
    "neighbor_overlap": lambda study, layer, pooling, split: neighbor_overlap(study, split=split, pooling=pooling),
}


@pytest.mark.parametrize("lookup", LOOKUPS)
@pytest.mark.parametrize(
    ("place", "message"),
    [
        (("lime", "flat", "train"), r"layer must be one .* got 'lime'\. Did you mean 'line'\? It has line\."),
        (("line", "max", "train"), r"pooling must be one .* got 'max'\. It has flat"),
        (("line", "flat", "val"), r"split must be one .* got 'val'\. It has train and test\."),
    ],
)
def test_a_name_that_is_not_there_is_an_error_that_lists_what_there_is(study, lookup, place, message):
    if (lookup, place[0]) == ("neighbor_overlap", "lime") or (lookup, place[2]) == ("duplicates", "val"):
        return  # has no such argument
    with pytest.raises(core.StudyError, match=message):
        LOOKUPS[lookup](study, *place)


@pytest.mark.parametrize("lookup", LOOKUPS)
def test_a_layer_without_space_counts_in_both_poolings(study, lookup):
    flat, mean = (LOOKUPS[lookup](study, "line", pooling, "train") for pooling in ("flat", "mean"))
    assert len(flat) > 0
    assert str(flat) == str(mean)


def test_duplicates_of_a_layer_without_stored_neighbors_are_no_empty_table(study, tmp_path):
    (tmp_path / "copy").mkdir()
    for file in study.path.iterdir():
        if file.is_file() and file.name != "neighbors.parquet":
            (tmp_path / "copy" / file.name).write_bytes(file.read_bytes())
    with pytest.raises(core.StudyError, match=r"stores no neighbors of 'line', 'flat'\. It has none at all"):
        duplicates(core.load_study(tmp_path / "copy"), "line", "mean")


def test_causes_at_an_unknown_layer_are_an_error(study):
    names = study.samples.set_index("sample")["class_name"].astype(str)
    nearest = nearest_by_layer(study, "flat", "train")
    with pytest.raises(ValueError, match=r"layer must be one of those in nearest; got 'lime'\. It has line\."):
        pair_causes(nearest, names, "a", "b", "lime")


def test_no_confusions_make_an_empty_table(tmp_path):
    apart = core.study_from_features({"line": [[0.0], [1.0], [8.0], [9.0]]}, ["a", "a", "b", "b"], out=tmp_path / "s")
    table = confused_pairs(apart, "line", "flat", "train")
    assert table.empty
    assert list(table) == ["first", "second", "count", "of_first", "of_second", "total", "share", "chance"]


def test_a_study_without_these_neighbors_has_no_pairs_to_tell(study):
    with pytest.raises(core.StudyError, match="got 'curve'"):
        confused_pairs(study, "curve", "mean", "train")
