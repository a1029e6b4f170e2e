"""The app in a real Chromium, served as `make run` serves it."""

import io
import json
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from playwright.sync_api import expect

from tests.browser import serve, wait_until_drawn

pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def address(study_writer, tmp_path_factory):
    """The app on a study like EfficientNet-Lite0's."""
    folder = tmp_path_factory.mktemp("browser")
    with serve("--study", str(study_writer(folder / "study")), log=folder / "server.log") as (address, _):
        yield address


@pytest.mark.parametrize("path", ["method", "new-study"])
def test_the_first_session_of_a_server_opens_the_page_of_its_address(page, path):
    """A folder `pages` beside app.py would turn on Streamlit's older pages until the first session has run."""
    with serve() as (server_address, _):
        page.goto(f"{server_address}/{path}")
        page.wait_for_selector("h1", timeout=60_000)
        assert page.get_by_role("dialog").count() == 0
        assert page.get_by_text("Page not found").count() == 0


def test_a_control_changes_the_chart_the_headline_and_the_address(page, address):
    page.goto(address)
    chart = page.locator("svg.marks")
    expect(chart).to_have_count(1, timeout=60_000)
    expect(page.get_by_role("heading", level=1)).to_have_text("The classes are largely separated, late in the network")
    expect(chart).to_contain_text("7a")
    expect(chart).to_contain_text("predictions")
    expect(chart).to_contain_text("chance 0.0075")
    line = chart.locator(".mark-line path").first
    drawn = line.get_attribute("d")

    page.get_by_text("All activations", exact=True).click()
    expect(page.get_by_text("Among the test samples (all activations)")).to_be_visible(timeout=60_000)
    expect(line).not_to_have_attribute("d", drawn)
    expect(page).to_have_url(re.compile("pooling=flat"))

    page.get_by_text("Test to train", exact=True).first.click()
    expect(chart).to_contain_text("Test to train")

    expect(page).to_have_url(re.compile("samples=cross"))
    address_of_view = page.url
    page.goto("about:blank")
    page.goto(address_of_view)
    expect(chart).to_contain_text("Test to train")
    expect(page.get_by_text("Among the test samples (all activations)")).to_be_visible()


def test_what_is_seen_can_be_saved(page, address):
    page.goto(address)
    expect(page.locator("svg.marks")).to_have_count(1, timeout=60_000)
    page.get_by_role("button", name="Save", exact=True).click()
    svg = _saved(page, "SVG")
    assert svg.startswith(b"<svg")
    assert b"block7a_project_conv" in svg
    assert b">Separation Index through the network</text>" in svg
    assert _saved(page, "PDF").startswith(b"%PDF")
    picture = np.asarray(Image.open(io.BytesIO(_saved(page, "PNG"))).convert("RGB"))
    border = np.concatenate([picture[:, 0], picture[:, -1], picture[0], picture[-1]])
    assert (border == 255).all()  # white, whatever the page's colors are, and no text is cut off
    csv = _saved(page, "CSV").decode().splitlines()
    assert csv[0].startswith("layer,position,measure")
    assert len(csv) == 1 + 60 * 4
    assert len(pd.read_parquet(io.BytesIO(_saved(page, "Parquet")))) == 60 * 4
    assert json.loads(_saved(page, "Configuration"))["state"] == "complete"


def test_a_layer_is_picked_in_the_chart_and_followed(page, address, study_writer, sized_info, tmp_path):
    study = study_writer(tmp_path / "sized", **sized_info)
    page.goto(f"{address}/?study={study}")
    chart = page.locator("svg.marks").first
    expect(chart).to_be_visible(timeout=60_000)
    box = chart.bounding_box()
    page.mouse.click(box["x"] + box["width"] * 0.45, box["y"] + 100)
    picked = page.get_by_role("combobox", name="Layer", exact=True)
    expect(picked).to_have_value("block1a_add")
    expect(page).to_have_url(re.compile("layer=block1a_add"))
    expect(page.locator(".st-key-layer_panel")).to_contain_text("Test SI")
    for title in ("Compare", "Sample size", "Method", "Layers"):
        _go_to(page, title)
        if title == "Method":
            page.get_by_role("tab", name="The notebook").click()
        expect(page.locator("svg.marks").first).to_be_visible(timeout=60_000)
        expect(page).to_have_url(re.compile("layer=block1a_add"))
    expect(picked).to_have_value("block1a_add")

    restored = page.url
    page.goto("about:blank")
    page.goto(restored)
    expect(picked).to_have_value("block1a_add", timeout=60_000)
    _go_to(page, "Compare")
    expect(page.locator("svg.marks").nth(1)).to_contain_text("block1a_add", timeout=60_000)  # the first has parameters


def test_back_undoes_a_change_and_leaves_a_page_in_one_press(page, address):
    page.goto("about:blank")
    page.goto(address)
    chosen = page.get_by_role("radio", checked=True)
    expect(chosen.filter(has_text="Channel means")).to_be_visible(timeout=60_000)
    expect(page).to_have_title(re.compile("^Layers · "))
    page.get_by_text("All activations", exact=True).first.click()
    expect(page).to_have_url(re.compile("pooling=flat"))
    _go_to(page, "Classes")
    expect(page).to_have_title(re.compile("^Classes · "))
    page.go_back()
    expect(page).to_have_title(re.compile("^Layers · "))
    expect(chosen.filter(has_text="All activations")).to_be_visible(timeout=60_000)
    _rest(page)
    page.go_back()
    expect(chosen.filter(has_text="Channel means")).to_be_visible(timeout=60_000)
    expect(page).to_have_url(f"{address}/")
    _rest(page)
    page.go_forward()
    expect(chosen.filter(has_text="All activations")).to_be_visible(timeout=60_000)
    _rest(page)
    page.go_back()
    expect(chosen.filter(has_text="Channel means")).to_be_visible(timeout=60_000)
    page.go_back()
    expect(page).to_have_url("about:blank")


