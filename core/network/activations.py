"""Activations of many layers at once, streamed in passes over the images that each fit a memory budget."""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np

from core.network.backbones import Network
from core.network.layers import LayerInfo, layer_tensors

POOLINGS = ("flat", "mean")


@dataclass(frozen=True)
class Pass:
    """Layers that are computed together, and the memory that their activations take."""

    layers: tuple[LayerInfo, ...]
    num_bytes: int


def poolings_of(layer: LayerInfo, poolings: tuple[str, ...]) -> tuple[str, ...]:
    """Return the forms in which a layer appears: as asked, but once, as `flat`, where there is no space to average."""
    unknown = [pooling for pooling in poolings if pooling not in POOLINGS]
    if unknown or not poolings:
        raise ValueError(f"poolings must be some of {POOLINGS}; got {poolings}.")
    return poolings if layer.spatial else ("flat",)


def plan_passes(
    layers: Sequence[LayerInfo], num_samples: int, poolings: tuple[str, ...], budget_bytes: int
) -> tuple[Pass, ...]:
    """Divide layers into passes whose activations fit the budget.

    Parameters
    ----------
    layers
        The layers wanted, in network order.
    num_samples
        Images.
    poolings
        Some of `flat` (all activations) and `mean` (global average per channel).
    budget_bytes
        For the float32 activations of one pass; the network's own memory comes on top.

    Returns
    -------
    tuple of Pass
        In network order, each as full as the budget allows.

    Raises
    ------
    ValueError
        A single layer exceeds the budget.
    """
    passes: list[Pass] = []
    for layer in layers:
        num_bytes = _num_bytes(layer, num_samples, poolings)
        if num_bytes > budget_bytes:
            raise ValueError(_too_large(layer, num_bytes, num_samples, poolings, budget_bytes))
        if passes and passes[-1].num_bytes + num_bytes <= budget_bytes:
            passes[-1] = Pass((*passes[-1].layers, layer), passes[-1].num_bytes + num_bytes)
        else:
            passes.append(Pass((layer,), num_bytes))
    return tuple(passes)


def stream_pass(
    network: Network,
    pass_: Pass,
    load: Callable[[np.ndarray], np.ndarray],
    num_samples: int,
    *,
    poolings: tuple[str, ...],
    batch_size: int = 32,
    progress: Callable[[int, int], None] | None = None,
) -> dict[tuple[str, str], np.ndarray]:
    """Compute the activations of one pass in one run over the images.

    The network runs only as deep as the pass needs. Batches are always the same rows in the same shape, the last one
    filled up with its last image, so that a layer's numbers do not depend on the pass that it is in. Images of the next
    batch load while the network runs.

    Parameters
    ----------
    network, pass_
        What to run and what to keep.
    load
        From rows, int64 of shape (b,), to their images, float32 of shape (b, height, width, 3), pixels from 0 to 255 in
        the network's input size. Called in another thread, one batch at a time, in order.
    num_samples
        Images; rows are 0 to `num_samples` - 1.
    poolings
        Some of `flat` and `mean`; the mean over all axes but the channels is taken in float32 by TensorFlow.
    batch_size
        Images a batch.
    progress
        Called after each batch with the number of images done and `num_samples`.

    Returns
    -------
    dict from (layer, pooling) to numpy.ndarray
        Float32 of shape (num_samples, d); `input` gives the pixels as loaded.

    Raises
    ------
    ValueError
        `load` returns images of another shape or type. What `load` itself raises comes through unchanged.
    """
    if num_samples < 1 or batch_size < 1:
        raise ValueError(f"num_samples and batch_size must be at least 1; got {num_samples} and {batch_size}.")
    forward = _forward(network, pass_.layers, poolings, batch_size)
    activations = {
        (layer.layer, pooling): np.empty((num_samples, _width(layer, pooling)), np.float32)
        for layer in pass_.layers
        for pooling in poolings_of(layer, poolings)
    }
    for rows, images in _batches(load, num_samples, batch_size):
        _check_images(images, rows.size, network.input_size)
        outputs = forward(np.pad(images, [(0, batch_size - rows.size), (0, 0), (0, 0), (0, 0)], mode="edge"))
        for kept, output in zip(activations.values(), outputs, strict=True):
            kept[rows[0] : rows[-1] + 1] = output.numpy()[: rows.size]
        if progress is not None:
            progress(int(rows[-1]) + 1, num_samples)
    return activations


