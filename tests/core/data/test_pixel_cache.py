"""Images that a check has decoded are not decoded again, and are the same pixels."""

import pickle

import numpy as np
import pytest
from PIL import Image

import core.data.images.labelled_images
from core.data.images.loading import load_images
from core.data.images.pixel_cache import KeptPixels

IMAGE_BYTES = 3 * 6 * 8


@pytest.fixture
def folder(tmp_path):
    """Two classes of three photographs of 6 × 8 pixels."""
    rng = np.random.default_rng(0)
    for name in ("ant", "bee"):
        (tmp_path / name).mkdir()
        for number in range(3):
            pixels = rng.integers(0, 256, (6, 8, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(tmp_path / name / f"{number}.png")
    return tmp_path


def count_decoding(monkeypatch):
    decoded = []
    decode = core.data.images.labelled_images.decode
    monkeypatch.setattr(core.data.images.labelled_images, "decode", lambda *given: decoded.append(1) or decode(*given))
    return decoded


@pytest.mark.parametrize("num_kept", [0, 2, 6])
def test_only_what_did_not_fit_is_decoded_again(folder, monkeypatch, num_kept):
    expected = load_images(folder, test_fraction=0).raw(np.arange(6))
    images = load_images(folder, test_fraction=0, keep_bytes=num_kept * IMAGE_BYTES + 5)
    decoded = count_decoding(monkeypatch)
    np.testing.assert_array_equal(images.raw(np.arange(6)), expected)
    np.testing.assert_array_equal(images.load([3], (6, 8))[0], expected[3])
    again = images.ids[3] not in [sample for sample in images.ids if images.kept.get(sample)]
    assert len(decoded) == 6 - num_kept + again


def test_decoded_images_of_the_right_size_are_taken_as_they_are(folder, monkeypatch):
    images = load_images(folder, test_fraction=0, keep_bytes=1 << 20)
    expected = images.load([1, 1], (3, 4))  # another size: Pillow resizes
    monkeypatch.setattr(KeptPixels, "get", lambda kept, sample: pytest.fail("no detour through Pillow"))
    np.testing.assert_array_equal(images.load([1], (6, 8))[0], images.kept.pixels(images.ids[1]))
    monkeypatch.undo()
    np.testing.assert_array_equal(images.load([1, 1], (3, 4)), expected)


def test_selected_samples_stay_decoded(folder, monkeypatch):
    images = load_images(folder, test_fraction=0, keep_bytes=1 << 20)
    expected = images.raw([4])
    decoded = count_decoding(monkeypatch)
    np.testing.assert_array_equal(images.select([4, 0]).raw([0]), expected)
    assert not decoded


def test_deep_images_are_not_kept_because_all_of_them_decide_how_each_is_read(folder):
    Image.fromarray(np.full((6, 8), 300, dtype=np.uint16)).save(folder / "ant" / "3.png")
    Image.fromarray(np.full((6, 8), 60000, dtype=np.uint16)).save(folder / "bee" / "3.png")
    images = load_images(folder, test_fraction=0, keep_bytes=1 << 20)
    assert len(images.kept) == 6
    row = images.ids.index("ant/3.png")
    assert images.raw([row]).max() == 300 // 256


def test_a_copy_in_another_process_is_empty():
    kept = KeptPixels(1000)
    kept.add("a", Image.new("RGB", (2, 2)))
    assert len(kept) == 1
    copy = pickle.loads(pickle.dumps(kept))
    copy.add("b", Image.new("RGB", (1, 1)))
    assert len(copy) == 0
