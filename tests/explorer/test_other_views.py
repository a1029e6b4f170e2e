"""The pages Sample size and Method, run by Streamlit's own test driver."""

import numpy as np
import pandas as pd
import pytest

import core
from explorer.studies import loading


def charts(page):
    return page.get("vega_lite_chart")


def said(page):
    return " ".join(element.value for element in [*page.title, *page.markdown, *page.caption, *page.info])


def widget(page, kind, name):
    return next(one for one in getattr(page, kind) if one.key and f" {name} of " in one.key)


def address(page):
    """What stands in the address, every value as a list."""
    return {name: [value] if isinstance(value, str) else value for name, value in page.query_params.items()}


def test_sample_size_draws_both_ways_and_lists_them(open_view, sized_study):
    page = open_view("sample_size", sized_study)
    assert len(charts(page)) == 2
    assert [one.value for one in page.header] == ["Fewer samples: a learning curve", "Fewer queries: an estimate"]
    assert "SI of `avg_pool` is" in said(page)
    table = page.dataframe[0].value
    assert list(table["size"].unique()) == [240, 480, 960, 1200]
    assert set(table["sampling"]) == {"samples", "queries only", "all"}


def test_choosing_changes_the_table_and_the_address(open_view, sized_study):
    page = open_view("sample_size", sized_study)
    widget(page, "multiselect", "layers").set_value(["stem_conv"]).run()
    widget(page, "segmented_control", "samples").set_value("train").run()
    assert set(page.dataframe[0].value["layer"]) == {"stem_conv"}
    assert "Among the training samples" in said(page)
    assert address(page) == {"study": [str(sized_study)], "samples": ["train"], "layers": ["stem_conv"]}


def test_an_address_restores_the_view(open_view, sized_study):
    page = open_view("sample_size", sized_study, pooling="flat", layers=["stem_conv", "block2a_conv"])
    assert widget(page, "segmented_control", "pooling").value == "flat"
    assert set(page.dataframe[0].value["layer"]) == {"stem_conv", "block2a_conv"}


def test_no_layer_chosen_brings_the_first_ones_back(open_view, sized_study):
    page = open_view("sample_size", sized_study, layers=["stem_conv"])
    widget(page, "multiselect", "layers").set_value([]).run()
    assert len(set(page.dataframe[0].value["layer"])) == 4


def test_one_way_alone_makes_one_chart(open_view, tmp_path, study_writer):
    def learning_curve(frame):
        drawn = frame[frame["measure"] == "separation"].assign(sampling="subsample", num_queries=50, repeat=1)
        return pd.concat([frame, drawn.assign(num_references=49)])

    page = open_view("sample_size", study_writer(tmp_path / "one", change=learning_curve))
    assert len(charts(page)) == 1
    assert set(page.dataframe[0].value["sampling"]) == {"samples", "all"}


def test_a_study_without_sizes_says_how_to_compute_them(open_view, tiny_study):
    page = open_view("sample_size", tiny_study)
    assert "no values over sample size" in page.info[0].value
    assert page.code[0].value.endswith("--sizes 240,480,720,960 --repeats 5")
    assert not charts(page)


def test_a_study_that_cannot_be_opened_is_told_on_every_page_about_one(open_view, tmp_path):
    assert "no such folder" in open_view("sample_size", tmp_path / "nowhere").error[0].value


@pytest.fixture
def bundle(monkeypatch):
    """Lets the page Method find its replication elsewhere."""

    def at(folder):
        monkeypatch.setattr(loading, "NOTEBOOK", folder)

    return at


def test_method_shows_the_notebook_beside_its_permuted_control(open_view, bundle, replication_study):
    bundle(replication_study)
    page = open_view("method", tab="notebook")
    assert len(charts(page)) == 1
    assert list(page.dataframe[0].value.columns) == [
        *("reported", "replication", "permuted labels"),
        *("leave-one-out center", "first-order SI"),
    ]
    assert "**0.95** with labels that are permuted" in said(page)
    assert not page.info


def test_method_without_the_replication_says_so_and_shows_what_was_reported(open_view, bundle, tmp_path):
    bundle(tmp_path / "nowhere")
    page = open_view("method", tab="notebook")
    assert "only the reported curve is shown" in page.info[0].value
    assert list(page.dataframe[0].value.columns) == ["reported"]
    assert page.code[0].value.endswith("--protocol notebook --neighbors 1")


def test_method_shows_either_split(open_view, bundle, tmp_path):
    bundle(tmp_path / "nowhere")
    page = open_view("method", tab="notebook")
    test = page.dataframe[0].value.iloc[0, 0]
    page.segmented_control[0].set_value("train").run()
    assert (test, page.dataframe[0].value.iloc[0, 0]) == (0.33, 0.338)


def test_method_defines_the_whole_family_and_tells_the_lesson(open_view, bundle, tmp_path):
    bundle(tmp_path / "nowhere")
    tabs = ("terms", "measures", "judging", "computing", "notebook", "cite")
    text = " ".join(said(open_view("method", tab=tab)) for tab in tabs)
    text = " ".join(text.split())
    measures = ("separation", "cross", "balanced", "high_order", "soft", "anti", "center", "smoothness")
    assert all(f"`{measure}`" in text for measure in measures)
    for words in (
        "*whatever the labels are*",
        "another order than the activations",
        "0.138 on train",
        "below* guessing",
    ):
        assert words in text
    for source in ("1906.05156", "Thornton", "Ho, M. Basu (2002)", "Schilling (1986)", "Henze (1988)", "Wilson (1927)"):
        assert source in text


def test_the_study_stays_in_the_address_of_a_page_that_does_not_speak_about_it(open_view, bundle, tmp_path, tiny_study):
    bundle(tmp_path / "nowhere")
    assert address(open_view("method", study=str(tiny_study))) == {"study": [str(tiny_study)]}
    assert address(open_view("method")) == {}


@pytest.mark.parametrize("view", ["layers", "compare", "classes", "samples", "decide", "sample_size"])
def test_classes_of_one_sample_break_no_page(open_view, tmp_path, view):
    features = {"line": np.arange(6.0)[:, None], "turned": np.arange(6.0)[:, None] * [1, -1]}
    core.study_from_features(features, [0, 0, 1, 1, 0, 1], splits=["train"] * 4 + ["test"] * 2, out=tmp_path / "made")
    assert "single sample of the split test" in said(open_view(view, tmp_path / "made"))
