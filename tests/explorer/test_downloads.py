"""What the menu under a chart saves."""

import altair as alt
import pandas as pd

from core.report.charts.frame import framed, spec_and_tables
from explorer.controls.downloads import Picture


def chart():
    table = pd.DataFrame({"x": [1.0, 2.0], "y": [0.5, float("nan")]})
    return framed([alt.Chart(table).mark_point().encode(x="x:Q", y="y:Q")], height=80)


def test_a_picture_is_light_and_as_wide_as_a_page_with_its_data():
    for shown in (chart(), spec_and_tables(chart())):
        spec = Picture(shown, "title", "caption").spec()
        assert spec["width"] == 960
        assert spec["config"]["legend"]["labelColor"] == "#1f2933"
        assert spec["config"]["view"].items() >= {"stroke": None, "strokeWidth": 0}.items()
        (rows,) = spec["datasets"].values()
        assert rows == [{"x": 1.0, "y": 0.5}, {"x": 2.0, "y": None}]


def test_a_picture_can_be_saved_twice_with_texts_without_markup():
    picture = Picture(chart(), r"**Best** at `top\_conv`", r"class a\*b, [Method](method)")
    first, second = picture.file("svg"), picture.file("svg")
    assert first == second
    assert b">Best at top_conv</text>" in first
    assert b">class a*b, Method</text>" in first
