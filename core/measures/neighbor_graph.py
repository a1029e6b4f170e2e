"""The labelled nearest-neighbor graph: one search serves every order of every measure of the family."""

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import sparse

from core.measures.separation import EncodedLabels, Label, Separation, encode_labels, encode_together, mean_by_class
from core.measures.significance import (
    Codes,
    NullMoments,
    Shuffles,
    agreeing_shares,
    agreement_moments,
    all_alike,
    cross_moments,
    dependent_n,
    dependent_pairs,
    none_alike,
    null_values,
)
from core.search.neighbors import Neighbors, nearest_neighbors
from core.search.rows import as_matrix

Scores = NDArray[np.float64]

_MOST_QUERIES_REUSED = 100_000  # whose pairs are stored for further measures; those of a million take gigabytes
_DRAWN_BY = 10  # samples' worth of the overall mean in a class's; chosen by tests/benchmarks/interval_coverage.py


@dataclass(frozen=True, eq=False)
class LabelledGraph:
    """The k nearest neighbors of m queries, with the labels of both ends.

    neighbors : of shape (m, k). query_codes, reference_codes : label codes of shape (m,) and (n,).
    classes : the label of each code.
    own : int64, shape (m,), each query's own row among the references; None where the queries are other samples, as
        in test-to-train.
    num_all : the samples that the queries were drawn from; default the references, or without own rows the queries.
    """

    neighbors: Neighbors
    query_codes: NDArray[np.int64]
    reference_codes: NDArray[np.int64]
    classes: tuple[Label, ...]
    own: NDArray[np.int64] | None
    num_all: int | None = None
    _pairs_of_order: dict[int, sparse.csr_array] = field(default_factory=dict, init=False, repr=False)

    @property
    def num_queries(self) -> int:
        return len(self.query_codes)

    @property
    def k(self) -> int:
        """Neighbors known of each query: the largest order that can be asked."""
        return int(self.neighbors.indices.shape[1])

    @property
    def num_tied(self) -> int | None:
        """Queries with several references at exactly the smallest distance, where two neighbors are known."""
        squared = self.neighbors.squared
        return int((squared[:, 0] == squared[:, 1]).sum()) if self.k > 1 else None

    @property
    def reference_counts(self) -> NDArray[np.int64]:
        return np.bincount(self.reference_codes, minlength=len(self.classes))

    def separation(self) -> Separation:
        """First order: the nearest neighbor agrees. Without own rows (test-to-train) the measure is `cross`."""
        if self.own is None:
            test = np.bincount(self.query_codes, minlength=len(self.classes))
            moments = cross_moments(self.neighbors.indices[:, 0], self.reference_counts, test)
            return self._result("cross", 1, _first, chance=moments.mean, moments=moments)
        moments = self._agreement_moments(1)
        return self._result("separation", 1, _first, chance=moments.mean, moments=moments)

    def high_order(self, order: int) -> Separation:
        """All of the `order` nearest neighbors agree."""
        self._check_order(order)
        chance = all_alike(self.reference_counts, order + 1)
        return self._result("high_order", order, partial(_all_agree, order=order), chance=chance)

    def soft(self, order: int) -> Separation:
        """The share of the `order` nearest neighbors that agree."""
        self._check_order(order)
        moments = self._agreement_moments(order)
        return self._result("soft", order, partial(_share_agree, order=order), chance=moments.mean, moments=moments)

    def anti(self, order: int) -> Separation:
        """None of the `order` nearest neighbors agrees; small is good."""
        self._check_order(order)
        chance = none_alike(self.reference_counts, order)
        return self._result("anti", order, partial(_none_agrees, order=order), chance=chance, lower_is_better=True)

    def balanced(self) -> Separation:
        """First order, the mean over classes instead of samples; a class of one sample is left out."""
        counts = self.reference_counts
        able = counts > 1
        chance = float(np.mean((counts[able] - 1) / (counts.sum() - 1))) if able.any() else float("nan")
        return self._result("balanced", 1, _first, chance=chance, balanced=True)

    def _check_order(self, order: int) -> None:
        if self.own is None:
            raise ValueError("order must be 1 across two sets of samples. Ask `separation`.")
        if not 1 <= order <= self.k:
            raise ValueError(f"order must lie in 1..{self.k}, the neighbors that are known; got {order}.")

    def _agreement_moments(self, order: int) -> NullMoments:
        """Chance and variance of the share of agreeing edges; only for queries that are rows of the references."""
        assert self.own is not None
        return agreement_moments(self.own, self.neighbors.indices[:, :order], self.reference_counts)

    def _result(
        self,
        measure: str,
        order: int,
        score: Callable[[NDArray[np.bool_]], Scores],
        *,
        chance: float,
        moments: NullMoments | None = None,
        **traits: bool,
    ) -> Separation:
        """Score the agreement of each query with its neighbors and gather what judges it."""
        nearest = self.neighbors.indices[:, :order]
        by_sample = score(self.reference_codes[nearest] == self.query_codes[:, None])
        balanced = traits.pop("balanced", False)
        by_class = mean_by_class(by_sample, self.query_codes, self.classes) | self._undefined()
        value = _mean_of_defined(list(by_class.values())) if balanced else float(by_sample.mean())
        weights = self._class_weights() if balanced else 1.0
        residuals = weights * (by_sample - shrunken_class_means(by_sample, self.query_codes))
        return Separation(
            measure=measure,
            order=order,
            value=value,
            by_class=by_class,
            by_sample=by_sample,
            nearest=self.neighbors.indices[:, 0],
            chance=chance,
            num_tied=self.num_tied,
            num_all=self.num_all or (self.num_queries if self.own is None else len(self.reference_codes)),
            moments=moments,
            null_values=partial(self._null_values, order, score, balanced),
            effective_n=lambda: dependent_n(value, residuals, self._dependent_pairs(order)),
            **traits,
        )

    def _dependent_pairs(self, order: int) -> sparse.csr_array:
        """The pairs of queries whose scores of an order share samples, found once for all measures of that order."""
        if order in self._pairs_of_order:
            return self._pairs_of_order[order]
        own = np.arange(self.num_queries) + len(self.reference_codes) if self.own is None else self.own
        pairs = dependent_pairs(np.column_stack([own, self.neighbors.indices[:, :order]]))
        if self.num_queries <= _MOST_QUERIES_REUSED:
            self._pairs_of_order[order] = pairs
        return pairs

    def _undefined(self) -> dict[Label, float]:
        """Classes without a leave-one-out value: those of one sample."""
        if self.own is None:
            return {}
        return {self.classes[code]: float("nan") for code in np.flatnonzero(self.reference_counts == 1)}

    def _class_weights(self) -> Scores:
        """Each query's weight in the mean over classes, times m; queries of a class of one sample weigh nothing."""
        counts = np.bincount(self.query_codes, minlength=len(self.classes))
        able = (counts > 0) & ((self.reference_counts > 1) | (self.own is None))
        weights = np.divide(self.num_queries / max(able.sum(), 1), counts, out=np.zeros(len(counts)), where=able)
        result: Scores = weights[self.query_codes]
        return result

    def _null_values(
        self, order: int, score: Callable[[NDArray[np.bool_]], Scores], balanced: bool, shuffles: Shuffles
    ) -> Scores:
        """The measure under permuted labels on this graph."""
        if order == 1 and score is _first and not balanced:
            return self._null_shares(shuffles)
        nearest = self.neighbors.indices[:, :order]
        weights = self._class_weights() / self.num_queries if balanced else None
        # A permuted label keeps its class's weight: the sizes of the classes do not change.
        weight_of_code = np.zeros(len(self.classes))
        if weights is not None:
            weight_of_code[self.query_codes] = weights

        def value(query_codes: Codes, reference_codes: Codes) -> Scores:
            scores = score(reference_codes[:, nearest] == query_codes[:, :, None])
            weighted = scores / self.num_queries if weights is None else scores * weight_of_code[query_codes]
            return np.asarray(weighted.sum(axis=1))

        references = shuffles.of(self.reference_codes)
        queries = shuffles.of(self.query_codes, part=1) if self.own is None else references[:, self.own]
        return null_values(value, queries, references, entries_each=nearest.size)

    def _null_shares(self, shuffles: Shuffles) -> Scores:
        """The same for the first order, whose permuted labels are compared sample by sample, many at a time."""
        references = shuffles.by_sample(self.reference_codes)
        queries = shuffles.by_sample(self.query_codes, part=1) if self.own is None else references
        if self.own is not None and not np.array_equal(self.own, np.arange(len(references))):
            queries = references[self.own]
        return agreeing_shares(queries, references, self.neighbors.indices[:, 0])


