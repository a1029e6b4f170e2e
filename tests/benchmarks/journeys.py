"""Clicks and seconds of five journeys through the explorer, as it is and as it was before them.

    git worktree add --detach ../before 63eed1a
    python -m tests.benchmarks.journeys --before ../before [--repeats 3]

Each journey is one person with one aim, who walks in a fresh Chromium at a fresh server of either version, in turns. A
click is a press of the mouse, counted in the page; texts and keys that are typed are no clicks. The seconds are those
until each answer is on the page; reading and thinking take none. What the earlier version cannot do is left out there
and named.
"""

import argparse
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import pandas as pd
from playwright.sync_api import Page, expect

from tests.benchmarks.report import write_report
from tests.browser import DESKTOP, ROOT, SLOW, chromium, page_body, rename_study, serve, wait_until_drawn

COUNT = """
addEventListener('pointerdown', () => { sessionStorage.clicks = Number(sessionStorage.clicks || 0) + 1; }, true)
"""
LAYERS = ".st-key-layers_chart svg.marks"
MISSING = {
    "cuts": "",
    "takes a figure": "no PDF; pictures have no title, no caption and the page's colors",
    "newcomer": "the first page does not say what SI is: page Method; no menu Training",
    "cleans labels": "no marks, no notes: the list of wrong samples is saved, to be marked elsewhere",
    "compares runs": "four runs never in one chart, only pairs; no names; the run's settings are looked up and typed",
}


def choose(page: Page, label: str | re.Pattern[str], text: str) -> None:
    """Click on a field, type a part of an option, and click on it."""
    field = page_body(page).get_by_role("combobox", name=label, exact=isinstance(label, str)).first
    field.click()
    field.fill(text)
    page.get_by_role("option").filter(has_text=text).first.click()
    page.mouse.move(1, 500)  # in the earlier version the toolbar of a chart under the pointer covers other controls
    wait_until_drawn(page)


def follow(page: Page, name: str) -> None:
    """Click on a page's name in the menu."""
    page.get_by_role("link", name=name, exact=True).first.click()
    expect(page.get_by_role("heading", level=1)).to_be_visible(timeout=SLOW)
    wait_until_drawn(page)


def press(page: Page, name: str | re.Pattern[str]) -> None:
    """Click on the first button of this name."""
    page.get_by_role("button", name=name, exact=isinstance(name, str)).first.click()
    wait_until_drawn(page)


def take(page: Page, name: str) -> None:
    """Click on the first visible button of this name, which saves a file."""
    with page.expect_download(timeout=SLOW):
        page.get_by_role("button", name=name, exact=True).locator("visible=true").first.click()


def open_page(page: Page, address: str) -> None:
    page.goto(address)
    expect(page.get_by_role("heading", level=1)).to_be_visible(timeout=SLOW)
    wait_until_drawn(page)


def cut(page: Page, address: str, *, is_before: bool) -> None:
    """The earliest layer within a tolerance of 0.3, the blocks, and the table of layers as a file."""
    open_page(page, f"{address}/")
    expect(page.locator(LAYERS)).to_be_visible(timeout=SLOW)
    follow(page, "Decide")
    tolerance = page.get_by_role("spinbutton", name="Tolerance", exact=True)
    tolerance.fill("0.3")
    tolerance.press("Enter")
    expect(page).to_have_url(re.compile("tolerance=0.3"), timeout=SLOW)
    wait_until_drawn(page)
    if is_before:
        take(page, "CSV")
        page.get_by_text(re.compile("SI does not show whether the network needs a block")).scroll_into_view_if_needed()
        return
    page.locator(".st-key-save_digits_cut").get_by_role("button").first.click()
    take(page, "CSV")
    page.keyboard.press("Escape")
    page.get_by_role("navigation", name="On this page").get_by_role("link", name="Blocks").click()
    page.wait_for_function("document.querySelector('#blocks').getBoundingClientRect().top < 200")


def take_figure(page: Page, address: str, *, is_before: bool) -> None:
    """Anti SI of one block as SVG, PNG, PDF and CSV."""
    open_page(page, f"{address}/")
    choose(page, "Measure", "Anti SI")
    press(page, re.compile("^All layers"))
    choose_block(page)
    page.keyboard.press("Escape")
    page.keyboard.press("Escape")
    expect(page.get_by_test_id("stPopoverBody")).to_be_hidden()
    if not is_before:
        page.locator(".st-key-save_digits_layers").get_by_role("button").first.click()
    for name in ("Chart as SVG", "Chart as PNG", "CSV") if is_before else ("SVG", "PNG", "PDF", "CSV"):
        take(page, name)


