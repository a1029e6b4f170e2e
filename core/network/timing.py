"""The time that a network takes from the pixels to one of its layers, measured on this machine."""

import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Union

import numpy as np
from numpy.typing import NDArray

from core.network.catalogue import layer_tensors
from core.network.models.registry import Network
from core.network.operations import connect

if TYPE_CHECKING:
    import keras

_NetworkOrModel = Union[Network, "keras.Model"]
Clock = Callable[[], float]


def prefix_rounds(
    network: _NetworkOrModel,
    layers: Sequence[str],
    *,
    batch_size: int = 32,
    repeats: int = 5,
    clock: Clock = time.perf_counter,
) -> dict[str, list[float]]:
    """Measure the time per image from the pixels to each of some layers, in several rounds.

    Only the network itself is timed, without loading and decoding images, pooling, or the search of neighbors. Each
    round runs every layer once, so that a temporary load of the machine slows all layers down. The fastest round of a
    layer is the least disturbed one; the variation of the ratio of two layers between rounds shows the disturbance.

    Parameters
    ----------
    network : Network or keras.Model
        The network.
    layers : sequence of str
        Names as in `core.network.catalogue.catalogue`.
    batch_size : int
        Images per run.
    repeats : int
        Number of rounds, after one round for warming up.
    clock : callable
        Returns the time in seconds.

    Returns
    -------
    dict of str to list of float
        For each layer the seconds per image in each round; exactly 0 for the pixels.

    Raises
    ------
    ValueError
        If the network does not have a layer, or if `batch_size` or `repeats` is below 1.
    """
    rounds = _rounds([(network, layer) for layer in layers], batch_size, repeats, clock)
    return {layer: rounds[:, column].tolist() for column, layer in enumerate(layers)}


def interleaved_prefix_seconds(
    prefixes: Sequence[tuple[_NetworkOrModel, str]],
    *,
    batch_size: int = 32,
    repeats: int = 3,
    clock: Clock = time.perf_counter,
) -> list[float]:
    """Measure the time per image of several networks, each up to a layer, for comparison.

    Each round runs every network once, as in `prefix_rounds`; the fastest round counts.

    Parameters
    ----------
    prefixes : sequence of (Network or keras.Model, str)
        Networks, each with the name of the layer up to which it runs.
    batch_size : int
        Images per run.
    repeats : int
        Number of rounds, after one round for warming up.
    clock : callable
        Returns the time in seconds.

    Returns
    -------
    list of float
        Seconds per image, in the order of `prefixes`.
    """
    seconds: list[float] = _rounds(prefixes, batch_size, repeats, clock).min(axis=0).tolist()
    return seconds


def _rounds(
    prefixes: Sequence[tuple[_NetworkOrModel, str]], batch_size: int, repeats: int, clock: Clock
) -> NDArray[np.float64]:
    """Return the seconds per image, shape (rounds, prefixes), measured after one round for warming up."""
    for name, value in (("batch_size", batch_size), ("repeats", repeats)):
        if value < 1:
            raise ValueError(f"{name} must be at least 1; got {value}.")
    runs = _build_runs(prefixes, batch_size)
    for run, _ in runs:
        run()
    elapsed_s = np.zeros((repeats, len(runs)))
    for row in elapsed_s:
        row[:] = [_elapsed_s(run, clock) for run, _ in runs]
    are_pixels = np.array([is_pixels for _, is_pixels in runs], dtype=bool)
    return np.where(are_pixels, 0.0, elapsed_s / batch_size)


def _elapsed_s(run: Callable[[], Any], clock: Clock) -> float:
    began = clock()
    run()
    return clock() - began


def _build_runs(
    prefixes: Sequence[tuple[_NetworkOrModel, str]], batch_size: int
) -> list[tuple[Callable[[], Any], bool]]:
    """Return for each prefix a function that runs it once on random pixels, and whether it ends at the pixels."""
    tensors: dict[int, dict[str, Any]] = {}  # by model: listing the operations of a network takes a while
    runs = []
    for network, layer in prefixes:
        model = network.model if isinstance(network, Network) else network
        if id(model) not in tensors:
            tensors[id(model)] = layer_tensors(model)
        if layer not in tensors[id(model)]:
            raise ValueError(
                f"layers must be in the network's catalogue; {model.name} has no {layer!r}. "
                "`python -m core layers MODEL` lists them."
            )
        pixels, output = model.inputs[0], tensors[id(model)][layer]
        runs.append((_build_run(pixels, output, batch_size), output is pixels))
    return runs


def _build_run(pixels: Any, output: Any, batch_size: int) -> Callable[[], Any]:
    import tensorflow as tf

    prefix = connect(pixels, output)
    shape = (batch_size, *pixels.shape[1:])
    images = tf.cast(np.random.default_rng(0).uniform(0, 255, shape), pixels.dtype)
    forward = tf.function(lambda batch: prefix(batch, training=False))
    traced = forward.get_concrete_function(tf.TensorSpec(shape, pixels.dtype))

    def run() -> None:
        # The call may return while a device is still computing; reading one number waits for the result.
        traced(images)[(0,) * len(output.shape)].numpy()

    return run
