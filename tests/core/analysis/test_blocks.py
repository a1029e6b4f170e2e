"""SI across blocks by hand, and blocks taken out of a network that was made so that one of them matters."""

import dataclasses
import json
import shutil
import signal
from collections.abc import Iterator
from pathlib import Path

import keras
import numpy as np
import pandas as pd
import pytest

import core
from core.analysis.cut.blocks import (
    Together,
    Verified,
    cannot_verify,
    separation_across_blocks,
    verdicts,
    verify_blocks,
    with_verified,
)
from core.analysis.cut.verified_blocks import load_verified, save_verified
from core.cli import main
from core.measures.paired import paired_difference
from core.report.words.blocks import blocks_text
from core.study.reopening import reopen_plan
from core.study.store.opening import Study, StudyError, load_study
from core.study.store.writing import begin, end, write_layer
from explorer.studies.loading import DEMO

pytestmark = pytest.mark.slow

SAMPLES = 200
#        layer, block, samples whose nearest agrees
LAYERS = (("stem", "stem", 60), ("a_conv", "block1a", 10), ("a_add", "block1a", 61), ("b_add", "block1b", 160))


@pytest.fixture(autouse=True)
def _handlers_as_before() -> Iterator[None]:
    """The command takes over SIGTERM, as a process of its own may."""
    before = signal.getsignal(signal.SIGTERM)
    yield
    signal.signal(signal.SIGTERM, before)


def write(folder: Path) -> Study:
    """SI hardly rises across block1a, and far across block1b; in between it falls."""
    folder.mkdir()
    numbers = np.arange(SAMPLES)
    samples = pd.DataFrame({"sample": numbers, "split": "test", "label": numbers % 2, "class_name": "c", "source": ""})
    info = begin(folder, {}, samples.assign(id=numbers.astype(str)))
    for position, (name, block, count) in enumerate([*LAYERS, ("avg_pool", "avg", 160)]):
        agrees, place = numbers < count, {"split": "test", "layer": name, "pooling": "mean"}
        row = {"position": position, "layer": name, "kind": "Add", "block": block}
        row |= {"output_shape": [2, 2, 4] if block != "avg" else [4], "cumulative_parameters": 10 * position**2}
        value = place | {"measure": "separation", "order": 1, "repeat": 0, "sampling": "full", "value": count / SAMPLES}
        value |= {"target": "population", "metric": "euclidean", "ties": "first", "num_queries": SAMPLES}
        near = {"sample": numbers, "nearest": (numbers + np.where(agrees, 2, 1)) % SAMPLES, "same_label": agrees}
        near |= place | {"rank": 1, "nearest_split": "test", "distance": 1.0}
        tables = {"layers": pd.DataFrame([row]), "measurements": pd.DataFrame([value]), "neighbors": pd.DataFrame(near)}
        write_layer(folder, position, tables)
    end(folder, info, complete=True)
    return load_study(folder)


def test_blocks_reach_from_the_last_layer_before_to_their_own_last(tmp_path):
    table = separation_across_blocks(write(tmp_path / "study"))
    assert table[["block", "input", "output"]].to_numpy().tolist() == [
        ["block1a", "stem", "a_add"],
        ["block1b", "a_add", "b_add"],
    ]
    assert table["difference"].to_numpy() == pytest.approx([0.005, 0.495])
    assert table["parameters"].tolist() == [40, 50]
    assert table["parameters_share"].to_numpy() == pytest.approx([40 / 160, 50 / 160])
    assert table["paired"].all()


def test_a_layer_without_a_value_ends_no_block(tmp_path):
    study = write(tmp_path / "study")
    table = pd.read_parquet(study.path / "measurements.parquet")
    table.loc[table["layer"] == "a_add", "value"] = np.nan
    table.to_parquet(study.path / "measurements.parquet")
    blocks = separation_across_blocks(load_study(study.path))
    assert blocks[["block", "input", "output"]].to_numpy().tolist() == [
        ["block1a", "stem", "a_conv"],
        ["block1b", "a_conv", "b_add"],
    ]


def test_the_blocks_of_a_bundled_study():
    table = separation_across_blocks(load_study(DEMO / "dogs"))
    assert table["difference"].to_numpy() == pytest.approx((table["after"] - table["before"]).to_numpy())
    assert (table["output"].iloc[-1], table["input"].iloc[0]) == ("top_conv", "stem_conv")
    assert table["parameters_share"].sum() < 1
    assert "redundant" not in table


