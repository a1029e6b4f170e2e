"""Labelled images: what is found, chosen, refused and decoded."""

import hashlib
import sys
import warnings
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from sklearn.datasets import load_digits

from core.data.images.decoding import decode
from core.data.images.labelled_images import LabelledImages
from core.data.images.loading import load_images


def save_image(path: Path, *, size: tuple[int, int] = (8, 6), **options) -> Path:
    """A little noise, always the same for one path's name, of (width, height)."""
    path.parent.mkdir(parents=True, exist_ok=True)
    seed = int.from_bytes(hashlib.sha256(path.name.encode()).digest()[:4], "big")
    pixels = np.random.default_rng(seed).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
    Image.fromarray(pixels).save(path, **options)
    return path


def make_split_folder(root: Path, counts: dict[str, int]) -> Path:
    """counts: {"train/cat": 3, ...}"""
    for folder, count in counts.items():
        for index in range(count):
            save_image(root / folder / f"{index:02d}.png")
    return root


@pytest.fixture
def pets(tmp_path: Path) -> Path:
    return make_split_folder(tmp_path / "pets", {"train/cat": 4, "train/dog": 3, "test/cat": 2, "test/dog": 2})


@pytest.fixture
def flat(tmp_path: Path) -> Path:
    return make_split_folder(tmp_path / "flat", {"owl": 10, "ant": 12})


# What is found


def test_a_folder_with_splits(pets: Path):
    images = load_images(pets)
    assert images.name == "pets"
    assert images.root == pets
    assert images.class_names == ("cat", "dog")
    assert images.ids == images.sources == tuple(sorted(p.relative_to(pets).as_posix() for p in pets.rglob("*.png")))
    assert images.labels.dtype == np.int64
    assert images.labels.tolist() == [int("dog" in name) for name in images.ids]
    assert images.splits.tolist() == [name.split("/")[0] for name in images.ids]
    assert images.skipped == ()
    assert len(images) == 11


def test_a_folder_without_splits_is_split_by_seed(flat: Path):
    images = load_images(flat, seed=1)
    assert images.class_names == ("ant", "owl")
    tests = images.splits == "test"
    assert np.bincount(images.labels[tests]).tolist() == [2, 2]
    assert load_images(flat, seed=1).splits.tolist() == images.splits.tolist()
    assert load_images(flat, seed=2).splits.tolist() != images.splits.tolist()


def test_one_split_of_each_layout(pets: Path, flat: Path):
    assert set(load_images(pets, split="test").ids) == {
        f"test/{name}/0{i}.png" for name in ("cat", "dog") for i in (0, 1)
    }
    both = load_images(flat)
    train = load_images(flat, split="train")
    assert set(train.splits) == {"train"}
    assert train.ids == both.select(np.flatnonzero(both.splits == "train")).ids


@pytest.mark.parametrize("only", ["train", "test"])
def test_a_folder_with_one_split_only(tmp_path: Path, only: str):
    root = make_split_folder(tmp_path, {f"{only}/a": 2, f"{only}/b": 3})
    assert set(load_images(root).splits) == {only}
    other = "test" if only == "train" else "train"
    with pytest.raises(ValueError, match=rf"split must be one that the folder has; got '{other}'.*only {only}/"):
        load_images(root, split=other)


def test_split_folders_are_known_in_any_case(tmp_path: Path):
    images = load_images(make_split_folder(tmp_path, {"Train/a": 2, "Train/b": 2, "TEST/a": 2, "TEST/b": 2}))
    assert images.class_names == ("a", "b")
    assert sorted(set(zip([name.split("/")[0] for name in images.ids], images.splits.tolist(), strict=True))) == [
        ("TEST", "test"),
        ("Train", "train"),
    ]


def test_deep_files_count_and_hidden_or_foreign_ones_do_not(pets: Path):
    before = load_images(pets)
    save_image(pets / "train/cat/2019/may/x.JPG", format="JPEG")
    save_image(pets / "train/cat/.hidden.png")
    save_image(pets / "train/.cache/y.png")
    save_image(pets / "train/cat/.thumbs/z.png")
    (pets / "train/cat/notes.txt").write_text("no image")
    (pets / "README.md").write_text("no image")
    (pets / "papers").mkdir()
    assert set(load_images(pets).ids) - set(before.ids) == {"train/cat/2019/may/x.JPG"}


