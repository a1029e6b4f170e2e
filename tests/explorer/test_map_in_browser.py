"""The map of the samples in a real Chromium: one journey over the bundled digits."""

import re
from urllib.parse import parse_qs, urlsplit

import pytest
from playwright.sync_api import Page, expect

from tests.browser import serve

pytestmark = pytest.mark.browser
SLOW = 60_000


@pytest.fixture(scope="module")
def address(tmp_path_factory):
    with serve("--study", "digits", log=tmp_path_factory.mktemp("map") / "server.log") as (address, _):
        yield address


def view(page: Page) -> dict[str, str]:
    return {name: values[-1] for name, values in parse_qs(urlsplit(page.url).query).items()}


def number(canvas, name: str) -> float:
    return float(canvas.get_attribute(f"data-{name}"))


def hover_a_dot(page: Page, canvas, tip, kind: str) -> None:
    """Move over the map until the tooltip tells of a sample of a kind."""
    box = canvas.bounding_box()
    for row in range(5, 30):
        for column in range(10, 30):
            page.mouse.move(box["x"] + box["width"] * column / 40, box["y"] + box["height"] * row / 32)
            if tip.is_visible() and kind in tip.inner_text():
                return
    raise AssertionError(f"no dot says {kind!r}")


def test_a_journey_over_the_map(page, address):
    page.goto(f"{address}/samples?study=digits&layer=stem_conv")
    part = page.locator(".st-key-samples_map")
    canvas, tip, status = part.locator("canvas"), part.locator(".tip"), part.locator(".status")
    expect(canvas).to_have_attribute("data-time", "0.000", timeout=SLOW)
    expect(canvas).to_have_attribute("aria-label", re.compile("^Map of 1,797 samples at stem_conv"))
    expect(page.locator(".st-key-gallery img").first).to_be_visible(timeout=SLOW)

    # A slider that is moved moves the dots without the server; released, it chooses the layer of the page.
    slider = part.locator(".slider")
    slider.focus()
    page.keyboard.press("ArrowRight")
    page.keyboard.press("PageUp")
    expect(canvas).to_have_attribute("data-time", "6.000")
    layer = part.locator(".name").inner_text()
    expect(page).to_have_url(re.compile(f"layer={layer}"), timeout=SLOW)
    expect(page.get_by_role("combobox", name="Layer", exact=True)).to_have_value(layer)

    # Zoom stays while a click selects; the hovered sample has its picture.
    canvas.scroll_into_view_if_needed()
    part.get_by_role("button", name="Zoom in").click()
    part.get_by_role("button", name="Zoom in").click()
    expect(canvas).to_have_attribute("data-zoom", "2.560")
    hover_a_dot(page, canvas, tip, "nearest")
    expect(tip.locator(".picture")).to_be_visible(timeout=SLOW)
    sample = re.search(r"digits/\d+", tip.inner_text())[0]
    page.mouse.down()
    page.mouse.up()
    expect(page).to_have_url(re.compile("sample=" + sample.replace("/", "%2F")), timeout=SLOW)
    expect(canvas).to_have_attribute("aria-label", re.compile(f"Selected: {sample}"))
    assert number(canvas, "zoom") == 2.56
    page.mouse.wheel(0, -200)  # the click has given the map the focus
    expect(canvas).not_to_have_attribute("data-zoom", "2.560")
    page.keyboard.press("0")
    expect(canvas).to_have_attribute("data-zoom", "1.000")

    # Search tells how many match.
    part.get_by_role("searchbox").fill("digits/004")
    expect(status).to_contain_text("10 of 1,797 samples match")
    part.get_by_role("button", name="Reset").click()
    expect(status).to_be_empty()

    # A lasso around half of the map and more chooses the test samples in it, for the gallery.
    canvas.scroll_into_view_if_needed()
    box = canvas.bounding_box()
    part.get_by_role("button", name="Lasso").click()
    corners = [(0.01, 0.02), (0.99, 0.02), (0.99, 0.97), (0.5, 0.97)]
    page.mouse.move(*_at(box, *corners[0]))
    page.mouse.down()
    for corner in corners[1:]:
        page.mouse.move(*_at(box, *corner), steps=4)
    page.mouse.up()
    chosen = page.get_by_role("button", name=re.compile("samples? from the map"))
    expect(chosen).to_be_visible(timeout=SLOW)
    count = int(re.match(r"[\d,]+", chosen.inner_text().strip().split("\n")[-1])[0].replace(",", ""))
    assert 100 < count <= 359
    expect(page.get_by_role("heading", level=2).filter(has_text=f"{count} of 359 samples")).to_be_visible()
    chosen.click()
    expect(chosen).to_be_hidden(timeout=SLOW)

    # Play goes on to the last layer, and chooses it.
    part.get_by_role("button", name="Play").click()
    expect(part.get_by_role("button", name="Pause")).to_be_visible()
    expect(page).to_have_url(re.compile("layer=predictions"), timeout=SLOW)
    expect(part.get_by_role("button", name="Play")).to_be_visible()

    # On a phone, the map comes before the controls, and no button lies outside of the window.
    page.set_viewport_size({"width": 390, "height": 844})
    chosen_layer = page.get_by_role("combobox", name="Layer", exact=True)
    page.wait_for_function("document.documentElement.scrollWidth <= window.innerWidth")
    expect(canvas).to_be_visible()
    assert canvas.bounding_box()["y"] < chosen_layer.bounding_box()["y"]
    page.goto(f"{address}/compare?study=digits&tab=another-study")
    button = page.get_by_role("radio", name="By relative position")
    expect(button).to_be_visible(timeout=SLOW)
    assert button.bounding_box()["x"] + button.bounding_box()["width"] <= 390


def test_who_wants_less_motion_gets_steps(page, address):
    page.emulate_media(reduced_motion="reduce")
    page.goto(f"{address}/samples?study=digits&layer=stem_conv")
    part = page.locator(".st-key-samples_map")
    expect(part.locator("canvas")).to_have_attribute("data-time", "0.000", timeout=SLOW)
    times = part.locator("canvas").evaluate(
        """async canvas => {
          const times = new Set();
          new MutationObserver(() => times.add(canvas.dataset.time)).observe(canvas, { attributes: true });
          canvas.getRootNode().querySelector(".play").click();
          await new Promise(resolve => setTimeout(resolve, 2500));
          canvas.getRootNode().querySelector(".play").click();
          return [...times];
        }"""
    )
    assert len(times) >= 2
    assert all(time.endswith(".000") for time in times)


def _at(box: dict[str, float], across: float, down: float) -> tuple[float, float]:
    return box["x"] + across * box["width"], box["y"] + down * box["height"]
