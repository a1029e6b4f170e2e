"""The public server's memory while ten browsers use it: uploads, pages, runs, reloads, and visitors who leave.

    python -m tests.benchmarks.public_memory [--sessions 10] [--minutes 10] [--files 5] [--megabytes 96]

Each session is a context of its own in a real Chromium (own cookies, own connection), and does one thing after the
other, drawn by its seed: chooses files of features on *New study* and presses nothing; measures features of its own, or
the digits, and opens the result; looks at the pages of a bundled study; reloads; closes its browser, and comes back as
another visitor. Twice a second the resident set (RSS) of the server's process is read, and the proportional share (PSS,
in which what processes share counts once) of it and of the runs and plans that it started. Afterwards the server's log
is searched for exceptions, and so are the pages while they are used.
"""

import argparse
import asyncio
import random
import re
import tempfile
import threading
import time
from collections import Counter
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import altair as alt
import numpy as np
import pandas as pd
import psutil
from playwright.async_api import Browser, BrowserContext, Page, async_playwright
from playwright.async_api import Error as PlaywrightError

from explorer.runs.uploads.store import GRACE_S
from tests.benchmarks.report import RESULTS, write_report
from tests.browser import CHROMIUM_OPTIONS, DESKTOP, find_chromium, serve

TARGET_MB = 690.0
EVERY_S = 0.5
PATIENCE_MS = 120_000  # a busy machine is slow, not wrong
PAGES = ("", "compare", "classes", "samples", "sample-size", "decide", "method")
UPLOADER = ".st-key-new-features input[type=file]"  # not the first on a page that is being drawn
RAISED = re.compile(r"Traceback|Exception|^\S* ?ERROR", re.MULTILINE)


@dataclass
class Watched:
    """What was seen: rows of the memory curve, how often a session did what, and what went wrong."""

    curve: list[dict[str, float]] = field(default_factory=list)
    actions: Counter = field(default_factory=Counter)
    uploaded_mb: float = 0.0
    failed: list[str] = field(default_factory=list)


@contextmanager
def memory_curve(process: psutil.Process, watched: Watched):
    """Read the server's memory, again and again, for as long as the context lasts."""
    ended, start = threading.Event(), time.monotonic()

    def read() -> None:
        while not ended.wait(EVERY_S):
            together = 0.0
            for one in (process, *process.children(recursive=True)):
                with suppress(psutil.Error):
                    together += one.memory_full_info().pss / 1e6
            server = process.memory_info().rss / 1e6
            watched.curve.append({"s": time.monotonic() - start, "server": server, "with_runs": together})

    thread = threading.Thread(target=read)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


def write_files(folder: Path, count: int, megabytes: float) -> tuple[list[Path], Path]:
    """Files of features that nobody measures, and a small one of four layers for the runs."""
    rng = np.random.default_rng(0)
    rows, large = 3000, []
    for number in range(count):
        large.append(folder / f"large{number}.npy")
        np.save(large[-1], rng.normal(size=(rows, round(megabytes * 1e6 / rows / 4))).astype(np.float32))
    labels = np.arange(900) % 3
    layers = {
        f"layer{place}": (rng.normal(size=(900, 50)) + place * np.eye(50)[labels]).astype(np.float32)
        for place in range(4)
    }
    np.savez(folder / "small.npz", labels=labels, **layers)
    return large, folder / "small.npz"


