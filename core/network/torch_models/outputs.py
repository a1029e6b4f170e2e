"""What a module returns: which tensor of it, which of its axes are samples and channels, and one vector a sample."""

from collections.abc import Mapping
from dataclasses import dataclass, fields, is_dataclass
from enum import Enum
from typing import Any

_PREFERRED_KEYS = ("last_hidden_state", "logits", "out")  # of Hugging Face, and of torchvision's segmentation networks


class Layout(Enum):
    """Where the channels of an output are; the axis of the samples is the first one."""

    CHANNELS_FIRST = "channels first"
    CHANNELS_LAST = "channels last"


@dataclass(frozen=True)
class OutputForm:
    """How one vector a sample is made of the output of a module.

    Attributes
    ----------
    batch_axis : int
        The axis of the samples, 0 or 1.
    shape : tuple of int
        Shape of one sample's activations.
    layout : Layout
        Where the channels are, in `shape`.
    class_token : bool
        Whether the first token stands for the sample, instead of the mean of all tokens.
    """

    batch_axis: int
    shape: tuple[int, ...]
    layout: Layout
    class_token: bool = False

    @property
    def channels(self) -> int:
        """Number of channels of one sample; 1 for an output of one number a sample."""
        if not self.shape:
            return 1
        return self.shape[0] if self.layout is Layout.CHANNELS_FIRST else self.shape[-1]

    @property
    def has_space(self) -> bool:
        """Whether there are other axes than the channels, to average over."""
        return len(self.shape) > 1

    @property
    def mean_of(self) -> str | None:
        """What pooling `mean` takes, as in the table `layers`: `positions`, `tokens` or `class token`; None without."""
        if not self.has_space:
            return None
        if self.class_token:
            return "class token"
        return "tokens" if len(self.shape) == 2 and self.layout is Layout.CHANNELS_LAST else "positions"

    @property
    def description(self) -> str:
        """What the vector of a sample is, in words."""
        if not self.has_space:
            return "all activations"
        sizes = self.shape[1:] if self.layout is Layout.CHANNELS_FIRST else self.shape[:-1]
        if self.class_token:
            return f"class token, the first of {sizes[0]} tokens"
        return f"mean over {' × '.join(map(str, sizes))} {self.mean_of}, {self.layout.value}"


def find_tensor(output: Any) -> tuple[Any, str]:
    """Return the tensor that stands for the output of a module, and the part of the output that it is.

    Of tuples and lists it is the first tensor; of mappings and dataclasses `last_hidden_state`, `logits` or `out`, or
    else the first tensor. The part is "" for the output itself, else such as "[0]" or "['out']". Without a tensor, or
    with one that has no axis, the result is (None, "").
    """
    import torch

    if isinstance(output, torch.Tensor):
        return (output, "") if output.ndim and not output.is_complex() and not output.is_nested else (None, "")
    for key, value in _parts(output):
        tensor, part = find_tensor(value)
        if tensor is not None:
            return tensor, f"[{key!r}]{part}"
    return None, ""


def _parts(output: Any) -> list[tuple[Any, Any]]:
    """Return the parts of an output with their keys, the preferred ones first."""
    if isinstance(output, Mapping):
        keys = sorted(output, key=lambda key: _PREFERRED_KEYS.index(key) if key in _PREFERRED_KEYS else 9)
        return [(key, output[key]) for key in keys]
    if isinstance(output, tuple | list):
        return list(enumerate(output))
    if is_dataclass(output) and not isinstance(output, type):
        return _parts({field.name: getattr(output, field.name) for field in fields(output)})
    return []


def as_rows(tensor: Any, form: OutputForm) -> Any:
    """Return a tensor in float32 with the samples on the first axis, a view where possible."""
    import torch

    if tensor.is_quantized:
        tensor = tensor.dequantize()
    if tensor.layout != torch.strided:
        tensor = tensor.to_dense()
    return tensor.movedim(form.batch_axis, 0).to(torch.float32)


def flat(rows: Any) -> Any:
    """Return all activations of each sample, shape (n, d)."""
    return rows.reshape(len(rows), -1)


def pooled(rows: Any, form: OutputForm, weights: Any = None) -> Any:
    """Return one number a channel of each sample: the class token, or the mean over all axes but the channels.

    Parameters
    ----------
    rows : tensor
        As returned by `as_rows`.
    form : OutputForm
        The form of the output.
    weights : tensor of bool, optional
        Which tokens of each sample count, shape (n, tokens); default all of them.
    """
    if not form.has_space:
        return flat(rows)
    if form.class_token:
        return rows[:, 0]
    if form.layout is Layout.CHANNELS_FIRST:
        return rows.mean(dim=tuple(range(2, rows.ndim)))
    if weights is not None:
        counts = weights.to(rows.dtype)[:, :, None]
        return (rows * counts).sum(dim=1) / counts.sum(dim=1)
    return rows.mean(dim=tuple(range(1, rows.ndim - 1)))
