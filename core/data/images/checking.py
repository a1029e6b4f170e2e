"""Every chosen image decoded once, before a long computation: digests, sizes, ranges, and what cannot be read."""

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

_CHUNK = 256  # images between two reports of progress
_FEW_LEVELS = 16  # of 256 grays: an image that uses no more of them, from black on, is hardly meant so
_DARK = 63  # the largest upper byte of 16-bit colors that fill at most 14 bits


@dataclass(frozen=True)
class _Facts:
    """What the check of one image yields: SHA-256 of its bytes, (height, width), and its range if it is deep.

    brightest : its largest value, 0 to 255, unless that depends on the range.
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
    """The chosen samples, each image decoded once, with digests and sizes; the next ones stand in for broken ones.

    Parameters
    ----------
    images : all samples that may be chosen. encoded : from an id to the image's bytes.
    choose : takes the samples wanted from the readable ones; asked again whenever broken ones are left out.
    skip_broken : leave what cannot be read out, and list it in `.skipped`; otherwise it is a fault.
    other_ids : further images of the data set, whose pixel values count where one scale is needed for all.
    keep_bytes : of decoded pixels that stay in memory for `LabelledImages.load`.
    progress : called with (images checked, images to check).
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
    """What was taken for white where that is not the whole range of the files, and what is too dark to be meant so."""
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
    """How many of the images are black, or nearly, as they are read; 16-bit colors have a note of their own."""
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
    """Facts or the reason of failure for each id; `done` samples are known already."""
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
    """The largest value of any channel of an RGB image."""
    extremes: Any = image.getextrema()
    return max(int(high) for _, high in extremes)
