"""Channel means of some layers of a model that is being trained: computed as at test time, leaving it as it was."""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from core.network.catalogue import LayerInfo, layer_tensors
from core.network.operations import connect

if TYPE_CHECKING:
    import keras

_MOST_MAIN, _MOST_OTHERS = 5, 3


def a_handful(layers: Sequence[LayerInfo]) -> tuple[LayerInfo, ...]:
    """A few layers that show the way through a network: five main ones, evenly spaced, and the last three of its head.

    The main ones are ends of blocks where the network has five blocks or more.

    Parameters
    ----------
    layers : all of them, as `core.network.catalogue.catalogue` lists them.
    """
    main = [layer for layer in layers if layer.is_main]
    ends = list({layer.block: layer for layer in main}.values())
    others = [layer for layer in layers if not layer.spatial and layer.kind != "Input"]
    if main:  # squeeze-excite branches are pooled too, but in the middle of the network
        others = [layer for layer in others if layer.position > main[-1].position]
    chosen = evenly_spaced(ends if len(ends) >= _MOST_MAIN else main, _MOST_MAIN)
    return (*chosen, *others[-_MOST_OTHERS if main else -(_MOST_MAIN + _MOST_OTHERS) :])


def evenly_spaced(layers: Sequence[LayerInfo], most: int) -> list[LayerInfo]:
    """At most so many of them, the last one and, where there are two, the first one among them."""
    places = np.linspace(0, len(layers) - 1, min(most, len(layers))).round().astype(int)
    return [layers[place] for place in places]


class ChannelMeans:
    """Runs a model as far as the deepest of some layers, and averages each over space.

    The run is one at test time: batch normalization uses its moving averages and leaves them alone, dropout and
    augmentation do nothing. It reads the weights as they are when it is called, and draws no random number.

    model : a functional or sequential Keras model. layers : of its catalogue. batch_size : samples a run.
    """

    def __init__(self, model: "keras.Model", layers: Sequence[LayerInfo], *, batch_size: int = 32) -> None:
        self.layers = tuple(layers)
        self.image_shape = tuple(model.inputs[0].shape[1:])
        self._batch_size = batch_size
        self._forward = _compiled(model, [layer.layer for layer in layers], (batch_size, *self.image_shape))

    def __call__(
        self, load: Callable[[NDArray[np.int64]], NDArray[Any]], num_samples: int
    ) -> dict[str, NDArray[np.float32]]:
        """The channel means of samples 0 to `num_samples` - 1.

        load : from rows, int64 of shape (b,), to what the model takes of them, shape (b, ...).

        Returns
        -------
        dict from layer to float32 array of shape (num_samples, channels)

        Raises
        ------
        ValueError
            `load` gives another shape than the model takes.
        """
        found = {layer.layer: np.empty((num_samples, layer.channels), np.float32) for layer in self.layers}
        for start in range(0, num_samples, self._batch_size):
            rows = np.arange(start, min(start + self._batch_size, num_samples))
            images = np.asarray(load(rows))
            if images.shape != (len(rows), *self.image_shape):
                raise ValueError(
                    f"data must hold samples of the shape that the model takes, {self.image_shape}; "
                    f"got {images.shape[1:]}. Prepare them as those that the model is trained on."
                )
            padding = [(0, self._batch_size - len(rows))] + [(0, 0)] * len(self.image_shape)
            for kept, output in zip(found.values(), self._forward(np.pad(images, padding, mode="edge")), strict=True):
                kept[rows] = output.numpy()[: len(rows)]
        return found


def _compiled(model: "keras.Model", names: Sequence[str], shape: tuple[int, ...]) -> Callable[[Any], list[Any]]:
    """The model up to the deepest layer, as a TensorFlow graph of one shape."""
    import tensorflow as tf

    tensors = layer_tensors(model)
    part = connect(model.inputs[0], [tensors[name] for name in names])
    dtype = model.inputs[0].dtype

    @tf.function(input_signature=[tf.TensorSpec(shape, dtype)], autograph=False)
    def forward(images: Any) -> list[Any]:
        outputs = part(images, training=False)
        return [_averaged(output) for output in (outputs if len(names) > 1 else [outputs])]

    traced = forward.get_concrete_function()  # now: a training should not wait for it
    return lambda images: traced(tf.cast(images, dtype))


def _averaged(output: Any) -> Any:
    import tensorflow as tf

    return tf.reduce_mean(tf.cast(output, tf.float32), axis=range(1, len(output.shape) - 1))
