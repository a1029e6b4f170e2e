"""What the page Classes speaks about: SI by class through the network, and which classes run into each other."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import pandas as pd

from core.analysis import separation_level
from core.report.words.cards import confused_text, most_confused
from core.report.words.formatting import number, one_layer, plain
from explorer.studies.loading import offered_poolings

PAGE_SIZE = 30  # classes in a heat map, readable on a phone too
DEVELOPED = 5  # lines in the chart of the hardest classes
BARS = 15


@dataclass(frozen=True)
class LayerSelection:
    """What the pages about samples look at: a layer, "mean" or "flat", and "train", "test" or "cross"."""

    layer: str
    pooling: str
    samples: str

    @property
    def split(self) -> str:
        """The split of the samples that are asked."""
        return "test" if self.samples == "cross" else self.samples

    @property
    def among(self) -> str:
        """The split of their possible neighbors."""
        return "train" if self.samples == "cross" else self.samples


def offered_poolings_and_samples(curves: pd.DataFrame) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Poolings and samples that the study has, the usual one first; samples of one class only come last."""
    rows = curves[curves["measure"] == "SI"]
    several_classes, one_class = (set(rows.loc[(rows["chance"] == 1) == alike, "samples"]) for alike in (False, True))
    names = [name for name in ("test", "train", "cross") if name in several_classes]
    names += [name for name in ("test", "train", "cross") if name in one_class - several_classes]
    return offered_poolings(rows), tuple(names)


def layer_selection(query: Mapping[str, Sequence[str]], layer: str | None, curves: pd.DataFrame) -> LayerSelection:
    """The selection that an address asks for, as far as the study has it; else the best layer of the usual samples."""
    poolings, samples = offered_poolings_and_samples(curves)
    pooling = next((one for one in query.get("pooling", ()) if one in poolings), poolings[0])
    chosen = next((one for one in query.get("split", ()) if one in samples), samples[0])
    layers = offered_layers(curves, pooling, chosen)
    return LayerSelection(layer if layer in layers else best_layer(curves, pooling, chosen), pooling, chosen)


def layer_query(selection: LayerSelection, curves: pd.DataFrame) -> dict[str, list[str]]:
    """What the address has to say of a selection beside its layer: where it differs from the usual one."""
    poolings, samples = offered_poolings_and_samples(curves)
    query = {"pooling": [selection.pooling]} if selection.pooling != poolings[0] else {}
    return query | ({"split": [selection.samples]} if selection.samples != samples[0] else {})


def offered_layers(curves: pd.DataFrame, pooling: str, samples: str) -> list[str]:
    """The layers measured so, in network order."""
    return list(_lines(curves, pooling, samples).sort_values("position")["layer"])


def best_layer(curves: pd.DataFrame, pooling: str, samples: str) -> str:
    """The layer of the highest SI, as the headline names it: see `core.analysis.separation_level.best_layer`."""
    return separation_level.best_layer(_lines(curves, pooling, samples))


def class_values(
    classes: pd.DataFrame, layers: pd.DataFrame, names: pd.Series, selection: LayerSelection
) -> pd.DataFrame:
    """SI by class and layer.

    Parameters
    ----------
    classes, layers : tables of the study. names : class names by label. selection : only its pooling and samples count.

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
    flat = known["output_shape"].map(len) <= 1
    stored = rows["layer"].map(flat).map({True: "flat", False: selection.pooling})
    rows = rows[rows["pooling"].astype(str) == stored].assign(position=rows["layer"].map(known["position"]))
    columns = ["layer", "position", "class_name", "value", "chance", "num_queries"]
    return rows.sort_values(["position", "class_name"], ignore_index=True)[columns]


def ranked_classes(values: pd.DataFrame, layer: str) -> pd.DataFrame:
    """The classes at one layer, the hardest to separate first: class_name, value, chance, num_queries."""
    rows = values[values["layer"] == layer].dropna(subset=["value"])
    return rows.sort_values(["value", "class_name"], ignore_index=True)[
        ["class_name", "value", "chance", "num_queries"]
    ]


def classes_finding(ranked: pd.DataFrame, pairs: pd.DataFrame | None, selection: LayerSelection) -> str:
    """The classes of the lowest and the highest SI with their samples, and the most confused ones.

    pairs : of `core.analysis.samples.neighborhoods.confused_pairs`; None where the study stores no neighbors there.
    """
    if ranked.empty:
        return f"No class has an SI at {one_layer(selection.layer)}."
    lowest, highest = ranked.iloc[0], ranked.iloc[-1]
    text = (
        f"At {one_layer(selection.layer)}, the lowest SI of {len(ranked):,} classes is that of {_class_value(lowest)}, "
        f"chance {number(lowest['chance'])}; the highest that of {_class_value(highest)}."
    )
    if pairs is None:
        return f"{text} The study stores no neighbors of this layer, which would tell the most confused classes."
    pair = most_confused(pairs, selection.layer)
    confused = confused_text(pair, selection.layer)
    return f"{text} Most confused: {confused}" if pair else f"{text} {confused}"


def _class_value(row: pd.Series) -> str:
    """A class with its SI and how many samples that rests on."""
    count = int(row["num_queries"])
    return f"**{plain(row['class_name'])}**, **{number(row['value'])}** ({count:,} sample{'s' * (count != 1)})"


def pages(count: int, size: int = PAGE_SIZE) -> list[str]:
    """The pages of a list, named by their first and last entry."""
    return [f"{start + 1}–{min(start + size, count)}" for start in range(0, count, size)]


def _lines(curves: pd.DataFrame, pooling: str, samples: str) -> pd.DataFrame:
    keep = (curves["measure"] == "SI") & (curves["pooling"] == pooling) & (curves["samples"] == samples)
    return curves[keep & curves["value"].notna()]
