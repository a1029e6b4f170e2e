"""What a study comes to, in three cards: the earliest layer as good as the best, confused classes, samples to check."""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from core.study.advice import EarliestEqual, earliest_within
from core.study.check_words import check_text
from core.study.class_words import short_classes
from core.study.findings import number, one_layer
from core.study.neighborhoods import read_nearest
from core.study.provenance import plain
from core.study.results import Study
from core.study.suspects import late_neighbors

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


def earliest_equal(study: Study, curve: pd.DataFrame) -> EarliestEqual:
    """The best layer of a curve of SI, as `lead_curve` returns it, and the earliest that cannot be told from it."""
    pooling, samples = _where(curve)
    split, measure = ("test", "cross") if samples == "cross" else (samples, "separation")
    layers = curve["layer"].tolist()
    return earliest_within(study, split=split, pooling=pooling, measure=measure, layers=layers)


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


def check_card_text(study: Study, curve: pd.DataFrame) -> str:
    """The third card, as Markdown."""
    pooling, split = _where(curve)
    neighbors = late_neighbors(study, pooling, split) if split != "cross" else pd.DataFrame()
    return NOT_STORED if neighbors.empty else check_text(study, neighbors, split)


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


def make_cards(study: Study, curve: pd.DataFrame) -> tuple[Card, Card, Card]:
    """The three cards about one curve of SI; at least one layer with a value."""
    equal = earliest_equal(study, curve)
    pair = most_confused(study, curve, equal.best)
    return (
        Card(equal_text(equal)),
        Card(confused_text(pair), _pictures(study, pair)) if pair else Card(NOT_STORED),
        Card(check_card_text(study, curve)),
    )


def _pictures(study: Study, pair: ConfusedPair) -> tuple[tuple[str, str], ...]:
    sources = study.samples.set_index("sample")["source"].astype(object).fillna("")
    return tuple((str(sources[one]), name) for one, name in zip(pair.example, (pair.first, pair.second), strict=True))


def equal_text(found: EarliestEqual) -> str:
    """The first card, as Markdown."""
    best = f"Best: {one_layer(found.best)}, SI **{number(found.best_value)}**."
    if found.layer == found.best:
        return f"{best} No earlier layer is statistically equal."
    how = "paired" if found.paired else "from the two intervals, since no neighbors are stored"
    span = f"{found.low:+.3f} to {found.high:+.3f}"
    return (
        f"{best} The earliest that cannot be told from it: {one_layer(found.layer)}, "
        f"**{number(found.value)}** (the best has {span} more, 95 %, {how})."
    )


def confused_text(found: ConfusedPair) -> str:
    """The second card, as Markdown."""
    return (
        f"**{plain(found.first)}** and **{plain(found.second)}**: {found.count:,} of their {found.total:,} "
        f"samples have their nearest neighbor in the other class, at {one_layer(found.layer)}."
    )
