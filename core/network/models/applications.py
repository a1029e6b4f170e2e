"""The networks of the installed `keras.applications`, adapted to take raw pixels of any size."""

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

USUAL_SIZE = 224  # pixels, for the networks that Keras builds without a fixed size


@dataclass(frozen=True)
class Preprocessing:
    """The transformation of raw RGB pixels: `scale * x + offset` for each channel, after a conversion to BGR or not."""

    to_bgr: bool
    scale: tuple[float, float, float]
    offset: tuple[float, float, float]

    @property
    def is_needed(self) -> bool:
        return self.to_bgr or self.scale != (1, 1, 1) or self.offset != (0, 0, 0)

    def apply(self, image: Any) -> Any:
        """Apply the transformation by layers, which a `.keras` file can store, to (n, height, width, 3) images."""
        import keras

        image = keras.ops.flip(image, axis=-1) if self.to_bgr else image
        return keras.layers.Rescaling(list(self.scale), offset=list(self.offset), name="preprocessing")(image)

    def __str__(self) -> str:
        colors = "turns them to BGR and " if self.to_bgr else ""
        return f"{colors}takes scale * x + offset, scale {_join(self.scale)}, offset {_join(self.offset)}"


def _join(values: tuple[float, ...]) -> str:
    return " ".join(f"{value:.6g}" for value in values)


@dataclass(frozen=True)
class Application:
    """A network of `keras.applications`: its name, such as `mobilenet-v3-small`, and function, MobileNetV3Small."""

    name: str
    function: str

    def build(self, **options: Any) -> "keras.Model":
        """Build Keras's model with the options of its function."""
        import keras

        return getattr(keras.applications, self.function)(**options)

    @cached_property
    def preprocessing(self) -> Preprocessing:
        """The effect of the family's `preprocess_input`, measured on a few pixels: none if the model itself has it."""
        return _measure_preprocessing(self.name, inspect.getmodule(self._builder()).preprocess_input)  # type: ignore[union-attr]

    @property
    def is_efficientnet_v1(self) -> bool:
        """Whether it is of EfficientNet's first version, the only one whose scaling depends on the kind of weights."""
        return self.name.startswith("efficientnet-b")

    def _builder(self) -> Callable[..., "keras.Model"]:
        import keras

        result: Callable[..., keras.Model] = getattr(keras.applications, self.function)
        return result


def find_application(name: str) -> Application | None:
    """Return the network with a name, in any spelling: resnet50, ResNet50, mobilenet-v3-small, MobileNetV3Small."""
    by_name = {_normalize(application.name): application for application in applications()}
    return by_name.get(_normalize(name))


def applications() -> tuple[Application, ...]:
    """Return every network of the installed Keras."""
    import keras

    functions = [name for name, value in vars(keras.applications).items() if inspect.isfunction(value)]
    return tuple(Application(_dashed_name(function), function) for function in sorted(functions))


def build_pretrained(application: Application, input_size: int | None) -> "keras.Model":
    """Build a network with Keras's ImageNet weights that takes raw pixels.

    Parameters
    ----------
    application : Application
        The network.
    input_size : int or None
        Height and width of the images in pixels; None for the network's default.

    Raises
    ------
    OSError
        If the download fails.
    ValueError
        If the network does not exist at this size, or its head requires another size.
    """
    with _keras_download(application):
        trained = application.build(weights="imagenet")
    return _at_size(application, trained, input_size, top=True, is_published=True)


def build_with_weights(
    application: Application, path: Path, input_size: int | None, *, top: bool, is_published: bool
) -> "keras.Model":
    """Build a network that takes raw pixels with the weights in a file.

    Parameters
    ----------
    application : Application
        The network.
    path : Path
        A file that Keras published, or that `save_weights` wrote.
    input_size : int or None
        Height and width of the images in pixels; None for the network's default.
    top : bool
        Whether the file holds the weights of the classifier.
    is_published : bool
        Whether it is a file that Keras published.

    Raises
    ------
    ValueError
        The file holds other weights; the network does not exist at this size, or its head requires another one.
    UserWarning
        The file lacks weights.
    """
    trained = application.build(weights=None, include_top=top)
    with warnings.catch_warnings():
        # Keras only warns of layers whose weights are not in the file; others may warn in threads of their own.
        warnings.filterwarnings("error", category=UserWarning, module="keras")
        trained.load_weights(path)
    return _at_size(application, trained, input_size, top=top, is_published=is_published)


