"""All samples through all layers as arrays, against tables that are made of all rows at once."""

import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import core
from core.analysis.samples.path_arrays import read_path_arrays
from core.analysis.samples.paths import nearest_by_layer, neighbors_by_layer
from core.analysis.samples.prediction_depth import depths, votes
from core.study.store.tables.class_names import sample_classes

DEMO = Path(core.__file__).parents[1] / "explorer" / "demo"
SELECTIONS = [
    ("dogs", "mean", "test", "test"),
    ("dogs", "mean", "test", "train"),
    ("dogs", "flat", "train", "train"),
    ("digits", "mean", "test", "test"),
    ("made up", "mean", "train", "train"),
    ("made up", "flat", "test", "train"),
]


@pytest.fixture(scope="module")
def made_up(layered_study):
    """Ten stored neighbors a sample, two splits, and a layer of both poolings."""
    return layered_study(["train", "test", "train"] * 20).path


def opened(name: str, made_up: Path) -> core.Study:
    return core.load_study(made_up if name == "made up" else DEMO / name)


def one_layer_at_a_time(monkeypatch) -> None:
    monkeypatch.setattr(core.Study, "layer_groups", lambda study, table: [[name] for name in study.layers["layer"]])


@pytest.mark.parametrize("by_layer", [False, True])
@pytest.mark.parametrize(("name", "pooling", "split", "among"), SELECTIONS)
def test_as_from_the_whole_table(name, pooling, split, among, by_layer, made_up, monkeypatch):
    study = opened(name, made_up)
    names = sample_classes(study.samples)
    neighbors = neighbors_by_layer(study, pooling, split, among=among)
    nearest = nearest_by_layer(study, pooling, split, among=among)
    if by_layer:
        one_layer_at_a_time(monkeypatch)
    arrays = read_path_arrays(study, pooling, split, names, among=among)

    assert list(arrays.layers) == list(dict.fromkeys(nearest["layer"]))
    assert arrays.num_voters == neighbors["rank"].max()
    pd.testing.assert_frame_equal(arrays.depths(names), depths(votes(neighbors, names), names))
    agrees = nearest.pivot_table(index="sample", columns="layer", values="same_label", observed=True)  # one value each
    assert arrays.agreement().columns.tolist() == agrees.columns.tolist()
    np.testing.assert_array_equal(arrays.agreement().to_numpy(), agrees.to_numpy(bool))
    np.testing.assert_array_equal(arrays.agreement().index, agrees.index)
    for layer in arrays.layers:
        rows = nearest[nearest["layer"] == layer].drop(columns="layer").reset_index(drop=True)
        pd.testing.assert_frame_equal(arrays.at(layer).astype(object), rows.astype(object))
    for sample in arrays.samples[:5]:
        rows = nearest[nearest["sample"] == sample].astype({"layer": str}).reset_index(drop=True)
        pd.testing.assert_frame_equal(arrays.of(sample).astype(object), rows.astype(object))
    few = arrays.samples[::7].tolist()
    read = nearest_by_layer(study, pooling, split, among=among, samples=few)
    pd.testing.assert_frame_equal(arrays.of_samples(few), read, check_dtype=False)
    assert arrays.of_samples([]).empty


def test_one_sample_is_as_among_all(made_up):
    study = core.load_study(made_up)
    names = sample_classes(study.samples)
    every = read_path_arrays(study, "flat", "test", names, among="train")
    for sample in every.samples:
        alone = read_path_arrays(study, "flat", "test", names, among="train", samples=[sample])
        assert alone.samples.tolist() == [sample]
        pd.testing.assert_frame_equal(alone.of(sample), every.of(sample))
        pd.testing.assert_frame_equal(alone.depths(names), every.depths(names).loc[[sample]])


def test_the_mean_of_agreement_is_si(made_up):
    study = core.load_study(made_up)
    rows = study.measurements.query("measure == 'separation' and split == 'train' and pooling == 'flat'")
    agrees = read_path_arrays(study, "flat", "train", sample_classes(study.samples)).agreement()
    assert agrees.mean().to_dict() == rows.set_index("layer")["value"].to_dict()


def changed(made_up: Path, folder: Path, change) -> core.Study:
    """A copy of the study with other rows in its table of neighbors."""
    shutil.copytree(made_up, folder)
    file = folder / "neighbors.parquet"
    schema = pq.read_schema(file)
    table = change(pq.read_table(file).to_pandas())
    pq.write_table(pa.Table.from_pandas(table, schema, preserve_index=False), file)
    return core.load_study(folder)


def test_rows_in_any_order_are_read_alike(made_up, tmp_path):
    study = core.load_study(made_up)
    names = sample_classes(study.samples)
    shuffled = changed(made_up, tmp_path / "shuffled", lambda table: table.sample(frac=1, random_state=0))
    expected, found = (read_path_arrays(one, "flat", "train", names) for one in (study, shuffled))
    for name in ("nearest", "distance", "same_label", "votes"):
        np.testing.assert_array_equal(getattr(found, name), getattr(expected, name))


def test_layers_and_samples_without_neighbors_are_left_out(made_up, tmp_path):
    """The first layer is not stored; of another one a sample is missing, so that its depth is unknown."""

    def change(table):
        gap = (table["layer"] == "layer 1") & (table["sample"] == 3)
        return table[(table["layer"] != "layer 0") & ~gap]

    study = changed(made_up, tmp_path / "gaps", change)
    names = sample_classes(study.samples)
    arrays = read_path_arrays(study, "flat", "train", names)
    assert arrays.layers == ("layer 1", "layer 2", "layer 3", "maps")
    assert 3 not in arrays.agreement().index
    assert 3 not in arrays.at("layer 1")["sample"].tolist()
    assert arrays.of(3)["layer"].tolist() == ["layer 2", "layer 3", "maps"]
    neighbors = neighbors_by_layer(study, "flat", "train")
    pd.testing.assert_frame_equal(arrays.depths(names), depths(votes(neighbors, names), names))
    assert arrays.at("layer 0").empty
    assert arrays.of(1_000).empty


def test_without_any_neighbors_everything_is_empty(made_up, tmp_path):
    study = changed(made_up, tmp_path / "none", lambda table: table[table["split"] == "test"])
    arrays = read_path_arrays(study, "flat", "train", sample_classes(study.samples))
    assert (arrays.layers, arrays.num_voters) == ((), 0)
    assert arrays.agreement().empty
    assert arrays.depths(sample_classes(study.samples)).empty
