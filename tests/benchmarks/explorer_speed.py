"""A large study in the explorer: how long a widget and the first chart take, and what ten sessions hold in memory.

    python -m tests.benchmarks.explorer_speed [--layers 200] [--samples 20000] [--sessions 10] [--changes 10]

The study is made up, but written with core's writers: as many layers, one split, both poolings, and the nearest
neighbor (k = 1) of each sample at every layer in the pooling of channel means. A widget is timed from the click to the
redrawn chart, in a page at rest; once more while a run of ready-made features goes on beside it, started as the page
starts one; the first chart from a server that answers, in a fresh browser; the confused pairs of the page Classes until
their last chart, from the same server; memory after each of the sessions, in a context of its own, has drawn the chart
and changed a widget. Memory is the server process's resident set, and its proportional share (PSS).
"""

import argparse
import statistics
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pandas as pd
import psutil
from playwright.sync_api import Browser, Page

from core.study.store import opening, writing
from explorer.runs.background import jobs
from tests.benchmarks.first_paint import DRAWN, WATCH
from tests.benchmarks.report import RESULTS, write_report
from tests.browser import DESKTOP, chromium, serve

CLASSES = 120
LAST_OF_CLASSES = ".st-key-class_pair svg.marks .mark-line path"
RUN_LAYERS, RUN_SAMPLES = 200, 3000  # of the run beside the page: it takes longer than the changes
TARGETS = {
    "widget change, s": 0.5,
    "widget change while a study runs, s": 0.5,
    "first chart, s": 2.0,
    "server memory, ten sessions, RSS, MB": 690.0,
}


