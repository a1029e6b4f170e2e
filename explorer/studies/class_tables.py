"""SI by class and layer, and the choice of layer, pooling and samples on the pages Classes and Samples."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import pandas as pd

from core.analysis import separation_level
from core.report.words.cards import confused_text, most_confused
from core.report.words.formatting import number, one_layer, plain
from explorer.studies.loading import offered_poolings

PAGE_SIZE = 30  # classes in a heat map; more are not readable on a phone
DEVELOPED = 5  # lines in the chart of the hardest classes
BARS = 15  # pairs in the chart of confused classes


@dataclass(frozen=True)
class LayerSelection:
    """What the pages Classes and Samples show.

    Attributes
    ----------
    layer : str
        Name of the layer.
    pooling : str
        "mean" or "flat".
    samples : str
        "train", "test", or "cross": test samples, whose neighbors are searched among the training samples.
    """

    layer: str
    pooling: str
    samples: str

    @property
    def split(self) -> str:
        """The split of the query samples."""
        return "test" if self.samples == "cross" else self.samples

    @property
    def among(self) -> str:
        """The split of their possible neighbors."""
        return "train" if self.samples == "cross" else self.samples


def offered_poolings_and_samples(curves: pd.DataFrame) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The poolings and the samples that have values, the default first; samples of one class only come last."""
    rows = curves[(curves["measure"] == "SI") & curves["value"].notna()]
    has_one_class = rows["chance"] == 1  # every neighbor agrees, whatever the labels
    several_classes = set(rows.loc[~has_one_class, "samples"])
    one_class = set(rows.loc[has_one_class, "samples"]) - several_classes
    names = ("test", "train", "cross")
    samples = [name for name in names if name in several_classes] + [name for name in names if name in one_class]
    return offered_poolings(rows), tuple(samples)


def layer_selection(query: Mapping[str, Sequence[str]], layer: str | None, curves: pd.DataFrame) -> LayerSelection:
    """The choices in an address, as far as the study has them; else the defaults and their best layer.

    Parameters
    ----------
    query : mapping
        Query parameters of the page.
    layer : str or None
        The layer that all pages share.
    curves : DataFrame
        Of `OpenStudy`.
    """
    poolings, all_samples = offered_poolings_and_samples(curves)
    pooling = next((value for value in query.get("pooling", ()) if value in poolings), poolings[0])
    samples = next((value for value in query.get("split", ()) if value in all_samples), all_samples[0])
    if layer is None or layer not in offered_layers(curves, pooling, samples):
        layer = best_layer(curves, pooling, samples)
    return LayerSelection(layer, pooling, samples)


def layer_query(selection: LayerSelection, curves: pd.DataFrame) -> dict[str, list[str]]:
    """The query parameters of the choices that differ from the default; the layer is a parameter of all pages."""
    poolings, samples = offered_poolings_and_samples(curves)
    query = {"pooling": [selection.pooling]} if selection.pooling != poolings[0] else {}
    return query | ({"split": [selection.samples]} if selection.samples != samples[0] else {})


def offered_layers(curves: pd.DataFrame, pooling: str, samples: str) -> list[str]:
    """The layers that have an SI for this pooling and these samples, in network order."""
    return list(_lines(curves, pooling, samples).sort_values("position")["layer"])


def best_layer(curves: pd.DataFrame, pooling: str, samples: str) -> str:
    """The layer with the highest SI; see `core.analysis.separation_level.best_layer`."""
    return separation_level.best_layer(_lines(curves, pooling, samples))


def class_values(
    classes: pd.DataFrame, layers: pd.DataFrame, names: pd.Series, selection: LayerSelection
) -> pd.DataFrame:
    """SI by class and layer.

    Parameters
    ----------
    classes, layers : DataFrame
        Tables of the study.
    names : Series
        Class name by label.
    selection : LayerSelection
        Pooling and samples; its layer is not used.

    Returns
    -------
    DataFrame
        layer, position, class_name, value, chance, num_queries; in network order.
    """
    measure = "cross" if selection.samples == "cross" else "separation"
    rows = classes[(classes["split"] == selection.split) & (classes["measure"] == measure) & (classes["order"] == 1)]
    rows = rows.assign(layer=rows["layer"].astype(str), class_name=rows["label"].map(names).astype(str))
    known = layers.set_index("layer")
    rows = rows[rows["layer"].isin(known.index)]
    # A layer without spatial extent has no channel means: its rows are stored as "flat" only.
    has_vector_output = known["output_shape"].map(len) <= 1
    pooling = rows["layer"].map(has_vector_output).map({True: "flat", False: selection.pooling})
    rows = rows[rows["pooling"].astype(str) == pooling].assign(position=rows["layer"].map(known["position"]))
    columns = ["layer", "position", "class_name", "value", "chance", "num_queries"]
    return rows.sort_values(["position", "class_name"], ignore_index=True)[columns]


def ranked_classes(values: pd.DataFrame, layer: str) -> pd.DataFrame:
    """The classes at one layer, the lowest SI first: class_name, value, chance, num_queries."""
    rows = values[values["layer"] == layer].dropna(subset=["value"])
    return rows.sort_values(["value", "class_name"], ignore_index=True)[
        ["class_name", "value", "chance", "num_queries"]
    ]


def classes_finding(ranked: pd.DataFrame, pairs: pd.DataFrame | None, selection: LayerSelection) -> str:
    """The classes with the lowest and the highest SI, and the most confused pair, as Markdown.

    Parameters
    ----------
    ranked : DataFrame
        Of `ranked_classes`.
    pairs : DataFrame or None
        Of `core.analysis.samples.neighborhoods.confused_pairs`; None if the study stores no neighbors of the layer.
    selection : LayerSelection
        The layer that both are of.
    """
    if ranked.empty:
        return f"No class has an SI at {one_layer(selection.layer)}."
    lowest, highest = ranked.iloc[0], ranked.iloc[-1]
    text = (
        f"At {one_layer(selection.layer)}, the lowest SI of {len(ranked):,} classes is that of {_class_value(lowest)}, "
        f"chance {number(lowest['chance'])}; the highest that of {_class_value(highest)}."
    )
    if pairs is None:
        return f"{text} The study stores no neighbors of this layer, so the most confused classes are unknown."
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


def _lines(curves: pd.DataFrame, pooling: str, samples: str) -> pd.DataFrame:
    """The rows of `curves` that have an SI for this pooling and these samples."""
    keep = (curves["measure"] == "SI") & (curves["pooling"] == pooling) & (curves["samples"] == samples)
    return curves[keep & curves["value"].notna()]
