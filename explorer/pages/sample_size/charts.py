"""The charts of SI over sample size: DataFrames in, an Altair chart out."""

from collections.abc import Mapping
from typing import Any

import altair as alt
import pandas as pd

from explorer.charts.labels import spread
from explorer.charts.layer_chart import GRAY, LABEL_HEIGHT, framed, upper_end
from explorer.pages.sample_size.tables import QUERIES, SUBSAMPLE

HEIGHT = 340
TITLES = {
    SUBSAMPLE: "Samples, each the others' possible neighbor",
    QUERIES: "Queries, all samples being possible neighbors",
}
TOOLTIP = {
    "layer": "Layer",
    "size_text": "Size",
    "value_text": "SI, mean",
    "range_text": "Lowest to highest",
    "interval_text": "95 % interval of one draw",
    "chance_text": "Chance",
}

Encodings = Mapping[str, Any]


def size_top(lines: pd.DataFrame, ends: pd.DataFrame, curves: pd.DataFrame | None = None) -> float:
    """The end of the y axis that both charts share, so that they can be compared."""
    parts = [lines[["value", "highest", "high", "chance"]], ends[["value", "chance"]]]
    parts += [curves[["value", "high"]]] if curves is not None else []
    drawn = pd.concat([part for part in parts if len(part)])
    return upper_end(drawn.to_numpy(float))


def size_chart(
    lines: pd.DataFrame, ends: pd.DataFrame, sampling: str, *, top: float, curves: pd.DataFrame | None = None
) -> alt.LayerChart:
    """Draw one way of subsampling: mean and range of the repeats for each layer, and the value of all samples.

    Parameters
    ----------
    lines, ends : of `size_lines` and `size_ends`; at least one line of this sampling.
    sampling : "subsample" draws a learning curve that ends at all samples; "queries" values around that of all.
    top : end of the y axis.
    curves : of `fitted_lines`; drawn dashed, on a logarithmic axis, where there are any.
    """
    curves = curves if curves is not None else pd.DataFrame({"layer": [], "size": [], "value": []})
    layers = list(dict.fromkeys(lines.sort_values("position")["layer"]))
    rows = _with_texts(lines[lines["sampling"] == sampling])
    sizes = sorted({*rows["size"].tolist(), *ends["size"].tolist()})
    scale, shown = alt.Scale(domain=[0, sizes[-1]], nice=False), sizes
    if len(curves):
        shown = sorted({*sizes, int(curves["size"].max())})
        scale = alt.Scale(type="log", domain=[0.9 * sizes[0], shown[-1]], nice=False)
    axis = alt.Axis(title=TITLES[sampling], values=shown, format=",d", labelOverlap="greedy", grid=False)
    place = {
        "x": alt.X("size:Q", scale=scale, axis=axis),
        "y": alt.Y("value:Q", scale=alt.Scale(domain=[0, top]), axis=alt.Axis(title=None, tickCount=6)),
        "color": alt.Color("layer:N", scale=alt.Scale(domain=layers), legend=None),
    }
    ground = _whiskers(rows, place) + _full_rules(ends, place) if sampling == QUERIES else []
    joined = pd.concat([rows, ends]) if sampling == SUBSAMPLE else rows
    marks = [*_chance(joined, ends, place), *_bands(rows, place), *ground, *_fitted(curves, place)]
    marks += _lines(joined, rows, ends, place)
    return framed([*marks, *_names(rows, ends, curves, place, top)], height=HEIGHT)


def _fitted(curves: pd.DataFrame, place: Encodings) -> list[alt.Chart]:
    """The fitted curve dashed, and how sure it is beyond the sizes that it was fitted to."""
    if curves.empty:
        return []
    curves = curves[["layer", "kind", "size", "value", "low", "high"]]
    beyond = curves[(curves["kind"] == "extrapolated") & curves["low"].notna()]
    band = alt.Chart(beyond).mark_area(opacity=0.1, line=False, aria=False)
    line = alt.Chart(curves).mark_line(strokeDash=[5, 3], strokeWidth=1.5, aria=False)
    return [band.encode(**{**place, "y": alt.Y("low:Q"), "y2": "high:Q"}), line.encode(**place)]


