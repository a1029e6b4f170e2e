"""The exact search on a GPU, in the tiles that it takes there beside those of a processor.

    python -m tests.benchmarks.gpu_search [--samples 8000 50000 200000] [--out FOLDER]

Run from the project's root where TensorFlow sees a GPU. The samples are rectified mixtures of 48 random directions with
some noise, 1,280 features. In one process, one search after another, each after a short one:

- seconds: of `core.nearest_neighbors`, from an array in memory to its neighbors.
- small_s: the same in tiles of 2,048 samples, as on a processor, with 128 MiB of rows kept as they are multiplied.
- same: whether both found the same neighbors, in the same order.
"""

import argparse
import time
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import tensorflow as tf
from numpy.typing import NDArray

import core
from core.search import operands, shortlist
from tests.benchmarks.report import RESULTS, write_report

DIRECTIONS, FEATURES, NEIGHBORS = 48, 1280, (1, 10)
WARM_UP = 3000  # samples of the short search


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--samples", type=int, nargs="+", default=[8000, 50_000, 200_000])
    parser.add_argument("--out", type=Path, default=RESULTS)
    options = parser.parse_args()
    gpus = tf.config.list_physical_devices("GPU")
    if not gpus:
        parser.error("TensorFlow must see a GPU; it sees none. Install tensorflow[and-cuda] on a machine with one.")
    device = tf.config.experimental.get_device_details(gpus[0]).get("device_name", gpus[0].name)
    table = pd.DataFrame([compare(num_samples, k, device) for num_samples in options.samples for k in NEIGHBORS])
    print(table.to_string(float_format=lambda value: f"{value:.3f}"))
    write_report(table, "gpu_search", options.out)


def compare(num_samples: int, k: int, device: str) -> dict[str, Any]:
    """A row of the table."""
    features = mixtures(num_samples)
    seconds, found = timed(features, k)
    tile, cache = shortlist.DEVICE_TILE, operands._DEVICE_CACHE_BYTES
    shortlist.DEVICE_TILE, operands._DEVICE_CACHE_BYTES = shortlist.TILE, operands._CACHE_BYTES
    try:
        small_s, small = timed(features, k)
    finally:
        shortlist.DEVICE_TILE, operands._DEVICE_CACHE_BYTES = tile, cache
    same = np.array_equal(found, small)
    return {"device": device, "samples": num_samples, "k": k, "seconds": seconds, "small_s": small_s, "same": same}


def mixtures(num_samples: int) -> NDArray[np.float32]:
    """Samples whose nearest neighbors are much nearer than most others, as those of a network's features are."""
    rng = np.random.default_rng(1)
    weights = rng.standard_normal((num_samples, DIRECTIONS), dtype=np.float32)
    mixed = np.maximum(weights @ rng.standard_normal((DIRECTIONS, FEATURES), dtype=np.float32), 0)
    return mixed + np.float32(0.1) * rng.standard_normal((num_samples, FEATURES), dtype=np.float32)


def timed(features: NDArray[np.float32], k: int) -> tuple[float, NDArray[np.int64]]:
    """Seconds of a search, and its neighbors."""
    core.nearest_neighbors(features[:WARM_UP], k=k)
    start = time.perf_counter()
    found = core.nearest_neighbors(features, k=k)
    return time.perf_counter() - start, found.indices


if __name__ == "__main__":
    main()