class Visitor:
    """One session: it does something, again and again, until the time is over."""

    def __init__(self, browser: Browser, address: str, files: tuple[list[Path], Path], watched: Watched, seed: int):
        self.browser, self.address, self.files, self.watched = browser, address, files, watched
        self.random = random.Random(seed)
        self.pictures: Path | None = None
        self.context: BrowserContext | None = None
        self.page: Page

    async def use(self, deadline: float) -> None:
        """Everything, until the deadline."""
        actions = {self.upload: 2, self.measure: 2, self.look: 4, self.reload: 1, self.come_back: 1}
        await self.come_back()
        while time.monotonic() < deadline:
            (action,) = self.random.choices(list(actions), list(actions.values()))
            try:
                await action()
                self.watched.actions[action.__name__] += 1
            except (PlaywrightError, AssertionError) as error:
                self.watched.failed.append(f"{action.__name__} at {self.page.url}: {await self._told(error)}")
                await self.come_back()
            await asyncio.sleep(self.random.uniform(0.5, 2.0))
        await self.context.close()

    async def come_back(self) -> None:
        """Close the browser, and open it as another visitor."""
        if self.context is not None:
            await self.context.close()
        self.context = await self.browser.new_context(viewport=DESKTOP)
        self.page = await self.context.new_page()
        self.page.set_default_timeout(PATIENCE_MS)
        await self.page.goto(self.address)
        await self._at_rest()

    async def upload(self) -> None:
        """Choose large files, and press nothing."""
        large, _ = self.files
        await self.page.goto(f"{self.address}/new-study?source=features")
        uploader = self.page.locator(UPLOADER)
        await uploader.wait_for(state="attached")
        await uploader.set_input_files([str(file) for file in large])
        await self.page.get_by_text(large[-1].name).first.wait_for()
        await self.page.get_by_text("Not kept").or_(self.page.get_by_role("progressbar")).first.wait_for()
        await self.page.wait_for_timeout(self.random.uniform(2_000, 8_000))
        self.watched.uploaded_mb += sum(file.stat().st_size for file in large) / 1e6
        await self._at_rest()

    async def measure(self) -> None:
        """Start a run of features or of the digits, wait for it, open its study, and look at two pages of it."""
        if self.random.random() < 0.6:
            await self.page.goto(f"{self.address}/new-study?source=features")
            await self.page.locator(UPLOADER).set_input_files(str(self.files[1]))
            await self.page.get_by_text(self.files[1].name).first.wait_for()
        else:
            await self.page.goto(f"{self.address}/new-study?per_class={self.random.randint(10, 30)}")
        await self._press("Show the plan")
        await self._press("Start the run")
        await self._press("Open the study", timeout=240_000)
        await self.page.locator("svg.marks").first.wait_for()
        for name in ("Classes", "Samples"):
            await self._turn_to(name)

    async def look(self) -> None:
        """Some pages of a bundled study."""
        study = self.random.choice(("dogs", "dogs-untrained", "digits"))
        start = self.random.choice(PAGES)
        await self.page.goto(f"{self.address}/{start}?study={study}")
        await self._at_rest()
        for name in self.random.sample(
            ["Layers", "Compare", "Classes", "Samples", "Sample size", "Decide", "Method"], 3
        ):
            await self._turn_to(name)

    async def reload(self) -> None:
        """The same page once more, in a new session of the same visitor."""
        await self.page.reload()
        await self._at_rest()

    async def _told(self, error: Exception) -> str:
        """What went wrong, and what the page says."""
        text = " ".join(str(error).split())[-150:]
        with suppress(PlaywrightError):
            text += f" | {await self.page.get_by_role('alert').all_inner_texts()}"
            for kind in ("stFileUploaderFile", "stCaptionContainer", "stStatusWidget"):
                text += f" | {await self.page.get_by_test_id(kind).all_inner_texts()}"
            if self.pictures is not None:
                number = len(self.watched.failed) + 1
                await self.page.screenshot(path=self.pictures / f"failed{number}.png", full_page=True)
        return text

    async def _turn_to(self, name: str) -> None:
        await self.page.get_by_test_id("stTopNavLink").filter(has_text=re.compile(f"{name}$")).first.click()
        await self._at_rest()

    async def _press(self, name: str, *, timeout: float = PATIENCE_MS) -> None:
        await self.page.get_by_role("button", name=name, exact=True).click(timeout=timeout)

    async def _at_rest(self) -> None:
        """Wait until the page has a title and nothing runs; it must show no exception."""
        await self.page.get_by_role("heading").first.wait_for()
        await self.page.wait_for_timeout(400)
        await self.page.locator("[data-testid=stApp][data-test-script-state=notRunning]").wait_for(state="attached")
        assert await self.page.get_by_test_id("stException").count() == 0, f"an exception at {self.page.url}"


async def drive(address: str, options: argparse.Namespace, files: tuple[list[Path], Path], watched: Watched) -> None:
    """All sessions at once, each a little later than the one before; then wait until the closed ones are forgotten."""
    deadline = time.monotonic() + 60 * options.minutes
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=find_chromium(), args=CHROMIUM_OPTIONS)

        async def visit(number: int) -> None:
            await asyncio.sleep(2 * number)
            visitor = Visitor(browser, address, files, watched, options.seed + number)
            visitor.pictures = options.pictures
            await visitor.use(deadline)

        await asyncio.gather(*(visit(number) for number in range(options.sessions)))
        await browser.close()
    await asyncio.sleep(GRACE_S + 30)