def write_study(folder: Path, num_layers: int, num_samples: int, *, mapped: bool = False) -> None:
    """A study of made-up numbers, in which SI rises through the network as the stored neighbors say.

    mapped : whether each sample has a place on the map at each layer, which moves a little from one to the next.
    """
    rng, places_rng = np.random.default_rng(0), np.random.default_rng(1)
    places = places_rng.normal(size=(num_samples, 2))
    folder.mkdir(parents=True, exist_ok=True)
    labels = np.arange(num_samples, dtype=np.int32) % CLASSES
    samples = pd.DataFrame({"sample": np.arange(num_samples, dtype=np.int32), "split": "test", "label": labels})
    samples["id"] = samples["source"] = [f"test/{index}" for index in range(num_samples)]
    samples["class_name"] = [f"class {label}" for label in labels]
    info = writing.begin(folder, {"asked": {}, "used": {"seed": 0, "data": {"num_classes": CLASSES}}}, samples)
    for position in range(1, num_layers + 1):
        agrees = rng.random(num_samples) < 0.02 + 0.7 * (position / num_layers) ** 2
        offset = rng.integers(1, num_samples // CLASSES, num_samples) * CLASSES + np.where(agrees, 0, 1)
        nearest = ((np.arange(num_samples) + offset) % num_samples).astype(np.int32)
        tables = _layer(position, float(agrees.mean()), nearest, labels)
        if mapped:
            places = places + 0.1 * places_rng.normal(size=places.shape)
            rows = {"split": "test", "layer": tables["layers"]["layer"].iloc[0], "sample": samples["sample"]}
            tables["projection"] = pd.DataFrame(rows | {"x": np.float32(places[:, 0]), "y": np.float32(places[:, 1])})
        writing.write_layer(folder, position, tables)
    writing.end(folder, info, complete=True)


def _layer(position: int, value: float, nearest: np.ndarray, labels: np.ndarray) -> dict[str, pd.DataFrame]:
    """One layer's tables, as core writes them."""
    layer, count = f"stage{position // 10}_block{position // 5}_conv{position}", len(labels)
    row = {
        "position": position,
        "layer": layer,
        "kind": ["Conv2D", "DepthwiseConv2D", "Add"][position % 3],
        "block": f"block{position // 5}",
        "channels": 8 * position,
        "parameters": 1000 * position,
        "cumulative_parameters": 500 * position * (position + 1),
        "output_shape": [7, 7, 8 * position],
        "num_features": 392 * position,
    }
    families = [("separation", 1), ("balanced", 1), ("knn", 5)]
    families += [(name, order) for name in ("high_order", "soft", "anti") for order in (2, 3, 5)]
    common = {"split": "test", "layer": layer, "metric": "euclidean", "ties": "first", "sampling": "full"}
    common |= {"num_queries": count, "num_references": count, "repeat": 0, "target": "population", "z": 9.0}
    common |= {"p_value": 0.0, "q_value": 0.0, "chance": 1 / CLASSES, "excess": value, "num_undecided": 0}
    rows = [
        {**common, "pooling": pooling, "measure": name, "order": order, "value": level}
        | {"low": max(level - 0.01, 0), "high": level + 0.01}
        for pooling, level in (("mean", value), ("flat", value / 2))
        for name, order in families
    ]
    per_class = pd.DataFrame({"label": np.arange(CLASSES), "value": value, "chance": 1 / CLASSES}).assign(
        split="test", layer=layer, pooling="mean", measure="separation", order=1, num_queries=count // CLASSES
    )
    neighbors = pd.DataFrame({"sample": np.arange(count), "nearest": nearest, "same_label": labels == labels[nearest]})
    neighbors = neighbors.assign(split="test", layer=layer, pooling="mean", rank=1, nearest_split="test", distance=1.0)
    frame = pd.DataFrame(rows).reindex(columns=opening.SCHEMAS["measurements"].names)
    return {"layers": pd.DataFrame([row]), "measurements": frame, "classes": per_class, "neighbors": neighbors}


def memory_mb(process: psutil.Process) -> tuple[float, float]:
    """Resident set and proportional share."""
    return process.memory_info().rss / 1e6, process.memory_full_info().pss / 1e6


def open_page(browser: Browser, address: str) -> tuple[Page, float]:
    """A page in a browser context of its own, and the seconds until its chart was drawn."""
    page = browser.new_context(viewport=DESKTOP).new_page()
    start = time.perf_counter()
    page.goto(address, wait_until="commit")
    page.wait_for_selector(DRAWN, state="attached", timeout=120_000)
    return page, time.perf_counter() - start


def widget_times(page: Page, changes: int) -> list[float]:
    """Seconds of changes of pooling, to and fro, each in a page at rest."""
    times = []
    for change in range(changes):
        page.wait_for_timeout(900)
        label = ("All activations", "Channel means")[change % 2]
        times.append(page.evaluate(WATCH.replace("LABEL", label)))
    return times


def classes_s(browser: Browser, address: str) -> float:
    """Seconds until the page Classes, opened for the first time, has drawn its last chart: two classes by layer."""
    page = browser.new_context(viewport=DESKTOP).new_page()
    start = time.perf_counter()
    page.goto(f"{address}/classes?tab=pairs", wait_until="commit")
    page.wait_for_selector(LAST_OF_CLASSES, state="attached", timeout=120_000)
    return time.perf_counter() - start


@contextmanager
def running_study(folder: Path) -> Iterator[None]:
    """A run of features, as the page starts one, that must go on for as long as its context."""
    features, rng = folder / "features", np.random.default_rng(0)
    features.mkdir()
    for layer in range(RUN_LAYERS):
        np.save(features / f"layer{layer:03d}.npy", rng.normal(size=(RUN_SAMPLES, 64)).astype(np.float32))
    np.save(features / "labels.npy", np.arange(RUN_SAMPLES) % CLASSES)
    arguments = ("measure", str(features), "--out=study", "--progress=json")
    job = jobs.start(jobs.new_job(folder / "studies", arguments, title="A run beside the page"))
    try:
        while jobs.status(job).layers < 1:
            if jobs.status(job).is_over:
                raise RuntimeError(jobs.error_text(job))
            time.sleep(0.1)
        yield
        if jobs.status(job).state != "running":
            raise RuntimeError("the run ended before the last widget was timed; give RUN_LAYERS more")
    finally:
        jobs.cancel(job, at_once=True)


def measure(study: Path, sessions: int, changes: int) -> pd.DataFrame:
    """Everything on one server: the first chart, the widget, then memory with all sessions open."""
    with serve("--study", str(study)) as (address, server), chromium() as browser:
        process = psutil.Process(server.pid)
        page, first_s = open_page(browser, address)
        times = widget_times(page, changes)
        with tempfile.TemporaryDirectory() as scratch, running_study(Path(scratch)):
            busy = widget_times(page, changes)
        one = memory_mb(process)
        opened_s = classes_s(browser, address)
        for _ in range(sessions - 1):
            widget_times(open_page(browser, address)[0], 1)
        many = memory_mb(process)
        loaded = any("tensorflow" in file.path for file in process.memory_maps())
    rows = [
        ("first chart, s", first_s, 1),
        ("widget change, s", statistics.median(times), len(times)),
        ("widget change, greatest, s", max(times), len(times)),
        ("widget change while a study runs, s", statistics.median(busy), len(busy)),
        ("widget change while a study runs, greatest, s", max(busy), len(busy)),
        ("page Classes, opened first, s", opened_s, 1),
        ("server memory, one session, RSS, MB", one[0], 1),
        (f"server memory, {'ten' if sessions == 10 else sessions} sessions, RSS, MB", many[0], 1),
        (f"server memory, {'ten' if sessions == 10 else sessions} sessions, PSS, MB", many[1], 1),
        ("TensorFlow loaded", float(loaded), 1),
    ]
    table = pd.DataFrame(rows, columns=["what", "measured", "repeats"])
    target = table["what"].map(TARGETS)
    met = (table["measured"] <= target).map({True: "yes", False: "no"})
    return table.assign(target=target, met=met.where(target.notna(), ""))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--layers", type=int, default=200)
    parser.add_argument("--samples", type=int, default=20_000)
    parser.add_argument("--sessions", type=int, default=10)
    parser.add_argument("--changes", type=int, default=10)
    parser.add_argument("--study", type=Path, help="where the study is kept; written where there is none")
    parser.add_argument("--out", type=Path, default=RESULTS)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        study = options.study or Path(scratch) / "large"
        if not (study / "study.json").exists():
            write_study(study, options.layers, options.samples)
        table = measure(study, options.sessions, options.changes)
    table = table.assign(layers=options.layers, samples=options.samples)
    print(table.to_string(index=False, float_format="%.3f"))
    write_report(table, "explorer_speed", options.out)


if __name__ == "__main__":
    main()
