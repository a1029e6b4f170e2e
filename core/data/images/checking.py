"""The check of all chosen images before a long computation: digests, sizes, value ranges, and unreadable files."""

import hashlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from core.data.errors import Fault
from core.data.images.choosing import Choice
from core.data.images.decoding import (
    DeepPixels,
    PixelRanges,
    brightest_level,
    decode_deep,
    failure_reason,
    in_threads,
    pixel_ranges,
)
from core.data.images.labelled_images import LabelledImages, Skipped
from core.data.images.pixel_cache import KeptPixels
from core.data.sampling import name_some

if TYPE_CHECKING:
    from PIL.Image import Image

_CHUNK = 64  # images between two reports of progress, which may end the check
_FEW_LEVELS = 16  # of 256 grays: an image that uses no more of them, from black on, is hardly meant so
_DARK = 63  # the largest upper byte of 16-bit colors that fill at most 14 bits


@dataclass(frozen=True)
class _Facts:
    """The result of the check of one image.

    Attributes
    ----------
    digest : str
        SHA-256 of the encoded image.
    size : (int, int)
        Height and width.
    deep : DeepPixels or None
        Kind and largest value of pixels with more than 8 bits.
    brightest : int
        Largest value, from 0 to 255; has no meaning for deep pixels, since it depends on the range.
    """

    digest: str
    size: tuple[int, int]
    deep: DeepPixels | None
    brightest: int


def check_images(
    images: LabelledImages,
    encoded: Callable[[str], bytes],
    choose: Callable[[LabelledImages], Choice],
    *,
    skip_broken: bool,
    other_ids: Sequence[str] = (),
    keep_bytes: int = 0,
    progress: Callable[[int, int], None] | None,
) -> Choice:
    """Choose samples, and decode each image once to check it; unreadable images can be replaced by other samples.

    Parameters
    ----------
    images : LabelledImages
        All samples that may be chosen.
    encoded : callable
        Takes an id; returns the bytes of the image.
    choose : callable
        Chooses among readable samples; called again after unreadable ones have been left out.
    skip_broken : bool
        Leave out unreadable images, and list them in `.skipped`; otherwise they are a fault.
    other_ids : sequence of str
        Further images of the data set, whose pixel values count if one scale is needed for all images.
    keep_bytes : int
        Bytes of decoded pixels that are kept in memory for `LabelledImages.load`.
    progress : callable or None
        Called with the number of checked images and of all images to check.

    Returns
    -------
    Choice
        The chosen samples with digests and sizes, and faults.
    """
    facts: dict[str, _Facts | Skipped] = {}
    kept = KeptPixels(keep_bytes)
    choice = choose(images)
    while unknown := [sample for sample in choice.images.ids if sample not in facts]:
        facts |= _facts(encoded, unknown, kept, len(facts), progress)
        skipped = _skipped(facts.values())
        if skipped and not skip_broken:
            return replace(choice, faults=(*choice.faults, _broken_fault(skipped, len(facts))))
        readable = [row for row, sample in enumerate(images.ids) if not isinstance(facts.get(sample), Skipped)]
        choice = choose(images.select(readable))
    good = [fact for fact in (facts[sample] for sample in choice.images.ids) if isinstance(fact, _Facts)]
    deep = [fact.deep for fact in good if fact.deep is not None]
    if any(pixels.kind != "colors" for pixels in deep):
        unseen = [sample for sample in (*images.ids, *other_ids) if sample not in facts]
        deep += _deep_pixels(_facts(encoded, unseen, KeptPixels(), len(facts), progress).values())
    ranges = pixel_ranges(deep)
    checked = replace(
        choice.images,
        digests=tuple(fact.digest for fact in good),
        sizes=np.array([fact.size for fact in good], dtype=np.int64).reshape(-1, 2),
        skipped=_skipped(facts.values()),
        ranges=ranges,
        kept=kept,
        notes=images.notes + _range_notes(deep, ranges) + _dark_notes(good, ranges),
    )
    return replace(choice, images=checked)


def _skipped(facts: Iterable[_Facts | Skipped]) -> tuple[Skipped, ...]:
    return tuple(sorted((fact for fact in facts if isinstance(fact, Skipped)), key=lambda skipped: skipped.id))


