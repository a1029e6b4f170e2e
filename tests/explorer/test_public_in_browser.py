"""The public server with a real Chromium: what is uploaded, left, removed and found again."""

import os
import sys
from pathlib import Path

import numpy as np
import psutil
import pytest
from playwright.sync_api import expect

from tests.browser import serve

pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def public(tmp_path_factory):
    """A small public server: its address, its process, and its folder."""
    folder = tmp_path_factory.mktemp("public")
    environ = {"SI_EXPLORER_PUBLIC": "1", "SI_EXPLORER_STUDIES": str(folder / "studies")}
    with serve(environ=environ, log=folder / "log.txt") as (address, server):
        yield address, server, folder


def received(folder: Path) -> int:
    files = [path for path in (folder / "studies" / ".received").rglob("*") if path.is_file()]
    return sum(path.stat().st_size for path in files)


def test_files_that_are_too_many_are_not_kept_and_none_goes_into_memory(page, public):
    address, server, folder = public
    if sys.platform != "linux":
        pytest.skip("compares resident memory")
    files = [folder / f"layer{number}.npy" for number in range(4)]
    for file in files:
        np.save(file, np.zeros((1000, 10_000), np.float32))  # 40 MB, of which two fit
    page.goto(f"{address}/new-study?source=features")
    uploader = page.locator(".st-key-new-features input[type=file]")
    uploader.wait_for(state="attached")
    before = psutil.Process(server.pid).memory_info().rss
    uploader.set_input_files([str(file) for file in files])
    alert = page.get_by_role("alert").filter(has_text="Not kept")
    expect(alert).to_contain_text("at most 100 MiB together", timeout=60_000)
    assert received(folder) == 2 * os.path.getsize(files[0])
    assert psutil.Process(server.pid).memory_info().rss - before < 60e6
    page.get_by_role("button", name="Show the plan", exact=True).click()
    expect(page.get_by_role("alert").filter(has_text="was not kept")).to_be_visible()
    page.get_by_role("link", name="Method").click()
    expect(page.get_by_role("heading").first).to_be_visible()
    for _ in range(100):
        if received(folder) == 0:
            break
        page.wait_for_timeout(100)
    assert received(folder) == 0
    assert "Traceback" not in (folder / "log.txt").read_text()


def test_a_removed_study_can_be_put_back_and_a_reload_finds_it(page, public):
    address, _, _ = public
    page.goto(f"{address}/new-study?per_class=10")
    for name in ("Show the plan", "Start the run"):
        page.get_by_role("button", name=name, exact=True).click(timeout=90_000)
    expect(page.get_by_text("Finished")).to_be_visible(timeout=90_000)
    page.goto(f"{address}/new-study")  # another session, without a link
    page.get_by_role("button", name="Show", exact=True).click()
    page.get_by_role("button", name="Remove", exact=True).click()
    expect(page.get_by_text("Removed")).to_be_visible()
    expect(page.get_by_role("button", name="Open the study", exact=True)).to_have_count(0)
    page.get_by_role("button", name="Undo", exact=True).click()
    page.get_by_role("button", name="Open the study", exact=True).click()
    expect(page.locator("svg.marks").first).to_be_visible(timeout=60_000)
