"""The names of blocks below a chart: how long, in which row, and none over another."""

import pandas as pd
import pytest

from core.report.charts.block_names import WIDTHS, placed_names

BLOCKS = ["block1a", "block1a", "block1b", "block1b", "block1b", "top"]


def at(width: float, blocks: list[str] = BLOCKS) -> pd.DataFrame:
    layers = pd.DataFrame({"layer": [f"layer{number}" for number in range(len(blocks))], "block": blocks})
    names = placed_names(layers)
    return names[(names["low"] <= width) & (width < names["high"])]


@pytest.mark.parametrize(
    ("width", "rows"),
    [
        (90, {0: ["layer0", "layer1", "layer2", "layer3", "layer4", "layer5"]}),
        (26, {0: ["layer0", "layer2", "layer4"], 1: ["layer1", "layer3", "layer5"]}),  # 40 pixels each, and 4 between
        (21, {0: ["block1a", "block1b", "top"]}),
        (12, {0: ["1a", "1b", "block", "top"]}),  # block1a would reach from -11 to 35 pixels, block1b from 19 on
        (3, {0: ["1", "block"], 1: ["top"]}),
    ],
)
def test_names_are_as_long_as_there_is_room_for(width, rows):
    names = at(width)
    assert names.groupby("row")["text"].apply(sorted).to_dict() == rows


def test_a_name_stands_in_the_middle_of_its_block():
    names = at(21).set_index("text")
    assert names.loc["block1a", ["layer", "part"]].tolist() == ["layer0", 1.0]  # between the two
    assert names.loc["block1b", ["layer", "part"]].tolist() == ["layer3", 0.5]


def test_layers_are_named_where_each_is_a_block():
    assert at(90, ["a", "b", "c"])["text"].tolist() == ["layer0", "layer1", "layer2"]
    assert at(WIDTHS[0], ["a", "b", "c"])["row"].tolist() == [0, 1, 2]
