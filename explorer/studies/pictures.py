"""Where a study's pictures come from: scikit-learn's digits, or the study's data folder if it is on this machine."""

import io
import os
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from core.data.images.decoding import PixelRanges, decode
from core.study.store.study_json import look_up
from explorer.server.public_mode import is_public

DIGITS = "digits"
DIGIT_PIXELS = 160  # of a picture's side; twenty times a digit's own, so that its pixels stay square
PICTURE_PIXELS = 320  # of the longer side; two a point of the screen
MAX_FILE_BYTES = 32 << 20  # bytes


@dataclass(frozen=True)
class Pictures:
    """The pictures of one study: of scikit-learn's digits, in a folder, or none.

    ranges : what the study took for white in images of more than 8 bits a pixel.
    """

    digits: bool = False
    folder: Path | None = None
    ranges: PixelRanges | None = None

    def __bool__(self) -> bool:
        return self.digits or self.folder is not None

    def png(self, source: str) -> bytes | None:
        """A sample's picture as PNG, small; None where there is none, or it cannot be read.

        source : of the table `samples`: "digits/0042", or a path below the folder.
        """
        try:
            if self.digits:
                return _digit(int(source.rpartition("/")[2]))
            path = None if self.folder is None else inside(self.folder, source)
            return None if path is None else _thumbnail(path, self.ranges)
        except Exception:  # whatever a broken file makes a decoder do, the page shows the sample's name instead
            return None


def study_pictures(info: Mapping[str, Any], environ: Mapping[str, str] = os.environ) -> Pictures:
    """Where the pictures of a study are: below its data folder, or, of ready-made features, below that of its sources.

    In public no folder of the server is ever opened, whatever a study says.

    info : the content of study.json.
    """
    data = look_up(info, "asked.data") or look_up(info, "used.data.sources_folder")
    if data == DIGITS:
        return Pictures(digits=True)
    if not isinstance(data, str) or not data or is_public(environ):
        return Pictures()
    try:
        folder = Path(data).expanduser()
        is_there = folder.is_dir()
    except (OSError, RuntimeError):  # a name that is too long, or the home folder of nobody
        return Pictures()
    return Pictures(folder=folder.resolve(), ranges=_ranges(info)) if is_there else Pictures()


def _ranges(info: Mapping[str, Any]) -> PixelRanges | None:
    """What the study says of images of more than 8 bits a pixel; None where it says nothing, or no numbers."""
    white = [look_up(info, f"used.data.white.{kind}") for kind in ("integers", "floats")]
    if not all(isinstance(value, int | float) and value >= 1 for value in white):
        return None
    return PixelRanges(*white)


def inside(folder: Path, source: str) -> Path | None:
    """The file that a source names below the folder; None where there is none, or it leads out of the folder."""
    if not source or "\0" in source:
        return None
    path = (folder / source).resolve()
    return path if path.is_relative_to(folder.resolve()) and path.is_file() else None


def _digit(row: int) -> bytes:
    from PIL import Image

    values = _digit_values()[row] if row >= 0 else None
    if values is None:
        raise IndexError(row)
    gray = Image.fromarray((255 - values * (255 / 16)).round().astype(np.uint8))  # dark on light, as on paper
    return _png(gray.resize((DIGIT_PIXELS, DIGIT_PIXELS), Image.Resampling.NEAREST))


@cache
def _digit_values() -> NDArray[np.float64]:
    """All digits, shape (1797, 8, 8), from 0 to 16: 0.9 MB, read once."""
    from sklearn.datasets import load_digits

    return np.asarray(load_digits().images)


def _thumbnail(path: Path, ranges: PixelRanges | None) -> bytes | None:
    if path.stat().st_size > MAX_FILE_BYTES:
        return None
    image = decode(path.read_bytes(), ranges)
    image.thumbnail((PICTURE_PIXELS, PICTURE_PIXELS))
    return _png(image)


def _png(image: Any) -> bytes:
    file = io.BytesIO()
    image.save(file, format="PNG")
    return file.getvalue()
