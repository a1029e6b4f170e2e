"""From a confused pair of classes to its images, and on to the page Samples: what is said, drawn and kept."""

import numpy as np
import pandas as pd
import pytest

import core
from core.analysis.samples.class_pairs import pair_curve
from explorer.app_pages.classes.pair_view import pair_chart, pair_finding
from explorer.studies.gallery import Filter, depth_text, filter_from_query, filter_query, filter_samples, sorted_samples

LABELS = ["ant", "ant", "bee", "bee", "cow", "cow"]
IDS = ["a/0.png", "a/1.png", "b/0.png", "b/1.png", "c/0.png", "c/1.png"]
LAYERS = {
    "early": [0.0, 4, 1, 5, 20, 21],  # each ant beside a bee
    "middle": [0.0, 1, 1.9, 9, 20, 21],  # the first bee beside an ant, and the second ant beside it
    "late": [0.0, 1, 8, 9, 20, 21],  # apart
}


def write(out, layers=LAYERS):
    """A study of points on a line that stores one neighbor a sample."""
    with core.FeatureStudyWriter(out, LABELS, ids=IDS, neighbors=1) as writer:
        for name, values in layers.items():
            writer.add_layer(name, np.array(values)[:, None])
    return out


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write(tmp_path_factory.mktemp("pair") / "study")


def said(page):
    return " ".join(element.value for element in [*page.markdown, *page.caption, *page.info, *page.warning])


def query(page, name):
    value = page.query_params.get(name, "")
    return list(value) if isinstance(value, list) else [value] if value else []


def pressed(page, start):
    return next(one for one in page.button if one.key and one.key.startswith(start))


def test_the_page_shows_the_most_confused_pair_and_where_it_parts(open_view, folder):
    page = open_view("classes", folder, layer="early", tab="pairs")
    text = said(page)
    assert "**4 of 4** samples of ant and bee have their nearest neighbor in the other class (100%" in text
    assert "separated from `late` on" in text
    assert "**ant** beside **bee**" in text
    assert "at 2 layers (67%)" in text  # a/1.png, at early and middle
    assert query(page, "pair") == ["ant", "bee"]


def test_a_link_restores_a_pair_that_nobody_confuses(open_view, folder):
    page = open_view("classes", folder, layer="late", pair=["cow", "ant"])
    apart = (
        "The two classes are separated at every layer with stored neighbors: none of their 4 samples has its nearest "
        "neighbor in the other class."
    )
    assert apart in said(page)
    assert query(page, "pair") == ["cow", "ant"]


def test_the_same_class_twice_is_no_pair(open_view, folder):
    page = open_view("classes", folder, layer="early", tab="pairs")
    next(one for one in page.selectbox if one.label == "and class").set_value("ant").run()
    assert not page.exception
    assert "Choose two different classes." in said(page)


def test_from_a_layer_that_parts_them_a_button_leads_to_the_one_that_does_not(open_view, folder):
    page = open_view("classes", folder, layer="late", pair=["ant", "bee"])
    assert "At `late` no sample of either class has its nearest neighbor in the other class." in said(page)
    next(one for one in page.button if one.label.startswith("Show early, where 4 do")).click().run()
    assert not page.exception
    assert query(page, "layer") == ["early"]
    assert "**4 of 4** samples" in said(page)


def test_the_way_on_names_the_pair(open_view, folder, monkeypatch):
    went = []
    monkeypatch.setattr("streamlit.switch_page", lambda page, query_params: went.append((page, query_params)))
    page = open_view("classes", folder, layer="early", tab="pairs")
    pressed(page, "classes open pair of").click().run()
    assert not page.exception
    ((view, asked),) = went
    assert view == "app_pages/samples/view.py"
    assert (asked["class"], asked["taken"], asked["either"], asked["layer"]) == (["ant"], ["bee"], ["yes"], ["early"])
    assert "sample" not in asked


def test_a_sample_of_a_pair_is_opened_where_it_is_shown(open_view, folder):
    page = open_view("classes", folder, layer="early", tab="pairs")
    pressed(page, "cause 0 of").click().run()
    assert not page.exception
    assert query(page, "sample") == ["a/0.png"]
    assert "3 of 4" in said(page)  # after those with more layers


def test_samples_filters_a_pair_either_way_round(open_view, folder):
    view = {"layer": "early", "class": "ant", "taken": "bee", "either": "yes", "sort": "late", "sample": "b/1.png"}
    page = open_view("samples", folder, **view)
    assert "All: 4 of 6 samples" in [one.value for one in page.header]
    assert {name: query(page, name) for name in view} == {name: [value] for name, value in view.items()}
    one_way = open_view("samples", folder, **{name: view[name] for name in ("layer", "class", "taken")})
    assert "All: 2 of 6 samples" in [one.value for one in one_way.header]


