"""What the dialog says of a sample: the same whether one sample is read or all of them."""

from dataclasses import asdict

import numpy as np
import pandas as pd
import pytest

from core.analysis.samples.selection import LayerSelection
from explorer.controls.samples import dialog
from explorer.controls.samples.dialog import sample_details
from explorer.controls.samples.open_sample import READ_AT_ONCE, OpenSample
from explorer.studies.loading import DEMO, read_study
from explorer.studies.sample_paths import SamplePaths, cached_samples

SELECTIONS = [("dogs", "mean", "test"), ("dogs", "flat", "cross"), ("digits", "mean", "train")]


@pytest.mark.parametrize(("name", "pooling", "samples"), SELECTIONS)
def test_a_sample_read_alone_is_as_among_all(name, pooling, samples):
    study = read_study(DEMO / name)
    selection = LayerSelection(str(study.layers["layer"].iloc[-1]), pooling, samples)
    table = cached_samples(study.path, study.stamp)
    numbers = table.loc[table["split"] == selection.split, "sample"].to_numpy(np.int32)[::7]
    paths = SamplePaths(study.path, study.stamp, pooling, selection.split, selection.among)
    assert paths.is_of(selection)
    for index in (0, READ_AT_ONCE - 1, READ_AT_ONCE, len(numbers) - 1):
        opened = OpenSample(numbers, index, "All", selection)
        assert opened.sample in opened.around
        alone, among_all = (asdict(sample_details(study, opened, given)) for given in (None, paths))
        assert len(among_all["path"])
        for column, value in among_all.items():
            if isinstance(value, pd.DataFrame):
                pd.testing.assert_frame_equal(alone[column], value)
            else:
                assert alone[column] == value


def test_a_sample_of_the_other_split_is_shown_among_its_own():
    study = read_study(DEMO / "digits")
    table = cached_samples(study.path, study.stamp)
    splits = table["split"].unique().tolist()
    assert len(splits) == 2
    layer = str(study.layers["layer"].iloc[-1])
    numbers = table.loc[table["split"] == "train", "sample"].to_numpy(np.int32)[:3]
    paths = SamplePaths(study.path, study.stamp, "mean", "test", "test")
    details = sample_details(study, OpenSample(numbers, 1, "All", LayerSelection(layer, "mean", "test")), paths)
    assert (details.row["split"], len(details.path) > 0) == ("train", True)
    assert set(details.neighbors["split"]) == {"train"}


def test_a_dialog_that_was_closed_in_its_own_run_has_the_page_drawn(monkeypatch):
    """A note and the Escape key may come to the server together: then only the dialog is run, and closes itself."""

    class Rerun(Exception):
        pass

    def rerun():
        raise Rerun

    monkeypatch.setattr(dialog, "opened_sample", lambda study, page: None)
    monkeypatch.setattr(dialog.st, "rerun", rerun)
    with pytest.raises(Rerun):
        dialog._show_content(read_study(DEMO / "digits"), "samples", None)
