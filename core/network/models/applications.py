"""The networks of `keras.applications`, found by looking at what is installed, made to take raw pixels of any size."""

import contextlib
import inspect
import os
import re
import socket
import sys
import tempfile
import urllib.error
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from core.network.layer_names import number_unnamed_layers
from core.network.models.noisy_student import STD, set_normalization

if TYPE_CHECKING:
    import keras

USUAL_SIZE = 224  # of the networks that Keras builds without a fixed size


@dataclass(frozen=True)
class Preprocessing:
    """What has to be done to raw RGB pixels first: `scale * x + offset` a channel, after turning them to BGR or not."""

    to_bgr: bool
    scale: tuple[float, float, float]
    offset: tuple[float, float, float]

    @property
    def is_needed(self) -> bool:
        return self.to_bgr or self.scale != (1, 1, 1) or self.offset != (0, 0, 0)

    def apply(self, image: Any) -> Any:
        """The same as layers, which a `.keras` file keeps; a tensor of shape (n, height, width, 3)."""
        import keras

        turned = keras.ops.flip(image, axis=-1) if self.to_bgr else image
        return keras.layers.Rescaling(list(self.scale), offset=list(self.offset), name="preprocessing")(turned)

    def __str__(self) -> str:
        colors = "turns them to BGR and " if self.to_bgr else ""
        scale, offset = (" ".join(f"{value:.6g}" for value in values) for values in (self.scale, self.offset))
        return f"{colors}takes scale * x + offset, scale {scale}, offset {offset}"


@dataclass(frozen=True)
class Application:
    """A network of `keras.applications`: its name here, such as `mobilenet-v3-small`, and Keras's, MobileNetV3Small."""

    name: str
    function: str

    def build(self, **options: Any) -> "keras.Model":
        """Keras's model, with the options of its function."""
        import keras

        return getattr(keras.applications, self.function)(**options)

    @cached_property
    def preprocessing(self) -> Preprocessing:
        """What the family's `preprocess_input` does to pixels, measured on a few: nothing where the model does it."""
        return _measure(self.name, inspect.getmodule(self._builder()).preprocess_input)  # type: ignore[union-attr]

    @property
    def is_efficientnet_v1(self) -> bool:
        """EfficientNet's first version: the only one whose scaling depends on where the weights come from."""
        return self.name.startswith("efficientnet-b")

    def _builder(self) -> Callable[..., "keras.Model"]:
        import keras

        result: Callable[..., keras.Model] = getattr(keras.applications, self.function)
        return result


def find_application(name: str) -> Application | None:
    """The network that a name means, in any spelling: resnet50, ResNet50, mobilenet-v3-small, MobileNetV3Small."""
    found = {_plain(application.name): application for application in applications()}
    return found.get(_plain(name))


def applications() -> tuple[Application, ...]:
    """Every network of the installed Keras."""
    import keras

    functions = [name for name, value in vars(keras.applications).items() if inspect.isfunction(value)]
    return tuple(Application(_dashed(function), function) for function in sorted(functions))


def build_pretrained(application: Application, input_size: int | None) -> "keras.Model":
    """The network with Keras's ImageNet weights, from raw pixels; `input_size` None is its default.

    Raises
    ------
    OSError
        The download failed.
    ValueError
        The network does not exist at this size, or its head belongs to another size.
    """
    with _keras_download(application):
        trained = application.build(weights="imagenet")
    number_unnamed_layers(trained)
    size = input_size or trained.input_shape[1] or USUAL_SIZE
    if trained.input_shape[1] == size and not application.preprocessing.is_needed:
        return trained
    model = _build_at(application, size)
    try:
        model.set_weights(trained.get_weights())
    except ValueError as error:
        raise ValueError(
            f"input_size must be that of the weights, {trained.input_shape[1]}, for the head of {application.name}; "
            f"got {size}. Leave it out, or choose --weights none."
        ) from error
    if application.is_efficientnet_v1:
        # Keras divides by sqrt(std) twice, the second time in a layer that it builds only for its own weights.
        mean, variance = (np.asarray(weight) for weight in model.weights[:2])
        set_normalization(model, mean, variance * STD)
    return model


def build_untrained(application: Application, input_size: int | None, seed: int) -> "keras.Model":
    """The network with random weights that depend on the seed alone, from raw pixels."""
    model = _build_at(application, input_size or _default_size(application))
    draw_kernels(model, seed)
    return model


def build_architecture(application: Application) -> "keras.Model":
    """The network at its default size, whatever its weights are."""
    return _build_at(application, _default_size(application))


def draw_kernels(model: "keras.Model", seed: int) -> None:
    """Draw every kernel anew with a seed of its own, instead of Keras's global one."""
    for position, (kernel, drawn) in enumerate(_kernels(model)):
        own_seed = int(np.random.SeedSequence([seed, position]).generate_state(1)[0]) // 2
        initializer = type(drawn).from_config(drawn.get_config() | {"seed": own_seed})
        kernel.assign(initializer(kernel.shape))


