"""The results of a study in three cards: where it is good enough, the most confused classes, samples to check."""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from core.analysis.cut.advice import SI_TOLERANCE, Advice, cut_candidates, recommend_layer
from core.analysis.samples.neighborhoods import confused_pairs, read_nearest
from core.analysis.samples.selection import layers_with_neighbors
from core.analysis.samples.suspects import late_neighbors
from core.analysis.separation_level import LEVELS, best_layer
from core.data.sampling import name_some
from core.report.words.class_losses import class_cost_text
from core.report.words.cut import explanation
from core.report.words.formatting import number, one_layer, plain
from core.report.words.samples_to_check import check_text
from core.study.store.opening import Study, StudyError
from core.study.store.tables.class_names import sample_classes, short_classes

NOT_STORED = "The study stores no neighbors for this. Run it again with at least one stored neighbor a sample."


@dataclass(frozen=True)
class ConfusedPair:
    """The most confused classes at a layer: the first of `core.analysis.samples.neighborhoods.confused_pairs`.

    Attributes
    ----------
    first, second : str
        The two classes.
    count, total : int
        `count` of the `total` samples of both classes have their nearest neighbor in the other class.
    chance : float
        The share that would, with meaningless labels.
    layer : str
    num_equal : int
        Number of other pairs with the same count.
    """

    first: str
    second: str
    count: int
    total: int
    chance: float
    layer: str
    num_equal: int


@dataclass(frozen=True)
class Card:
    """The text of a card, as Markdown, and its pictures: the source (see the table `samples`) and class of each."""

    text: str
    pictures: tuple[tuple[str, str], ...] = ()


def good_enough(study: Study, curve: pd.DataFrame, tolerance: float = SI_TOLERANCE) -> Advice:
    """Recommend the earliest layer of a curve of SI that is within the tolerance of the best.

    Pixels and the network's own head are not candidates, unless the curve has no other layers.

    Parameters
    ----------
    study : Study
    curve : DataFrame
        As returned by `core.analysis.separation_level.lead_curve`.
    tolerance : float
        How much less SI than the best is acceptable.
    """
    pooling, samples = _where(curve)
    split, measure = ("test", "cross") if samples == "cross" else (samples, "separation")
    candidates = set(cut_candidates(study))
    layers = [layer for layer in curve["layer"] if layer in candidates] or curve["layer"].tolist()
    return recommend_layer(study, split=split, pooling=pooling, measure=measure, layers=layers, tolerance=tolerance)


def most_confused(pairs: pd.DataFrame, layer: str) -> ConfusedPair | None:
    """Return the first of the pairs from `core.analysis.samples.neighborhoods.confused_pairs`; None for no pairs."""
    if pairs.empty:
        return None
    first = pairs.iloc[0]
    num_equal = int((pairs["count"] == first["count"]).sum()) - 1
    count, total, chance = int(first["count"]), int(first["total"]), float(first["chance"])
    return ConfusedPair(str(first["first"]), str(first["second"]), count, total, chance, layer, num_equal)


def check_card_text(study: Study, curve: pd.DataFrame) -> str:
    """Return the text of the card about samples to check, as Markdown."""
    pooling, split = _where(curve)
    neighbors = late_neighbors(study, pooling, split) if split != "cross" else pd.DataFrame()
    return NOT_STORED if neighbors.empty else check_text(study, neighbors, split)


def _where(curve: pd.DataFrame) -> tuple[str, str]:
    """The pooling and the samples of a curve."""
    return str(curve["pooling"].iloc[0]), str(curve["samples"].iloc[0])


def make_cards(study: Study, curve: pd.DataFrame, tolerance: float = SI_TOLERANCE) -> tuple[Card, Card, Card]:
    """Make the three cards about a curve of SI that has at least one layer with a value; see `good_enough`."""
    return cards_of(study, curve, good_enough(study, curve, tolerance))


def cards_of(study: Study, curve: pd.DataFrame, advice: Advice) -> tuple[Card, Card, Card]:
    """Make the same cards as `make_cards` from the advice that `good_enough` returned for the curve."""
    return (
        Card(f"{explanation(advice)} {class_cost_text(study, advice, advice.target)}".strip()),
        confused_card(study, curve, best_with_neighbors(study, curve)),
        Card(check_card_text(study, curve)),
    )


def best_with_neighbors(study: Study, curve: pd.DataFrame) -> str:
    """Return the best layer of a curve, of those whose neighbors the study stores if there are any."""
    has_neighbors = curve["layer"].isin(layers_with_neighbors(study))
    return best_layer(curve[has_neighbors] if has_neighbors.any() else curve)


