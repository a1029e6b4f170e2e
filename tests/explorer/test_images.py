"""Pictures come from scikit-learn's digits, or from below the study's own folder, and from nowhere else."""

import io

import numpy as np
import pytest
from PIL import Image
from sklearn.datasets import load_digits

from explorer.studies.pictures import Pictures, inside, study_pictures


def opened(png: bytes) -> Image.Image:
    return Image.open(io.BytesIO(png))


@pytest.fixture
def folder(tmp_path):
    root = tmp_path / "data"
    (root / "cat").mkdir(parents=True)
    Image.new("RGB", (640, 320), "red").save(root / "cat" / "1.png")
    (root / "cat" / "bad.png").write_bytes(b"no image")
    Image.new("RGB", (4, 4)).save(tmp_path / "secret.png")
    (root / "cat" / "link.png").symlink_to(tmp_path / "secret.png")
    return root


def test_digits_are_enlarged_without_blur():
    picture = np.asarray(opened(Pictures(digits=True).png("digits/0042")))
    digit = 255 - load_digits().images[42] * 255 / 16
    np.testing.assert_array_equal(picture[10::20, 10::20], digit.round().astype(np.uint8))
    assert Pictures(digits=True).png("digits/9999") is None
    assert Pictures(digits=True).png("digits/-1") is None


def test_pictures_of_a_folder_are_small(folder):
    pictures = study_pictures({"asked": {"data": str(folder)}}, {})
    assert opened(pictures.png("cat/1.png")).size == (320, 160)
    assert pictures.png("cat/bad.png") is None
    assert pictures.png("cat/gone.png") is None


@pytest.mark.parametrize("source", ["../secret.png", "cat/../../secret.png", "cat/link.png", "", "cat", "a\0b"])
def test_nothing_outside_the_folder_is_read(folder, source):
    assert inside(folder, source) is None
    assert study_pictures({"asked": {"data": str(folder)}}, {}).png(source) is None
    assert study_pictures({"asked": {"data": str(folder)}}, {}).png(str(folder.parent / "secret.png")) is None


def test_sources_of_features_are_shown_from_their_folder_alone(folder):
    info = {"used": {"data": {"sources_folder": str(folder)}}}
    pictures = study_pictures(info, {})
    assert opened(pictures.png("cat/1.png")).size == (320, 160)
    for source in ("../secret.png", str(folder.parent / "secret.png"), "cat/link.png"):
        assert pictures.png(source) is None
    for public in ("1", "true", "yes"):
        assert not study_pictures(info, {"SI_EXPLORER_PUBLIC": public})


def test_pictures_of_more_than_8_bits_are_as_light_as_the_study_took_them(folder):
    Image.fromarray(np.full((4, 4), 1023, np.uint16)).save(folder / "cat" / "deep.png")
    info = {"asked": {"data": str(folder)}, "used": {"data": {"white": {"integers": 4095, "floats": 1}}}}
    assert opened(study_pictures(info, {}).png("cat/deep.png")).getpixel((0, 0)) == (63, 63, 63)
    alone = {"asked": {"data": str(folder)}, "used": {"data": {"white": {"integers": "all", "floats": 0}}}}
    assert opened(study_pictures(alone, {}).png("cat/deep.png")).getpixel((0, 0)) == (255, 255, 255)


def test_in_public_no_folder_is_opened_and_digits_are_shown(folder):
    public = {"SI_EXPLORER_PUBLIC": "1"}
    assert not study_pictures({"asked": {"data": str(folder)}}, public)
    assert study_pictures({"asked": {"data": "digits"}}, public)


NO_FOLDERS = [{"asked": {"data": data}} for data in ("nowhere/at/all", "~nobody-here/x", "x" * 5000, "a\0b")]


@pytest.mark.parametrize("info", [{}, {"asked": None}, {"asked": {"data": 3}}, *NO_FOLDERS])
def test_studies_without_pictures(info):
    assert not study_pictures(info, {})