def _bands(rows: pd.DataFrame, place: Encodings) -> list[alt.Chart]:
    """From the lowest to the highest repeat."""
    band = alt.Chart(rows).mark_area(opacity=0.15, line=False, aria=False)
    return [band.encode(**{**place, "y": alt.Y("lowest:Q"), "y2": "highest:Q"})]


def _whiskers(rows: pd.DataFrame, place: Encodings) -> list[alt.Chart]:
    """The 95 % interval of one draw."""
    rule = alt.Chart(rows[rows["low"].notna()]).mark_rule(strokeWidth=1.2, aria=False)
    return [rule.encode(**{**place, "y": alt.Y("low:Q"), "y2": "high:Q"})]


def _full_rules(ends: pd.DataFrame, place: Encodings) -> list[alt.Chart]:
    """The SI of all samples, which the queries estimate."""
    rule = alt.Chart(ends).mark_rule(strokeDash=[2, 3], strokeWidth=1, aria=False)
    return [rule.encode(y=place["y"], color=place["color"])]


def _lines(joined: pd.DataFrame, rows: pd.DataFrame, ends: pd.DataFrame, place: Encodings) -> list[alt.Chart]:
    """Means, with tooltips, and all samples as a diamond at the right end."""
    return [
        alt.Chart(joined).mark_line(strokeWidth=2, aria=False).encode(**place),
        alt.Chart(rows).mark_point(filled=True, size=45, opacity=1).encode(**place, tooltip=_tooltip(rows)),
        alt.Chart(_with_texts(ends))
        .mark_point(shape="diamond", filled=True, size=90, opacity=1)
        .encode(**place, tooltip=_tooltip(_with_texts(ends))),
    ]


def _tooltip(rows: pd.DataFrame) -> list[alt.Tooltip]:
    return [alt.Tooltip(f"{name}:N", title=title) for name, title in TOOLTIP.items() if (rows[name] != "").any()]


def _chance(joined: pd.DataFrame, ends: pd.DataFrame, place: Encodings) -> list[alt.Chart]:
    """Chance by size, which differs a little where classes are drawn in other shares."""
    by_size = joined.groupby("size", as_index=False)["chance"].mean().dropna()
    if by_size.empty:
        return []
    line = alt.Chart(by_size.assign(value=by_size["chance"])).mark_line(strokeDash=[6, 4], strokeWidth=1.2, color=GRAY)
    return [line.encode(x=place["x"], y=place["y"])]


def _names(
    rows: pd.DataFrame, ends: pd.DataFrame, curves: pd.DataFrame, place: Encodings, top: float
) -> list[alt.Chart]:
    """Layers' names and chance beside the right end, moved apart where they would overlap."""
    drawn = pd.concat([part for part in (rows, ends, curves) if len(part)])
    last = drawn.sort_values("size").groupby("layer", as_index=False).tail(1)
    names = last[["layer", "value"]].assign(text=last["layer"])
    level = drawn["chance"].mean()
    chance = {"layer": [None], "value": [level], "text": [f"chance {level:.2g}"]}
    labels = pd.concat([names, pd.DataFrame(chance)]).dropna(subset=["value"]).sort_values("value", ignore_index=True)
    labels = labels.assign(value=spread(labels["value"].to_list(), top * LABEL_HEIGHT / HEIGHT, top))
    text: dict[str, Any] = {"align": "left", "baseline": "middle", "dx": 10, "fontSize": 12, "limit": 150}
    at = {"x": alt.value("width"), "y": place["y"], "text": "text:N"}
    named = labels["layer"].notna()
    return [
        alt.Chart(labels[named]).mark_text(fontWeight=600, **text).encode(color=place["color"], **at),
        alt.Chart(labels[~named]).mark_text(color=GRAY, **text).encode(**at),
    ]


def _with_texts(rows: pd.DataFrame) -> pd.DataFrame:
    """The numbers as a tooltip says them."""

    def span(low: str, high: str) -> pd.Series:
        if low not in rows:
            return pd.Series("", index=rows.index)
        text = rows[low].map("{:.3f}".format) + " to " + rows[high].map("{:.3f}".format)
        return text.where(rows[low].notna(), "")

    return rows.assign(
        size_text=rows["size"].map("{:,}".format),
        value_text=rows["value"].map("{:.3f}".format),
        range_text=span("lowest", "highest"),
        interval_text=span("low", "high"),
        chance_text=rows["chance"].map("{:.4f}".format).where(rows["chance"].notna(), ""),
    )
