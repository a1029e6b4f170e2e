"""The charts of the page Decide: DataFrames in, Vega-Lite specifications out."""

from collections.abc import Sequence
from typing import Any

import pandas as pd

from core.report.marks import GRAY, Spec, layer_axis, legend, page_wide, records, si_axis

VERDICTS = {"within": "within the tolerance", "undecided": "cannot be decided", "worse": "worse than the tolerance"}
_SHAPES = ["circle", "diamond", "cross"]


def cut_chart(layers: pd.DataFrame, chosen: str, tolerance: float) -> Spec:
    """SI of each layer minus that of the best layer, with intervals, colored by verdict.

    Dashed lines mark 0 and minus the tolerance.

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
    rows = records(layers.assign(meaning=layers["verdict"].map(VERDICTS)), columns)
    order, meanings = layers["layer"].tolist(), list(VERDICTS.values())
    x = {"field": "layer", "type": "nominal", "sort": None, "scale": {"domain": order}, "axis": layer_axis()}
    y = {"field": "difference", "type": "quantitative", "title": "SI minus that of the best layer"}
    meaning = {"field": "meaning", "type": "nominal", "scale": {"domain": meanings}}
    bounds = [
        {"mark": {"type": "rule", "color": GRAY, "strokeDash": [4, 3]}, "encoding": {"y": {"datum": bound}, "x": None}}
        for bound in (0, -tolerance)
    ]
    return page_wide(
        {
            "data": {"values": rows},
            "height": 260,
            "encoding": {"x": x},
            "layer": [
                *bounds,
                {
                    "transform": [{"filter": {"field": "layer", "equal": chosen}}],
                    "mark": {"type": "rule", "color": GRAY, "strokeWidth": 8, "opacity": 0.3},
                },
                {
                    "mark": {"type": "rule", "color": GRAY},
                    "encoding": {"y": {**y, "field": "difference_low"}, "y2": {"field": "difference_high"}},
                },
                {
                    "mark": {"type": "point", "size": 60, "filled": True, "opacity": 1},
                    "encoding": {
                        "y": y,
                        "color": {**meaning, "legend": legend()},
                        "shape": {**meaning, "scale": {"domain": meanings, "range": _SHAPES}},
                        "tooltip": _tooltip({"value": "SI", "difference": "Difference"}, "layer"),
                    },
                },
            ],
        }
    )


def ranking_chart(layers: pd.DataFrame, networks: Sequence[str]) -> Spec:
    """SI against time per image up to the layer: one dot per candidate layer, a ring around each network's chosen one.

    Parameters
    ----------
    layers : DataFrame
        The table of `core.analysis.ranking.ranking.Ranking`.
    networks : sequence of str
        The networks, the best first.
    """
    columns = ["network", "layer", "value", "seconds", "chosen"]
    rows = records(layers.assign(milliseconds=1000 * layers["seconds"]), [*columns, "milliseconds"])
    name = {"field": "network", "type": "nominal", "scale": {"domain": list(networks)}}
    y = si_axis([row["value"] for row in rows if row["value"] is not None])
    x = {"field": "milliseconds", "type": "quantitative", "title": "Milliseconds per image, up to the layer"}
    encoding: dict[str, Any] = {"x": x, "y": {**y, "field": "value"}}
    return page_wide(
        {
            "data": {"values": rows},
            "height": 320,
            "encoding": encoding,
            "layer": [
                {
                    "mark": {"type": "point", "size": 60, "filled": True, "opacity": 0.9},
                    "encoding": {
                        "color": {**name, "legend": legend()},
                        "shape": name,
                        "tooltip": _tooltip({"value": "SI", "milliseconds": "ms per image"}, "network", "layer"),
                    },
                },
                {
                    "transform": [{"filter": "datum.chosen"}],
                    "mark": {"type": "point", "size": 190, "filled": False, "strokeWidth": 2, "color": GRAY},
                },
            ],
        }
    )


def _tooltip(numbers: dict[str, str], *names: str) -> list[Spec]:
    texts: list[Spec] = [{"field": name, "title": name.capitalize()} for name in names]
    return texts + [
        {"field": field, "type": "quantitative", "title": title, "format": ".3~f"} for field, title in numbers.items()
    ]
