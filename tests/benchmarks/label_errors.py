"""How many flipped labels are found: by the neighbors of the late layers, and by cleanlab on a probe's probabilities.

    pip install cleanlab==2.9.0
    python -m tests.benchmarks.label_errors FOLDER [--seeds 5]

A share of the labels is flipped at random to another class, before anything is computed. Ours ranks the samples by
`core.study.suspects.label_errors`. cleanlab gets the out-of-fold probabilities of logistic regression on one layer, and
`find_label_issues` ranks its issues by self-confidence. Precision and recall of the first n samples of a ranking, n
being how many labels were flipped; a ranking that is shorter ends where it ends. FOLDER keeps the activations, which
take TensorFlow and the photographs of ../shared the first time.
"""

import argparse
import warnings
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from core.measures.neighbors import nearest_neighbors
from core.study.suspects import LATE, label_errors
from tests.benchmarks.report import RESULTS, write_report

DATA = Path(__file__).resolve().parents[3] / "shared" / "data" / "stanford_dogs_224"
LAYERS = "block5*,block6*,block7*,top_conv,avg_pool,predictions"
FLIPPED = 0.05
NEIGHBORS = 10
FIRST_SEED = 100  # the choices within `label_errors` were made on the seeds 0 to 4
PENALTIES = (0.001, 0.01, 0.1, 1.0)  # C of the probe: cleanlab gets each, and the best is said to be so


@dataclass(frozen=True)
class Case:
    """Labelled layers, and those of them that probes for cleanlab are trained on."""

    name: str
    layers: dict[str, np.ndarray]
    labels: np.ndarray
    probed: tuple[str, ...]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--out", type=Path, default=RESULTS)
    options = parser.parse_args()
    options.folder.mkdir(parents=True, exist_ok=True)
    warnings.filterwarnings("ignore")  # of the probe, where a weak penalty does not converge
    rows = [row for case in cases(options.folder) for row in compare(case, options.seeds)]
    write_report(pd.DataFrame(rows), "label_errors", options.out)


def cases(folder: Path) -> list[Case]:
    """Digits by their pixels, digits and dogs by the late layers of EfficientNet-Lite0."""
    from sklearn.datasets import load_digits

    digits, probed = load_digits(), ("block6d_add", "top_conv", "avg_pool", "predictions")
    pixels = Case("digits, pixels", {"pixels": np.float32(digits.data)}, digits.target, ("pixels",))
    read = {name: read_layers(folder / f"{name}.npz", name) for name in ("digits", "dogs")}
    return [pixels, *(Case(f"{name}, Lite0", *found, probed) for name, found in read.items())]


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


def compare(case: Case, seeds: int) -> list[dict[str, object]]:
    """One row a method: the means over the seeds."""
    found = {layer: nearest_neighbors(features, k=NEIGHBORS).indices for layer, features in case.layers.items()}
    scores: list[dict[str, object]] = []
    for seed in range(FIRST_SEED, FIRST_SEED + seeds):
        noisy, rows = flip(case.labels, seed)
        for method, ranked in rankings(case, found, noisy).items():
            hits = np.isin(ranked[: len(rows)], rows)
            scores.append({"method": method, "precision": hits.mean(), "recall": hits.sum() / len(rows)})
    table = pd.DataFrame(scores).groupby("method", sort=False).agg(["mean", "min", "max"])
    table.columns = pd.Index([name if kind == "mean" else f"{name}, {kind}" for name, kind in table.columns])
    shown = [
        {"data": case.name, "samples": len(case.labels), "flipped": round(FLIPPED * len(case.labels))} | row
        for row in table.reset_index().to_dict("records")
    ]
    print(pd.DataFrame(shown).to_string(index=False, float_format="%.3f"), flush=True)
    return shown


def flip(labels: np.ndarray, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Labels of which some are of another class, drawn at random, and which these are."""
    rng = np.random.default_rng(seed)
    rows = rng.choice(len(labels), round(FLIPPED * len(labels)), replace=False)
    num_classes, noisy = int(labels.max()) + 1, labels.copy()
    noisy[rows] = (labels[rows] + rng.integers(1, num_classes, len(rows))) % num_classes
    return noisy, rows


def rankings(case: Case, found: dict[str, np.ndarray], noisy: np.ndarray) -> dict[str, np.ndarray]:
    """Samples by how likely their label is wrong, by method."""
    ours = {f"neighbors, k = {k}": by_neighbors(found, noisy, k) for k in (1, 3, NEIGHBORS)}
    theirs = {
        f"cleanlab, {layer}, C = {penalty:g}": by_cleanlab(case.layers[layer], noisy, penalty)
        for layer in case.probed
        for penalty in PENALTIES
    }
    return ours | theirs


def by_neighbors(found: dict[str, np.ndarray], noisy: np.ndarray, k: int) -> np.ndarray:
    """Ours, from the neighbors that a study of these layers would store."""
    count = len(noisy)
    tables = [
        pd.DataFrame(
            {
                "layer": layer,
                "sample": np.repeat(np.arange(count), k),
                "rank": np.tile(np.arange(1, k + 1), count),
                "nearest": nearest[:, :k].ravel(),
                "agrees": (noisy[nearest[:, :k]] == noisy[:, None]).ravel(),
            }
        )
        for layer, nearest in list(found.items())[-LATE:]
    ]
    ids = pd.Series(np.arange(count)).astype(str)
    samples = pd.DataFrame({"sample": np.arange(count), "id": ids, "split": "train", "class_name": noisy.astype(str)})
    return label_errors(pd.concat(tables), samples, at_least=1e-9)["sample"].to_numpy()


def by_cleanlab(features: np.ndarray, noisy: np.ndarray, penalty: float) -> np.ndarray:
    """cleanlab's issues, on probabilities of five folds."""
    from cleanlab.filter import find_label_issues
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import StratifiedKFold, cross_val_predict
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    probe = make_pipeline(StandardScaler(), LogisticRegression(C=penalty, max_iter=200, tol=1e-3))
    folds = StratifiedKFold(5, shuffle=True, random_state=0)
    probabilities = cross_val_predict(probe, features, noisy, cv=folds, method="predict_proba")
    return np.asarray(find_label_issues(noisy, probabilities, return_indices_ranked_by="self_confidence", n_jobs=1))


if __name__ == "__main__":
    main()
