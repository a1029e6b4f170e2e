"""NoisyStudent weights: a checkpoint in the official format, made up here, against the published architecture.

The forward pass below is written from the EfficientNet paper and the variables' names, in plain TensorFlow operations:
no Keras, none of the code that it tests. It pads as the official code does, with TensorFlow's "SAME".
"""

import gzip
import hashlib
import http.server
import io
import tarfile
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf

from core.network.models.downloads import CACHE_VARIABLE, DownloadError
from core.network.models.noisy_student import assign_noisy_student, load_noisy_student, read_checkpoint_archive
from core.network.models.registry import Network, load_network
from core.study.plan import _describe_network

# Keras's own model.save copies variables in a way that NumPy 2 deprecates.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept a copy keyword")

AVERAGE = "/ExponentialMovingAverage"
NAME = "noisy_student_efficientnet-b0"

# Table 1 of https://arxiv.org/abs/1905.11946: kernel, repeats, input and output channels, expansion, stride.
STAGES = [
    (3, 1, 32, 16, 1, 1),
    (3, 2, 16, 24, 6, 2),
    (5, 2, 24, 40, 6, 2),
    (3, 3, 40, 80, 6, 2),
    (5, 3, 80, 112, 6, 1),
    (5, 4, 112, 192, 6, 2),
    (3, 1, 192, 320, 6, 1),
]
# kernel, input channels, output channels, expansion, stride of each of the 16 blocks
BLOCKS = [
    (kernel, before if repeat == 0 else after, after, expansion, stride if repeat == 0 else 1)
    for kernel, repeats, before, after, expansion, stride in STAGES
    for repeat in range(repeats)
]

Variables = dict[str, np.ndarray]


def official_shapes() -> dict[str, tuple[int, ...]]:
    """Names and shapes of the network's variables in the official checkpoint, without the averages' suffix."""
    shapes: dict[str, tuple[int, ...]] = {"stem/conv2d/kernel": (3, 3, 3, 32), "head/conv2d/kernel": (1, 1, 320, 1280)}
    norms = {"stem/tpu_batch_normalization": 32, "head/tpu_batch_normalization": 1280}
    for number, (kernel, before, after, expansion, _) in enumerate(BLOCKS):
        block, wide = f"blocks_{number}", before * expansion
        convs = [(before, wide), (wide, after)] if expansion > 1 else [(wide, after)]
        for place, channels in zip(("conv2d", "conv2d_1"), convs, strict=False):
            shapes[f"{block}/{place}/kernel"] = (1, 1, *channels)
        shapes[f"{block}/depthwise_conv2d/depthwise_kernel"] = (kernel, kernel, wide, 1)
        squeezed = before // 4  # a quarter of the block's input channels
        for place, channels in (("conv2d", (wide, squeezed)), ("conv2d_1", (squeezed, wide))):
            shapes[f"{block}/se/{place}/kernel"] = (1, 1, *channels)
            shapes[f"{block}/se/{place}/bias"] = channels[1:]
        for place, width in zip(
            ("", "_1", "_2"), [wide, wide, after] if expansion > 1 else [wide, after], strict=False
        ):
            norms[f"{block}/tpu_batch_normalization{place}"] = width
    for place, width in norms.items():
        shapes |= {f"{place}/{name}": (width,) for name in ("gamma", "beta", "moving_mean", "moving_variance")}
    shapes |= {"head/dense/kernel": (1280, 1000), "head/dense/bias": (1000,)}
    return {f"efficientnet-b0/{name}": shape for name, shape in shapes.items()}


def official_variables() -> Variables:
    """Random averages that keep the signal alive, raw copies of zeros that would kill it, and what training needs."""
    rng = np.random.default_rng(0)
    variables: Variables = {"global_step": np.array(218949, np.int64)}
    for name, shape in official_shapes().items():
        value = rng.standard_normal(shape)
        if name.endswith("depthwise_kernel"):
            value *= np.sqrt(2 / np.prod(shape[:2]))
        elif name.endswith("dense/kernel"):
            value *= 0.2 / np.sqrt(shape[0])  # probabilities that differ, none of them near 1
        elif name.endswith("kernel"):
            value *= np.sqrt(2 / np.prod(shape[:-1]))
        elif name.endswith(("gamma", "moving_variance")):
            value = rng.uniform(0.5, 1.5, shape)
        else:
            value *= 0.3
        variables[name] = np.zeros(shape, np.float32)
        variables[name + AVERAGE] = value.astype(np.float32)
    variables["efficientnet-b0/stem/conv2d/kernel/RMSProp"] = np.ones((3, 3, 3, 32), np.float32)
    return variables


