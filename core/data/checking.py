"""Every chosen image decoded once, before a long computation: digests, sizes, and what cannot be read."""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np

from core.data.decoding import decode, failure_reason, in_threads
from core.data.errors import DataError
from core.data.images import LabelledImages, Skipped
from core.data.sampling import name_some

_CHUNK = 256  # images between two reports of progress


@dataclass(frozen=True)
class _Facts:
    """What the check of one image yields: SHA-256 of its bytes, and (height, width)."""

    digest: str
    size: tuple[int, int]


def check_images(
    images: LabelledImages,
    encoded: Callable[[str], bytes],
    choose: Callable[[LabelledImages], LabelledImages],
    *,
    skip_broken: bool,
    progress: Callable[[int, int], None] | None,
) -> LabelledImages:
    """The chosen samples, each image decoded once, with digests and sizes; the next ones stand in for broken ones.

    Parameters
    ----------
    images : all samples that may be chosen. encoded : from an id to the image's bytes.
    choose : takes the samples wanted from the readable ones; asked again whenever broken ones are found.
    skip_broken : leave what cannot be read out, and list it in `.skipped`.
    progress : called with (images checked, images to check).

    Raises
    ------
    DataError
        An image cannot be read, and `skip_broken` is false.
    """
    facts: dict[str, _Facts | Skipped] = {}
    skipped: tuple[Skipped, ...] = ()
    chosen = choose(images)
    while unknown := [sample for sample in chosen.ids if sample not in facts]:
        facts |= _facts(encoded, unknown, len(facts), progress)
        skipped = tuple(fact for _, fact in sorted(facts.items()) if isinstance(fact, Skipped))
        if skipped and not skip_broken:
            named = [f"{broken.id!r} ({broken.reason})" for broken in skipped]
            raise DataError(
                f"images must all be readable; {len(skipped)} of {len(facts)} cannot be read: {name_some(named)}. "
                "Replace or remove the files, or leave them out with --skip-broken (skip_broken=True)."
            )
        readable = [row for row, sample in enumerate(images.ids) if not isinstance(facts.get(sample), Skipped)]
        chosen = choose(images.select(readable))
    known = [facts[sample] for sample in chosen.ids]
    good = [fact for fact in known if isinstance(fact, _Facts)]
    return replace(
        chosen,
        digests=tuple(fact.digest for fact in good),
        sizes=np.array([fact.size for fact in good], dtype=np.int64),
        skipped=skipped,
    )


def _facts(
    encoded: Callable[[str], bytes],
    ids: Sequence[str],
    done: int,
    progress: Callable[[int, int], None] | None,
) -> dict[str, _Facts | Skipped]:
    """Facts or the reason of failure for each id; `done` samples are known already."""
    facts: dict[str, _Facts | Skipped] = {}
    for start in range(0, len(ids), _CHUNK):
        chunk = ids[start : start + _CHUNK]
        facts |= zip(chunk, in_threads(partial(_check, encoded), chunk), strict=True)
        if progress is not None:
            progress(done + len(facts), done + len(ids))
    return facts


def _check(encoded: Callable[[str], bytes], sample: str) -> _Facts | Skipped:
    try:
        data = encoded(sample)
        width, height = decode(data).size
    except Exception as error:  # decoders raise anything on broken files: OSError, SyntaxError, struct.error, ...
        return Skipped(sample, failure_reason(error))
    return _Facts(hashlib.sha256(data).hexdigest(), (height, width))
