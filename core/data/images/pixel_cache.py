"""Decoded images kept in memory, up to a limit, so that what a check has decoded is not decoded again."""

import threading
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from PIL.Image import Image

_MOST_BYTES = 1 << 29
_SHARE = 8  # an eighth of the memory


def bytes_to_keep(memory: int) -> int:
    """How many bytes of decoded images to keep where so much memory is free: an eighth, at most 512 MiB."""
    return min(_MOST_BYTES, memory // _SHARE)


class KeptPixels:
    """RGB images by id; those that come when the limit is reached are not kept. Safe to fill from several threads.

    A copy that is sent to another process is empty, and keeps nothing.

    limit_bytes : of all pixels together.
    """

    def __init__(self, limit_bytes: int = 0) -> None:
        self._limit_bytes = limit_bytes
        self._num_bytes = 0
        self._pixels: dict[str, NDArray[np.uint8]] = {}
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return len(self._pixels)

    def add(self, sample: str, image: "Image") -> None:
        """Keep an RGB image, if there is room."""
        num_bytes = 3 * image.height * image.width
        with self._lock:
            if self._num_bytes + num_bytes > self._limit_bytes:
                return
            self._num_bytes += num_bytes
        self._pixels[sample] = np.asarray(image)

    def pixels(self, sample: str) -> NDArray[np.uint8] | None:
        """The image's pixels, shape (height, width, 3); None where it is not kept."""
        return self._pixels.get(sample)

    def get(self, sample: str) -> "Image | None":
        """The image as it was; None where it is not kept."""
        from PIL import Image

        pixels = self.pixels(sample)
        return None if pixels is None else Image.fromarray(pixels)

    def __reduce__(self) -> tuple[Any, ...]:
        return KeptPixels, ()
