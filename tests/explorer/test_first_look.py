"""What the first page says to a newcomer: the sentence about SI, the drawing, terms, and why there are no pictures."""

import pandas as pd
import pytest

from core.analysis.separation_level import lead_curve
from explorer.app_pages.layers.introduction import Introduction, drawing, introduction, of_hundred, sentence
from explorer.controls.terms import TERMS, glossary, terms_html
from explorer.studies.loading import DEMO, bundled_studies, read_study
from explorer.studies.pictures import why_no_pictures

FACTS = Introduction("images", "top", 0.81, 0.0075)


@pytest.mark.parametrize(
    ("share", "text"),
    [
        *((0.0, "0"), (0.0075, "0.75"), (0.00004, "0.004"), (0.0978, "10"), (0.5, "50")),
        *((0.8125, "81"), (0.9958, "99.6"), (0.99999, "99.9"), (1.0, "100")),
    ],
)
def test_a_share_out_of_hundred(share, text):
    assert of_hundred(share) == text


def test_the_sentence_is_in_the_words_of_the_data():
    said = sentence(FACTS)
    assert said.startswith("At layer top, 81 of 100 images look most like another image of their own class")
    assert said.endswith("{Guessing|chance} gives 0.75 of 100.")
    of_features = sentence(Introduction("samples", "a  \n\nb", 0.5, 0.1))
    assert of_features.startswith("At layer a b, 50 of 100 samples lie closest to another sample of their own class")


def test_the_numbers_are_those_of_the_best_layer(study_writer, tmp_path, sized_info):
    study = read_study(study_writer(tmp_path / "study", **sized_info))
    lead = lead_curve(study.curves)
    facts = introduction(lead, study.info)
    best = lead.loc[lead["value"].idxmax()]
    assert (facts.layer, facts.value, facts.chance) == (best["layer"], best["value"], best["chance"])
    assert introduction(lead, {}).unit == "samples"
    assert introduction(lead.assign(num_tied=lead["num_queries"]), study.info) is None
    assert introduction(lead.assign(chance=1.0), study.info) is None
    assert introduction(lead.iloc[:0], study.info) is None


def test_as_many_squares_are_filled_as_the_numbers_say():
    picture = drawing(FACTS)
    assert picture.count('fill="none" stroke="currentColor"') == 200
    assert picture.count('v6.5h-6.50z" fill="#2f80c8"') == 81  # whole squares, all of SI
    assert "M0 0h4.88v6.5h-4.88z" in picture  # three quarters of one square for chance
    assert "81 of 100 squares are filled for the Separation Index, 0.75 of 100 for guessing" in picture


def test_terms_are_marked_escaped_and_known():
    html = terms_html("<b> {chance} and {guessing|chance}")
    assert html.count(TERMS["chance"]) == 2
    assert "&lt;b&gt; " in html
    assert ">guessing<" in html
    with pytest.raises(KeyError):
        terms_html("{luck}")
    assert glossary(["q"]) == f"- **q**: {TERMS['q']}"


def test_the_public_demo_opens_with_pictures(monkeypatch):
    monkeypatch.delenv("SI_EXPLORER_PUBLIC", raising=False)
    assert next(iter(bundled_studies())) == "dogs"
    monkeypatch.setenv("SI_EXPLORER_PUBLIC", "1")
    assert next(iter(bundled_studies())) == "digits"


PUBLIC = {"SI_EXPLORER_PUBLIC": "1"}


@pytest.mark.parametrize(
    ("info", "environ", "reason"),
    [
        ({"asked": {"data": "digits"}}, PUBLIC, ""),
        ({"used": {"data": {"name": "stanford_dogs_224"}}}, {}, "may not be given away"),
        ({"asked": {"data": "photos"}}, PUBLIC, "a public server reads no image folders"),
        ({"asked": {"data": "/nowhere/photos"}}, {}, "not on this machine"),
        ({}, {}, "made from arrays"),
    ],
)
def test_why_a_study_has_no_pictures(info, environ, reason):
    text = why_no_pictures(info, environ)
    assert reason in text
    assert bool(reason) == bool(text)


def test_the_first_page_shows_sentence_drawing_and_terms(open_view):
    page = open_view("layers", DEMO / "digits")
    words = next(element.value for element in page.markdown if "si-intro" in element.value)
    assert "90 of 100 images" in words
    assert "<svg" in words
    assert pd.Series([element.proto.body for element in page.get("html")]).str.contains("Terms: ").any()
