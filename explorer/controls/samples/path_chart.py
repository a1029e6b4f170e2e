"""The chart of one sample through the network: DataFrames in, an Altair chart out."""

import altair as alt
import pandas as pd
from altair.utils.schemapi import debug_mode

from core.report.charts.frame import UncheckedChart, framed, layer_x, names_parameter
from core.report.charts.theme import GRAY

ROW_HEIGHT = 24
MAX_ROWS = 12  # classes
OTHERS = "other classes"


@debug_mode(False)
def path_chart(path: pd.DataFrame, layers: pd.DataFrame, class_name: str, layer: str) -> UncheckedChart:
    """The class of a sample's nearest neighbor at every layer: one row per class, the sample's own on top.

    Parameters
    ----------
    path : DataFrame
        Of `core.analysis.samples.paths.nearest_path`.
    layers : DataFrame
        The study's layers, in network order.
    class_name : str
        The sample's class.
    layer : str
        The layer to mark by a vertical line.
    """
    other_classes = path.loc[path["nearest_class"] != class_name, "nearest_class"].value_counts().index.tolist()
    order = [class_name, *other_classes[: MAX_ROWS - 1]]
    rows = path.assign(
        row=path["nearest_class"].where(path["nearest_class"].isin(order), OTHERS),
        agreement=path["same_label"].map({True: "same class", False: "other class"}),
        distance_text=path["distance"].map("{:.4g}".format),
    )
    if (rows["row"] == OTHERS).any():
        order.append(OTHERS)
    known = layers[layers["layer"].isin(path["layer"])]
    titles = {
        "layer": "Layer",
        "nearest_id": "Nearest",
        "nearest_class": "Class",
        "agreement": "Agreement",
        "distance_text": "Distance",
    }
    shape = alt.Shape(
        "agreement:N", scale=alt.Scale(domain=["same class", "other class"], range=["circle", "cross"]), legend=None
    )
    color = alt.Color("agreement:N", scale=alt.Scale(domain=["same class", "other class"]), legend=None)
    y = alt.Y("row:N", sort=order, scale=alt.Scale(domain=order), title=None, axis=alt.Axis(labelLimit=170, grid=True))
    rule = alt.Chart(pd.DataFrame({"layer": [layer]})).mark_rule(color=GRAY, strokeDash=[3, 3], aria=False)
    marks = alt.Chart(rows[["row", *titles]]).mark_point(filled=True, size=70, opacity=1, aria=False)
    return framed(
        [
            rule.encode(x=layer_x()),
            marks.encode(
                x=layer_x(),
                y=y,
                shape=shape,
                color=color,
                tooltip=[alt.Tooltip(f"{name}:N", title=title) for name, title in titles.items()],
            ),
        ],
        height=max(ROW_HEIGHT * len(order), 60),
        params=[names_parameter(known["layer"])],
    )
