"""Who multiplies: NumPy on the processor, or a GPU through TensorFlow where that is loaded already and sees one.

TensorFlow is never imported for a product: it takes seconds, and a study that needs no network can do without.
"""

import contextlib
import os
import platform
import sys
from importlib import import_module
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import NDArray


def describe_devices(*, load_tensorflow: bool = False) -> list[dict[str, Any]]:
    """The devices that a search can use, each with `device`, `name`, `cores` (None on a GPU) and `multiplies`.

    The one that multiplies now comes with `multiplies` true. GPUs are listed where TensorFlow is loaded; with
    `load_tensorflow` it is imported first, if it is installed.
    """
    if load_tensorflow:
        with contextlib.suppress(ImportError):
            import_module("tensorflow")
    gpus = _gpus()
    cpu = {"device": "CPU", "name": _processor(), "cores": os.cpu_count(), "multiplies": not gpus}
    found = [cpu]
    for place, gpu in enumerate(gpus):
        name = _tensorflow().config.experimental.get_device_details(gpu).get("device_name", gpu.name)
        found.append({"device": f"GPU:{place}", "name": name, "cores": None, "multiplies": place == 0})
    return found


def product(left: NDArray[Any], right: NDArray[Any], out: NDArray[Any] | None = None) -> NDArray[Any]:
    """left · rightᵀ, shape (rows of left, rows of right), in their dtype and to its precision; into `out` where given.

    An array with its own transpose is, in NumPy, a symmetric product of half the work.
    """
    if left.dtype == np.float32 and _gpus():
        return tensorflow_product(left, right, "GPU:0")
    return np.matmul(left, right.T, out=out)


def tensorflow_product(left: NDArray[Any], right: NDArray[Any], device: str) -> NDArray[Any]:
    """The same on a device of the loaded TensorFlow, in full float32: TF32 would round the input to 11 bits."""
    tensorflow = _tensorflow()
    precision = tensorflow.config.experimental
    rounded = precision.tensor_float_32_execution_enabled()
    precision.enable_tensor_float_32_execution(False)
    try:
        with tensorflow.device(device):
            result = tensorflow.linalg.matmul(left, right, transpose_b=True).numpy()
    finally:
        precision.enable_tensor_float_32_execution(rounded)
    return np.array(result) if not result.flags.writeable else result


def _tensorflow() -> ModuleType:
    return sys.modules["tensorflow"]


def _gpus() -> list[Any]:
    """The GPUs that a loaded TensorFlow sees."""
    config = getattr(sys.modules.get("tensorflow"), "config", None)
    return [] if config is None else list(config.list_physical_devices("GPU"))


def _processor() -> str:
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as lines:
            return next(line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()
