"""The pages Classes and Samples: their tables as plain functions, and the pages by Streamlit's own test driver."""

import shutil

import numpy as np
import pandas as pd
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from PIL import Image
from playwright.sync_api import expect

import core
from core.analysis.samples.class_values import class_names, class_values, ranked_classes
from core.analysis.samples.path_arrays import read_path_arrays
from core.analysis.samples.paths import nearest_by_layer, nearest_path, sample_summaries
from core.analysis.samples.prediction_depth import prediction_depth
from core.analysis.samples.selection import LayerSelection, best_layer
from core.study.store.tables.class_names import short_class, short_classes
from explorer.app_pages.samples import map_view
from explorer.app_pages.samples.charts import MAX_DOTS, drawn_dots
from explorer.controls.widgets import widget_key
from explorer.studies.class_tables import layer_selection, pages
from explorer.studies.gallery import (
    Filter,
    filter_from_query,
    filter_query,
    filter_samples,
    neighbors_of,
    path_finding,
    sample_from_query,
    samples_at,
    short_id,
)
from explorer.studies.loading import read_study
from tests.browser import serve

LABELS = ["ant", "ant", "bee", "bee"]
LAYERS = {"early": np.array([[0.0], [4], [1], [5]]), "late": np.array([[0.0], [1], [8], [9]])}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Four samples on a line whose pairs are apart only at the second layer."""
    out = tmp_path_factory.mktemp("pages") / "study"
    core.study_from_features(LAYERS, LABELS, out=out, ids=["a/0.png", "a/1.png", "b/0.png", "b/1.png"])
    return out


@pytest.fixture(scope="module")
def table(folder):
    study = core.load_study(folder)
    arrays = read_path_arrays(study, "flat", "train", study.samples["class_name"].astype(str))
    depths = prediction_depth(study, "flat", "train", k=1)
    return samples_at(arrays.at("early"), sample_summaries(arrays.agreement()), study.samples, depths)


def said(page):
    return " ".join(element.value for element in [*page.title, *page.markdown, *page.caption, *page.info, *page.error])


def query(page, name):
    value = page.query_params.get(name, "")
    return value[0] if isinstance(value, list) else value


def test_breeds_are_named_without_their_number_unless_two_would_be_alike():
    assert short_class("n02113978-Mexican_hairless") == "Mexican hairless"
    assert short_class("my_class") == "my_class"
    assert short_classes(["n02012849-crane", "n03126707-crane", "n02113978-dog"]) == {
        "n02012849-crane": "n02012849-crane",
        "n03126707-crane": "n03126707-crane",
        "n02113978-dog": "dog",
    }


def test_pages_cover_every_entry():
    assert pages(65, 30) == ["1–30", "31–60", "61–65"]
    assert pages(30, 30) == ["1–30"]


def test_classes_are_ranked_at_the_layer(folder):
    study = core.load_study(folder)
    place = LayerSelection("early", "flat", "train")
    values = class_values(study.classes, study.layers, class_names(study.samples), place)
    assert values["layer"].tolist() == ["early", "early", "late", "late"]
    assert values["value"].tolist() == [0, 0, 1, 1]
    assert ranked_classes(values, "late")["class_name"].tolist() == ["ant", "bee"]


def test_a_place_falls_back_to_what_the_study_has(folder):
    curves = read_study(folder).curves
    assert layer_selection({"split": ["test"]}, "nowhere", curves) == LayerSelection("late", "flat", "train")
    assert layer_selection({}, "early", curves).layer == "early"


def test_the_best_layer_is_one_without_many_ties():
    curves = pd.DataFrame({"layer": ["a", "b"], "position": [0, 1], "value": [0.6, 0.9], "num_tied": [2, 20]})
    curves = curves.assign(measure="SI", pooling="mean", samples="test", num_queries=100)
    assert best_layer(curves, "mean", "test") == "a"
    assert best_layer(curves.assign(num_tied=20), "mean", "test") == "b"  # there is no other


def test_filters(table):
    assert len(filter_samples(table, Filter("disagree"), "early")) == 4
    assert filter_samples(table, Filter("first"), "early").empty
    assert len(filter_samples(table, Filter("first"), "late")) == 4
    assert filter_samples(table, Filter("", "ant", "bee"), "early")["id"].tolist() == ["a/0.png", "a/1.png"]
    assert filter_samples(table, Filter("", "ant", "ant"), "early").empty
    assert filter_samples(table, Filter("never"), "early").empty
    assert filter_samples(table, Filter(), "early", {1, 2, 77})["sample"].sort_values().tolist() == [1, 2]
    assert filter_samples(table, Filter("", "ant"), "early", [2]).empty


def test_filter_and_sample_come_back_from_the_address(table):
    chosen = Filter("lost", "ant", "bee", mark="label error")
    assert filter_from_query(filter_query(chosen), ["ant", "bee"]) == chosen
    assert filter_from_query({"show": ["nothing"], "class": ["wasp"]}, ["ant"]) == Filter()
    assert sample_from_query({"sample": ["b/0.png"]}, table) == 2
    assert sample_from_query({"sample": ["3"]}, table) == 3
    assert sample_from_query({"sample": ["elsewhere"]}, table) is None


def test_neighbors_and_path_of_a_sample(folder):
    study = core.load_study(folder)
    stored = study.neighbors[study.neighbors["layer"] == "early"]
    assert neighbors_of(stored, study.samples, 0)["id"].tolist() == ["b/0.png", "a/1.png", "b/1.png"]
    path = nearest_path(nearest_by_layer(study, "flat", "train"), study.samples, 0)
    assert path["nearest_class"].tolist() == ["bee", "ant"]
    assert "1 of 2 layers" in path_finding(path, "ant")
    assert path_finding(path, "ant").endswith(" First at `late`, the last layer with stored neighbors.")


def test_many_dots_are_thinned_but_for_those_to_keep():
    places = pd.DataFrame({"sample": np.arange(2 * MAX_DOTS + 2)})
    drawn = drawn_dots(places, {1})
    assert len(drawn) <= MAX_DOTS + 1
    assert 1 in set(drawn["sample"])
    assert len(drawn_dots(places.head(10), set())) == 10


def test_ids_are_shortened_to_file_names():
    assert short_id("train/dog/n1_2.jpg") == "n1_2.jpg"
    assert short_id("digits/0042") == "digits/0042"


def test_classes_page(open_view, folder):
    page = open_view("classes", folder, layer="early")
    assert [one.value for one in page.title] == ["Classes"]
    text = said(page)
    assert "the lowest SI of 2 classes is that of **ant**, **0.00** (2 samples), chance 0.33" in text
    # each of the four has two of the other class among three others
    assert "Most confused: **ant** and **bee**: 4 of their 4 samples have their nearest neighbor in the other" in text
    assert "more than of any other pair (by chance 2.67)." in text
    assert query(page, "layer") == "early"


@pytest.mark.parametrize(
    ("view", "tab", "headers", "num_charts"),
    [
        ({}, "Groups of classes", ["Classes that run into each other"], 0),
        ({"tab": "every"}, "Every class", ["Every class through the network", "The hardest classes through"], 2),
        ({"find": "bee"}, "Every class", ["Every class through the network", "The hardest classes through"], 3),
        ({"tab": "pairs"}, "Confused pairs", ["Most confused classes", "Two classes, layer by layer"], 2),
        ({"pair": ["bee", "ant"]}, "Confused pairs", ["Most confused classes", "Two classes, layer by layer"], 2),
        ({"tab": "groups", "pair": ["bee", "ant"]}, "Groups of classes", ["Classes that run into each other"], 0),
        ({"tab": "no such tab"}, "Groups of classes", ["Classes that run into each other"], 0),
    ],
)
def test_an_address_opens_its_part_of_the_classes_and_no_other(open_view, folder, view, tab, headers, num_charts):
    page = open_view("classes", folder, layer="early", **view)
    assert [one.value[: len(text)] for one, text in zip(page.header, headers, strict=True)] == headers
    assert len(page.get("vega_lite_chart")) == num_charts
    assert page.session_state[f"classes tab of {folder}"] == tab
    most_confused = ["ant", "bee"] if tab == "Confused pairs" else []
    assert page.query_params.get("pair", []) == view.get("pair", most_confused)


def test_another_tab_keeps_the_pair(open_view, folder):
    page = open_view("classes", folder, layer="early", pair=["bee", "ant"])
    key = f"classes tab of {folder}"
    page.session_state[key] = "Every class"
    page.run()
    assert (query(page, "tab"), page.query_params["pair"]) == ("every", ["bee", "ant"])
    page.session_state[key] = "Confused pairs"
    page.run()
    assert "samples of bee and ant have their nearest neighbor in the other class" in said(page)


def test_classes_page_without_confusions_says_so(open_view, folder):
    text = said(open_view("classes", folder, layer="late"))
    assert "At `late` no sample's nearest neighbor is of another class." in text


def test_classes_page_without_neighbors_does_not_say_that_no_class_is_confused(open_view, folder, tmp_path):
    bare = shutil.copytree(folder, tmp_path / "bare")
    (bare / "neighbors.parquet").unlink()
    text = said(open_view("classes", bare, layer="late"))
    assert "The study stores no neighbors of this layer" in text
    assert "no sample's nearest neighbor" not in text.lower()


@pytest.mark.parametrize("view", ["classes", "samples"])
def test_a_folder_that_cannot_be_opened_is_told(open_view, tmp_path, view):
    assert "no such folder" in open_view(view, tmp_path / "nowhere").error[0].value


@pytest.mark.parametrize(("view", "message"), [("classes", "stores no Separation"), ("samples", "stores no neighbors")])
def test_a_study_without_these_tables_says_so(open_view, tiny_study, view, message):
    assert message in said(open_view(view, tiny_study))


def test_samples_page_restores_a_link(open_view, folder):
    view = {"layer": "early", "show": "disagree", "class": "bee", "taken": "ant", "sample": "b/1.png"}
    page = open_view("samples", folder, **view)
    assert "**0 of 4** training samples have a nearest neighbor of their own class" in said(page)
    assert page.header[0].value == "b/1.png"
    assert "Disagrees here: 2 of 4 samples" in [one.value for one in page.header]
    assert "No pictures: the study's image folder is not here" in said(page)
    assert {name: query(page, name) for name in view} == view


@pytest.fixture(scope="module")
def pictured(tmp_path_factory):
    """The same with pictures: `sources` name image files."""
    root = tmp_path_factory.mktemp("pictured")
    sources = [root / "images" / name for name in ("a/0.png", "a/1.png", "b/0.png", "b/1.png")]
    for number, source in enumerate(sources):
        source.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (40, 30), (60 * number, 0, 255)).save(source)
    core.study_from_features(LAYERS, LABELS, out=root / "study", sources=sources)
    return root / "study"


def test_sources_of_features_are_shown_as_pictures(open_view, pictured, monkeypatch):
    page = open_view("samples", pictured, layer="early")
    assert "No pictures" not in said(page)
    assert len(page.get("image")) >= 4
    monkeypatch.setenv("SI_EXPLORER_PUBLIC", "1")
    page = open_view("samples", pictured, layer="early")
    assert "a public server reads no image folders" in said(page)
    assert not page.get("image")


@pytest.mark.browser
def test_a_browser_draws_the_sources_of_features(page, pictured, tmp_path):
    with serve("--study", str(pictured), log=tmp_path / "server.log") as (address, _):
        page.goto(f"{address}/samples?layer=early")
        picture = page.locator(".st-key-gallery img").first
        expect(picture).to_be_visible(timeout=60_000)
        expect(picture).to_have_js_property("naturalWidth", 40)


@pytest.fixture(scope="module")
def partly(folder, tmp_path_factory):
    """The study with the neighbors of its worse layer alone."""
    copy = tmp_path_factory.mktemp("partly") / "study"
    shutil.copytree(folder, copy)
    neighbors = pq.read_table(copy / "neighbors.parquet")
    pq.write_table(neighbors.filter(pc.equal(neighbors["layer"], "early")), copy / "neighbors.parquet")
    return copy


def test_samples_opens_at_a_layer_whose_neighbors_are_stored(open_view, partly):
    page = open_view("samples", partly)
    assert page.selectbox(key=widget_key("samples", "layer", read_study(partly))).options == ["early"]
    assert "At `early`" in said(page)
    assert "Through the 1 layer whose neighbors are stored:" in said(page)
    assert "stores no neighbors" not in said(page)
    assert query(page, "layer") == ""


def test_a_link_to_a_layer_without_neighbors_shows_another_one_and_says_so(open_view, partly):
    page = open_view("samples", partly, layer="late")
    assert "The study stores no neighbors of `late`. This is `early`, the best of the layers that have them." in said(
        page
    )
    assert query(page, "layer") == "late"  # as the other pages show it


def test_classes_opens_at_a_layer_whose_neighbors_are_stored(open_view, partly):
    page = open_view("classes", partly)
    assert "At `early`" in said(page)
    page = open_view("classes", partly, layer="late")
    assert "The study stores no neighbors of this layer" in said(page)
    assert "It has those of early. Choose it." in said(page)


def test_the_card_of_confused_classes_is_of_a_layer_with_neighbors(open_view, partly):
    assert "in the other class, at `early`" in said(open_view("layers", partly))


def test_the_map_shows_layers_whose_neighbors_are_stored(open_view, partly, monkeypatch):
    """Of another one it would say that the nearest neighbor of each sample is of another class."""
    asked, read = [], map_view.cached_map_planes
    monkeypatch.setattr(map_view, "cached_map_planes", lambda *key: asked.append(key[-1]) or read(*key))
    open_view("samples", partly)
    assert asked == [("early",)]
    assert set(core.load_study(partly).projection["layer"]) == {"early", "late"}


def test_a_filter_that_nothing_passes_says_so(open_view, folder):
    assert "No sample passes the filter" in said(open_view("samples", folder, show="never"))


def test_an_old_study_has_no_plane_and_says_why(open_view, folder, tmp_path):
    with core.FeatureStudyWriter(tmp_path / "old", LABELS, projection="none") as writer:
        writer.add_layer("late", LAYERS["late"])
    assert 'This study has no map: it was made with `projection="none"`.' in said(
        open_view("samples", tmp_path / "old")
    )
    shown = said(open_view("samples", folder))
    assert "This study has no map" not in shown
    assert "Distances between groups and the size of a group mean nothing on it" in shown
