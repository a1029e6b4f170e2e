"""Every measure of one set of features at once: the family, the baselines, and what to judge each value by."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from core.measures.baselines import knn_correct, linear_probe, linear_probe_across
from core.measures.center import CenterGeometry
from core.measures.family import cross_separation_index
from core.measures.graph import LabelledGraph, labelled_graph
from core.measures.separation import Label, Separation, encode_labels, mean_by_class
from core.measures.significance import PERMUTATIONS, Shuffles, permutation_p, shared_node_n, wilson

CENTER_PERMUTATIONS = 199  # each of them costs as much as the measure itself
_NAN = float("nan")


@dataclass(frozen=True)
class MeasuredValue:
    """One measure of one set of features.

    split : "train" for the features themselves, "test to train" for test samples asked about them.
    measure, order : as in a study's tables. value, low, high : with its interval for a fresh sample of the same size.
    chance, excess, z, p_value : against permuted labels; nan where it is not known.
    by_class : value by label.
    """

    split: str
    measure: str
    order: int
    value: float
    low: float = _NAN
    high: float = _NAN
    chance: float = _NAN
    excess: float = _NAN
    z: float = _NAN
    p_value: float = _NAN
    by_class: Mapping[Label, float] = field(default_factory=dict, repr=False)


@dataclass(frozen=True)
class FamilyOptions:
    """What is measured, and how it is judged.

    order : of the high-order, soft and anti measures. neighbors : that vote in the kNN baseline. metric : "euclidean"
    or "cosine"; of neighbors, not of centers. level : of the intervals.
    permutations : of the labels; by default 9,999 where the normal approximation does not hold, and for the center
    measures, each of whose permutations takes as long as the measure, 199.
    """

    order: int = 5
    neighbors: int = 10
    metric: str = "euclidean"
    permutations: int | None = None
    level: float = 0.95

    def __post_init__(self) -> None:
        if self.neighbors < 1:
            raise ValueError(f"neighbors must be at least 1; got {self.neighbors}. 10 is usual.")
        if self.permutations is not None and self.permutations < 1:
            raise ValueError(f"permutations must be at least 1; got {self.permutations}. {PERMUTATIONS} is usual.")
        if not 0 < self.level < 1:
            raise ValueError(f"level must lie between 0 and 1; got {self.level}. 0.95 is usual.")


def measure_family(
    features: ArrayLike,
    labels: ArrayLike,
    options: FamilyOptions = FamilyOptions(),
    *,
    test: tuple[ArrayLike, ArrayLike] | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> list[MeasuredValue]:
    """The whole family of one set of features; each value is that of the function of its name in `core`.

    The baselines have no closed chance level, and no permutations here. Their intervals are Wilson's: of the kNN vote
    with what its samples are worth, which share neighbors, of the linear probe with the number of samples, which
    ignores that folds share training samples.

    Parameters
    ----------
    features, labels : shape (n, d) or (n, ...), and (n,).
    test : features and labels of other samples, asked about these: the cross measure, and the probe trained here.
    progress : called with (measures done, measures to do).

    Raises
    ------
    ValueError
        As the measures do: NaN or infinity, lengths that differ, an order that is not below n.
    """
    steps = list(_steps(features, labels, options, test))
    found: list[MeasuredValue] = []
    for done, step in enumerate(steps):
        if progress is not None:
            progress(done, len(steps))
        found += step()
    if progress is not None:
        progress(len(steps), len(steps))
    return found


def _steps(
    features: ArrayLike, labels: ArrayLike, options: FamilyOptions, test: tuple[ArrayLike, ArrayLike] | None
) -> Iterator[Callable[[], list[MeasuredValue]]]:
    """What is to be computed, one measure each; the search for neighbors comes before the first."""
    num_samples = len(np.asarray(labels))
    if not 1 <= options.order < num_samples:
        raise ValueError(f"order must be a whole number from 1 to n - 1 = {num_samples - 1}; got {options.order}.")
    votes = min(options.neighbors, num_samples - 1)
    graph = labelled_graph(features, labels, k=max(options.order, votes), metric=options.metric)
    shuffles = Shuffles(options.permutations or PERMUTATIONS)
    order = options.order
    for measure in (
        graph.separation,
        graph.balanced,
        lambda: graph.high_order(order),
        lambda: graph.soft(order),
        lambda: graph.anti(order),
    ):
        yield lambda measure=measure: [_judged(measure(), options, shuffles)]  # type: ignore[misc]
    for leave_one_out in (True, False):
        yield lambda own=leave_one_out: [_center(features, labels, own, options)]  # type: ignore[misc]
    yield lambda: [_knn(graph, votes, options)]
    yield lambda: _probe(features, labels, options)
    if test is not None:
        yield lambda: [_judged(_cross(features, labels, test, options), options, shuffles, split="test to train")]
        yield lambda: [_probe_across(features, labels, test, options)]


def _judged(measure: Separation, options: FamilyOptions, shuffles: Shuffles, *, split: str = "train") -> MeasuredValue:
    low, high = measure.interval(options.level)
    return MeasuredValue(
        split=split,
        measure=measure.measure,
        order=measure.order,
        value=measure.value,
        low=low,
        high=high,
        chance=measure.chance,
        excess=measure.excess,
        z=measure.z,
        p_value=measure.p_value(options.permutations, shuffles=shuffles),
        by_class=measure.by_class,
    )


def _center(features: ArrayLike, labels: ArrayLike, leave_one_out: bool, options: FamilyOptions) -> MeasuredValue:
    """A center measure; its chance and spread are those of the permutations."""
    measure = CenterGeometry.of(features).separation(labels, leave_one_out=leave_one_out)
    low, high = measure.interval(options.level)
    shuffles = Shuffles(options.permutations or CENTER_PERMUTATIONS)
    null = np.array([_NAN]) if measure.null_values is None else measure.null_values(shuffles)
    chance, spread = float(null.mean()), float(null.std())
    return MeasuredValue(
        split="train",
        measure=measure.measure,
        order=measure.order,
        value=measure.value,
        low=low,
        high=high,
        chance=chance,
        excess=(measure.value - chance) / (1 - chance) if chance < 1 else _NAN,
        z=(measure.value - chance) / spread if spread > 0 else _NAN,
        p_value=_NAN if np.isnan(measure.value) else permutation_p(measure.value, null),
        by_class=measure.by_class,
    )


def _knn(graph: LabelledGraph, votes: int, options: FamilyOptions) -> MeasuredValue:
    """The vote of the nearest neighbors, leave-one-out."""
    nearest = graph.neighbors.indices[:, :votes]
    correct = knn_correct(graph.reference_codes[nearest], graph.query_codes, len(graph.classes)).astype(np.float64)
    value = float(correct.mean())
    nodes = np.column_stack([np.arange(len(correct)), nearest])
    low, high = wilson(value, shared_node_n(value, correct - value, nodes), options.level)
    by_class = mean_by_class(correct, graph.query_codes, graph.classes)
    return MeasuredValue("train", "knn", votes, value, low, high, by_class=by_class)


def _probe(features: ArrayLike, labels: ArrayLike, options: FamilyOptions) -> list[MeasuredValue]:
    """The cross-validated linear probe, where each class has samples to train on and to test."""
    encoded = encode_labels(labels)
    if len(encoded.classes) < 2 or encoded.counts.min() < 2:
        return []
    return [_accuracy("train", linear_probe(features, labels), labels, options)]


def _probe_across(
    features: ArrayLike, labels: ArrayLike, test: tuple[ArrayLike, ArrayLike], options: FamilyOptions
) -> MeasuredValue:
    return _accuracy("test to train", linear_probe_across(features, labels, *test), test[1], options)


def _cross(
    features: ArrayLike, labels: ArrayLike, test: tuple[ArrayLike, ArrayLike], options: FamilyOptions
) -> Separation:
    return cross_separation_index(features, labels, *test, metric=options.metric)


def _accuracy(split: str, correct: NDArray[Any], labels: ArrayLike, options: FamilyOptions) -> MeasuredValue:
    """The linear probe's, with Wilson's interval."""
    encoded = encode_labels(labels)
    value = float(correct.mean())
    low, high = wilson(value, len(correct), options.level)
    by_class = mean_by_class(correct.astype(np.float64), encoded.codes, encoded.classes)
    return MeasuredValue(split, "linear_probe", 1, value, low, high, by_class=by_class)
