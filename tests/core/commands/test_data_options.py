"""Folders, images and labels through the command line: what is taken, said, refused, and with which remedy."""

import signal
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from PIL import Image

import core
from core.analysis.ranking.options import RankOptions
from core.cli import main

CLASSES = ("glass", "metal", "paper")


@pytest.fixture(autouse=True)
def _handlers_as_before() -> Iterator[None]:
    """The command takes over SIGTERM, as a process of its own may."""
    before = signal.getsignal(signal.SIGTERM)
    yield
    signal.signal(signal.SIGTERM, before)


def save_classes(folder: Path, *, classes: tuple[str, ...] = CLASSES, count: int = 6, seed: int = 0) -> Path:
    """`count` noisy images of 8 × 8 pixels of each class, which has a color of its own."""
    rng = np.random.default_rng(seed)
    for place, name in enumerate(classes):
        (folder / name).mkdir(parents=True, exist_ok=True)
        for number in range(count):
            pixels = rng.integers(0, 120, (8, 8, 3))
            pixels[..., place % 3] += 100
            Image.fromarray(pixels.astype(np.uint8)).save(folder / name / f"{number:02d}.png")
    return folder


@pytest.fixture
def messy(tmp_path: Path) -> Path:
    root = tmp_path / "messy"
    for seed, split in enumerate(("train", "validation")):
        save_classes(root / split, seed=seed)
    (root / "train" / "empty").mkdir()
    save_classes(root / "train", classes=("only in train",))
    save_classes(root / "train", classes=("single",), count=1)
    (root / "train" / "glass" / "00.png").write_bytes(b"\x89PNG broken")
    (root / "validation" / "metal" / "01.png").write_bytes(b"")
    return root


def study(folder: Path, out: Path, *options: str) -> int:
    return main(["study", str(folder), "--out", str(out), "--model", "pixels", *options])


@pytest.mark.parametrize(
    ("train", "test", "notes"),
    [
        ("Training", "Testing", ["Training/ is taken as the training split", "Testing/ is taken as the test split"]),
        ("train", "val", ["val/ is taken as the test split"]),
    ],
)
def test_the_usual_names_of_splits(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], train: str, test: str, notes: list[str]
):
    for seed, split in enumerate((train, test)):
        save_classes(tmp_path / "data" / split, seed=seed)
    assert study(tmp_path / "data", tmp_path / "out") == 0
    out, err = capsys.readouterr()
    found = core.load_study(tmp_path / "out")
    assert found.samples["split"].astype(str).value_counts().to_dict() == {"train": 18, "test": 18}
    assert found.samples["class_name"].nunique() == 3
    for note in notes:
        assert note in err  # before the computation, and not again with the results
        assert (out + err).count(note) == 1
        assert any(note in caution for caution in found.info["cautions"])


