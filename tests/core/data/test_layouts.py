"""Layouts of image folders: the names of splits, wrappers, what is left out, and all faults told together."""

from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from core.data.errors import DataError, FaultsError
from core.data.images.loading import load_images
from core.data.images.split_names import split_role


def save_images(root: Path, counts: dict[str, int]) -> Path:
    """Noise of 8 × 8 pixels; counts: {"train/cat": 3, ...}, 0 makes an empty folder."""
    for folder, count in counts.items():
        (root / folder).mkdir(parents=True, exist_ok=True)
        rng = np.random.default_rng(count)
        for number in range(count):
            Image.fromarray(rng.integers(0, 256, (8, 8, 3), dtype=np.uint8)).save(root / folder / f"{number:02d}.png")
    return root


def cat_and_dog(*splits: str) -> dict[str, int]:
    return {f"{split}/{name}": 3 for split in splits for name in ("cat", "dog")}


@pytest.mark.parametrize(
    ("name", "role"),
    [
        *((name, "train") for name in ("train", "Training", "TRN", "training_set", "TrainSet", "seg_train")),
        *((name, "test") for name in ("test", "Testing", "tst", "test-data", "testset", "test2017", "holdout")),
        *((name, "validation") for name in ("val", "VALID", "Validation", "dev", "eval", "evaluation", "val_split")),
        *((name, "train") for name in ("Entrenamiento", "entraînement", "entrai\u0302nement", "treino", "训练集")),
        *((name, "test") for name in ("prueba", "Teste", "Testdaten", "测试集")),
        *((name, "validation") for name in ("validación", "validação", "Validierung", "验证集")),
        *((name, None) for name in ("trains", "contest", "data", "2017", "cat", "train station", "valley", "")),
    ],
)  # fmt: skip
def test_the_usual_names_of_splits(name: str, role: str | None):
    assert split_role(name) == role


@pytest.mark.parametrize(
    ("folders", "test", "notes"),
    [
        (("train", "test"), "test", ()),
        (
            ("entrenamiento", "prueba"),
            "prueba",
            ("entrenamiento/ is taken as the training split", "prueba/ is taken as the test split"),
        ),
        (("TRAIN", "Test"), "Test", ()),
        (
            ("Training", "Testing"),
            "Testing",
            ("Training/ is taken as the training split", "Testing/ is taken as the test split"),
        ),
        (("train", "val"), "val", ("val/ is taken as the test split",)),
        (("train", "Validation"), "Validation", ("Validation/ is taken as the test split",)),
        (("train", "test", "val"), "test", ("val/ is left out: test/ is the test split",)),
    ],
)
def test_folders_that_are_called_as_splits_are(tmp_path: Path, folders: tuple, test: str, notes: tuple):
    images = load_images(save_images(tmp_path, cat_and_dog(*folders)))
    assert images.class_names == ("cat", "dog")
    assert Counter(images.splits.tolist()) == {"train": 6, "test": 6}
    assert {name.split("/")[0] for name in np.array(images.ids)[images.splits == "test"]} == {test}
    assert len(images.notes) == len(notes)
    for note, words in zip(images.notes, notes, strict=True):
        assert words in note


def test_a_class_may_be_called_train(tmp_path: Path):
    images = load_images(save_images(tmp_path, {"bus": 4, "car": 4, "train": 4}))
    assert images.class_names == ("bus", "car", "train")
    assert "train/ is taken as a class" in images.notes[0]


