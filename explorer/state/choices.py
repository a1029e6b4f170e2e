"""What a person has chosen to see, and what remains of a study's tables under that choice."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from core.analysis.curves import has_space
from core.network.layer_names import matches

DRAWS = "draws"  # target of a band from the lowest to the highest draw: no interval
SAMPLES = {"test": "Test", "train": "Train", "cross": "Test to train"}
POOLINGS = {"mean": "Channel means", "flat": "All activations", "both": "Both"}
COLUMNS = {"interval": "Value and interval", "significance": "+ Significance"}


@dataclass(frozen=True)
class Selection:
    """The view of a study.

    pooling : "mean", "flat" or "both". samples : of "train", "test", "cross". knn : whether the baseline is shown.
    kinds, blocks : of these only; empty means all. names : names or patterns (`*_add`); empty means all.
    columns : "interval" or "significance", what the table has. measure, sampling : as `lines` offers them.
    table : whether the table is open. span : the first and the last layer; empty means all.
    """

    pooling: str
    samples: tuple[str, ...]
    knn: bool = False
    kinds: tuple[str, ...] = ()
    blocks: tuple[str, ...] = ()
    names: tuple[str, ...] = ()
    columns: str = "interval"
    measure: str = "separation"
    sampling: str = "full"
    table: bool = False
    span: tuple[str, ...] = ()


@dataclass(frozen=True)
class Choices:
    """What a study offers to choose from, each in the order to be shown."""

    poolings: tuple[str, ...]
    samples: tuple[str, ...]
    knn: bool
    kinds: tuple[str, ...]
    blocks: tuple[str, ...]
    names: tuple[str, ...]
    measures: tuple[str, ...] = ("separation",)
    samplings: tuple[str, ...] = ("full",)


def choices(
    layers: pd.DataFrame,
    curves: pd.DataFrame,
    measures: tuple[str, ...] = ("separation",),
    samplings: tuple[str, ...] = ("full",),
) -> Choices:
    """What the study offers; the measures and samplings as `lines` found them."""
    found = list(curves.loc[curves["measure"] == "SI", "samples"].unique())
    return Choices(
        poolings=_poolings(layers, curves),
        samples=(*(name for name in SAMPLES if name in found), *(name for name in found if name not in SAMPLES)),
        knn=bool((curves["measure"] == "kNN").any()),
        kinds=_distinct(layers["kind"]),
        blocks=_distinct(layers["block"]),
        names=_distinct(layers["layer"]),
        measures=measures,
        samplings=samplings,
    )


def default_selection(offered: Choices) -> Selection:
    """Channel means where there are any, each split by itself, the baseline where there is one, all layers."""
    splits = tuple(name for name in offered.samples if name != "cross")
    return Selection(offered.poolings[0], splits or offered.samples, offered.knn)


def from_query(query: Mapping[str, Sequence[str]], offered: Choices) -> Selection:
    """The view that an address asks for, as far as the study offers it; the default for the rest."""
    default = default_selection(offered)
    return Selection(
        pooling=one_offered(query, "pooling", offered.poolings) or default.pooling,
        samples=_offered(query, "samples", offered.samples) or default.samples,
        knn=default.knn and list(query.get("knn", ())) != ["no"],
        kinds=_offered(query, "kinds", offered.kinds),
        blocks=_offered(query, "blocks", offered.blocks),
        names=tuple(query.get("layers", ())),
        columns=one_offered(query, "columns", tuple(COLUMNS)) or default.columns,
        measure=one_offered(query, "measure", offered.measures) or default.measure,
        sampling=one_offered(query, "sampling", offered.samplings) or default.sampling,
        table=list(query.get("table", ())) == ["open"],
        span=_span(query.get("span", ()), offered.names),
    )


def to_query(selection: Selection, offered: Choices) -> dict[str, list[str]]:
    """What the address has to say of a view: where it differs from the default."""
    default = default_selection(offered)
    lists = {"samples": selection.samples, "kinds": selection.kinds, "blocks": selection.blocks}
    usual = {"samples": default.samples, "kinds": (), "blocks": ()}
    query = {name: list(chosen) for name, chosen in lists.items() if set(chosen) != set(usual[name])}
    query |= {"layers": list(selection.names), "span": list(selection.span)}
    for name in ("pooling", "columns", "measure", "sampling"):
        chosen, first = getattr(selection, name), getattr(default, name)
        query |= {name: [chosen]} if chosen != first else {}
    query |= {"knn": ["no"]} if default.knn and not selection.knn else {}
    query |= {"table": ["open"]} if selection.table else {}
    return {name: values for name, values in query.items() if values}


def select_layers(layers: pd.DataFrame, selection: Selection) -> pd.DataFrame:
    """The chosen layers: those in the span that are of the chosen kinds, blocks and names at once."""
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

    Where both poolings are shown, a layer to which pooling makes no difference stands in the curve of means only.
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
    """Names and patterns that no layer bears."""
    return tuple(pattern for pattern in patterns if not any(_matches(layer, [pattern]) for layer in layers))


def _matches(layer: str, patterns: Sequence[str]) -> bool:
    return any(layer == pattern or matches(layer, pattern) for pattern in patterns)


def one_offered(query: Mapping[str, Sequence[str]], name: str, offered: Sequence[str]) -> str | None:
    """The first value that the address gives and the study offers."""
    return next((value for value in query.get(name, ()) if value in offered), None)


def _offered(query: Mapping[str, Sequence[str]], name: str, offered: Sequence[str]) -> tuple[str, ...]:
    return tuple(value for value in offered if value in query.get(name, ()))


def _span(asked: Sequence[str], names: Sequence[str]) -> tuple[str, ...]:
    """First and last layer, as far as the study has both; empty for all."""
    if len(asked) != 2 or not set(asked) <= set(names):
        return ()
    first, last = sorted(asked, key=names.index)
    return () if (first, last) == (names[0], names[-1]) else (first, last)


def _poolings(layers: pd.DataFrame, curves: pd.DataFrame) -> tuple[str, ...]:
    """Poolings of the layers where it makes a difference; of all layers where it never does."""
    spatial = layers.loc[has_space(layers), "layer"]
    rows = curves[curves["layer"].isin(spatial)]
    found = set((rows if len(rows) else curves)["pooling"])
    names = tuple(name for name in ("mean", "flat") if name in found)
    return (*names, "both") if len(names) == 2 else names


def _distinct(values: pd.Series) -> tuple[str, ...]:
    """In order of appearance, without the empty text."""
    return tuple(value for value in dict.fromkeys(values) if value)
