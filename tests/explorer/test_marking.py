"""Samples that are opened, gone through and marked: the dialog, the gallery, and where marks are kept."""

import json
import re
import shutil
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from playwright.sync_api import expect

import core
from core.cli import main
from core.study.store.marks import MARKS_FILE, Mark, MarksError, change_mark, read_marks
from explorer.app_pages.samples import thumbnail_grid
from explorer.app_pages.samples.thumbnail_grid import tile
from explorer.controls.samples import marking
from explorer.studies.gallery import Filter, filter_marks, filter_samples, frequent_neighbors
from explorer.studies.pictures import Pictures
from tests.browser import serve, wait_until_drawn
from tests.explorer.test_classes_and_samples import query, said

IDS = ["a/0.png", "a/1.png", "b/0.png", "b/1.png"]
LAYERS = {"early": np.array([[0.0], [4], [1], [5]]), "late": np.array([[0.0], [1], [8], [9]])}


@pytest.fixture
def folder(tmp_path):
    """Four samples on a line whose pairs are apart only at the second layer."""
    core.study_from_features(LAYERS, ["ant", "ant", "bee", "bee"], out=tmp_path / "study", ids=IDS)
    return tmp_path / "study"


def button(page, start):
    return next(one for one in page.button if one.key and one.key.startswith(start))


def test_a_sample_is_opened_gone_through_and_marked(open_view, folder):
    page = open_view("samples", folder, layer="early", show="disagree")
    button(page, "selected 0 of").click().run()
    assert "1 of 4" in said(page)
    assert "Class **ant**, train  \n:small[a/0.png]" in said(page)
    assert "At 1 of 2 layers its nearest neighbor is of its class, ant" in said(page)
    assert (query(page, "sample"), query(page, "open")) == ("a/0.png", "yes")
    button(page, "mark label error").click().run()
    button(page, "Next sample").click().run()
    assert query(page, "sample") == "a/1.png"
    button(page, "mark fine").click().run()
    button(page, "mark fine").click().run()  # again, which removes the mark
    page.text_input[0].set_value("eats  honey").run()
    assert not page.exception
    marks = read_marks(folder)
    assert {name: (mark.mark, mark.note, mark.class_name) for name, mark in marks.items()} == {
        "a/0.png": ("label error", "", "ant"),
        "a/1.png": ("", "eats honey", "ant"),
    }


def test_marks_of_another_session_are_shown_listed_and_filtered(open_view, folder):
    change_mark(folder, "b/1.png", Mark("duplicate"))
    change_mark(folder, "gone.png", Mark("fine"))
    page = open_view("samples", folder, layer="early", mark="duplicate")
    assert "All: 1 of 4 samples" in [one.value for one in page.header]
    listed = next(table.value for table in page.dataframe if "suggested" in table.value and "mark" in table.value)
    assert "1 of these marks go to samples that this study does not have" in said(page)
    assert "Kept in `marks.json` of the study's folder." in said(page)
    assert set(listed["id"]) >= {"b/1.png"}


def test_a_damaged_file_of_marks_is_told_and_stays_as_it_is(open_view, folder):
    (folder / MARKS_FILE).write_text("{")
    page = open_view("samples", folder, sample="a/0.png", open="yes")
    button(page, "mark fine").click().run()
    assert not page.exception
    assert "it cannot be read" in said(page)
    assert "Until then marks stay in this tab." in said(page)
    assert "Marked: 1 as fine." in said(page)
    assert (folder / MARKS_FILE).read_text() == "{"


