"""Where the texts of marked layers stand: beside their mark, on the side with room, and over no line."""

import numpy as np
import pandas as pd
import pytest

from core.report.charts.frame import Panel, Size
from core.report.charts.marked_layers import marked_layers

PANEL = Panel(0, 300, Size(1110))  # 1,000 pixels for the layers; a text is 0.05 high on an axis that ends at 1


def lines(values, band=0.0):
    values = np.asarray(values, dtype=float)
    names = [f"l{index}" for index in range(len(values))]
    return pd.DataFrame(
        {"layer": names, "series": "Test", "value": values, "low": values - band, "high": values + band}
    )


def placed(values, marked, *, band=0.0):
    table = lines(values, band)
    return marked_layers(table, table["layer"].tolist(), marked, 1.0, PANEL).set_index("layer")


def test_a_text_stands_beside_a_peak_at_the_end_of_a_rising_line():
    place = placed([0.1] * 19 + [0.9], {"l19": "best: l19 0.900"}).loc["l19"]
    assert place["side"] == "left"
    assert place["y"] == pytest.approx(0.9, abs=0.02)


def test_a_text_in_the_first_half_stands_to_the_right():
    place = placed([0.9] + [0.1] * 19, {"l0": "best"}).loc["l0"]
    assert (place["side"], round(place["y"], 1)) == ("right", 0.9)


@pytest.mark.parametrize("band", [0.0, 0.15])
def test_a_text_on_a_flat_line_covers_neither_line_nor_band(band):
    place = placed([0.5] * 20, {"l10": "best: l10 0.500"}, band=band).loc["l10"]
    assert 0.03 + band < abs(place["y"] - 0.5) < 0.12 + band


def test_two_texts_do_not_cover_each_other():
    places = placed([0.1] * 18 + [0.80, 0.81], {"l18": "last but one", "l19": "last"})
    assert abs(places.loc["l18", "y"] - places.loc["l19", "y"]) >= 0.05
    assert list(places.index) == ["l19", "l18"]


def test_where_nothing_is_free_the_text_stands_beside_its_mark():
    place = placed([0.5] * 20, {"l19": "best"}, band=0.5).loc["l19"]
    assert place["y"] == 0.5
