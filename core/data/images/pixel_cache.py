"""A cache of decoded images of limited size, so that images are not decoded again after they have been checked."""

import threading
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from PIL.Image import Image

_MOST_BYTES = 1 << 29
_SHARE = 8  # an eighth of the memory


def bytes_to_keep(memory: int) -> int:
    """Return the size of the cache for some free memory, both in bytes: an eighth of it, at most 512 MiB."""
    return min(_MOST_BYTES, memory // _SHARE)


class KeptPixels:
    """A cache of RGB images by id, which can be filled from several threads; a full cache ignores further images.

    A copy that is sent to another process is empty, and stays empty.

    Parameters
    ----------
    limit_bytes : int
        Largest number of bytes of all pixels together.
    """

    def __init__(self, limit_bytes: int = 0) -> None:
        self._limit_bytes = limit_bytes
        self._num_bytes = 0
        self._pixels: dict[str, NDArray[np.uint8]] = {}
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return len(self._pixels)

    def add(self, sample: str, image: "Image") -> None:
        """Add an RGB image, unless the cache is full."""
        num_bytes = 3 * image.height * image.width
        with self._lock:
            if self._num_bytes + num_bytes > self._limit_bytes:
                return
            self._num_bytes += num_bytes
        self._pixels[sample] = np.asarray(image)

    def pixels(self, sample: str) -> NDArray[np.uint8] | None:
        """Return the pixels of an image, shape (height, width, 3); None if it is not in the cache."""
        return self._pixels.get(sample)

    def get(self, sample: str) -> "Image | None":
        """Return an image; None if it is not in the cache."""
        from PIL import Image

        pixels = self.pixels(sample)
        return None if pixels is None else Image.fromarray(pixels)

    def __reduce__(self) -> tuple[Any, ...]:
        return KeptPixels, ()
