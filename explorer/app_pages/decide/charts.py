"""The charts of the page Decide: DataFrames in, an Altair chart out."""

from collections.abc import Sequence

import altair as alt
import pandas as pd
from altair.utils.schemapi import debug_mode

from core.report.charts.frame import AXIS_WIDTH, UncheckedChart, framed, layer_x, names_parameter, upper_end
from core.report.charts.theme import GRAY

VERDICTS = {"within": "within the tolerance", "undecided": "cannot be decided", "worse": "worse than the tolerance"}
CUT_HEIGHT, RANKING_HEIGHT = 260, 320
NARROW = 450  # pixels; in a narrower chart, a row of names would be cut off
PICK = "pick"  # name of the selection that a click makes
_SHAPES = ["cross", "diamond", "circle"]  # of "worse", "undecided" and "within"


@debug_mode(False)
def cut_chart(layers: pd.DataFrame, chosen: str, tolerance: float) -> UncheckedChart:
    """SI of each layer minus that of the best layer, with intervals, colored by verdict.

    Dashed lines mark 0 and minus the tolerance. A click above or below a layer selects it, which the app reads under
    the name `PICK`.

    Parameters
    ----------
    layers : DataFrame
        The table of `core.analysis.cut.advice.Advice`.
    chosen : str
        The layer to mark.
    tolerance : float
        The accepted loss of SI.
    """
    columns = ["layer", "value", "difference", "difference_low", "difference_high", "meaning"]
    rows = layers.assign(meaning=layers["verdict"].map(VERDICTS))[columns]
    meanings = alt.Scale(domain=list(reversed(VERDICTS.values())))  # the third color, a green, means "within"
    x, title = layer_x(), "SI minus that of the best layer"
    bounds = pd.DataFrame({"difference": [0.0, -tolerance]})
    points = alt.Chart(rows).mark_point(size=60, filled=True, opacity=1)
    pick = alt.selection_point(name=PICK, on="click", clear=False, toggle=False, fields=["layer"], empty=False)
    hover = alt.selection_point(name="hover", on="pointerover", clear="pointerout", fields=["layer"], empty=False)
    tooltip = [
        alt.Tooltip("layer:N", title="Layer"),
        alt.Tooltip("value:Q", title="SI", format=".3~f"),
        alt.Tooltip("difference:Q", title="Difference", format=".3~f"),
    ]
    band = alt.Chart(rows).mark_rect(color=GRAY, cursor="pointer", aria=False)
    return framed(
        [
            alt.Chart(bounds).mark_rule(color=GRAY, strokeDash=[4, 3]).encode(y="difference:Q"),
            alt.Chart(rows.loc[rows["layer"] == chosen, ["layer"]])
            .mark_rule(color=GRAY, strokeWidth=8, opacity=0.3)
            .encode(x=x),
            alt.Chart(rows).mark_rule(color=GRAY).encode(x=x, y=alt.Y("difference_low:Q"), y2="difference_high:Q"),
            points.encode(
                x=x,
                y=alt.Y("difference:Q", title=title),
                color=alt.Color("meaning:N", scale=meanings, legend=_legend()),
                shape=alt.Shape("meaning:N", scale=alt.Scale(domain=meanings.domain, range=_SHAPES), legend=_legend()),
            ),
            band.encode(x=x, opacity=alt.condition(hover, alt.value(0.22), alt.value(0)), tooltip=tooltip).add_params(
                pick, hover
            ),
        ],
        height=CUT_HEIGHT,
        params=[names_parameter(rows["layer"])],
    )


@debug_mode(False)
def ranking_chart(layers: pd.DataFrame, networks: Sequence[str]) -> UncheckedChart:
    """SI against time per image up to the layer: one dot per candidate layer, a ring around each network's chosen one.

    Parameters
    ----------
    layers : DataFrame
        The table of `core.analysis.ranking.ranking.Ranking`.
    networks : sequence of str
        The networks, the best first.
    """
    rows = layers.assign(milliseconds=1000 * layers["seconds"])
    rows = rows[["network", "layer", "value", "chosen", "milliseconds"]]
    names = alt.Scale(domain=list(networks))
    x = alt.X("milliseconds:Q", title="Milliseconds per image, up to the layer")
    axis = alt.Axis(title="Separation Index", tickCount=6, minExtent=AXIS_WIDTH)
    y = alt.Y("value:Q", scale=alt.Scale(domain=[0, upper_end(rows[["value"]].to_numpy(float))]), axis=axis)
    dots = alt.Chart(rows).mark_point(size=60, filled=True, opacity=0.9)
    rings = alt.Chart(rows[rows["chosen"].astype(bool)])
    return framed(
        [
            dots.encode(
                x=x,
                y=y,
                color=alt.Color("network:N", scale=names, legend=_legend()),
                shape=alt.Shape("network:N", scale=names, legend=_legend()),
                tooltip=[
                    alt.Tooltip("network:N", title="Network"),
                    alt.Tooltip("layer:N", title="Layer"),
                    alt.Tooltip("value:Q", title="SI", format=".3~f"),
                    alt.Tooltip("milliseconds:Q", title="ms per image", format=".3~f"),
                ],
            ),
            rings.mark_point(size=190, filled=False, strokeWidth=2, color=GRAY).encode(x=x, y=y),
        ],
        height=RANKING_HEIGHT,
    )


def _legend() -> alt.Legend:
    """A legend above the chart, without a title: a row, or a column in a window as narrow as a phone's."""
    columns = alt.ExprRef(f"containerSize()[0] < {NARROW} ? 1 : 0")
    return alt.Legend(orient="top", title=None, labelLimit=260, symbolOpacity=1, columns=columns)
