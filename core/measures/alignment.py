"""Linear centered kernel alignment: how alike two sets of features of the same samples are."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import ArrayLike, NDArray

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
    """The inner products of n samples about their mean: all that CKA takes of a set of features.

    matrix : float64, shape (n, n), symmetric, its rows sum to 0; known up to a common factor.
    """

    matrix: NDArray[np.float64]

    @classmethod
    def of(cls, features: ArrayLike) -> "CenteredGram":
        """From features of shape (n, d), or (n, ...), flattened per sample."""
        geometry = CenterGeometry.of(features)
        matrix = geometry.inner if geometry.is_gram else geometry.inner @ geometry.inner.T
        means = matrix.mean(axis=0)  # not quite 0: the geometry is about a mean in the features' precision
        return cls(matrix - means - means[:, None] + means.mean())

    def __len__(self) -> int:
        return len(self.matrix)

    @cached_property
    def length(self) -> float:
        """The Frobenius norm."""
        return float(np.linalg.norm(self.matrix))

    @cached_property
    def unbiased(self) -> NDArray[np.float64]:
        """U-centered (Székely and Rizzo 2014): zero diagonal, rows that sum to 0; of norm 1 unless zero."""
        n = len(self.matrix)
        off = self.matrix - np.diag(self.matrix.diagonal())
        sums = off.sum(axis=1)
        centered = off - (sums + sums[:, None]) / (n - 2) + sums.sum() / ((n - 1) * (n - 2))
        np.fill_diagonal(centered, 0)
        length = np.linalg.norm(centered)
        return centered / length if length > n * np.finfo(np.float64).eps * self.length else np.zeros_like(centered)


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
    traces = float(one.matrix.trace() * other.matrix.trace())
    return Alignment(
        value=float(np.vdot(one.matrix, other.matrix) / lengths),
        chance=traces / ((len(one) - 1) * lengths),
        debiased=_debiased(one, other),
        num_samples=len(one),
    )


def _debiased(one: CenteredGram, other: CenteredGram) -> float:
    """nan where one of them is nothing but what its diagonal explains."""
    value = float(np.vdot(one.unbiased, other.unbiased))
    return value if one.unbiased.any() and other.unbiased.any() else _NAN
