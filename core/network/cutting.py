"""Parts of a network as new models: the network up to a layer, classifier heads on top, and bypassed residual blocks.

The new models consist of Keras's own layers only, so that a saved file loads without this project.
"""

import itertools
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from core.network.catalogue import open_network, shortcuts, with_tokens
from core.network.layer_names import name_hint
from core.network.operations import connect, with_distinct_names

if TYPE_CHECKING:
    import keras

POOLINGS = ("mean", "flat", "none")


def cut_network(model: "keras.Model", layer: str, *, pooling: str = "mean", tokens: str = "auto") -> "keras.Model":
    """Return the network from its images up to one layer; the new model shares these layers with the network.

    Nested models are expanded. If two of them have layers of the same name, the new model contains copies of these
    layers, named by their paths, such as `left_conv1`.

    Parameters
    ----------
    model : keras.Model
        A network that takes raw pixels.
    layer : str
        Name of a layer as in `core.network.catalogue.catalogue`.
    pooling : {"mean", "flat", "none"}
        "mean" averages over all axes but the channels; "flat" gives all activations, shape (n, d); "none" leaves the
        activations as they are. Without effect for a layer without spatial axes or tokens.
    tokens : {"auto", "mean", "class"}
        What "mean" takes of a layer of tokens; see `core.network.catalogue.with_tokens`.

    Raises
    ------
    ValueError
        If the layer (the message names similar ones) or the pooling is unknown.
    """
    import keras

    if pooling not in POOLINGS:
        raise ValueError(f"pooling must be one of {', '.join(POOLINGS)}; got {pooling!r}.")
    opened = open_network(model)
    output = opened.tensors[known_layer(layer, opened.tensors)]
    info = next(info for info in with_tokens(opened.layers, tokens) if info.layer == layer)
    spatial = len(output.shape) > 2
    if pooling == "mean" and spatial:
        token = info.class_token
        output = _global_average(output, info.is_transposed) if token is None else output[:, token]
    if pooling == "flat" and spatial:
        output = keras.layers.Flatten(name="cut_flat")(output)
    name = f"{model.name}_to_{layer}".replace("/", "_")  # Keras does not allow slashes in names
    return with_distinct_names(connect(model.inputs[0], output, name=name), opened.steps)


def known_layer(layer: str, layers: Sequence[str] | Mapping[str, Any]) -> str:
    """Return the name of a layer, after checking that it is one of the given layers.

    Raises
    ------
    ValueError
        If it is not; the message names similar layers.
    """
    if layer in layers:
        return layer
    raise ValueError(f"layer must be a layer of the network; got {layer!r}. {name_hint(list(layers), layer)}")


def linear_head(weights: ArrayLike, offsets: ArrayLike) -> "keras.Model":
    """Return a linear classifier from features of shape (n, d) to one score per class, shape (n, classes).

    Parameters
    ----------
    weights : array-like, shape (d, classes)
        Weights of the features.
    offsets : array-like, shape (classes,)
        Constant terms.
    """
    import keras

    kernel = np.asarray(weights, np.float32)
    features = keras.Input(kernel.shape[:1], name="features")
    dense = keras.layers.Dense(kernel.shape[1], name="scores")
    model = keras.Model(features, dense(features), name="linear_head")
    dense.set_weights([kernel, np.asarray(offsets, np.float32)])
    return model


def nearest_head(features: ArrayLike, codes: ArrayLike, num_classes: int) -> "keras.Model":
    """Return a 1-nearest-neighbor classifier from features of shape (n, d) to one-hot classes, shape (n, num_classes).

    The squared distance |x − t|² of a sample x to a training sample t is smallest where x·t − |t|²/2 is largest, which
    a dense layer computes. All samples are centered first to reduce rounding errors in float32. Training samples whose
    distances differ by less than the rounding error may be confused; among equal ones the first is the nearest.

    Parameters
    ----------
    features : array-like, shape (m, d)
        Features of the training samples.
    codes : array-like of int, shape (m,)
        Their classes, from 0.
    num_classes : int
        Number of classes.
    """
    import keras

    training = np.asarray(features, np.float64)
    center = training.mean(axis=0).astype(np.float32)
    training -= center
    layers = keras.layers
    inputs = keras.Input(training.shape[1:], name="features")
    centered = layers.Normalization(mean=center, variance=np.ones_like(center), name="centered")(inputs)
    closeness = layers.Dense(len(training), name="closeness")
    votes = layers.Embedding(len(training), num_classes, name="votes")
    nearest = keras.ops.argmax(closeness(centered), axis=-1)
    model = keras.Model(inputs, votes(nearest), name="nearest_head")
    closeness.set_weights([training.T.astype(np.float32), (-(training**2).sum(axis=1) / 2).astype(np.float32)])
    votes.set_weights([np.eye(num_classes, dtype=np.float32)[np.asarray(codes)]])
    return model


