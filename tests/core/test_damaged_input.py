"""Bad input through the command line: one sentence with the file, no traceback, no hang, whatever is damaged."""

import json
import os
import shutil
import signal
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

import core
from core.cli import main, make_parser, options_by_command
from tests.damage import Damage, damaged_copy, file_bytes_damages, study_damages, write_small_study

ROOT = Path(core.__file__).parents[1]
EVERY = 40  # of the corpus; `python -m tests.benchmarks.damage` tries all of it
SLOW = {"max_examples": 60, "deadline": None, "derandomize": True}
SETTINGS = settings(**SLOW, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])


@pytest.fixture(autouse=True)
def _handlers_as_before() -> Iterator[None]:
    """The commands take over SIGTERM, as processes of their own may."""
    before = signal.getsignal(signal.SIGTERM)
    yield
    signal.signal(signal.SIGTERM, before)


def run(command: list[str], capsys: pytest.CaptureFixture[str]) -> tuple[int, str, str]:
    """Status, stdout and stderr of a command that must not be a defect, whatever it was given."""
    try:
        status = main(command)
    except SystemExit as stopped:
        status = int(str(stopped.code))
    out, err = capsys.readouterr()
    assert status in (0, 1, 2), err
    assert "defect of the program" not in err, err
    assert "Traceback" not in err
    if status == 1:
        assert err.splitlines()[-1].startswith("error: ")
    return status, out, err


