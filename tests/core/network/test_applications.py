"""Networks of keras.applications: names, what they do to pixels, sizes, and that they can be studied."""

import http.server
import json
import re
import threading
from collections.abc import Iterator
from pathlib import Path

import h5py
import keras
import numpy as np
import pytest
from keras.src.legacy.saving import legacy_h5_format
from PIL import Image

from core.cli import main
from core.network.catalogue import LayerInfo, catalogue, select_layers
from core.network.models.applications import (
    Application,
    Preprocessing,
    _measure_preprocessing,
    applications,
    find_application,
)
from core.network.models.registry import Network, load_network
from core.study.plan import StudyOptions, plan_study
from core.study.run import run_study

# Keras's own model.save copies variables in a way that NumPy 2 deprecates.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept a copy keyword")

SIZE = 48


def pixels(size: int = SIZE, count: int = 2) -> np.ndarray:
    return np.random.default_rng(0).uniform(0, 255, (count, size, size, 3)).astype(np.float32)


@pytest.mark.parametrize(
    ("name", "function"),
    [
        ("mobilenet-v3-small", "MobileNetV3Small"),
        ("resnet50", "ResNet50"),
        ("resnet50-v2", "ResNet50V2"),
        ("convnext-tiny", "ConvNeXtTiny"),
        ("convnext-xlarge", "ConvNeXtXLarge"),
        ("efficientnet-b7", "EfficientNetB7"),
        ("efficientnet-v2-s", "EfficientNetV2S"),
        ("inception-resnet-v2", "InceptionResNetV2"),
        ("nasnet-mobile", "NASNetMobile"),
        ("densenet121", "DenseNet121"),
        ("vgg16", "VGG16"),
        ("xception", "Xception"),
    ],
)
def test_names(name, function):
    application = Application(name, function)
    assert application in applications()
    for spelling in (name, function, name.upper(), function.lower(), name.replace("-", "_")):
        assert find_application(spelling) == application


def test_names_are_distinct_and_functions_of_keras():
    found = applications()
    assert len({application.name for application in found}) == len(found) > 30
    assert all(callable(getattr(keras.applications, application.function)) for application in found)
    assert find_application("imagenet_utils") is None
    assert find_application("resnet") is None, "a module, not a network"


def test_a_spelling_of_efficientnet_b0_is_the_backbone():
    network = load_network("EfficientNetB0", "none", input_size=SIZE)
    assert network.name == "efficientnet-b0"
    assert network.weights_sha256 == load_network("efficientnet-b0", "none", input_size=SIZE).weights_sha256


@pytest.mark.parametrize("mode", ["caffe", "tf", "torch"])
def test_preprocessing_is_that_of_keras_and_survives_a_file(mode, tmp_path):
    def preprocess(images: np.ndarray) -> np.ndarray:
        return keras.applications.imagenet_utils.preprocess_input(images, mode=mode)

    image = keras.Input((SIZE, SIZE, 3))
    keras.Model(image, _measure_preprocessing("any", preprocess).apply(image)).save(tmp_path / "pre.keras")
    again = keras.models.load_model(tmp_path / "pre.keras", safe_mode=True)
    images = pixels()
    assert np.abs(np.asarray(again(images)) - preprocess(images.copy())).max() < 1e-5 * 255


def test_preprocessing_measured_by_hand():
    assert _measure_preprocessing("any", lambda x: x) == Preprocessing(False, (1, 1, 1), (0, 0, 0))
    assert not _measure_preprocessing("any", lambda x: x).is_needed
    assert _measure_preprocessing("any", lambda x: x * 2 - 1) == Preprocessing(False, (2, 2, 2), (-1, -1, -1))
    turned = _measure_preprocessing("any", lambda x: x[..., ::-1] + [1, 2, 3])
    assert turned == Preprocessing(True, (1, 1, 1), (1, 2, 3))
    assert str(turned) == "turns them to BGR and takes scale * x + offset, scale 1 1 1, offset 1 2 3"


