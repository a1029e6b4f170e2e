"""The page Compare, run by Streamlit's own test driver."""

import numpy as np
import pytest

import core
from explorer.studies.loading import DEMO

LAYERS = ["stem_conv", "block1a_add", "block2a_add", "top_conv", "avg_pool"]


def write(folder, spread, *, samples=60):
    """A study whose classes are further apart from layer to layer, by `spread`."""
    labels = [f"class {number % 3}" for number in range(samples)]
    centers = np.random.default_rng(9).normal(size=(3, 6))[np.arange(samples) % 3]
    features = {
        name: np.float32(spread * (at + 1) * centers + np.random.default_rng(at).normal(size=(samples, 6)))
        for at, name in enumerate(LAYERS)
    }
    ids = [f"image {number}" for number in range(samples)]
    core.study_from_features(features, labels, out=folder, ids=ids, splits=["test"] * samples)
    return folder


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """The same samples before and after, and other samples."""
    root = tmp_path_factory.mktemp("studies")
    return {
        "before": write(root / "before", 0.1),
        "after": write(root / "after", 0.6),
        "other": write(root / "other", 0.1, samples=45),
    }


def charts(page):
    return page.get("vega_lite_chart")


def said(page):
    return " ".join(element.value for element in [*page.title, *page.markdown, *page.caption, *page.info])


def widget(page, kind, name):
    return next(one for one in getattr(page, kind) if one.key and one.key.startswith(f"compare {name} of "))


def test_si_against_what_the_layers_are(open_view, tiny_study):
    page = open_view("compare", tiny_study)
    assert [one.value for one in page.header] == ["SI versus layer properties"]
    assert len(charts(page)) == 5  # no linear probe in this study
    assert "linear probe" not in said(page)
    assert "SI is correlated with" in said(page)
    assert said(page).count("Spearman 1.00") == len([one for one in page.caption if "Spearman 1.00" in one.value])
    other = open_view("compare", tiny_study, tab="another-study")
    assert "Choose a study of the same samples" in other.info[0].value


def test_comparable_studies_are_one_click_away(open_view):
    page = open_view("compare", DEMO / "dogs-tuned", tab="another-study")
    suggested = [button for button in page.button if button.key.startswith("suggest ")]
    assert {"dogs-untrained", "dogs-head"} <= {button.key.split()[1] for button in suggested}
    assert len(suggested) <= 4
    assert not [button for button in suggested if "digits" in button.key], "other data"
    next(button for button in suggested if "dogs-untrained" in button.key).click().run()
    assert not page.exception
    assert "From **dogs-untrained** to **dogs-tuned**" in said(page)
    assert not [button for button in page.button if button.key.startswith("suggest ")]


def test_only_the_open_tab_is_drawn_and_the_choices_of_the_others_are_kept(open_view, folders):
    page = open_view("compare", folders["after"], before=str(folders["before"]))
    assert [one.value for one in page.header] == ["Comparison with another study"]
    assert "tab" not in page.query_params
    page = open_view("compare", folders["after"], before=str(folders["before"]), tab="similarity")
    assert [one.value for one in page.header] == ["Similarity of layers"]
    assert page.query_params["before"] in (str(folders["before"]), [str(folders["before"])])
    assert page.query_params["tab"] in ("similarity", ["similarity"])


def test_another_pooling_goes_into_the_address_and_comes_back(open_view, tiny_study):
    page = open_view("compare", tiny_study)
    widget(page, "segmented_control", "pooling").set_value("flat").run()
    assert page.query_params["pooling"] in ("flat", ["flat"])
    assert "all activations" in said(page)
    restored = open_view("compare", tiny_study, pooling="flat", samples="train")
    assert widget(restored, "segmented_control", "pooling").value == "flat"
    assert "Train samples, all activations" in said(restored)


def test_a_link_restores_the_comparison_sorted_by_change(open_view, folders):
    page = open_view("compare", folders["after"], before=str(folders["before"]))
    table = page.dataframe[0].value
    assert list(table["difference"].abs()) == sorted(table["difference"].abs(), reverse=True)
    assert set(table["layer"]) == set(LAYERS)
    assert table["paired"].all()
    assert "From **before** to **after**: SI **rose** at" in said(page)
    assert "of 5 layers compared by name, with 60 samples." in said(page)
    assert "layer_before" not in table
    assert page.query_params["before"] in (str(folders["before"]), [str(folders["before"])])


def test_layers_are_matched_as_asked(open_view, folders):
    page = open_view("compare", folders["after"], before=str(folders["before"]))
    widget(page, "segmented_control", "match").set_value("position").run()
    assert not page.exception
    assert page.query_params["match"] in ("position", ["position"])
    assert "of 5 layers, **compared by relative position, not by name**, with 60 samples." in said(page)
    assert set(page.dataframe[0].value["matched_by"]) == {"position"}


@pytest.mark.parametrize(
    ("other", "message"),
    [("other", "45 test samples before and 60 after"), ("nowhere", "no such folder")],
)
def test_what_cannot_be_compared_is_told_and_the_rest_is_shown(open_view, folders, tmp_path, other, message):
    page = open_view("compare", folders["after"], before=str(folders.get(other, tmp_path / other)))
    assert message in page.error[0].value
    page.session_state[f"compare tab of {folders['after']}"] = "Layer properties"
    assert len(charts(page.run())) == 2  # position and kNN


def test_a_folder_that_cannot_be_opened_is_told(open_view, tmp_path):
    assert "no such folder" in open_view("compare", tmp_path / "nowhere").error[0].value


@pytest.mark.parametrize("count", [2, 5])
def test_layers_with_many_ties_are_shown_and_nothing_is_concluded_from_them(open_view, tmp_path, folders, count):
    """After training the last layers map each class to one point; all five, and nothing is left to compare."""
    labels = np.arange(60) % 3
    features = {
        name: np.eye(3)[labels] if at >= len(LAYERS) - count else np.random.default_rng(at).normal(size=(60, 6))
        for at, name in enumerate(LAYERS)
    }
    ids = [f"image {number}" for number in range(60)]
    names = [f"class {label}" for label in labels]
    core.study_from_features(features, names, out=tmp_path / "tied", ids=ids, splits=["test"] * 60)
    page = open_view("compare", tmp_path / "tied", before=str(folders["before"]))
    assert not page.exception
    assert f"Nothing is concluded from {count} layers, as `{LAYERS[-count]}`: more than 5% of the samples" in said(page)
    assert page.dataframe[-1].value["verdict"].eq("many ties").sum() == count
    assert ("of 3 layers compared by name" in said(page)) == (count == 2)
