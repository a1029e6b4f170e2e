"""Projections of a layer's activations to two dimensions: principal components, or UMAP on request.

A picture to find samples by, never a measurement: two of many directions, in which what is near may be far.
"""

from importlib.util import find_spec
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.linalg import eigh
from scipy.sparse.linalg import ArpackError, eigsh

from core.study.options import PROJECTIONS
from core.study.samples import StudySamples

_FEWEST_FOR_UMAP = 4  # its initial layout needs as many
_FEWEST_FOR_LANCZOS = 32  # rows of a matrix; smaller ones are decomposed
_LANCZOS_VECTORS = 10


def check_projection(method: str) -> None:
    """Refuse what is no projection, or one whose package is not installed."""
    if method not in PROJECTIONS:
        raise ValueError(f"projection must be one of {', '.join(PROJECTIONS)}; got {method!r}.")
    if method == "umap" and find_spec("umap") is None:
        raise ValueError("projection must be 'pca' or 'none' without umap-learn; got 'umap'. pip install umap-learn.")


def project(features: NDArray[Any], method: str = "pca", *, seed: int = 0) -> NDArray[np.float32]:
    """Project onto a plane.

    Parameters
    ----------
    features : shape (n, d).
    method : "pca", or "umap", for which umap-learn must be installed; fewer than 4 samples are projected by PCA.
    seed : of UMAP; PCA needs none.

    Returns
    -------
    shape (n, 2). Of PCA the scores on the two largest principal components, each with the sign that makes its largest
    score positive; a component that the features do not have is 0.
    """
    check_projection(method)
    if method == "umap" and len(features) >= _FEWEST_FOR_UMAP:
        return _umap(features, seed)
    return _principal_scores(np.asarray(features, dtype=np.float64))


def projection_rows(features: NDArray[Any], samples: StudySamples, method: str, seed: int) -> pd.DataFrame:
    """Rows of the table `projection` but for the layer: all splits in one plane, so that they can be compared."""
    places = project(features, method, seed=seed)
    return pd.DataFrame(
        {"split": samples.splits, "sample": np.arange(len(samples)), "x": places[:, 0], "y": places[:, 1]}
    )


def _principal_scores(features: NDArray[np.float64]) -> NDArray[np.float32]:
    """From the eigenvectors of the smaller of covariance (d, d) and Gram matrix (n, n)."""
    centered = features - features.mean(axis=0)
    wide = centered.shape[1] > len(centered)
    values, vectors = _two_largest(centered @ centered.T if wide else centered.T @ centered)
    scores = vectors * np.sqrt(values.clip(min=0)) if wide else centered @ vectors
    scores = scores[:, ::-1]  # the largest first
    largest = np.abs(scores).argmax(axis=0)
    scores = scores * np.where(scores[largest, np.arange(scores.shape[1])] < 0, -1.0, 1.0)
    flat = np.zeros((len(scores), 2), dtype=np.float32)
    flat[:, : scores.shape[1]] = scores
    return flat


def _two_largest(matrix: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The at most two largest eigenvalues of a symmetric matrix, ascending, and their eigenvectors.

    By Lanczos iteration from a fixed start, to full precision; small matrices, and those for which it does not
    converge, are decomposed.
    """
    size = len(matrix)
    if size > _FEWEST_FOR_LANCZOS and matrix.any():
        start = np.random.default_rng(0).standard_normal(size)
        try:
            values, vectors = eigsh(matrix, k=2, v0=start, ncv=_LANCZOS_VECTORS)
        except ArpackError:
            pass
        else:
            order = np.argsort(values)
            return values[order], vectors[:, order]
    values, vectors = eigh(matrix, subset_by_index=[max(size - 2, 0), size - 1])
    return values, vectors


def _umap(features: NDArray[Any], seed: int) -> NDArray[np.float32]:
    from umap import UMAP  # type: ignore[import-not-found]

    neighbors = min(15, len(features) - 1)
    model = UMAP(
        n_neighbors=neighbors, random_state=seed, n_jobs=1, init="random" if len(features) < 10 else "spectral"
    )
    return np.asarray(model.fit_transform(features), dtype=np.float32)
