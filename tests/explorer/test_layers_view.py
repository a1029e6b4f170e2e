"""The first page, run by Streamlit's own test driver."""

import json
import subprocess
import sys
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import core
from core.study.store.writing import study_lock
from explorer.state.measures import Measure, Sampling
from explorer.studies.loading import DEMO

EXPLORER = Path(__file__).resolve().parents[2] / "explorer"


@pytest.fixture
def open_page(open_view):
    """Run this page on a study folder, with the given address and the table open."""
    return partial(open_view, "layers", table="open")


def table(page):
    return page.dataframe[0].value


def widget(page, name):
    """A widget by the first word of its key; the rest names the study."""
    kinds = ("segmented_control", "pills", "toggle", "multiselect", "selectbox")
    found = [one for kind in kinds for one in getattr(page, kind) if one.key.startswith(f"{name} of ")]
    return found[0]


def address(page):
    """What stands in the address beside the open table, every value as a list."""
    found = {name: [value] if isinstance(value, str) else value for name, value in page.query_params.items()}
    assert found.pop("table", ["open"]) == ["open"]
    return found


def charts(page):
    return page.get("vega_lite_chart")


def said(page):
    return " ".join(element.value for element in [*page.title, *page.markdown, *page.caption, *page.info])


def test_the_page_says_draws_and_lists_the_study(open_page, tiny_study):
    page = open_page(tiny_study)
    assert page.title[0].value == "The classes are largely separated, late in the network"
    assert len(charts(page)) == 1
    assert list(table(page)["layer"]) == ["stem_conv", "block1a_dwconv", "block1a_add", "block2a_conv", "avg_pool"]
    assert list(table(page).columns[:6]) == ["layer", "Test SI", "Train SI", "Chance", "Test kNN", "Train kNN"]
    assert "1,200 training and 1,200 test samples" in said(page)


def test_the_study_s_cautions_stand_on_the_page(open_page, tiny_study):
    assert "not how it would do on new images" in said(open_page(tiny_study))


def test_how_it_was_computed(open_page, tiny_study):
    page = open_page(tiny_study)
    assert page.expander[1].label == "How this was computed"
    assert not page.code  # nothing is sent of what is closed
    page.session_state[f"provenance of {tiny_study}"] = True
    page.run()
    assert page.code[0].value.startswith("python -m core study stanford_dogs_224")
    assert "0" in str(page.table[0].value.loc["Seed"])


def test_the_table_is_one_click_away_and_its_being_open_is_in_the_address(open_view, tiny_study):
    page = open_view("layers", tiny_study)
    assert not page.dataframe
    page.session_state[f"table of {tiny_study}"] = True
    page.run()
    assert len(table(page)) == 5
    assert page.query_params["table"] in ("open", ["open"])


def test_the_report_of_the_study_is_beside_the_exports(open_page, tiny_study, monkeypatch):
    assert "Report" in [button.label for button in open_page(tiny_study).get("download_button")]
    monkeypatch.setattr("explorer.controls.downloads.find_spec", lambda name: None)
    button = next(one for one in open_page(tiny_study).get("download_button") if one.label == "Report")
    assert button.disabled
    assert "pip install vl-convert-python" in button.help


def test_changing_pooling_and_samples_changes_the_table_and_the_address(open_page, tiny_study):
    page = open_page(tiny_study)
    before = table(page)["Test SI"]
    widget(page, "pooling").set_value("flat").run()
    assert not table(page)["Test SI"].equals(before)
    widget(page, "samples").set_value(["cross"]).run()
    widget(page, "knn").set_value(False).run()
    assert list(table(page).columns[:4]) == ["layer", "Test to train SI", "Chance", "position"]
    study = {"study": [str(tiny_study)]}
    assert address(page) == {**study, "pooling": ["flat"], "samples": ["cross"], "knn": ["no"]}


