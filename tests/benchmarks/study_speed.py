"""The default study, as a whole command, beside nothing but the network's forward pass over the same images.

    python -m tests.benchmarks.study_speed [--networks NAME ...] [--per-class 10] [--rounds 3] [--out FOLDER]

Run from the project's root; the images are those of ../shared. Both are processes of their own, and take turns.

- study: `python -m core study DATA --per-class 10 --out DIR` with the network and the defaults, from the start of
  Python to its end: imports, checks of the images, decoding, all layers, neighbors, probes, projections, tables.
- forward: the same network's last output over the same images, decoded and in memory before its clock starts: a
  compiled function, the fastest of some batch sizes, with oneDNN's kernels as in the study. Nothing is kept.

`ratio` is the median time of the study over that of the forward pass; `cpu_ratio` is that of processor time, which
other work on the machine disturbs less. The weights are random but for EfficientNet-Lite0; speed does not depend on
them.
"""

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from tests.benchmarks.report import RESULTS, write_report

DATA = Path(__file__).resolve().parents[3] / "shared" / "data" / "stanford_dogs_224"
NETWORKS = {"efficientnet-lite0": "imagenet", "efficientnet-b0": "none", "resnet50": "none"}
BATCH_SIZES = (8, 16, 32, 64)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--networks", nargs="+", choices=tuple(NETWORKS), default=list(NETWORKS))
    parser.add_argument("--data", type=Path, default=DATA)
    parser.add_argument("--per-class", type=int, default=10, help="images of each class and split")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--out", type=Path, default=RESULTS)
    parser.add_argument("--forward", metavar="NETWORK", help=argparse.SUPPRESS)  # what a process of its own runs
    options = parser.parse_args()
    if options.forward:
        print(json.dumps(forward_pass(options.forward, options.data, options.per_class)))
        return
    rows = [compare(network, options.data, options.per_class, options.rounds) for network in options.networks]
    table = pd.DataFrame(rows)
    print(table.to_string(float_format=lambda value: f"{value:.2f}"))
    write_report(table, "study_speed", options.out)


def compare(network: str, data: Path, per_class: int, rounds: int) -> dict[str, Any]:
    """The table's row of a network: its study and its forward pass, in turns."""
    studies, passes = [], []
    for _ in range(rounds):
        passes.append(run_forward(network, data, per_class))
        studies.append(run_study(network, data, per_class))
        print(f"{network}: study {studies[-1]}, forward {passes[-1]}", file=sys.stderr)
    study_s, forward_s = median(studies, "seconds"), median(passes, "seconds")
    return {
        "network": network,
        "images": passes[0]["images"],
        "layers": studies[0]["layers"],
        "study_s": study_s,
        "forward_s": forward_s,
        "ratio": study_s / forward_s,
        "cpu_ratio": median(studies, "cpu_seconds") / median(passes, "cpu_seconds"),
        "batch_size": passes[0]["batch_size"],
        "rounds": rounds,
    }


def median(runs: list[dict[str, Any]], name: str) -> float:
    return statistics.median(run[name] for run in runs)


def run_study(network: str, data: Path, per_class: int) -> dict[str, Any]:
    """Seconds of the whole command, of the clock and of the processors."""
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "core", "study", str(data), "--per-class", str(per_class)]
        command += ["--model", network, "--weights", NETWORKS[network], "--out", f"{folder}/study"]
        before, start = children_cpu_seconds(), time.perf_counter()
        subprocess.run(command, check=True, capture_output=True)
        seconds = time.perf_counter() - start
        layers = len(pd.read_parquet(f"{folder}/study/layers.parquet"))
    return {"seconds": seconds, "cpu_seconds": children_cpu_seconds() - before, "layers": layers}


def children_cpu_seconds() -> float:
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def run_forward(network: str, data: Path, per_class: int) -> dict[str, Any]:
    """What `forward_pass` measures, in a process of its own."""
    command = [sys.executable, "-m", "tests.benchmarks.study_speed", "--forward", network]
    command += ["--data", str(data), "--per-class", str(per_class)]
    environment = os.environ | {"TF_ENABLE_ONEDNN_OPTS": os.environ.get("TF_ENABLE_ONEDNN_OPTS", "1")}
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=environment)
    return json.loads(done.stdout.splitlines()[-1])


def forward_pass(network: str, data: Path, per_class: int) -> dict[str, Any]:
    """One pass over all images with the batch size that was fastest on a few of them."""
    import tensorflow as tf

    from core.data.images.loading import load_images
    from core.network.models.registry import load_network

    loaded = load_network(network, NETWORKS[network])
    images = load_images(data, per_class=per_class)
    pixels = images.load(np.arange(len(images)), loaded.input_size)

    def pass_over(batches: list[np.ndarray], run: Any) -> tuple[float, float]:
        start, before = time.perf_counter(), time.process_time()
        for batch in batches:
            run(tf.constant(batch))
        return time.perf_counter() - start, time.process_time() - before

    def batches_of(size: int, count: int) -> list[np.ndarray]:
        return [pixels[start : start + size] for start in range(0, count, size)]

    trials = {}
    for size in BATCH_SIZES:
        run = tf.function(lambda batch: loaded.model(batch, training=False), reduce_retracing=True)
        pass_over(batches_of(size, 2 * size), run)
        trials[size] = (min(pass_over(batches_of(size, 192), run)[0] for _ in range(2)), run)
    best = min(trials, key=lambda size: trials[size][0])
    seconds, cpu_seconds = pass_over(batches_of(best, len(pixels)), trials[best][1])
    return {"seconds": seconds, "cpu_seconds": cpu_seconds, "images": len(pixels), "batch_size": best}


if __name__ == "__main__":
    main()
