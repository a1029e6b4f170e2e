"""Data augmentation: random rotation, translation, mirroring and contrast of images.

The variant of an image depends only on its row and the seeds, not on the batch that it is in.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from core.study.options import check_options, declare, with_parameters


@with_parameters
@dataclass(frozen=True)
class Augmentation:
    """How far images are changed; the defaults are those of the original notebook, which mirrors left and right."""

    rotation: float = declare(
        0.15,
        help="Largest rotation of a training image, either way, as a share of a full turn.",
        group="augmentation",
        metavar="X",
        most=0.5,
        advice="0 leaves it out.",
    )
    translation: float = declare(
        0.1,
        help="Largest shift of a training image, as a share of its height and width.",
        group="augmentation",
        metavar="X",
        most=1,
        advice="0 leaves it out.",
    )
    contrast: float = declare(
        0.1,
        help="Largest change of the contrast of a training image around each channel's mean, as a share of it.",
        group="augmentation",
        metavar="X",
        most=1,
        advice="0 leaves it out.",
    )
    flip: bool = declare(True, help="Mirror training images left to right at random.", group="augmentation")

    def __post_init__(self) -> None:
        check_options(self)

    @property
    def changes_nothing(self) -> bool:
        return not (self.rotation or self.translation or self.contrast or self.flip)


@dataclass(frozen=True)
class Draws:
    """The random values for each of n images, each of shape (n,).

    Attributes
    ----------
    angles : np.ndarray
        Rotations in radians.
    down, right : np.ndarray
        Shifts as shares of height and width.
    mirrored : np.ndarray
        -1 for images that are mirrored, otherwise 1.
    contrasts : np.ndarray
        Factors of the contrast.
    """

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
    """Apply the drawn transformations to the images of some rows.

    Rotation, shift and mirroring are one bilinear interpolation; pixels from outside the image are reflected at its
    edge.

    Parameters
    ----------
    images : np.ndarray, float32, shape (b, height, width, channels)
        Pixels from 0 to 255.
    draws : Draws
        Random values for all images.
    rows : np.ndarray, int, shape (b,)
        Rows of the images in `draws`.

    Returns
    -------
    tf.Tensor, float32, shape of `images`
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
    """Return the mapping from positions in the result to those in the image, shape (b, 8): a0 a1 a2 b0 b1 b2 0 0."""
    cos, sin = np.cos(draws.angles[rows]), np.sin(draws.angles[rows])
    mirrored = draws.mirrored[rows]
    x_center, y_center = (width - 1) / 2, (height - 1) / 2
    matrix = [mirrored * cos, mirrored * -sin, sin, cos]
    x_shift = x_center + draws.right[rows] * width - (matrix[0] * x_center + matrix[1] * y_center)
    y_shift = y_center + draws.down[rows] * height - (matrix[2] * x_center + matrix[3] * y_center)
    zeros = np.zeros(len(rows))
    parts = [matrix[0], matrix[1], x_shift, matrix[2], matrix[3], y_shift, zeros, zeros]
    return np.stack(parts, axis=1).astype(np.float32)