def with_head(cut: "keras.Model", head: "keras.Model") -> "keras.Model":
    """Return the model that applies a head to the features of a cut network."""
    import keras

    return keras.Model(cut.inputs[0], head(cut.outputs[0]), name=cut.name)


def residual_layers(model: "keras.Model") -> tuple[str, ...]:
    """Return the names of the sums that end a residual block that can be bypassed.

    These are the sums that all later layers depend on alone.
    """
    return tuple(shortcuts(open_network(model)))


def bypass_blocks(model: "keras.Model", groups: Sequence[Sequence[str]]) -> "keras.Model":
    """Return a model with the output of a network and of variants in which residual blocks are bypassed.

    A bypassed block is replaced by its shortcut: the input of the block, or the result of a projection on the shortcut.

    Parameters
    ----------
    model : keras.Model
        A network with residual blocks.
    groups : sequence of sequence of str
        One variant is made for each group, in which all blocks of the group are bypassed. A block is given by the name
        of its sum, as in `residual_layers`.

    Returns
    -------
    keras.Model
        From images to a list: the output of the network, then those of the variants, in the given order. The variants
        share all weights and, up to their first bypassed block, all computations.

    Raises
    ------
    ValueError
        If a name is not that of such a sum.
    """
    opened = open_network(model)
    tensors, shortcut_of = opened.tensors, shortcuts(opened)
    for layer in itertools.chain.from_iterable(groups):
        if layer not in shortcut_of:
            raise ValueError(
                f"groups must name sums that end residual blocks; got {layer!r}. "
                f"This network has {', '.join(shortcut_of) or 'none'}."
            )
    order, network_output = list(shortcut_of), opened.outputs[0]
    variants = []
    for group in groups:
        # `tensor` is a tensor of the network, and `replacement` takes its place in the variant.
        tensor, replacement = model.inputs[0], model.inputs[0]
        for layer in sorted(group, key=order.index):
            replacement = _apply_between(tensor, shortcut_of[layer], replacement)
            tensor = tensors[layer]
        variants.append(_apply_between(tensor, network_output, replacement))
    return connect(model.inputs[0], [network_output, *variants], name=f"{model.name}_bypassed")


def _apply_between(start: Any, end: Any, tensor: Any) -> Any:
    """Apply the part of the network between two of its tensors to another tensor."""
    if start is tensor:
        return end
    if start is end:
        return tensor
    return connect(start, end)(tensor)


def largest_units(
    model: "keras.Model",
    load: Callable[[NDArray[np.int64]], NDArray[np.float32]],
    num_samples: int,
    *,
    batch_size: int = 32,
    progress: Callable[[int, int], None] | None = None,
) -> NDArray[np.int64]:
    """Return the index of the largest unit of each output for each image: the class that a classifier predicts.

    Parameters
    ----------
    model : keras.Model
        A model with outputs of shape (n, units), such as the result of `bypass_blocks`.
    load : callable
        Takes rows, int64 of shape (b,), and returns their images, float32 of shape (b, height, width, 3).
    num_samples : int
        Number of images; the rows are 0 to `num_samples` - 1.
    batch_size : int
        Images per batch.
    progress : callable, optional
        Called after each batch with the number of images done and `num_samples`.

    Returns
    -------
    np.ndarray, int64, shape (outputs, num_samples)

    Raises
    ------
    ValueError
        If an output has spatial axes, as in a network without a head.
    """
    import keras
    import tensorflow as tf

    for tensor in model.outputs:
        if len(tensor.shape) != 2:
            raise ValueError(f"model must end in one number per class; got an output of shape {tensor.shape[1:]}.")

    @tf.function(reduce_retracing=True)
    def predict(images: Any) -> Any:
        return [tf.argmax(output, axis=1) for output in keras.tree.flatten(model(images, training=False))]

    predictions = np.empty((len(model.outputs), num_samples), np.int64)
    for start in range(0, num_samples, batch_size):
        rows = np.arange(start, min(start + batch_size, num_samples))
        predictions[:, rows] = [units.numpy() for units in predict(tf.constant(load(rows)))]
        if progress is not None:
            progress(int(rows[-1]) + 1, num_samples)
    return predictions


def _global_average(output: Any, is_transposed: bool) -> Any:
    import keras

    pooling = getattr(keras.layers, f"GlobalAveragePooling{len(output.shape) - 2}D")
    data_format = "channels_first" if is_transposed else "channels_last"
    return pooling(data_format=data_format, name="cut_mean")(output)
