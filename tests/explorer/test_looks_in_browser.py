"""How the pages look in a real Chromium, on a phone and on a desk, in light and dark."""

from itertools import pairwise

import pytest
from playwright.sync_api import Page, expect

from tests.browser import DESKTOP, page_body, serve, wait_until_drawn

pytestmark = pytest.mark.browser
PHONE = {"width": 390, "height": 844}
LEAST_CONTRAST = 4.5
PAGES = {
    "/": "dogs",
    "/compare": "dogs",
    "/compare?tab=another-study": "dogs",
    "/compare?tab=related-measures": "dogs",
    "/compare?tab=similarity": "dogs",
    "/training": "digits-training",
    "/classes": "dogs",
    "/classes?tab=every": "dogs",
    "/classes?tab=pairs": "dogs",
    "/samples": "digits",
    "/samples?tab=data-quality": "digits",
    "/sample-size": "dogs",
    "/decide": "dogs",
    "/new-study": "dogs",
    "/method": "dogs",
    "/method?tab=measures": "dogs",
    "/method?tab=notebook": "dogs",
}
LONGEST = 6_600  # pixels on a phone, of any page
CHARTS = {  # a chart of a page, and a control that changes it
    "/training": (".st-key-training_network svg.marks", "Play"),
    "/classes?tab=every": (".st-key-class_map svg.marks", "Find a class"),
    "/classes?tab=pairs": (".st-key-class_confusions svg.marks", "Layer"),
    "/compare": (".st-key-dots_parameters svg.marks", "Layer"),
}
LEVELS = """() => [...document.querySelectorAll('[data-testid=stMainBlockContainer] :is(h1, h2, h3, h4)')]
  .map(heading => Number(heading.tagName[1]))"""
# The contrast of each colored part of the code on the page, by WCAG's formula.
CONTRASTS = """() => {
  const part = value => { value /= 255; return value <= .04045 ? value / 12.92 : ((value + .055) / 1.055) ** 2.4; };
  const light = color => { const [red, green, blue] = color.match(/[\\d.]+/g).map(Number);
    return .2126 * part(red) + .7152 * part(green) + .0722 * part(blue) + .05; };
  return [...document.querySelectorAll('[data-testid=stCode] .token')].map(token => {
    const ratio = light(getComputedStyle(token).color)
      / light(getComputedStyle(token.closest('pre')).backgroundColor);
    return [token.className, Math.max(ratio, 1 / ratio)]; });
}"""


@pytest.fixture(scope="module")
def address(tmp_path_factory):
    with serve("--study", "dogs", log=tmp_path_factory.mktemp("looks") / "server.log") as (address, _):
        yield address


def opened(page: Page, address: str, path: str) -> None:
    page.goto(f"{address}{path}{'&' if '?' in path else '?'}study={PAGES[path]}")
    expect(page.get_by_role("heading", level=1)).to_be_visible(timeout=60_000)
    wait_until_drawn(page)


def test_each_page_fits_on_a_phone_and_its_headings_have_an_order(page, address):
    page.set_viewport_size(PHONE)
    for path in PAGES:
        opened(page, address, path)
        page.wait_for_function("document.querySelector('[data-testid=stMain]').scrollWidth <= window.innerWidth")
        levels = page.evaluate(LEVELS)
        assert levels[0] == 1, path
        assert all(below <= above + 1 for above, below in pairwise(levels)), (path, levels)
        height = page.evaluate("document.querySelector('[data-testid=stMain]').scrollHeight")
        assert height <= LONGEST, (path, height)