def choose_block(page: Page) -> None:
    field = page.get_by_role("combobox", name=re.compile("^Blocks"))
    field.click()
    field.fill("block7a")
    page.get_by_role("option", name="block7a").click()
    expect(page).to_have_url(re.compile("blocks=block7a"), timeout=SLOW)
    wait_until_drawn(page)


def understand(page: Page, address: str, *, is_before: bool) -> None:
    """What SI is, in a sentence; then how it changed in a training."""
    open_page(page, f"{address}/")
    if is_before:
        follow(page, "Method")
        expect(page.get_by_text("The share of samples whose nearest other sample")).to_be_visible(timeout=SLOW)
        follow(page, "Layers")
        choose(page, "Study", "digits-training")
        follow(page, "Training")
    else:
        expect(page.get_by_text("of 100 images look most like another image of their own class")).to_be_visible()
        follow(page, "Training")
        choose(page, "Study", "digits-training")
    expect(page.get_by_role("heading", level=1)).to_have_text(re.compile("SI changed in"), timeout=SLOW)


def clean(page: Page, address: str, *, is_before: bool) -> None:
    """Four wrong samples looked at, three marked, one with a note, and the marks saved."""
    open_page(page, f"{address}/")
    follow(page, "Samples")
    choose(page, "Show", "Disagrees here")
    if is_before:
        cards = page.get_by_role("button", name="Look closer")
        for number in range(4):
            cards.nth(number).click()
            wait_until_drawn(page)
        page.mouse.move(1, 500)
        wait_until_drawn(page)
        with page.expect_download(timeout=SLOW):
            page.get_by_role("button", name="CSV", exact=True).nth(2).click()  # of the list
        return
    tile = page.locator(".st-key-gallery button").first
    tile.click()
    dialog = page.get_by_role("dialog")
    for number, (key, label) in enumerate({"e": "Label error", "d": "Duplicate", "f": "Fine"}.items(), start=2):
        expect(dialog.get_by_role("textbox", name="Note")).to_have_count(1, timeout=SLOW)
        wait_until_drawn(page)
        page.keyboard.press(key)
        expect(dialog.get_by_role("button", name=label)).to_have_attribute("kind", "primary", timeout=SLOW)
        page.keyboard.press("ArrowRight")
        expect(dialog.get_by_text(re.compile(rf"^{number} of [0-9]+$"))).to_be_visible(timeout=SLOW)
        wait_until_drawn(page)
    note = dialog.get_by_role("textbox", name="Note")
    expect(note).to_have_count(1, timeout=SLOW)
    note.click()
    page.keyboard.type("blurred")
    page.keyboard.press("Tab")
    wait_until_drawn(page)
    page.keyboard.press("Escape")
    expect(page.get_by_text("Marked: 1 as label error, 1 as duplicate, 1 as fine")).to_be_visible(timeout=SLOW)
    wait_until_drawn(page)
    page.get_by_role("button", name="Save").last.click()
    with page.expect_download(timeout=SLOW):
        page.get_by_test_id("stPopoverBody").get_by_role("button", name="CSV", exact=True).click()


def compare(page: Page, address: str, *, is_before: bool, run: Path) -> None:
    """Three further runs beside the dogs', two named; then another run once more, with 5 samples a class."""
    open_page(page, f"{address}/?study=dogs")
    others = ("dogs-tuned", "dogs-head", "dogs-untrained")
    if is_before:
        follow(page, "Compare")
        for name in others:
            choose(page, "Compare with", name)
            expect(page_body(page)).to_contain_text(re.compile(f"From {name} to dogs"), timeout=SLOW)
    else:
        for name in others:
            choose(page, "Also show", name)
            expect(page.locator(LAYERS)).to_contain_text(name, timeout=SLOW)
            page.keyboard.press("Escape")
        name_studies(page, {"dogs": "as published", "dogs-tuned": "fine-tuned"})
    study = page_body(page).get_by_role("combobox", name="Study", exact=True).first
    study.click()
    study.fill(str(run))
    study.press("Enter")
    expect(page_body(page)).to_contain_text("100 training and 100 test samples", timeout=SLOW)
    wait_until_drawn(page)
    run_again(page, is_before=is_before)


