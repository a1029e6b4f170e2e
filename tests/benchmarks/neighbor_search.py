"""Exact neighbor search beside FAISS and scikit-learn, each with all cores, in alternation in one process.

    python -m tests.benchmarks.real_features FOLDER
    python -m tests.benchmarks.neighbor_search [--quick] [--features FOLDER/*.npy] [--out tests/benchmarks/results]

Needs faiss-cpu, for comparison only, and vl-convert-python for the chart (`pip install faiss-cpu vl-convert-python`).
TensorFlow is loaded first, as in any study of a network: on processors with bfloat16 instructions it makes the
shortlists. In each round every method runs a second time where the first took no more than five seconds, and that one
counts: the first finds memory and threads as another method left them. FAISS takes part with the best of three block
sizes; building its index counts, as centering and proving count in ours. `ratio_half_product` is ours over half of one
float32 matrix product of that size, the least that a search by float32 products can do. Memory is measured in a process
of its own: its peak resident memory (mapped pages included) above what it held after its imports.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from importlib import import_module
from pathlib import Path

import altair as alt
import numpy as np
import pandas as pd

import core
from tests.benchmarks.report import RESULTS, write_report

BLOCKS = ((4096, 1024), (8192, 1024), (4096, 4096))  # queries and references that FAISS multiplies at once
MOST_FOR_SKLEARN = 20_000  # samples, beyond which it takes minutes
LONG_S = 5  # seconds from which on a run is not repeated to have its memory and threads warm
PANEL = 2048  # rows of the panels that the product is timed on

PEAK = """
import json, sys
import numpy as np, tensorflow, core
def resident(key):
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) * 1024 for line in status if line.startswith(key))
path, k, mapped = json.loads(sys.argv[1])
core.nearest_neighbors(np.random.default_rng(0).normal(size=(2000, 1000)).astype(np.float32))
before = resident("VmRSS:")
features = np.load(path, mmap_mode="r" if mapped else None)
core.nearest_neighbors(features, k=k)
print(json.dumps((resident("VmHWM:") - before) / 2**20))
"""


@dataclass(frozen=True)
class Case:
    """One comparison. `sklearn` is left out where it would take minutes."""

    data: str
    n: int
    d: int
    k: int = 1
    mapped: bool = False
    sklearn: bool = True


CASES = (
    Case("normal", 8_000, 1_280),
    Case("normal", 20_000, 320),
    Case("normal", 1_200, 100_352),
    Case("normal", 50_000, 1_280, mapped=True, sklearn=False),
    Case("normal", 8_000, 1_280, k=10),
    Case("normal", 20_000, 320, k=10),
    Case("normal", 1_200, 100_352, k=10),
)
QUICK = (Case("normal", 2_000, 320), Case("normal", 2_000, 320, k=10), Case("normal", 3_000, 64, mapped=True))
SIZES = tuple(1_000 * 2**step for step in range(7))
WIDTHS = tuple(80 * 2**step for step in range(7))


def make_features(case: Case, folder: Path) -> Path:
    """The features of a case as a file; random ones are drawn block by block."""
    if case.data != "normal":
        return Path(case.data)
    path = folder / f"{case.n}x{case.d}.npy"
    if not path.exists():
        rng = np.random.default_rng(0)
        features = np.lib.format.open_memmap(path, "w+", np.float32, (case.n, case.d))
        for start in range(0, case.n, 1000):
            features[start : start + 1000] = rng.standard_normal(
                (len(features[start : start + 1000]), case.d), np.float32
            )
        features.flush()
    return path


def timed(work: Callable[[], object]) -> float:
    """Seconds of one run; of a short one, those of the second in a row, as in a study of many layers."""
    time.sleep(0.3)  # threads of the method before spin for a while
    seconds = _once(work)
    return seconds if seconds > LONG_S else _once(work)


def _once(work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def half_product_s(features: np.ndarray) -> float:
    """Half of the time of one product of all rows with all rows, from panels where it would be large."""
    rows = min(len(features), PANEL)
    left, right = np.array(features[:rows]), np.array(features[-rows:])
    out = np.empty((rows, rows), np.float32)
    repeats = max(1, round(4e10 / (rows**2 * features.shape[1])))
    elapsed = timed(lambda: [np.matmul(left, right.T, out=out) for _ in range(repeats)])
    return elapsed / repeats * (len(features) / rows) ** 2 / 2


def faiss_search(features: np.ndarray, k: int, blocks: tuple[int, int]) -> None:
    import faiss

    faiss.cvar.distance_compute_blas_query_bs, faiss.cvar.distance_compute_blas_database_bs = blocks
    index = faiss.IndexFlatL2(features.shape[1])
    index.add(features)
    index.search(features, k + 1)


def sklearn_search(features: np.ndarray, k: int) -> None:
    from sklearn.neighbors import NearestNeighbors

    NearestNeighbors(n_neighbors=k, algorithm="brute").fit(features).kneighbors()


def peak_mib(path: Path, case: Case) -> float:
    """Peak memory of the search above the process after its imports; features that are no file are counted in it."""
    arguments = json.dumps([str(path), case.k, case.mapped])
    answer = subprocess.run([sys.executable, "-c", PEAK, arguments], capture_output=True, text=True, check=True)
    return float(json.loads(answer.stdout))


def compare(case: Case, path: Path, rounds: int) -> dict[str, object]:
    """Medians of the rounds, in each of which every method runs once."""
    features = np.load(path, mmap_mode="r" if case.mapped else None)
    methods: dict[object, Callable[[], object]] = {
        "ours": lambda: core.nearest_neighbors(features, k=case.k),
        **{blocks: partial(faiss_search, features, case.k, blocks) for blocks in BLOCKS},
    }
    if case.sklearn:
        methods["sklearn"] = lambda: sklearn_search(features, case.k)
    times: dict[object, list[float]] = {name: [] for name in [*methods, "half"]}
    half_product_s(features)
    for _ in range(rounds):
        times["half"].append(half_product_s(features))
        for name, method in methods.items():
            if name != "sklearn" or not times["sklearn"]:  # once: it takes longest and is far off
                times[name].append(timed(method))
    medians = {name: float(np.median(values)) for name, values in times.items() if values}
    faiss_s, sklearn_s = min(medians[blocks] for blocks in BLOCKS), medians.get("sklearn", np.nan)
    return {
        "data": path.stem if case.data != "normal" else "normal, memory-mapped" if case.mapped else "normal",
        "n": case.n,
        "d": case.d,
        "k": case.k,
        "ours_s": medians["ours"],
        "faiss_s": faiss_s,
        "sklearn_s": sklearn_s,
        "ratio_faiss": medians["ours"] / faiss_s,
        "ratio_sklearn": medians["ours"] / sklearn_s,
        "ratio_half_product": medians["ours"] / medians["half"],
        "rechecked": core.nearest_neighbors(features, k=case.k).num_rechecked,
        "peak_mib": peak_mib(path, case),
        "features_mib": features.nbytes / 2**20,
        "load": os.getloadavg()[0],
    }


def scaling(cases: Sequence[Case], folder: Path) -> Iterator[dict[str, object]]:
    """Time and memory of growing cases; `exponent` is that of what grows, over the rows so far."""
    seconds: list[float] = []
    for place, case in enumerate(cases):
        path = make_features(case, folder)
        features = np.load(path, mmap_mode="r")
        search = partial(core.nearest_neighbors, features)
        seconds.append(float(np.median([timed(search) for _ in range(3)])))
        half_s, peak = half_product_s(features), peak_mib(path, case)
        path.unlink()
        grown = [one.d if cases[0].n == cases[-1].n else one.n for one in cases[: place + 1]]
        yield {
            "n": case.n,
            "d": case.d,
            "ours_s": seconds[-1],
            "ratio_half_product": seconds[-1] / half_s,
            "exponent": float(np.polyfit(np.log(grown), np.log(seconds), 1)[0]) if place else np.nan,
            "peak_mib": peak,
            "features_mib": features.nbytes / 2**20,
        }


def scaling_chart(table: pd.DataFrame) -> alt.LayerChart:
    """Time against n, with a line of exponent 2 through the last point."""
    last = table.iloc[-1]
    square = table[["n"]].assign(seconds=last["ours_s"] * (table["n"] / last["n"]) ** 2)
    x = alt.X("n", scale=alt.Scale(type="log"), title="Samples (n), 1,280 features each")
    ours = (
        alt.Chart(table)
        .mark_line(point=True)
        .encode(x=x, y=alt.Y("ours_s", scale=alt.Scale(type="log"), title="Seconds"))
    )
    line = alt.Chart(square).mark_line(strokeDash=[4, 4], color="gray").encode(x=x, y="seconds")
    return (line + ours).properties(width=520, height=300, title="Time of the exact search; dashed: n²")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="small sizes, one round, nothing written")
    parser.add_argument("--features", type=Path, nargs="*", default=[], help="real features to compare on, (n, d) .npy")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--part", choices=("all", "comparison", "scaling"), default="all")
    parser.add_argument("--out", type=Path, default=RESULTS)
    options = parser.parse_args()
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    import_module("tensorflow")
    shapes = [(str(path), *np.load(path, mmap_mode="r").shape) for path in options.features]
    real = [Case(path, n, d, k, sklearn=n <= MOST_FOR_SKLEARN) for path, n, d in shapes for k in (1, 10)]
    with tempfile.TemporaryDirectory() as folder:
        tables = {}
        if options.part != "scaling":
            cases = [*(QUICK if options.quick else CASES), *real]
            rounds = 1 if options.quick else options.rounds
            rows = []
            for case in cases:
                rows.append(compare(case, make_features(case, Path(folder)), rounds))
                print(rows[-1], flush=True)
            tables["neighbor_search"] = pd.DataFrame(rows)
        if options.part != "comparison":
            sizes = SIZES[:2] if options.quick else SIZES
            mapped = partial(Case, "normal", mapped=True)
            tables["neighbor_search_scaling"] = pd.DataFrame(
                list(scaling([mapped(n, 1_280) for n in sizes], Path(folder)))
            )
            widths = WIDTHS[:2] if options.quick else WIDTHS
            tables["neighbor_search_widths"] = pd.DataFrame(
                list(scaling([mapped(8_000, d) for d in widths], Path(folder)))
            )
    for name, table in tables.items():
        print(f"\n{table.round(3).to_string(index=False)}")
        if not options.quick:
            write_report(table, name, options.out)
            if name == "neighbor_search_scaling":
                scaling_chart(table).save(options.out / f"{name}.png", scale_factor=2)


if __name__ == "__main__":
    main()
