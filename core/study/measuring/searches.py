"""The neighbor searches of a study at each layer, and the layers that answer them: in memory, stored, or in slices."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from core.data.cached_property import cached_property
from core.measures.center import CenterGeometry
from core.search.neighbors import Neighbors, nearest_among, nearest_neighbors
from core.search.sliced import Question
from core.study.samples import MeasureOptions, StudySamples

KNN = (3, 5, 10)  # neighbors that vote in the kNN baseline
ORDERS = (2, 3, 5)  # of the high-order, soft and anti measures

Key = tuple[str | int, ...]  # (split, split of the references), or (split, repeat, size) of a subsample


def study_questions(samples: StudySamples, options: MeasureOptions) -> dict[Key, Question]:
    """Return every search at a layer: the comparisons, then each subsample within itself."""
    found = comparison_questions(samples, options)
    for split in samples.split_names:
        own = samples.rows(split)
        for repeat, chosen in samples.subsamples(split, options):
            found[split, repeat, len(chosen)] = Question(own[chosen], own[chosen], 1)
    return found


def comparison_questions(samples: StudySamples, options: MeasureOptions) -> dict[Key, Question]:
    """Each split within itself, then test among train."""
    wanted = max(options.num_neighbors, *ORDERS, *KNN)
    rows = {split: samples.rows(split) for split in samples.split_names}
    asked = {split: samples.queries(split, options) for split in rows}
    queries = {split: own if asked[split] is None else own[asked[split]] for split, own in rows.items()}
    found: dict[Key, Question] = {
        (split, split): Question(queries[split], own, min(wanted, len(own) - 1)) for split, own in rows.items()
    }
    if len(rows) == 2:
        found["test", "train"] = Question(queries["test"], rows["train"], min(wanted, len(rows["train"])))
    return found


def pilot_questions(samples: StudySamples, pilot: int, seed: int) -> dict[Key, Question]:
    """The nearest neighbor of the first samples of each split, in the order that the seed gives."""
    rows = {split: samples.rows(split) for split in samples.split_names}
    return {
        (split, split): Question(own[samples.seeded_order(split, seed)[:pilot]], own, 1) for split, own in rows.items()
    }


def answer(features: NDArray[Any], question: Question, *, metric: str = "euclidean") -> Neighbors:
    """A question answered in memory. features : shape (n, d), all samples."""
    references = take(features, question.references)
    if np.array_equal(question.queries, question.references):
        return nearest_neighbors(references, k=question.k, metric=metric)
    if np.isin(question.queries, question.references).all():
        own = np.searchsorted(question.references, question.queries)
        return nearest_neighbors(references, rows=own, k=question.k, metric=metric)
    return nearest_neighbors(references, queries=take(features, question.queries), k=question.k, metric=metric)


def take(features: NDArray[Any], rows: NDArray[np.int64]) -> NDArray[Any]:
    """The rows, without a copy where they are consecutive."""
    first, last = int(rows[0]), int(rows[-1])
    return features[first : last + 1] if last - first + 1 == len(rows) else features[rows]


@dataclass(frozen=True, eq=False)
class HeldLayer:
    """A layer whose activations are in memory, or mapped into it; features : shape (n, d)."""

    features: NDArray[Any]
    samples: StudySamples
    options: MeasureOptions

    def neighbors(self, question: Question, key: Key) -> Neighbors:
        """The answer to one of the study's questions."""
        return answer(self.features, question, metric=self.options.metric)

    def nearest_among(self, split: str, repeat: int, chosen: NDArray[np.int64], found: Neighbors) -> NDArray[np.int64]:
        """The nearest neighbor within a subsample, counted there; found : the neighbors in the whole split."""
        own = take(self.features, self.samples.rows(split))
        return nearest_among(own, found, chosen, metric=self.options.metric)

    def geometry(self, rows: NDArray[np.int64]) -> CenterGeometry:
        return CenterGeometry.of(take(self.features, rows))


@dataclass(frozen=True, eq=False)
class StoredLayer:
    """A layer that was searched where its activations are stored; `read` gives them, shape (n, d), if need be."""

    answers: Mapping[Key, Neighbors]
    read: Callable[[], NDArray[Any]]
    samples: StudySamples
    options: MeasureOptions

    @cached_property
    def features(self) -> NDArray[Any]:
        return self.read()

    def neighbors(self, question: Question, key: Key) -> Neighbors:
        """The answer to one of the study's questions."""
        return self.answers[key]

    def nearest_among(self, split: str, repeat: int, chosen: NDArray[np.int64], found: Neighbors) -> NDArray[np.int64]:
        """The nearest neighbor within a subsample, counted there; found : the neighbors in the whole split."""
        return HeldLayer(self.features, self.samples, self.options).nearest_among(split, repeat, chosen, found)

    def geometry(self, rows: NDArray[np.int64]) -> CenterGeometry:
        return CenterGeometry.of(take(self.features, rows))


@dataclass(frozen=True, eq=False)
class SlicedLayer:
    """A layer that was searched over column slices; `gram` gives the inner products of some rows in float64."""

    answers: Mapping[Key, Neighbors]
    gram: Callable[[NDArray[np.int64]], NDArray[np.float64]]

    def neighbors(self, question: Question, key: Key) -> Neighbors:
        """The answer to one of the study's questions."""
        return self.answers[key]

    def nearest_among(self, split: str, repeat: int, chosen: NDArray[np.int64], found: Neighbors) -> NDArray[np.int64]:
        """The nearest neighbor within a subsample, counted there."""
        return self.answers[split, repeat, len(chosen)].indices[:, 0]

    def geometry(self, rows: NDArray[np.int64]) -> CenterGeometry:
        gram = self.gram(rows)
        return CenterGeometry(gram, gram.diagonal().copy(), is_gram=True)

    @property
    def features(self) -> NDArray[Any]:
        """There are none in one piece; only activations with space are searched in slices, and no step asks for
        them."""
        raise RuntimeError("activations that were searched in slices must not be asked for as a whole")
