"""The charts of the page Sample size: DataFrames in, an Altair chart out."""

from collections.abc import Mapping
from typing import Any

import altair as alt
import pandas as pd

from core.report.charts.frame import LABEL_HEIGHT, UncheckedChart, framed, soft_text, upper_end
from core.report.charts.labels import spread
from core.report.charts.theme import GRAY
from explorer.app_pages.sample_size.tables import QUERIES, SUBSAMPLE

HEIGHT = 340
TITLES = {
    SUBSAMPLE: "Samples (queries and possible neighbors)",
    QUERIES: "Queries (all samples are possible neighbors)",
}
TOOLTIP = {
    "layer": "Layer",
    "size_text": "Size",
    "value_text": "SI, mean",
    "range_text": "Lowest to highest",
    "interval_text": "95% interval of one draw",
    "chance_text": "Chance",
}

Encodings = Mapping[str, Any]


def size_top(lines: pd.DataFrame, ends: pd.DataFrame, curves: pd.DataFrame | None = None) -> float:
    """The end of the y axis, for both charts, so that they can be compared; see `size_chart`."""
    parts = [lines[["value", "highest", "high", "chance"]], ends[["value", "chance"]]]
    if curves is not None:
        parts.append(curves[["value", "high"]])
    drawn = pd.concat([part for part in parts if len(part)])
    return upper_end(drawn.to_numpy(float))


def size_chart(
    lines: pd.DataFrame, ends: pd.DataFrame, sampling: str, *, top: float, curves: pd.DataFrame | None = None
) -> UncheckedChart:
    """SI over sample size for one kind of sampling: mean and range of the draws, and the value of all samples.

    Parameters
    ----------
    lines, ends : DataFrame
        Of `size_lines` and `size_ends`; at least one line of this sampling.
    sampling : str
        "subsample" for a learning curve that ends at all samples; "queries" for estimates of the value of all samples.
    top : float
        Of `size_top`.
    curves : DataFrame, optional
        Of `fitted_lines`; if there are any, they are drawn dashed, and the x axis is logarithmic.
    """
    if curves is None:
        curves = pd.DataFrame({"layer": [], "size": [], "value": []})
    layers = list(dict.fromkeys(lines.sort_values("position")["layer"]))
    rows = _with_texts(lines[lines["sampling"] == sampling])
    sizes = sorted({*rows["size"].tolist(), *ends["size"].tolist()})
    scale, ticks = alt.Scale(domain=[0, sizes[-1]], nice=False), sizes
    if len(curves):
        ticks = sorted({*sizes, int(curves["size"].max())})
        scale = alt.Scale(type="log", domain=[0.9 * sizes[0], ticks[-1]], nice=False)
    axis = alt.Axis(title=TITLES[sampling], values=ticks, format=",d", labelOverlap="greedy", grid=False)
    encodings = {
        "x": alt.X("size:Q", scale=scale, axis=axis),
        "y": alt.Y("value:Q", scale=alt.Scale(domain=[0, top]), axis=alt.Axis(title=None, tickCount=6)),
        "color": alt.Color("layer:N", scale=alt.Scale(domain=layers), legend=None),
    }
    ground = _whiskers(rows, encodings) + _full_rules(ends, encodings) if sampling == QUERIES else []
    joined = pd.concat([rows, ends]) if sampling == SUBSAMPLE else rows
    marks = [*_chance(joined, encodings), *_bands(rows, encodings), *ground, *_fitted(curves, encodings)]
    marks += _lines(joined, rows, ends, encodings)
    return framed([*marks, *_names(rows, ends, curves, encodings, top)], height=HEIGHT)


def _fitted(curves: pd.DataFrame, encodings: Encodings) -> list[alt.Chart]:
    """The fitted curves, dashed, with a band beyond the sizes that they were fitted to."""
    if curves.empty:
        return []
    curves = curves[["layer", "kind", "size", "value", "low", "high"]]
    beyond = curves[(curves["kind"] == "extrapolated") & curves["low"].notna()]
    band = alt.Chart(beyond).mark_area(opacity=0.1, line=False, aria=False)
    line = alt.Chart(curves).mark_line(strokeDash=[5, 3], strokeWidth=1.5, aria=False)
    return [band.encode(**{**encodings, "y": alt.Y("low:Q"), "y2": "high:Q"}), line.encode(**encodings)]


def _bands(rows: pd.DataFrame, encodings: Encodings) -> list[alt.Chart]:
    """Bands from the lowest to the highest draw."""
    band = alt.Chart(rows).mark_area(opacity=0.15, line=False, aria=False)
    return [band.encode(**{**encodings, "y": alt.Y("lowest:Q"), "y2": "highest:Q"})]


