"""Random variants of images: turned, shifted, mirrored and with another contrast, each image by draws of its own.

What an image becomes depends on its row and the seeds alone, not on the batch that it comes in.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from core.study.options import declare, with_parameters


@with_parameters
@dataclass(frozen=True)
class Augmentation:
    """How far images are changed; the defaults are those of the original notebook, which mirrors left and right."""

    rotation: float = declare(
        0.15,
        help="Largest rotation of a training image, either way, as a share of a full turn.",
        group="augmentation",
        metavar="X",
    )
    translation: float = declare(
        0.1,
        help="Largest shift of a training image, as a share of its height and width.",
        group="augmentation",
        metavar="X",
    )
    contrast: float = declare(
        0.1,
        help="Largest change of the contrast of a training image around each channel's mean, as a share of it.",
        group="augmentation",
        metavar="X",
    )
    flip: bool = declare(True, help="Mirror training images left to right at random.", group="augmentation")

    def __post_init__(self) -> None:
        for name, limit in (("rotation", 0.5), ("translation", 1.0), ("contrast", 1.0)):
            if not 0 <= getattr(self, name) <= limit:
                raise ValueError(f"{name} must lie between 0 and {limit}; got {getattr(self, name)}. 0 leaves it out.")

    @property
    def changes_nothing(self) -> bool:
        return not (self.rotation or self.translation or self.contrast or self.flip)


@dataclass(frozen=True)
class Draws:
    """What was drawn for each of n images: radians, shares of height and width, 1 or -1, factor; each of shape (n,)."""

    angles: NDArray[np.float64]
    down: NDArray[np.float64]
    right: NDArray[np.float64]
    mirrored: NDArray[np.float64]
    contrasts: NDArray[np.float64]


def draw(augmentation: Augmentation, num_images: int, seeds: Sequence[int]) -> Draws:
    """Draw a variant of each of `num_images` images; the same seeds give the same variants."""
    uniform = np.random.default_rng(seeds).uniform(-1, 1, (5, num_images))
    return Draws(
        angles=2 * np.pi * augmentation.rotation * uniform[0],
        down=augmentation.translation * uniform[1],
        right=augmentation.translation * uniform[2],
        mirrored=np.where((uniform[3] < 0) & augmentation.flip, -1.0, 1.0),
        contrasts=1 + augmentation.contrast * uniform[4],
    )


def augment(images: NDArray[np.float32], draws: Draws, rows: NDArray[np.int64]) -> Any:
    """Images of some rows as drawn.

    Parameters
    ----------
    images : float32, shape (b, height, width, channels), pixels from 0 to 255.
    draws : of all images.
    rows : int, shape (b,), which draw is which image's.

    Returns
    -------
    tensor, float32, shape of `images`
        Bilinear, in one step for turn, shift and mirror; what comes in from outside is the image reflected at its edge.
    """
    import tensorflow as tf

    height, width = images.shape[1:3]
    moved = tf.raw_ops.ImageProjectiveTransformV3(
        images=images,
        transforms=_transforms(draws, rows, height, width),
        output_shape=[height, width],
        interpolation="BILINEAR",
        fill_mode="REFLECT",
        fill_value=0.0,
    )
    means = tf.reduce_mean(moved, axis=(1, 2), keepdims=True)
    factors = draws.contrasts[rows].astype(np.float32)[:, None, None, None]
    return tf.clip_by_value((moved - means) * factors + means, 0.0, 255.0)


def _transforms(draws: Draws, rows: NDArray[np.int64], height: int, width: int) -> NDArray[np.float32]:
    """From a place in the result to its place in the image, shape (b, 8): a0 a1 a2 b0 b1 b2 0 0, x before y."""
    cos, sin = np.cos(draws.angles[rows]), np.sin(draws.angles[rows])
    mirrored = draws.mirrored[rows]
    x_center, y_center = (width - 1) / 2, (height - 1) / 2
    matrix = [mirrored * cos, mirrored * -sin, sin, cos]
    x_shift = x_center + draws.right[rows] * width - (matrix[0] * x_center + matrix[1] * y_center)
    y_shift = y_center + draws.down[rows] * height - (matrix[2] * x_center + matrix[3] * y_center)
    zeros = np.zeros(len(rows))
    parts = [matrix[0], matrix[1], x_shift, matrix[2], matrix[3], y_shift, zeros, zeros]
    return np.stack(parts, axis=1).astype(np.float32)
