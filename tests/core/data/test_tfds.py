"""Data sets of TensorFlow Datasets, read from a miniature of Stanford Dogs in the official format."""

import hashlib
import io
import os
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import core
from core.cli import main
from core.data.errors import DataError
from core.data.images.loading import load_images

if os.environ.get("REQUIRE_SHARED") != "1":  # there, a missing package is a failure
    pytest.importorskip("tensorflow_datasets", reason="tensorflow-datasets is not installed")
import tensorflow_datasets as tfds

ROOT = Path(core.__file__).parents[1]
BREEDS = ["n02085620-chihuahua", "n02085782-japanese_spaniel", "n02085936-maltese_dog"]

Samples = dict[str, list[dict[str, Any]]]


def encoded(label: int, number: int, *, kind: str = "JPEG") -> bytes:
    """An image whose mean color tells label and number."""
    buffer = io.BytesIO()
    Image.new("RGB", (20 + number, 16), (80 * label, 20 * number, 0)).save(buffer, kind, quality=95)
    return buffer.getvalue()


def dogs() -> Samples:
    """The samples by split, as the builder of Stanford Dogs yields them."""
    numbers = {"train": range(5), "test": range(5, 8)}
    return {
        split: [
            {
                "image": io.BytesIO(encoded(label, number)),
                "image/filename": f"Images/{breed}/{breed[:9]}_{number}.jpg",
                "label": label,
                "objects": [{"bbox": tfds.features.BBox(0.0, 0.0, 1.0, 0.5)}],
            }
            for number in numbers[split]
            for label, breed in enumerate(BREEDS)
        ]
        for split in numbers
    }


DOG_FEATURES = {
    "image": tfds.features.Image(encoding_format="jpeg"),
    "image/filename": tfds.features.Text(),
    "label": tfds.features.ClassLabel(names=BREEDS),
    "objects": tfds.features.Sequence({"bbox": tfds.features.BBoxFeature()}),
}


def store(
    folder: Path, samples: Samples, features: dict[str, Any], name: str = "stanford_dogs", **options: Any
) -> Path:
    """Write samples as a prepared data set, shuffled and in two shards as real ones are."""
    tfds.dataset_builders.store_as_tfds_dataset(
        name,
        "0.2.0" if name == "stanford_dogs" else "1.0.0",
        tfds.features.FeaturesDict(features),
        {split: list(enumerate(own)) for split, own in samples.items()},
        data_dir=folder,
        download_config=tfds.download.DownloadConfig(num_shards=2),
        **options,
    )
    return folder


@pytest.fixture(scope="module")
def dogs_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return store(tmp_path_factory.mktemp("tfds"), dogs(), DOG_FEATURES)


