"""The share of the time that a cut saves: worked out by hand, and told only where the rounds agree."""

import pandas as pd
import pytest

from core.analysis.cut.time_saved import time_saved, time_saved_text

SECONDS = {"stem": 2.0, "top": 10.0}


def test_the_share_is_the_median_of_the_rounds_with_their_range():
    rounds = {"stem": [2.0, 6.0, 2.4], "top": [10.0, 20.0, 10.0]}  # 80, 70 and 76% saved
    table = time_saved(SECONDS, rounds, ["stem", "middle", "top"])
    row = table.loc["stem"]
    assert row["seconds"] == 2.0
    assert row[["seconds_saved", "seconds_saved_low", "seconds_saved_high"]].tolist() == pytest.approx([0.76, 0.7, 0.8])
    assert row["timing_rounds"] == 3
    assert time_saved_text(row) == "76% of the time (70 to 80% in 3 rounds)"
    assert table.loc["middle"].isna().all()
    assert time_saved_text(table.loc["middle"]) == ""
    assert time_saved_text(table.loc["top"]) == "0% of the time (0 to 0% in 3 rounds)"


def test_rounds_that_differ_too_much_cannot_tell_the_share():
    """0, 76 and 11% of the time: three runs on a busy machine."""
    rounds = {"stem": [10.0, 2.4, 8.9], "top": [10.0, 10.0, 10.0]}
    row = time_saved(SECONDS, rounds, ["stem"]).loc["stem"]
    assert pd.isna(row["seconds_saved"])
    assert (row["seconds_saved_low"], row["seconds_saved_high"]) == pytest.approx((0, 0.76))
    assert time_saved_text(row) == "a share of the time that cannot be told (0 to 76% in 3 rounds)"


@pytest.mark.parametrize("rounds", [{"stem": [2.0], "top": [10.0]}, {"stem": [2.0, 2.0], "top": [10.0, 10.0]}])
def test_too_few_rounds_have_no_range_and_the_text_says_so(rounds):
    row = time_saved(SECONDS, rounds, ["stem"]).loc["stem"]
    assert row["seconds_saved"] == pytest.approx(0.8)
    assert row[["seconds_saved_low", "seconds_saved_high", "timing_rounds"]].isna().all()
    assert time_saved_text(row) == "80% of the time (measured without a range)"


def test_the_pixels_alone_take_no_time_of_which_a_share_could_be_saved():
    table = time_saved({"input": 0.0}, {"input": [0.0] * 5}, ["input"])
    assert table.isna().all(axis=None)
    row = time_saved(SECONDS | {"input": 0.0}, {name: [1.0] for name in SECONDS}, ["input"]).loc["input"]
    assert time_saved_text(row) == "100% of the time (measured without a range)"
