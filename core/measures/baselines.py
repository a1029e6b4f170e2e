"""Baselines that SI is read against."""

import numpy as np
from numpy.typing import NDArray


def knn_correct(neighbor_codes: NDArray[np.int64], codes: NDArray[np.int64], num_classes: int) -> NDArray[np.bool_]:
    """Whether the majority of each sample's k nearest neighbors names the sample's class.

    Leave-one-out where the neighbors are. Uniform votes; equal votes go to the lowest class code, as in scikit-learn's
    `KNeighborsClassifier`, with which it agrees wherever no two distances are equal.

    Parameters
    ----------
    neighbor_codes : int64, shape (m, k): class codes 0..num_classes - 1 of each sample's neighbors.
    codes : int64, shape (m,): the samples' own class codes.
    num_classes : classes that codes can name.

    Returns
    -------
    bool, shape (m,)
    """
    num_samples = len(neighbor_codes)
    predicted = np.empty(num_samples, dtype=np.int64)
    step = max(1, (1 << 22) // num_classes)  # a votes table of at most 32 MB
    for start in range(0, num_samples, step):
        part = neighbor_codes[start : start + step]
        cells = np.arange(len(part))[:, None] * num_classes + part
        votes = np.bincount(cells.ravel(), minlength=len(part) * num_classes).reshape(len(part), num_classes)
        predicted[start : start + step] = votes.argmax(axis=1)
    return predicted == codes
