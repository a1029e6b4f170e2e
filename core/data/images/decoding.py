"""Safe and reproducible decoding of image files with Pillow, in several threads."""

import contextlib
import functools
import io
import os
import threading
import warnings
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

import numpy as np

if TYPE_CHECKING:
    from PIL.Image import Image

# Only these decoders run, whatever the extension of a file is: for PostScript, for one, Pillow would run Ghostscript.
FORMATS = ("JPEG", "PNG", "BMP", "GIF", "WEBP", "TIFF", "AVIF", "JPEG2000", "PPM", "QOI", "HEIF")
_LEVELS = (255, 1023, 4095, 16383, 65535)  # white in pixels of 8, 10, 12, 14 and 16 bits
_THREADS = min(8, os.cpu_count() or 1)

_In = TypeVar("_In")
_Out = TypeVar("_Out")


@dataclass(frozen=True)
class PixelRanges:
    """The value of white in images with more than 8 bits per pixel; black is 0.

    Attributes
    ----------
    integers : float
        White of 16- and 32-bit integers: 255, 1023, 4095, 16383 or 65535.
    floats : float
        White of floating-point numbers: one of these values, or 1.
    """

    integers: float = 65535
    floats: float = 1


USUAL_RANGES = PixelRanges()


@dataclass(frozen=True)
class DeepPixels:
    """The kind and the largest value of the pixels of an image with more than 8 bits per channel.

    Attributes
    ----------
    kind : {"integers", "floats", "colors"}
        "integers" and "floats" are scaled by `PixelRanges`; of "colors" Pillow only returns the upper byte.
    largest : float
        The largest value; for "colors" the largest upper byte.
    """

    kind: str
    largest: float


def pixel_ranges(deep: Iterable[DeepPixels]) -> PixelRanges:
    """Return the smallest ranges that contain the values of all images of a data set.

    >>> pixel_ranges([DeepPixels("integers", 200), DeepPixels("integers", 3000), DeepPixels("floats", 0.7)])
    PixelRanges(integers=4095, floats=1)
    """
    largest: dict[str, float] = {}
    for pixels in deep:
        largest[pixels.kind] = max(largest.get(pixels.kind, 0), pixels.largest)
    return PixelRanges(
        integers=_smallest(_LEVELS, largest["integers"]) if "integers" in largest else USUAL_RANGES.integers,
        floats=_smallest((1, *_LEVELS), largest["floats"]) if "floats" in largest else USUAL_RANGES.floats,
    )


def _smallest(levels: tuple[int, ...], value: float) -> int:
    return next(level for level in levels if value <= level * (1 + 1e-6))  # a float may round to just above 1


@functools.cache
def image_suffixes() -> frozenset[str]:
    """Return the extensions of the files that Pillow can read here, such as ".png", in lower case."""
    from PIL import Image

    Image.init()
    return frozenset(
        suffix for suffix, name in Image.registered_extensions().items() if name in FORMATS and name in Image.OPEN
    ) | {".jif"}


def decode(data: bytes, ranges: PixelRanges | None = None) -> "Image":
    """Decode the first frame of an image file, upright and in RGB.

    Parameters
    ----------
    data : bytes
        Content of the file.
    ranges : PixelRanges, optional
        White in images with more than 8 bits per pixel; default: the smallest range that contains this image.
    """
    return decode_deep(data, ranges)[0]


def decode_deep(data: bytes, ranges: PixelRanges | None = None) -> "tuple[Image, DeepPixels | None]":
    """Decode an image like `decode`; also return its `DeepPixels` if it has more than 8 bits per channel."""
    from PIL import Image, ImageOps

    if not data:
        raise ValueError("the file is empty")
    with Image.open(io.BytesIO(data), formats=available_formats()) as opened:
        _check_num_pixels(*opened.size)
        has_deep_colors = any(";16" in str(tile[3]) for tile in opened.tile) and opened.mode[0] not in "IF"
        image = ImageOps.exif_transpose(opened)
    deep = _deep_pixels(image, has_deep_colors)
    if deep is not None and deep.kind != "colors":
        image = _as_bytes(image, ranges or pixel_ranges([deep]), deep.kind)
    if image.has_transparency_data:
        layer = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", layer.size, "white"), layer)
    return image.convert("RGB"), deep


