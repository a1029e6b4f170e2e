"""The command line: exit statuses, what goes to which stream, and that an interrupted command goes on."""

import io
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

import core
from core.cli import main
from core.commands import measure as measure_command
from core.commands import study as study_command
from core.commands.terminal import progress
from core.commands.terminal.progress import ProgressLine
from core.network.kernel_speed import forward_seconds
from core.network.kernels import current_kernels
from core.study.plan import Progress

ROOT = Path(core.__file__).parents[1]
DEMO = ROOT / "explorer" / "demo"
DIGITS = ["study", "digits", "--model", "pixels", "--per-class", "5"]


@pytest.fixture(autouse=True)
def _handlers_as_before() -> Iterator[None]:
    """The command takes over SIGTERM, as a process of its own may."""
    before = signal.getsignal(signal.SIGTERM)
    yield
    signal.signal(signal.SIGTERM, before)


def python_m_core(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "core", *arguments], capture_output=True, text=True, cwd=ROOT, check=False
    )


# study


def test_results_on_stdout_progress_on_stderr(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    assert main([*DIGITS, "--out", str(tmp_path / "study")]) == 0
    out, err = capsys.readouterr()
    study = core.load_study(tmp_path / "study")
    train = study.measurements.query("measure == 'separation' and split == 'train'")["value"].item()
    assert f"{train:.4f}" in out
    assert out.splitlines()[0].strip().split("  ") == ["SI train", "SI test", "SI test to train"]
    for word in ("input", "flat", "chance level: "):
        assert word in out
    assert out.endswith(f"written to {tmp_path / 'study'}\n")
    assert "pass 1 of 1" in err
    assert "pass 1" not in out
    assert "\r" not in err  # stderr is no terminal here


def test_a_complete_study_is_only_shown_again(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    command = [*DIGITS, "--out", str(tmp_path / "study")]
    assert main(command) == 0
    first = capsys.readouterr().out
    assert main(command) == 0
    out, err = capsys.readouterr()
    assert out == first
    assert "pass" not in err


def test_json(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    assert main([*DIGITS, "--out", str(tmp_path / "study"), "--json"]) == 0
    result = json.loads(capsys.readouterr().out)
    assert result["path"] == str(tmp_path / "study")
    assert result["state"] == "complete"
    rows = {(row["split"], row["measure"]): row for row in result["measurements"]}
    assert set(rows) == {("train", "separation"), ("test", "separation"), ("test", "cross")}
    assert rows["train", "separation"]["chance"] == pytest.approx(4 / 49)
    assert rows["test", "cross"]["chance"] == pytest.approx(0.1)
    assert all(0 <= row["value"] <= 1 for row in result["measurements"])


def test_as_a_process_of_its_own(tmp_path: Path):
    run = python_m_core(*DIGITS, "--out", str(tmp_path / "study"), "--json")
    assert (run.returncode, json.loads(run.stdout)["state"]) == (0, "complete")
    assert python_m_core("study", "digits").returncode == 2
    failed = python_m_core("study", str(tmp_path / "none"), "--out", str(tmp_path / "other"))
    assert (failed.returncode, failed.stdout) == (1, "")
    assert "error: data must be 'digits', 'tfds:NAME' or a folder" in failed.stderr
    assert "Traceback" not in failed.stderr


@pytest.mark.parametrize("as_json", [False, True])
def test_a_dry_run_says_what_would_be_and_writes_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], as_json: bool
):
    command = [*DIGITS, "--out", str(tmp_path / "study"), "--dry-run", "--memory", "1MiB", "--projection", "tsne"]
    assert main([*command, "--json"] if as_json else command) == 0
    out = capsys.readouterr().out
    assert list(tmp_path.iterdir()) == []
    if as_json:
        plan = json.loads(out)
        assert plan["samples"] == 100
        assert plan["splits"] == {"train": 50, "test": 50}
        (only,) = plan["passes"]
        assert (only["layers"], only["bytes"], only["runs"], only["slices"]) == (1, 100 * 64 * 4, 1, 0)
        assert (only["forward_flop"], only["search_flop"]) == (0, 100**2 * 64)
        assert (plan["map"]["num_layers"], plan["map"]["num_bytes"]) == (1, 4 * 100 * 30)
        assert 0 < plan["map"]["seconds"] < plan["estimated_s"] < 60
        assert plan["budget_bytes"] == 1 << 20
    else:
        assert "100 samples (50 train, 50 test) of 10 classes" in out
        columns = "layers, activations, operations of the network + of the search"
        assert f"1 layer, mean, in 1 pass over the images ({columns}):" in out
        assert "map of the samples: 1 layer, about 0 s in one thread, after measuring; 0 MiB on disk" in out
        assert "An estimate: products at the" in out


def test_skip_broken(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    rng = np.random.default_rng(0)
    for name in ("a/0", "a/1", "a/2", "b/0", "b/1", "b/2"):
        path = tmp_path / "data" / "train" / f"{name}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(rng.integers(0, 256, (4, 4, 3), dtype=np.uint8)).save(path)
    (tmp_path / "data" / "train" / "b" / "2.png").write_bytes(b"")
    command = ["study", str(tmp_path / "data"), "--model", "pixels", "--out", str(tmp_path / "study")]
    assert main(command) == 1
    assert "'train/b/2.png' (the file is empty)" in capsys.readouterr().err
    assert main([*command, "--skip-broken"]) == 0
    assert core.load_study(tmp_path / "study").info["skipped"] == [
        {"id": "train/b/2.png", "reason": "the file is empty"}
    ]


# Failures


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "COMMAND"),
        (["studdy"], "invalid choice: 'studdy'"),
        (["study", "digits"], "--out"),
        ([*DIGITS, "--out", "x", "--pooling", "max"], "invalid choice: 'max'"),
        ([*DIGITS, "--out", "x", "--split", "val"], "invalid choice: 'val'"),
        ([*DIGITS, "--out", "x", "--memory", "lots"], "number of bytes such as 2GiB or 500MB; got 'lots'"),
        ([*DIGITS, "--out", "x", "--neighbors", "0"], "must be a whole number of at least 1; got '0'"),
        ([*DIGITS, "--out", "x", "--per-class", "1"], "must be a whole number of at least 2; got '1'"),
        ([*DIGITS, "--out", "x", "--batch-size", "-3"], "must be a whole number of at least 1; got '-3'"),
        ([*DIGITS, "--out", "x", "--seed", "one"], "invalid int value: 'one'"),
        ([*DIGITS, "--out", "x", "--neighbors-of", "all"], "unrecognized arguments: --neighbors-of"),
        ([*DIGITS, "--out", "x", "--exact"], "unrecognized arguments: --exact"),
        ([*DIGITS, "--out", "x", "--geometry"], "unrecognized arguments: --geometry"),
        (["fine-tune", "digits", "--out", "x", "--head-rate", "0.1"], "unrecognized arguments: --head-rate"),
    ],
)
def test_wrong_usage_is_2(arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]):
    with pytest.raises(SystemExit) as stopped:
        main(arguments)
    out, err = capsys.readouterr()
    assert stopped.value.code == 2
    assert out == ""
    assert message in err