@pytest.fixture(autouse=True)
def _data_dir(dogs_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SI_TFDS_DIR", str(dogs_folder))


def tiny(folder: Path, features: dict[str, Any], *, name: str = "tiny", **splits: list[dict[str, Any]]) -> None:
    """A data set of little images, that the code of the package does not know."""
    store(folder, splits, features, name)


def tiny_samples(count: int, *, labels: int = 2, first: int = 0) -> list[dict[str, Any]]:
    return [
        {"image": np.full((4, 4, 1), 12 * (first + i), np.uint8), "label": -1 if labels == 0 else i % labels}
        for i in range(count)
    ]


TINY_FEATURES = {"image": tfds.features.Image(shape=(4, 4, 1)), "label": tfds.features.ClassLabel(names=["z", "a"])}


# Samples


def test_ids_labels_and_images_belong_together():
    images = load_images("tfds:stanford_dogs")
    assert images.name == "tfds:stanford_dogs/0.2.0"
    assert images.class_names == tuple(BREEDS)
    assert list(images.ids) == sorted(images.ids)
    expected = {
        f"{split}/{sample['image/filename']}": (split, sample["label"], sample["image"].getvalue())
        for split, own in dogs().items()
        for sample in own
    }
    assert set(images.ids) == set(expected)
    pixels = images.load(np.arange(len(images)), (8, 8)).mean(axis=(1, 2))
    for row, sample in enumerate(images.ids):
        split, label, data = expected[sample]
        assert (images.splits[row], images.labels[row]) == (split, label)
        assert images.digests[row] == hashlib.sha256(data).hexdigest()
        number = int(sample.split("_")[-1].removesuffix(".jpg"))
        assert images.sizes[row].tolist() == [16, 20 + number]
        np.testing.assert_allclose(pixels[row], [80 * label, 20 * number, 0], atol=4)
    assert images.notes == ()


def test_it_agrees_with_the_official_reader(dogs_folder: Path):
    images = load_images("tfds:stanford_dogs")
    labels = dict(zip(images.ids, images.labels.tolist(), strict=True))
    builder = tfds.builder("stanford_dogs", data_dir=dogs_folder)
    read = 0
    for split in ("train", "test"):
        for sample in tfds.as_numpy(builder.as_dataset(split=split, shuffle_files=False)):
            row = images.ids.index(f"{split}/{sample['image/filename'].decode()}")
            assert labels[images.ids[row]] == sample["label"]
            height, width = sample["image"].shape[:2]
            found = images.load([row], (height, width))[0]
            np.testing.assert_allclose(found, sample["image"], atol=4)  # two JPEG decoders
            read += 1
    assert read == len(images) == 24


def test_choosing_works_as_in_a_folder():
    train = load_images("tfds:stanford_dogs", split="train", per_class=2, seed=1)
    assert np.bincount(train.labels).tolist() == [2, 2, 2]
    assert set(train.splits) == {"train"}
    every = load_images("tfds:stanford_dogs:0.2.0")
    assert set(train.ids) < set(every.ids)
    assert every.select([3, 1]).ids == (every.ids[3], every.ids[1])
    np.testing.assert_array_equal(every.select([3]).load([0], (4, 4)), every.load([3], (4, 4)))
    with pytest.raises(ValueError, match=r"images must all have one size to be used as raw pixels"):
        every.raw([0])


def test_no_image_is_held_in_memory():
    images = load_images("tfds:stanford_dogs")
    assert images.values is None
    assert images.encoded is not None
    (places,) = [value for value in vars(images.encoded.__self__).values() if isinstance(value, dict)]  # type: ignore
    assert all(sum(isinstance(part, bytes) for part in place) == 0 for place in places.values())


def test_neither_tensorflow_nor_the_package_is_needed_without_a_download(dogs_folder: Path):
    code = "import core.data.images.loading as i, sys; i.load_images('tfds:stanford_dogs').load([0], (4, 4)); "
    code += "print('tensorflow' in sys.modules, 'keras' in sys.modules)"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=True)
    assert run.stdout == "False False\n"


def test_a_study_of_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    command = ["study", "tfds:stanford_dogs", "--per-class", "3", "--weights", "none", "--layers", "stem_conv"]
    assert main([*command, "--out", str(tmp_path / "study")]) == 0
    assert "note: The class folders bear ImageNet ids" not in capsys.readouterr().out  # the network is untrained
    study = core.load_study(tmp_path / "study")
    assert study.state == "complete"
    assert study.info["used"]["data"]["name"] == "tfds:stanford_dogs/0.2.0"
    assert study.samples.groupby(["split", "class_name"], observed=True).size().tolist() == [3] * 6
    assert study.samples["source"].str.startswith(("train/Images/n0", "test/Images/n0")).all()


# Splits and names


