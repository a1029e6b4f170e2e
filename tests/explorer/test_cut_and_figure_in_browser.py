"""A practitioner who cuts a network, and a researcher who takes a figure, in a real Chromium."""

import re

import pandas as pd
import pytest
from playwright.sync_api import Page, expect

from tests.browser import page_body, serve, wait_until_drawn

pytestmark = pytest.mark.browser
SLOW = 60_000
PHONE = {"width": 390, "height": 844}


@pytest.fixture(scope="module")
def address(tmp_path_factory):
    folder = tmp_path_factory.mktemp("figure")
    environ = {"SI_EXPLORER_STUDIES": str(folder / "runs")}
    with serve("--study", "digits", environ=environ, log=folder / "server.log") as (address, _):
        yield address


def saved(page: Page, menu: str, label: str) -> bytes:
    """The file that a button of a menu saves."""
    wait_until_drawn(page)
    body = page.get_by_test_id("stPopoverBody")
    if not body.is_visible():
        page.locator(f".st-key-save_{menu}").get_by_role("button").first.click()
    with page.expect_download(timeout=SLOW) as download:
        body.get_by_role("button", name=label, exact=True).click()
    return download.value.path().read_bytes()


def test_a_practitioner_cuts_the_network(page, address):
    page.goto(f"{address}/?study=digits")
    expect(page.locator(".st-key-layers_chart svg.marks")).to_be_visible(timeout=SLOW)
    page.get_by_role("link", name="Decide").first.click()
    title = page.get_by_role("heading", level=1)
    expect(title).to_contain_text("Cut", timeout=SLOW)
    first = page.get_by_role("slider", name="Cut after")
    expect(first).to_be_attached()

    # A greater tolerance allows an earlier cut, which saves more.
    code = page_body(page).get_by_test_id("stCode").first
    expect(code).to_contain_text("python -m core", timeout=SLOW)
    before = code.inner_text()
    tolerance = page.get_by_role("spinbutton", name="Tolerance", exact=True)
    tolerance.fill("0.3")
    tolerance.press("Enter")
    expect(page).to_have_url(re.compile("tolerance=0.3"), timeout=SLOW)
    expect(code).not_to_have_text(before, timeout=SLOW)
    expect(page_body(page)).to_contain_text("Parameters saved")
    expect(page_body(page)).to_contain_text("Minus the best layer")
    assert "--layer" in code.inner_text()

    # The row of links leads to a section below the header, and Back leads back; the address has it.
    page.get_by_role("navigation", name="On this page").get_by_role("link", name="Blocks").click()
    expect(page).to_have_url(re.compile("#blocks$"))
    page.wait_for_function("document.querySelector('#blocks').getBoundingClientRect().top < 200")
    assert page.locator("#blocks").bounding_box()["y"] > page.locator(".si-sections").bounding_box()["y"] + 20
    page.go_back()
    expect(page).to_have_url(re.compile("tolerance=0.3[^#]*$"))

    # A link with a section leads to it, once the page is drawn.
    page.goto("about:blank")
    page.goto(f"{address}/decide?study=digits&tolerance=0.3#blocks")
    page.wait_for_function("document.querySelector('#blocks')?.getBoundingClientRect().top < 200", timeout=SLOW)
    expect(page).to_have_url(re.compile("#blocks$"))

    table = pd.read_csv(pd.io.common.BytesIO(saved(page, "digits_cut", "CSV")))
    assert {"layer", "difference", "parameters_saved"} <= set(table.columns)
    page.keyboard.press("Escape")

    # On a phone the chart comes before the controls.
    page.set_viewport_size(PHONE)
    chart = page.locator(".st-key-decide_cut svg.marks")
    expect(chart).to_be_visible()
    page.wait_for_function("document.documentElement.scrollWidth <= window.innerWidth")
    assert chart.bounding_box()["y"] < tolerance.bounding_box()["y"]


def test_a_researcher_takes_a_figure(page, address):
    page.goto(f"{address}/?study=digits")
    chart = page.locator(".st-key-layers_chart svg.marks")
    expect(chart).to_be_visible(timeout=SLOW)
    texts = chart.locator("text").all_text_contents()
    assert {"6a", "6d", "predictions", "stem"} <= {text.strip() for text in texts}  # level names of blocks
    page.get_by_role("combobox", name="Measure").click()
    page.get_by_role("option").filter(has_text="Anti").first.click()
    expect(page).to_have_url(re.compile("measure=anti"), timeout=SLOW)
    page.get_by_role("button", name=re.compile("^All layers")).click()
    names = page.get_by_role("combobox", name=re.compile("^Blocks"))
    names.fill("block7a")
    page.get_by_role("option", name="block7a").click()
    expect(page).to_have_url(re.compile("blocks=block7a"), timeout=SLOW)
    page.keyboard.press("Escape")
    page.keyboard.press("Escape")
    expect(page.get_by_test_id("stPopoverBody")).to_be_hidden()
    expect(page.get_by_role("button", name=re.compile("1 filter"))).to_be_visible()

    svg = saved(page, "digits_layers", "SVG").decode()
    assert "through the network" in svg
    assert "efficientnet-lite0" in svg
    assert 'fill="white"' in svg or "#fff" in svg.lower()
    assert saved(page, "digits_layers", "PNG").startswith(b"\x89PNG")
    assert saved(page, "digits_layers", "PDF").startswith(b"%PDF")
    table = pd.read_csv(pd.io.common.BytesIO(saved(page, "digits_layers", "CSV")))
    assert set(table["block"]) == {"block7a"}
