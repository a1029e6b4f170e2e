"""Activations of EfficientNet-B0 in bounded memory: time and peak memory against what the work takes at least.

Run from the project's root: python -m tests.benchmarks.activation_streaming. Its images are those of ../shared,
the official training split of Stanford Dogs, some of each breed. Every part runs in a process of its own, one at a
time, so that peak resident memory is that part's.

- study: `run_study` within a small budget: activations, exact neighbors (k = 10), the family of measures with intervals
  and p-values, written to disk; no linear probe.
- streaming: activations and first-order SI (k = 1) within a larger budget, nothing written: what the bound is for.
- bound: one forward pass with all layers as outputs, each fetched and thrown away, images decoded meanwhile; then half
  of each layer's general float32 product of n × d by d × n.
- notebook: one `predict` per layer over all images, then for each sample the distances to all class centers in float64,
  as the original notebook has it. Timed on layers evenly spaced in the network, their distances on some samples;
  predict is scaled by the number of layers, distances by numbers and samples.
"""

import argparse
import multiprocessing
import resource
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from core.network.activations import stream_pass
from core.network.catalogue import layer_tensors
from core.network.passes import Pass
from core.study.measuring.searches import SlicedLayer, answer, study_questions
from core.study.plan import Plan, StudyOptions, parse_bytes, plan_study
from core.study.run import run_study
from core.study.streaming import PassOutput, stream_layers
from tests.benchmarks.report import RESULTS, write_report

DATA = Path(__file__).resolve().parents[3] / "shared" / "data" / "stanford_dogs_224"
BLOCK = 100_352  # columns of the products of the bound, which need not be those of a real layer
Result = dict[str, Any]


def plan_of(per_class: int, memory: int | None, layers: str) -> Plan:
    options = StudyOptions(
        str(DATA), "efficientnet-b0", "none", layers, "flat", "train", per_class, neighbors=10, probe=False
    )
    return plan_study(options, memory=memory)


def study(per_class: int, memory: int, layers: str) -> Result:
    plan = plan_of(per_class, memory, layers)
    with tempfile.TemporaryDirectory() as folder:
        start = time.perf_counter()
        run_study(plan, Path(folder) / "study")
        return described(plan) | {"seconds": time.perf_counter() - start}


def streaming(per_class: int, memory: int, layers: str) -> Result:
    """SI at every layer; also the seconds of the network and of the search, which do not overlap."""
    plan = plan_of(per_class, memory, layers)
    samples, measures = plan.samples, plan.options.measures()
    key, question = ("train", "train"), study_questions(samples, measures)["train", "train"]
    question = type(question)(question.queries, question.references, 1)
    passes = plan.passes()
    found, search_s, pass_output, start = {}, 0.0, PassOutput(passes), time.perf_counter()
    for pass_ in passes:
        layers_ = stream_layers(
            plan, pass_, {key: question}, pass_output=pass_output, stage="", progress=lambda _: None
        )
        for layer, activations in layers_:
            began, flat = time.perf_counter(), activations["flat"]
            neighbors = flat.answers[key] if isinstance(flat, SlicedLayer) else answer(flat, question)
            nearest = question.references[neighbors.indices[:, 0]]
            found[layer.layer] = float((samples.labels[nearest] == samples.labels).mean())
            search_s += time.perf_counter() - began
    seconds = time.perf_counter() - start
    detail = f"search in memory {search_s:.0f} s; mean SI {np.mean(list(found.values())):.4f}"
    return described(plan) | {"seconds": seconds, "detail": detail}


class Discarded:
    """Takes activations and keeps none."""

    def __setitem__(self, rows: slice, values: np.ndarray) -> None:
        assert values.size


def forward(per_class: int, memory: int, layers: str) -> Result:
    plan = plan_of(per_class, None, layers)
    network = plan.network
    assert network is not None
    start = time.perf_counter()
    stream_pass(
        network,
        Pass(plan.layers, 0),
        lambda rows: plan.images.load(rows, network.input_size),
        len(plan.images),
        poolings=("flat",),
        allocate=lambda key, shape: Discarded(),  # type: ignore[arg-type,return-value]
    )
    return {"seconds": time.perf_counter() - start, "runs": 1}