def _check_num_pixels(width: int, height: int) -> None:
    """Refuse an image above Pillow's limit, of which Pillow itself only warns up to twice that size."""
    from PIL import Image

    limit = Image.MAX_IMAGE_PIXELS
    if limit is not None and width * height > limit:
        raise ValueError(
            f"Image size ({width * height} pixels) exceeds limit of {limit} pixels, could be decompression bomb DOS "
            "attack."
        )


@functools.cache
def available_formats() -> tuple[str, ...]:
    """Return those of `FORMATS` that the installed Pillow can read."""
    from PIL import Image

    Image.init()
    return tuple(name for name in FORMATS if name in Image.OPEN)


def _deep_pixels(image: "Image", has_deep_colors: bool) -> DeepPixels | None:
    """Return the kind of pixels of an image with more than 8 bits per channel; None for other images."""
    if has_deep_colors:
        return DeepPixels("colors", float(np.asarray(image.convert("RGB")).max()))
    if image.mode[0] not in "IF":
        return None
    values = np.asarray(image)
    if not (values.min() >= 0 and values.max() <= _LEVELS[-1]):  # NaN is neither
        kind = "floating-point" if image.mode == "F" else "32-bit"
        raise ValueError(f"{kind} pixels have no agreed range")
    return DeepPixels("floats" if image.mode == "F" else "integers", float(values.max()))


def _as_bytes(image: "Image", ranges: PixelRanges, kind: str) -> "Image":
    """Scale gray of a wider range to 8 bits (Pillow would clip it at 255); of integers the upper bits are kept."""
    from PIL import Image

    return Image.fromarray(_gray_levels(np.asarray(image), ranges, kind))


def brightest_level(pixels: DeepPixels, ranges: PixelRanges) -> int:
    """Return the largest gray level of an image after the conversion to 8 bits, from 0 to 255."""
    if pixels.kind == "colors":
        return int(pixels.largest)
    return int(_gray_levels(np.array(pixels.largest), ranges, pixels.kind))


def _gray_levels(values: np.ndarray, ranges: PixelRanges, kind: str) -> np.ndarray:
    """Scale values of a wider range to 8-bit gray."""
    if kind == "floats":
        gray = np.rint(np.clip(values / ranges.floats, 0, 1) * 255)
    else:
        gray = np.minimum(values // ((int(ranges.integers) + 1) // 256), 255)
    return gray.astype(np.uint8)


def gray_image(values: np.ndarray) -> "Image":
    """Scale values from 0 to 16 to gray from 0 to 255, in mode F, so that nothing is rounded."""
    from PIL import Image

    return Image.fromarray(values * np.float32(255 / 16))


def resize(image: "Image", size: tuple[int, int]) -> "Image":
    from PIL import Image

    height, width = size
    return image if image.size == (width, height) else image.resize((width, height), Image.Resampling.BILINEAR)


def failure_reason(error: Exception) -> str:
    """Return the reason why a file could not be read, in one line that is the same in every run."""
    if type(error).__name__ == "UnidentifiedImageError":  # its text holds a memory address
        return "no image in a format known here"
    text = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    return " ".join(text.split()) or type(error).__name__


def in_threads(work: Callable[[_In], _Out], items: Iterable[_In]) -> list[_Out]:
    """Apply `work` to each item in several threads, in order; Pillow decodes without the global interpreter lock."""
    with quiet_pillow, ThreadPoolExecutor(_THREADS) as pool:
        return list(pool.map(work, items))


class _QuietPillow:
    """Ignores Pillow's warnings, such as those about EXIF data, while at least one thread is within.

    Filters of warnings belong to the whole process: threads that each set and reset them would leave those of another.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._num_within = 0
        self._filters = contextlib.ExitStack()

    def __enter__(self) -> None:
        with self._lock:
            if self._num_within == 0:
                self._filters.enter_context(warnings.catch_warnings())
                warnings.filterwarnings("ignore", module="PIL|pillow_")
            self._num_within += 1

    def __exit__(self, *error: object) -> None:
        with self._lock:
            self._num_within -= 1
            if self._num_within == 0:
                self._filters.close()


quiet_pillow = _QuietPillow()


def require_pillow() -> None:
    try:
        import PIL  # noqa: F401
    except ImportError as error:
        raise ModuleNotFoundError(
            "Reading or resizing images needs Pillow, which is not installed. Run: pip install pillow"
        ) from error
