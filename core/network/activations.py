"""Activations of many layers at once, streamed in passes over the images that each fit a memory budget."""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from core.network.backbones import Network
from core.network.layers import LayerInfo, layer_tensors

POOLINGS = ("flat", "mean")
SLICE_STEP = 16384  # slices begin at multiples of so many columns, as the search over them needs

Allocate = Callable[[tuple[str, str], tuple[int, int]], NDArray[np.float32]]


@dataclass(frozen=True)
class Pass:
    """Layers that are computed together, and the memory that their activations take.

    layers : in network order; a single one where it has slices or is spooled.
    num_bytes : of their activations, or of the largest slice and what the search over slices holds beside it.
    slices : columns of the flattened activations that are in memory at once, where the layer is too large for more;
        each takes a run of the network of its own.
    spooled_bytes : of the activations, where they are kept in a file instead.
    """

    layers: tuple[LayerInfo, ...]
    num_bytes: int
    slices: tuple[slice, ...] = ()
    spooled_bytes: int = 0

    @property
    def num_runs(self) -> int:
        """Runs of the network over the images; slices are seen twice, but for the one that is still there."""
        return max(1, 2 * len(self.slices) - 1)


def poolings_of(layer: LayerInfo, poolings: tuple[str, ...]) -> tuple[str, ...]:
    """Return the forms in which a layer appears: as asked, but once, as `flat`, where there is no space to average."""
    unknown = [pooling for pooling in poolings if pooling not in POOLINGS]
    if unknown or not poolings:
        raise ValueError(f"poolings must be some of {POOLINGS}; got {poolings}.")
    return poolings if layer.spatial else ("flat",)


def plan_passes(
    layers: Sequence[LayerInfo],
    num_samples: int,
    poolings: tuple[str, ...],
    budget_bytes: int,
    *,
    search_bytes: int = 0,
    spool: bool = False,
) -> tuple[Pass, ...]:
    """Divide layers into passes whose activations fit the budget.

    A layer that does not fit becomes a pass of its own: spooled where that is allowed, else in slices as wide as fit.

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
    search_bytes
        What the search over slices holds beside a slice; it counts against the budget.
    spool
        Whether layers that do not fit are kept in files.

    Returns
    -------
    tuple of Pass
        In network order, each as full as the budget allows.

    Raises
    ------
    ValueError
        A single layer exceeds the budget, and so does its narrowest slice with the search over it.
    """
    passes: list[Pass] = []
    open_ = False  # whether the last pass may take more layers
    for layer in layers:
        num_bytes = _num_bytes(layer, num_samples, poolings)
        if num_bytes > budget_bytes:
            passes.append(
                Pass((layer,), 0, spooled_bytes=num_bytes)
                if spool
                else _sliced(layer, num_samples, poolings, budget_bytes, search_bytes)
            )
            open_ = False
        elif open_ and passes[-1].num_bytes + num_bytes <= budget_bytes:
            passes[-1] = Pass((*passes[-1].layers, layer), passes[-1].num_bytes + num_bytes)
        else:
            passes.append(Pass((layer,), num_bytes))
            open_ = True
    return tuple(passes)


def stream_pass(
    network: Network,
    pass_: Pass,
    load: Callable[[np.ndarray], np.ndarray],
    num_samples: int,
    *,
    poolings: tuple[str, ...],
    batch_size: int = 32,
    columns: slice | None = None,
    allocate: Allocate | None = None,
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
    columns
        Columns of the flattened activations that are kept; default all. Means are kept whole.
    allocate
        Makes the array for a (layer, pooling) and a shape, such as one in a file; default in memory.
    progress
        Called after each batch with the number of images done and `num_samples`.

    Returns
    -------
    dict from (layer, pooling) to numpy.ndarray
        Float32 of shape (num_samples, d), or of as many columns as asked for; `input` gives the pixels as loaded.

    Raises
    ------
    ValueError
        `load` returns images of another shape or type. What `load` itself raises comes through unchanged.
    """
    if num_samples < 1 or batch_size < 1:
        raise ValueError(f"num_samples and batch_size must be at least 1; got {num_samples} and {batch_size}.")
    forward = _forward(network, pass_.layers, poolings, batch_size, columns)
    allocate = allocate or (lambda key, shape: np.empty(shape, np.float32))
    activations = {
        (layer.layer, pooling): allocate((layer.layer, pooling), (num_samples, _width(layer, pooling, columns)))
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


def _width(layer: LayerInfo, pooling: str, columns: slice | None = None) -> int:
    if pooling == "mean":
        return layer.channels
    return len(range(layer.num_features)[columns or slice(None)])


def _num_bytes(layer: LayerInfo, num_samples: int, poolings: tuple[str, ...]) -> int:
    return 4 * num_samples * sum(_width(layer, pooling) for pooling in poolings_of(layer, poolings))


def _sliced(
    layer: LayerInfo, num_samples: int, poolings: tuple[str, ...], budget_bytes: int, search_bytes: int
) -> Pass:
    """A layer in as few slices as fit, of nearly equal width."""
    if "flat" not in poolings or not layer.spatial or layer.num_features <= SLICE_STEP:
        needed = _num_bytes(layer, num_samples, poolings)
        raise ValueError(_too_large(layer, needed, num_samples, poolings, budget_bytes))
    beside = search_bytes + (4 * num_samples * layer.channels if "mean" in poolings else 0)
    step_bytes = 4 * num_samples * SLICE_STEP
    steps, most = -(-layer.num_features // SLICE_STEP), (budget_bytes - beside) // step_bytes
    if most < 1:
        least = beside + step_bytes
        raise ValueError(_too_large(layer, least, num_samples, poolings, budget_bytes))
    bounds = np.linspace(0, steps, -(-steps // most) + 1).round().astype(int) * SLICE_STEP
    bounds[-1] = layer.num_features
    slices = tuple(slice(int(start), int(stop)) for start, stop in pairwise(bounds))
    widest = max(part.stop - part.start for part in slices)
    return Pass((layer,), beside + 4 * num_samples * widest, slices)


def _too_large(layer: LayerInfo, needed: int, num_samples: int, poolings: tuple[str, ...], budget_bytes: int) -> str:
    whole = _num_bytes(layer, num_samples, poolings)
    ways = ["raise --memory", f"give a folder with --spool ({_in_words(whole)})", "take fewer samples with --per-class"]
    if "flat" in poolings and layer.spatial:
        mean = _num_bytes(layer, num_samples, ("mean",))
        ways.insert(2, f"choose --pooling mean ({_in_words(mean)})")
    at_least = "" if needed == whole else f", and {_in_words(needed)} slice by slice"
    return (
        f"budget_bytes must hold every single layer; {layer.layer} needs {_in_words(whole)} for {num_samples} "
        f"samples{at_least}, got {_in_words(budget_bytes)}. To go on, {', or '.join(ways)}."
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
    network: Network,
    layers: Sequence[LayerInfo],
    poolings: tuple[str, ...],
    batch_size: int,
    columns: slice | None,
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
            _pool(tf.cast(outputs[layer.layer], tf.float32), pooling, columns)
            for layer in layers
            for pooling in poolings_of(layer, poolings)
        ]

    return forward


def _pool(activations: Any, pooling: str, columns: slice | None) -> Any:
    import tensorflow as tf

    if pooling == "mean":
        return tf.reduce_mean(activations, axis=range(1, len(activations.shape) - 1))
    flat = tf.reshape(activations, (activations.shape[0], -1))
    return flat if columns is None else flat[:, columns]
