"""The page Training on the bundled training, and its words."""

import os
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from core.study.from_features.writer import study_samples
from core.study.measuring.layer_tables import measure_layer
from core.study.samples import MeasureOptions
from core.study.store.opening import load_study
from core.training.recording.epochs import EpochsWriter
from explorer.app_pages.training.live_view import read_progress, recording_state
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
    assert f"Nothing is concluded from `{change['layer'].iloc[0]}`: more than 5% of the samples" in finding.detail
    none = describe_training(replace(training, change=change.assign(verdict="many ties")))
    assert none.headline.startswith("No conclusion: many samples have several nearest neighbors")
    assert none.detail.startswith(f"Nothing is concluded from {len(change)} layers, as `")


def test_what_an_epoch_and_the_recording_are_called(training):
    assert epoch_text(training, 0) == "**Before training**"
    assert epoch_text(training, 2).startswith("**After epoch 2 of 10** · loss **")
    history = pd.DataFrame({"seconds": [np.nan, 9.0, 11.0], "separation_s": [5.0, 0.5, 0.5]})
    assert cost_text(history) == "Recording took 1.0 s in addition to 20.0 s of training, an increase by 5.0%."
    assert cost_text(history.iloc[:1]) == ""


def recording(folder, *epochs):
    """A recording that goes on as long as the returned writer lives."""
    samples = study_samples([0, 0, 0, 1, 1, 1], splits=["test"] * 6)
    info = {"asked": {"every": 1}, "used": {"data": samples.describe(), "model": {"name": "net"}}}
    writer = EpochsWriter(folder, samples, info)
    writer.start(epochs[0])
    options = MeasureOptions(num_neighbors=2, probe=False, projection="none")
    for epoch in epochs:
        line = np.array([0.0, 1.0, 2.0, 0.4, 1.4, 2.4]) + epoch * np.array([0, 0, 0, 10, 10, 10])
        row = {"position": 1, "layer": "first", "channels": 1, "output_shape": [1], "num_features": 1}
        writer.write(epoch, [measure_layer(row, {"flat": line[:, None]}, samples, options)])
        writer.add_history({"phase": "fit", "epoch": epoch, "loss": 1 / (1 + epoch)})
    return writer


def test_a_running_training_is_shown_until_it_ends(open_view, tmp_path):
    folder = tmp_path / "training"
    writer = recording(folder, 0)
    page = open_view("training", folder)
    assert page.title[0].value == "This training is running"
    assert "The first epoch is being trained" in said(page)
    assert "SI recorded after epoch 0" in said(page)
    for epoch in (1, 2):
        writer.add_history({"phase": "fit", "epoch": epoch, "loss": 0.5, "accuracy": 0.75})
    page.run()
    assert "2 epochs trained** · loss **0.500** · accuracy **0.750**" in said(page)
    writer.finish()
    page.run()
    assert page.title[0].value == "No training is recorded in this study"  # one epoch alone shows no change
    assert not page.exception


def test_an_interrupted_training_says_so(open_view, tmp_path):
    writer = recording(tmp_path / "one", 0)
    del writer
    page = open_view("training", tmp_path / "one")
    assert page.title[0].value == "This training was interrupted"
    assert "The last recorded epoch is 0" in page.warning[0].value
    writer = recording(tmp_path / "two", 0, 1)
    del writer
    page = open_view("training", tmp_path / "two")
    assert "The last recorded epoch is 1" in page.warning[0].value
    assert "After epoch 1 of 1" in said(page)


def test_files_that_are_half_written_are_left_out(tmp_path):
    folder = tmp_path / "training"
    writer = recording(folder, 0, 1)
    rows, layers, history = read_progress(str(folder))
    assert rows["epoch"].tolist() == [0, 1]
    assert (layers, len(history)) == (("first",), 2)
    table = folder / "epochs" / "00001" / "measurements.parquet"
    table.write_bytes(table.read_bytes()[:100])
    os.utime(table.parent, (1, 1))  # another time, another key of the cache
    (folder / "history.parquet").write_bytes(b"PAR1")
    rows, layers, history = read_progress(str(folder))
    assert rows["epoch"].tolist() == [0]
    assert history.empty
    (folder / "study.json").write_text("{")
    assert recording_state(str(folder)) == "running"
    writer.finish()
