"""How many wrong labels are found, by kind and rate, and whether a study predicts it; beside cleanlab.

    pip install cleanlab==2.9.0      # only this benchmark uses it
    python -m tests.benchmarks.label_errors FOLDER [--seeds 5] [--probe-seeds 1]

Labels are swapped before anything is computed: a share of all, and to one of three kinds of other class.

- *uniform*: any other class, the easy case.
- *look-alike*: a class that the label's class is confused with, drawn by how often another network mixes the two up
  (dogs: the bundled neighbors of EfficientNet-Lite2; digits: Lite0 for pixels, and pixels for Lite0).
- *own look*: the other class that most of the sample's own neighbors at its last layer bear, the hardest case: these
  samples look like the wrong class.

Ours lists the samples with a score of 0.9 or more (`core.analysis.samples.suspects`), cleanlab what `find_label_issues`
returns for the out-of-sample probabilities of logistic regression (five folds) or of ten neighbors (leave-one-out).
Precision and recall of the list, and of the first n of the ranking, n being how many labels were swapped. The second
table compares how many swapped labels the list held with what the swapped study predicts by itself (`expected_swaps`,
at the same rate): in what share of the seeds its range held it, and in which there were fewer or more.
FOLDER keeps the activations, which take TensorFlow and the photographs of ../shared the first time.
"""

import argparse
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import pandas as pd

from core.analysis.samples.label_votes import LabelVotes
from core.analysis.samples.planted_labels import plant_swaps, swap_classes
from core.analysis.samples.suspects import CLEAR_SCORE, LATE
from core.search.neighbors import nearest_neighbors
from core.study.store.opening import load_study
from explorer.studies.loading import DEMO
from tests.benchmarks.report import RESULTS, write_report

DATA = Path(__file__).resolve().parents[3] / "shared" / "data" / "stanford_dogs_224"
LAYERS = "block5*,block6*,block7*,top_conv,avg_pool,predictions"
KINDS = ("uniform", "look-alike", "own look")
RATES = (0.01, 0.02, 0.05, 0.1)
NEIGHBORS = 10
FIRST_SEED = 100  # the choices within `samples_to_check` were made on the seeds 0 to 4

Confusions = tuple[np.ndarray, np.ndarray, np.ndarray]


