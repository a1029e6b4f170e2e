"""Activations in .npy shards against a Zarr 3 array: time to write, time to read blocks of rows, bytes.

    pip install zarr
    python -m tests.benchmarks.shard_formats [--rows 20000] [--columns 1280] [--out FOLDER]

Run from the project's root. Shards and chunks hold the same rows. Half of the values are zero, as a rectifier leaves
them. Reading is of blocks of 5,000 rows, as tasks of a search read them, and of every tenth row, from files that are in
the page cache.
"""

import argparse
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from core.cluster.shards import Shards
from tests.benchmarks.report import RESULTS, write_report

ROWS_A_SHARD, BLOCK = 1024, 5000


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=20_000)
    parser.add_argument("--columns", type=int, default=1_280)
    parser.add_argument("--out", type=Path, default=RESULTS)
    options = parser.parse_args()
    shape = (options.rows, options.columns)
    features = np.maximum(np.random.default_rng(0).standard_normal(shape, np.float32), 0)
    with tempfile.TemporaryDirectory() as folder:
        rows = [
            measure_npy(features, Path(folder) / "npy"),
            measure_zarr(features, Path(folder) / "raw.zarr", "zarr, not compressed", {"compressors": None}),
            measure_zarr(features, Path(folder) / "zstd.zarr", "zarr, as it comes", {}),
        ]
    table = pd.DataFrame(rows)
    print(table.to_string(float_format=lambda value: f"{value:.3f}"))
    write_report(table, "shard_formats", options.out)


def measure_npy(features: np.ndarray, path: Path) -> dict[str, Any]:
    shards = Shards(str(path), *features.shape, ROWS_A_SHARD)
    shards.create()
    return measure(".npy shards", features, path, shards.write, lambda rows: shards.read(rows))


def measure_zarr(features: np.ndarray, path: Path, name: str, options: dict[str, Any]) -> dict[str, Any]:
    import zarr

    chunks = (ROWS_A_SHARD, features.shape[1])
    array = zarr.create_array(store=path, shape=features.shape, chunks=chunks, dtype="float32", **options)

    def write(start: int, rows: np.ndarray) -> None:
        array[start : start + len(rows)] = rows

    def read(rows: slice | np.ndarray) -> np.ndarray:
        return array[rows] if isinstance(rows, slice) else array.oindex[rows, :]

    return measure(name, features, path, write, read)


def measure(
    name: str,
    features: np.ndarray,
    path: Path,
    write: Callable[[int, np.ndarray], None],
    read: Callable[[Any], np.ndarray],
) -> dict[str, Any]:
    """Seconds, the best of three, and bytes."""
    starts, blocks = range(0, len(features), ROWS_A_SHARD), range(0, len(features), BLOCK)
    some = np.arange(0, len(features), 10)
    found = {
        "write_s": best(lambda: [write(start, features[start : start + ROWS_A_SHARD]) for start in starts]),
        "read_blocks_s": best(lambda: [read(slice(start, min(start + BLOCK, len(features)))) for start in blocks]),
        "read_tenth_s": best(lambda: read(some)),
    }
    assert (read(some) == features[some]).all()
    num_bytes = sum(file.stat().st_size for file in path.rglob("*") if file.is_file())
    return {"format": name, **found, "mib": num_bytes / 2**20}


def best(work: Callable[[], Any]) -> float:
    seconds = []
    for _ in range(3):
        start = time.perf_counter()
        work()
        seconds.append(time.perf_counter() - start)
    return min(seconds)


if __name__ == "__main__":
    main()