def test_the_interval_is_the_paired_one(tmp_path):
    study = write(tmp_path / "study")
    near = study.neighbors
    before, after = (near[near["layer"] == name].sort_values("sample") for name in ("stem", "a_add"))
    nodes = {"nodes_before": before[["sample", "nearest"]], "nodes_after": after[["sample", "nearest"]]}
    expected = paired_difference(before["same_label"], after["same_label"], np.full(SAMPLES, "c"), **nodes).interval()
    row = separation_across_blocks(study).iloc[0]
    assert (row["low"], row["high"]) == pytest.approx(expected)


def test_features_have_no_blocks(tmp_path):
    features = core.study_from_features({"a": np.eye(4), "b": np.eye(4)}, [0, 0, 1, 1], out=tmp_path / "features")
    with pytest.raises(StudyError, match="must have layers of at least two blocks"):
        separation_across_blocks(features)  # without test samples, those for training
    has = "has no separation, mean, of test samples; it has separation, flat, of train samples"
    with pytest.raises(StudyError, match=has):
        separation_across_blocks(features, split="test")


@pytest.fixture(scope="module")
def study(tmp_path_factory) -> Study:
    """Digits, and a network whose blocks a and c add nothing; without b, which turns the sign, it names the least."""
    layers, folder = keras.layers, tmp_path_factory.mktemp("blocks")
    image = keras.Input((8, 8, 3), name="image")
    spread = keras.initializers.GlorotUniform(seed=0)
    x = layers.Conv2D(32, 4, strides=4, kernel_initializer=spread, name="stem_conv")(layers.Rescaling(1 / 255)(image))
    for name, factor in (("block1a", 0.0), ("block1b", -2.0), ("block1c", 0.0)):
        turned = keras.initializers.Constant(factor * np.eye(32)[None, None])
        conv = layers.Conv2D(32, 1, use_bias=False, kernel_initializer=turned, name=f"{name}_conv")(x)
        x = layers.Add(name=f"{name}_add")([conv, x])
    pooled = layers.Flatten()(x)
    model = keras.Model(image, layers.Dense(10, name="predictions")(pooled), name="tiny")
    images = core.plan_study(core.StudyOptions("digits", model="pixels", per_class=20)).images
    features = np.asarray(keras.Model(image, pooled)(images.load(np.arange(len(images)), (8, 8))))
    solved = np.linalg.lstsq(np.c_[features, np.ones(len(features))], np.eye(10)[images.labels], rcond=None)[0]
    model.get_layer("predictions").set_weights([solved[:-1], solved[-1]])
    model.save(folder / "tiny.keras")
    options = core.StudyOptions("digits", weights=str(folder / "tiny.keras"), per_class=20, probe=False)
    return core.run_study(options, folder / "study")


@pytest.fixture(scope="module")
def verified(study) -> Verified:
    return verify_blocks(reopen_plan(study), separation_across_blocks(study), tolerance=0.02)


def test_a_block_that_adds_nothing_is_not_worse_and_one_that_turns_the_sign_is(verified):
    first, second, third = verified.blocks.to_dict("records")
    assert verified.num_test == 200
    assert verified.accuracy > 0.7
    assert (first["accuracy"], first["change"]) == (verified.accuracy, 0)
    assert (third["accuracy"], third["change"]) == (verified.accuracy, 0)
    assert second["accuracy"] < 0.3
    assert second["high"] < -0.3
    assert verdicts(verified.blocks, 0.05).tolist() == ["not worse", "worse", "not worse"]


def test_intervals_are_paired_and_corrected_for_the_number_of_blocks(verified):
    # Three blocks: 1 - 0.05 / 3 each, 2.394 standard errors. No image changed: Agresti and Min's standard error of 0 of
    # 200 is sqrt(1 / 202 / 202).
    row = verified.blocks.iloc[0]
    assert verified.level == pytest.approx(1 - 0.05 / 3)
    assert (row["low"], row["high"]) == pytest.approx((-2.394 / 202, 2.394 / 202), abs=1e-5)


def test_blocks_that_are_not_worse_are_taken_out_together(verified, study):
    assert verified.together == Together(
        ("block1a", "block1c"), 0.02, verified.accuracy, 0.0, *verified.blocks[["low", "high"]].iloc[0]
    )
    strict = verify_blocks(reopen_plan(study), separation_across_blocks(study), tolerance=0.01)
    assert strict.together is None  # 200 images cannot decide about a hundredth


@pytest.mark.parametrize(
    ("low", "high", "tolerance", "verdict"),
    [
        (-0.009, 0.02, 0.01, "not worse"),
        (-0.01, 0.02, 0.01, "cannot be decided"),
        (-0.009, -0.001, 0.01, "not worse"),  # certainly a little worse, but within the tolerance
        (-0.05, -0.01, 0.01, "cannot be decided"),
        (-0.05, -0.011, 0.01, "worse"),
        (-0.05, -0.011, 0.06, "not worse"),
        (np.nan, np.nan, 0.01, ""),
    ],
)
def test_the_verdict_is_what_the_interval_says(low, high, tolerance, verdict):
    assert verdicts(pd.DataFrame({"low": [low], "high": [high]}), tolerance).tolist() == [verdict]


