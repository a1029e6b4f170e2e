"""The map of the samples, and the pages with single samples: what they take on the server, in processor seconds.

    python -m tests.benchmarks.sample_map [--layers 200] [--samples 20000] [--embedded 500 1000 2400 5000]

The embedding is of one layer of made-up features in 20 groups, in one thread. The pages run in Streamlit's own driver,
after the bundled digits have loaded what they import, on the made-up study of `explorer_speed` with a place of each
sample at each layer: opened, and then as after a click on a dot, a released slider, another layer, and with a sample
in the dialog; and opened after the server has prepared them. `--study FOLDER` keeps the study, so that another version
of the program can be measured beside this one:

    PYTHONPATH=OTHER python tests/benchmarks/sample_map.py --embedded --study FOLDER --out OUT
"""

import argparse
import resource
import statistics
import tempfile
import time
from pathlib import Path

import numpy as np
import pandas as pd
import streamlit as st
from streamlit.testing.v1 import AppTest
from streamlit.testing.v1.element_tree import Selectbox

from core.study.measuring.embedding import components_row, embed, embedding_seconds
from core.study.store.opening import load_study
from explorer.first_views import first_views
from explorer.studies.loading import study_stamp
from explorer.studies.map_points import cached_map_bytes, cached_map_planes
from tests.benchmarks.explorer_speed import write_study
from tests.benchmarks.report import RESULTS, write_report
from tests.browser import ROOT

PAGES, DIGITS = ROOT / "explorer" / "app_pages", ROOT / "explorer" / "demo" / "digits"
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
    """Processor seconds of the pages, each opened for the first time, and of clicks on them."""
    for name in ("samples", "decide", "classes"):
        opened(name, DIGITS)
    page, samples_s = opened("samples", folder)
    most_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3
    layers = _layer_picker(page).options
    clicks, moves, others = [], [], []
    for repeat in range(REPEATS):
        page.session_state[f"selected sample of {folder}"] = 100 + repeat
        clicks.append(_seconds(page))
        _layer_picker(page).set_value(layers[10 * repeat + 3])
        moves.append(_seconds(page))
    classes, _ = opened("classes", folder, tab="pairs")
    for repeat in range(REPEATS):
        _layer_picker(classes).set_value(layers[10 * repeat + 4])
        others.append(_seconds(classes))
    _, decide_s = opened("decide", folder)
    st.cache_resource.clear()  # so that no page has read all samples
    st.cache_data.clear()
    opened("classes", folder, tab="pairs")
    _, dialog_s = opened("classes", folder, tab="pairs", sample="test/77", open="yes")
    return [
        {"what": "page Samples, opened first, processor s", "measured": samples_s},
        {"what": "most memory of the process until then, MB", "measured": most_mb},
        {"what": "another sample selected, processor s", "measured": statistics.median(clicks)},
        {"what": "another layer chosen, processor s", "measured": statistics.median(moves)},
        {"what": "another layer on Classes, processor s", "measured": statistics.median(others)},
        {"what": "page Decide, opened first, processor s", "measured": decide_s},
        {"what": "Classes with the first dialog, processor s", "measured": dialog_s},
        *prepared_rows(folder),
    ]


def prepared_rows(folder: Path) -> list[dict[str, object]]:
    """Processor seconds of what a server computes while the first page is looked at, and of the other pages then."""
    st.cache_resource.clear()
    st.cache_data.clear()
    opened("layers", folder)
    start = time.process_time()
    for compute in first_views(str(folder), study_stamp(folder)):
        compute()
    rows: list[dict[str, object]] = [
        {"what": "preparing the other pages, processor s", "measured": time.process_time() - start}
    ]
    for name in ("samples", "decide", "classes"):
        _, seconds = opened(name, folder)
        rows.append({"what": f"page {name.title()}, once prepared, processor s", "measured": seconds})
    return rows


def opened(name: str, folder: Path, **query: str) -> tuple[AppTest, float]:
    """A page of a study, and the processor seconds of its first run."""
    page = AppTest.from_file(PAGES / name / "view.py", default_timeout=600)
    page.query_params["study"] = str(folder)
    for parameter, value in query.items():
        page.query_params[parameter] = value
    seconds = _seconds(page)
    if page.exception or page.error:
        raise RuntimeError(str([*page.exception, *page.error]))
    return page, seconds


def _layer_picker(page: AppTest) -> Selectbox:
    return next(box for box in page.selectbox if box.label == "Layer")


def _seconds(page: AppTest) -> float:
    start = time.process_time()
    page.run()
    return time.process_time() - start


def map_rows(folder: Path) -> list[dict[str, object]]:
    """What the map alone takes: the first time, and its bytes."""
    st.cache_resource.clear()
    layers = tuple(load_study(folder).layers["layer"])
    start = time.process_time()
    cached_map_planes(str(folder), (1,), layers)
    planes_s = time.process_time() - start
    start = time.process_time()
    message = cached_map_bytes(str(folder), (1,), layers, "mean", "test", "test", "token")
    return [
        {"what": "planes laid over each other, once, processor s", "measured": planes_s},
        {"what": "message for the browser, once, processor s", "measured": time.process_time() - start},
        {"what": "message for the browser, MB", "measured": len(message) / 1e6},
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--layers", type=int, default=200)
    parser.add_argument("--samples", type=int, default=20_000)
    parser.add_argument("--embedded", type=int, nargs="*", default=[500, 1000, 2400, 5000])
    parser.add_argument("--study", type=Path, help="where the study is kept; written where there is none")
    parser.add_argument("--out", type=Path, default=RESULTS)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        study = options.study or Path(scratch) / "large"
        if not (study / "study.json").exists():
            write_study(study, options.layers, options.samples, mapped=True)
        rows = page_rows(study) + map_rows(study)  # before the embedding, whose memory would count
    rows += embedding_rows(options.embedded)
    table = pd.DataFrame(rows).assign(layers=options.layers, samples=options.samples)
    print(table.to_string(index=False, float_format="%.3f"))
    write_report(table, "sample_map", options.out)


if __name__ == "__main__":
    main()
