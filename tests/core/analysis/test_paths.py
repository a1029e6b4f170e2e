"""Samples through the layers, on tables worked out by hand."""

import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest

import core
from core.analysis.curves import has_pooling, pooling_filters
from core.analysis.samples.paths import nearest_by_layer, neighbors_by_layer, sample_summaries

LABELS = ["a", "a", "b", "b"]
DEMO = Path(core.__file__).parents[1] / "explorer" / "demo"


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    """Four points on a line whose pairs are apart only at the second layer; the third has space."""
    line, pairs = np.array([[0.0], [4], [1], [5]]), np.array([[0.0], [1], [8], [9]])
    layers = {"early": line, "late": pairs, "maps": pairs.reshape(4, 1, 1)}
    return core.study_from_features(layers, LABELS, out=tmp_path_factory.mktemp("journeys") / "study")


def test_the_nearest_at_every_layer_in_network_order(study):
    table = nearest_by_layer(study, "flat", "train")
    assert table["layer"].tolist() == ["early"] * 4 + ["late"] * 4 + ["maps"] * 4
    assert table["nearest"].tolist() == [2, 3, 0, 1, *[1, 0, 3, 2] * 2]
    assert table["same_label"].tolist() == [False] * 4 + [True] * 8


def test_layers_without_space_stand_for_means_too(study):
    assert nearest_by_layer(study, "mean", "train")["layer"].unique().tolist() == ["early", "late"]
    with pytest.raises(core.StudyError, match=r"split must be one .* got 'test'. It has train"):
        nearest_by_layer(study, "mean", "test")


def test_as_many_neighbors_as_asked_for_by_sample_and_rank(study):
    table = neighbors_by_layer(study, "flat", "train", k=2, layers=["early"])
    assert table["sample"].tolist() == [0, 0, 1, 1, 2, 2, 3, 3]
    assert table["rank"].tolist() == [1, 2] * 4
    assert table["nearest"].tolist() == [2, 1, 3, 2, 0, 1, 1, 2]
    assert len(neighbors_by_layer(study, "flat", "train")) == 3 * 4 * 3


def test_some_samples_alone_are_as_among_all(study):
    every = nearest_by_layer(study, "mean", "train")
    some = every["sample"].unique()[1:3].tolist()
    found = nearest_by_layer(study, "mean", "train", samples=some)
    expected = every[every["sample"].isin(some)].reset_index(drop=True)
    pd.testing.assert_frame_equal(found.astype({"layer": str}), expected.astype({"layer": str}))
    assert len(found)


def test_fates():
    agrees = pd.DataFrame(
        [[1, 1, 1], [0, 0, 0], [0, 1, 1], [1, 1, 0], [1, 0, 1]], columns=["one", "two", "three"], dtype=bool
    )
    table = sample_summaries(agrees)
    assert table["fate"].tolist() == ["always", "never", "gained", "lost", "gained"]
    assert table["first"].fillna("").tolist() == ["one", "", "two", "one", "one"]
    assert table["settled"].fillna("").tolist() == ["one", "", "two", "", "three"]
    assert table["share"].tolist() == pytest.approx([1, 0, 2 / 3, 2 / 3, 2 / 3])


def test_the_stored_layers_are_not_looked_up_for_each_layer(study, monkeypatch):
    """Once for the pooling and once for the order; for each layer it was most of the time of 200 layers."""
    looked_up, unique = [], pd.Series.unique
    monkeypatch.setattr(pd.Series, "unique", lambda column: looked_up.append(column.name) or unique(column))
    assert len(neighbors_by_layer(study, "flat", "train")) == 3 * 4 * 3
    assert looked_up.count("layer") == 2


def test_distinct_values_are_those_of_the_table(study):
    assert study.distinct("neighbors", "layer") == ["early", "late", "maps"]
    assert study.distinct("neighbors", "pooling") == study.neighbors["pooling"].astype(str).unique().tolist()


@pytest.mark.parametrize("rows", [1, 5, 12])
def test_distinct_values_of_many_row_groups(study, tmp_path, rows):
    """Whether a row group has one layer, which is then not read, or parts of two."""
    copy = tmp_path / "copy"
    shutil.copytree(study.path, copy)
    file = copy / "neighbors.parquet"
    pq.write_table(pq.read_table(file), file, row_group_size=rows)
    assert core.load_study(copy).distinct("neighbors", "layer") == ["early", "late", "maps"]


@pytest.mark.parametrize("value", ["early", "late", "maps", "elsewhere"])
def test_one_layer_of_a_file_with_many_row_groups_is_as_among_all(study, tmp_path, value):
    copy = tmp_path / "copy"
    shutil.copytree(study.path, copy)
    file = copy / "neighbors.parquet"
    pq.write_table(pq.read_table(file), file, row_group_size=5)
    every = core.load_study(copy).neighbors
    one = core.load_study(copy).table("neighbors", filters=[("layer", "==", value), ("rank", "<=", 2)])
    expected = every[(every["layer"].astype(str) == value) & (every["rank"] <= 2)].reset_index(drop=True)
    pd.testing.assert_frame_equal(one.astype(object), expected.astype(object))


@pytest.mark.parametrize("layer", [("layer", "==", "late"), ("layer", "in", ["late", "elsewhere"])])
def test_other_layers_of_a_large_file_are_not_read(study, tmp_path, monkeypatch, layer):
    copy = tmp_path / "copy"
    shutil.copytree(study.path, copy)
    file, groups, read = copy / "neighbors.parquet", [], pq.ParquetFile.iter_batches
    pq.write_table(pq.read_table(file), file, row_group_size=12)  # the rows of one layer

    def noting(this, batch_size, row_groups=None, columns=None):
        if columns is not None:  # not the look at the beginning of a group
            groups.append(row_groups)
        return read(this, batch_size, row_groups, columns)

    opened = core.load_study(copy)
    monkeypatch.setattr(pq.ParquetFile, "iter_batches", noting)
    assert len(opened.table("neighbors", filters=[layer])) == 12
    assert groups == [[1]]


@pytest.mark.parametrize("pooling", ["mean", "flat"])
def test_the_rows_of_a_pooling_are_those_chosen_from_all(pooling):
    """Layers without spatial extent are stored once, and are of both poolings."""
    study = core.load_study(DEMO / "dogs")
    filters = [("split", "==", "test"), ("rank", "==", 1)]
    every = study.table("neighbors", filters=filters)
    some = study.table("neighbors", filters=pooling_filters(filters, study.layers, pooling))
    assert len(some) < len(every)
    expected = every[has_pooling(every, study.layers, pooling)].reset_index(drop=True)
    found = some[has_pooling(some, study.layers, pooling)].reset_index(drop=True)
    pd.testing.assert_frame_equal(found.astype(object), expected.astype(object))
