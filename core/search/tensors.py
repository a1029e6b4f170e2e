"""Arrays of NumPy, PyTorch, TensorFlow and JAX, recognized by what they can do; none of these is imported."""

from typing import Any

import numpy as np
from numpy.typing import NDArray


def as_array(values: Any) -> NDArray[Any]:
    """Return an array, a tensor or nested lists of them as a NumPy array on the CPU.

    Tensors may track gradients or be on another device. bfloat16, which NumPy does not have, becomes float32. A NumPy
    array, or a memory-mapped one, is returned as it is.

    Parameters
    ----------
    values : array_like or tensor
        An array of NumPy; a tensor of PyTorch, TensorFlow or JAX; an object with `__array__` or `__dlpack__`.

    Raises
    ------
    ValueError
        If they are no array of one shape, or have no values, as a tensor on the meta device; callers say of what.
    """
    if isinstance(values, np.ndarray):
        return _without_bfloat16(values)
    try:
        return _without_bfloat16(_array_of(values))
    except (ValueError, TypeError, RuntimeError, NotImplementedError, BufferError, AttributeError) as error:
        # lists of several lengths, tensors without values, arrays on a device that only their library can read
        raise ValueError(str(error).rstrip(".")) from error


def _array_of(values: Any) -> NDArray[Any]:
    array = _converted(values)
    if array.dtype == object and array.ndim == 0:  # what NumPy makes of anything that it does not know
        raise ValueError(f"{type(values).__name__}, which is neither an array nor a tensor of one shape")
    return array


def _converted(values: Any) -> NDArray[Any]:
    if isinstance(values, list | tuple) and values and all(_is_torch(value) for value in values):
        return np.asarray([_from_torch(value) for value in values])
    if _is_torch(values):
        return _from_torch(values)
    if hasattr(values, "__dlpack__") and not hasattr(values, "__array__"):
        return np.from_dlpack(values)
    return np.asarray(values)


def _is_torch(values: Any) -> bool:
    """Return whether values are a tensor of PyTorch."""
    return all(hasattr(values, name) for name in ("detach", "cpu", "is_floating_point"))


def _from_torch(tensor: Any) -> NDArray[Any]:
    if tensor.device.type == "meta":
        raise ValueError("a tensor on the meta device, which has no values")
    plain = tensor.detach().cpu()
    if plain.is_quantized:
        plain = plain.dequantize()
    if "bfloat16" in str(plain.dtype) or "float8" in str(plain.dtype):
        plain = plain.float()
    return np.asarray(plain.resolve_conj().resolve_neg().numpy())


def _without_bfloat16(array: NDArray[Any]) -> NDArray[Any]:
    """Return types of 16 bits and less that TensorFlow and JAX add to NumPy as float32."""
    if array.dtype.name.startswith(("bfloat16", "float8")):
        return array.astype(np.float32)
    return array
