"""EfficientNet-B0's NoisyStudent weights: download, unpacking and conversion of the authors' checkpoint for Keras.

The archive holds a TensorFlow 1 checkpoint (https://arxiv.org/abs/1911.04252; code at
github.com/tensorflow/tpu/tree/master/models/official/efficientnet). Its variables have the names of TensorFlow 1: the
first convolution of a scope is `conv2d`, the second `conv2d_1`. The trained network consists of the exponential moving
averages, not of the raw variables.
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

from core.network.models.downloads import CachedFile, ReportBytes, cached_download, file_sha256

if TYPE_CHECKING:
    import keras

# The authors do not publish its hash: that of the first download is recorded, and required from then on.
ADDRESS = (
    "https://storage.googleapis.com/cloud-tpu-checkpoints/efficientnet/noisystudent/"
    "noisy_student_efficientnet-b0.tar.gz"
)
MEAN = (0.485, 0.456, 0.406)  # of ImageNet's RGB pixels on a scale from 0 to 1
STD = (0.229, 0.224, 0.225)
_SCOPE = "efficientnet-b0/"
_AVERAGE = "/ExponentialMovingAverage"
_CHECKPOINT_FILE = re.compile(r"(?P<prefix>[\w.-]*\.ckpt[\w-]*)\.(index|data-\d{5}-of-\d{5})")
MOST_BYTES = 1 << 30  # of the unpacked archive; the official one has a few percent of this


def load_noisy_student(
    model: "keras.Model", *, path: Path | None = None, progress: ReportBytes | None = None
) -> dict[str, Any]:
    """Set the weights and the scaling of Keras's EfficientNet-B0 to the official ones; download them if necessary.

    Parameters
    ----------
    model : keras.Model
        From `keras.applications.EfficientNetB0(weights=None)`, with or without top.
    path : Path, optional
        The archive; default the one in the cache, which is downloaded if it is not there.
    progress : callable, optional
        Called with the number of bytes so far and the total number during the download.

    Returns
    -------
    dict
        For the record of a study: `address` (or path) and `sha256` of the archive, the number of `raw_copies`
        (variables that moving averages replace), and the names of the other variables that were `ignored`.

    Raises
    ------
    DownloadError
        See `cached_download`.
    ValueError
        If the archive is damaged or unsafe, or its variables do not fit the model.
    """
    if path is None:
        archive = cached_download(ADDRESS, check=_check_archive, progress=progress)
    else:
        archive = CachedFile(path, str(path), file_sha256(path))
    variables = read_checkpoint_archive(archive.path)
    ignored = assign_noisy_student(model, variables)
    others = [name for name in ignored if f"{name}{_AVERAGE}" not in variables]
    return {
        "address": archive.address,
        "sha256": archive.sha256,
        "raw_copies": len(ignored) - len(others),
        "ignored": others,
    }


def read_checkpoint_archive(path: Path, *, most_bytes: int = MOST_BYTES) -> dict[str, np.ndarray]:
    """Read the variables of the one checkpoint in a `.tar.gz`, by name.

    Only the files of the checkpoint are unpacked, into a temporary folder and with names chosen here.

    Parameters
    ----------
    path : Path
        The archive.
    most_bytes : int
        Largest size of its files together.

    Returns
    -------
    dict of str to np.ndarray

    Raises
    ------
    ValueError
        If the archive is damaged, contains links, devices or paths that lead out of it, is too large, or contains no
        checkpoint or several.
    """
    with tempfile.TemporaryDirectory(prefix="checkpoint-") as folder, _explain_damage(path):
        return _read_variables(_unpack(path, Path(folder), most_bytes))


def _check_archive(path: Path) -> None:
    """Raise a ValueError unless a file is an archive with a checkpoint, whose values are not read."""
    with tempfile.TemporaryDirectory(prefix="checkpoint-") as folder, _explain_damage(path):
        _unpack(path, Path(folder), MOST_BYTES)


def assign_noisy_student(model: "keras.Model", variables: Mapping[str, np.ndarray]) -> tuple[str, ...]:
    """Assign the moving averages to the model, each exactly once, and set the scaling of pixels that they require.

    The official network takes (x - mean) / std, with ImageNet's mean and standard deviation of pixels from 0 to 1. In
    Keras, a first layer divides by 255; the `Normalization` after it, which has mean 0 and variance 1 in a model built
    without weights, is set to ImageNet's values here.

    Parameters
    ----------
    model : keras.Model
        Keras's EfficientNet-B0; without top, the dense layer of the checkpoint's head is ignored.
    variables : mapping of str to np.ndarray
        All variables of the checkpoint.

    Returns
    -------
    tuple of str
        Sorted names of the unused variables: raw copies, the training step and similar ones.

    Raises
    ------
    ValueError
        If a moving average is missing, has no counterpart, or has another shape; the message names it.
    """
    weights = _weights_by_variable(model)
    averages = {name for name in variables if name.endswith(_AVERAGE)}
    if not any(name.startswith(f"{_SCOPE}head/dense/") for name in weights):
        averages -= {f"{_SCOPE}head/dense/{name}{_AVERAGE}" for name in ("kernel", "bias")}
    for name in sorted(averages ^ set(weights)):
        state = "is missing" if name in weights else "has no counterpart in the model"
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
    """Set mean and variance of the model's `Normalization` layer, on the scale of the layer's inputs."""
    import keras

    (layer,) = (layer for layer in model.layers if isinstance(layer, keras.layers.Normalization))
    layer.set_weights([np.asarray(mean, np.float32), np.asarray(variance, np.float32), np.zeros((), np.int32)])
    layer.finalize_state()  # the layer computes with copies of its weights, which this updates


class _UnreadableError(Exception):
    """TensorFlow cannot read the checkpoint."""


@contextmanager
def _explain_damage(path: Path) -> Iterator[None]:
    """Turn errors of a damaged archive into a ValueError that says what to do."""
    try:
        yield
    except (tarfile.TarError, gzip.BadGzipFile, zlib.error, EOFError, _UnreadableError) as error:
        raise ValueError(
            f"{path} must be a complete .tar.gz archive with a checkpoint; it is damaged ({error}). "
            "Delete it and the file with its hash beside it to download it again."
        ) from error


def _unpack(path: Path, folder: Path, most_bytes: int) -> Path:
    """Write the files of the checkpoint to the folder, and return their common prefix."""
    prefixes, num_bytes = set(), 0
    with tarfile.open(path, "r:gz") as archive:
        for member in archive:
            _check_member(member)
            num_bytes += member.size
            if num_bytes > most_bytes:
                raise ValueError(f"{path} must hold at most {most_bytes:,} bytes; it holds more. Do not trust it.")
            member_path = PurePosixPath(member.name)
            match = _CHECKPOINT_FILE.fullmatch(member_path.name)
            content = archive.extractfile(member)
            if match is None or content is None:
                continue
            prefixes.add(str(member_path.with_name(match["prefix"])))
            with (folder / f"checkpoint.{match[2]}").open("wb") as file:
                shutil.copyfileobj(content, file)
    if len(prefixes) != 1:
        names = ", ".join(sorted(prefixes)) or "none"
        raise ValueError(f"{path} must hold one checkpoint; got {names}. Use the official archive.")
    return folder / "checkpoint"


def _check_member(member: tarfile.TarInfo) -> None:
    path = PurePosixPath(member.name)
    is_special = not (member.isfile() or member.isdir())
    if is_special or path.is_absolute() or ".." in path.parts or "\\" in member.name:
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
    """Return the weights of the model by the names of their moving averages in the checkpoint."""
    import keras

    weights: dict[str, Any] = {}
    counts: Counter[str] = Counter()
    blocks: list[str] = []
    for layer in model.layers:
        if not layer.weights or isinstance(layer, keras.layers.Normalization):
            continue
        part, _, role = layer.name.partition("_")
        if part.startswith("block") and part not in blocks:
            blocks.append(part)
        scope = f"blocks_{blocks.index(part)}" if part in blocks else _SCOPES.get(part, "head")
        kind = _KINDS[type(layer).__name__]
        operation = f"{scope}/se/{kind}" if role.startswith("se_") else f"{scope}/{kind}"
        number = counts[operation]
        counts[operation] += 1
        if number:
            operation += f"_{number}"
        for weight in layer.weights:
            name = "depthwise_kernel" if kind == "depthwise_conv2d" else weight.name
            weights[f"{_SCOPE}{operation}/{name}{_AVERAGE}"] = weight
    return weights


_SCOPES = {"stem": "stem"}
_KINDS = {
    "Conv2D": "conv2d",
    "DepthwiseConv2D": "depthwise_conv2d",
    "BatchNormalization": "tpu_batch_normalization",
    "Dense": "dense",
}