def test_preprocessing_that_mixes_colors_is_refused():
    with pytest.raises(RuntimeError, match="preprocessing of odd-net mixes colors"):
        _measure_preprocessing("odd-net", lambda x: x @ np.array([[1, 1, 0], [0, 1, 0], [0, 0, 1.0]]))


@pytest.mark.parametrize(
    ("name", "module", "words"),
    [
        ("resnet50", "resnet", "turns them to BGR and takes scale * x + offset, scale 1 1 1, offset -103.939"),
        ("mobilenet-v2", "mobilenet_v2", "offset -1 -1 -1, as Keras's preprocess_input does"),
        ("densenet121", "densenet", "offset -2.1179 -2.03571 -1.80444"),
        ("mobilenet-v3-small", "mobilenet_v3", "the model scales them itself"),
        ("efficientnet-b1", "efficientnet", "the model divides them by 255"),
    ],
)
def test_a_network_takes_raw_pixels(name, module, words):
    """As Keras's own network does after its family's preprocess_input."""
    network = load_network(name, "none", input_size=SIZE)
    application = find_application(name)
    bare = application.build(weights=None, input_shape=(SIZE, SIZE, 3))
    bare.set_weights(network.model.get_weights())
    images = pixels()
    prepared = getattr(keras.applications, module).preprocess_input(images.copy())
    # Before the softmax saturates: the layer that has the image's axes last.
    last = [layer.layer for layer in catalogue(network.model) if layer.is_main][-1]
    found, expected = (
        np.asarray(keras.Model(model.inputs[0], model.get_layer(last).output)(given))
        for model, given in ((network.model, images), (bare, prepared))
    )
    assert np.abs(found - expected).max() < 1e-4 * np.abs(expected).max()
    assert words in network.expects
    assert network.expects.startswith("raw RGB pixels from 0 to 255")


THREE = ["mobilenet-v3-small", "resnet50", "convnext-tiny"]


@pytest.fixture(scope="module", params=THREE)
def network(request: pytest.FixtureRequest) -> Network:
    return load_network(request.param, "none", input_size=SIZE, seed=3)


def test_names_and_weights_do_not_change_from_build_to_build(network):
    keras.utils.set_random_seed(1)
    again = load_network(network.name, "none", input_size=SIZE, seed=3)
    assert catalogue(again.model) == catalogue(network.model)
    assert again.weights_sha256 == network.weights_sha256
    assert load_network(network.name, "none", input_size=SIZE, seed=4).weights_sha256 != network.weights_sha256


def test_layers_that_keras_numbers_have_names_that_stay(tmp_path):
    """Xception's shortcuts bear Keras's own numbers, which count through the process; here they are positions."""
    first, second = (load_network("xception", "none", input_size=71).model for _ in range(2))
    layers = catalogue(first)
    assert layers == catalogue(second)
    numbered = [layer for layer in layers if re.fullmatch(r"(conv2d|add)_\d+", layer.layer)]
    assert len(numbered) == 4 + 12
    for layer in numbered:
        assert layer.layer.endswith(f"_{layer.position}")
        assert first.get_layer(layer.layer).output.shape[1:] == layer.output_shape
    first.save(tmp_path / "saved.keras")
    assert catalogue(load_network(str(tmp_path / "saved.keras")).model) == layers


def test_a_file_of_the_network_is_the_same_network(network, tmp_path):
    network.model.save(tmp_path / "saved.keras")
    again = load_network(network.name, str(tmp_path / "saved.keras"))
    assert catalogue(again.model) == catalogue(network.model)
    assert again.weights_sha256 == network.weights_sha256
    images = pixels()
    assert np.array_equal(again.model(images), network.model(images))


def test_a_study_of_the_network(network, tmp_path):
    rng = np.random.default_rng(0)
    for label in ("dark", "light"):
        (tmp_path / "images" / label).mkdir(parents=True)
        for number in range(6):
            noise = rng.integers(0, 150, (SIZE, SIZE, 3), dtype=np.uint8) + np.uint8(80 * (label == "light"))
            Image.fromarray(noise).save(tmp_path / "images" / label / f"{number}.png")
    options = StudyOptions(
        str(tmp_path / "images"), network.name, "none", split="train", input_size=SIZE, neighbors=2, probe=False
    )
    plan = plan_study(options)
    study = run_study(plan, tmp_path / "study")
    names = [layer.layer for layer in catalogue(network.model) if layer.is_main]
    assert set(names) <= set(study.layers["layer"])
    assert study.info["used"]["model"]["expects"] == network.expects
    assert study.info["used"]["model"]["input_size"] == [SIZE, SIZE]
    values = study.measurements.query("measure == 'separation' and split == 'train'")
    assert len(values) == len(plan.layers)
    assert values["value"].between(0, 1).all()


