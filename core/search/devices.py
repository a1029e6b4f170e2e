"""The devices that can multiply: the processor, and the GPUs that a loaded TensorFlow sees."""

import contextlib
import os
import platform
import sys
from collections.abc import Iterator
from importlib import import_module
from types import ModuleType
from typing import Any

from core.search.blas_threads import SharedContext


def describe_devices(*, load_tensorflow: bool = False) -> list[dict[str, Any]]:
    """The devices that a search can use, each with `device`, `name`, `cores` (None on a GPU) and `multiplies`.

    Those that multiply now come with `multiplies` true. GPUs are listed where TensorFlow is loaded; with
    `load_tensorflow` it is imported first, if it is installed.
    """
    if load_tensorflow:
        with contextlib.suppress(ImportError):
            import_module("tensorflow")
    gpus = _gpus()
    cpu = {"device": "CPU", "name": _processor(), "cores": os.cpu_count(), "multiplies": not gpus}
    found = [cpu]
    for place, gpu in enumerate(gpus):
        name = tensorflow().config.experimental.get_device_details(gpu).get("device_name", gpu.name)
        found.append({"device": f"GPU:{place}", "name": name, "cores": None, "multiplies": True})
    return found


def gpu_names() -> tuple[str, ...]:
    """The names of the GPUs, as TensorFlow takes them; none where it is not loaded."""
    return tuple(f"GPU:{place}" for place in range(len(_gpus())))


def tensorflow_product(left: Any, right: Any) -> Any:
    """left · rightᵀ through TensorFlow, float32 in full: TF32 would round the input to 11 bits."""
    with _full_precision:
        return tensorflow().linalg.matmul(left, right, transpose_b=True)


@contextlib.contextmanager
def _without_tf32() -> Iterator[None]:
    """Switch TF32 off, and then back to what it was."""
    precision = tensorflow().config.experimental
    was_on = precision.tensor_float_32_execution_enabled()
    precision.enable_tensor_float_32_execution(False)
    try:
        yield
    finally:
        precision.enable_tensor_float_32_execution(was_on)


_full_precision = SharedContext(_without_tf32)


def columns_swapped(tensor: Any, left: slice, right: slice) -> Any:
    """A tensor with two groups of columns, one right after the other, in each other's place; made where it is."""
    tf = tensorflow()
    with tf.device(tensor.device):
        parts = tensor[:, : left.start], tensor[:, right], tensor[:, left], tensor[:, right.stop :]
        return tf.concat(parts, axis=1)


def tensorflow() -> ModuleType:
    """The loaded TensorFlow."""
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
