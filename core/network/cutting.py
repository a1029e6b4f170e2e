"""A network cut at a layer: its lower part as a model of its own, classifiers on top, and a block taken out.

What comes back consists of Keras's own layers, so that a saved file loads without this project.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from core.network.catalogue import open_network, shortcuts
from core.network.layer_names import name_hint
from core.network.operations import connect, with_distinct_names

if TYPE_CHECKING:
    import keras

POOLINGS = ("mean", "flat", "none")


def cut_network(model: "keras.Model", layer: str, *, pooling: str = "mean") -> "keras.Model":
    """The network from its images to one layer; layers above it are not part of the result, all others are shared.

    The result has no nested models. Where two of them have layers of one name, copies of these are part of the result,
    named by their paths, such as `left_conv1`.

    Parameters
    ----------
    model : a network on raw pixels.
    layer : a name as in `core.network.catalogue.catalogue`.
    pooling : "mean" (over all axes but the channels), "flat" (all activations, shape (n, d)) or "none" (as they are);
        all the same for a layer without space.

    Raises
    ------
    ValueError
        An unknown layer (the message names similar ones) or pooling.
    """
    import keras

    if pooling not in POOLINGS:
        raise ValueError(f"pooling must be one of {', '.join(POOLINGS)}; got {pooling!r}.")
    opened = open_network(model)
    output = opened.tensors[known_layer(layer, opened.tensors)]
    spatial = len(output.shape) > 2
    if pooling == "mean" and spatial:
        output = _global_average(len(output.shape) - 2)(output)
    if pooling == "flat" and spatial:
        output = keras.layers.Flatten(name="cut_flat")(output)
    name = f"{model.name}_to_{layer}".replace("/", "_")  # Keras admits no slash
    return with_distinct_names(connect(model.inputs[0], output, name=name), opened.steps)


def known_layer(layer: str, layers: Sequence[str] | Mapping[str, Any]) -> str:
    """The name itself, if it is one of these layers.

    Raises
    ------
    ValueError
        It is not; the message names similar ones.
    """
    if layer in layers:
        return layer
    raise ValueError(f"layer must be a layer of the network; got {layer!r}. {name_hint(list(layers), layer)}")


def linear_head(weights: ArrayLike, offsets: ArrayLike) -> "keras.Model":
    """A linear classifier: features of shape (n, d) to scores of shape (n, classes), of which the largest wins.

    Parameters
    ----------
    weights, offsets : shapes (d, classes) and (classes,).
    """
    import keras

    kernel = np.asarray(weights, np.float32)
    features = keras.Input(kernel.shape[:1], name="features")
    dense = keras.layers.Dense(kernel.shape[1], name="scores")
    model = keras.Model(features, dense(features), name="linear_head")
    dense.set_weights([kernel, np.asarray(offsets, np.float32)])
    return model


def nearest_head(features: ArrayLike, codes: ArrayLike, num_classes: int) -> "keras.Model":
    """The class of the nearest training sample: features of shape (n, d) to 1 for that class and 0 for all others.

    Largest is x·t − |t|²/2 where |x − t|² is least; both are centered first, so that float32 serves. Samples whose
    distances differ by less than its rounding may be taken for one another; the first of equal ones wins.

    Parameters
    ----------
    features : of the m training samples, shape (m, d). codes : int, shape (m,): their classes, from 0.
    """
    import keras

    known = np.asarray(features, np.float64)
    center = known.mean(axis=0).astype(np.float32)
    known -= center
    layers = keras.layers
    given = keras.Input(known.shape[1:], name="features")
    centered = layers.Normalization(mean=center, variance=np.ones_like(center), name="centered")(given)
    closeness = layers.Dense(len(known), name="closeness")
    votes = layers.Embedding(len(known), num_classes, name="votes")
    nearest = keras.ops.argmax(closeness(centered), axis=-1)
    model = keras.Model(given, votes(nearest), name="nearest_head")
    closeness.set_weights([known.T.astype(np.float32), (-(known**2).sum(axis=1) / 2).astype(np.float32)])
    votes.set_weights([np.eye(num_classes, dtype=np.float32)[np.asarray(codes)]])
    return model


def with_head(cut: "keras.Model", head: "keras.Model") -> "keras.Model":
    """From images to what the head makes of a cut network's features."""
    import keras

    return keras.Model(cut.inputs[0], head(cut.outputs[0]), name=cut.name)


