"""Study folders: finding them, tidying their tables."""

import os
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import core
from core.analysis.curves import CURVE_COLUMNS
from core.analysis.samples.selection import offered_poolings
from core.study.store.opening import StudyError, load_study
from explorer.studies.loading import (
    SUBSAMPLE_COLUMNS,
    bundled_studies,
    first_study,
    read_study,
    study_stamp,
)


def test_the_dogs_come_first_and_folders_without_a_study_are_left_out(tmp_path, study_writer):
    for name in ("digits", "dogs", "art"):
        study_writer(tmp_path / name, layers=[("a_conv", "Conv2D", 4, 2)])
    (tmp_path / "empty").mkdir()
    assert list(bundled_studies(tmp_path)) == ["dogs", "art", "digits"]


def test_the_networks_of_the_ranking_come_last(tmp_path, study_writer):
    for name in ("ranking/resnet50", "zebras", "dogs"):
        study_writer(tmp_path / name, layers=[("a_conv", "Conv2D", 4, 2)])
    assert list(bundled_studies(tmp_path)) == ["dogs", "zebras", "ranking-resnet50"]


@pytest.mark.parametrize("name", ["digits", *(name for name in bundled_studies() if name.startswith("dogs"))])
def test_bundled_studies_have_a_plane_at_every_layer_whose_neighbors_they_store(name):
    study = load_study(bundled_studies()[name])
    assert set(study.projection["layer"]) >= set(study.table("neighbors", ["layer"])["layer"])
    assert len(study.projection) == len(study.samples) * study.projection["layer"].nunique()


def test_the_notebook_s_replication_is_not_offered_as_a_study(tmp_path, study_writer):
    study_writer(tmp_path / "notebook", layers=[("a_conv", "Conv2D", 4, 2)])
    assert bundled_studies(tmp_path) == {}


@pytest.mark.parametrize(
    ("arguments", "environ", "expected"),
    [
        ([], {}, None),
        (["--study", "a"], {}, "a"),
        (["--study=a"], {"SI_EXPLORER_STUDY": "b"}, "a"),
        (["-q", "tests", "--other=1"], {"SI_EXPLORER_STUDY": "b"}, "b"),
        (["--study"], {}, None),
        ([], {"SI_EXPLORER_STUDY": ""}, None),
    ],
)
def test_the_command_line_comes_before_the_environment(arguments, environ, expected):
    assert first_study(arguments, environ) == expected


def test_curves_hold_si_cross_and_knn(tiny_study):
    study = read_study(tiny_study)
    assert list(study.curves.columns) == CURVE_COLUMNS
    kinds = set(zip(study.curves["measure"], study.curves["samples"], strict=True))
    assert kinds == {("SI", "train"), ("SI", "test"), ("SI", "cross"), ("kNN", "train"), ("kNN", "test")}
    assert study.curves["position"].is_monotonic_increasing


def test_a_layer_without_space_stands_in_both_poolings_with_the_same_values(tiny_study):
    curves = read_study(tiny_study).curves
    pooled = curves[curves["layer"] == "avg_pool"].set_index(["pooling", "measure", "samples"])["value"]
    assert len(pooled) == 10
    assert pooled["mean"].sort_index().equals(pooled["flat"].sort_index())


def test_without_means_nothing_is_called_a_mean(tmp_path, study_writer):
    curves = read_study(study_writer(tmp_path / "flat", layers=[("head", "Dense", 4, 1)], poolings=["flat"])).curves
    assert set(curves["pooling"]) == {"flat"}


def test_other_measures_subsamples_repeats_and_orders_make_no_curve(tmp_path, study_writer):
    def add_others(frame):
        within = frame[frame["measure"] == "separation"]
        others = [
            within.assign(measure="soft", order=3),
            frame.assign(sampling="subsample", num_queries=50),
            frame.assign(repeat=1),
            frame.assign(ties="all"),
            frame.assign(metric="cosine"),
            frame[frame["measure"] == "knn"].assign(order=10),
            within.assign(measure="linear_probe", order=np.nan),
        ]
        return pd.concat([frame, *others], ignore_index=True)

    layers = [("a_conv", "Conv2D", 4, 2)]
    plain = read_study(study_writer(tmp_path / "plain", layers=layers)).curves
    mixed = read_study(study_writer(tmp_path / "mixed", layers=layers, change=add_others)).curves
    assert len(plain) == len(mixed) == 10
    assert set(mixed["order"]) == {1, 5}
    assert mixed["order"].dtype == int


def test_subsamples_stand_apart_from_the_curves(sized_study):
    study = read_study(sized_study)
    assert list(study.subsamples.columns) == SUBSAMPLE_COLUMNS
    assert set(study.subsamples["sampling"]) == {"subsample", "queries"}
    assert set(study.subsamples["repeat"]) == {1, 2, 3}
    assert set(study.curves["sampling"]) == {"full"}
    head = study.subsamples[study.subsamples["layer"] == "avg_pool"]
    assert head.groupby("pooling").size().to_dict() == {"flat": 36, "mean": 36}


def test_a_study_without_sizes_has_no_subsamples(tiny_study):
    assert read_study(tiny_study).subsamples.empty


def test_curves_carry_what_judges_them(sized_study):
    curves = read_study(sized_study).curves
    separation = curves[curves["measure"] == "SI"]
    assert separation[["low", "high", "target", "z", "p_value", "q_value"]].notna().all(axis=None)
    assert set(separation["target"]) == {"population"}


def test_a_study_of_features_can_be_read(tmp_path):
    rng = np.random.default_rng(0)
    features = {"layer1": rng.normal(size=(20, 3)), "layer2": rng.normal(size=(20, 2, 2))}
    core.study_from_features(features, rng.integers(0, 2, 20), out=tmp_path / "features")
    study = read_study(tmp_path / "features")
    assert study.layers["layer"].to_list() == ["layer1", "layer2"]
    assert set(study.curves["pooling"]) == {"flat"}
    assert study.layers["kind"].to_list() == ["", ""]


def test_a_study_without_rows_is_no_error(tmp_path, study_writer):
    study = read_study(study_writer(tmp_path / "started", layers=[], info={"state": "running"}))
    assert study.curves.empty
    assert study.layers.empty


def test_what_is_no_study_is_refused(tmp_path):
    with pytest.raises(StudyError, match=r"study\.json"):
        read_study(tmp_path)


def test_the_stamp_changes_when_a_table_does(tiny_study):
    before = study_stamp(tiny_study)
    assert read_study(tiny_study).stamp == before
    os.utime(tiny_study / "measurements.parquet", ns=(0, 0))
    changed = study_stamp(tiny_study)
    assert changed != before
    for name in ("timing.json", "blocks.json"):
        (tiny_study / name).touch()
        assert study_stamp(tiny_study) != changed
        changed = study_stamp(tiny_study)
    assert not any(study_stamp(Path("nowhere")))


@pytest.mark.parametrize(
    ("values", "offered"),
    [
        ([("a", "mean", 0.1), ("a", "flat", 0.2)], ("mean", "flat")),
        ([("a", "mean", 0.1), ("head", "mean", 0.5), ("head", "flat", 0.5)], ("mean",)),
        ([("head", "flat", 0.5)], ("flat",)),
        ([("a", "mean", np.nan), ("a", "flat", np.nan)], ("mean",)),
        ([], ()),
    ],
)
def test_all_activations_are_offered_only_where_they_differ_from_the_means(values, offered):
    curves = pd.DataFrame(values, columns=["layer", "pooling", "value"]).assign(measure="SI", samples="test")
    assert offered_poolings(curves) == offered
