"""Samples with equal features, and what such copies do to the results."""

import hashlib
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from core.data.images.copies import leak_notes, within_split_notes
from core.search.rows import as_matrix, row_blocks
from core.study.store.tables.ties import MOST_TIED

_DIGEST_BYTES = 16


class RowCopies:
    """Groups of samples that have been equal at every layer so far.

    Copies of an input have equal features at every layer. Other samples may be equal at some, as where a layer rounds
    to few values. So a sample counts as a copy only where it is one at all layers that were added, and a layer is read
    only for samples that still are: where no two rows of the first layer are equal, nothing more is read. A row is
    known by a hash of 16 bytes. A layer whose rows are all equal says nothing about copies and is passed over.

    Parameters
    ----------
    splits : "train" or "test" for each sample, shape (n,).
    """

    def __init__(self, splits: NDArray[np.str_]) -> None:
        self._splits = splits
        self._groups: NDArray[np.int64] | None = None  # equal numbers are equal samples; None before the first layer

    def add(self, *parts: ArrayLike) -> None:
        """Take in a layer: its features of shape (n, ...), or several parts of them one after the other."""
        groups = np.zeros(len(self._splits), dtype=np.int64) if self._groups is None else self._groups
        candidates = np.flatnonzero(np.bincount(groups)[groups] > 1)
        if len(candidates) == 0:
            return
        digests = _row_digests([as_matrix(part) for part in parts], candidates)
        if self._groups is None and len(set(digests)) == 1:
            return
        refined = np.arange(len(groups))  # a sample alone is a group of its own
        first_rows: dict[tuple[int, bytes], int] = {}
        for row, digest in zip(candidates.tolist(), digests, strict=True):
            refined[row] = first_rows.setdefault((int(groups[row]), digest), row)
        self._groups = refined

    def notes(self) -> list[str]:
        """What the copies do to the results; nothing where there are none.

        Nothing either where more than `ties.MOST_TIED` of the samples equal two others or more, as where features take
        few values: these are ties at every layer, from which nothing is concluded, and the tie caution says so.
        """
        if self._groups is None:
            return []
        by_split = {split: self._groups[self._splits == split] for split in ("train", "test")}
        notes: list[str] = []
        if not _has_many_equals(by_split["test"], by_split["train"], least=2):
            notes += leak_notes(self._groups, self._splits, "sample", "number for number")
        for split, groups in by_split.items():
            if not _has_many_equals(groups, groups, least=3):  # itself, and two others
                notes += within_split_notes(groups, np.full(len(groups), split), "sample")
        return notes


def _has_many_equals(queries: NDArray[np.int64], references: NDArray[np.int64], *, least: int) -> bool:
    """Whether so many queries equal `least` references or more that they are too many ties to conclude anything."""
    if len(queries) == 0 or len(references) == 0:
        return False
    num_equal = np.bincount(references, minlength=queries.max() + 1)[queries]
    return float((num_equal >= least).mean()) > MOST_TIED


def _row_digests(parts: Sequence[NDArray[Any]], rows: NDArray[np.int64]) -> list[bytes]:
    """A hash of each of some rows, ascending, of matrices one after the other; 0 and -0 are the same number."""
    dtype = np.result_type(*parts)
    digests = []
    start = 0
    for matrix in parts:
        inside = rows[(rows >= start) & (rows < start + len(matrix))] - start
        for block in row_blocks(len(inside), matrix.shape[1] * dtype.itemsize):
            numbers = matrix[inside[block]].astype(dtype)
            numbers += dtype.type(0)  # turns -0 into 0
            digests += [hashlib.blake2b(row.tobytes(), digest_size=_DIGEST_BYTES).digest() for row in numbers]
        start += len(matrix)
    return digests
