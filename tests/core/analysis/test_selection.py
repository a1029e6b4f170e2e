"""What the tables about samples and classes are of where nothing is chosen, and what is refused."""

import re
import shutil
from pathlib import Path

import numpy as np
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

import core
from core.analysis.samples.selection import LayerSelection, layers_with_neighbors, select_layer
from core.cli import main
from core.study.store.opening import StudyError

DEMO = Path(core.__file__).parents[1] / "explorer" / "demo"

LAYERS = {"early": np.array([[0.0], [4], [1], [5]] * 2), "late": np.array([[0.0], [1], [8], [9]] * 2)}
LABELS = ["ant", "ant", "bee", "bee"] * 2
SPLITS = ["train"] * 4 + ["test"] * 4


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    """Four samples on a line, in both splits; their classes are apart at the second layer only."""
    return core.study_from_features(LAYERS, LABELS, splits=SPLITS, out=tmp_path_factory.mktemp("selection") / "study")


@pytest.mark.parametrize(
    ("choice", "expected"),
    [
        ({}, LayerSelection("late", "flat", "test")),
        ({"split": "train"}, LayerSelection("late", "flat", "train")),
        (
            {"among": "train"},
            LayerSelection("early", "flat", "cross"),
        ),  # each sample lies on its copy: the first of 1.0
        ({"split": "test", "among": "train", "layer": "late"}, LayerSelection("late", "flat", "cross")),
        ({"layer": "early", "pooling": "mean"}, LayerSelection("early", "mean", "test")),
    ],
)
def test_what_is_left_out_is_chosen_as_on_the_pages(study, choice, expected):
    assert select_layer(study, **choice) == expected


@pytest.mark.parametrize(
    ("choice", "message"),
    [
        ({"layer": "latte"}, "layer must be one that the study in .* has; got 'latte'. Did you mean 'late'"),
        ({"split": "train", "among": "test"}, "among must be 'train' for training samples"),
        ({"pooling": "max"}, "pooling must be one that the study in .* has; got 'max'"),
    ],
)
def test_what_a_study_does_not_have_is_refused(study, choice, message):
    with pytest.raises(StudyError, match=message):
        select_layer(study, **choice)


@pytest.fixture
def partly(study, tmp_path) -> core.Study:
    """The study with stored neighbors of its first layer alone."""
    copy = shutil.copytree(study.path, tmp_path / "copy")
    neighbors = pq.read_table(copy / "neighbors.parquet")
    pq.write_table(neighbors.filter(pc.equal(neighbors["layer"], "early")), copy / "neighbors.parquet")
    return core.load_study(copy)


def test_the_layer_is_one_whose_neighbors_are_stored(partly):
    """Tables about samples and classes are of neighbors: the best layer of all is of no use without them."""
    assert layers_with_neighbors(partly) == ("early",)
    assert select_layer(partly) == LayerSelection("early", "flat", "test")
    assert select_layer(partly, layer="late") == LayerSelection("late", "flat", "test")
    assert set(core.confused_classes(partly)["first"]) == {"ant"}
    with pytest.raises(StudyError, match=r"stores no neighbors of 'late', .* It has those of early\. Choose it\."):
        core.confused_classes(partly, layer="late")


def test_the_message_names_layers_of_which_the_same_neighbors_are_stored(study, tmp_path):
    copy = shutil.copytree(study.path, tmp_path / "within")
    rows = pq.read_table(copy / "neighbors.parquet")
    within = pc.equal(rows["split"], rows["nearest_split"])
    pq.write_table(rows.filter(within), copy / "neighbors.parquet")
    message = r"stores no neighbors of 'late', 'flat', 'test' among 'train'\. It has these of no layer\. Choose another"
    with pytest.raises(StudyError, match=message):
        core.confused_classes(core.load_study(copy), layer="late", split="test", among="train")


def test_the_last_layer_of_a_pair_is_one_with_stored_neighbors(partly, capsys):
    assert main(["class-pair", str(partly.path), "ant", "bee", "--split", "train"]) == 0
    sentence = "still confused at early, the last layer with stored neighbors: 4 of 4 samples\n"
    assert capsys.readouterr().out.endswith(sentence)


def test_a_pair_is_apart_up_to_the_last_layer_with_stored_neighbors(study, capsys):
    assert main(["class-pair", str(study.path), "ant", "bee"]) == 0
    assert capsys.readouterr().out.endswith("not confused at late, the last layer with stored neighbors\n")


def test_duplicates_that_were_not_looked_for_are_told(capsys):
    """An empty column would say that there are none."""
    command = ["label-errors", str(DEMO / "dogs-untrained"), "--layer"]
    told = "Duplicates were not looked for: the study stores no neighbors of block2b_dwconv (mean)."
    for layer, is_told in (("block2b_dwconv", True), ("block5c_add", False)):
        assert main([*command, layer]) == 0
        assert (told in capsys.readouterr().out) == is_told


def test_a_pooling_that_the_layer_is_not_measured_with_is_refused():
    dogs = core.load_study(DEMO / "dogs-untrained")
    for table in (core.class_separation, core.confused_classes):
        with pytest.raises(StudyError, match=r"has of 'block2b_dwconv'; got 'flat'\. It has mean\."):
            table(dogs, layer="block2b_dwconv", pooling="flat")


def test_a_split_that_a_study_does_not_have_is_refused(tmp_path):
    one_split = core.study_from_features(LAYERS, LABELS, out=tmp_path / "one")
    for choice in ({"split": "test"}, {"among": "test"}):
        with pytest.raises(StudyError, match=re.escape("It has train.")):
            select_layer(one_split, **choice)


def test_a_complete_study_without_values_is_not_waited_for(tmp_path):
    study = core.study_from_features({"same": np.ones((6, 3))}, [0, 0, 0, 1, 1, 1], out=tmp_path / "study")
    with pytest.raises(core.StudyError, match="has no Separation Index at any layer; the column note"):
        core.label_errors(study)