@pytest.mark.parametrize(
    ("counts", "message"),
    [
        ({"train": 4, "test": 4}, r"have names of splits, test/ and train/, .*Move the images to test/CLASS/"),
        (
            {**cat_and_dog("train"), "test": 4},
            r"test' holds 4 images and no class folders\. .*Or take .*: split='train'",
        ),
        (cat_and_dog("train", "training"), r"'train' and 'training' for the train split\. Merge them"),
        (cat_and_dog("train", "val", "dev"), r"'dev' and 'val' for the test split"),
        (cat_and_dog("images"), r"the single folder 'images' around 2 others, 'cat', 'dog'\. Give '.*/images' as data"),
        (cat_and_dog("set/train", "set/test"), r"single folder 'set' around 2 others, 'test', 'train'\. Give '.*/set'"),
        (cat_and_dog("train/inner", "test"), r"train' holds the single folder 'inner' around 2 others.*Move them up"),
        ({**cat_and_dog("train", "test"), "extra": 2}, r"holds 'test' and 'train' beside 'extra'\. Move"),
        (cat_and_dog("train", "test", "extra"), r"holds 'test' and 'train' beside 'extra'\. Move"),
        ({**cat_and_dog("train"), "extra/x": 2}, r"holds 'train' beside 'extra'\. Move"),
        (
            cat_and_dog("apprentissage", "controle"),
            r"got apprentissage/, a usual name of a split, and controle/, which is not, with the same folders, cat/, "
            r"dog/\. If they are splits, rename apprentissage/ to train/ and controle/ to test/; if they are the cl",
        ),
        (cat_and_dog("train", "controle"), r"If they are splits, rename controle/ to test/; if they are the classes"),
        (cat_and_dog("lehrdaten", "val"), r"If they are splits, rename val/ to test/ and lehrdaten/ to train/; if"),
        (
            cat_and_dog("dev", "eval"),
            r"for the test split\. Merge them, rename the one that is the training split to trai",
        ),
        (
            {"cat/train": 2, "cat/test": 2, "dog/train": 2},
            r"got test/, train/ within 'cat', 'dog'\. Swap the levels, to test/cat/",
        ),
    ],
)
def test_what_looks_like_splits_or_wrappers_is_refused_with_a_remedy(tmp_path: Path, counts: dict, message: str):
    with pytest.raises(FaultsError, match=message):
        load_images(save_images(tmp_path, counts))


@pytest.mark.parametrize(
    ("counts", "message"),
    [
        (
            {**cat_and_dog("X_train", "X_test"), "X_train/cow": 3},
            r"got 'X_test', 'X_train', whose.*Rename X_test/ to test/ and X_train/ to train/; if these are classes",
        ),
        (cat_and_dog("animals_train", "animals_test"), r"Rename animals_test/ to test/ and animals_train/ to train/"),
        ({**cat_and_dog("train_cleaned", "test_cleaned"), "train_cleaned/cow": 3}, "Rename test_cleaned/ to test/"),
        (
            {"train_cat": 3, "train_dog": 3, "test_cat": 3, "test_dog": 3},
            r"Move the images of test_cat/ to test/cat/ and the images of train_cat/ to train/cat/, and so on",
        ),
        ({"trainA": 3, "trainB": 3, "testA": 3, "testB": 3}, r"Move the images of testA/ to test/a/"),
        (
            cat_and_dog("pets-train", "pets-val", "farm-train", "farm-val"),
            r"Move farm-train/ to farm/train/ and farm-val/ to farm/validation/, and give farm/ as data",
        ),
        (
            {**cat_and_dog("earlier", "later"), "earlier/cow": 3},
            r"got earlier/, later/ that hold mostly the same folders, cat/, dog/\. If the outer ones are splits",
        ),
        ({**cat_and_dog("train"), "train/val/cat": 3}, r"train/val' has the name of a split, and holds cat/\. Move it"),
    ],
)
def test_splits_by_other_names_are_no_classes(tmp_path: Path, counts: dict, message: str):
    with pytest.raises(FaultsError, match=message):
        load_images(save_images(tmp_path, counts))


@pytest.mark.parametrize(
    ("counts", "class_names"),
    [
        ({"bus": 4, "car": 4, "train_station": 4, "test_tube": 4}, ("bus", "car", "test_tube", "train_station")),
        ({"cat/left": 3, "cat/right": 3, "dog/left": 4}, ("cat", "dog")),  # one folder in common is too little
        ({"train/bus": 3, "train/val": 3, "test/bus": 3, "test/val": 3}, ("bus", "val")),
        (
            {**{f"{name}/{side}": 2 for name in "abcd" for side in ("left", "right")}, "d/back": 2},
            ("a", "b", "c", "d"),  # four folders are no splits
        ),
    ],
)
def test_classes_that_only_look_like_splits_stay_classes(tmp_path: Path, counts: dict, class_names: tuple):
    assert load_images(save_images(tmp_path, counts)).class_names == class_names