def test_samples_says_from_where_on_a_sample_is_decided(open_view, folder):
    text = said(open_view("samples", folder, layer="early", sample="b/0.png", open="yes"))
    assert (
        "The class of its nearest neighbor still changes at the last layer with stored neighbors (prediction depth 2"
        in text
    )


def test_duplicates_come_before_the_samples_to_check(open_view, tmp_path):
    line = {"only": [0.0, 1, 0, 9, 20, 21]}  # a/0.png and b/0.png are one
    page = open_view("samples", write(tmp_path / "study", line), tab="data-quality")
    text = said(page)
    assert "**1** pairs of samples have equal activations at `only`: **0** of a training and a test sample" in text
    assert "**1** with different labels" in text
    shown = [frame.value for frame in page.dataframe]
    first = next(at for at, table in enumerate(shown) if "second" in table)
    assert shown[first][["first", "second"]].to_numpy().tolist() == [["a/0.png", "b/0.png"]]
    errors = next(at for at, table in enumerate(shown) if "suggested" in table)
    assert first < errors
    assert set(shown[errors].query("duplicate == 'in its own split'")["id"]) <= {"a/0.png", "b/0.png"}


TABLE = pd.DataFrame(
    {
        "sample": range(4),
        "class_name": ["ant", "bee", "ant", "cow"],
        "nearest_class": ["bee", "ant", "ant", "ant"],
        "same_label": [False, False, True, False],
        "fate": "lost",
        "first": None,
        "share": [0.1, 0.2, 0.3, 0.4],
        "depth": [2, 5, 5, 0],
        "correct": [True, True, False, False],
    }
)


def test_a_pair_either_way_and_the_order():
    chosen = Filter("", "ant", "bee", either=True)
    assert filter_samples(TABLE, chosen, "here")["sample"].tolist() == [0, 1]
    assert filter_samples(TABLE, Filter("", "ant", "bee"), "here")["sample"].tolist() == [0]
    assert sorted_samples(TABLE, "late")["sample"].tolist() == [2, 1, 0, 3]
    assert sorted_samples(TABLE, "early")["sample"].tolist() == [3, 0, 2, 1]
    assert sorted_samples(TABLE, "")["sample"].tolist() == [0, 1, 2, 3]


def test_pair_and_order_come_back_from_the_address():
    chosen = Filter("", "ant", "bee", either=True, sort="late")
    assert filter_from_query(filter_query(chosen), ["ant", "bee"]) == chosen
    assert filter_from_query({"either": ["no"], "sort": ["age"]}, []) == Filter()


@pytest.mark.parametrize(
    ("row", "voters", "text"),
    [
        (
            {"decided": "top", "depth": 3, "correct": True},
            3,
            "The vote of its 3 nearest neighbors no longer changes from",
        ),
        ({"decided": "stem", "depth": 0, "correct": True}, 1, "The class of its nearest neighbor is the same at all 5"),
        (
            {"decided": "", "depth": 4, "correct": False},
            3,
            "still changes at the last layer with stored neighbors (prediction depth 4",
        ),
    ],
)
def test_a_depth_in_words(row, voters, text):
    found = depth_text({**row, "prediction": "toy_terrier"}, 5, voters)
    assert text in found
    assert r"**toy\_terrier**, which is " + ("right" if row["correct"] else "wrong") in found


def test_a_pair_that_never_parts_in_words():
    curve = pd.DataFrame(
        {"layer": ["a", "b"], "count": [3, 1], "total": 8, "share": [0.375, 0.125], "own": 0.5, "chance": 0.5}
    )
    text = pair_finding(curve, ("ant", "bee"), "a")
    assert "At `a`, **3 of 8** samples of ant and bee" in text
    assert "**They are still confused at `b`**, the last layer with stored neighbors: 1 of 8; most at `a`: 3." in text


@pytest.mark.parametrize("counts", [[2, 1, 0], [2, 0, 1], [0, 0, 0]])
def test_the_chart_is_valid_and_shades_where_they_are_parted(counts):
    names = pd.Series(["ant", "ant", "bee", "bee"])
    rows = [
        {"layer": str(at), "sample": sample, "nearest": (sample + 2) % 4 if sample < count else sample ^ 1}
        for at, count in enumerate(counts)
        for sample in range(4)
    ]
    curve = pair_curve(pd.DataFrame(rows), names, "ant", "bee")
    layers = pd.DataFrame({"layer": ["0", "1", "2"]})
    drawn = pair_chart(curve, layers, "1").to_dict(validate=True)
    shaded = [layer for layer in drawn["layer"] if layer["mark"]["type"] == "rect"]
    data = [value["layer"] for layer in shaded for value in drawn["datasets"][layer["data"]["name"]]]
    assert data == {(2, 1, 0): ["2"], (2, 0, 1): [], (0, 0, 0): ["0", "1", "2"]}[tuple(counts)]
