"""Captions of figures as plain text: what is shown of which network and data, n, chance, interval and seed.

A caption claims no more than the study does: differences stand with their interval and samples, or the caption says
that these samples or layers cannot decide.
"""

import re
from collections.abc import Sequence
from html import unescape

import numpy as np
import pandas as pd

from core.analysis.comparing import LayerMatch
from core.analysis.layer_properties import PROPERTIES, RankCorrelation
from core.analysis.separation_level import best_layer, has_best_layer
from core.report.html import inline
from core.report.words.changes import describe_changes
from core.report.words.findings import describe
from core.report.words.formatting import POOLED, SPLIT_NAMES
from core.report.words.provenance import caption_parts
from core.study.store.opening import Study
from core.study.store.tables.ties import has_many_ties, reason_text

_SI = (
    "SI is the share of samples whose nearest other sample, in the activations of the layer, has the same label "
    "(Kalhor et al., arXiv 1906.05156)."
)
_TARGETS = {
    "population": "Band: 95% interval for the SI expected of a fresh sample of the same size and classes.",
    "data": "Band: 95% interval for the SI of all samples of the study, of which only some were queries.",
}
_CROSS = "Here the nearest sample is the nearest training sample of each test sample."


def curves_caption(study: Study, curves: pd.DataFrame, lead: pd.DataFrame) -> str:
    """Return the caption of SI through the network.

    Parameters
    ----------
    study : Study
    curves : DataFrame
        What is drawn, as returned by `core.report.lead_values.chosen_curves`.
    lead : DataFrame
        As returned by `core.analysis.separation_level.lead_curve`.
    """
    separation = curves[curves["measure"] == "SI"]
    parts = [
        f"Separation Index (SI) of {_layer_count(lead['layer'].nunique())} in network order, {_pooled(lead)}.",
        _source(study, curves),
        _SI,
        _CROSS if (separation["samples"] == "cross").any() else "",
        _chance(separation, drawn=True),
        *_intervals(separation),
        _best_and_last(lead),
        f"{describe(lead).headline}.",
        _ties(separation),
    ]
    return " ".join(filter(None, parts))


def panel_caption(curves: pd.DataFrame, panels: Sequence[str], *, alone: Study | None = None) -> str:
    """Return what panels other than SI show.

    Parameters
    ----------
    curves : DataFrame
        As in `curves_caption`.
    panels : sequence of {"knn", "channels", "parameters"}
    alone : Study, optional
        The study, in a caption of a figure that has no other panel.
    """
    orders = curves.loc[curves["measure"] == "kNN", "order"].unique()
    texts = {
        "knn": f"accuracy of a vote of the k = {orders[0]} nearest neighbors" if len(orders) else "",
        "channels": "depth, the number of output channels",
        "parameters": "number of parameters, on a square-root scale",
    }
    panel_texts = [texts[name] for name in panels]
    if not panel_texts:
        return ""
    if alone is None:
        return f"Below, of each layer: {'; '.join(panel_texts)}."
    text = "; ".join(panel_texts)
    return f"{text[0].upper()}{text[1:]}, of each layer in network order. {_source(alone, curves)}"


def property_caption(
    study: Study, curves: pd.DataFrame, lead: pd.DataFrame, column: str, correlation: RankCorrelation, num_shown: int
) -> str:
    """Return the caption of SI versus a property of the layers.

    Parameters
    ----------
    study, curves, lead
        As in `curves_caption`.
    column : str
        A key of `core.analysis.layer_properties.PROPERTIES`.
    correlation : RankCorrelation
        Of SI with the property.
    num_shown : int
        Number of layers for which the study knows the property.
    """
    title = PROPERTIES[column][0]
    samples = str(lead["samples"].iloc[0])
    curve = curves[(curves["samples"] == samples)]
    parts = [
        f"Separation Index (SI) versus {title if title.startswith('kNN') else title.lower()}, one dot a layer, "
        f"{_samples_text(samples)}, {_pooled(lead)}.",
        _source(study, curve),
        _SI,
        _CROSS if samples == "cross" else "",
        _left_out(lead["layer"].nunique() - num_shown),
        _chance(lead),
        "Bars: 95% interval of SI." if lead["low"].notna().any() else "",
        _best_and_last(lead),
        _correlation(correlation),
    ]
    return " ".join(filter(None, parts))


def change_caption(study: Study, after: Study, lead: pd.DataFrame, table: pd.DataFrame, match: LayerMatch) -> str:
    """Return the caption of SI before and after.

    Parameters
    ----------
    study, after : Study
        Before and after.
    lead : DataFrame
        As in `curves_caption`, of the study before.
    table, match
        As returned by `core.analysis.comparing.compare_studies` and `match_layers`.
    """
    samples = str(lead["samples"].iloc[0])
    before, later = (_weights(one) for one in (study, after))
    paired = "paired: both values are of the same samples" if table["paired"].all() else "not paired at every layer"
    parts = [
        f"Separation Index (SI) before ({before}) and after ({later}), {_samples_text(samples)}, {_pooled(lead)}; "
        f"below, the difference after − before with its 95% interval ({paired}).",
        _source(study, lead),
        _SI,
        _CROSS if samples == "cross" else "",
        _chance(lead),
        "Triangles: q < 0.05 over these layers (Benjamini and Hochberg); dots: no certain change, which does not prove "
        "that there is none.",
        plain_text(describe_changes(table, match, (study.path.name, after.path.name))),
    ]
    return " ".join(filter(None, parts))