def test_value_interval_and_chance_are_always_there_and_significance_one_click_away(open_page, sized_study):
    page = open_page(sized_study)
    names = [name for name in table(page).columns if name.startswith(("Test", "Chance"))]
    assert names == ["Test SI", "Test SI, 95%", "Chance", "Test kNN"]
    assert "meaningless labels would score as high" not in said(page)
    widget(page, "columns").set_value("significance").run()
    names = [name for name in table(page).columns if name.startswith("Test ")]
    assert names == ["Test SI", "Test SI, 95%", "Test z", "Test p", "Test q", "Test kNN"]
    assert table(page)["Test p"].min() == 1e-4
    assert "Read value, interval and chance first" in said(page)
    assert address(page)["columns"] == ["significance"]


def test_what_the_band_is_of_stands_beneath_the_chart(open_page, sized_study, tiny_study):
    assert "95% interval for the SI expected of a fresh sample" in said(open_page(sized_study))
    assert "Band:" not in said(open_page(tiny_study))


def test_the_untrained_control_is_named_only_where_it_is_drawn(open_page):
    assert "Solid gray: the same network without training." in said(open_page(DEMO / "dogs"))
    assert "Solid gray" not in said(
        open_page(DEMO / "notebook")
    )  # the control has all activations of other layers only


def test_levels_of_unequal_numbers_of_samples_are_not_compared(open_page, tmp_path, tiny_study):
    assert "cannot be compared" not in said(open_page(tiny_study))  # 1,200 of each
    labels = np.arange(60) % 3
    layers = {"first": np.random.default_rng(0).normal(size=(60, 4)), "second": np.eye(3)[labels]}
    core.study_from_features(layers, labels, out=tmp_path / "made", splits=["train"] * 42 + ["test"] * 18)
    note = "neighbors are searched (18 for Test, 42 for Train), so the levels of these curves cannot be compared"
    assert note in said(open_page(tmp_path / "made"))
    assert "cannot be compared" not in said(open_page(tmp_path / "made", samples="test"))


def test_significance_is_not_offered_where_the_study_has_none(open_page, tiny_study):
    page = open_page(tiny_study, columns="significance")
    assert not any(name.endswith((" z", " p", " q")) for name in table(page).columns)


def test_an_address_restores_the_view(open_page, tiny_study):
    page = open_page(tiny_study, pooling="both", samples="train", knn="no", kinds=["Add", "Conv2D"])
    assert list(table(page).columns[:4]) == ["layer", "Train mean SI", "Train flat SI", "Chance"]
    assert set(table(page)["kind"]) == {"Add", "Conv2D"}


def test_the_address_chooses_a_layer_and_its_numbers_stand_beside_the_chart(open_page, sized_study):
    page = open_page(sized_study, layer="block1a_add", pooling="flat")
    assert page.selectbox(key=f"layers layer of {sized_study}").value == "block1a_add"
    assert any("Test SI **" in text.value and "Add" in text.value for text in page.markdown)
    assert address(page) == {"study": [str(sized_study)], "layer": ["block1a_add"], "pooling": ["flat"]}
    page.selectbox(key=f"layers layer of {sized_study}").set_value(None).run()
    assert "layer" not in address(page)


def test_a_layer_that_the_study_has_not_is_not_chosen(open_page, tiny_study):
    page = open_page(tiny_study, layer="elsewhere")
    assert page.selectbox(key=f"layers layer of {tiny_study}").value is None
    assert "layer" not in address(page)


def test_a_sampling_is_chosen_and_shown_as_what_it_is(open_page, sized_study):
    page = open_page(sized_study)
    widget(page, "samplings").set_value([Sampling("subsample", 240)]).run()
    assert address(page)["sampling"] == ["subsample 240"]
    assert "Test SI, lowest to highest" in table(page).columns
    assert "the lowest to the highest draw" in said(page)
    assert "means over draws of 240 samples" in said(page)