@pytest.fixture
def features(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Features of each kind, and labels of each kind, in the working folder."""
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(24, 3)).astype(np.float32), np.arange(24) % 3
    np.save("x.npy", x)
    np.save("y.npy", y)
    np.savez_compressed("z.npz", layer=x, labels=y)
    pd.DataFrame(x, columns=list("abc")).assign(label=y).to_parquet("p.parquet")
    Path("y.txt").write_text("\n".join(f"class{label}" for label in y))
    pd.DataFrame({"breed": y}).to_csv("y.csv", index=False)
    return tmp_path


DOORS = [
    ("x.npy", ["x.npy", "--labels", "y.npy"]),
    ("y.npy", ["x.npy", "--labels", "y.npy"]),
    ("z.npz", ["z.npz"]),
    ("p.parquet", ["p.parquet", "--labels", "label"]),
    ("y.txt", ["x.npy", "--labels", "y.txt"]),
    ("y.csv", ["x.npy", "--labels", "y.csv:breed"]),
]


@pytest.mark.parametrize(("file", "command"), DOORS, ids=[file for file, _ in DOORS])
def test_damaged_files_of_features_and_labels(
    features: Path, file: str, command: list[str], capsys: pytest.CaptureFixture[str]
):
    content = Path(file).read_bytes()
    for name, damaged in file_bytes_damages(content, every=6):
        Path(file).write_bytes(damaged)
        status, _, err = run(["measure", *command], capsys)
        assert status == 0 or file.partition(".")[0] in err, name
        Path(file).write_bytes(content)


def test_a_damaged_header_of_labels(features: Path, capsys: pytest.CaptureFixture[str]):
    """A header is a Python literal: what reads it stumbles over an open bracket by an error of the tokenizer."""
    content = Path("y.npy").read_bytes()
    at = content.index(b"(24,")
    Path("y.npy").write_bytes(content[:at] + b"((((" + content[at + 4 :])
    status, _, err = run(["measure", "x.npy", "--labels", "y.npy"], capsys)
    assert status == 1
    assert "y.npy is damaged and cannot be read" in err


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_damaged_members_of_archives(features: Path, method: int, capsys: pytest.CaptureFixture[str]):
    """Behind a directory that is whole: what zlib, LZMA, bz2 and the checksum refuse, each by its own exception."""
    packed = {name: Path(file).read_bytes() for name, file in (("layer.npy", "x.npy"), ("labels.npy", "y.npy"))}
    with zipfile.ZipFile("m.npz", "w", method) as archive:
        for name, data in packed.items():
            archive.writestr(name, data)
    content = Path("m.npz").read_bytes()
    for start in (60, 100, 150, 250):
        Path("m.npz").write_bytes(content[:start] + bytes(8) + content[start + 8 :])
        status, _, err = run(["measure", "m.npz"], capsys)
        assert status == 0 or "m.npz" in err


@pytest.mark.parametrize("field", [(14, 4), (18, 4), (22, 4), (8, 2), (26, 2)])
def test_archives_that_lie_about_their_members(features: Path, field: tuple[int, int], capsys):
    """The checksum, both sizes, the method and the length of the name, in the directory and before the member."""
    at, width = field
    content = bytearray(Path("z.npz").read_bytes())
    directory = content.index(b"PK\x01\x02")
    for start in (at, directory + at + 2):
        damaged = bytearray(content)
        damaged[start : start + width] = b"\x7f" * width
        Path("l.npz").write_bytes(damaged)
        status, _, err = run(["measure", "l.npz"], capsys)
        assert status == 0 or "l.npz" in err


@SETTINGS
@given(st.lists(st.text(max_size=30), min_size=0, max_size=30) | st.binary(max_size=200))
def test_any_text_as_labels(features: Path, capsys: pytest.CaptureFixture[str], content: list[str] | bytes):
    data = content if isinstance(content, bytes) else "\n".join(content).encode("utf-8", "surrogatepass")
    for name in ("any.txt", "any.csv"):
        Path(name).write_bytes(data)
        run(["measure", "x.npy", "--labels", name], capsys)
        run(["measure", "x.npy", "--labels", f"{name}:breed"], capsys)


@pytest.mark.parametrize(
    "labels", ["9" * 5000, "9" * 20, "1_0", "a" * 200_000, '"' + "b" * 200_000, "\x00", "nan", "1e400", "-"]
)
def test_odd_labels(features: Path, labels: str, capsys: pytest.CaptureFixture[str]):
    for name, first in (("odd.txt", ""), ("odd.csv", "breed,other\n")):
        rows = [f"{labels},1" if name.endswith("csv") else labels] + [
            f"{row % 3},1"[: 3 if first else 1] for row in range(23)
        ]
        Path(name).write_text(first + "\n".join(rows))
        run(["measure", "x.npy", "--labels", name + (":breed" if first else "")], capsys)


@SETTINGS
@given(
    scale=st.sampled_from([1e-310, 1e-200, 1e-45, 1.0, 1e30, 1e149, 1e200, 1e308, float("nan"), float("inf"), 0.0]),
    dtype=st.sampled_from(["f2", "f4", "f8", "i1", "i8", "u8", "?", "c8", "S3", "U3", "M8[s]", "O"]),
    shape=st.sampled_from([(24, 3), (24,), (24, 2, 2), (24, 0), (0, 3), (1, 3), (23, 3), ()]),
)
def test_any_array_as_features(features: Path, capsys, scale: float, dtype: str, shape: tuple[int, ...]):
    with np.errstate(all="ignore"):
        values = np.random.default_rng(0).normal(size=shape) * scale
        usual = np.nan_to_num(values) if np.dtype(dtype).kind in "iuM" else values
        np.save("any.npy", np.asarray(usual).astype(dtype), allow_pickle=True)
    run(["measure", "any.npy", "--labels", "y.npy"], capsys)


@pytest.mark.parametrize(
    "options",
    [
        ["--neighbors", "9" * 5000],
        ["--neighbors", "99999"],
        ["--labels", "a\0b"],
    ],
)
def test_odd_options_of_measure(features: Path, options: list[str], capsys: pytest.CaptureFixture[str]):
    run(["measure", "x.npy", "--labels", "y.npy", *options], capsys)


@pytest.mark.parametrize(
    ("options", "status"),
    [
        (["--precision", "1e-300"], 0),
        (["--precision", "1e-300", "--pilot", "5"], 0),
        (["--precision", "nan"], 2),
        (["--repeats", "0"], 2),
        (["--seed", "9" * 30], 2),
        (["--seed", "-1"], 2),
        (["--memory", "9" * 400], 2),
        (["--sizes", "20," + "9" * 5000], 2),
        (["--sizes", "2_0"], 2),
        (["--neighbors", "99999"], 0),
        (["--pilot", "-1"], 2),
        (["--model", "pixels\0"], 2),
    ],
)
def test_odd_options_of_study(tmp_path: Path, options: list[str], status: int, capsys: pytest.CaptureFixture[str]):
    command = ["study", "digits", "--model", "pixels", "--per-class", "4", "--out", str(tmp_path / "study")]
    assert run([*command, *options], capsys)[0] == status


def test_a_path_with_a_nul_byte(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    status, _, err = run(["study", "a\0b", "--out", str(tmp_path / "study")], capsys)
    assert status == 2
    assert "arguments must not hold NUL characters; got 'a\\x00b'." in err


# Studies


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_small_study(tmp_path_factory.mktemp("small") / "study")


def commands_on(study: Path, other: Path) -> list[list[str]]:
    """Every command that opens a study, as far as it needs no network."""
    return [
        ["report", str(study), "--markdown", "-"],
        ["overlap", str(study), "--json"],
        ["overlap", str(study), str(other)],
        ["blocks", str(study)],
        ["cut", str(study), "--no-timing"],
    ]


@pytest.mark.parametrize("damage", list(study_damages())[::EVERY], ids=lambda damage: damage.name)
def test_every_command_on_a_damaged_study(small: Path, tmp_path: Path, damage: Damage, capsys):
    folder = damaged_copy(small, damage, tmp_path / "damaged")
    for command in commands_on(folder, small):
        status, _, err = run(command, capsys)
        if damage.noticed:
            assert status == 1
            assert str(folder) in err


# Files that never end


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    rng = np.random.default_rng(0)
    for name in ("a", "b"):
        (tmp_path / "pictures" / "train" / name).mkdir(parents=True)
        for number in range(3):
            image = Image.fromarray(rng.integers(0, 256, (4, 4, 3), dtype=np.uint8))
            image.save(tmp_path / "pictures" / "train" / name / f"{number}.png")
    return tmp_path / "pictures"


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs named pipes")
@pytest.mark.parametrize("kind", ["a named pipe", "a device"])
def test_pictures_that_never_end(pictures: Path, kind: str, capsys: pytest.CaptureFixture[str]):
    endless = pictures / "train" / "a" / "x.jpg"
    os.mkfifo(endless) if kind == "a named pipe" else endless.symlink_to("/dev/zero")
    command = ["study", str(pictures), "--model", "pixels", "--split", "train", "--out", str(pictures.parent / "study")]
    status, _, err = run(command, capsys)
    assert status == 1
    assert f"must be a regular file; got {kind}" in err
    assert run([*command, "--skip-broken"], capsys)[0] == 0


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs named pipes")
@pytest.mark.parametrize("file", ["x.npy", "y.npy", "z.npz", "p.parquet", "y.txt"])
def test_features_and_labels_that_never_end(features: Path, file: str, capsys: pytest.CaptureFixture[str]):
    Path(file).unlink()
    os.mkfifo(file)
    for name, command in DOORS:
        if name == file:
            assert run(["measure", *command], capsys)[0] in (1, 2)


@pytest.mark.skipif(sys.platform != "linux", reason="names are bytes on Linux alone")
def test_names_that_are_no_utf_8(pictures: Path, capsys: pytest.CaptureFixture[str]):
    os.rename(os.fsencode(pictures / "train" / "a"), os.fsencode(pictures / "train") + b"/caf\xe9")
    source = os.fsencode(pictures / "train" / "b" / "0.png")
    os.rename(source, os.fsencode(pictures / "train" / "b") + b"/\xff.png")
    out = pictures.parent / "study"
    command = ["study", str(pictures), "--model", "pixels", "--split", "train", "--out", str(out)]
    assert run(command, capsys)[0] == 0
    samples = core.load_study(out).samples
    assert set(samples["class_name"]) == {"caf\\udce9", "b"}
    assert "train/b/\\udcff.png" in set(samples["id"])
    assert run(command, capsys)[0] == 0  # complete, and the same one
    assert "caf\\\\udce9" in run(["report", str(out), "--markdown", "-"], capsys)[1]
    strange = os.fsdecode(os.fsencode(pictures.parent) + b"/out\xff")
    status, _, err = run([*command[:-1], strange], capsys)
    assert status == 1
    assert "out must have a path in UTF-8" in err


# What remains is a defect


def test_a_defect_says_so(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    def broken(path: str) -> None:
        np.zeros(3).reshape(2, 2)

    monkeypatch.setattr("core.commands.overlap.load_study", broken)
    assert main(["overlap", "study"]) == 1
    err = capsys.readouterr().err
    assert err.startswith("\nerror: This is a defect of the program: ValueError: cannot reshape array")
    assert "Run the same command again with --debug, and report what it prints" in err
    assert "Traceback" not in err
    with pytest.raises(ValueError, match="cannot reshape"):
        main(["overlap", "study", "--debug"])


def test_every_command_has_debug():
    assert all("--debug" in options for options in options_by_command(make_parser()).values())


# Nothing is lost in silence


def test_an_output_folder_that_is_removed_during_a_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    out = tmp_path / "study"
    monkeypatch.setattr("core.study.run.with_alignment", lambda tables, folder: (shutil.rmtree(out), tables)[1])
    command = ["study", "digits", "--model", "pixels", "--per-class", "4", "--out", str(out)]
    status, _, err = run(command, capsys)
    assert status == 1
    assert f"{out} must stay as it is while a run writes to it; it has been removed. Run the same command" in err
    monkeypatch.undo()
    assert run(command, capsys)[0] == 0
    assert len(core.load_study(out).samples) == 80


@pytest.mark.parametrize("lost", ["samples.parquet", "study.json", "parts"])
def test_files_that_are_removed_while_features_are_measured(tmp_path: Path, lost: str):
    x, y = np.random.default_rng(0).normal(size=(12, 3)), np.arange(12) % 3
    writer = core.FeatureStudyWriter(tmp_path / "study", y)

    def measure() -> None:
        with writer:
            writer.add_layer("first", x)
            path = tmp_path / "study" / lost
            shutil.rmtree(path) if path.is_dir() else path.unlink()
            writer.add_layer("second", x)

    with pytest.raises(core.StudyError, match="must stay as it is while a run writes to it; it has lost"):
        measure()


def test_measure_on_a_complete_study_shows_it_again(features: Path, capsys: pytest.CaptureFixture[str]):
    command = ["measure", "x.npy", "--labels", "y.npy", "--out", "study"]
    first = run(command, capsys)
    again = run(command, capsys)
    assert (first[0], first[1]) == (again[0], again[1])
    assert "measuring" not in again[2]
    np.save("x.npy", np.load("x.npy") + 1)
    status, _, err = run(command, capsys)
    assert status == 1
    assert "study holds another study: the file of 'x' was another one. Choose another folder, or replace it" in err


def test_measure_on_the_study_of_a_network_says_so(features: Path, capsys: pytest.CaptureFixture[str]):
    assert run(["study", "digits", "--model", "pixels", "--per-class", "4", "--out", "study"], capsys)[0] == 0
    status, _, err = run(["measure", "x.npy", "--labels", "y.npy", "--out", "study"], capsys)
    assert status == 1
    assert "study holds another study: it was not measured from feature files. Choose another folder" in err


def test_a_damaged_part_is_told_before_the_rest_is_computed(features: Path, capsys: pytest.CaptureFixture[str]):
    Path("layers").mkdir()
    shutil.copy("x.npy", "layers/1-a.npy")
    np.save("layers/2-b.npy", np.full((24, 3), np.nan))
    command = ["measure", "layers", "--labels", "y.npy", "--out", "study"]
    assert run(command, capsys)[0] == 1
    Path("study/parts/00000/measurements.parquet").write_bytes(b"damaged")
    np.save("layers/2-b.npy", np.load("x.npy"))
    status, _, err = run(command, capsys)
    assert status == 1
    assert "measurements.parquet in study/parts/00000 cannot be read" in err


def test_a_run_is_ended_by_sigterm_while_a_pipe_is_in_the_folder(pictures: Path):
    """As it comes: a process of its own, which must end by itself."""
    if hasattr(os, "mkfifo"):
        os.mkfifo(pictures / "train" / "a" / "x.jpg")
    command = [sys.executable, "-m", "core", "study", str(pictures), "--model", "pixels", "--split", "train"]
    ended = subprocess.run(
        [*command, "--out", str(pictures.parent / "study")], cwd=ROOT, capture_output=True, timeout=120, check=False
    )
    assert ended.returncode == 1


def test_json_of_a_damaged_study_is_no_half_result(small: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    folder = damaged_copy(
        small, Damage("", lambda path: (path / "neighbors.parquet").write_bytes(b"x") and None), tmp_path / "d"
    )
    status, out, _ = run(["overlap", str(folder), "--json"], capsys)
    assert (status, out) == (1, "")
    assert json.loads((folder / "study.json").read_text())["state"] == "complete"
