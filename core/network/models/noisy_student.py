"""EfficientNet-B0's NoisyStudent weights: the authors' checkpoint archive, unpacked, converted for Keras, scaled for.

The archive holds a TensorFlow 1 checkpoint (https://arxiv.org/abs/1911.04252; code at
github.com/tensorflow/tpu/tree/master/models/official/efficientnet). Its variables bear the names that TensorFlow 1 gave
them: the first convolution of a scope is `conv2d`, the second `conv2d_1`. The trained network is in the exponential
moving averages, not in the raw variables.
"""

import gzip
import re
import shutil
import tarfile
import tempfile
import zlib
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

import numpy as np

from core.network.models.downloads import ReportBytes, cached_download

if TYPE_CHECKING:
    import keras

# The authors publish no hash of it: the one of the first download is recorded and holds from then on.
ADDRESS = (
    "https://storage.googleapis.com/cloud-tpu-checkpoints/efficientnet/noisystudent/"
    "noisy_student_efficientnet-b0.tar.gz"
)
MEAN = (0.485, 0.456, 0.406)  # ImageNet's, of RGB pixels from 0 to 1
STD = (0.229, 0.224, 0.225)
_SCOPE = "efficientnet-b0/"
_AVERAGE = "/ExponentialMovingAverage"
_CHECKPOINT_FILE = re.compile(r"(?P<prefix>[\w.-]*\.ckpt[\w-]*)\.(index|data-\d{5}-of-\d{5})")
_MAX_BYTES = 1 << 30  # unpacked; the real one takes a few percent of it


def load_noisy_student(model: "keras.Model", *, progress: ReportBytes | None = None) -> dict[str, Any]:
    """Download the archive where it is not cached, and give its weights and scaling to Keras's EfficientNet-B0.

    Parameters
    ----------
    model : from `keras.applications.EfficientNetB0(weights=None)`, with or without top.
    progress : told the bytes there are and the bytes in all.

    Returns
    -------
    dict
        For a study's record: `address` and `sha256` of the archive, the number of its `raw_copies` that the averages
        replace, and the names of the other variables that were `ignored`.

    Raises
    ------
    DownloadError
        See `cached_download`.
    ValueError
        The archive is damaged, holds what it must not, or its variables do not fit the model.
    """
    archive = cached_download(ADDRESS, progress=progress)
    variables = read_checkpoint_archive(archive.path)
    ignored = assign_noisy_student(model, variables)
    others = [name for name in ignored if f"{name}{_AVERAGE}" not in variables]
    return {
        "address": archive.address,
        "sha256": archive.sha256,
        "raw_copies": len(ignored) - len(others),
        "ignored": others,
    }


def read_checkpoint_archive(path: Path) -> dict[str, np.ndarray]:
    """Read the variables of the one checkpoint in a `.tar.gz`, by name.

    Nothing is unpacked but the checkpoint's own files, into a temporary folder and under names made here.

    Raises
    ------
    ValueError
        The archive is damaged, holds links, devices or paths that lead out of it, is too large, or holds no checkpoint
        or several.
    """
    with tempfile.TemporaryDirectory(prefix="checkpoint-") as folder, _damage_named(path):
        return _read_variables(_unpack(path, Path(folder)))


def assign_noisy_student(model: "keras.Model", variables: Mapping[str, np.ndarray]) -> tuple[str, ...]:
    """Assign the moving averages to the model, each exactly once, and make it scale pixels as they expect.

    The official network takes (x - mean) / std with ImageNet's mean and standard deviation of pixels from 0 to 1. Keras
    divides by 255 first; its `Normalization`, which a model built without weights leaves at mean 0 and variance 1,
    does the rest here.

    Parameters
    ----------
    model : Keras's EfficientNet-B0; without top, the head's dense layer is ignored.
    variables : all of the checkpoint's, by name.

    Returns
    -------
    tuple of str
        Names of the variables that were not used, in order: raw copies, the training step and the like.

    Raises
    ------
    ValueError
        A moving average is missing, is left over, or has another shape; the message names it.
    """
    weights = _weights_by_variable(model)
    averages = {name for name in variables if name.endswith(_AVERAGE)}
    if not any(name.startswith(f"{_SCOPE}head/dense/") for name in weights):
        averages -= {f"{_SCOPE}head/dense/{name}{_AVERAGE}" for name in ("kernel", "bias")}
    for name in sorted(averages ^ set(weights)):
        state = "is missing" if name in weights else "has no weight to go to"
        raise ValueError(f"variables must be those of EfficientNet-B0; {name} {state}. Use the official checkpoint.")
    for name, weight in weights.items():
        if variables[name].shape != tuple(weight.shape):
            raise ValueError(
                f"variables must be those of EfficientNet-B0; {name} has shape {variables[name].shape}, not "
                f"{tuple(weight.shape)}. Use the official checkpoint."
            )
    for name, weight in weights.items():
        weight.assign(variables[name])
    set_normalization(model, MEAN, np.square(STD))
    return tuple(sorted(set(variables) - set(weights)))