def _at_size(
    application: Application, trained: "keras.Model", input_size: int | None, *, top: bool, is_published: bool
) -> "keras.Model":
    """Return a trained network of Keras as one that takes raw pixels of a size."""
    import keras

    number_unnamed_layers(trained)
    default_size = trained.input_shape[1] or (USUAL_SIZE if top else _default_size(application))
    size = input_size or default_size
    scales_itself = not application.preprocessing.is_needed
    if application.is_efficientnet_v1:
        scales_itself = sum(isinstance(layer, keras.layers.Rescaling) for layer in trained.layers) == 2
    if trained.input_shape[1] == size and scales_itself:
        return trained
    model = _build_at(application, size, top=top)
    try:
        model.set_weights(trained.get_weights())
    except ValueError as error:
        raise ValueError(
            f"input_size must be that of the weights, {default_size}, for the head of {application.name}; got {size}. "
            "Leave it out, or choose --weights none."
        ) from error
    if application.is_efficientnet_v1:
        _merge_scaling(model, is_published=is_published)
    return model


def _merge_scaling(model: "keras.Model", *, is_published: bool) -> None:
    """Let the `Normalization` of an EfficientNet do what Keras does in two layers.

    With its ImageNet weights, whose files hold the standard deviation in place of the variance, Keras also divides by
    sqrt(std), in a layer that the rebuilt model does not have. Files that `save_weights` wrote of such a model are
    recognized by these values.
    """
    mean, variance = (np.asarray(weight) for weight in model.weights[:2])
    if is_published or np.allclose(variance, STD, atol=1e-4):
        variance = variance * STD
    set_normalization(model, mean, variance)


def build_untrained(application: Application, input_size: int | None, seed: int) -> "keras.Model":
    """Build a network that takes raw pixels, with random weights that depend only on the seed."""
    model = _build_at(application, input_size or _default_size(application))
    draw_kernels(model, seed)
    return model


def build_architecture(application: Application) -> "keras.Model":
    """Build a network at its default size, for its architecture; the weights have no meaning."""
    return _build_at(application, _default_size(application))


def draw_kernels(model: "keras.Model", seed: int) -> None:
    """Initialize every kernel again, each with a seed derived from `seed` instead of Keras's global random state."""
    for position, (kernel, initializer) in enumerate(_kernels(model)):
        kernel_seed = int(np.random.SeedSequence([seed, position]).generate_state(1)[0]) // 2
        seeded = type(initializer).from_config(initializer.get_config() | {"seed": kernel_seed})
        kernel.assign(seeded(kernel.shape))


def _kernels(model: "keras.Model") -> Iterator[tuple[Any, Any]]:
    """Yield the kernels and their initializers, in network order."""
    for layer in model.layers:
        if hasattr(layer, "layers"):
            yield from _kernels(layer)
        elif hasattr(layer, "pointwise_kernel"):
            yield layer.depthwise_kernel, layer.depthwise_initializer
            yield layer.pointwise_kernel, layer.pointwise_initializer
        elif hasattr(layer, "kernel"):
            yield layer.kernel, getattr(layer, "depthwise_initializer", None) or layer.kernel_initializer