def _deep_pixels(facts: Iterable[_Facts | Skipped]) -> list[DeepPixels]:
    return [fact.deep for fact in facts if isinstance(fact, _Facts) and fact.deep is not None]


def _broken_fault(skipped: Sequence[Skipped], num_checked: int) -> Fault:
    named = [f"{broken.id!r} ({broken.reason})" for broken in skipped]
    return Fault(
        f"images must all be readable; {len(skipped):,} of {num_checked:,} cannot be read: {name_some(named)}.",
        "Replace or remove the files.",
        "leave them out",
        ("skip_broken", True),
    )


def _range_notes(deep: Sequence[DeepPixels], ranges: PixelRanges) -> tuple[str, ...]:
    """Return notes on images whose white is not the largest possible value, and on dark 16-bit colors."""
    notes = []
    for kind, words, white, usual in (
        ("integers", "16 bits or more a pixel", ranges.integers, PixelRanges.integers),
        ("floats", "floating-point pixels", ranges.floats, PixelRanges.floats),
    ):
        values = [pixels.largest for pixels in deep if pixels.kind == kind]
        if values and white != usual:
            notes.append(
                f"{_images(len(values))} {words} and values up to {max(values):,g} in the whole data set: 0 to "
                f"{white:,g} is read as black to white in all of them."
            )
    colors = [pixels.largest for pixels in deep if pixels.kind == "colors"]
    if colors and max(colors) <= _DARK:
        notes.append(
            f"{_images(len(colors))} 16 bits a color, of which only the upper 8 can be read: they are dark or black, "
            f"for none exceeds {max(colors):,g} of 255. Save them with 8 bits a color."
        )
    return tuple(notes)


def _dark_notes(facts: Sequence[_Facts], ranges: PixelRanges) -> tuple[str, ...]:
    """Return a note on images that are black or nearly black after decoding, except 16-bit colors."""
    plain = [fact.brightest for fact in facts if fact.deep is None]
    levels = [brightest_level(fact.deep, ranges) for fact in facts if fact.deep and fact.deep.kind != "colors"]
    if 2 * sum(level < _FEW_LEVELS for level in plain) >= len(plain):  # a few black photographs are meant so
        levels += plain
    num_dark = sum(level < _FEW_LEVELS for level in levels)
    if not num_dark:
        return ()
    num_black = levels.count(0)
    black = f", and {num_black:,} {'is' if num_black == 1 else 'are'} black all over" if num_black else ""
    return (
        f"{num_dark:,} of {len(facts):,} images {'is' if num_dark == 1 else 'are'} read as black or nearly black: they "
        f"use no more than the darkest {_FEW_LEVELS} of 256 levels{black}. If they are not meant so, save them with 8 "
        "bits a pixel and values from 0 to 255.",
    )


def _images(count: int) -> str:
    return "1 image has" if count == 1 else f"{count:,} images have"


def _facts(
    encoded: Callable[[str], bytes],
    ids: Sequence[str],
    kept: KeptPixels,
    done: int,
    progress: Callable[[int, int], None] | None,
) -> dict[str, _Facts | Skipped]:
    """Check the images with the given ids; return the result, or the reason of the failure, for each id."""
    facts: dict[str, _Facts | Skipped] = {}
    for start in range(0, len(ids), _CHUNK):
        chunk = ids[start : start + _CHUNK]
        facts |= zip(chunk, in_threads(partial(_check, encoded, kept), chunk), strict=True)
        if progress is not None:
            progress(done + len(facts), done + len(ids))
    return facts


def _check(encoded: Callable[[str], bytes], kept: KeptPixels, sample: str) -> _Facts | Skipped:
    try:
        data = encoded(sample)
        image, deep = decode_deep(data)
    except Exception as error:  # decoders raise anything on broken files: OSError, SyntaxError, struct.error, ...
        return Skipped(sample, failure_reason(error))
    if deep is None:  # how a deep image is read depends on all others
        kept.add(sample, image)
    return _Facts(hashlib.sha256(data).hexdigest(), (image.height, image.width), deep, _brightest(image))


def _brightest(image: "Image") -> int:
    """Return the largest value of any channel of an RGB image."""
    extremes: Any = image.getextrema()
    return max(int(high) for _, high in extremes)
