"""Classes as an answer on the page Classes: the groups that run into each other, and the search for a class."""

import pandas as pd
import pytest

from core.analysis.samples.selection import LayerSelection
from explorer.app_pages.classes.class_search import class_text
from explorer.studies.loading import DEMO


def said(page):
    return " ".join(element.value for element in [*page.markdown, *page.caption, *page.info])


def test_groups_of_classes_and_the_search_for_one(open_view):
    page = open_view("classes", DEMO / "dogs")
    assert "Classes that run into each other" in [element.value for element in page.header]
    assert "**19 classes run into each other**, in 8 groups" in said(page)
    assert "**Eskimo dog**, **Siberian husky** and **malamute**" in said(page)
    assert "22 of 30 samples have their nearest neighbor in another class of the group: 73% [51%, 88%]" in said(page)
    assert "**cannot be decided with 30 samples**; SI is 0.32 with 50% of the samples, 0.27 with all" in said(page)
    assert said(page).count("Merging always raises SI") == 1
    groups = next(one for one in page.selectbox if "8 in total" in one.label)
    groups.select("5–8").run()
    assert "**Yorkshire terrier** and **silky terrier**" in said(page)

    page = open_view("classes", DEMO / "dogs", tab="every")
    search = next(one for one in page.selectbox if one.label == "Find a class")
    search.select("wire-haired fox terrier").run()
    assert not page.exception
    assert "has an SI of **1.00** at `predictions`" in said(page)
    assert "number 120 of 120, from the lowest" in said(page)
    assert "Classes 91–120 of 120 are shown." in said(page)  # the heat map turned to its row
    assert "wire-haired fox terrier" in page.query_params["find"]
    again = open_view("classes", DEMO / "dogs", find="malamute")
    assert "**malamute** has an SI of" in said(again)


PAIRS = pd.DataFrame({"first": ["ant", "bee"], "second": ["bee", "cow"], "count": [3, 1], "total": [8, 8]})
RANKED = pd.DataFrame({"class_name": ["bee", "ant", "cow", "dog"], "value": [0.25, 0.5, 0.75, 1], "chance": 0.2})


@pytest.mark.parametrize(
    ("name", "pairs", "text"),
    [
        ("bee", PAIRS, "number 1 of 4, from the lowest. It is confused with ant (3 of 8 samples of both), cow (1 of 8"),
        ("dog", PAIRS, "number 4 of 4, from the lowest. It is confused with no other class."),
        ("ant", None, "has an SI of **0.50** at `top` (chance 0.20; 4 samples): number 2 of 4, from the lowest."),
    ],
)
def test_a_class_in_words(name, pairs, text):
    assert text in class_text(name, RANKED.assign(num_queries=4), pairs, LayerSelection("top", "mean", "test").layer)