def _build_at(application: Application, size: int, *, top: bool = True) -> "keras.Model":
    """Build a network that takes raw pixels of the given size, with untrained weights."""
    import keras

    options: dict[str, Any] = {"weights": None, "input_shape": (size, size, 3), "include_top": top}
    if application.preprocessing.is_needed:
        image = keras.Input((size, size, 3), name="image")
        options["input_tensor"] = application.preprocessing.apply(image)
    try:
        model = application.build(**options)
    except ValueError as error:
        raise ValueError(f"input_size must suit {application.name}; got {size}. Keras says: {error}") from error
    # If Keras finds the input itself, the model expects a list of inputs and warns at every call with a tensor.
    rebuilt = keras.Model(model.inputs[0], model.outputs[0], name=model.name)
    number_unnamed_layers(rebuilt)
    return rebuilt


def _default_size(application: Application) -> int:
    return application.build(weights=None).input_shape[1] or USUAL_SIZE


def _normalize(name: str) -> str:
    return re.sub(r"[-_ ]", "", name).lower()


def _dashed_name(function: str) -> str:
    """Convert MobileNetV3Small to mobilenet-v3-small, ConvNeXtTiny to convnext-tiny, ResNet50V2 to resnet50-v2."""
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])(?!Net|NeXt|Xt)", "-", function).lower()


def _measure_preprocessing(name: str, preprocess: Callable[[np.ndarray], np.ndarray]) -> Preprocessing:
    """Measure the effect of a function on black and on each primary color; exact if it acts on each pixel linearly."""
    pixels = np.zeros((4, 1, 1, 3))
    pixels[1:, 0, 0] = 255 * np.eye(3)
    results = np.asarray(preprocess(pixels.copy()), np.float64).reshape(4, 3)
    offset, matrix = results[0], (results[1:] - results[0]) / 255
    to_bgr = matrix[0, 0] == 0
    if to_bgr:
        matrix = matrix[::-1]
    scale = np.diagonal(matrix)
    if not np.array_equal(np.diag(scale), matrix):
        raise RuntimeError(
            f"the preprocessing of {name} mixes colors in this version of Keras, which is not supported. "
            "Save the network with its preprocessing as a .keras file, and choose that with --weights."
        )
    return Preprocessing(to_bgr, tuple(scale.tolist()), tuple(offset.tolist()))


@contextlib.contextmanager
def _keras_download(application: Application) -> Iterator[None]:
    """Let Keras download weights; after a failure, delete damaged files and raise an error that says what to do."""
    before = _cached_weights(application)
    try:
        # Standard output is for results, but Keras draws its progress bar there.
        with contextlib.redirect_stdout(sys.stderr), _socket_timeout(30), warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="`input_shape` is undefined")  # the default size is intended
            yield
    except Exception as error:
        # Keras deletes the file of an interrupted download, but not a file with a wrong hash.
        for file, modified in _cached_weights(application).items():
            if before.get(file) != modified:
                file.unlink(missing_ok=True)
        if isinstance(error.__context__, urllib.error.HTTPError):
            error.__context__.close()  # Keras raises another error for it, and leaves its connection open
        raise OSError(
            f"{application.function}'s ImageNet weights could not be downloaded: {error}. Download the file "
            f"elsewhere (`python -m core weights {application.name}` says which, and where it belongs), or choose "
            "--model efficientnet-lite0, --weights none, or --model with the path of a .keras file."
        ) from error


def _cached_weights(application: Application) -> dict[Path, int]:
    """Return the weight files of a network in Keras's cache, with their times of modification in nanoseconds."""
    keras_home = Path(os.environ.get("KERAS_HOME", "~/.keras")).expanduser()
    # If Keras may not write to its folder, it uses one in the folder for temporary files.
    folders = {keras_home, Path("/tmp/.keras"), Path(tempfile.gettempdir()) / ".keras"}
    name = _normalize(application.function)
    modified_ns = {}
    for folder in folders:
        for file in (folder / "models").glob("*.h5"):
            if name in _normalize(file.name):
                modified_ns[file] = file.stat().st_mtime_ns
    return modified_ns


@contextlib.contextmanager
def _socket_timeout(timeout_s: float) -> Iterator[None]:
    """Set a default timeout: Keras downloads without one, so that a stalled connection would never raise an error."""
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(timeout_s)
    try:
        yield
    finally:
        socket.setdefaulttimeout(before)
