"""The charts of the page Decide as Vega-Lite specifications: DataFrame in, dict out."""

from collections.abc import Sequence
from typing import Any

import pandas as pd

from core.report.marks import GRAY, Spec, layer_axis, legend, page_wide, records, si_axis

VERDICTS = {"within": "within the tolerance", "undecided": "cannot be decided", "worse": "worse than that"}
_SHAPES = ["circle", "diamond", "cross"]


def cut_chart(layers: pd.DataFrame, chosen: str, tolerance: float) -> Spec:
    """Each layer's SI minus that of the best with its interval, by verdict; the dashed lines are 0 and -tolerance.

    layers : the table of `core.analysis.cut.advice.Advice`. chosen : the layer that is marked.
    """
    columns = ["layer", "value", "difference", "difference_low", "difference_high", "meaning"]
    rows = records(layers.assign(meaning=layers["verdict"].map(VERDICTS)), columns)
    order, meanings = layers["layer"].tolist(), list(VERDICTS.values())
    x = {"field": "layer", "type": "nominal", "sort": None, "scale": {"domain": order}, "axis": layer_axis()}
    y = {"field": "difference", "type": "quantitative", "title": "SI minus that of the best layer"}
    meaning = {"field": "meaning", "type": "nominal", "scale": {"domain": meanings}}
    bounds = [
        {"mark": {"type": "rule", "color": GRAY, "strokeDash": [4, 3]}, "encoding": {"y": {"datum": at}, "x": None}}
        for at in (0, -tolerance)
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
    """SI against the seconds an image up to the layer, one dot a candidate layer; each network's chosen one is ringed.

    layers : the table of `core.analysis.ranking.ranking.Ranking`. networks : the best first.
    """
    columns = ["network", "layer", "value", "seconds", "chosen"]
    found = records(layers.assign(milliseconds=1000 * layers["seconds"]), [*columns, "milliseconds"])
    name = {"field": "network", "type": "nominal", "scale": {"domain": list(networks)}}
    y = si_axis([row["value"] for row in found if row["value"] is not None])
    x = {"field": "milliseconds", "type": "quantitative", "title": "Milliseconds an image, up to the layer"}
    encoding: dict[str, Any] = {"x": x, "y": {**y, "field": "value"}}
    return page_wide(
        {
            "data": {"values": found},
            "height": 320,
            "encoding": encoding,
            "layer": [
                {
                    "mark": {"type": "point", "size": 60, "filled": True, "opacity": 0.9},
                    "encoding": {
                        "color": {**name, "legend": legend()},
                        "shape": name,
                        "tooltip": _tooltip({"value": "SI", "milliseconds": "ms an image"}, "network", "layer"),
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
