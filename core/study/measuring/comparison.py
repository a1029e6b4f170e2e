"""The comparisons of a layer: each split's samples with their neighbors within it, and test among training samples."""

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from core.data.cached_property import cached_property
from core.measures.baselines import LinearProbe
from core.measures.neighbor_graph import LabelledGraph, cross_graph
from core.measures.separation import EncodedLabels, Separation
from core.study.measuring.searches import HeldLayer, SlicedLayer, StoredLayer, comparison_questions, take
from core.study.samples import MeasureOptions, StudySamples

Layer = HeldLayer | StoredLayer | SlicedLayer


@dataclass(frozen=True, eq=False)
class MeasuredLayer:
    """One pooling of a layer, with what its comparisons share.

    activations : where they are, or what was found in them.
    is_averaged : whether they have no space, or are averaged over it; what takes whole rows of features needs that.
    """

    activations: Layer
    is_averaged: bool
    samples: StudySamples
    options: MeasureOptions
    _probes: dict[str, LinearProbe] = field(default_factory=dict)

    def features(self, rows: NDArray[np.int64]) -> NDArray[np.float32]:
        """The activations of some samples, shape (m, d)."""
        return take(self.activations.features, rows)

    def probe(self, split: str) -> LinearProbe:
        """The linear probe of a split; one decomposition serves its own samples and those that it is tried on."""
        if split not in self._probes:
            rows = self.samples.rows(split)
            self._probes[split] = LinearProbe.fit(self.features(rows), self.samples.labels[rows])
        return self._probes[split]


@dataclass(frozen=True, eq=False)
class Comparison:
    """The labelled neighbor graph of one split's samples.

    queries, references : sample numbers; `graph` counts within them.
    reference_split : where the neighbors are: the split itself, or "train" for test samples (`is_cross`).
    """

    layer: MeasuredLayer
    split: str
    reference_split: str
    queries: NDArray[np.int64]
    references: NDArray[np.int64]
    graph: LabelledGraph

    @property
    def is_cross(self) -> bool:
        return self.split != self.reference_split

    @cached_property
    def separation(self) -> Separation:
        """SI, or cross SI, of all samples that are asked."""
        return self.graph.separation()

    @cached_property
    def subsamples(self) -> list[tuple[int, NDArray[np.int64], NDArray[np.int64]]]:
        """Of each subsample its repeat, its rows within the split, and the nearest neighbor of each among them."""
        layer, neighbors = self.layer, self.graph.neighbors
        subsamples = []
        for repeat, chosen in layer.samples.subsamples(self.split, layer.options):
            nearest = layer.activations.nearest_among(self.split, repeat, chosen, neighbors)
            subsamples.append((repeat, chosen, nearest))
        return subsamples

    @property
    def has_all_queries(self) -> bool:
        """Whether every sample of the split is a query."""
        return self.graph.num_queries == (self.graph.num_all or len(self.references))


def comparisons(layer: MeasuredLayer) -> Iterator[Comparison]:
    """Yield each split within itself, then test among train."""
    samples = layer.samples
    labels = {
        split: EncodedLabels(samples.labels[samples.rows(split)], samples.classes) for split in samples.split_names
    }
    questions = comparison_questions(samples, layer.options)
    for split in samples.split_names:
        question = questions[split, split]
        codes, rows = labels[split].codes, np.searchsorted(question.references, question.queries)
        neighbors = layer.activations.neighbors(question, (split, split))
        graph = LabelledGraph(neighbors, codes[rows], codes, samples.classes, rows)
        yield Comparison(layer, split, split, question.queries, question.references, graph)
    if ("test", "train") in questions:
        question = questions["test", "train"]
        test = EncodedLabels(samples.labels[question.queries], samples.classes)
        neighbors = layer.activations.neighbors(question, ("test", "train"))
        graph = cross_graph(neighbors, labels["train"], test, num_all=len(samples.rows("test")))
        yield Comparison(layer, "test", "train", question.queries, question.references, graph)