@pytest.mark.parametrize("reason", ["public", "read-only"])
def test_marks_that_cannot_be_kept_with_the_study_stay_in_the_session(open_view, folder, monkeypatch, reason):
    if reason == "public":
        monkeypatch.setenv("SI_EXPLORER_PUBLIC", "1")
    else:

        def refuse(*_):
            raise MarksError("the marks must be writable")

        monkeypatch.setattr(marking, "change_mark", refuse)
    page = open_view("samples", folder, sample="a/0.png", open="yes")
    button(page, "mark duplicate").click().run()
    assert not page.exception
    assert not (folder / MARKS_FILE).exists()
    assert "Marked: 1 as duplicate." in said(page)
    assert {"public": "On a public server", "read-only": "the study's folder cannot be written"}[reason] in said(page)
    button(page, "mark duplicate").click().run()
    assert "Marked:" not in said(page)


def test_pages_sizes_and_orders_of_the_gallery(open_view, tmp_path):
    rng = np.random.default_rng(0)
    labels = np.arange(100) % 4
    core.study_from_features({"only": rng.normal(size=(100, 2)) + labels[:, None]}, labels, out=tmp_path / "study")
    page = open_view("samples", tmp_path / "study")
    assert "1–24 of 100" in said(page)
    assert button(page, "First page").disabled
    button(page, "Next page").click().run()
    assert query(page, "page") == "25–48"
    button(page, "Last page").click().run()
    assert "97–100 of 100" in said(page)
    again = open_view("samples", tmp_path / "study", page="97–96", tiles="96", sort="near")
    assert "1–96 of 100" in said(again)
    assert query(again, "tiles") == "96"


TABLE = pd.DataFrame(
    {
        "sample": [0, 1, 2],
        "id": ["b", "c", "a"],
        "class_name": ["y", "x", "x"],
        "nearest_class": ["y", "x", "x"],
        "same_label": [True, False, True],
        "distance": [2.0, 3.0, 1.0],
        "share": [0.5, 0.0, 1.0],
        "fate": "lost",
        "first": "here",
        "depth": [0, 2, 1],
        "correct": True,
        "mark": ["", "fine", "duplicate"],
    }
)


@pytest.mark.parametrize(
    ("sort", "samples"),
    [("agree", [2, 0, 1]), ("near", [2, 0, 1]), ("far", [1, 0, 2]), ("class", [1, 2, 0]), ("id", [2, 0, 1])],
)
def test_orders(sort, samples):
    assert filter_samples(TABLE, Filter(sort=sort), "here")["sample"].tolist() == samples


@pytest.mark.parametrize(
    ("mark", "samples"),
    [("", [0, 1, 2]), ("marked", [1, 2]), ("unmarked", [0]), ("fine", [1]), ("label error", [])],
)
def test_a_filter_of_marks(mark, samples):
    assert filter_marks(TABLE, mark)["sample"].tolist() == samples


def test_further_neighbors_are_those_at_most_layers():
    path = pd.DataFrame(
        {
            "layer": list("abcdef"),
            "nearest": [5, 6, 5, 7, 6, 5],
            "nearest_id": ["5", "6", "5", "7", "6", "5"],
            "nearest_source": "",
            "nearest_class": "x",
            "distance": 1.0,
            "same_label": True,
        }
    )
    further = frequent_neighbors(path, {7}, 4)
    assert further[["sample", "id", "layers"]].to_numpy().tolist() == [[5, "5", 3], [6, "6", 2]]
    assert frequent_neighbors(path, set(), 1)["sample"].tolist() == [5]
    assert frequent_neighbors(path, set(), -2).empty


def test_a_tile_says_in_words_what_its_colors_mean():
    row = {"sample": 3, "id": "a/0.png", "class_name": "ant", "nearest_class": "bee", "nearest_id": "b/1.png"}
    row |= {"same_label": False, "share": 0.5, "decided": "", "mark": "fine", "source": "a/0.png"}
    shown = tile(row, Pictures())
    assert shown["label"] == (
        "ant, 0.png; nearest neighbor 1.png, of another class; agrees at 50% of layers; not decided before the last "
        "layer; marked fine"
    )
    assert (shown["wrong"], shown["lines"], shown["picture"]) == (True, ["0.png", "ant", "✕ bee"], "")


