"""How often the layer that is recommended as a cut is truly within the tolerance of the best one.

    python -m tests.benchmarks.cut_advice [--repeats 200]

Each design draws samples that pass through a "network" of 20 layers: a layer adds to what it shares with the one before
a noise of its own, and its classes lie as far apart as the design says. The truth of a layer is its mean SI over all
draws of that size. Beside the rule in use stands the one of before: the earliest layer whose paired 95% interval of
the difference to the best holds 0. In the designs named "just outside" the early layers are the least favorable ones:
their truth lies 0.01 beyond the tolerance.
"""

import argparse
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from scipy.spatial import cKDTree

from core.measures.noninferiority import Decision, Pairs, corrected_level, decide
from core.measures.paired import PairedDifference, paired_difference
from tests.benchmarks.report import RESULTS, write_report

TOLERANCE = 0.03
OUTSIDE = 0.01  # beyond the tolerance
NUM_LAYERS = 20
SIZES = (30, 100, 300, 1000, 3000)
SPREADS = np.linspace(0.0, 2.0, 21)


@dataclass(frozen=True)
class Design:
    """A path of SI through the network.

    path : "rising", "plateau" from the middle on, "peak" in the middle, or "just outside".
    shared : the share of a layer's noise that the next one keeps.
    """

    name: str
    path: str
    num_classes: int
    num_features: int
    shared: float
    highest_si: float

    def targets(self) -> np.ndarray:
        """The SI of each layer, roughly: what the spreads are chosen for."""
        low, steps = self.highest_si / 2, np.linspace(0, 1, NUM_LAYERS)
        shapes = {
            "rising": steps,
            "plateau": np.minimum(1, 2 * steps),
            "peak": 1 - np.abs(2 * steps - 1),
        }
        if self.path == "just outside":
            outside = self.highest_si - TOLERANCE - OUTSIDE
            return np.where(steps < 0.5, outside, self.highest_si)
        return low + (self.highest_si - low) * shapes[self.path]

    def centers(self) -> np.ndarray:
        """The classes' centers at a spread of 1, the same in every draw."""
        return np.random.default_rng(17).normal(size=(self.num_classes, self.num_features))


DESIGNS = (
    Design("2 classes, rising", "rising", 2, 5, 0.9, 0.9),
    Design("5 classes, plateau from the middle on", "plateau", 5, 5, 0.9, 0.8),
    Design("5 classes, peak in the middle", "peak", 5, 5, 0.9, 0.8),
    Design("5 classes, just outside", "just outside", 5, 5, 0.9, 0.8),
    Design("5 classes, just outside, layers alike", "just outside", 5, 5, 0.99, 0.8),
    Design("5 classes, just outside, nothing shared", "just outside", 5, 5, 0.0, 0.8),
    Design("2 classes, just outside, near 1", "just outside", 2, 5, 0.9, 0.95),
    Design("60 classes, just outside, low", "just outside", 60, 8, 0.9, 0.3),
)


@dataclass(frozen=True, eq=False)
class Draw:
    """The samples of one draw: for each layer who has the label of its nearest neighbor, and which sample that is."""

    labels: np.ndarray
    same_label: np.ndarray
    nearest: np.ndarray

    @property
    def si(self) -> np.ndarray:
        return self.same_label.mean(axis=1)

    def difference(self, first: int, second: int) -> PairedDifference:
        """SI of the first layer minus that of the second."""
        rows = np.arange(len(self.labels))
        nodes = {
            "nodes_before": np.column_stack([rows, self.nearest[second]]),
            "nodes_after": np.column_stack([rows, self.nearest[first]]),
        }
        return paired_difference(self.same_label[second], self.same_label[first], self.labels, **nodes)

    def decision(self) -> Decision:
        """What the rule in use says."""
        level = corrected_level(NUM_LAYERS)

        def intervals(pairs: Pairs) -> np.ndarray:
            return np.array([self.difference(*pair).interval(level) for pair in pairs])

        return decide(self.si, intervals, tolerance=TOLERANCE)

    def earliest_not_different(self) -> int:
        """What the rule of before said."""
        best = int(self.si.argmax())
        for layer in range(best):
            if self.difference(layer, best).interval()[1] >= 0:
                return layer
        return best


def one_draw(design: Design, spreads: np.ndarray, num_samples: int, rng: np.random.Generator) -> Draw:
    """Draw samples and send them through the network."""
    labels = np.arange(num_samples) % design.num_classes
    centers, noise = design.centers()[labels], rng.normal(size=(num_samples, design.num_features))
    same_label, nearest = [], []
    for spread in spreads:
        fresh = rng.normal(size=noise.shape)
        noise = np.sqrt(design.shared) * noise + np.sqrt(1 - design.shared) * fresh
        neighbor = nearest_others(spread * centers + noise)
        nearest.append(neighbor)
        same_label.append(labels[neighbor] == labels)
    return Draw(labels, np.array(same_label), np.array(nearest))


def nearest_others(features: np.ndarray) -> np.ndarray:
    """The row of each row's nearest other row."""
    return cKDTree(features).query(features, k=2)[1][:, 1]


def choose_spreads(design: Design, num_samples: int, rng: np.random.Generator) -> np.ndarray:
    """The spreads at which layers have about the design's SI with so many samples."""
    draws = max(20, 6000 // num_samples)
    values = np.mean([one_draw(design, SPREADS, num_samples, rng).si for _ in range(draws)], axis=0)
    return np.interp(design.targets(), np.maximum.accumulate(values), SPREADS)


def simulate(design: Design, num_samples: int, repeats: int, seed: int) -> dict[str, float | int | str]:
    """Recommend a layer in each of many draws, and count how often it is truly within the tolerance."""
    rng = np.random.default_rng((seed, num_samples))
    spreads = choose_spreads(design, num_samples, rng)
    truth, chosen, before = np.zeros(NUM_LAYERS), [], []
    for _ in range(repeats):
        draw = one_draw(design, spreads, num_samples, rng)
        truth += draw.si / repeats
        chosen.append(draw.decision().recommended)
        before.append(draw.earliest_not_different())
    named = [layer for layer in chosen if layer is not None]
    within = truth >= truth.max() - TOLERANCE
    return {
        "design": design.name,
        "samples": num_samples,
        "repeats": repeats,
        "a layer named": len(named) / repeats,
        "named and not within": float(np.sum(~within[named])) / repeats,
        "within, of those named": float(within[named].mean()) if named else float("nan"),
        "truth below the best, mean": float((truth.max() - truth[named]).mean()) if named else float("nan"),
        "rule of before: within": float(within[before].mean()),
        "rule of before: truth below the best, mean": float((truth.max() - truth[before]).mean()),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=200, help="draws of each design and size")
    parser.add_argument("--sizes", type=int, nargs="+", default=SIZES, help="samples of a draw")
    parser.add_argument("--out", type=Path, default=RESULTS)
    options = parser.parse_args()
    rows = []
    for seed, design in enumerate(DESIGNS):
        for num_samples in options.sizes:
            if num_samples < 2 * design.num_classes:
                continue
            rows.append(simulate(design, num_samples, options.repeats, seed))
            print(
                pd.DataFrame(rows[-1:]).to_string(index=False, header=len(rows) == 1, float_format="%.3f"), flush=True
            )
    write_report(pd.DataFrame(rows), "cut_advice", options.out)


if __name__ == "__main__":
    main()
