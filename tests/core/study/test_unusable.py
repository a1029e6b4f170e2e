"""Layers whose activations are the same for all samples, or not finite: named, left without values, others measured."""

import math
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import core
from core.study.measuring.layer_tables import measure_layer
from core.study.measuring.unusable import (
    CONSTANT,
    SlicedSurvey,
    UnusableLayer,
    first_not_finite,
    layer_note,
    survey,
    unusable_cautions,
)
from core.study.samples import MeasureOptions, StudySamples

pytestmark = pytest.mark.slow

NAN, INF = math.nan, math.inf
SMALL = {"per_class": 4, "probe": False, "projection": "none"}


@pytest.mark.parametrize(
    ("rows", "note"),
    [
        ([[1, 2], [1, 2], [1, 3]], ""),
        ([[1, 2], [1, 2], [1, 2]], CONSTANT),
        ([[0.0, 2], [-0.0, 2]], CONSTANT),
        ([[1, NAN], [1, 2], [INF, 2]], "not finite for 2 of 3 samples"),
        ([[NAN, NAN], [NAN, NAN]], "not finite for 2 of 2 samples"),
        ([[1, -INF], [1, -INF]], "not finite for 2 of 2 samples"),
    ],
)
def test_a_survey_whole_by_rows_and_by_columns(rows, note):
    features = np.array(rows, np.float32)
    assert survey(features).note == note
    parts = [survey(features[number : number + 1]) for number in range(len(features))]
    by_rows = parts[0]
    for part in parts[1:]:
        by_rows = by_rows.with_more(part)
    assert by_rows.note == note
    by_columns = SlicedSurvey(len(features))
    for column in range(features.shape[1]):
        by_columns.add(features[:, column : column + 1])
    assert by_columns.note == note


def test_the_first_number_that_is_not_finite():
    assert first_not_finite(np.array([[1.0, 2], [3, NAN], [INF, 4]])) == (1, 1)
    assert first_not_finite(np.ones((2, 2))) is None
    assert first_not_finite(np.arange(4).reshape(2, 2)) is None


@pytest.mark.parametrize(
    ("notes", "expected"),
    [
        ({"flat": "", "mean": ""}, None),
        ({"mean": CONSTANT}, CONSTANT),
        ({"flat": CONSTANT, "mean": CONSTANT}, CONSTANT),
        ({"flat": "", "mean": CONSTANT}, f"mean: {CONSTANT}"),
    ],
)
def test_the_note_of_a_layer(notes, expected):
    assert layer_note(notes) == expected


def test_a_caution_names_the_first_layer_and_counts_the_others():
    notes = [None, "not finite for 3 of 9 samples", CONSTANT, "not finite for 9 of 9 samples"]
    cautions = unusable_cautions(pd.DataFrame({"layer": ["a", "b", "c", "d"], "note": notes}))
    assert [text.partition(":")[0] for text in cautions] == [
        "The activations of b are not finite for 3 of 9 samples, and are so at 1 later layer",
        f"The activations of c are {CONSTANT}",
    ]
    assert "mixed precision" in cautions[0]
    assert "dead layer" in cautions[1]


SAMPLES = StudySamples(
    tuple(map(str, range(12))),
    np.tile([0, 1], 6),
    ("a", "b"),
    np.repeat(["train", "test"], 6),
    tuple(map(str, range(12))),
)
KEYS = ["split", "pooling", "metric", "measure", "order", "sampling", "repeat", "num_queries", "num_references"]


@pytest.mark.parametrize(
    "given", [np.full((12, 3), 7, np.float32), np.full((12, 3), NAN, np.float32), UnusableLayer("x")]
)
@pytest.mark.parametrize(
    "options", [MeasureOptions(), MeasureOptions(sizes=(4,), repeats=2, centers=True, related_measures=True)]
)
def test_a_layer_without_values_has_the_rows_of_any_other(given, options):
    layer = {"layer": "conv", "position": 1, "output_shape": [3], "num_features": 3}
    usual = np.random.default_rng(0).random((12, 3), dtype=np.float32)
    expected = measure_layer(layer, {"flat": usual}, SAMPLES, options)
    tables = measure_layer(layer, {"flat": given}, SAMPLES, options)
    rows, others = tables["measurements"], expected["measurements"]
    pd.testing.assert_frame_equal(rows[KEYS], others[KEYS])
    assert rows[["value", "low", "high", "excess", "z", "p_value"]].isna().all(axis=None)
    of_labels = ~others["measure"].str.startswith("center")
    pd.testing.assert_series_equal(rows["chance"][of_labels], others["chance"][of_labels])
    assert rows["chance"][~of_labels].isna().all()
    assert len(tables["neighbors"]) == len(tables["classes"]) == 0
    assert tables["layers"]["note"].item()
    assert expected["layers"]["note"].isna().all()


