"""Every measure of one set of features at once: the family, the baselines, and what to judge each value by."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from core.measures.baselines import LinearProbe, knn_correct
from core.measures.center import CenterGeometry
from core.measures.neighbor_graph import LabelledGraph, cross_graph, labelled_graph
from core.measures.separation import Label, Separation, encode_labels, mean_by_class
from core.measures.significance import PERMUTATIONS, Shuffles, permutation_p, shared_node_n, wilson
from core.search.neighbors import nearest_neighbors
from core.search.rows import as_matrix
from core.study.measuring.geometry import geometry_rows
from core.study.store.ties import MOST_TIED

CENTER_PERMUTATIONS = 199  # each of them costs as much as the measure itself
ACROSS = "test to train"
LEAVE_OUT_SINGLE = ("balanced", "center")  # measures whose value leaves out classes of one sample
_NAN = float("nan")


@dataclass(frozen=True)
class MeasuredValue:
    """One measure of one set of features.

    split : "train" for the features themselves, "test to train" for test samples asked about them.
    measure, order : as in a study's tables. value, low, high : with its interval for a fresh sample of the same size.
    chance, excess, z, p_value : against permuted labels; nan where it is not known. z and p_value are nan also where so
    many samples are tied that nothing can be concluded (see `core.study.store.ties`).
    num_queries : samples that `value` is the mean of: without classes of one sample, where the measure leaves them out;
        nan where it is no mean over samples.
    num_tied : samples with several neighbors at exactly the smallest distance, of which the first one counts; nan where
        a measure looks at no neighbors.
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
    num_queries: float = _NAN
    num_tied: float = _NAN
    by_class: Mapping[Label, float] = field(default_factory=dict, repr=False)


@dataclass(frozen=True)
class FamilyOptions:
    """What is measured, and how it is judged.

    order : of the high-order, soft and anti measures. neighbors : that vote in the kNN baseline. metric : "euclidean"
    or "cosine"; of neighbors, not of centers. level : of the intervals.
    permutations : of the labels; by default 9,999 where the normal approximation does not hold, and for the center
    measures, each of whose permutations takes as long as the measure, 199.
    geometry : also the siblings of SI, intrinsic dimension and hubness.
    """

    order: int = 5
    neighbors: int = 10
    metric: str = "euclidean"
    permutations: int | None = None
    level: float = 0.95
    geometry: bool = False

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
    family = _Family(features, labels, options, test)
    steps = family.steps()
    found: list[MeasuredValue] = []
    for done, step in enumerate(steps):
        if progress is not None:
            progress(done, len(steps))
        found += step()
    if progress is not None:
        progress(len(steps), len(steps))
    return found


