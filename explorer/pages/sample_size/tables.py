"""SI over sample size: what a study offers, which layers come first, the lines and their spread over repeats."""

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from core.measures.sample_size import required_queries
from core.report.words.formatting import POOLED, SPLIT_NAMES, number, one_layer
from core.study.store.study_json import look_up
from core.study.store.ties import has_many_ties, left_out_text
from explorer.state.choices import SAMPLES, one_offered
from explorer.studies.loading import OpenStudy, offered_poolings

SUBSAMPLE, QUERIES = "subsample", "queries"
MAX_LAYERS = 5  # that the theme has colors for
FIRST_LAYERS = 4
PRECISION = 0.01  # half of a 95 % interval
LINE_COLUMNS = [
    *("layer", "position", "sampling", "size", "repeats", "value", "lowest", "highest", "low", "high", "chance")
]


@dataclass(frozen=True)
class SizeSelection:
    """The view of the page: one pooling, one split, some layers in network order."""

    pooling: str
    samples: str
    layers: tuple[str, ...]


def offered_samples(subsamples: pd.DataFrame) -> tuple[str, ...]:
    """Test first."""
    found = list(subsamples["samples"].unique())
    return (*(name for name in SAMPLES if name in found), *(name for name in found if name not in SAMPLES))


def offered_layers(subsamples: pd.DataFrame, pooling: str, samples: str) -> tuple[str, ...]:
    """Layers that have been measured over sample size, in network order."""
    rows = subsamples[(subsamples["pooling"] == pooling) & (subsamples["samples"] == samples)]
    return tuple(rows.sort_values("position")["layer"].unique())


def first_layers(
    curves: pd.DataFrame, offered: tuple[str, ...], pooling: str, samples: str, carried: str | None = None
) -> tuple[str, ...]:
    """The best layer, and others spread over the network, from its first layer on; the carried one among them."""
    if not offered:
        return ()
    ends = size_ends(curves, pooling, samples).set_index("layer")
    values = ends["value"].mask(ends["tied"]).reindex(offered)
    best = str(values.idxmax()) if values.notna().any() else offered[-1]
    others = [name for name in offered if name != best]
    places = np.linspace(0, len(others) - 1, FIRST_LAYERS - 1).round() if others else ()
    chosen = {best, carried, *(others[int(place)] for place in places)}
    return tuple(name for name in offered if name in chosen)


def size_selection(query: Mapping[str, Sequence[str]], study: OpenStudy, carried: str | None = None) -> SizeSelection:
    """The view that an address asks for, as far as the study offers it; the default for the rest.

    carried : the layer chosen on another page, one of the first where no layers are asked for.
    """
    pooling = one_offered(query, "pooling", offered_poolings(study.subsamples))
    samples = one_offered(query, "samples", offered_samples(study.subsamples))
    pooling = pooling or offered_poolings(study.subsamples)[0]
    samples = samples or offered_samples(study.subsamples)[0]
    offered = offered_layers(study.subsamples, pooling, samples)
    asked = tuple(name for name in offered if name in query.get("layers", ()))[:MAX_LAYERS]
    return SizeSelection(pooling, samples, asked or first_layers(study.curves, offered, pooling, samples, carried))


def size_query(selection: SizeSelection, study: OpenStudy, carried: str | None = None) -> dict[str, list[str]]:
    """What the address has to say of a view: where it differs from the default."""
    default = size_selection({}, study, carried)
    query = {"pooling": [selection.pooling]} if selection.pooling != default.pooling else {}
    query |= {"samples": [selection.samples]} if selection.samples != default.samples else {}
    offered = offered_layers(study.subsamples, selection.pooling, selection.samples)
    usual = first_layers(study.curves, offered, selection.pooling, selection.samples, carried)
    return query | ({"layers": list(selection.layers)} if selection.layers != usual else {})


def size_lines(study: OpenStudy, selection: SizeSelection) -> pd.DataFrame:
    """One row a layer, sampling and size, with the columns `LINE_COLUMNS`, in network order.

    value, lowest, highest : mean, least and greatest SI of the repeats. low, high : the 95 % interval of one draw for
    all samples at hand, averaged over the repeats; nan for subsamples of both sides, which have none.
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
    """Layer, position, size, value and chance of all samples, and whether many of them are tied: the lines' right end.

    Empty where not all were asked.
    """
    keep = (curves["measure"] == "SI") & (curves["sampling"] == "full")
    keep &= (curves["pooling"] == pooling) & (curves["samples"] == samples)
    rows = curves[keep & (curves["layer"].isin(layers) if layers is not None else True)]
    rows = rows.assign(tied=has_many_ties(rows)).rename(columns={"num_queries": "size"})
    return rows[["layer", "position", "size", "value", "chance", "tied"]]


def size_finding(lines: pd.DataFrame, ends: pd.DataFrame, selection: SizeSelection) -> str:
    """What the numbers say of the best chosen layer, as Markdown; at least one line.

    Nothing is concluded from layers with many tied samples, and that is said.
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
    both = _rise(best[best["sampling"] == SUBSAMPLE], end, f"{where}, SI of {one_layer(layer)}")
    return " ".join(filter(None, [both, _scatter(best[best["sampling"] == QUERIES], end), left_out]))


