"""Tables and texts of the page Sample size: the view's choices, SI by sample size, and what the numbers say."""

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from core.analysis.samples.selection import offered_poolings
from core.measures.sample_size import required_queries
from core.report.words.formatting import POOLED, SPLIT_NAMES, number, one_layer
from core.study.store.study_json import look_up
from core.study.store.tables.ties import has_many_ties, left_out_text
from explorer.state.choices import one_offered, ordered_samples
from explorer.studies.loading import OpenStudy

SUBSAMPLE, QUERIES = "subsample", "queries"
MAX_LAYERS = 5  # the theme has five colors
FIRST_LAYERS = 4  # layers that are shown by default
PRECISION = 0.01  # half of a 95% interval
LINE_COLUMNS = [
    "layer",
    "position",
    "sampling",
    "size",
    "repeats",
    "value",
    "lowest",
    "highest",
    "low",
    "high",
    "chance",
]


@dataclass(frozen=True)
class SizeSelection:
    """The user's choices on the page.

    Attributes
    ----------
    pooling : str
        "mean" or "flat".
    samples : str
        The split.
    layers : tuple of str
        Names in network order; at most `MAX_LAYERS`.
    """

    pooling: str
    samples: str
    layers: tuple[str, ...]


def offered_samples(subsamples: pd.DataFrame) -> tuple[str, ...]:
    """The splits that have been measured over sample size, test first."""
    return ordered_samples(subsamples["samples"].unique())


def offered_layers(subsamples: pd.DataFrame, pooling: str, samples: str) -> tuple[str, ...]:
    """Layers that have been measured over sample size, in network order."""
    rows = subsamples[(subsamples["pooling"] == pooling) & (subsamples["samples"] == samples)]
    return tuple(rows.sort_values("position")["layer"].unique())


def first_layers(
    curves: pd.DataFrame, offered: tuple[str, ...], pooling: str, samples: str, shared_layer: str | None = None
) -> tuple[str, ...]:
    """The layers that are shown by default: the best one, and others evenly spread over the network.

    Parameters
    ----------
    curves : DataFrame
        Of `OpenStudy`.
    offered : tuple of str
        Of `offered_layers`.
    pooling, samples : str
        The chosen pooling and split.
    shared_layer : str, optional
        The layer chosen on another page, which is added.
    """
    if not offered:
        return ()
    ends = size_ends(curves, pooling, samples).set_index("layer")
    values = ends["value"].mask(ends["tied"]).reindex(offered)
    best = str(values.idxmax()) if values.notna().any() else offered[-1]
    chosen = {best, shared_layer}
    remaining = [name for name in offered if name != best]
    if remaining:
        indices = np.linspace(0, len(remaining) - 1, FIRST_LAYERS - 1).round().astype(int)
        chosen |= {remaining[index] for index in indices}
    return tuple(name for name in offered if name in chosen)


def size_selection(
    query: Mapping[str, Sequence[str]], study: OpenStudy, shared_layer: str | None = None
) -> SizeSelection:
    """The choices in an address, as far as the study offers them; the default for the rest.

    Parameters
    ----------
    query : mapping
        Query parameters of the page.
    study : OpenStudy
        The open study.
    shared_layer : str, optional
        The layer chosen on another page, one of the default layers.
    """
    poolings, all_samples = offered_poolings(study.subsamples), offered_samples(study.subsamples)
    pooling = one_offered(query, "pooling", poolings) or poolings[0]
    samples = one_offered(query, "samples", all_samples) or all_samples[0]
    offered = offered_layers(study.subsamples, pooling, samples)
    layers = tuple(name for name in offered if name in query.get("layers", ()))[:MAX_LAYERS]
    if not layers:
        layers = first_layers(study.curves, offered, pooling, samples, shared_layer)
    return SizeSelection(pooling, samples, layers)