def confused_card(study: Study, curve: pd.DataFrame, layer: str) -> Card:
    """Make the card about the most confused classes at one layer of a curve."""
    pooling, samples = _where(curve)
    split, among = ("test", "train") if samples == "cross" else (samples, samples)
    try:
        pairs = confused_pairs(study, layer, pooling, split, among=among)
    except StudyError:  # a study may store no neighbors, or none of this layer and these samples
        return Card(NOT_STORED)
    short_names = short_classes(sample_classes(study.samples))
    named = pairs.assign(first=pairs["first"].map(short_names), second=pairs["second"].map(short_names))
    text = f"{confused_text(most_confused(named, layer), layer)} {unseparated_text(study, curve, layer)}".strip()
    return Card(text, _pictures(study, pairs.iloc[0], pooling, (split, among), layer) if len(pairs) else ())


def unseparated_text(study: Study, curve: pd.DataFrame, layer: str) -> str:
    """Name the classes that are at chance at a layer that separates the classes overall, as Markdown; "" for none.

    SI of all samples says little about small classes: with two large and three small classes, it may be near 1 although
    no sample of a small class has its nearest neighbor in its own class. Classes of a single sample are not counted
    within a split.
    """
    pooling, samples = _where(curve)
    split, measure, fewest = ("test", "cross", 1) if samples == "cross" else (samples, "separation", 2)
    overall = curve.set_index("layer").loc[layer]
    if not overall["value"] - overall["chance"] >= dict(LEVELS)["partly"] * (1 - overall["chance"]):
        return ""
    rows = study.classes
    rows = rows[(rows["layer"] == layer) & (rows["split"] == split) & (rows["measure"] == measure)]
    same_pooling = rows["pooling"] == pooling
    rows = rows[same_pooling] if same_pooling.any() else rows
    rows = rows[(rows["num_queries"] >= fewest) & rows["value"].notna()]
    at_chance = rows[rows["value"] <= rows["chance"]]
    if at_chance.empty:
        return ""
    names = study.samples.drop_duplicates("label").set_index("label")["class_name"].astype(object)
    short_names = short_classes(sample_classes(study.samples))
    full_names = [str(names.get(label, label)) for label in at_chance["label"]]
    named = [plain(short_names.get(name, name)) for name in full_names]
    verb = "is" if len(named) == 1 else "are"
    return (
        f"**{len(named)} of {len(rows)} classes {verb} not separated** there, with an SI at chance: {name_some(named)}."
    )


def _pictures(
    study: Study, pair: pd.Series, pooling: str, splits: tuple[str, str], layer: str
) -> tuple[tuple[str, str], ...]:
    """The source and class of two samples, one of each class of a pair, one of them the nearest neighbor of the other.

    splits : those of the samples and of their neighbors.
    """
    nearest = read_nearest(study, [layer], pooling, splits[0], among=splits[1])[layer]
    classes = sample_classes(study.samples)
    sample_class, nearest_class = (classes.reindex(nearest[name]).to_numpy(object) for name in ("sample", "nearest"))
    names = (pair["first"], pair["second"])
    confused = (sample_class != nearest_class) & np.isin(sample_class, names) & np.isin(nearest_class, names)
    row = nearest.iloc[int(np.flatnonzero(confused)[0])]
    samples = sorted((int(row["sample"]), int(row["nearest"])), key=lambda sample: names.index(classes[sample]))
    sources = study.samples.set_index("sample")["source"].astype(object).fillna("")
    short_names = short_classes(classes)
    return tuple((str(sources[sample]), short_names[classes[sample]]) for sample in samples)


def confused_text(pair: ConfusedPair | None, layer: str) -> str:
    """Name the most confused classes at a layer and the counts, as Markdown; `pair` is None where none are confused."""
    if pair is None:
        return f"At {one_layer(layer)} no sample's nearest neighbor is of another class."
    others = f"{pair.num_equal} other pair{'s' * (pair.num_equal != 1)}"
    rank = f"as many as of {others}" if pair.num_equal else "more than of any other pair"
    by_chance = number(pair.chance * pair.total)
    is_more = pair.count > pair.chance * pair.total
    chance = f" (by chance {by_chance})" if is_more else f"; meaningless labels would give {by_chance}"
    return (
        f"**{plain(pair.first)}** and **{plain(pair.second)}**: {pair.count:,} of their {pair.total:,} "
        f"samples have their nearest neighbor in the other class, at {one_layer(pair.layer)}, {rank}{chance}."
    )