@pytest.mark.parametrize("tolerance", [0, 1, -0.1, float("nan")])
def test_a_tolerance_is_a_share(tolerance):
    with pytest.raises(ValueError, match="tolerance must lie between 0 and 1; got"):
        verdicts(pd.DataFrame({"low": [0.0], "high": [0.1]}), tolerance)


def test_units_are_named_after_the_training_images(study, verified):
    plan = reopen_plan(study)
    model = plan.network.model
    kernel, bias = model.get_layer("predictions").get_weights()
    model.get_layer("predictions").set_weights([kernel[:, ::-1], bias[::-1]])
    assert verify_blocks(plan, separation_across_blocks(study)).accuracy == verified.accuracy


def test_what_cannot_be_verified_is_said(study, tmp_path):
    blocks = separation_across_blocks(study)
    with pytest.raises(StudyError, match="none of them ends in a sum"):
        verify_blocks(reopen_plan(study), blocks.assign(output="stem_conv"))
    assert cannot_verify(study) == ""
    assert "no network" in cannot_verify(write(tmp_path / "features"))
    only_test = Study(tmp_path / "features", {"asked": {"model": "efficientnet-lite0", "data": "digits"}})
    assert "--split both" in cannot_verify(only_test)


@pytest.fixture
def copy(study, tmp_path) -> Study:
    shutil.copytree(study.path, tmp_path / "copy")
    return load_study(tmp_path / "copy")


def test_what_was_measured_is_kept_and_read_again(copy, verified):
    assert load_verified(copy) is None
    together = Together(("block1a", "block1b"), 0.02, 0.5, -0.2, -0.3, -0.1)
    save_verified(copy, reopen_plan(copy), dataclasses.replace(verified, together=together))
    found = load_verified(copy)
    pd.testing.assert_frame_equal(found.blocks, verified.blocks)
    assert (found.accuracy, found.num_test, found.level) == (verified.accuracy, 200, verified.level)
    assert found.together == together
    content = json.loads((copy.path / "blocks.json").read_text(encoding="utf-8"))
    assert content["format"] == 1
    assert content["weights_sha256"] == copy.info["used"]["model"]["weights_sha256"]
    assert content["data_fingerprint"] == copy.info["used"]["data"]["fingerprint"]
    assert not list(copy.path.glob(".blocks.json*"))  # renamed into place
    core.run_study(core.StudyOptions(**options_of(copy)), copy.path)  # the finished study accepts the file
    for num_test in (0, 201, 10**400):
        (copy.path / "blocks.json").write_text(json.dumps(content | {"num_test": num_test}), encoding="utf-8")
        assert load_verified(copy) is None


def options_of(study: Study) -> dict[str, object]:
    return {**study.info["asked"], "sizes": tuple(study.info["asked"]["sizes"])}


@pytest.mark.parametrize(
    "change",
    [
        {"weights_sha256": "another network"},
        {"data_fingerprint": "other images"},
        {"format": 2},
        {"blocks": [{"block": "block1a"}]},
        {"blocks": 3},
        {"accuracy": "high"},
        {"together": {"blocks": ["block1a"]}},
        None,
    ],
)
def test_stale_or_damaged_measurements_are_not_shown(copy, verified, change):
    save_verified(copy, reopen_plan(copy), verified)
    file = copy.path / "blocks.json"
    content = json.loads(file.read_text(encoding="utf-8"))
    file.write_text("[" if change is None else json.dumps(content | change), encoding="utf-8")
    assert load_verified(copy) is None