@dataclass(frozen=True, eq=False)
class _Family:
    """One set of features, searched once, when the first measure asks for neighbors."""

    features: ArrayLike
    labels: ArrayLike
    options: FamilyOptions
    test: tuple[ArrayLike, ArrayLike] | None

    def __post_init__(self) -> None:
        num_samples = len(np.asarray(self.labels))
        if not 1 <= self.options.order < num_samples:
            raise ValueError(
                f"order must be a whole number from 1 to n - 1 = {num_samples - 1}; got {self.options.order}."
            )

    @cached_property
    def graph(self) -> LabelledGraph:
        second = min(2, len(np.asarray(self.labels)) - 1)  # of which intrinsic dimension takes the distance
        k = max(self.options.order, self.votes, second)
        return labelled_graph(self.features, self.labels, k=k, metric=self.options.metric)

    @property
    def votes(self) -> int:
        """Neighbors of each sample in the kNN baseline: those asked for, or all there are."""
        return min(self.options.neighbors, len(np.asarray(self.labels)) - 1)

    @cached_property
    def geometry(self) -> CenterGeometry:
        return CenterGeometry.of(self.features)

    @cached_property
    def linear_probe(self) -> LinearProbe:
        """One decomposition serves cross-validation and the test samples."""
        return LinearProbe.fit(self.features, self.labels)

    @cached_property
    def shuffles(self) -> Shuffles:
        """The permutations that all measures on neighbors are tested on."""
        return Shuffles(self.options.permutations or PERMUTATIONS)

    def steps(self) -> list[Callable[[], list[MeasuredValue]]]:
        """What is to be computed, one measure each."""
        order = self.options.order
        steps = [
            lambda: [self._judged(self.graph.separation())],
            lambda: [self._judged(self.graph.balanced())],
            lambda: [self._judged(self.graph.high_order(order))],
            lambda: [self._judged(self.graph.soft(order))],
            lambda: [self._judged(self.graph.anti(order))],
            lambda: [self._center(leave_one_out=True)],
            lambda: [self._center(leave_one_out=False)],
            self._knn,
            self._probe,
        ]
        steps += [self._geometry] if self.options.geometry else []
        return steps if self.test is None else [*steps, self._cross, self._probe_across]

    def _judged(self, measure: Separation, *, split: str = "train") -> MeasuredValue:
        low, high = measure.interval(self.options.level)
        num_tied = _NAN if measure.num_tied is None else measure.num_tied
        is_inconclusive = num_tied > MOST_TIED * len(measure.by_sample)
        return MeasuredValue(
            split=split,
            measure=measure.measure,
            order=measure.order,
            value=measure.value,
            low=low,
            high=high,
            chance=measure.chance,
            excess=measure.excess,
            z=_NAN if is_inconclusive else measure.z,
            p_value=_NAN if is_inconclusive else self._p_value(measure),
            num_queries=_num_queries(measure),
            num_tied=num_tied,
            by_class=measure.by_class,
        )

    def _p_value(self, measure: Separation) -> float:
        return measure.p_value(self.options.permutations, shuffles=self.shuffles)

    def _center(self, *, leave_one_out: bool) -> MeasuredValue:
        """A center measure; its chance and spread are those of the permutations."""
        measure = self.geometry.separation(self.labels, leave_one_out=leave_one_out)
        shuffles = Shuffles(self.options.permutations or CENTER_PERMUTATIONS)
        null = np.array([_NAN]) if measure.null_values is None else measure.null_values(shuffles)
        chance, spread = float(null.mean()), float(null.std())
        return replace(
            self._judged(replace(measure, null_values=None)),
            chance=chance,
            excess=(measure.value - chance) / (1 - chance) if chance < 1 else _NAN,
            z=(measure.value - chance) / spread if spread > 0 else _NAN,
            p_value=_NAN if np.isnan(measure.value) else permutation_p(measure.value, null),
        )

    def _knn(self) -> list[MeasuredValue]:
        """The vote of the nearest neighbors, leave-one-out."""
        graph, nearest = self.graph, self.graph.neighbors.indices[:, : self.votes]
        correct = knn_correct(graph.reference_codes[nearest], graph.query_codes, len(graph.classes)).astype(np.float64)
        value = float(correct.mean())
        nodes = np.column_stack([np.arange(len(correct)), nearest])
        low, high = wilson(value, shared_node_n(value, correct - value, nodes), self.options.level)
        by_class = mean_by_class(correct, graph.query_codes, graph.classes)
        return [
            MeasuredValue("train", "knn", self.votes, value, low, high, num_queries=len(correct), by_class=by_class)
        ]

    def _probe(self) -> list[MeasuredValue]:
        """The cross-validated linear probe, where each class has samples to train on and to test."""
        encoded = encode_labels(self.labels)
        if len(encoded.classes) < 2 or encoded.counts.min() < 2:
            return []
        return [_accuracy("train", self.linear_probe.cross_validated(), self.labels, self.options)]

    def _geometry(self) -> list[MeasuredValue]:
        """The rows of a study's table `geometry`; they have neither order nor test."""
        table = geometry_rows(as_matrix(self.features), self.graph.query_codes, self.graph.neighbors)
        names = ["measure", "value", "low", "high", "chance"]
        rows = table.reindex(columns=names).to_dict("records")
        return [MeasuredValue("train", order=1, **{str(name): value for name, value in row.items()}) for row in rows]

    def _cross(self) -> list[MeasuredValue]:
        assert self.test is not None
        features, labels = self.test
        train = encode_labels(self.labels, num_samples=len(np.asarray(self.features)), name="train_labels")
        test = encode_labels(labels, num_samples=len(np.asarray(features)), name="test_labels")
        k = min(2, len(train.codes))  # the second one tells ties
        neighbors = nearest_neighbors(self.features, queries=features, k=k, metric=self.options.metric)
        return [self._judged(cross_graph(neighbors, train, test).separation(), split=ACROSS)]

    def _probe_across(self) -> list[MeasuredValue]:
        assert self.test is not None
        if len(encode_labels(self.labels).classes) < 2:
            return []
        correct = self.linear_probe.names(*self.test)
        return [_accuracy(ACROSS, correct, self.test[1], self.options)]


def _num_queries(measure: Separation) -> int:
    """The samples that the value is the mean of; some measures leave out classes of one sample."""
    num_undefined = sum(np.isnan(value) for value in measure.by_class.values())
    return len(measure.by_sample) - int(num_undefined) * (measure.measure in LEAVE_OUT_SINGLE)


def _accuracy(split: str, correct: NDArray[Any], labels: ArrayLike, options: FamilyOptions) -> MeasuredValue:
    """The linear probe's, with Wilson's interval."""
    encoded = encode_labels(labels)
    value = float(correct.mean())
    low, high = wilson(value, len(correct), options.level)
    by_class = mean_by_class(correct.astype(np.float64), encoded.codes, encoded.classes)
    return MeasuredValue(split, "linear_probe", 1, value, low, high, num_queries=len(correct), by_class=by_class)
