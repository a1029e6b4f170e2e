"""What the page Compare shows, as tables and words: SI against what a layer is, and a study against another."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import atanh, sqrt, tanh

import numpy as np
import pandas as pd

from core.report.words.formatting import POOLED
from core.study.store.opening import Study
from core.study.store.ties import has_many_ties
from explorer.state.choices import SAMPLES, one_offered
from explorer.studies.loading import OpenStudy, offered_poolings

MIN_LAYERS = 4  # for a rank correlation with an interval

# What SI is drawn against: title, whether the axis is logarithmic.
AGAINST: Mapping[str, tuple[str, bool]] = {
    "parameters": ("Parameters", True),
    "channels": ("Depth (channels)", True),
    "cumulative_parameters": ("Cumulative parameters", True),
    "position": ("Position in the network", False),
    "knn": ("kNN accuracy", False),
    "linear_probe": ("Linear probe accuracy", False),
}


@dataclass(frozen=True)
class CompareSelection:
    """The view of the page: one pooling, one split or "cross", how layers are matched ("" for as they are), study."""

    pooling: str
    samples: str
    match: str = ""
    before: str = ""


@dataclass(frozen=True)
class RankCorrelation:
    """Spearman's over layers, with Fisher's interval; nan where there are too few layers or one value only."""

    value: float
    low: float
    high: float
    num_layers: int


def compare_selection(query: Mapping[str, Sequence[str]], curves: pd.DataFrame) -> CompareSelection:
    """The view that an address asks for, as far as the study offers it; the default for the rest."""
    poolings, samples = offered(curves)
    return CompareSelection(
        pooling=one_offered(query, "pooling", poolings) or poolings[0],
        samples=one_offered(query, "samples", samples) or samples[0],
        match=one_offered(query, "match", ("name", "position")) or "",
        before=next(iter(query.get("before", ())), ""),
    )


def compare_query(selection: CompareSelection, curves: pd.DataFrame) -> dict[str, list[str]]:
    """What the address has to say of a view: where it differs from the default."""
    default = compare_selection({}, curves)
    names = ("pooling", "samples", "match", "before")
    chosen = {name: (getattr(selection, name), getattr(default, name)) for name in names}
    return {name: [value] for name, (value, usual) in chosen.items() if value and value != usual}


def offered(curves: pd.DataFrame) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Poolings, channel means first, and samples, test first."""
    rows = curves[curves["measure"] == "SI"]
    found = set(rows["samples"])
    samples = (*(name for name in SAMPLES if name in found), *sorted(found - set(SAMPLES)))
    return offered_poolings(rows), samples


def layer_dots(study: OpenStudy, probe: pd.DataFrame, selection: CompareSelection) -> pd.DataFrame:
    """One row a layer that has an SI: layer, kind, block, si, low, high, columns of `AGAINST` (nan if unknown), tied.

    probe : rows of the linear probe, as `probe_accuracies` returns them.
    """
    rows = _curve(study.curves, "SI", selection).set_index("layer")
    layers = study.layers[study.layers["layer"].isin(rows.index)].reset_index(drop=True)
    dots = layers[["layer", "kind", "block", "position", "channels", "parameters", "cumulative_parameters"]].copy()
    for name, column in {"si": "value", "low": "low", "high": "high"}.items():
        dots[name] = dots["layer"].map(rows[column])
    for name in (column for column, (_, logarithmic) in AGAINST.items() if logarithmic):
        dots[name] = dots[name].where(dots[name] > 0)  # such as the parameters of sums: no place on a log axis
    dots["knn"] = dots["layer"].map(_curve(study.curves, "kNN", selection).set_index("layer")["value"])
    split = "test" if selection.samples == "cross" else selection.samples
    dots["linear_probe"] = dots["layer"].map(probe[probe["split"] == split].set_index("layer")["value"])
    dots["tied"] = dots["layer"].isin(rows.index[has_many_ties(rows)])
    return dots.dropna(subset=["si"]).reset_index(drop=True)


def _curve(curves: pd.DataFrame, measure: str, selection: CompareSelection) -> pd.DataFrame:
    keep = (curves["measure"] == measure) & (curves["pooling"] == selection.pooling)
    return curves[keep & (curves["samples"] == selection.samples)]


def probe_accuracies(study: Study) -> pd.DataFrame:
    """The linear probe on channel means: split, layer, value."""
    rows = study.measurements
    rows = rows[(rows["measure"] == "linear_probe") & (rows["sampling"] == "full") & (rows["repeat"] == 0)]
    rows = rows.astype({"layer": object, "split": object})
    return rows[["split", "layer", "value"]].drop_duplicates(["split", "layer"])


def known_columns(dots: pd.DataFrame) -> list[str]:
    """Columns of `AGAINST` in which the layers are known to differ."""
    return [name for name in AGAINST if dots[name].min() < dots[name].max()]


def rank_correlation(first: pd.Series, second: pd.Series) -> RankCorrelation:
    """Spearman's rank correlation, with Fisher's z and the variance 1.06/(n − 3) of Fieller et al. (1957).

    Layers of a network are no independent draws, so the interval is a rough guide.
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
    """SI's rank correlation with each known column, over the layers without many tied samples."""
    judged = dots[~dots["tied"]]
    return {name: rank_correlation(judged[name], judged["si"]) for name in known_columns(judged)}


def dots_finding(found: Mapping[str, RankCorrelation], selection: CompareSelection) -> str:
    """What the order of the layers by SI goes with, each with interval and layers, as Markdown."""
    certain = {name: one for name, one in found.items() if one.low > 0 or one.high < 0}
    where = f"{SAMPLES.get(selection.samples, selection.samples)} samples, {POOLED[selection.pooling]}"
    rest = [name for name in found if name not in certain]
    undecided = [f"{_named(name)} ({_span(found[name])})" for name in rest]
    if not certain:
        return f"{where}: whether SI goes with {_listed(undecided, 'or')} cannot be decided with these layers."
    ranked = sorted(certain, key=lambda name: -abs(certain[name].value))
    words = [f"{_named(name)} ({_span(certain[name])})" for name in ranked]
    less = f" Whether it goes with {_listed(undecided, 'or')} cannot be decided with these layers." if rest else ""
    return (
        f"{where}: by Spearman's rank correlation, with its rough 95 % interval, SI goes with {_listed(words)}.{less}"
    )


def _span(one: RankCorrelation) -> str:
    """A correlation with its interval and the number of layers."""
    if np.isnan(one.value):
        return f"too few different values, {one.num_layers} layers"
    return f"{one.value:.2f} [{one.low:.2f}, {one.high:.2f}], {one.num_layers} layers"


def _named(name: str) -> str:
    title = AGAINST[name][0]
    return title if title.startswith("kNN") else title[0].lower() + title[1:]


def _listed(words: Sequence[str], last: str = "and") -> str:
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} {last} {words[-1]}"


def control_curve(study: OpenStudy, selection: CompareSelection, layers: Sequence[str]) -> pd.DataFrame:
    """The control's SI at these layers: layer and value, where it has one."""
    rows = _curve(study.curves, "SI", selection)
    return rows[rows["layer"].isin(layers)][["layer", "value"]].dropna().reset_index(drop=True)