def _width(layer: LayerInfo, pooling: str) -> int:
    return layer.num_features if pooling == "flat" else layer.channels


def _num_bytes(layer: LayerInfo, num_samples: int, poolings: tuple[str, ...]) -> int:
    return 4 * num_samples * sum(_width(layer, pooling) for pooling in poolings_of(layer, poolings))


def _too_large(layer: LayerInfo, num_bytes: int, num_samples: int, poolings: tuple[str, ...], budget_bytes: int) -> str:
    ways = ["raise --memory", "take fewer samples with --per-class"]
    if "flat" in poolings and layer.spatial:
        mean = _num_bytes(layer, num_samples, ("mean",))
        ways.insert(1, f"choose --pooling mean ({_in_words(mean)})")
    return (
        f"budget_bytes must hold every single layer; {layer.layer} needs {_in_words(num_bytes)} for {num_samples} "
        f"samples, got {_in_words(budget_bytes)}. To go on, {', or '.join(ways)}."
    )


def _in_words(num_bytes: float) -> str:
    for unit in ("bytes", "KiB", "MiB"):
        if num_bytes < 1024:
            return f"{num_bytes:.4g} {unit}"
        num_bytes /= 1024
    return f"{num_bytes:.4g} GiB"


def _batches(
    load: Callable[[np.ndarray], np.ndarray], num_samples: int, batch_size: int
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Rows and images, batch by batch, the next batch loading meanwhile."""
    batches = [np.arange(i, min(i + batch_size, num_samples)) for i in range(0, num_samples, batch_size)]
    with ThreadPoolExecutor(max_workers=1, thread_name_prefix="load-images") as executor:
        upcoming = executor.submit(load, batches[0])
        for rows, following in zip(batches, [*batches[1:], None], strict=True):
            images = upcoming.result()
            if following is not None:
                upcoming = executor.submit(load, following)
            yield rows, images


def _check_images(images: np.ndarray, num_rows: int, input_size: tuple[int, int]) -> None:
    expected = (num_rows, *input_size, 3)
    if images.shape != expected or images.dtype != np.float32:
        raise ValueError(
            f"load must return float32 images of shape {expected}; got {images.dtype} of shape {images.shape}. "
            "Resize the images to the network's input size."
        )


def _forward(
    network: Network, layers: Sequence[LayerInfo], poolings: tuple[str, ...], batch_size: int
) -> Callable[[np.ndarray], list[Any]]:
    """The network up to the deepest of the layers, with all that is wanted as its outputs."""
    import keras
    import tensorflow as tf

    tensors = layer_tensors(network.model)
    model = keras.Model(network.model.inputs[0], {layer.layer: tensors[layer.layer] for layer in layers})

    @tf.function(input_signature=[tf.TensorSpec((batch_size, *network.input_size, 3), tf.float32)])
    def forward(images: Any) -> list[Any]:
        outputs = model(images, training=False)
        return [
            _pool(tf.cast(outputs[layer.layer], tf.float32), pooling)
            for layer in layers
            for pooling in poolings_of(layer, poolings)
        ]

    return forward


def _pool(activations: Any, pooling: str) -> Any:
    import tensorflow as tf

    if pooling == "mean":
        return tf.reduce_mean(activations, axis=range(1, len(activations.shape) - 1))
    return tf.reshape(activations, (activations.shape[0], -1))