def name_studies(page: Page, names: dict[str, str]) -> None:
    for study, name in names.items():
        rename_study(page, study, name)
        wait_until_drawn(page)


def run_again(page: Page, *, is_before: bool) -> None:
    """Another run of the digits' pixels, of which the open study has 10 samples a class and seed 3."""
    if is_before:
        page.get_by_text("How this was computed").click()
        expect(page_body(page)).to_contain_text("--seed 3", timeout=SLOW)
        follow(page, "New study")
        page.get_by_text("More options").click()
        seed = page.get_by_role("spinbutton", name="Seed")
        seed.fill("3")
        seed.press("Enter")
        wait_until_drawn(page)
    else:
        page.get_by_role("link", name="Run again").click()
        expect(page_body(page)).to_contain_text("Filled from", timeout=SLOW)
        wait_until_drawn(page)
    per_class = page.get_by_role("spinbutton", name="Samples a class")
    per_class.fill("5")
    per_class.press("Enter")
    expect(page).to_have_url(re.compile("per_class=5"), timeout=SLOW)
    wait_until_drawn(page)
    if is_before:
        press(page, "Show the plan")
    page.get_by_role("button", name="Start the run" if is_before else "Start", exact=True).click(timeout=SLOW)
    page.get_by_role("button", name="Open the study").first.click(timeout=SLOW)
    expect(page.locator(LAYERS)).to_be_visible(timeout=SLOW)


JOURNEYS: dict[str, Callable[..., None]] = {
    "cuts": cut,
    "takes a figure": take_figure,
    "newcomer": understand,
    "cleans labels": clean,
    "compares runs": compare,
}


def walk(who: str, root: Path, folder: Path, *, is_before: bool) -> tuple[int, float]:
    """Clicks and seconds of one journey in the app of the project at `root`, with files in `folder`."""
    study = shutil.copytree(root / "explorer" / "demo" / "digits", folder / "digits")  # marks are kept with it
    options = {}
    if who == "compares runs":
        words = ["study", "digits", "--model", "pixels", "--per-class", "10", "--seed", "3", "--out", folder / "pixels"]
        subprocess.run([sys.executable, "-m", "core", *map(str, words)], cwd=root, check=True, capture_output=True)
        options["run"] = folder / "pixels"
    first = "dogs" if who == "compares runs" else str(study)
    environ = {"SI_EXPLORER_STUDIES": str(folder / "runs")}
    with serve("--study", first, environ=environ, root=root) as (address, _), chromium() as browser:
        page = browser.new_page(viewport=DESKTOP)
        page.set_default_timeout(SLOW)
        page.add_init_script(COUNT)
        page.goto(f"{address}/?study={first}")  # a visitor before: modules are loaded, the study is read
        expect(page.locator(LAYERS)).to_be_visible(timeout=SLOW)
        page.evaluate("sessionStorage.clear()")
        start = time.perf_counter()
        JOURNEYS[who](page, address, is_before=is_before, **options)
        seconds = time.perf_counter() - start
        return int(page.evaluate("Number(sessionStorage.clicks || 0)")), seconds


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--before", type=Path, required=True, help="a worktree of the earlier version")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--only", choices=JOURNEYS, help="one of the journeys; writes no table")
    options = parser.parse_args()
    rows = []
    for who in [options.only] if options.only else JOURNEYS:
        row: dict[str, object] = {"who": who}
        for name, root in {"before": options.before.resolve(), "now": ROOT}.items():
            walked = []
            for _ in range(options.repeats):
                with tempfile.TemporaryDirectory() as folder:
                    walked.append(walk(who, root, Path(folder), is_before=name == "before"))
            clicks, seconds = zip(*walked, strict=True)
            row |= {f"clicks, {name}": min(clicks), f"seconds, {name}": float(pd.Series(seconds).median())}
            print(who, name, walked, flush=True)
        rows.append(row | {"not possible before": MISSING[who]})
    if not options.only:
        write_report(pd.DataFrame(rows), "journeys")


if __name__ == "__main__":
    main()