def size_query(selection: SizeSelection, study: OpenStudy, shared_layer: str | None = None) -> dict[str, list[str]]:
    """The query parameters of the choices that differ from the default; see `size_selection`."""
    default = size_selection({}, study, shared_layer)
    query = {}
    if selection.pooling != default.pooling:
        query["pooling"] = [selection.pooling]
    if selection.samples != default.samples:
        query["samples"] = [selection.samples]
    offered = offered_layers(study.subsamples, selection.pooling, selection.samples)
    if selection.layers != first_layers(study.curves, offered, selection.pooling, selection.samples, shared_layer):
        query["layers"] = list(selection.layers)
    return query


def size_lines(study: OpenStudy, selection: SizeSelection) -> pd.DataFrame:
    """SI over sample size, averaged over the draws.

    Returns
    -------
    DataFrame
        One row per layer, sampling and size, with the columns `LINE_COLUMNS`, in network order. `value`, `lowest` and
        `highest` are mean, minimum and maximum of the draws. `low` and `high` are the 95% interval of one draw for the
        SI of all samples at hand, averaged over the draws; nan for the sampling "subsample", which has none.
    """
    rows = study.subsamples
    keep = (rows["pooling"] == selection.pooling) & (rows["samples"] == selection.samples)
    rows = rows[keep & rows["layer"].isin(selection.layers)]
    rows = rows.rename(columns={"num_queries": "size"})
    lines = rows.groupby(["position", "layer", "sampling", "size"], as_index=False).agg(
        repeats=("repeat", "nunique"),
        value=("value", "mean"),
        lowest=("value", "min"),
        highest=("value", "max"),
        low=("low", "mean"),
        high=("high", "mean"),
        chance=("chance", "mean"),
    )
    return lines[LINE_COLUMNS]


def size_ends(curves: pd.DataFrame, pooling: str, samples: str, layers: Sequence[str] | None = None) -> pd.DataFrame:
    """SI of all samples, the right ends of the lines.

    Returns
    -------
    DataFrame
        layer, position, size, value, chance, and tied: whether many samples have several nearest neighbors. Empty if
        not all samples were queries.
    """
    keep = (curves["measure"] == "SI") & (curves["sampling"] == "full") & curves["value"].notna()
    keep &= (curves["pooling"] == pooling) & (curves["samples"] == samples)
    if layers is not None:
        keep &= curves["layer"].isin(layers)
    rows = curves[keep]
    rows = rows.assign(tied=has_many_ties(rows)).rename(columns={"num_queries": "size"})
    return rows[["layer", "position", "size", "value", "chance", "tied"]]


def size_finding(lines: pd.DataFrame, ends: pd.DataFrame, selection: SizeSelection) -> str:
    """How SI of the best chosen layer depends on sample size, as Markdown.

    Layers with many tied samples are left out, and the text says so.

    Parameters
    ----------
    lines, ends : DataFrame
        Of `size_lines`, with at least one row, and `size_ends`.
    selection : SizeSelection
        The choices on the page.
    """
    ranked = ends[~ends["tied"]] if len(ends) else lines
    left_out = left_out_text(ends.loc[ends["tied"], "layer"].tolist())
    if ranked.empty:
        return left_out
    layer = str(ranked["layer"].iloc[ranked["value"].argmax()])
    best = lines[lines["layer"] == layer].sort_values("size")
    end = ends[ends["layer"] == layer]
    split = SPLIT_NAMES.get(selection.samples, selection.samples)
    where = f"Among the {split} samples ({POOLED.get(selection.pooling, selection.pooling)})"
    rise = _rise_text(best[best["sampling"] == SUBSAMPLE], end, f"{where}, SI of {one_layer(layer)}")
    spread = _spread_text(best[best["sampling"] == QUERIES], end)
    return " ".join(filter(None, [rise, spread, left_out]))


def _rise_text(subsamples: pd.DataFrame, end: pd.DataFrame, subject: str) -> str:
    """How SI differs between the smallest and the largest number of samples."""
    points = pd.concat([subsamples, end])[["size", "value"]]
    if len(points) < 2:
        return ""
    (small, low), (large, high) = points.iloc[[0, -1]].itertuples(index=False)
    return (
        f"{subject} is **{number(low)}** with {small:,.0f} samples and **{number(high)}** with {large:,.0f}. "
        "Compare studies at equal sizes only."
    )