def shrunken_class_means(scores: Scores, codes: NDArray[np.int64], drawn_by: float = _DRAWN_BY) -> Scores:
    """What each query's score is compared with, shape (m,): its class's mean, drawn toward the mean of all.

    `drawn_by` is how many samples' worth of the mean of all stands in a class's.

    The sizes of the classes are fixed, so differences between classes are no uncertainty; but the mean of a small
    class would explain its own noise away.
    """
    counts, sums = np.bincount(codes), np.bincount(codes, weights=scores)
    means = (sums + drawn_by * scores.mean()) / (counts + drawn_by)
    return np.asarray(means[codes])


def labelled_graph(
    features: ArrayLike,
    labels: ArrayLike,
    *,
    k: int = 1,
    rows: ArrayLike | None = None,
    metric: str = "euclidean",
) -> LabelledGraph:
    """Search the neighbors of every sample, or of some rows, among all others.

    Parameters
    ----------
    features, rows, k, metric : as in `nearest_neighbors`. labels : integers or strings of shape (n,).
    """
    encoded = encode_labels(labels, num_samples=len(as_matrix(features)))
    neighbors = nearest_neighbors(features, rows=rows, k=k, metric=metric)
    own = np.arange(len(encoded.codes)) if rows is None else np.asarray(rows, dtype=np.int64)
    return LabelledGraph(neighbors, encoded.codes[own], encoded.codes, encoded.classes, own)


def cross_graph(
    neighbors: Neighbors, train: EncodedLabels, test: EncodedLabels, *, num_all: int | None = None
) -> LabelledGraph:
    """The graph of test samples, drawn from `num_all` where not all were asked, and their nearest training samples."""
    if train.classes != test.classes:
        train, test = encode_together(train, test)
    return LabelledGraph(neighbors, test.codes, train.codes, train.classes, None, num_all)


def _mean_of_defined(values: list[float]) -> float:
    """The mean without what is nan; nan where all is."""
    defined = [value for value in values if not np.isnan(value)]
    return float(np.mean(defined)) if defined else float("nan")


def _first(agrees: NDArray[np.bool_]) -> Scores:
    return agrees[..., 0].astype(np.float64)


def _all_agree(agrees: NDArray[np.bool_], order: int) -> Scores:
    return np.asarray(agrees[..., :order].all(axis=-1), dtype=np.float64)


def _share_agree(agrees: NDArray[np.bool_], order: int) -> Scores:
    return np.asarray(agrees[..., :order].mean(axis=-1))


def _none_agrees(agrees: NDArray[np.bool_], order: int) -> Scores:
    return np.asarray(~agrees[..., :order].any(axis=-1), dtype=np.float64)
