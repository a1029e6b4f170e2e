"""The charts of the page Decide as Vega-Lite specifications: DataFrame in, dict out."""

from collections.abc import Sequence
from typing import Any

import pandas as pd

from core.report.marks import GRAY, Spec, layer_axis, legend, page_wide, records, si_axis

WITHIN = ("as good as the best", "certainly worse")


def cut_chart(layers: pd.DataFrame, chosen: str) -> Spec:
    """Each layer's SI minus that of the best with its interval; layers within are filled circles, others crosses.

    layers : the table of `core.study.advice.Advice`. chosen : the layer that is marked.
    """
    columns = ["layer", "value", "difference", "difference_low", "difference_high"]
    meanings = [WITHIN[0] if within else WITHIN[1] for within in layers["within"]]
    found = records(layers.assign(meaning=meanings), [*columns, "meaning"])
    order = layers["layer"].tolist()
    x = {"field": "layer", "type": "nominal", "sort": None, "scale": {"domain": order}, "axis": layer_axis()}
    y = {"field": "difference", "type": "quantitative", "title": "SI minus that of the best layer"}
    meaning = {"field": "meaning", "type": "nominal", "scale": {"domain": list(WITHIN)}}
    return page_wide(
        {
            "data": {"values": found},
            "height": 260,
            "encoding": {"x": x},
            "layer": [
                {
                    "mark": {"type": "rule", "color": GRAY, "strokeDash": [4, 3]},
                    "encoding": {"y": {"datum": 0}, "x": None},
                },
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
                        "shape": {**meaning, "scale": {"domain": list(WITHIN), "range": ["circle", "cross"]}},
                        "tooltip": _tooltip({"value": "SI", "difference": "Difference"}, "layer"),
                    },
                },
            ],
        }
    )


def ranking_chart(layers: pd.DataFrame, networks: Sequence[str]) -> Spec:
    """SI against the seconds an image up to the layer, one dot a candidate layer; each network's chosen one is ringed.

    layers : the table of `core.study.ranking.Ranking`. networks : the best first.
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