def _spread_text(queries: pd.DataFrame, end: pd.DataFrame) -> str:
    """How much the smallest set of queries varies around the SI of all samples."""
    if queries.empty or end.empty:
        return ""
    smallest = queries.iloc[0]
    span = f"between {number(smallest['lowest'])} and {number(smallest['highest'])}"
    return (
        f"With only {smallest['size']:,} queries among all {end['size'].iloc[0]:,} samples, it lies {span} in "
        f"{smallest['repeats']} draws: these values vary, but are not biased."
    )


def fitted_lines(fitted: pd.DataFrame, selection: SizeSelection) -> pd.DataFrame:
    """The rows of `read_fitted` for the chosen layers: "fitted", then "extrapolated" ones."""
    keep = (fitted["pooling"] == selection.pooling) & (fitted["samples"] == selection.samples)
    keep &= fitted["layer"].isin(selection.layers) & fitted["kind"].isin(["fitted", "extrapolated"])
    return fitted[keep].sort_values(["position", "size"], ignore_index=True)


def extrapolation_finding(curves: pd.DataFrame, ends: pd.DataFrame) -> str:
    """The extrapolated SI of the best layer, as Markdown; "" without a fitted curve."""
    curves = curves[~curves["layer"].isin(ends.loc[ends["tied"], "layer"]) & curves["value"].notna()]
    if curves.empty:
        return ""
    last = curves.groupby("layer", sort=False).tail(1)
    best = last.iloc[int(last["value"].argmax())]
    interval = "" if pd.isna(best["low"]) else f" ({number(best['low'])} to {number(best['high'])})"
    measured = ends.loc[ends["layer"] == best["layer"], "value"]
    comparison = ""
    if len(measured):
        comparison = f", compared with {number(measured.iloc[0])} with the {ends['size'].iloc[0]:,} at hand"
    return (
        f"If its curve keeps its form, {one_layer(best['layer'])} reaches **{number(best['value'])}**{interval} with "
        f"{best['size']:,} samples{comparison}, and approaches {number(best['asymptote'])} with ever more samples."
    )


def precision_finding(ends: pd.DataFrame) -> str:
    """How many queries estimate SI to within `PRECISION`, as Markdown; "" if not all samples were queries."""
    ends = ends[~ends["tied"]]
    if ends.empty:
        return ""
    count = int(ends["size"].max())
    best = ends.iloc[int(ends["value"].argmax())]
    share = float(np.clip(best["value"], 0.01, 0.99))
    num_always = required_queries(PRECISION, count, share=0.5)  # the variance of a share is largest at 0.5
    num_here = required_queries(PRECISION, count, share=share)
    return (
        f"To estimate the SI of all {count:,} samples to within ±{PRECISION} (95%), **{num_always:,}** queries "
        f"suffice; {num_here:,} if SI is near {number(best['value'])}, as in {one_layer(best['layer'])}."
    )


def suggested_command(study: OpenStudy) -> str | None:
    """The study's command with sizes and another output folder; None if no command made the study.

    The option --precision is removed, because it cannot be combined with --sizes.
    """
    if not study.info.get("command"):
        return None
    try:
        words = shlex.split(study.info["command"])
    except ValueError:  # an unclosed quotation mark: this program did not write the command
        return None
    if "--precision" in words[:-1]:
        index = words.index("--precision")
        del words[index : index + 2]
    if "--out" in words[:-1]:
        index = words.index("--out") + 1
        words[index] = f"{words[index].rstrip('/')}-sizes"
    sizes = ",".join(map(str, suggested_sizes(study.curves, look_up(study.info, "used.data.num_classes"))))
    return f"{shlex.join(words)} --sizes {sizes} --repeats 5"


def suggested_sizes(curves: pd.DataFrame, num_classes: Any) -> list[int]:
    """One to four fifths of the smallest split, but at least two samples per class."""
    counts = curves.loc[curves["samples"] != "cross"].groupby("samples")["num_queries"].max()
    num_samples = int(counts.min()) if len(counts) else 500
    minimum = 2 if num_classes is None else 2 * num_classes
    return sorted({min(max(num_samples * fifths // 5, minimum), num_samples) for fifths in range(1, 5)})