def test_notes_stand_with_the_results_where_progress_is_for_machines(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    assert study(save_classes(tmp_path / "plain"), tmp_path / "out", "--progress", "json") == 0
    out, err = capsys.readouterr()
    assert ("note: The data have no splits" in out, "note:" in err) == (True, False)


def test_notes_on_the_labels_of_a_study_of_features_are_printed_once(
    features: Path, capsys: pytest.CaptureFixture[str]
):
    (features / "labels.txt").write_text("\n".join(["Cat", "cat"] * 20))
    command = ["measure", str(features / "features.npy"), "--labels", str(features / "labels.txt")]
    for more in (["--out", str(features / "study")], []):
        assert main([*command, *more]) == 0
        out, err = capsys.readouterr()
        assert (out + err).count("'Cat'") == 1


def test_a_plain_folder_is_split_with_a_word_or_measured_whole(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    folder = save_classes(tmp_path / "plain")
    assert study(folder, tmp_path / "split") == 0
    assert "note: The data have no splits: 20% of each class" in capsys.readouterr().err
    assert study(folder, tmp_path / "whole", "--test-fraction", "0") == 0
    out, err = capsys.readouterr()
    assert "note:" not in out + err
    whole = core.load_study(tmp_path / "whole")
    assert whole.samples["split"].astype(str).tolist() == ["train"] * 18
    (chance,) = whole.measurements.query("measure == 'separation'")["chance"]
    assert chance == pytest.approx(5 / 17)
    assert "--test-fraction 0" in whole.info["command"]
    assert whole.info["asked"]["test_fraction"] == 0


@pytest.mark.parametrize("fraction", ["1", "-0.1", "many", "nan"])
def test_a_fraction_that_is_none_is_wrong_usage(tmp_path: Path, capsys: pytest.CaptureFixture[str], fraction: str):
    with pytest.raises(SystemExit):
        study(tmp_path, tmp_path / "out", f"--test-fraction={fraction}")
    assert "must be at least 0 and less than 1" in capsys.readouterr().err


def test_a_messy_folder_is_refused_once_and_runs_with_the_options_named(
    messy: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    assert study(messy, tmp_path / "out") == 1
    err = capsys.readouterr().err
    for words in (
        "hold none: 'train/empty'",
        "'only in train' only in train/",
        "1 of 'single (train)'",
        "'train/glass/00.png' (no image",
        "'validation/metal/01.png' (the file is empty)",
    ):
        assert words in err
    options = err.splitlines()[-1].split(": ")[1].split()
    assert options == ["--skip-small-classes", "--skip-broken"]
    assert study(messy, tmp_path / "out", *options) == 0
    found = core.load_study(tmp_path / "out")
    assert found.samples["split"].astype(str).value_counts().to_dict() == {"train": 17, "test": 17}
    assert [one["id"] for one in found.info["skipped"]] == ["train/glass/00.png", "validation/metal/01.png"]


@pytest.mark.parametrize(("door", "words"), [("fine-tune", []), ("rank", ["--models", "pixels,resnet50"])])
def test_every_command_that_reads_folders_has_the_options_that_it_names(
    messy: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch, door: str, words: list[str]
):
    def stop(*args: object, **options: object) -> None:
        raise OSError("the images are read")

    network = SimpleNamespace(model=None)  # before the images; what comes after them fails
    monkeypatch.setattr("core.training.fine_tuning.load_network", lambda *_, **__: network)
    monkeypatch.setattr("core.training.fine_tuning.with_head", stop)
    monkeypatch.setattr("core.analysis.ranking.ranking.load_network_of", lambda *_: network)
    monkeypatch.setattr("core.analysis.ranking.ranking.plan_study", stop)
    command = [door, str(messy), "--out", str(tmp_path / "out"), *words]
    assert main(command) == 1
    last = capsys.readouterr().err.splitlines()[-1]
    assert last.endswith("--skip-small-classes --skip-broken")
    assert main([*command, *last.split(": ")[1].split()]) == 1
    assert "the images are read" in capsys.readouterr().err


def test_a_remedy_is_named_only_where_the_command_has_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    save_classes(tmp_path / "data" / "train")
    (tmp_path / "data" / "test").mkdir()
    Image.new("L", (8, 8)).save(tmp_path / "data" / "test" / "0.png")
    assert study(tmp_path / "data", tmp_path / "out") == 1
    assert "Or take the train split alone: --split train." in capsys.readouterr().err
    assert main(["fine-tune", str(tmp_path / "data"), "--out", str(tmp_path / "out")]) == 1
    assert "split train" not in capsys.readouterr().err
    assert study(tmp_path / "data", tmp_path / "out", "--split", "train") == 0


def test_a_ranking_hands_the_options_on():
    options = RankOptions("data", ("pixels", "b"), skip_broken=True, skip_small_classes=True, test_fraction=0)
    asked = options.study("pixels")
    assert (asked.skip_broken, asked.skip_small_classes, asked.test_fraction) == (True, True, 0)
    for flag in ("--skip-broken", "--skip-small-classes", "--test-fraction 0"):
        assert flag in options.command("out")


def test_images_of_unlisted_extensions_and_of_low_range(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    folder = save_classes(tmp_path / "data", count=8)
    for path in sorted((folder / "glass").iterdir())[:3]:
        Image.open(path).save(path.with_suffix(".jfif"), format="JPEG")
        path.unlink()
    save_classes(tmp_path / "gray", count=8)
    for path in (tmp_path / "gray" / "paper").iterdir():
        Image.open(path).convert("L").save(path)
    assert study(folder, tmp_path / "out") == 0
    assert len(core.load_study(tmp_path / "out").samples) == 24

    assert study(tmp_path / "gray", tmp_path / "8 bits", "--test-fraction", "0") == 0
    for path in (tmp_path / "gray" / "paper").iterdir():
        Image.fromarray(np.asarray(Image.open(path)).astype(np.uint16)).save(path)
    capsys.readouterr()
    assert study(tmp_path / "gray", tmp_path / "16 bits", "--test-fraction", "0") == 0
    assert "0 to 255 is read as black to white" in capsys.readouterr().err
    tables = [core.load_study(tmp_path / name).neighbors for name in ("8 bits", "16 bits")]
    pd.testing.assert_frame_equal(*tables)
    assert core.load_study(tmp_path / "16 bits").info["used"]["data"]["white"] == {"integers": 255, "floats": 1}


# Features


@pytest.fixture
def features(tmp_path: Path) -> Path:
    """40 samples of four classes, and no labels."""
    rng = np.random.default_rng(0)
    codes = np.repeat(np.arange(4), 10)
    np.save(tmp_path / "features.npy", (rng.normal(size=(40, 6)) + 3 * np.eye(4, 6)[codes]).astype(np.float32))
    return tmp_path


def measure(folder: Path, labels: str, name: str = "features.npy") -> int:
    return main(["measure", str(folder / name), "--labels", str(folder / labels)])


def test_the_index_of_a_table_is_never_the_labels(features: Path, capsys: pytest.CaptureFixture[str]):
    labels = np.repeat([f"class {code}" for code in range(4)], 10)
    pd.DataFrame({"label": labels}).to_csv(features / "labels.csv")
    assert measure(features, "labels.csv") == 0
    out, err = capsys.readouterr()
    assert "40 samples of 4 classes" in out
    assert "note: The labels are the column 'label'" in err


@pytest.mark.parametrize(
    ("names", "classes"),
    [(["10", "1_0", "1", "01"], 4), (["99999999999999999999", "1", "2", "3"], 4), (["1", "1.0", "2", "+2"], 4)],
)
def test_labels_that_look_alike_stay_apart(
    features: Path, capsys: pytest.CaptureFixture[str], names: list[str], classes: int
):
    (features / "labels.txt").write_text("\n".join(np.repeat(names, 10)) + "\n")
    assert measure(features, "labels.txt") == 0
    assert f"40 samples of {classes} classes" in capsys.readouterr().out


def test_labels_that_are_all_different_are_doubted(features: Path, capsys: pytest.CaptureFixture[str]):
    (features / "labels.txt").write_text("\n".join(f"name {number}" for number in range(40)))
    assert measure(features, "labels.txt") == 0
    assert "note: All 40 samples have different labels" in capsys.readouterr().err


def test_a_damaged_archive_is_one_sentence(features: Path, capsys: pytest.CaptureFixture[str]):
    np.savez_compressed(features / "damaged.npz", a=np.load(features / "features.npy"))
    data = bytearray((features / "damaged.npz").read_bytes())
    data[300] ^= 255
    (features / "damaged.npz").write_bytes(data)
    (features / "labels.txt").write_text("\n".join("ab" * 20))
    assert measure(features, "labels.txt", "damaged.npz") == 1
    (line,) = [line for line in capsys.readouterr().err.splitlines() if line]
    assert line.startswith(f"error: array 'a' of {features / 'damaged.npz'} is damaged and cannot be read")
