"""Conversion of official PyTorch checkpoints to Keras weights, without PyTorch and without executing pickled code."""

import collections
import io
import math
import os
import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, NamedTuple

import numpy as np

if TYPE_CHECKING:
    import keras

_MAGIC_NUMBER = 0x1950A86A20F9469CFC6C
_PROTOCOL_VERSION = 1001
_STORAGE_DTYPES = {
    "FloatStorage": "<f4",
    "DoubleStorage": "<f8",
    "HalfStorage": "<f2",
    "LongStorage": "<i8",
    "IntStorage": "<i4",
    "ShortStorage": "<i2",
    "CharStorage": "|i1",
    "ByteStorage": "|u1",
    "BoolStorage": "|b1",
}


def read_torch_checkpoint(path: str | os.PathLike[str]) -> dict[str, np.ndarray]:
    """Read a state dict that PyTorch saved in its legacy format (before version 1.6).

    The file consists of four pickles (magic number, protocol version, system information, the state dict with
    references to storages), a fifth with the keys of the storages, and then the raw storages. They are read by an
    unpickler that only allows tensors and ordered dictionaries, so that an untrusted checkpoint cannot execute code.

    Parameters
    ----------
    path : str or path-like
        A `.pth` file.

    Returns
    -------
    dict of str to np.ndarray
        The tensors by name, contiguous, in the order and with the dtypes of the file.

    Raises
    ------
    pickle.UnpicklingError
        If the file contains anything but tensors; the message names it.
    ValueError
        If the file is truncated, in another format, or inconsistent.
    """
    with Path(path).open("rb") as file:
        if file.read(4) == b"PK\x03\x04":
            raise ValueError(
                f"path must be in PyTorch's legacy format; {path} is in the newer zip format. "
                "Save it again with torch.save(..., _use_new_zipfile_serialization=False)."
            )
        file.seek(0)
        try:
            return _read_tensors(file)
        except _RefusedError:
            raise
        # A damaged pickle can raise nearly any exception, from EOFError to OverflowError.
        except Exception as error:
            raise ValueError(
                f"path must be a complete PyTorch checkpoint; {path} is truncated or in another format ({error}). "
                "Download or install it again."
            ) from error


def load_efficientnet_lite(model: "keras.Model", tensors: Mapping[str, np.ndarray]) -> None:
    """Assign the tensors of a PyTorch EfficientNet-Lite to the Keras model, each tensor and each weight exactly once.

    Kernels of convolutions are transposed from (out, in, height, width) to (height, width, in, out), those of depthwise
    convolutions from (channels, 1, height, width) to (height, width, channels, 1); the classifier is transposed, too.
    PyTorch's counters `num_batches_tracked` have no counterpart in Keras and are ignored.

    Parameters
    ----------
    model : keras.Model
        A model from `build_efficientnet_lite`.
    tensors : mapping of str to np.ndarray
        Tensors from `read_torch_checkpoint`.

    Raises
    ------
    ValueError
        If a tensor has no counterpart or another shape, or a weight gets no tensor; the message names it.
    """
    blocks = [layer.name.removesuffix("_dwconv") for layer in model.layers if layer.name.endswith("_dwconv")]
    missing = {f"{layer.name}/{weight.name}": weight for layer in model.layers for weight in layer.weights}
    for name, tensor in tensors.items():
        if name.endswith(".num_batches_tracked"):
            continue
        target = _keras_name(name, blocks)
        weight = missing.pop(target, None)
        if weight is None:
            raise ValueError(f"tensors must fit {model.name}; there is no (further) weight {target} for {name}.")
        value = _keras_layout(tensor, target)
        if value.shape != tuple(weight.shape):
            raise ValueError(f"tensors must fit {model.name}; {name} gives shape {value.shape}, not {weight.shape}.")
        weight.assign(value)
    if missing:
        raise ValueError(f"tensors must fit {model.name}; no tensor for {', '.join(missing)}.")


class _RefusedError(pickle.UnpicklingError):
    """The file contains something other than tensors."""


class _Storage(NamedTuple):
    key: str
    dtype: str
    size: int


class _Tensor(NamedTuple):
    storage: _Storage
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]

    def view(self, buffer: np.ndarray) -> np.ndarray:
        """Return the tensor from its storage, after checking that it lies inside."""
        if len(self.shape) != len(self.strides) or min((0, self.offset, *self.shape, *self.strides)) < 0:
            raise ValueError(f"a tensor has shape {self.shape}, strides {self.strides} and offset {self.offset}")
        last = self.offset + sum((n - 1) * step for n, step in zip(self.shape, self.strides, strict=True))
        # The second condition rejects a small storage that is repeated (stride 0) until memory is full.
        if (math.prod(self.shape) > 0 and last >= buffer.size) or math.prod(self.shape) > buffer.size:
            raise ValueError(f"a tensor of shape {self.shape} reaches beyond its storage of {buffer.size}")
        strides = [step * buffer.itemsize for step in self.strides]
        return np.lib.stride_tricks.as_strided(buffer[self.offset :], self.shape, strides).copy()


