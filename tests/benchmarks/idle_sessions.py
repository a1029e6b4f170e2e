"""The public server's memory while tabs are opened that do nothing, one after the other.

    python -m tests.benchmarks.idle_sessions [--sessions 60] [--pages ",samples"]

Each is a websocket connection as a browser's, which opens a page and stays. The table has the server's resident set
(RSS) after some of them, and what one of the second half took on average.
"""

import argparse
import contextlib
import tempfile
from pathlib import Path

import pandas as pd
import psutil

from tests.benchmarks.report import RESULTS, write_report
from tests.browser import serve
from tests.explorer.streamlit_client import session


def memory_by_sessions(page: str, most: int) -> list[float]:
    """Megabytes of a new server after each session."""
    with tempfile.TemporaryDirectory() as folder, contextlib.ExitStack() as open_sessions:
        environ = {"SI_EXPLORER_PUBLIC": "1", "SI_EXPLORER_STUDIES": str(Path(folder) / "studies")}
        address, server = open_sessions.enter_context(serve(environ=environ))
        measured = []
        for _ in range(most):
            open_sessions.enter_context(session(address)).open(page)
            measured.append(psutil.Process(server.pid).memory_info().rss / 1e6)
        return measured


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sessions", type=int, default=60)
    parser.add_argument("--pages", default=",samples", help="names as in the address, separated by commas")
    parser.add_argument("--out", type=Path, default=RESULTS)
    options = parser.parse_args()
    rows = []
    for page in options.pages.split(","):
        measured = memory_by_sessions(page, options.sessions)
        half = len(measured) // 2
        each = (measured[-1] - measured[half - 1]) / (len(measured) - half)
        row = {"page": page or "layers", "sessions": len(measured), "with one, MB": measured[0]}
        rows.append(row | {"with half, MB": measured[half - 1], "with all, MB": measured[-1], "each, MB": each})
    table = pd.DataFrame(rows)
    print(table.to_string(index=False, float_format="%.1f"))
    write_report(table, "idle_sessions", options.out)


if __name__ == "__main__":
    main()
