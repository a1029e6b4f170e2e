"""Decoding image files with Pillow: safely, alike on every machine, in a few threads."""

import contextlib
import io
import os
import threading
import warnings
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, TypeVar

import numpy as np

if TYPE_CHECKING:
    from PIL.Image import Image

# Only these decoders run, whatever a file's name promises: Pillow would start Ghostscript for PostScript, for one.
_FORMATS = ("JPEG", "PNG", "BMP", "GIF", "WEBP", "TIFF")
_THREADS = min(8, os.cpu_count() or 1)
_WARNING_FILTERS = threading.Lock()

_In = TypeVar("_In")
_Out = TypeVar("_Out")


def decode(data: bytes) -> "Image":
    """An image file's first frame, upright, in RGB."""
    from PIL import Image, ImageOps

    if not data:
        raise ValueError("the file is empty")
    with Image.open(io.BytesIO(data), formats=_FORMATS) as opened:
        image = ImageOps.exif_transpose(opened)
    if image.mode.startswith("I"):
        image = _upper_byte(image)
    elif image.mode == "F":
        raise ValueError("floating-point pixels have no agreed range")
    if image.has_transparency_data:
        layer = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", layer.size, "white"), layer)
    return image.convert("RGB")


def _upper_byte(image: "Image") -> "Image":
    """16-bit gray as 8-bit gray; Pillow's own conversion would cut at 255."""
    from PIL import Image

    values = np.asarray(image)
    if values.min() < 0 or values.max() > 65535:
        raise ValueError("32-bit pixels have no agreed range")
    return Image.fromarray((values // 256).astype(np.uint8))


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
