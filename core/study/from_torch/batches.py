"""The parts of a batch that a loader yields: the input of the network, the labels, and names of the samples."""

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from core.measures.separation import encode_labels

Key = str | int

_INPUT_KEYS = ("pixel_values", "image", "images", "img", "input", "inputs", "x", "data", "input_ids", "input_values")
_LABEL_KEYS = ("labels", "label", "target", "targets", "y", "fine_label", "class")
_MASK_KEY = "attention_mask"


@dataclass(frozen=True)
class BatchKeys:
    """Which parts of a batch are what, as keys of a mapping or positions in a tuple; None for the usual ones."""

    input: Key | None = None
    label: Key | None = None
    id: Key | None = None
    source: Key | None = None


@dataclass(frozen=True, eq=False)
class Batch:
    """One batch.

    Attributes
    ----------
    images : tensor
        The input of the network, on its device and, if it has fractions, in its type.
    further : mapping
        Further arguments of the network by name, of batches that are mappings.
    input_name : str
        The name of the argument that the input is; "" for the first one.
    labels : np.ndarray
        Integers or strings, shape (b,).
    ids, sources : tuple of str or None
        Names of the samples, where the batch holds them.
    """

    images: Any
    further: Mapping[str, Any]
    input_name: str
    labels: NDArray[Any]
    ids: tuple[str, ...] | None
    sources: tuple[str, ...] | None

    def __len__(self) -> int:
        return len(self.images)

    @property
    def token_weights(self) -> Any:
        """Which tokens of each sample are no padding; None where the batch does not say."""
        mask = self.further.get(_MASK_KEY)
        return None if mask is None or mask.ndim != 2 else mask.bool()

    def forward(self, network: Any, num_samples: int | None = None) -> Any:
        """Run a network on the first samples, by default on all of them."""
        import torch

        rows = slice(num_samples)
        further = {
            name: value[rows] if isinstance(value, torch.Tensor) and value.ndim and len(value) == len(self) else value
            for name, value in self.further.items()
        }
        if self.input_name:
            return network(**{self.input_name: self.images[rows]}, **further)
        return network(self.images[rows], **further)


class BatchReader:
    """Takes the parts out of each batch, and puts the input on the network's device.

    Parameters
    ----------
    network : torch.nn.Module
        The network, whose arguments say which further parts of a mapping it takes.
    device, dtype : torch.device, torch.dtype
        Where the input is put, and its type where it has fractions.
    keys : BatchKeys
        Which parts are what.
    """

    def __init__(self, network: Any, device: Any, dtype: Any, keys: BatchKeys) -> None:
        self._device, self._dtype, self._keys = device, dtype, keys
        self._arguments = _argument_names(network.forward)

    def read(self, batch: Any) -> Batch:
        """Return the parts of a batch.

        Raises
        ------
        ValueError
            If the batch holds no labels, or no tensor as input, or the labels are no classes.
        """
        input_key = self._key(batch, self._keys.input, _INPUT_KEYS, 0, "input_key")
        label_key = self._key(batch, self._keys.label, _LABEL_KEYS, 1, "label_key")
        images = self._input(_part(batch, input_key, "input_key"), input_key)
        labels = checked_labels(_part(batch, label_key, "label_key"), len(images))
        is_mapping = isinstance(batch, Mapping)
        used = {input_key, label_key, self._keys.id, self._keys.source}
        further = {}
        if is_mapping:
            further = {
                name: self._moved(value)
                for name, value in batch.items()
                if name not in used and name in self._arguments and name not in _LABEL_KEYS
            }
        return Batch(
            images=images,
            further=further,
            input_name=str(input_key) if is_mapping and input_key in self._arguments else "",
            labels=labels,
            ids=self._names(batch, self._keys.id, len(images), "ids"),
            sources=self._names(batch, self._keys.source, len(images), "sources"),
        )

    def _key(self, batch: Any, given: Key | None, usual: tuple[str, ...], position: int, argument: str) -> Key:
        """Return the key or position of a part."""
        if given is not None:
            return given
        what = "input" if argument == "input_key" else "label"
        if isinstance(batch, Mapping):
            for key in usual:
                if key in batch:
                    return key
            raise ValueError(
                f"{argument} must name the part of a batch that is the {what}; a batch has {_some_keys(batch)}. "
                f"Pass {argument}=."
            )
        if isinstance(batch, tuple | list):
            if position < len(batch):
                return position
            raise ValueError(
                "loader must yield batches of inputs and labels; got batches of one part, without labels. "
                "Make the data set return (image, label)."
            )
        raise ValueError(
            f"loader must yield batches of inputs and labels, as tuples or mappings; got {type(batch).__name__}, "
            "without labels. Make the data set return (image, label)."
        )

    def _input(self, images: Any, key: Key) -> Any:
        """Return the input on the device, checked."""
        import torch

        if isinstance(images, np.ndarray):
            images = torch.from_numpy(images)
        if not isinstance(images, torch.Tensor) or not images.ndim:
            raise ValueError(
                f"loader must yield a tensor as part {key!r} of each batch; got {type(images).__name__}. Convert "
                "images, such as with torchvision's ToTensor, or name another part with input_key=. Several inputs "
                "must come as a mapping by the names of the network's arguments."
            )
        if not len(images):
            raise ValueError("loader must yield batches with at least one sample; got an empty one.")
        return self._moved(images)

    def _moved(self, value: Any) -> Any:
        import torch

        if not isinstance(value, torch.Tensor):
            return value
        moved = value.to(self._device)
        return moved.to(self._dtype) if moved.is_floating_point() else moved

    def _names(self, batch: Any, key: Key | None, num_samples: int, argument: str) -> tuple[str, ...] | None:
        if key is None:
            return None
        names = _part(batch, key, argument)
        if hasattr(names, "tolist"):
            names = names.tolist()
        if not isinstance(names, tuple | list) or len(names) != num_samples:
            raise ValueError(
                f"{argument} must name a part of the batch with one entry a sample, {num_samples}; part {key!r} is "
                f"{type(names).__name__}{f' of {len(names)}' if isinstance(names, tuple | list) else ''}."
            )
        return tuple(map(str, names))


def checked_labels(labels: Any, num_samples: int) -> NDArray[Any]:
    """Return labels of a batch as an array of shape (b,), after checking that they are classes."""
    if isinstance(labels, str | int) or getattr(labels, "ndim", 1) == 0:
        raise ValueError("loader must yield batches; got a single sample with one label. Set batch_size in the loader.")
    encoded = encode_labels(labels, name="labels that loader yields")
    if len(encoded.codes) != num_samples:
        raise ValueError(
            f"loader must yield one label a sample; got {len(encoded.codes)} labels beside {num_samples} inputs. Name "
            "the parts of a batch with input_key= and label_key=."
        )
    return np.asarray(encoded.classes)[encoded.codes]


def _part(batch: Any, key: Key, argument: str) -> Any:
    try:
        return batch[key]
    except (KeyError, IndexError, TypeError) as error:
        has = _some_keys(batch) if isinstance(batch, Mapping) else f"{len(batch)} parts, from 0"
        raise ValueError(f"{argument} must name a part of the batch; got {key!r}, and a batch has {has}.") from error


def _some_keys(batch: Mapping[Any, Any]) -> str:
    return ", ".join(map(repr, batch))


def _argument_names(forward: Callable[..., Any]) -> frozenset[str]:
    """Return the names of the arguments that a network takes."""
    kinds = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
    try:
        parameters = inspect.signature(forward).parameters.values()
    except (TypeError, ValueError):
        return frozenset()
    return frozenset(parameter.name for parameter in parameters if parameter.kind in kinds)
