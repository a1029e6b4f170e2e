"""A fine-tuning's folder: what it says, what it refuses, and that its networks can be studied."""

import json
from dataclasses import replace
from pathlib import Path

import keras
import numpy as np
import pandas as pd
import pytest
from PIL import Image

import core
from core.study.store.opening import StudyError
from core.study.store.writing import study_lock
from core.training.augmentation import Augmentation
from core.training.fine_tuning import FineTuned, FineTuneOptions, fine_tune
from core.training.options import TrainingOptions
from core.training.phases import TrainingProgress
from core.training.recording.epochs import read_history, recorded_epochs

pytestmark = pytest.mark.slow

TRAINING = TrainingOptions(head_epochs=2, tail_epochs=1, batch_size=16, unfreeze="top_conv")


def save_network(path: Path) -> str:
    layers = keras.layers
    image = keras.Input((16, 16, 3), name="image")
    x = layers.Rescaling(1 / 255, name="rescaling")(image)
    x = layers.Conv2D(
        6, 3, 2, activation="relu", kernel_initializer=keras.initializers.GlorotUniform(1), name="stem_conv"
    )(x)
    x = layers.Conv2D(
        8, 3, 2, activation="relu", kernel_initializer=keras.initializers.GlorotUniform(2), name="top_conv"
    )(x)
    keras.Model(image, layers.GlobalAveragePooling2D(name="avg_pool")(x), name="tiny").save(path)
    return str(path)


@pytest.fixture(scope="module")
def options(tmp_path_factory: pytest.TempPathFactory) -> FineTuneOptions:
    network = save_network(tmp_path_factory.mktemp("network") / "tiny.keras")
    return FineTuneOptions("digits", None, network, TRAINING, per_class=4, cache=True, variants=1)


@pytest.fixture(scope="module")
def tuned(options: FineTuneOptions, tmp_path_factory: pytest.TempPathFactory) -> FineTuned:
    return fine_tune(options, tmp_path_factory.mktemp("tuned") / "digits")


def test_what_is_in_the_folder(tuned):
    names = {path.name for path in tuned.path.iterdir()}
    assert names == {".lock", "training.json", "history.parquet", "head.keras", "final.keras"}
    assert tuned.history[["phase", "epoch"]].to_numpy().tolist() == [["head", 1], ["head", 2], ["tail", 1]]
    assert list(tuned.history) == ["phase", "epoch", "loss", "accuracy", "val_loss", "val_accuracy"]
    assert tuned.history["accuracy"].between(0, 1).all()


def test_what_training_json_says(tuned, options):
    info = tuned.info
    assert info["state"] == "complete"
    assert info["asked"]["training"]["tail_learning_rate"] == 1e-4
    assert info["class_names"] == list("0123456789")
    assert info["used"]["data"]["num_train"] == info["used"]["data"]["num_test"] == 40
    assert info["used"]["execution"] == {"num_variants": 1, "mixed_precision": False}
    assert info["used"]["model"]["input_size"] == [16, 16]
    assert len(info["used"]["model"]["weights_sha256"]) == 64
    assert {"keras", "numpy"} <= set(info["used"]["versions"])


def test_a_complete_training_is_only_read_again(tuned, options):
    before = tuned.final.stat().st_mtime_ns
    seen: list[TrainingProgress] = []
    again = fine_tune(options, tuned.path, progress=seen.append)
    assert {progress.stage for progress in seen} <= {"checking images"}
    assert again.final.stat().st_mtime_ns == before
    pd.testing.assert_frame_equal(again.history, tuned.history)


def changed(options: FineTuneOptions, **training: object) -> FineTuneOptions:
    return replace(options, training=replace(options.training, **training))


@pytest.mark.parametrize(
    ("change", "difference"),
    [
        (lambda options: changed(options, head_learning_rate=0.1), r"training\.head_learning_rate: 0\.01 → 0\.1"),
        (lambda options: changed(options, augmentation=Augmentation(0.1)), r"augmentation\.rotation: 0\.15 → 0\.1"),
        (lambda options: replace(options, per_class=5), r"per_class: 4 → 5; data\.fingerprint"),
        (lambda options: replace(options, variants=2), r"execution\.num_variants: 1 → 2"),
        (lambda options: replace(options, weights="none", model="efficientnet-lite0",
                                 training=replace(TRAINING, tail_epochs=0)), "weights_sha256"),
    ],
)  # fmt: skip
def test_the_same_folder_with_other_options_is_an_error(tuned, options, change, difference):
    with pytest.raises(StudyError, match=rf"holds another training; it differs in .*{difference}"):
        fine_tune(change(options), tuned.path)


def test_the_same_network_under_another_path_is_the_same(tuned, options, tmp_path):
    moved = save_network(tmp_path / "moved.keras")
    assert fine_tune(replace(options, weights=moved), tuned.path).info["state"] == "complete"


def test_a_folder_with_something_else_is_an_error(options, tmp_path):
    (tmp_path / "thesis.tex").touch()
    with pytest.raises(StudyError, match=r"must be empty or hold a training; it has thesis\.tex"):
        fine_tune(options, tmp_path)


def test_a_folder_that_another_run_writes_is_an_error(options, tmp_path):
    with study_lock(tmp_path), pytest.raises(StudyError, match="is being written by another run"):
        fine_tune(options, tmp_path)


def test_a_wrong_pattern_leaves_nothing_behind(options, tmp_path):
    with pytest.raises(ValueError, match="unfreeze must match a layer"):
        fine_tune(changed(options, unfreeze="block9*"), tmp_path / "new")
    assert not (tmp_path / "new").exists()