def test_another_measure_is_drawn_and_the_headline_stays_about_si(open_page, study_writer, sized_info, tmp_path):
    def change(frame):
        frame = sized_info["change"](frame)
        full = frame[(frame["measure"] == "separation") & (frame["repeat"] == 0)]
        return pd.concat([frame, full.assign(measure="anti", order=3, value=1 - full["value"])], ignore_index=True)

    page = open_page(study_writer(tmp_path / "anti", **{**sized_info, "change": change}))
    finding = page.markdown[1].value
    widget(page, "measure").set_value(Measure("anti", 3)).run()
    assert "Test Anti SI (r = 3)" in table(page).columns
    assert "Lower is better" in said(page)
    assert page.markdown[1].value == finding


def test_three_cards_lead_on_and_say_where_neighbors_are_missing(open_page, tiny_study):
    text = said(open_page(tiny_study))
    for title in ("Where it is good enough", "Most confused classes", "Samples to check"):
        assert title in text
    assert text.count("stores no neighbors for this") == 2


def test_names_and_patterns_narrow_the_layers_and_can_be_dropped(open_page, tiny_study):
    page = open_page(tiny_study)
    widget(page, "names").set_value(["block*"]).run()
    assert list(table(page)["layer"]) == ["block1a_dwconv", "block1a_add", "block2a_conv"]
    assert "3 layers shown, of 5" in said(page)
    page.button(key="show_all").click().run()
    assert len(table(page)) == 5


def test_headline_and_cards_speak_of_the_same_layers(open_page, tiny_study):
    page = open_page(tiny_study)
    assert "SI is highest at `avg_pool`" in said(page)
    assert "layers shown, of 5" not in said(page)
    widget(page, "names").set_value(["block*"]).run()
    text = said(page)
    assert "SI is highest in `block2a_conv`" in text
    assert "SI is highest at `block2a_conv`" in text
    assert "avg_pool" not in text
    assert text.count("This is about the 3 layers shown, of 5.") == 3  # the headline and two cards
    assert text.count("This is about all 5 layers, whichever are shown.") == 1


def test_a_single_layer_that_is_shown_has_its_value_as_headline(open_page, tiny_study):
    page = open_page(tiny_study, layers="block2a_conv")
    assert page.title[0].value.startswith("One layer: SI 0.")
    assert "SI is highest at `block2a_conv`" in said(page)


def test_an_empty_selection_says_so_and_leads_back(open_page, tiny_study):
    page = open_page(tiny_study, kinds="Add", blocks="stem")
    assert not charts(page)
    assert "No measured layer" in page.info[0].value
    assert [title.value for title in page.title] == ["No layer is shown"]
    page.button(key="show_all_below").click().run()
    assert len(table(page)) == 5


def test_a_name_that_no_layer_bears_is_told_where_it_was_given(open_page, tiny_study):
    of_link = [one.value for one in open_page(tiny_study, layers="blok*").warning]
    assert len(of_link) == 1  # at the top of the page
    assert "layer blok\\*" in of_link[0]
    page = open_page(tiny_study)
    widget(page, "names").set_value(["blok*"]).run()
    assert [one.value for one in page.warning] == ["No layer has the name 'blok*' or matches it."]  # beside the field


def test_no_samples_chosen_says_so(open_page, tiny_study):
    page = open_page(tiny_study)
    widget(page, "samples").set_value([]).run()
    assert "Choose the samples" in page.info[0].value
    assert [title.value for title in page.title] == ["No layer is shown"]
    assert not charts(page)


@pytest.mark.parametrize(
    ("make", "text"),
    [
        (lambda folder: folder / "nowhere", "no such folder"),
        (lambda folder: folder, "a folder without one"),
        (lambda folder: _broken_json(folder), "must be JSON"),
        (lambda folder: _broken_table(folder), "layers.parquet in"),
    ],
    ids=["missing", "no study", "broken json", "broken table"],
)
def test_what_cannot_be_opened_is_told_and_the_view_is_kept(open_page, tmp_path, make, text):
    page = open_page(make(tmp_path), pooling="flat")
    assert text in page.error[0].value
    assert address(page)["pooling"] == ["flat"]
    assert not charts(page)


