"""How often the 95% population interval of SI holds the expected SI of a fresh sample of the same size and classes.

    python -m tests.benchmarks.interval_coverage [--repeats 1000]

Each design draws many samples; the truth is the mean SI over all of them. Beside the interval in use stand plain Wilson
(which takes samples for independent) and the share of intervals that miss on either side.
"""

import argparse
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from core.measures.neighbor_graph import labelled_graph
from core.measures.significance import wilson
from tests.benchmarks.report import RESULTS, write_report

Draw = Callable[[np.random.Generator], tuple[np.ndarray, np.ndarray]]


@dataclass(frozen=True)
class Design:
    """Classes of given sizes around random centers, `spread` apart, in `num_features` dimensions."""

    name: str
    sizes: tuple[int, ...]
    num_features: int
    spread: float
    duplicates: float = 0.0  # share of samples that are copies of another of their class

    def draw(self, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        labels = np.repeat(np.arange(len(self.sizes)), self.sizes)
        centers = np.random.default_rng(17).normal(size=(len(self.sizes), self.num_features)) * self.spread
        features = centers[labels] + rng.normal(size=(len(labels), self.num_features))
        if self.duplicates:
            copied = np.flatnonzero(rng.random(len(labels)) < self.duplicates)
            features[copied] = features[[rng.choice(np.flatnonzero(labels == labels[row])) for row in copied]]
        return features.astype(np.float32), labels


DESIGNS = (
    Design("2 classes, n=60, overlapping", (30, 30), 5, 0.3),
    Design("2 classes, n=60, separated", (30, 30), 5, 1.5),
    Design("2 classes, n=200, no signal", (100, 100), 10, 0.0),
    Design("2 classes, n=1,000, overlapping", (500, 500), 2, 0.7),
    Design("3 unequal classes, n=300", (200, 80, 20), 4, 0.8),
    Design("10 classes, n=200", (20,) * 10, 8, 0.7),
    Design("10 classes, n=1,000, high dimension", (100,) * 10, 200, 0.15),
    Design("10 unequal classes, n=500", (200, 100, 60, 40, 30, 20, 20, 10, 10, 10), 6, 1.0),
    Design("120 classes, n=1,200, near chance", (10,) * 120, 30, 0.1),
    Design("120 classes, n=1,200, half separated", (10,) * 120, 30, 0.55),
    Design("120 classes, n=1,200, well separated", (10,) * 120, 30, 1.0),
    Design("5 classes, n=500, a fifth duplicated", (100,) * 5, 6, 0.6, duplicates=0.2),
    Design("20 classes, n=5,000", (250,) * 20, 10, 0.8),
)


def coverage(design: Design, repeats: int, seed: int) -> dict[str, float | str]:
    """Coverage of both intervals over repeated samples of a design."""
    rng = np.random.default_rng(seed)
    results = [labelled_graph(*design.draw(rng)).separation() for _ in range(repeats)]
    values = np.array([result.value for result in results])
    truth = values.mean()
    ours = np.array([result.interval(target="population") for result in results])
    plain = np.array([wilson(result.value, len(result.by_sample)) for result in results])
    return {
        "design": design.name,
        "expected SI": truth,
        "coverage": holds(ours, truth),
        "misses below": float((ours[:, 1] < truth).mean()),
        "misses above": float((ours[:, 0] > truth).mean()),
        "mean width": float((ours[:, 1] - ours[:, 0]).mean()),
        "plain Wilson": holds(plain, truth),
    }


def holds(intervals: np.ndarray, truth: float) -> float:
    return float(((intervals[:, 0] <= truth) & (truth <= intervals[:, 1])).mean())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=1000, help="samples a design (a fifth of it where n > 2,000)")
    parser.add_argument("--out", type=Path, default=RESULTS)
    options = parser.parse_args()
    rows = []
    for number, design in enumerate(DESIGNS):
        repeats = options.repeats // 5 if sum(design.sizes) > 2000 else options.repeats
        rows.append(coverage(design, repeats, seed=number) | {"repeats": repeats})
        print(pd.DataFrame(rows[-1:]).to_string(index=False, header=number == 0, float_format="%.3f"), flush=True)
    write_report(pd.DataFrame(rows), "interval_coverage", options.out)


if __name__ == "__main__":
    main()
