"""Channel means of selected layers of a model during its training, computed in inference mode without side effects."""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from core.network.catalogue import LayerInfo, layer_tensors
from core.network.operations import connect
from core.network.tokens import channel_means

if TYPE_CHECKING:
    import keras

_MAX_MAIN, _MAX_OTHERS = 5, 3


def representative_layers(layers: Sequence[LayerInfo]) -> tuple[LayerInfo, ...]:
    """Choose a few layers from the whole depth of a network: five main layers, evenly spaced, and three of the head.

    The main layers are the last ones of their blocks if the network has five blocks or more.

    Parameters
    ----------
    layers : sequence of LayerInfo
        All layers, as listed by `core.network.catalogue.catalogue`.
    """
    main = [layer for layer in layers if layer.is_main]
    block_ends = list({layer.block: layer for layer in main}.values())
    others = [layer for layer in layers if not layer.spatial and layer.kind != "Input"]
    if not main:
        return tuple(others[-(_MAX_MAIN + _MAX_OTHERS) :])
    # Squeeze-excite branches have no spatial axes either, but lie in the middle of the network.
    head = [layer for layer in others if layer.position > main[-1].position]
    chosen = evenly_spaced(block_ends if len(block_ends) >= _MAX_MAIN else main, _MAX_MAIN)
    return (*chosen, *head[-_MAX_OTHERS:])


def evenly_spaced(layers: Sequence[LayerInfo], most: int) -> list[LayerInfo]:
    """Choose at most `most` of the layers, evenly spaced, including the last one and, if `most` > 1, the first one."""
    positions = np.linspace(0, len(layers) - 1, min(most, len(layers))).round().astype(int)
    return [layers[position] for position in positions]


class ChannelMeans:
    """Runs a model up to the deepest of some layers, and averages the activations of each layer over space or tokens.

    In place of the mean, a layer with a class token has that token.

    The model runs in inference mode: batch normalization uses its moving averages without updating them, dropout and
    augmentation have no effect. Each call uses the weights at that moment, and draws no random numbers.

    Parameters
    ----------
    model : keras.Model
        A functional or sequential model.
    layers : sequence of LayerInfo
        Layers from its catalogue.
    batch_size : int
        Samples per batch.
    """

    def __init__(self, model: "keras.Model", layers: Sequence[LayerInfo], *, batch_size: int = 32) -> None:
        self.layers = tuple(layers)
        self.image_shape = tuple(model.inputs[0].shape[1:])
        self._batch_size = batch_size
        self._forward = _compile(model, self.layers, (batch_size, *self.image_shape))

    def __call__(
        self, load: Callable[[NDArray[np.int64]], NDArray[Any]], num_samples: int
    ) -> dict[str, NDArray[np.float32]]:
        """Compute the channel means of the samples 0 to `num_samples` - 1.

        Parameters
        ----------
        load : callable
            Takes rows, int64 of shape (b,), and returns the inputs of the model for these samples, shape (b, ...).
        num_samples : int
            Number of samples.

        Returns
        -------
        dict of str to np.ndarray, float32, shape (num_samples, channels)
            Channel means by layer.

        Raises
        ------
        ValueError
            If `load` returns inputs of another shape than the model takes.
        """
        means = {layer.layer: np.empty((num_samples, layer.channels), np.float32) for layer in self.layers}
        for start in range(0, num_samples, self._batch_size):
            rows = np.arange(start, min(start + self._batch_size, num_samples))
            images = np.asarray(load(rows))
            if images.shape != (len(rows), *self.image_shape):
                raise ValueError(
                    f"data must hold samples of the shape that the model takes, {self.image_shape}; "
                    f"got {images.shape[1:]}. Prepare them as those that the model is trained on."
                )
            # The graph has a fixed batch size, so the last batch is filled up.
            padding = [(0, self._batch_size - len(rows))] + [(0, 0)] * len(self.image_shape)
            outputs = self._forward(np.pad(images, padding, mode="edge"))
            for layer_means, output in zip(means.values(), outputs, strict=True):
                layer_means[rows] = output.numpy()[: len(rows)]
        return means


def _compile(model: "keras.Model", layers: Sequence[LayerInfo], shape: tuple[int, ...]) -> Callable[[Any], list[Any]]:
    """Compile the model up to the deepest layer for inputs of one shape."""
    import tensorflow as tf

    tensors = layer_tensors(model)
    part = connect(model.inputs[0], [tensors[layer.layer] for layer in layers])
    dtype = model.inputs[0].dtype

    @tf.function(input_signature=[tf.TensorSpec(shape, dtype)], autograph=False)
    def forward(images: Any) -> list[Any]:
        outputs = part(images, training=False)
        if len(layers) == 1:  # Keras then returns the tensor itself
            outputs = [outputs]
        return [
            channel_means(tf.cast(output, tf.float32), layer.class_token, layer.is_transposed)
            for layer, output in zip(layers, outputs, strict=True)
        ]

    traced = forward.get_concrete_function()  # traced now, so that the training does not wait for it later
    return lambda images: traced(tf.cast(images, dtype))