def test_equal_folders_within_all_classes_are_pointed_out(tmp_path: Path):
    images = load_images(save_images(tmp_path, {"a/x": 3, "a/y": 3, "b/x": 3, "b/y": 3}))
    assert images.class_names == ("a", "b")
    assert "Each of the 2 class folders holds the same folders, x/, y/" in images.notes[0]
    assert "if the outer ones are splits, rename them to train/ and test/." in images.notes[0]


def test_one_split_alone_does_not_mind_the_other(tmp_path: Path):
    root = save_images(tmp_path, {**cat_and_dog("train"), "test": 4})
    assert set(load_images(root, split="train").splits) == {"train"}


# Without splits


def test_a_folder_without_splits_is_measured_whole_or_split_with_a_word(tmp_path: Path):
    root = save_images(tmp_path, {"a": 5, "b": 5})
    (note,) = load_images(root, seed=3).notes
    assert "20% of each class" in note
    assert "seed 3" in note
    whole = load_images(root, test_fraction=0)
    assert (set(whole.splits), len(whole), whole.notes) == ({"train"}, 10, ())
    assert set(load_images("digits", test_fraction=0).splits) == {"train"}


@pytest.mark.parametrize("fraction", [-0.1, 1, float("nan")])
def test_the_fraction_must_be_one(tmp_path: Path, fraction: float):
    with pytest.raises(ValueError, match="test_fraction must be at least 0 and less than 1"):
        load_images(save_images(tmp_path, {"a": 5, "b": 5}), test_fraction=fraction)


def test_no_test_split_can_be_taken_where_none_is_made(tmp_path: Path):
    root = save_images(tmp_path, {"a": 5, "b": 5})
    with pytest.raises(ValueError, match="there is only 'train'"):
        load_images(root, split="test", test_fraction=0)


def test_a_fraction_without_effect_is_said(tmp_path: Path):
    images = load_images(save_images(tmp_path, cat_and_dog("train", "test")), test_fraction=0)
    assert images.notes == ("The test fraction has no effect: the data have splits.",)


# All faults together


@pytest.fixture
def messy(tmp_path: Path) -> Path:
    """An empty class, one that is in one split only, one of a single image, and two broken images."""
    root = save_images(tmp_path / "messy", {**cat_and_dog("train", "validation"), "train/empty": 0, "train/lone": 3})
    save_images(root, {"train/single": 1, "validation/single": 3})
    (root / "train/cat/00.png").write_bytes(b"\x89PNG broken")
    (root / "validation/dog/01.png").write_bytes(b"")
    return root


def test_all_that_is_wrong_with_a_folder_is_told_at_once(messy: Path):
    with pytest.raises(DataError) as caught:
        load_images(messy)
    lines = str(caught.value).splitlines()
    assert lines[0] == f"4 things are wrong with {str(messy)!r}:"
    assert [line[:3] for line in lines[1:-1]] == ["1. ", "2. ", "3. ", "4. "]
    for line, words in zip(
        lines[1:-1],
        ("hold none: 'train/empty'", "'lone' only in train/", "1 of 'single (train)'", "2 of 19 cannot be read"),
        strict=True,
    ):
        assert words in line
    assert "'train/cat/00.png' (no image" in lines[4]
    assert "'validation/dog/01.png' (the file is empty)" in lines[4]
    assert lines[-1].endswith(": skip_small_classes=True, skip_broken=True")  # as arguments of a call


@pytest.mark.parametrize(
    ("name", "remedy"),
    [
        ("images.zip", "Unpack it, and name the folder"),
        ("features.npy", "measured by `python -m core measure FILE`"),
        ("image.png", "Name the folder that the images are in."),
    ],
)
def test_a_file_in_place_of_a_folder_is_told(tmp_path: Path, name: str, remedy: str):
    (tmp_path / name).write_bytes(b"anything")
    with pytest.raises(FileNotFoundError, match=rf"must be a folder of images .*; got the file '.*{name}'") as caught:
        load_images(tmp_path / name)
    assert remedy in str(caught.value)


def test_with_the_options_that_the_message_names_it_runs(messy: Path):
    images = load_images(messy, skip_small_classes=True, skip_broken=True)
    assert images.class_names == ("cat", "dog")
    assert Counter(zip(images.labels.tolist(), images.splits.tolist(), strict=True)) == {
        (0, "train"): 2,
        (1, "train"): 3,
        (0, "test"): 3,
        (1, "test"): 2,
    }
    assert [skipped.id for skipped in images.skipped] == ["train/cat/00.png", "validation/dog/01.png"]
    assert images.notes[-1].startswith(
        "3 classes are left out as too small: 'empty' (0 train, 0 test), 'lone' (3 train"
    )


