"""What SI of all of ImageNet takes, derived: operations and bytes are counted, rates are measured here or published.

    python -m tests.benchmarks.real_features FOLDER --drawn 200000
    python -m tests.benchmarks.imagenet_arithmetic --features FOLDER/avg_pool_200000.npy [--memory 64GiB]

1,280 features are the last layer of an EfficientNet-B0 or -Lite0, 9,408 one of 7 × 7 × 192, flattened. The rates of
this machine are those of `core.nearest_neighbors` on all of its cores, with TensorFlow loaded as in any study of a
network: with `--features`, one search of all of its rows and one of some of them; for other widths the median of three
of standard normal rows, whose nearest are hardly nearer than all others. Those of an H100 are NVIDIA's published dense
rates, which a search reaches at best: bfloat16 makes shortlists where its bound leaves few
candidates, float32 otherwise. What a search does besides multiplying, reading, and the network come on top there.
`read` counts what workers of so much memory read from storage in all.
"""

import argparse
import statistics
import time
from importlib import import_module
from pathlib import Path

import numpy as np
import pandas as pd

import core
from core.cluster.estimate import search_cost
from core.study.plan import parse_bytes
from tests.benchmarks.report import RESULTS, write_report

DATA = {"ImageNet-1k": 1_281_167, "ImageNet-21k": 14_197_122}
WIDTHS = {1_280: 20_000, 9_408: 7_000}  # features, to rows on which the rate is measured
QUERIES = 20_000
H100_BFLOAT16, H100_FLOAT32 = 989e12, 67e12  # NVIDIA H100 SXM, data sheet: tensor cores without sparsity; CUDA cores
_UNITS = {"h": 3600, "min": 60, "s": 1}


def measured_rates(features: np.ndarray, repeats: int) -> dict[int | None, float]:
    """Operations a second of a search of all rows (None), and of some queries against all rows."""
    num_rows, num_features = features.shape
    num_queries = min(QUERIES, num_rows // 4)
    queries = np.sort(np.random.default_rng(0).choice(num_rows, num_queries, replace=False))
    core.nearest_neighbors(features[:1000])  # what is done once, such as timing bfloat16
    work = {None: num_rows**2 * num_features, QUERIES: 2 * num_queries * num_rows * num_features}
    elapsed_s: dict[int | None, list[float]] = {key: [] for key in work}
    for _ in range(repeats):
        for key, rows in ((None, None), (QUERIES, queries)):
            start = time.perf_counter()
            core.nearest_neighbors(features, rows=rows)
            elapsed_s[key].append(time.perf_counter() - start)
    return {key: flop / statistics.median(elapsed_s[key]) for key, flop in work.items()}


def rows(worker_memory: int, path: Path | None) -> list[dict[str, object]]:
    """The table: each data set and width, all samples and sampled queries. path : of features, see above."""
    rng, given = np.random.default_rng(0), None if path is None else np.load(path, mmap_mode="r")
    rates = {}
    for width, num_rows in WIDTHS.items():
        if given is not None and given.shape[1] == width:
            rates[width] = measured_rates(given, repeats=1)
        else:
            rates[width] = measured_rates(rng.standard_normal((num_rows, width), np.float32), repeats=3)
    found = []
    for data, num_images in DATA.items():
        for width in WIDTHS:
            for queries in (None, QUERIES):
                cost = search_cost(num_images, width, queries=queries, k=1, worker_memory=worker_memory)
                rate = rates[width][queries]
                found.append(
                    {
                        "data": data,
                        "features": f"{width:,}",
                        "SI of": "all" if queries is None else f"{queries:,} queries",
                        "FLOP": f"{cost.flop:.2g}".replace("e+", "e"),
                        "stored": _size(cost.storage_bytes),
                        "tasks": f"{cost.tasks:,}",
                        "read": _size(cost.read_bytes),
                        "this CPU": f"{_words(cost.seconds(rate))} at {rate / 1e9:,.0f} GFLOP/s",
                        "H100, float32": _words(cost.seconds(H100_FLOAT32)),
                        "H100, bfloat16": _words(cost.seconds(H100_BFLOAT16)),
                        "reading for it": f"{cost.read_bytes / cost.seconds(H100_BFLOAT16) / 1e9:,.0f} GB/s",
                    }
                )
    return found


def _words(seconds: float) -> str:
    """Two digits that count, such as 0.067 s, 12 min or 6,400 h."""
    amount, unit = next((seconds / size, unit) for unit, size in _UNITS.items() if seconds >= size or size == 1)
    return f"{float(f'{amount:.2g}'):,g} {unit}"


def _size(num_bytes: int) -> str:
    """Two digits that count, such as 7.1 GB or 67 TB."""
    unit = 1e12 if num_bytes >= 1e12 else 1e9
    return f"{float(f'{num_bytes / unit:.2g}'):,g} {'TB' if unit == 1e12 else 'GB'}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--memory", type=parse_bytes, default=64 << 30, help="of a worker")
    parser.add_argument("--features", type=Path, help="rows of 1,280 features to measure the rate on, .npy")
    parser.add_argument("--out", type=Path, default=RESULTS)
    options = parser.parse_args()
    import_module("tensorflow")
    table = pd.DataFrame(rows(options.memory, options.features))
    write_report(table, "imagenet_arithmetic", options.out)
    print((options.out / "imagenet_arithmetic.md").read_text(encoding="utf-8"))


if __name__ == "__main__":
    main()