@pytest.mark.parametrize(("sent", "opened"), [(3, [3]), (4, []), ("3", []), (None, []), ([3], [])])
def test_the_grid_opens_only_samples_that_it_shows(monkeypatch, sent, opened):
    calls, heard = [], []
    monkeypatch.setattr(thumbnail_grid, "_grid", lambda **options: heard.append(options))
    monkeypatch.setattr(thumbnail_grid, "tile", lambda row, pictures: {})
    monkeypatch.setattr(
        thumbnail_grid.st, "session_state", {"grid": SimpleNamespace(open=sent, turn="2")}, raising=False
    )
    thumbnail_grid.show_thumbnails(
        [{"sample": 3}],
        Pictures(),
        key="grid",
        label="",
        selected=None,
        open_sample=calls.append,
        turn_page=calls.append,
    )
    heard[0]["on_open_change"]()
    heard[0]["on_turn_change"]()
    assert calls == opened


@pytest.mark.browser
def test_someone_cleans_labels(page, tmp_path, capsys):
    """Filter to wrong, open, go through, mark three, close, export, reload; then on the command line."""
    study = shutil.copytree("explorer/demo/digits", tmp_path / "digits")
    with serve("--study", str(study), log=tmp_path / "server.log") as (address, _):
        page.goto(f"{address}/samples?show=disagree")
        tiles, dialog = page.locator(".st-key-gallery button"), page.get_by_role("dialog")
        expect(tiles.nth(3)).to_be_visible(timeout=60_000)
        names = [re.search("digits/[0-9]+", tiles.nth(at).get_attribute("aria-label"))[0] for at in range(4)]
        tiles.first.focus()
        page.keyboard.press("ArrowRight")
        page.keyboard.press("Enter")  # opens the second one
        expect(dialog.get_by_label("Note")).to_be_visible(timeout=60_000)
        for name, key in zip(names[1:], "edf", strict=True):
            expect(dialog).to_contain_text(name, timeout=60_000)
            page.keyboard.press(key)
            label = {"e": "Label error", "d": "Duplicate", "f": "Fine"}[key]
            expect(dialog.get_by_role("button", name=label)).to_have_attribute("kind", "primary", timeout=60_000)
            page.keyboard.press("ArrowRight")
        expect(dialog).not_to_contain_text(names[3], timeout=60_000)
        page.keyboard.press("ArrowLeft")
        expect(dialog).to_contain_text(names[3], timeout=60_000)
        note = dialog.get_by_role("textbox", name="Note")
        expect(note).to_have_count(1, timeout=60_000)  # until then that of the sample before is still there
        note.click()
        page.keyboard.type("def")  # which are keys of marks, but not here
        page.keyboard.press("Tab")
        expect(dialog.get_by_role("button", name="Fine")).to_have_attribute("kind", "primary")
        page.keyboard.press("Escape")
        expect(dialog).to_have_count(0, timeout=60_000)
        expect(tiles.nth(3)).to_contain_text("fine", timeout=60_000)
        expect(tiles.nth(3)).to_be_focused()
        page.reload()
        expect(tiles.nth(1)).to_contain_text("label error", timeout=60_000)
        expect(page.get_by_text("Marked: 1 as label error, 1 as duplicate, 1 as fine.")).to_be_visible(timeout=60_000)
        wait_until_drawn(page)
        with page.expect_download() as download:
            page.get_by_role("button", name="Save").last.click()
            page.get_by_role("button", name="CSV", exact=True).last.click()
        exported = pd.read_csv(download.value.path(), keep_default_na=False).set_index("id")
    assert exported.loc[names[1:], "mark"].tolist() == ["label error", "duplicate", "fine"]
    assert exported.loc[names[3], "note"] == "def"
    assert main(["marks", str(study), "--mark", "label-error", "--json"]) == 0
    assert [row["id"] for row in json.loads(capsys.readouterr().out)] == [names[1]]