def test_one_pooling_may_be_the_same_for_all_samples():
    """Positive and negative numbers that differ, and have the mean 0 in every sample."""
    rng = np.random.default_rng(0)
    half = rng.integers(1, 9, (12, 2)).astype(np.float32)
    layer = {"layer": "norm", "position": 1, "output_shape": [2, 2, 1], "num_features": 4, "channels": 1}
    given = {"flat": np.hstack([half, -half]), "mean": np.zeros((12, 1), np.float32)}
    tables = measure_layer(layer, given, SAMPLES, MeasureOptions())
    values = tables["measurements"].query("measure == 'separation'").set_index("pooling")["value"]
    assert values["flat"].notna().all()
    assert values["mean"].isna().all()
    assert tables["layers"]["note"].item() == f"mean: {CONSTANT}"


# Studies of networks


def broken_network(path: Path) -> str:
    """A layer that is dead, one that overflows, and those behind it, between layers that are sound."""
    keras = pytest.importorskip("keras")
    constant, layers = keras.initializers.Constant, keras.layers
    image = keras.Input((8, 8, 3))
    first = layers.Conv2D(4, 3, name="first", activation="relu", bias_initializer=constant(1.0))(image)
    dead = layers.Conv2D(4, 1, name="dead", activation="relu", bias_initializer=constant(-1e9))(first)
    total = layers.Add(name="total")([first, dead])
    x = layers.Conv2D(2, 1, name="overflow", kernel_initializer=constant(3e38))(total)
    x = layers.GlobalAveragePooling2D(name="pool")(x)
    keras.Model(image, layers.Dense(3, name="head")(x), name="broken").save(path)
    return str(path)


@pytest.fixture(scope="module")
def broken(tmp_path_factory: pytest.TempPathFactory) -> str:
    return broken_network(tmp_path_factory.mktemp("network") / "broken.keras")


SOUND, UNUSABLE = ["first", "total"], ["dead", "overflow", "pool", "head"]


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"pooling": "both"},
        {"precision": 0.2, "pilot": 8},
        {"sizes": (20, 30, 35), "related_measures": True, "protocol": "notebook"},
    ],
    ids=["mean", "both", "pilot", "everything"],
)
def test_all_other_layers_of_a_network_are_measured(broken, options, tmp_path):
    study = core.run_study(core.StudyOptions("digits", weights=broken, **SMALL | options), tmp_path / "study")
    assert study.state == "complete"
    notes = study.layers.set_index("layer")["note"]
    assert notes[SOUND].isna().all()
    assert notes["dead"] == CONSTANT
    assert notes["overflow"].startswith("not finite for ")
    values = study.measurements.query("measure in ('separation', 'cross') and repeat == 0")
    values = values.astype({"layer": str}).groupby("layer")["value"]
    for layer in SOUND:
        assert values.get_group(layer).between(0, 1).all()
    for layer in UNUSABLE:
        assert values.get_group(layer).isna().all()
    overflow, dead = (text for text in study.info["cautions"] if "activations" in text)
    assert overflow.startswith("The activations of overflow are not finite")
    assert "2 later layers" in overflow
    assert dead.startswith("The activations of dead are the same for all samples")


