"""Pictures of a study's samples: from scikit-learn's digits, or from the study's data folder on this machine."""

import base64
import io
import math
import os
from collections.abc import Mapping, Sequence
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
DIGIT_PIXELS = 160  # side of a picture: an integer multiple of a digit's 8 pixels, so that they stay square
PICTURE_PIXELS = 320  # longer side of a picture: twice its size on the page, for screens of high resolution
LARGE_PIXELS = 840  # longer side of the picture in the dialog
JPEG_QUALITY = 80
MAX_FILE_BYTES = 32 << 20


@dataclass(frozen=True)
class Pictures:
    """The pictures of one study; false if it has none.

    Attributes
    ----------
    digits : bool
        Whether the samples are scikit-learn's digits.
    folder : Path or None
        The folder of the images.
    ranges : PixelRanges or None
        Which values the study took for white in images of more than 8 bits per pixel.
    """

    digits: bool = False
    folder: Path | None = None
    ranges: PixelRanges | None = None

    def __bool__(self) -> bool:
        return self.digits or self.folder is not None

    def thumbnail(self, source: str, side: int) -> Any:
        """A picture of a sample within a square of `side` pixels, as a PIL image; None if there is none."""
        from PIL import Image

        content = self.png(source)
        if content is None:
            return None
        with Image.open(io.BytesIO(content)) as opened:
            image = opened.convert("RGB")
        image.thumbnail((side, side), Image.Resampling.NEAREST if self.digits else Image.Resampling.LANCZOS)
        return image

    def png(self, source: str) -> bytes | None:
        """A small picture of a sample as PNG; None if there is none or it cannot be read.

        Parameters
        ----------
        source : str
            Column of the table `samples`: such as "digits/0042", or a path below the folder.
        """
        try:
            if self.digits:
                return _digit(int(source.rpartition("/")[2]))
            path = None if self.folder is None else inside(self.folder, source)
            return None if path is None else _thumbnail(path, self.ranges, PICTURE_PIXELS, "PNG")
        except Exception:  # decoders raise anything on broken files; the page then shows the sample's name
            return None

    def encoded(self, source: str, pixels: int) -> bytes | None:
        """A picture of a sample in few bytes: a photograph as JPEG, a digit as PNG; None as in `png`.

        Parameters
        ----------
        source : str
            Column of the table `samples`.
        pixels : int
            Longer side of a photograph, if it has as many.
        """
        if self.digits:
            return self.png(source)
        try:
            path = None if self.folder is None else inside(self.folder, source)
            return None if path is None else _thumbnail(path, self.ranges, pixels, "JPEG")
        except Exception:  # as in `png`
            return None


def picture_atlas(pictures: Pictures, sources: Sequence[str], side: int) -> tuple[str, list[int]]:
    """Small pictures in one image, row by row, as a data URL; and the positions of those that there are not.

    Parameters
    ----------
    pictures : Pictures
        The study's pictures.
    sources : sequence of str
        Column `source` of the table `samples`.
    side : int
        Width and height of each square, in pixels.
    """
    from PIL import Image

    columns = max(math.isqrt(len(sources)), 1)
    atlas = Image.new("RGB", (columns * side, -(-len(sources) // columns) * side), "white")
    missing = []
    for number, source in enumerate(sources):
        image = pictures.thumbnail(source, side)
        if image is None:
            missing.append(number)
            continue
        left, top = number % columns * side, number // columns * side
        atlas.paste(image, (left + (side - image.width) // 2, top + (side - image.height) // 2))
    file = io.BytesIO()
    atlas.save(file, format="JPEG", quality=85)
    return f"data:image/jpeg;base64,{base64.b64encode(file.getvalue()).decode()}", missing


def study_pictures(info: Mapping[str, Any], environ: Mapping[str, str] = os.environ) -> Pictures:
    """Locate the pictures of a study: in its data folder or, for ready-made features, in the folder of their sources.

    On a public server no folder is ever opened, whatever a study names.

    Parameters
    ----------
    info : mapping
        Content of study.json.
    environ : mapping
        Environment variables.
    """
    data = look_up(info, "asked.data") or look_up(info, "used.data.sources_folder")
    if data == DIGITS:
        return Pictures(digits=True)
    if not isinstance(data, str) or not data or is_public(environ):
        return Pictures()
    try:
        folder = Path(data).expanduser()
        exists = folder.is_dir()
    except (OSError, RuntimeError):  # a name that is too long, or "~name" without such a user
        return Pictures()
    return Pictures(folder=folder.resolve(), ranges=_ranges(info)) if exists else Pictures()


def _ranges(info: Mapping[str, Any]) -> PixelRanges | None:
    """The values of white in images of more than 8 bits per pixel; None if the study has no valid ones."""
    white = [look_up(info, f"used.data.white.{kind}") for kind in ("integers", "floats")]
    if not all(isinstance(value, int | float) and value >= 1 for value in white):
        return None
    return PixelRanges(*white)


def inside(folder: Path, source: str) -> Path | None:
    """The file of a source below the folder; None if there is none, or if the path leads out of the folder."""
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
    return _encoded(gray.resize((DIGIT_PIXELS, DIGIT_PIXELS), Image.Resampling.NEAREST), "PNG")


@cache
def _digit_values() -> NDArray[np.float64]:
    """All digits, shape (1797, 8, 8), values from 0 to 16; kept, because they take only 0.9 MB."""
    from sklearn.datasets import load_digits

    return np.asarray(load_digits().images)


def _thumbnail(path: Path, ranges: PixelRanges | None, pixels: int, kind: str) -> bytes | None:
    if path.stat().st_size > MAX_FILE_BYTES:
        return None
    image = decode(path.read_bytes(), ranges)
    image.thumbnail((pixels, pixels))
    return _encoded(image, kind)


def _encoded(image: Any, kind: str) -> bytes:
    file = io.BytesIO()
    image.save(file, format=kind, quality=JPEG_QUALITY)  # which a PNG ignores
    return file.getvalue()
