"""Scatter within classes against scatter between them: what neural collapse and separation fuzziness are made of."""

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from core.measures.center import CenterGeometry
from core.measures.significance import Codes

_ROUNDING = 1e-12  # of the total variance; what is less may be the rounding of float32 features


def scatter_ratios(geometry: CenterGeometry, labelings: Codes, *, equal_classes: bool) -> NDArray[np.float64]:
    """tr(S_W S_B⁺) under each of several labelings.

    With the class means about their weighted mean as the rows of M, each times the root of its weight, S_B = MᵀM has
    the eigenvalues λ of MMᵀ and the directions Mᵀu/√λ. So inner products of samples and means are all it takes, and
    no d × d matrix. One λ of MMᵀ is 0, and left out as rounding.

    Parameters
    ----------
    geometry : of n samples.
    labelings : shape (l, n): codes of C classes, each with at least one sample, as many in every row.
    equal_classes : whether each class mean has the weight 1/C, not its share of the samples.

    Returns
    -------
    float64, shape (l,); nan where all class means coincide.
    """
    counts = np.bincount(labelings[0])
    weights = np.full(len(counts), 1 / len(counts)) if equal_classes else counts / counts.sum()
    return np.array([_ratio(geometry, codes, counts, weights) for codes in labelings])


def _ratio(geometry: CenterGeometry, codes: Codes, counts: NDArray[np.int64], weights: NDArray[np.float64]) -> float:
    """tr(S_W S_B⁺) of one labeling."""
    averages, roots = _averages(codes, counts), np.sqrt(weights)
    means = averages @ geometry.inner
    to_means = np.asarray(means.T if geometry.is_gram else geometry.inner @ means.T)  # inner products, shape (n, C)
    between = averages @ to_means
    within = to_means - between[codes]  # of each sample's distance to its mean
    between -= (between @ weights)[:, None]  # all of them about the weighted mean
    between -= weights @ between
    within -= (within @ weights)[:, None]
    values, vectors = np.linalg.eigh(between * roots * roots[:, None])
    is_large = values > _ROUNDING * geometry.squared_lengths.mean()
    if not is_large.any():
        return float("nan")
    along = within * roots @ vectors[:, is_large] / values[is_large]
    return float((along**2).sum() / len(codes))


def _averages(codes: Codes, counts: NDArray[np.int64]) -> sparse.csr_array:
    """Takes samples to class means, shape (C, n)."""
    members = np.argsort(codes, kind="stable")
    starts = np.concatenate([[0], np.cumsum(counts)])
    return sparse.csr_array((np.repeat(1 / counts, counts), members, starts), shape=(len(counts), len(codes)))
