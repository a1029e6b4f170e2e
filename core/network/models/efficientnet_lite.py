"""EfficientNet-Lite in Keras: EfficientNet-B0 without squeeze-excite, with ReLU6, and with B0's layer names."""

import math
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    import keras


class _Stage(NamedTuple):
    kernel_size: int
    repeats: int
    channels: int
    expansion: int
    strides: int


# The stages of EfficientNet-B0; https://arxiv.org/abs/1905.11946, table 1
_STAGES = (
    _Stage(3, repeats=1, channels=16, expansion=1, strides=1),
    _Stage(3, repeats=2, channels=24, expansion=6, strides=2),
    _Stage(5, repeats=2, channels=40, expansion=6, strides=2),
    _Stage(3, repeats=3, channels=80, expansion=6, strides=2),
    _Stage(5, repeats=3, channels=112, expansion=6, strides=1),
    _Stage(5, repeats=4, channels=192, expansion=6, strides=2),
    _Stage(3, repeats=1, channels=320, expansion=6, strides=1),
)
_DROP_CONNECT = 0.2
_KERNEL_INITIALIZER = {"scale": 2.0, "mode": "fan_out", "distribution": "truncated_normal"}
_HEAD_INITIALIZER = {"scale": 1 / 3, "mode": "fan_out", "distribution": "uniform"}


def build_efficientnet_lite(name: str, input_size: int, *, width: float, depth: float, dropout: float) -> "keras.Model":
    """Build the network with random weights.

    The model takes raw pixels, scales them to (x - 127) / 128 and returns the probabilities of ImageNet's 1,000
    classes. Its convolutions are padded like TensorFlow's `same`, at the bottom and right first, as the official
    weights expect.

    Parameters
    ----------
    name : str
        Name of the model.
    input_size : int
        Height and width of the images in pixels.
    width : float
        Factor for the numbers of channels of B0; stem and head keep their channels.
    depth : float
        Factor for the numbers of repeated blocks of B0; the first and the last stage keep theirs.
    dropout : float
        Dropout rate before the classifier.
    """
    from keras import Input, Model, initializers, layers

    image = Input((input_size, input_size, 3), name="image")
    x = layers.Rescaling(1 / 128, offset=-127 / 128, name="rescaling")(image)
    x = _norm_relu(_conv(x, 32, 3, "stem_conv", strides=2), "stem_")
    blocks = _scaled_blocks(width, depth)
    for position, (block, stage) in enumerate(blocks):
        x = _block(x, block, stage, drop_rate=_DROP_CONNECT * position / len(blocks))
    x = _norm_relu(_conv(x, 1280, 1, "top_conv"), "top_")
    x = layers.GlobalAveragePooling2D(name="avg_pool")(x)
    x = layers.Dropout(dropout, name="top_dropout")(x)
    initializer = initializers.VarianceScaling(**_HEAD_INITIALIZER)
    x = layers.Dense(1000, activation="softmax", kernel_initializer=initializer, name="predictions")(x)
    return Model(image, x, name=name)


def _scaled_blocks(width: float, depth: float) -> list[tuple[str, _Stage]]:
    """Return name and geometry of each block, from `block1a` to `block7a`."""
    blocks = []
    for number, stage in enumerate(_STAGES, start=1):
        is_scaled = 1 < number < len(_STAGES)
        repeats = math.ceil(stage.repeats * depth) if is_scaled else stage.repeats
        for index in range(repeats):
            strides = stage.strides if index == 0 else 1
            scaled = stage._replace(channels=_round_channels(stage.channels * width), strides=strides)
            blocks.append((f"block{number}{chr(ord('a') + index)}", scaled))
    return blocks


def _round_channels(channels: float) -> int:
    """Round to the nearest multiple of 8, but not down by more than 10%."""
    rounded = max(8, int(channels + 4) // 8 * 8)
    return rounded + 8 if rounded < 0.9 * channels else rounded


def _block(x: Any, name: str, stage: _Stage, drop_rate: float) -> Any:
    from keras import layers

    inputs = x
    if stage.expansion > 1:
        x = _norm_relu(_conv(x, x.shape[-1] * stage.expansion, 1, f"{name}_expand_conv"), f"{name}_expand_")
    x = _norm_relu(_depthwise_conv(x, stage.kernel_size, f"{name}_dwconv", stage.strides), f"{name}_")
    x = _conv(x, stage.channels, 1, f"{name}_project_conv")
    x = layers.BatchNormalization(epsilon=1e-3, name=f"{name}_project_bn")(x)
    if stage.strides > 1 or inputs.shape[-1] != stage.channels:
        return x
    if drop_rate > 0:
        x = layers.Dropout(drop_rate, noise_shape=(None, 1, 1, 1), name=f"{name}_drop")(x)
    return layers.Add(name=f"{name}_add")([x, inputs])


def _conv(x: Any, channels: int, kernel_size: int, name: str, strides: int = 1) -> Any:
    from keras import initializers, layers

    initializer = initializers.VarianceScaling(**_KERNEL_INITIALIZER)
    return layers.Conv2D(
        channels, kernel_size, strides, padding="same", use_bias=False, kernel_initializer=initializer, name=name
    )(x)


def _depthwise_conv(x: Any, kernel_size: int, name: str, strides: int) -> Any:
    from keras import initializers, layers

    initializer = initializers.VarianceScaling(**_KERNEL_INITIALIZER)
    return layers.DepthwiseConv2D(
        kernel_size, strides, padding="same", use_bias=False, depthwise_initializer=initializer, name=name
    )(x)


def _norm_relu(x: Any, prefix: str) -> Any:
    from keras import layers

    x = layers.BatchNormalization(epsilon=1e-3, name=f"{prefix}bn")(x)
    return layers.ReLU(max_value=6.0, name=f"{prefix}activation")(x)