def summary(watched: Watched, options: argparse.Namespace, log: str, left_mb: float) -> pd.DataFrame:
    """What was measured, and what it should be."""
    curve = pd.DataFrame(watched.curve)
    rows = [
        ("server before the first visitor, RSS, MB", curve["server"].iloc[0], None),
        ("server, median, RSS, MB", curve["server"].median(), None),
        ("server, greatest, RSS, MB", curve["server"].max(), TARGET_MB),
        ("server and its runs and plans, greatest, PSS, MB", curve["with_runs"].max(), None),
        ("server after all have left, RSS, MB", curve["server"].iloc[-1], None),
        ("uploads left on disk after all have left, MB", left_mb, 0.0),
        ("uploaded, MB", watched.uploaded_mb, None),
        *((f"times: {name}", float(count), None) for name, count in sorted(watched.actions.items())),
        ("actions that failed", float(len(watched.failed)), 0.0),
        ("exceptions in the server's log", float(len(RAISED.findall(log))), 0.0),
    ]
    table = pd.DataFrame(rows, columns=["what", "measured", "target"])
    met = (table["measured"] <= table["target"]).map({True: "yes", False: "no"})
    return table.assign(
        met=met.where(table["target"].notna(), ""), sessions=options.sessions, minutes=float(options.minutes)
    )


def memory_chart(curve: pd.DataFrame) -> alt.LayerChart:
    """Memory over time, and the line that it must stay below."""
    names = {"server": "Server (RSS)", "with_runs": "Server, with the runs and plans that it started (PSS)"}
    lines = curve.assign(minutes=curve["s"] / 60).melt("minutes", list(names), "what", "MB").replace({"what": names})
    base = alt.Chart(lines).mark_line(strokeWidth=1.2)
    drawn = base.encode(
        x=alt.X("minutes:Q", title="Minutes"),
        y=alt.Y("MB:Q", title="Memory (MB)", scale=alt.Scale(domainMin=0)),
        color=alt.Color("what:N", title=None, sort=list(names.values()), scale=alt.Scale(range=["#0b62a4", "#c4540a"])),
    )
    limit = pd.DataFrame({"MB": [TARGET_MB], "text": [f"{TARGET_MB:.0f} MB"]})
    rule = alt.Chart(limit).mark_rule(strokeDash=[4, 4]).encode(y="MB:Q")
    label = alt.Chart(limit).mark_text(align="left", dy=-7, dx=4).encode(x=alt.value(0), y="MB:Q", text="text:N")
    chart = alt.layer(drawn, rule, label).properties(width=640, height=280)
    return chart.configure_legend(orient="top", labelLimit=400)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sessions", type=int, default=10)
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--files", type=int, default=5, help="large files that are chosen together")
    parser.add_argument("--megabytes", type=float, default=96.0, help="of each of them")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--pictures", type=Path, help="a folder for pictures of the pages on which an action failed")
    parser.add_argument("--out", type=Path, default=RESULTS)
    options = parser.parse_args()
    watched = Watched()
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        files = write_files(folder, options.files, options.megabytes)
        environ = {"SI_EXPLORER_PUBLIC": "1", "SI_EXPLORER_STUDIES": str(folder / "studies")}
        with serve(environ=environ, log=folder / "log.txt") as (address, server):
            with memory_curve(psutil.Process(server.pid), watched):
                asyncio.run(drive(address, options, files, watched))
            received = (folder / "studies" / ".received").rglob("*")
            left_mb = sum(path.stat().st_size for path in received if path.is_file()) / 1e6
        log = (folder / "log.txt").read_text(encoding="utf-8")
    print(*watched.failed, log, sep="\n")
    table = summary(watched, options, log, left_mb)
    print(table.to_string(index=False, float_format="%.1f"))
    write_report(table, "public_memory", options.out)
    memory_chart(pd.DataFrame(watched.curve)).save(options.out / "public_memory.png", scale_factor=2)


if __name__ == "__main__":
    main()