def official_forward(variables: Variables, pixels: np.ndarray, *, top: bool) -> np.ndarray:
    """The published network on raw RGB pixels: probabilities, or the activations before the head's pooling."""

    def weight(name: str) -> np.ndarray:
        return variables[f"efficientnet-b0/{name}{AVERAGE}"]

    def norm(x: tf.Tensor, place: str) -> tf.Tensor:
        gamma, beta, mean, variance = (
            weight(f"{place}/{name}") for name in ("gamma", "beta", "moving_mean", "moving_variance")
        )
        return (x - mean) / tf.sqrt(variance + 1e-3) * gamma + beta

    def swish(x: tf.Tensor) -> tf.Tensor:
        return x * tf.sigmoid(x)

    def conv(x: tf.Tensor, place: str, stride: int = 1) -> tf.Tensor:
        return tf.nn.conv2d(x, weight(f"{place}/kernel"), stride, "SAME")

    x = (pixels / 255 - np.float32([0.485, 0.456, 0.406])) / np.float32([0.229, 0.224, 0.225])
    x = swish(norm(conv(x, "stem/conv2d", 2), "stem/tpu_batch_normalization"))
    for number, (_, before, after, expansion, stride) in enumerate(BLOCKS):
        block, inputs = f"blocks_{number}", x
        norms = iter([f"{block}/tpu_batch_normalization{suffix}" for suffix in ("", "_1", "_2")])
        convs = iter([f"{block}/conv2d{suffix}" for suffix in ("", "_1")])
        if expansion > 1:
            x = swish(norm(conv(x, next(convs)), next(norms)))
        kernel = weight(f"{block}/depthwise_conv2d/depthwise_kernel")
        x = swish(norm(tf.nn.depthwise_conv2d(x, kernel, [1, stride, stride, 1], "SAME"), next(norms)))
        gate = tf.reduce_mean(x, (1, 2), keepdims=True)
        gate = swish(conv(gate, f"{block}/se/conv2d") + weight(f"{block}/se/conv2d/bias"))
        x *= tf.sigmoid(conv(gate, f"{block}/se/conv2d_1") + weight(f"{block}/se/conv2d_1/bias"))
        x = norm(conv(x, next(convs)), next(norms))
        if stride == 1 and before == after:
            x += inputs
    x = swish(norm(conv(x, "head/conv2d"), "head/tpu_batch_normalization"))
    if not top:
        return np.asarray(x)
    logits = tf.reduce_mean(x, (1, 2)) @ weight("head/dense/kernel") + weight("head/dense/bias")
    return np.asarray(tf.nn.softmax(logits))


@pytest.fixture(scope="module")
def variables() -> Variables:
    return official_variables()