@pytest.mark.parametrize(
    ("arguments", "command", "told"),
    [
        ([*DIGITS, "--out", "x", "--frobnicate"], "study", "unrecognized arguments: --frobnicate. `"),
        (["cut", "x", "--tolerence=0.05"], "cut", "--tolerence=0.05. Did you mean '--tolerance'?"),
        (["sample-path", "x", "y", "z"], "sample-path", "unrecognized arguments: z. `"),
    ],
)
def test_an_unknown_option_is_told_by_its_command(arguments, command, told, capsys: pytest.CaptureFixture[str]):
    with pytest.raises(SystemExit):
        main(arguments)
    err = capsys.readouterr().err
    assert err.startswith(f"usage: python -m core {command} ")
    assert told in err
    assert err.endswith(f"`python -m core {command} --help` lists all.\n")


@pytest.mark.parametrize("typed", ["n02085620_1152.jpg", "N02085620_1152"])
def test_the_name_of_a_file_finds_the_id_of_its_sample(typed: str, capsys: pytest.CaptureFixture[str]):
    meant = "train/n02085620-Chihuahua/n02085620_1152.jpg"
    check_one_line(["sample-path", str(DEMO / "dogs"), typed], 2, f"got {typed!r}. Did you mean {meant!r}?", capsys)


