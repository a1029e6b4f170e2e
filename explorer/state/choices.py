"""The view of the page Layers: what a study offers, what the user chose, and the rows of its tables that remain."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import pandas as pd

from core.analysis.curves import has_space
from core.network.layer_names import matches
from core.report.words.formatting import SAMPLES
from explorer.state.measures import FULL, SEPARATION, Measure, Sampling

DRAWS = "draws"  # value of the column `target` for a band from the lowest to the highest draw, which is no interval
POOLINGS = {"mean": "Channel means", "flat": "All activations", "both": "Both"}
MOST_STUDIES = 12  # beside the open one, in one chart
_Value = TypeVar("_Value")
COLUMNS = {"interval": "Value and interval", "significance": "+ Significance"}


@dataclass(frozen=True)
class Selection:
    """The user's choices on the page Layers.

    Attributes
    ----------
    pooling : str
        "mean", "flat" or "both".
    samples : tuple of str
        Any of "train", "test" and "cross".
    knn : bool
        Whether the kNN baseline is shown.
    kinds, blocks : tuple of str
        Kinds and blocks of the layers to show; empty means all.
    names : tuple of str
        Names or patterns (`*_add`) of the layers to show; empty means all.
    columns : str
        Columns of the table: "interval" or "significance".
    measure : Measure
        What the lines of SI show.
    samplings : tuple of Sampling
        The samples that it is of: all, or drawn ones of one or several sizes.
    table : bool
        Whether the table is open.
    span : tuple of str
        The first and the last layer to show; empty means all.
    also : tuple of str
        Names of further studies in the chart.
    """

    pooling: str
    samples: tuple[str, ...]
    knn: bool = False
    kinds: tuple[str, ...] = ()
    blocks: tuple[str, ...] = ()
    names: tuple[str, ...] = ()
    columns: str = "interval"
    measure: Measure = SEPARATION
    samplings: tuple[Sampling, ...] = (FULL,)
    table: bool = False
    span: tuple[str, ...] = ()
    also: tuple[str, ...] = ()

    @property
    def sampling(self) -> Sampling:
        """The samples that headline and table are about: all samples if they are chosen, else the last choice."""
        return FULL if FULL in self.samplings else self.samplings[-1]


@dataclass(frozen=True)
class Choices:
    """What a study offers to choose from, each in the order of display."""

    poolings: tuple[str, ...]
    samples: tuple[str, ...]
    knn: bool
    kinds: tuple[str, ...]
    blocks: tuple[str, ...]
    names: tuple[str, ...]
    measures: tuple[Measure, ...] = (SEPARATION,)
    samplings: tuple[Sampling, ...] = (FULL,)


def choices(
    layers: pd.DataFrame,
    curves: pd.DataFrame,
    measures: tuple[Measure, ...] = (SEPARATION,),
    samplings: tuple[Sampling, ...] = (FULL,),
) -> Choices:
    """What the study offers to choose from.

    Parameters
    ----------
    layers, curves : DataFrame
        Tables of `OpenStudy`.
    measures, samplings : tuples
        As `explorer.app_pages.layers.measure_options` offers them.
    """
    return Choices(
        poolings=_poolings(layers, curves),
        samples=ordered_samples(curves.loc[curves["measure"] == "SI", "samples"].unique()),
        knn=bool((curves["measure"] == "kNN").any()),
        kinds=_distinct(layers["kind"]),
        blocks=_distinct(layers["block"]),
        names=_distinct(layers["layer"]),
        measures=measures,
        samplings=samplings,
    )


def ordered_samples(names: Iterable[str]) -> tuple[str, ...]:
    """The known names in the order of `SAMPLES`, then any others as given."""
    given = list(names)
    known = [name for name in SAMPLES if name in given]
    return (*known, *(name for name in given if name not in SAMPLES))


def default_selection(offered: Choices) -> Selection:
    """Channel means and the baseline if the study has them, each split by itself, all layers."""
    splits = tuple(name for name in offered.samples if name != "cross")
    return Selection(offered.poolings[0], splits or offered.samples, offered.knn)


def from_query(query: Mapping[str, Sequence[str]], offered: Choices) -> Selection:
    """The choices in an address, as far as the study offers them; the default for the rest."""
    default = default_selection(offered)
    unmatched = unmatched_names(offered.names, query.get("layers", ()))
    return Selection(
        pooling=one_offered(query, "pooling", offered.poolings) or default.pooling,
        samples=_offered(query, "samples", offered.samples) or default.samples,
        knn=default.knn and list(query.get("knn", ())) != ["no"],
        kinds=_offered(query, "kinds", offered.kinds),
        blocks=_offered(query, "blocks", offered.blocks),
        names=tuple(name for name in query.get("layers", ()) if name not in unmatched),
        columns=one_offered(query, "columns", tuple(COLUMNS)) or default.columns,
        measure=one_offered(query, "measure", offered.measures) or default.measure,
        samplings=_offered_values(query, "sampling", offered.samplings) or default.samplings,
        table=list(query.get("table", ())) == ["open"],
        span=_span(query.get("span", ()), offered.names),
        also=tuple(dict.fromkeys(name for name in query.get("also", ()) if name))[:MOST_STUDIES],
    )


def to_query(selection: Selection, offered: Choices) -> dict[str, list[str]]:
    """The query parameters of the choices that differ from the default."""
    default = default_selection(offered)
    query = {"layers": list(selection.names), "span": list(selection.span), "also": list(selection.also)}
    for name in ("samples", "kinds", "blocks"):
        chosen = getattr(selection, name)
        if set(chosen) != set(getattr(default, name)):
            query[name] = list(chosen)
    if selection.samplings != default.samplings:
        query["sampling"] = [str(sampling) for sampling in selection.samplings]
    for name in ("pooling", "columns", "measure"):
        value = getattr(selection, name)
        if value != getattr(default, name):
            query[name] = [str(value)]
    if default.knn and not selection.knn:
        query["knn"] = ["no"]
    if selection.table:
        query["table"] = ["open"]
    return {name: values for name, values in query.items() if values}


def select_layers(layers: pd.DataFrame, selection: Selection) -> pd.DataFrame:
    """The layers that are in the span and have one of the chosen kinds, one of the blocks and one of the names."""
    keep = pd.Series(True, index=layers.index)
    if selection.span:
        first, last = (layers["layer"].tolist().index(name) for name in selection.span)
        keep &= (np.arange(len(layers)) >= first) & (np.arange(len(layers)) <= last)
    if selection.kinds:
        keep &= layers["kind"].isin(selection.kinds)
    if selection.blocks:
        keep &= layers["block"].isin(selection.blocks)
    if selection.names:
        keep &= layers["layer"].map(lambda name: _matches(name, selection.names))
    return layers[keep].reset_index(drop=True)


def select_curves(curves: pd.DataFrame, layers: pd.DataFrame, selection: Selection) -> pd.DataFrame:
    """The chosen curves at the given layers: SI before kNN, test before train, channel means before all activations.

    If both poolings are chosen, a layer without spatial extent, whose values are equal for both, is part of the curve
    of channel means only.
    """
    poolings = ["mean", "flat"] if selection.pooling == "both" else [selection.pooling]
    keep = curves["layer"].isin(layers["layer"])
    keep &= curves["samples"].isin(selection.samples) & curves["pooling"].isin(poolings)
    keep &= (curves["measure"] == "SI") | selection.knn
    if selection.pooling == "both":
        keep &= (curves["pooling"] == "mean") | curves["layer"].isin(layers.loc[has_space(layers), "layer"])
    ranks = {"measure": ["SI", "kNN"], "samples": list(SAMPLES), "pooling": ["mean", "flat"]}
    rank = pd.DataFrame({name: curves[name].map(order.index, na_action="ignore") for name, order in ranks.items()})
    order = rank.assign(position=curves["position"])[keep].sort_values([*ranks, "position"]).index
    return curves.loc[order].reset_index(drop=True)


def unmatched_names(layers: Sequence[str], patterns: Sequence[str]) -> tuple[str, ...]:
    """Names and patterns that match no layer."""
    unmatched = []
    for pattern in patterns:
        if not any(_matches(layer, [pattern]) for layer in layers):
            unmatched.append(pattern)
    return tuple(unmatched)


def _matches(layer: str, patterns: Sequence[str]) -> bool:
    return any(layer == pattern or matches(layer, pattern) for pattern in patterns)


def one_offered(query: Mapping[str, Sequence[str]], name: str, offered: Iterable[_Value]) -> _Value | None:
    """Of what the study offers, the one whose text is the first valid value of a query parameter; None without one."""
    by_text = {str(value): value for value in offered}
    return next((by_text[text] for text in query.get(name, ()) if text in by_text), None)


def _offered_values(query: Mapping[str, Sequence[str]], name: str, offered: Sequence[_Value]) -> tuple[_Value, ...]:
    """Of what the study offers, all whose text is a value of a query parameter."""
    return tuple(value for value in offered if str(value) in query.get(name, ()))


def _offered(query: Mapping[str, Sequence[str]], name: str, offered: Sequence[str]) -> tuple[str, ...]:
    return tuple(value for value in offered if value in query.get(name, ()))


def _span(requested: Sequence[str], names: Sequence[str]) -> tuple[str, ...]:
    """First and last layer in network order if the study has both; empty for all layers."""
    if len(requested) != 2 or not set(requested) <= set(names):
        return ()
    first, last = sorted(requested, key=names.index)
    return () if (first, last) == (names[0], names[-1]) else (first, last)


def _poolings(layers: pd.DataFrame, curves: pd.DataFrame) -> tuple[str, ...]:
    """Poolings of the layers with spatial extent, where pooling makes a difference; without any, of all layers."""
    spatial = layers.loc[has_space(layers), "layer"]
    rows = curves[curves["layer"].isin(spatial)]
    poolings = set((rows if len(rows) else curves)["pooling"])
    names = tuple(name for name in ("mean", "flat") if name in poolings)
    return (*names, "both") if len(names) == 2 else names


def _distinct(values: pd.Series) -> tuple[str, ...]:
    """Distinct non-empty values in order of appearance."""
    return tuple(value for value in dict.fromkeys(values) if value)