def test_the_command_measures_keeps_and_shows(copy, capsys):
    assert main(["blocks", str(copy.path)]) == 0
    text = capsys.readouterr().out
    assert "has not been measured" in text
    assert f"python -m core blocks {copy.path} --verify" in text
    assert "verdict" not in text
    assert main(["blocks", str(copy.path), "--verify", "--tolerance", "0.02"]) == 0
    measured = capsys.readouterr().out
    assert "2 of its 3 residual blocks can be left out, one at a time, with" in measured
    assert "certainly not worse by more than 0.02 (block1a, block1c; " in measured
    assert "Without block1a, block1c at once (each not worse by more than 0.02), it is 0." in measured
    assert "It is worse by more than that without 1 (block1b; " in measured
    assert main(["blocks", str(copy.path), "--tolerance", "0.02"]) == 0
    assert capsys.readouterr().out == measured  # from the file, without the network
    assert main(["blocks", str(copy.path), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    # 2.394 / 202 = 0.0119 is more than 0.01
    assert [row["verdict"] for row in found["blocks"]] == ["cannot be decided", "worse", "cannot be decided"]
    assert found["verified"]["num_test"] == 200
    assert found["verified"]["tolerance"] == 0.01


@pytest.mark.parametrize("value", ["0", "1", "-0.1", "nan", "a tenth"])
def test_the_command_refuses_other_tolerances(copy, capsys, value):
    with pytest.raises(SystemExit) as error:
        main(["blocks", str(copy.path), f"--tolerance={value}"])
    assert error.value.code == 2
    assert "must be a number between 0 and 1, such as 0.01" in capsys.readouterr().err


def test_a_folder_that_cannot_be_written_is_no_reason_to_lose_the_result(copy, capsys, monkeypatch):
    def refuse(*_: object) -> None:
        raise PermissionError("read-only")

    monkeypatch.setattr("core.analysis.cut.verified_blocks.write_json", refuse)
    assert main(["blocks", str(copy.path), "--verify"]) == 0
    told = capsys.readouterr()
    assert "blocks.json could not be written" in told.err
    assert "cannot be decided" in told.out


def table_of(*rows: tuple[str, float, float, float]) -> tuple[pd.DataFrame, Verified]:
    """Blocks with half of the parameters in all, and their changes."""
    measured = pd.DataFrame(rows, columns=["block", "change", "low", "high"])
    measured = measured.assign(output=measured["block"], accuracy=0.9 + measured["change"])
    blocks = measured[["block", "output"]].assign(parameters_share=0.5 / len(rows), low=0.0, high=0.0)
    return blocks, Verified(0.9, 100, 0.99, measured)


def test_the_words_name_what_can_go_and_how_many_images_would_decide():
    blocks, verified = table_of(("a", 0, -0.005, 0.005), ("b", -0.005, -0.015, 0.005), ("c", -0.05, -0.08, -0.02))
    text = blocks_text(with_verified(blocks, verified), verified, 0.01)
    assert "accuracy on 100 test images is **0.900**" in text
    assert "**1** of its 3 residual blocks can be left out, one at a time, with the accuracy" in text
    assert "certainly not worse by more than 0.01 (`a`; 17% of the parameters)." in text
    # b: half an interval of 0.010 must shrink to 0.005, which takes 4 times the images
    assert "100 test images cannot decide this for **1**: `b`, which needs the fewest, would need about 400" in text
    assert "worse by more than that without **1** (`c`; 17% of the parameters)." in text
    assert "at once" not in text
    blocks, verified = table_of(("b", -0.005, -0.015, 0.005))
    text = blocks_text(with_verified(blocks, verified), verified, 0.01)
    assert "**None** of its 1 residual blocks can be left out" in text


@pytest.mark.parametrize(("accuracy", "decided"), [(0.59, False), (0.61, True)])
def test_a_network_at_chance_gives_no_verdicts(accuracy, decided):
    """Of 100 images, 95% leave out 0.5 from 60 right ones on; Wilson's interval of 0.59 begins at 0.492."""
    blocks, verified = table_of(("a", 0, -0.005, 0.005), ("b", 0, -0.005, 0.005))
    verified = dataclasses.replace(verified, accuracy=accuracy, chance=0.5)
    table = with_verified(blocks, verified, 0.01)
    assert table["verdict"].tolist() == ["not worse" if decided else "cannot be decided"] * 2
    text = blocks_text(table, verified, 0.01)
    assert (
        "**0.590**, not certainly above 0.500, the accuracy of always predicting the most frequent class" in text
    ) == (not decided)
    assert ("not worse by more" in text) == decided


def test_several_blocks_at_once_are_told_or_said_not_to_be_known():
    blocks, verified = table_of(("a", 0, -0.005, 0.005), ("b", 0, -0.005, 0.005))
    text = blocks_text(with_verified(blocks, verified), verified, 0.01)
    assert text.endswith("What several of them cost at once was not measured, and may be much more.")
    together = Together(("a", "b"), 0.01, 0.8, -0.1, -0.15, -0.05)
    verified = dataclasses.replace(verified, together=together)
    text = blocks_text(with_verified(blocks, verified), verified, 0.01)
    assert text.endswith(
        "Without `a`, `b` at once (each not worse by more than 0.01), it is **0.800**: -0.100 [-0.150, -0.050]."
    )


def test_the_bundled_dogs_bring_what_was_measured():
    study = load_study(DEMO / "dogs")
    verified = load_verified(study)
    assert verified is not None
    assert verified.num_test == 1200
    assert verified.accuracy == pytest.approx(0.873, abs=5e-4)
    table = with_verified(separation_across_blocks(study), verified)
    assert (table["verdict"] != "").sum() == 9
    assert verified.level == pytest.approx(1 - 0.05 / 9)
