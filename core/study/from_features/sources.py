"""Where the samples of ready-made features come from: image files, which pages show, or names that are none."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from core.data.sampling import name_some

_IMAGE_SUFFIXES = {
    ".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".bmp", ".gif", ".webp", ".tif", ".tiff", ".avif", ".heic", ".jp2",
    ".ppm", ".pgm",
}  # fmt: skip


@dataclass(frozen=True)
class SampleSources:
    """Sources, checked.

    Attributes
    ----------
    names : tuple of str
        Of files their paths below `folder`, with forward slashes; others as given.
    folder : str
        The absolute path of the folder that all files lie in; "" where none is a file.
    caution : str
        What belongs beside the study; "" where there is nothing to say.
    """

    names: tuple[str, ...]
    folder: str = ""
    caution: str = ""


def check_sources(sources: Sequence[str | os.PathLike[str]]) -> SampleSources:
    """Find the files that sources name; addresses and other names are no files.

    Parameters
    ----------
    sources : paths, absolute or relative to the current folder, addresses such as "https://...", or names.

    Raises
    ------
    ValueError
        If a source is called as an image file is, or stands beside files, and there is no such file.
    """
    texts = [os.fspath(source) if isinstance(source, os.PathLike) else str(source) for source in sources]
    files = [_file(text) for text in texts]
    missing = [
        text
        for text, source, file in zip(texts, sources, files, strict=True)
        if file is None and "://" not in text and (any(files) or _is_image_path(text, source))
    ]
    if missing:
        raise ValueError(
            f"sources must be files that exist, or no paths; {len(missing):,} of {len(texts):,} are missing: "
            f"{name_some([repr(text) for text in missing])}. Paths are relative to the current folder, {os.getcwd()}; "
            "give names that are no paths as ids."
        )
    there = [file for file in files if file is not None]
    if not there:
        return SampleSources(tuple(texts), caution=_NO_FILES)
    folder = Path(os.path.commonpath([file.parent for file in there]))
    names = [
        text if file is None else file.relative_to(folder).as_posix() for text, file in zip(texts, files, strict=True)
    ]
    return SampleSources(tuple(names), folder=str(folder))


def _file(text: str) -> Path | None:
    """The absolute path of a file; None where there is none."""
    try:
        path = Path(text).absolute()
        return Path(os.path.normpath(path)) if path.is_file() else None
    except (OSError, ValueError):  # a name that cannot be a path: too long, or with a null character
        return None


def _is_image_path(text: str, source: str | os.PathLike[str]) -> bool:
    return isinstance(source, os.PathLike) or os.path.splitext(text)[1].lower() in _IMAGE_SUFFIXES


_NO_FILES = "The sources of the samples are names, not files: pages show no pictures of them."