@pytest.fixture(scope="module")
def checkpoint(variables: Variables, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder with the checkpoint's files, written by the operation that TensorFlow 1's Saver uses."""
    folder = tmp_path_factory.mktemp("checkpoint") / NAME
    folder.mkdir()
    tf.raw_ops.SaveV2(
        prefix=str(folder / "model.ckpt"),
        tensor_names=list(variables),
        shape_and_slices=[""] * len(variables),
        tensors=[tf.constant(value) for value in variables.values()],
    )
    (folder / "model.ckpt.meta").write_bytes(b"a graph, not needed")
    (folder / "checkpoint").write_text('model_checkpoint_path: "model.ckpt"\n')
    return folder


@pytest.fixture(scope="module")
def archive(checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("archive") / f"{NAME}.tar.gz"
    with tarfile.open(path, "w:gz", compresslevel=1) as tar:
        tar.add(checkpoint, NAME)
    return path


@pytest.fixture(scope="module")
def server(archive: Path) -> Iterator[str]:
    class Handler(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *args: object) -> None:
            pass

    handler = partial(Handler, directory=str(archive.parent))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as running:
        thread = threading.Thread(target=running.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield f"http://127.0.0.1:{running.server_port}/{archive.name}"
        running.shutdown()
        thread.join()


def pixels(size: int = 224) -> np.ndarray:
    return np.random.default_rng(1).uniform(0, 255, (2, size, size, 3)).astype(np.float32)


def difference(found: np.ndarray, expected: np.ndarray) -> float:
    """Largest difference in parts of the largest expected value."""
    assert found.shape == expected.shape
    return float(np.abs(found - expected).max() / np.abs(expected).max())


def test_the_parameters_are_those_of_the_paper():
    """5.3 million, without the batch normalizations' moving statistics 5,288,548."""
    shapes = official_shapes()
    assert sum(np.prod(shape) for name, shape in shapes.items() if "moving" not in name) == 5_288_548


def test_the_network_from_the_archive_is_the_published_one(variables, archive, server, tmp_path, monkeypatch):
    """Download, unpacking, conversion and scaling at once, on pixels; and again from the cache, and from a file."""
    monkeypatch.setenv(CACHE_VARIABLE, str(tmp_path))
    monkeypatch.setattr("core.network.models.noisy_student.ADDRESS", server)
    reports: list[tuple[int, int]] = []
    network = load_network("efficientnet-b0", "noisy-student", progress=lambda *now: reports.append(now))
    images = pixels()
    expected = official_forward(variables, images, top=True)
    assert 0.005 < expected.max() < 0.5, "the outputs must neither be all the same nor saturated"
    assert difference(np.asarray(network.model(images)), expected) < 1e-4
    assert reports[-1] == (archive.stat().st_size,) * 2
    assert dict(network.origin) == {
        "address": server,
        "sha256": hashlib.sha256(archive.read_bytes()).hexdigest(),
        "raw_copies": len(official_shapes()),
        "ignored": ["efficientnet-b0/stem/conv2d/kernel/RMSProp", "global_step"],
    }
    assert network.expects.endswith("(x - mean) / std, once, with ImageNet's mean and standard deviation")
    monkeypatch.setattr("core.network.models.downloads._fetch", None)
    assert load_network("efficientnet-b0", "noisy-student").weights_sha256 == network.weights_sha256
    by_path = load_network(None, str(archive))
    assert (by_path.name, by_path.weights_sha256) == (network.name, network.weights_sha256)
    assert by_path.origin == {**network.origin, "address": str(archive)}
    network.model.save(tmp_path / "saved.keras")
    again = load_network("efficientnet-b0", str(tmp_path / "saved.keras"))
    assert difference(np.asarray(again.model(images)), expected) < 1e-4


def test_the_origin_of_weights_is_recorded():
    network = Network("any", "noisy-student", keras.Sequential(), (2, 2), "pixels", "0", {"sha256": "abc"})
    assert _describe_network(network)["origin"] == {"sha256": "abc"}
    assert "origin" not in _describe_network(replace(network, origin={}))


@pytest.mark.parametrize("size", [224, 192, 225])
def test_without_top(size, variables):
    """Keras pads by hand where it halves the image; that is what "SAME" does, for odd sizes, too."""
    model = keras.applications.EfficientNetB0(weights=None, include_top=False, input_shape=(size, size, 3))
    ignored = assign_noisy_student(model, variables)
    images = pixels(size)
    assert difference(np.asarray(model(images)), official_forward(variables, images, top=False)) < 1e-4
    head = {f"efficientnet-b0/head/dense/{name}{AVERAGE}" for name in ("kernel", "bias")}
    assert set(ignored) == head | {name for name in variables if not name.endswith(AVERAGE)}


def test_scaling_is_part_of_the_weights(variables):
    """Without ImageNet's mean and deviation the same weights give something else altogether."""
    model = keras.applications.EfficientNetB0(weights=None, include_top=False)
    assign_noisy_student(model, variables)
    (normalization,) = (layer for layer in model.layers if isinstance(layer, keras.layers.Normalization))
    normalization.set_weights([np.zeros(3), np.ones(3), np.zeros(())])
    normalization.finalize_state()
    images = pixels()
    assert difference(np.asarray(model(images)), official_forward(variables, images, top=False)) > 0.1


@pytest.fixture(scope="module")
def model() -> keras.Model:
    return keras.applications.EfficientNetB0(weights=None)


MISSING = f"efficientnet-b0/blocks_3/tpu_batch_normalization_2/moving_variance{AVERAGE}"
EXTRA = f"efficientnet-b0/blocks_0/conv2d_1/kernel{AVERAGE}"


def without(variables: Variables) -> Variables:
    return {name: value for name, value in variables.items() if name != MISSING}


def with_another(variables: Variables) -> Variables:
    return variables | {EXTRA: np.zeros((1, 1, 32, 32), np.float32)}


def with_another_shape(variables: Variables) -> Variables:
    return variables | {MISSING: np.zeros(12, np.float32)}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (without, rf"{MISSING} is missing"),
        (with_another, rf"{EXTRA} has no counterpart in the model"),
        (with_another_shape, rf"{MISSING} has shape \(12,\), not \(40,\)"),
    ],
)
def test_variables_that_do_not_fit_are_named(change: Callable[[Variables], Variables], message, variables, model):
    before = model.get_weights()
    with pytest.raises(ValueError, match=message):
        assign_noisy_student(model, change(variables))
    assert all(np.array_equal(old, new) for old, new in zip(before, model.get_weights(), strict=True))


