"""The page Training on the bundled training, and its words."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from core.study.store.opening import load_study
from explorer.app_pages.training.tables import cost_text, describe_training, epoch_text, read_training
from explorer.studies.loading import DEMO

STUDY = DEMO / "digits-training"


@pytest.fixture(scope="module")
def training():
    return read_training(load_study(STUDY))


def said(page):
    return " ".join(element.value for element in [*page.title, *page.markdown, *page.caption, *page.info])


def test_the_bundle_is_small_and_whole(training):
    assert sum(file.stat().st_size for file in STUDY.rglob("*") if file.is_file()) < 320_000
    assert training.epochs == tuple(range(11))
    assert training.rows.groupby("epoch")["layer"].nunique().eq(len(training.layers)).all()
    assert training.history["epoch"].tolist() == list(range(11))
    assert training.change["paired"].all()


def test_the_page_shows_the_last_epoch_and_the_change(open_view, training):
    page = open_view("training", STUDY)
    assert not page.exception
    assert page.title[0].value == describe_training(training).headline
    assert len(page.get("vega_lite_chart")) == 3
    assert "After epoch 10 of 10" in said(page)
    assert list(page.dataframe[0].value["Layer"]) == list(training.layers)


def test_the_slider_shows_another_epoch_and_the_address_says_so(open_view):
    page = open_view("training", STUDY)
    page.select_slider[0].set_value(0).run()
    assert "Before training" in said(page)
    assert page.query_params["epoch"] in ("0", ["0"])
    assert "After epoch 3 of 10" in said(open_view("training", STUDY, epoch="3"))
    assert "After epoch 10 of 10" in said(open_view("training", STUDY, epoch="99"))


def test_play_begins_at_the_start_and_stops_at_the_end(open_view):
    page = open_view("training", STUDY)
    page.button(key="play").click().run()
    assert page.button(key="play").label == "Stop"
    assert "After epoch 1 of 10" in said(page)  # the run after the click is the first step
    for _ in range(12):
        page.run()
    assert page.button(key="play").label == "Play"
    assert "After epoch 10 of 10" in said(page)


def test_a_study_without_epochs_says_how_to_record_them(open_view):
    page = open_view("training", DEMO / "digits")
    assert page.title[0].value == "No training is recorded in this study"
    assert "core.SeparationCallback" in page.code[0].value


def test_the_words_carry_the_numbers(training):
    finding = describe_training(training)
    change = training.change
    certain = change[change["verdict"] != "no certain change"]
    assert finding.headline == f"SI changed in {len(certain)} of {len(change)} layers during training"
    assert all(f"`{name}`" in finding.detail for name in certain["layer"])
    most = change.loc[change["difference"].abs().idxmax()]
    assert f"{most['difference']:+.3f}" in finding.detail
    assert "(q < 0.05, 359 samples)" in finding.detail
    unsure = replace(training, change=change.assign(verdict="no certain change"))
    assert describe_training(unsure).headline == "No certain change with 359 samples"


def test_nothing_is_concluded_from_layers_with_many_ties(training):
    change = training.change.assign(verdict=["many ties", *training.change["verdict"][1:]])
    finding = describe_training(replace(training, change=change))
    assert f"of {len(change) - 1} layers" in finding.headline
    assert f"Nothing is concluded from `{change['layer'].iloc[0]}`: more than 5 % of the samples" in finding.detail
    none = describe_training(replace(training, change=change.assign(verdict="many ties")))
    assert none.headline.startswith("No conclusion: many samples have several nearest neighbors")
    assert none.detail.startswith(f"Nothing is concluded from {len(change)} layers, as `")


def test_what_an_epoch_and_the_recording_are_called(training):
    assert epoch_text(training, 0) == "**Before training**"
    assert epoch_text(training, 2).startswith("**After epoch 2 of 10** · loss **")
    history = pd.DataFrame({"seconds": [np.nan, 9.0, 11.0], "separation_s": [5.0, 0.5, 0.5]})
    assert cost_text(history) == "Recording took 1.0 s in addition to 20.0 s of training, 5.0%."
    assert cost_text(history.iloc[:1]) == ""
