"""Clicks on fields, bars, rows and dots in a real Chromium: what is chosen, what the address says, what is shown."""

import re
from urllib.parse import parse_qs, urlsplit

import pytest
from playwright.sync_api import Locator, Page, expect

from tests.browser import serve, wait_until_drawn

pytestmark = pytest.mark.browser
SLOW = 30_000
ROW, HEADER = 35, 36  # pixels of a table that Streamlit draws


@pytest.fixture(scope="module")
def address(tmp_path_factory):
    """The app on the bundled study of digits, which has pictures and a map."""
    folder = tmp_path_factory.mktemp("clicks")
    with serve("--study", "digits", log=folder / "server.log") as (address, _):
        yield address


def told(page: Page, mark: Locator) -> dict[str, str]:
    """What the tooltip of a mark says, by its titles."""
    mark.hover(timeout=SLOW)
    tooltip = page.locator("#vg-tooltip-element.visible")
    expect(tooltip).to_be_visible()
    rows = [row.locator("td").all_inner_texts() for row in tooltip.locator("tr").all()]
    return {title.strip().removesuffix(":"): text.strip() for title, text in rows}


def view(page: Page) -> dict[str, str]:
    """The address, parameter by parameter."""
    return {name: values[-1] for name, values in parse_qs(urlsplit(page.url).query).items()}


def expect_samples(page: Page) -> None:
    expect(page.get_by_role("heading", level=1)).to_have_text("Samples", timeout=SLOW)
    expect(page.locator(".st-key-gallery img").first).to_be_visible(timeout=SLOW)


@pytest.mark.parametrize("place", [7, -2], ids=["an early field", "a late field"])
def test_a_field_of_the_heat_map_opens_the_samples_of_its_class_at_its_layer(page, address, place):
    page.goto(f"{address}/classes?study=digits&tab=every")
    fields = page.locator(".st-key-class_map svg.marks .mark-rect").first.locator("path")
    expect(fields.first).to_be_visible(timeout=SLOW)
    field = fields.nth(place % fields.count())
    says = told(page, field)
    field.click()
    expect_samples(page)
    expect(page).to_have_url(re.compile(r"[?&]class="))
    assert (view(page)["class"], view(page)["layer"]) == (says["Class"], says["Layer"])
    expect(page.get_by_role("combobox", name="Class", exact=True)).to_have_value(says["Class"])
    expect(page.get_by_role("combobox", name="Layer", exact=True)).to_have_value(says["Layer"])
    expect(page.get_by_role("heading", level=2).filter(has_text=f"{says['Samples']} of ")).to_be_visible()


@pytest.mark.parametrize("place", [0, 2])
def test_a_bar_opens_its_two_classes_through_the_layers(page, address, place):
    page.goto(f"{address}/classes?study=digits")
    page.get_by_role("tab", name="Confused pairs").click(timeout=SLOW)
    expect(page).to_have_url(re.compile("[?&]pair="), timeout=SLOW)
    wait_until_drawn(page)
    bar = page.locator(".st-key-class_confusions svg.marks .mark-rect").first.locator("path").nth(place)
    says = told(page, bar)
    bar.click()
    pair = [says["Class"], says["and class"]]
    expect(page).to_have_url(re.compile("[?&]pair={}&pair={}".format(*pair)), timeout=SLOW)
    expect(page.get_by_role("combobox", name="and class", exact=True)).to_have_value(pair[1])


def test_a_row_of_the_samples_to_check_opens_its_sample(page, address):
    page.goto(f"{address}/samples?study=digits")
    expect_samples(page)
    page.get_by_role("tab", name="Data quality").click()
    table = page.get_by_role("tabpanel", name="Samples to check").get_by_test_id("stDataFrame")
    row = table.locator("tbody tr").nth(1)  # the table that is drawn has one for screen readers within
    expect(row).to_have_count(1, timeout=SLOW)
    cells = [cell.strip() for cell in row.locator("td").all_text_contents()]
    table.locator(".dvn-scroller").click(position={"x": 18, "y": HEADER + 1.5 * ROW})
    sample = next(cell for cell in cells if cell.startswith("digits/"))
    expect(page.get_by_role("dialog")).to_contain_text(sample, timeout=SLOW)
    expect(page).to_have_url(re.compile(f"sample={sample.replace('/', '%2F')}&tab=data-quality&open=yes"))


def test_a_span_drawn_on_the_strip_is_shown_kept_in_the_address_and_restored(page, address):
    page.goto(f"{address}/?study=digits")
    strip, chart = page.locator(".st-key-layers_strip canvas"), page.locator(".st-key-layers_chart svg.marks")
    expect(chart).to_contain_text("stem", timeout=SLOW)
    expect(strip).to_be_visible(timeout=SLOW)
    strip.scroll_into_view_if_needed()
    page.wait_for_timeout(1000)  # a chart grows to its width
    box = strip.bounding_box()
    page.mouse.move(box["x"] + 0.5 * box["width"], box["y"] + box["height"] / 2)
    page.mouse.down()
    page.mouse.move(box["x"] + 0.6 * box["width"], box["y"] + box["height"] / 2)
    page.mouse.move(box["x"] + 0.8 * box["width"], box["y"] + box["height"] / 2)
    page.mouse.up()
    expect(page).to_have_url(re.compile(r"span=block\w+&span=block\w+"), timeout=SLOW)
    expect(chart).not_to_contain_text("stem", timeout=SLOW)
    expect(page.get_by_role("button", name="Layers (1 filter)")).to_be_visible()
    span = parse_qs(urlsplit(page.url).query)["span"]

    link = page.url
    page.goto("about:blank")
    page.goto(link)
    expect(page.get_by_role("button", name="Layers (1 filter)")).to_be_visible(timeout=SLOW)
    expect(chart).not_to_contain_text("stem")
    page.get_by_role("button", name="Layers (1 filter)").click()
    first = page.get_by_role("slider").first
    expect(first).to_have_attribute("aria-valuetext", span[0])
    first.focus()
    page.keyboard.press("ArrowLeft")
    expect(first).not_to_have_attribute("aria-valuetext", span[0])
    expect(page).not_to_have_url(re.compile(f"span={span[0]}&"), timeout=SLOW)
    page.get_by_role("button", name="Show all layers").click()
    expect(chart).to_contain_text("stem", timeout=SLOW)
    expect(page).not_to_have_url(re.compile("span"))
