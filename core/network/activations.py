"""Computation of the activations of several layers in one run of the network over the images."""

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from core.network.catalogue import LayerInfo, layer_tensors
from core.network.kernels import for_threads, threads_per_operation
from core.network.models.registry import Network
from core.network.operations import connect
from core.network.passes import Pass, poolings_of
from core.network.tokens import channel_means

Allocate = Callable[[tuple[str, str], tuple[int, int]], NDArray[np.float32]]
Forward = Callable[[np.ndarray], list[Any]]  # a batch through the network, to all that is wanted of it

CPU_BATCH, GPU_BATCH = 8, 32  # images in a batch: few stay in a processor's cache from one operation to the next
_MOST_AT_ONCE = 8


def stream_pass(
    network: Network,
    pass_: Pass,
    load: Callable[[np.ndarray], np.ndarray],
    num_samples: int,
    *,
    poolings: tuple[str, ...],
    batch_size: int = CPU_BATCH,
    columns: slice | None = None,
    allocate: Allocate | None = None,
    start: NDArray[np.float32] | None = None,
    forward: Forward | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> dict[tuple[str, str], np.ndarray]:
    """Compute the activations of one pass in one run over the images.

    The network runs only up to the deepest layer of the pass. Batches always consist of the same rows in the same
    shape, the last one filled up with its last image, so that the activations of a layer do not depend on the pass that
    it is in. Several batches are in the network at once, so that a core that has done its share of an operation goes on
    with another batch, and the images of the next one are loaded meanwhile. A run that starts at a boundary gives the
    same bits as one from the pixels.

    Parameters
    ----------
    network : Network
        The network.
    pass_ : Pass
        The layers to compute.
    load : callable
        Takes rows, int64 of shape (b,); returns their images, float32 of shape (b, height, width, 3), pixels from 0 to
        255, in the network's input size. Called in another thread, one batch at a time, in order.
    num_samples : int
        Number of images; the rows are 0 to `num_samples` - 1.
    poolings : tuple of str
        One or both of `flat` and `mean`; TensorFlow computes the mean over all axes but the channels in float32. In
        place of the mean, a layer with a class token has that token.
    batch_size : int
        Images per batch.
    columns : slice, optional
        Columns of the flattened activations to return; default all. Means are always returned completely.
    allocate : callable, optional
        Takes (layer, pooling) and a shape; returns the array for the result, such as one in a file. Default: a new
        array in memory.
    start : np.ndarray, float32, shape (num_samples, d), optional
        Activations of the boundary `pass_.start`: the network starts there, and no images are loaded. Default: the
        network starts at the pixels.
    forward : callable, optional
        The result of `compile_pass` for the same arguments, to share it between runs; default: compiled for this run.
    progress : callable, optional
        Called after each batch with the number of images done and `num_samples`.

    Returns
    -------
    dict of (str, str) to np.ndarray, float32, shape (num_samples, d)
        Activations by layer and pooling, with d restricted to `columns`; `input` has the pixels as loaded. The boundary
        `pass_.keep` is included as `flat`, unless it is `pass_.start` and was given.

    Raises
    ------
    ValueError
        If `load` returns images of another shape or type, or `start` does not have the shape and type of its boundary.
        Errors raised by `load` are passed on unchanged.
    """
    if num_samples < 1 or batch_size < 1:
        raise ValueError(f"num_samples and batch_size must be at least 1; got {num_samples} and {batch_size}.")
    boundary = None if start is None else pass_.start
    if start is not None:
        load = partial(_rows_of, start, _check_start(start, boundary, num_samples))
    input_shape = (*network.input_size, 3) if boundary is None else boundary.output_shape
    wanted = _wanted(pass_, poolings, columns, boundary)
    forward = forward or for_threads(_forward(network, wanted, batch_size, boundary))
    activations: dict[tuple[str, str], NDArray[np.float32]] = {}
    for layer, pooling, part in wanted:
        key, shape = (layer.layer, pooling), (num_samples, _width(layer, pooling, part))
        activations[key] = allocate(key, shape) if allocate else np.empty(shape, np.float32)

    def compute(rows: np.ndarray, images: np.ndarray) -> None:
        _check_images(images, (rows.size, *input_shape))
        outputs = forward(_filled_up(images, batch_size))
        for result, output in zip(activations.values(), outputs, strict=True):
            result[rows[0] : rows[-1] + 1] = np.asarray(output)[: rows.size]  # a view: numpy() would copy first

    for num_done in _computed(load, compute, num_samples, batch_size):
        if progress is not None:
            progress(num_done, num_samples)
    return activations


def default_batch_size() -> int:
    """Return the number of images in a batch: `GPU_BATCH` where TensorFlow sees a GPU, else `CPU_BATCH`."""
    import tensorflow as tf

    return GPU_BATCH if tf.config.list_physical_devices("GPU") else CPU_BATCH


def batches_at_once() -> int:
    """Return the number of batches that are in the network at once: one for each core, from 2 to 8."""
    return max(2, min(threads_per_operation(), _MOST_AT_ONCE))


def compile_pass(
    network: Network,
    pass_: Pass,
    *,
    poolings: tuple[str, ...],
    batch_size: int = CPU_BATCH,
    boundary: LayerInfo | None = None,
) -> Forward:
    """Compile the network for a pass, for several runs of `stream_pass`.

    Parameters
    ----------
    network : Network
        The network.
    pass_ : Pass
        The layers to compute.
    poolings : tuple of str
        One or both of `flat` and `mean`.
    batch_size : int
        Images per batch.
    boundary : LayerInfo, optional
        `pass_.start` if the runs start there; default: they start at the pixels.
    """
    return for_threads(_forward(network, _wanted(pass_, poolings, None, boundary), batch_size, boundary))


_Wanted = tuple[LayerInfo, str, slice | None]  # layer, pooling, columns


def _wanted(pass_: Pass, poolings: tuple[str, ...], columns: slice | None, boundary: LayerInfo | None) -> list[_Wanted]:
    """List the outputs of a run: the layers of the pass, and the boundary for the next pass unless it is given."""
    wanted = [(layer, pooling, columns) for layer in pass_.layers for pooling in poolings_of(layer, poolings)]
    keep = pass_.keep
    if keep is None or keep == boundary or (keep, "flat", None) in wanted:
        return wanted
    return [*wanted, (keep, "flat", None)]


def _check_start(start: NDArray[np.float32], boundary: LayerInfo | None, num_samples: int) -> tuple[int, ...]:
    """Check the activations of a boundary; return their shape for one image."""
    if boundary is None:
        raise ValueError("start must go with a pass that has a boundary to start at; got one without. Leave start out.")
    if start.shape != (num_samples, boundary.num_features) or start.dtype != np.float32:
        raise ValueError(
            f"start must be the float32 activations of {boundary.layer}, shape {(num_samples, boundary.num_features)}; "
            f"got {start.dtype} of shape {start.shape}. Give what the pass before kept."
        )
    return boundary.output_shape


def _rows_of(start: NDArray[np.float32], shape: tuple[int, ...], rows: np.ndarray) -> np.ndarray:
    return start[rows[0] : rows[-1] + 1].reshape(-1, *shape)


def _width(layer: LayerInfo, pooling: str, columns: slice | None = None) -> int:
    if pooling == "mean":
        return layer.channels
    return len(range(layer.num_features)[columns or slice(None)])


def _computed(
    load: Callable[[np.ndarray], np.ndarray],
    compute: Callable[[np.ndarray, np.ndarray], None],
    num_samples: int,
    batch_size: int,
) -> Iterator[int]:
    """Load and compute batch by batch, some at once; yield the number of samples done after each, in order.

    Where a batch fails or the reader stops, batches that have begun are waited for, and no other begins.
    """
    loader = ThreadPoolExecutor(max_workers=1, thread_name_prefix="load-images")
    at_once = batches_at_once()
    runners = ThreadPoolExecutor(max_workers=at_once, thread_name_prefix="run-network")
    pending: deque[tuple[int, Future[None]]] = deque()

    def run(rows: np.ndarray, loaded: Future[np.ndarray]) -> None:
        compute(rows, loaded.result())

    try:
        for start in range(0, num_samples, batch_size):
            rows = np.arange(start, min(start + batch_size, num_samples))
            pending.append((start + rows.size, runners.submit(run, rows, loader.submit(load, rows))))
            if len(pending) > at_once:  # one more, which is loaded meanwhile
                yield _wait_for_first(pending)
        while pending:
            yield _wait_for_first(pending)
    finally:
        loader.shutdown(wait=True, cancel_futures=True)
        runners.shutdown(wait=True, cancel_futures=True)


def _wait_for_first(pending: deque[tuple[int, Future[None]]]) -> int:
    num_done, job = pending.popleft()
    job.result()
    return num_done


def _filled_up(images: np.ndarray, batch_size: int) -> np.ndarray:
    """Fill up a batch by repeating its last image; a full batch is returned without a copy."""
    missing = batch_size - len(images)
    return images if missing == 0 else np.concatenate([images, np.repeat(images[-1:], missing, axis=0)])


def _check_images(images: np.ndarray, expected: tuple[int, ...]) -> None:
    if images.shape != expected or images.dtype != np.float32:
        raise ValueError(
            f"load must return float32 images of shape {expected}; got {images.dtype} of shape {images.shape}. "
            "Resize the images to the network's input size."
        )


def _forward(network: Network, wanted: Sequence[_Wanted], batch_size: int, boundary: LayerInfo | None) -> Forward:
    """Compile the network from the boundary, or the pixels, to all wanted outputs."""
    import tensorflow as tf

    tensors = layer_tensors(network.model)
    begin = network.model.inputs[0] if boundary is None else tensors[boundary.layer]
    model = connect(begin, {layer.layer: tensors[layer.layer] for layer, _, _ in wanted})
    shape = (*network.input_size, 3) if boundary is None else boundary.output_shape

    @tf.function(input_signature=[tf.TensorSpec((batch_size, *shape), tf.float32)], autograph=False)
    def forward(images: Any) -> list[Any]:
        outputs = model(tf.cast(images, begin.dtype), training=False)
        return [_pool_first(outputs[layer.layer], layer, pooling, columns) for layer, pooling, columns in wanted]

    result: Forward = forward
    return result


def _pool_first(activations: Any, layer: LayerInfo, pooling: str, columns: slice | None) -> Any:
    """Pool activations, before anything else reads them where a mean is all that is wanted of them.

    TensorFlow then takes the mean while the activations are still in the cache, and the operation after it may
    overwrite them in place. The order changes no number.
    """
    import tensorflow as tf

    is_ordered = pooling == "mean" and not tf.executing_eagerly()
    readers = activations.consumers() if is_ordered else []
    pooled = _pool(tf.cast(activations, tf.float32), layer, pooling, columns)
    for reader in readers:
        reader._add_control_input(pooled.op)  # there is no public interface for an operation that is there already
    return pooled


def _pool(activations: Any, layer: LayerInfo, pooling: str, columns: slice | None) -> Any:
    import tensorflow as tf

    if pooling == "mean":
        return channel_means(activations, layer.class_token, layer.is_transposed)
    flat = tf.reshape(activations, (activations.shape[0], -1))
    return flat if columns is None else flat[:, columns]
