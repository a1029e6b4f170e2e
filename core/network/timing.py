"""How long a network takes from the pixels to one of its layers, measured on this machine."""

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

_Networks = Union[Network, "keras.Model"]  # a Keras model stands for itself


def prefix_rounds(
    network: _Networks, layers: Sequence[str], *, batch_size: int = 32, repeats: int = 5
) -> dict[str, list[float]]:
    """Seconds an image from the pixels to each of these layers in each round: the network cut there, nothing else.

    Loading and decoding images, pooling and the search of neighbors are left out. The layers take turns, once a round,
    so that a machine that is busy for a while slows all of them. The least of a layer's rounds is the least disturbed
    one; how far two layers' ratio differs between rounds tells how much the machine was disturbed.

    Parameters
    ----------
    network : a network, or its Keras model.
    layers : names as in `core.network.catalogue.catalogue`.
    batch_size : images a run. repeats : rounds, after one that warms up.

    Returns
    -------
    dict from layer to the seconds an image of each round, float > 0; exactly 0 for the pixels.

    Raises
    ------
    ValueError
        A layer that the network does not have, or a batch size or number of rounds below 1.
    """
    rounds = _rounds([(network, layer) for layer in layers], batch_size, repeats)
    return {layer: rounds[:, column].tolist() for column, layer in enumerate(layers)}


def interleaved_prefix_seconds(
    prefixes: Sequence[tuple[_Networks, str]], *, batch_size: int = 32, repeats: int = 3
) -> list[float]:
    """Seconds an image of each network up to a layer, in this order: the least of its rounds, all taking turns.

    For networks that are compared: each round runs every prefix of every network once, as in `prefix_rounds`.
    """
    seconds: list[float] = _rounds(prefixes, batch_size, repeats).min(axis=0).tolist()
    return seconds


def _rounds(prefixes: Sequence[tuple[_Networks, str]], batch_size: int, repeats: int) -> NDArray[np.float64]:
    """Seconds an image, shape (rounds, prefixes), after one round that warms up."""
    for name, value in (("batch_size", batch_size), ("repeats", repeats)):
        if value < 1:
            raise ValueError(f"{name} must be at least 1; got {value}.")
    runs = _runs(prefixes, batch_size)
    for run, _ in runs:
        run()
    elapsed_s = np.zeros((repeats, len(runs)))
    for row in elapsed_s:
        row[:] = [_elapsed_s(run) for run, _ in runs]
    are_pixels = np.array([is_pixels for _, is_pixels in runs], dtype=bool)
    return np.where(are_pixels, 0.0, elapsed_s / batch_size)


def _elapsed_s(run: Callable[[], Any]) -> float:
    began = time.perf_counter()
    run()
    return time.perf_counter() - began


def _runs(prefixes: Sequence[tuple[_Networks, str]], batch_size: int) -> list[tuple[Callable[[], Any], bool]]:
    """For each prefix, what runs it once on random pixels and waits for the result, and whether it is the pixels."""
    tensors: dict[int, dict[str, Any]] = {}  # by model, because walking its operations takes a while
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
        runs.append((_run(pixels, output, batch_size), output is pixels))
    return runs


def _run(pixels: Any, output: Any, batch_size: int) -> Callable[[], Any]:
    import tensorflow as tf

    prefix = connect(pixels, output)
    shape = (batch_size, *pixels.shape[1:])
    images = tf.cast(np.random.default_rng(0).uniform(0, 255, shape), pixels.dtype)
    forward = tf.function(lambda batch: prefix(batch, training=False))
    traced = forward.get_concrete_function(tf.TensorSpec(shape, pixels.dtype))

    def run() -> None:
        traced(images)[(0,) * len(output.shape)].numpy()  # one number of it: a device may still be computing

    return run
