"""How long it takes to open a large study, every check included, and to read one layer's neighbors.

    python -m tests.benchmarks.study_opening [--layers 200] [--samples 20000] [--neighbors 10]

Prints the time of the first opening, of a second one (whose tables are known to be in order), of reading one layer's
nearest neighbors with and without checks, and of reading the whole table `neighbors`.
"""

import argparse
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from core.study.store import opening
from core.study.store.opening import SCHEMAS, load_study
from core.study.store.writing import begin, end, study_lock

CLASSES = 120


def write_study(folder: Path, num_layers: int, num_samples: int, num_neighbors: int) -> None:
    """A study of made-up numbers with merged tables."""
    numbers = np.arange(num_samples)
    samples = pd.DataFrame({"sample": numbers, "split": "test", "label": numbers % CLASSES})
    samples["id"] = samples["class_name"] = [f"test/{number}" for number in numbers]
    names = [f"layer{position}" for position in range(num_layers)]
    with study_lock(folder):
        info = begin(folder, {"asked": {}, "used": {}}, samples)
        layers = pd.DataFrame({"position": np.arange(num_layers), "layer": names})
        write(folder, "layers", layers.assign(output_shape=[[7, 7, 64]] * num_layers))
        usual = {"split": "test", "pooling": "mean", "metric": "euclidean", "measure": "separation", "order": 1}
        usual |= {"ties": "first", "sampling": "full", "num_queries": num_samples, "repeat": 0, "chance": 1 / CLASSES}
        write(
            folder,
            "measurements",
            pd.DataFrame({"layer": names, "value": np.linspace(0.1, 0.9, num_layers)}).assign(**usual),
        )
        with pq.ParquetWriter(folder / "neighbors.parquet", SCHEMAS["neighbors"], compression="zstd") as writer:
            for position, name in enumerate(names):
                writer.write_table(neighbors_of(name, position, num_samples, num_neighbors))
        end(folder, info, complete=True)


def neighbors_of(name: str, seed: int, num_samples: int, k: int) -> pa.Table:
    """One layer's rows."""
    sample = np.repeat(np.arange(num_samples), k)
    offset = np.random.default_rng(seed).integers(1, num_samples, len(sample))
    columns = {
        "split": "test",
        "layer": name,
        "pooling": "mean",
        "sample": sample,
        "rank": np.tile(np.arange(1, k + 1), num_samples),
        "nearest": (sample + offset) % num_samples,
        "nearest_split": "test",
        "distance": offset.astype(np.float32),
        "same_label": offset % CLASSES == 0,
    }
    return pa.Table.from_pandas(pd.DataFrame(columns), SCHEMAS["neighbors"], preserve_index=False)


def write(folder: Path, name: str, frame: pd.DataFrame) -> None:
    """A merged table; columns that are not given are null."""
    table = pa.Table.from_pylist(frame.to_dict("records"), SCHEMAS[name])
    pq.write_table(table, folder / f"{name}.parquet")


def timed(what: str, work: Callable[[], object]) -> None:
    """Do it, and print how long it took."""
    began = time.perf_counter()
    work()
    print(f"{what}: {time.perf_counter() - began:.2f} s", flush=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--layers", type=int, default=200)
    parser.add_argument("--samples", type=int, default=20_000)
    parser.add_argument("--neighbors", type=int, default=10)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place) / "study"
        write_study(folder, asked.layers, asked.samples, asked.neighbors)
        rows = asked.layers * asked.samples * asked.neighbors
        print(f"{asked.layers} layers, {asked.samples:,} samples, {rows:,} rows of neighbors")
        timed("opened the first time", lambda: load_study(folder))
        timed("opened again", lambda: load_study(folder))
        study = load_study(folder)
        one = [("layer", "==", f"layer{asked.layers // 2}"), ("rank", "==", 1)]
        columns = ["layer", "pooling", "sample", "nearest", "same_label"]
        timed("one layer's nearest, checked", lambda: study.table("neighbors", columns, one))
        opening._CHECKED["neighbors", study._stamp] = None
        timed("one layer's nearest, as if checked before", lambda: study.table("neighbors", columns, one))
        timed("all neighbors, as if checked before", lambda: study.table("neighbors"))
        del opening._CHECKED["neighbors", study._stamp]
        timed("all neighbors, checked", lambda: study.table("neighbors"))
