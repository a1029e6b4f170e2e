"""The default study, as a whole command, beside nothing but the network's forward pass over the same images.

    python -m tests.benchmarks.study_speed [--networks NAME ...] [--per-class 10] [--rounds 3] [--out FOLDER]
    python -m tests.benchmarks.study_speed --rank     # `core rank` of three networks beside their forward passes

Run from the project's root; the images are those of ../shared. Both are processes of their own, and take turns.

- study: `python -m core study DATA --per-class 10 --out DIR` with the network and the defaults, from the start of
  Python to its end: imports, checks of the images, decoding, all layers, neighbors, probes, projections, tables.
- rank: `python -m core rank DATA --per-class 10 --out DIR` with three networks, beside the sum of their passes.
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
RANKED = ("efficientnet-lite0", "efficientnet-lite1", "efficientnet-lite2")  # with random weights
BATCH_SIZES = (8, 16, 32, 64)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--networks", nargs="+", choices=tuple(NETWORKS), default=list(NETWORKS))
    parser.add_argument("--data", type=Path, default=DATA)
    parser.add_argument("--per-class", type=int, default=10, help="images of each class and split")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--out", type=Path, default=RESULTS)
    parser.add_argument("--rank", action="store_true", help="the ranking of three networks in place of studies")
    parser.add_argument("--forward", nargs=2, metavar=("NETWORK", "WEIGHTS"), help=argparse.SUPPRESS)  # of a process
    options = parser.parse_args()
    if options.forward:
        print(json.dumps(forward_pass(*options.forward, options.data, options.per_class)))
        return
    if options.rank:
        cases = [(["rank", "--models", ",".join(RANKED), "--weights", "none"], dict.fromkeys(RANKED, "none"))]
    else:
        weights = {name: NETWORKS[name] for name in options.networks}
        cases = [(["study", "--model", name, "--weights", weights[name]], {name: weights[name]}) for name in weights]
    rows = [compare(*case, options.data, options.per_class, options.rounds) for case in cases]
    table = pd.DataFrame(rows)
    print(table.to_string(float_format=lambda value: f"{value:.2f}"))
    write_report(table, "rank_speed" if options.rank else "study_speed", options.out)


def compare(command: list[str], networks: dict[str, str], data: Path, per_class: int, rounds: int) -> dict[str, Any]:
    """The table's row of a command and the forward passes of its networks, in turns. networks : with their weights."""
    studies, passes = [], []
    for _ in range(rounds):
        passes.append(together([run_forward(*network, data, per_class) for network in networks.items()]))
        studies.append(run_command(command, data, per_class))
        print(f"{', '.join(networks)}: command {studies[-1]}, forward {passes[-1]}", file=sys.stderr)
    study_s, forward_s = median(studies, "seconds"), median(passes, "seconds")
    return {
        "network": ", ".join(networks),
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


def together(passes: list[dict[str, Any]]) -> dict[str, Any]:
    """Passes one after the other as one: their seconds added up."""
    sums = {name: sum(one[name] for one in passes) for name in ("seconds", "cpu_seconds")}
    return sums | {"images": passes[0]["images"], "batch_size": passes[0]["batch_size"]}


def run_command(command: list[str], data: Path, per_class: int) -> dict[str, Any]:
    """Seconds of a whole command, of the clock and of the processors, and the layers that it measured."""
    with tempfile.TemporaryDirectory() as folder:
        words = [
            sys.executable,
            "-m",
            "core",
            *command,
            str(data),
            "--per-class",
            str(per_class),
            "--out",
            f"{folder}/out",
        ]
        before, start = children_cpu_seconds(), time.perf_counter()
        subprocess.run(words, check=True, capture_output=True)
        seconds = time.perf_counter() - start
        layers = sum(len(pd.read_parquet(file)) for file in Path(folder).rglob("layers.parquet"))
    return {"seconds": seconds, "cpu_seconds": children_cpu_seconds() - before, "layers": layers}


def children_cpu_seconds() -> float:
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def run_forward(network: str, weights: str, data: Path, per_class: int) -> dict[str, Any]:
    """What `forward_pass` measures, in a process of its own."""
    command = [sys.executable, "-m", "tests.benchmarks.study_speed", "--forward", network, weights]
    command += ["--data", str(data), "--per-class", str(per_class)]
    environment = os.environ | {"TF_ENABLE_ONEDNN_OPTS": os.environ.get("TF_ENABLE_ONEDNN_OPTS", "1")}
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=environment)
    return json.loads(done.stdout.splitlines()[-1])


def forward_pass(network: str, weights: str, data: Path, per_class: int) -> dict[str, Any]:
    """One pass over all images with the batch size that was fastest on a few of them."""
    import tensorflow as tf

    from core.data.images.loading import load_images
    from core.network.models.registry import load_network

    loaded = load_network(network, weights)
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
