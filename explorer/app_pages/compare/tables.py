"""Tables and texts of the page Compare: the view's choices, and SI versus layer properties."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from core.analysis.layer_properties import PROPERTIES, RankCorrelation, layer_properties
from core.analysis.samples.selection import offered_poolings
from core.report.words.formatting import POOLED, SAMPLES
from explorer.state.choices import one_offered, ordered_samples
from explorer.studies.loading import OpenStudy


@dataclass(frozen=True)
class CompareSelection:
    """The user's choices on the page.

    Attributes
    ----------
    pooling : str
        "mean" or "flat".
    samples : str
        "train", "test" or "cross".
    match : str
        How layers of two studies are matched: "name", "position", or "" for by name where possible.
    before : str
        Name of the study to compare with; "" for none.
    """

    pooling: str
    samples: str
    match: str = ""
    before: str = ""


def compare_selection(query: Mapping[str, Sequence[str]], curves: pd.DataFrame) -> CompareSelection:
    """The choices in an address, as far as the study offers them; the default for the rest."""
    poolings, samples = offered(curves)
    return CompareSelection(
        pooling=one_offered(query, "pooling", poolings) or poolings[0],
        samples=one_offered(query, "samples", samples) or samples[0],
        match=one_offered(query, "match", ("name", "position")) or "",
        before=next(iter(query.get("before", ())), ""),
    )


def compare_query(selection: CompareSelection, curves: pd.DataFrame) -> dict[str, list[str]]:
    """The query parameters of the choices that differ from the default."""
    default = compare_selection({}, curves)
    query = {}
    for name in ("pooling", "samples", "match", "before"):
        value = getattr(selection, name)
        if value and value != getattr(default, name):
            query[name] = [value]
    return query


def offered(curves: pd.DataFrame) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The poolings, channel means first, and the samples, test first."""
    rows = curves[curves["measure"] == "SI"]
    return offered_poolings(rows), ordered_samples(sorted(rows["samples"].unique()))


def layer_dots(study: OpenStudy, probe: pd.DataFrame, selection: CompareSelection) -> pd.DataFrame:
    """SI and the properties of each layer, with the columns of `core.analysis.layer_properties.layer_properties`.

    Parameters
    ----------
    study : OpenStudy
        The open study.
    probe : DataFrame
        Of `probe_accuracies`.
    selection : CompareSelection
        The choices on the page.
    """
    pooling, samples = selection.pooling, selection.samples
    return layer_properties(study.layers, study.curves, probe, pooling=pooling, samples=samples)


def correlation_text(correlation: RankCorrelation) -> str:
    """Such as "Spearman 0.93 (0.88 to 0.96), 58 layers"."""
    if np.isnan(correlation.value):
        return f"Spearman: too few different values ({correlation.num_layers} layers)"
    low, high, count = correlation.low, correlation.high, correlation.num_layers
    return f"Spearman {correlation.value:.2f} ({low:.2f} to {high:.2f}), {count} layers"


def dots_finding(correlations: Mapping[str, RankCorrelation], selection: CompareSelection) -> str:
    """The properties with which SI is correlated, the most correlated first, as Markdown, without the charts' numbers.

    Parameters
    ----------
    correlations : mapping
        Of the function `correlations`; at least one.
    selection : CompareSelection
        The choices on the page.
    """
    samples = f"{SAMPLES.get(selection.samples, selection.samples)} samples, {POOLED[selection.pooling]}"
    certain_names = [name for name, correlation in correlations.items() if correlation.low > 0 or correlation.high < 0]
    certain_names.sort(key=lambda name: -abs(correlations[name].value))
    certain = [_lower_title(name) for name in certain_names]
    uncertain = [_lower_title(name) for name in correlations if name not in certain_names]
    if not certain:
        return f"{samples}: these layers cannot decide whether SI is correlated with {_listed(uncertain, 'or')}."
    order = ", the most correlated first" if len(certain) > 1 else ""
    text = (
        f"{samples}: SI is correlated with {_listed(certain, 'and')}{order} "
        "(Spearman's rank correlation, whose approximate 95% interval excludes 0)."
    )
    if uncertain:
        text += f" These layers cannot decide whether it is correlated with {_listed(uncertain, 'or')}."
    return text


def _lower_title(name: str) -> str:
    """A property's title within a sentence."""
    title = PROPERTIES[name][0]
    return title if title.startswith("kNN") else title[0].lower() + title[1:]


def _listed(words: Sequence[str], conjunction: str) -> str:
    """Such as "a, b and c"."""
    if len(words) == 1:
        return words[0]
    return f"{', '.join(words[:-1])} {conjunction} {words[-1]}"


def control_curve(study: OpenStudy, selection: CompareSelection, layers: Sequence[str]) -> pd.DataFrame:
    """The control's SI at the given layers that it has: layer and value."""
    rows = study.curves
    rows = rows[(rows["measure"] == "SI") & (rows["pooling"] == selection.pooling)]
    rows = rows[rows["samples"] == selection.samples]
    return rows[rows["layer"].isin(layers)][["layer", "value"]].dropna().reset_index(drop=True)
