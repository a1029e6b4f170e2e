"""How often the 95% interval of a paired difference of two SIs holds the expected difference.

    python -m tests.benchmarks.paired_coverage [--repeats 400]

Each design draws many samples, each seen by two "networks" that share part of their noise; the truth is the mean
difference over all draws. Beside the interval in use stand the one that takes the samples for independent, and the one
that takes the two values for independent (from their own intervals).
"""

import argparse
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd

from core.measures.neighbor_graph import labelled_graph
from core.measures.paired import PairedDifference, paired_difference, unpaired_interval
from tests.benchmarks.report import RESULTS, write_report


@dataclass(frozen=True)
class Design:
    """Classes of given sizes; centers `before` and `after` apart; `common` is the share of the noise's variance."""

    name: str
    sizes: tuple[int, ...]
    num_features: int
    before: float
    after: float
    common: float

    def draw(self, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        labels = np.repeat(np.arange(len(self.sizes)), self.sizes)
        centers = np.random.default_rng(17).normal(size=(len(self.sizes), self.num_features))[labels]
        shared, first, second = rng.normal(size=(3, len(labels), self.num_features))
        noises = (np.sqrt(self.common) * shared + np.sqrt(1 - self.common) * own for own in (first, second))
        before, after = (
            np.float32(spread * centers + noise)
            for spread, noise in zip((self.before, self.after), noises, strict=True)
        )
        return before, after, labels


DESIGNS = (
    Design("2 classes, n=200, no change", (100, 100), 5, 0.4, 0.4, 0.7),
    Design("3 unequal classes, n=300, small rise", (200, 80, 20), 4, 0.8, 1.0, 0.9),
    Design("10 classes, n=500, rise", (50,) * 10, 8, 0.7, 0.9, 0.5),
    Design("10 classes, n=200, well separated, no change", (20,) * 10, 8, 1.6, 1.6, 0.9),
    Design("120 classes, n=1,200, near chance, no change", (10,) * 120, 30, 0.1, 0.1, 0.7),
    Design("120 classes, n=1,200, half separated, rise", (10,) * 120, 30, 0.55, 0.6, 0.9),
    Design("120 classes, n=1,200, nothing in common, fall", (10,) * 120, 30, 0.6, 0.55, 0.0),
)


@dataclass(frozen=True)
class Draw:
    """The paired difference of one draw, and the interval from the two values' own."""

    difference: PairedDifference
    unpaired: tuple[float, float]


def one_draw(design: Design, rng: np.random.Generator) -> Draw:
    """Measure both "networks" on one sample."""
    before, after, labels = design.draw(rng)
    results = [labelled_graph(features, labels).separation() for features in (before, after)]
    nodes = [np.column_stack([np.arange(len(labels)), result.nearest]) for result in results]
    scores = [result.by_sample for result in results]
    difference = paired_difference(*scores, labels, nodes_before=nodes[0], nodes_after=nodes[1])
    first, second = ((result.value, *result.interval()) for result in results)
    return Draw(difference, unpaired_interval(first, second))


def coverage(design: Design, repeats: int, seed: int) -> dict[str, float | str]:
    """Coverage and width of the three intervals over repeated samples of a design."""
    rng = np.random.default_rng(seed)
    draws = [one_draw(design, rng) for _ in range(repeats)]
    truth = float(np.mean([draw.difference.value for draw in draws]))
    ours = np.array([draw.difference.interval() for draw in draws])
    independent = np.array([_as_independent(draw.difference).interval() for draw in draws])
    unpaired = np.array([draw.unpaired for draw in draws])
    return {
        "design": design.name,
        "expected difference": truth,
        "coverage": holds(ours, truth),
        "misses below": float((ours[:, 1] < truth).mean()),
        "misses above": float((ours[:, 0] > truth).mean()),
        "mean width": width(ours),
        "as if independent": holds(independent, truth),
        "unpaired": holds(unpaired, truth),
        "unpaired, width": width(unpaired),
        "p < 0.05": float(np.mean([draw.difference.p_value < 0.05 for draw in draws])),
    }


def _as_independent(difference: PairedDifference) -> PairedDifference:
    return replace(difference, effective_n=float(difference.num_samples))


def holds(intervals: np.ndarray, truth: float) -> float:
    return float(((intervals[:, 0] <= truth) & (truth <= intervals[:, 1])).mean())


def width(intervals: np.ndarray) -> float:
    return float((intervals[:, 1] - intervals[:, 0]).mean())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=400, help="samples a design")
    parser.add_argument("--out", type=Path, default=RESULTS)
    options = parser.parse_args()
    rows = []
    for number, design in enumerate(DESIGNS):
        rows.append(coverage(design, options.repeats, seed=number) | {"repeats": options.repeats})
        print(pd.DataFrame(rows[-1:]).to_string(index=False, header=number == 0, float_format="%.3f"), flush=True)
    write_report(pd.DataFrame(rows), "paired_coverage", options.out)


if __name__ == "__main__":
    main()
