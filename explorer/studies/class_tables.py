"""SI by class and layer, and the choice of layer, pooling and samples on the pages Classes and Samples."""

from collections.abc import Collection, Mapping, Sequence

import pandas as pd
import streamlit as st

from core.analysis.samples.neighborhoods import stored_layers_text
from core.analysis.samples.selection import (
    LayerSelection,
    best_layer,
    layers_with_neighbors,
    offered_layers,
    offered_poolings_and_samples,
)
from core.report.words.cards import confused_text, most_confused
from core.report.words.formatting import number, one_layer, plain
from explorer.studies.loading import cached_tables

PAGE_SIZE = 30  # classes in a heat map; more are not readable on a phone
DEVELOPED = 5  # lines in the chart of the hardest classes
BARS = 15  # pairs in the chart of confused classes


@st.cache_data(max_entries=16, show_spinner=False)
def cached_layers_with_neighbors(path: str, stamp: tuple[int, ...]) -> tuple[str, ...]:
    """The layers whose neighbors a study stores, in network order."""
    return layers_with_neighbors(cached_tables(path, stamp))


def layer_selection(
    query: Mapping[str, Sequence[str]], layer: str | None, curves: pd.DataFrame, preferred: Collection[str] = ()
) -> LayerSelection:
    """The choices in an address, as far as the study has them; else the defaults and their best layer.

    Parameters
    ----------
    query : mapping
        Query parameters of the page.
    layer : str or None
        The layer that all pages share.
    curves : DataFrame
        Of `OpenStudy`.
    preferred : collection of str
        As for `core.analysis.samples.selection.best_layer`.
    """
    poolings, all_samples = offered_poolings_and_samples(curves)
    pooling = next((value for value in query.get("pooling", ()) if value in poolings), poolings[0])
    samples = next((value for value in query.get("split", ()) if value in all_samples), all_samples[0])
    if layer is None or layer not in offered_layers(curves, pooling, samples):
        layer = best_layer(curves, pooling, samples, preferred)
    return LayerSelection(layer, pooling, samples)


def layer_query(selection: LayerSelection, curves: pd.DataFrame) -> dict[str, list[str]]:
    """The query parameters of the choices that differ from the default; the layer is a parameter of all pages."""
    poolings, samples = offered_poolings_and_samples(curves)
    query = {"pooling": [selection.pooling]} if selection.pooling != poolings[0] else {}
    return query | ({"split": [selection.samples]} if selection.samples != samples[0] else {})


def classes_finding(
    ranked: pd.DataFrame, pairs: pd.DataFrame | None, selection: LayerSelection, with_neighbors: Sequence[str] = ()
) -> str:
    """The classes with the lowest and the highest SI, and the most confused pair, as Markdown.

    Parameters
    ----------
    ranked : DataFrame
        As returned by `core.analysis.samples.class_values.ranked_classes`.
    pairs : DataFrame or None
        Of `core.analysis.samples.neighborhoods.confused_pairs`; None if the study stores no neighbors of the layer.
    selection : LayerSelection
        The layer that both are of.
    with_neighbors : sequence of str
        The layers whose neighbors the study stores.
    """
    if ranked.empty:
        return f"No class has an SI at {one_layer(selection.layer)}."
    lowest, highest = ranked.iloc[0], ranked.iloc[-1]
    text = (
        f"At {one_layer(selection.layer)}, the lowest SI of {len(ranked):,} classes is that of {_class_value(lowest)}, "
        f"chance {number(lowest['chance'])}; the highest that of {_class_value(highest)}."
    )
    if pairs is None:
        return (
            f"{text} The study stores no neighbors of this layer, so the most confused classes are unknown. "
            f"{stored_layers_text(with_neighbors)}"
        )
    pair = most_confused(pairs, selection.layer)
    confused = confused_text(pair, selection.layer)
    return f"{text} Most confused: {confused}" if pair else f"{text} {confused}"


def _class_value(row: pd.Series) -> str:
    """A class with its SI and its number of samples."""
    count = int(row["num_queries"])
    return f"**{plain(row['class_name'])}**, **{number(row['value'])}** ({count:,} sample{'s' * (count != 1)})"


def pages(count: int, size: int = PAGE_SIZE) -> list[str]:
    """The names of a list's pages: their first and last entry, such as "31–60"."""
    return [f"{start + 1}–{min(start + size, count)}" for start in range(0, count, size)]
