"""The map of the samples: processor seconds of its embedding, and what the page Samples takes on the server.

    python -m tests.benchmarks.sample_map [--layers 200] [--samples 20000] [--embedded 500 1000 2400 5000]

The embedding is of one layer of made-up features in 20 groups, in one thread. The page runs in Streamlit's own driver
on the made-up study of `explorer_speed`, with a place of each sample at each layer: opened, and then as after a click
on a dot and after a released slider.
"""

import argparse
import statistics
import tempfile
import time
from pathlib import Path

import numpy as np
import pandas as pd
from streamlit.testing.v1 import AppTest
from streamlit.testing.v1.element_tree import Selectbox

from core.study.measuring.embedding import components_row, embed, embedding_seconds
from core.study.store.opening import load_study
from explorer.studies.map_points import cached_map_bytes, cached_map_planes
from tests.benchmarks.explorer_speed import write_study
from tests.benchmarks.report import RESULTS, write_report
from tests.browser import ROOT

VIEW = ROOT / "explorer" / "app_pages" / "samples" / "view.py"
REPEATS = 5


def embedding_rows(sizes: list[int]) -> list[dict[str, object]]:
    """Processor seconds of one layer, beside what a plan says."""
    rows: list[dict[str, object]] = []
    rng = np.random.default_rng(0)
    for size in sizes:
        features = 3 * rng.normal(size=(20, 64))[rng.integers(0, 20, size)] + rng.normal(size=(size, 64))
        scores = np.float32(components_row(features)["scores"][0]).reshape(size, -1)
        start = time.process_time()
        embed(scores)
        seconds = time.process_time() - start
        rows.append({"what": f"embedding of {size:,} samples, processor s", "measured": seconds})
        rows.append({"what": f"embedding of {size:,} samples, as planned, s", "measured": embedding_seconds(size)})
    return rows


def page_rows(folder: Path) -> list[dict[str, object]]:
    """Seconds of the page on the server, and the bytes that the map sends once."""
    page = AppTest.from_file(VIEW, default_timeout=600)
    page.query_params["study"] = str(folder)
    start = time.perf_counter()
    page.run()
    opened_s = time.perf_counter() - start
    if page.exception or page.error:
        raise RuntimeError(str([*page.exception, *page.error]))
    layers = _layer_picker(page).options
    clicks, moves = [], []
    for repeat in range(REPEATS):
        page.session_state[f"selected sample of {folder}"] = 100 + repeat
        clicks.append(_seconds(page))
        _layer_picker(page).set_value(layers[10 * repeat + 3])
        moves.append(_seconds(page))
    return [
        {"what": "page Samples, opened first, s", "measured": opened_s},
        {"what": "another sample selected, s", "measured": statistics.median(clicks)},
        {"what": "another layer chosen, s", "measured": statistics.median(moves)},
    ]


def _layer_picker(page: AppTest) -> Selectbox:
    return next(box for box in page.selectbox if box.label == "Layer")


def _seconds(page: AppTest) -> float:
    start = time.perf_counter()
    page.run()
    return time.perf_counter() - start


def map_rows(folder: Path) -> list[dict[str, object]]:
    """What the map alone takes: the first time, and its bytes."""
    layers = tuple(load_study(folder).layers["layer"])
    start = time.perf_counter()
    cached_map_planes(str(folder), (1,), layers)
    planes_s = time.perf_counter() - start
    start = time.perf_counter()
    message = cached_map_bytes(str(folder), (1,), layers, "mean", "test", "test", "token")
    return [
        {"what": "planes laid over each other, once, s", "measured": planes_s},
        {"what": "message for the browser, once, s", "measured": time.perf_counter() - start},
        {"what": "message for the browser, MB", "measured": len(message) / 1e6},
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--layers", type=int, default=200)
    parser.add_argument("--samples", type=int, default=20_000)
    parser.add_argument("--embedded", type=int, nargs="*", default=[500, 1000, 2400, 5000])
    parser.add_argument("--out", type=Path, default=RESULTS)
    options = parser.parse_args()
    rows = embedding_rows(options.embedded)
    with tempfile.TemporaryDirectory() as scratch:
        study = Path(scratch) / "large"
        write_study(study, options.layers, options.samples, mapped=True)
        rows += map_rows(study) + page_rows(study)
    table = pd.DataFrame(rows).assign(layers=options.layers, samples=options.samples)
    print(table.to_string(index=False, float_format="%.3f"))
    write_report(table, "sample_map", options.out)


if __name__ == "__main__":
    main()
