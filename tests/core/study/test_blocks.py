"""Redundant blocks by hand, and taken out of a network that was made so that one of them matters."""

import json
import signal
from collections.abc import Iterator
from pathlib import Path

import keras
import numpy as np
import pandas as pd
import pytest

import core
from core.cli import main
from core.measures.paired import paired_difference
from core.study.blocks import redundant_blocks, verify_blocks
from core.study.reopening import reopen_plan
from core.study.results import Study, StudyError, load_study
from core.study.writing import begin, end, write_layer
from explorer.data import DEMO

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
        near = {"sample": numbers, "nearest": (numbers + np.where(agrees, 2, 1)) % SAMPLES, "agrees": agrees}
        near |= place | {"rank": 1, "nearest_split": "test", "distance": 1.0}
        tables = {"layers": pd.DataFrame([row]), "measurements": pd.DataFrame([value]), "neighbors": pd.DataFrame(near)}
        write_layer(folder, position, tables)
    end(folder, info, complete=True)
    return load_study(folder)


def test_blocks_reach_from_the_last_layer_before_to_their_own_last(tmp_path):
    table = redundant_blocks(write(tmp_path / "study"))
    assert table[["block", "input", "output"]].to_numpy().tolist() == [
        ["block1a", "stem", "a_add"],
        ["block1b", "a_add", "b_add"],
    ]
    assert table["redundant"].tolist() == [True, False]
    assert table["difference"].to_numpy() == pytest.approx([0.005, 0.495])
    assert table["parameters"].tolist() == [40, 50]
    assert table["parameters_share"].to_numpy() == pytest.approx([40 / 160, 50 / 160])
    assert table["paired"].all()


def test_the_blocks_of_a_bundled_study():
    table = redundant_blocks(load_study(DEMO / "dogs"))
    assert (table["redundant"] == (table["low"] <= 0)).all()
    assert table["difference"].to_numpy() == pytest.approx((table["after"] - table["before"]).to_numpy())
    assert (table["output"].iloc[-1], table["input"].iloc[0]) == ("top_conv", "stem_conv")
    found = table.set_index("block")
    assert not found.loc["block7a", "redundant"]  # from 0.37 to 0.56
    assert found.loc["block1a", "redundant"]  # both at chance
    assert found["parameters_share"].sum() < 1


def test_the_interval_is_the_paired_one(tmp_path):
    study = write(tmp_path / "study")
    near = study.neighbors
    before, after = (near[near["layer"] == name].sort_values("sample") for name in ("stem", "a_add"))
    nodes = {"nodes_before": before[["sample", "nearest"]], "nodes_after": after[["sample", "nearest"]]}
    expected = paired_difference(before["agrees"], after["agrees"], np.full(SAMPLES, "c"), **nodes).interval()
    row = redundant_blocks(study).iloc[0]
    assert (row["low"], row["high"]) == pytest.approx(expected)


def test_features_have_no_blocks(tmp_path):
    features = core.study_from_features({"a": np.eye(4), "b": np.eye(4)}, [0, 0, 1, 1], out=tmp_path / "features")
    with pytest.raises(StudyError, match="must have layers of at least two blocks"):
        redundant_blocks(features, split="train")


@pytest.fixture(scope="module")
def study(tmp_path_factory) -> Study:
    """Digits, and a network whose block1a adds nothing; without block1b, which turns the sign, it names the least."""
    layers, folder = keras.layers, tmp_path_factory.mktemp("blocks")
    image = keras.Input((8, 8, 3), name="image")
    spread = keras.initializers.GlorotUniform(seed=0)
    x = layers.Conv2D(32, 4, strides=4, kernel_initializer=spread, name="stem_conv")(layers.Rescaling(1 / 255)(image))
    for name, factor in (("block1a", 0.0), ("block1b", -2.0)):
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


def test_a_block_that_adds_nothing_is_harmless_and_one_that_turns_the_sign_is_not(study):
    verified = verify_blocks(reopen_plan(study), redundant_blocks(study))
    first, second = verified.blocks.to_dict("records")
    assert verified.num_test == 200
    assert verified.accuracy > 0.7
    assert (first["bypassed"], first["change"], first["harmless"]) == (verified.accuracy, 0, True)
    assert second["bypassed"] < 0.3
    assert second["change_high"] < -0.3
    assert (first["redundant"], first["right"]) == (True, True)
    assert (second["redundant"], second["right"]) == (True, False)  # SI sees no sign: distances are the same
    together = verified.together.iloc[0]
    assert (together["num_blocks"], together["bypassed"]) == (2, second["bypassed"])


def test_units_are_named_after_the_training_images(study, tmp_path):
    plan = reopen_plan(study)
    model = plan.network.model
    kernel, bias = model.get_layer("predictions").get_weights()
    before = verify_blocks(plan, redundant_blocks(study)).accuracy
    model.get_layer("predictions").set_weights([kernel[:, ::-1], bias[::-1]])
    assert verify_blocks(plan, redundant_blocks(study)).accuracy == before


def test_what_cannot_be_verified_is_said(study):
    blocks = redundant_blocks(study)
    with pytest.raises(StudyError, match="None of the blocks ends in a sum"):
        verify_blocks(reopen_plan(study), blocks.assign(output="stem_conv"))


def test_the_command(study, capsys):
    assert main(["blocks", str(study.path), "--verify"]) == 0
    text = capsys.readouterr().out
    assert "SI does not certainly rise across 2 of 2 blocks" in text
    assert "redundant, and without it at most 1 point lost: 1 of 2" in text
    assert "all 2 redundant at once" in text
    assert main(["blocks", str(study.path), "--json"]) == 0
    assert [row["block"] for row in json.loads(capsys.readouterr().out)["blocks"]] == ["block1a", "block1b"]
