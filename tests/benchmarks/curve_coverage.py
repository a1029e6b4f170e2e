"""How often the 95% interval of a curve over sample size holds the expected SI at sizes up to 8 times as large.

    python -m tests.benchmarks.curve_coverage [--pools 200] [--out tests/benchmarks/results]

Each design has a universe of samples. Pools are drawn from it, subsamples from each pool (stratified, nested), a curve
is fitted to their SI, and its interval compared with the mean SI of many subsamples of the universe. Beside it stands
what resampling the repeats alone would give, as if the samples at hand were all there are.
"""

import argparse
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from sklearn.datasets import load_digits

from core.data.sampling import stratified_subsample
from core.measures.sample_size import fit_curve, subsample_values
from tests.benchmarks.report import RESULTS, write_report

SIZES = (25, 50, 100, 200)
TARGETS = (200, 400, 800, 1600)
NO_POOL = 10**9  # so many samples at hand leave no error of the pool


@dataclass(frozen=True)
class Design:
    """A universe and how it is sampled. `noise` is added to raw digits (0 to 16)."""

    name: str
    noise: float | None = None  # None: random blobs
    classes: int = 10
    num_features: int = 0
    spread: float = 0.0
    pool: int = 200
    sizes: tuple[int, ...] = SIZES
    repeats: int = 10

    def universe(self) -> tuple[np.ndarray, np.ndarray]:
        rng = np.random.default_rng(17)
        if self.noise is not None:
            digits, labels = load_digits(return_X_y=True)
            return digits + self.noise * rng.normal(size=digits.shape), labels
        labels = np.repeat(np.arange(self.classes), 3000 // self.classes)
        centers = rng.normal(size=(self.classes, self.num_features)) * self.spread
        return centers[labels] + rng.normal(size=(3000, self.num_features)), labels


DESIGNS = (
    Design("digits", noise=0),
    Design("digits, 3 repeats", noise=0, repeats=3),
    Design("digits, 3 sizes", noise=0, sizes=(50, 100, 200)),
    Design("digits, pool of 600", noise=0, pool=600),
    Design("digits, noise 5", noise=5),
    Design("digits, noise 10", noise=10),
    Design("2 blobs", classes=2, num_features=5, spread=0.7),
    Design("20 blobs", classes=20, num_features=10, spread=0.7, sizes=(50, 100, 200)),
)


def subsample(labels: np.ndarray, size: int, seed: int) -> np.ndarray:
    return stratified_subsample([str(row) for row in range(len(labels))], labels, size, seed=seed)


def expected_values(features: np.ndarray, labels: np.ndarray, draws: int = 40) -> np.ndarray:
    """Mean SI of subsamples of the universe of each target size."""
    return np.array(
        [
            subsample_values(features, labels, [subsample(labels, size, seed) for seed in range(draws)]).mean()
            for size in TARGETS
        ]
    )


def learning_curves(features: np.ndarray, labels: np.ndarray, design: Design, seed: int) -> np.ndarray:
    """SI over the sizes of a pool's subsamples, shape (repeats, sizes)."""
    pool = subsample(labels, design.pool, 1000 + seed)
    some, codes = features[pool], labels[pool]
    return np.array(
        [
            subsample_values(some, codes, [subsample(codes, size, repeat) for size in design.sizes])
            for repeat in range(design.repeats)
        ]
    )


def coverage(design: Design, pools: int) -> list[dict[str, float | str]]:
    """A row for each target size."""
    features, labels = design.universe()
    truth = expected_values(features, labels)
    tables = [learning_curves(features, labels, design, seed) for seed in range(pools)]
    curves = [fit_curve(design.sizes, table, num_samples=design.pool) for table in tables]
    alone = [fit_curve(design.sizes, table, num_samples=NO_POOL) for table in tables]
    rows: list[dict[str, float | str]] = []
    for size, expected in zip(TARGETS, truth, strict=True):
        intervals = np.array([curve.interval(size) for curve in curves])
        errors = np.array([curve.value(size) for curve in curves]) - expected
        rows.append(
            {
                "design": design.name,
                "size": size,
                "expected SI": expected,
                "coverage": holds(intervals, expected),
                "misses below": float((intervals[:, 1] < expected).mean()),
                "misses above": float((intervals[:, 0] > expected).mean()),
                "mean width": float((intervals[:, 1] - intervals[:, 0]).mean()),
                "mean error": float(errors.mean()),
                "root mean square error": float(np.sqrt((errors**2).mean())),
                "repeats alone": holds(np.array([curve.interval(size) for curve in alone]), expected),
            }
        )
    return rows


def holds(intervals: np.ndarray, truth: float) -> float:
    return float(((intervals[:, 0] <= truth) & (truth <= intervals[:, 1])).mean())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pools", type=int, default=200, help="pools a design")
    parser.add_argument("--out", type=Path, default=RESULTS)
    options = parser.parse_args()
    rows = []
    for number, design in enumerate(DESIGNS):
        start = time.perf_counter()
        found = coverage(design, options.pools)
        rows += [row | {"pools": options.pools} for row in found]
        print(pd.DataFrame(found).to_string(index=False, header=number == 0, float_format="%.3f"))
        print(f"{time.perf_counter() - start:.1f} s", flush=True)
    write_report(pd.DataFrame(rows), "curve_coverage", options.out)


if __name__ == "__main__":
    main()
