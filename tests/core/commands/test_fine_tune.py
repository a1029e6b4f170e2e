"""`python -m core fine-tune`: streams and statuses, and that a killed or interrupted command goes on."""

import io
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import keras
import pandas as pd
import pytest

import core
from core.cli import main
from core.commands.fine_tune import TrainingLine
from core.training.phases import TrainingProgress
from core.training.saved_state import EpochResult

ROOT = Path(core.__file__).parents[1]


@pytest.fixture(scope="module")
def command(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """A training of a tiny network that takes a few seconds."""
    image = keras.Input((8, 8, 3), name="image")
    x = keras.layers.Rescaling(1 / 255, name="rescaling")(image)
    for number, name in enumerate(("stem_conv", "top_conv")):
        initializer = keras.initializers.GlorotUniform(number)
        x = keras.layers.Conv2D(8, 3, activation="relu", kernel_initializer=initializer, name=name)(x)
    path = tmp_path_factory.mktemp("network") / "tiny.keras"
    keras.Model(image, keras.layers.GlobalAveragePooling2D(name="avg_pool")(x)).save(path)
    options = "--unfreeze top_conv --per-class 6 --head-epochs 3 --tail-epochs 2 --batch-size 16 --cache --variants 1"
    return ["fine-tune", "digits", "--weights", str(path), *options.split()]


@pytest.fixture(scope="module")
def longer(command: list[str]) -> list[str]:
    """Long enough to be stopped on its way."""
    return [*command, "--head-epochs", "120"]


@pytest.fixture(scope="module")
def whole(longer: list[str], tmp_path_factory: pytest.TempPathFactory) -> pd.DataFrame:
    """What it gives when no one stops it."""
    out = tmp_path_factory.mktemp("whole") / "out"
    assert main([*longer, "--out", str(out)]) == 0
    return pd.read_parquet(out / "history.parquet")


@pytest.fixture(autouse=True)
def _handlers_as_before():
    """The command takes over SIGTERM, as a process of its own may."""
    before = signal.getsignal(signal.SIGTERM)
    yield
    signal.signal(signal.SIGTERM, before)


def test_results_on_stdout_progress_on_stderr(command, tmp_path, capsys):
    assert main([*command, "--out", str(tmp_path / "out")]) == 0
    out, err = capsys.readouterr()
    assert out.endswith(
        f"written to {tmp_path / 'out/final.keras'}; after the first phase: {tmp_path / 'out/head.keras'}\n"
    )
    assert "val_accuracy" in out.splitlines()[0]
    assert "head, epoch 3 of 3: loss" in err
    assert "tail, epoch 2 of 2: loss" in err
    assert "images/s" in err
    assert "\r" not in err  # stderr is no terminal here
    assert main([*command, "--out", str(tmp_path / "out"), "--json"]) == 0
    result = json.loads(capsys.readouterr().out)
    assert [row["epoch"] for row in result["history"]] == [1, 2, 3, 1, 2]
    assert (result["state"], result["final"]) == ("complete", str(tmp_path / "out/final.keras"))


def test_the_same_folder_with_other_options(command, tmp_path, capsys):
    out = ["--out", str(tmp_path / "out")]
    assert main([*command, *out, "--tail-epochs", "0"]) == 0
    assert main([*command, *out, "--tail-epochs", "0", "--no-flip"]) != 0
    assert "differs in training.augmentation.flip: True → False" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--head-epochs", "0"], "must be a whole number of at least 1; got '0'"),
        (["--dropout", "much"], "invalid float value"),
        (["--variants", "four"], "must be a whole number of at least 0; got 'four'"),
    ],
)
def test_wrong_usage_exits_with_2(arguments, message, capsys):
    with pytest.raises(SystemExit) as exited:
        main(["fine-tune", "digits", "--out", "x", *arguments])
    assert exited.value.code == 2
    assert message in capsys.readouterr().err


def _heed_interrupts() -> None:
    """What runs in the background has inherited to ignore them."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


@pytest.mark.parametrize(("number", "status"), [(signal.SIGKILL, -9), (signal.SIGINT, 130), (signal.SIGTERM, 130)])
def test_a_stopped_command_goes_on_and_ends_the_same(longer, whole, tmp_path, number, status):
    command = [*longer, "--out", str(tmp_path / "out")]
    process = subprocess.Popen(
        [sys.executable, "-m", "core", *command],
        cwd=ROOT,
        stderr=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        preexec_fn=_heed_interrupts,
    )
    checkpoint = tmp_path / "out" / "checkpoint.npz"
    until = time.monotonic() + 60
    while not checkpoint.exists() and time.monotonic() < until:
        time.sleep(0.01)
    os.kill(process.pid, number)
    _, err = process.communicate(timeout=60)
    assert process.returncode == status
    assert "Traceback" not in err
    if status == 130:
        assert "The same command goes on from the last whole epoch." in err
    assert checkpoint.exists()
    assert not (tmp_path / "out" / "final.keras").exists()
    assert main(command) == 0
    pd.testing.assert_frame_equal(pd.read_parquet(tmp_path / "out" / "history.parquet"), whole, check_exact=True)


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_the_line_on_a_terminal(monkeypatch):
    clock = iter([0.0, 1.0, 4.0])
    monkeypatch.setattr(time, "monotonic", lambda: next(clock))
    stream = Terminal()
    line = TrainingLine(stream)
    result = EpochResult("head", 1, 1.5, 0.25, 1.25, 0.5)
    line(TrainingProgress("head", 1, 3, 0, 300))
    line(TrainingProgress("head", 1, 3, 50, 300))
    line(TrainingProgress("head", 1, 3, 100, 300, result))
    assert stream.getvalue() == (
        "\r\x1b[Khead, epoch 1 of 3: 50 of 100 images, 50 images/s, 0:05 left"
        "\r\x1b[Khead, epoch 1 of 3: loss 1.5000, accuracy 0.2500, val_loss 1.2500, val_accuracy 0.5000, "
        "25 images/s, 0:08 left\n"
    )