def main_layers(name: str) -> tuple[LayerInfo, ...]:
    return select_layers(catalogue(load_network(name, "none", input_size=SIZE).model), "main")


def test_the_main_layers_of_resnet():
    layers = main_layers("resnet50")
    kinds = [layer.kind for layer in layers]
    assert (kinds.count("Conv2D"), kinds.count("Add"), len(layers)) == (53, 16, 69)
    assert [layer.layer for layer in layers[:6]] == [
        "conv1_conv",
        "conv2_block1_1_conv",
        "conv2_block1_2_conv",
        "conv2_block1_3_conv",
        "conv2_block1_0_conv",
        "conv2_block1_add",
    ]
    assert layers[1].block == "conv2_block1"


def test_the_main_layers_of_convnext():
    """A stem, 3 reductions, and 18 blocks of a depthwise convolution, two of one pixel, and a sum that is no layer."""
    layers = main_layers("convnext-tiny")
    kinds = [layer.kind for layer in layers]
    assert (kinds.count("Conv2D"), kinds.count("Dense"), kinds.count("Add")) == (4 + 18, 2 * 18, 18)
    sums = [layer for layer in layers if layer.kind == "Add"]
    assert all(layer.layer == f"add_{layer.position}" for layer in sums)
    assert layers[1].layer == "convnext_tiny_stage_0_block_0_depthwise_conv"
    assert layers[1].block == "stage_0_block_0"


def test_the_main_layers_of_mobilenet():
    """Names do not end in `conv` here; squeeze-excite branches and the head's convolutions are left out."""
    layers = {layer.layer for layer in main_layers("mobilenet-v3-small")}
    everything = {layer.layer for layer in catalogue(load_network("mobilenet-v3-small", "none", input_size=SIZE).model)}
    assert {"conv", "expanded_conv_depthwise", "expanded_conv_project", "expanded_conv_squeeze_excite_mul"} <= layers
    left_out = {"expanded_conv_squeeze_excite_conv", "expanded_conv_squeeze_excite_conv_1", "conv_2", "logits"}
    assert left_out <= everything - layers


@pytest.mark.parametrize(("name", "size"), [("mobilenet-v3-small", 224), ("inception-v3", 299)])
def test_default_sizes(name, size):
    assert load_network(name, "none").input_size == (size, size)


def test_a_size_that_is_too_small():
    with pytest.raises(ValueError, match=r"input_size must suit inception-v3; got 32\. Keras says: .*75"):
        load_network("inception-v3", "none", input_size=32)


def test_a_size_that_is_none():
    with pytest.raises(ValueError, match="input_size must be at least 1"):
        load_network("resnet50", "none", input_size=0)


def test_a_file_with_a_size_of_its_own(tmp_path):
    image = keras.Input((16, 16, 3))
    keras.Model(image, keras.layers.Conv2D(2, 3)(image)).save(tmp_path / "small.keras")
    assert load_network(None, str(tmp_path / "small.keras"), input_size=16).input_size == (16, 16)
    with pytest.raises(ValueError, match=r"which takes \(16, 16\); got 17"):
        load_network(None, str(tmp_path / "small.keras"), input_size=17)


