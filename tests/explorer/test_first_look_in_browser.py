"""A newcomer who understands the first page of the public demo, in a real Chromium."""

import re

import pytest
from playwright.sync_api import expect

from tests.browser import DESKTOP, serve

pytestmark = pytest.mark.browser
PHONE = {"width": 390, "height": 844}


def test_a_newcomer_understands_the_first_page(page, tmp_path):
    with serve(environ={"SI_EXPLORER_PUBLIC": "1"}, log=tmp_path / "server.log") as (address, _):
        # The public demo opens with a study that has pictures, and says what SI is with its numbers.
        page.goto(address)
        sentence = page.get_by_text("90 of 100 images look most like another image of their own class")
        expect(sentence).to_be_visible(timeout=60_000)
        expect(sentence).to_contain_text("gives 10 of 100.")
        expect(page.get_by_role("img", name=re.compile("90 of 100 squares are filled"))).to_be_visible()
        expect(page.locator("svg.marks")).to_have_count(1)
        expect(page.get_by_role("combobox", name="Study")).to_have_value(re.compile("^digits "))

        # A term explains itself under the pointer, and where the keyboard puts the focus.
        guessing = page.locator(".si-term", has_text="Guessing")
        tip = page.get_by_role("tooltip").filter(has_text="exact mean over all permutations").first
        expect(tip).to_be_hidden()
        guessing.hover()
        expect(tip).to_be_visible()
        page.mouse.move(0, 0)
        expect(tip).to_be_hidden()
        guessing.focus()
        expect(tip).to_be_visible()

        # On a phone, the chart comes before the controls.
        chart, controls = page.locator("svg.marks"), page.get_by_text("kNN baseline", exact=True).last
        assert controls.bounding_box()["y"] < chart.bounding_box()["y"]
        page.set_viewport_size(PHONE)
        expect(chart).to_be_visible()
        page.wait_for_function("document.documentElement.scrollWidth <= window.innerWidth")
        assert chart.bounding_box()["y"] < controls.bounding_box()["y"]
        assert controls.bounding_box()["y"] < page.get_by_text("Where it is good enough").bounding_box()["y"]
        page.set_viewport_size(DESKTOP)

        # Training is in the menu: it says how one is recorded, and shows one where the study is changed there.
        page.get_by_role("link", name="Training").first.click()
        title = page.get_by_role("heading", level=1)
        expect(title).to_have_text("No training is recorded in this study")
        expect(page.get_by_text("core.SeparationCallback")).to_be_visible()
        page.get_by_role("combobox", name="Study").click()
        page.get_by_role("option", name="digits-training").click()
        expect(title).to_have_text(re.compile("SI changed in . of 6 layers during training"))
        expect(page).to_have_url(re.compile(r"/training\?.*study=digits-training"))
        page.goto(f"{address}/training?study=dogs")
        expect(title).to_have_text("No training is recorded in this study", timeout=60_000)
        assert page.get_by_text("Page not found").count() == 0

        # A study without pictures says in place why.
        page.goto(f"{address}/?study=dogs")
        expect(page.get_by_text("81 of 100 images")).to_be_visible(timeout=60_000)
        expect(page.get_by_text("No pictures: the photographs of Stanford Dogs are for research only")).to_be_visible()
