"""The charts of the page Samples: DataFrames in, an Altair chart out."""

from typing import Any

import altair as alt
import pandas as pd
from altair.utils.schemapi import debug_mode

from core.report.charts.frame import UncheckedChart, framed
from core.report.charts.theme import GRAY

PLANE_HEIGHT = 420
MAX_DOTS = 3000  # of a picture
MAX_COLORS = 10
SAME, OTHER, REFERENCE = "nearest is of the same class", "nearest is of another class", "a neighbor, of the other split"
SHAPES = {SAME: "circle", OTHER: "cross", REFERENCE: "triangle-up"}
MARKS = {"selected": ("diamond", 260), "neighbor": ("square", 170)}  # shape and size


def drawn_dots(dots: pd.DataFrame, required: set[int]) -> pd.DataFrame:
    """The dots to draw: all of them, or an evenly spaced part of very many.

    Parameters
    ----------
    dots : DataFrame
        One row per sample.
    required : set of int
        Samples that must not be left out.
    """
    if len(dots) <= MAX_DOTS:
        return dots
    step = -(-len(dots) // MAX_DOTS)  # rounded up
    return dots[(dots.index % step == 0) | dots["sample"].isin(required)]


@debug_mode(False)
def plane_chart(dots: pd.DataFrame) -> UncheckedChart:
    """Samples on the plane, as a picture of the map that can be saved.

    Parameters
    ----------
    dots : DataFrame
        sample, id, x, y, class_name, nearest_class; agreement, a key of `SHAPES`; shown, whether the sample passes the
        filter; marked, "selected", "neighbor" or "".
    """
    rows = dots.assign(opacity=dots["shown"].map({True: 0.85, False: 0.12}))
    rows = rows[["sample", "id", "x", "y", "class_name", "nearest_class", "agreement", "opacity", "marked"]]
    agreements = [text for text in SHAPES if (rows["agreement"] == text).any()]
    axis = alt.Axis(labels=False, ticks=False, grid=False, title=None, domain=False)
    position = {
        "x": alt.X("x:Q", scale=alt.Scale(zero=False, padding=14), axis=axis),
        "y": alt.Y("y:Q", scale=alt.Scale(zero=False, padding=14), axis=axis),
    }
    titles = {"id": "Sample", "class_name": "Class", "nearest_class": "Nearest neighbor's class", "agreement": "Here"}
    tooltip = [alt.Tooltip(f"{name}:N", title=title) for name, title in titles.items()]
    shape = alt.Shape(
        "agreement:N",
        scale=alt.Scale(domain=agreements, range=[SHAPES[text] for text in agreements]),
        legend=alt.Legend(
            title=None, orient="bottom", direction="horizontal", labelLimit=300, columns=1, symbolFillColor=GRAY
        ),
    )
    base = alt.Chart(rows)
    points = base.mark_point(filled=True, size=38, aria=False).encode(
        **position, shape=shape, color=_class_color(rows), opacity=alt.Opacity("opacity:Q", scale=None), tooltip=tooltip
    )
    return framed(
        [points, *_class_labels(rows, position), *_marks(rows, position, tooltip)],
        height=PLANE_HEIGHT,
    )


def _class_color(rows: pd.DataFrame) -> Any:
    """One color per class if there are few; else one for all."""
    classes = sorted(rows["class_name"].unique())
    if len(classes) > MAX_COLORS:
        return alt.value("#3d8fd1")
    return alt.Color("class_name:N", scale=alt.Scale(domain=classes, scheme="tableau10"), legend=None)


def _class_labels(rows: pd.DataFrame, position: dict[str, Any]) -> list[alt.Chart]:
    """The name of each class in the middle of its samples, if there are few classes."""
    if rows["class_name"].nunique() > MAX_COLORS:
        return []
    middle = rows.groupby("class_name", as_index=False)[["x", "y"]].median()
    text: dict[str, Any] = {"fontSize": 14, "fontWeight": 700, "aria": False}
    base = alt.Chart(middle).encode(**position, text="class_name:N")
    return [
        base.mark_text(**text, stroke="white", strokeWidth=4, strokeJoin="round", color="white"),
        base.mark_text(**text, color="black"),
    ]


def _marks(rows: pd.DataFrame, position: dict[str, Any], tooltip: list[alt.Tooltip]) -> list[alt.Chart]:
    """Outlines around the selected sample and its neighbors, above all other marks."""
    charts = []
    for marked, (shape, size) in reversed(MARKS.items()):
        chosen = rows[rows["marked"] == marked]
        if len(chosen):
            for stroke, width in (("white", 5), ("#d9480f", 2.5)):  # a white margin, so that it stands out on dots
                mark = alt.Chart(chosen).mark_point(
                    filled=False, shape=shape, size=size, stroke=stroke, strokeWidth=width, opacity=1, aria=False
                )
                charts.append(mark.encode(**position, tooltip=tooltip))
    return charts
