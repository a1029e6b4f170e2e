"""A study's related measures: the tables, against the measures themselves, and what a run that stops leaves."""

import shutil

import numpy as np
import pandas as pd
import pytest

import core
from core.analysis.samples.neighborhoods import hubness
from core.measures.related.alignment import linear_cka
from core.measures.related.intrinsic_dimension import intrinsic_dimension
from core.measures.related.separability import separability_measures
from core.study.measuring import related_measures
from core.study.measuring.related_measures import RELATED_MEASURES, related_measure_rows
from core.study.store.opening import SCHEMAS

LABELS = np.arange(60) % 3
SPLITS = ["train"] * 40 + ["test"] * 20


def layers(num_samples=60):
    rng = np.random.default_rng(0)
    first = rng.normal(size=(num_samples, 6)) + (np.arange(num_samples) % 3)[:, None]
    return {
        "maps": rng.normal(size=(num_samples, 3, 3, 2)),
        "first": first,
        "second": first @ rng.normal(size=(6, 90)),
        "third": rng.normal(size=(num_samples, 4)),
    }


def write(folder, *, stop_after=None, labels=LABELS, splits=SPLITS):
    """A study with related measures; it may be stopped after some layers, and goes on where it was."""
    with core.FeatureStudyWriter(folder, labels, splits=splits, related_measures=True) as writer:
        done = core.load_study(folder).layers["layer"].tolist()
        for name, features in layers(len(labels)).items():
            if name not in done:
                writer.add_layer(name, features)
            if name == stop_after:
                raise KeyboardInterrupt
    return core.load_study(folder)


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    return write(tmp_path_factory.mktemp("related_measures") / "study")


def rows(study, layer, split):
    table = study.related_measures.astype({"layer": str, "split": str, "measure": str})
    return table[(table["layer"] == layer) & (table["split"] == split)].set_index("measure")


def test_layers_with_a_number_a_channel_have_every_measure_in_both_splits(study):
    assert study.related_measures["layer"].unique().tolist() == ["first", "second", "third"]
    assert study.related_measures.columns.tolist() == SCHEMAS["related_measures"].names
    for split, count in (("train", 40), ("test", 20)):
        found = rows(study, "second", split)
        assert found.index.tolist() == list(RELATED_MEASURES)
        assert (found["num_samples"] == count).all()


@pytest.mark.parametrize("split", ["train", "test"])
def test_values_are_those_of_the_measures(study, split):
    own = np.array(SPLITS) == split
    features, found = layers()["second"][own], rows(study, "second", split)
    for one in separability_measures(features, LABELS[own]):
        assert found.loc[one.measure, "value"] == pytest.approx(one.value, rel=1e-12)
        assert found.loc[one.measure, "chance"] == pytest.approx(one.chance, rel=1e-12)
    dimension = intrinsic_dimension(features)
    assert found.loc["dimension", "value"] == pytest.approx(dimension.value, rel=1e-12)
    interval = found.loc["dimension_mle", ["value", "low", "high"]].tolist()
    assert interval == pytest.approx([dimension.likelihood, dimension.low, dimension.high], rel=1e-12)
    assert found.loc["hubness", "value"] == hubness(study, "second", "flat", split)[1]


def test_every_pair_of_layers_is_aligned_once(study):
    table = study.alignment.astype({"layer": str, "other_layer": str, "split": str})
    for split in ("train", "test"):
        own = np.array(SPLITS) == split
        part = table[table["split"] == split]
        pairs = list(zip(part["layer"], part["other_layer"], strict=True))
        assert sorted(map(sorted, pairs)) == [["first", "second"], ["first", "third"], ["second", "third"]]
        for row in part.to_dict("records"):
            expected = linear_cka(layers()[row["layer"]][own], layers()[row["other_layer"]][own])
            assert row["value"] == pytest.approx(expected.value, rel=1e-5)
            assert row["debiased"] == pytest.approx(expected.debiased, abs=1e-5)
            assert row["chance"] == pytest.approx(expected.chance, rel=1e-5)
            assert row["num_samples"] == own.sum()


def test_grams_are_gone_from_a_study_that_is_complete(study, tmp_path):
    assert not list(study.path.rglob("grams*"))
    with pytest.raises(KeyboardInterrupt):
        write(tmp_path / "half", stop_after="second")
    assert len(list((tmp_path / "half").rglob("grams.parquet"))) == 2


@pytest.mark.parametrize("stop_after", ["maps", "first", "second"])
def test_a_study_that_was_stopped_ends_with_the_same_tables(study, tmp_path, stop_after):
    with pytest.raises(KeyboardInterrupt):
        write(tmp_path / "again", stop_after=stop_after)
    again = write(tmp_path / "again")
    for name in ("related_measures", "alignment"):
        assert (again.path / f"{name}.parquet").read_bytes() == (study.path / f"{name}.parquet").read_bytes()


def test_it_is_left_out_unless_asked_for(tmp_path):
    plain = core.study_from_features(layers(), LABELS, out=tmp_path / "plain")
    assert plain.related_measures.empty
    assert plain.alignment.empty
    assert not (plain.path / "related_measures.parquet").exists()


def test_options_and_command_bear_it():
    options = core.StudyOptions("digits", related_measures=True)
    assert options.measures().related_measures
    assert options.command("out").endswith("--related-measures")
    assert not core.StudyOptions("digits").measures().related_measures


def test_a_study_of_images_has_it(tmp_path):
    options = core.StudyOptions("digits", model="pixels", per_class=5, related_measures=True, probe=False)
    found = core.run_study(options, tmp_path / "pixels")
    assert set(found.related_measures["measure"]) == set(RELATED_MEASURES)
    assert set(found.related_measures["split"]) == {"train", "test"}


@pytest.mark.parametrize("labels", [[0, 1, 1], [0, 0, 0], [0, 0]])
def test_what_small_studies_cannot_have_is_left_out(tmp_path, labels):
    with core.FeatureStudyWriter(tmp_path / "small", labels, related_measures=True) as writer:
        for name in ("one", "two"):
            writer.add_layer(name, np.random.default_rng(1).normal(size=(len(labels), 3)))
    found = core.load_study(tmp_path / "small")
    assert "hubness" in set(found.related_measures["measure"])
    assert found.alignment.empty
    assert ("silhouette" in set(found.related_measures["measure"])) == (len(set(labels)) > 1)


def test_large_layers_are_represented_by_some_samples(monkeypatch):
    monkeypatch.setattr(related_measures, "MOST_FOR_SEPARABILITY", 30)
    features = layers()["first"]
    found = related_measure_rows(features, LABELS, core.nearest_neighbors(features, k=2), seed=1).set_index("measure")
    assert found["num_samples"].tolist() == [30, 30, 30, 30, 60, 60, 60]
    whole = separability_measures(features, LABELS)[0].value
    assert found.loc["silhouette", "value"] != whole
    assert found.loc["silhouette", "value"] == pytest.approx(whole, abs=0.15)


def test_a_copy_of_a_study_reads_alike(study, tmp_path):
    shutil.copytree(study.path, tmp_path / "copy")
    pd.testing.assert_frame_equal(core.load_study(tmp_path / "copy").alignment, study.alignment)
