"""What a study comes to, in three cards: where it is good enough, confused classes, samples to check."""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from core.analysis.cut.advice import TOLERANCE, Advice, cut_candidates, recommend_layer
from core.analysis.samples.neighborhoods import confused_pairs, read_nearest
from core.analysis.samples.suspects import late_neighbors
from core.analysis.separation_level import best_layer
from core.data.sampling import name_some
from core.report.words.class_losses import class_cost_text
from core.report.words.cut import explanation
from core.report.words.formatting import number, one_layer, plain
from core.report.words.samples_to_check import check_text
from core.study.store.class_names import sample_classes, short_classes
from core.study.store.opening import Study, StudyError

_SEPARATED = 0.25  # of the way from chance to 1, from which on the headline calls classes separated, if only partly
NOT_STORED = "The study stores no neighbors that would tell. Make it again with one stored neighbor a sample or more."


@dataclass(frozen=True)
class ConfusedPair:
    """The most confused classes at a layer: those at the top of `core.analysis.samples.neighborhoods.confused_pairs`.

    count, total : `count` of the `total` samples of both have their nearest neighbor in the other one.
    chance : the share of them that would, with meaningless labels. num_equal : other pairs with the same count.
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
    """What a card says, as Markdown, and its pictures: source in the table `samples`, and class, of each."""

    text: str
    pictures: tuple[tuple[str, str], ...] = ()


def good_enough(study: Study, curve: pd.DataFrame, tolerance: float = TOLERANCE) -> Advice:
    """The earliest layer of a curve of SI, as `lead_curve` returns it, that is within the tolerance of the best.

    Pixels and the network's own head do not count, unless the curve has nothing else.
    """
    pooling, samples = _where(curve)
    split, measure = ("test", "cross") if samples == "cross" else (samples, "separation")
    candidates = set(cut_candidates(study))  # none of a study of pixels alone
    layers = [layer for layer in curve["layer"] if layer in candidates] or curve["layer"].tolist()
    return recommend_layer(study, split=split, pooling=pooling, measure=measure, layers=layers, tolerance=tolerance)


def most_confused(pairs: pd.DataFrame, layer: str) -> ConfusedPair | None:
    """The first of some pairs, as `core.analysis.samples.neighborhoods.confused_pairs` returns them; None where there
    is none."""
    if pairs.empty:
        return None
    first = pairs.iloc[0]
    num_equal = int((pairs["count"] == first["count"]).sum()) - 1
    count, total, chance = int(first["count"]), int(first["total"]), float(first["chance"])
    return ConfusedPair(str(first["first"]), str(first["second"]), count, total, chance, layer, num_equal)


def check_card_text(study: Study, curve: pd.DataFrame) -> str:
    """The third card, as Markdown."""
    pooling, split = _where(curve)
    neighbors = late_neighbors(study, pooling, split) if split != "cross" else pd.DataFrame()
    return NOT_STORED if neighbors.empty else check_text(study, neighbors, split)


def _where(curve: pd.DataFrame) -> tuple[str, str]:
    return str(curve["pooling"].iloc[0]), str(curve["samples"].iloc[0])


def make_cards(study: Study, curve: pd.DataFrame, tolerance: float = TOLERANCE) -> tuple[Card, Card, Card]:
    """The three cards about one curve of SI; at least one layer with a value."""
    advice = good_enough(study, curve, tolerance)
    best = best_layer(curve)
    return (
        Card(f"{explanation(advice)} {class_cost_text(study, advice, advice.target)}".strip()),
        confused_card(study, curve, best),
        Card(check_card_text(study, curve)),
    )


def confused_card(study: Study, curve: pd.DataFrame, layer: str) -> Card:
    """The second card, about one layer of a curve."""
    pooling, samples = _where(curve)
    split, among = ("test", "train") if samples == "cross" else (samples, samples)
    try:
        pairs = confused_pairs(study, layer, pooling, split, among=among)
    except StudyError:  # a study may store no neighbors, or none of this layer and these samples
        return Card(NOT_STORED)
    words = short_classes(sample_classes(study.samples))
    named = pairs.assign(first=pairs["first"].map(words), second=pairs["second"].map(words))
    text = f"{confused_text(most_confused(named, layer), layer)} {unseparated_text(study, curve, layer)}".strip()
    return Card(text, _pictures(study, pairs.iloc[0], pooling, (split, among), layer) if len(pairs) else ())


def unseparated_text(study: Study, curve: pd.DataFrame, layer: str) -> str:
    """Which classes are left at chance at a layer that separates the classes on the whole, as Markdown; else "".

    SI of all samples says little of small classes: with two large and three small ones it may be near 1 although no
    sample of the small ones is beside its own class. Classes of a single sample are not counted within a split.
    """
    pooling, samples = _where(curve)
    split, measure, fewest = ("test", "cross", 1) if samples == "cross" else (samples, "separation", 2)
    whole = curve.set_index("layer").loc[layer]
    if not whole["value"] - whole["chance"] >= _SEPARATED * (1 - whole["chance"]):
        return ""
    rows = study.classes
    rows = rows[(rows["layer"] == layer) & (rows["split"] == split) & (rows["measure"] == measure)]
    of_pooling = rows["pooling"] == pooling
    rows = rows[of_pooling] if of_pooling.any() else rows
    rows = rows[(rows["num_queries"] >= fewest) & rows["value"].notna()]
    at_chance = rows[rows["value"] <= rows["chance"]]
    if at_chance.empty:
        return ""
    names = study.samples.drop_duplicates("label").set_index("label")["class_name"].astype(object)
    words = short_classes(sample_classes(study.samples))
    full = [str(names.get(label, label)) for label in at_chance["label"]]
    named = [plain(words.get(name, name)) for name in full]
    verb = "is" if len(named) == 1 else "are"
    return (
        f"**{len(named)} of {len(rows)} classes {verb} not separated** there, with an SI at chance: {name_some(named)}."
    )


def _pictures(
    study: Study, pair: pd.Series, pooling: str, splits: tuple[str, str], layer: str
) -> tuple[tuple[str, str], ...]:
    """A sample of each class of a pair, of which one is the other's nearest neighbor: its source, and its class."""
    nearest = read_nearest(study, [layer], pooling, splits[0], among=splits[1])[layer]
    classes = sample_classes(study.samples)
    own, other = (classes.reindex(nearest[column]).to_numpy(object) for column in ("sample", "nearest"))
    names = (pair["first"], pair["second"])
    row = nearest.iloc[int(np.flatnonzero((own != other) & np.isin(own, names) & np.isin(other, names))[0])]
    example = sorted((int(row["sample"]), int(row["nearest"])), key=lambda sample: names.index(classes[sample]))
    sources = study.samples.set_index("sample")["source"].astype(object).fillna("")
    words = short_classes(classes)
    return tuple((str(sources[sample]), words[classes[sample]]) for sample in example)


def confused_text(pair: ConfusedPair | None, layer: str) -> str:
    """The most confused classes at a layer, and what is counted, as Markdown. None : no classes are confused."""
    if pair is None:
        return f"At {one_layer(layer)} no sample's nearest neighbor is of another class."
    others = f"{pair.num_equal} other pair{'s' * (pair.num_equal != 1)}"
    rank = f"as many as of {others}" if pair.num_equal else "more than of any other pair"
    if pair.count <= pair.chance * pair.total:
        rank = f"{rank}, but no more than meaningless labels would give"
    return (
        f"**{plain(pair.first)}** and **{plain(pair.second)}**: {pair.count:,} of their {pair.total:,} "
        f"samples have their nearest neighbor in the other class, at {one_layer(pair.layer)}, {rank} "
        f"(by chance {number(pair.chance * pair.total)})."
    )