def _broken_json(folder):
    (folder / "study.json").write_text("{")
    return folder


def _broken_table(folder):
    (folder / "study.json").write_text(json.dumps({"format": 2, "state": "complete"}))
    (folder / "layers.parquet").write_bytes(b"PAR1")
    return folder


def test_another_study_keeps_what_it_offers_of_the_view(open_page, tmp_path, tiny_study, study_writer):
    other = study_writer(tmp_path / "other", layers=[("a_conv", "Conv2D", 4, 2)], splits=["train"])
    page = open_page(other, study=str(tiny_study), pooling="flat", samples=["test", "cross"], knn="no")
    assert len(table(page)) == 5
    page.selectbox(key="study").set_value(str(other)).run()
    assert widget(page, "pooling").value == "flat"
    assert widget(page, "samples").value == ["train"]
    assert list(table(page)["layer"]) == ["a_conv"]
    assert address(page) == {"study": [str(other)], "pooling": ["flat"], "knn": ["no"]}


def test_an_interrupted_study_shows_what_is_there(open_page, tmp_path, study_writer):
    layers = [("a_conv", "Conv2D", 4, 2), ("b_conv", "Conv2D", 4, 2)]
    study = study_writer(tmp_path / "part", layers=layers, info={"state": "partial"})
    page = open_page(study)
    assert "was interrupted" in said(page)
    assert "2 layers so far" in said(page)
    assert len(table(page)) == 2


def test_a_running_study_is_said_to_run(open_page, tmp_path, study_writer):
    study = study_writer(tmp_path / "running", layers=[("a_conv", "Conv2D", 4, 2)], info={"state": "running"})
    with study_lock(study):
        assert "is being computed" in said(open_page(study))


def test_a_study_that_has_just_begun_asks_to_come_back(open_page, tmp_path, study_writer):
    page = open_page(study_writer(tmp_path / "begun", layers=[], info={"state": "running"}))
    assert "Come back" in page.info[0].value


@pytest.mark.parametrize("count", [1, 200])
def test_few_and_many_layers(open_page, tmp_path, study_writer, count):
    layers = [(f"stage{index // 10}_conv{index}", "Conv2D", 8, 4) for index in range(count)]
    page = open_page(study_writer(tmp_path / "many", layers=layers, splits=["train"]))
    assert len(table(page)) == count
    assert len(charts(page)) == (1 if count == 1 else 2)  # a strip of all layers beneath the chart


def test_values_that_are_missing_leave_gaps(open_page, tmp_path, study_writer):
    def without_first(frame):
        return frame.assign(value=frame["value"].where(frame["layer"] != "a_conv"))

    layers = [("a_conv", "Conv2D", 4, 2), ("b_conv", "Conv2D", 4, 2)]
    page = open_page(study_writer(tmp_path / "gaps", layers=layers, change=without_first))
    assert pd.isna(table(page)["Test SI"].iloc[0])


def test_the_first_page_needs_neither_tensorflow_nor_an_installed_project(tiny_study):
    code = """
import sys
from streamlit.testing.v1 import AppTest
page = AppTest.from_file(sys.argv[1], default_timeout=60).run()
assert not page.exception, page.exception
assert page.title, "no headline"
print(",".join(name for name in ("tensorflow", "keras", "torch", "sklearn") if name in sys.modules))
"""
    environ = {"PATH": "", "SI_EXPLORER_STUDY": str(tiny_study)}
    command = [sys.executable, "-I", "-c", code, str(EXPLORER / "app.py")]
    done = subprocess.run(command, capture_output=True, text=True, env=environ, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == ""
