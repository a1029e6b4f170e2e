"""How long a person waits for the explorer: imports, the first chart, a change of a widget; and the server's memory.

    python -m tests.benchmarks.first_paint [--repeats 10] [--study NAME_OR_PATH]

Each repeat starts a fresh server and a fresh Chromium. The first chart is timed from the moment when the server answers
its health check (a page that is opened before that could not be answered) to the drawn chart; a widget from the click
to the redrawn chart, in a page that has come to rest.
"""

import argparse
import statistics
import subprocess
import sys
import time
from pathlib import Path

import pandas as pd
import psutil
from playwright.sync_api import Page

from tests.benchmarks.report import RESULTS, write_report
from tests.browser import DESKTOP, ROOT, chromium, serve

TARGETS = {"import core, s": 0.5, "first chart, s": 2.0, "widget change, s": 0.3, "server memory, MB": 400.0}
DRAWN = ".st-key-layers_chart svg.marks .mark-line path"
# The time of the first change of the first chart after the click, taken in the page itself.
WATCH = """
() => new Promise(resolve => {
  const button = [...document.querySelectorAll('[data-testid="stButtonGroup"] button')]
    .find(one => one.innerText.trim() === "LABEL");
  const chart = () => document.querySelector(".st-key-layers_chart svg.marks");
  const before = chart().innerHTML;
  const start = performance.now();
  const look = () => {
    const drawn = chart();
    if (drawn && drawn.innerHTML !== before && drawn.querySelector(".mark-line path"))
      resolve((performance.now() - start) / 1000);
    else requestAnimationFrame(look);
  };
  button.click();
  requestAnimationFrame(look);
})
"""


def import_s() -> float:
    """Seconds that `import core` takes in a fresh interpreter."""
    code = "import time; start = time.perf_counter(); import core; print(time.perf_counter() - start)"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=True)
    return float(run.stdout)


def one_repeat(study: str) -> dict[str, float]:
    """Everything once, with a fresh server and a fresh browser."""
    found = {"import core, s": import_s()}
    with chromium() as browser, serve("--study", study) as (address, server):
        page, process = browser.new_page(viewport=DESKTOP), psutil.Process(server.pid)
        start = time.perf_counter()
        page.goto(address, wait_until="commit")
        page.wait_for_selector(DRAWN, state="attached", timeout=30_000)
        found["first chart, s"] = time.perf_counter() - start
        found |= _page_again(page, address)
        found["widget change, s"] = _widget_s(page)
        found["server memory, MB"] = process.memory_info().rss / 1e6
        found["TensorFlow loaded"] = float(any("tensorflow" in file.path for file in process.memory_maps()))
    return found


def _page_again(page: Page, address: str) -> dict[str, float]:
    """The same page for a second visitor, when the server and the browser are warm."""
    start = time.perf_counter()
    page.goto(address, wait_until="commit")
    page.wait_for_selector(DRAWN, state="attached", timeout=30_000)
    return {"first chart, warm server, s": time.perf_counter() - start}


def _widget_s(page: Page) -> float:
    """The median of four changes of pooling."""
    times = []
    for label in ["All activations", "Channel means"] * 2:
        page.wait_for_timeout(700)
        times.append(page.evaluate(WATCH.replace("LABEL", label)))
    return statistics.median(times)


def summary(repeats: pd.DataFrame) -> pd.DataFrame:
    """Median, least and greatest of each quantity beside its target."""
    rows = [
        {
            "what": name,
            "median": values.median(),
            "least": values.min(),
            "greatest": values.max(),
            "target": TARGETS.get(str(name), float("nan")),
            "met": {True: "yes", False: "no"}.get(values.median() <= TARGETS[str(name)]) if name in TARGETS else "",
            "repeats": len(values),
        }
        for name, values in repeats.items()
    ]
    return pd.DataFrame(rows)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=10)
    parser.add_argument("--study", default="dogs", help="a bundled study's name, or a folder")
    parser.add_argument("--out", type=Path, default=RESULTS)
    options = parser.parse_args()
    table = summary(pd.DataFrame([one_repeat(options.study) for _ in range(options.repeats)]))
    print(table.to_string(index=False, float_format="%.3f"))
    write_report(table, "first_paint", options.out)


if __name__ == "__main__":
    main()
