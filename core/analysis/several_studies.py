"""Several studies in one chart: what tells two of them apart, and how their layers are aligned on one x axis."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from core.analysis.comparing import default_match
from core.study.options import POOLINGS
from core.study.store.study_json import look_up

_SPLITS: Mapping[str, frozenset[str]] = {
    "train": frozenset({"train"}),
    "test": frozenset({"test"}),
    "both": frozenset({"train", "test"}),
}
# Reasons why SI of two studies is not comparable, from the one that comes nearest to being comparable.
KINDS = ("pooling", "split", "metric", "size", "samples", "unknown", "data")


@dataclass(frozen=True)
class Difference:
    """Why the values of another study are not comparable with those of the open one.

    Attributes
    ----------
    kind : str
        One of `KINDS`: no pooling in common; no split in common; another distance; the same data, but another number
        of samples; other samples of the same data; a study that does not record its samples; other data.
    other : str
        What the other study has, such as the name of its data; "" where nothing is recorded.
    """

    kind: str
    other: str = ""


@dataclass(frozen=True)
class LayerAlignment:
    """How the layers of several studies share an x axis.

    Attributes
    ----------
    by : str
        "name", or "position": the relative position in each network, 0 for the first layer and 1 for the last.
    layers : tuple of str
        By name: the layers of all studies in network order. By position: empty.
    reordered : bool
        By position, although the names match, because layers of the same name come in another order.
    """

    by: str
    layers: tuple[str, ...] = ()
    reordered: bool = False


def study_differences(info: Mapping[str, Any], other: Mapping[str, Any]) -> tuple[Difference, ...]:
    """Return why SI of two studies is not comparable; empty where they measure the same samples in the same way.

    Parameters
    ----------
    info, other : mapping
        Content of study.json of the open study and of another one. No tables are read, so that a list of many studies
        can be sorted; `core.analysis.comparing.check_same_samples` compares the samples one by one.
    """
    all_differences = [_data_difference(info, other), *_way_differences(info, other)]
    differences = [difference for difference in all_differences if difference is not None]
    return tuple(sorted(differences, key=lambda difference: -KINDS.index(difference.kind)))


def comparability_rank(differences: Sequence[Difference]) -> int:
    """Return 0 for a comparable study, and the more the less another study has in common with the open one."""
    return max((1 + KINDS.index(difference.kind) for difference in differences), default=0)


def align_layers(studies: Sequence[tuple[Mapping[str, Any], Sequence[str]]]) -> LayerAlignment:
    """Align the layers of several studies by name where possible, otherwise by relative position.

    By name, if each study matches the first one by name according to the rule of
    `core.analysis.comparing.match_layers`, and common layers come in the same order in all studies.

    Parameters
    ----------
    studies : sequence of (mapping, sequence of str)
        For each study, content of study.json and the names of its layers in network order; the open study first.

    Examples
    --------
    >>> align_layers([({}, ["a", "c", "d"]), ({}, ["a", "b", "c"])]).layers
    ('a', 'b', 'c', 'd')
    >>> align_layers([({}, ["a", "b"]), ({}, ["x", "y"])]).by
    'position'
    """
    (first_info, first), *others = studies
    merged: tuple[str, ...] | None = tuple(first)
    for info, names in others:
        num_common = len(set(first) & set(names))
        by = default_match(num_common, len(first), len(names), one_network=_network(info) == _network(first_info))
        if by != "name":
            return LayerAlignment("position")
        merged = merged_order(merged, names) if merged is not None else None
    return LayerAlignment("position", reordered=True) if merged is None else LayerAlignment("name", merged)


def merged_order(first: Sequence[str], second: Sequence[str]) -> tuple[str, ...] | None:
    """Merge two orders of names into one that keeps both; None where common names come in different orders."""
    index = {name: position for position, name in enumerate(first)}
    common = [index[name] for name in second if name in index]
    if common != sorted(common):
        return None
    before: dict[int, list[str]] = {}  # names of `second` only, by the position in `first` that they come before
    waiting: list[str] = []
    for name in second:
        if name in index:
            before[index[name]] = waiting
            waiting = []
        else:
            waiting.append(name)
    merged: list[str] = []
    for position, name in enumerate(first):
        merged += [*before.get(position, ()), name]
    return (*merged, *waiting)


def _data_difference(info: Mapping[str, Any], other: Mapping[str, Any]) -> Difference | None:
    """How the samples of two studies differ; None where both record the same samples."""
    first, second = (look_up(study, "used.data.fingerprint") for study in (info, other))
    if first is not None and first == second:
        return None
    name, other_name = (look_up(study, "used.data.name") for study in (info, other))
    count, other_count = (look_up(study, "used.data.num_samples") for study in (info, other))
    if name != other_name:
        return Difference("data", str(other_name or ""))
    if count != other_count and None not in (count, other_count):
        return (
            Difference("size", f"{other_count:,}")
            if name is not None
            else Difference("data", f"{other_count:,} samples")
        )
    if first is None or second is None:
        return Difference("unknown")
    return (
        Difference("samples") if name is not None else Difference("data", "other samples or labels, or another order")
    )


def _way_differences(info: Mapping[str, Any], other: Mapping[str, Any]) -> list[Difference | None]:
    """How the samples are measured differently: split, pooling and distance."""
    splits, other_splits = (_SPLITS.get(str(look_up(study, "asked.split"))) for study in (info, other))
    poolings, other_poolings = (POOLINGS.get(str(look_up(study, "asked.pooling"))) for study in (info, other))
    metric, other_metric = (str(look_up(study, "asked.metric") or "euclidean") for study in (info, other))
    differences: list[Difference | None] = []
    if splits and other_splits and not splits & other_splits:
        differences.append(Difference("split", str(look_up(other, "asked.split"))))
    if poolings and other_poolings and not set(poolings) & set(other_poolings):
        differences.append(Difference("pooling", other_poolings[0]))
    if metric != other_metric:
        differences.append(Difference("metric", other_metric))
    return differences


def _network(info: Mapping[str, Any]) -> object:
    """The recorded network; something equal to nothing else where none is recorded."""
    name = look_up(info, "used.model.name")
    return object() if name is None else name