def plain_text(markdown: str) -> str:
    """Return Markdown of this program as plain text.

    >>> plain_text(r"SI **rose** at `top_conv` of a\\_b")
    'SI rose at top_conv of a_b'
    """
    return unescape(re.sub("</?(?:code|strong|em)>", "", inline(markdown)))


def _source(study: Study, curves: pd.DataFrame) -> str:
    """Network, data, classes, samples and seed as a sentence."""
    parts = caption_parts(study.info, curves)
    return f"{'; '.join(parts)}." if parts else ""


def _weights(study: Study) -> str:
    """The network of a study, and its folder's name."""
    empty = pd.DataFrame({"samples": [], "num_queries": []})
    network = caption_parts(study.info, empty)[:1]
    return ", ".join([*network, study.path.name])


def _pooled(lead: pd.DataFrame) -> str:
    pooling = str(lead["pooling"].iloc[0])
    return f"{POOLED.get(pooling, pooling)}, {lead['metric'].iloc[0]} distance"


def _samples_text(samples: str) -> str:
    return "test to training samples" if samples == "cross" else f"{SPLIT_NAMES.get(samples, samples)} samples"


def _chance(separation: pd.DataFrame, *, drawn: bool = False) -> str:
    """The chance level of each set of samples; a range where layers differ."""
    texts = []
    for samples, rows in separation.groupby("samples", sort=False):
        values = rows["chance"].dropna()
        if len(values):
            low, high = values.min(), values.max()
            text = f"{low:.4f}" if np.isclose(low, high) else f"{low:.4f} to {high:.4f}"
            texts.append(f"{text} ({_samples_text(str(samples))}, n = {int(rows['num_queries'].max()):,})")
    dashed = " (dashed)" if drawn else ""
    return f"Chance, the mean of SI with permuted labels{dashed}: {', '.join(texts)}." if texts else ""


def _intervals(separation: pd.DataFrame) -> list[str]:
    targets = set(separation.loc[separation["low"].notna(), "target"])
    return [text for target, text in _TARGETS.items() if target in targets]


def _best_and_last(lead: pd.DataFrame) -> str:
    """The values of the best and the last layer with their intervals and n, and that the best one was chosen."""
    best, last = best_layer(lead), str(lead["layer"].iloc[-1])
    samples = _samples_text(str(lead["samples"].iloc[0]))
    if not has_best_layer(lead):
        return f"Last layer {last}, {_value(lead, last)} ({samples})."
    texts = [f"best layer {best}, {_value(lead, best)}"] if best != last else []
    texts.append(f"last layer{'' if best != last else ', also the best,'} {last}, {_value(lead, last)}")
    text = "; ".join(texts)
    return f"{text[0].upper()}{text[1:]} ({samples}). The best of {len(lead)} values is biased upward."


def _value(lead: pd.DataFrame, layer: str) -> str:
    row = lead[lead["layer"] == layer].iloc[0]
    interval = "" if pd.isna(row["low"]) or pd.isna(row["high"]) else f" [{row['low']:.3f}, {row['high']:.3f}]"
    return f"SI {row['value']:.3f}{interval}, n = {int(row['num_queries']):,}"


def _ties(separation: pd.DataFrame) -> str:
    tied = separation.loc[has_many_ties(separation), "layer"].unique()
    return f"Nothing is concluded from {', '.join(tied)}: {reason_text()}" if len(tied) else ""


def _layer_count(count: int) -> str:
    return "1 layer" if count == 1 else f"{count} layers"


def _left_out(count: int) -> str:
    if count <= 0:
        return ""
    return f"{_layer_count(count)} without this number, or with 0, {'are' if count > 1 else 'is'} left out."


def _correlation(correlation: RankCorrelation) -> str:
    """Spearman's rank correlation with its interval, or that these layers cannot decide."""
    if np.isnan(correlation.value):
        return f"Too few different values for a rank correlation ({correlation.num_layers} layers)."
    low, high = correlation.low, correlation.high
    text = (
        f"Spearman's rank correlation {correlation.value:.2f}, 95% interval [{low:.2f}, {high:.2f}] (Fisher; "
        f"approximate, because layers of a network are not independent), {correlation.num_layers} layers"
    )
    undecided = low <= 0 <= high
    return f"{text}{'; these layers cannot decide whether the two are correlated' if undecided else ''}."