def _kernels(model: "keras.Model") -> Iterator[tuple[Any, Any]]:
    """Kernels and their initializers, in network order."""
    for layer in model.layers:
        if hasattr(layer, "layers"):
            yield from _kernels(layer)
        elif hasattr(layer, "pointwise_kernel"):
            yield layer.depthwise_kernel, layer.depthwise_initializer
            yield layer.pointwise_kernel, layer.pointwise_initializer
        elif hasattr(layer, "kernel"):
            yield layer.kernel, getattr(layer, "depthwise_initializer", None) or layer.kernel_initializer


def _build_at(application: Application, size: int) -> "keras.Model":
    """The network around raw pixels of a size, its weights not trained."""
    import keras

    options: dict[str, Any] = {"weights": None, "input_shape": (size, size, 3)}
    if application.preprocessing.is_needed:
        image = keras.Input((size, size, 3), name="image")
        options["input_tensor"] = application.preprocessing.apply(image)
    try:
        model = application.build(**options)
    except ValueError as error:
        raise ValueError(f"input_size must suit {application.name}; got {size}. Keras says: {error}") from error
    # Where Keras finds the input itself it makes a list of it, and then warns of every call with a tensor.
    whole = keras.Model(model.inputs[0], model.outputs[0], name=model.name)
    number_unnamed_layers(whole)
    return whole


def _default_size(application: Application) -> int:
    return application.build(weights=None).input_shape[1] or USUAL_SIZE


def _plain(name: str) -> str:
    return re.sub(r"[-_ ]", "", name).lower()


def _dashed(function: str) -> str:
    """`MobileNetV3Small` is `mobilenet-v3-small`, `ConvNeXtTiny` is `convnext-tiny`, `ResNet50V2` is `resnet50-v2`."""
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])(?!Net|NeXt|Xt)", "-", function).lower()


def _measure(name: str, preprocess: Callable[[np.ndarray], np.ndarray]) -> Preprocessing:
    """Preprocessing from what a function makes of black and of each pure color; exact where it acts on each pixel."""
    pixels = np.zeros((4, 1, 1, 3))
    pixels[1:, 0, 0] = 255 * np.eye(3)
    results = np.asarray(preprocess(pixels.copy()), np.float64).reshape(4, 3)
    offset, matrix = results[0], (results[1:] - results[0]) / 255
    to_bgr = matrix[0, 0] == 0
    scale = np.diagonal(matrix[::-1] if to_bgr else matrix)
    if not np.array_equal(np.diag(scale), matrix[::-1] if to_bgr else matrix):
        raise RuntimeError(
            f"the preprocessing of {name} mixes colors in this version of Keras, which is not supported. "
            "Save the network with its preprocessing as a .keras file, and choose that with --weights."
        )
    return Preprocessing(to_bgr, tuple(scale.tolist()), tuple(offset.tolist()))


@contextlib.contextmanager
def _keras_download(application: Application) -> Iterator[None]:
    """Keras's own download of weights, made to fail in a way that says what to do and leaves nothing broken."""
    before = _cached_weights(application)
    try:
        # Standard output belongs to results, and Keras draws its progress bar there.
        with contextlib.redirect_stdout(sys.stderr), _socket_timeout(30), warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="`input_shape` is undefined")  # which is what we want
            yield
    except Exception as error:
        # Keras removes what an interrupted download leaves, but not a file whose hash is wrong.
        for file, modified in _cached_weights(application).items():
            if before.get(file) != modified:
                file.unlink(missing_ok=True)
        if isinstance(error.__context__, urllib.error.HTTPError):
            error.__context__.close()  # Keras raises another error instead of it, and leaves its connection open
        raise OSError(
            f"{application.function}'s ImageNet weights could not be downloaded: {error}. Without a network, "
            "choose --model efficientnet-lite0, --weights none, or --model with the path of a .keras file."
        ) from error


def _cached_weights(application: Application) -> dict[Path, int]:
    """Weight files of the network in Keras's cache, and when they were modified, in ns."""
    keras_home = Path(os.environ.get("KERAS_HOME", "~/.keras")).expanduser()
    # Where Keras may not write to its folder it takes one for temporary files.
    folders = {keras_home, Path("/tmp/.keras"), Path(tempfile.gettempdir()) / ".keras"}
    files = [file for folder in folders for file in (folder / "models").glob("*.h5")]
    own = _plain(application.function)
    return {file: file.stat().st_mtime_ns for file in files if own in _plain(file.name)}


@contextlib.contextmanager
def _socket_timeout(timeout_s: float) -> Iterator[None]:
    """Keras downloads without a timeout, and a stalled connection would never become an error."""
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(timeout_s)
    try:
        yield
    finally:
        socket.setdefaulttimeout(before)
