"""The charts of the page Samples: DataFrames in, an Altair chart out."""

from typing import Any

import altair as alt
import pandas as pd
from altair.utils.schemapi import debug_mode

from explorer.charts.layer_chart import GRAY, NAMES, UncheckedChart, framed, layer_x

PICKED = "picked"  # the chart's selection, as Streamlit reports it
PLANE_HEIGHT, ROW_HEIGHT = 420, 24
MAX_DOTS = 3000  # that a browser draws without delay
MAX_COLORS = 10
MAX_ROWS = 12  # classes in a path
OTHERS = "other classes"
SAME, OTHER, REFERENCE = "nearest is of the same class", "nearest is of another class", "a neighbor, of the other split"
SAYS = {SAME: "circle", OTHER: "cross", REFERENCE: "triangle-up"}
MARKED = {"selected": ("diamond", 260), "neighbor": ("square", 170)}


def drawn_dots(places: pd.DataFrame, keep: set[int]) -> pd.DataFrame:
    """The dots to draw: all, or every so many of them and those to keep.

    places : one row a sample. keep : samples that must not be left out.
    """
    if len(places) <= MAX_DOTS:
        return places
    step = -(-len(places) // MAX_DOTS)
    return places[(places.index % step == 0) | places["sample"].isin(keep)]


@debug_mode(False)
def plane_chart(dots: pd.DataFrame) -> UncheckedChart:
    """Samples on the plane; a click picks one.

    Parameters
    ----------
    dots : sample, id, x, y, class_name, nearest_class, says (of `SAYS`), shown (whether the filter lets it through),
        marked ("selected", "neighbor" or "").
    """
    rows = dots.assign(
        seen=dots["shown"].map({True: 0.85, False: 0.12}),
    )[["sample", "id", "x", "y", "class_name", "nearest_class", "says", "seen", "marked"]]
    said = [text for text in SAYS if (rows["says"] == text).any()]
    picked = alt.selection_point(name=PICKED, fields=["sample"], empty=False)
    axis = alt.Axis(labels=False, ticks=False, grid=False, title=None, domain=False)
    place = {
        "x": alt.X("x:Q", scale=alt.Scale(zero=False, padding=14), axis=axis),
        "y": alt.Y("y:Q", scale=alt.Scale(zero=False, padding=14), axis=axis),
    }
    titles = {"id": "Sample", "class_name": "Class", "nearest_class": "Nearest neighbor's class", "says": "Here"}
    tooltip = [alt.Tooltip(f"{name}:N", title=title) for name, title in titles.items()]
    shape = alt.Shape(
        "says:N",
        scale=alt.Scale(domain=said, range=[SAYS[text] for text in said]),
        legend=alt.Legend(
            title=None, orient="bottom", direction="horizontal", labelLimit=300, columns=1, symbolFillColor=GRAY
        ),
    )
    base = alt.Chart(rows)
    points = base.mark_point(filled=True, size=38, cursor="pointer", aria=False).encode(
        **place, shape=shape, color=_class_color(rows), opacity=alt.Opacity("seen:Q", scale=None), tooltip=tooltip
    )
    return framed(
        [points.add_params(picked), *_class_labels(rows, place), *_marks(rows, place, tooltip)], height=PLANE_HEIGHT
    )


@debug_mode(False)
def path_chart(path: pd.DataFrame, layers: pd.DataFrame, class_name: str, layer: str) -> UncheckedChart:
    """A sample's nearest neighbor at every layer: a row a class that it is of, the sample's own on top.

    Parameters
    ----------
    path : of `gallery.path_of`. layers : in network order. class_name : the sample's. layer : marked by a rule.
    """
    foreign = path.loc[path["nearest_class"] != class_name, "nearest_class"].value_counts().index.tolist()
    named = [class_name, *foreign[: MAX_ROWS - 1]]
    rows = path.assign(
        row=path["nearest_class"].where(path["nearest_class"].isin(named), OTHERS),
        says=path["agrees"].map({True: "same class", False: "other class"}),
        far=path["distance"].map("{:.4g}".format),
    )
    order = [*named, *([OTHERS] if (rows["row"] == OTHERS).any() else [])]
    known = layers[layers["layer"].isin(path["layer"])]
    titles = {
        "layer": "Layer",
        "nearest_id": "Nearest",
        "nearest_class": "Class",
        "says": "Which is the",
        "far": "Distance",
    }
    shape = alt.Shape(
        "says:N", scale=alt.Scale(domain=["same class", "other class"], range=["circle", "cross"]), legend=None
    )
    color = alt.Color("says:N", scale=alt.Scale(domain=["same class", "other class"]), legend=None)
    y = alt.Y("row:N", sort=order, scale=alt.Scale(domain=order), title=None, axis=alt.Axis(labelLimit=170, grid=True))
    rule = alt.Chart(pd.DataFrame({"layer": [layer]})).mark_rule(color=GRAY, strokeDash=[3, 3], aria=False)
    marks = alt.Chart(rows[["row", *titles]]).mark_point(filled=True, size=70, opacity=1, aria=False)
    return framed(
        [
            rule.encode(x=layer_x(known)),
            marks.encode(
                x=layer_x(known),
                y=y,
                shape=shape,
                color=color,
                tooltip=[alt.Tooltip(f"{name}:N", title=title) for name, title in titles.items()],
            ),
        ],
        height=max(ROW_HEIGHT * len(order), 60),
        params=[alt.VariableParameter(name=NAMES, value=tuple(known["layer"]))],
    )


def _class_color(rows: pd.DataFrame) -> Any:
    """A color a class where there are few; else one for all."""
    classes = sorted(rows["class_name"].unique())
    if len(classes) > MAX_COLORS:
        return alt.value("#3d8fd1")
    return alt.Color("class_name:N", scale=alt.Scale(domain=classes, scheme="tableau10"), legend=None)


def _class_labels(rows: pd.DataFrame, place: dict[str, Any]) -> list[alt.Chart]:
    """Each class's name in the middle of its samples, where there are few, so that no color must be looked up."""
    if rows["class_name"].nunique() > MAX_COLORS:
        return []
    middle = rows.groupby("class_name", as_index=False)[["x", "y"]].median()
    text: dict[str, Any] = {"fontSize": 14, "fontWeight": 700, "aria": False}
    base = alt.Chart(middle).encode(**place, text="class_name:N")
    return [
        base.mark_text(**text, stroke="white", strokeWidth=4, strokeJoin="round", color="white"),
        base.mark_text(**text, color="black"),
    ]


def _marks(rows: pd.DataFrame, place: dict[str, Any], tooltip: list[alt.Tooltip]) -> list[alt.Chart]:
    """The selected sample and its neighbors: by shape and outline, above all others."""
    charts = []
    for marked, (shape, size) in reversed(MARKED.items()):
        chosen = rows[rows["marked"] == marked]
        if len(chosen):
            for stroke, width in (("white", 5), ("#d9480f", 2.5)):
                mark = alt.Chart(chosen).mark_point(
                    filled=False, shape=shape, size=size, stroke=stroke, strokeWidth=width, opacity=1, aria=False
                )
                charts.append(mark.encode(**place, tooltip=tooltip))
    return charts
