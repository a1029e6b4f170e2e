"""The app as `make run` serves it, and a real Chromium to look at it with."""

import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from urllib.error import URLError

from playwright.sync_api import Browser, Locator, Page, expect, sync_playwright

ROOT = Path(__file__).resolve().parents[1]
START_S = 60
POLL_S = 0.02
SLOW = 60_000  # milliseconds that a busy machine may take
DESKTOP = {"width": 1440, "height": 1000}
CHROMIUM_OPTIONS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
]


@contextmanager
def serve(
    *arguments: str, environ: Mapping[str, str] | None = None, log: Path | None = None, root: Path = ROOT
) -> Iterator[tuple[str, subprocess.Popen]]:
    """The app on a free port, without the project on Python's path: its address, and its process.

    arguments : after the `--`, such as "--study", PATH. environ : beside the variables of this process.
    log : a file for what the server prints; by default nothing keeps it. root : the project whose app is served.
    """
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    streamlit = shutil.which("streamlit", path=str(Path(sys.executable).parent))
    command = [streamlit, "run", "explorer/app.py", "--server.headless=true", f"--server.port={port}"]
    inherited = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    variables = inherited | dict(environ or {})
    with Path(log or os.devnull).open("w") as output:
        server = subprocess.Popen([*command, "--", *arguments], cwd=root, env=variables, stdout=output, stderr=output)
        try:
            wait_for_server(f"http://127.0.0.1:{port}/_stcore/health", server)
            yield f"http://127.0.0.1:{port}", server
        finally:
            server.terminate()
            server.wait(timeout=20)


def wait_for_server(url: str, server: subprocess.Popen) -> None:
    """Wait until a server answers; an error where its process ends before."""
    deadline = time.monotonic() + START_S
    while time.monotonic() < deadline:
        if server.poll() is not None:
            raise RuntimeError(f"the server ended with {server.returncode} before it answered")
        try:
            with urllib.request.urlopen(url, timeout=5) as answer:
                if answer.status == 200:
                    return
        except (URLError, OSError):
            time.sleep(POLL_S)
    raise TimeoutError(f"no answer from {url} within {START_S} s")


def page_body(page: Page) -> Locator:
    """What the app shows, without Streamlit's toolbar, which has buttons and texts of its own."""
    return page.get_by_test_id("stMainBlockContainer")


def wait_until_drawn(page: Page, timeout: float = SLOW) -> None:
    """Wait until the server has run the page to its end; what is clicked before may belong to the run before.

    timeout : in milliseconds.
    """
    app = page.locator("[data-testid=stApp][data-test-script-state=notRunning]")
    app.wait_for(state="attached", timeout=timeout)


def rename_study(page: Page, study: str, name: str) -> None:
    """Give a study of the chart on *Layers* another name, until the chart has it."""
    wait_until_drawn(page)  # a form that is drawn anew is empty
    page.get_by_role("button", name="Name, note and tags").click()
    form = page.get_by_test_id("stPopoverBody")
    chosen = form.get_by_role("combobox", name="Study")
    if chosen.input_value() != study:
        chosen.click()
        page.get_by_role("option", name=study, exact=True).click()
    field = form.get_by_role("textbox", name="Name", exact=True)
    expect(field).to_have_attribute("placeholder", study, timeout=SLOW)
    wait_until_drawn(page)
    field.fill(name)
    field.press("Tab")
    form.get_by_role("button", name="Save").click()
    expect(page.locator(".st-key-layers_chart svg.marks")).to_contain_text(name, timeout=SLOW)
    page.keyboard.press("Escape")
    expect(form).to_be_hidden()


def find_chromium() -> str | None:
    """The path of a Chromium or Chrome, where there is one."""
    names = ("chromium", "chromium-browser", "google-chrome")
    return next((path for path in map(shutil.which, names) if path), None)


@contextmanager
def chromium() -> Iterator[Browser]:
    """A fresh browser, closed at the end."""
    executable = find_chromium()
    if executable is None:
        raise FileNotFoundError("chromium must be on the PATH; there is none. Install the package chromium.")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=executable, args=CHROMIUM_OPTIONS)
        try:
            yield browser
        finally:
            browser.close()
