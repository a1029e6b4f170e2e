"""Projections of a layer's activations to two dimensions: their principal components.

A picture to find samples by, never a measurement: two of many directions, in which what is near may be far. A neighbor
embedding, which takes the place of these two when all layers are measured, is in `core.study.measuring.embedding`.
"""

from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.linalg import eigh
from scipy.sparse.linalg import ArpackError, eigsh

from core.study.options import PROJECTIONS
from core.study.samples import StudySamples

_FEWEST_FOR_LANCZOS = 32  # rows of a matrix; smaller ones are decomposed
_LANCZOS_VECTORS = 10  # at least


def check_projection(method: str) -> None:
    """Refuse what is no projection."""
    if method not in PROJECTIONS:
        raise ValueError(f"projection must be one of {', '.join(PROJECTIONS)}; got {method!r}.")


def project(features: NDArray[Any]) -> NDArray[np.float32]:
    """Project onto the plane of the two largest principal components.

    Parameters
    ----------
    features : shape (n, d).

    Returns
    -------
    shape (n, 2), the scores on the components, each with the sign that makes its largest score positive; a component
    that the features do not have is 0.
    """
    scores = principal_scores(np.asarray(features, dtype=np.float64), 2)
    plane = np.zeros((len(scores), 2), dtype=np.float32)
    plane[:, : scores.shape[1]] = scores
    return plane


def principal_scores(features: NDArray[np.float64], count: int) -> NDArray[np.float64]:
    """Scores on the largest principal components, the largest first, each with its largest score positive.

    From the eigenvectors of the smaller of covariance (d, d) and Gram matrix (n, n), so that there are at most n or d
    components.
    """
    centered = features - features.mean(axis=0)
    wide = centered.shape[1] > len(centered)
    values, vectors = _largest(centered @ centered.T if wide else centered.T @ centered, count)
    scores = vectors * np.sqrt(values.clip(min=0)) if wide else centered @ vectors
    scores = scores[:, ::-1]  # the largest first
    largest = np.abs(scores).argmax(axis=0)
    return np.asarray(scores * np.where(scores[largest, np.arange(scores.shape[1])] < 0, -1.0, 1.0))


def projection_rows(features: NDArray[Any], samples: StudySamples) -> pd.DataFrame:
    """Rows of the table `projection` but for the layer: all splits in one plane, so that they can be compared."""
    plane = project(features)
    return pd.DataFrame(
        {"split": samples.splits, "sample": np.arange(len(samples)), "x": plane[:, 0], "y": plane[:, 1]}
    )


def _largest(matrix: NDArray[np.float64], count: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """At most `count` largest eigenvalues of a symmetric matrix, ascending, and their eigenvectors.

    By Lanczos iteration from a fixed start, to full precision; small matrices, and those for which it does not
    converge, are decomposed.
    """
    size = len(matrix)
    if size > max(_FEWEST_FOR_LANCZOS, 4 * count) and matrix.any():
        start = np.random.default_rng(0).standard_normal(size)
        try:
            values, vectors = eigsh(matrix, k=count, v0=start, ncv=max(_LANCZOS_VECTORS, 2 * count + 1))
        except ArpackError:
            pass
        else:
            order = np.argsort(values)
            return values[order], vectors[:, order]
    values, vectors = eigh(matrix, subset_by_index=[max(size - count, 0), size - 1])
    return values, vectors
