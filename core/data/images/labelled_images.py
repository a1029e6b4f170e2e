"""Labelled images: ids, labels and splits in memory, pixels decoded batch by batch on demand.

`core.data.images.loading` finds, chooses and checks them.
"""

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike

from core.data.images.decoding import (
    USUAL_RANGES,
    PixelRanges,
    decode,
    failure_reason,
    gray_image,
    in_threads,
    require_pillow,
    resize,
)
from core.data.images.pixel_cache import KeptPixels

if TYPE_CHECKING:
    from PIL.Image import Image


@dataclass(frozen=True)
class Skipped:
    """An image that was left out because it could not be read, with the reason."""

    id: str
    reason: str


@dataclass(frozen=True, eq=False)
class LabelledImages:
    """Images with ids, labels and splits; the pixels stay on disk until `load` or `raw` reads them.

    Attributes
    ----------
    name : str
        The folder's name, the TensorFlow data set's name and version, or "digits".
    ids : tuple of str, length n
        Unique; the path relative to `root` with forward slashes, the split and file name in a TensorFlow data set, or
        "digits/0000". Ascending from `load_images`.
    labels : np.ndarray, int64, shape (n,)
        Index into `class_names`.
    class_names : tuple of str
        Ascending; for a TensorFlow data set in the order of the data set.
    splits : np.ndarray of str, shape (n,)
        "train" or "test".
    root : Path or None
        The folder; None for other data.
    digests : tuple of str, length n
        SHA-256 of each encoded image's bytes (digits: of the values).
    sizes : np.ndarray, int64, shape (n, 2)
        Height and width in pixels, upright.
    skipped : tuple of Skipped
        Images that were left out because of `skip_broken`, ascending by id.
    values : np.ndarray, float32, shape (n, h, w, c), or None
        Pixels of images that are not encoded.
    encoded : callable, or None
        Takes an id; returns the bytes of the encoded image. None if there are `values`.
    notes : tuple of str
        Remarks for the readers of results, such as that a validation split is used as the test split.
    ranges : PixelRanges
        White in images with more than 8 bits per pixel: one scale for the whole data set.
    ignored : mapping of str to int
        Number of files of the folder that are not readable images, by extension.
    kept : KeptPixels
        Images that were decoded by the check and are still in memory.
    """

    name: str
    ids: tuple[str, ...] = field(repr=False)
    labels: np.ndarray = field(repr=False)
    class_names: tuple[str, ...]
    splits: np.ndarray = field(repr=False)
    root: Path | None
    digests: tuple[str, ...] = field(repr=False)
    sizes: np.ndarray = field(repr=False)
    skipped: tuple[Skipped, ...] = ()
    values: np.ndarray | None = field(default=None, repr=False)
    encoded: Callable[[str], bytes] | None = field(default=None, repr=False)
    notes: tuple[str, ...] = ()
    ranges: PixelRanges = USUAL_RANGES
    ignored: Mapping[str, int] = field(default_factory=dict)
    kept: KeptPixels = field(default_factory=KeptPixels, repr=False)

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def sources(self) -> tuple[str, ...]:
        """Where each sample comes from: the path relative to `root`, or the id."""
        return self.ids

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256, in hexadecimal, over ids, labels and content of the samples, in their order."""
        lines = (f"{i}\0{y}\0{d}\n" for i, y, d in zip(self.ids, self.labels, self.digests, strict=True))
        return hashlib.sha256("".join(lines).encode("utf-8", "surrogateescape")).hexdigest()

    def describe(self) -> dict[str, Any]:
        """Describe the files for the record of a study: ignored files, and the value of white if it is unusual."""
        description: dict[str, Any] = {}
        if self.ignored:
            description["ignored_files"] = dict(self.ignored)
        if self.ranges != USUAL_RANGES:
            description["white"] = asdict(self.ranges)
        return description

    @property
    def pixel_shape(self) -> tuple[int, int, int]:
        """Shape (h, w, c) that all images have in `raw`.

        Raises
        ------
        ValueError
            If the sizes differ; the message names two files.
        """
        other = np.flatnonzero((self.sizes != self.sizes[0]).any(axis=1))
        if other.size:
            (h0, w0), (h1, w1) = self.sizes[0], self.sizes[other[0]]
            raise ValueError(
                f"images must all have one size to be used as raw pixels; got {h0}x{w0} for {self.ids[0]!r} and "
                f"{h1}x{w1} for {self.ids[other[0]]!r} (height x width). Resize the files, or choose a network."
            )
        height, width = self.sizes[0].tolist()
        return height, width, 3 if self.values is None else self.values.shape[-1]

    def select(self, rows: ArrayLike) -> "LabelledImages":
        """Return the samples of some rows, without repetition, in the order of `rows`; all class names are kept."""
        chosen = self._rows(rows)
        if len(np.unique(chosen)) != len(chosen):
            raise ValueError("rows must not repeat, since ids are unique; got duplicates. Ask for each row once.")
        return replace(
            self,
            ids=tuple(self.ids[row] for row in chosen),
            labels=self.labels[chosen],
            splits=self.splits[chosen],
            digests=tuple(self.digests[row] for row in chosen),
            sizes=self.sizes[chosen],
            values=None if self.values is None else self.values[chosen],
        )

    def load(self, rows: ArrayLike, size: tuple[int, int]) -> np.ndarray:
        """Load the pixels of some rows as RGB at one size, for a network.

        Files are rotated according to their EXIF orientation; transparent pixels are blended with white; gray, palette
        and CMYK images are converted to RGB; gray of more than 8 bits is scaled by `ranges`, in the same way for all
        images; of an animation or a multi-page file the first frame is used. Images of another size are resized by
        Pillow's antialiased bilinear filter without keeping the aspect ratio. Digits are scaled from 0..16 to 0..255,
        with three equal channels.

        Parameters
        ----------
        rows : int, shape (m,)
            Rows, which may repeat.
        size : (int, int)
            Height and width in pixels.

        Returns
        -------
        np.ndarray, float32, shape (m, height, width, 3)
            Values from 0 to 255.

        Raises
        ------
        OSError
            If a file can no longer be read; the message names it.
        """
        height, width = size
        if height < 1 or width < 1:
            raise ValueError(f"size must be a height and a width of at least 1 pixel; got {size}. Try (224, 224).")
        require_pillow()
        return self._stack(rows, size, (height, width, 3))

    def raw(self, rows: ArrayLike) -> np.ndarray:
        """Load the pixels of some rows in their original size, without resizing.

        Files are converted to upright RGB as in `load`.

        Parameters
        ----------
        rows : int, shape (m,)
            Rows, which may repeat.

        Returns
        -------
        np.ndarray, float32
            Digits: shape (m, 8, 8, 1), from 0 to 16. Files: shape (m, height, width, 3), from 0 to 255.

        Raises
        ------
        ValueError
            If the sizes of the files differ (`pixel_shape` checks this without reading files).
        OSError
            If a file can no longer be read; the message names it.
        """
        shape = self.pixel_shape
        if self.values is not None:
            result: np.ndarray = self.values[self._rows(rows)]
            return result
        return self._stack(rows, None, shape)

    def _rows(self, rows: ArrayLike) -> np.ndarray:
        chosen = np.asarray(rows)
        if chosen.size == 0:
            chosen = chosen.astype(np.int64)
        if chosen.ndim != 1 or chosen.dtype.kind not in "iu" or ((chosen < 0) | (chosen >= len(self))).any():
            raise ValueError(
                f"rows must be integers from 0 to {len(self) - 1} in one dimension; got shape {chosen.shape}, dtype "
                f"{chosen.dtype}. Use np.flatnonzero(mask) for a mask."
            )
        return chosen

    def _stack(self, rows: ArrayLike, size: tuple[int, int] | None, shape: tuple[int, int, int]) -> np.ndarray:
        chosen = self._rows(rows).tolist()
        pixels = np.empty((len(chosen), *shape), dtype=np.float32)
        for row, image in enumerate(in_threads(partial(self._pixels, size=size), chosen)):
            pixels[row] = image
        return pixels

    def _pixels(self, row: int, size: tuple[int, int] | None) -> np.ndarray:
        """Return one image, resized if a size is given, of shape (h, w, 3), or (h, w, 1) if gray."""
        pixels = self.kept.pixels(self.ids[row])
        if pixels is not None and size in (None, pixels.shape[:2]):
            return pixels
        image = gray_image(self.values[row, :, :, 0]) if self.values is not None else self._decoded(row)
        array = np.asarray(image if size is None else resize(image, size))
        return np.atleast_3d(array)

    def _decoded(self, row: int) -> "Image":
        stored = self.kept.get(self.ids[row])
        if stored is not None:
            return stored
        if self.encoded is None:
            raise ValueError("images must have values or say where they are encoded; got neither. Use load_images.")
        try:
            return decode(self.encoded(self.ids[row]), self.ranges)
        except Exception as error:
            raise OSError(
                f"{self.ids[row]!r} must stay as it was when it was checked; got: {failure_reason(error)}. "
                "Restore the file."
            ) from error