def check_one_line(command: list[str], status: int, message: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(command) == status
    out, err = capsys.readouterr()
    assert out == ""
    assert message in err.splitlines()[-1]
    assert err.splitlines()[-1].startswith("error: ")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["study", "digits", "--model", "resnet", "--out", "x"], "model must be one of"),
        ([*DIGITS, "--out", "x", "--layers", "conv*"], "layers must be left out or be 'input' with model 'pixels'"),
        ([*DIGITS, "--out", "x", "--memory", "1KiB"], "input needs 25 KiB for 100 samples, got 1 KiB"),
        ([*DIGITS, "--out", "x", "--precision", "2"], "precision must lie between 0 and 0.5; got 2.0"),
        ([*DIGITS, "--out", "x", "--sizes", "3"], "size must be between 20 (2 for each of 10 classes) and 50"),
        (["layers", "resnet"], "model must be one of"),
        (["layers", "efficientnet-lite0", "--layers", "stem_cnov"], "stem_cnov"),
    ],
)
def test_what_core_refuses_as_an_argument_is_wrong_usage(
    arguments: list[str], message: str, capsys: pytest.CaptureFixture[str], monkeypatch, tmp_path: Path
):
    monkeypatch.chdir(tmp_path)
    check_one_line(arguments, 2, message, capsys)
    assert list(tmp_path.iterdir()) == []


def test_failures_are_1_and_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    (tmp_path / "thesis.tex").write_text("mine")
    for name in ("train/a", "train/b", "test/a"):
        (tmp_path / "data" / name).mkdir(parents=True)
        for number in range(2):
            Image.new("L", (2, 2)).save(tmp_path / "data" / name / f"{number}.png")
    failing = [
        (["study", str(tmp_path / "none"), "--out", str(tmp_path / "x")], "there is no folder"),
        (["study", str(tmp_path / "data"), "--out", str(tmp_path / "x")], "each class must be in both splits"),
        ([*DIGITS, "--out", str(tmp_path)], "must be empty or hold a study; it has data, thesis.tex"),
        (["layers", "none.keras"], "the network must be in an existing file; there is none at none.keras"),
    ]
    for arguments, message in failing:
        check_one_line(arguments, 1, message, capsys)


def test_other_options_for_the_same_folder_are_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    assert main([*DIGITS, "--out", str(tmp_path / "study")]) == 0
    capsys.readouterr()
    assert main([*DIGITS, "--out", str(tmp_path / "study"), "--neighbors", "3"]) == 1
    assert "it differs in neighbors: 10 → 3" in capsys.readouterr().err