def _whiskers(rows: pd.DataFrame, encodings: Encodings) -> list[alt.Chart]:
    """Vertical lines for the 95% interval of one draw."""
    rule = alt.Chart(rows[rows["low"].notna()]).mark_rule(strokeWidth=1.2, aria=False)
    return [rule.encode(**{**encodings, "y": alt.Y("low:Q"), "y2": "high:Q"})]


def _full_rules(ends: pd.DataFrame, encodings: Encodings) -> list[alt.Chart]:
    """Horizontal lines at the SI of all samples, which the queries estimate."""
    rule = alt.Chart(ends).mark_rule(strokeDash=[2, 3], strokeWidth=1, aria=False)
    return [rule.encode(y=encodings["y"], color=encodings["color"])]


def _lines(joined: pd.DataFrame, rows: pd.DataFrame, ends: pd.DataFrame, encodings: Encodings) -> list[alt.Chart]:
    """The means of the draws with tooltips, and diamonds for all samples."""
    return [
        alt.Chart(joined).mark_line(strokeWidth=2, aria=False).encode(**encodings),
        alt.Chart(rows).mark_point(filled=True, size=45, opacity=1).encode(**encodings, tooltip=_tooltip(rows)),
        alt.Chart(_with_texts(ends))
        .mark_point(shape="diamond", filled=True, size=90, opacity=1)
        .encode(**encodings, tooltip=_tooltip(_with_texts(ends))),
    ]


def _tooltip(rows: pd.DataFrame) -> list[alt.Tooltip]:
    return [alt.Tooltip(f"{name}:N", title=title) for name, title in TOOLTIP.items() if (rows[name] != "").any()]


def _chance(joined: pd.DataFrame, encodings: Encodings) -> list[alt.Chart]:
    """Chance by size; it varies slightly, because the shares of the classes in a draw do."""
    by_size = joined.groupby("size", as_index=False)["chance"].mean().dropna()
    if by_size.empty:
        return []
    line = alt.Chart(by_size.assign(value=by_size["chance"])).mark_line(strokeDash=[6, 4], strokeWidth=1.2, color=GRAY)
    return [line.encode(x=encodings["x"], y=encodings["y"])]


def _names(
    rows: pd.DataFrame, ends: pd.DataFrame, curves: pd.DataFrame, encodings: Encodings, top: float
) -> list[alt.Chart]:
    """The names of the layers and of chance at the right ends of the lines, moved apart where they would overlap."""
    drawn = pd.concat([part for part in (rows, ends, curves) if len(part)])
    last = drawn.sort_values("size").groupby("layer", as_index=False).tail(1)
    names = last[["layer", "value"]].assign(text=last["layer"])
    level = drawn["chance"].mean()
    chance = {"layer": [None], "value": [level], "text": [f"chance {level:.2g}"]}
    labels = pd.concat([names, pd.DataFrame(chance)]).dropna(subset=["value"]).sort_values("value", ignore_index=True)
    labels = labels.assign(value=spread(labels["value"].to_list(), top * LABEL_HEIGHT / HEIGHT, top))
    text: dict[str, Any] = {"align": "left", "baseline": "middle", "dx": 10, "fontSize": 12, "limit": 150}
    at_right_end = {"x": alt.value("width"), "y": encodings["y"], "text": "text:N"}
    is_layer = labels["layer"].notna()
    return [
        alt.Chart(labels[is_layer]).mark_text(fontWeight=600, **text).encode(color=encodings["color"], **at_right_end),
        alt.Chart(labels[~is_layer]).mark_text(color=soft_text(), **text).encode(**at_right_end),
    ]


def _with_texts(rows: pd.DataFrame) -> pd.DataFrame:
    """Add the columns of the tooltip: the numbers as texts."""

    def range_texts(low: str, high: str) -> pd.Series:
        if low not in rows:
            return pd.Series("", index=rows.index)
        text = rows[low].map("{:.3f}".format) + " to " + rows[high].map("{:.3f}".format)
        return text.where(rows[low].notna(), "")

    return rows.assign(
        size_text=rows["size"].map("{:,}".format),
        value_text=rows["value"].map("{:.3f}".format),
        range_text=range_texts("lowest", "highest"),
        interval_text=range_texts("low", "high"),
        chance_text=rows["chance"].map("{:.4f}".format).where(rows["chance"].notna(), ""),
    )
