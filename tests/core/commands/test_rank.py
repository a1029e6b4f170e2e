"""python -m core rank: what it prints, and its exit statuses."""

import json
import signal
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from core.analysis.ranking.ranking import load_ranking
from core.cli import main

LABELS = np.arange(60) % 5
NOISE = {"good": 1.0, "fair": 3.0, "bad": 40.0}


@pytest.fixture(autouse=True)
def _handlers_as_before() -> Iterator[None]:
    """The command takes over SIGTERM, as a process of its own may."""
    before = signal.getsignal(signal.SIGTERM)
    yield
    signal.signal(signal.SIGTERM, before)


@pytest.fixture(autouse=True)
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Features of three networks, in the current folder, beside one file of labels for all."""
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)
    for name, spread in NOISE.items():
        for split in ("train", "test"):
            noise = spread * rng.normal(size=(60, 5))
            np.save(f"{name}-{split}.npy", np.float32(10 * np.eye(5)[LABELS] + noise))
    np.save("labels.npy", LABELS)


def command(*names: str, test: bool = True) -> list[str]:
    words = ["rank", "--out", "out", "--labels", "labels.npy", "--no-probe"]
    for name in names:
        words += ["--features", f"{name}={name}-train.npy"]
        words += ["--test", f"{name}={name}-test.npy"] * test
    return [*words, "--test-labels", "labels.npy"] if test else words


def test_json(capsys: pytest.CaptureFixture[str]):
    assert main([*command("bad", "good", "fair"), "--json"]) == 0
    out, err = capsys.readouterr()
    result = json.loads(out)
    assert "good, measuring in good-train" in err
    assert list(result) == ["path", "state", "compared", "samples", "cautions", "networks", "layers"]
    assert result["state"] == "complete"
    assert result["compared"]["measure"] == "cross"
    assert result["samples"] == {"train": 60, "test": 60}
    assert [row["network"] for row in result["networks"]] == ["good", "fair", "bad"]
    assert [row["verdict"] for row in result["networks"]][::2] == ["best", "certainly worse"]
    assert result["networks"][0]["p_value"] is None
    assert result["networks"][2]["confidence"] > 0.999
    assert result["layers"][0]["network"] == "bad"
    assert result["layers"][0]["seconds"] is None
    found = load_ranking("out")
    assert [row["value"] for row in result["networks"]] == list(found.networks["value"])


def test_the_table_and_that_the_same_command_shows_it_again(capsys: pytest.CaptureFixture[str]):
    assert main(command("bad", "good", "fair")) == 0
    first = capsys.readouterr().out
    lines = first.splitlines()
    assert "SI test to train" in lines[0]
    assert lines[1].split()[0] == "good"
    assert lines[3].split()[0] == "bad"
    assert "certainly worse (> 99.99%)" in lines[3]
    assert "chance level: 0.2000; layers chosen by SI within train" in first
    assert "on the same 60 test samples, which hold together (3 comparisons)" in first
    assert first.endswith("written to out\n")
    assert main(command("bad", "good", "fair")) == 0
    assert capsys.readouterr().out == first


def test_one_comparison_is_not_called_several(capsys: pytest.CaptureFixture[str]):
    assert main(command("bad", "good")) == 0
    assert "which hold together (1 comparison)\n" in capsys.readouterr().out


def test_networks_that_cannot_be_told_apart_are_not_called_equal(capsys: pytest.CaptureFixture[str]):
    rng = np.random.default_rng(1)
    for name in ("one", "other"):
        for split in ("train", "test"):
            np.save(f"{name}-{split}.npy", np.float32(10 * np.eye(5)[LABELS] + 3 * rng.normal(size=(60, 5))))
    assert main(command("one", "other")) == 0
    out = capsys.readouterr().out
    assert "highest SI" in out
    assert "not certainly worse: 60 test samples cannot decide whether the first is better" in out
    assert "tie with" not in out


def test_one_split_says_so(capsys: pytest.CaptureFixture[str]):
    assert main(command("good", "bad", test=False)) == 0
    out = capsys.readouterr().out
    assert "SI within train" in out
    assert "note: All samples are of the split train" in out


def test_digits_as_pixels_beside_features_in_another_order(capsys: pytest.CaptureFixture[str]):
    from sklearn.datasets import load_digits

    from core.data.images.loading import load_images

    images = load_images("digits", per_class=4)
    rows = np.array([int(name.split("/")[1]) for name in images.ids])
    for split in ("train", "test"):
        chosen = images.splits == split
        mixed = np.flatnonzero(chosen)[::-1]
        ids = np.array(images.ids)[mixed]
        np.savez(f"{split}.npz", labels=images.labels[mixed], inked=np.sqrt(load_digits().data[rows[mixed]]), ids=ids)
    words = ["rank", "digits", "--models", "pixels", "--features", "ink=train.npz", "--test", "ink=test.npz"]
    assert main([*words, "--per-class", "4", "--out", "out", "--json"]) == 0
    result = json.loads(capsys.readouterr().out)
    assert {row["network"] for row in result["networks"]} == {"pixels", "ink"}
    assert all(row["linear_probe"] > 0.5 for row in result["networks"])
    assert [row["seconds"] for row in result["layers"]] == [0, None]


@pytest.mark.parametrize(
    ("words", "status", "message"),
    [
        (command("good"), 2, "at least two networks to rank; got 1"),
        (
            [*command("good", "fair"), "--test", "other=x.npy"],
            2,
            "test must name features that are ranked; got 'other'",
        ),
        ([*command("good", "fair"), "--models", "pixels"], 2, "got networks without data"),
        (["rank", "digits", "--models", "pixels,efficientnet-lite9", "--out", "out"], 2, "got 'efficientnet-lite9'"),
        (["rank", "--features", "a=none.npy", "--features", "b=none.npy", "--out", "out"], 1, "there is no 'none.npy'"),
    ],
)
def test_wrong_usage(words: list[str], status: int, message: str, capsys: pytest.CaptureFixture[str]):
    assert main(words) == status
    assert message in capsys.readouterr().err


def test_a_name_without_a_file_is_wrong_usage(capsys: pytest.CaptureFixture[str]):
    with pytest.raises(SystemExit) as stopped:
        main(["rank", "--out", "out", "--features", "vit"])
    assert stopped.value.code == 2
    assert "must be NAME=FILE; got 'vit'" in capsys.readouterr().err


def test_the_same_folder_with_other_options(capsys: pytest.CaptureFixture[str]):
    assert main(command("good", "fair")) == 0
    assert main([*command("good", "fair"), "--neighbors", "3"]) == 1
    assert "out holds another ranking; it differs in neighbors: 10 → 3" in capsys.readouterr().err


def test_copies_of_training_samples_are_told_once_for_all_networks(capsys: pytest.CaptureFixture[str]):
    for name in NOISE:
        np.save(f"{name}-test.npy", np.load(f"{name}-train.npy"))
    assert main(command(*NOISE)) == 0
    out = capsys.readouterr().out
    assert out.count("note: 60 test samples are also training samples, number for number: test-to-train SI") == 1