def test_a_stopped_process_is_130(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(study_command, "run_study", lambda *args, **kwargs: os.kill(os.getpid(), signal.SIGTERM))
    assert main([*DIGITS, "--out", str(tmp_path / "study")]) == 130
    out, err = capsys.readouterr()
    assert out == ""
    assert "Interrupted. The layers done so far are kept; the same command goes on from there." in err


@pytest.mark.parametrize(
    ("output", "message"),
    [
        ([], "Interrupted. Nothing was written."),
        (["--out", "study"], "Interrupted. The layers done so far are kept; the same command goes on from there."),
        (["--out", "study", "--dry-run"], "Interrupted. Nothing was written."),
        (["--out", "study", "--overwrite"], "Interrupted. What the folder held before stays."),
    ],
)
def test_an_interrupted_measure_says_what_stays(
    output: list[str], message: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(measure_command, "open_features", lambda *args, **kwargs: os.kill(os.getpid(), signal.SIGTERM))
    assert main(["measure", "features.npy", "--labels", "labels.npy", *output]) == 130
    assert message in capsys.readouterr().err


def _heed_interrupts() -> None:
    """Tests that run in the background inherit that Ctrl-C is ignored; a person's command does not."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


@pytest.mark.skipif(os.name == "nt", reason="Windows has no SIGINT for another process")
def test_ctrl_c_in_a_real_run_and_the_same_command_again(tmp_path: Path):
    # 40 images; the nine sums fill the first pass, avg_pool alone the second
    layers = ["--layers", "block*_add,avg_pool", "--memory", "200KiB", "--batch-size", "8"]
    command = ["study", "digits", "--weights", "none", "--per-class", "2", "--out", str(tmp_path / "study"), *layers]
    with subprocess.Popen(
        [sys.executable, "-m", "core", *command],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=ROOT,
        preexec_fn=_heed_interrupts,
    ) as process:
        assert process.stderr is not None
        for line in process.stderr:
            if "pass 1 of 2, neighbors: 9 of 9 layers" in line:
                process.send_signal(signal.SIGINT)
                break
        out, err = process.communicate(timeout=120)
    assert (process.returncode, out) == (130, "")
    assert "the same command goes on from there" in err
    assert "Traceback" not in err
    partial = core.load_study(tmp_path / "study")
    assert partial.state == "partial"
    assert len(partial.layers) == 9
    again = python_m_core(*command)
    assert again.returncode == 0, again.stderr
    assert "pass 1 of 1" in again.stderr
    whole = core.load_study(tmp_path / "study")
    assert whole.state == "complete"
    assert whole.layers["layer"].tolist() == [*partial.layers["layer"], "avg_pool"]
    assert "avg_pool" in again.stdout


# layers


def test_layers_of_a_network(capsys: pytest.CaptureFixture[str]):
    assert main(["layers", "efficientnet-lite0"]) == 0
    head, *lines = capsys.readouterr().out.splitlines()
    assert head.split() == ["position", "layer", "kind", "output", "parameters", "main"]
    main_layers = [line.split()[1] for line in lines if line.endswith(" main")]
    assert len(main_layers) == 58
    assert main_layers[0] == "stem_conv"
    stem = next(line for line in lines if " stem_conv " in line)
    assert stem.split() == ["1", "stem_conv", "Conv2D", "112", "×", "112", "×", "32", "864", "main"]


def test_some_layers_as_json(capsys: pytest.CaptureFixture[str]):
    assert main(["layers", "efficientnet-lite0", "--layers", "block7a_*,predictions", "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)
    assert [row["layer"] for row in rows] == [
        "block7a_expand_conv",
        "block7a_dwconv",
        "block7a_project_conv",
        "predictions",
    ]
    assert rows[2]["output_shape"] == [7, 7, 320]
    assert [row["main"] for row in rows] == [True, True, True, False]


@pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept a copy keyword")  # Keras's own model.save
def test_layers_of_a_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    import keras

    image = keras.Input((8, 8, 3))
    keras.Model(image, keras.layers.Conv2D(2, 3, name="only_conv")(image)).save(tmp_path / "mine.keras")
    assert main(["layers", str(tmp_path / "mine.keras"), "--json"]) == 0
    assert [row["layer"] for row in json.loads(capsys.readouterr().out)] == ["input", "only_conv"]


# The line of progress


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The time that the progress line sees, in seconds."""
    now = [100.0]
    monkeypatch.setattr(progress, "time", SimpleNamespace(monotonic=lambda: now[0]))
    return now


def test_progress_on_a_terminal_is_one_line_with_the_time_left(clock: list[float]):
    stream = Terminal()
    line = ProgressLine(stream)
    line(Progress("pass 1 of 2, activations", 0, 4000, "images"))
    clock[0] += 30
    line(Progress("pass 1 of 2, activations", 1000, 4000, "images"))
    clock[0] += 0.05
    line(Progress("pass 1 of 2, activations", 1001, 4000, "images"))  # too soon to be shown
    line.close()
    line.close()
    assert stream.getvalue() == (
        "\r\x1b[Kpass 1 of 2, activations: 0 of 4,000 images"
        "\r\x1b[Kpass 1 of 2, activations: 1,000 of 4,000 images, 1:30 left\n"
    )


def test_progress_elsewhere_is_a_line_now_and_then_and_at_each_stage(clock: list[float]):
    stream = io.StringIO()
    line = ProgressLine(stream)
    for seconds, done in ((0, 0), (4, 1), (4, 2), (4, 3), (1, 4)):
        clock[0] += seconds
        line(Progress("pass 1 of 1, activations", done, 4, "images"))
    line(Progress("pass 1 of 1, neighbors in stem_conv", 0, 9, "layers"))
    line(Progress("pass 1 of 1, neighbors in top_conv", 1, 9, "layers"))  # the same stage, too soon
    line.close()
    assert stream.getvalue().splitlines() == [
        "pass 1 of 1, activations: 0 of 4 images",
        "pass 1 of 1, activations: 3 of 4 images, 0:04 left",
        "pass 1 of 1, activations: 4 of 4 images",
        "pass 1 of 1, neighbors in stem_conv: 0 of 9 layers",
    ]


def test_devices_lists_the_processor(capsys):
    assert main(["devices", "--json"]) == 0
    processor = json.loads(capsys.readouterr().out)[0]
    assert processor["device"] == "CPU"
    assert processor["cores"] >= 1
    assert processor["kernels"] == asdict(current_kernels())
    assert processor["shortlists"] in processor["operations_per_s"]
    assert set(processor["operations_per_s"]) - {"bfloat16"} == {"float32", "float64"}
    assert min(processor["operations_per_s"].values()) > 1e8
    assert main(["devices"]) == 0
    printed = capsys.readouterr().out
    assert f"kernels of TensorFlow on the CPU: {current_kernels()}" in printed
    assert "GFLOP/s" in printed


def test_devices_times_a_network_with_both_sets_of_kernels(capsys, monkeypatch):
    environments = []

    def run(command, *, env, **_):
        environments.append(env["TF_ENABLE_ONEDNN_OPTS"])
        seconds = {"1": 0.016, "0": 0.0275}[env["TF_ENABLE_ONEDNN_OPTS"]]
        return subprocess.CompletedProcess(command, 0, stdout=f"a notice\n{seconds}\n", stderr="")

    monkeypatch.setattr("core.network.kernel_speed.subprocess.run", run)
    assert main(["devices", "--compare-kernels"]) == 0
    printed = capsys.readouterr().out
    assert environments == ["1", "0"]
    chosen, other = ("oneDNN: 16.0", "kernels: 27.5") if current_kernels().onednn else ("kernels: 27.5", "oneDNN: 16.0")
    assert f"{chosen} ms an image (chosen)\n" in printed
    assert f"{other} ms an image\n" in printed


@pytest.mark.slow
def test_kernels_are_timed_in_processes_of_their_own():
    seconds = forward_seconds()
    assert set(seconds) == {True, False}
    assert all(0 < one < 60 for one in seconds.values())


def test_kernels_that_cannot_be_timed_say_why(monkeypatch):
    failed = subprocess.CompletedProcess([], 1, stdout="", stderr="ImportError: no such library")
    monkeypatch.setattr("core.network.kernel_speed.subprocess.run", lambda *_, **__: failed)
    with pytest.raises(RuntimeError, match="TF_ENABLE_ONEDNN_OPTS=1: ImportError: no such library"):
        forward_seconds()


@pytest.mark.parametrize(
    "words",
    [
        ["label-errors", "digits"],
        ["overlap", "digits"],
        ["report", "digits", "--markdown", "-"],
        ["cut", "digits", "--layer", "block6d_add"],
        ["weights"],
        ["study", "digits", "--model", "pixels"],
        ["fine-tune", "digits"],
        ["rank", "digits", "--models", "pixels,efficientnet-lite0"],
        ["figures", "digits"],
    ],
)
def test_an_output_that_cannot_be_written_is_one_sentence(
    words: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    (tmp_path / "file").touch()
    (tmp_path / "folder.csv").mkdir()
    if words[0] in ("label-errors", "overlap", "report", "figures", "cut"):
        words = [words[0], str(DEMO / "digits"), *words[2:]]
    suffix = {"report": ".html", "cut": ".keras", "label-errors": ".csv", "overlap": ".csv", "weights": ".csv"}
    out = tmp_path / "file" / f"out{suffix.get(words[0], '')}"
    assert main([*words, "--out", str(out)]) == 1
    error = capsys.readouterr().err
    assert "must be a folder that can be written to" in error
    assert error.endswith("is a file. Choose another one.\n")
    assert "Errno" not in error
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "folder.csv"]
    if words[0] == "label-errors":
        assert main([*words, "--out", str(tmp_path / "folder.csv")]) == 1
        assert "out must be a file; got the folder" in capsys.readouterr().err


def test_folders_above_a_file_are_made(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    assert main(["confused-classes", str(DEMO / "digits"), "--out", str(tmp_path / "new" / "folder" / "t.csv")]) == 0
    assert (tmp_path / "new" / "folder" / "t.csv").exists()


def test_what_the_system_refuses_is_said_in_words(capsys: pytest.CaptureFixture[str]):
    name = "n" * 300
    assert main(["measure", f"{name}.npy"]) in (1, 2)
    assert main(["confused-classes", str(DEMO / "digits"), "--out", f"{name}/t.csv"]) == 1
    error = capsys.readouterr().err
    assert "Errno" not in error
    assert "file name too long" in error