def products(per_class: int, memory: int, layers: str) -> Result:
    plan = plan_of(per_class, None, layers)
    rng = np.random.default_rng(0)
    left, right = (rng.standard_normal((len(plan.images), BLOCK), np.float32) for _ in range(2))
    start = time.perf_counter()
    for layer in plan.layers:
        half = layer.num_features // 2
        for width in [BLOCK] * (half // BLOCK) + [half % BLOCK]:
            left[:, :width] @ right[:, :width].T
    return {"seconds": time.perf_counter() - start, "runs": 0}


def notebook(per_class: int, memory: int, layers: str, num_layers: int = 5, num_timed: int = 4) -> Result:
    import keras

    plan = plan_of(per_class, None, layers)
    network, chosen = plan.network, plan.layers
    assert network is not None
    images = plan.images.load(np.arange(len(plan.images)), network.input_size)
    tensors, predict_s, distance_s, widths = layer_tensors(network.model), 0.0, 0.0, 0
    sampled = [chosen[i] for i in np.linspace(0, len(chosen) - 1, num_layers).round().astype(int)]
    for layer in sampled:
        model = keras.Model(network.model.inputs[0], tensors[layer.layer])
        start = time.perf_counter()
        flat = model.predict(images, verbose=0).reshape(len(images), -1)
        predict_s += time.perf_counter() - start
        labels = plan.samples.labels
        centers = np.stack([flat[labels == label].mean(axis=0, dtype=np.float64) for label in np.unique(labels)])
        start = time.perf_counter()
        for row in flat[:num_timed]:
            np.linalg.norm(centers - row.astype(np.float64), axis=1).argmin()
        distance_s += time.perf_counter() - start
        widths += layer.num_features
        del flat, centers
    predict_s *= len(chosen) / num_layers
    distance_s *= len(images) / num_timed * sum(layer.num_features for layer in chosen) / widths
    detail = (
        f"predict {predict_s:.0f} s and distances {distance_s:.0f} s, scaled from {num_layers} layers "
        f"({', '.join(layer.layer for layer in sampled)}) and {num_timed} samples each"
    )
    return {"seconds": predict_s + distance_s, "runs": len(chosen), "detail": detail}


def described(plan: Plan) -> Result:
    passes = plan.passes()
    return {"runs": sum(part.num_runs for part in passes), "layers in slices": sum(bool(p.slices) for p in passes)}


def measured(part: Callable[..., Result], per_class: int, memory: int, layers: str) -> Result:
    """A part, with the peak resident memory of the process that runs nothing else."""
    return part(per_class, memory, layers) | {
        "peak GiB": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (1 << 20),
        "load": Path("/proc/loadavg").read_text(encoding="ascii").split()[0],
    }


def apart(part: Callable[..., Result], per_class: int, memory: str, layers: str) -> Result:
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        found = pool.submit(measured, part, per_class, parse_bytes(memory), layers).result()
    row = {
        "part": part.__name__,
        "budget": memory if part in (study, streaming) else "",
        "images": 120 * per_class,
        "layers": layers,
    }
    print(row | found, flush=True)
    return row | found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--per-class", type=int, default=10, help="images of each of the 120 breeds")
    parser.add_argument("--layers", default="main", help="fewer make a smaller benchmark, and the table says so")
    parser.add_argument("--small", default="2GiB", help="budget of the study")
    parser.add_argument("--large", default="8GiB", help="budget of the streaming")
    parser.add_argument("--parts", default="forward,products,streaming,notebook,study")
    parser.add_argument("--out", type=Path, default=RESULTS)
    options = parser.parse_args()
    parts = {part.__name__: part for part in (forward, products, streaming, notebook, study)}
    rows = [
        apart(parts[name], options.per_class, options.small if name == "study" else options.large, options.layers)
        for name in options.parts.split(",")
    ]
    seconds = {row["part"]: row["seconds"] for row in rows}
    if {"forward", "products", "streaming", "notebook"} <= set(seconds):
        bound = seconds["forward"] + seconds["products"]
        for row in rows:
            row["times the bound"] = row["seconds"] / bound
            row["notebook / this"] = seconds["notebook"] / row["seconds"]
    table = pd.DataFrame(rows)
    print(table.to_string(index=False))
    mixed = [name for name in table if table[name].isna().any() and table[name].dtype != float]
    write_report(table.fillna(dict.fromkeys(mixed, "")), "activation_streaming", options.out)


if __name__ == "__main__":
    main()