def residual_layers(model: "keras.Model") -> tuple[str, ...]:
    """The sums that end a residual block which can be bypassed: all that comes after depends on the sum alone."""
    return tuple(shortcuts(open_network(model)))


def bypass_blocks(model: "keras.Model", groups: Sequence[Sequence[str]]) -> "keras.Model":
    """A network and, beside it, one variant for each group of residual blocks, in which these are taken out together.

    In place of a block's sum its shortcut goes on: the input of the block, or what a projection on the shortcut makes
    of it.

    Parameters
    ----------
    groups : of sums, each one of those that `residual_layers` names.

    Returns
    -------
    keras.Model
        From images to a list: the network's output, then that of the variants, in the given order. The variants share
        all weights and, up to their first block, all of the work.

    Raises
    ------
    ValueError
        A layer that is no such sum.
    """
    opened = open_network(model)
    tensors, shortcut_of = opened.tensors, shortcuts(opened)
    for layer in (layer for group in groups for layer in group):
        if layer not in shortcut_of:
            raise ValueError(
                f"groups must be of sums that end residual blocks; got {layer!r}. "
                f"This network has {', '.join(shortcut_of) or 'none'}."
            )
    order, whole = list(shortcut_of), opened.outputs[0]
    variants = []
    for group in groups:
        reached, given = model.inputs[0], model.inputs[0]  # a tensor of the network, and what stands in its place
        for layer in sorted(group, key=order.index):
            given = _between(reached, shortcut_of[layer], given)
            reached = tensors[layer]
        variants.append(_between(reached, whole, given))
    return connect(model.inputs[0], [whole, *variants], name=f"{model.name}_bypassed")


def _between(start: Any, end: Any, given: Any) -> Any:
    """What the network makes of `given` from one of its tensors to another."""
    if start is given:
        return end
    return given if start is end else connect(start, end)(given)


def largest_units(
    model: "keras.Model",
    load: Callable[[NDArray[np.int64]], NDArray[np.float32]],
    num_samples: int,
    *,
    batch_size: int = 32,
    progress: Callable[[int, int], None] | None = None,
) -> NDArray[np.int64]:
    """Which unit of each output of a network is the largest, image by image: what a classifier names.

    Parameters
    ----------
    model : with outputs of shape (n, units), such as `bypass_blocks` gives.
    load : from rows, int64 of shape (b,), to their images, float32 of shape (b, height, width, 3).
    progress : called after each batch with the number of images done and `num_samples`.

    Returns
    -------
    int64, shape (outputs, num_samples)

    Raises
    ------
    ValueError
        An output has space: the network has no head.
    """
    import keras
    import tensorflow as tf

    for tensor in model.outputs:
        if len(tensor.shape) != 2:
            raise ValueError(f"model must end in one number a class; got an output of shape {tensor.shape[1:]}.")

    @tf.function(reduce_retracing=True)
    def named(images: Any) -> Any:
        return [tf.argmax(output, axis=1) for output in keras.tree.flatten(model(images, training=False))]

    found = np.empty((len(model.outputs), num_samples), np.int64)
    for start in range(0, num_samples, batch_size):
        rows = np.arange(start, min(start + batch_size, num_samples))
        found[:, rows] = [units.numpy() for units in named(tf.constant(load(rows)))]
        if progress is not None:
            progress(int(rows[-1]) + 1, num_samples)
    return found


def _global_average(num_axes: int) -> Any:
    import keras

    return getattr(keras.layers, f"GlobalAveragePooling{num_axes}D")(name="cut_mean")