def test_the_command_lists_the_layers_at_a_size(capsys):
    assert main(["layers", "MobileNetV3Small", "--input-size", "32", "--layers", "main", "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)
    assert (rows[0]["layer"], rows[0]["output_shape"], rows[0]["main"]) == ("conv", [16, 16, 16], True)


def test_a_study_names_its_input_size():
    assert StudyOptions("digits", "resnet50", input_size=64).command("out").endswith("--input-size 64")
    with pytest.raises(ValueError, match=r"^input_size must be at least 1; got 0\.$"):
        StudyOptions("digits", input_size=0)
    with pytest.raises(ValueError, match="input_size must be at least 1, and go with a network; got 64 with 'pixels'"):
        StudyOptions("digits", model="pixels", input_size=64)


# Keras's weights, as if they had been downloaded


@pytest.fixture
def trained(monkeypatch) -> dict[str, keras.Model]:
    """Stands in for Keras's downloads: "imagenet" gives a network with another number in each of its weights."""
    made: dict[str, keras.Model] = {}

    def pretend(function: str) -> None:
        build = getattr(keras.applications, function)

        def built(weights: str | None = "imagenet", **options: object) -> keras.Model:
            model = build(weights=None, **options)
            if weights == "imagenet":
                rng = np.random.default_rng(0)
                model.set_weights([np.full(weight.shape, rng.uniform(), np.float32) for weight in model.weights])
                made[function] = model
            return model

        built.__module__ = build.__module__
        monkeypatch.setattr(keras.applications, function, built)

    for function in ("MobileNetV2", "MobileNetV3Small", "VGG16"):
        pretend(function)
    return made


@pytest.mark.parametrize(
    ("name", "function"), [("mobilenet-v2", "MobileNetV2"), ("mobilenet-v3-small", "MobileNetV3Small")]
)
def test_trained_weights_at_another_size(name, function, trained):
    network = load_network(name, "imagenet", input_size=64)
    assert network.input_size == (64, 64)
    for left, right in zip(network.model.weights, trained[function].weights, strict=True):
        assert np.array_equal(left, right)


def test_a_head_that_belongs_to_a_size(trained):
    with pytest.raises(ValueError, match=r"must be that of the weights, 224, for the head of vgg16; got 64"):
        load_network("vgg16", "imagenet", input_size=64)


@pytest.fixture
def nothing_there() -> Iterator[str]:
    handler = http.server.BaseHTTPRequestHandler  # answers everything with 501
    handler_quiet = type("Quiet", (handler,), {"log_message": lambda *_: None})
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler_quiet) as running:
        thread = threading.Thread(target=running.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield f"http://127.0.0.1:{running.server_port}/"
        running.shutdown()
        thread.join()


def test_a_download_that_fails_says_so(nothing_there, tmp_path: Path, monkeypatch):
    monkeypatch.setenv("KERAS_HOME", str(tmp_path))
    monkeypatch.setattr("keras.src.backend.config._KERAS_DIR", str(tmp_path))
    monkeypatch.setattr("keras.src.applications.mobilenet_v3.BASE_WEIGHT_PATH", nothing_there)
    with pytest.raises(OSError, match=r"MobileNetV3Small's ImageNet weights could not be downloaded: .*501"):
        load_network("mobilenet-v3-small")


def test_efficientnet_at_another_size_scales_pixels_as_at_its_own(tmp_path: Path, monkeypatch):
    """Keras's ImageNet weights go with a second scaling layer, which a network built at another size does not have."""
    build = keras.applications.EfficientNetB0
    source = build(weights=None)
    rng = np.random.default_rng(0)
    source.set_weights([rng.uniform(0.1, 0.5, weight.shape) for weight in source.weights])
    path = tmp_path / "models" / "efficientnetb0.h5"
    path.parent.mkdir()
    with h5py.File(path, "w") as file:
        legacy_h5_format.save_weights_to_hdf5_group(file, source)
    monkeypatch.setattr("keras.src.applications.efficientnet.file_utils.get_file", lambda *_, **__: str(path))
    small, own = load_network("efficientnet-b0", input_size=64), load_network("efficientnet-b0")
    scaled = []
    for network in (small, own):
        before = network.model.get_layer("stem_conv_pad").input
        image = np.full((1, *network.input_size, 3), [20, 100, 200], np.float32)
        scaled.append(np.asarray(keras.Model(network.model.inputs[0], before)(image))[0, 0, 0])
    assert np.allclose(scaled[0], scaled[1], rtol=1e-5)
