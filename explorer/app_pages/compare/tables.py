"""Tables and texts of the page Compare: the view's choices, and SI versus layer properties."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import atanh, sqrt, tanh

import numpy as np
import pandas as pd

from core.analysis.samples.selection import offered_poolings
from core.report.words.formatting import POOLED
from core.study.store.opening import Study
from core.study.store.ties import has_many_ties
from explorer.state.choices import SAMPLES, one_offered, ordered_samples
from explorer.studies.loading import OpenStudy

MIN_LAYERS = 4  # for a rank correlation with an interval

# The properties that SI is compared with: title, and whether the axis is logarithmic.
PROPERTIES: Mapping[str, tuple[str, bool]] = {
    "parameters": ("Parameters", True),
    "channels": ("Depth (channels)", True),
    "cumulative_parameters": ("Cumulative parameters", True),
    "position": ("Position in the network", False),
    "knn": ("kNN accuracy", False),
    "linear_probe": ("Linear probe accuracy", False),
}


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


@dataclass(frozen=True)
class RankCorrelation:
    """Spearman's rank correlation over layers.

    Attributes
    ----------
    value, low, high : float
        The correlation and its 95 % interval; nan if there are too few layers or only one value.
    num_layers : int
        Number of layers.
    """

    value: float
    low: float
    high: float
    num_layers: int


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
    """SI and the properties of each layer.

    Parameters
    ----------
    study : OpenStudy
        The open study.
    probe : DataFrame
        Of `probe_accuracies`.
    selection : CompareSelection
        The choices on the page.

    Returns
    -------
    DataFrame
        One row per layer that has an SI: layer, kind, block, si, low, high; the columns of `PROPERTIES`, nan if
        unknown; and tied: whether many samples have several nearest neighbors.
    """
    rows = _curve(study.curves, "SI", selection).set_index("layer")
    layers = study.layers[study.layers["layer"].isin(rows.index)].reset_index(drop=True)
    dots = layers[["layer", "kind", "block", "position", "channels", "parameters", "cumulative_parameters"]].copy()
    for name, column in {"si": "value", "low": "low", "high": "high"}.items():
        dots[name] = dots["layer"].map(rows[column])
    for name, (_, logarithmic) in PROPERTIES.items():
        if logarithmic:  # 0, such as the parameters of a sum, has no logarithm
            dots[name] = dots[name].where(dots[name] > 0)
    dots["knn"] = dots["layer"].map(_curve(study.curves, "kNN", selection).set_index("layer")["value"])
    split = "test" if selection.samples == "cross" else selection.samples
    dots["linear_probe"] = dots["layer"].map(probe[probe["split"] == split].set_index("layer")["value"])
    dots["tied"] = dots["layer"].isin(rows.index[has_many_ties(rows)])
    return dots.dropna(subset=["si"]).reset_index(drop=True)


def _curve(curves: pd.DataFrame, measure: str, selection: CompareSelection) -> pd.DataFrame:
    keep = (curves["measure"] == measure) & (curves["pooling"] == selection.pooling)
    return curves[keep & (curves["samples"] == selection.samples)]


def probe_accuracies(study: Study) -> pd.DataFrame:
    """Accuracies of the linear probe on channel means: split, layer, value."""
    rows = study.measurements
    rows = rows[(rows["measure"] == "linear_probe") & (rows["sampling"] == "full") & (rows["repeat"] == 0)]
    rows = rows.astype({"layer": object, "split": object})
    return rows[["split", "layer", "value"]].drop_duplicates(["split", "layer"])


def known_columns(dots: pd.DataFrame) -> list[str]:
    """The properties in which the layers are known to differ."""
    return [name for name in PROPERTIES if dots[name].min() < dots[name].max()]


def rank_correlation(first: pd.Series, second: pd.Series) -> RankCorrelation:
    """Spearman's rank correlation with a 95 % interval.

    The interval uses Fisher's z and the variance 1.06/(n − 3) of Fieller et al. (1957). It is approximate, because the
    layers of a network are not independent.
    """
    known = first.notna() & second.notna()
    x, y = first[known].rank(), second[known].rank()
    if len(x) < MIN_LAYERS or x.nunique() < 2 or y.nunique() < 2:
        return RankCorrelation(float("nan"), float("nan"), float("nan"), len(x))
    value = float(np.corrcoef(x, y)[0, 1])
    center, half = atanh(np.clip(value, -0.999999, 0.999999)), 1.959964 * sqrt(1.06 / (len(x) - 3))
    return RankCorrelation(value, tanh(center - half), tanh(center + half), len(x))


def correlation_text(correlation: RankCorrelation) -> str:
    """Such as "Spearman 0.93 (0.88 to 0.96), 58 layers"."""
    if np.isnan(correlation.value):
        return f"Spearman: too few different values ({correlation.num_layers} layers)"
    low, high, count = correlation.low, correlation.high, correlation.num_layers
    return f"Spearman {correlation.value:.2f} ({low:.2f} to {high:.2f}), {count} layers"


def correlations(dots: pd.DataFrame) -> dict[str, RankCorrelation]:
    """SI's rank correlation with each known property, over the layers without many tied samples."""
    untied = dots[~dots["tied"]]
    return {name: rank_correlation(untied[name], untied["si"]) for name in known_columns(untied)}


def dots_finding(correlations: Mapping[str, RankCorrelation], selection: CompareSelection) -> str:
    """The properties with which SI is correlated, each with interval and number of layers, as Markdown.

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
    texts = {name: f"{_lower_title(name)} ({_interval_text(correlations[name])})" for name in correlations}
    certain = [texts[name] for name in certain_names]
    uncertain = [text for name, text in texts.items() if name not in certain_names]
    if not certain:
        return f"{samples}: these layers cannot decide whether SI is correlated with {_listed(uncertain, 'or')}."
    text = (
        f"{samples}: by Spearman's rank correlation, with an approximate 95 % interval, SI is correlated with "
        f"{_listed(certain, 'and')}."
    )
    if uncertain:
        text += f" These layers cannot decide whether it is correlated with {_listed(uncertain, 'or')}."
    return text


def _interval_text(correlation: RankCorrelation) -> str:
    """A correlation with its interval and the number of layers."""
    if np.isnan(correlation.value):
        return f"too few different values, {correlation.num_layers} layers"
    low, high = correlation.low, correlation.high
    return f"{correlation.value:.2f} [{low:.2f}, {high:.2f}], {correlation.num_layers} layers"


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
    rows = _curve(study.curves, "SI", selection)
    return rows[rows["layer"].isin(layers)][["layer", "value"]].dropna().reset_index(drop=True)