def set_normalization(model: "keras.Model", mean: Any, variance: Any) -> None:
    """Set mean and variance of the model's `Normalization`, of pixels as they reach it."""
    import keras

    (layer,) = (layer for layer in model.layers if isinstance(layer, keras.layers.Normalization))
    layer.set_weights([np.asarray(mean, np.float32), np.asarray(variance, np.float32), np.zeros((), np.int32)])
    layer.finalize_state()  # the layer computes with copies that only this renews


class _UnreadableError(Exception):
    """TensorFlow cannot read the checkpoint."""


@contextmanager
def _damage_named(path: Path) -> Iterator[None]:
    try:
        yield
    except (tarfile.TarError, gzip.BadGzipFile, zlib.error, EOFError, _UnreadableError) as error:
        raise ValueError(
            f"{path} must be a whole .tar.gz archive with a checkpoint; it is damaged ({error}). "
            "Delete it and the file with its hash beside it, and it is downloaded again."
        ) from error


def _unpack(path: Path, folder: Path) -> Path:
    """Write the checkpoint's files to the folder; returns their common prefix."""
    prefixes, num_bytes = set(), 0
    with tarfile.open(path, "r:gz") as archive:
        for member in archive:
            _check_member(member)
            num_bytes += member.size
            if num_bytes > _MAX_BYTES:
                raise ValueError(f"{path} must hold at most {_MAX_BYTES:,} bytes; it holds more. Do not trust it.")
            place = PurePosixPath(member.name)
            match = _CHECKPOINT_FILE.fullmatch(place.name)
            content = archive.extractfile(member)
            if match is None or content is None:
                continue
            prefixes.add(str(place.with_name(match["prefix"])))
            with (folder / f"checkpoint.{match[2]}").open("wb") as file:
                shutil.copyfileobj(content, file)
    if len(prefixes) != 1:
        found = ", ".join(sorted(prefixes)) or "none"
        raise ValueError(f"{path} must hold one checkpoint; got {found}. Use the official archive.")
    return folder / "checkpoint"


def _check_member(member: tarfile.TarInfo) -> None:
    place = PurePosixPath(member.name)
    if not (member.isfile() or member.isdir()) or place.is_absolute() or ".." in place.parts or "\\" in member.name:
        raise ValueError(
            f"an archive of weights must hold files and folders inside itself; got {member.name!r}, a link, a device "
            "or a path that leads out. Do not trust it."
        )


def _read_variables(prefix: Path) -> dict[str, np.ndarray]:
    import tensorflow as tf

    try:
        reader = tf.train.load_checkpoint(str(prefix))
        return {name: reader.get_tensor(name) for name in reader.get_variable_to_shape_map()}
    except (tf.errors.OpError, RuntimeError, ValueError) as error:
        raise _UnreadableError(f"TensorFlow cannot read the checkpoint: {error}") from error


def _weights_by_variable(model: "keras.Model") -> dict[str, Any]:
    """Each weight of the network under the name of its moving average."""
    import keras

    found: dict[str, Any] = {}
    used: Counter[str] = Counter()
    blocks: list[str] = []
    for layer in model.layers:
        if not layer.weights or isinstance(layer, keras.layers.Normalization):
            continue
        part, _, role = layer.name.partition("_")
        if part.startswith("block") and part not in blocks:
            blocks.append(part)
        scope = f"blocks_{blocks.index(part)}" if part in blocks else {"stem": "stem"}.get(part, "head")
        kind = _KINDS[type(layer).__name__]
        place = f"{scope}/se/{kind}" if role.startswith("se_") else f"{scope}/{kind}"
        number = used[place]
        used[place] += 1
        for weight in layer.weights:
            name = "depthwise_kernel" if kind == "depthwise_conv2d" else weight.name
            found[f"{_SCOPE}{place}{f'_{number}' if number else ''}/{name}{_AVERAGE}"] = weight
    return found


_KINDS = {
    "Conv2D": "conv2d",
    "DepthwiseConv2D": "depthwise_conv2d",
    "BatchNormalization": "tpu_batch_normalization",
    "Dense": "dense",
}