def test_links_to_class_folders_are_followed_and_loops_are_not(pets: Path, tmp_path: Path):
    root = tmp_path / "linked"
    root.mkdir()
    for name in ("train", "test"):
        (root / name).symlink_to(pets / name)
    (pets / "train/cat/loop").symlink_to(pets / "train")
    assert load_images(root).ids == load_images(pets).ids
    assert len(load_images(root)) == 11


def test_the_order_of_creation_changes_nothing(tmp_path: Path):
    names = [f"{name}/{index}.png" for name in ("a", "b", "c") for index in range(8)]
    found = []
    for attempt in range(2):
        root = tmp_path / str(attempt) / "set"
        for name in np.random.default_rng(attempt).permutation(names):
            save_image(root / str(name))
        found.append(load_images(root, seed=3, per_class=2))
    assert found[0].ids == found[1].ids
    assert found[0].splits.tolist() == found[1].splits.tolist()
    assert found[0].fingerprint == found[1].fingerprint


def test_per_class_takes_as_many_of_each_class_and_split_and_is_nested(flat: Path):
    pairs = [(label, split) for label in (0, 1) for split in ("test", "train")]
    two, four = (load_images(flat, per_class=count, test_fraction=0.4, seed=5) for count in (2, 4))
    for images, count in ((two, 2), (four, 4)):
        got = list(zip(images.labels.tolist(), images.splits.tolist(), strict=True))
        assert [got.count(pair) for pair in pairs] == [count] * 4
    assert set(two.ids) < set(four.ids)
    assert list(four.ids) == sorted(four.ids)


def test_the_seed_decides_which_samples_per_class_takes(tmp_path: Path):
    root = make_split_folder(tmp_path, {"train/a": 12, "train/b": 12})
    assert load_images(root, per_class=4, seed=0).ids == load_images(root, per_class=4, seed=0).ids
    assert load_images(root, per_class=4, seed=0).ids != load_images(root, per_class=4, seed=1).ids


def test_fingerprint_follows_content_and_choice(pets: Path):
    before = load_images(pets)
    assert load_images(pets).fingerprint == before.fingerprint
    assert before.select(np.arange(5)).fingerprint != before.fingerprint
    first = before.ids[0]
    (pets / first).write_bytes((pets / first).read_bytes() + b"\0")
    assert load_images(pets).fingerprint != before.fingerprint


def test_progress_counts_every_image(pets: Path):
    calls: list[tuple[int, int]] = []
    load_images(pets, progress=lambda done, total: calls.append((done, total)))
    assert calls[-1] == (11, 11)


# What is refused


@pytest.mark.parametrize(
    ("counts", "options", "message"),
    [
        ({"a": 5}, {}, r"at least two classes; got only 'a'"),
        ({"train/a": 3, "train/b": 3, "test/a": 3, "test/c": 2}, {}, r"got 'b' only in train/, 'c' only in test/\."),
        ({"train/a": 1, "train/b": 2}, {}, r"at least 2 readable images in each split; got 1 of 'a \(train\)'\."),
        ({"a": 3, "b": 9}, {}, r"at least 4 samples to be split, 2 for each split; got 3 of 'a'\."),
        ({"train/a": 3, "train/b": 3}, {"per_class": 4}, r"got 4, but there are only 3 of 'a \(train\)', 3 of 'b \("),
        ({"train/a": 3, "train/b": 3}, {"per_class": 1}, r"per_class must be at least 2.*got 1"),
        ({"train/a": 3, "train/b": 3}, {"split": "val"}, r"split must be 'train', 'test' or 'both'; got 'val'"),
        ({"train/a": 3, "test/a": 3, "cats": 1}, {}, r"holds 'test' and 'train' beside 'cats'"),
        ({"a": 3, "b": 3, ".": 7}, {}, r"directly holds '00.png', .*'04.png' and 2 more\. Move each"),
        ({"train/a": 3, "train/b": 3, "train": 1}, {}, r"train' directly holds '00.png'"),
        ({"train/a": 3, "train/b": 3, ".": 1}, {}, r"directly holds '00.png'"),
    ],
)
def test_a_folder_that_cannot_be_used_says_why(tmp_path: Path, counts: dict, options: dict, message: str):
    with pytest.raises(ValueError, match=message):
        load_images(make_split_folder(tmp_path, counts), **options)


