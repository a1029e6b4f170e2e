"""Images that are there twice, byte for byte: what is said before the study and in it."""

import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from core.data.copies import copy_notes
from core.data.loading import load_images
from core.study.plan import StudyOptions, plan_study

LEAK = "training images, byte for byte: test-to-train SI, kNN and probe are too good. Remove the copies."
TWO = "in two or more classes, byte for byte: all but one of the labels are wrong."


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
        ({"train/cat/0.png": "train/cat/copy.png"}, ()),  # within a class of one split
        (
            {"train/cat/0.png": "test/cat/copy.png", "train/dog/1.png": "test/dog/x.png"},
            (f"2 test images are also {LEAK}",),
        ),
        ({"train/cat/0.png": "train/dog/copy.png"}, (f"1 image is {TWO}",)),
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
