"""What a link names and the study does not have is told on each page, in one sentence, until the page is left."""

import pytest

from explorer.controls.unknown_values import unknown_text
from explorer.studies.loading import DEMO

DOGS, DIGITS, TRAINING = DEMO / "dogs", DEMO / "digits", DEMO / "digits-training"


def told(page):
    return [one.value.replace("\\", "") for one in page.warning if "is not here" in one.value]


@pytest.mark.parametrize(
    ("view", "study", "query", "named"),
    [
        ("layers", DOGS, {"layer": "conv9", "pooling": "max"}, "layer conv9, pooling max"),
        ("layers", DOGS, {"blocks": ["block9z"], "kinds": ["Conv7D"]}, "kind Conv7D, block block9z"),
        ("compare", DOGS, {"samples": "validation"}, "samples validation"),
        ("classes", DIGITS, {"find": "ten", "pair": ["1", "eleven"]}, "class eleven, class ten"),
        ("samples", DIGITS, {"sample": "digits/99999", "layer": "conv9"}, "layer conv9, sample digits/99999"),
        ("sample_size", DIGITS, {"split": "dev"}, "samples dev"),
        ("decide", DIGITS, {"tolerance": "7", "layer": "conv9"}, "layer conv9, tolerance 7"),
        ("training", TRAINING, {"epoch": "999"}, "epoch 999"),
        (
            "layers",
            DOGS,
            {"measure": "soft 99", "sampling": ["full", "subsample 7"]},
            "measure soft 99, sampling subsample 7",
        ),
        ("layers", DOGS, {"columns": "all", "table": "yes", "knn": "yes"}, "columns all, table yes, knn yes"),
        ("layers", DOGS, {"layers": ["*_add", "*_sum", "conv9"]}, "layer *_sum, layer conv9"),
        ("sample_size", DIGITS, {"layers": ["conv9", "stem_conv"]}, "layer conv9"),
        ("compare", DOGS, {"match": "size"}, "match size"),
        ("samples", DIGITS, {"show": "some", "sort": "size", "mark": "bad"}, "show some, sort size, mark bad"),
        ("samples", DIGITS, {"page": "1801–1824", "tiles": "7"}, "tiles 7, page 1801–1824"),
        ("classes", DOGS, {"page": "two"}, "page two"),
        ("decide", DIGITS, {"layre": "conv9", "pooling": "mean"}, "parameter layre"),
    ],
)
def test_each_page_says_what_is_not_there(open_view, view, study, query, named):
    page = open_view(view, study, **query)
    assert told(page) == [f"**The link names what is not here:** {named}. The page shows its usual choice instead."]
    page.run()
    assert len(told(page)) == 1


@pytest.mark.parametrize(("names", "kept"), [(["*_sum"], []), (["*_add", "*_sum"], ["*_add"])])
def test_a_pattern_that_matches_no_layer_is_told_once_and_does_not_empty_the_page(open_view, names, kept):
    page = open_view("layers", DOGS, layers=names)
    assert len(page.warning) == 1
    assert page.multiselect(key=f"names of {DOGS}").value == kept
    assert not [one for one in page.info if "No measured layer" in one.value]


def test_what_is_there_is_not_told(open_view):
    query = {"layer": "block6b_dwconv", "sample": "5", "split": "train", "pooling": "mean", "class": "3"}
    query |= {"show": "agree", "sort": "near", "mark": "unmarked", "page": "25–48", "tiles": "24", "taken": "3"}
    assert told(open_view("samples", DIGITS, **query, either="yes", tab="data-quality", open="yes")) == []
    query = {"measure": "high_order 3", "columns": "significance", "table": "open", "knn": "no", "also": "dogs"}
    assert told(open_view("layers", DIGITS, **query, sampling=["full", "subsample 100"], layers="*_add")) == []
    assert told(open_view("compare", DOGS, before="dogs-untrained", match="name", tab="similarity")) == []
    assert told(open_view("classes", DOGS, find="malamute", page="1–30", tab="every")) == []


def test_the_layer_of_the_study_before_is_no_fault_of_a_link(open_view):
    page = open_view("layers", DOGS, layer="block6d_add", study="dogs")
    assert told(page) == []
    page.selectbox(key="study").set_value("digits").run()
    assert told(page) == []
    assert not page.exception


def test_another_study_ends_the_message(open_view):
    page = open_view("layers", DOGS, layer="conv9", study="dogs")
    assert len(told(page)) == 1
    page.selectbox(key="study").set_value("digits").run()
    assert told(page) == []


def test_long_lists_and_markdown_are_short_and_plain():
    text = unknown_text([f"layer *{number}*" for number in range(7)])
    assert text.endswith("layer \\*4\\* and 2 more. The page shows its usual choice instead.")