@pytest.mark.parametrize("where", ["train/empty", "test/empty"])
def test_an_empty_class_folder_is_named(pets: Path, where: str):
    (pets / where).mkdir()
    with pytest.raises(
        ValueError,
        match=rf"^each class folder must hold images; these hold none: '{where}'\..*skip_small_classes=True\.$",
    ):
        load_images(pets)


def test_a_folder_without_images(tmp_path: Path):
    with pytest.raises(ValueError, match="data must hold images"):
        load_images(tmp_path)
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "data.csv").write_text("1,2")
    with pytest.raises(ValueError, match=r"data must hold images; .*\.jpg"):
        load_images(tmp_path)


@pytest.mark.parametrize("data", ["nowhere", "dogs.zip", Path("digits")])
def test_anything_else_lists_what_is_understood(data: str | Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(FileNotFoundError, match=r"'digits', 'tfds:NAME' or a folder that holds train/<class>/"):
        load_images(data)


def test_a_missing_pillow_says_what_to_install(pets: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "PIL", None)
    with pytest.raises(ModuleNotFoundError, match=r"needs Pillow, .* pip install pillow"):
        load_images(pets)
    digits = load_images("digits", per_class=2)  # needs none as long as nothing is resized
    assert digits.raw([0]).shape == (1, 8, 8, 1)
    with pytest.raises(ModuleNotFoundError, match="Pillow"):
        digits.load([0], (32, 32))


# Broken files


def break_file(path: Path, how: str) -> None:
    if how == "truncated":
        save_image(path, size=(64, 64), format="JPEG")
        path.write_bytes(path.read_bytes()[:-400])
    else:
        path.write_bytes(
            {"text": b"not an image at all", "empty": b"", "other format": b"%!PS-Adobe-3.0 EPSF-3.0\n"}[how]
        )


BROKEN = [
    ("truncated", "image file is truncated"),
    ("text", "no image in a format known here"),
    ("empty", "the file is empty"),
    ("other format", "no image in a format known here"),  # PostScript, for which Pillow would start a program
]


@pytest.mark.parametrize(("how", "reason"), BROKEN)
def test_a_broken_image_is_named_or_skipped(pets: Path, how: str, reason: str):
    whole = load_images(pets)
    break_file(pets / "train/cat/broken.jpg", how)
    with pytest.raises(
        ValueError, match=rf"1 of 12 cannot be read: 'train/cat/broken.jpg' \({reason}.*skip_broken=True"
    ):
        load_images(pets)
    images = load_images(pets, skip_broken=True)
    assert images.ids == whole.ids
    assert images.fingerprint == whole.fingerprint
    (skipped,) = images.skipped
    assert skipped.id == "train/cat/broken.jpg"
    assert skipped.reason.startswith(reason)


def test_at_most_five_broken_images_are_named(pets: Path):
    for index in range(7):
        break_file(pets / f"train/cat/broken{index}.jpg", "text")
    with pytest.raises(ValueError, match=r"7 of 18 .*broken4.jpg' \([^)]*\) and 2 more\."):
        load_images(pets)


@pytest.mark.parametrize(("size", "words"), [((10, 7), "could be decompression bomb"), ((11, 10), "exceeds limit")])
def test_a_decompression_bomb_is_unreadable(
    pets: Path, monkeypatch: pytest.MonkeyPatch, size: tuple[int, int], words: str
):
    monkeypatch.setattr(
        Image, "MAX_IMAGE_PIXELS", 50
    )  # the others have 48; Pillow warns above this, refuses above twice
    save_image(pets / "train/cat/bomb.png", size=size)
    (skipped,) = load_images(pets, skip_broken=True).skipped
    assert skipped.id == "train/cat/bomb.png"
    assert words in skipped.reason


def test_a_decompression_bomb_is_refused_whatever_the_filters_of_warnings_are(
    pets: Path, monkeypatch: pytest.MonkeyPatch
):
    """They belong to the whole process: another thread may have changed them while an image is decoded."""
    save_image(pets / "train/cat/bomb.png", size=(10, 7))
    data = (pets / "train/cat/bomb.png").read_bytes()
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 69)
    refused = pytest.raises(ValueError, match=r"\(70 pixels\) exceeds limit of 69 pixels")
    with warnings.catch_warnings(action="ignore"), refused:
        decode(data)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 70)
    assert decode(data).size == (10, 7)


