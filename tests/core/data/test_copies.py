"""Images that are there twice, byte for byte, and equal rows of features: what is said before the study and in it."""

import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import core
from core.data.images.copies import copy_notes
from core.data.images.loading import load_images
from core.study.from_features.row_copies import RowCopies
from core.study.plan import StudyOptions, plan_study

LEAK = "training images, byte for byte: test-to-train SI, kNN and probe are too good. Remove the copies."
TWO = "in two or more classes, byte for byte: all but one of the labels are wrong."


def within(count: str, split: str = "train", noun: str = "image") -> str:
    kind = {"train": "training", "test": "test"}[split]
    return (
        f"{count} {kind} {noun}s have an exact copy among the others: SI, kNN and probe within {split} count copies as "
        "neighbors, and are too good if these are of the same class; the chance level does not account for that. "
        "Remove the copies."
    )


@pytest.fixture
def pets(tmp_path: Path) -> Path:
    rng = np.random.default_rng(0)
    for place in ("train/cat", "train/dog", "test/cat", "test/dog"):
        (tmp_path / place).mkdir(parents=True)
        for number in range(3):
            Image.fromarray(rng.integers(0, 256, (8, 8, 3), dtype=np.uint8)).save(tmp_path / place / f"{number}.png")
    return tmp_path


@pytest.mark.parametrize(
    ("copies", "expected"),
    [
        ({}, ()),
        ({"train/cat/0.png": "train/cat/copy.png"}, (within("2 of 7"),)),
        ({"test/cat/0.png": "test/cat/copy.png"}, (within("2 of 7", "test"),)),
        (
            {"train/cat/0.png": "test/cat/copy.png", "train/dog/1.png": "test/dog/x.png"},
            (f"2 test images are also {LEAK}",),
        ),
        ({"train/cat/0.png": "train/dog/copy.png"}, (within("2 of 7"), f"1 image is {TWO}")),
        (
            {"train/cat/0.png": "train/cat/copy.png", "train/cat/1.png": "test/cat/copy.png"},
            (f"1 test image is also a {LEAK.replace('images', 'image')}", within("2 of 7")),
        ),
        (
            {"train/cat/0.png": "test/dog/copy.png"},
            (f"1 test image is also a {LEAK.replace('images', 'image')}", f"1 image is {TWO}"),
        ),
    ],
)
def test_copies_are_told_before_the_study_and_in_it(pets: Path, copies: dict, expected: tuple):
    for source, target in copies.items():
        shutil.copy(pets / source, pets / target)
    assert copy_notes(load_images(pets)) == expected
    plan = plan_study(StudyOptions(str(pets), model="pixels", split="both"))
    assert plan.notes == expected
    assert plan.cautions() == list(expected)


def test_copies_are_told_where_there_is_no_test_split(pets: Path):
    shutil.copy(pets / "train/cat/0.png", pets / "train/cat/copy.png")
    images = load_images(pets / "train", test_fraction=0)
    assert copy_notes(images) == (within("2 of 7"),)
    assert copy_notes(images, measured=images.select(np.array([4, 5, 6]))) == ()  # none of those measured is a copy


ROWS = np.float32([[0, 1], [2, 3], [2, 3], [4, 5], [6, 7], [-0.0, 1]])
SPLITS = np.array(["train"] * 4 + ["test"] * 2)
ROW_LEAK = "1 test sample is also a training sample, number for number: test-to-train SI, kNN and probe are too good."


@pytest.mark.parametrize("parts", [1, 2])
def test_equal_rows_are_copies_within_a_split_and_from_split_to_split(parts: int):
    copies = RowCopies(SPLITS)
    copies.add(*([ROWS] if parts == 1 else [ROWS[:4], ROWS[4:].astype(np.float64)]))  # -0 and 0 are one number
    assert copies.notes() == [f"{ROW_LEAK} Remove the copies.", within("2 of 4", noun="sample")]


def test_a_copy_is_one_at_every_layer():
    rounded, constant = np.float32([[0], [0], [0], [1], [1], [0]]), np.ones((6, 3))
    copies = RowCopies(SPLITS)
    for layer in (constant, rounded, ROWS, constant):
        copies.add(layer)
    assert copies.notes() == [f"{ROW_LEAK} Remove the copies.", within("2 of 4", noun="sample")]
    copies.add(np.arange(6).reshape(6, 1, 1))
    assert copies.notes() == []


def test_a_layer_is_not_read_where_no_row_can_be_a_copy():
    copies = RowCopies(SPLITS)
    copies.add(np.arange(6).reshape(6, 1))
    copies.add("no features")
    assert copies.notes() == []


def test_features_of_few_values_are_ties_and_no_copies():
    copies = RowCopies(np.repeat(["train", "test"], [20, 10]))
    copies.add(np.arange(30).reshape(30, 1) % 4)
    assert copies.notes() == []


@pytest.mark.parametrize("layers", [[np.ones((6, 2))], []])
def test_constant_features_say_nothing_of_copies(layers: list):
    copies = RowCopies(SPLITS)
    for layer in layers:
        copies.add(layer)
    assert copies.notes() == []


def test_a_study_of_features_cautions_against_copies(tmp_path: Path):
    expected = [f"{ROW_LEAK} Remove the copies.", within("2 of 4", noun="sample")]
    layers = {"first": ROWS, "second": ROWS.reshape(6, 1, 2) * 3}
    study = core.study_from_features(layers, [0, 1, 0, 1, 0, 1], splits=SPLITS.tolist(), out=tmp_path / "study")
    assert [caution for caution in study.info["cautions"] if "cop" in caution] == expected


def test_a_study_of_features_that_goes_on_cautions_against_copies(tmp_path: Path):
    out, labels, splits = tmp_path / "study", [0, 1, 0, 1, 0, 1], SPLITS.tolist()
    with (
        pytest.raises(ValueError, match="must have 6 rows"),
        core.FeatureStudyWriter(out, labels, splits=splits) as writer,
    ):
        _add_layers(writer, {"first": ROWS, "second": ROWS[:5]})
    assert sum(ROW_LEAK in caution for caution in core.load_study(out).info["cautions"]) == 1
    with core.FeatureStudyWriter(out, labels, splits=splits) as writer:
        writer.add_layer("second", 2 * ROWS)
    assert sum(ROW_LEAK in caution for caution in core.load_study(out).info["cautions"]) == 1


def _add_layers(writer: core.FeatureStudyWriter, layers: dict) -> None:
    for name, features in layers.items():
        writer.add_layer(name, features)
