"""The journeys of the README: its commands are typed as they stand there, in a folder of a user.

Placeholders are made real (`path/to/images`, `my-study`, `features.npy`), and files and numbers are checked. Where a
command would take minutes, options that make it small follow. PyTorch recipes are run by
tests/core/study/test_torch_recipe.py, the lines that use a cut network by tests/core/analysis/test_exporting.py, those
of KerasHub by tests/core/study/test_keras_hub.py, the start of the app by tests/explorer/test_starting.py, and blocks
marked `run` by tests/test_documentation.py.
"""

import hashlib
import json
import re
import shutil
import socket
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import core
from core.analysis.ranking.ranking import load_ranking
from core.cli import main
from core.network.models import weight_files
from tests.documents import ROOT, code_blocks, commands, prose, section, table_rows

CORE = "python -m core"
NOTEBOOK = ROOT / "explorer" / "notebook" / "original_work.ipynb"


def read(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


README = read("README.md")


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder in which the user types."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def typed(text: str, *beginning: str) -> list[list[str]]:
    """The commands of a text that begin with these words; there must be one."""
    found = [words for _, words in commands(text, CORE) if words[: len(beginning)] == list(beginning)]
    assert found, f"the text must have a command {' '.join(beginning)}"
    return found


@pytest.mark.slow
@pytest.mark.shared
def test_my_images(folder: Path, dogs_dir: Path, capsys: pytest.CaptureFixture[str]):
    link_breeds(dogs_dir, folder / "path" / "to" / "images", num_breeds=2, per_breed=4)
    lines = [words for _, words in commands(section(README, "## My images"), CORE)]
    assert [words[0] for words in lines] == [
        *("study", "study", "cut", "report", "figures", "rank", "label-errors", "fine-tune", "study"),
    ]
    less = {
        "study": ["--layers", "block6d_add,last_pool", "--projection", "none", "--no-probe"],
        "fine-tune": ["--head-epochs", "2", "--tail-epochs", "1", "--variants", "1"],
        "rank": ["--layers", "last_pool"],
    }
    for number, words in enumerate(lines):
        assert main([*words, *less.get(words[0], [])]) == 0, (words, capsys.readouterr().err)
        assert number > 0 or not Path("my-study").exists()  # --dry-run
    before, after = core.load_study("my-study"), core.load_study("after")
    assert before.state == after.state == "complete"
    assert before.samples.groupby(["split", "class_name"], observed=True).size().tolist() == [4] * 4
    assert before.layers["layer"].tolist() == after.layers["layer"].tolist() == ["block6d_add", "avg_pool"]
    assert "| block6d\\_add" in Path("report.md").read_text()
    assert {path.suffix for path in Path("figures").iterdir()} == {".pdf", ".txt"}
    assert set(load_ranking(Path("ranking")).networks["network"]) == {"efficientnet-lite0", "pixels"}
    assert pd.read_csv("label-errors.csv")["id"].tolist() == core.label_errors(before)["id"].tolist()


def link_breeds(dogs: Path, folder: Path, *, num_breeds: int, per_breed: int) -> None:
    """Make a folder of images with links to the first photographs of some breeds."""
    for split in ("train", "test"):
        for breed in sorted((dogs / split).iterdir())[:: 120 // num_breeds][:num_breeds]:
            (folder / split / breed.name).mkdir(parents=True)
            for image in sorted(breed.iterdir())[:per_breed]:
                (folder / split / breed.name / image.name).symlink_to(image)


# PyTorch, or any features


def test_features_in_files(folder: Path, capsys: pytest.CaptureFixture[str]):
    rng = np.random.default_rng(0)
    labels = np.repeat([0, 1], 8)
    features = (rng.normal(size=(16, 4)) + 9 * labels[:, None]).astype(np.float32)  # two classes, far apart
    np.save("labels.npy", labels)
    np.save("features.npy", features)
    (folder / "path" / "to" / "features").mkdir(parents=True)
    np.save("path/to/features/early.npy", rng.normal(size=(16, 4)))
    np.save("path/to/features/late.npy", features)
    one, several = typed(section(README, "## PyTorch, or any features"), "measure")
    assert main(one) == 0
    assert re.search(r"separation .*\b1(\.0+)?\b", capsys.readouterr().out)
    assert main(several) == 0
    study = core.load_study("features-study")
    separation = study.measurements.query("measure == 'separation'").set_index("layer")["value"]
    assert separation["late"] == 1
    assert separation["early"] < 1


# A machine without internet


@pytest.fixture
def without_internet(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise OSError("Network is unreachable")

    for name in ("getaddrinfo", "create_connection"):
        monkeypatch.setattr(socket, name, refuse)
    monkeypatch.setattr(socket.socket, "connect", refuse)


@pytest.mark.slow
@pytest.mark.usefixtures("without_internet")
def test_no_internet(folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    monkeypatch.setenv("KERAS_HOME", str(folder / "keras"))
    text = section(README, "## No internet")
    (ask,) = typed(text, "weights")
    assert main(ask) == 0
    out = capsys.readouterr().out
    assert "https://storage.googleapis.com/keras-applications/efficientnetb0.h5" in out
    assert str(folder / "keras" / "models" / "efficientnetb0.h5") in out
    small = ["--per-class", "2", "--layers", "last_pool", "--neighbors", "2", "--no-probe", "--projection", "none"]
    bundled, pixels, from_file = typed(text, "study")
    for words in (bundled, pixels):
        assert main([*words, *(small if words is bundled else [])]) == 0
        assert core.load_study(words[words.index("--out") + 1]).state == "complete"
    weights = Path(from_file[from_file.index("--weights") + 1])
    weights.parent.mkdir(parents=True)
    write_published_weights(weights, monkeypatch)
    assert main([*from_file, *small]) == 0
    study = core.load_study("b0-study")
    assert study.info["used"]["model"]["name"] == "efficientnet-b0"
    assert study.layers["channels"].tolist() == [1280]


def write_published_weights(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Write random weights of EfficientNet-B0 to a file whose hash is taken for the published one."""
    import h5py
    import keras
    from keras.src.legacy.saving import legacy_h5_format

    with h5py.File(path, "w") as file:
        legacy_h5_format.save_weights_to_hdf5_group(file, keras.applications.EfficientNetB0(weights=None))
    digest = hashlib.md5(path.read_bytes()).hexdigest()
    files = [replace(file, hash=digest) if file.name == path.name else file for file in weight_files.weight_files()]
    monkeypatch.setattr(weight_files, "weight_files", lambda: tuple(files))


# Notebooks, papers, and tables


@pytest.fixture
def bundled(folder: Path) -> None:
    """Bundled studies under the names that the README uses."""
    for name, alias in {"digits": "my-study", "dogs-untrained": "before", "dogs-head": "after"}.items():
        shutil.copytree(ROOT / "explorer" / "demo" / name, folder / alias)


def test_charts_of_a_notebook():
    (block,) = code_blocks(section(read("core/README.md"), "## In a notebook"))
    study = core.load_study(ROOT / "explorer" / "demo" / "dogs")
    names = re.findall(r'"(\w+)"', next(line for line in block.text.splitlines() if "plot_against" in line))
    assert len(names) == 6
    for name in names:
        assert study.plot_against(name).to_dict()["layer"]
    (layer,) = re.findall(r'plot_classes\("(\w+)"\)', block.text)
    assert study.plot_classes(layer).to_dict()["title"].startswith(f"SI of each class at {layer}")
    assert "<h3>" in study._repr_mimebundle_()["text/html"]


def test_the_notebook_of_the_original_work_lies_where_the_readme_says():
    (path,) = re.findall(r"\]\((.*\.ipynb)\)", section(README, "## Reproduce the original notebook"))
    assert ROOT / path == NOTEBOOK


@pytest.mark.usefixtures("bundled")
def test_figures_for_a_paper():
    text = section(read("core/README.md"), "## Figures")
    (words,) = typed(text, "figures")
    assert main(words) == 0
    written = {path.stem for path in Path("figures").glob("*.pdf")}
    assert written == {path.stem for path in Path("figures").glob("*.txt")}
    named = set(re.findall(r"`([a-z][a-z-]*)`", prose(text)))  # and `si-versus-…`
    assert {name for name in written if not name.startswith("si-versus-")} == named
    (millimeters,) = re.findall(r"(\d+) or \d+ mm wide", text)
    for path in Path("figures").glob("*.pdf"):
        content = path.read_bytes()
        width = float(re.search(rb"/MediaBox *\[\S+ \S+ ([\d.]+)", content)[1])
        assert width * 25.4 / 72 == pytest.approx(int(millimeters), abs=1)
        assert b"/FontFile" in content  # embedded


@pytest.mark.usefixtures("bundled")
def test_tables_of_samples_have_a_command_and_a_function(capsys: pytest.CaptureFixture[str]):
    text = read("core/analysis/README.md")
    study = core.load_study("my-study")
    first, second = study.samples["class_name"].astype(str).unique()[:2]
    further = {"class-pair": [first, second], "sample-path": [study.samples["id"].iloc[0]]}
    rows = table_rows(text, "## Tables of samples and classes")
    assert len(rows) == 9
    for command, function, _ in rows:
        name, arguments = command.strip("`"), further.get(command.strip("`"), [])
        table = getattr(core, function.strip("`").removeprefix("core."))(study, *arguments)
        assert main([name, "my-study", *arguments, "--json"]) == 0
        printed = json.loads(capsys.readouterr().out)
        assert len(printed) == len(table)
        assert not printed or list(printed[0]) == list(table.columns)
    for _, words in commands(section(text, "## Tables of samples and classes"), CORE):
        assert main(words) == 0
    assert len(pd.read_csv("label-errors.csv")) == len(core.label_errors(study, split="train"))
    assert Path("relabel.csv").exists()