def test_the_next_sample_stands_in_for_a_broken_one(flat: Path):
    options = {"per_class": 3, "seed": 9, "split": "train"}
    whole = load_images(flat, **options)
    broken = whole.ids[0]
    break_file(flat / broken, "text")
    images = load_images(flat, skip_broken=True, **options)
    assert np.bincount(images.labels).tolist() == [3, 3]
    assert set(whole.ids) - set(images.ids) == {broken}
    assert [skipped.id for skipped in images.skipped] == [broken]


def test_a_broken_file_moves_no_other_sample_to_another_split(flat: Path):
    whole = load_images(flat)
    break_file(flat / whole.ids[0], "text")
    images = load_images(flat, skip_broken=True)
    assert images.splits.tolist() == whole.splits[1:].tolist()


@pytest.mark.parametrize(
    ("broken", "message"),
    [
        (["test/cat/00.png"], r"at least 2 readable images in each split; got 1 of 'cat \(test\)'\."),
        ([f"test/{name}/0{i}.png" for name in ("cat", "dog") for i in (0, 1)], r"got 0 of 'cat \(test\)', 0 of 'dog"),
    ],
)
def test_class_sizes_are_checked_after_skipping(pets: Path, broken: list[str], message: str):
    for name in broken:
        break_file(pets / name, "text")
    with pytest.raises(ValueError, match=message):
        load_images(pets, skip_broken=True)


def test_a_file_that_vanishes_later_is_named(pets: Path):
    images = load_images(pets)
    (pets / images.ids[3]).unlink()
    with pytest.raises(OSError, match=rf"'{images.ids[3]}' must stay .*No such file"):
        images.load([2, 3], (4, 4))


# Pixels


def save_one(root: Path, image: Image.Image, name: str, **options) -> LabelledImages:
    """A data set of two classes whose first sample is `image`."""
    make_split_folder(root, {"train/a": 2, "train/b": 2})
    image.save(root / "train/a" / name, **options)
    images = load_images(root)
    return images.select([images.ids.index(f"train/a/{name}")])


def test_load_gives_the_pixels_in_rgb_of_the_rows_asked_for(pets: Path):
    images = load_images(pets)
    pixels = images.load([4, 0, 4], (6, 8))
    assert pixels.shape == (3, 6, 8, 3)
    assert pixels.dtype == np.float32
    for got, row in zip(pixels, [4, 0, 4], strict=True):
        np.testing.assert_array_equal(got, np.asarray(Image.open(pets / images.ids[row])))


def test_load_resizes_antialiased_and_without_keeping_the_aspect_ratio(tmp_path: Path):
    wide = np.zeros((4, 16, 3), np.uint8)
    wide[:, ::2] = 200  # columns of 200 and 0: an average is 100, a sample without antialiasing is 0 or 200
    images = save_one(tmp_path, Image.fromarray(wide), "wide.png")
    pixels = images.load([0], (8, 2))
    assert pixels.shape == (1, 8, 2, 3)
    np.testing.assert_allclose(pixels, 100, atol=5)
    assert images.sizes.tolist() == [[4, 16]]


def test_exif_orientation_is_applied(tmp_path: Path):
    stored = np.zeros((8, 16, 3), np.uint8)
    stored[:, :8] = 255
    exif = Image.Exif()
    exif[0x0112] = 6  # turn clockwise by 90 degrees: the left half comes to the top
    images = save_one(tmp_path, Image.fromarray(stored), "turned.jpg", exif=exif)
    assert images.sizes.tolist() == [[16, 8]]
    pixels = images.raw([0])[0]
    assert pixels.shape == (16, 8, 3)
    assert pixels[:8].min() > 250
    assert pixels[8:].max() < 5


