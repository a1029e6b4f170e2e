"""Two-NN intrinsic dimension: how many directions the samples vary in nearby, from their two nearest neighbors."""

from __future__ import annotations  # so that help() shows the names of types as they are written here

from dataclasses import dataclass
from math import floor

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import gammaincinv

from core.search.neighbors import nearest_neighbors
from core.search.rows import as_matrix

DISCARD = 0.1  # of the largest ratios, as in the paper
_NAN = float("nan")


@dataclass(frozen=True)
class IntrinsicDimension:
    """The Two-NN estimate of n samples.

    value : the slope of the paper's line through the origin; nan where fewer than two ratios are left.
    likelihood : the unbiased maximum-likelihood estimate from the same ratios, those discarded counted as censored.
    low, high : its 95% interval, exact for independent ratios. Samples share neighbors, so it is somewhat too narrow.
    num_used : ratios that the line was fitted to.
    num_duplicates : samples left out because their nearest neighbor lies at distance 0.
    """

    value: float
    likelihood: float
    low: float
    high: float
    num_used: int
    num_duplicates: int


def intrinsic_dimension(
    features: ArrayLike, *, discard: float = DISCARD, metric: str = "euclidean"
) -> IntrinsicDimension:
    """The Two-NN intrinsic dimension of some samples.

    Where the density hardly changes between a sample's nearest neighbor, at distance r₁, and the second, at r₂, the
    ratio μ = r₂/r₁ has P(μ > x) = x⁻ᵈ, with d the dimension of the manifold that the samples lie on. The paper fits
    −log(1 − F(μ)) = d·log μ by least squares, through the origin, with F(μ₍ᵢ₎) = i/n, and leaves out the largest
    ratios. The maximum-likelihood estimate needs no line and is less sensitive to single ratios.

    At least 0, in principle at most the number of features; estimates for few samples of high dimension are too low. No
    rotation, shift or common scale changes it. Labels play no part, so there is no chance level.

    Parameters
    ----------
    features : array of shape (n, d), or (n, ...), flattened per sample; finite, n >= 3.
    discard : share of the largest ratios to leave out, 0 < discard < 1: the last one cannot be fitted, for there F = 1.
    metric : as in `nearest_neighbors`.

    Raises
    ------
    ValueError
        NaN or infinity, fewer than three samples, a share outside (0, 1).

    References
    ----------
    Facco et al., Scientific Reports 7, 12140, 2017, arXiv 1803.06992; Denti et al., Scientific Reports 12, 20005, 2022.
    """
    if len(as_matrix(features)) < 3:
        raise ValueError(
            f"features must have at least three samples; got {len(as_matrix(features))}. Each needs two neighbors."
        )
    return dimension_of_distances(nearest_neighbors(features, k=2, metric=metric).distances, discard=discard)


def dimension_of_distances(distances: NDArray[np.floating], *, discard: float = DISCARD) -> IntrinsicDimension:
    """Compute the dimension from given distances.

    Parameters
    ----------
    distances : shape (n, k), k >= 2: each sample's distances to its nearest neighbors, ascending.
    """
    if not 0 < discard < 1:
        raise ValueError(f"discard must lie between 0 and 1; got {discard}. {DISCARD} is usual.")
    if distances.ndim != 2 or distances.shape[1] < 2:
        raise ValueError(f"distances must have shape (n, k) with k >= 2; got {distances.shape}. Ask for k=2.")
    first, second = (distances[:, rank].astype(np.float64) for rank in (0, 1))
    apart = first > 0
    logs = np.sort(np.log(second[apart] / first[apart]))
    num_ratios, num_duplicates = len(logs), int((~apart).sum())
    retained = logs[: floor(num_ratios * (1 - discard) + 1e-9)]
    if len(retained) < 2 or retained[-1] == 0:
        return IntrinsicDimension(_NAN, _NAN, _NAN, _NAN, len(retained), num_duplicates)
    heights = -np.log1p(-np.arange(1, len(retained) + 1) / num_ratios)
    exposure = retained.sum() + (num_ratios - len(retained)) * retained[-1]
    low, high = gammaincinv(len(retained), [0.025, 0.975]) / exposure
    return IntrinsicDimension(
        value=float(retained @ heights / (retained @ retained)),
        likelihood=float((len(retained) - 1) / exposure),
        low=float(low),
        high=float(high),
        num_used=len(retained),
        num_duplicates=num_duplicates,
    )