def test_the_archive_is_read(archive, variables):
    read = read_checkpoint_archive(archive)
    assert read.keys() == variables.keys()
    assert all(np.array_equal(read[name], value) for name, value in variables.items())


def write_archive(path: Path, *members: tarfile.TarInfo) -> Path:
    with tarfile.open(path, "w:gz") as tar:
        for member in members:
            tar.addfile(member, io.BytesIO(b"x" * member.size))
    return path


def member(name: str, *, kind: bytes = tarfile.REGTYPE, target: str = "", size: int = 4) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname, info.size = kind, target, size if kind == tarfile.REGTYPE else 0
    return info


@pytest.mark.parametrize(
    "bad",
    [
        member("../escaped/model.ckpt.index"),
        member("/tmp/model.ckpt.index"),
        member("folder/../../model.ckpt.index"),
        member("..\\model.ckpt.index"),
        member("model.ckpt.index", kind=tarfile.SYMTYPE, target="/etc/passwd"),
        member("model.ckpt.index", kind=tarfile.LNKTYPE, target="other"),
        member("model.ckpt.index", kind=tarfile.FIFOTYPE),
        member("unrelated", kind=tarfile.SYMTYPE, target=".."),
    ],
    ids=lambda bad: f"{bad.name}-{bad.type.decode()}",
)
def test_an_archive_that_leads_out_of_itself_is_refused(bad, tmp_path):
    inside = tmp_path / "inside"
    inside.mkdir()
    with pytest.raises(ValueError, match="Do not trust it"):
        read_checkpoint_archive(write_archive(inside / "bad.tar.gz", bad))
    assert [path.name for path in tmp_path.rglob("*") if path.is_file()] == ["bad.tar.gz"]


@pytest.mark.parametrize(
    ("members", "message"),
    [
        ([member("readme.txt")], r"must hold one checkpoint; got none"),
        ([member("a/model.ckpt.index"), member("b/model.ckpt.index")], r"got a/model\.ckpt, b/model\.ckpt"),
        ([member("model.ckpt.index"), member("model.ckpt.data-00000-of-00001")], r"TensorFlow cannot read"),
    ],
)
def test_an_archive_without_a_checkpoint(members, message, tmp_path):
    with pytest.raises(ValueError, match=message):
        read_checkpoint_archive(write_archive(tmp_path / "other.tar.gz", *members))


def test_an_archive_that_grows_too_large(tmp_path):
    archive = write_archive(tmp_path / "bomb.tar.gz", member("model.ckpt.index", size=1001))
    with pytest.raises(ValueError, match="at most 1,000 bytes"):
        read_checkpoint_archive(archive, most_bytes=1000)


@pytest.mark.parametrize("damage", ["truncated", "flipped", "no archive", "empty"])
def test_a_damaged_archive(damage, archive, tmp_path):
    content = archive.read_bytes()
    middle = len(content) // 2
    damaged = {
        "truncated": content[:middle],
        "flipped": content[:middle] + bytes(64) + content[middle + 64 :],
        "no archive": gzip.compress(b"something else"),
        "empty": b"",
    }[damage]
    (tmp_path / "damaged.tar.gz").write_bytes(damaged)
    with pytest.raises(ValueError, match=r"damaged\.tar\.gz must be a complete .*Delete it"):
        read_checkpoint_archive(tmp_path / "damaged.tar.gz")


def test_an_archive_that_is_none_does_not_stay_in_the_cache(tmp_path, monkeypatch, server):
    """As the page of a network that asks for a password, which answers for every address."""
    monkeypatch.setenv(CACHE_VARIABLE, str(tmp_path))
    monkeypatch.setattr("core.network.models.noisy_student.ADDRESS", server)
    monkeypatch.setattr("core.network.models.downloads._transfer", write_page)
    with pytest.raises(DownloadError, match=r"the file must be a complete \.tar\.gz archive .*Nothing was kept"):
        load_noisy_student(keras.Sequential())
    assert [*tmp_path.iterdir()] == []


def write_page(address: str, file: Path, *_: object) -> None:
    file.with_name(f"{file.name}.part").write_bytes(b"<html>Sign in</html>")
