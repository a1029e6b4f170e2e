"""The table beneath the chart: its columns, and what stands in them."""

import numpy as np
import pandas as pd
import pytest

from core.report.charts.labels import with_series
from core.report.words.formatting import difference_text
from explorer.controls.layer_table import column_config, layer_table, without_minus_zero
from explorer.state.choices import Selection, select_curves
from explorer.studies.loading import read_study


@pytest.fixture
def sized(sized_study):
    return read_study(sized_study)


def table_of(study, *, significance=False, change=lambda lines: lines, **selection):
    chosen = Selection(**{"pooling": "mean", "samples": ("test",), **selection})
    lines = change(with_series(select_curves(study.curves, study.layers, chosen)))
    return layer_table(lines, study.layers, significance=significance)


def test_numbers_come_first_then_the_catalogue_in_network_order(sized):
    table = table_of(sized, knn=True)
    assert list(table.columns[:5]) == ["layer", "Test SI", "Test SI, 95%", "Chance", "Test kNN"]
    assert list(table.columns[5:8]) == ["position", "kind", "block"]
    assert table["layer"].to_list() == sized.layers["layer"].to_list()


def test_each_line_has_its_interval_beside_its_value(sized):
    table = table_of(sized, samples=("test", "train"), change=lambda lines: lines.assign(value=0.5, low=0.4, high=0.62))
    assert set(table["Test SI, 95%"]) == {"0.400 – 0.620"}
    assert list(table.columns[1:5]) == ["Test SI", "Test SI, 95%", "Train SI", "Train SI, 95%"]


def test_a_chance_level_that_lines_do_not_share_is_told_apart(sized):
    table = table_of(sized, samples=("test", "cross"))
    assert "Chance" not in table
    assert table["Test chance"].iloc[0] == pytest.approx(9 / 1199)
    assert table["Test to train chance"].iloc[0] == pytest.approx(1 / 120)


def test_an_unknown_chance_level_has_no_column(sized):
    assert "Chance" not in table_of(sized, change=lambda lines: lines.assign(chance=np.nan))


def test_significance_adds_z_p_and_q_never_a_p_of_zero(sized):
    table = table_of(sized, significance=True, change=lambda lines: lines.assign(z=90.0, p_value=0.0, q_value=0.03))
    row = table[["Test z", "Test p", "Test q"]].iloc[0]
    assert row.to_list() == [90.0, 1e-4, 0.03]
    assert "Test z" not in table_of(sized)


def test_what_rounds_to_zero_is_shown_without_a_sign():
    numbers = pd.DataFrame({"low": [-0.0004, -0.0006, 0.0002, np.nan]})
    pd.testing.assert_frame_equal(without_minus_zero(numbers), pd.DataFrame({"low": [0.0, -0.0006, 0.0, np.nan]}))
    assert difference_text(-0.0001, -0.00049, 0.2) == "+0.000 [+0.000, +0.200]"


def test_every_column_is_formatted(sized):
    table = table_of(sized, significance=True, samples=("test", "cross"), knn=True)
    config = column_config(table)
    assert set(config) == set(table.columns)
    formats = {
        name: config[name]["type_config"].get("format") for name in ("Test SI", "Test p", "Test z", "Test chance")
    }
    assert formats == {"Test SI": "%.3f", "Test p": "%.4f", "Test z": "%.1f", "Test chance": "%.4f"}


def test_a_layer_that_a_line_lacks_stays_in_the_table(sized):
    table = table_of(sized, change=lambda lines: lines[lines["layer"] != "stem_conv"])
    assert len(table) == 5
    assert pd.isna(table["Test SI"].iloc[0])