def test_data_without_a_test_split_is_an_error(options, tmp_path):
    rng = np.random.default_rng(0)
    for name in ("a/0", "a/1", "b/0", "b/1"):
        path = tmp_path / "train" / f"{name}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(rng.integers(0, 256, (16, 16, 3), dtype=np.uint8)).save(path)
    with pytest.raises(ValueError, match=r"only the split 'train'\. Lay them out"):
        fine_tune(replace(options, data=str(tmp_path), per_class=None), tmp_path / "out")


def test_an_interrupted_training_says_so_and_goes_on(tuned, options, tmp_path):
    def stop(progress: TrainingProgress) -> None:
        if progress.stage == "tail":
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fine_tune(options, tmp_path / "out", progress=stop)
    assert json.loads((tmp_path / "out" / "training.json").read_text())["state"] == "partial"
    with pytest.raises(StudyError, match=r"training\.seed: 0 → 1"):
        fine_tune(changed(options, seed=1), tmp_path / "out")
    again = fine_tune(options, tmp_path / "out")
    pd.testing.assert_frame_equal(again.history, tuned.history, check_exact=True)
    assert again.info["state"] == "complete"


def test_both_networks_can_be_studied(tuned, tmp_path):
    for path in (tuned.head, tuned.final):
        asked = core.StudyOptions("digits", None, str(path), per_class=4, neighbors=2, probe=False)
        study = core.run_study(asked, tmp_path / path.stem)
        assert study.layers["layer"].tolist() == ["stem_conv", "top_conv", "avg_pool", "predictions"]


@pytest.mark.parametrize(
    ("gpu", "cache", "expected"), [(False, None, 4), (True, None, None), (True, True, 4), (False, False, None)]
)
def test_the_machine_decides_about_cache_and_precision(monkeypatch, gpu, cache, expected):
    monkeypatch.setattr("core.training.fine_tuning.has_gpu", lambda: gpu)
    execution = FineTuneOptions("digits", cache=cache).execution()
    assert (execution.num_variants, execution.mixed_precision) == (expected, gpu)


@pytest.mark.shared
def test_lite0_learns_six_breeds(dogs_dir, tmp_path):
    """Three images a breed are enough for a head on ImageNet's features; the names of B0 stay."""
    folder = tmp_path / "six"
    for split in ("train", "test"):
        (folder / split).mkdir(parents=True)
        for breed in sorted((dogs_dir / split).iterdir())[:60:10]:
            (folder / split / breed.name).symlink_to(breed)
    training = TrainingOptions(head_epochs=4, tail_epochs=1, batch_size=9)
    tuned = fine_tune(
        FineTuneOptions(str(folder), training=training, per_class=3, cache=True, variants=0), tmp_path / "out"
    )
    assert tuned.history["loss"].iloc[3] < tuned.history["loss"].iloc[0] / 2
    model = keras.models.load_model(tuned.final, safe_mode=True)
    names = [layer.name for layer in model.layers]
    for name in ("stem_conv", "block4a_project_conv", "block6d_add", "top_conv", "avg_pool", "predictions"):
        assert name in names
    assert model.output_shape == (None, 6)


# SI meanwhile


def test_si_is_recorded_through_both_phases_and_the_training_is_the_same(tuned, options, tmp_path):
    recorded = fine_tune(options, tmp_path / "tuned", separation=tmp_path / "study")
    for one, other in zip(*(keras.models.load_model(of.final).get_weights() for of in (tuned, recorded)), strict=True):
        np.testing.assert_array_equal(one, other)
    pd.testing.assert_frame_equal(recorded.history, tuned.history)
    assert {0, 3} <= set(recorded_epochs(tmp_path / "study"))
    history = read_history(tmp_path / "study")
    assert history[["phase", "epoch"]].fillna("").to_numpy().tolist() == [
        ["", 0],
        ["head", 1],
        ["head", 2],
        ["tail", 3],
    ]
    assert history["loss"].tolist()[1:] == tuned.history["loss"].tolist()
    assert (history["seconds"].iloc[1:] > 0).all()
    study = core.load_study(tmp_path / "study")
    assert study.info["training"]["finished"]
    assert study.layers["layer"].tolist()[-1] == "predictions"


def test_the_last_record_is_of_the_network_that_is_saved(tuned, options, tmp_path):
    recorded = fine_tune(options, tmp_path / "tuned", separation=tmp_path / "study")
    asked = core.StudyOptions(
        options.data,
        None,
        str(recorded.final),
        layers="predictions",
        per_class=4,
        split="test",
        probe=False,
    )
    found = [core.run_study(asked, tmp_path / "after").measurements, core.load_study(tmp_path / "study").measurements]
    values = [table.query("measure == 'separation' and layer == 'predictions'")["value"].item() for table in found]
    assert values[0] == values[1]


def test_a_training_that_stopped_goes_on_in_its_study(options, tmp_path):
    def stop(progress: TrainingProgress) -> None:
        if progress.stage == "tail" and progress.result is None:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fine_tune(options, tmp_path / "tuned", separation=tmp_path / "study", progress=stop)
    assert not core.load_study(tmp_path / "study").info["training"]["finished"]
    fine_tune(options, tmp_path / "tuned", separation=tmp_path / "study")
    assert read_history(tmp_path / "study")["epoch"].tolist() == [0, 1, 2, 3]
    assert core.load_study(tmp_path / "study").info["training"]["finished"]