def test_a_class_that_broken_images_make_too_small_is_left_out_too(tmp_path: Path):
    root = save_images(tmp_path, {"train/a": 3, "train/b": 3, "train/c": 2})
    (root / "train/c/00.png").write_bytes(b"broken")
    images = load_images(root, skip_small_classes=True, skip_broken=True)
    assert images.class_names == ("a", "b")
    assert set(images.labels.tolist()) == {0, 1}


def test_classes_smaller_than_what_is_asked_for_can_be_left_out(tmp_path: Path):
    root = save_images(tmp_path, {"train/a": 5, "train/b": 3, "train/c": 6})
    with pytest.raises(DataError, match=r"got 5, but there are only 3 of 'b \(train\)'.*skip_small_classes=True"):
        load_images(root, per_class=5)
    images = load_images(root, per_class=5, skip_small_classes=True)
    assert images.class_names == ("a", "c")
    assert np.bincount(images.labels).tolist() == [5, 5]


def test_classes_too_small_to_be_split_can_be_left_out_or_measured_whole(tmp_path: Path):
    root = save_images(tmp_path, {"a": 5, "b": 3, "c": 6})
    with pytest.raises(DataError, match=r"^each class must have at least 4 samples.*got 3 of 'b'.*fraction of 0"):
        load_images(root)
    assert load_images(root, skip_small_classes=True).class_names == ("a", "c")
    assert load_images(root, test_fraction=0).class_names == ("a", "b", "c")


def test_too_few_classes_left_is_said(tmp_path: Path):
    root = save_images(tmp_path, {"train/a": 3, "train/b": 1, "train/c": 0})
    with pytest.raises(DataError, match=r"got only 'a' after 'b' \(1 train\), 'c' \(0 train\) had to be left out"):
        load_images(root, skip_small_classes=True)


# Files that are no images


def test_files_that_are_no_images_are_counted_and_odd_ones_named(tmp_path: Path):
    root = save_images(tmp_path, cat_and_dog("train", "test"))
    (root / "train/cat/notes.txt").write_text("no image")
    (root / "README.md").write_text("no image")
    (root / "train/Thumbs.db").write_bytes(b"")
    (root / "train/cat/.hidden").write_bytes(b"")
    images = load_images(root)
    assert images.ignored == {".db": 1, ".md": 1, ".txt": 1}
    assert images.notes == ()
    for number in range(9):
        (root / f"test/dog/{number}.HEIC").write_bytes(b"ftypheic")
    images = load_images(root)
    (note,) = images.notes
    assert note == "12 files are not readable images and are left out: 9 .heic, 1 .db, 1 .md, 1 .txt."


def test_a_class_of_files_that_cannot_be_read_is_named_with_their_kind(tmp_path: Path):
    root = save_images(tmp_path, {**cat_and_dog("train"), "train/owl": 0})
    (root / "train/owl/0.heic").write_bytes(b"ftypheic")
    with pytest.raises(DataError, match=r"hold none: 'train/owl' \(only 1 \.heic\)"):
        load_images(root)


def test_a_link_to_an_image_that_is_gone_is_counted_as_left_out(tmp_path: Path):
    root = save_images(tmp_path, {"cat": 4, "dog": 4})
    (root / "dog/gone.png").symlink_to(root / "nowhere.png")
    images = load_images(root, test_fraction=0)
    assert images.ignored == {".png": 1}
    assert images.notes == ("1 file is not a readable image and is left out: 1 .png.",)


@pytest.mark.parametrize("renames", [{"apprentissage": "train", "controle": "test"}, {"apprentissage": "course"}])
def test_the_remedies_for_two_folders_of_which_one_is_called_as_a_split(tmp_path: Path, renames: dict[str, str]):
    save_images(tmp_path, cat_and_dog("apprentissage", "controle"))
    for old, new in renames.items():
        (tmp_path / old).rename(tmp_path / new)
    names = load_images(tmp_path).class_names
    assert names == (("cat", "dog") if len(renames) == 2 else ("controle", "course"))
