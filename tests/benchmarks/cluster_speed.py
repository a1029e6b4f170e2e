"""The neighbor search and a study on a local Dask cluster beside the plain run, in turns on the same cores.

    python -m tests.benchmarks.cluster_speed [--parts search large study] [--repeats 3] [--out FOLDER]

Run from the project's root, with the extra `cluster`; the study's images are those of ../shared.

- search: k = 10 of 20,000 × 1,280 normal features, already in shards. Starting the processes is timed apart.
- large: 100,000 × 1,280 (512 MB) with two workers of 1 GiB each; no plain run.
- study: 1,200 images (10 of each breed of the training split), EfficientNet-Lite0, the default layers; the whole
  command, with the start of Python, of the workers and of TensorFlow in each.

`ratio` is the median time over that of the plain run. `peak_mib` is the largest resident memory that any worker had,
mapped pages and Python included; `sent_mib` what all workers sent, to each other and to the client. The
neighbors of 1,000 rows of each search are checked to be those of the plain run, bit for bit.
"""

import argparse
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

import core
from core.cluster.connecting import Cluster, connect
from core.cluster.search_tasks import neighbors_of, submit_search
from core.cluster.shards import Shards
from core.cluster.waiting import result
from core.search.neighbors import Neighbors
from core.search.sliced import Question
from tests.benchmarks.report import RESULTS, write_report

DATA = Path(__file__).resolve().parents[3] / "shared" / "data" / "stanford_dogs_224"
PLAIN = "plain"
ROWS_A_SHARD = 1024
CHECKED = 1000  # rows of which neighbors are compared with those of the plain search


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--parts", nargs="+", choices=tuple(PARTS), default=list(PARTS))
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--out", type=Path, default=RESULTS)
    options = parser.parse_args()
    rows = [row for part in options.parts for row in PARTS[part](options.repeats)]
    table = pd.DataFrame(rows)
    print(table.to_string(float_format=lambda value: f"{value:.2f}"))
    write_report(table, "cluster_speed", options.out)


def search(repeats: int) -> list[dict[str, Any]]:
    return searches("search 20,000 × 1,280", 20_000, (PLAIN, "local:2", "local:1"), repeats)


def large(repeats: int) -> list[dict[str, Any]]:
    return searches("search 100,000 × 1,280", 100_000, ("local:2:1GiB",), 1)


def searches(name: str, num_rows: int, addresses: Sequence[str], repeats: int) -> list[dict[str, Any]]:
    """A row for each way to search the same features."""
    features = np.random.default_rng(0).standard_normal((num_rows, 1280), np.float32)
    measured: dict[str, list[dict[str, float]]] = {address: [] for address in addresses}
    with tempfile.TemporaryDirectory() as folder:
        shards = Shards(f"{folder}/features", num_rows, 1280, ROWS_A_SHARD)
        shards.create()
        for start in range(0, num_rows, ROWS_A_SHARD):
            shards.write(start, features[start : start + ROWS_A_SHARD])
        for _ in range(repeats):
            for address in addresses:
                if address == PLAIN:
                    measured[PLAIN].append({"seconds": timed(lambda: core.nearest_neighbors(features, k=10))[1]})
                else:
                    measured[address].append(search_on(address, shards, features))
    return described(name, measured)


def nearest_stored(cluster: Cluster, shards: Shards, k: int = 1) -> Neighbors:
    """The nearest other rows of each stored row."""
    rows = np.arange(shards.num_rows)
    futures = submit_search(cluster, shards, Question(rows, rows, k))
    return neighbors_of([result(cluster, future) for future in futures])


def search_on(address: str, shards: Shards, features: np.ndarray) -> dict[str, float]:
    """Seconds of the start and of the search, and what the workers held and sent."""
    start = time.perf_counter()
    with connect(address) as cluster:
        tiny = Shards(f"{shards.address}-tiny", 64, 4, 64)
        tiny.create()
        tiny.write(0, np.ones((64, 4), np.float32))
        nearest_stored(cluster, tiny)  # imports
        started = time.perf_counter() - start
        found, seconds = timed(lambda: nearest_stored(cluster, shards, k=10))
        some = np.linspace(0, len(features) - 1, CHECKED).astype(int)
        expected = core.nearest_neighbors(features, rows=some, k=10)
        assert (found.indices[some] == expected.indices).all()
        assert (found.squared[some] == expected.squared).all()
        return {"seconds": seconds, "start": started, **resources(cluster)}


def resources(cluster: Cluster) -> dict[str, float]:
    peaks, sent = cluster.client.run(peak_bytes), cluster.client.run(sent_bytes)
    return {"peak_mib": max(peaks.values()) / 2**20, "sent_mib": sum(sent.values()) / 2**20}


def peak_bytes() -> int:
    with open("/proc/self/status", encoding="ascii") as status:
        return next(int(line.split()[1]) * 1024 for line in status if line.startswith("VmHWM:"))


def sent_bytes(dask_worker: Any) -> int:
    return int(dask_worker.transfer_outgoing_bytes_total)


def study(repeats: int) -> list[dict[str, Any]]:
    measured: dict[str, list[dict[str, float]]] = {address: [] for address in (PLAIN, "local:2", "local:1")}
    for _ in range(repeats):
        for address, found in measured.items():
            with tempfile.TemporaryDirectory() as folder:
                words = [
                    "-m",
                    "core",
                    "study",
                    str(DATA),
                    "--split",
                    "train",
                    "--per-class",
                    "10",
                    "--out",
                    f"{folder}/s",
                ]
                words += [] if address == PLAIN else ["--cluster", address]
                run = [sys.executable, *words]
                found.append(
                    {"seconds": timed(lambda run=run: subprocess.run(run, check=True, capture_output=True))[1]}
                )
    return described("study of 1,200 images", measured)


def timed(work: Callable[[], Any]) -> tuple[Any, float]:
    start = time.perf_counter()
    result = work()
    return result, time.perf_counter() - start


def described(name: str, measured: dict[str, list[dict[str, float]]]) -> list[dict[str, Any]]:
    """A row for each way, with its median time beside the plain one's."""
    rows = []
    for address, found in measured.items():
        seconds = [one["seconds"] for one in found]
        plain = statistics.median([one["seconds"] for one in measured.get(PLAIN, [])] or [np.nan])
        median = statistics.median(seconds)
        row = {"what": name, "where": address, "median_s": median, "ratio": median / plain}
        row |= {"fastest_s": min(seconds), "slowest_s": max(seconds), "repeats": len(seconds)}
        for more in ("start", "peak_mib", "sent_mib"):
            row[more] = max((one.get(more, np.nan) for one in found), default=np.nan)
        rows.append(row)
    return rows


PARTS: dict[str, Callable[[int], list[dict[str, Any]]]] = {"search": search, "large": large, "study": study}

if __name__ == "__main__":
    main()