class _TensorUnpickler(pickle.Unpickler):
    """Allows references to tensors, ordered dictionaries and plain values; rejects every other global."""

    def __init__(self, file: BinaryIO) -> None:
        super().__init__(file)
        self.storages: dict[str, _Storage] = {}

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) == ("collections", "OrderedDict"):
            return collections.OrderedDict
        if (module, name) == ("torch._utils", "_rebuild_tensor_v2"):
            return self._rebuild_tensor
        if module == "torch" and name in _STORAGE_DTYPES:
            return _STORAGE_DTYPES[name]
        raise _RefusedError(f"a checkpoint must hold tensors only; got {module}.{name}. Do not trust this file.")

    def persistent_load(self, reference: Any) -> _Storage:
        kind, dtype, key, _, size, view = reference
        if kind != "storage" or dtype not in _STORAGE_DTYPES.values() or view is not None:
            raise _RefusedError(f"a checkpoint must hold tensors only; got the reference {reference}.")
        storage = _Storage(str(key), dtype, int(size))
        if self.storages.setdefault(storage.key, storage) != storage:
            raise ValueError(f"storage {key} is described twice with different properties")
        return storage

    def _rebuild_tensor(self, storage: Any, offset: Any, shape: Any, strides: Any, *_: Any) -> _Tensor:
        if not isinstance(storage, _Storage):
            raise ValueError(f"a tensor must refer to a storage; got {storage!r}")
        return _Tensor(storage, int(offset), tuple(map(int, shape)), tuple(map(int, strides)))


def _read_tensors(file: BinaryIO) -> dict[str, np.ndarray]:
    for expected in (_MAGIC_NUMBER, _PROTOCOL_VERSION):
        value = _TensorUnpickler(file).load()
        if value != expected:
            raise ValueError(f"it begins with {value!r} instead of {expected}")
    if not _TensorUnpickler(file).load()["little_endian"]:
        raise ValueError("it was written on a big-endian machine")
    unpickler = _TensorUnpickler(file)
    tensors = unpickler.load()
    if not isinstance(tensors, dict) or not all(isinstance(tensor, _Tensor) for tensor in tensors.values()):
        raise ValueError("it holds something other than a dictionary of tensors")
    keys = _TensorUnpickler(file).load()
    if sorted(keys) != sorted(unpickler.storages):
        raise ValueError("the storages differ from the ones its tensors use")
    buffers = {key: _read_storage(file, unpickler.storages[key]) for key in keys}
    return {str(name): tensor.view(buffers[tensor.storage.key]) for name, tensor in tensors.items()}


def _read_storage(file: BinaryIO, storage: _Storage) -> np.ndarray:
    """Read the next raw storage: its length as a 64-bit integer, then its values."""
    size = int.from_bytes(file.read(8), "little")
    if size != storage.size:
        raise ValueError(f"storage {storage.key} holds {size} values instead of {storage.size}")
    position = file.tell()
    num_bytes = size * np.dtype(storage.dtype).itemsize
    # Checked before reading, so that a forged length does not allocate that much memory.
    if num_bytes > file.seek(0, io.SEEK_END) - position:
        raise ValueError(f"storage {storage.key} ends early")
    file.seek(position)
    return np.frombuffer(file.read(num_bytes), storage.dtype)


_LAYER_NAMES = {
    "_conv_stem": "stem_conv",
    "_bn0": "stem_bn",
    "_conv_head": "top_conv",
    "_bn1": "top_bn",
    "_fc": "predictions",
}
_BLOCK_LAYER_NAMES = {
    "_expand_conv": "expand_conv",
    "_bn0": "expand_bn",
    "_depthwise_conv": "dwconv",
    "_bn1": "bn",
    "_project_conv": "project_conv",
    "_bn2": "project_bn",
}
_WEIGHT_NAMES = {"weight": "kernel", "bias": "bias"}
_BATCH_NORM_NAMES = {
    "weight": "gamma",
    "bias": "beta",
    "running_mean": "moving_mean",
    "running_var": "moving_variance",
}


def _keras_name(name: str, blocks: list[str]) -> str:
    """Translate a name such as `_blocks.1._bn0.running_mean` to `block2a_expand_bn/moving_mean`."""
    try:
        match name.split("."):
            case ["_blocks", index, layer, weight]:
                target = f"{blocks[int(index)]}_{_BLOCK_LAYER_NAMES[layer]}"
            case [layer, weight]:
                target = _LAYER_NAMES[layer]
            case _:
                raise KeyError(name)
        weight_names = _BATCH_NORM_NAMES if target.endswith("bn") else _WEIGHT_NAMES
        return f"{target}/{weight_names[weight]}"
    except (KeyError, IndexError, ValueError):
        raise ValueError(f"tensors must be those of an EfficientNet-Lite; got one named {name}.") from None


def _keras_layout(tensor: np.ndarray, target: str) -> np.ndarray:
    """Transpose a tensor to the layout of the Keras weight `target`."""
    if tensor.ndim != 4:
        return tensor.T
    is_depthwise = target.endswith("dwconv/kernel")
    return tensor.transpose(2, 3, 0, 1) if is_depthwise else tensor.transpose(2, 3, 1, 0)
