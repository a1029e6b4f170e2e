"""What a study comes to, in three cards: where it is good enough, confused classes, label errors."""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from core.study.advice import TOLERANCE, Advice, cut_candidates, recommend_layer
from core.study.class_words import short_classes
from core.study.cut_words import explanation
from core.study.findings import one_layer
from core.study.neighborhoods import read_nearest
from core.study.provenance import SPLIT_NAMES, plain
from core.study.results import Study
from core.study.suspects import LIKELY, label_errors, late_neighbors

NOT_STORED = "The study stores no neighbors that would tell. Run it with `--neighbors 1` or more."


@dataclass(frozen=True)
class ConfusedPair:
    """Two classes: `count` of the `total` samples of both have their nearest neighbor in the other one, at `layer`.

    example : a sample of the first and one of the second, of which one is the other's nearest.
    """

    first: str
    second: str
    count: int
    total: int
    layer: str
    example: tuple[int, int]


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
    candidates = set(cut_candidates(study))
    layers = [layer for layer in curve["layer"] if layer in candidates] or curve["layer"].tolist()
    return recommend_layer(study, split=split, pooling=pooling, measure=measure, layers=layers, tolerance=tolerance)


def most_confused(study: Study, curve: pd.DataFrame, layer: str) -> ConfusedPair | None:
    """The two classes that are most often each other's nearest at a layer; None where no neighbors are stored."""
    rows = nearest_along(study, curve, [layer]).get(layer)
    if rows is None or rows["agrees"].all():
        return None
    codes = class_codes(study)
    own, other = codes[rows["sample"]], codes[rows["nearest"]]
    wrong = own != other
    pairs = pd.DataFrame({"low": np.minimum(own, other)[wrong], "high": np.maximum(own, other)[wrong]})
    counts = pairs.value_counts()
    first, second = counts.index[0]
    total = int(np.isin(own, (first, second)).sum())
    names = list(short_classes(_class_names(study)).values())
    at = int(np.flatnonzero((np.minimum(own, other) == first) & (np.maximum(own, other) == second))[0])
    one, nearest = int(rows["sample"].iloc[at]), int(rows["nearest"].iloc[at])
    example = (one, nearest) if own[at] == first else (nearest, one)
    return ConfusedPair(names[first], names[second], int(counts.iloc[0]), total, layer, example)


def count_label_errors(study: Study, curve: pd.DataFrame) -> int | None:
    """How many samples of the split the late layers clearly place in another class; None where that is unknown."""
    pooling, split = _where(curve)
    neighbors = late_neighbors(study, pooling, split) if split != "cross" else pd.DataFrame()
    return None if neighbors.empty else len(label_errors(neighbors, study.samples, at_least=LIKELY))


def nearest_along(study: Study, curve: pd.DataFrame, layers: list[str]) -> dict[str, pd.DataFrame]:
    """The nearest neighbors that the values of a curve are made of, at some layers."""
    pooling, samples = _where(curve)
    split, among = ("test", "train") if samples == "cross" else (samples, samples)
    return read_nearest(study, layers, pooling, split, among=among)


def _where(curve: pd.DataFrame) -> tuple[str, str]:
    return str(curve["pooling"].iloc[0]), str(curve["samples"].iloc[0])


def class_codes(study: Study) -> np.ndarray:
    """The class of each sample as a number, by the sample's number: places in `_class_names`."""
    codes = np.full(int(study.samples["sample"].max()) + 1 if len(study.samples) else 0, -1)
    codes[study.samples["sample"]] = pd.Categorical(_names(study), _class_names(study)).codes
    return codes


def _class_names(study: Study) -> pd.Index:
    return pd.Index(sorted(set(_names(study))))


def _names(study: Study) -> pd.Series:
    names = study.samples["class_name"].astype(object)
    return names.where(names.notna(), study.samples["label"].astype(str))


def make_cards(study: Study, curve: pd.DataFrame, tolerance: float = TOLERANCE) -> tuple[Card, Card, Card]:
    """The three cards about one curve of SI; at least one layer with a value."""
    advice = good_enough(study, curve, tolerance)
    best = str(curve["layer"].iloc[int(curve["value"].argmax())])
    pair, errors = most_confused(study, curve, best), count_label_errors(study, curve)
    return (
        Card(explanation(advice)),
        Card(confused_text(pair), _pictures(study, pair)) if pair else Card(NOT_STORED),
        Card(NOT_STORED if errors is None else errors_text(errors, curve)),
    )


def _pictures(study: Study, pair: ConfusedPair) -> tuple[tuple[str, str], ...]:
    sources = study.samples.set_index("sample")["source"].astype(object).fillna("")
    return tuple((str(sources[one]), name) for one, name in zip(pair.example, (pair.first, pair.second), strict=True))


def confused_text(found: ConfusedPair) -> str:
    """The second card, as Markdown."""
    return (
        f"**{plain(found.first)}** and **{plain(found.second)}**: {found.count:,} of their {found.total:,} "
        f"samples have their nearest neighbor in the other class, at {one_layer(found.layer)}."
    )


def errors_text(count: int, curve: pd.DataFrame) -> str:
    """The third card, as Markdown."""
    split, total = SPLIT_NAMES.get(str(curve["samples"].iloc[0]), ""), int(curve["num_queries"].max())
    if not count:
        return f"No label of {total:,} {split} samples is clearly contradicted by its neighbors at the late layers."
    share = f"**{count:,}** of {total:,} {split} samples"
    return (
        f"{share} have hardly a neighbor of their label at the late layers, but many of one other class. Look at them."
    )
