"""Labelled images: ids, labels and splits at hand, the pixels decoded batch by batch when they are asked for.

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
    """An image that was left out because it could not be read, and why."""

    id: str
    reason: str


@dataclass(frozen=True, eq=False)
class LabelledImages:
    """Images with ids, labels and splits; the pixels stay on disk until `load` or `raw` asks for them.

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
        Ascending; of a TensorFlow data set in its own order.
    splits : np.ndarray of str, shape (n,)
        "train" or "test".
    root : Path or None
        The folder; None for other data.
    digests : tuple of str, length n
        SHA-256 of each encoded image's bytes (digits: of the values).
    sizes : np.ndarray, int64, shape (n, 2)
        Height and width in pixels, upright.
    skipped : tuple of Skipped
        What `skip_broken` left out, by id.
    values : np.ndarray, float32, shape (n, h, w, c), or None
        Pixels of images that are not encoded.
    encoded : callable, or None
        From an id to its encoded image's bytes; None where there are values.
    notes : tuple of str
        What belongs beside any result, as that a validation split serves as the test split.
    ranges : PixelRanges
        What is white in images of more than 8 bits a pixel: one scale for the whole data set.
    ignored : mapping of str to int
        Files of the folder that are no images that can be read, by extension.
    kept : KeptPixels
        Images that the check has decoded and that are still in memory.
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
        """What a record of results says of the files: those that are no images, and what was taken for white."""
        found: dict[str, Any] = {}
        if self.ignored:
            found["ignored_files"] = dict(self.ignored)
        if self.ranges != USUAL_RANGES:
            found["white"] = asdict(self.ranges)
        return found

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
        """The samples of some rows, each at most once, in the order of `rows`; the class names stay all of them."""
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
        """Pixels of some rows as RGB at one size, as a network takes them.

        Files are turned upright as their EXIF orientation says; transparency is laid on white; gray, palette and CMYK
        become RGB; gray of more than 8 bits is scaled as `ranges` says, alike in all images; of an animation or a
        multi-page file the first frame counts.
        Images of another size are resized by Pillow's antialiased bilinear filter without keeping the aspect ratio.
        Digits are scaled from 0..16 to 0..255, with three equal channels.

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
        """Pixels of some rows as they are, float32: digits (m, 8, 8, 1) from 0 to 16, files (m, h, w, 3) from 0 to 255.

        Files are converted to upright RGB as in `load`, but not resized.

        Raises
        ------
        ValueError
            If the files' sizes differ (`pixel_shape` tells without reading anything).
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
        for place, image in enumerate(in_threads(partial(self._pixels, size=size), chosen)):
            pixels[place] = image
        return pixels

    def _pixels(self, row: int, size: tuple[int, int] | None) -> np.ndarray:
        """One image, resized where a size is given, of shape (h, w, 3), or (h, w, 1) if gray."""
        pixels = self.kept.pixels(self.ids[row])
        if pixels is not None and size in (None, pixels.shape[:2]):
            return pixels
        image = gray_image(self.values[row, :, :, 0]) if self.values is not None else self._decoded(row)
        array = np.asarray(image if size is None else resize(image, size))
        return np.atleast_3d(array)

    def _decoded(self, row: int) -> "Image":
        kept = self.kept.get(self.ids[row])
        if kept is not None:
            return kept
        if self.encoded is None:
            raise ValueError("images must have values or say where they are encoded; got neither. Use load_images.")
        try:
            return decode(self.encoded(self.ids[row]), self.ranges)
        except Exception as error:
            raise OSError(
                f"{self.ids[row]!r} must stay as it was when it was checked; got: {failure_reason(error)}. "
                "Restore the file."
            ) from error
