"""Someone who compares four runs, in a real Chromium: draws them over each other, names one, and runs it again."""

import re

import pytest
from playwright.sync_api import Page, expect

from tests.browser import SLOW, page_body, rename_study, serve
from tests.explorer.conftest import FULL_INFO, TINY_LAYERS, judged

pytestmark = pytest.mark.browser
OF_DIGITS = {
    "asked": {"data": "digits", "model": "pixels", "split": "both", "pooling": "mean", "per_class": 10, "seed": 3},
    "used": {"data": {"name": "digits", "fingerprint": "d" * 64, "num_samples": 200}, "model": {"name": "pixels"}},
}


@pytest.fixture
def address(tmp_path, study_writer):
    """The app on four studies: three of the same samples, and one of other data."""
    folders = [study_writer(tmp_path / "first", layers=TINY_LAYERS, info=OF_DIGITS, change=judged)]
    folders += [study_writer(tmp_path / name, layers=TINY_LAYERS, info=OF_DIGITS) for name in ("second", "third")]
    folders.append(study_writer(tmp_path / "birds", layers=TINY_LAYERS[1:], info=FULL_INFO))
    words = [word for folder in folders for word in ("--study", str(folder))]
    environ = {"SI_EXPLORER_STUDIES": str(tmp_path / "runs")}
    with serve(*words, environ=environ, log=tmp_path / "server.log") as (address, _):
        yield address


def names_in_chart(page: Page) -> list[str]:
    texts = page.locator(".st-key-layers_chart svg.marks .mark-text.role-mark text[font-weight='600']")
    return sorted(text.strip() for text in texts.all_text_contents())


def also_show(page: Page, name: str) -> None:
    field = page.get_by_role("combobox", name="Also show")
    field.fill(name)
    page.get_by_role("option").filter(has_text=name).first.click()
    expect(page_body(page).get_by_test_id("stMultiSelect").last).to_contain_text(name, timeout=SLOW)
    page.keyboard.press("Escape")


def test_someone_compares_four_runs(page, address, tmp_path):
    page.goto(f"{address}/?samples=test")
    expect(page.locator(".st-key-layers_chart svg.marks")).to_be_visible(timeout=SLOW)
    for name in ("second", "third", "birds"):
        also_show(page, name)
    expect(page_body(page)).to_contain_text("birds: not the same samples", timeout=SLOW)
    expect(page_body(page)).to_contain_text("Layers are aligned by name.")
    expect(page.locator(".st-key-layers_chart svg.marks")).to_contain_text("birds", timeout=SLOW)
    assert names_in_chart(page) == ["birds", "first", "second", "third"]

    rename_study(page, "second", "half of the data")
    rename_study(page, "first", "all of the data")  # which is the open one
    assert (tmp_path / "second" / "description.json").exists()
    assert names_in_chart(page) == ["all of the data", "birds", "half of the data", "third"]
    expect(page_body(page)).not_to_contain_text("cannot be opened")

    link = page.url
    page.goto("about:blank")
    page.goto(link)
    expect(page.locator(".st-key-layers_chart svg.marks")).to_contain_text("half of the data", timeout=SLOW)
    assert names_in_chart(page) == ["all of the data", "birds", "half of the data", "third"]

    page.get_by_role("link", name="Run again").click()
    expect(page_body(page)).to_contain_text("Filled from all of the data", timeout=SLOW)
    expect(page.get_by_role("spinbutton", name="Samples a class")).to_have_value("10")
    page.get_by_role("textbox", name="Name").fill("fifth run")
    page.get_by_role("textbox", name="Name").press("Enter")
    expect(page).to_have_url(re.compile(r"name=fifth"), timeout=SLOW)
    page.get_by_role("button", name="Start", exact=True).click()
    expect(page_body(page)).to_contain_text("Finished · fifth run", timeout=2 * SLOW)
    page.get_by_role("button", name="Open the study").click()
    expect(page.get_by_role("combobox", name=re.compile("^Study"))).to_have_value(
        re.compile("^fifth run"), timeout=SLOW
    )