@dataclass(frozen=True, eq=False)
class Case:
    """Labelled layers; the layer and penalty of cleanlab's probe; which classes look alike to another network."""

    name: str
    layers: dict[str, np.ndarray]
    labels: np.ndarray
    probed: str
    penalty: float
    confusions: Confusions

    @cached_property
    def nearest(self) -> dict[str, np.ndarray]:
        """Ten neighbors of each sample at the late layers."""
        late = list(self.layers.items())[-LATE:]
        return {layer: nearest_neighbors(features, k=NEIGHBORS).indices for layer, features in late}

    def neighbors(self, k: int) -> pd.DataFrame:
        """The neighbors that a study of these layers would store."""
        tables = []
        for layer, nearest in self.nearest.items():
            ranks = np.tile(np.arange(1, k + 1), len(nearest))
            rows = {"layer": layer, "sample": np.repeat(np.arange(len(nearest)), k), "rank": ranks}
            tables.append(pd.DataFrame(rows | {"nearest": nearest[:, :k].ravel()}))
        return pd.concat(tables, ignore_index=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--probe-seeds", type=int, default=1)
    parser.add_argument("--out", type=Path, default=RESULTS)
    options = parser.parse_args()
    options.folder.mkdir(parents=True, exist_ok=True)
    warnings.filterwarnings("ignore")  # of the probe, where a weak penalty does not converge
    lists, predictions = [], []
    for case in cases(options.folder):
        lists += [compare(case, options.seeds, options.probe_seeds)]
        predictions += [predict(case, options.seeds)]
        write_report(pd.concat(lists), "label_errors", options.out)
        write_report(pd.concat(predictions), "label_errors_expected", options.out)


def cases(folder: Path) -> list[Case]:
    """Dogs and digits by the late layers of EfficientNet-Lite0, digits by their pixels, and digits in two classes."""
    from sklearn.datasets import load_digits

    pixels = {"pixels": np.float32(load_digits().data)}
    (digits, digit), (dogs, breed) = (read_layers(folder / f"{name}.npz", name) for name in ("digits", "dogs"))
    by_pixels, by_network = confusions_of(pixels["pixels"], digit), confusions_of(digits["avg_pool"], digit)
    odd = (np.array([0]), np.array([1]), np.array([1.0])), (np.array([1]), np.array([0]), np.array([1.0]))
    two = tuple(np.concatenate(pair) for pair in zip(*odd, strict=True))
    return [
        Case("dogs, Lite0", dogs, breed, "avg_pool", 1.0, breeds_alike()),
        Case("digits, pixels", pixels, load_digits().target, "pixels", 0.1, by_network),
        Case("digits, Lite0", digits, digit, "top_conv", 0.01, by_pixels),
        Case("digits odd or even, Lite0", digits, digit % 2, "top_conv", 0.01, (two[0], two[1], two[2])),
    ]


def confusions_of(features: np.ndarray, labels: np.ndarray) -> Confusions:
    """How often ten neighbors of a class's samples are of another class."""
    nearest = nearest_neighbors(features, k=NEIGHBORS).indices
    return counted_pairs(np.repeat(labels, NEIGHBORS), labels[nearest].ravel())


def counted_pairs(classes: np.ndarray, others: np.ndarray) -> Confusions:
    pairs = pd.DataFrame({"own": classes, "other": others})[classes != others].value_counts().sort_index()
    return pairs.index.get_level_values(0).to_numpy(), pairs.index.get_level_values(1).to_numpy(), pairs.to_numpy()


def breeds_alike() -> Confusions:
    """Which breeds EfficientNet-Lite2 mixes up at its last pooling; breeds in the order of their folders' names."""
    study = load_study(DEMO / "ranking" / "efficientnet-lite2")
    rows = study.neighbors[study.neighbors["layer"] == "avg_pool"]
    names = study.samples.set_index("sample")["class_name"].astype(str)
    codes = pd.Series(pd.Categorical(names).codes, names.index).astype(np.int64)
    return counted_pairs(codes[rows["sample"]].to_numpy(), codes[rows["nearest"]].to_numpy())


def read_layers(file: Path, name: str) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """Channel means of the layers in network order, and the labels; computed where the file is not there."""
    if not file.exists():
        write_layers(file, name)
    with np.load(file) as arrays:
        return {str(layer): arrays[f"layer {layer}"] for layer in arrays["layers"]}, arrays["labels"]


def write_layers(file: Path, name: str) -> None:
    """All digits, or twenty training photographs of each breed."""
    from core.network.activations import stream_pass
    from core.study.plan import StudyOptions, plan_study

    of = {"split": "train", "per_class": 20} if name == "dogs" else {"split": "both"}
    plan = plan_study(StudyOptions(str(DATA) if name == "dogs" else name, layers=LAYERS, pooling="mean", **of))
    (pass_,), network, images = plan.passes(), plan.network, plan.images
    assert network is not None
    found = stream_pass(
        network, pass_, lambda rows: images.load(rows, network.input_size), len(images), poolings=("mean",)
    )
    arrays = {layer: array for (layer, _), array in found.items()}
    order = [layer.layer for layer in plan.layers if layer.layer in arrays]
    named = {f"layer {layer}": array for layer, array in arrays.items()}
    np.savez(file, labels=plan.samples.labels, layers=order, **named)


def noisy_labels(case: Case, seeds: int) -> Iterator[tuple[str, float, int, np.ndarray, np.ndarray]]:
    """Kind, rate, seed, labels of which some are swapped, and which these are; first those that nobody swapped."""
    yield "none", 0.0, FIRST_SEED, case.labels, np.array([], dtype=np.int64)
    for kind in KINDS:
        for rate in RATES:
            for seed in range(FIRST_SEED, FIRST_SEED + seeds):
                yield kind, rate, seed, *swapped(case, kind, rate, seed)


def swapped(case: Case, kind: str, rate: float, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Labels of which a share is of another class, and which these are."""
    rng, num_classes = np.random.default_rng(seed), int(case.labels.max()) + 1
    rows = rng.choice(len(case.labels), round(rate * len(case.labels)), replace=False)
    noisy, own = case.labels.copy(), case.labels[rows]
    noisy[rows] = (own + rng.integers(1, num_classes, len(rows))) % num_classes
    if kind == "look-alike":
        noisy[rows] = swap_classes(own, case.confusions, num_classes, rng)
    if kind == "own look":
        nearest = case.labels[list(case.nearest.values())[-1][rows]]
        counts = np.stack([(nearest == code).sum(axis=1) for code in range(num_classes)], axis=1)
        counts[np.arange(len(rows)), own] = 0
        seen = counts.any(axis=1)
        noisy[rows[seen]] = counts[seen].argmax(axis=1)
    return noisy, rows


def compare(case: Case, seeds: int, probe_seeds: int) -> pd.DataFrame:
    """One row a kind, rate and method: the means over the seeds."""
    rows: list[dict[str, object]] = []
    votes = {k: LabelVotes.of(case.neighbors(k)) for k in (1, 3, NEIGHBORS)}
    for kind, rate, seed, noisy, wrong in noisy_labels(case, seeds):
        where = {"data": case.name, "samples": len(noisy), "kind": kind, "rate": rate, "swapped": len(wrong)}
        lists = {f"ours, {k} stored": by_votes(one, noisy) for k, one in votes.items()}
        lists["cleanlab, neighbors"] = by_cleanlab(noisy, neighbor_probabilities(case, noisy))
        if seed < FIRST_SEED + probe_seeds:  # it takes its time
            lists["cleanlab, regression"] = by_cleanlab(noisy, probe_probabilities(case, noisy))
        for method, (ranked, num_listed) in lists.items():
            hits = np.isin(ranked[:num_listed], wrong).sum()
            first = np.isin(ranked[: len(wrong)], wrong).mean() if len(wrong) else np.nan
            shares = {"precision": hits / max(num_listed, 1), "recall": hits / max(len(wrong), 1), "first n": first}
            rows.append(where | {"method": method, "listed": float(num_listed)} | shares)
    keys = ["data", "samples", "kind", "rate", "swapped", "method"]
    table = pd.DataFrame(rows).groupby(keys, sort=False).mean().reset_index()
    print(table.to_string(index=False, float_format="%.3f"), flush=True)
    return table


def predict(case: Case, seeds: int) -> pd.DataFrame:
    """One row a kind, rate and number of neighbors: swapped labels listed, and what the swapped study predicts."""
    rows: list[dict[str, object]] = []
    for k in (1, NEIGHBORS):
        votes = LabelVotes.of(case.neighbors(k))
        for kind, rate, _, noisy, wrong in noisy_labels(case, seeds):
            if kind == "none":
                continue
            ranked, num_listed = by_votes(votes, noisy)
            swaps = plant_swaps(votes, noisy, int(noisy.max()) + 1, at_least=CLEAR_SCORE)
            assert swaps is not None
            truth, (low, high) = int(np.isin(ranked[:num_listed], wrong).sum()), swaps.expected(rate)
            row = {"data": case.name, "stored": k, "kind": kind, "rate": rate, "swapped": len(wrong)}
            row |= {"listed": float(num_listed), "of them wrong": float(truth)}
            row |= {"predicted": swaps.share_listed * swaps.num_wrong(rate), "low": float(low), "high": float(high)}
            row |= {"held": float(low <= truth <= high), "fewer": float(truth < low), "more": float(truth > high)}
            rows.append(row | {"told": float(swaps.tells_wrong_labels(num_listed))})
    keys = ["data", "stored", "kind", "rate", "swapped"]
    table = pd.DataFrame(rows).groupby(keys, sort=False).mean().reset_index()
    print(table.to_string(index=False, float_format="%.3f"), flush=True)
    return table


def by_votes(votes: LabelVotes, noisy: np.ndarray) -> tuple[np.ndarray, int]:
    """The order of `core.analysis.samples.suspects.samples_to_check`, and how many of it are listed."""
    scores = votes.scores(noisy, int(noisy.max()) + 1)
    order = np.lexsort((scores.sample, -scores.votes, -scores.score))
    return scores.sample[order], int((scores.score >= CLEAR_SCORE).sum())


def by_cleanlab(noisy: np.ndarray, probabilities: np.ndarray) -> tuple[np.ndarray, int]:
    """cleanlab's issues by self-confidence, all of which are listed."""
    from cleanlab.filter import find_label_issues

    found = find_label_issues(noisy, probabilities, return_indices_ranked_by="self_confidence", n_jobs=1)
    return np.asarray(found), len(found)


def neighbor_probabilities(case: Case, noisy: np.ndarray) -> np.ndarray:
    """The share of each class among a sample's ten neighbors at the probed layer, or the last one that is searched."""
    nearest = case.nearest.get(case.probed, list(case.nearest.values())[-1])
    return np.stack([(noisy[nearest] == code).mean(axis=1) for code in range(int(noisy.max()) + 1)], axis=1)


def probe_probabilities(case: Case, noisy: np.ndarray) -> np.ndarray:
    """Out-of-fold probabilities of logistic regression on the probed layer."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import StratifiedKFold, cross_val_predict
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    probe = make_pipeline(StandardScaler(), LogisticRegression(C=case.penalty, max_iter=200, tol=1e-3))
    folds = StratifiedKFold(5, shuffle=True, random_state=0)
    return np.asarray(cross_val_predict(probe, case.layers[case.probed], noisy, cv=folds, method="predict_proba"))


if __name__ == "__main__":
    main()