def test_a_layer_in_slices_is_looked_at_slice_by_slice(tmp_path):
    """Wider than a slice, and too large for the memory."""
    keras = pytest.importorskip("keras")
    image = keras.Input((48, 48, 3))
    sound = keras.layers.Conv2D(16, 1, name="sound")(image)
    dead = keras.layers.Conv2D(16, 1, name="dead", kernel_initializer="zeros")(sound)
    pooled = keras.layers.GlobalAveragePooling2D(name="pool")(keras.layers.Add(name="total")([sound, dead]))
    path = tmp_path / "wide.keras"
    keras.Model(image, pooled).save(path)
    options = core.StudyOptions("digits", weights=str(path), layers="sound,dead", pooling="flat", **SMALL)
    plan = core.plan_study(options, memory=8 << 20)
    assert all(pass_.slices for pass_ in plan.passes())
    study = core.run_study(plan, tmp_path / "study")
    assert study.layers["note"].fillna("").tolist() == ["", CONSTANT]
    values = study.measurements.query("measure == 'separation'").groupby("layer", observed=True)["value"]
    assert values.get_group("sound").notna().all()
    assert values.get_group("dead").isna().all()


def test_a_study_that_goes_on_keeps_its_notes(broken, tmp_path):
    """Stopped behind the layers without values; they are told of in the end all the same."""

    def stop(progress: core.study.plan.Progress) -> None:
        if progress.stage.endswith("neighbors in pool"):
            raise KeyboardInterrupt

    options = core.StudyOptions("digits", weights=broken, **SMALL)
    with pytest.raises(KeyboardInterrupt):
        core.run_study(options, tmp_path / "study", progress=stop)
    assert len(core.load_study(tmp_path / "study").info["cautions"]) == 2
    study = core.run_study(options, tmp_path / "study")
    assert study.state == "complete"
    whole = core.run_study(options, tmp_path / "whole")
    assert study.info["cautions"] == whole.info["cautions"]
    pd.testing.assert_frame_equal(study.layers, whole.layers)


def test_the_command_shows_layers_without_values(broken, tmp_path, capsys):
    from core.cli import main

    arguments = ["study", "digits", "--weights", broken, "--per-class", "4", "--out", str(tmp_path / "study")]
    assert main(arguments) == 0
    printed = capsys.readouterr().out
    assert [line.split()[0] for line in printed.splitlines()[2:8]] == [
        "first", "dead", "total", "overflow", "pool", "head"
    ]  # fmt: skip
    assert "note: The activations of overflow are not finite" in printed


def test_a_training_goes_on_where_the_network_diverges(tmp_path):
    keras = pytest.importorskip("keras")
    rng = np.random.default_rng(0)
    images, labels = rng.random((24, 6, 6, 3), dtype=np.float32), np.tile([0, 1, 2], 8)
    model = keras.Sequential(
        [keras.Input((6, 6, 3)), keras.layers.Conv2D(3, 3, name="conv"), keras.layers.Flatten(), keras.layers.Dense(3)]
    )
    model.compile(keras.optimizers.SGD(1e30), "mse")
    callback = core.SeparationCallback((images, labels), out=tmp_path / "study", every=1)
    model.fit(images, np.eye(3, dtype=np.float32)[labels], epochs=2, verbose=0, callbacks=[callback])
    study = core.load_study(tmp_path / "study")
    assert study.layers["note"].str.startswith("not finite").all()
    assert any("are not finite" in text for text in study.info["cautions"])


# Ready-made features


@pytest.mark.parametrize("wrong", [NAN, INF])
def test_features_that_are_not_finite_are_refused_by_layer_and_row(wrong, tmp_path):
    features = np.random.default_rng(0).random((8, 2, 3))
    features[5, 1, 0] = wrong
    layers = {"conv1": np.ones((8, 2)) * np.arange(8)[:, None], "conv2": features}
    with pytest.raises(
        ValueError, match=rf"features of 'conv2' must be finite; got {wrong} in row 5 \(sample '5'\), col"
    ):
        core.study_from_features(layers, [0, 1] * 4, out=tmp_path / "study")


def test_features_that_are_the_same_for_all_samples_have_no_values(tmp_path):
    layers = {"dead": np.zeros((8, 4)), "sound": np.arange(8.0)[:, None]}
    study = core.study_from_features(layers, [0, 0, 0, 0, 1, 1, 1, 1], out=tmp_path / "study")
    values = study.measurements.query("measure == 'separation'").set_index("layer")["value"]
    assert math.isnan(values["dead"])
    assert values["sound"] == 7 / 8  # sample 4 is as near to 3 as to 5, and the first one counts
    first = study.info["cautions"][0]  # a second one tells of ties among so few samples
    assert first.partition(":")[0] == f"The activations of dead are {CONSTANT}"