def _rise(both: pd.DataFrame, end: pd.DataFrame, subject: str) -> str:
    """How SI differs between the smallest and the largest size, both sides subsampled."""
    points = pd.concat([both, end])[["size", "value"]]
    if len(points) < 2:
        return ""
    (small, low), (large, high) = points.iloc[[0, -1]].itertuples(index=False)
    return (
        f"{subject} is **{number(low)}** with {small:,.0f} samples and **{number(high)}** with {large:,.0f}. "
        "Compare studies at equal sizes only."
    )


def _scatter(asked: pd.DataFrame, end: pd.DataFrame) -> str:
    """How much the smallest set of queries scatters around the SI of all samples."""
    if asked.empty or end.empty:
        return ""
    least = asked.iloc[0]
    span = f"between {number(least['lowest'])} and {number(least['highest'])}"
    return (
        f"Asking only {least['size']:,} of them, with all {end['size'].iloc[0]:,} kept as possible neighbors, gives "
        f"{span} in {least['repeats']} draws: no bias, only scatter."
    )


def fitted_lines(fitted: pd.DataFrame, selection: SizeSelection) -> pd.DataFrame:
    """The chosen layers' curves over sample size, as `read_fitted` returns them: "fitted", then "extrapolated" rows."""
    keep = (fitted["pooling"] == selection.pooling) & (fitted["samples"] == selection.samples)
    keep &= fitted["layer"].isin(selection.layers) & fitted["kind"].isin(["fitted", "extrapolated"])
    return fitted[keep].sort_values(["position", "size"], ignore_index=True)


def extrapolation_finding(curves: pd.DataFrame, ends: pd.DataFrame) -> str:
    """Where the best layer's fitted curve leads, as Markdown; empty where there is none."""
    curves = curves[~curves["layer"].isin(ends.loc[ends["tied"], "layer"])]
    if curves.empty:
        return ""
    last = curves.groupby("layer", sort=False).tail(1)
    best = last.iloc[int(last["value"].argmax())]
    span = "" if pd.isna(best["low"]) else f" ({number(best['low'])} to {number(best['high'])})"
    now = ends.loc[ends["layer"] == best["layer"], "value"]
    today = f", against {number(now.iloc[0])} with the {ends['size'].iloc[0]:,} at hand" if len(now) else ""
    return (
        f"If its curve keeps its form, {one_layer(best['layer'])} comes to **{number(best['value'])}**{span} with "
        f"{best['size']:,} samples{today}, and to {number(best['asymptote'])} in the end."
    )


def precision_finding(ends: pd.DataFrame) -> str:
    """How many queries tell SI to within `PRECISION`, as Markdown; empty where not all samples were asked."""
    ends = ends[~ends["tied"]]
    if ends.empty:
        return ""
    count = int(ends["size"].max())
    best = ends.iloc[int(ends["value"].argmax())]
    share = float(np.clip(best["value"], 0.01, 0.99))
    worst, here = (required_queries(PRECISION, count, share=one) for one in (0.5, share))
    return (
        f"To know the SI of all {count:,} to within ±{PRECISION} (95 %), ask **{worst:,}** of them; "
        f"{here:,} are enough where SI is near {number(best['value'])}, as in {one_layer(best['layer'])}."
    )


def suggested_command(study: OpenStudy) -> str | None:
    """The study's command with sizes, to be run into another folder; None where no command made the study.

    A precision is left out: it draws samples too, and does not go together with sizes.
    """
    if not study.info.get("command"):
        return None
    try:
        words = shlex.split(study.info["command"])
    except ValueError:  # a quotation mark that nothing closes: it was not written by this program
        return None
    if "--precision" in words[:-1]:
        place = words.index("--precision")
        del words[place : place + 2]
    if "--out" in words[:-1]:
        place = words.index("--out") + 1
        words[place] = f"{words[place].rstrip('/')}-sizes"
    sizes = ",".join(map(str, suggested_sizes(study.curves, look_up(study.info, "used.data.num_classes"))))
    return f"{shlex.join(words)} --sizes {sizes} --repeats 5"


def suggested_sizes(curves: pd.DataFrame, num_classes: Any) -> list[int]:
    """Fifths of the smallest split, each at least two samples a class."""
    counts = curves.loc[curves["samples"] != "cross"].groupby("samples")["num_queries"].max()
    smallest = int(counts.min()) if len(counts) else 500
    least = 2 if num_classes is None else 2 * num_classes
    return sorted({min(max(smallest * part // 5, least), smallest) for part in range(1, 5)})
