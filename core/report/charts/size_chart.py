"""The chart of SI of one layer over sample size."""

import altair as alt
import pandas as pd
from altair.utils.schemapi import debug_mode

from core.report.charts.frame import PAGE, Size, UncheckedChart, framed, upper_end

HEIGHT = 240


@debug_mode(False)
def sizes_chart(curve: pd.DataFrame, *, size: Size = PAGE) -> UncheckedChart:
    """The mean of the draws as points, and the fitted curve with its band, dashed where it is extrapolated.

    Parameters
    ----------
    curve : DataFrame
        Rows of the table `curves` of a study, of the kinds observed, fitted and extrapolated.
    size : Size
    """
    rows = curve[["size", "kind", "value", "low", "high"]].astype({"kind": str})
    observed = rows["kind"] == "observed"
    axis = alt.Axis(title="Samples", tickCount=6, grid=False, labelOverlap=True)
    x = alt.X("size:Q", scale=alt.Scale(type="log"), axis=axis)
    top = upper_end(rows[["value", "high"]].to_numpy(float))
    y_axis = alt.Axis(title="Separation Index", tickCount=6)
    y = alt.Y("value:Q", scale=alt.Scale(domain=[0, top]), axis=y_axis)
    dash = alt.StrokeDash(
        "kind:N", legend=None, scale=alt.Scale(domain=["fitted", "extrapolated"], range=[[1, 0], [5, 4]])
    )
    tooltip = [
        alt.Tooltip("size:Q", title="Samples", format=","),
        alt.Tooltip("kind:N", title="Kind"),
        alt.Tooltip("value:Q", title="SI", format=".3f"),
    ]
    fitted = alt.Chart(rows[~observed]).encode(x=x)
    points = alt.Chart(rows[observed]).mark_point(filled=True, size=60, opacity=1)
    return framed(
        [
            fitted.mark_area(opacity=0.16, line=False).encode(y=alt.Y("low:Q"), y2="high:Q"),
            fitted.mark_line(strokeWidth=2).encode(y=y, strokeDash=dash),
            points.encode(x=x, y=y, tooltip=tooltip),
        ],
        height=size(HEIGHT),
        size=size,
    )
