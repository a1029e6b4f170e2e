"""The epochs of a training on disk, written without a network."""

import numpy as np
import pandas as pd
import pytest

from core.study.from_features.writer import study_samples
from core.study.measuring.layer_tables import measure_layer
from core.study.samples import MeasureOptions
from core.study.store.opening import StudyError, load_study
from core.training.recording import epochs as epochs_module
from core.training.recording.epochs import (
    EpochsWriter,
    load_epoch,
    read_epochs,
    read_history,
    recorded_epochs,
    training_state,
)

pytestmark = pytest.mark.slow

SAMPLES = study_samples([0, 0, 0, 1, 1, 1], splits=["test"] * 6)
INFO = {"asked": {"every": 1}, "used": {"data": SAMPLES.describe(), "model": {"name": "net"}}}


def layers_of(epoch, names=("first", "second")):
    """Two layers on a line; with each epoch the classes move apart."""
    line = np.array([0.0, 1.0, 2.0, 0.4, 1.4, 2.4]) + epoch * np.array([0, 0, 0, 10, 10, 10])
    rows = []
    for position, name in enumerate(names):
        row = {"position": position, "layer": name, "channels": 1, "output_shape": [1], "num_features": 1}
        options = MeasureOptions(num_neighbors=2, probe=False, projection="none")
        rows.append(measure_layer(row, {"flat": line[:, None]}, SAMPLES, options))
    return rows


def written(folder, *epochs):
    writer = EpochsWriter(folder, SAMPLES, INFO)
    writer.start(epochs[0])
    for epoch in epochs:
        writer.write(epoch, layers_of(epoch))
        writer.add_history({"phase": "fit", "epoch": epoch, "loss": 1 / (1 + epoch)})
    return writer


def separation(table):
    return table.loc[(table["measure"] == "separation") & (table["layer"] == "first"), "value"].tolist()


def test_every_epoch_is_a_study_and_the_folder_is_the_last_one(tmp_path):
    written(tmp_path / "study", 0, 1, 2).finish()
    assert recorded_epochs(tmp_path / "study") == (0, 1, 2)
    assert separation(read_epochs(tmp_path / "study")) == [0, 1, 1]
    assert read_epochs(tmp_path / "study")["epoch"].unique().tolist() == [0, 1, 2]
    last, first = load_study(tmp_path / "study"), load_epoch(tmp_path / "study", 0)
    assert (last.state, first.state) == ("complete", "complete")
    assert (separation(last.measurements), separation(first.measurements)) == ([1], [0])
    assert last.info["training"] == {"epoch": 2, "epochs": [0, 1, 2], "finished": True}
    assert last.info["used"]["model"] == {"name": "net", "weights": "after 2 epochs"}
    assert first.info["used"]["model"]["weights"] == "before training"
    assert last.neighbors["sample"].nunique() == 6
    assert read_history(tmp_path / "study")["loss"].tolist() == [1, 1 / 2, 1 / 3]


def test_an_ordinary_study_has_no_epochs(tmp_path):
    assert recorded_epochs(tmp_path) == ()
    assert not recorded_epochs(tmp_path)
    assert read_epochs(tmp_path).empty
    assert read_history(tmp_path).empty
    with pytest.raises(StudyError, match=r"epoch must be one of none .* got 3"):
        load_epoch(tmp_path, 3)


@pytest.mark.parametrize("broken", ["write_layer", "write_info", "end"])
def test_an_epoch_is_there_as_a_whole_or_not_at_all(tmp_path, monkeypatch, broken):
    writer = written(tmp_path / "study", 0, 1)

    def stop(*arguments, **options):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(epochs_module, broken, stop)
        with pytest.raises(KeyboardInterrupt):
            writer.write(2, layers_of(2))
    expected = (0, 1, 2) if broken == "write_info" else (0, 1)  # the last step of all tells the top folder
    assert recorded_epochs(tmp_path / "study") == expected
    assert load_study(tmp_path / "study").state == "complete"
    again = EpochsWriter(tmp_path / "study", SAMPLES, INFO)
    assert again.start(1)
    again.write(2, layers_of(2))
    assert recorded_epochs(tmp_path / "study") == (0, 1, 2)
    assert load_study(tmp_path / "study").info["training"]["epoch"] == 2


def test_a_training_goes_on_and_drops_what_came_later(tmp_path):
    written(tmp_path / "study", 0, 1, 2, 3)
    again = EpochsWriter(tmp_path / "study", SAMPLES, INFO)
    assert again.start(1)
    assert recorded_epochs(tmp_path / "study") == (0, 1)
    assert read_history(tmp_path / "study")["epoch"].tolist() == [0, 1]
    assert load_study(tmp_path / "study").info["training"]["epoch"] == 1
    assert not EpochsWriter(tmp_path / "study", SAMPLES, INFO).start(7)  # such as after epochs without the callback


def test_a_second_training_from_the_start_is_refused(tmp_path):
    written(tmp_path / "study", 0, 1)
    with pytest.raises(StudyError, match=r"holds epochs up to 1\. Pass initial_epoch=1 to fit"):
        EpochsWriter(tmp_path / "study", SAMPLES, INFO).start(0)


def test_other_folders_are_refused(tmp_path):
    written(tmp_path / "study", 0)
    other = INFO | {"asked": {"every": 2}}
    with pytest.raises(StudyError, match=r"another training; it differs in every: 1 → 2"):
        EpochsWriter(tmp_path / "study", SAMPLES, other).start(0)
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "thesis.txt").write_text("mine")
    with pytest.raises(StudyError, match=r"must be empty or hold the epochs of a training; it has thesis\.txt"):
        EpochsWriter(tmp_path / "full", SAMPLES, INFO).start(0)
    ordinary = load_epoch(tmp_path / "study", 0).path
    (ordinary / "study.json").write_text('{"format": 1, "state": "complete"}')
    with pytest.raises(StudyError, match="a study without training epochs"):
        EpochsWriter(ordinary, SAMPLES, INFO).start(0)


def test_history_keeps_one_row_an_epoch(tmp_path):
    writer = written(tmp_path / "study", 0)
    for loss in (0.5, 0.25):
        writer.add_history({"phase": "fit", "epoch": 1, "loss": loss, "separation_s": 0.1})
    history = read_history(tmp_path / "study")
    assert history["loss"].tolist() == [1, 0.25]
    assert pd.isna(history["separation_s"].iloc[0])


def test_others_see_whether_a_training_runs(tmp_path):
    folder = tmp_path / "study"
    assert training_state(folder) == "none"
    writer = written(folder, 0, 1)
    assert training_state(folder) == "running"
    writer.finish()
    assert training_state(folder) == "finished"
    again = EpochsWriter(folder, SAMPLES, INFO)
    again.start(1)
    assert training_state(folder) == "running"  # it goes on, though it had been finished
    del again  # as if its process had been killed: nothing else is written
    assert training_state(folder) == "interrupted"
    held, second = EpochsWriter(folder, SAMPLES, INFO), EpochsWriter(folder, SAMPLES, INFO)
    held.start(1)
    second.start(1)  # of the same notebook, after an error: not refused
    del held
    second.write(2, layers_of(2))
    assert training_state(folder) == "running"
    second.finish()
    assert training_state(folder) == "finished"
