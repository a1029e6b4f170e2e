"""Ridge regression at several penalties, its leave-one-out and its cross-validation, from one decomposition.

With standardized features X, targets Y and H = 1/n + X (XᵀX + αI)⁻¹ Xᵀ, the fitted values are HY, the error of a
sample left out is (Y − HY)ᵢ / (1 − hᵢᵢ), and the errors of a fold F left out are (I − H_FF)⁻¹ (Y − HY)_F (Allen 1974;
Golub, Heath and Wahba 1979). An eigendecomposition of XᵀX, or of XXᵀ where that is smaller, gives all of it at every
penalty.
"""

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import cho_factor, cho_solve

from core.data.cached_property import cached_property

Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class RidgePath:
    """Ridge regressions of the same data at several penalties, with an intercept that is not penalized.

    Attributes
    ----------
    features : float64, shape (n, d), of zero mean in each column.
    targets : float64, shape (n, c).
    penalties : float64, shape (p,), above 0.
    """

    features: Floats
    targets: Floats
    penalties: Floats
    _last_residuals: dict[float, Floats] = field(default_factory=dict, init=False, repr=False)

    @property
    def is_wide(self) -> bool:
        """Whether there are more columns than rows, so that XXᵀ is decomposed."""
        result: bool = self.features.shape[1] > self.features.shape[0]
        return result

    @cached_property
    def _decomposition(self) -> tuple[Floats, Floats]:
        """Eigenvalues, shape (r,), and eigenvectors of the smaller one of XᵀX and XXᵀ."""
        features = self.features
        matrix = features @ features.T if self.is_wide else features.T @ features
        values, vectors = np.linalg.eigh(matrix)  # SciPy's would keep all other threads from running meanwhile
        return values.clip(min=0.0), vectors

    @cached_property
    def _scores(self) -> Floats:
        """Z of shape (n, r) with H = 1/n + Z diag(1/(λ + α)) Zᵀ."""
        values, vectors = self._decomposition
        return vectors * np.sqrt(values) if self.is_wide else self.features @ vectors

    @cached_property
    def _projected(self) -> Floats:
        """ZᵀY, shape (r, c)."""
        return self._scores.T @ self.targets

    @cached_property
    def squared_errors(self) -> Floats:
        """Mean squared leave-one-out error of each sample at each penalty, shape (p, n)."""
        scores = self._scores
        weights = np.stack([self._weights(penalty) for penalty in self.penalties])
        leverage = weights @ (scores**2).T + 1 / len(scores)
        centered = self.targets - self.targets.mean(axis=0)
        sums, residuals = np.empty(leverage.shape), np.empty(centered.shape)
        for row, weight in zip(sums, weights, strict=True):
            np.matmul(scores, weight[:, None] * self._projected, out=residuals)
            np.subtract(centered, residuals, out=residuals)
            np.einsum("ij,ij->i", residuals, residuals, out=row)
        return np.asarray(sums / centered.shape[1] / np.maximum(1 - leverage, 1e-12) ** 2)

    def best_penalty(self, rows: NDArray[np.bool_] | None = None) -> float:
        """The penalty of the least leave-one-out error over all samples or some, the smallest of equal ones."""
        errors = self.squared_errors if rows is None else self.squared_errors[:, rows]
        return float(self.penalties[errors.mean(axis=1).argmin()])

    def predict_fold(self, fold: NDArray[np.bool_], penalty: float) -> Floats:
        """Predictions for the samples of a fold by the regression on all others, shape (fold, c).

        fold : bool, shape (n,).
        """
        if fold.sum() > self.features.shape[1]:
            return self._predict_by_removal(fold, penalty)
        scores = self._scores[fold]
        leverage = (scores * self._weights(penalty)) @ scores.T + 1 / len(self.features)
        remaining = np.eye(len(scores)) - leverage
        factor = cho_factor(remaining, check_finite=False)
        return np.asarray(self.targets[fold] - cho_solve(factor, self._residuals(penalty)[fold], check_finite=False))

    def coefficients(self, penalty: float) -> Floats:
        """Slopes of the regression on all samples, shape (d, c); its intercept is the mean of the targets."""
        _, vectors = self._decomposition
        inner = self._weights(penalty)[:, None] * self._projected
        if not self.is_wide:
            return np.asarray(vectors @ inner)
        values, _ = self._decomposition
        roots = np.sqrt(values)[:, None]
        scaled = np.divide(inner, roots, out=np.zeros_like(inner), where=roots > 0)
        return np.asarray(self.features.T @ (vectors @ scaled))

    def _weights(self, penalty: float) -> Floats:
        """1/(λ + α)."""
        values, _ = self._decomposition
        return np.asarray(1 / (values + penalty))

    def _residuals(self, penalty: float) -> Floats:
        """Y − HY. Those of the last penalty are kept: nearly always the next fold has the same one."""
        if penalty not in self._last_residuals:
            fitted = self._scores @ (self._weights(penalty)[:, None] * self._projected)
            self._last_residuals.clear()
            self._last_residuals[penalty] = self.targets - self.targets.mean(axis=0) - fitted
        return self._last_residuals[penalty]

    @cached_property
    def _cross_products(self) -> tuple[Floats, Floats]:
        """Products of the columns, and a first one of ones, with each other and with the targets."""
        ones = np.column_stack([np.ones(len(self.features)), self.features])
        return ones.T @ ones, ones.T @ self.targets

    def _predict_by_removal(self, fold: NDArray[np.bool_], penalty: float) -> Floats:
        """`predict_fold` where the fold has more samples than the data columns: its products are taken away."""
        columns, responses = self._cross_products
        left = np.column_stack([np.ones(int(fold.sum())), self.features[fold]])
        remaining = columns - left.T @ left
        remaining[np.diag_indices_from(remaining)] += np.r_[0.0, np.full(len(remaining) - 1, penalty)]
        factor = cho_factor(remaining, overwrite_a=True, check_finite=False)
        return np.asarray(left @ cho_solve(factor, responses - left.T @ self.targets[fold], check_finite=False))
