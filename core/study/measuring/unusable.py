"""Layers whose activations cannot be measured: the same for all samples, or not finite.

Where all rows are equal, every sample is as near as every other, and SI would be what the rule for ties makes of the
order of the samples. Where NaN or infinity is among them, there are no distances. Such a layer has null in place of
values, and a note in the table `layers`; all other layers are measured.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from core.search.rows import row_blocks

CONSTANT = "the same for all samples"
_NOT_FINITE = "not finite"
_CONSTANT_MEANS = (
    "That may be a dead layer (a ReLU that gets negative numbers only), weights of zero, or pixels that are not scaled "
    "as the network expects."
)
_NOT_FINITE_MEANS = (
    "That may be an overflow (16-bit numbers, as under mixed precision, end at 65,504), pixels that are not scaled as "
    "the network expects, or weights that training has let grow without bound."
)


@dataclass(frozen=True)
class UnusableLayer:
    """Stands in place of the activations of a layer; note : why they cannot be measured."""

    note: str


@dataclass(frozen=True)
class Survey:
    """What some samples' activations of a layer are like.

    num_samples : how many samples. num_not_finite : those with NaN or infinity among their activations.
    common_row : digest of the row that all of them share; empty where they differ.
    """

    num_samples: int
    num_not_finite: int
    common_row: bytes

    def with_more(self, other: "Survey") -> "Survey":
        """The same of further samples, too."""
        common_row = self.common_row if self.common_row == other.common_row else b""
        num_samples = self.num_samples + other.num_samples
        return Survey(num_samples, self.num_not_finite + other.num_not_finite, common_row)

    @property
    def note(self) -> str:
        """Why the activations cannot be measured; empty where they can."""
        if self.num_not_finite:
            return f"{_NOT_FINITE} for {self.num_not_finite:,} of {self.num_samples:,} samples"
        return CONSTANT if self.common_row else ""


class SlicedSurvey:
    """The survey of activations that come in slices of columns, each of them for all samples."""

    def __init__(self, num_samples: int) -> None:
        self._is_finite = np.ones(num_samples, bool)
        self._is_constant = True

    def add(self, block: NDArray[Any]) -> None:
        """One slice, shape (n, columns)."""
        for rows in row_blocks(len(block), block[:1].nbytes):
            self._is_finite[rows] &= np.isfinite(block[rows]).all(axis=1)
        self._is_constant = self._is_constant and _is_constant(block)

    @property
    def is_finite(self) -> bool:
        """Whether all activations so far are."""
        return bool(self._is_finite.all())

    @property
    def note(self) -> str:
        """As that of `Survey`, of the slices so far."""
        digest = b"all alike" if self._is_constant else b""
        return Survey(len(self._is_finite), int((~self._is_finite).sum()), digest).note


def survey(features: NDArray[Any]) -> Survey:
    """Survey some samples' activations. features : shape (n, d), read block by block."""
    num_not_finite = 0
    for rows in row_blocks(len(features), features[:1].nbytes):
        num_not_finite += int((~np.isfinite(features[rows]).all(axis=1)).sum())
    digest = hashlib.sha256((features[0] + 0).tobytes()).digest() if _is_constant(features) else b""  # + 0: no −0
    return Survey(len(features), num_not_finite, digest)


def first_not_finite(features: NDArray[Any]) -> tuple[int, int] | None:
    """Row and column of the first NaN or infinity; None where there is none."""
    for rows in row_blocks(len(features), features[:1].nbytes):
        wrong = np.argwhere(~np.isfinite(features[rows]))
        if len(wrong):
            return int(rows.start + wrong[0, 0]), int(wrong[0, 1])
    return None


def layer_note(notes: Mapping[str, str]) -> str | None:
    """The note of a layer, of the notes of its poolings; None where all of them are empty."""
    found = {pooling: note for pooling, note in notes.items() if note}
    if not found:
        return None
    if len(set(found.values())) == 1 and len(found) == len(notes):
        return next(iter(found.values()))
    return "; ".join(f"{pooling}: {note}" for pooling, note in found.items())


def unusable_cautions(layers: pd.DataFrame) -> list[str]:
    """Return cautions about the layers without values, a sentence or two for each of the two kinds.

    layers : the table `layers`, in network order.
    """
    notes = layers.dropna(subset=["note"])
    cautions = []
    for kind, meaning in ((_NOT_FINITE, _NOT_FINITE_MEANS), (CONSTANT, _CONSTANT_MEANS)):
        some = notes[notes["note"].str.contains(kind, regex=False)]
        if len(some):
            first = some.iloc[0]
            later = len(some) - 1
            others = f", and are so at {later} later layer{'s' * (later > 1)}" if later else ""
            cautions.append(
                f"The activations of {first['layer']} are {first['note']}{others}: no value is given there, and all "
                f"other layers are measured. {meaning}"
            )
    return cautions


def _is_constant(features: NDArray[Any]) -> bool:
    """Whether all rows are equal; nearly always answered by the first two."""
    if len(features) > 1 and not np.array_equal(features[0], features[1]):
        return False
    blocks = row_blocks(len(features), features[:1].nbytes)
    return all(bool((features[rows] == features[0]).all()) for rows in blocks)