@pytest.mark.parametrize("path", list(CHARTS))
def test_on_a_phone_the_chart_comes_before_the_controls(page, address, path):
    selector, label = CHARTS[path]
    opened(page, address, path)
    chart, control = page.locator(selector).first, page_body(page).get_by_text(label, exact=True).last
    expect(chart).to_be_visible(timeout=60_000)
    expect(control).to_be_visible()
    assert control.bounding_box()["y"] < chart.bounding_box()["y"]
    page.set_viewport_size(PHONE)
    page.wait_for_function("document.documentElement.scrollWidth <= window.innerWidth")
    expect(chart).to_be_visible()
    assert chart.bounding_box()["y"] < control.bounding_box()["y"]


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_code_can_be_read(page, address, scheme):
    page.emulate_media(color_scheme=scheme)
    for path in ("/training?study=dogs", "/decide?study=dogs"):
        page.goto(address + path)
        expect(page.locator("[data-testid=stCode] .token").first).to_be_visible(timeout=60_000)
        wait_until_drawn(page)
        contrasts = page.evaluate(CONTRASTS)
        assert min(contrast for _, contrast in contrasts) >= LEAST_CONTRAST, (path, contrasts)


def test_both_charts_of_a_training_have_something_below_them(page, address):
    """Loss and accuracy stand in one row with the table of the layers: no column ends half a page before the other."""
    page.set_viewport_size(DESKTOP)
    opened(page, address, "/training")
    page.wait_for_function(
        """() => {
          const headings = [...document.querySelectorAll('[data-testid=stMainBlockContainer] h2')];
          const top = title => headings.find(heading => heading.innerText === title)?.getBoundingClientRect().top;
          return top('Through the network') === top('Over the epochs')
            && top('Loss and accuracy') === top('Change of each layer')
            && top('Over the epochs') < top('Loss and accuracy'); }"""
    )


@pytest.mark.parametrize(
    ("path", "items", "least"),
    [
        ("/samples", ".st-key-gallery .grid > button", 4),
        ("/samples", ".st-key-paired_on_phone_filters > *", 2),
        ("/classes?tab=pairs", ".st-key-paired_on_phone_causes > *", 2),
    ],
)
def test_cards_stand_side_by_side_on_a_phone(page, address, path, items, least):
    page.set_viewport_size(PHONE)
    opened(page, address, path)
    shown = page.locator(items)
    expect(shown.nth(least)).to_be_visible(timeout=60_000)
    for _ in range(100):  # all at one moment, because the page may still be moving
        boxes = shown.evaluate_all(
            """(items, least) => items.slice(0, least).map((one) => one.getBoundingClientRect().toJSON())""", least
        )
        if all(left["x"] + left["width"] <= right["x"] for left, right in pairwise(boxes)):
            break
        page.wait_for_timeout(200)
    assert len(boxes) == least
    assert all(left["x"] + left["width"] <= right["x"] for left, right in pairwise(boxes)), boxes
    assert boxes[-1]["x"] + boxes[-1]["width"] <= PHONE["width"]


@pytest.mark.parametrize("width", [390, 800, 1000, 1200, 1440])
def test_the_rows_of_the_gallery_are_full(page, address, width):
    page.set_viewport_size({"width": width, "height": 900})
    opened(page, address, "/samples")
    tiles = page.locator(".st-key-gallery .grid > button")
    expect(tiles).to_have_count(24, timeout=60_000)
    columns = page.locator(".st-key-gallery .grid").evaluate(
        "grid => getComputedStyle(grid).gridTemplateColumns.split(' ').map(parseFloat)"
    )
    assert 24 % len(columns) == 0
    assert min(columns) >= 70  # pixels


def test_a_name_too_long_for_its_field_ends_in_an_ellipsis(page, address):
    page.set_viewport_size(PHONE)
    opened(page, address, "/training")
    field = page.get_by_role("combobox", name="Study")
    expect(field).to_be_visible(timeout=60_000)
    expect(field).to_have_css("text-overflow", "ellipsis")


def test_chosen_layers_wrap_on_a_phone(page, address):
    page.set_viewport_size(PHONE)
    opened(page, address, "/sample-size")
    chips = page.get_by_test_id("stMultiSelect").locator("[data-tag]")
    expect(chips.last).to_be_visible(timeout=60_000)
    box = chips.last.bounding_box()
    assert box["x"] + box["width"] <= PHONE["width"]
