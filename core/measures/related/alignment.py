"""Linear centered kernel alignment: how alike two sets of features of the same samples are."""

from __future__ import annotations  # so that help() shows the names of types as they are written here

from dataclasses import dataclass
from math import sqrt
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from core.data.cached_property import cached_property
from core.measures.center import CenterGeometry

FEWEST = 4  # samples that the debiased variant needs
_NAN = float("nan")


@dataclass(frozen=True)
class Alignment:
    """Linear CKA of two sets of features.

    value : 0 to 1. chance : what it is on average where the rows of one are permuted at random, exactly.
    debiased : the same with unbiased estimates of each part, at most 1, and 0 on average where rows are permuted.
    num_samples : samples that it was computed on.
    """

    value: float
    chance: float
    debiased: float
    num_samples: int


@dataclass(frozen=True, eq=False)
class CenteredGram:
    """The inner products of n samples about their mean, up to a common factor: all that CKA takes of a set of features.

    half : shape (n·(n + 1)/2,), the upper triangle row by row, the diagonal included. Every row of the whole sums to 0.
    """

    half: NDArray[np.floating[Any]]

    @classmethod
    def of(cls, features: ArrayLike) -> CenteredGram:
        """From features of shape (n, d), or (n, ...), flattened per sample."""
        geometry = CenterGeometry.of(features)
        matrix = geometry.inner if geometry.is_gram else geometry.inner @ geometry.inner.T
        means = matrix.mean(axis=0)  # not quite 0: the geometry is about a mean in the features' precision
        matrix = matrix - means - means[:, None] + means.mean()
        return cls(matrix[np.triu_indices(len(matrix))])

    def __len__(self) -> int:
        return int((np.sqrt(8 * len(self.half) + 1) - 1) / 2)

    @cached_property
    def diagonal(self) -> NDArray[np.float64]:
        """The samples' squared distances to their mean."""
        rows = np.arange(len(self), 0, -1)
        values: NDArray[np.float64] = self.half[np.cumsum(rows) - rows].astype(np.float64)
        return values

    @cached_property
    def length(self) -> float:
        """The Frobenius norm of the whole."""
        return sqrt(max(0.0, self.inner(self)))

    def inner(self, other: CenteredGram) -> float:
        """Sum of the products of all entries."""
        return 2 * float(np.vdot(self.half, other.half)) - float(self.diagonal @ other.diagonal)

    def unbiased(self, other: CenteredGram) -> float:
        """The same for the U-statistic of Song et al., times n·(n − 3): rows that sum to 0 shorten their equation 5."""
        n, both = len(self), float(self.diagonal @ other.diagonal)
        traces = float(self.diagonal.sum() * other.diagonal.sum())
        return self.inner(other) - both * n / (n - 2) + traces / ((n - 1) * (n - 2))


def linear_cka(first: ArrayLike | CenteredGram, second: ArrayLike | CenteredGram) -> Alignment:
    """Linear centered kernel alignment of two sets of features of the same samples.

    With centered X and Y, CKA = ‖YᵀX‖²/(‖XᵀX‖·‖YᵀY‖) in Frobenius norms, computed from the inner products of samples as
    ⟨XXᵀ, YYᵀ⟩/(‖XXᵀ‖·‖YYᵀ‖), which costs O(n²) a pair once these are there, however wide the features.

    Range 0 to 1, higher is more alike. It depends on neither rotation, shift nor common scale of either, is symmetric,
    and is dominated by the directions of largest variance. **With few samples beside the features it is large for
    unrelated features too**: `chance` = tr(XXᵀ)·tr(YYᵀ)/((n − 1)·‖XXᵀ‖·‖YYᵀ‖) says how large. The debiased variant
    replaces each inner product by its U-statistic, whose expectation under permuted rows is 0.

    Parameters
    ----------
    first, second : arrays of shape (n, d) and (n, e), or (n, ...), n >= 4, rows the same samples; or `CenteredGram`,
        to compare one with many.

    Returns
    -------
    Alignment
        Values are nan where one set of features is constant.

    Raises
    ------
    ValueError
        NaN or infinity, numbers of samples that differ, fewer than four.

    References
    ----------
    Kornblith et al., arXiv 1905.00414; debiased: Song et al., JMLR 13, 2012, and Nguyen et al., arXiv 2010.15327.
    """
    one, other = (given if isinstance(given, CenteredGram) else CenteredGram.of(given) for given in (first, second))
    if len(one) != len(other):
        raise ValueError(
            f"second must have {len(one)} samples, as first; got {len(other)}. Pass the same samples in one order."
        )
    if len(one) < FEWEST:
        raise ValueError(f"first must have at least {FEWEST} samples; got {len(one)}. Take more.")
    lengths = one.length * other.length
    if lengths == 0:
        return Alignment(_NAN, _NAN, _NAN, len(one))
    return Alignment(
        value=one.inner(other) / lengths,
        chance=float(one.diagonal.sum() * other.diagonal.sum()) / ((len(one) - 1) * lengths),
        debiased=_debiased(one, other),
        num_samples=len(one),
    )


def _debiased(one: CenteredGram, other: CenteredGram) -> float:
    """nan where one of them is nothing but what its diagonal explains."""
    squares = [gram.unbiased(gram) for gram in (one, other)]
    if any(square < 1e-12 * gram.length**2 for square, gram in zip(squares, (one, other), strict=True)):
        return _NAN
    return one.unbiased(other) / sqrt(squares[0] * squares[1])