def _rest(page) -> None:
    """Wait until the page is drawn, and the seconds in which its address may still be on its way are over."""
    page.wait_for_timeout(500)
    wait_until_drawn(page)
    page.wait_for_timeout(3200)


def _saved(page, button: str) -> bytes:
    wait_until_drawn(page)
    with page.expect_download() as download:
        page.get_by_role("button", name=button, exact=True).first.click()
    return Path(download.value.path()).read_bytes()


def test_a_pointer_on_a_layer_shows_its_full_name_and_values(page, address):
    page.goto(address)
    expect(page.locator("svg.marks")).to_have_count(1, timeout=60_000)
    page.locator("svg.marks").hover(position={"x": 640, "y": 200})
    tooltip = page.locator("#vg-tooltip-element")
    expect(tooltip).to_contain_text("Depth (channels)")
    expect(tooltip).to_contain_text("Test SI")


def test_study_and_view_are_kept_on_the_way_through_the_pages(page, address, study_writer, sized_info, tmp_path):
    study = study_writer(tmp_path / "sized", **sized_info)
    page.goto(f"{address}/?study={study}&pooling=flat")
    charts = page.locator(".stVegaLiteChart svg.marks")
    expect(page.get_by_text("Among the test samples (all activations)")).to_be_visible(timeout=60_000)
    _rest(page)
    page.get_by_text("The layers as a table").click()
    expect(page.get_by_text("+ Significance", exact=True)).to_be_visible()
    _rest(page)
    page.get_by_text("+ Significance", exact=True).click()
    expect(page.get_by_text("Read value, interval and chance first")).to_be_visible()

    _go_to(page, "Sample size")
    expect(charts).to_have_count(2)
    expect(page.get_by_role("combobox", name="Study")).to_have_value(str(study))
    page.get_by_text("Train", exact=True).click()
    expect(page.get_by_text("Among the training samples")).to_be_visible()
    expect(page).to_have_url(re.compile("samples=train"))

    _go_to(page, "Method")
    page.get_by_role("tab", name="The notebook").click()
    expect(page.get_by_role("heading", name="The notebook, explained")).to_be_visible()
    expect(charts).to_have_count(1)
    expect(page.locator(".katex").first).to_be_visible()
    expect(charts).to_contain_text("reported")

    _go_to(page, "Layers")
    expect(page.get_by_text("Among the test samples (all activations)")).to_be_visible()
    expect(page.get_by_text("Read value, interval and chance first")).to_be_visible()
    expect(page.get_by_role("combobox", name="Study")).to_have_value(str(study))
    expect(page).to_have_url(re.compile("pooling=flat"))

    _go_to(page, "Sample size")
    expect(page.get_by_text("Among the training samples")).to_be_visible()


def _go_to(page, title: str) -> None:
    page.get_by_test_id("stTopNavLink").filter(has_text=title).click()


@pytest.mark.parametrize("width", [1440, 390])
@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("path", ["?", "compare?", "sample-size?", "method?tab=notebook&"])
def test_nothing_is_wider_than_the_window(page, address, study_writer, sized_info, tmp_path, path, width, theme):
    page.set_viewport_size({"width": width, "height": 900})
    page.emulate_media(color_scheme=theme)
    page.goto(f"{address}/{path}study={study_writer(tmp_path / 'sized', **sized_info)}")
    expect(page.locator("svg.marks").first).to_be_visible(timeout=60_000)
    box = page.locator("svg.marks").first.bounding_box()
    assert box["x"] >= 0
    assert box["x"] + box["width"] <= width
    assert page.evaluate("document.documentElement.scrollWidth") <= width


def test_a_sample_is_followed_from_the_map_of_classes(page, address):
    page.goto(f"{address}/classes?study=digits&layer=block6b_dwconv&tab=every")
    field = page.locator(".st-key-class_map svg.marks .mark-rect path").first  # class 0 at the first layer
    field.click(timeout=60_000)
    expect(page.get_by_role("heading", level=1)).to_have_text("Samples", timeout=60_000)
    expect(page).to_have_url(re.compile("class=0"))
    expect(page).to_have_url(re.compile("layer=stem_conv"))
    expect(page.locator(".st-key-gallery img").first).to_be_visible()

    tile = page.locator(".st-key-gallery button").nth(1)
    name = re.search("digits/[0-9]+", tile.get_attribute("aria-label"))[0]
    tile.click()
    dialog = page.get_by_role("dialog")
    expect(dialog).to_contain_text(name, timeout=60_000)
    expect(page).to_have_url(re.compile(f"sample={name.replace('/', '%2F')}&open=yes"))

    link = page.url
    page.goto("about:blank")
    page.goto(link)
    expect(dialog).to_contain_text(name, timeout=60_000)
    page.keyboard.press("Escape")
    expect(dialog).to_have_count(0)
    expect(page).not_to_have_url(re.compile("open="))
