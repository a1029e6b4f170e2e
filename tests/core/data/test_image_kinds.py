"""Kinds of image files: extensions that are read, and one scale for pixels of more than 8 bits."""

import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from core.data.images.labelled_images import LabelledImages
from core.data.images.loading import load_images


def save_set(root: Path, deep: dict[str, Image.Image]) -> Path:
    """Two classes of two small images in each split, and more images by their path."""
    for folder in ("train/a", "train/b", "test/a", "test/b"):
        (root / folder).mkdir(parents=True)
        for number in range(2):
            Image.new("RGB", (4, 2), (10, 20, 30)).save(root / folder / f"{number}.png")
    for name, image in deep.items():
        image.save(root / name)
    return root


def pixels_of(images: LabelledImages, name: str) -> list[list[float]]:
    """Rows of the red channel of one image."""
    return images.select([images.ids.index(name)]).raw([0])[0, :, :, 0].tolist()


@pytest.mark.parametrize(
    ("suffix", "kind"),
    [
        *((suffix, "JPEG") for suffix in (".jfif", ".jpe", ".JPG", ".jif")),
        (".tif", "TIFF"),
        (".avif", "AVIF"),
        (".jp2", "JPEG2000"),
        (".ppm", "PPM"),
        (".pgm", "PPM"),
        (".apng", "PNG"),
    ],
)
def test_images_of_unusual_extensions_are_read(tmp_path: Path, suffix: str, kind: str):
    root = save_set(tmp_path, {})
    Image.new("RGB", (4, 2), (200, 200, 200)).save(root / f"train/a/x{suffix}", format=kind)
    images = load_images(root)
    assert len(images) == 9
    assert images.notes == ()
    np.testing.assert_allclose(pixels_of(images, f"train/a/x{suffix}"), 200, atol=3)


@pytest.mark.parametrize(
    ("largest", "white", "expected"),
    [
        (255, 255, [0, 100, 255]),
        (256, 1023, [0, 25, 64]),  # 100 and 256 of 1023: their upper 8 of 10 bits
        (1023, 1023, [0, 25, 255]),
        (4000, 4095, [0, 6, 250]),
        (10_000, 16383, [0, 1, 156]),
        (65535, 65535, [0, 0, 255]),
    ],
)
def test_gray_of_16_bits_is_read_by_the_bits_that_are_used(tmp_path: Path, largest: int, white: int, expected: list):
    images = load_images(
        save_set(tmp_path, {"train/a/deep.png": Image.fromarray(np.uint16([[0, 100, largest]]))}).resolve()
    )
    assert images.ranges.integers == white
    assert pixels_of(images, "train/a/deep.png") == [expected]
    assert len(images.notes) == (white != 65535)


def test_all_images_of_a_data_set_have_one_scale_whichever_are_chosen(tmp_path: Path):
    deep = {
        "train/a/dark.png": Image.fromarray(np.uint16([[0, 255]])),
        "train/b/dark.tif": Image.fromarray(np.int32([[0, 255]])),
        "test/a/light.png": Image.fromarray(np.uint16([[0, 4095]])),
    }
    root = save_set(tmp_path, deep)
    for options in ({}, {"split": "train"}):
        images = load_images(root, **options)
        assert images.ranges.integers == 4095
        assert pixels_of(images, "train/a/dark.png") == pixels_of(images, "train/b/dark.tif") == [[0, 15]]
    assert "3 images have 16 bits or more a pixel and values up to 4,095 in the whole data set" in images.notes[0]


@pytest.mark.parametrize(("values", "expected"), [([0, 0.5, 1], [0, 128, 255]), ([0, 128, 255], [0, 128, 255])])
def test_floating_point_pixels(tmp_path: Path, values: list, expected: list):
    images = load_images(save_set(tmp_path, {"train/a/f.tif": Image.fromarray(np.float32([values]))}))
    assert pixels_of(images, "train/a/f.tif") == [expected]


@pytest.mark.parametrize("value", [-1, np.nan, np.inf, 1e6])
def test_floating_point_pixels_without_a_range_are_named(tmp_path: Path, value: float):
    root = save_set(tmp_path, {"train/a/f.tif": Image.fromarray(np.float32([[0, value]]))})
    with pytest.raises(ValueError, match=r"f\.tif' \(floating-point pixels have no agreed range\)"):
        load_images(root)


def gray(kind: type, *largest: float) -> dict[str, Image.Image]:
    """Images of two pixels, 0 and one of the values each."""
    suffix = "tif" if kind is np.float32 else "png"
    return {
        f"train/a/{row}x.{suffix}": Image.fromarray(np.array([[0, value]], kind)) for row, value in enumerate(largest)
    }


@pytest.mark.parametrize(
    ("deep", "counts"),
    [
        (gray(np.float32, 0.001, 0.002, 0.0015), ("3 of 11 images are", ", and 2 are black all over")),  # 0.0015: 0.38
        (gray(np.float32, 0.001, 0.5), ("1 of 10 images is", ", and 1 is black all over")),
        (gray(np.uint16, 254, 254, 60_000), ("2 of 11 images are", ", and 2 are black all over")),
        (gray(np.uint16, 15 * 256 + 255, 16 * 256, 60_000), ("1 of 11 images is", "256 levels. If")),
        (gray(np.uint8, *[1] * 12, 16), ("12 of 21 images are", "256 levels. If")),  # masks
        (gray(np.uint8, 1, 15, 16), None),  # a few dark ones among others
    ],
)
def test_images_that_are_read_as_black_are_counted(tmp_path: Path, deep: dict, counts: tuple | None):
    notes = [note for note in load_images(save_set(tmp_path, deep)).notes if "nearly black" in note]
    assert len(notes) == (counts is not None)
    assert all(words in notes[0] for words in counts or ())


def test_colors_of_16_bits_that_are_too_dark_are_said(tmp_path: Path):
    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    row = b"\0" + np.array([[200, 100, 50], [0, 0, 0]], dtype=">u2").tobytes()  # 8-bit colors in 16 bits
    png = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", 2, 1, 16, 2, 0, 0, 0))
    png += chunk(b"IDAT", zlib.compress(row)) + chunk(b"IEND", b"")
    root = save_set(tmp_path, {})
    (root / "train/a/dark.png").write_bytes(png)
    (note,) = load_images(root).notes
    assert "1 image has 16 bits a color, of which only the upper 8 can be read" in note


def test_what_was_taken_for_white_and_left_out_is_recorded(tmp_path: Path):
    root = save_set(tmp_path, {"train/a/deep.png": Image.fromarray(np.uint16([[0, 100]]))})
    (root / "train/a/notes.txt").write_text("no image")
    described = load_images(root).describe()
    assert described == {"ignored_files": {".txt": 1}, "white": {"integers": 255, "floats": 1}}
