"""Laying one layer's plane over another's: centered, of unit size, rotated or mirrored so that samples move least."""

import numpy as np
from numpy.typing import NDArray


def normalize_plane(points: NDArray[np.floating]) -> NDArray[np.float64]:
    """Center points, and scale them to a root mean square distance of 1 from their center.

    Sizes are equal rather than those of the least-squares fit, which shrinks what is unlike its reference: a chain of
    layers would shrink to a point.

    Parameters
    ----------
    points : array of shape (n, 2)
        Points on a plane; rows that are not finite are left out of center and size, and stay.

    Returns
    -------
    array of shape (n, 2)
        Zeros where all points are the same.
    """
    known = known_points(points)
    if not known.any():
        return np.asarray(points, dtype=np.float64)
    centered = points.astype(np.float64) - _chosen(points, known).mean(axis=0, dtype=np.float64)
    chosen = _chosen(centered, known)
    largest = max(chosen.max(), -chosen.min())
    if largest == 0:
        return np.asarray(centered)
    centered /= largest  # so that no square overflows
    x, y = _chosen(centered, known).T
    size = np.sqrt((x**2 + y**2).mean())
    return np.asarray(centered / size)


def align_plane(points: NDArray[np.floating], reference: NDArray[np.floating]) -> NDArray[np.float64]:
    """Rotate or mirror normalized points so that they lie nearest to a reference (orthogonal Procrustes).

    Parameters
    ----------
    points, reference : arrays of shape (n, 2)
        The same samples, both of `normalize_plane`; samples that one of them lacks do not count.

    Returns
    -------
    array of shape (n, 2)
        The points themselves where they and the reference have nothing in common that a rotation could improve.

    Examples
    --------
    >>> square = np.array([[1.0, 0], [0, 1], [-1, 0], [0, -1]])
    >>> align_plane(square[[1, 2, 3, 0]], square).round(6) + 0.0  # turned by 90 degrees, and back
    array([[ 1.,  0.],
           [ 0.,  1.],
           [-1.,  0.],
           [ 0., -1.]])
    """
    known = known_points(points) & known_points(reference)
    left, strengths, right = np.linalg.svd(_chosen(points, known).T @ _chosen(reference, known))
    return np.asarray(points, dtype=np.float64) if strengths[0] == 0 else np.asarray(points @ (left @ right))


def known_points(points: NDArray[np.floating]) -> NDArray[np.bool_]:
    """Whether both coordinates of each point are finite; points of shape (..., 2)."""
    return np.asarray(np.isfinite(points[..., 0]) & np.isfinite(points[..., 1]))


def _chosen(points: NDArray[np.floating], chosen: NDArray[np.bool_]) -> NDArray[np.floating]:
    """Some of the points, which are not copied where they are all."""
    return points if chosen.all() else points[chosen]