def half_transparent() -> Image.Image:
    """Blue, clear and half clear."""
    return Image.fromarray(np.uint8([[[0, 0, 255, 255], [0, 0, 255, 0], [0, 0, 255, 128]]]))


def transparent_palette() -> Image.Image:
    image = Image.fromarray(np.uint8([[0, 1, 2]])).convert("P")
    image.putpalette([10, 20, 30, 40, 50, 60, 70, 80, 90])
    image.info["transparency"] = b"\xff\x00\xff"
    return image


def cmyk() -> Image.Image:
    """White, black and pure cyan, 16 columns each."""
    image = Image.new("CMYK", (48, 8), (0, 0, 0, 0))
    image.paste((0, 0, 0, 255), (16, 0, 32, 8))
    image.paste((255, 0, 0, 0), (32, 0, 48, 8))
    return image


@pytest.mark.parametrize(
    ("image", "name", "columns", "expected"),
    [
        (Image.fromarray(np.uint8([[0, 90, 255]])), "gray.png", [0, 1, 2], [[0] * 3, [90] * 3, [255] * 3]),
        (Image.fromarray(np.uint8([[0, 255]])).convert("1"), "bits.png", [0, 1], [[0] * 3, [255] * 3]),
        (Image.fromarray(np.uint16([[0, 256, 65535]])), "deep.png", [0, 1, 2], [[0] * 3, [1] * 3, [255] * 3]),
        (Image.fromarray(np.uint16([[0, 512, 65535]])), "deep.tif", [0, 1, 2], [[0] * 3, [2] * 3, [255] * 3]),
        (half_transparent(), "alpha.png", [0, 1, 2], [[0, 0, 255], [255, 255, 255], [127, 127, 255]]),
        (transparent_palette(), "palette.png", [0, 1, 2], [[10, 20, 30], [255, 255, 255], [70, 80, 90]]),
        (cmyk(), "cmyk.jpg", [4, 24, 44], [[255] * 3, [0] * 3, [0, 255, 255]]),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_each_kind_of_image_becomes_rgb(tmp_path: Path, image: Image.Image, name: str, columns: list, expected: list):
    images = save_one(tmp_path, image, name)
    pixels = images.raw([0])[0]
    np.testing.assert_allclose(pixels[0, columns], expected, atol=2 if name.endswith("jpg") else 0)
    np.testing.assert_array_equal(images.load([0], pixels.shape[:2])[0], pixels)


@pytest.mark.parametrize("dtype", [np.float32, np.int32])
def test_pixels_without_an_agreed_range_are_refused(tmp_path: Path, dtype: type):
    with pytest.raises(ValueError, match=r"odd.tif' \(.* pixels have no agreed range\)"):
        save_one(tmp_path, Image.fromarray(np.array([[0, 1e6]], dtype)), "odd.tif")


def test_the_first_frame_of_an_animation_counts(tmp_path: Path):
    frames = [Image.new("RGB", (4, 4), color) for color in ("red", "blue")]
    images = save_one(tmp_path, frames[0], "moving.gif", save_all=True, append_images=frames[1:])
    assert images.raw([0])[0, 0, 0].tolist() == [255, 0, 0]


def test_odd_exif_data_is_no_reason_to_warn_or_to_fail(tmp_path: Path):
    root = make_split_folder(tmp_path, {"train/a": 2, "train/b": 2})
    save_image(root / "train/a/x.jpg", exif=b"Exif\0\0II*\0\x08\0\0\0\x05\0\x12\x01\x03\0\x01")
    with (
        pytest.warns(UserWarning, match="EXIF|Truncated"),
        Image.open(root / "train/a/x.jpg") as image,
    ):  # what Pillow has to say about it
        image.getexif()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        images = load_images(root)
        images.load(np.arange(5), (4, 4))
    assert caught == []


def test_raw_needs_one_size_and_names_two_files(pets: Path):
    images = load_images(pets)
    assert images.pixel_shape == (6, 8, 3)
    assert images.raw([1, 2]).shape == (2, 6, 8, 3)
    save_image(pets / "train/dog/wide.png", size=(9, 6))
    images = load_images(pets)
    with pytest.raises(ValueError, match=r"got 6x8 for 'test/cat/00.png' and 6x9 for 'train/dog/wide.png'"):
        images.raw([1, 2])  # whether or not these two are equal


@pytest.mark.parametrize("rows", [[-1], [11], [0.0], [[0]], [True]])
def test_rows_must_be_rows(pets: Path, rows: list):
    images = load_images(pets)
    for ask in (images.select, images.raw, lambda rows: images.load(rows, (4, 4))):
        with pytest.raises(ValueError, match="rows must be integers from 0 to 10"):
            ask(rows)


def test_no_rows_give_no_images(pets: Path):
    assert load_images(pets).load([], (5, 4)).shape == (0, 5, 4, 3)


def test_size_must_be_positive(pets: Path):
    with pytest.raises(ValueError, match="size must be a height and a width"):
        load_images(pets).load([0], (0, 4))


def test_select_keeps_everything_together(pets: Path):
    images = load_images(pets)
    some = images.select([7, 2])
    assert some.ids == (images.ids[7], images.ids[2])
    assert some.labels.tolist() == images.labels[[7, 2]].tolist()
    assert some.splits.tolist() == images.splits[[7, 2]].tolist()
    assert some.class_names == images.class_names
    np.testing.assert_array_equal(some.load([0, 1], (6, 8)), images.load([7, 2], (6, 8)))
    with pytest.raises(ValueError, match="rows must not repeat"):
        images.select([1, 1])


# Digits


def test_digits():
    images = load_images("digits")
    known = load_digits()
    assert len(images) == 1797
    assert images.name == "digits"
    assert images.root is None
    assert images.class_names == tuple("0123456789")
    assert images.ids[0] == "digits/0000"
    assert images.labels.tolist() == known.target.tolist()
    assert images.pixel_shape == (8, 8, 1)
    rows = [5, 1796]
    np.testing.assert_array_equal(images.raw(rows)[..., 0], known.images[rows])
    pixels = images.load(rows, (8, 8))
    np.testing.assert_allclose(pixels, np.repeat(known.images[rows][..., None], 3, axis=-1) * 255 / 16, rtol=1e-6)
    assert images.load(rows, (32, 24)).shape == (2, 32, 24, 3)
    assert 0 <= images.load(rows, (32, 24)).min() < images.load(rows, (32, 24)).max() <= 255


def test_digits_are_split_and_chosen_by_seed():
    images = load_images("digits", per_class=10, seed=3)
    assert len(images) == 200
    assert [np.bincount(images.labels[images.splits == split]).tolist() for split in ("train", "test")] == [
        [10] * 10
    ] * 2
    assert load_images("digits", per_class=10, seed=3).fingerprint == images.fingerprint
    assert load_images("digits", per_class=10, seed=4).ids != images.ids
    assert 0.19 < (load_images("digits").splits == "test").mean() < 0.21
    test = load_images("digits", per_class=10, seed=3, split="test")
    assert test.ids == images.select(np.flatnonzero(images.splits == "test")).ids
    np.testing.assert_array_equal(test.raw([3]), load_images("digits", seed=3).raw([int(test.ids[3][-4:])]))


# Real photographs


@pytest.mark.shared
def test_real_dogs(dogs_dir: Path):
    images = load_images(dogs_dir, per_class=10)
    assert images.name == "stanford_dogs_224"
    assert len(images) == 2400
    assert len(images.class_names) == 120
    for split in ("train", "test"):
        assert set(np.bincount(images.labels[images.splits == split])) == {10}
    assert images.pixel_shape == (224, 224, 3)
    row = 1234
    expected = np.asarray(Image.open(dogs_dir / images.ids[row]), dtype=np.float32)
    np.testing.assert_array_equal(images.load([row], (224, 224))[0], expected)
    smaller = images.load([row], (56, 56))[0]
    np.testing.assert_allclose(smaller.mean(axis=(0, 1)), expected.mean(axis=(0, 1)), atol=1)