def test_validation_serves_as_test_with_a_note(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("SI_TFDS_DIR", str(tmp_path))
    splits = {"train": tiny_samples(6), "validation": tiny_samples(4, first=6), "test": tiny_samples(3, labels=0)}
    tiny(tmp_path, TINY_FEATURES, **splits)
    images = load_images("tfds:tiny")
    assert images.class_names == ("z", "a")  # in the data set's own order
    assert np.unique(images.splits, return_counts=True)[1].tolist() == [4, 6]
    assert images.ids[:2] == ("test/0000000", "test/0000001")
    (note,) = images.notes
    assert note == "The validation split of tiny/1.0.0 serves as the test split: there is no other with labels."
    assert images.pixel_shape == (4, 4, 3)
    shown = images.raw(np.arange(len(images)))[:, 0, 0, 0]
    official = tfds.as_numpy(tfds.builder("tiny", data_dir=tmp_path).as_dataset(split="train", shuffle_files=False))
    expected = {int(sample["image"][0, 0, 0]): int(sample["label"]) for sample in official}
    train = images.splits == "train"
    assert dict(zip(shown[train].astype(int).tolist(), images.labels[train].tolist(), strict=True)) == expected
    assert main(["study", "tfds:tiny", "--model", "pixels", "--out", str(tmp_path / "study")]) == 0
    assert core.load_study(tmp_path / "study").info["cautions"][0] == note


def test_a_set_of_one_split_is_split_by_seed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("SI_TFDS_DIR", str(tmp_path))
    tiny(tmp_path, TINY_FEATURES, train=tiny_samples(20))
    images = load_images("tfds:tiny", seed=3)
    assert np.unique(images.splits, return_counts=True)[1].tolist() == [4, 16]
    assert images.ids[0] == "0000000"
    held_out = np.flatnonzero(images.splits == "test")
    assert load_images("tfds:tiny", split="test", seed=3).ids == images.select(held_out).ids


def test_names_that_repeat_give_way_to_numbers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("SI_TFDS_DIR", str(tmp_path))
    features = TINY_FEATURES | {"id": tfds.features.Text()}
    named = [sample | {"id": f"s{number}"} for number, sample in enumerate(tiny_samples(4))]
    same = [sample | {"id": "same"} for sample in tiny_samples(4)]
    tiny(tmp_path, features, train=named, test=same)
    images = load_images("tfds:tiny")
    assert images.ids == tuple([f"test/{n:07d}" for n in range(4)] + [f"train/s{n}" for n in range(4)])


# What cannot be used


def test_a_broken_image_is_named_or_skipped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("SI_TFDS_DIR", str(tmp_path))
    samples = dogs()
    samples["train"][0]["image"] = io.BytesIO(b"no image")
    store(tmp_path, samples, DOG_FEATURES)
    broken = f"train/{samples['train'][0]['image/filename']}"
    with pytest.raises(DataError, match=rf"1 of 24 cannot be read: '{broken}' \(no image in a format known here\)"):
        load_images("tfds:stanford_dogs")
    images = load_images("tfds:stanford_dogs", skip_broken=True)
    assert [skipped.id for skipped in images.skipped] == [broken]
    assert len(images) == 23


@pytest.mark.parametrize("keep", [-3, 5])
def test_a_file_that_was_cut_short(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, keep: int):
    monkeypatch.setenv("SI_TFDS_DIR", str(tmp_path))
    tiny(tmp_path, TINY_FEATURES, train=tiny_samples(6), test=tiny_samples(4))
    path = next(tmp_path.rglob("tiny-train.tfrecord-00000*"))
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(DataError, match=r"tiny-train.tfrecord-00000-of-00002 is cut short at byte \d+\. Delete"):
        load_images("tfds:tiny")


def test_a_file_with_other_content_or_fewer_samples(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("SI_TFDS_DIR", str(tmp_path))
    tiny(tmp_path, TINY_FEATURES, train=tiny_samples(6), test=tiny_samples(4))
    path = next(tmp_path.rglob("tiny-train.tfrecord-00000*"))
    path.write_bytes(b"")
    with pytest.raises(
        DataError, match=r"'tiny/1.0.0' must have 6 samples in train; got 3\. Delete .*prepare it again"
    ):
        load_images("tfds:tiny")
    path.write_bytes((3).to_bytes(8, "little") + bytes(4) + b"abc" + bytes(4))
    with pytest.raises(DataError, match=r"00000-of-00002 is damaged at byte 12\."):
        load_images("tfds:tiny")


@pytest.mark.parametrize(
    ("features", "sample", "message"),
    [
        ({"text": tfds.features.Text()}, {"text": "x"}, "must have one Image feature, or one named 'image'; got none"),
        (
            {"a": tfds.features.Image(shape=(4, 4, 1)), "b": tfds.features.Image(shape=(4, 4, 1))},
            {"a": np.zeros((4, 4, 1), np.uint8), "b": np.zeros((4, 4, 1), np.uint8)},
            "must have one Image feature, or one named 'image'; got a, b",
        ),
        (
            {"image": tfds.features.Image(shape=(4, 4, 1)), "label": tfds.features.Scalar(np.int64)},
            {"image": np.zeros((4, 4, 1), np.uint8), "label": 1},
            "must have one ClassLabel feature, or one named 'label'; got none",
        ),
    ],
)
def test_sets_that_are_not_for_classification(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, features: dict, sample: dict, message: str
):
    monkeypatch.setenv("SI_TFDS_DIR", str(tmp_path))
    tiny(tmp_path, features, train=[sample] * 3)
    with pytest.raises(DataError, match=message):
        load_images("tfds:tiny")


def test_a_set_without_labels(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("SI_TFDS_DIR", str(tmp_path))
    tiny(tmp_path, TINY_FEATURES, train=tiny_samples(6), test=tiny_samples(4, labels=0))
    with pytest.raises(DataError, match=r"got samples without one in test\. Choose another split with --split"):
        load_images("tfds:tiny")
    assert len(load_images("tfds:tiny", split="train")) == 6


def test_an_unknown_name_is_wrong_usage(capsys: pytest.CaptureFixture[str], tmp_path: Path):
    assert main(["study", "tfds:stanford_dgos", "--out", str(tmp_path / "x")]) == 2
    err = capsys.readouterr().err.splitlines()[-1]
    assert "got 'tfds:stanford_dgos'. Did you mean stanford_dogs" in err
    assert len(err) < 400


def test_without_a_download_it_says_where_it_looked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    def offline(self: object, **options: object) -> None:
        sys.stdout.write("Downloading and preparing")
        raise ConnectionError("Failed to resolve 'example.org'")

    monkeypatch.setattr(tfds.core.DatasetBuilder, "download_and_prepare", offline)
    monkeypatch.setattr("core.data.images.tfds.check_hosts", lambda addresses: dict.fromkeys(addresses, ""))
    monkeypatch.delenv("SI_TFDS_DIR")
    monkeypatch.setattr("tensorflow_datasets.core.constants.DATA_DIR", str(tmp_path / "home"))
    assert main(["study", "tfds:stanford_dogs", "--out", str(tmp_path / "x")]) == 1
    out, err = capsys.readouterr()
    assert out == ""
    assert f"must be prepared in {tmp_path / 'home'}" in err
    assert "or be downloaded; got: Failed to resolve 'example.org'. Connect to the network" in err
    assert not (tmp_path / "x").exists()


def test_without_a_connection_it_says_so_within_seconds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    """The downloader itself would try each address ten times, for minutes; nothing is written."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        closed = f"127.0.0.1:{free.getsockname()[1]}"
    monkeypatch.setenv("http_proxy", f"http://{closed}")  # so that the machine's own connection does not matter
    monkeypatch.delenv("no_proxy", raising=False)
    monkeypatch.delenv("SI_TFDS_DIR")
    monkeypatch.setattr("tensorflow_datasets.core.constants.DATA_DIR", str(tmp_path / "home"))
    start = time.monotonic()
    assert main(["study", "tfds:stanford_dogs", "--out", str(tmp_path / "x")]) == 1
    assert time.monotonic() - start < 20
    assert f"or be downloaded; got: {closed} cannot be reached (Connection refused). " in capsys.readouterr().err
    assert [*tmp_path.iterdir()] == []


def test_nothing_of_a_failed_download_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """What other downloads left, and data sets that are there, stay as they are."""
    home = tmp_path / "home"
    for name in ("downloads/other.tar.tmp.1", "mnist/3.0.1"):
        (home / name).mkdir(parents=True)
        (home / name / "file").write_bytes(b"1")

    def breaks_off(self: Any, **options: object) -> None:
        unfinished = home / "downloads" / "stanford_dogs" / "images.tar.tmp.2"
        unfinished.mkdir(parents=True)
        (unfinished / "images.tar").write_bytes(b"half")
        Path(self.data_dir).parent.mkdir(parents=True)
        raise KeyboardInterrupt

    monkeypatch.setattr(tfds.core.DatasetBuilder, "download_and_prepare", breaks_off)
    monkeypatch.setattr("core.data.images.tfds.check_hosts", lambda addresses: {})
    monkeypatch.setenv("SI_TFDS_DIR", str(home))
    with pytest.raises(KeyboardInterrupt):
        load_images("tfds:stanford_dogs")
    files = sorted(path.relative_to(home).as_posix() for path in home.rglob("*") if path.is_file())
    assert files == ["downloads/other.tar.tmp.1/file", "mnist/3.0.1/file"]
    assert not (home / "stanford_dogs").exists()


def test_a_missing_package_says_what_to_install(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "tensorflow_datasets", None)
    with pytest.raises(ModuleNotFoundError, match="pip install tensorflow-datasets importlib-resources"):
        load_images("tfds:stanford_dogs")
