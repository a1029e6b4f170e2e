"""The chart of SI of each class at one layer."""

import altair as alt
import pandas as pd
from altair.utils.schemapi import debug_mode

from core.report.charts.frame import PAGE, Size, UncheckedChart, framed
from core.report.charts.theme import GRAY

ROW_HEIGHT = 17


@debug_mode(False)
def class_chart(classes: pd.DataFrame, *, size: Size = PAGE) -> UncheckedChart:
    """One bar a class, in the order of the rows, with a tick at chance.

    Parameters
    ----------
    classes : DataFrame
        With the columns class_name, num_queries, value, chance.
    size : Size
    """
    rows = classes[["class_name", "value", "chance", "num_queries"]].astype({"class_name": str})
    order = rows["class_name"].tolist()
    axis = alt.Axis(labelLimit=170, ticks=False, domain=False, labelOverlap=False)
    y = alt.Y("class_name:N", sort=None, scale=alt.Scale(domain=order), title=None, axis=axis)
    x_axis = alt.Axis(orient="top", tickCount=5)
    x = alt.X("value:Q", scale=alt.Scale(domain=[0, 1]), title="Separation Index", axis=x_axis)
    tooltip = [
        alt.Tooltip("class_name:N", title="Class"),
        alt.Tooltip("value:Q", title="SI", format=".3f"),
        alt.Tooltip("chance:Q", title="Chance", format=".4f"),
        alt.Tooltip("num_queries:Q", title="Samples", format=","),
    ]
    base = alt.Chart(rows).encode(y=y)
    bars = base.mark_bar(opacity=0.75).encode(x=x, tooltip=tooltip)
    ticks = base.mark_tick(color=GRAY, thickness=2).encode(x="chance:Q")
    return framed([bars, ticks], height=size(ROW_HEIGHT) * len(order), size=size)
