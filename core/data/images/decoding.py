"""Decoding image files with Pillow: safely, alike on every machine, in a few threads."""

import contextlib
import functools
import io
import os
import threading
import warnings
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

import numpy as np

if TYPE_CHECKING:
    from PIL.Image import Image

# Only these decoders run, whatever a file's name promises: Pillow would start Ghostscript for PostScript, for one.
FORMATS = ("JPEG", "PNG", "BMP", "GIF", "WEBP", "TIFF", "AVIF", "JPEG2000", "PPM", "QOI", "HEIF")
_LEVELS = (255, 1023, 4095, 16383, 65535)  # white in pixels of 8, 10, 12, 14 and 16 bits
_THREADS = min(8, os.cpu_count() or 1)
_WARNING_FILTERS = threading.Lock()

_In = TypeVar("_In")
_Out = TypeVar("_Out")


@dataclass(frozen=True)
class PixelRanges:
    """What is white in images of more than 8 bits a pixel; black is 0.

    Attributes
    ----------
    integers : float
        In 16- and 32-bit integers: 255, 1023, 4095, 16383 or 65535.
    floats : float
        In floating-point numbers: one of these, or 1.
    """

    integers: float = 65535
    floats: float = 1


USUAL_RANGES = PixelRanges()


@dataclass(frozen=True)
class DeepPixels:
    """What an image of more than 8 bits a channel holds.

    Attributes
    ----------
    kind : str
        "integers" or "floats", which are read by `PixelRanges`; "colors", of which Pillow gives the upper byte alone.
    largest : float
        The largest value; of "colors" the largest upper byte.
    """

    kind: str
    largest: float


def pixel_ranges(deep: Iterable[DeepPixels]) -> PixelRanges:
    """The smallest ranges that hold the values of all images of a data set.

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
    """The extensions, as ".png", of files that Pillow reads here, in lower case."""
    from PIL import Image

    Image.init()
    return frozenset(
        suffix for suffix, name in Image.registered_extensions().items() if name in FORMATS and name in Image.OPEN
    ) | {".jif"}


def decode(data: bytes, ranges: PixelRanges | None = None) -> "Image":
    """An image file's first frame, upright, in RGB.

    ranges : what is white in images of more than 8 bits; default the smallest range that holds this image.
    """
    return decode_deep(data, ranges)[0]


def decode_deep(data: bytes, ranges: PixelRanges | None = None) -> "tuple[Image, DeepPixels | None]":
    """As `decode`; and, of an image of more than 8 bits a channel, what it holds."""
    from PIL import Image, ImageOps

    if not data:
        raise ValueError("the file is empty")
    with Image.open(io.BytesIO(data), formats=available_formats()) as opened:
        has_deep_colors = any(";16" in str(tile[3]) for tile in opened.tile) and opened.mode[0] not in "IF"
        image = ImageOps.exif_transpose(opened)
    deep = _deep_pixels(image, has_deep_colors)
    if deep is not None and deep.kind != "colors":
        image = _as_bytes(image, ranges or pixel_ranges([deep]), deep.kind)
    if image.has_transparency_data:
        layer = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", layer.size, "white"), layer)
    return image.convert("RGB"), deep


@functools.cache
def available_formats() -> tuple[str, ...]:
    """Those of `FORMATS` that this Pillow reads."""
    from PIL import Image

    Image.init()
    return tuple(name for name in FORMATS if name in Image.OPEN)


def _deep_pixels(image: "Image", has_deep_colors: bool) -> DeepPixels | None:
    """What an image of more than 8 bits a channel holds; None of any other."""
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
    """Gray of a wider range as 8-bit gray, where Pillow's own conversion would cut at 255; integers keep upper bits."""
    from PIL import Image

    return Image.fromarray(_gray_levels(np.asarray(image), ranges, kind))


def brightest_level(pixels: DeepPixels, ranges: PixelRanges) -> int:
    """The largest gray, from 0 to 255, that an image is read as."""
    if pixels.kind == "colors":
        return int(pixels.largest)
    return int(_gray_levels(np.array(pixels.largest), ranges, pixels.kind))


def _gray_levels(values: np.ndarray, ranges: PixelRanges, kind: str) -> np.ndarray:
    """Values of a wider range as 8-bit gray."""
    if kind == "floats":
        gray = np.rint(np.clip(values / ranges.floats, 0, 1) * 255)
    else:
        gray = np.minimum(values // ((int(ranges.integers) + 1) // 256), 255)
    return gray.astype(np.uint8)


def gray_image(values: np.ndarray) -> "Image":
    """Values from 0 to 16 as gray from 0 to 255, in mode F, in which nothing is rounded."""
    from PIL import Image

    return Image.fromarray(values * np.float32(255 / 16))


def resize(image: "Image", size: tuple[int, int]) -> "Image":
    from PIL import Image

    height, width = size
    return image if image.size == (width, height) else image.resize((width, height), Image.Resampling.BILINEAR)


def failure_reason(error: Exception) -> str:
    """Why a file could not be read, in one line that is the same in each run."""
    if type(error).__name__ == "UnidentifiedImageError":  # its text holds a memory address
        return "no image in a format known here"
    text = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    return " ".join(text.split()) or type(error).__name__


def in_threads(work: Callable[[_In], _Out], items: Iterable[_In]) -> list[_Out]:
    """`work` of each item, in order, in a few threads: Pillow decodes without the interpreter's lock."""
    with _pillow_warnings(), ThreadPoolExecutor(_THREADS) as pool:
        return list(pool.map(work, items))


@contextlib.contextmanager
def _pillow_warnings() -> Iterator[None]:
    """A suspected decompression bomb is an error, other complaints (as about odd EXIF data) are none."""
    from PIL import Image

    # Here and not in the pool's threads, and one caller at a time: the filters belong to the whole process.
    with _WARNING_FILTERS, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        yield


def require_pillow() -> None:
    try:
        import PIL  # noqa: F401
    except ImportError as error:
        raise ModuleNotFoundError(
            "Reading or resizing images needs Pillow, which is not installed. "
            "Run: pip install 'separation-index-explorer[network]'"
        ) from error
